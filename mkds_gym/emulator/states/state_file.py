"""Savestates on disk: read, check and write them.

A file is either our own (`pack_state`) or a savestate of DeSmuME (``.dst``). No check starts the
emulator.
"""

from __future__ import annotations

import logging
import stat
import struct
import zlib
from os import PathLike
from pathlib import Path
from typing import Final, NamedTuple, Protocol, TypeAlias

from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.desmume.builds import build_name
from mkds_gym.emulator.states.known_states import fingerprint, remember
from mkds_gym.emulator.states.snapshot import (
    DESMUME_HEADER,
    END_MARK,
    Snapshot,
    chunks,
    entries,
    inflate,
)
from mkds_gym.emulator.states.state_layout import CHUNK_MEMORY, TABLES, check_structure
from mkds_gym.errors import StateError, reason
from mkds_gym.utils.arguments import file_path
from mkds_gym.utils.files import write_bytes
from mkds_gym.utils.reading import read_file

logger = logging.getLogger(__name__)

StateLike: TypeAlias = "bytes | bytearray | memoryview | str | PathLike[str]"
"""The bytes of a state, or the path of a file that holds them."""

_MAGIC: Final = b"MKDSGYM\0"
_VERSION: Final = 1
_HEADER: Final = struct.Struct("<8sI20s32sQII")
"""Magic, version, SHA-1 of the ROM, SHA-256 of the emulator library, frames since power-on, size
and CRC-32 of the savestate. The savestate follows, deflated."""
_DESMUME_MAGIC: Final = b"DeSmuME SState\0\0"
_DESMUME_FORMAT: Final = 12
_EMULATOR_VERSION: Final = 91200
"""DeSmuME version in the states of py-desmume."""
OWN_VERSION: Final = "0.9.12"
"""The same, as text."""
_NOT_COMPRESSED: Final = 0xFFFFFFFF
_BACKLIGHTS: Final = 0x0C
"""Bits of both backlights in the first register of the power management chip."""
_FULL_LEVEL: Final = 3
"""Bits of the brightest level in the last register."""
_CONVERTED: Final = (TABLES - {110}) | {3, 7, 8, 51, 61, 81, 101, 111, 140, 150, END_MARK}
"""Chunks that are read from states of other versions: not 91 (polygons) nor 110 (wireless)."""
MAX_SIZE: Final = 64 << 20
"""Largest size of a savestate, bytes; those of DeSmuME have 11 MiB."""
_MAX_FRAMES: Final = 1 << 40
"""Most frames since power-on; more than five centuries."""


def pack_state(snapshot: Snapshot) -> bytes:
    """Return the contents of a state file.

    This process may load them without a trial, unless the snapshot is a foreign one.
    """
    header = _HEADER.pack(
        _MAGIC,
        _VERSION,
        bytes.fromhex(snapshot.rom),
        bytes.fromhex(snapshot.build_id),
        snapshot.frame_count,
        len(snapshot.data),
        zlib.crc32(snapshot.data),
    )
    data = header + zlib.compress(snapshot.data, 1)
    if not snapshot.foreign:
        remember(fingerprint(data, snapshot.rom, snapshot.build_id))
    return data


def state_target(path: str | PathLike[str]) -> Path:
    """Return the file that a state is to replace, with links resolved.

    Raises:
        StateError: the path leads to a folder or a device, or cannot be followed.
        TypeError: ``path`` is not a path.
    """
    target = file_path("path", path, "the path of a file to write, or None for bytes")
    try:
        target = target.resolve()
        mode = target.stat().st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise StateError(f"cannot write state '{path!s}': {reason(error)}") from error
    if stat.S_ISREG(mode) and target.name:
        return target
    found = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
    raise StateError(f"cannot write state '{path!s}': it is {found}; expected a file")


