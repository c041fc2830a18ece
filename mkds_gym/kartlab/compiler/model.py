"""Write `course_model.klm`, Kartlab's own draw file: coloured polygons as ready GX commands.

Layout, little endian: "KLM1", u32 chunk count, u32 sky colour at the top and u32 at the bottom
(15-bit), then per chunk 0x1C bytes: fx32 centre (3) and radius of its bounding sphere in world
units, u32 offset of its commands from the file's start, u32 their number of words, u32 number of
words of a plainer list right behind them (quad strips), to be sent instead when the chunk is far
away; 0 where there is none.
The commands are geometry engine commands as the DS takes them in packed form: four command
bytes to a word, lowest first, followed by their parameters in order. A chunk is complete in
itself. Vertices are VTX_16, or VTX_XY, VTX_XZ, VTX_YZ where one coordinate stays as it was (4.12,
in units of 256 world units); faces are counter-clockwise when seen from their front.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mkds_gym.kartlab.compiler.description import CourseDescription
from mkds_gym.kartlab.compiler.geometry import Ribbon, fall_height, outer_reach

Floats = NDArray[np.float64]
Colour = tuple[float, float, float]

MAGIC = b"KLM1"
HEADER_SIZE = 16
CHUNK_ENTRY_SIZE = 0x1C

MODEL_UNIT = 256.0
"""World units to one unit of the model."""

SEGMENTS_PER_CHUNK = 2

_NOP, _COLOR, _BEGIN, _END = 0x00, 0x20, 0x40, 0x41
_VTX_16, _VTX_XY, _VTX_XZ, _VTX_YZ = 0x23, 0x25, 0x26, 0x27
_TRIANGLES, _QUADS, _QUAD_STRIP = 0, 1, 3

_SUN = np.array([0.45, 0.80, 0.40]) / math.sqrt(0.45**2 + 0.80**2 + 0.40**2)

EDGE_LINE = 5.0
"""Width of the painted edge of the road, in world units."""

CENTRE_LINE = 3.0
KERB_CURVATURE = 1 / 320
"""From this curvature on the road's edge is a red and white kerb."""

WALL_DEPTH = 5.0
SKIRT_WIDTHS = (130.0, 110.0, 90.0, 70.0, 50.0, 35.0, 22.0, 12.0, 6.0)
WATER_TILE = 340.0
CLIFF_WIDTH = 8.0


@dataclass
class _Mesh:
    """Polygons of one chunk: corners and a colour for each corner."""

    polygons: list[tuple[Floats, list[Colour]]] = field(default_factory=list)
    strips: list[list[tuple[Floats, Floats, Colour, Colour]]] = field(default_factory=list)
    """What stands for the polygons from afar: strips of pairs of points with their colours."""

    def add(self, corners: list[Floats], *colours: Colour, lit: bool = True) -> None:
        """Add a polygon of three or four corners, with one colour or one for each corner."""
        points = np.array(corners)
        shade = _shade(points) if lit else 1.0
        wanted = list(colours) * (len(corners) if len(colours) == 1 else 1)
        self.polygons.append((points, [(c[0] * shade, c[1] * shade, c[2] * shade) for c in wanted]))


@dataclass(frozen=True)
class ModelStatistics:
    """How big the drawn model is."""

    chunks: int
    polygons: int
    vertices: int
    largest_chunk: int


def _shade(points: Floats) -> float:
    """Brightness of a face in the sun; level ground has 1."""
    normal = np.cross(points[1] - points[0], points[-1] - points[0])
    length = float(np.linalg.norm(normal))
    if length == 0.0:
        return 1.0
    light = max(float(normal @ _SUN) / length, 0.0)
    return 0.7 + 0.3 * light / float(_SUN[1])


def _mix(a: Colour, b: Colour, t: float) -> Colour:
    return (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t)


def _tone(colour: Colour, factor: float) -> Colour:
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)


