"""Files of a run folder, written to the disk. An error names the file and a remedy."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from mkds_gym.errors import reason
from mkds_gym.utils.files import atomic_path
from mkds_neat.errors import RunFolderError


def write_file(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file completely, or not at all.

    Args:
        path: The file.
        parts: Its contents, one part after another.

    Raises:
        RunFolderError: The file cannot be written.
    """
    with write_errors(path), atomic_path(path) as partial, partial.open("wb") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())


def append_to_file(path: Path, data: bytes) -> None:
    """Append to a file, which need not exist.

    Raises:
        RunFolderError: The file cannot be written.
    """
    with write_errors(path), path.open("ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a RunFolderError with the file and the remedy."""
    try:
        yield
    except RunFolderError:
        raise
    except OSError as error:
        raise write_error(path, error) from error


_REMEDIES: Final = (
    ((errno.ENOSPC, errno.EDQUOT), "free some space"),
    ((errno.EFBIG,), "raise the limit of a file's size (ulimit -f), or free some space"),
    ((errno.EACCES, errno.EPERM, errno.EROFS), "get the permission to write there"),
    (
        (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
        "check the path",
    ),
)


def write_error(path: Path, error: OSError) -> RunFolderError:
    """Return the error for a file that cannot be written."""
    remedy = next((text for numbers, text in _REMEDIES if error.errno in numbers), "fix the cause")
    return RunFolderError(
        f"{str(path)!r} cannot be written ({reason(error)}); {remedy} or choose "
        "another folder with --output, and continue with --resume if the run had begun"
    )
