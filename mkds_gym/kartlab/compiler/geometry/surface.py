"""The collision surface: road, shoulders, walls, out-of-bounds strips and fall boundary."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mkds_gym.kartlab.compiler.description import (
    COORDINATE_LIMIT,
    PADS,
    ROAD_SURFACES,
    CourseDescription,
)
from mkds_gym.kartlab.compiler.geometry.junctions import Cut
from mkds_gym.kartlab.compiler.geometry.layout import CourseLayout, fall_height
from mkds_gym.kartlab.compiler.geometry.planar import Region
from mkds_gym.kartlab.compiler.geometry.ribbon import Ribbon, outer_reach
from mkds_gym.race.names import Surface

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

STATION_MERGE = 300.0
"""Longest straight and even floor that becomes one face, in world units.

The numbers of the file format are too coarse for much longer faces."""

MERGE_ERROR = 0.25
"""Largest distance of a merged face from the road, in world units."""

TWIST = 0.375
"""A face whose middle is this far off the road is split in two, in world units."""

WALL_FOOT = 15.0
"""Depth of a wall below the floor, in world units: no sphere touches its lower edge."""

FALL_TILE = 640.0
"""Side of the fall boundary's square tiles, in world units."""

FALL_MARGIN = 625.0
"""Distance of the fall boundary's edge from the course, in world units."""


@dataclass(frozen=True)
class Triangles:
    """The T triangles of a collision surface, counter-clockwise when seen from their front.

    Attributes:
        vertices: (T, 3, 3) corners in world units.
        types: (T,) KCL collision types.
        walls: (T,) True for walls, False for floors.
    """

    vertices: Floats
    types: NDArray[np.uint8]
    walls: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.vertices)


def build_triangles(description: CourseDescription, layout: CourseLayout) -> Triangles:
    """Build the collision surface of a course."""
    surface = _Surface()
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for ribbon, cuts in zip(layout.paths, layout.cuts, strict=True):
        _path_surface(description, *_thinned(ribbon, cuts), surface)
        for side, sign in ((0, 1.0), (1, -1.0)):
            for rise in (-WALL_FOOT, description.wall_height):
                line = ribbon.line(sign * outer_reach(description, ribbon, side), rise)
                low = np.minimum(low, line.min(axis=0))
                high = np.maximum(high, line.max(axis=0))

    limit = COORDINATE_LIMIT + 250
    low = np.maximum(np.floor(low - FALL_MARGIN), -limit)
    high = np.minimum(high + FALL_MARGIN, limit)
    x = low[0] + FALL_TILE * np.arange(math.ceil((high[0] - low[0]) / FALL_TILE))
    z = low[2] + FALL_TILE * np.arange(math.ceil((high[2] - low[2]) / FALL_TILE))
    place = np.stack(np.meshgrid(z, x, indexing="ij"), axis=-1).reshape(-1, 2)
    corners = np.empty((len(place), 4, 3))
    corners[..., 0] = place[:, [1]] + FALL_TILE * np.array([0, 0, 1, 1])
    corners[..., 1] = fall_height(description, layout)
    corners[..., 2] = place[:, [0]] + FALL_TILE * np.array([0, 1, 1, 0])
    surface.quads(corners, Surface.FALL_BOUNDARY)
    return surface.triangles()