def rgb15(colour: Colour) -> int:
    """Pack a colour of 0 to 255 as the DS has it: five bits each, red lowest."""
    red, green, blue = (min(max(round(part / 255 * 31), 0), 31) for part in colour)
    return red | green << 5 | blue << 10


class _Packer:
    """Packs GX commands four to a word."""

    def __init__(self) -> None:
        self._words: list[int] = []
        self._codes: list[int] = []
        self._parameters: list[int] = []

    def put(self, code: int, *parameters: int) -> None:
        self._codes.append(code)
        self._parameters += parameters
        if len(self._codes) == 4:
            self._flush()

    def _flush(self) -> None:
        codes = self._codes + [_NOP] * (4 - len(self._codes))
        self._words.append(codes[0] | codes[1] << 8 | codes[2] << 16 | codes[3] << 24)
        self._words += self._parameters
        self._codes, self._parameters = [], []

    def end(self) -> None:
        """End a list of vertices.

        END_VTXS has no parameter. A packed word whose last command has none needs a dummy word
        on the real machine; a COLOR behind it in the same word avoids the question.
        """
        while len(self._codes) == 3:
            self.put(_NOP)
        self.put(_END)
        self.put(_COLOR, 0x7FFF)

    def finish(self) -> list[int]:
        if self._codes:
            self._flush()
        return self._words


def _put_vertex(
    packer: _Packer, vertex: tuple[int, int, int], last: tuple[int, int, int] | None
) -> None:
    """Put a vertex in the fewest words: a coordinate equal to the last one's can be left out."""
    x, y, z = (part & 0xFFFF for part in vertex)
    if last is not None and vertex[1] == last[1]:
        packer.put(_VTX_XZ, x | z << 16)
    elif last is not None and vertex[2] == last[2]:
        packer.put(_VTX_XY, x | y << 16)
    elif last is not None and vertex[0] == last[0]:
        packer.put(_VTX_YZ, y | z << 16)
    else:
        packer.put(_VTX_16, x | y << 16, z)


def _pack_chunk(polygons: list[tuple[Floats, list[Colour]]]) -> tuple[list[int], int]:
    packer = _Packer()
    vertices = 0
    for corner_count, kind in ((4, _QUADS), (3, _TRIANGLES)):
        chosen = [entry for entry in polygons if len(entry[0]) == corner_count]
        if not chosen:
            continue
        packer.put(_BEGIN, kind)
        current = -1
        last: tuple[int, int, int] | None = None
        for points, colours in chosen:
            for point, colour in zip(points, colours, strict=True):
                value = rgb15(colour)
                if value != current:
                    packer.put(_COLOR, value)
                    current = value
                x, y, z = (round(float(part) / MODEL_UNIT * 4096) for part in point)
                if max(abs(x), abs(y), abs(z)) > 0x7FFF:
                    raise ValueError(f"vertex {point} is outside the model's range")
                _put_vertex(packer, (x, y, z), last)
                last = (x, y, z)
                vertices += 1
        packer.end()
    return packer.finish(), vertices


def _pack_strips(strips: list[list[tuple[Floats, Floats, Colour, Colour]]]) -> list[int]:
    packer = _Packer()
    for strip in strips:
        packer.put(_BEGIN, _QUAD_STRIP)
        current = -1
        last: tuple[int, int, int] | None = None
        for first, second, *colours in strip:
            for point, colour in zip((first, second), colours, strict=True):
                value = rgb15(colour)
                if value != current:
                    packer.put(_COLOR, value)
                    current = value
                x, y, z = (round(float(part) / MODEL_UNIT * 4096) for part in point)
                _put_vertex(packer, (x, y, z), last)
                last = (x, y, z)
    packer.end()
    return packer.finish()


