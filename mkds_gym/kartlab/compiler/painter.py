"""Draw a path: the road and its paint, shoulders, walls, cliffs and the land beyond.

Everything is drawn many segments at a time. Between two lines of points along the path, one point
to a station, lies a *band*; a picture's cost is its vertices, so bands are drawn in colours that
change from station to station, not from face to face, and a band is one strip. What is painted on
the road lies `PAINT` above it instead of being cut out of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mkds_gym.kartlab.compiler.description import BRIDGE_CLEARANCE, CourseDescription
from mkds_gym.kartlab.compiler.geometry import (
    STATION_STEP,
    Cut,
    PlacedPad,
    Region,
    Ribbon,
    outer_reach,
    quads_overlap,
)
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
LAND_PARTS = (0.0, 0.45, 1.0)
"""Where the land beyond an edge bends, as parts of its width."""

DECK = 6.0
"""Thickness of a bridge, and how far a wall's back reaches down."""

BRIDGE_MARGIN = 16.0
"""How far from the road below the land above it ends."""

GRID_ROW = 24.0
GRID_SIDE = 16.0
GRID_STAGGER = 9.0
GRID_NOSE = 8.0
"""The start grid as race.c has it: row to row, to the sides, second behind first; and how far the
paint is in front of a kart's centre."""

ARROW_PITCH = 22.0
BAR_PITCH = 14.0
"""From one arrow on a boost pad to the next, and from one bar on a jump pad to the next."""

START_COLUMNS = 12
"""Squares of the chequered line."""


def mix(a: ArrayLike, b: ArrayLike, t: float | Floats) -> Floats:
    """Return the colour at fraction `t` between `a` and `b`."""
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return np.asarray(first + (second - first) * t)


@dataclass(frozen=True)
class Stretch:
    """Stretches of a path: from stations `here` to stations `there`, as segments `of` are."""

    here: Integers
    there: Integers
    of: Integers

    def where(self, mask: Mask) -> Stretch:
        """Return the stretches whose segment is in a mask (S,)."""
        keep = mask[self.of]
        return Stretch(self.here[keep], self.there[keep], self.of[keep])


class DrawnPath:
    """A path of the course, with what the picture needs to know of its S segments."""

    def __init__(
        self, description: CourseDescription, ribbon: Ribbon, cuts: tuple[Cut | None, ...]
    ) -> None:
        self.ribbon = ribbon
        self.stations = len(ribbon)
        count = ribbon.segments
        first = np.arange(count)
        self.segments = Stretch(first, (first + 1) % self.stations, first)
        self.half = ribbon.half_width
        self.reach = np.stack([ribbon.reach(side) for side in (0, 1)])
        self.outer = np.stack([outer_reach(description, ribbon, side) for side in (0, 1)])
        edges = ribbon.edges[:count]
        self.ends = np.array([[pair[side].end for pair in edges] for side in (0, 1)])
        self.surfaces = np.array([[pair[side].surface for pair in edges] for side in (0, 1)])
        self.road = np.array(ribbon.surfaces[:count])
        self.floor = ~ribbon.gap[:count]
        self.bridge = np.zeros(count, dtype=np.bool_)
        self.cuts = cuts
        self.joint = np.array([cut is not None for cut in cuts[:count]])
        self.steep = np.stack([self.touching(self.ends[side] == "drop") for side in (0, 1)])

    def touching(self, mask: Mask) -> Mask:
        """(K,) which stations are at an end of a segment in a mask (S,)."""
        out = np.zeros(self.stations, dtype=np.bool_)
        out[self.segments.here[mask]] = True
        out[self.segments.there[mask]] = True
        return out

    def line(self, offset: Floats | float, rise: float = 0.0) -> Floats:
        """(K, 3) points at lateral offsets, on the grid."""
        return np.asarray(np.rint(self.ribbon.line(offset, rise) / STATION_GRID) * STATION_GRID)

    def bed(self) -> Floats:
        """(S, 4, 3) the ground each segment takes, from its left end to its right end."""
        left, right = self.outer + WALL_DEPTH
        return self.ribbon.strip(left, -right)

    def at(self, distance: ArrayLike, offset: ArrayLike, rise: float) -> Floats:
        """(N, 3) points of the drawn road at distances along the path, raised by `rise`."""
        ribbon = self.ribbon
        along, lateral = np.broadcast_arrays(
            np.asarray(distance, dtype=np.float64), np.asarray(offset, dtype=np.float64)
        )
        if ribbon.closed:
            along = along % ribbon.length
        k = np.clip(np.searchsorted(ribbon.distance, along, "right") - 1, 0, ribbon.segments - 1)
        n = (k + 1) % self.stations
        end = np.append(ribbon.distance, ribbon.length)[k + 1]
        t = ((along - ribbon.distance[k]) / (end - ribbon.distance[k]))[:, None]
        points = []
        for station in (k, n):
            heading = ribbon.heading[station]
            place = ribbon.centre[station].copy()
            place[:, 0] += lateral * np.cos(heading)
            place[:, 1] += lateral * ribbon.slope[station] + rise
            place[:, 2] -= lateral * np.sin(heading)
            points.append(place)
        return np.asarray(points[0] + (points[1] - points[0]) * t)


