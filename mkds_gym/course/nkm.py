"""Course maps in the NKM format of Mario Kart DS, from a file or from a running race.

An NKM has a header ("NKMD", u16 version, u16 header length, u32 section offsets from the end of the
header) and sections. A section is a four-letter name, a u32 count and the entries; STAG is one
entry without a count. Numbers are little endian, positions fx32 (12 fraction bits).

Source: the project's notes on the file formats. Where the notes give only an entry's size, `data`
holds the rest of the entry.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator.hardware import RAM_START
from mkds_gym.errors import CourseFormatError
from mkds_gym.race.memory_layout import FIRST_MAP_LISTS, MAP_DATA, MAP_LIST, MAP_LISTS
from mkds_gym.race.packing import field_slice
from mkds_gym.utils.arguments import binary

VERSION = 37
"""Version of all courses of the game. The layout of other versions is unknown."""

_VECTOR = ("<i4", (3,))

OBJECT = np.dtype(
    [
        ("position", *_VECTOR),
        ("rotation", *_VECTOR),
        ("scale", *_VECTOR),
        ("id", "<u2"),
        ("path", "<i2"),
        ("settings", "<i2", (7,)),
        ("flags", "<i2"),
        ("time_trial", "<u4"),
    ]
)
"""OBJI: a map object. `path` is -1 without a path; `time_trial` is 0 to hide it in time trials."""

PATH = np.dtype([("id", "u1"), ("loop", "u1"), ("points", "<u2")])
"""PATH: a path with the next `points` entries of POIT."""

POINT = np.dtype(
    [
        ("position", *_VECTOR),
        ("index", "u1"),
        ("unknown", "u1"),
        ("duration", "<i2"),
        ("unknown_2", "<u4"),
    ]
)
"""POIT: a point of a path."""

STAGE = np.dtype(
    [
        ("course", "<u2"),
        ("laps", "<u2"),
        ("pole_position", "u1"),
        ("fog", "u1"),
        ("unknown", "u1", (2,)),
        ("unknown_2", "u1", (8,)),
        ("fog_density", "<i4"),
        ("fog_colour", "<u4"),
        ("colours", "<u2", (4,)),
        ("object_far_clip", "<i4"),
        ("far_clip", "<i4"),
    ]
)
"""STAG: settings of the course."""

START = np.dtype(
    [("position", *_VECTOR), ("rotation", *_VECTOR), ("padding", "<u2"), ("index", "<i2")]
)
"""KTPS, KTP2, KTPC, KTPM: position and rotation (degrees, fx32) of a kart."""

RESPAWN = np.dtype(
    [
        ("position", *_VECTOR),
        ("rotation", *_VECTOR),
        ("enemy_point", "<u2"),
        ("item_point", "<u2"),
        ("id", "<i2"),
        ("padding", "<i2"),
    ]
)
"""KTPJ: a respawn point."""

CHECKPOINT = np.dtype(
    [
        ("x1", "<i4"),
        ("z1", "<i4"),
        ("x2", "<i4"),
        ("z2", "<i4"),
        ("sin", "<i4"),
        ("cos", "<i4"),
        ("distance", "<i4"),
        ("goto_section", "<i2"),
        ("start_section", "<i2"),
        ("key", "<i2"),
        ("respawn", "u1"),
        ("flags", "u1"),
    ]
)
"""CPOI: a line across the track; 1 is the left end and 2 the right end in driving direction."""

SECTION = np.dtype(
    [
        ("start", "<u2"),
        ("length", "<u2"),
        ("next", "u1", (3,)),
        ("previous", "u1", (3,)),
        ("order", "u1"),
        ("padding", "u1"),
    ]
)
"""CPAT, IPAT, EPAT: consecutive points, with up to three next and previous sections."""

ITEM_POINT = np.dtype(
    [("position", *_VECTOR), ("radius", "<i4"), ("unknown", "u1"), ("padding", "u1", (3,))]
)
"""IPOI: a point of the items' route."""

