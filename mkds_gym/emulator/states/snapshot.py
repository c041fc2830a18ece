"""In-memory snapshots of a console, and differences between two of them.

A snapshot holds an uncompressed savestate of DeSmuME. Its layout, little endian: `DESMUME_HEADER`,
then chunks (u32 number, u32 size, data), then the end mark 0xFFFFFFFF. Some chunks are tables of
entries (4-byte name, u32 element size, u32 count, data). Source: DeSmuME's ``saves.cpp``.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
import threading
import weakref
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.errors import StateError

DESMUME_HEADER: Final = struct.Struct("<16s4I")
"""Magic, format version, emulator version, size, compressed size or 0xFFFFFFFF."""
CHUNK_3D: Final = 90
"""Chunk with the registers and queues of the 3D engine."""
END_MARK: Final = 0xFFFFFFFF


def chunks(state: bytes | memoryview) -> Iterator[tuple[int, int, int]]:
    """Yield number, start and end of each chunk of a checked state, its 8-byte head included.

    The last one is the end mark, of 4 bytes.
    """
    place = DESMUME_HEADER.size
    while True:
        (number,) = struct.unpack_from("<I", state, place)
        if number == END_MARK:
            yield number, place, place + 4
            return
        (size,) = struct.unpack_from("<I", state, place + 4)
        yield number, place, place + 8 + size
        place += 8 + size


def entries(state: bytes | memoryview, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of the data of each entry of a chunk that is a table."""
    place = start + 8
    while place < end:
        name, size, count = struct.unpack_from("<4s2I", state, place)
        place += 12
        yield name, place, place + size * count
        place += size * count


def inflate(data: bytes, size: int, name: str) -> bytes:
    """Return the ``size`` bytes in a zlib stream.

    Raises:
        StateError: the stream is damaged, or of another size; the message starts with ``name``.
    """
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(data, size + 1)
    except zlib.error as error:
        raise StateError(f"{name} is damaged: {error}") from None
    if len(plain) != size or not stream.eof:
        raise StateError(f"{name} is truncated or damaged: save it again")
    return plain


