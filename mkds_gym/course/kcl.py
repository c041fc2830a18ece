"""Course collision in the KCL format of Mario Kart DS, from a file or from a running race.

A KCL describes triangles as *prisms*: a corner, a face normal, three edge normals and one height.
An octree over the course's bounding box lists the prisms in each cell. Numbers are little endian,
fx32 and fx16 have 12 fraction bits.

Layout (sizes in bytes; source: the project's notes on the file formats):

- header 0x3C: u32 offsets of positions, normals, prisms and octree; fx32 prism thickness; fx32[3]
  area minimum; u32 masks for x, y and z; u32 block width shift, x blocks shift, xy blocks shift;
  fx32 sphere radius;
- positions fx32[3]; normals fx16[3]; prisms of 0x10 (`PRISM`), whose offset points 0x10 *before*
  the first prism, as the octree counts prisms from 1; octree up to the end of the file.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mkds_gym.course.octree import Header, Octree, octree_length
from mkds_gym.emulator.hardware import RAM_START
from mkds_gym.errors import CourseFormatError
from mkds_gym.race.memory_layout import FX32_ONE
from mkds_gym.race.names import OFFROAD_SURFACES, Surface
from mkds_gym.utils.arguments import binary

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
"""A prism as stored: `height` is fx32, `attribute` is a bit field, the rest are indices."""

_HEADER = struct.Struct("<4Ii3i3I3Ii")


WALL_SURFACES = (Surface.WALL, Surface.INVISIBLE_WALL, Surface.EDGE_WALL, Surface.WALL_3)
"""Surfaces that stop a driver even without the wall bit."""

# Smallest sine of the angle between the edges of a triangle. The error of an fx16 normal is 1/8192.
_SMALLEST_SINE = 1.0 / 2048
# Range of an fx32 coordinate.
_LARGEST_COORDINATE = 2.0**31 / FX32_ONE


@dataclass(frozen=True, eq=False)
class KCL:
    """Collision of a course, from `from_bytes` or `from_ram`. Arrays are read-only.

    Attributes:
        header: the numbers of the header.
        raw_positions: (P, 3) int32, fx32.
        raw_normals: (N, 3) int16, fx16.
        prisms: (T,) of dtype `PRISM`.
        octree: bytes of the octree, from the first root node to the end of the last list.
        positions: (P, 3) float64, world units.
        normals: (N, 3) float64, unit vectors.
        triangles: (T, 3, 3) float64, world units; corners v0, v1, v2 of every prism. A degenerate
            prism has all three corners at v0.
        face_normals: (T, 3) float64.
        degenerate: (T,) bool; prisms without area: height 0 or less, two edges nearly parallel
            (sine below 1/2048), or a corner beyond fx32. Code that draws or traces triangles
            skips them.
        attributes: (T,) uint16.
        types: (T,) uint8, values of `Surface`.
        variants: (T,) uint8, 0 to 7; the meaning depends on the type.
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
    _lookup: Octree = field(init=False, repr=False)

    def __post_init__(self) -> None:
        attributes = self.prisms["attribute"].astype(np.uint16)
        triangles, degenerate = _triangles(self.raw_positions, self.raw_normals, self.prisms)
        normals = self.raw_normals / FX32_ONE
        derived: dict[str, NDArray[np.generic]] = {
            "positions": self.raw_positions / FX32_ONE,
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
        object.__setattr__(self, "_lookup", Octree(self.header, self.octree))

    def __reduce__(self) -> tuple[object, ...]:
        arrays = (self.raw_positions, self.raw_normals, self.prisms)
        return type(self), (self.header, *arrays, self.octree)

    @classmethod
    def from_bytes(cls, data: bytes) -> KCL:
        """Read a ``course_collision.kcl``.

        Args:
            data: the whole file.

        Raises:
            CourseFormatError: something is out of bounds; `offset` is in the file.
        """
        data = binary("data", data)
        return cls._parse(data, 0, 0, trim=False)

    @classmethod
    def from_ram(cls, ram: NDArray[np.uint8], header_address: int) -> KCL:
        """Read the collision of the running race.

        The game keeps the header with pointers in place of the offsets. The octree's length is
        not stored, so this method walks the octree.

        Args:
            ram: main memory, (0x400000,) uint8; index 0 is address 0x02000000.
            header_address: address of the header struct.

        Raises:
            CourseFormatError: the collision is malformed; `offset` is an address.
        """
        memory = ram.tobytes()
        start = header_address - RAM_START
        if not 0 <= start <= len(memory) - HEADER_SIZE:
            raise CourseFormatError("collision header is outside main memory", header_address)
        return cls._parse(memory, start, RAM_START, trim=True)

    @classmethod
    def _parse(cls, data: bytes, start: int, base: int, *, trim: bool) -> KCL:
        """Read a file whose header is at `start` and whose offsets are relative to `base`."""
        where = start + base
        if len(data) < start + HEADER_SIZE:
            raise CourseFormatError(f"KCL of {len(data)} bytes is shorter than its header", 0)
        fields = _HEADER.unpack_from(data, start)
        offsets = [value - base for value in fields[:4]]
        least = 0 if trim else HEADER_SIZE
        # The prism offset is that of prism 0, which does not exist.
        starts = [offsets[0], offsets[1], offsets[2] + PRISM_SIZE, offsets[3]]
        for index, name in enumerate(("positions", "normals", "prisms", "octree")):
            if not least <= starts[index] <= len(data):
                raise CourseFormatError(
                    f"offset of the {name}, {fields[index]:#x}, is out of bounds", where + 4 * index
                )
            if offsets[index] % (2 if name == "normals" else 4):
                raise CourseFormatError(
                    f"offset of the {name}, {fields[index]:#x}, is not aligned", where + 4 * index
                )
            if index and starts[index] < starts[index - 1]:
                raise CourseFormatError(
                    f"{name} at {fields[index]:#x} overlap the section before",
                    where + 4 * index,
                )
        header = _header(fields)
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
        length = octree_length(octree, header, counts[2], starts[3] + base)
        if trim:
            octree = octree[:length]
        for array in (positions, normals, prisms):
            array.flags.writeable = False
        return cls(header, positions, normals, prisms, octree)

    def save(self) -> bytes:
        """Return the file: the same bytes as the file read, if that has the usual section order."""
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
        return self.header.thickness / FX32_ONE

    @property
    def sphere_radius(self) -> float:
        """Radius of the largest sphere that the octree's lists allow for, world units."""
        return self.header.sphere_radius / FX32_ONE

    @property
    def area_minimum(self) -> NDArray[np.float64]:
        """Minimum corner of the octree's area, (3,) world units."""
        return np.array(self.header.area_minimum) / FX32_ONE

    @property
    def area_size(self) -> NDArray[np.float64]:
        """Size of the octree's area, (3,) world units."""
        return np.array([(~mask & 0xFFFFFFFF) + 1.0 for mask in self.header.masks])

    @property
    def is_off_road(self) -> NDArray[np.bool_]:
        """Prisms that slow a driver down, (T,) bool: types 2, 3 and 5."""
        off_road: NDArray[np.bool_] = np.isin(self.types, sorted(OFFROAD_SURFACES))
        off_road &= ~self.ignores_drivers
        return off_road

    @property
    def is_obstacle(self) -> NDArray[np.bool_]:
        """Prisms that stop a driver, (T,) bool: by the wall bit or the type."""
        walls: NDArray[np.bool_] = np.isin(self.types, WALL_SURFACES)
        walls |= self.is_wall
        walls &= ~self.ignores_drivers & (self.types != Surface.WALL_FOR_OTHERS)
        return walls

    @property
    def checksum(self) -> int:
        """CRC-32 of everything but offsets and octree; equal to `checksum_ram`."""
        return _checksum(
            self.header, (self.raw_positions.data, self.raw_normals.data, self.prisms.tobytes())
        )

    def prisms_at(self, x: float, y: float, z: float) -> NDArray[np.int64]:
        """Return the indices of the prisms in the octree cell at a point.

        Args:
            x: world units, as y and z.
            y: height.
            z: world units.

        Returns:
            (K,) int64, read-only, from 0; empty outside the course's area.
        """
        return self._lookup.prisms_at(x, y, z)

    def heights_at(self, x: float, z: float) -> NDArray[np.float64]:
        """Return the heights of all floors above and below a point of the xz plane.

        Searches all floor prisms: 50 microseconds for a thousand prisms.

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
        slack = -1e-3  # a point on the seam of two triangles belongs to both
        hit = (u >= slack) & (v >= slack) & (u + v <= 1 - slack)
        heights = u[hit] * a[hit, 1] + v[hit] * b[hit, 1] + (1 - u[hit] - v[hit]) * c[hit, 1]
        return np.sort(heights)

    @cached_property
    def _floors(
        self,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Drivable triangles (F, 3, 3), and their minimum and maximum x and z (F, 2)."""
        floor = (
            (self.is_floor | (self.face_normals[:, 1] > 0.3))
            & ~self.is_obstacle
            & ~self.degenerate
            & ~np.isin(self.types, (Surface.OUT_OF_BOUNDS, Surface.FALL_BOUNDARY))
            # A vertical triangle has no area in the xz plane.
            & (np.abs(self.face_normals[:, 1]) > 0.1)
        )
        triangles = self.triangles[floor]
        flat = triangles[:, :, (0, 2)]
        return triangles, flat.min(axis=1) - 0.1, flat.max(axis=1) + 0.1


def checksum_ram(ram: NDArray[np.uint8], header_address: int) -> int:
    """Return `KCL.checksum` of the collision in memory without decoding it. Takes 0.1 ms.

    Args:
        ram: main memory, (0x400000,) uint8; index 0 is address 0x02000000.
        header_address: address of the collision header.

    Raises:
        CourseFormatError: memory has no collision; `offset` is an address.
    """
    start = header_address - RAM_START
    if not 0 <= start <= len(ram) - HEADER_SIZE:
        raise CourseFormatError("collision header is outside main memory", header_address)
    fields = _HEADER.unpack(ram[start : start + HEADER_SIZE].tobytes())
    positions, normals, prisms, octree = (value - RAM_START for value in fields[:4])
    prisms += PRISM_SIZE
    if not 0 <= positions <= normals <= prisms <= octree <= len(ram):
        raise CourseFormatError(
            "no collision in memory: pointers are out of bounds or out of order", header_address
        )
    return _checksum(
        _header(fields),
        (
            ram[positions : positions + (normals - positions) // 12 * 12].tobytes(),
            ram[normals : normals + (prisms - normals) // 6 * 6].tobytes(),
            ram[prisms : prisms + (octree - prisms) // PRISM_SIZE * PRISM_SIZE].tobytes(),
        ),
    )


def _header(fields: tuple[Any, ...]) -> Header:
    """Return the numbers of a header behind its four offsets."""
    thickness, x, y, z, x_mask, y_mask, z_mask, *rest = fields[4:]
    return Header(thickness, (x, y, z), (x_mask, y_mask, z_mask), *rest)


def _checksum(header: Header, sections: tuple[bytes | memoryview, ...]) -> int:
    value = zlib.crc32(repr(header).encode())
    for section in sections:
        value = zlib.crc32(section, value)
    return value


def _triangles(
    positions: NDArray[np.int32], normals: NDArray[np.int16], prisms: NDArray[np.void]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the corners of every prism, and which prisms are degenerate.

    With a = e1 x n and b = e2 x n along the two edges at v0, and e3 the normal of the edge
    opposite, at the distance `height` from v0:
    v1 = v0 + b * height / (b . e3), v2 = v0 + a * height / (a . e3).
    """
    corner = positions[prisms["position"]] / FX32_ONE
    face = normals[prisms["face_normal"]] / FX32_ONE
    edges = normals[prisms["edge_normals"]] / FX32_ONE
    height = prisms["height"] / FX32_ONE
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