ENEMY_POINT = np.dtype(
    [
        ("position", *_VECTOR),
        ("radius", "<i4"),
        ("drifting", "<u2"),
        ("unknown", "<u2"),
        ("unknown_2", "<u4"),
    ]
)
"""EPOI: a point of the CPU drivers' route."""

AREA = np.dtype([("position", *_VECTOR), ("data", "V60")])
"""AREA: a box that switches replay cameras."""

CAMERA = np.dtype([("position", *_VECTOR), ("data", "V64")])
"""CAME: a replay or introduction camera."""

NO_SECTION = 0xFF
"""Unused entry of a section's `next` and `previous`."""

SECTIONS: tuple[tuple[str, str, np.dtype[np.void] | None], ...] = (
    ("OBJI", "objects", OBJECT),
    ("PATH", "paths", PATH),
    ("POIT", "points", POINT),
    ("STAG", "stage", STAGE),
    ("KTPS", "starts", START),
    ("KTPJ", "respawns", RESPAWN),
    ("KTP2", "lap_points", START),
    ("KTPC", "cannons", START),
    ("KTPM", "missions", START),
    ("CPOI", "checkpoints", CHECKPOINT),
    ("CPAT", "checkpoint_paths", SECTION),
    ("IPOI", "item_points", ITEM_POINT),
    ("IPAT", "item_paths", SECTION),
    ("EPOI", "enemy_points", ENEMY_POINT),
    ("EPAT", "enemy_paths", SECTION),
    ("MEPO", "mini_enemy_points", None),
    ("MEPA", "mini_enemy_paths", None),
    ("AREA", "areas", AREA),
    ("CAME", "cameras", CAMERA),
)
"""Magic, attribute of `NKM` and dtype of the sections in file order; None is an unknown dtype."""

_BY_NAME = {magic.encode(): (name, dtype) for magic, name, dtype in SECTIONS}

# Offsets of the pointers in the game's map data; a u16 count follows each pointer but STAG's.
_IN_RAM: dict[str, int] = {
    **{name: MAP_LIST.itemsize * index for index, name in enumerate(FIRST_MAP_LISTS)},
    "STAG": field_slice(MAP_DATA, "stage").start,
    **{
        name: field_slice(MAP_DATA, "lists").start + MAP_LIST.itemsize * index
        for index, name in enumerate(MAP_LISTS)
    },
}


def _none(dtype: np.dtype[np.void] | None) -> NDArray[np.void]:
    empty = np.empty(0, dtype=dtype if dtype is not None else np.dtype("V1"))
    empty.flags.writeable = False
    return empty


