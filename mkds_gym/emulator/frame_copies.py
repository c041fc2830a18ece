"""Copy parts of main memory after each of several frames, without Python between the frames."""

from __future__ import annotations

import ctypes
import functools
import platform
import struct
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator.desmume import trampolines
from mkds_gym.emulator.desmume.library import Library

_HEADER: Final = struct.Struct("<Qq3Q")
"""Frames, frame that is not skipped, functions that skip and run a frame, destination."""
_PAIR: Final = struct.Struct("<2Q")


@functools.cache
def _frame_loop() -> Callable[[int], int] | None:
    """Return `trampolines.frame_loop`, or None if this machine cannot run it."""
    if platform.machine() != "x86_64":
        return None
    try:
        code = trampolines.CodePage(trampolines.frame_loop())
    except OSError:
        return None
    function = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p)(code.addresses[0])
    function.code = code  # type: ignore[attr-defined]
    return function


class FrameCopies:
    """Parts of main memory to copy after each frame, for `Console.run_and_copy`.

    Args:
        ram: main memory of the console.
        spans: start and size of each part, at least one; sizes are positive.
        words: starts of 32-bit words whose values must not change: pointers to the parts.

    Attributes:
        size: bytes of a copy.
        supported: whether this machine can run the machine code.

    Raises:
        ValueError: a part or a word is not in memory.
    """

    def __init__(
        self, ram: NDArray[np.uint8], spans: Sequence[tuple[int, int]], words: Sequence[int]
    ) -> None:
        for start, size in (*spans, *((word, 4) for word in words)):
            if not (size > 0 and 0 <= start <= len(ram) - size):
                raise ValueError(
                    f"span ({start:#x}, {size:#x}) is out of range: expected at least one byte of "
                    f"{len(ram):#x}"
                )
        self.size: Final = sum(size for _, size in spans)
        self._ram = ram
        base = ram.ctypes.data
        values = (int.from_bytes(ram[word : word + 4].tobytes(), "little") for word in words)
        pairs = [(base + word, value) for word, value in zip(words, values, strict=True)]
        pairs += [(0, 0), *((base + start, size) for start, size in spans), (0, 0)]
        table = bytes(_HEADER.size) + b"".join(_PAIR.pack(*pair) for pair in pairs)
        self._table = bytearray(table)
        self._address = _address_of(self._table)
        self._copies = memoryview(b"")
        self._loop = _frame_loop()
        self.supported: Final = self._loop is not None

    def run(self, library: Library, frames: int, drawn: int) -> tuple[int, list[bytes]]:
        """Run frames; see `Console.run_and_copy`."""
        assert self._loop is not None
        if len(self._copies) < frames * self.size:
            copies = bytearray(frames * self.size)
            self._copies, self._destination = memoryview(copies), _address_of(copies)
        skip, cycle = library.frame_functions
        _HEADER.pack_into(self._table, 0, frames, drawn, skip, cycle, self._destination)
        done = self._loop(self._address)
        size, end = self.size, _HEADER.unpack_from(self._table)[4] - self._destination
        return done, [self._copies[at : at + size].tobytes() for at in range(0, end, size)]


def _address_of(buffer: bytearray) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
