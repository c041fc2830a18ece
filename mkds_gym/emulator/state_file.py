"""Savestates on disk: read, check and write them.

A file is either our own (`pack_state`) or a savestate of DeSmuME (``.dst``). No check starts the
emulator.
"""

from __future__ import annotations

import stat
import struct
import zlib
from os import PathLike
from pathlib import Path
from typing import Final, NamedTuple, Protocol, TypeAlias

from mkds_gym.emulator.builds import build_name
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.snapshot import DESMUME_HEADER, END_MARK, Snapshot, inflate
from mkds_gym.errors import StateError, reason
from mkds_gym.utils.arguments import file_path

StateLike: TypeAlias = "bytes | bytearray | memoryview | str | PathLike[str]"
"""The bytes of a state, or the path of a file that holds them."""

_MAGIC: Final = b"MKDSGYM\0"
_VERSION: Final = 1
_HEADER: Final = struct.Struct("<8sI20s32sQII")
"""Magic, version, SHA-1 of the ROM, SHA-256 of the emulator library, frames since power-on, size
and CRC-32 of the savestate. The savestate follows, deflated."""
_DESMUME_MAGIC: Final = b"DeSmuME SState\0\0"
_DESMUME_FORMAT: Final = 12
_NOT_COMPRESSED: Final = 0xFFFFFFFF
_CHUNK_GAME: Final = 130
"""Chunk of a DeSmuME savestate with the header of the ROM."""
_MAX_SIZE: Final = 64 << 20
"""Largest size of a savestate, bytes; those of DeSmuME have 11 MiB."""


def pack_state(snapshot: Snapshot) -> bytes:
    """Return the contents of a state file."""
    header = _HEADER.pack(
        _MAGIC,
        _VERSION,
        bytes.fromhex(snapshot.rom),
        bytes.fromhex(snapshot.build_id),
        snapshot.frame_count,
        len(snapshot.data),
        zlib.crc32(snapshot.data),
    )
    return header + zlib.compress(snapshot.data, 1)


def unpack_state(data: bytes, name: str) -> Snapshot:
    """Read and check what `pack_state` returned.

    Args:
        data: the contents of a state file.
        name: name of the state for messages.

    Raises:
        StateError: truncated, damaged or of another version.
    """
    if len(data) < _HEADER.size:
        raise StateError(f"{name} is truncated: save it again")
    _, version, rom, build, frames, size, crc = _HEADER.unpack_from(data)
    if version != _VERSION:
        raise StateError(
            f"{name} has format version {version}: expected version {_VERSION}; save it again "
            "with this version of mkds-gym"
        )
    _check_size(size, name)
    plain = inflate(data[_HEADER.size :], size, name)
    if zlib.crc32(plain) != crc:
        raise StateError(f"{name} is damaged: its checksum does not match; save it again")
    return Snapshot(plain, rom.hex(), build.hex(), frames)


def plain_desmume_state(data: bytes, name: str) -> bytes:
    """Return a DeSmuME savestate (``.dst``) uncompressed, after a check of its header.

    Raises:
        StateError: truncated, damaged or of another format.
    """
    packed = len(data) - DESMUME_HEADER.size
    if packed < 0:
        raise StateError(f"{name} is truncated: save it again")
    magic, version, emulator, size, packed_size = DESMUME_HEADER.unpack_from(data)
    if version != _DESMUME_FORMAT:
        raise StateError(
            f"{name} has DeSmuME state format {version}: expected format {_DESMUME_FORMAT}; save "
            "it again with DeSmuME 0.9.12 or newer"
        )
    if packed_size == _NOT_COMPRESSED:
        if size != len(data):
            raise StateError(f"{name} is truncated: {len(data)} of {size} bytes; save it again")
        return data
    # The size of a compressed state leaves out the header, that of an uncompressed state does not.
    _check_size(size, name)
    if packed < packed_size:
        raise StateError(f"{name} is truncated: {packed} of {packed_size} bytes; save it again")
    body = inflate(data[DESMUME_HEADER.size :][:packed_size], size, name)
    size += DESMUME_HEADER.size
    return DESMUME_HEADER.pack(magic, version, emulator, size, _NOT_COMPRESSED) + body


def _check_size(size: int, name: str) -> None:
    if not 0 < size <= _MAX_SIZE:
        raise StateError(f"{name} is damaged: its header gives a size of {size} bytes")


