"""Packing of `course_collision.kcl`: prisms and the octree that finds them.

The layout is the game's: a header of 0x3C bytes, fx32 positions with 12 fraction bits, fx16
normals, prism indices from 1. A prism stores a triangle as one vertex, the face normal, the outward
normals of its three edges and the height of the first vertex below the third edge.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mkds_gym.kartlab.compiler.geometry import Triangles

Floats = NDArray[np.float64]

FX32_ONE = 4096
FX16_ONE = 4096

PRISM_THICKNESS = 30.0
"""Depth below its face to which a prism acts, in world units."""

SPHERE_RADIUS = 25.0
"""Radius of the largest sphere that the octree serves, in world units."""

ROOT_SIZE_SHIFT = 9
"""log2 of a root cube's side in world units."""

LEAF_SIZE_SHIFT = 7
"""log2 of the smallest cube's side in world units."""

LEAF_TARGET = 20
"""Largest number of prisms of an undivided cube; cubes of the smallest size may have more.

With 12, and cubes down to 64 units, lists have 11 prisms on average instead of 18, but the octree,
the largest part of a course on the cartridge, is three times as large.
"""

FLOOR_BIT = 0x8000
WALL_BIT = 0x4000
HEADER_SIZE = 0x3C


@dataclass(frozen=True)
class Prisms:
    """N prisms as in the file, over V positions and W normals.

    Attributes:
        positions: (V, 3) int32, fx32.
        normals: (W, 3) int16, fx16.
        heights: (N,) int32, fx32.
        indices: (N, 5) uint16: position, face normal, edge normals 1, 2, 3.
        attributes: (N,) uint16.
        triangles: (N, 3, 3) float64 triangles, recovered from the rounded numbers.
    """

    positions: NDArray[np.int32]
    normals: NDArray[np.int16]
    heights: NDArray[np.int32]
    indices: NDArray[np.uint16]
    attributes: NDArray[np.uint16]
    triangles: Floats


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def recover_triangles(origin: Floats, face: Floats, edges: Floats, height: Floats) -> Floats:
    """Return the triangles of prisms.

    With a = e1 x n and b = e2 x n: v1 = v0 + b * height / (b . e3) and
    v2 = v0 + a * height / (a . e3).

    Args:
        origin: (N, 3) first vertices.
        face: (N, 3) face normals.
        edges: (N, 3, 3) edge normals 1, 2, 3.
        height: (N,) prism heights.

    Returns:
        Vertices (N, 3, 3).
    """
    a = np.cross(edges[:, 0], face)
    b = np.cross(edges[:, 1], face)
    to_v1 = b * (height / np.einsum("ij,ij->i", b, edges[:, 2]))[:, None]
    to_v2 = a * (height / np.einsum("ij,ij->i", a, edges[:, 2]))[:, None]
    return np.stack([origin, origin + to_v1, origin + to_v2], axis=1)


def make_prisms(triangles: Triangles) -> Prisms:
    """Return the prisms of triangles, each with the first vertex that rounds best."""
    exact = np.rint(triangles.vertices * FX32_ONE) / FX32_ONE
    # All three choices of the first vertex, rounded as the file rounds: (3, N, ...).
    v = np.stack([np.roll(exact, -rotation, axis=1) for rotation in range(3)])
    face = _unit(np.cross(v[..., 1, :] - v[..., 0, :], v[..., 2, :] - v[..., 0, :]))
    # The edges opposite the second, the third and the first corner.
    along = np.stack(
        [v[..., 0, :] - v[..., 2, :], v[..., 1, :] - v[..., 0, :], v[..., 2, :] - v[..., 1, :]],
        axis=2,
    )
    edges = _unit(np.cross(along, face[..., None, :]))
    height = np.einsum("rij,rij->ri", v[..., 1, :] - v[..., 0, :], edges[..., 2, :])
    face = np.rint(face * FX16_ONE)
    edges = np.rint(edges * FX16_ONE)
    height = np.rint(height * FX32_ONE)
    back = np.stack(
        [
            recover_triangles(
                v[r, :, 0], face[r] / FX16_ONE, edges[r] / FX16_ONE, height[r] / FX32_ONE
            )
            for r in range(3)
        ]
    )
    error = np.linalg.norm(back - v, axis=3).max(axis=2)
    choice = (error.argmin(axis=0), np.arange(len(exact)))

    origins = np.rint(v[choice][:, 0] * FX32_ONE).astype(np.int32)
    positions, position_index = np.unique(origins, axis=0, return_inverse=True)
    directions = np.concatenate([face[choice][:, None, :], edges[choice]], axis=1)
    normals, normal_index = np.unique(
        directions.reshape(-1, 3).astype(np.int16), axis=0, return_inverse=True
    )
    indices = np.concatenate([position_index.reshape(-1, 1), normal_index.reshape(-1, 4)], axis=1)
    if len(positions) > 0xFFFF or len(normals) > 0xFFFF or len(exact) > 0xFFFE:
        raise ValueError(f"a KCL file cannot index {len(exact)} triangles: at most {0xFFFE}")
    attributes = (triangles.types.astype(np.uint16) << 8) | np.where(
        triangles.walls, WALL_BIT, FLOOR_BIT
    ).astype(np.uint16)
    return Prisms(
        positions=positions.astype(np.int32),
        normals=normals.astype(np.int16),
        heights=height[choice].astype(np.int32),
        indices=indices.astype(np.uint16),
        attributes=attributes.astype(np.uint16),
        triangles=back[choice],
    )


