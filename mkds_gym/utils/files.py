"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mkds_gym.errors import MKDSError, RecordingError, reason


def _umask() -> int:
    """What the process has new files not permit."""
    # To ask the system is to change it, for all threads; Linux says so without.
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("Umask:")), 8)
    return 0o022


@contextlib.contextmanager
def beside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A file beside the wanted one, which takes its place if all goes well.

    Links are followed and stay. A file that is there keeps its permissions; a new one has what the
    process's umask leaves. What is no file, as a device or a pipe, cannot be replaced: it is
    written to at the end.

    Args:
        path: the wanted one.

    Raises:
        OSError: it cannot be written.
    """
    target = Path(path)
    mode = stat.S_IFREG | 0o666 & ~_umask()
    with contextlib.suppress(FileNotFoundError):
        mode = target.stat().st_mode
    replaced = stat.S_ISREG(mode)
    if replaced:
        target = target.resolve()
    handle, name = tempfile.mkstemp(
        prefix=".", suffix=target.suffix, dir=target.parent if replaced else None
    )
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        if replaced:
            partial.chmod(stat.S_IMODE(mode))
            partial.replace(target)
        else:
            target.write_bytes(partial.read_bytes())
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(
    path: str | os.PathLike[str], error: type[MKDSError] = RecordingError
) -> Iterator[Path]:
    """As `beside`, for who tells the user.

    Args:
        path: the wanted one.
        error: what to raise.

    Raises:
        MKDSError: it cannot be written.
    """
    try:
        with beside(path) as partial:
            yield partial
    except OSError as cause:
        raise error(f"cannot write '{Path(path)}': {reason(cause)}") from cause


def write_bytes(
    path: str | os.PathLike[str], data: bytes, error: type[MKDSError] = RecordingError
) -> None:
    """Write a file, all of it or nothing.

    Args:
        path: the file.
        data: what is in it then.
        error: what to raise.

    Raises:
        MKDSError: it cannot be written.
    """
    with replacing(path, error) as partial:
        partial.write_bytes(data)


def free_path(path: Path) -> Path:
    """A path that nothing has yet: the given one, or the next with a number, ``run-2.mkr``."""
    free, number = path, 1
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free


def same_file(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Whether two paths lead to one file, which need not be there yet."""
    try:
        return Path(one).samefile(other)
    except OSError:
        return Path(one).resolve() == Path(other).resolve()
