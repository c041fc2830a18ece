"""From a course description to the shape of the road: stations, cross-sections, triangles.

World frame: right-handed, y up, world units. Seen from above with x to the right and z down,
"left" is left. The left of a forward direction (fx, fz) is (fz, -fx).

A course has one or more *ways*: the main way, a closed loop, and branches, which begin and end on
its centre line. The centre line of a way is cut into *stations*. At each station the road has a
cross-section: a lateral offset u (positive to the left of the centre) and a height that rises
or falls with the bank. Everything else (collision, map, picture) is built on the same stations,
so that all three files agree. Where two ways part or join, a `Cut` says what each of them leaves
out, so that there is one floor and no wall across it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mkds_gym.kartlab.compiler.description import (
    BRIDGE_CLEARANCE,
    COORDINATE_LIMIT,
    PADS,
    ROAD_SURFACES,
    Branch,
    CourseDescription,
    Edge,
    Place,
    Point,
)
from mkds_gym.kartlab.compiler.planar import Region, quads_overlap

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

STATION_STEP = 56.0
"""Longest distance between stations, in world units."""

STATION_TURN = math.radians(15.0)
"""Largest turn between stations."""

STATION_MERGE = 120.0
"""Longest piece of straight and even floor that is one face, in world units: the numbers of the
format are too coarse for much longer ones."""

MERGE_ERROR = 0.1
"""How far such a face may be off the road, in world units."""

TWIST = 0.15
"""Where the middle of a face would be this far off the road, it is made of two."""

STATION_SNAP = 10.0
"""A station that a pad or a gap asks for takes the place of any other one this near."""

MINIMUM_TURN = math.radians(0.5)
"""Below this a point counts as lying on a straight."""

MAXIMUM_SLOPE = 0.15
"""Steepest road, as height over distance."""

MAXIMUM_LENGTH = 16000.0
"""Longest way, in world units: six minutes a lap."""

INNER_MARGIN = 10.0
"""Smallest radius left at the inside of a bend, in world units."""

WAY_MARGIN = 6.0
"""Beyond its floor a way needs this much: the thickness of its walls."""

WALL_FOOT = 6.0
"""How far a wall continues below the floor, so that no sphere finds its lower edge."""

FALL_TILE = 256.0
"""Side of the fall boundary's square tiles, in world units."""

JOINT_WINDOW = 500.0
"""How far along the main way a joint with a branch may reach, in world units."""

JOINT_LEVEL = 0.75
"""Largest difference in height within a joint, in world units."""

JOINT_ANGLE = math.radians(70)
"""Sharpest angle at which a branch may leave the main way."""

JUMP_SPEED = 2.1
"""What a jump pad gives upwards, at least, in world units a frame: `JUMP_SPEED` of ``boost.c``."""

SLOWEST_JUMP = 2.97
"""Speed at which every gap can be jumped, in world units a frame: what a jump pad lifts the slowest
class to, `SLOWEST_JUMP` of ``boost.c`` times its `class_speed` of ``kart.c``."""

GRAVITY = 0.11
"""World units a frame, each frame."""

GAP_MARGIN = 12.0
"""How much farther than the gap a jump has to reach: a kart's sphere."""

PAD_TO_GAP = 60.0
"""A jump pad ends no farther than this before the gap that it is for."""

SURFACE_WALL = 8
SURFACE_BOUNDS = 10
SURFACE_FALL = 11

WALL_FROM_BRIDGE = 4.0
"""Height between the top of a wall and a road above it, in world units."""


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
class PlacedPad:
    """A pad as stations and offsets: segments `first` to `last` - 1, from `left` to `right`.

    Offsets are to the left of the centre, so left > right; `kind` is a name of `PADS`.
    """

    kind: str
    first: int
    last: int
    left: float
    right: float


@dataclass(frozen=True)
class Ribbon:
    """One way as cross-sections at K stations.

    Segment k lies between station k and `following(k)`. The main way is closed: its last station
    leads back to the first. A branch is open and has K - 1 segments; what is kept per segment
    has K entries there too, the last one a copy.

    All lengths in world units. Side arrays have two columns, left and right.

    Attributes:
        distance: (K,) distance of each station from the way's start along the centre.
        length: of the way: of one lap, or of the branch.
        centre: (K, 3) points on the road's centre.
        heading: (K,) radians; forward is (sin h, 0, cos h).
        curvature: (K,) 1/radius, positive in a left bend.
        half_width: (K,) half the road's width.
        slope: (K,) rise per unit towards the left, from the bank.
        shoulder: (K, 2) width of the shoulders.
        edges: per segment the left and the right `Edge`.
        surfaces: per segment the name of the road's surface.
        gap: (K,) whether a segment has no floor (nor walls).
        pads: the pads on the road.
        closed: whether the last station leads back to the first.
        points: the described points; for a branch also where it leaves and where it joins.
        spans: (P, 2) distances at which each point's bend begins and ends.
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
    surfaces: tuple[str, ...]
    gap: Flags
    pads: tuple[PlacedPad, ...]
    closed: bool
    points: tuple[Point, ...]
    spans: Floats

    def __len__(self) -> int:
        return len(self.distance)

    @property
    def segments(self) -> int:
        """Number of segments."""
        return len(self) if self.closed else len(self) - 1

    def following(self, station: int) -> int:
        """Return the station that a segment leads to."""
        return (station + 1) % len(self) if self.closed else min(station + 1, len(self) - 1)

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

    def line(self, offset: Floats | float, rise: float = 0.0) -> Floats:
        """(K, 3) the floor's points `offset` to the left of each station, raised by `rise`."""
        u = np.broadcast_to(np.asarray(offset, dtype=np.float64), (len(self),))
        h = self.heading
        return self.centre + np.stack(
            [u * np.cos(h), u * self.slope + rise, -u * np.sin(h)], axis=1
        )

    def strip(self, left: Floats | float, right: Floats | float) -> Floats:
        """(S, 4, 3) the quads of all segments between two offsets, counter-clockwise from above."""
        a, b = self.line(left), self.line(right)
        n = np.array([self.following(k) for k in range(self.segments)])
        k = np.arange(self.segments)
        return np.stack([a[k], b[k], b[n], a[n]], axis=1)

    def pads_at(self, segment: int) -> list[PlacedPad]:
        """Return the pads on a segment, from left to right."""
        found = [pad for pad in self.pads if pad.first <= segment < pad.last]
        return sorted(found, key=lambda pad: -pad.left)

    def distance_of(self, place: Place) -> float:
        """Return how far along this way a described place is; not yet within the way's length."""
        index = place.point + (not self.closed)
        return float(self.spans[index].mean()) + place.offset


