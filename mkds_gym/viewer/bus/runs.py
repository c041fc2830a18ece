"""Folders of runs in shared memory.

The name of a folder is ``mkds-<label>-<namespace>-<pid>-<start time>-<made>``: the process that
made it, and when (nanoseconds of the monotonic clock).

A run of a process that no longer runs is removed by the next process that looks. Runs of other PID
namespaces are left alone, because their processes cannot be seen from here. So are runs of other
users: viewers unpickle what a run contains, which could execute their code.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
from pathlib import Path
from typing import Final

from mkds_gym.viewer.bus.layout import BOARD_FILE
from mkds_gym.viewer.bus.shared_memory import pid_namespace, shared_folder, start_time

_NAME: Final = re.compile(
    r"mkds-(?P<label>.+)-(?P<namespace>\d+)-(?P<pid>\d+)-(?P<start>\d+)-(?P<made>\d+)"
)


def run_folder(label: str) -> Path:
    """Return the path of a new run of this process.

    Args:
        label: its letters and digits become part of the name.
    """
    label = re.sub(r"[^A-Za-z0-9_]+", "_", label)[:40] or "run"
    pid = os.getpid()
    name = f"mkds-{label}-{pid_namespace()}-{pid}-{start_time(pid)}-{time.monotonic_ns()}"
    return shared_folder() / name


def runs(*, remove_leftovers: bool = True) -> list[Path]:
    """Return the folders of this user's runs in progress, the oldest first.

    Args:
        remove_leftovers: remove the folders of processes that no longer run.
    """
    found = []
    for path in shared_folder().glob("mkds-*"):
        match = _NAME.fullmatch(path.name)
        if match is None or int(match["namespace"]) != pid_namespace() or not _is_own_folder(path):
            continue
        if not _process_runs(match):
            if remove_leftovers:
                shutil.rmtree(path, ignore_errors=True)
        elif (path / BOARD_FILE).exists():  # otherwise the run is being made or removed
            found.append((int(match["made"]), path))
    return [path for _, path in sorted(found)]


def alive(folder: Path) -> bool:
    """Return whether a run is in progress: its process runs and has not closed it."""
    match = _NAME.fullmatch(folder.name)
    return (
        match is not None
        and int(match["namespace"]) == pid_namespace()
        and _process_runs(match)
        and (folder / BOARD_FILE).exists()
    )


def _process_runs(match: re.Match[str]) -> bool:
    return start_time(int(match["pid"])) == int(match["start"])


def _is_own_folder(path: Path) -> bool:
    """Return whether a path is a folder, not a link, that belongs to this user."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
