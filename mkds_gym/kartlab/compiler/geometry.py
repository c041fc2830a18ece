"""From a course description to the shape of the road: stations, cross-sections, triangles.

World frame: right-handed, y up, world units. Seen from above with x to the right and z down,
"left" is left. The left of a forward direction (fx, fz) is (fz, -fx).

The centre line is cut into *stations*. At each station the road has a cross-section: a lateral
offset u (positive to the left of the centre) and a height that rises or falls with the bank.
Everything else (collision, map, picture) is built on the same stations, so that all three
files agree.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkds_gym.kartlab.compiler.description import (
    COORDINATE_LIMIT,
    CourseDescription,
    Edge,
    Point,
)

Floats = NDArray[np.float64]

STATION_STEP = 56.0
"""Longest distance between stations, in world units."""

STATION_TURN = math.radians(15.0)
"""Largest turn between stations."""

MINIMUM_TURN = math.radians(0.5)
"""Below this a point counts as lying on a straight."""

MAXIMUM_SLOPE = 0.15
"""Steepest road, as height over distance."""

INNER_MARGIN = 10.0
"""Smallest radius left at the inside of a bend, in world units."""

WALL_FOOT = 6.0
"""How far a wall continues below the floor, so that no sphere finds its lower edge."""

FALL_TILE = 256.0
"""Side of the fall boundary's square tiles, in world units."""

SURFACE_ROAD = 0
SURFACE_WALL = 8
SURFACE_BOUNDS = 10
SURFACE_FALL = 11


@dataclass(frozen=True)
class Element:
    """A straight or an arc of the centre line, from distance `start` on.

    `curvature` is signed, 1/radius, positive to the left.
    """

    start: float
    length: float
    x: float
    z: float
    heading: float
    curvature: float

    def at(self, distance: float) -> tuple[float, float, float]:
        """Return x, z and heading `distance` after this element's start."""
        if self.curvature == 0.0:
            return (
                self.x + distance * math.sin(self.heading),
                self.z + distance * math.cos(self.heading),
                self.heading,
            )
        # Heading h has the direction (sin h, cos h); its left is (cos h, -sin h), so turning
        # left raises h: the same sense as the game's rotation about y.
        heading = self.heading + distance * self.curvature
        radius = 1.0 / self.curvature
        centre_x = self.x + radius * math.cos(self.heading)
        centre_z = self.z - radius * math.sin(self.heading)
        return (
            centre_x - radius * math.cos(heading),
            centre_z + radius * math.sin(heading),
            heading,
        )


@dataclass(frozen=True)
class Ribbon:
    """The road as cross-sections at K stations, the last of which leads back to the first.

    All lengths in world units. Side arrays have two columns, left and right.

    Attributes:
        distance: (K,) distance of each station from the start line along the centre.
        length: of one lap.
        centre: (K, 3) points on the road's centre.
        heading: (K,) radians; forward is (sin h, 0, cos h).
        curvature: (K,) 1/radius, positive in a left bend.
        half_width: (K,) half the road's width.
        slope: (K,) rise per unit towards the left, from the bank.
        shoulder: (K, 2) width of the shoulders.
        edges: per segment k (station k to k+1) the left and the right `Edge`.
    """

    distance: Floats
    length: float
    centre: Floats
    heading: Floats
    curvature: Floats
    half_width: Floats
    slope: Floats
    shoulder: Floats
    edges: tuple[tuple[Edge, Edge], ...]

    def __len__(self) -> int:
        return len(self.distance)

    @property
    def forward(self) -> Floats:
        """(K, 2) forward directions, x and z."""
        return np.stack([np.sin(self.heading), np.cos(self.heading)], axis=1)

    @property
    def left(self) -> Floats:
        """(K, 2) directions to the left, x and z."""
        return np.stack([np.cos(self.heading), -np.sin(self.heading)], axis=1)

    def reach(self, side: int) -> Floats:
        """(K,) distance from the centre to the shoulder's end; side 0 is left, 1 right."""
        return self.half_width + self.shoulder[:, side]

    def point(self, station: int, offset: float, rise: float = 0.0) -> Floats:
        """(3,) the floor's point `offset` to the left of the centre, raised by `rise`."""
        k = station % len(self)
        h = float(self.heading[k])
        x, y, z = (float(part) for part in self.centre[k])
        return np.array(
            [
                x + offset * math.cos(h),
                y + offset * float(self.slope[k]) + rise,
                z - offset * math.sin(h),
            ]
        )


