"""Course collision: the KCL format of Mario Kart DS, from a file or from a running race.

A KCL describes triangles as *prisms*: a corner, the face normal, three edge normals and one
height. An octree over the course's bounding cube lists the prisms that touch each cell. All
numbers are little-endian fixed point with 12 fraction bits.

Layout (sizes in bytes; source: the project's notes on the file formats, which name the
decompilation and two readers that agree):

- header 0x3C: u32 offsets of positions, normals, prisms, octree; fx32 prism thickness; fx32[3]
  area minimum; u32 masks for x, y and z; u32 block width shift, x blocks shift, xy blocks shift;
  fx32 sphere radius;
- positions fx32[3]; normals fx16[3]; prisms of 0x10 (`PRISM`), whose offset points 0x10 *before*
  the first one, as the octree counts prisms from 1; octree to the end of the file.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator.hardware import RAM_START
from mkds_gym.errors import CourseFormatError

FX_ONE = 4096
"""One world unit in the fixed-point numbers of the format (12 fraction bits)."""

HEADER_SIZE = 0x3C
PRISM_SIZE = 0x10

PRISM = np.dtype(
    [
        ("height", "<i4"),
        ("position", "<u2"),
        ("face_normal", "<u2"),
        ("edge_normals", "<u2", (3,)),
        ("attribute", "<u2"),
    ]
)
"""A prism as stored; `height` is fx32, the others are indices, `attribute` a bit field."""

_HEADER = struct.Struct("<4Ii3i3I3Ii")
_LEAF = 0x80000000
_NO_PRISMS: NDArray[np.int64] = np.empty(0, dtype=np.int64)
_NO_PRISMS.flags.writeable = False


class CollisionType(IntEnum):
    """What a prism is made of (attribute bits 8 to 12)."""

    ROAD = 0
    SLIPPERY_ROAD = 1
    WEAK_OFF_ROAD = 2
    OFF_ROAD = 3
    SOUND_TRIGGER = 4
    HEAVY_OFF_ROAD = 5
    SLIPPERY_ROAD_2 = 6
    BOOST_PAD = 7
    WALL = 8
    INVISIBLE_WALL = 9
    OUT_OF_BOUNDS = 10
    FALL_BOUNDARY = 11
    JUMP_PAD = 12
    ROAD_NON_DRIVERS = 13
    WALL_NON_DRIVERS = 14
    CANNON_ACTIVATOR = 15
    EDGE_WALL = 16
    FALLS_WATER = 17
    BOOST_PAD_MINIMUM_SPEED = 18
    LOOP = 19
    SPECIAL_ROAD = 20
    WALL_3 = 21
    FORCE_ROUTE_RECALCULATION = 22


OFF_ROAD_TYPES = frozenset(
    {CollisionType.WEAK_OFF_ROAD, CollisionType.OFF_ROAD, CollisionType.HEAVY_OFF_ROAD}
)
"""The types that sensors and metrics call off-road."""

WALL_TYPES = frozenset(
    {
        CollisionType.WALL,
        CollisionType.INVISIBLE_WALL,
        CollisionType.EDGE_WALL,
        CollisionType.WALL_3,
    }
)
"""The types that stop a driver even where the wall bit is not set."""

# A prism whose edges meet at less than this (the sine of the angle) is not a triangle: an fx16
# normal is only good to 1/8192, so anything below is noise over noise.
_SMALLEST_SINE = 1.0 / 2048
# Nothing of a course lies outside what an fx32 coordinate can hold.
_LARGEST_COORDINATE = 2.0**31 / FX_ONE


@dataclass(frozen=True)
class Header:
    """The header's numbers other than the four offsets.

    Attributes:
        thickness: depth of a prism below its face, fx32.
        area_minimum: least corner of the octree's area, three fx32.
        masks: bits of a whole-unit coordinate that must be clear inside the area, x, y, z.
        shift: log2 of the width of a root block in whole units.
        x_shift: log2 of the number of root blocks along x.
        xy_shift: log2 of the number of root blocks in one layer of x and y.
        sphere_radius: the largest sphere the octree was made for, fx32.
    """

    thickness: int
    area_minimum: tuple[int, int, int]
    masks: tuple[int, int, int]
    shift: int
    x_shift: int
    xy_shift: int
    sphere_radius: int

    @property
    def root_count(self) -> int:
        """Number of root blocks that a coordinate inside the area can name."""
        last = [(~mask & 0xFFFFFFFF) >> self.shift for mask in self.masks]
        return (last[2] << self.xy_shift | last[1] << self.x_shift | last[0]) + 1


@dataclass(frozen=True, eq=False)
class KCL:
    """A course's collision.

    Made by `from_bytes` or `from_ram`. Arrays are read-only.

    Attributes:
        header: the header's numbers.
        raw_positions: (P, 3) int32, fx32.
        raw_normals: (N, 3) int16, fx16.
        prisms: (T,) of dtype `PRISM`.
        octree: the octree's bytes, from the first root node to the end of the last list.
        positions: (P, 3) float64, world units.
        normals: (N, 3) float64, unit vectors.
        triangles: (T, 3, 3) float64, world units; corners v0, v1, v2 of every prism. A degenerate
            prism has all three corners at v0.
        face_normals: (T, 3) float64.
        degenerate: (T,) bool; a prism that encloses no area: height zero or less, two edges nearly
            parallel (sine below 1/2048), or a corner beyond fx32. Its index stays valid for
            the octree; everything that draws or traces triangles leaves it out.
        attributes: (T,) uint16.
        types: (T,) uint8, values of `CollisionType`.
        variants: (T,) uint8, 0 to 7; what they mean depends on the type.
        is_wall: (T,) bool, attribute bit 14.
        is_floor: (T,) bool, attribute bit 15.
        ignores_drivers: (T,) bool, attribute bit 4.
    """

    header: Header
    raw_positions: NDArray[np.int32]
    raw_normals: NDArray[np.int16]
    prisms: NDArray[np.void]
    octree: bytes

    positions: NDArray[np.float64] = field(init=False)
    normals: NDArray[np.float64] = field(init=False)
    triangles: NDArray[np.float64] = field(init=False)
    face_normals: NDArray[np.float64] = field(init=False)
    degenerate: NDArray[np.bool_] = field(init=False)
    attributes: NDArray[np.uint16] = field(init=False)
    types: NDArray[np.uint8] = field(init=False)
    variants: NDArray[np.uint8] = field(init=False)
    is_wall: NDArray[np.bool_] = field(init=False)
    is_floor: NDArray[np.bool_] = field(init=False)
    ignores_drivers: NDArray[np.bool_] = field(init=False)
    _words: memoryview = field(init=False, repr=False)
    _halves: NDArray[np.uint16] = field(init=False, repr=False)
    _leaves: dict[int, NDArray[np.int64]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        attributes = self.prisms["attribute"].astype(np.uint16)
        triangles, degenerate = _triangles(self.raw_positions, self.raw_normals, self.prisms)
        normals = self.raw_normals / FX_ONE
        derived: dict[str, NDArray[np.generic]] = {
            "positions": self.raw_positions / FX_ONE,
            "normals": normals,
            "triangles": triangles,
            "face_normals": normals[self.prisms["face_normal"]],
            "degenerate": degenerate,
            "attributes": attributes,
            "types": ((attributes >> 8) & 0x1F).astype(np.uint8),
            "variants": ((attributes >> 5) & 7).astype(np.uint8),
            "is_wall": (attributes & 0x4000) != 0,
            "is_floor": (attributes & 0x8000) != 0,
            "ignores_drivers": (attributes & 0x10) != 0,
        }
        for name, array in derived.items():
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        usable = len(self.octree) & ~3
        object.__setattr__(self, "_words", memoryview(self.octree[:usable]).cast("I"))
        halves = np.frombuffer(self.octree, dtype="<u2", count=len(self.octree) // 2)
        object.__setattr__(self, "_halves", halves)
        object.__setattr__(self, "_leaves", {})

    def __getstate__(self) -> tuple[object, ...]:
        return (self.header, self.raw_positions, self.raw_normals, self.prisms, self.octree)

    def __setstate__(self, state: tuple[object, ...]) -> None:
        names = ("header", "raw_positions", "raw_normals", "prisms", "octree")
        for name, value in zip(names, state, strict=True):
            object.__setattr__(self, name, value)
        self.__post_init__()

    @classmethod
    def from_bytes(cls, data: bytes) -> KCL:
        """Read a ``course_collision.kcl``.

        Args:
            data: the whole file.

        Raises:
            CourseFormatError: if anything in it is out of bounds; names the offset.
        """
        data = bytes(data)
        return cls._parse(data, 0, 0, trim=False)

    @classmethod
    def from_ram(cls, ram: NDArray[np.uint8], header_address: int) -> KCL:
        """Read the collision of the race that is running.

        The game keeps the header as a struct of its own, with the offsets made into pointers;
        the length of the octree is nowhere stored, and follows from walking all of it.

        Args:
            ram: main memory, (0x400000,) uint8; index 0 is address 0x02000000.
            header_address: address of the header struct.

        Raises:
            CourseFormatError: if there is no sound collision there; `offset` is an address.
        """
        memory = ram.tobytes()
        start = header_address - RAM_START
        if not 0 <= start <= len(memory) - HEADER_SIZE:
            raise CourseFormatError("collision header is outside main memory", header_address)
        return cls._parse(memory, start, RAM_START, trim=True)

    @classmethod
    def _parse(cls, data: bytes, start: int, base: int, *, trim: bool) -> KCL:
        """Read from `data` the file whose header is at `start`, and offsets relative to `base`."""
        where = start + base
        if len(data) < start + HEADER_SIZE:
            raise CourseFormatError(f"KCL of {len(data)} bytes is shorter than its header", 0)
        fields = _HEADER.unpack_from(data, start)
        offsets = [value - base for value in fields[:4]]
        least = 0 if trim else HEADER_SIZE
        # The prism offset names the non-existent prism 0.
        starts = [offsets[0], offsets[1], offsets[2] + PRISM_SIZE, offsets[3]]
        for index, name in enumerate(("positions", "normals", "prisms", "octree")):
            if not least <= offsets[index] <= len(data):
                raise CourseFormatError(
                    f"offset of the {name}, {fields[index]:#x}, is out of bounds", where + 4 * index
                )
            if offsets[index] % (2 if name == "normals" else 4):
                raise CourseFormatError(
                    f"offset of the {name}, {fields[index]:#x}, is not aligned", where + 4 * index
                )
            if index and starts[index] < starts[index - 1]:
                raise CourseFormatError(
                    f"{name} at {fields[index]:#x} do not lie behind the section before them",
                    where + 4 * index,
                )
        header = Header(
            thickness=fields[4],
            area_minimum=(fields[5], fields[6], fields[7]),
            masks=(fields[8], fields[9], fields[10]),
            shift=fields[11],
            x_shift=fields[12],
            xy_shift=fields[13],
            sphere_radius=fields[14],
        )
        for index, mask in enumerate(header.masks):
            inside = ~mask & 0xFFFFFFFF
            if inside & (inside + 1):
                raise CourseFormatError(
                    f"area mask {mask:#x} is not a power of two", where + 0x20 + 4 * index
                )
        for index, shift in enumerate((header.shift, header.x_shift, header.xy_shift)):
            if shift > 31:
                raise CourseFormatError(f"block shift {shift} exceeds 31", where + 0x2C + 4 * index)

        counts = [(starts[1] - starts[0]) // 12, (starts[2] - starts[1]) // 6]
        counts.append((starts[3] - starts[2]) // PRISM_SIZE)
        positions = np.frombuffer(data, "<i4", counts[0] * 3, starts[0]).reshape(-1, 3).copy()
        normals = np.frombuffer(data, "<i2", counts[1] * 3, starts[1]).reshape(-1, 3).copy()
        prisms = np.frombuffer(data, PRISM, counts[2], starts[2]).copy()
        for name, limit in (
            ("position", counts[0]),
            ("face_normal", counts[1]),
            ("edge_normals", counts[1]),
        ):
            bad = prisms[name] >= limit
            if bad.any():
                prism = int(np.flatnonzero(bad.reshape(len(prisms), -1).any(axis=1))[0])
                raise CourseFormatError(
                    f"prism {prism}: {name} {prisms[name][prism].tolist()} of only {limit}",
                    starts[2] + base + prism * PRISM_SIZE,
                )
        octree = data[starts[3] :]
        length = _octree_length(octree, header, counts[2], starts[3] + base)
        if trim:
            octree = octree[:length]
        for array in (positions, normals, prisms):
            array.flags.writeable = False
        return cls(header, positions, normals, prisms, octree)

    def save(self) -> bytes:
        """The file: byte for byte the one read, if its sections were packed in the usual order."""
        normals_end = HEADER_SIZE + self.raw_positions.nbytes + self.raw_normals.nbytes
        padding = -normals_end % 4
        prisms = normals_end + padding
        header = self.header
        return b"".join(
            (
                _HEADER.pack(
                    HEADER_SIZE,
                    HEADER_SIZE + self.raw_positions.nbytes,
                    prisms - PRISM_SIZE,
                    prisms + self.prisms.nbytes,
                    header.thickness,
                    *header.area_minimum,
                    *header.masks,
                    header.shift,
                    header.x_shift,
                    header.xy_shift,
                    header.sphere_radius,
                ),
                self.raw_positions.tobytes(),
                self.raw_normals.tobytes(),
                bytes(padding),
                self.prisms.tobytes(),
                self.octree,
            )
        )

    @property
    def thickness(self) -> float:
        """Depth of a prism below its face, world units."""
        return self.header.thickness / FX_ONE

    @property
    def sphere_radius(self) -> float:
        """The largest sphere that the octree's lists are complete for, world units."""
        return self.header.sphere_radius / FX_ONE

    @property
    def area_minimum(self) -> NDArray[np.float64]:
        """(3,) least corner of the octree's area, world units."""
        return np.array(self.header.area_minimum) / FX_ONE

    @property
    def area_size(self) -> NDArray[np.float64]:
        """(3,) size of the octree's area, world units."""
        return np.array([(~mask & 0xFFFFFFFF) + 1.0 for mask in self.header.masks])

    @property
    def is_off_road(self) -> NDArray[np.bool_]:
        """(T,) prisms that slow a driver down: types 2, 3 and 5."""
        off_road: NDArray[np.bool_] = np.isin(self.types, sorted(OFF_ROAD_TYPES))
        off_road &= ~self.ignores_drivers
        return off_road

    @property
    def is_obstacle(self) -> NDArray[np.bool_]:
        """(T,) prisms that stop a driver: the wall bit or a wall type, and meant for drivers."""
        walls: NDArray[np.bool_] = np.isin(self.types, sorted(WALL_TYPES))
        walls |= self.is_wall
        walls &= ~self.ignores_drivers & (self.types != CollisionType.WALL_NON_DRIVERS)
        return walls

    @property
    def checksum(self) -> int:
        """CRC-32 that `checksum_ram` finds again in memory: all but offsets and the octree."""
        return _checksum(
            self.header, (self.raw_positions.data, self.raw_normals.data, self.prisms.tobytes())
        )

    def prisms_at(self, x: float, y: float, z: float) -> NDArray[np.int64]:
        """Indices of the prisms listed for the octree cell at a point.

        Args:
            x: world units, as y and z.
            y: height.
            z: world units.

        Returns:
            (K,) int64, read-only, from 0; empty outside the course's area.
        """
        header = self.header
        try:
            cell_x = (int(x * FX_ONE // 1) - header.area_minimum[0]) >> 12
            cell_y = (int(y * FX_ONE // 1) - header.area_minimum[1]) >> 12
            cell_z = (int(z * FX_ONE // 1) - header.area_minimum[2]) >> 12
        except (OverflowError, ValueError):  # infinity, NaN
            return _NO_PRISMS
        mask_x, mask_y, mask_z = header.masks
        if (
            min(cell_x, cell_y, cell_z) < 0
            or max(cell_x, cell_y, cell_z) > 0xFFFFFFFF
            or cell_x & mask_x
            or cell_y & mask_y
            or cell_z & mask_z
        ):
            return _NO_PRISMS
        shift = header.shift
        block = 0
        index = (
            (cell_z >> shift) << header.xy_shift
            | (cell_y >> shift) << header.x_shift
            | (cell_x >> shift)
        )
        node = self._words[index]
        # Never endless: _octree_length has found every path to end in a leaf before shift does.
        while not node & _LEAF:
            block += node
            shift -= 1
            index = (
                ((cell_z >> shift) & 1) << 2
                | ((cell_y >> shift) & 1) << 1
                | ((cell_x >> shift) & 1)
            )
            node = self._words[block // 4 + index]
        start = (block + (node & 0x7FFFFFFF) + 2) // 2
        found = self._leaves.get(start)
        if found is None:
            end = start
            halves = self._halves
            while halves[end]:
                end += 1
            found = halves[start:end].astype(np.int64) - 1
            found.flags.writeable = False
            self._leaves[start] = found
        return found

    def heights_at(self, x: float, z: float) -> NDArray[np.float64]:
        """Heights of every floor above and below a point of the xz plane.

        Looks at all floor prisms, not at one octree cell; some 50 microseconds for a thousand.

        Returns:
            (K,) float64 world units, ascending; empty where there is no floor.
        """
        floors, low, high = self._floors
        near = (low[:, 0] <= x) & (low[:, 1] <= z) & (high[:, 0] >= x) & (high[:, 1] >= z)
        a, b, c = floors[near].transpose(1, 0, 2)
        # Barycentric coordinates in the xz plane.
        area = (b[:, 2] - c[:, 2]) * (a[:, 0] - c[:, 0]) + (c[:, 0] - b[:, 0]) * (a[:, 2] - c[:, 2])
        u = (b[:, 2] - c[:, 2]) * (x - c[:, 0]) + (c[:, 0] - b[:, 0]) * (z - c[:, 2])
        v = (c[:, 2] - a[:, 2]) * (x - c[:, 0]) + (a[:, 0] - c[:, 0]) * (z - c[:, 2])
        with np.errstate(divide="ignore", invalid="ignore"):
            u, v = u / area, v / area
        slack = -1e-3  # a point on the seam between two triangles belongs to both
        hit = (u >= slack) & (v >= slack) & (u + v <= 1 - slack)
        heights = u[hit] * a[hit, 1] + v[hit] * b[hit, 1] + (1 - u[hit] - v[hit]) * c[hit, 1]
        return np.sort(heights)

    @cached_property
    def _floors(
        self,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """What one can drive on: triangles (F, 3, 3), least and greatest x and z (F, 2)."""
        floor = (
            (self.is_floor | (self.face_normals[:, 1] > 0.3))
            & ~self.is_obstacle
            & ~self.degenerate
            & ~np.isin(self.types, (CollisionType.OUT_OF_BOUNDS, CollisionType.FALL_BOUNDARY))
            # Seen from above a vertical triangle has no inside.
            & (np.abs(self.face_normals[:, 1]) > 0.1)
        )
        triangles = self.triangles[floor]
        flat = triangles[:, :, (0, 2)]
        return triangles, flat.min(axis=1) - 0.1, flat.max(axis=1) + 0.1


def checksum_ram(ram: NDArray[np.uint8], header_address: int) -> int:
    """`KCL.checksum` of the collision in memory, without decoding it (some 0.1 ms).

    Args:
        ram: main memory, (0x400000,) uint8; index 0 is address 0x02000000.
        header_address: address of the collision header.

    Raises:
        CourseFormatError: if there is no collision there; `offset` is an address.
    """
    start = header_address - RAM_START
    if not 0 <= start <= len(ram) - HEADER_SIZE:
        raise CourseFormatError("collision header is outside main memory", header_address)
    fields = _HEADER.unpack(ram[start : start + HEADER_SIZE].tobytes())
    positions, normals, prisms, octree = (value - RAM_START for value in fields[:4])
    prisms += PRISM_SIZE
    if not 0 <= positions <= normals <= prisms <= octree <= len(ram):
        raise CourseFormatError("no collision in memory: its pointers are unsound", header_address)
    header = Header(
        fields[4],
        (fields[5], fields[6], fields[7]),
        (fields[8], fields[9], fields[10]),
        *fields[11:],
    )
    return _checksum(
        header,
        (
            ram[positions : positions + (normals - positions) // 12 * 12].tobytes(),
            ram[normals : normals + (prisms - normals) // 6 * 6].tobytes(),
            ram[prisms : prisms + (octree - prisms) // PRISM_SIZE * PRISM_SIZE].tobytes(),
        ),
    )


def _checksum(header: Header, sections: tuple[bytes | memoryview, ...]) -> int:
    value = zlib.crc32(repr(header).encode())
    for section in sections:
        value = zlib.crc32(section, value)
    return value


def _triangles(
    positions: NDArray[np.int32], normals: NDArray[np.int16], prisms: NDArray[np.void]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Corners of every prism, and which prisms have none.

    With a = e1 x n and b = e2 x n along the two edges at v0, and e3 the normal of the edge
    opposite, at the distance `height` from v0:
    v1 = v0 + b * height / (b . e3), v2 = v0 + a * height / (a . e3).
    """
    corner = positions[prisms["position"]] / FX_ONE
    face = normals[prisms["face_normal"]] / FX_ONE
    edges = normals[prisms["edge_normals"]] / FX_ONE
    height = prisms["height"] / FX_ONE
    along = [np.cross(edges[:, 1], face), np.cross(edges[:, 0], face)]
    triangles = np.repeat(corner[:, None, :], 3, axis=1)
    degenerate = height <= 0
    for index, direction in enumerate(along, start=1):
        sine = np.einsum("ij,ij->i", direction, edges[:, 2])
        sound = np.abs(sine) > _SMALLEST_SINE
        scale = height / np.where(sound, sine, 1.0)
        triangles[:, index] += direction * scale[:, None]
        degenerate |= ~sound
    degenerate |= (np.abs(triangles) > _LARGEST_COORDINATE).any(axis=(1, 2))
    triangles[degenerate] = corner[degenerate, None, :]
    return triangles, degenerate


def _octree_length(octree: bytes, header: Header, prism_count: int, where: int) -> int:
    """Walk the whole octree; return how many bytes it takes up.

    The walk goes level by level and looks at no block twice in a level, so that its cost is
    bounded by the octree's size times its depth whatever the offsets say.

    Args:
        octree: bytes from the first root node on, possibly with more behind.
        header: the header.
        prism_count: how many prisms there are.
        where: offset or address of the octree, for messages.

    Raises:
        CourseFormatError: if a node, a list or an index in a list is out of bounds, or a path is
            deeper than the cells allow (a cycle is).
    """
    roots = header.root_count
    if roots * 4 > len(octree):
        raise CourseFormatError(
            f"octree of {len(octree)} bytes cannot hold {roots} root blocks", where
        )
    words = np.frombuffer(octree, "<u4", len(octree) // 4)
    halves = np.frombuffer(octree, "<u2", len(octree) // 2)
    ends = np.flatnonzero(halves == 0)
    wrong = np.flatnonzero(halves > prism_count)

    nodes = np.arange(roots, dtype=np.int64)
    blocks = np.zeros(roots, dtype=np.int64)
    extent = roots * 4
    for _ in range(header.shift + 1):
        values = words[nodes].astype(np.int64)
        is_leaf = (values & _LEAF) != 0
        targets = blocks + (values & 0x7FFFFFFF)

        lists = targets[is_leaf] + 2
        bad = (lists % 2 != 0) | (lists >= len(octree))
        if bad.any():
            node = int(nodes[is_leaf][bad][0])
            raise CourseFormatError("octree leaf points out of the octree", where + node * 4)
        first = np.searchsorted(ends, lists // 2)
        if (first == len(ends)).any():
            node = int(nodes[is_leaf][first == len(ends)][0])
            raise CourseFormatError("octree list has no end", where + node * 4)
        if len(lists):
            stops = ends[first]
            extent = max(extent, int(stops.max()) * 2 + 2)
            fault = np.append(wrong, len(halves))[np.searchsorted(wrong, lists // 2)]
            if (fault < stops).any():
                place = int(fault[fault < stops].min())
                raise CourseFormatError(
                    f"octree lists prism {int(halves[place])} of only {prism_count}",
                    where + place * 2,
                )

        inner = ~is_leaf
        if not inner.any():
            return extent
        children = targets[inner]
        bad = (children % 4 != 0) | (children + 32 > len(octree))
        if bad.any():
            node = int(nodes[inner][bad][0])
            raise CourseFormatError("octree node points out of the octree", where + node * 4)
        deepest = int(nodes[inner][0])
        children = np.unique(children)
        if len(children) * 32 > len(octree):
            raise CourseFormatError("octree blocks overlap", where)
        extent = max(extent, int(children[-1]) + 32)
        blocks = np.repeat(children, 8)
        nodes = blocks // 4 + np.tile(np.arange(8, dtype=np.int64), len(children))
    raise CourseFormatError(
        "octree is deeper than its cells, or runs in circles", where + deepest * 4
    )
