"""Course map: the NKM format of Mario Kart DS, from a file or from a running race.

An NKM is a header ("NKMD", u16 version, u16 header length, u32 section offsets from the end of
the header) and sections: a four-letter name, a u32 count, and so many entries. STAG is one entry
without a count. Positions are fx32 (12 fraction bits), all numbers little-endian.

Source of the layouts: the project's notes on the file formats. Where they only give an entry's
size, the rest of the entry is kept as `data`.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator.hardware import RAM_START
from mkds_gym.errors import CourseFormatError

VERSION = 37
"""The version of every course of the game as shipped, and the only one whose layout is known."""

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
"""OBJI: a map object; `path` is -1 for none, `time_trial` whether it is there in time trials."""

PATH = np.dtype([("id", "u1"), ("loop", "u1"), ("points", "<u2")])
"""PATH: a path of so many of the following POIT points."""

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
"""STAG: the course's own numbers."""

START = np.dtype(
    [("position", *_VECTOR), ("rotation", *_VECTOR), ("padding", "<u2"), ("index", "<i2")]
)
"""KTPS (and KTP2, KTPC, KTPM): where and how (degrees, fx32) a kart is put."""

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
"""KTPJ: where a kart comes back after a fall."""

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
"""CPOI: a line across the track, left end then right end when driving the right way."""

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
"""CPAT, IPAT, EPAT: a run of checkpoints or points; up to three ways on and back, 0xFF none."""

ITEM_POINT = np.dtype(
    [("position", *_VECTOR), ("radius", "<i4"), ("unknown", "u1"), ("padding", "u1", (3,))]
)
"""IPOI: a point of the route of items."""

ENEMY_POINT = np.dtype(
    [
        ("position", *_VECTOR),
        ("radius", "<i4"),
        ("drifting", "<u2"),
        ("unknown", "<u2"),
        ("unknown_2", "<u4"),
    ]
)
"""EPOI: a point of the route of computer drivers."""

AREA = np.dtype([("position", *_VECTOR), ("data", "V60")])
"""AREA: a box that switches replay cameras."""

CAMERA = np.dtype([("position", *_VECTOR), ("data", "V64")])
"""CAME: a replay or introduction camera."""

NO_SECTION = 0xFF
"""In a section's `next` and `previous`: no further way."""