@dataclass(frozen=True, eq=False)
class NKM:
    """Map of a course: one structured array per section, empty for a missing section.

    The values are as stored (fx32 integers), the dtypes are constants of this module.

    Attributes:
        stage: one entry of `STAGE`, or None without STAG.
        objects: OBJI, dtype `OBJECT`.
        paths: PATH.
        points: POIT.
        starts: KTPS, dtype `START`.
        respawns: KTPJ, dtype `RESPAWN`.
        lap_points: KTP2, dtype `START`.
        cannons: KTPC, dtype `START`.
        missions: KTPM, dtype `START`.
        checkpoints: CPOI, dtype `CHECKPOINT`.
        checkpoint_paths: CPAT, dtype `SECTION`.
        item_points: IPOI.
        item_paths: IPAT, dtype `SECTION`.
        enemy_points: EPOI.
        enemy_paths: EPAT, dtype `SECTION`.
        mini_enemy_points: MEPO, undecoded (battle stages; empty when read from RAM).
        mini_enemy_paths: MEPA, undecoded (battle stages; empty when read from RAM).
        areas: AREA.
        cameras: CAME.
        sections: names of the sections in file order.
    """

    stage: NDArray[np.void] | None = None
    objects: NDArray[np.void] = field(default_factory=lambda: _none(OBJECT))
    paths: NDArray[np.void] = field(default_factory=lambda: _none(PATH))
    points: NDArray[np.void] = field(default_factory=lambda: _none(POINT))
    starts: NDArray[np.void] = field(default_factory=lambda: _none(START))
    respawns: NDArray[np.void] = field(default_factory=lambda: _none(RESPAWN))
    lap_points: NDArray[np.void] = field(default_factory=lambda: _none(START))
    cannons: NDArray[np.void] = field(default_factory=lambda: _none(START))
    missions: NDArray[np.void] = field(default_factory=lambda: _none(START))
    checkpoints: NDArray[np.void] = field(default_factory=lambda: _none(CHECKPOINT))
    checkpoint_paths: NDArray[np.void] = field(default_factory=lambda: _none(SECTION))
    item_points: NDArray[np.void] = field(default_factory=lambda: _none(ITEM_POINT))
    item_paths: NDArray[np.void] = field(default_factory=lambda: _none(SECTION))
    enemy_points: NDArray[np.void] = field(default_factory=lambda: _none(ENEMY_POINT))
    enemy_paths: NDArray[np.void] = field(default_factory=lambda: _none(SECTION))
    mini_enemy_points: NDArray[np.void] = field(default_factory=lambda: _none(None))
    mini_enemy_paths: NDArray[np.void] = field(default_factory=lambda: _none(None))
    areas: NDArray[np.void] = field(default_factory=lambda: _none(AREA))
    cameras: NDArray[np.void] = field(default_factory=lambda: _none(CAMERA))
    sections: tuple[str, ...] = tuple(
        magic for magic, _, _ in SECTIONS if magic not in ("MEPO", "MEPA")
    )

    @classmethod
    def from_bytes(cls, data: bytes) -> NKM:
        """Read a ``course_map.nkm``.

        Args:
            data: the whole file.

        Raises:
            CourseFormatError: something is out of bounds, unknown or duplicate; `offset` is in the
                file.
        """
        data = binary("data", data)
        if len(data) < 8:
            raise CourseFormatError(f"NKM of {len(data)} bytes is shorter than its header", 0)
        magic, version, header_size = struct.unpack_from("<4sHH", data)
        if magic != b"NKMD":
            raise CourseFormatError(f"not an NKM: begins with {magic!r}, not b'NKMD'", 0)
        if version != VERSION:
            raise CourseFormatError(f"NKM version {version} is unknown: expected {VERSION}", 4)
        if header_size < 8 or header_size % 4 or header_size > len(data):
            raise CourseFormatError(f"NKM header length {header_size:#x} is invalid", 6)
        count = (header_size - 8) // 4
        if count > len(SECTIONS):
            raise CourseFormatError(
                f"NKM has {count} sections: expected at most {len(SECTIONS)}", 6
            )
        starts = [header_size + offset for offset in struct.unpack_from(f"<{count}I", data, 8)]
        arrays: dict[str, NDArray[np.void]] = {}
        names: list[str] = []
        for index, start in enumerate(starts):
            if start + 4 > len(data):
                raise CourseFormatError(f"section {index} is out of bounds", 8 + 4 * index)
            magic = data[start : start + 4]
            if magic not in _BY_NAME:
                raise CourseFormatError(f"unknown section {magic!r}", start)
            name, dtype = _BY_NAME[magic]
            if name in arrays:
                raise CourseFormatError(f"section {magic.decode()} is there twice", start)
            # A section ends where the next one in the file begins.
            end = min([other for other in starts if other > start] + [len(data)])
            arrays[name] = _read_section(data, magic.decode(), dtype, start, end)
            names.append(magic.decode())
        return _build(arrays, tuple(names))

    @classmethod
    def from_ram(cls, ram: NDArray[np.uint8], map_data_address: int) -> NKM:
        """Read the map of the running race.

        Args:
            ram: main memory, (0x400000,) uint8; index 0 is address 0x02000000.
            map_data_address: address of the game's map data.

        Raises:
            CourseFormatError: a pointer or a count is out of bounds; `offset` is an address.
        """
        arrays: dict[str, NDArray[np.void]] = {}
        for magic, name, dtype in SECTIONS:
            if dtype is not None:
                entries = _section_in_ram(ram, map_data_address, magic, dtype)
                if entries:
                    arrays[name] = np.frombuffer(entries, dtype)
        return _build(arrays)

    def save(self) -> bytes:
        """Return the file: the same bytes as the file read, if that has no gaps."""
        arrays = {magic: getattr(self, name) for magic, name, _ in SECTIONS}
        offsets: list[int] = []
        body = bytearray()
        for magic in self.sections:
            offsets.append(len(body))
            array = arrays[magic]
            body += magic.encode()
            if magic == "STAG":
                body += bytes(STAGE.itemsize) if array is None else array.tobytes()
            else:
                body += struct.pack("<I", len(array)) + array.tobytes()
        header = struct.pack("<4sHH", b"NKMD", VERSION, 8 + 4 * len(offsets))
        return header + struct.pack(f"<{len(offsets)}I", *offsets) + bytes(body)

    @property
    def checksum(self) -> int:
        """CRC-32 of the checkpoints and their sections; equal to `checksum_ram`."""
        return zlib.crc32(self.checkpoint_paths.tobytes(), zlib.crc32(self.checkpoints.tobytes()))


