"""Savestates: what a console's state is kept in, and what is checked before one is loaded.

A state is an in-memory `Snapshot`, or a file. Files are our own (`pack_state`: the state deflated,
behind a header that names the ROM and the emulator build) or DeSmuME's (``.dst``). All checks need
no emulator, so that a bad state is refused before one starts.
"""

from __future__ import annotations

import ctypes
import mmap
import stat
import struct
import threading
import weakref
import zlib
from collections.abc import Callable, Iterator
from os import PathLike
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator import builds
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.errors import StateError, reason
from mkds_gym.utils.arguments import file_path

StateLike: TypeAlias = "bytes | bytearray | memoryview | str | PathLike[str]"
"""The bytes of a state, or the path of a file that holds them."""


class Snapshot:
    """A console's whole state, in memory, for `Console.restore` of the same cartridge.

    Opaque; 11 MiB. It may be restored any number of times, on any console of this process or, as
    it can be pickled, of another, as long as ROM and emulator build are the same.
    """

    __slots__ = ("__weakref__", "build_id", "data", "drawing", "frame_count", "rom")

    def __init__(
        self,
        data: bytes | memoryview,
        rom: str,
        build_id: str,
        frame_count: int,
        drawing: bytes = b"",
    ) -> None:
        self.data = data
        self.rom = rom
        self.build_id = build_id
        self.frame_count = frame_count
        self.drawing = drawing
        """What is to be drawn in the next frames; where it is empty, the next one is."""

    def __repr__(self) -> str:
        return f"<Snapshot of frame {self.frame_count} of ROM {self.rom[:8]}>"

    def __reduce__(self) -> tuple[type[Snapshot], tuple[Any, ...]]:
        """A pickle holds bytes, whatever the data lies in here."""
        parts = (bytes(self.data), self.rom, self.build_id, self.frame_count, self.drawing)
        return Snapshot, parts


def pages(size: int) -> memoryview:
    """Memory of its own, zeros, which goes back to the system as soon as it is let go.

    Of what is of a snapshot's size, the C library would keep some in the heap of each thread that
    ever freed one.

    Args:
        size: bytes, more than 0.
    """
    return memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


def keep(data: bytes | memoryview) -> memoryview:
    """A read-only copy, in `pages`."""
    copy = pages(len(data))
    copy[:] = data
    return copy.toreadonly()


_BLOCK: Final = 512
"""Bytes that are kept together."""
_PIECE: Final = 128
"""Blocks that are compared at once."""
CHUNK_3D: Final = 90
"""Chunk of a DeSmuME state that holds the registers and queues of the 3D engine."""