class _Painter:
    """Draws one course into chunks."""

    def __init__(self, description: CourseDescription, ribbon: Ribbon) -> None:
        self.description = description
        self.ribbon = ribbon
        self.count = len(ribbon)
        self.colours: dict[str, Colour] = {
            name: (float(value[0]), float(value[1]), float(value[2]))
            for name, value in description.colours.items()
        }
        self.base = fall_height(description, ribbon)
        self.chunks = [_Mesh() for _ in range(math.ceil(self.count / SEGMENTS_PER_CHUNK))]
        self.reach = [outer_reach(description, ribbon, side) for side in (0, 1)]
        self.steep = [self._steep(side) for side in (0, 1)]
        self.skirt = [self._skirt_widths(side) for side in (0, 1)]

    def chunk(self, station: int) -> _Mesh:
        return self.chunks[station % self.count // SEGMENTS_PER_CHUNK]

    def point(self, station: int, t: float, here: float, there: float, rise: float = 0) -> Floats:
        """Return a point of the segment after `station`, at part `t` of the way.

        `here` and `there` are the lateral offsets at the segment's two stations.
        """
        a = self.ribbon.point(station, here, rise)
        if t == 0.0:
            return a
        b = self.ribbon.point(station + 1, there, rise)
        return np.asarray(a + (b - a) * t)

    def strip(
        self,
        station: int,
        left: tuple[float, float],
        right: tuple[float, float],
        *colours: Colour,
        part: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        """Draw floor between two lateral lines, each given by its offset here and at the next."""
        if max(left[0] - right[0], left[1] - right[1]) < 0.5:
            return
        t0, t1 = part
        self.chunk(station).add(
            [
                self.point(station, t0, *left),
                self.point(station, t0, *right),
                self.point(station, t1, *right),
                self.point(station, t1, *left),
            ],
            *colours,
        )

    # -- road ---------------------------------------------------------------------------

    def road(self, k: int) -> None:
        n = (k + 1) % self.count
        half = (float(self.ribbon.half_width[k]), float(self.ribbon.half_width[n]))
        # Two tones in turn: without them nothing on an even surface shows the speed.
        tones = (_tone(self.colours["road"], 0.93), self.colours["road"])
        line, kerb = self.colours["line"], self.colours["kerb"]
        inner = (half[0] - EDGE_LINE, half[1] - EDGE_LINE)
        mid = (CENTRE_LINE / 2, CENTRE_LINE / 2)

        def minus(pair: tuple[float, float]) -> tuple[float, float]:
            return (-pair[0], -pair[1])

        if k == 0:
            self.start_line(half)
        begin = 0.35 if k == 0 else 0.0
        for part, asphalt in (((begin, 0.5), tones[0]), ((0.5, 1.0), tones[1])):
            self.strip(k, inner, mid, asphalt, part=part)
            self.strip(k, minus(mid), minus(inner), asphalt, part=part)
        # A dash on every other half of a segment.
        self.strip(k, mid, minus(mid), tones[0], part=(begin, 0.5))
        self.strip(k, mid, minus(mid), line, part=(0.5, 1.0))
        curvature = max(
            (float(self.ribbon.curvature[i % self.count]) for i in (k - 1, k, k + 1)), key=abs
        )
        if abs(curvature) >= KERB_CURVATURE:
            for part, colour in (((0.0, 0.5), kerb), ((0.5, 1.0), line)):
                self.strip(k, half, inner, colour, part=part)
                self.strip(k, minus(inner), minus(half), colour, part=part)
        else:
            self.strip(k, half, inner, line, part=(begin, 1.0))
            self.strip(k, minus(inner), minus(half), line, part=(begin, 1.0))

    def start_line(self, half: tuple[float, float]) -> None:
        """Paint the chequered line over the first third of the first segment."""
        columns = 12
        dark, light = _tone(self.colours["road"], 0.3), self.colours["line"]
        for row, part in enumerate(((0.0, 0.175), (0.175, 0.35))):
            for column in range(columns):
                u0 = half[0] * (1 - 2 * column / columns)
                u1 = half[0] * (1 - 2 * (column + 1) / columns)
                self.strip(0, (u0, u0), (u1, u1), light if (row + column) % 2 else dark, part=part)

    # -- roadside -----------------------------------------------------------------------

    def side(self, k: int, side: int) -> None:
        """Draw one side of a segment: shoulder, what it ends in, and the land beyond."""
        n = (k + 1) % self.count
        sign = 1.0 if side == 0 else -1.0
        edge = self.ribbon.edges[k][side]
        half = (float(self.ribbon.half_width[k]), float(self.ribbon.half_width[n]))
        reach = (float(self.ribbon.reach(side)[k]), float(self.ribbon.reach(side)[n]))
        band = 1.0 if k % 2 else 0.93

        def strip(outer: tuple[float, float], inner: tuple[float, float], *c: Colour) -> None:
            if side == 0:
                self.strip(k, outer, inner, *c)
            else:
                self.strip(k, (-inner[0], -inner[1]), (-outer[0], -outer[1]), *c)

        strip(reach, half, _tone(self.colours[edge.surface], band))
        outer = reach
        if edge.end == "bounds":
            width = self.description.bounds_width
            outer = (reach[0] + width, reach[1] + width)
            strip(outer, reach, _tone(self.colours["bounds"], band))
        elif edge.end == "wall":
            self.wall(k, sign, reach)
            outer = (reach[0] + WALL_DEPTH, reach[1] + WALL_DEPTH)
        if edge.end == "drop":
            self.cliff(k, sign, outer)
        else:
            self.land(k, side, sign, outer)

    def face(
        self, k: int, sign: float, corners: list[tuple[int, float, float]], *colours: Colour
    ) -> None:
        """Add a quad of (0 here or 1 next, offset outward, rise) corners, facing the road.

        Corners are given as seen from the road on the left side: foot here, foot next, top
        next, top here; the right side is mirrored.
        """
        points = [self.ribbon.point(k + i, sign * u, rise) for i, u, rise in corners]
        wanted = list(colours) * (len(points) if len(colours) == 1 else 1)
        if sign < 0:
            points.reverse()
            wanted.reverse()
        self.chunk(k).add(points, *wanted)

    def wall(self, k: int, sign: float, reach: tuple[float, float]) -> None:
        height = self.description.wall_height
        band = height * 0.72
        a, b = reach
        back = (a + WALL_DEPTH, b + WALL_DEPTH)
        # Red on the outside of a bend: there the wall says which way the road goes.
        turn = float(self.ribbon.curvature[k])
        outside = abs(turn) > KERB_CURVATURE and turn * sign < 0
        panel = self.colours["kerb" if outside else "wall"]
        top = self.colours["wall top"]
        panel = panel if k % 2 else _mix(panel, top, 0.55)
        self.face(
            k, sign, [(0, a, 0), (1, b, 0), (1, b, band), (0, a, band)],
            _tone(panel, 0.85), _tone(panel, 0.85), _tone(panel, 1.15), _tone(panel, 1.15),
        )  # fmt: skip
        self.face(
            k, sign, [(0, a, band), (1, b, band), (1, b, height), (0, a, height)], _tone(top, 1.1)
        )
        self.face(
            k, sign,
            [(0, a, height), (1, b, height), (1, back[1], height), (0, back[0], height)],
            top,
        )  # fmt: skip
        self.face(
            k, sign,
            [(0, back[0], height), (1, back[1], height), (1, back[1], -6), (0, back[0], -6)],
            _tone(panel, 0.9),
        )  # fmt: skip

    def cliff(self, k: int, sign: float, outer: tuple[float, float]) -> None:
        rock = self.colours["rock"]
        points = []
        for i, (spread, low) in (
            (0, (0.0, False)),
            (1, (0.0, False)),
            (1, (CLIFF_WIDTH, True)),
            (0, (CLIFF_WIDTH, True)),
        ):
            point = self.ribbon.point(k + i, sign * (outer[i] + spread))
            if low:
                point[1] = self.base
            points.append(point)
        tones = [_tone(rock, 1.15)] * 2 + [_tone(rock, 0.6)] * 2
        if k % 2:
            tones = [_tone(tone, 0.92) for tone in tones]
        if sign < 0:
            points.reverse()
            tones.reverse()
        self.chunk(k).add(points, *tones, lit=False)

    def land_point(self, station: int, side: int, outer: float, part: float) -> Floats:
        """Return a point of the land beyond the edge; part 0 is at the edge, 1 the far end."""
        sign = 1.0 if side == 0 else -1.0
        width = float(self.skirt[side][station % self.count])
        edge = self.ribbon.point(station, sign * outer)
        point = self.ribbon.point(station, sign * (outer + width * part))
        end = self.base - 1.0
        if not self.steep[side][station % self.count]:
            end = max(end, float(edge[1]) - 1.1 * width)
        # A shoulder of land first, then the slope: parts up to 0.45 lose little height.
        fall = part / 0.45 * 0.12 if part <= 0.45 else 0.12 + (part - 0.45) / 0.55 * 0.88
        point[1] = float(edge[1]) + (end - float(edge[1])) * fall
        return point

    def land(self, k: int, side: int, sign: float, outer: tuple[float, float]) -> None:
        grass = _tone(self.colours["terrain"], 1.0 if k // 2 % 2 else 0.94)
        shore = _mix(grass, self.colours["off-road"], 0.55)
        for near, far, colours in (
            (0.0, 0.45, [grass] * 4),
            (0.45, 1.0, [grass, grass, shore, shore]),
        ):
            points = [
                self.land_point(k, side, outer[0], near),
                self.land_point(k + 1, side, outer[1], near),
                self.land_point(k + 1, side, outer[1], far),
                self.land_point(k, side, outer[0], far),
            ]
            tones = list(colours)
            if sign < 0:
                points.reverse()
                tones.reverse()
            self.chunk(k).add(points, *tones)

    def _steep(self, side: int) -> NDArray[np.bool_]:
        """(K,) whether the land falls off at once at a station: beside a drop."""
        drop = np.array([pair[side].end == "drop" for pair in self.ribbon.edges])
        return np.asarray(drop | np.roll(drop, 1), dtype=np.bool_)

    def _skirt_widths(self, side: int) -> Floats:
        """(K,) widths of the land beyond the edge that hit no other part of the course."""
        sign = 1.0 if side == 0 else -1.0
        ground = self.ribbon.centre[:, [0, 2]]
        out = np.empty(self.count)
        own = self.reach[side] + WALL_DEPTH
        for k in range(self.count):
            along = np.abs(self.ribbon.distance - self.ribbon.distance[k])
            along = np.minimum(along, self.ribbon.length - along)
            out[k] = SKIRT_WIDTHS[-1]
            for width in SKIRT_WIDTHS:
                point = ground[k] + sign * (own[k] + width) * self.ribbon.left[k]
                away = point - ground
                gap = np.hypot(away[:, 0], away[:, 1])
                facing = (np.einsum("ij,ij->i", away, self.ribbon.left) < 0).astype(int)
                need = np.where(facing == 0, self.reach[0], self.reach[1]) + WALL_DEPTH
                # Nearby stations on the same side must not be cut off (inside of a bend); others
                # want their own land as well.
                need = need + np.where(along < 250, 0.7 * width, min(width, 25.0))
                if (gap >= need).all():
                    out[k] = width
                    break
        out[self.steep[side]] = CLIFF_WIDTH
        # Twice round: the land narrows no faster than it goes on, so no end stands in the air.
        step = np.diff(np.append(self.ribbon.distance, self.ribbon.length))
        for k in range(2 * self.count):
            here, there = k % self.count, (k + 1) % self.count
            out[there] = min(out[there], out[here] + step[here])
        for k in range(2 * self.count, 0, -1):
            here, there = k % self.count, (k - 1) % self.count
            out[there] = min(out[there], out[here] + step[there])
        return out

    # -- scenery ------------------------------------------------------------------------

    def water(self) -> list[_Mesh]:
        limit = 2040.0
        tiles = round(2 * limit / WATER_TILE)
        size = 2 * limit / tiles
        ground = self.ribbon.centre[:, [0, 2]]

        def colour(x: float, z: float) -> Colour:
            """Return the water's colour at a place: lighter near the land."""
            gap = float(np.hypot(*(ground - np.array([x, z])).T).min())
            depth = min(max((gap - 150) / 600, 0.0), 1.0)
            return _mix(self.colours["shallows"], self.colours["water"], depth)

        meshes: dict[tuple[int, int], _Mesh] = {}
        for row in range(tiles):
            for column in range(tiles):
                x0, z0 = -limit + size * column, -limit + size * row
                x1, z1 = x0 + size, z0 + size
                corners = [(x0, z0), (x0, z1), (x1, z1), (x1, z0)]
                mesh = meshes.setdefault((row // 2, column // 2), _Mesh())
                mesh.add(
                    [np.array([x, self.base, z]) for x, z in corners],
                    *(colour(x, z) for x, z in corners),
                )
        return list(meshes.values())

    def tree(self, mesh: _Mesh, foot: Floats, size: float, tint: float) -> None:
        leaves = _tone(self.colours["tree"], tint)
        trunk = self.colours["trunk"]

        def ring(radius: float, height: float, corners: int, turn: float = 0.0) -> list[Floats]:
            return [
                foot
                + np.array(
                    [
                        radius * math.sin(math.tau * i / corners + turn),
                        height,
                        radius * math.cos(math.tau * i / corners + turn),
                    ]
                )
                for i in range(corners)
            ]

        roots, crown = ring(0.10 * size, -6.0, 3), ring(0.08 * size, 0.4 * size, 3)
        for i in range(3):
            mesh.add([roots[i], roots[i - 2], crown[i - 2], crown[i]], trunk)
        # From afar a tree is a kite that stands across the view from both axes.
        for turn in (0.0, math.pi / 2):
            side = np.array([math.cos(turn), 0.0, math.sin(turn)]) * 0.36 * size
            low, high = np.array([0.0, 0.25 * size, 0.0]), np.array([0.0, 1.1 * size, 0.0])
            mesh.strips.append(
                [
                    (foot + low - side, foot + low + side, leaves, leaves),
                    (foot + high, foot + high, leaves, leaves),
                ]
            )
        for radius, bottom, top, tone in ((0.42, 0.28, 0.78, 0.9), (0.30, 0.6, 1.15, 1.15)):
            skirt = ring(radius * size, bottom * size, 5, 0.3 * tone)
            tip = foot + np.array([0.0, top * size, 0.0])
            for i in range(5):
                mesh.add([skirt[i], skirt[(i + 1) % 5], tip], _tone(leaves, tone))

    def trees(self) -> None:
        random = np.random.default_rng(self.description.seed)
        taken: list[Floats] = []
        attempts = 0
        while len(taken) < self.description.trees and attempts < 60 * self.description.trees:
            attempts += 1
            k = int(random.integers(self.count))
            side = int(random.integers(2))
            part = float(random.uniform(0.14, 0.5))
            size = float(random.uniform(34, 62))
            tint = float(random.uniform(0.85, 1.2))
            if self.skirt[side][k] < 70 or self.ribbon.edges[k][side].end == "drop":
                continue
            if self.ribbon.edges[k - 1][side].end != self.ribbon.edges[k][side].end:
                continue
            outer = float(self.reach[side][k]) + WALL_DEPTH
            foot = self.land_point(k, side, outer, part)
            gaps = np.hypot(*(self.ribbon.centre - foot)[:, [0, 2]].T)
            reach = np.maximum(self.reach[0], self.reach[1])
            if (gaps < reach + 22).any() or any(
                float(np.hypot(*(other - foot)[[0, 2]])) < 26 for other in taken
            ):
                continue
            taken.append(foot)
            self.tree(self.chunk(k), foot, size, tint)

    def arch(self) -> None:
        """Draw the gate over the start line: two posts and a chequered beam."""
        mesh = self.chunk(0)
        left = float(self.reach[0][0]) + 1.0
        right = -float(self.reach[1][0]) - 1.0
        ahead = np.array([math.sin(self.ribbon.heading[0]), 0, math.cos(self.ribbon.heading[0])])
        white, blue = self.colours["wall top"], self.colours["wall"]
        dark = _tone(self.colours["road"], 0.35)
        low, high, thick = 64.0, 86.0, 6.0

        def at(offset: float, rise: float, along: float) -> Floats:
            return self.ribbon.point(0, offset, rise) + ahead * along

        for post, width in ((left, 8.0), (right - 8.0, 8.0)):
            for bottom, top, colour in ((-8.0, 40.0, blue), (40.0, high, white)):
                ring = [
                    (post + width, -thick),
                    (post, -thick),
                    (post, thick),
                    (post + width, thick),
                ]
                for i in range(4):
                    a, b = ring[i], ring[(i + 1) % 4]
                    mesh.add(
                        [
                            at(a[0], bottom, a[1]),
                            at(b[0], bottom, b[1]),
                            at(b[0], top, b[1]),
                            at(a[0], top, a[1]),
                        ],
                        colour,
                    )
        columns = 14
        middle = (low + high) / 2
        for column in range(columns):
            u0 = left + (right - left) * column / columns
            u1 = left + (right - left) * (column + 1) / columns
            for row, (bottom, top) in enumerate(((low, middle), (middle, high))):
                colour = white if (row + column) % 2 else dark
                front = [
                    at(u0, bottom, -thick), at(u1, bottom, -thick),
                    at(u1, top, -thick), at(u0, top, -thick),
                ]  # fmt: skip
                mesh.add(front, colour, lit=False)
        mesh.add(
            [
                at(right, low, thick),
                at(left, low, thick),
                at(left, high, thick),
                at(right, high, thick),
            ],
            blue,
        )
        mesh.add(
            [
                at(left, low, -thick),
                at(left, low, thick),
                at(right, low, thick),
                at(right, low, -thick),
            ],
            _tone(blue, 0.8),
        )

    # -- from afar ----------------------------------------------------------------------

    def far(self, first: int, last: int) -> None:
        """Draw the segments from station `first` up to `last` again, as few long strips.

        A vertex costs the machine and its emulators alike, and most of a picture's segments are
        far away: there, lines, dashes, kerbs and the tops of walls are less than a pixel.
        """
        stations = range(first, last + 1)
        half = self.ribbon.half_width
        lines = [
            [self.ribbon.point(k, sign * float(half[k % self.count])) for k in stations]
            for sign in (1.0, -1.0)
        ]
        road = _tone(self.colours["road"], 0.965)
        self.band(first, lines[0], lines[1], road, road)
        for side in (0, 1):
            self.far_side(first, last, side, lines[side])

    def band(
        self, k: int, left: list[Floats], right: list[Floats], colour: Colour, edge: Colour
    ) -> None:
        """Add a strip between two lines, each with its colour."""
        pairs = zip(left, right, strict=True)
        self.chunk(k).strips.append([(a, b, colour, edge) for a, b in pairs])

    def far_side(self, first: int, last: int, side: int, inner: list[Floats]) -> None:
        """Draw one side from afar, outwards from the road's edge `inner`.

        What an edge is may change on the way: the first segment decides on colours, and each
        station on where things are.
        """
        stations = range(first, last + 1)
        sign = 1.0 if side == 0 else -1.0
        edge = self.ribbon.edges[first][side]
        reach = [float(self.ribbon.reach(side)[k % self.count]) for k in stations]

        def line(lateral: list[float], rise: float = 0) -> list[Floats]:
            return [
                self.ribbon.point(k, sign * u, rise) for k, u in zip(stations, lateral, strict=True)
            ]

        def add(far: list[Floats], near: list[Floats], far_tone: Colour, near_tone: Colour) -> None:
            # Strips run with the left line first; on the right side that is the nearer one.
            if side == 0:
                self.band(first, far, near, far_tone, near_tone)
            else:
                self.band(first, near, far, near_tone, far_tone)

        surface = _tone(self.colours[edge.surface], 0.965)
        shoulder = line(reach)
        add(shoulder, inner, surface, surface)
        outer = reach
        if edge.end == "bounds":
            outer = [u + self.description.bounds_width for u in reach]
            bounds = _tone(self.colours["bounds"], 0.965)
            add(line(outer), shoulder, bounds, bounds)
        elif edge.end == "wall":
            turn = float(self.ribbon.curvature[first]) * sign
            panel = self.colours["kerb" if turn < -KERB_CURVATURE else "wall"]
            panel = _mix(panel, self.colours["wall top"], 0.28)
            top = line(reach, self.description.wall_height)
            add(top, shoulder, _tone(panel, 1.15), _tone(panel, 0.85))
        if edge.end == "drop":
            rock = self.colours["rock"]
            foot = line([u + CLIFF_WIDTH for u in outer])
            for point in foot:
                point[1] = self.base
            add(foot, line(outer), _tone(rock, 0.6), _tone(rock, 1.1))
            return
        grass = _tone(self.colours["terrain"], 0.97)
        shore = _mix(grass, self.colours["off-road"], 0.55)
        lands = [
            [self.land_point(k, side, u, part) for k, u in zip(stations, outer, strict=True)]
            for part in (0.45, 1.0)
        ]
        add(lands[0], line(outer), grass, grass)
        add(lands[1], lands[0], shore, grass)

    def paint(self) -> list[_Mesh]:
        for k in range(self.count):
            self.road(k)
            for side in (0, 1):
                self.side(k, side)
        for first in range(0, self.count, SEGMENTS_PER_CHUNK):
            self.far(first, min(first + SEGMENTS_PER_CHUNK, self.count))
        self.arch()
        self.trees()
        return [*self.chunks, *self.water()]


def build_klm(description: CourseDescription, ribbon: Ribbon) -> tuple[bytes, ModelStatistics]:
    """Draw a course; returns the file and numbers about it."""
    painter = _Painter(description, ribbon)
    meshes = [mesh for mesh in painter.paint() if mesh.polygons]
    table, body = bytearray(), bytearray()
    start = HEADER_SIZE + CHUNK_ENTRY_SIZE * len(meshes)
    start += -start % 4
    polygons, vertices, largest = 0, 0, 0
    for mesh in meshes:
        words, count = _pack_chunk(mesh.polygons)
        plain = _pack_strips(mesh.strips) if mesh.strips else []
        points = np.concatenate([corners for corners, _ in mesh.polygons])
        centre = (points.min(axis=0) + points.max(axis=0)) / 2
        radius = float(np.linalg.norm(points - centre, axis=1).max()) + 0.5
        table += struct.pack(
            "<4iIII",
            *(round(float(part) * 4096) for part in (*centre, radius)),
            start + len(body),
            len(words),
            len(plain),
        )
        body += struct.pack(f"<{len(words) + len(plain)}I", *words, *plain)
        polygons += len(mesh.polygons)
        vertices += count
        largest = max(largest, len(mesh.polygons))
    header = MAGIC + struct.pack(
        "<III",
        len(meshes),
        rgb15(painter.colours["sky top"]),
        rgb15(painter.colours["sky bottom"]),
    )
    data = header + bytes(table)
    data += bytes(start - len(data)) + bytes(body)
    return data, ModelStatistics(len(meshes), polygons, vertices, largest)