def _path_surface(
    description: CourseDescription,
    ribbon: Ribbon,
    cuts: tuple[Cut | None, ...],
    surface: _Surface,
) -> None:
    """Add the floor and the walls of one path."""
    count = ribbon.segments
    cut = np.array([cuts[k] is not None for k in range(count)])
    padded = np.array([bool(ribbon.pads_at(k)) for k in range(count)])
    floor = ~ribbon.gap[:count]
    half = ribbon.half_width

    def region(index: int, part: str) -> Region:
        found: Region = getattr(cuts[index], part)
        return found

    def add(quads: Floats, wanted: Flags, types: NDArray[np.uint8], part: str) -> None:
        """Add the quads of a mask, without the region `part` of their cuts."""
        surface.quads(quads[wanted & ~cut], types[wanted & ~cut])
        for index in np.flatnonzero(wanted & cut).tolist():
            for piece in region(index, part).subtract(quads[index]):
                surface.polygon(piece, int(types[index]))

    road = np.array([ROAD_SURFACES[name] for name in ribbon.surfaces[:count]], dtype=np.uint8)
    # One quad from edge to edge where the floor is flat. A twisted quad's two triangles would make
    # a ridge or a ditch: each half of the road gets a quad there.
    quads = ribbon.strip(half, -half)
    twist = (quads[:, 0] + quads[:, 2] - quads[:, 1] - quads[:, 3])[:, 1] / 4
    flat = np.abs(twist) < TWIST
    add(quads, floor & ~padded & flat, road, "road")
    add(ribbon.strip(half, 0.0), floor & ~padded & ~flat, road, "road")
    add(ribbon.strip(0.0, -half), floor & ~padded & ~flat, road, "road")
    for index in np.nonzero(floor & padded)[0]:
        _padded_road(ribbon, int(index), int(road[index]), surface)
    k, n = np.arange(count), ribbon.next_stations
    for side, sign in ((0, 1.0), (1, -1.0)):
        edges = [ribbon.edges[k][side] for k in range(count)]
        types = np.array([edge.collision_type for edge in edges], dtype=np.uint8)
        reach = ribbon.reach(side)
        strip = description.bounds_width
        if side == 0:
            shoulder, bounds = ribbon.strip(reach, half), ribbon.strip(reach + strip, reach)
        else:
            shoulder = ribbon.strip(-half, -reach)
            bounds = ribbon.strip(-reach, -reach - strip)
        add(shoulder, floor, types, "shoulder")
        ends = np.array([edge.end for edge in edges])
        outside = np.full(count, Surface.OUT_OF_BOUNDS, dtype=np.uint8)
        add(bounds, floor & (ends == "bounds"), outside, "outer")
        wanted = floor & (ends == "wall")
        foot = ribbon.line(sign * reach, -WALL_FOOT)
        top = ribbon.line(sign * reach, description.wall_height)
        here, there = (k, n) if side == 0 else (n, k)
        walls = np.stack([foot[here], foot[there], top[there], top[here]], axis=1)
        surface.quads(walls[wanted & ~cut], Surface.WALL)
        for index in np.flatnonzero(wanted & cut).tolist():
            a, b, c, d = walls[index]
            for start, end in region(index, "outer").subtract_line(a[[0, 2]], b[[0, 2]]):
                piece = [
                    *(a + (b - a) * start, a + (b - a) * end),
                    *(d + (c - d) * end, d + (c - d) * start),
                ]
                surface.quads(np.array([piece]), Surface.WALL)


def _padded_road(ribbon: Ribbon, k: int, road: int, surface: _Surface) -> None:
    """Add the road of a segment with pads: the pads and the strips between them."""
    n = ribbon.following(k)
    left = (float(ribbon.half_width[k]), float(ribbon.half_width[n]))
    strips = []
    for pad in ribbon.pads_at(k):
        strips.append((left, (pad.left, pad.left), road))
        strips.append(((pad.left, pad.left), (pad.right, pad.right), PADS[pad.kind]))
        left = (pad.right, pad.right)
    strips.append((left, (-float(ribbon.half_width[k]), -float(ribbon.half_width[n])), road))
    for (a, b), (c, d), kind in strips:
        if a - c > 0.5 or b - d > 0.5:
            places = ((k, a), (k, c), (n, d), (n, b))
            surface.quads(np.array([[ribbon.point(*place) for place in places]]), kind)


