"""Packing of `course_model.klm`: coloured polygons as ready commands for the geometry engine.

The file is little endian. The header is "KLM4", u32 number of chunks, u32 number of fine chunks
(they come first), and six u16 colours (15-bit) of the surroundings: sky at the top and at the
horizon, sea at the horizon and near, hills, clouds. Each chunk has an entry of 0x1C bytes: fx32
centre (3) and radius of its bounding sphere in world units, u32 offset of its commands in the file,
u32 number of their words, u32 number of words of the far list. The far list follows the commands
and replaces them when the chunk is far away; 0 for no far list.

The commands are in the DS's packed form: four command bytes to a word, lowest first, followed by
their parameters in order. Each chunk is complete. Faces are counter-clockwise from their front.

The words sent decide how long an emulator takes for a picture, and half of them are coordinates.
Fine chunks therefore have one word per vertex: VTX_10 (4.6 in units of 32 world units, a grid of a
half), around an origin. MTX_RESTORE of the program's matrix in slot 30 of the matrix stack, then
MTX_TRANS in the same units, set the origin; a list may have several. The polygons of coarse chunks
(the water) are too large for that and use VTX_16 or VTX_XZ (4.12 in units of 1,024 world units).
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MAGIC = b"KLM4"
HEADER_SIZE = 24
CHUNK_ENTRY_SIZE = 0x1C

COARSE_GRID = 1024 / 4096
"""World units per step of a coarse vertex: VTX_16's 1/4096 of 1,024 world units."""

GRID = 0.5
"""World units per step of a fine vertex: VTX_10's 1/64 of 32 world units."""

_GRAIN_STEPS = (512, 1024, 512)
"""Multiples, in steps of the grid, that an origin should have.

The surface's texture, which the machine places by vertices, repeats after 256 world units on the
level and 512 upwards."""

_ORIGIN_STEP = 128
"""Multiples for polygons that are too large: the texture does not continue at their sides."""

MATRIX_SLOT = 30
"""Slot of the course's matrix in the machine's matrix stack."""

_COLOR, _BEGIN = 0x20, 0x40
_MTX_RESTORE, _MTX_TRANS = 0x14, 0x1C
_VTX_16, _VTX_10, _VTX_XZ = 0x23, 0x24, 0x26
_TRIANGLES, _QUADS, _QUAD_STRIP = 0, 1, 3

_SUN = np.array([0.45, 0.80, 0.40]) / math.sqrt(0.45**2 + 0.80**2 + 0.40**2)


@dataclass(frozen=True)
class ModelStatistics:
    """Size of a model; polygons and vertices are those of the near lists."""

    chunks: int
    polygons: int
    vertices: int
    largest_chunk: int


def rgb15(colour: ArrayLike) -> Integers:
    """Pack colours of 0 to 255 as the DS has them: five bits each, red lowest.

    Args:
        colour: (..., 3).

    Returns:
        The packed colours (...,).
    """
    parts = np.clip(np.rint(np.asarray(colour) / 255 * 31), 0, 31).astype(np.int64)
    return np.asarray(parts[..., 0] | parts[..., 1] << 5 | parts[..., 2] << 10)