@dataclass(frozen=True)
class Triangles:
    """T triangles, counter-clockwise when seen from their front.

    Attributes:
        vertices: (T, 3, 3) world units.
        types: (T,) KCL collision types.
        walls: (T,) True for walls, False for floors.
    """

    vertices: Floats
    types: NDArray[np.uint8]
    walls: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.vertices)


def centre_elements(description: CourseDescription) -> tuple[list[Element], Floats]:
    """Lay the centre line through the points.

    Returns:
        the elements in order from the start line on, and (P, 2) the distances at which the
        bend of each point begins and ends (equal for a point on a straight).

    Raises:
        CourseDescriptionError: a bend without a radius, bends that do not fit, a start line
            that is not on a straight.
    """
    points = description.points
    count = len(points)
    at = np.array([point.at for point in points])
    leg = np.roll(at, -1, axis=0) - at
    leg_length = np.hypot(leg[:, 0], leg[:, 1])
    heading = np.arctan2(leg[:, 0], leg[:, 1])
    turn = [
        math.remainder(float(heading[i]) - float(heading[i - 1]), math.tau) for i in range(count)
    ]
    tangent = [0.0] * count
    for i, point in enumerate(points):
        if abs(turn[i]) < MINIMUM_TURN:
            turn[i] = 0.0
            continue
        if i == 0:
            raise description.error(
                point.label,
                f"the start line must lie on a straight; {list(point.at)} is a bend "
                f"of {math.degrees(turn[i]):.1f} degrees",
            )
        if point.radius == 0.0:
            raise description.error(
                f"{point.label}: radius",
                f"missing, though the road turns {math.degrees(turn[i]):.1f} degrees here",
            )
        if abs(turn[i]) > math.radians(150):
            raise description.error(
                f"{point.label}: at",
                f"the road turns {math.degrees(turn[i]):.0f} degrees at {list(point.at)}; make a "
                "bend this sharp of two points",
            )
        tangent[i] = point.radius * math.tan(abs(turn[i]) / 2)
    for i in range(count):
        following = (i + 1) % count
        if tangent[i] + tangent[following] > leg_length[i] + 1e-6:
            raise description.error(
                f"{points[i].label} and {points[following].label}: radius",
                f"their bends need {tangent[i] + tangent[following]:.1f} units of the "
                f"{leg_length[i]:.1f} between them",
            )

    elements: list[Element] = []
    spans = np.zeros((count, 2))
    distance = 0.0
    for i in range(count):
        direction = leg[i] / leg_length[i]
        start = at[i] + direction * tangent[i]
        following = (i + 1) % count
        straight = float(leg_length[i]) - tangent[i] - tangent[following]
        if straight > 1e-6:
            elements.append(Element(distance, straight, start[0], start[1], float(heading[i]), 0.0))
            distance += straight
        if turn[following] != 0.0:
            entry = at[following] - direction * tangent[following]
            radius = points[following].radius
            arc = radius * abs(turn[following])
            elements.append(
                Element(
                    distance,
                    arc,
                    entry[0],
                    entry[1],
                    float(heading[i]),
                    math.copysign(1.0 / radius, turn[following]),
                )
            )
            spans[following] = distance, distance + arc
            distance += arc
        elif following:
            spans[following] = distance, distance
    return elements, spans


def _smooth_profile(keys: list[tuple[float, float]], length: float, where: Floats) -> Floats:
    """Periodic monotone cubic through (distance, value) keys (Fritsch and Carlson, 1980).

    Monotone between keys, so that a hill's top is where the description puts it.
    """
    keys = sorted(keys)
    xs = np.array([key[0] for key in keys])
    ys = np.array([key[1] for key in keys])
    if len(keys) == 1:
        return np.full(len(where), ys[0])
    dx = np.diff(np.append(xs, xs[0] + length))
    secant = np.diff(np.append(ys, ys[0])) / dx
    before = np.roll(secant, 1)
    dx_before = np.roll(dx, 1)
    weight = 3 * (dx + dx_before)
    slope = np.zeros(len(xs))
    same = before * secant > 0
    slope[same] = weight[same] / (
        (2 * dx + dx_before)[same] / before[same] + (dx + 2 * dx_before)[same] / secant[same]
    )
    out = np.empty(len(where))
    for index, value in enumerate(where):
        k = bisect_right(xs.tolist(), float(value)) - 1
        offset = float(value) - xs[k] if k >= 0 else float(value) + length - xs[-1]
        following = (k + 1) % len(xs)
        t = offset / dx[k]
        out[index] = (
            (1 + 2 * t) * (1 - t) ** 2 * ys[k]
            + t * (1 - t) ** 2 * dx[k] * slope[k]
            + t * t * (3 - 2 * t) * ys[following]
            - t * t * (1 - t) * dx[k] * slope[following]
        )
    return out


