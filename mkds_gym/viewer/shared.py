"""Shared memory: files that are never on a disk, and double buffers in them that never tear.

Plain files in ``/dev/shm``, mapped. `multiprocessing.shared_memory` is the same underneath, but its
resource tracker unlinks what other processes still use, and warns of what it has not seen.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

PAGE: Final = 4096
_LATEST: Final = 0
_WORDS: Final = 64
"""Bytes before the slots: three words, and the rest of a cache line."""
_TRIES: Final = 50


def shared_folder() -> Path:
    """Where shared memory has its names."""
    folder = Path("/dev/shm")
    return folder if folder.is_dir() else Path(tempfile.gettempdir())


def birth(pid: int) -> int | None:
    """When a process began, in clock ticks since the machine did; None if it runs no more.

    A number may be another process's tomorrow; number and birth together are one for ever. A
    process that has ended and that nobody has waited for yet (a zombie) runs no more.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name, in brackets, may hold anything.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def pid_namespace() -> int:
    """What tells this process's PID namespace from others; 0 where there are none.

    A number of a process means nothing in another one, as in another container.
    """
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return 0


class Segment:
    """A file in shared memory, mapped.

    Args:
        path: of the file, which must exist; `create` makes one.
        writable: False maps it for reading only.

    Attributes:
        view: its bytes.

    Raises:
        OSError: there is none, or it cannot be mapped.
    """

    def __init__(self, path: Path, *, writable: bool = True) -> None:
        self.path: Final = path
        descriptor = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
        try:
            access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
            self._map = mmap.mmap(descriptor, 0, access=access)
        except ValueError as error:  # it is empty
            raise OSError(f"'{path}' cannot be mapped: {error}") from error
        finally:
            os.close(descriptor)
        self.view: Final = memoryview(self._map)

    @classmethod
    def create(cls, path: Path, size: int) -> Segment:
        """Make one of zeros; another of this name is replaced, at once and whole.

        Args:
            path: of the file.
            size: in bytes.

        Raises:
            ValueError: a size of zero or less.
            OSError: there is no room.
        """
        if size <= 0:
            raise ValueError(f"a segment of {size} bytes: it needs at least 1")
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            # Taken now: memory that is missing later would kill whoever writes.
            os.posix_fallocate(descriptor, 0, size)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        fresh.replace(path)
        return cls(path)


class DoubleBuffer:
    """What one process writes and any number read, whole or not at all, without a lock.

    Two slots, written in turn. A slot's number is 0 while it is written; the reader copies the
    latest slot, and takes the copy only if the slot had the same number before and after. Nobody
    waits for anybody, and a writer that dies half way leaves the other slot as it is.

    Args:
        view: of a segment.
        offset: of the buffer in it, a multiple of 64.
        size: most bytes of a message.
    """

    def __init__(self, view: memoryview, offset: int, size: int) -> None:
        self._words: Any = view[offset : offset + 24].cast("Q")
        # In a slot, the length of the message goes before it.
        self.slots: Final = tuple(
            np.frombuffer(view, np.uint8, 8 + size, offset + _WORDS + i * self._stride(size))
            for i in range(2)
        )
        self._lengths: Any = tuple(slot[:8].view(np.uint64) for slot in self.slots)
        self.size: Final = size

    @staticmethod
    def _stride(size: int) -> int:
        return (8 + size + 63) // 64 * 64

    @classmethod
    def room(cls, size: int) -> int:
        """Bytes that a buffer for messages of this size takes."""
        return _WORDS + 2 * cls._stride(size)

    @property
    def latest(self) -> int:
        """Number of the latest message, from 1 on; 0 before the first."""
        return int(self._words[_LATEST])

    def write(self, fill: Callable[[int], int]) -> None:
        """Write a message.

        Args:
            fill: called with the slot's number, 0 or 1, writes into ``slots[number][8:]`` and
                returns the length. What it raises leaves the latest message as it was.
        """
        words = self._words
        number = words[_LATEST] + 1
        slot = number & 1
        words[1 + slot] = 0
        self._lengths[slot][0] = fill(slot)
        words[1 + slot] = number
        words[_LATEST] = number

    def put(self, message: bytes) -> None:
        """Write a message.

        Raises:
            ValueError: it is too long.
        """
        length = len(message)
        if length > self.size:
            raise ValueError(f"a message of {length} bytes in a buffer for {self.size}")

        def fill(slot: int) -> int:
            self.slots[slot][8 : 8 + length] = np.frombuffer(message, np.uint8)
            return length

        self.write(fill)

    def read(self, known: int = 0) -> tuple[int, NDArray[np.uint8]] | None:
        """The latest message, as a copy.

        Args:
            known: number of the message that the caller has.

        Returns:
            Its number, and the bytes; None when there is no other than the known one (or, which
            takes a writer without a pause, when each was overwritten while it was copied).
        """
        words = self._words
        for _ in range(_TRIES):
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