class Faces:
    """Polygons of all chunks, added many at a time.

    A triangle is a quad whose last two corners are equal. Consecutive quads become a strip where
    the edge from d to c of one is the edge from a to b of the next, colours included.
    """

    def __init__(self) -> None:
        self._lists: list[Integers] = []
        self._points: list[Floats] = []
        self._colours: list[Floats] = []

    def add(
        self,
        chunk: ArrayLike,
        corners: Floats,
        colours: ArrayLike,
        *,
        lit: bool = True,
        far: bool = False,
    ) -> None:
        """Add polygons.

        Args:
            chunk: (N,) or one number: the chunk of each polygon.
            corners: (N, 4, 3) or (N, 3, 3) in world units, counter-clockwise from the front.
            colours: 0 to 255; (3,) for all, or an array that broadcasts to (N, 4, 3).
            lit: shade by the sun.
            far: add to the chunk's far list.
        """
        if not len(corners):
            return
        if corners.shape[1] == 3:
            corners = corners[:, [0, 1, 2, 2]]
        tones = np.broadcast_to(np.asarray(colours, dtype=np.float64), corners.shape)
        if lit:
            tones = tones * shade(corners)[:, None, None]
        chunks = np.broadcast_to(np.asarray(chunk, dtype=np.int64), len(corners))
        self._lists.append(2 * chunks + far)
        self._points.append(corners)
        self._colours.append(tones)

    def table(self) -> tuple[Integers, Floats, Integers]:
        """Return all polygons in the order of their addition.

        Returns:
            Lists (P,), twice the chunk plus one if far; corners (P, 4, 3); colours (P, 4).
        """
        if not self._lists:
            return np.empty(0, np.int64), np.empty((0, 4, 3)), np.empty((0, 4), np.int64)
        return (
            np.concatenate(self._lists),
            np.concatenate(self._points),
            rgb15(np.concatenate(self._colours)),
        )


def shade(corners: Floats) -> Floats:
    """Return the brightness (N,) of faces in the sun; level ground has 1."""
    a = corners[:, 1] - corners[:, 0]
    b = corners[:, 3] - corners[:, 0]
    normal = np.stack(
        [
            a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1],
            a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2],
            a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0],
        ],
        axis=1,
    )
    length = np.sqrt((normal**2).sum(axis=1))
    light = np.maximum(normal @ _SUN, 0) / np.maximum(length, 1e-12)
    return np.asarray(np.where(length > 0, 0.7 + 0.3 * light / _SUN[1], 1.0))


@dataclass
class _Polygons:
    """Snapped polygons in the order of their addition.

    Attributes:
        lists: (P,) list of each.
        points: (P, 4, 3) corners in steps of the grid.
        colours: (P, 4) 15-bit colours.
        corners: (P,) 3 or 4.
    """

    lists: Integers
    points: Integers
    colours: Integers
    corners: Integers

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> _Polygons:
        return _Polygons(
            self.lists[index], self.points[index], self.colours[index], self.corners[index]
        )


def _snapped(lists: Integers, points: Floats, colours: Integers, grid: float) -> _Polygons:
    """Snap polygons to the grid; merge corners that coincide and drop slivers."""
    steps = np.rint(points / grid).astype(np.int64)
    same = (steps == np.roll(steps, -1, axis=1)).all(axis=2)  # corner i falls on i + 1
    corners = 4 - same.sum(axis=1)
    triangle = np.flatnonzero(corners == 3)
    # A quad's double corner goes to the end, as in triangles.
    turn = (np.argmax(same[triangle], axis=1)[:, None] + 2 + np.arange(4)) % 4
    turn = turn[:, [0, 1, 2, 2]]
    steps[triangle] = np.take_along_axis(steps[triangle], turn[:, :, None], axis=1)
    colours = colours.copy()
    colours[triangle] = np.take_along_axis(colours[triangle], turn, axis=1)
    return _Polygons(lists, steps, colours, corners).take(corners >= 3)


def _split(lists: Integers, points: Floats, colours: Integers) -> tuple[Integers, Floats, Integers]:
    """Halve polygons that no origin reaches, across their longer sides."""
    while True:
        spread = (points.max(axis=1) - points.min(axis=1)).max(axis=1) / GRID
        large = np.flatnonzero(spread > 1023 - _ORIGIN_STEP)
        if not len(large):
            return lists, points, colours
        corners, tones = points[large], _parts(colours[large])
        lengths = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2)
        triangle = lengths[:, 2] == 0
        # The first side becomes the longest; in a quad, the first and the third side.
        first = np.where(
            triangle,
            np.argmax(lengths[:, [0, 1, 3]], axis=1),
            np.argmax(lengths[:, :2] + lengths[:, 2:], axis=1),
        )
        turn = (first[:, None] + np.arange(4)) % np.where(triangle, 3, 4)[:, None]
        turn[triangle, 3] = turn[triangle, 2]
        corners = np.take_along_axis(corners, turn[:, :, None], axis=1)
        tones = np.take_along_axis(tones, turn[:, :, None], axis=1)
        halves = [
            np.stack(
                [
                    np.stack([v[:, 0], m, n, v[:, 3]], axis=1),
                    np.stack([m, v[:, 1], v[:, 2], n], axis=1),
                ],
                axis=1,
            )
            for v, m, n in (
                (v, (v[:, 0] + v[:, 1]) / 2, (v[:, 2] + v[:, 3]) / 2) for v in (corners, tones)
            )
        ]
        pieces = np.ones(len(lists), dtype=np.int64)
        pieces[large] = 2
        source = np.repeat(np.arange(len(lists)), pieces)
        lists, points, colours = lists[source], points[source], colours[source]
        cut = np.flatnonzero(np.repeat(pieces == 2, pieces))
        points[cut] = halves[0].reshape(-1, 4, 3)
        colours[cut] = rgb15(halves[1].reshape(-1, 4, 3) * 255 / 31)


