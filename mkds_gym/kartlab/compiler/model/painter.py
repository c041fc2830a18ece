"""Drawing of a path: the road and its paint, shoulders, walls, cliffs and the land beyond.

Everything is drawn many segments at a time. A *band* lies between two lines of points along the
path, one point to a station. The cost of a picture is its vertices: bands change colour from
station to station, not from face to face, and become strips. Paint lies `PAINT` above the road and
is not cut out of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mkds_gym.kartlab.compiler.description import CourseDescription
from mkds_gym.kartlab.compiler.geometry import PlacedPad, Region
from mkds_gym.kartlab.compiler.model.drawn_path import (
    CLIFF_WIDTH,
    STATION_GRID,
    WALL_DEPTH,
    DrawnPath,
    Stretch,
)
from mkds_gym.kartlab.compiler.model.klm import GRID, Faces, shade
from mkds_gym.kartlab.physics import GRID_ROW, GRID_SIDE, GRID_STAGGER

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]
Colours = Mapping[str, Floats]

PAINT = GRID
"""Height of paint above the road, in world units."""

SEGMENTS_PER_CHUNK = 2
"""Segments of road in a chunk."""

SEGMENTS_PER_LAND = 4
"""Segments of land in a chunk.

A chunk is drawn when its bounding sphere touches the view. Land has separate chunks: chunks of road
and land would be so wide that many invisible ones are drawn."""

EDGE_LINE = 10.0
"""Width of the painted edge of the road, in world units."""

CENTRE_LINE = 6.0
"""Width of the dashes on the road's centre, in world units."""

KERB_CURVATURE = 1 / 800
"""Smallest curvature at which the road's edge is a red and white kerb."""

LAND_PARTS = (0.0, 0.45, 1.0)
"""Places at which the land beyond an edge bends, as fractions of its width."""

DECK = 12.0
"""Thickness of a bridge and depth of a wall's back, in world units."""

GRID_NOSE = 12.0
"""Distance of the paint before a kart's centre on the start grid, in world units."""

ARROW_PITCH = 50.0
"""Distance between arrows on a boost pad, in world units."""

BAR_PITCH = 35.0
"""Distance between bars on a jump pad, in world units."""

START_COLUMNS = 12
"""Squares of the chequered line."""


def mix(a: ArrayLike, b: ArrayLike, t: float | Floats) -> Floats:
    """Return the colour at fraction `t` between `a` and `b`."""
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return np.asarray(first + (second - first) * t)