def write_state(path: Path, data: bytes) -> None:
    """Write what `pack_state` returned. Later processes load the file without a trial.

    Args:
        path: file to write. It is replaced only when the new one is complete.
        data: the contents.

    Raises:
        StateError: the file cannot be written.
    """
    write_bytes(path, data, StateError)
    _, _, rom, build, *_ = _HEADER.unpack_from(data)
    remember(fingerprint(data, rom.hex(), build.hex()), lasting=True)


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
    if frames > _MAX_FRAMES:
        raise StateError(f"{name} is damaged: its header gives a time of {frames:,} frames")
    plain = inflate(data[_HEADER.size :], size, name)
    if zlib.crc32(plain) != crc:
        raise StateError(f"{name} is damaged: its checksum does not match; save it again")
    return Snapshot(plain, rom.hex(), build.hex(), frames, checked=True)


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


def desmume_version(state: bytes | memoryview) -> str:
    """Return the version of DeSmuME that saved a state, such as ``0.9.12``."""
    number = DESMUME_HEADER.unpack_from(state)[2]
    return f"{number // 100000}.{number // 10000 % 10}.{number // 100 % 100}"


def is_of_other_version(state: bytes | memoryview) -> bool:
    """Return whether another version of DeSmuME than py-desmume's saved a state."""
    return bool(DESMUME_HEADER.unpack_from(state)[2] != _EMULATOR_VERSION)


def _of_own_version(state: bytes) -> bytes:
    """Convert a state of another version for py-desmume.

    Chunks that py-desmume lays out otherwise are left out: the wireless unit and the polygons of
    the next two pictures. DeSmuME 0.9.11 has no backlights, so both are switched on.
    """
    data = bytearray(state)
    parts = []
    for number, begin, end in chunks(state):
        if number == CHUNK_MEMORY:
            for name, first, last in entries(state, begin, end):
                if name == b"PMCR" and last - first == 5:
                    data[first] |= _BACKLIGHTS
                    data[last - 1] |= _FULL_LEVEL
        if number in _CONVERTED:
            parts.append(data[begin:end])
    body = b"".join(parts)
    magic, version, emulator, _, packed = DESMUME_HEADER.unpack_from(state)
    size = DESMUME_HEADER.size + len(body)
    return DESMUME_HEADER.pack(magic, version, emulator, size, packed) + body


def _check_size(size: int, name: str) -> None:
    if not 0 < size <= MAX_SIZE:
        raise StateError(f"{name} is damaged: its header gives a size of {size} bytes")


class ReadState(NamedTuple):
    """A state that `read_state` has checked.

    Attributes:
        snapshot: the state.
        name: its name for messages.
        fingerprint: `known_states.fingerprint` of its contents; empty: tried at each load.
    """

    snapshot: Snapshot
    name: str
    fingerprint: str = ""


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
        data = read_file(
            path, name, StateError, limit=MAX_SIZE, remedy="save one with Console.save_state(path)"
        )
    if data.startswith(_MAGIC):
        snapshot = unpack_state(data, name)
        check_origin(snapshot, name, cartridge, build_id)
        check_structure(snapshot.data, name)
    elif data.startswith(_DESMUME_MAGIC):
        snapshot = _desmume_snapshot(data, name, cartridge, build_id)
    else:
        raise StateError(
            f"{name} is not a savestate: expected a file of Console.save_state or of DeSmuME (.dst)"
        )
    return ReadState(snapshot, name, fingerprint(data, cartridge.sha1, build_id))


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
    game = check_structure(plain, name)
    # Two ROMs with the same header cannot be told apart: the state has nothing else of the ROM.
    if game[: len(cartridge.header)] != cartridge.header:
        code = game[0x0C:0x10].decode("ascii", "replace") or "none"
        raise StateError(
            f"{name} is of another ROM (game code {code!r}) than '{cartridge.path}' in the console "
            f"({cartridge.game_code!r}, revision {cartridge.revision})"
        )
    if is_of_other_version(plain):
        logger.info(
            "%s was saved by DeSmuME %s: polygons of the first pictures and wireless are left out",
            name,
            desmume_version(plain),
        )
        plain = _of_own_version(plain)
    return Snapshot(plain, cartridge.sha1, build_id, 0)
