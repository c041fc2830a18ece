"""Temporary files and folders that name their owner, and the removal of those whose owner died.

A name contains the owner: ``<boot>-<PID namespace>-<process id>-<start time>``. A process that is
killed removes nothing. The next process that looks removes what belongs to the same user, and to a
process that no longer runs. A process of another PID namespace (another container) or of another
host cannot be seen from here: what such a process owns is left alone, except for a half-written
file to which nobody has written for a day.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from multiprocessing import current_process, parent_process, util
from pathlib import Path
from typing import Final

from mkds_gym.utils import processes

OWNER: Final = r"(?P<boot>[0-9a-f]{8})-(?P<namespace>\d+)-(?P<pid>\d+)-(?P<start>\d+)"
"""Regular expression of `owner`."""
FOLDERS: Final = re.compile(rf"(sem\.)?mkds-.+-{OWNER}-\w+")
"""Names of `temporary_folder`, of the viewer's runs, and of semaphores."""
_DAY: Final = 86400.0

_mine: Final[set[Path]] = set()
"""Temporary files and folders of this process that exist now."""


def owner() -> str:
    """Return this process as the owner in a name."""
    pid = os.getpid()
    start = processes.start_time(pid) or 0
    return f"{processes.boot_id()}-{processes.pid_namespace()}-{pid}-{start}"


def owner_runs(match: re.Match[str]) -> bool | None:
    """Return whether the process of a match of `OWNER` runs; None if it cannot be seen from here.

    After a boot, the processes of the host are other ones, but another boot may also be another
    host that shares the folder. So the answer is None then, too.
    """
    if match["boot"] != processes.boot_id() or int(match["namespace"]) != processes.pid_namespace():
        return None
    return processes.start_time(int(match["pid"])) == int(match["start"])


def shared_folder() -> Path:
    """Return the folder of shared memory, or that of temporary files if there is none."""
    folder = Path("/dev/shm")
    return folder if folder.is_dir() else Path(tempfile.gettempdir())


def remove_leftovers(folder: Path, names: re.Pattern[str]) -> None:
    """Remove what owners that died left in a folder, if it belongs to this user.

    Args:
        folder: the folder.
        names: names of temporary files and folders, with the groups of `OWNER`.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = names.fullmatch(entry.name)
            if match is not None:
                with contextlib.suppress(OSError):
                    _remove_leftover(entry, match)


def _remove_leftover(entry: os.DirEntry[str], match: re.Match[str]) -> None:
    status = entry.stat(follow_symlinks=False)
    if status.st_uid != os.geteuid():
        return
    is_folder = entry.is_dir(follow_symlinks=False)
    runs = owner_runs(match)
    if runs is None:
        # Only a file is written to now and then; not so a folder, or a semaphore.
        is_file = entry.name.startswith(".")
        runs = not is_file or time.time() - status.st_mtime < _DAY
    if not runs:
        if is_folder:
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            Path(entry.path).unlink(missing_ok=True)


@functools.cache
def remove_leftover_folders() -> None:
    """Remove what dead owners left in shared memory and in the folder of temporary files, once."""
    with contextlib.suppress(FileNotFoundError):  # no folder for temporary files
        for folder in {shared_folder(), Path(tempfile.gettempdir())}:
            remove_leftovers(folder, FOLDERS)


@contextlib.contextmanager
def temporary_folder(label: str) -> Iterator[Path]:
    """Yield a new folder among the temporary files, and remove it afterwards.

    Args:
        label: part of its name.
    """
    remove_leftover_folders()
    path = Path(tempfile.mkdtemp(prefix=f"mkds-{label}-{owner()}-"))
    with removed_at_end(path):
        yield path


def own_semaphores() -> None:
    """Let the semaphores of `multiprocessing` name this process as their owner.

    Python removes them, unless its whole process group is killed; the next start does then.
    Nothing changes in a child process of `multiprocessing`, which names the same owner.
    """
    config = getattr(current_process(), "_config", {})
    if parent_process() is None and "semprefix" in config:
        config["semprefix"] = f"/mkds-semaphore-{owner()}"


def own_sockets() -> None:
    """Let the sockets of `multiprocessing` lie in a folder that names this process as its owner."""
    config = getattr(current_process(), "_config", {})
    if parent_process() is None and "tempdir" not in config:
        # In shared memory, because the path of a socket must be short.
        path = Path(tempfile.mkdtemp(prefix=f"mkds-sockets-{owner()}-", dir=shared_folder()))
        _mine.add(path)
        util.Finalize(None, remove_own, exitpriority=-100)
        config["tempdir"] = str(path)


@contextlib.contextmanager
def removed_at_end(path: Path) -> Iterator[None]:
    """Remove a file or folder after the body, or when this process ends with its parent."""
    _mine.add(path)
    try:
        yield
    finally:
        _remove(path)
        _mine.discard(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_own() -> None:
    """Remove the temporary files and folders of this process."""
    for path in list(_mine):
        with contextlib.suppress(OSError):
            _remove(path)


def _remove_sockets() -> None:
    """Remove the folder that the parent, which died, made for the sockets of `multiprocessing`."""
    process, parent = current_process(), parent_process()
    folder = getattr(process, "_config", {}).get("tempdir")
    if folder is None or len(getattr(process, "_identity", ())) != 1:  # a grandchild
        return
    # A parent that only forgot this process, and closed its pipe, still needs the folder.
    if parent is None or parent.pid is None or processes.start_time(parent.pid) is None:
        shutil.rmtree(folder, ignore_errors=True)


processes.before_sudden_end.extend([remove_own, _remove_sockets])
# A forked child does not own what its parent made.
os.register_at_fork(after_in_child=_mine.clear)