class Painter:
    """Draws one path into its own chunks."""

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
            faces: receives the polygons.
            description: the course.
            colours: by name, 0 to 255.
            path: the path.
            floor: height of the water, in world units.
            skirt: (2, K) widths of the land beyond the edges, in world units.
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
        """Draw the path and the land beside it."""
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

    def toned(self, names: str | NDArray[np.str_], span: Stretch, far: bool = False) -> Floats:
        """Return a surface's colour (N, 2, 3) at both ends, lighter and darker in turn.

        The alternation shows the speed on an even surface; far stretches have one colour.
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
        """Draw the band between two lines of points; its front is where `left` is on the left.

        Args:
            span: the stretches.
            left: (K, 3) one point per station.
            right: (K, 3) one point per station.
            left_tone: colour along the left line: (3,), or (N, 2, 3) at both ends.
            right_tone: colour along the right line; None for the same.
            part: fractions of each stretch at which the band begins and ends.
            chunk: (S,) chunk of each segment; None for the road's.
            lit: shade by the sun.
            far: draw into the far list.
            cut: name of the region left out at joints, an attribute of `Cut`; or "paint", which
                leaves out any road.
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
        # Skip faces without a width.
        wide = np.linalg.norm(lines[0][0] - lines[1][0], axis=1) >= STATION_GRID
        wide |= np.linalg.norm(lines[0][1] - lines[1][1], axis=1) >= STATION_GRID
        chunks = (self.chunk if chunk is None else chunk)[span.of]
        if cut:
            for index in np.flatnonzero(wide & self.path.joint[span.of]):
                self._cut(chunks[index], corners[index], tones[index], span.of[index], cut, far)
            wide &= ~self.path.joint[span.of]
        self.faces.add(chunks[wide], corners[wide], tones[wide], lit=False, far=far)

    def _region(self, segment: int, cut: str) -> Region:
        own = self.path.cuts[segment]
        assert own is not None, "only segments of a joint have a cut"
        if cut == "paint":
            return own.road if len(own.road) else own.shoulder
        region: Region = getattr(own, cut)
        return region

    def _cut(
        self, chunk: int, corners: Floats, tones: Floats, segment: int, cut: str, far: bool
    ) -> None:
        """Draw the part of a quad that another path does not cover."""
        for piece in self._region(segment, cut).subtract(np.concatenate([corners, tones], axis=1)):
            # A fan of quads; the last may be a triangle.
            for first in range(1, len(piece) - 1, 2):
                part = piece[[0, first, first + 1, min(first + 2, len(piece) - 1)]][None]
                self.faces.add(chunk, part[..., :3], part[..., 3:], lit=False, far=far)

    def _smooth(self, span: Stretch, light: Floats) -> Floats:
        """Return brightness (N, 2) at both ends: the mean of the stretches that meet there.

        Equal colours at the seam let the strip continue.
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
        **options: Any,
    ) -> None:
        """Draw a band on one side of the road, given its outer and inner line."""
        sides = [(outer, outer_tone), (inner, outer_tone if inner_tone is None else inner_tone)]
        (left, left_tone), (right, right_tone) = sides if side == 0 else sides[::-1]
        self.band(span, left, right, left_tone, right_tone, **options)

    def _far(self) -> Stretch:
        """Return the far stretches: two segments as one where both are straight."""
        path, segments = self.path, self.path.segments
        first = np.arange(0, len(segments.of) - 1, SEGMENTS_PER_CHUNK)
        second = first + 1
        properties = (*path.ends, *path.surfaces, path.road, path.floor, path.bridge)
        alike = np.all([values[first] == values[second] for values in properties], axis=0)
        alike &= ~path.joint[first] & ~path.joint[second]
        for offset in (0.0, *path.reach, *-path.reach):
            line = path.line(offset)
            a, m, b = line[segments.here[first]], line[second], line[segments.there[second]]
            alike &= np.abs((a + b) / 2 - m).max(axis=1) < 2.5
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
        # At a joint, one floor lies below the paint of both paths.
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
        """Paint the places of the start grid."""
        path, description = self.path, self.description
        length, width, line = 14.0, 24.0, 3.0
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
        return int(self.chunk[self.path.ribbon.at(distance).station])

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
        length = float(ribbon.borders[pad.last]) - start
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
                    ends = [pad.left - 5, middle, pad.right + 5]
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
        """Draw one side: shoulder, edge and the land beyond."""
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
                # The back is visible from other parts of the course.
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
        # From below, left and right are exchanged.
        self.band(span, brink[1], brink[0], rock * 0.55, lit=False, far=far)

    # -- land ---------------------------------------------------------------------------

    def land_line(self, side: int, outer: Floats, part: float) -> Floats:
        """Return points (K, 3) of the land; `part` is 0 at the edge and 1 at the far end."""
        path = self.path
        sign = 1.0 if side == 0 else -1.0
        points = path.line(sign * (outer + self.skirt[side] * part))
        height = self.land_height(side, np.arange(path.stations), outer, part)
        points[:, 1] = np.rint(height / STATION_GRID) * STATION_GRID
        return points

    def land_height(
        self, side: int, station: ArrayLike, outer: Floats | float, part: float
    ) -> Floats:
        """Return the height of the land at stations, at a fraction of its width."""
        path, k = self.path, np.asarray(station)
        sign = 1.0 if side == 0 else -1.0
        edge = path.ribbon.centre[k, 1] + sign * outer * path.ribbon.slope[k]
        end = np.maximum(self.floor - 1.0, edge - 1.1 * self.skirt[side][k])
        end = np.where(path.steep[side][k], self.floor - 1.0, end)
        # A level shoulder of land up to 0.45, then the slope.
        fall = part / 0.45 * 0.12 if part <= 0.45 else 0.12 + (part - 0.45) / 0.55 * 0.88
        return np.asarray(edge + (end - edge) * fall)

    def land(self, span: Stretch, side: int, outer: Floats, far: bool) -> None:
        """Draw the land beyond an edge at the offset `outer` (K,)."""
        grass = self.toned("terrain", span, True)
        shore = mix(grass, self.colours["shore"], 0.55)
        lines = [self.land_line(side, outer, part) for part in LAND_PARTS]
        chunk = self.land_chunk[side]
        for outward, inward, tones in ((1, 0, (grass, grass)), (2, 1, (shore, grass))):
            self._outward(
                side, span, lines[outward], lines[inward], *tones, chunk=chunk, far=far, cut="outer"
            )

    def caps(self) -> None:
        """Close the ends of the land at gaps and bridges."""
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
        """Return the cross-section of a segment's land at a station, from the edge outwards."""
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