def _value_keys(
    points: tuple[Point, ...], spans: Floats, name: str, default: float
) -> list[tuple[float, float]]:
    keys = []
    for point, (start, end) in zip(points, spans, strict=True):
        value = getattr(point, name)
        if value is not None:
            keys.append(((start + end) / 2, float(value)))
    return keys or [(0.0, default)]


def build_ribbon(description: CourseDescription) -> Ribbon:
    """Cut the described course into stations.

    Raises:
        CourseDescriptionError: the course cannot be built as described: a slope too steep, an
            inner edge that folds, roads that overlap, a point beyond the range.
    """
    elements, spans = centre_elements(description)
    length = elements[-1].start + elements[-1].length

    rows: list[tuple[float, float, float, float, float]] = []
    for element in elements:
        pieces = max(
            math.ceil(element.length / STATION_STEP - 1e-9),
            math.ceil(element.length * abs(element.curvature) / STATION_TURN - 1e-9),
            1,
        )
        for piece in range(pieces):
            offset = element.length * piece / pieces
            x, z, heading = element.at(offset)
            rows.append((element.start + offset, x, z, heading, element.curvature))
    table = np.array(rows)
    distance, x, z, heading, curvature = table.T

    points = description.points
    half_width = (
        _smooth_profile(_value_keys(points, spans, "width", description.width), length, distance)
        / 2
    )
    heights = _smooth_profile(_value_keys(points, spans, "height", 0.0), length, distance)
    bank_keys = []
    for index, point in enumerate(points):
        start, end = spans[index]
        if end > start:
            turn = float(curvature[int(np.searchsorted(distance, start - 1e-6))])
            # The inside is lower: in a left bend the floor falls towards the left.
            bank = -math.copysign(math.tan(math.radians(point.bank)), turn)
            bank = bank if point.bank >= 0 else -bank
            bank_keys += [(start, bank), (end, bank)]
        else:
            bank_keys.append((start, 0.0))
    merged = dict(bank_keys)
    slope = _smooth_profile(sorted(merged.items()), length, distance)

    names, starts = [], []
    for side in ("left", "right"):
        taken = [
            (float(span[0]), getattr(point, side))
            for span, point in zip(spans, points, strict=True)
            if getattr(point, side)
        ]
        starts.append([start for start, _ in taken])
        names.append([name for _, name in taken])
    edges: list[tuple[Edge, Edge]] = []
    for value in distance:
        pair = [
            description.edges[names[side][bisect_right(starts[side], value + 1e-6) - 1]]
            for side in (0, 1)
        ]
        edges.append((pair[0], pair[1]))
    shoulder = np.stack(
        [_edge_widths(description, starts[side], names[side], length, distance) for side in (0, 1)],
        axis=1,
    )

    ribbon = Ribbon(
        distance=distance,
        length=length,
        centre=np.stack([x, heights, z], axis=1),
        heading=heading,
        curvature=curvature,
        half_width=half_width,
        slope=slope,
        shoulder=shoulder,
        edges=tuple(edges),
    )
    _check_ribbon(description, ribbon)
    return ribbon


def _edge_widths(
    description: CourseDescription,
    starts: list[float],
    names: list[str],
    length: float,
    distance: Floats,
) -> Floats:
    """Shoulder widths at the stations; a wide stretch narrows within itself to its neighbours.

    That way the two widths agree where the stretches meet, and walls have no gap there.
    """
    stretches = len(starts)
    out = np.empty(len(distance))
    for index, value in enumerate(distance):
        k = bisect_right(starts, value + 1e-6) - 1
        own = description.edges[names[k]].width
        begin = starts[k]
        end = starts[(k + 1) % stretches] + (length if k + 1 == stretches else 0.0)
        before = description.edges[names[k - 1]].width
        after = description.edges[names[(k + 1) % stretches]].width
        width = own
        if before < own:
            width = min(width, before + (own - before) * (value - begin) / description.blend)
        if after < own:
            width = min(width, after + (own - after) * (end - value) / description.blend)
        out[index] = max(width, 0.0)
    return out