def _game_header(state: bytes | memoryview, name: str) -> bytes:
    """The ROM header in an uncompressed DeSmuME state. Checks the size of every chunk."""
    game = b""
    place = DESMUME_HEADER.size
    while True:
        if place + 4 > len(state):
            raise StateError(f"{name} is damaged: it has no end mark")
        (number,) = struct.unpack_from("<I", state, place)
        if number == END_MARK:
            return game
        if place + 8 > len(state):
            raise StateError(f"{name} is damaged: it has no end mark")
        (size,) = struct.unpack_from("<I", state, place + 4)
        place += 8 + size
        if place > len(state):
            raise StateError(f"{name} is damaged: chunk {number} is longer than the file")
        if number == _CHUNK_GAME:
            # The header is the first entry of a table.
            chunk = bytes(state[place - size : place])
            if chunk[:4] == b"GINF":
                game = chunk[12:]


class ReadState(NamedTuple):
    """A state that `read_state` has checked.

    Attributes:
        snapshot: the state.
        name: its name for messages.
    """

    snapshot: Snapshot
    name: str


def read_state(state: StateLike, cartridge: Cartridge, build_id: str) -> ReadState:
    """Read and check a state: bytes or a file of `pack_state`, or a DeSmuME savestate (``.dst``).

    Args:
        state: the bytes, or the path of a file.
        cartridge: the ROM that the state must be of.
        build_id: the emulator build that the state must be of.

    Raises:
        StateError: missing, truncated, damaged, of another ROM, or of another emulator build.
        TypeError: ``state`` is neither bytes nor a path.
    """
    if isinstance(state, (bytes, bytearray, memoryview)):
        data, name = bytes(state), "the state"
    else:
        path = file_path(
            "state", state, "the path of a file of Console.save_state or DeSmuME (.dst), or bytes"
        )
        name = f"state '{path}'"
        data = _read_file(path, name)
    if data.startswith(_MAGIC):
        snapshot = unpack_state(data, name)
        check_origin(snapshot, name, cartridge, build_id)
        _game_header(snapshot.data, name)
    elif data.startswith(_DESMUME_MAGIC):
        snapshot = _desmume_snapshot(data, name, cartridge, build_id)
    else:
        raise StateError(
            f"{name} is not a savestate: expected a file of Console.save_state or of DeSmuME (.dst)"
        )
    return ReadState(snapshot, name)


def _read_file(path: Path, name: str) -> bytes:
    try:
        status = path.stat()
        if status.st_size > _MAX_SIZE and stat.S_ISREG(status.st_mode):
            raise StateError(
                f"{name} is not a savestate: it has {status.st_size:,} bytes, expected at most "
                f"{_MAX_SIZE:,}"
            )
        if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
            return path.read_bytes()
    except FileNotFoundError:
        raise StateError(f"{name} does not exist: save one with Console.save_state(path)") from None
    except (OSError, ValueError) as error:
        raise StateError(f"cannot read {name}: {reason(error)}") from error
    # Reading a pipe or a device may never end.
    raise StateError(f"cannot read {name}: it is a device, pipe or socket")


class Origin(Protocol):
    """Something that knows which ROM and emulator build it comes from."""

    @property
    def rom(self) -> str:
        """SHA-1 of the ROM."""

    @property
    def build_id(self) -> str:
        """SHA-256 of the emulator library."""


def check_origin(snapshot: Origin, name: str, cartridge: Cartridge, build_id: str) -> None:
    """Refuse a state of another ROM or another emulator build.

    Raises:
        StateError: the message names both.
    """
    if snapshot.rom != cartridge.sha1:
        raise StateError(
            f"{name} is of another ROM (SHA-1 {snapshot.rom}) than '{cartridge.path}' "
            f"({cartridge.sha1}) in the console: open that ROM, or save the state again"
        )
    if snapshot.build_id != build_id:
        raise StateError(
            f"{name} is of another build of the emulator ({build_name(snapshot.build_id)}): save "
            "it again with this build"
        )


def _desmume_snapshot(data: bytes, name: str, cartridge: Cartridge, build_id: str) -> Snapshot:
    """A snapshot from a DeSmuME savestate of the cartridge."""
    plain = plain_desmume_state(data, name)
    game = _game_header(plain, name)
    # Two ROMs with the same header cannot be told apart: the state has nothing else of the ROM.
    if game[: len(cartridge.header)] != cartridge.header:
        code = game[0x0C:0x10].decode("ascii", "replace") or "none"
        raise StateError(
            f"{name} is of another ROM (game code {code!r}) than '{cartridge.path}' in the console "
            f"({cartridge.game_code!r}, revision {cartridge.revision})"
        )
    return Snapshot(plain, cartridge.sha1, build_id, 0)
