"""Octree of a KCL: the prisms of each cell.

A node is a u32. Top bit clear: offset, from the current block, of a block of eight children. Top
bit set: the rest plus 2 is the offset of a list of u16 prism indices, counted from 1, that ends
with 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkds_gym.errors import CourseFormatError
from mkds_gym.race.memory_layout import FX32_ONE

_LEAF = 0x80000000
_NO_PRISMS: NDArray[np.int64] = np.empty(0, dtype=np.int64)
_NO_PRISMS.flags.writeable = False


@dataclass(frozen=True)
class Header:
    """Numbers of a KCL header except the four offsets.

    Attributes:
        thickness: depth of a prism below its face, fx32.
        area_minimum: minimum corner of the octree's area, three fx32.
        masks: bits of the whole-unit x, y, z that are clear inside the area.
        shift: log2 of the width of a root block in whole units.
        x_shift: log2 of the number of root blocks along x.
        xy_shift: log2 of the number of root blocks in one layer of x and y.
        sphere_radius: radius of the largest sphere that the octree allows for, fx32.
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
        """Number of root blocks of the area."""
        last = [(~mask & 0xFFFFFFFF) >> self.shift for mask in self.masks]
        return (last[2] << self.xy_shift | last[1] << self.x_shift | last[0]) + 1


class Octree:
    """Look-up of prisms by place.

    Args:
        header: the header.
        octree: bytes of the octree, checked by `octree_length`.
    """

    def __init__(self, header: Header, octree: bytes) -> None:
        self.header = header
        self._words = memoryview(octree[: len(octree) & ~3]).cast("I")
        self._halves = np.frombuffer(octree, dtype="<u2", count=len(octree) // 2)
        self._leaves: dict[int, NDArray[np.int64]] = {}

    def prisms_at(self, x: float, y: float, z: float) -> NDArray[np.int64]:
        """Return the indices of the prisms in the cell at a point; see `KCL.prisms_at`."""
        header = self.header
        try:
            cell_x = (int(x * FX32_ONE // 1) - header.area_minimum[0]) >> 12
            cell_y = (int(y * FX32_ONE // 1) - header.area_minimum[1]) >> 12
            cell_z = (int(z * FX32_ONE // 1) - header.area_minimum[2]) >> 12
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
        # `octree_length` has checked that every path ends in a leaf.
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


def octree_length(octree: bytes, header: Header, prism_count: int, where: int) -> int:
    """Check a whole octree and return its length in bytes.

    The walk goes level by level and visits a block once per level, so the cost is bounded by the
    size of the octree times its depth.

    Args:
        octree: bytes from the first root node on; more bytes may follow.
        header: the header.
        prism_count: number of prisms.
        where: offset or address of the octree, for error messages.

    Raises:
        CourseFormatError: a node, a list or an index in a list is out of bounds, or a path is
            deeper than the cells allow, as in a cycle.
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
    raise CourseFormatError("octree is deeper than its cells, or has a cycle", where + deepest * 4)