def _place(description: CourseDescription, ribbon: Ribbon, station: int) -> str:
    """Name the place of a station for an error: the nearest described point before it."""
    _, spans = centre_elements(description)
    index = int(np.searchsorted(spans[:, 0], ribbon.distance[station] + 1e-6, side="right")) - 1
    return description.points[max(index, 0)].label


def outer_reach(description: CourseDescription, ribbon: Ribbon, side: int) -> Floats:
    """(K,) distance from the centre to the end of all floor, out-of-bounds strips included."""
    extra = np.zeros(len(ribbon))
    for k, pair in enumerate(ribbon.edges):
        if pair[side].end == "bounds":
            extra[k] = description.bounds_width
            following = (k + 1) % len(ribbon)
            extra[following] = max(extra[following], description.bounds_width)
    return ribbon.reach(side) + extra


def _check_ribbon(description: CourseDescription, ribbon: Ribbon) -> None:
    count = len(ribbon)
    run = np.diff(np.append(ribbon.distance, ribbon.length))
    rise = np.diff(np.append(ribbon.centre[:, 1], ribbon.centre[0, 1])) / run
    steepest = int(np.argmax(np.abs(rise)))
    if abs(rise[steepest]) > MAXIMUM_SLOPE:
        raise description.error(
            f"{_place(description, ribbon, steepest)}: height",
            f"the road changes height by {rise[steepest]:.0%} after here; at most "
            f"{MAXIMUM_SLOPE:.0%} is allowed",
        )
    reach = np.stack([outer_reach(description, ribbon, side) for side in (0, 1)], axis=1)
    for k in range(count):
        if ribbon.curvature[k] != 0.0:
            side = 0 if ribbon.curvature[k] > 0 else 1
            radius = 1.0 / abs(float(ribbon.curvature[k]))
            own = ribbon.reach(side)
            inner = float(max(own[k], own[(k + 1) % count]))
            if ribbon.edges[k][side].end == "bounds":
                inner += description.bounds_width
            if inner + INNER_MARGIN > radius:
                raise description.error(
                    f"{_place(description, ribbon, k)}: radius",
                    f"{radius:g} is too small: half the road and its inner edge take {inner:.1f}",
                )
    for side, sign in ((0, 1.0), (1, -1.0)):
        ends = ribbon.centre[:, [0, 2]] + sign * reach[:, [side]] * ribbon.left
        worst = int(np.argmax(np.abs(ends).max(axis=1)))
        if np.abs(ends[worst]).max() > COORDINATE_LIMIT:
            raise description.error(
                _place(description, ribbon, worst),
                f"the course's edge lies at {ends[worst].round(1).tolist()}, beyond "
                f"{COORDINATE_LIMIT:g}",
            )
    # Two stations far apart along the lap whose cross-sections could touch: the road overlaps.
    ground = ribbon.centre[:, [0, 2]]
    for k in range(count):
        away = ground - ground[k]
        gap = np.hypot(away[:, 0], away[:, 1])
        along = np.abs(ribbon.distance - ribbon.distance[k])
        along = np.minimum(along, ribbon.length - along)
        own_side = (away @ ribbon.left[k] < 0).astype(int)
        other_side = (np.einsum("ij,ij->i", -away, ribbon.left) < 0).astype(int)
        need = reach[k, own_side] + reach[np.arange(count), other_side]
        # Along a bend the centre line itself comes close; only count what is beyond half a turn.
        close = (gap < need) & (along > np.pi * gap / 2 + STATION_STEP) & (along > need)
        if close.any():
            other = int(np.argmax(close))
            raise description.error(
                f"{_place(description, ribbon, k)} and {_place(description, ribbon, other)}",
                f"the course overlaps itself near {ground[k].round(0).tolist()}: "
                f"{gap[other]:.0f} units between centres, {need[other]:.0f} needed",
            )


def fall_height(description: CourseDescription, ribbon: Ribbon) -> float:
    """Height of the fall boundary."""
    return math.floor(float(ribbon.centre[:, 1].min()) - description.fall_depth)