def checksum_ram(ram: NDArray[np.uint8], map_data_address: int) -> int:
    """Return `NKM.checksum` of the map in memory without decoding the map.

    Args:
        ram: main memory, (0x400000,) uint8; index 0 is address 0x02000000.
        map_data_address: address of the game's map data.

    Raises:
        CourseFormatError: memory has no map; `offset` is an address.
    """
    value = 0
    for magic, dtype in (("CPOI", CHECKPOINT), ("CPAT", SECTION)):
        value = zlib.crc32(_section_in_ram(ram, map_data_address, magic, dtype), value)
    return value


def _section_in_ram(
    ram: NDArray[np.uint8], map_data_address: int, magic: str, dtype: np.dtype[np.void]
) -> bytes:
    """Return the entries of a section in memory."""
    start = map_data_address - RAM_START
    if not 0 <= start <= len(ram) - MAP_DATA.itemsize:
        raise CourseFormatError("map data is outside main memory", map_data_address)
    offset = _IN_RAM[magic]
    pointer, count = struct.unpack("<IH", ram[start + offset : start + offset + 6].tobytes())
    begin = pointer - RAM_START
    if magic == "STAG":
        count = 1 if pointer else 0
        # Sources differ on whether the pointer is to the section's name or to the data behind.
        if ram[max(begin, 0) : max(begin, 0) + 4].tobytes() == b"STAG":
            begin += 4
    if count == 0:
        return b""
    end = begin + count * dtype.itemsize
    if begin < 0 or end > len(ram):
        raise CourseFormatError(
            f"{magic} of {count} entries at {pointer:#010x} is outside main memory",
            map_data_address + offset,
        )
    return ram[begin:end].tobytes()


def _read_section(
    data: bytes, magic: str, dtype: np.dtype[np.void] | None, start: int, end: int
) -> NDArray[np.void]:
    """Return the entries of the section whose name is at `start` and whose limit is `end`."""
    if magic == "STAG":
        begin, count = start + 4, 1
    else:
        if start + 8 > end:
            raise CourseFormatError(f"section {magic} has no room for its count", start)
        (count,) = struct.unpack_from("<I", data, start + 4)
        begin = start + 8
    if dtype is None:
        size = (end - begin) // count if count else 1
        if size == 0:
            raise CourseFormatError(f"section {magic} has no room for {count} entries", start + 4)
        dtype = np.dtype(f"V{size}")
    if begin + count * dtype.itemsize > end:
        raise CourseFormatError(
            f"section {magic} has no room for {count} entries of {dtype.itemsize} bytes", start + 4
        )
    return np.frombuffer(data[begin : begin + count * dtype.itemsize], dtype)


def _build(arrays: dict[str, NDArray[np.void]], sections: tuple[str, ...] | None = None) -> NKM:
    """Return an NKM of these sections; `stage` becomes a single entry."""
    stage = arrays.pop("stage", None)
    values: dict[str, Any] = {**arrays, "stage": None if stage is None else stage.reshape(())}
    if sections is not None:
        values["sections"] = sections
    return NKM(**values)
