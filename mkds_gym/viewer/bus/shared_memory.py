"""Files in shared memory, double buffers in them, and the identity of processes.

`multiprocessing.shared_memory` does not fit: its resource tracker unlinks segments that other
processes still use. The files here are plain files in ``/dev/shm``.
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

_CACHE_LINE: Final = 64
_LATEST: Final = 0
_READ_ATTEMPTS: Final = 50


def shared_folder() -> Path:
    """Return the folder of shared memory, or that of temporary files if there is none."""
    folder = Path("/dev/shm")
    return folder if folder.is_dir() else Path(tempfile.gettempdir())


def start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if it does not run.

    A process id is used again after its process ends; id and start time together are unique. A
    zombie does not run.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is a name in brackets, which may contain brackets and spaces.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def pid_namespace() -> int:
    """Return the number of this process's PID namespace; 0 if the system has none.

    A process id is valid only within its namespace, for example within one container.
    """
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return 0


def map_file(path: Path, *, writable: bool = True) -> memoryview:
    """Map a file into memory and return its bytes.

    Raises:
        OSError: the file does not exist or cannot be mapped.
    """
    descriptor = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
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
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        # Allocate all pages now: a write to a page without memory would kill the process.
        os.posix_fallocate(descriptor, 0, size)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    partial.replace(path)
    return map_file(path)


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