_compare = ctypes.CDLL(None).memcmp
"""NumPy takes half as long again, as it writes down where it finds the same."""
_compare.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class Difference:
    """What makes one snapshot out of another: some 50 to 110 KiB instead of 11 MiB.

    The blocks that differ, one after another, as what has to be exclusive-ored into those of the
    other snapshot, deflated.

    Attributes:
        size: of the snapshot that is made, in bytes.
        frame_count: of it.
        rom: SHA-1 of its ROM.
        build_id: of its emulator.
    """

    __slots__ = ("blocks", "build_id", "content", "drawing", "frame_count", "rest", "rom", "size")

    def __init__(self, start: Snapshot, end: Snapshot, *, whole: bool = False) -> None:
        """Take the difference.

        Args:
            start: the snapshot that it will be applied to.
            end: the snapshot that is made.
            whole: to the last byte, for a snapshot that another difference is applied to; else
                what the emulator does not read is left as it is in ``start``.
        """
        self.size = len(end.data)
        self.frame_count = end.frame_count
        self.rom = end.rom
        self.build_id = end.build_id
        self.drawing = end.drawing
        new = _in_blocks(end.data)
        data = memoryview(start.data)[: new.nbytes]
        old = _in_blocks(data)
        # Where the start is shorter, it goes on with zeros.
        beyond = np.zeros((len(new) - len(old), _BLOCK), np.uint8)
        tail = np.frombuffer(data[old.nbytes :], np.uint8)
        beyond.reshape(-1)[: len(tail)] = tail
        more = beyond.view(np.uint64)
        old_at, new_at = old.ctypes.data, new.ctypes.data
        differing: list[NDArray[np.intp]] = []
        for low, high in [(0, len(new))] if whole else _living(end.data):
            for first in range(low, min(high, len(old)), _PIECE):
                piece = slice(first, min(first + _PIECE, high, len(old)))
                at, length = first * _BLOCK, (piece.stop - first) * _BLOCK
                if _compare(old_at + at, new_at + at, length):
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

    @property
    def nbytes(self) -> int:
        """Bytes that it takes up."""
        return len(self.content) + self.blocks.nbytes

    def apply(self, start: Snapshot, *, lasting: bool = True) -> Snapshot:
        """The snapshot that is made out of ``start``.

        Args:
            start: what the difference was taken from.
            lasting: False is faster, for a snapshot that is restored at once: the next such call
                of this thread writes over its data.

        Raises:
            StateError: the difference is damaged.
        """
        full = self.size // _BLOCK * _BLOCK
        whole = _scratch.begin(start, self.size)
        content = _inflate(self.content, len(self.blocks) * _BLOCK, "the difference")
        words = whole[:full].view(np.uint64).reshape(-1, _BLOCK // 8)
        if len(self.blocks) and not 0 <= self.blocks.min() <= self.blocks.max() < len(words):
            raise StateError("the difference is damaged: it has more blocks than the state")
        _scratch.change(self.blocks)
        words[self.blocks] ^= np.frombuffer(content, np.uint64).reshape(-1, _BLOCK // 8)
        whole[full:] = np.frombuffer(self.rest, np.uint8)
        data = keep(whole.data) if lasting else whole.data
        return Snapshot(data, self.rom, self.build_id, self.frame_count, self.drawing)

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle holds."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what a pickle holds."""
        for name in self.__slots__:
            setattr(self, name, state[name])


def _in_blocks(data: bytes | memoryview) -> NDArray[np.uint64]:
    """The whole blocks, as words: they compare fastest."""
    return np.frombuffer(data, np.uint64, len(data) // _BLOCK * (_BLOCK // 8)).reshape(
        -1, _BLOCK // 8
    )


class _Scratch(threading.local):
    """Memory of each thread to work in: new memory of this size costs more than the work.

    It holds a snapshot with some blocks changed. Where the next one to be changed is the same,
    only those blocks are put back, instead of copying all of it.
    """

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)
        self._start: Callable[[], Snapshot | None] = _nobody
        self._changed: NDArray[np.int32] = np.zeros(0, np.int32)
        self._end = 0

    def begin(self, start: Snapshot, size: int) -> NDArray[np.uint8]:
        """The snapshot's data, cut or filled up with zeros to a size; the last half block is free.

        Whatever whole blocks of it are changed afterwards, `change` must be told of before.
        """
        data = np.frombuffer(start.data, np.uint8)
        if self._start() is start and size <= len(self._memory):
            full = len(data) // _BLOCK
            changed = np.append(self._changed, self._end // _BLOCK)
            changed = changed[changed < full]
            words, memory = (
                whole[: full * _BLOCK].view(np.uint64).reshape(-1, _BLOCK // 8)
                for whole in (data, self._memory)
            )
            memory[changed] = words[changed]
            self._memory[full * _BLOCK : len(data)] = data[full * _BLOCK :]
            self._memory[len(data) : self._end] = 0
        else:
            self._start = _nobody
            needed = max(size, len(data)) + (1 << 20)
            if len(self._memory) < needed:
                self._memory = np.frombuffer(pages(needed), np.uint8)
            self._memory[: len(data)] = data
            self._memory[len(data) :] = 0
            self._start = weakref.ref(start)
        self._changed, self._end = self._changed[:0], size
        return self._memory[:size]

    def change(self, blocks: NDArray[np.int32]) -> None:
        """Note the numbers of blocks that are about to be changed."""
        self._changed = blocks


def _nobody() -> None:
    return None


_scratch: Final = _Scratch()


def chunks(state: bytes | memoryview) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each chunk of a plain, checked state; with its head of 8 bytes.

    The last one is the end mark, 0xFFFFFFFF, of 4 bytes.
    """
    place = DESMUME_HEADER.size
    while True:
        (number,) = struct.unpack_from("<I", state, place)
        if number == 0xFFFFFFFF:
            yield number, place, place + 4
            return
        (size,) = struct.unpack_from("<I", state, place + 4)
        yield number, place, place + 8 + size
        place += 8 + size


def entries(state: bytes | memoryview, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the data of each entry of a chunk that is a table."""
    place = start + 8
    while place < end:
        name, size, count = struct.unpack_from("<4s2I", state, place)
        place += 12
        yield name, place, place + size * count
        place += size * count


def _living(state: bytes | memoryview) -> list[tuple[int, int]]:
    """The blocks of a state that mean something, as spans.

    All but the queue of commands for the 3D engine where it is empty, as it is between two frames
    of most games. What was in it stays there, nobody reads it again, and it is most of what
    differs between two states.
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


# A saved state is this header, and DeSmuME's state deflated. Everything is little endian.
_STATE_MAGIC: Final = b"MKDSGYM\0"
_STATE_VERSION: Final = 1
_STATE_HEADER: Final = struct.Struct("<8sI20s32sQII")
# magic, version, SHA-1 of the ROM, SHA-256 of the emulator library, frames since power-on,
# size and CRC-32 of the state

_DESMUME_MAGIC: Final = b"DeSmuME SState\0\0"
DESMUME_HEADER: Final = struct.Struct("<16s4I")
# magic, format version, emulator version, size, compressed size or 0xFFFFFFFF
_DESMUME_FORMAT: Final = 12
_NOT_COMPRESSED: Final = 0xFFFFFFFF
_CHUNK_GAME: Final = 130
"""Chunk of a DeSmuME state that holds the header of the ROM."""
_MAX_STATE: Final = 64 << 20


def pack_state(snapshot: Snapshot) -> bytes:
    """The contents of a state file."""
    header = _STATE_HEADER.pack(
        _STATE_MAGIC,
        _STATE_VERSION,
        bytes.fromhex(snapshot.rom),
        bytes.fromhex(snapshot.build_id),
        snapshot.frame_count,
        len(snapshot.data),
        zlib.crc32(snapshot.data),
    )
    return header + zlib.compress(snapshot.data, 1)


def _inflate(data: bytes, size: int, name: str) -> bytes:
    """Exactly ``size`` bytes out of a deflated stream, never more."""
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(data, size + 1)
    except zlib.error as error:
        raise StateError(f"{name} is damaged: {error}") from None
    if len(plain) != size or not stream.eof:
        raise StateError(f"{name} is truncated or damaged; save it again")
    return plain


def unpack_state(data: bytes, name: str) -> Snapshot:
    """Read and check a state of ours."""
    if len(data) < _STATE_HEADER.size:
        raise StateError(f"{name} is truncated; save it again")
    _, version, rom, build, frames, size, crc = _STATE_HEADER.unpack_from(data)
    if version != _STATE_VERSION:
        raise StateError(
            f"{name} has format version {version}, and this mkds-gym reads {_STATE_VERSION}; "
            "save it again with this version"
        )
    if size > _MAX_STATE:
        raise StateError(f"{name} is damaged: a state of {size} bytes")
    plain = _inflate(data[_STATE_HEADER.size :], size, name)
    if zlib.crc32(plain) != crc:
        raise StateError(f"{name} is damaged: its checksum does not match; save it again")
    return Snapshot(plain, rom.hex(), build.hex(), frames)


def plain_desmume_state(data: bytes, name: str) -> bytes:
    """A DeSmuME state (``.dst``), not compressed, with its structure checked."""
    if len(data) < DESMUME_HEADER.size:
        raise StateError(f"{name} is truncated; save it again")
    magic, version, emulator, size, packed_size = DESMUME_HEADER.unpack_from(data)
    if version != _DESMUME_FORMAT:
        raise StateError(
            f"{name} has DeSmuME state format {version}, and this emulator reads "
            f"{_DESMUME_FORMAT}; save it again with DeSmuME 0.9.12 or newer"
        )
    if packed_size != _NOT_COMPRESSED:
        size -= DESMUME_HEADER.size
        if not 0 < size <= _MAX_STATE:
            raise StateError(f"{name} is damaged: a state of {size} bytes")
        body = _inflate(data[DESMUME_HEADER.size :], size, name)
        header = DESMUME_HEADER.pack(
            magic, version, emulator, DESMUME_HEADER.size + size, _NOT_COMPRESSED
        )
        data = header + body
    elif size != len(data):
        raise StateError(f"{name} is truncated: {len(data)} of {size} bytes; save it again")
    return data


def _game_header(state: bytes, name: str) -> bytes:
    """The ROM header in a plain DeSmuME state: walks all chunks, so that their sizes are right.

    The state is a sequence of chunks (u32 number, u32 size, data), ended by the number 0xFFFFFFFF.
    """
    game = b""
    place = DESMUME_HEADER.size
    while True:
        if place + 4 > len(state):
            raise StateError(f"{name} is damaged: no end mark")
        (number,) = struct.unpack_from("<I", state, place)
        if number == 0xFFFFFFFF:
            return game
        if place + 8 > len(state):
            raise StateError(f"{name} is damaged: no end mark")
        (size,) = struct.unpack_from("<I", state, place + 4)
        place += 8 + size
        if place > len(state):
            raise StateError(f"{name} is damaged: chunk {number} is longer than the file")
        if number == _CHUNK_GAME:
            # A table of (name, element size, count, data); the first is the header, b"GINF".
            chunk = state[place - size : place]
            if chunk[:4] == b"GINF":
                game = chunk[12:]


class ReadState(NamedTuple):
    """What `read_state` read and checked.

    Attributes:
        snapshot: the state.
        name: what to call it in messages.
    """

    snapshot: Snapshot
    name: str


def read_state(state: StateLike, cartridge: Cartridge, build_id: str) -> ReadState:
    """Read and check a state: bytes or file of `pack_state`, or a DeSmuME savestate (``.dst``).

    Args:
        state: bytes, or the path of a file.
        cartridge: the ROM that it must be of.
        build_id: the emulator build that it must be of.

    Returns:
        The state and its name.

    Raises:
        StateError: missing, truncated or damaged, of another ROM, or of another emulator build.
        TypeError: neither bytes nor a path.
    """
    if isinstance(state, (bytes, bytearray, memoryview)):
        data, name = bytes(state), "the state"
    else:
        path = file_path(
            "state", state, "the path of a file of Console.save_state or DeSmuME (.dst), or bytes"
        )
        name = f"state '{path}'"
        try:
            mode = path.stat().st_mode
            # Reading a pipe or a device may never end.
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise StateError(f"cannot read {name}: it is a device, pipe or socket")
            data = path.read_bytes()
        except FileNotFoundError:
            raise StateError(f"no {name}; make one with Console.save_state(path)") from None
        except StateError:
            raise
        except (OSError, ValueError) as error:
            raise StateError(f"cannot read {name}: {reason(error)}") from error
    if data.startswith(_STATE_MAGIC):
        snapshot = unpack_state(data, name)
        check_origin(snapshot, name, cartridge, build_id)
    elif data.startswith(_DESMUME_MAGIC):
        snapshot = _foreign_state(data, name, cartridge, build_id)
    else:
        raise StateError(
            f"{name} is no savestate: neither of Console.save_state nor of DeSmuME (.dst)"
        )
    _game_header(bytes(snapshot.data), name)
    return ReadState(snapshot, name)


class Origin(Protocol):
    """What a state says of where it comes from."""

    @property
    def rom(self) -> str:
        """SHA-1 of the ROM."""

    @property
    def build_id(self) -> str:
        """The emulator build."""


def check_origin(snapshot: Origin, name: str, cartridge: Cartridge, build_id: str) -> None:
    """Refuse a state of another ROM or another emulator build.

    Raises:
        StateError: the message names both.
    """
    if snapshot.rom != cartridge.sha1:
        raise StateError(
            f"{name} is of another ROM (SHA-1 {snapshot.rom}) than the one in the console, "
            f"'{cartridge.path}' ({cartridge.sha1}); open that ROM, or save the state again"
        )
    if snapshot.build_id != build_id:
        build = builds.KNOWN_BUILDS.get(snapshot.build_id)
        origin = build.name if build else f"SHA-256 {snapshot.build_id}"
        raise StateError(
            f"{name} is of another build of the emulator ({origin}); save it again with this one"
        )


def _foreign_state(data: bytes, name: str, cartridge: Cartridge, build_id: str) -> Snapshot:
    """A snapshot out of a raw DeSmuME state of the cartridge."""
    plain = plain_desmume_state(data, name)
    game = _game_header(plain, name)
    ours = cartridge.header
    # The whole header, which the emulator keeps as it is in the file. Where two ROMs have the same
    # one (a course replaced by a tool that leaves all sizes and checksums as they were), nothing
    # in such a state tells them apart.
    if game[: len(ours)] != ours:
        code = game[0x0C:0x10].decode("ascii", "replace") or "none"
        raise StateError(
            f"{name} is of another ROM (game code {code!r}) than the one in the console, "
            f"'{cartridge.path}' ({cartridge.game_code!r}, revision {cartridge.revision})"
        )
    return Snapshot(plain, cartridge.sha1, build_id, 0)