# In the file's order: magic, attribute of `NKM`, dtype (None: size follows from the file).
_SECTIONS: tuple[tuple[str, str, np.dtype[np.void] | None], ...] = (
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
_BY_MAGIC = {magic.encode(): (name, dtype) for magic, name, dtype in _SECTIONS}

# Offset in the game's map data struct of the pointer; the u16 count is 4 behind it (STAG: none).
# MEPO and MEPA are left out: battle stages only, and their entries' size is not in memory.
_IN_RAM: tuple[tuple[str, int], ...] = (
    ("OBJI", 0x00),
    ("PATH", 0x08),
    ("POIT", 0x10),
    ("STAG", 0x18),
    ("KTPS", 0x1C),
    ("KTPJ", 0x24),
    ("KTP2", 0x2C),
    ("KTPC", 0x34),
    ("KTPM", 0x3C),
    ("CPOI", 0x44),
    ("CPAT", 0x4C),
    ("IPOI", 0x54),
    ("IPAT", 0x5C),
    ("EPOI", 0x64),
    ("EPAT", 0x6C),
    ("AREA", 0x74),
    ("CAME", 0x7C),
)
_MAP_DATA_SIZE = 0x110


def _none(dtype: np.dtype[np.void] | None) -> NDArray[np.void]:
    empty = np.empty(0, dtype=dtype if dtype is not None else np.dtype("V1"))
    empty.flags.writeable = False
    return empty


@dataclass(frozen=True, eq=False)
class NKM:
    """A course's map: one structured array per section, empty where the file has none.

    The fields are as stored (fx32 integers); the dtypes are this module's constants.

    Attributes:
        stage: one entry of `STAGE`, or None if the file has none.
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
        mini_enemy_points: MEPO, uninterpreted (battle stages only; empty when read from RAM).
        mini_enemy_paths: MEPA, likewise.
        areas: AREA.
        cameras: CAME.
        sections: the magics present, in the file's order.
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
        magic for magic, _, _ in _SECTIONS if magic not in ("MEPO", "MEPA")
    )

    @classmethod
    def from_bytes(cls, data: bytes) -> NKM:
        """Read a ``course_map.nkm``.

        Args:
            data: the whole file.

        Raises:
            CourseFormatError: if anything in it is out of bounds, unknown or there twice; names
                the offset.
        """
        data = bytes(data)
        if len(data) < 8:
            raise CourseFormatError(f"NKM of {len(data)} bytes is shorter than its header", 0)
        magic, version, header_size = struct.unpack_from("<4sHH", data)
        if magic != b"NKMD":
            raise CourseFormatError(f"not an NKM: begins with {magic!r}, not b'NKMD'", 0)
        if version != VERSION:
            raise CourseFormatError(f"NKM version {version}; only {VERSION} is known", 4)
        if header_size < 8 or header_size % 4 or header_size > len(data):
            raise CourseFormatError(f"NKM header length {header_size:#x} is unsound", 6)
        count = (header_size - 8) // 4
        if count > len(_SECTIONS):
            raise CourseFormatError(
                f"NKM with {count} sections; {len(_SECTIONS)} kinds are known", 6
            )
        starts = [header_size + offset for offset in struct.unpack_from(f"<{count}I", data, 8)]
        arrays: dict[str, NDArray[np.void]] = {}
        names: list[str] = []
        for index, start in enumerate(starts):
            if start + 4 > len(data):
                raise CourseFormatError(f"section {index} is out of bounds", 8 + 4 * index)
            magic = data[start : start + 4]
            if magic not in _BY_MAGIC:
                raise CourseFormatError(f"unknown section {magic!r}", start)
            name, dtype = _BY_MAGIC[magic]
            if name in arrays:
                raise CourseFormatError(f"second section {magic.decode()}", start)
            # Sections end where the next begins, wherever in the list that one stands.
            end = min([other for other in starts if other > start] + [len(data)])
            arrays[name] = _read_section(data, magic.decode(), dtype, start, end)
            names.append(magic.decode())
        return _build(arrays, tuple(names))

    @classmethod
    def from_ram(cls, ram: NDArray[np.uint8], map_data_address: int) -> NKM:
        """Read the map of the race that is running.

        Args:
            ram: main memory, (0x400000,) uint8; index 0 is address 0x02000000.
            map_data_address: address of the game's map data struct (where its static pointer
                points, not the pointer's own address).

        Raises:
            CourseFormatError: if a pointer or a count is out of bounds; `offset` is an address.
        """
        start = map_data_address - RAM_START
        if not 0 <= start <= len(ram) - _MAP_DATA_SIZE:
            raise CourseFormatError("map data is outside main memory", map_data_address)
        table = ram[start : start + _MAP_DATA_SIZE].tobytes()
        arrays: dict[str, NDArray[np.void]] = {}
        for magic, offset in _IN_RAM:
            name, dtype = _BY_MAGIC[magic.encode()]
            assert dtype is not None
            (pointer,) = struct.unpack_from("<I", table, offset)
            count = 1
            if magic != "STAG":
                (count,) = struct.unpack_from("<H", table, offset + 4)
            if count == 0 or (magic == "STAG" and pointer == 0):
                if dtype is not STAGE:
                    arrays[name] = _none(dtype)
                continue
            begin = pointer - RAM_START
            # Readers of the game disagree on whether this one points at the section's name or
            # behind it; the name itself decides.
            if magic == "STAG" and ram[max(begin, 0) : max(begin, 0) + 4].tobytes() == b"STAG":
                begin += 4
            end = begin + count * dtype.itemsize
            if begin < 0 or end > len(ram):
                raise CourseFormatError(
                    f"{magic} of {count} entries at {pointer:#010x} is outside main memory",
                    map_data_address + offset,
                )
            array = np.frombuffer(ram[begin:end].tobytes(), dtype)
            array.flags.writeable = False
            arrays[name] = array
        return _build(arrays)

    def save(self) -> bytes:
        """The file: byte for byte the one read, if its sections were packed without gaps."""
        arrays = {magic: getattr(self, name) for magic, name, _ in _SECTIONS}
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
        """CRC-32 that `checksum_ram` finds again in memory: of checkpoints and their sections."""
        return zlib.crc32(self.checkpoint_paths.tobytes(), zlib.crc32(self.checkpoints.tobytes()))


def checksum_ram(ram: NDArray[np.uint8], map_data_address: int) -> int:
    """`NKM.checksum` of the map in memory, without decoding the rest.

    Args:
        ram: main memory, (0x400000,) uint8; index 0 is address 0x02000000.
        map_data_address: address of the game's map data struct.

    Raises:
        CourseFormatError: if there is no map there; `offset` is an address.
    """
    start = map_data_address - RAM_START
    if not 0 <= start <= len(ram) - _MAP_DATA_SIZE:
        raise CourseFormatError("map data is outside main memory", map_data_address)
    value = 0
    for offset, size in ((0x44, CHECKPOINT.itemsize), (0x4C, SECTION.itemsize)):
        entry = ram[start + offset : start + offset + 6].tobytes()
        pointer, count = struct.unpack("<IH", entry)
        begin = pointer - RAM_START if count else 0
        if begin < 0 or begin + count * size > len(ram):
            raise CourseFormatError(
                f"checkpoints at {pointer:#010x} are outside main memory", map_data_address + offset
            )
        value = zlib.crc32(ram[begin : begin + count * size].tobytes(), value)
    return value


def _read_section(
    data: bytes, magic: str, dtype: np.dtype[np.void] | None, start: int, end: int
) -> NDArray[np.void]:
    """Entries of the section whose name is at `start` and that can at most reach to `end`."""
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
    """An NKM of these sections; `stage` is a single entry, not an array of one."""
    stage = arrays.pop("stage", None)
    if sections is None:
        return NKM(None if stage is None else stage.reshape(()), **arrays)  # type: ignore[arg-type]
    return NKM(
        None if stage is None else stage.reshape(()),
        **arrays,
        sections=sections,
    )