def _parts(colours: Integers) -> Floats:
    """Unpack 15-bit colours (...,) to (..., 3) of 0 to 31."""
    return np.stack([colours & 31, colours >> 5 & 31, colours >> 10 & 31], axis=-1).astype(
        np.float64
    )


def _origins(polygons: _Polygons) -> Integers:
    """Return origins (P, 3) for polygons sorted by list; each origin takes as many as fit."""
    low = polygons.points.max(axis=1) - 511
    high = polygons.points.min(axis=1) + 512
    out = np.zeros((len(low), 3), dtype=np.int64)
    steps = np.array(_GRAIN_STEPS)
    fits = (-(-low // steps) * steps <= high).all(axis=1)
    bounds = np.flatnonzero(np.diff(polygons.lists, prepend=-1, append=-1))
    for begin, end in itertools.pairwise(bounds.tolist()):
        for grain in (True, False):
            rows = np.flatnonzero(fits[begin:end] == grain) + begin
            while len(rows):
                size = steps if grain else np.full(3, _ORIGIN_STEP)
                first = -(-low[rows].min(axis=0) // size)
                last = high[rows].max(axis=0) // size
                reach = []
                for axis in range(3):
                    wanted = np.arange(first[axis], last[axis] + 1) * size[axis]
                    reach.append(
                        (low[rows, axis, None] <= wanted) & (wanted <= high[rows, axis, None])
                    )
                votes = np.einsum("pi,pj,pk->ijk", *(r.astype(np.int64) for r in reach))
                best = np.unravel_index(int(np.argmax(votes)), votes.shape)
                taken = reach[0][:, best[0]] & reach[1][:, best[1]] & reach[2][:, best[2]]
                out[rows[taken]] = (first + np.array(best)) * size
                rows = rows[~taken]
    return out


@dataclass(frozen=True)
class _Packed:
    """Command lists, and where each begins and ends in `words`."""

    words: NDArray[np.uint32]
    lists: Integers
    starts: Integers
    ends: Integers
    polygons: Integers
    vertices: Integers


def _pack(polygons: _Polygons, *, fine: bool) -> _Packed:
    """Pack polygons into one command list for each of their lists."""
    polygons = polygons.take(np.argsort(polygons.lists, kind="stable"))
    origins = _origins(polygons) if fine else np.zeros((len(polygons.lists), 3), np.int64)
    order = np.lexsort((*origins.T, polygons.lists))  # stable
    polygons, origins = polygons.take(order), origins[order]
    count = len(order)

    # Chains: quads that begin where the previous quad ends.
    def new(*keys: Integers) -> NDArray[np.bool_]:
        """Return (P,) whether any key differs from the previous."""
        changed = np.ones(count, dtype=np.bool_)
        changed[1:] = np.any([np.diff(key) != 0 for key in keys], axis=0)
        return changed

    origin_key = (origins + (1 << 15)) @ np.array([1, 1 << 20, 1 << 40])
    quad = polygons.corners == 4
    follows = ~new(polygons.lists, origin_key)
    follows[1:] &= quad[1:] & quad[:-1]
    for corner, previous in ((0, 3), (1, 2)):
        follows[1:] &= (polygons.points[1:, corner] == polygons.points[:-1, previous]).all(axis=1)
        follows[1:] &= polygons.colours[1:, corner] == polygons.colours[:-1, previous]
    chained = follows.copy()
    chained[:-1] |= follows[1:]

    # Single quads first, then triangles, then strips.
    rank = np.where(chained, 2, np.where(quad, 0, 1))
    order = np.lexsort((rank, origin_key, polygons.lists))
    polygons, origins, origin_key = polygons.take(order), origins[order], origin_key[order]
    rank, follows = rank[order], follows[order]
    new_list = new(polygons.lists)
    new_origin = new(polygons.lists, origin_key)
    begins = new(polygons.lists, origin_key, rank) | ((rank == 2) & ~follows)

    # One row per vertex: which corner of which polygon.
    slots = np.array([[0, 1, 2, 3], [0, 1, 2, -1], [0, 1, 3, 2], [3, 2, -1, -1]])
    corners = slots[np.where(follows, 3, rank)]
    owner, slot = np.nonzero(corners >= 0)
    corner_of = corners[owner, slot]
    opens = slot == 0
    lists = polygons.lists[owner]
    place = polygons.points[owner, corner_of] - origins[owner]
    colour = polygons.colours[owner, corner_of]
    coloured = np.ones(len(owner), dtype=np.bool_)
    coloured[1:] = (np.diff(colour) != 0) | (np.diff(lists) != 0)
    coloured |= opens & new_list[owner]

    # Up to five commands per vertex, with up to three parameters each.
    rows = len(owner)
    codes = np.zeros((rows, 5), dtype=np.int64)
    parameters = np.zeros((rows, 5, 3), dtype=np.int64)
    numbers = np.ones((rows, 5), dtype=np.int64)
    if fine:
        moved = opens & new_origin[owner]
        codes[:, 0] = np.where(moved, _MTX_RESTORE, 0)
        parameters[:, 0, 0] = MATRIX_SLOT
        codes[:, 1] = np.where(moved & origins[owner].any(axis=1), _MTX_TRANS, 0)
        parameters[:, 1] = origins[owner] * 64
        numbers[:, 1] = 3
        codes[:, 4] = _VTX_10
        part = place & 0x3FF
        parameters[:, 4, 0] = part[:, 0] | part[:, 1] << 10 | part[:, 2] << 20
    else:
        if rows and np.abs(place).max() > 0x7FFF:
            raise ValueError("a vertex of the water is outside the range of the model")
        level = np.zeros(rows, dtype=np.bool_)
        level[1:] = (np.diff(place[:, 1]) == 0) & (np.diff(lists) == 0)
        codes[:, 4] = np.where(level, _VTX_XZ, _VTX_16)
        part = place & 0xFFFF
        parameters[:, 4, 0] = part[:, 0] | np.where(level, part[:, 2], part[:, 1]) << 16
        parameters[:, 4, 1] = part[:, 2]
        numbers[:, 4] = np.where(level, 1, 2)
    codes[:, 2] = np.where(opens & begins[owner], _BEGIN, 0)
    parameters[:, 2, 0] = np.array([_QUADS, _TRIANGLES, _QUAD_STRIP])[rank[owner]]
    codes[:, 3] = np.where(coloured, _COLOR, 0)
    parameters[:, 3, 0] = colour
    used = codes != 0
    return _words(
        codes[used],
        parameters[used],
        numbers[used],
        np.broadcast_to(lists[:, None], used.shape)[used],
        polygons.lists,
        lists,
    )


def _words(
    codes: Integers,
    parameters: Integers,
    numbers: Integers,
    lists: Integers,
    polygon_lists: Integers,
    vertex_lists: Integers,
) -> _Packed:
    """Pack commands, sorted by list, into words: four codes, then their parameters.

    All commands have parameters: a packed word whose last command has no parameter needs a dummy
    word on the real machine. END_VTXS is left out, because the machine ignores it.
    """
    names, first, sizes = np.unique(lists, return_index=True, return_counts=True)
    within = np.arange(len(codes)) - np.repeat(first, sizes)
    before = np.cumsum(numbers) - numbers
    before -= np.repeat(before[first], sizes)
    lengths = -(-sizes // 4) + np.add.reduceat(numbers, first) if len(first) else sizes
    ends = np.cumsum(lengths)
    starts = ends - lengths
    base = np.repeat(starts, sizes)
    words = np.zeros(int(ends[-1]) if len(ends) else 0, dtype=np.int64)
    # A word of codes precedes the parameters of its first command.
    ahead = before[np.arange(len(codes)) - within % 4]
    np.add.at(words, base + within // 4 + ahead, codes << 8 * (within % 4))
    for index in range(3):
        has = numbers > index
        words[(base + within // 4 + 1 + before + index)[has]] = parameters[has, index]
    return _Packed(
        (words & 0xFFFFFFFF).astype("<u4"),
        names,
        starts,
        ends,
        np.searchsorted(polygon_lists, names, side="right") - np.searchsorted(polygon_lists, names),
        np.searchsorted(vertex_lists, names, side="right") - np.searchsorted(vertex_lists, names),
    )


def pack_klm(
    fine: Faces, coarse: Faces, beyond: Sequence[ArrayLike]
) -> tuple[bytes, ModelStatistics]:
    """Pack a KLM file.

    Args:
        fine: the course, in chunks small enough to be skipped outside the view.
        coarse: large polygons below everything, in separate chunks.
        beyond: six colours of 0 to 255 in the header's order.

    Returns:
        The file and its statistics.
    """
    lists, points, colours = fine.table()
    wide_lists, wide_points, wide_colours = coarse.table()
    shift = 2 * (int(lists.max()) // 2 + 1) if len(lists) else 0
    groups = [
        (_snapped(*_split(lists, points, colours), GRID), GRID, True),
        (_snapped(wide_lists + shift, wide_points, wide_colours, COARSE_GRID), COARSE_GRID, False),
    ]
    table, bodies = bytearray(), []
    entries: list[tuple[Floats, float, _Packed, int]] = []
    fine_count = 0
    for polygons, grid, is_fine in groups:
        packed = _pack(polygons, fine=is_fine)
        chunks, inverse = np.unique(polygons.lists >> 1, return_inverse=True)
        low = np.full((len(chunks), 3), np.inf)
        high = -low
        places = polygons.points * grid
        np.minimum.at(low, inverse, places.min(axis=1))
        np.maximum.at(high, inverse, places.max(axis=1))
        centre = (low + high) / 2
        away = np.linalg.norm(places - centre[inverse][:, None], axis=2).max(axis=1)
        radius = np.zeros(len(chunks))
        np.maximum.at(radius, inverse, away)
        entries += [
            (centre[i], float(radius[i]) + 0.5, packed, int(chunk))
            for i, chunk in enumerate(chunks)
        ]
        if is_fine:
            fine_count = len(chunks)
    offset = HEADER_SIZE + CHUNK_ENTRY_SIZE * len(entries)
    total = [0, 0, 0]
    for centre_of, reach, packed, chunk in entries:
        lengths = [0, 0]
        for far in (0, 1):
            at = int(np.searchsorted(packed.lists, 2 * chunk + far))
            if at < len(packed.lists) and packed.lists[at] == 2 * chunk + far:
                data = packed.words[packed.starts[at] : packed.ends[at]].tobytes()
                lengths[far] = len(data) // 4
                bodies.append(data)
                if not far:
                    total[0] += int(packed.polygons[at])
                    total[1] += int(packed.vertices[at])
                    total[2] = max(total[2], int(packed.polygons[at]))
        table += struct.pack(
            "<4iIII",
            *(round(float(part) * 4096) for part in (*centre_of, reach)),
            offset,
            *lengths,
        )
        offset += 4 * sum(lengths)
    header = MAGIC + struct.pack(
        "<II6H", len(entries), fine_count, *(int(rgb15(colour)) for colour in beyond)
    )
    data = header + bytes(table) + b"".join(bodies)
    return data, ModelStatistics(len(entries), *total)
