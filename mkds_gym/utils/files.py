"""Write files completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mkds_gym.errors import MKDSError, RecordingError, reason
from mkds_gym.utils.arguments import file_path, shortened, why_no_path
from mkds_gym.utils.leftovers import OWNER, owner, remove_leftovers, removed_at_end


def _umask() -> int:
    """The permissions that the process denies to new files."""
    # os.umask() would change the mask for a moment, in all threads.
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("Umask:")), 8)
    return 0o022


_PARTIAL: Final = ".partial-"
_PARTIALS: Final = re.compile(rf"\.partial-{OWNER}-\w+(\..*)?")


def is_partial(path: Path) -> bool:
    """Return whether a file is a temporary one of `atomic_path`, by its name."""
    return path.name.startswith(_PARTIAL)


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary file, which replaces ``path`` if the body succeeds.

    Links are followed. An existing file keeps its permissions, and a new one has those of the
    umask. A device or a pipe cannot be replaced, so the contents are written to it at the end; a
    pipe that nobody reads is refused.

    Raises:
        OSError: ``path`` cannot be written.
    """
    try:
        target = file_path("path", path, "the path of a file to write")
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error)) from None
    mode = stat.S_IFREG | 0o666 & ~_umask()
    with contextlib.suppress(FileNotFoundError):
        mode = target.stat().st_mode
    regular = stat.S_ISREG(mode)
    if regular:
        target = target.resolve()
    folder = target.parent if regular else Path(tempfile.gettempdir())
    with partial_file(folder, target.suffix) as partial:
        yield partial
        if regular:
            partial.chmod(stat.S_IMODE(mode))
            partial.replace(target)
        else:
            _write_special(target, partial.read_bytes())


def _write_special(path: Path, data: bytes) -> None:
    # Without O_NONBLOCK, opening a pipe waits for a reader.
    try:
        handle = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(error.errno, "no process reads this pipe") from error
        raise
    with open(handle, "wb") as stream:  # noqa: PTH123
        os.set_blocking(handle, True)
        stream.write(data)


@contextlib.contextmanager
def partial_file(folder: Path, suffix: str) -> Iterator[Path]:
    """Yield a new temporary file, which is removed unless the body renames it.

    Temporary files that a killed process left in the folder are removed.

    Raises:
        OSError: no file can be written in the folder.
    """
    remove_partials(folder)
    handle, name = tempfile.mkstemp(prefix=f"{_PARTIAL}{owner()}-", suffix=suffix, dir=folder)
    os.close(handle)
    with removed_at_end(Path(name)):
        yield Path(name)


@functools.lru_cache(maxsize=64)
def remove_partials(folder: Path) -> None:
    """Remove the temporary files of dead processes, once per folder: it may hold many files."""
    remove_leftovers(folder, _PARTIALS)


@contextlib.contextmanager
def replacing(
    path: str | os.PathLike[str], error: type[MKDSError] = RecordingError
) -> Iterator[Path]:
    """Yield a temporary file as `atomic_path` does, but raise an error of this package.

    Args:
        path: the file to write.
        error: the exception to raise.

    Raises:
        MKDSError: ``path`` cannot be written.
    """
    try:
        with atomic_path(path) as partial:
            yield partial
    except OSError as cause:
        raise error(f"cannot write '{shortened(str(path))}': {reason(cause)}") from cause


def write_bytes(
    path: str | os.PathLike[str], data: bytes, error: type[MKDSError] = RecordingError
) -> None:
    """Write a file completely or not at all.

    Args:
        path: the file to write.
        data: its contents.
        error: the exception to raise.

    Raises:
        MKDSError: ``path`` cannot be written.
    """
    with replacing(path, error) as partial:
        partial.write_bytes(data)


def free_path(path: Path) -> Path:
    """Return ``path`` if nothing exists there, else the next free ``run-2.mkr``."""
    free, number = path, 1
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Return whether a path leads to a folder.

    `Path.is_dir` raises for a path that is too long or that this user may not look at; this
    function, `is_file` and `exists` return False. Whoever opens the path says what is wrong.
    """
    return os.path.isdir(path)  # noqa: PTH112


def is_file(path: str | os.PathLike[str]) -> bool:
    """Return whether a path leads to a regular file; see `is_folder`."""
    return os.path.isfile(path)  # noqa: PTH113


def exists(path: str | os.PathLike[str]) -> bool:
    """Return whether something is at a path; see `is_folder`."""
    return os.path.exists(path)  # noqa: PTH110


def why_unwritable(path: str | os.PathLike[str]) -> str:
    """Return why no file can be written at a path, for messages; "" if one can."""
    if problem := why_no_path(os.fspath(path)):
        return problem
    if is_folder(path):
        return "this is a folder: expected a file"
    folder = Path(path).parent
    try:
        mode = folder.stat().st_mode
    except OSError as error:
        if isinstance(error, PermissionError):
            return f"this user may not open the folder {folder}"
        return f"the folder {folder} does not exist: make it first"
    if not stat.S_ISDIR(mode):
        return f"{folder} is not a folder"
    if not os.access(path if exists(path) else folder, os.W_OK):
        return "this user may not write there"
    return ""


def same_file(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Return whether two paths lead to the same file, which need not exist."""
    try:
        return Path(one).samefile(other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)