def _thinned(ribbon: Ribbon, cuts: tuple[Cut | None, ...]) -> tuple[Ribbon, tuple[Cut | None, ...]]:
    """Drop stations that lie on the line between their neighbours, where nothing changes."""
    count = len(ribbon)
    ends = ribbon.borders
    values = np.column_stack(
        [ribbon.centre, ribbon.half_width, ribbon.shoulder, 500 * ribbon.slope]
    )
    plain = [
        not ribbon.gap[k] and cuts[k] is None and not ribbon.pads_at(k)
        for k in range(ribbon.segments)
    ]
    stations = [0]
    for k in range(1, count - (not ribbon.closed)):
        first, after = stations[-1], ribbon.following(k)
        span = float(ends[k + 1] - ends[first])
        keep = (
            not (plain[k] and plain[k - 1])
            or k - first > 1
            or span > STATION_MERGE
            or ribbon.edges[k] != ribbon.edges[k - 1]
            or ribbon.surfaces[k] != ribbon.surfaces[k - 1]
            or abs(math.remainder(float(ribbon.heading[after] - ribbon.heading[first]), math.tau))
            > 1e-6
        )
        if not keep:
            part = (ends[k] - ends[first]) / span
            on_line = values[first] * (1 - part) + values[after] * part
            keep = bool((np.abs(on_line - values[k]) > MERGE_ERROR).any())
        if keep:
            stations.append(k)
    if not ribbon.closed:
        stations.append(count - 1)
    number = {k: i for i, k in enumerate([*stations, count])}
    return replace(
        ribbon,
        distance=ribbon.distance[stations],
        centre=ribbon.centre[stations],
        heading=ribbon.heading[stations],
        curvature=ribbon.curvature[stations],
        half_width=ribbon.half_width[stations],
        slope=ribbon.slope[stations],
        shoulder=ribbon.shoulder[stations],
        edges=tuple(ribbon.edges[k] for k in stations),
        surfaces=tuple(ribbon.surfaces[k] for k in stations),
        gap=ribbon.gap[stations],
        pads=tuple(
            replace(pad, first=number[pad.first], last=number[pad.last]) for pad in ribbon.pads
        ),
    ), tuple(cuts[k] for k in stations)


class _Surface:
    """Collects the polygons of the collision surface."""

    def __init__(self) -> None:
        self._quads: list[Floats] = []
        self._quad_types: list[NDArray[np.uint8]] = []
        self._faces: list[Floats] = []
        self._face_types: list[int] = []

    def quads(self, corners: Floats, types: NDArray[np.uint8] | int) -> None:
        """Add (N, 4, 3) quads, counter-clockwise from their front."""
        self._quads.append(corners)
        self._quad_types.append(np.broadcast_to(np.asarray(types, dtype=np.uint8), (len(corners),)))

    def polygon(self, corners: Floats, surface: int) -> None:
        """Add a convex polygon, counter-clockwise from its front."""
        if len(corners) == 4:
            self.quads(corners[None], surface)
            return
        # Of the fans from each corner, the one with the fattest triangles survives rounding best.
        count = len(corners)
        best: tuple[float, list[Floats]] | None = None
        for first in range(count):
            turned = np.roll(corners, -first, axis=0)
            faces = [turned[[0, i, i + 1]] for i in range(1, count - 1)]
            worst = min(float(_heights(face[None])[0]) for face in faces)
            if best is None or worst > best[0] + 1e-9:
                best = worst, faces
        for face in best[1] if best else []:
            self._faces.append(face)
            self._face_types.append(surface)

    def triangles(self) -> Triangles:
        quads = np.concatenate(self._quads)
        types = np.concatenate(self._quad_types)
        # Cut along the shorter diagonal: fat triangles survive the rounding of normals best.
        diagonal = quads[:, [0, 1]] - quads[:, [2, 3]]
        length = np.linalg.norm(diagonal, axis=2)
        first = np.where(length[:, :1] <= length[:, 1:], [[0, 1, 2]], [[0, 1, 3]])
        second = np.where(length[:, :1] <= length[:, 1:], [[0, 2, 3]], [[1, 2, 3]])
        order = np.stack([first, second], axis=1)
        faces = quads[np.arange(len(quads))[:, None, None], order].reshape(-1, 3, 3)
        kinds = np.repeat(types, 2)
        if self._faces:
            faces = np.concatenate([faces, np.array(self._faces)])
            kinds = np.concatenate([kinds, np.array(self._face_types, dtype=np.uint8)])
        cross = np.cross(faces[:, 1] - faces[:, 0], faces[:, 2] - faces[:, 0])
        large = (np.linalg.norm(cross, axis=1) > 12.0) & (_heights(faces) > 0.5)
        faces, kinds = faces[large], kinds[large]
        return Triangles(faces, kinds, kinds == Surface.WALL)


def _heights(faces: Floats) -> Floats:
    """Return the smallest height (N,) of each triangle; 0 for a line."""
    sides = np.linalg.norm(np.roll(faces, -1, axis=1) - faces, axis=2).max(axis=1)
    cross = np.cross(faces[:, 1] - faces[:, 0], faces[:, 2] - faces[:, 0])
    return np.asarray(np.linalg.norm(cross, axis=1) / np.maximum(sides, 1e-9))
