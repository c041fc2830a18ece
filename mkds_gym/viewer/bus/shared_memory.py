"""Files in shared memory, and double buffers in them.

`multiprocessing.shared_memory` does not fit: its resource tracker unlinks segments that other
processes still use. The files here are plain files in ``/dev/shm``.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_CACHE_LINE: Final = 64
_LATEST: Final = 0
_READ_ATTEMPTS: Final = 50


def open_own(path: Path, *, writable: bool = False) -> int:
    """Open a file that only this user can have written, and return its descriptor.

    The folder and the file must belong to this user, and others must not have access. Both are
    checked after they are open, so nobody can exchange them in between.

    Raises:
        OSError: the file does not exist, or another user may have written it.
    """
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | flags)
    try:
        _check_own(folder, path.parent, stat.S_ISDIR)
        # A pipe would block.
        flags |= os.O_NONBLOCK | (os.O_RDWR if writable else os.O_RDONLY)
        descriptor = os.open(path.name, flags, dir_fd=folder)
    finally:
        os.close(folder)
    try:
        _check_own(descriptor, path, stat.S_ISREG)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_own(descriptor: int, path: Path, is_kind: Callable[[int], bool]) -> None:
    status = os.fstat(descriptor)
    if not is_kind(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise PermissionError(errno.EPERM, "another user may have written to it", str(path))


def map_file(path: Path, *, writable: bool = True) -> memoryview:
    """Map a file of `create_file` into memory and return its bytes.

    Raises:
        OSError: the file does not exist, cannot be mapped, or another user may have written it.
    """
    descriptor = open_own(path, writable=writable)
    try:
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        return memoryview(mmap.mmap(descriptor, 0, access=access))
    except ValueError as error:
        raise OSError(f"'{path}' cannot be mapped: {error}") from error
    finally:
        os.close(descriptor)


def create_file(path: Path, size: int) -> memoryview:
    """Create a file of zeros and map it. An existing file is replaced atomically.

    Raises:
        OSError: there is not enough memory.
    """
    # Allocate all pages now: a write to a page without memory would kill the process.
    _replace(path, lambda descriptor: os.posix_fallocate(descriptor, 0, size))
    return map_file(path)


def write_file(path: Path, data: bytes) -> None:
    """Write a file that only this user can read, completely or not at all.

    Raises:
        OSError: the file cannot be written.
    """

    def write(descriptor: int) -> None:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)

    _replace(path, write)


def _replace(path: Path, fill: Callable[[int], object]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fill(descriptor)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


class DoubleBuffer:
    """Holds the latest message of one writer, for any number of readers, without a lock.

    The writer fills two slots in turn. The number of a slot is 0 while it is written. A reader
    copies the latest slot and keeps the copy only if the slot had the same number before and after.
    A writer that dies during a write leaves the other slot intact.

    Args:
        view: the bytes of a mapped file.
        offset: where the buffer begins, a multiple of 64.
        size: bytes of the longest message.

    Attributes:
        slots: two uint8 arrays; the message begins at byte 8, after its length.
        size: bytes of the longest message.
    """

    def __init__(self, view: memoryview, offset: int, size: int) -> None:
        # Number of the latest message, then the number of each slot.
        self._words: Any = view[offset : offset + 24].cast("Q")
        self.slots: Final = tuple(
            np.frombuffer(view, np.uint8, 8 + size, offset + _CACHE_LINE + i * self._stride(size))
            for i in range(2)
        )
        self._lengths: Any = tuple(slot[:8].view(np.uint64) for slot in self.slots)
        self.size: Final = size

    @staticmethod
    def _stride(size: int) -> int:
        return (8 + size + _CACHE_LINE - 1) // _CACHE_LINE * _CACHE_LINE

    @classmethod
    def room(cls, size: int) -> int:
        """Return the bytes of a buffer for messages of at most ``size`` bytes."""
        return _CACHE_LINE + 2 * cls._stride(size)

    def write(self, fill: Callable[[int], int]) -> None:
        """Write a message.

        Args:
            fill: receives the slot, 0 or 1, writes into ``slots[slot][8:]`` and returns the length
                of the message. If it raises, the latest message stays.
        """
        words = self._words
        number = words[_LATEST] + 1
        slot = number & 1
        words[1 + slot] = 0
        self._lengths[slot][0] = fill(slot)
        words[1 + slot] = number
        words[_LATEST] = number

    def put(self, message: bytes) -> None:
        """Write a message from bytes.

        Raises:
            ValueError: the message is too long.
        """
        length = len(message)
        if length > self.size:
            raise ValueError(f"a message of {length} bytes: expected at most {self.size}")

        def fill(slot: int) -> int:
            self.slots[slot][8 : 8 + length] = np.frombuffer(message, np.uint8)
            return length

        self.write(fill)

    def read(self, known: int = 0) -> tuple[int, NDArray[np.uint8]] | None:
        """Return the number of the latest message, counted from 1, and a copy of its bytes.

        Args:
            known: number of the message that the caller already has.

        Returns:
            None if there is no newer message, or if a writer without pauses overwrote every copy.
        """
        words = self._words
        for _ in range(_READ_ATTEMPTS):
            number = int(words[_LATEST])
            if number in (0, known):
                return None
            slot = number & 1
            if words[1 + slot] != number:
                continue
            length = min(int(self._lengths[slot][0]), self.size)
            copy = self.slots[slot][8 : 8 + length].copy()
            if words[1 + slot] == number:
                return number, copy
        return None