@dataclass(frozen=True)
class Cut:
    """What a segment leaves out, as the other way of a joint has it.

    Attributes:
        road: is to be taken from the segment's road,
        shoulder: from its shoulders,
        outer: and from what is beyond them: walls, out-of-bounds strips, land.
    """

    road: Region
    shoulder: Region
    outer: Region


@dataclass(frozen=True)
class BranchSpan:
    """Where a branch leaves and joins the main way.

    Attributes:
        start, end: distances along the main way.
        clear: (2,) distances along the branch between which it is apart from the main way.
        main_clear: (2,) distances along the main way between which it is apart from the branch.
    """

    start: float
    end: float
    clear: tuple[float, float]
    main_clear: tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """All ways of a course and how they are joined.

    Attributes:
        ways: the main way, then the branches.
        spans: of each branch, in order.
        cuts: per way and segment the `Cut`, or None where nothing is left out.
    """

    ways: tuple[Ribbon, ...]
    spans: tuple[BranchSpan, ...]
    cuts: tuple[tuple[Cut | None, ...], ...]

    @property
    def main(self) -> Ribbon:
        """The main way."""
        return self.ways[0]


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


def centre_elements(
    description: CourseDescription, points: tuple[Point, ...], closed: bool = True
) -> tuple[list[Element], Floats]:
    """Lay a centre line through points.

    Args:
        description: whose points they are, for errors.
        points: the corners of the line.
        closed: whether the last leads back to the first.

    Returns:
        the elements in order from the first point on, and (P, 2) the distances at which the
        bend of each point begins and ends (equal for a point on a straight).

    Raises:
        CourseDescriptionError: a bend without a radius, bends that do not fit, a start line
            that is not on a straight.
    """
    count = len(points)
    at = np.array([point.at for point in points])
    leg = np.roll(at, -1, axis=0) - at
    leg_length = np.hypot(leg[:, 0], leg[:, 1])
    heading = np.arctan2(leg[:, 0], leg[:, 1])
    turn = [
        math.remainder(float(heading[i]) - float(heading[i - 1]), math.tau) for i in range(count)
    ]
    if not closed:
        turn[0] = turn[-1] = 0.0
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
    legs = count if closed else count - 1
    for i in range(legs):
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
    for i in range(legs):
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
    if distance > MAXIMUM_LENGTH:
        raise description.error(
            points[0].label,
            f"the way that begins here is {distance:.0f} units long; at most "
            f"{MAXIMUM_LENGTH:.0f} are allowed",
        )
    return elements, spans


def _smooth_profile(
    keys: list[tuple[float, float]], length: float, where: Floats, closed: bool
) -> Floats:
    """Monotone cubic through (distance, value) keys (Fritsch and Carlson, 1980).

    Monotone between keys, so that a hill's top is where the description puts it. It is periodic
    on a closed way, and level beyond the first and the last key on an open one.
    """
    keys = sorted(keys)
    xs = np.array([key[0] for key in keys])
    ys = np.array([key[1] for key in keys])
    if len(keys) == 1:
        return np.full(len(where), ys[0])
    dx = np.diff(np.append(xs, xs[0] + length if closed else xs[-1] + 1.0))
    secant = np.diff(np.append(ys, ys[0])) / dx
    if not closed:
        secant[-1] = 0.0
    before = np.roll(secant, 1)
    dx_before = np.roll(dx, 1)
    weight = 3 * (dx + dx_before)
    slope = np.zeros(len(xs))
    same = before * secant > 0
    slope[same] = weight[same] / (
        (2 * dx + dx_before)[same] / before[same] + (dx + 2 * dx_before)[same] / secant[same]
    )
    if not closed:
        where = np.clip(where, xs[0], xs[-1])
    k = np.searchsorted(xs, where, side="right") - 1
    offset = np.where(k >= 0, where - xs[k], where + length - xs[-1])
    following = (k + 1) % len(xs)
    t = np.clip(offset / dx[k], 0.0, 1.0)
    if not closed:
        last = k == len(xs) - 1
        k, following, t = np.where(last, k - 1, k), np.where(last, k, following), t
        t = np.where(last, 1.0, t)
    return np.asarray(
        (1 + 2 * t) * (1 - t) ** 2 * ys[k]
        + t * (1 - t) ** 2 * dx[k] * slope[k]
        + t * t * (3 - 2 * t) * ys[following]
        - t * t * (1 - t) * dx[k] * slope[following]
    )


def _value_keys(
    points: tuple[Point, ...], spans: Floats, name: str, default: float
) -> list[tuple[float, float]]:
    keys = []
    for point, (start, end) in zip(points, spans, strict=True):
        value = getattr(point, name)
        if value is not None:
            keys.append(((start + end) / 2, float(value)))
    return keys or [(0.0, default)]


