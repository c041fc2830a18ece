"""Draw a way: the road and its paint, shoulders, walls, cliffs and the land beyond.

Everything is drawn many segments at a time. Between two lines of points along the way, one point
to a station, lies a *band*; a picture's cost is its vertices, so bands are drawn in colours that
change from station to station, not from face to face, and a band is one strip. What is painted on
the road lies `PAINT` above it instead of being cut out of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mkds_gym.kartlab.compiler.description import CourseDescription
from mkds_gym.kartlab.compiler.geometry import Ribbon, outer_reach
from mkds_gym.kartlab.compiler.klm import GRID, Faces, Floats, shade

Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]
Colours = Mapping[str, Floats]

STATION_GRID = 2 * GRID
"""Places at stations are on this grid, so that the point halfway between two is on the other.

Where one face has a corner in the middle of another's side, no gap opens between them."""

PAINT = GRID
"""Height of what is painted on the road: far away and from low down, that is far in front of it."""

SEGMENTS_PER_CHUNK = 2
SEGMENTS_PER_LAND = 4
"""Of the land beyond one edge and its trees. It is apart from the road, as a chunk is drawn as
soon as its sphere touches the view: with the land the road's were so wide that those beside and
behind the camera were drawn, all in vain."""

EDGE_LINE = 5.0
"""Width of the painted edge of the road, in world units."""

CENTRE_LINE = 3.0
KERB_CURVATURE = 1 / 320
"""From this curvature on the road's edge is a red and white kerb."""

WALL_DEPTH = 5.0
SKIRT_WIDTHS = (130.0, 110.0, 90.0, 70.0, 50.0, 35.0, 22.0, 12.0, 6.0)
CLIFF_WIDTH = 8.0
START_COLUMNS = 12
"""Squares of the chequered line."""


def mix(a: ArrayLike, b: ArrayLike, t: float | Floats) -> Floats:
    """Return the colour at part `t` of the way from `a` to `b`."""
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return np.asarray(first + (second - first) * t)


@dataclass(frozen=True)
class Span:
    """Stretches of a way: from stations `here` to stations `there`, as segments `of` are."""

    here: Integers
    there: Integers
    of: Integers

    def where(self, mask: Mask) -> Span:
        """Return the stretches whose segment is in a mask (S,)."""
        keep = mask[self.of]
        return Span(self.here[keep], self.there[keep], self.of[keep])


class Way:
    """A way of the course, with what the picture needs to know of its segments."""

    def __init__(self, description: CourseDescription, ribbon: Ribbon) -> None:
        self.ribbon = ribbon
        self.stations = len(ribbon)
        self.segments = Span(
            np.arange(self.stations),
            np.roll(np.arange(self.stations), -1),
            np.arange(self.stations),
        )
        self.half = ribbon.half_width
        self.reach = np.stack([ribbon.reach(side) for side in (0, 1)])
        self.outer = np.stack([outer_reach(description, ribbon, side) for side in (0, 1)])
        self.ends = np.array([[pair[side].end for pair in ribbon.edges] for side in (0, 1)])
        self.surfaces = np.array([[pair[side].surface for pair in ribbon.edges] for side in (0, 1)])

    def line(self, offset: ArrayLike, rise: float = 0.0) -> Floats:
        """(K, 3) points at lateral offsets, on the grid."""
        ribbon = self.ribbon
        lateral = np.broadcast_to(np.asarray(offset, dtype=np.float64), self.stations)
        points = ribbon.centre + np.stack(
            [
                lateral * np.cos(ribbon.heading),
                lateral * ribbon.slope,
                -lateral * np.sin(ribbon.heading),
            ],
            axis=1,
        )
        points[:, 1] += rise
        return np.asarray(np.rint(points / STATION_GRID) * STATION_GRID)