@dataclass(eq=False)
class Snapshot:
    """The whole state of a console, in memory, for `Console.restore`.

    Restore it any number of times, on any console with the same ROM and emulator build. Pickle it
    to send it to another process.

    Attributes:
        data: savestate of DeSmuME, uncompressed, 11 MiB.
        rom: SHA-1 of the ROM.
        build_id: SHA-256 of the emulator library.
        frame_count: frames since power-on.
        drawing: `DrawingState.save`; empty: the next frame is drawn.
        foreign: it comes from a file that nobody vouches for. `Console.restore` tries it in a child
            process first.
        checked: an emulator saved it. `Console.restore` checks the layout of others.
    """

    data: bytes | memoryview = field(repr=False)
    rom: str
    build_id: str
    frame_count: int
    drawing: bytes = field(default=b"", repr=False)
    foreign: bool = False
    checked: bool = field(default=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes, with the data as bytes, for a pickle."""
        return {**vars(self), "data": bytes(self.data)}


def _new_memory(size: int) -> memoryview:
    """Zeroed memory that returns to the system as soon as it is freed.

    The C library would keep blocks of a snapshot's size in the heap of each thread that freed one.
    """
    return memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


def copy_of(data: bytes | memoryview) -> memoryview:
    """Return a read-only copy in memory of its own."""
    copy = _new_memory(len(data))
    copy[:] = data
    return copy.toreadonly()


_BLOCK: Final = 512
"""Bytes of a block, the unit of a difference."""
_PIECE: Final = 128
"""Blocks compared in one call."""

# NumPy's comparison takes 1.5 times as long, as it stores a result per element.
_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class Difference:
    """A snapshot as its difference from another: about 50 to 110 KiB instead of 11 MiB.

    The blocks that differ, XORed with those of the other snapshot, are stored deflated.

    Attributes:
        size: size of the resulting snapshot in bytes.
        frame_count: frame count of the resulting snapshot.
        rom: SHA-1 of its ROM.
        build_id: its emulator build.
        foreign: whether the resulting snapshot is `Snapshot.foreign`; None: if the other one is.
    """

    foreign: bool | None = None

    def __init__(self, start: Snapshot, end: Snapshot, *, exact: bool = False) -> None:
        """Compute the difference.

        Args:
            start: the snapshot to apply the difference to.
            end: the resulting snapshot.
            exact: reproduce every byte of ``end``. Otherwise bytes that the emulator never reads
                keep their value in ``start``.
        """
        self.size = len(end.data)
        self.frame_count = end.frame_count
        self.rom = end.rom
        self.build_id = end.build_id
        self.drawing = end.drawing
        new = _as_blocks(end.data)
        data = memoryview(start.data)[: new.nbytes]
        old = _as_blocks(data)
        # A shorter start continues with zeros.
        beyond = np.zeros((len(new) - len(old), _BLOCK), np.uint8)
        tail = np.frombuffer(data[old.nbytes :], np.uint8)
        beyond.reshape(-1)[: len(tail)] = tail
        more = beyond.view(np.uint64)
        old_at, new_at = old.ctypes.data, new.ctypes.data
        differing: list[NDArray[np.intp]] = []
        for low, high in [(0, len(new))] if exact else _used_blocks(end.data):
            for first in range(low, min(high, len(old)), _PIECE):
                piece = slice(first, min(first + _PIECE, high, len(old)))
                at, length = first * _BLOCK, (piece.stop - first) * _BLOCK
                if _memcmp(old_at + at, new_at + at, length):
                    differing.append(first + np.flatnonzero((old[piece] != new[piece]).any(axis=1)))
        differing.append(len(old) + np.flatnonzero((more != new[len(old) :]).any(axis=1)))
        blocks = np.concatenate(differing)
        self.blocks: NDArray[np.int32] = blocks.astype(np.int32)
        changes = new[blocks]
        within = np.searchsorted(blocks, len(old))
        changes[:within] ^= old[blocks[:within]]
        changes[within:] ^= more[blocks[within:] - len(old)]
        self.content = zlib.compress(changes.data, 1)
        self.rest = bytes(end.data[len(new) * _BLOCK :])

    @classmethod
    def from_parts(cls, **parts: Any) -> Difference:
        """Return a difference from its attributes. `apply` checks them.

        Args:
            parts: every attribute of another difference, by name.
        """
        difference = cls.__new__(cls)
        vars(difference).update(parts)
        return difference

    @property
    def identity(self) -> tuple[Any, ...]:
        """Hashable; equal for differences from one snapshot to equal snapshots."""
        console = (self.rom, self.build_id, self.frame_count, self.size, self.drawing)
        return (*console, self.blocks.tobytes(), self.content, self.rest)

    @property
    def nbytes(self) -> int:
        """Size of the difference in bytes."""
        return len(self.content) + self.blocks.nbytes

    def apply(self, start: Snapshot, *, lasting: bool = True) -> Snapshot:
        """Return the resulting snapshot.

        Args:
            start: the snapshot that the difference was computed from.
            lasting: False is faster, for a snapshot that is restored at once: the next such call in
                this thread overwrites its data.

        Raises:
            StateError: the difference is damaged.
        """
        full = self.size // _BLOCK * _BLOCK
        whole = _scratch.begin(start, self.size)
        content = inflate(self.content, len(self.blocks) * _BLOCK, "the difference")
        words = whole[:full].view(np.uint64).reshape(-1, _BLOCK // 8)
        if len(self.blocks) and not 0 <= self.blocks.min() <= self.blocks.max() < len(words):
            raise StateError("the difference is damaged: its blocks lie outside the state")
        _scratch.changed = self.blocks
        words[self.blocks] ^= np.frombuffer(content, np.uint64).reshape(-1, _BLOCK // 8)
        whole[full:] = np.frombuffer(self.rest, np.uint8)
        data = copy_of(whole.data) if lasting else whole.data
        foreign = start.foreign if self.foreign is None else self.foreign
        origin = (self.rom, self.build_id, self.frame_count, self.drawing)
        return Snapshot(data, *origin, foreign=foreign, checked=start.checked)


def _as_blocks(data: bytes | memoryview) -> NDArray[np.uint64]:
    """The whole blocks, as words, which compare fastest."""
    words = np.frombuffer(data, np.uint64, len(data) // _BLOCK * (_BLOCK // 8))
    return words.reshape(-1, _BLOCK // 8)


class _Scratch(threading.local):
    """Working memory of each thread, as allocating 11 MiB costs more than the work.

    It holds a snapshot with some blocks changed. If the next start is the same snapshot, `begin`
    restores only those blocks.
    """

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)
        self._start: Callable[[], Snapshot | None] = lambda: None
        self._end = 0
        self.changed: NDArray[np.int32] = np.zeros(0, np.int32)
        """Numbers of the blocks that the caller changes after `begin`. The last, incomplete block
        may always be changed."""

    def begin(self, start: Snapshot, size: int) -> NDArray[np.uint8]:
        """Return the snapshot's data, cut or padded with zeros to a size."""
        data = np.frombuffer(start.data, np.uint8)
        if self._start() is start and size <= len(self._memory):
            full = len(data) // _BLOCK
            changed = np.append(self.changed, self._end // _BLOCK)
            changed = changed[changed < full]
            _as_blocks(self._memory.data)[changed] = _as_blocks(data.data)[changed]
            self._memory[full * _BLOCK : len(data)] = data[full * _BLOCK :]
            self._memory[len(data) : self._end] = 0
        else:
            self._start = lambda: None
            needed = max(size, len(data)) + (1 << 20)
            if len(self._memory) < needed:
                self._memory = np.frombuffer(_new_memory(needed), np.uint8)
            self._memory[: len(data)] = data
            self._memory[len(data) :] = 0
            self._start = weakref.ref(start)
        self.changed, self._end = self.changed[:0], size
        return self._memory[:size]


_scratch: Final = _Scratch()


def _used_blocks(state: bytes | memoryview) -> list[tuple[int, int]]:
    """Spans of the blocks of a state that the emulator reads.

    Everything but the command queue of the 3D engine where that is empty, as it is between two
    frames of most games. Old commands stay in it, and are most of the difference of two states.
    """
    whole = (0, len(state) // _BLOCK)
    for number, start, end in chunks(state):
        if number != CHUNK_3D:
            continue
        found = {name: (first, last) for name, first, last in entries(state, start, end)}
        if not {b"GFSZ", b"GFCM", b"GFPM"} <= found.keys():
            break
        at, last = found[b"GFSZ"]
        if any(state[at:last]):
            break
        (commands, middle), (arguments, last) = found[b"GFCM"], found[b"GFPM"]
        return [
            (0, -(-commands // _BLOCK)),
            (middle // _BLOCK, -(-arguments // _BLOCK)),
            (last // _BLOCK, whole[1]),
        ]
    return [whole]