@dataclass(frozen=True)
class _Line:
    """A way before it has stations: its centre line and what lies on it.

    `heights` are keys in addition to the points' own; `cuts` distances that need a station.
    """

    number: int
    points: tuple[Point, ...]
    closed: bool
    width: float
    surface: str
    elements: list[Element]
    spans: Floats
    heights: list[tuple[float, float]]

    @property
    def length(self) -> float:
        return self.elements[-1].start + self.elements[-1].length

    def at(self, distance: float) -> tuple[float, float, float]:
        """Return x, z and heading at a distance."""
        starts = [element.start for element in self.elements]
        element = self.elements[max(bisect_right(starts, distance) - 1, 0)]
        return element.at(distance - element.start)

    def distance_of(self, description: CourseDescription, place: Place) -> float:
        """Find a described place; on a closed way distances go on beyond the start line.

        Raises:
            CourseDescriptionError: it is beyond the end of a branch.
        """
        index = place.point + (not self.closed)
        distance = float(self.spans[index].mean()) + place.offset
        if self.closed:
            return distance % self.length
        if not 0 <= distance <= self.length:
            raise description.error(
                f"{place.label}: offset",
                f"{place.offset:g} leads to {distance:.0f} units along a branch that is "
                f"{self.length:.0f} long",
            )
        return distance