class Painter:
    """Draws one way into chunks of its own, from `first_chunk` on."""

    def __init__(
        self,
        faces: Faces,
        description: CourseDescription,
        colours: Colours,
        way: Way,
        floor: float,
        skirt: Floats,
        first_chunk: int,
    ) -> None:
        """Prepare to draw.

        Args:
            faces: where to.
            description: what was described.
            colours: by name, 0 to 255.
            way: the way.
            floor: height of everything's foot, the water.
            skirt: (2, K) widths of the land beyond the edges.
            first_chunk: number of the first chunk.
        """
        self.faces = faces
        self.description = description
        self.colours = colours
        self.way = way
        self.floor = floor
        self.skirt = skirt
        segments = way.segments
        self.chunk = first_chunk + segments.of // SEGMENTS_PER_CHUNK
        first_land = int(self.chunk.max()) + 1
        lands = int(segments.of.max()) // SEGMENTS_PER_LAND + 1
        self.land_chunk = np.stack(
            [first_land + side * lands + segments.of // SEGMENTS_PER_LAND for side in (0, 1)]
        )
        self.next_chunk = first_land + 2 * lands
        self.tint = np.where(np.arange(way.stations) % 2, 1.0, 0.92)
        curve = way.ribbon.curvature
        worst = np.stack([np.roll(curve, 1), curve, np.roll(curve, -1)])
        self.kerbed = np.abs(worst).max(axis=0)[segments.here] >= KERB_CURVATURE
        self.far = self._far()

    def paint(self) -> None:
        """Draw all of it."""
        self.road()
        for side in (0, 1):
            for span, far in ((self.way.segments, False), (self.far, True)):
                self.side(span, side, far)
        half, way = self.way.half, self.way
        self.band(
            self.far,
            way.line(half),
            way.line(-half),
            self.toned("road", self.far, True),
            far=True,
        )

    # -- bands --------------------------------------------------------------------------

    def toned(self, names: str | NDArray[np.str_], span: Span, far: bool = False) -> Floats:
        """(N, 2, 3) a surface's colour at both ends, lighter and darker in turn.

        Without that nothing on an even surface shows the speed; from afar, nothing does.
        """
        wanted = np.broadcast_to(np.asarray(names), self.way.segments.of.shape)[span.of]
        known, index = np.unique(wanted, return_inverse=True)
        plain = np.array([self.colours[name] for name in known]).reshape(-1, 3)[index]
        tints = np.stack([self.tint[span.here], self.tint[span.there]], axis=1)
        if far:
            tints[:] = self.tint.mean()
        return np.asarray(plain[:, None] * tints[:, :, None])

    def band(
        self,
        span: Span,
        left: Floats,
        right: Floats,
        left_tone: ArrayLike,
        right_tone: ArrayLike | None = None,
        *,
        part: tuple[float, float] = (0.0, 1.0),
        chunk: Integers | None = None,
        lit: bool = True,
        far: bool = False,
    ) -> None:
        """Draw what lies between two lines of points, seen from where `left` is on the left.

        Args:
            span: the stretches.
            left: (K, 3), one point to a station.
            right: likewise.
            left_tone: colour along the left line: (3,), or (N, 2, 3) at both ends.
            right_tone: along the right line; the same if left out.
            part: what part of each stretch.
            chunk: (S,) of each segment; the road's by default.
            lit: shade it by the sun.
            far: it is what is drawn from afar.
        """
        if right_tone is None:
            right_tone = left_tone
        size = (len(span.of), 2, 3)
        lines = []
        for line in (left, right):
            a, b = line[span.here], line[span.there]
            lines.append([a + (b - a) * t for t in part])
        corners = np.stack([lines[0][0], lines[1][0], lines[1][1], lines[0][1]], axis=1)
        one, two = (
            np.broadcast_to(np.asarray(tone, dtype=np.float64), size)
            for tone in (left_tone, right_tone)
        )
        tones = np.stack([one[:, 0], two[:, 0], two[:, 1], one[:, 1]], axis=1)
        if lit:
            tones = tones * self._smooth(span, shade(corners))[:, [0, 0, 1, 1], None]
        # Widths of nothing are not worth a face.
        wide = np.linalg.norm(lines[0][0] - lines[1][0], axis=1) >= STATION_GRID
        wide |= np.linalg.norm(lines[0][1] - lines[1][1], axis=1) >= STATION_GRID
        chunks = (self.chunk if chunk is None else chunk)[span.of]
        self.faces.add(chunks[wide], corners[wide], tones[wide], lit=False, far=far)

    def _smooth(self, span: Span, light: Floats) -> Floats:
        """(N, 2) brightness at both ends of stretches: the mean of those that meet there.

        A strip goes on only where colours do.
        """
        sums, counts = np.zeros(self.way.stations), np.zeros(self.way.stations)
        for ends in (span.here, span.there):
            np.add.at(sums, ends, light)
            np.add.at(counts, ends, 1)
        mean = sums / np.maximum(counts, 1)
        return np.stack([mean[span.here], mean[span.there]], axis=1)

    def _outward(
        self,
        side: int,
        span: Span,
        outer: Floats,
        inner: Floats,
        outer_tone: ArrayLike,
        inner_tone: ArrayLike | None = None,
        *,
        chunk: Integers | None = None,
        lit: bool = True,
        far: bool = False,
    ) -> None:
        """Draw a band on one side, given its line away from the road and the one nearer to it."""
        if inner_tone is None:
            inner_tone = outer_tone
        if side == 0:
            lines = (outer, inner, outer_tone, inner_tone)
        else:
            lines = (inner, outer, inner_tone, outer_tone)
        self.band(span, *lines, chunk=chunk, lit=lit, far=far)

    def _far(self) -> Span:
        """Return the stretches as drawn from afar: two segments as one where both are straight."""
        way, segments = self.way, self.way.segments
        first = np.arange(0, len(segments.of) - 1, SEGMENTS_PER_CHUNK)
        second = first + 1
        alike = (way.ends[:, first] == way.ends[:, second]).all(axis=0)
        alike &= (way.surfaces[:, first] == way.surfaces[:, second]).all(axis=0)
        for offset in (0.0, *way.reach, *-way.reach):
            line = way.line(offset)
            a, m, b = (line[k] for k in (segments.here[first], segments.there[first],
                                         segments.there[second]))  # fmt: skip
            alike &= np.abs((a + b) / 2 - m).max(axis=1) < 1.0
        skipped = second[alike]
        there = segments.there.copy()
        there[first[alike]] = segments.there[skipped]
        keep = np.ones(len(segments.of), dtype=np.bool_)
        keep[skipped] = False
        return Span(segments.here[keep], there[keep], segments.of[keep])

    # -- road ---------------------------------------------------------------------------

    def road(self) -> None:
        """Draw the road with its edge lines or kerbs and the dashes in its middle."""
        way, segments = self.way, self.way.segments
        line, kerb = self.colours["line"], self.colours["kerb"]
        inner = way.half - EDGE_LINE
        self.band(segments, way.line(inner), way.line(-inner), self.toned("road", segments))
        paint = np.array([0.0, PAINT, 0.0])
        for left, right in ((way.half, inner), (-inner, -way.half)):
            lines = way.line(left), way.line(right)
            self.band(segments, *lines, line)
            kerbed = segments.where(self.kerbed)
            self.band(kerbed, lines[0] + paint, lines[1] + paint, kerb, part=(0.0, 0.5))
        mid = CENTRE_LINE / 2
        self.band(segments, way.line(mid) + paint, way.line(-mid) + paint, line, part=(0.5, 1.0))

    def start_line(self) -> None:
        """Paint the chequered line over the first third of the first segment."""
        way = self.way
        dark, light = self.colours["road"] * 0.3, self.colours["line"]
        first = way.segments.where(way.segments.of == 0)
        rise = np.array([0.0, PAINT, 0.0])
        lines = [
            way.line(way.half * (1 - 2 * column / START_COLUMNS)) + rise
            for column in range(START_COLUMNS + 1)
        ]
        self.band(first, lines[0], lines[-1], light, part=(0.0, 0.35))
        for row, part in enumerate(((0.0, 0.175), (0.175, 0.35))):
            for column in range(row, START_COLUMNS, 2):
                self.band(first, lines[column] + rise, lines[column + 1] + rise, dark, part=part)

    # -- roadside -----------------------------------------------------------------------

    def side(self, span: Span, side: int, far: bool) -> None:
        """Draw one side: shoulder, what it ends in, and the land beyond."""
        way = self.way
        sign = 1.0 if side == 0 else -1.0
        reach = way.reach[side]
        shoulder = way.line(sign * reach)
        inner = way.line(sign * way.half)
        self._outward(
            side, span, shoulder, inner, self.toned(way.surfaces[side], span, far), far=far
        )
        ends = way.ends[side]
        strip = reach + self.description.bounds_width
        bounds, walls = span.where(ends == "bounds"), span.where(ends == "wall")
        self._outward(
            side,
            bounds,
            way.line(sign * strip),
            shoulder,
            self.toned("bounds", bounds, far),
            far=far,
        )
        self.wall(walls, side, far)
        rock = self.colours["rock"]
        foot = way.line(sign * (reach + CLIFF_WIDTH))
        foot[:, 1] = self.floor
        drops = span.where(ends == "drop")
        self._outward(side, drops, foot, shoulder, rock * 0.6, rock * 1.15, lit=False, far=far)
        self.land(bounds, side, strip, far)
        self.land(walls, side, reach + WALL_DEPTH, far)

    def wall(self, span: Span, side: int, far: bool) -> None:
        """Draw a wall: a coloured panel below a pale stripe, its top and its back."""
        way = self.way
        sign = 1.0 if side == 0 else -1.0
        reach, height = way.reach[side], self.description.wall_height
        # Red on the outside of a bend: there the wall says which way the road goes.
        curve = way.ribbon.curvature[span.here]
        outside = (np.abs(curve) > KERB_CURVATURE) & (curve * sign < 0)
        panel = np.where(outside[:, None], self.colours["kerb"], self.colours["wall"])
        top = self.colours["wall top"]
        foot, rim = way.line(sign * reach), way.line(sign * reach, height)
        back = way.line(sign * (reach + WALL_DEPTH), -6.0)
        mean = np.asarray(mix(panel, top, 0.28))[:, None]
        if far:
            self._outward(side, span, rim, foot, mean, far=True)
            # Its back is what one sees of it from other parts of the course.
            self._outward(side, span, back, rim, mean * 0.65, far=True)
            return
        turns = (span.of % 2 == 0)[:, None]
        panel = np.where(turns, mix(panel, top, 0.55), panel)[:, None]
        stripe = way.line(sign * reach, height * 0.72)
        edge = way.line(sign * (reach + WALL_DEPTH), height)
        self._outward(side, span, stripe, foot, panel * 1.15, panel * 0.85)
        self._outward(side, span, rim, stripe, top * 1.1)
        self._outward(side, span, edge, rim, top)
        self._outward(side, span, back, edge, mean * 0.9)

    # -- land ---------------------------------------------------------------------------

    def land_line(self, side: int, outer: Floats, part: ArrayLike) -> Floats:
        """(K, 3) points of the land beyond the edge; part 0 is at the edge, 1 the far end."""
        way = self.way
        sign = 1.0 if side == 0 else -1.0
        width = self.skirt[side]
        share = np.broadcast_to(np.asarray(part, dtype=np.float64), width.shape)
        edge = way.ribbon.centre[:, 1] + sign * outer * way.ribbon.slope
        points = way.line(sign * (outer + width * share))
        end = np.maximum(self.floor - 1.0, edge - 1.1 * width)
        end = np.where(self.steep(side), self.floor - 1.0, end)
        # A shoulder of land first, then the slope: parts up to 0.45 lose little height.
        fall = np.where(share <= 0.45, share / 0.45 * 0.12, 0.12 + (share - 0.45) / 0.55 * 0.88)
        height = edge + (end - edge) * fall
        points[:, 1] = np.rint(height / STATION_GRID) * STATION_GRID
        return points

    def steep(self, side: int) -> Mask:
        """(K,) whether the land falls off at once at a station: beside a drop."""
        drop = self.way.ends[side] == "drop"
        out = np.zeros(self.way.stations, dtype=np.bool_)
        out[self.way.segments.here[drop]] = True
        out[self.way.segments.there[drop]] = True
        return out

    def land(self, span: Span, side: int, outer: Floats, far: bool) -> None:
        """Draw the land beyond an edge that lies at `outer`, (K,)."""
        grass = self.toned("terrain", span, far)
        shore = mix(grass, self.colours["off-road"], 0.55)
        lines = [self.land_line(side, outer, part) for part in (0.0, 0.45, 1.0)]
        chunk = self.land_chunk[side]
        self._outward(side, span, lines[1], lines[0], grass, chunk=chunk, far=far)
        self._outward(side, span, lines[2], lines[1], shore, grass, chunk=chunk, far=far)


def skirt_widths(way: Way) -> Floats:
    """(2, K) widths of the land beyond the edges that hit no other part of the course."""
    ribbon = way.ribbon
    ground = ribbon.centre[:, [0, 2]]
    count = len(ground)
    along = np.abs(ribbon.distance[:, None] - ribbon.distance[None])
    along = np.minimum(along, ribbon.length - along)
    out = np.empty((2, count))
    step = np.diff(np.append(ribbon.distance, ribbon.length))
    for side, sign in ((0, 1.0), (1, -1.0)):
        own = way.outer[side] + WALL_DEPTH
        width = np.full(count, SKIRT_WIDTHS[-1])
        for wanted in SKIRT_WIDTHS[-2::-1]:  # from narrow to wide
            points = ground + sign * (own + wanted)[:, None] * ribbon.left
            away = points[:, None] - ground[None]
            gap = np.hypot(away[..., 0], away[..., 1])
            facing = (away * ribbon.left[None]).sum(axis=2) >= 0
            need = np.where(facing, way.outer[0], way.outer[1]) + WALL_DEPTH
            # Nearby stations on the same side must not be cut off (inside of a bend); others
            # want their own land as well.
            need = need + np.where(along < 250, 0.7 * wanted, min(wanted, 25.0))
            width[(gap >= need).all(axis=1)] = wanted
        drop = way.ends[side] == "drop"
        width[drop | np.roll(drop, 1)] = CLIFF_WIDTH
        # Twice round: the land narrows no faster than it goes on, so no end stands in the air.
        for k in range(2 * count):
            here, there = k % count, (k + 1) % count
            width[there] = min(width[there], width[here] + step[here])
        for k in range(2 * count, 0, -1):
            here, there = k % count, (k - 1) % count
            width[there] = min(width[there], width[here] + step[there])
        out[side] = width
    return out