def build_triangles(description: CourseDescription, ribbon: Ribbon) -> Triangles:
    """Make the collision surface: road, shoulders, walls, out-of-bounds strips, fall boundary."""
    vertices: list[list[Floats]] = []
    types: list[int] = []
    walls: list[bool] = []

    def add(corners: list[Floats], surface: int, wall: bool = False) -> None:
        """Add a quad given counter-clockwise from its front, as one or two triangles."""
        a, b, c, d = corners
        # Cut along the shorter diagonal: fat triangles survive the rounding of normals best.
        if np.linalg.norm(a - c) <= np.linalg.norm(b - d):
            faces = [[a, b, c], [a, c, d]]
        else:
            faces = [[a, b, d], [b, c, d]]
        for face in faces:
            area = float(np.linalg.norm(np.cross(face[1] - face[0], face[2] - face[0])))
            if area > 2.0:
                vertices.append(face)
                types.append(surface)
                walls.append(wall)

    count = len(ribbon)
    left, right = ribbon.reach(0), ribbon.reach(1)
    for k in range(count):
        n = (k + 1) % count
        lanes_here = [ribbon.half_width[k], 0.0, -ribbon.half_width[k]]
        lanes_next = [ribbon.half_width[n], 0.0, -ribbon.half_width[n]]

        def floor(
            u0: float, u1: float, v0: float, v1: float, surface: int, k: int = k, n: int = n
        ) -> None:
            """Add the floor between offsets u0 > u1 here and v0 > v1 at the next station."""
            add(
                [
                    ribbon.point(k, u0),
                    ribbon.point(k, u1),
                    ribbon.point(n, v1),
                    ribbon.point(n, v0),
                ],
                surface,
            )

        for lane in (0, 1):
            floor(
                lanes_here[lane],
                lanes_here[lane + 1],
                lanes_next[lane],
                lanes_next[lane + 1],
                SURFACE_ROAD,
            )
        edge_left, edge_right = ribbon.edges[k]
        floor(left[k], lanes_here[0], left[n], lanes_next[0], edge_left.collision_type)
        floor(lanes_here[2], -right[k], lanes_next[2], -right[n], edge_right.collision_type)
        strip = description.bounds_width
        if edge_left.end == "bounds":
            floor(left[k] + strip, left[k], left[n] + strip, left[n], SURFACE_BOUNDS)
        if edge_right.end == "bounds":
            floor(-right[k], -right[k] - strip, -right[n], -right[n] - strip, SURFACE_BOUNDS)
        top, foot = description.wall_height, -WALL_FOOT
        if edge_left.end == "wall":
            a, b = (k, left[k]), (n, left[n])
            add(
                [
                    ribbon.point(*a, foot),
                    ribbon.point(*b, foot),
                    ribbon.point(*b, top),
                    ribbon.point(*a, top),
                ],
                SURFACE_WALL,
                wall=True,
            )
        if edge_right.end == "wall":
            a, b = (k, -right[k]), (n, -right[n])
            add(
                [
                    ribbon.point(*b, foot),
                    ribbon.point(*a, foot),
                    ribbon.point(*a, top),
                    ribbon.point(*b, top),
                ],
                SURFACE_WALL,
                wall=True,
            )

    solid = np.array(vertices)
    low = np.floor(solid.min(axis=(0, 1)) - 250)
    high = solid.max(axis=(0, 1)) + 250
    low = np.maximum(low, -COORDINATE_LIMIT - 100)
    high = np.minimum(high, COORDINATE_LIMIT + 100)
    base = fall_height(description, ribbon)
    tiles_x = math.ceil((high[0] - low[0]) / FALL_TILE)
    tiles_z = math.ceil((high[2] - low[2]) / FALL_TILE)
    for row in range(tiles_z):
        for column in range(tiles_x):
            x0 = low[0] + FALL_TILE * column
            z0 = low[2] + FALL_TILE * row
            x1, z1 = x0 + FALL_TILE, z0 + FALL_TILE
            add(
                [
                    np.array([x0, base, z0]),
                    np.array([x0, base, z1]),
                    np.array([x1, base, z1]),
                    np.array([x1, base, z0]),
                ],
                SURFACE_FALL,
            )
    return Triangles(
        vertices=np.array(vertices),
        types=np.array(types, dtype=np.uint8),
        walls=np.array(walls, dtype=np.bool_),
    )