class PrismHulls:
    """Tests which prisms come near a cube, by separating axes.

    A prism's hull is its triangle together with the same triangle `PRISM_THICKNESS` below its
    face. A cube is enlarged by `SPHERE_RADIUS` on every side: a sphere whose centre is in the cube
    finds every prism that it could touch.
    """

    def __init__(
        self,
        triangles: Floats,
        thickness: float = PRISM_THICKNESS,
        radius: float = SPHERE_RADIUS,
    ) -> None:
        self._radius = radius
        face = _unit(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]))
        hull = np.concatenate([triangles, triangles - thickness * face[:, None, :]], axis=1)
        sides = np.roll(triangles, -1, axis=1) - triangles
        outward = np.cross(sides, face[:, None, :])
        unit = np.eye(3)
        directions = np.concatenate([sides, face[:, None, :]], axis=1)
        crossed = np.cross(directions[:, :, None, :], unit[None, None, :, :]).reshape(
            len(triangles), -1, 3
        )
        self._low, self._high = hull.min(axis=1), hull.max(axis=1)
        # The cheaper axes first: pairs that they separate need no further test.
        self._groups = []
        for axes in (np.concatenate([face[:, None, :], outward], axis=1), crossed):
            along = axes @ hull.transpose(0, 2, 1)
            spread = np.abs(axes).sum(axis=2)
            self._groups.append((axes, along.min(axis=2), along.max(axis=2), spread))

    def boxes(self, corners: Floats, size: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the pairs of a cube (C, 3) and a prism whose bounding boxes are near."""
        low, high = self._low - self._radius, self._high + self._radius
        near = np.ones((len(corners), len(low)), dtype=np.bool_)
        for axis in range(3):
            near &= corners[:, axis, None] <= high[:, axis]
            near &= corners[:, axis, None] + size >= low[:, axis]
        cube, prism = np.nonzero(near)
        return cube, prism

    def near(self, prisms: NDArray[np.intp], corners: Floats, size: float) -> NDArray[np.bool_]:
        """Return (P,) whether each prism comes near its cube.

        Args:
            prisms: (P,) numbers of prisms.
            corners: (P, 3) lowest corner of the cube of each.
            size: side of the cubes.
        """
        near: NDArray[np.bool_] = (
            (corners <= self._high[prisms] + self._radius)
            & (corners + size >= self._low[prisms] - self._radius)
        ).all(axis=1)
        found = np.nonzero(near)[0]
        middle = corners + size / 2
        for axes, low, high, spread in self._groups:
            prism = prisms[found]
            at = np.einsum("pai,pi->pa", axes[prism], middle[found])
            half = spread[prism] * (size / 2 + self._radius)
            apart = (low[prism] > at + half) | (high[prism] < at - half)
            found = found[~apart.any(axis=1)]
        near[:] = False
        near[found] = True
        return near


@dataclass
class _Block:
    """Eight children, or all root cubes: each is a list of prisms or another block."""

    entries: list[_Block | tuple[int, ...]] = field(default_factory=list)
    offset: int = 0


def _grow(hulls: PrismHulls, minimum: Floats, widths: list[int]) -> _Block:
    """Divide the area into cubes, one size after another."""
    size = 1 << ROOT_SIZE_SHIFT
    steps = [np.arange(0, width, size) for width in widths]
    z, y, x = np.meshgrid(steps[2], steps[1], steps[0], indexing="ij")
    corners: Floats = minimum + np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)
    eighths = np.array([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(8)], dtype=np.float64)

    # Pairs of a cube and a prism that may be near, grouped by cube.
    cube, prism = hulls.boxes(corners, float(size))
    root = _Block()
    places: list[tuple[_Block, int]] = []
    for index in range(len(corners)):
        root.entries.append(())
        places.append((root, index))
    shift = ROOT_SIZE_SHIFT
    while len(places):
        near = hulls.near(prism, corners[cube], float(size))
        cube, prism = cube[near], prism[near]
        ends = np.searchsorted(cube, np.arange(len(places) + 1))
        divided = []
        for index, (block, place) in enumerate(places):
            first, last = ends[index], ends[index + 1]
            if last - first > LEAF_TARGET and shift > LEAF_SIZE_SHIFT:
                divided.append(index)
            else:
                block.entries[place] = tuple((prism[first:last] + 1).tolist())
        size //= 2
        shift -= 1
        below: list[tuple[_Block, int]] = []
        for index in divided:
            block, place = places[index]
            child = _Block([()] * 8)
            block.entries[place] = child
            below += [(child, eighth) for eighth in range(8)]
        # Each pair eight times, grouped by child.
        begin, end = ends[:-1][divided], ends[1:][divided]
        count = np.repeat(end - begin, 8)
        start = np.repeat(begin, 8) - (np.cumsum(count) - count)
        corners = (corners[divided][:, None, :] + eighths * size).reshape(-1, 3)
        cube = np.repeat(np.arange(len(count)), count)
        prism = prism[np.repeat(start, count) + np.arange(len(cube))]
        places = below
    return root


@dataclass(frozen=True)
class Octree:
    """The octree section of the file.

    Attributes:
        data: the section's bytes.
        minimum: (3,) lowest corner of the area, in integral world units.
        shifts: (3,) log2 of the area's widths in world units.
        leaves: number of leaves.
        longest: length of the longest list.
        mean: mean length of the lists that are not empty.
    """

    data: bytes
    minimum: NDArray[np.int64]
    shifts: tuple[int, int, int]
    leaves: int
    longest: int
    mean: float


def build_octree(triangles: Floats) -> Octree:
    """Return the octree over triangles of prisms."""
    low = triangles.min(axis=(0, 1)) - (SPHERE_RADIUS + 1)
    # Prisms reach below their faces; a kart that sank a little must still be inside.
    low[1] -= PRISM_THICKNESS
    high = triangles.max(axis=(0, 1)) + (SPHERE_RADIUS + 1)
    minimum = np.floor(low).astype(np.int64)
    shifts = [max(int(np.ceil(np.log2(float(width)))), ROOT_SIZE_SHIFT) for width in high - minimum]
    root = _grow(PrismHulls(triangles), minimum.astype(np.float64), [1 << s for s in shifts])
    lengths: list[int] = []

    # All blocks breadth first, then the lists: a leaf's offset counts from its block and must be
    # positive.
    blocks = [root]
    size = 0
    for block in blocks:
        block.offset = size
        size += 4 * len(block.entries)
        blocks.extend(entry for entry in block.entries if isinstance(entry, _Block))
    lists_data = bytearray(2)  # the word before the first list
    places: dict[tuple[int, ...], int] = {}
    out = bytearray()
    for block in blocks:
        for entry in block.entries:
            if isinstance(entry, _Block):
                out += struct.pack("<I", entry.offset - block.offset)
                continue
            lengths.append(len(entry))
            if entry not in places:
                places[entry] = size + len(lists_data)
                lists_data += struct.pack(f"<{len(entry) + 1}H", *entry, 0)
            # A leaf names the place two bytes before its list.
            out += struct.pack("<I", 0x80000000 | (places[entry] - 2 - block.offset))
    data = bytes(out + lists_data)
    filled = [length for length in lengths if length] or [0]
    return Octree(
        data=data + bytes(-len(data) % 4),
        minimum=minimum,
        shifts=(shifts[0], shifts[1], shifts[2]),
        leaves=len(lengths),
        longest=max(filled),
        mean=float(np.mean(filled)),
    )


def build_kcl(triangles: Triangles) -> tuple[bytes, Prisms, Octree]:
    """Return the bytes of a KCL file, its prisms and its octree."""
    prisms = make_prisms(triangles)
    octree = build_octree(prisms.triangles)

    record = np.zeros(
        len(prisms.heights),
        dtype=[("height", "<i4"), ("indices", "<u2", 5), ("attribute", "<u2")],
    )
    record["height"] = prisms.heights
    record["indices"] = prisms.indices
    record["attribute"] = prisms.attributes

    positions = prisms.positions.astype("<i4").tobytes()
    normals = prisms.normals.astype("<i2").tobytes()
    normals += bytes(-len(normals) % 4)
    positions_at = HEADER_SIZE
    normals_at = positions_at + len(positions)
    prisms_at = normals_at + len(normals)
    octree_at = prisms_at + record.nbytes
    shift_x, shift_y, _ = octree.shifts
    header = struct.pack(
        "<4I4i6Ii",
        positions_at,
        normals_at,
        prisms_at - 0x10,  # indices count from 1
        octree_at,
        round(PRISM_THICKNESS * FX32_ONE),
        *(int(part) * FX32_ONE for part in octree.minimum),
        *(0xFFFFFFFF << shift & 0xFFFFFFFF for shift in octree.shifts),
        ROOT_SIZE_SHIFT,
        shift_x - ROOT_SIZE_SHIFT,
        shift_x + shift_y - 2 * ROOT_SIZE_SHIFT,
        round(SPHERE_RADIUS * FX32_ONE),
    )
    assert len(header) == HEADER_SIZE
    data = header + positions + normals + record.tobytes() + octree.data
    return data, prisms, octree
