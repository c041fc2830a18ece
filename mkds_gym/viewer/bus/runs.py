"""Folders of runs in shared memory.

The name of a folder is ``mkds-<label>-<owner>-<made>``: the process that made it
(`mkds_gym.utils.leftovers`), and when (nanoseconds of the monotonic clock).

Runs of other PID namespaces are left alone, because their processes cannot be seen from here. So
are runs of other users: viewers unpickle what a run contains, which could execute their code.
"""

from __future__ import annotations

import os
import re
import stat
import time
from pathlib import Path
from typing import Final

from mkds_gym.utils import leftovers
from mkds_gym.utils.files import exists
from mkds_gym.utils.leftovers import OWNER, owner, owner_runs, shared_folder
from mkds_gym.viewer.bus.layout import BOARD_FILE

_NAME: Final = re.compile(rf"mkds-(?P<label>.+)-{OWNER}-(?P<made>\d+)")


def run_folder(label: str) -> Path:
    """Return the path of a new run of this process.

    Args:
        label: its letters and digits become part of the name.
    """
    label = re.sub(r"[^A-Za-z0-9_]+", "_", label)[:40] or "run"
    return shared_folder() / f"mkds-{label}-{owner()}-{time.monotonic_ns()}"


def runs(*, remove_leftovers: bool = True) -> list[Path]:
    """Return the folders of this user's runs in progress, the oldest first.

    Args:
        remove_leftovers: remove the folders of processes that no longer run.
    """
    folder = shared_folder()
    if remove_leftovers:
        leftovers.remove_leftovers(folder, _NAME)
    found = []
    for path in folder.glob("mkds-*"):
        match = _NAME.fullmatch(path.name)
        # Without a board, the run is being made or removed.
        if match and owner_runs(match) and _is_own_folder(path) and exists(path / BOARD_FILE):
            found.append((int(match["made"]), path))
    return [path for _, path in sorted(found)]


def alive(folder: Path) -> bool:
    """Return whether a run is in progress: its process runs and has not closed it."""
    match = _NAME.fullmatch(folder.name)
    return match is not None and owner_runs(match) is True and exists(folder / BOARD_FILE)


def _is_own_folder(path: Path) -> bool:
    """Return whether a path is a folder, not a link, that belongs to this user."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