def _stretches(
    description: CourseDescription, line: _Line
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Return from where to where along a way its gaps are, and its pads.

    Raises:
        CourseDescriptionError: one of them reaches beyond the end or over the start line.
    """
    out: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    for entries, found in ((description.gaps, out[0]), (description.pads, out[1])):
        for entry in entries:
            if entry.place.way != line.number:
                continue
            start = line.distance_of(description, entry.place)
            end = start + entry.length
            if end > line.length + 1e-6:
                what = "over the start line" if line.closed else "beyond the end of the branch"
                raise description.error(
                    f"{entry.place.label}: length", f"{entry.length:g} reaches {what}"
                )
            found.append((start, end))
    return out


def _stations(line: _Line, wanted: list[float]) -> Floats:
    """(K, 5) distance, x, z, heading and curvature of the stations of a way."""
    rows: list[tuple[float, float, float, float, float]] = []
    for element in line.elements:
        pieces = max(
            math.ceil(element.length / STATION_STEP - 1e-9),
            math.ceil(element.length * abs(element.curvature) / STATION_TURN - 1e-9),
            1,
        )
        offsets = [element.length * piece / pieces for piece in range(pieces)]
        own = [
            distance - element.start
            for distance in wanted
            if STATION_SNAP < distance - element.start < element.length - STATION_SNAP
        ]
        if own:
            offsets = [
                offset
                for offset in offsets
                if offset == 0.0 or all(abs(offset - cut) >= STATION_SNAP for cut in own)
            ]
            offsets = sorted({*offsets, *own})
        for offset in offsets:
            x, z, heading = element.at(offset)
            rows.append((element.start + offset, x, z, heading, element.curvature))
    if not line.closed:
        x, z, heading = line.elements[-1].at(line.elements[-1].length)
        rows.append((line.length, x, z, heading, line.elements[-1].curvature))
    return np.array(rows)


def _build_way(description: CourseDescription, line: _Line) -> Ribbon:
    """Cut one way into stations."""
    gaps, pads = _stretches(description, line)
    table = _stations(line, sorted({part for pair in gaps + pads for part in pair}))
    distance, x, z, heading, curvature = table.T
    points, spans, length, closed = line.points, line.spans, line.length, line.closed

    def nearest(value: float) -> int:
        """Return the station at a distance; the lap's end is the station after the last."""
        places = np.append(distance, length) if closed else distance
        return int(np.abs(places - value).argmin())

    half_width = (
        _smooth_profile(_value_keys(points, spans, "width", line.width), length, distance, closed)
        / 2
    )
    height_keys = dict([*_value_keys(points, spans, "height", 0.0), *line.heights])
    if line.heights and all(point.height is None for point in points):
        height_keys = dict(line.heights)
    heights = _smooth_profile(list(height_keys.items()), length, distance, closed)
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
    slope = _smooth_profile(sorted(dict(bank_keys).items()), length, distance, closed)

    def changes(name: str) -> tuple[list[float], list[str]]:
        taken = [
            (float(span[0]), str(getattr(point, name)))
            for span, point in zip(spans, points, strict=True)
            if getattr(point, name)
        ]
        return [start for start, _ in taken], [value for _, value in taken]

    def holding(starts: list[float], values: list[str]) -> list[str]:
        return [values[bisect_right(starts, value + 1e-6) - 1] for value in distance]

    sides = [changes("left"), changes("right")]
    if not closed:
        # The edges of a branch's first point hold from where it leaves the main way.
        for starts, _ in sides:
            starts[0] = 0.0
    names = [holding(*side) for side in sides]
    surface_starts, surface_names = changes("surface")
    surfaces = holding([-1.0, *surface_starts], [line.surface, *surface_names])
    shoulder = np.stack(
        [_edge_widths(description, *side, length, distance, closed) for side in sides], axis=1
    )
    gap = np.zeros(len(distance), dtype=np.bool_)
    for start, end in gaps:
        gap[nearest(start) : nearest(end)] = True
    described = [pad for pad in description.pads if pad.place.way == line.number]
    placed = tuple(
        PlacedPad(
            kind=pad.kind,
            first=nearest(start),
            last=nearest(end),
            left=pad.side + pad.width / 2,
            right=pad.side - pad.width / 2,
        )
        for pad, (start, end) in zip(described, pads, strict=True)
    )
    return Ribbon(
        distance=distance,
        length=length,
        centre=np.stack([x, heights, z], axis=1),
        heading=heading,
        curvature=curvature,
        half_width=half_width,
        slope=slope,
        shoulder=shoulder,
        edges=tuple(
            (description.edges[left], description.edges[right])
            for left, right in zip(*names, strict=True)
        ),
        surfaces=tuple(surfaces),
        gap=gap,
        pads=placed,
        closed=closed,
        points=points,
        spans=spans,
    )


def _edge_widths(
    description: CourseDescription,
    starts: list[float],
    names: list[str],
    length: float,
    distance: Floats,
    closed: bool,
) -> Floats:
    """Shoulder widths at the stations; a wide stretch narrows within itself to its neighbours.

    That way the two widths agree where the stretches meet, and walls have no gap there.
    """
    widths = np.array([description.edges[name].width for name in names])
    begin = np.array(starts)
    end = np.append(begin[1:], begin[0] + length)
    before, after = np.roll(widths, 1), np.roll(widths, -1)
    if not closed:
        before[0], after[-1] = widths[0], widths[-1]
    k = np.searchsorted(begin, distance + 1e-6, side="right") - 1
    own = widths[k]
    opening = before[k] + (own - before[k]) * (distance - begin[k]) / description.blend
    closing = after[k] + (own - after[k]) * (end[k] - distance) / description.blend
    width = np.where(before[k] < own, np.minimum(own, opening), own)
    width = np.where(after[k] < own, np.minimum(width, closing), width)
    return np.maximum(width, 0.0)


def outer_reach(description: CourseDescription, ribbon: Ribbon, side: int) -> Floats:
    """(K,) distance from the centre to the end of all floor, out-of-bounds strips included."""
    bounds = np.array([pair[side].end == "bounds" for pair in ribbon.edges])
    before = np.roll(bounds, 1)
    if not ribbon.closed:
        before[0] = False
    return ribbon.reach(side) + np.where(bounds | before, description.bounds_width, 0.0)


def build_layout(description: CourseDescription) -> Layout:
    """Cut all ways of the described course into stations and join them.

    Raises:
        CourseDescriptionError: the course cannot be built as described: a slope too steep, an
            inner edge that folds, roads that overlap without a bridge, a point beyond the range,
            a branch that does not fit, a gap too long, a pad that is not on the road.
    """
    elements, spans = centre_elements(description, description.points)
    line = _Line(
        0, description.points, True, description.width, description.surface, elements, spans, []
    )
    main = _build_way(description, line)
    _check_way(description, main)
    ways = [main]
    joined: list[BranchSpan] = []
    taken: list[tuple[int, set[int], set[int]]] = []
    cuts: list[list[Cut | None]] = [[None] * len(main)]
    for index, branch in enumerate(description.branches):
        way, span, joints = _join(description, line, main, branch, index + 1)
        for other, known in enumerate(joined):
            if span.start < known.end and known.start < span.end:
                raise description.error(
                    f"{branch.label}: from",
                    f"it leaves the main way at {span.start:.0f} and joins at {span.end:.0f}, "
                    f"but branch {other} takes {known.start:.0f} to {known.end:.0f}; one has to "
                    "end before the next begins",
                )
        _check_way(description, way)
        own: list[Cut | None] = [None] * len(way)
        for mine, theirs in joints:
            cut_own, cut_main = _cuts(main, way, mine, theirs)
            for k in mine:
                own[k] = cut_own
            for k in theirs:
                cuts[0][k] = cut_main
            taken.append((index + 1, set(mine), set(theirs)))
        ways.append(way)
        joined.append(span)
        cuts.append(own)
    layout = Layout(tuple(ways), tuple(joined), tuple(tuple(cut) for cut in cuts))
    _check_overlaps(description, layout, taken)
    _check_pads(description, layout)
    _check_gaps(description, layout)
    return layout


def _join(
    description: CourseDescription, line: _Line, main: Ribbon, branch: Branch, number: int
) -> tuple[Ribbon, BranchSpan, list[tuple[list[int], list[int]]]]:
    """Lay a branch from one place of the main way to another.

    Returns:
        its way, where it is joined, and for each of the two joints the segments of the branch
        and those of the main way that take part.
    """
    start = line.distance_of(description, branch.start)
    end = line.distance_of(description, branch.end)
    if start >= end:
        raise description.error(
            f"{branch.label}: to",
            f"it would join the main way {end:.0f} units behind the start line, but it leaves it "
            f"at {start:.0f}; a branch may not pass the start line",
        )
    ends = []
    for place, distance, key in ((branch.start, start, "from"), (branch.end, end, "to")):
        x, z, heading = line.at(distance)
        ends.append((x, z, heading))
        other = branch.points[0 if key == "from" else -1].at
        if math.dist((x, z), other) < 1.0:
            raise description.error(
                f"{branch.label}: {key}",
                f"point {place.point} and its offset are where the branch has its own point",
            )
    whole = (
        Point(ends[0][:2], 0.0, None, None, 0.0, None, None, f"{branch.label}: from"),
        *branch.points,
        Point(ends[1][:2], 0.0, None, None, 0.0, None, None, f"{branch.label}: to"),
    )
    elements, spans = centre_elements(description, whole, closed=False)
    own = _Line(number, whole, False, branch.width, branch.surface, elements, spans, [])
    for key, mine, theirs in (
        ("from", own.at(0.0)[2], ends[0][2]),
        ("to", own.at(own.length)[2], ends[1][2]),
    ):
        angle = abs(math.remainder(mine - theirs, math.tau))
        if angle > JOINT_ANGLE:
            raise description.error(
                f"{branch.label}: {key}",
                f"it meets the main way at {math.degrees(angle):.0f} degrees; at most "
                f"{math.degrees(JOINT_ANGLE):.0f} are allowed",
            )
    flat = _build_way(description, own)
    count = flat.segments
    first, main_first = _joint_segments(description, main, flat, start, list(range(count)))
    last, main_last = _joint_segments(description, main, flat, end, list(range(count - 1, -1, -1)))
    if len(first) + len(last) + 1 > count or set(main_first) & set(main_last):
        raise description.error(
            branch.label,
            f"it never leaves the main way: {own.length:.0f} units are too short, or lie too near",
        )
    clear = float(flat.distance[first[-1] + 1]), float(flat.distance[last[-1]])
    heights = [
        float(np.interp(distance, main.distance, main.centre[:, 1])) for distance in (start, end)
    ]
    keys = [
        (0.0, heights[0]),
        (clear[0], heights[0]),
        (clear[1], heights[1]),
        (own.length, heights[1]),
    ]
    way = _build_way(description, replace(own, heights=keys))
    for key, mine_segments, segments, height in (
        ("from", first, main_first, heights[0]),
        ("to", last, main_last, heights[1]),
    ):
        for ribbon, taken in ((main, segments), (way, mine_segments)):
            corners = ribbon.strip(ribbon.reach(0), -ribbon.reach(1))[taken][:, :, 1]
            if np.abs(corners - height).max() > JOINT_LEVEL:
                name = "main way" if ribbon is main else "branch"
                raise description.error(
                    f"{branch.label}: {key}",
                    f"where they meet, at the height {height:.1f}, both ways have to be level, "
                    f"but the {name} has heights of {corners.min():.1f} to {corners.max():.1f} "
                    "there; give the points around the same height and no bank",
                )
        floor = Region(main.strip(main.reach(0), -main.reach(1))[segments][:, :, [0, 2]])
        tip = 0 if key == "from" else -1
        corners = np.stack([way.line(way.reach(0))[tip], way.line(-way.reach(1))[tip]])
        if not floor.contains(corners[:, [0, 2]], 1.0).all():
            raise description.error(
                f"{branch.label}: {key}",
                f"the branch, with its shoulders {float(way.reach(0)[tip] + way.reach(1)[tip]):.0f}"
                " wide, sticks out of the main way on the far side; make it or its edges narrower",
            )
        if main.gap[segments].any() or way.gap[mine_segments].any():
            raise description.error(f"{branch.label}: {key}", "there is a gap where the ways meet")
        for ribbon, taken in ((main, segments), (way, mine_segments)):
            if any(pad.first <= k < pad.last for pad in ribbon.pads for k in taken):
                raise description.error(
                    f"{branch.label}: {key}", "there is a pad where the ways meet"
                )
    # Stations of the main way beyond which, and before which, it is on its own.
    main_clear = (
        float(main.distance[main.following(main_first[-1])]),
        float(main.distance[main_last[0]]),
    )
    return (
        way,
        BranchSpan(start, end, clear, main_clear),
        [(first, main_first), (sorted(last), main_last)],
    )


def _joint_segments(
    description: CourseDescription, main: Ribbon, way: Ribbon, place: float, order: list[int]
) -> tuple[list[int], list[int]]:
    """Find the segments of a branch and of the main way that overlap at one end of the branch.

    Args:
        description: the course.
        main: the main way.
        way: the branch.
        place: where they meet, along the main way.
        order: all segments of the branch, from this end on.

    Returns:
        the branch's segments in that order, and the main way's from back to front.
    """
    along = np.abs(main.distance - place)
    near = np.nonzero(np.minimum(along, main.length - along) < JOINT_WINDOW)[0]
    reaches = [
        [outer_reach(description, ribbon, side) + WAY_MARGIN for side in (0, 1)]
        for ribbon in (main, way)
    ]
    theirs = main.strip(reaches[0][0], -reaches[0][1])[near][:, :, [0, 2]]
    mine = way.strip(reaches[1][0], -reaches[1][1])[:, :, [0, 2]]
    taken: list[int] = []
    touched = np.zeros(len(near), dtype=np.bool_)
    for k in order:
        over = quads_overlap(np.broadcast_to(mine[k], theirs.shape), theirs)
        if not over.any():
            break
        touched |= over
        taken.append(k)
    # In the order of driving: what lies behind the start line comes first.
    segments = near[touched]
    ahead = (main.distance[segments] - place + main.length / 2) % main.length
    segments = segments[np.argsort(ahead, kind="stable")]
    # Without holes, should a bend bring them: all between the first and the last.
    if len(segments):
        first, last = int(segments[0]), int(segments[-1])
        size = (last - first) % len(main) + 1
        return taken, [(first + i) % len(main) for i in range(size)]
    return taken, []


def _cuts(main: Ribbon, way: Ribbon, mine: list[int], theirs: list[int]) -> tuple[Cut, Cut]:
    """Make the cuts of a joint: of the branch's segments, and of the main way's."""

    def region(ribbon: Ribbon, segments: list[int], floor: bool) -> Region:
        left, right = (ribbon.reach(side) if floor else ribbon.half_width for side in (0, 1))
        return Region(ribbon.strip(left, -right)[segments][:, :, [0, 2]])

    return (
        Cut(region(main, theirs, False), region(main, theirs, True), region(main, theirs, True)),
        Cut(Region([]), region(way, mine, False), region(way, mine, True)),
    )


def _place(ribbon: Ribbon, station: int) -> str:
    """Name the place of a station for an error: the nearest described point before it."""
    index = int(np.searchsorted(ribbon.spans[:, 0], ribbon.distance[station] + 1e-6, "right")) - 1
    return ribbon.points[max(index, 0)].label


def _check_way(description: CourseDescription, ribbon: Ribbon) -> None:
    count = ribbon.segments
    n = np.array([ribbon.following(k) for k in range(count)])
    run = np.diff(np.append(ribbon.distance, ribbon.length))[:count]
    rise = (ribbon.centre[n, 1] - ribbon.centre[:count, 1]) / run
    steepest = int(np.argmax(np.abs(rise)))
    if abs(rise[steepest]) > MAXIMUM_SLOPE:
        raise description.error(
            f"{_place(ribbon, steepest)}: height",
            f"the road changes height by {rise[steepest]:.0%} after here; at most "
            f"{MAXIMUM_SLOPE:.0%} is allowed",
        )
    for k in np.nonzero(ribbon.curvature[:count])[0]:
        side = 0 if ribbon.curvature[k] > 0 else 1
        radius = 1.0 / abs(float(ribbon.curvature[k]))
        own = ribbon.reach(side)
        inner = float(max(own[k], own[n[k]]))
        if ribbon.edges[k][side].end == "bounds":
            inner += description.bounds_width
        if inner + INNER_MARGIN > radius:
            raise description.error(
                f"{_place(ribbon, int(k))}: radius",
                f"{radius:g} is too small: half the road and its inner edge take {inner:.1f}",
            )
    for side, sign in ((0, 1.0), (1, -1.0)):
        ends = ribbon.line(sign * outer_reach(description, ribbon, side))[:, [0, 2]]
        worst = int(np.argmax(np.abs(ends).max(axis=1)))
        if np.abs(ends[worst]).max() > COORDINATE_LIMIT:
            raise description.error(
                _place(ribbon, worst),
                f"the course's edge lies at {ends[worst].round(1).tolist()}, beyond "
                f"{COORDINATE_LIMIT:g}",
            )


def _check_overlaps(
    description: CourseDescription, layout: Layout, joints: list[tuple[int, set[int], set[int]]]
) -> None:
    """Refuse roads that overlap, except where one passes well above the other."""
    quads, low, high, owner, walled = [], [], [], [], []
    for number, ribbon in enumerate(layout.ways):
        left, right = (outer_reach(description, ribbon, side) + WAY_MARGIN for side in (0, 1))
        strip = ribbon.strip(left, -right)
        quads.append(strip[:, :, [0, 2]])
        low.append(strip[:, :, 1].min(axis=1))
        high.append(strip[:, :, 1].max(axis=1))
        owner += [(number, k) for k in range(ribbon.segments)]
        walled += [
            any(edge.end == "wall" for edge in ribbon.edges[k]) for k in range(ribbon.segments)
        ]
    corners = np.concatenate(quads)
    bottom, top = np.concatenate(low), np.concatenate(high)
    box_low, box_high = corners.min(axis=1), corners.max(axis=1)
    total = len(corners)
    pairs: list[NDArray[np.intp]] = []
    for i in range(total - 1):
        near = (box_low[i + 1 :] < box_high[i]).all(axis=1)
        near &= (box_high[i + 1 :] > box_low[i]).all(axis=1)
        found = np.nonzero(near)[0] + i + 1
        if len(found):
            pairs.append(np.stack([np.full(len(found), i), found], axis=1))
    if not pairs:
        return
    pair = np.concatenate(pairs)
    way = np.array([number for number, _ in owner])
    segment = np.array([k for _, k in owner])
    # Neighbours along a way share a side, and what takes part in a joint is checked there.
    apart = np.abs(segment[pair[:, 0]] - segment[pair[:, 1]])
    closed = np.array([ribbon.closed for ribbon in layout.ways])[way[pair[:, 0]]]
    size = np.array([ribbon.segments for ribbon in layout.ways])[way[pair[:, 0]]]
    apart = np.where(closed, np.minimum(apart, size - apart), apart)
    pair = pair[(way[pair[:, 0]] != way[pair[:, 1]]) | (apart > 1)]
    pair = pair[quads_overlap(corners[pair[:, 0]], corners[pair[:, 1]])]
    for i, j in pair:
        if way[i] == 0 and any(
            way[j] == number and int(segment[j]) in mine and int(segment[i]) in theirs
            for number, mine, theirs in joints
        ):
            continue
        upper, lower = (i, j) if bottom[i] + top[i] > bottom[j] + top[j] else (j, i)
        need = BRIDGE_CLEARANCE
        if walled[lower]:
            need = max(need, description.wall_height + WALL_FROM_BRIDGE)
        room = float(bottom[upper] - top[lower])
        if room < need:
            names = [_place(layout.ways[way[index]], int(segment[index])) for index in (i, j)]
            spot = corners[i].mean(axis=0).round(0).tolist()
            raise description.error(
                " and ".join(names),
                f"the course overlaps itself near {spot}: {max(room, 0.0):.0f} units of height "
                f"lie between the two roads, and a bridge needs {need:.0f}",
            )


def _check_pads(description: CourseDescription, layout: Layout) -> None:
    seen: list[tuple[int, PlacedPad, str]] = []
    for way, ribbon in enumerate(layout.ways):
        described = [pad for pad in description.pads if pad.place.way == way]
        for pad, placed in zip(described, ribbon.pads, strict=True):
            label = pad.place.label
            stations = [k % len(ribbon) for k in range(placed.first, placed.last + 1)]
            room = float(ribbon.half_width[stations].min())
            reach = max(placed.left, -placed.right)
            if reach > room:
                raise description.error(
                    f"{label}: side",
                    f"the pad reaches {reach:g} units from the centre of a road that is "
                    f"{2 * room:g} wide there",
                )
            if placed.first >= placed.last or ribbon.gap[stations[:-1]].any():
                raise description.error(
                    f"{label}: offset", "the pad lies where a gap leaves no road for it"
                )
            for other_way, other, name in seen:
                if (
                    other_way == way
                    and placed.first < other.last
                    and other.first < placed.last
                    and placed.right < other.left
                    and other.right < placed.left
                ):
                    raise description.error(f"{label}: offset", f"the pad lies on {name}")
            seen.append((way, placed, label))


def jump_reach(rise: float, drop: float) -> float:
    """How far a kart flies at the speed that every gap must allow.

    Args:
        rise: speed upwards where it takes off, world units a frame.
        drop: how far below the take-off it lands, world units; negative when above.

    Returns:
        world units; 0 when it never gets as high as the landing.
    """
    under = rise * rise + 2 * GRAVITY * drop
    return SLOWEST_JUMP * (rise + math.sqrt(under)) / GRAVITY if under >= 0 else 0.0


def _check_gaps(description: CourseDescription, layout: Layout) -> None:
    for way, ribbon in enumerate(layout.ways):
        for gap in (gap for gap in description.gaps if gap.place.way == way):
            start = ribbon.distance_of(gap.place) % ribbon.length
            first = int(np.abs(ribbon.distance - start).argmin())
            last = first
            while ribbon.gap[last]:
                last = ribbon.following(last)
            length = float(ribbon.distance[last] - ribbon.distance[first]) % ribbon.length
            pads = [
                pad
                for pad in ribbon.pads
                if pad.kind == "jump"
                and 0
                <= ribbon.distance[first] - ribbon.distance[pad.last % len(ribbon)]
                <= PAD_TO_GAP
            ]
            # A kart takes off where it rolls onto a pad, not where the pad ends.
            take_off = min((pad.first for pad in pads), default=first)
            run = float(ribbon.distance[first] - ribbon.distance[take_off])
            drop = float(ribbon.centre[take_off, 1] - ribbon.centre[last, 1])
            before = (take_off - 1) % len(ribbon)
            step = float(ribbon.distance[take_off] - ribbon.distance[before]) % ribbon.length
            climb = float(ribbon.centre[take_off, 1] - ribbon.centre[before, 1]) / max(step, 1.0)
            # A pad takes away what a kart has downwards.
            rise = SLOWEST_JUMP * climb if not pads else SLOWEST_JUMP * max(climb, 0) + JUMP_SPEED
            reach = jump_reach(rise, drop) - run - GAP_MARGIN
            if length > reach:
                lies = f"{abs(drop):.0f} {'lower' if drop >= 0 else 'higher'}"
                means = "with the jump pad before it" if pads else "without a jump pad before it"
                raise description.error(
                    f"{gap.place.label}: length",
                    f"{length:.0f} units cannot be jumped: {means}, and landing {lies}, "
                    f"the slowest karts clear {max(reach, 0.0):.0f}",
                )


def fall_height(description: CourseDescription, layout: Layout) -> float:
    """Height of the fall boundary."""
    lowest = min(float(ribbon.centre[:, 1].min()) for ribbon in layout.ways)
    return math.floor(lowest - description.fall_depth)


class _Surface:
    """Gathers the collision surface's polygons."""

    def __init__(self) -> None:
        self._quads: list[Floats] = []
        self._quad_types: list[NDArray[np.uint8]] = []
        self._faces: list[Floats] = []
        self._face_types: list[int] = []

    def quads(self, corners: Floats, types: NDArray[np.uint8] | int) -> None:
        """Add (N, 4, 3) quads given counter-clockwise from their front."""
        self._quads.append(corners)
        self._quad_types.append(np.broadcast_to(np.asarray(types, dtype=np.uint8), (len(corners),)))

    def polygon(self, corners: Floats, surface: int) -> None:
        """Add a convex polygon, counter-clockwise from its front."""
        if len(corners) == 4:
            self.quads(corners[None], surface)
            return
        # Fans from any corner will do; the one with the fattest triangles survives rounding best.
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
        kept = (np.linalg.norm(cross, axis=1) > 2.0) & (_heights(faces) > 0.2)
        faces, kinds = faces[kept], kinds[kept]
        return Triangles(faces, kinds, kinds == SURFACE_WALL)


def _heights(faces: Floats) -> Floats:
    """(N,) smallest height of each triangle: 0 for one that is only a line."""
    sides = np.linalg.norm(np.roll(faces, -1, axis=1) - faces, axis=2).max(axis=1)
    cross = np.cross(faces[:, 1] - faces[:, 0], faces[:, 2] - faces[:, 0])
    return np.asarray(np.linalg.norm(cross, axis=1) / np.maximum(sides, 1e-9))


def build_triangles(description: CourseDescription, layout: Layout) -> Triangles:
    """Make the collision surface: road, shoulders, walls, out-of-bounds strips, fall boundary."""
    surface = _Surface()
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for ribbon, cuts in zip(layout.ways, layout.cuts, strict=True):
        _way_surface(description, *_thinned(ribbon, cuts), surface)
        for side, sign in ((0, 1.0), (1, -1.0)):
            for rise in (-WALL_FOOT, description.wall_height):
                line = ribbon.line(sign * outer_reach(description, ribbon, side), rise)
                low = np.minimum(low, line.min(axis=0))
                high = np.maximum(high, line.max(axis=0))

    limit = COORDINATE_LIMIT + 100
    low = np.maximum(np.floor(low - 250), -limit)
    high = np.minimum(high + 250, limit)
    base = fall_height(description, layout)
    x = low[0] + FALL_TILE * np.arange(math.ceil((high[0] - low[0]) / FALL_TILE))
    z = low[2] + FALL_TILE * np.arange(math.ceil((high[2] - low[2]) / FALL_TILE))
    place = np.stack(np.meshgrid(z, x, indexing="ij"), axis=-1).reshape(-1, 2)
    corners = np.empty((len(place), 4, 3))
    corners[..., 0] = place[:, [1]] + FALL_TILE * np.array([0, 0, 1, 1])
    corners[..., 1] = base
    corners[..., 2] = place[:, [0]] + FALL_TILE * np.array([0, 1, 1, 0])
    surface.quads(corners, SURFACE_FALL)
    return surface.triangles()


def _thinned(ribbon: Ribbon, cuts: tuple[Cut | None, ...]) -> tuple[Ribbon, tuple[Cut | None, ...]]:
    """Leave out stations that lie on the line between their neighbours, where nothing changes."""
    count = len(ribbon)
    ends = np.append(ribbon.distance, ribbon.length)
    values = np.column_stack(
        [ribbon.centre, ribbon.half_width, ribbon.shoulder, 200 * ribbon.slope]
    )
    plain = [
        not ribbon.gap[k] and cuts[k] is None and not ribbon.pads_at(k)
        for k in range(ribbon.segments)
    ]
    kept = [0]
    for k in range(1, count - (not ribbon.closed)):
        first, after = kept[-1], ribbon.following(k)
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
            kept.append(k)
    if not ribbon.closed:
        kept.append(count - 1)
    number = {k: i for i, k in enumerate([*kept, count])}
    return replace(
        ribbon,
        distance=ribbon.distance[kept],
        centre=ribbon.centre[kept],
        heading=ribbon.heading[kept],
        curvature=ribbon.curvature[kept],
        half_width=ribbon.half_width[kept],
        slope=ribbon.slope[kept],
        shoulder=ribbon.shoulder[kept],
        edges=tuple(ribbon.edges[k] for k in kept),
        surfaces=tuple(ribbon.surfaces[k] for k in kept),
        gap=ribbon.gap[kept],
        pads=tuple(
            replace(pad, first=number[pad.first], last=number[pad.last]) for pad in ribbon.pads
        ),
    ), tuple(cuts[k] for k in kept)


def _way_surface(
    description: CourseDescription,
    ribbon: Ribbon,
    cuts: tuple[Cut | None, ...],
    surface: _Surface,
) -> None:
    """Add the floor and the walls of one way."""
    count = ribbon.segments
    cut = np.array([cuts[k] is not None for k in range(count)])
    padded = np.array([bool(ribbon.pads_at(k)) for k in range(count)])
    floor = ~ribbon.gap[:count]
    half = ribbon.half_width

    def add(
        quads: Floats, wanted: Flags, types: NDArray[np.uint8], part: Callable[[Cut], Region]
    ) -> None:
        surface.quads(quads[wanted & ~cut], types[wanted & ~cut])
        for index in np.nonzero(wanted & cut)[0]:
            for piece in part(_known(cuts[index])).subtract(quads[index]):
                surface.polygon(piece, int(types[index]))

    road = np.array([ROAD_SURFACES[name] for name in ribbon.surfaces[:count]], dtype=np.uint8)
    # One quad from edge to edge where the floor does not twist, else one for each half: a twisted
    # one's two triangles would make a ridge or a ditch of it.
    whole = ribbon.strip(half, -half)
    twist = (whole[:, 0] + whole[:, 2] - whole[:, 1] - whole[:, 3])[:, 1] / 4
    flat = np.abs(twist) < TWIST
    add(whole, floor & ~padded & flat, road, lambda known: known.road)
    for lane in (ribbon.strip(half, 0.0), ribbon.strip(0.0, -half)):
        add(lane, floor & ~padded & ~flat, road, lambda known: known.road)
    for index in np.nonzero(floor & padded)[0]:
        _padded_road(ribbon, int(index), int(road[index]), surface)
    n = np.array([ribbon.following(k) for k in range(count)])
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
        add(shoulder, floor, types, lambda known: known.shoulder)
        ends = np.array([edge.end for edge in edges])
        outside = np.full(count, SURFACE_BOUNDS, dtype=np.uint8)
        add(bounds, floor & (ends == "bounds"), outside, lambda known: known.outer)
        wanted = floor & (ends == "wall")
        foot = ribbon.line(sign * reach, -WALL_FOOT)
        top = ribbon.line(sign * reach, description.wall_height)
        k = np.arange(count)
        here, there = (k, n) if side == 0 else (n, k)
        walls = np.stack([foot[here], foot[there], top[there], top[here]], axis=1)
        surface.quads(walls[wanted & ~cut], SURFACE_WALL)
        for index in np.nonzero(wanted & cut)[0]:
            a, b, c, d = walls[index]
            region = _known(cuts[index]).outer
            for start, end in region.subtract_line(a[[0, 2]], b[[0, 2]]):
                piece = np.array(
                    [a + (b - a) * start, a + (b - a) * end, d + (c - d) * end, d + (c - d) * start]
                )
                surface.quads(piece[None], SURFACE_WALL)


def _known(cut: Cut | None) -> Cut:
    assert cut is not None, "only segments with a cut are asked for one"
    return cut


def _padded_road(ribbon: Ribbon, k: int, road: int, surface: _Surface) -> None:
    """Add the road of a segment with pads: lanes beside them and the pads themselves."""
    n = ribbon.following(k)
    left = (float(ribbon.half_width[k]), float(ribbon.half_width[n]))
    lanes = []
    for pad in ribbon.pads_at(k):
        lanes.append((left, (pad.left, pad.left), road))
        lanes.append(((pad.left, pad.left), (pad.right, pad.right), PADS[pad.kind]))
        left = (pad.right, pad.right)
    lanes.append((left, (-float(ribbon.half_width[k]), -float(ribbon.half_width[n])), road))
    for (a, b), (c, d), kind in lanes:
        if a - c > 0.2 or b - d > 0.2:
            corners = [
                ribbon.point(k, a),
                ribbon.point(k, c),
                ribbon.point(n, d),
                ribbon.point(n, b),
            ]
            surface.quads(np.array([corners]), kind)