class Painter:
    """Draws one path into chunks of its own, from `first_chunk` on."""

    def __init__(
        self,
        faces: Faces,
        description: CourseDescription,
        colours: Colours,
        path: DrawnPath,
        floor: float,
        skirt: Floats,
        first_chunk: int,
    ) -> None:
        """Prepare to draw.

        Args:
            faces: where to.
            description: what was described.
            colours: by name, 0 to 255.
            path: the path.
            floor: height of everything's foot, the water.
            skirt: (2, K) widths of the land beyond the edges.
            first_chunk: number of the first chunk.
        """
        self.faces = faces
        self.description = description
        self.colours = colours
        self.path = path
        self.floor = floor
        self.skirt = skirt
        segments = path.segments
        self.chunk = first_chunk + segments.of // SEGMENTS_PER_CHUNK
        first_land = int(self.chunk.max()) + 1
        lands = int(segments.of.max()) // SEGMENTS_PER_LAND + 1
        self.land_chunk = np.stack(
            [first_land + side * lands + segments.of // SEGMENTS_PER_LAND for side in (0, 1)]
        )
        self.next_chunk = first_land + 2 * lands
        self.tint = np.where(np.arange(path.stations) % 2, 1.0, 0.92)
        bends = np.abs(path.ribbon.curvature[segments.of]) >= KERB_CURVATURE
        self.kerbed = path.touching(path.touching(bends)[segments.here])[segments.here]
        self.kerbed |= bends | np.roll(bends, 1)
        self.far = self._far()

    def paint(self) -> None:
        """Draw all of it."""
        path = self.path
        near, far = path.segments.where(path.floor), self.far.where(path.floor)
        self.road(near)
        self.band(
            far,
            path.line(path.half),
            path.line(-path.half),
            self.toned(path.road, far, True),
            far=True,
            cut="road",
        )
        for side in (0, 1):
            self.side(near, side, False)
            self.side(far, side, True)
        self.deck(near.where(path.bridge), False)
        self.deck(far.where(path.bridge), True)
        self.caps()
        for pad in path.ribbon.pads:
            self.pad(pad)

    # -- bands --------------------------------------------------------------------------

    def toned(self, names: str | NDArray[np.str_], span: Stretch, far: bool = False) -> Floats:
        """(N, 2, 3) a surface's colour at both ends, lighter and darker in turn.

        Without that nothing on an even surface shows the speed; from afar, nothing does.
        """
        wanted = np.broadcast_to(np.asarray(names), self.path.floor.shape)[span.of]
        known, index = np.unique(wanted, return_inverse=True)
        plain = np.array([self.colours[name] for name in known]).reshape(-1, 3)[index]
        tints = np.stack([self.tint[span.here], self.tint[span.there]], axis=1)
        if far:
            tints[:] = self.tint.mean()
        return np.asarray(plain[:, None] * tints[:, :, None])

    def band(
        self,
        span: Stretch,
        left: Floats,
        right: Floats,
        left_tone: ArrayLike,
        right_tone: ArrayLike | None = None,
        *,
        part: tuple[float, float] = (0.0, 1.0),
        chunk: Integers | None = None,
        lit: bool = True,
        far: bool = False,
        cut: str = "",
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
            cut: what is left out at joints with other paths: an attribute of `Cut`; or "paint",
                which yields to any road.
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
        if cut:
            for index in np.flatnonzero(wide & self.path.joint[span.of]):
                self._cut(chunks[index], corners[index], tones[index], span.of[index], cut, far)
            wide &= ~self.path.joint[span.of]
        self.faces.add(chunks[wide], corners[wide], tones[wide], lit=False, far=far)

    def _region(self, segment: int, cut: str) -> Region:
        known = self.path.cuts[segment]
        assert known is not None, "only segments of a joint are asked"
        if cut == "paint":
            return known.road if len(known.road) else known.shoulder
        region: Region = getattr(known, cut)
        return region

    def _cut(
        self, chunk: int, corners: Floats, tones: Floats, segment: int, cut: str, far: bool
    ) -> None:
        """Draw what another path leaves of a quad."""
        for piece in self._region(segment, cut).subtract(np.concatenate([corners, tones], axis=1)):
            # A fan of quads, the last of them a triangle where need be.
            for first in range(1, len(piece) - 1, 2):
                part = piece[[0, first, first + 1, min(first + 2, len(piece) - 1)]][None]
                self.faces.add(chunk, part[..., :3], part[..., 3:], lit=False, far=far)

    def _smooth(self, span: Stretch, light: Floats) -> Floats:
        """(N, 2) brightness at both ends of stretches: the mean of those that meet there.

        A strip goes on only where colours do.
        """
        sums, counts = np.zeros(self.path.stations), np.zeros(self.path.stations)
        for ends in (span.here, span.there):
            np.add.at(sums, ends, light)
            np.add.at(counts, ends, 1)
        mean = np.rint(sums / np.maximum(counts, 1) * 20) / 20
        return np.stack([mean[span.here], mean[span.there]], axis=1)

    def _outward(
        self,
        side: int,
        span: Stretch,
        outer: Floats,
        inner: Floats,
        outer_tone: ArrayLike,
        inner_tone: ArrayLike | None = None,
        *,
        chunk: Integers | None = None,
        part: tuple[float, float] = (0.0, 1.0),
        lit: bool = True,
        far: bool = False,
        cut: str = "",
    ) -> None:
        """Draw a band on one side, given its line away from the road and the one nearer to it."""
        if inner_tone is None:
            inner_tone = outer_tone
        if side == 0:
            lines = (outer, inner, outer_tone, inner_tone)
        else:
            lines = (inner, outer, inner_tone, outer_tone)
        self.band(span, *lines, part=part, chunk=chunk, lit=lit, far=far, cut=cut)

    def _far(self) -> Stretch:
        """Return the stretches as drawn from afar: two segments as one where both are straight."""
        path, segments = self.path, self.path.segments
        first = np.arange(0, len(segments.of) - 1, SEGMENTS_PER_CHUNK)
        second = first + 1
        known = (*path.ends, *path.surfaces, path.road, path.floor, path.bridge)
        alike = np.all([what[first] == what[second] for what in known], axis=0)
        alike &= ~path.joint[first] & ~path.joint[second]
        for offset in (0.0, *path.reach, *-path.reach):
            line = path.line(offset)
            a, m, b = line[segments.here[first]], line[second], line[segments.there[second]]
            alike &= np.abs((a + b) / 2 - m).max(axis=1) < 1.0
        skipped = second[alike]
        there = segments.there.copy()
        there[first[alike]] = segments.there[skipped]
        keep = np.ones(len(segments.of), dtype=np.bool_)
        keep[skipped] = False
        return Stretch(segments.here[keep], there[keep], segments.of[keep])

    # -- road ---------------------------------------------------------------------------

    def road(self, span: Stretch) -> None:
        """Draw the road with its edge lines or kerbs and the dashes in its middle."""
        path = self.path
        line, kerb = self.colours["line"], self.colours["kerb"]
        inner = path.half - EDGE_LINE
        joint, apart = span.where(path.joint), span.where(~path.joint)
        self.band(apart, path.line(inner), path.line(-inner), self.toned(path.road, apart))
        # Where paths meet, one floor lies below the paint of both.
        floor = path.line(path.half), path.line(-path.half)
        self.band(joint, *floor, self.toned(path.road, joint), cut="road")
        paint = np.array([0.0, PAINT, 0.0])
        kerbed = span.where(self.kerbed)
        for left, right in ((path.half, inner), (-inner, -path.half)):
            lines = path.line(left), path.line(right)
            self.band(apart, *lines, line)
            self.band(joint, lines[0] + paint, lines[1] + paint, line, cut="paint")
            for stretch, rise in ((kerbed.where(~path.joint), 1), (kerbed.where(path.joint), 2)):
                raised = [edge + rise * paint for edge in lines]
                self.band(stretch, raised[0], raised[1], kerb, part=(0.0, 0.5), cut="paint")
        mid = CENTRE_LINE / 2
        dash = path.line(mid) + paint, path.line(-mid) + paint
        self.band(span, *dash, line, part=(0.5, 1.0), cut="paint")

    def start_line(self) -> None:
        """Paint the chequered line over the first third of the first segment."""
        path = self.path
        dark, light = self.colours["dark"], self.colours["light"]
        first = path.segments.where(path.segments.of == 0)
        rise = np.array([0.0, PAINT, 0.0])
        lines = [
            path.line(path.half * (1 - 2 * column / START_COLUMNS)) + rise
            for column in range(START_COLUMNS + 1)
        ]
        self.band(first, lines[0], lines[-1], light, part=(0.0, 0.35))
        for row, part in enumerate(((0.0, 0.175), (0.175, 0.35))):
            for column in range(row, START_COLUMNS, 2):
                self.band(first, lines[column] + rise, lines[column + 1] + rise, dark, part=part)

    def grid(self, places: int) -> None:
        """Paint the places of the start grid, as the program hands them out."""
        path, description = self.path, self.description
        length, width, line = 9.0, 15.0, 1.5
        for place in range(places):
            back = description.grid_back + place // 2 * GRID_ROW + place % 2 * GRID_STAGGER
            side = description.grid_side + (-GRID_SIDE if place % 2 else GRID_SIDE)
            front, left, right = GRID_NOSE - back, side + width / 2, side - width / 2
            for near, far, a, b in (
                (front - line, front, left, right),
                (front - length, front - line, left, left - line),
                (front - length, front - line, right + line, right),
            ):
                corners = path.at([near, near, far, far], [a, b, b, a], PAINT)
                self.faces.add(self._chunk_at(front), corners[None], self.colours["light"])

    def _chunk_at(self, distance: float) -> int:
        ribbon = self.path.ribbon
        k = int(np.searchsorted(ribbon.distance, distance % ribbon.length, "right")) - 1
        return int(self.chunk[min(k, len(self.chunk) - 1)])

    def pad(self, pad: PlacedPad) -> None:
        """Draw a pad: bright arrows on a boost pad, bars across a jump pad."""
        path, ribbon = self.path, self.path.ribbon
        of = path.segments.of
        mask = (of >= pad.first) & (of < pad.last)
        edges = [path.line(u) + np.array([0.0, PAINT, 0.0]) for u in (pad.left, pad.right)]
        span = path.segments.where(mask)
        for far in (False, True):
            self.band(span, edges[0], edges[1], self.colours[pad.kind], lit=False, far=far)
        start = float(ribbon.distance[pad.first])
        length = float(np.append(ribbon.distance, ribbon.length)[pad.last]) - start
        middle, mark = (pad.left + pad.right) / 2, self.colours[f"{pad.kind} mark"]
        arrows = pad.kind == "boost"
        pitch = ARROW_PITCH if arrows else BAR_PITCH
        for far in (False, True):
            count = max(round(length / (2 * pitch if far else pitch)), 1)
            step = length / count
            thick, fold = (0.32 * step, 0.55 * step) if arrows else (0.45 * step, 0.0)
            for index in range(count):
                near = start + step * (index + 0.05)
                if arrows:
                    ends = [pad.left - 2, middle, pad.right + 2]
                    rear = [near, near + fold, near]
                else:
                    ends, rear = [pad.left, pad.right], [near, near]
                for i in range(len(ends) - 1):
                    corners = path.at(
                        [rear[i], rear[i + 1], rear[i + 1] + thick, rear[i] + thick],
                        [ends[i], ends[i + 1], ends[i + 1], ends[i]],
                        2 * PAINT,
                    )
                    chunk = self._chunk_at(near)
                    self.faces.add(chunk, corners[None], mark, lit=False, far=far)

    # -- roadside -----------------------------------------------------------------------

    def side(self, span: Stretch, side: int, far: bool) -> None:
        """Draw one side: shoulder, what it ends in, and the land beyond."""
        path = self.path
        sign = 1.0 if side == 0 else -1.0
        reach = path.reach[side]
        shoulder = path.line(sign * reach)
        inner = path.line(sign * path.half)
        surface = self.toned(path.surfaces[side], span, far)
        self._outward(side, span, shoulder, inner, surface, far=far, cut="shoulder")
        ends = path.ends[side]
        strip = reach + self.description.bounds_width
        bounds, walls = span.where(ends == "bounds"), span.where(ends == "wall")
        colour = self.toned("bounds", bounds, far)
        self._outward(side, bounds, path.line(sign * strip), shoulder, colour, far=far, cut="outer")
        self.wall(walls, side, far)
        self.land(bounds.where(~path.bridge), side, strip, far)
        self.land(walls.where(~path.bridge), side, reach + WALL_DEPTH, far)
        rock = self.colours["rock"]
        foot = path.line(sign * (reach + CLIFF_WIDTH))
        foot[:, 1] = self.floor
        self._outward(
            side,
            span.where((ends == "drop") & ~path.bridge),
            foot,
            shoulder,
            rock * 0.6,
            rock * 1.15,
            lit=False,
            far=far,
            cut="outer",
        )

    def wall(self, span: Stretch, side: int, far: bool) -> None:
        """Draw a wall: a coloured panel below a pale stripe, its top and its back."""
        path = self.path
        sign = 1.0 if side == 0 else -1.0
        reach, height = path.reach[side], self.description.wall_height
        foot, rim = path.line(sign * reach), path.line(sign * reach, height)
        back = path.line(sign * (reach + WALL_DEPTH), -DECK)
        stripe = path.line(sign * reach, height * 0.72)
        edge = path.line(sign * (reach + WALL_DEPTH), height)
        parts: list[tuple[Stretch, tuple[float, float]]] = [(span.where(~path.joint), (0.0, 1.0))]
        for k, here, there in zip(span.of, span.here, span.there, strict=True):
            if path.joint[k]:
                a, b = foot[here][[0, 2]], foot[there][[0, 2]]
                one = Stretch(np.array([here]), np.array([there]), np.array([k]))
                stretches = self._region(int(k), "outer").subtract_line(a, b)
                parts += [(one, stretch) for stretch in stretches]
        top = self.colours["wall top"]
        for stretch, part in parts:
            # Red on the outside of a bend: there the wall shows where the road turns.
            curve = path.ribbon.curvature[stretch.here]
            outside = (np.abs(curve) > KERB_CURVATURE) & (curve * sign < 0)
            panel = np.where(outside[:, None], self.colours["wall bend"], self.colours["wall"])
            mean = mix(panel, top, 0.28)[:, None]
            if far:
                self._outward(side, stretch, rim, foot, mean, part=part, far=True)
                # Its back is what one sees of it from other parts of the course.
                self._outward(side, stretch, back, rim, mean * 0.65, part=part, far=True)
                continue
            turns = (stretch.of % 2 == 0)[:, None]
            panel = np.where(turns, mix(panel, top, 0.55), panel)[:, None]
            self._outward(side, stretch, stripe, foot, panel * 1.15, panel * 0.85, part=part)
            self._outward(side, stretch, rim, stripe, top * 1.1, part=part)
            self._outward(side, stretch, edge, rim, top, part=part)
            self._outward(side, stretch, back, edge, mean * 0.9, part=part)

    def deck(self, span: Stretch, far: bool) -> None:
        """Draw the sides and the underside of a bridge."""
        path, rock = self.path, self.colours["rock"]
        brink = []
        for side, sign in ((0, 1.0), (1, -1.0)):
            wall = path.touching(path.ends[side] == "wall")
            reach = path.outer[side] + np.where(wall, WALL_DEPTH, 0.0)
            top, bottom = path.line(sign * reach), path.line(sign * reach, -DECK)
            brink.append(bottom)
            free = span.where(path.ends[side] != "wall")
            self._outward(side, free, bottom, top, rock * 1.1, lit=False, far=far)
        # Seen from below, left is right.
        self.band(span, brink[1], brink[0], rock * 0.55, lit=False, far=far)

    # -- land ---------------------------------------------------------------------------

    def land_line(self, side: int, outer: Floats, part: float) -> Floats:
        """(K, 3) points of the land beyond the edge; part 0 is at the edge, 1 the far end."""
        path = self.path
        sign = 1.0 if side == 0 else -1.0
        points = path.line(sign * (outer + self.skirt[side] * part))
        height = self.land_height(side, np.arange(path.stations), outer, part)
        points[:, 1] = np.rint(height / STATION_GRID) * STATION_GRID
        return points

    def land_height(
        self, side: int, station: ArrayLike, outer: Floats | float, part: float
    ) -> Floats:
        """Height of the land at stations, at a part of its width."""
        path, k = self.path, np.asarray(station)
        sign = 1.0 if side == 0 else -1.0
        edge = path.ribbon.centre[k, 1] + sign * outer * path.ribbon.slope[k]
        end = np.maximum(self.floor - 1.0, edge - 1.1 * self.skirt[side][k])
        end = np.where(path.steep[side][k], self.floor - 1.0, end)
        # A shoulder of land first, then the slope: parts up to 0.45 lose little height.
        fall = part / 0.45 * 0.12 if part <= 0.45 else 0.12 + (part - 0.45) / 0.55 * 0.88
        return np.asarray(edge + (end - edge) * fall)

    def land(self, span: Stretch, side: int, outer: Floats, far: bool) -> None:
        """Draw the land beyond an edge that lies at `outer`, (K,)."""
        grass = self.toned("terrain", span, True)
        shore = mix(grass, self.colours["shore"], 0.55)
        lines = [self.land_line(side, outer, part) for part in LAND_PARTS]
        chunk = self.land_chunk[side]
        for outward, inward, tones in ((1, 0, (grass, grass)), (2, 1, (shore, grass))):
            self._outward(
                side, span, lines[outward], lines[inward], *tones, chunk=chunk, far=far, cut="outer"
            )

    def caps(self) -> None:
        """Close the ends of the land where the road leaves it: at gaps and at bridges."""
        path, rock = self.path, self.colours["rock"]
        solid = path.floor & ~path.bridge
        for k, n in zip(path.segments.here, path.segments.there, strict=True):
            ahead = int(n) if int(n) < len(solid) else int(k)
            if solid[k] == solid[ahead]:
                continue
            land = int(k) if solid[k] else ahead
            points = [self._profile(land, int(n), side) for side in (0, 1)]
            top = np.concatenate([points[0][::-1], points[1]])  # from left to right
            foot = top.copy()
            foot[:, 1] = self.floor - 1.0
            a, b, c, d = top[:-1], foot[:-1], foot[1:], top[1:]
            corners = np.stack([d, c, b, a] if solid[k] else [a, b, c, d], axis=1)
            tones = np.stack([rock, rock * 0.6, rock * 0.6, rock])
            for far in (False, True):
                self.faces.add(int(self.chunk[land]), corners, tones, lit=False, far=far)

    def _profile(self, segment: int, station: int, side: int) -> Floats:
        """Return the land at a station as a segment has it: from the road's edge outwards."""
        path = self.path
        sign = 1.0 if side == 0 else -1.0
        end = path.ends[side][segment]
        reach = path.reach[side]
        if end == "drop":
            foot = path.line(sign * (reach + CLIFF_WIDTH))[station]
            foot[1] = self.floor
            return np.stack([path.line(sign * reach)[station], foot])
        outer = reach + (WALL_DEPTH if end == "wall" else self.description.bounds_width)
        return np.stack([self.land_line(side, outer, part)[station] for part in LAND_PARTS])


def find_bridges(paths: list[DrawnPath]) -> None:
    """Mark the segments of all paths that lead over another road."""
    beds = np.concatenate([path.bed() for path in paths])
    ground = beds[:, :, [0, 2]]
    low, high = ground.min(axis=1) - BRIDGE_MARGIN, ground.max(axis=1) + BRIDGE_MARGIN
    height = beds[:, :, 1].mean(axis=1)
    near = (low[:, None] < high[None]).all(axis=2) & (high[:, None] > low[None]).all(axis=2)
    upper, lower = np.nonzero(near & (height[:, None] > height[None] + BRIDGE_CLEARANCE / 2))
    middle = ground[upper].mean(axis=1, keepdims=True)
    # A little longer than it is: the land ends before the road below begins.
    reach = 1 + 2 * BRIDGE_MARGIN / STATION_STEP
    crossing = quads_overlap(middle + (ground[upper] - middle) * reach, ground[lower])
    flags = np.zeros(len(beds), dtype=np.bool_)
    flags[upper[crossing]] = True
    for path in paths:
        path.bridge, flags = flags[: len(path.floor)] & path.floor, flags[len(path.floor) :]


def skirt_widths(paths: list[DrawnPath]) -> list[Floats]:
    """Return for each path (2, K) widths of the land beyond its edges that hit no other part."""
    ground = np.concatenate([path.ribbon.centre[:, [0, 2]] for path in paths])
    height = np.concatenate([path.ribbon.centre[:, 1] for path in paths])
    lefts = np.concatenate([path.ribbon.left for path in paths])
    outer = np.concatenate([path.outer for path in paths], axis=1)
    result, begin = [], 0
    for path in paths:
        ribbon, count = path.ribbon, path.stations
        mine = slice(begin, begin + count)
        begin += count
        along = np.abs(ribbon.distance[:, None] - ribbon.distance[None])
        if ribbon.closed:
            along = np.minimum(along, ribbon.length - along)
        near = np.zeros((count, len(ground)), dtype=np.bool_)
        near[:, mine] = along < 250
        # A road well above is a bridge, whose land begins elsewhere.
        above = height[None] > height[mine, None] + BRIDGE_CLEARANCE / 2
        out = np.empty((2, count))
        step = np.diff(np.append(ribbon.distance, ribbon.length))
        for side, sign in ((0, 1.0), (1, -1.0)):
            own = path.outer[side] + WALL_DEPTH
            width = np.full(count, SKIRT_WIDTHS[-1])
            for wanted in SKIRT_WIDTHS[-2::-1]:  # from narrow to wide
                points = ground[mine] + sign * (own + wanted)[:, None] * ribbon.left
                away = points[:, None] - ground[None]
                gap = np.hypot(away[..., 0], away[..., 1])
                facing = (away * lefts[None]).sum(axis=2) >= 0
                need = np.where(facing, outer[0], outer[1]) + WALL_DEPTH
                # Nearby stations on the same side must not be cut off (inside of a bend); others
                # want their own land as well.
                need = need + np.where(near, 0.7 * wanted, min(wanted, 25.0))
                width[((gap >= need) | above).all(axis=1)] = wanted
            width[path.steep[side]] = CLIFF_WIDTH
            # The land narrows no faster than it goes on, so no end stands in the air.
            pairs = list(
                zip(path.segments.here.tolist(), path.segments.there.tolist(), strict=True)
            )
            values = width.tolist()
            for _ in range(2):
                for a, b in pairs:
                    values[b] = min(values[b], values[a] + step[a])
                for a, b in reversed(pairs):
                    values[a] = min(values[a], values[b] + step[a])
            out[side] = values
        result.append(out)
    return result
