"""Write `course_model.klm`, Kartlab's own draw file: coloured polygons as ready GX commands.

Layout, little endian: "KLM2", u32 chunk count, u32 number of fine chunks, which come first, u32
sky colour at the top and u32 at the bottom (15-bit), then per chunk 0x1C bytes: fx32 centre (3)
and radius of its bounding sphere in world units, u32 offset of its commands from the file's start,
u32 their number of words, u32 number of words of a plainer list right behind them, to be sent
instead when the chunk is far away; 0 where there is none.
The commands are geometry engine commands as the DS takes them in packed form: four command
bytes to a word, lowest first, followed by their parameters in order. A chunk is complete in
itself. Faces are counter-clockwise when seen from their front.
What a picture costs an emulator is the words sent, and half of them were coordinates. So fine
chunks have one word to a vertex, VTX_10 (4.6, in units of 16 world units: a grid of a quarter),
around an origin that is set first: MTX_RESTORE of the matrix that the program has put into place
30 of the matrix stack, then MTX_TRANS in the same units. A list may have more than one origin.
Coarse chunks, the water, have polygons too large for that and VTX_16 or VTX_XZ (4.12, in units
of 256 world units) without an origin.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mkds_gym.kartlab.compiler.description import CourseDescription
from mkds_gym.kartlab.compiler.geometry import Layout, fall_height, outer_reach

Floats = NDArray[np.float64]
Colour = tuple[float, float, float]

MAGIC = b"KLM2"
HEADER_SIZE = 20
CHUNK_ENTRY_SIZE = 0x1C

MODEL_UNIT = 256.0
"""World units to one unit of the coarse chunks."""

GRID = 0.25
"""World units to a step of a fine chunk's vertices: VTX_10's 1/64 at 16 world units to 1."""

STATION_GRID = 2 * GRID
"""Places at stations are on this grid, so that the point halfway between two is on the other.

Where one face has a corner in the middle of another's side, no gap opens between them."""

_GRAIN_STEPS = (512, 1024, 512)
"""Steps of the grid an origin should be a multiple of: the surface's grain, which the machine
lays by the vertex, repeats after 128 world units on the level and 256 upwards."""

_ORIGIN_STEPS = (128, 128, 128)
"""And what it has to do with if a polygon is too large: the grain is cut at its sides."""

MATRIX_SLOT = 30
"""Place in the machine's matrix stack where the course's matrix is."""

SEGMENTS_PER_CHUNK = 2
SEGMENTS_PER_LAND = 4
"""Of the land beyond one edge and its trees. It is apart from the road, as a chunk is drawn as
soon as its sphere touches the view: with the land the road's were so wide that those beside and
behind the camera were drawn, all in vain."""

_NOP, _COLOR, _BEGIN = 0x00, 0x20, 0x40
_MTX_RESTORE, _MTX_TRANS = 0x14, 0x1C
_VTX_16, _VTX_10, _VTX_XZ = 0x23, 0x24, 0x26
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

    def plain(self) -> list[tuple[Floats, list[Colour]]]:
        """Return the strips as polygons."""
        return [
            (np.array([a, b, d, c]), [a_tone, b_tone, d_tone, c_tone])
            for strip in self.strips
            for (a, b, a_tone, b_tone), (c, d, c_tone, d_tone) in itertools.pairwise(strip)
        ]


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


def _snapped(point: Floats) -> Floats:
    return np.asarray(np.round(point / STATION_GRID) * STATION_GRID)


def rgb15(colour: Colour) -> int:
    """Pack a colour of 0 to 255 as the DS has it: five bits each, red lowest."""
    red, green, blue = (min(max(round(part / 255 * 31), 0), 31) for part in colour)
    return red | green << 5 | blue << 10


class _Packer:
    """Packs GX commands four to a word.

    All of them have parameters: a packed word whose last command has none needs a dummy word on
    the real machine. END_VTXS is not among them, as the machine does without.
    """

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

    def finish(self) -> list[int]:
        if self._codes:
            self._flush()
        return self._words


_Vertex = tuple[int, int, int, int]
"""A corner as it is sent: its place on the grid and its colour."""


@dataclass(frozen=True)
class _Group:
    """Polygons that are sent with one origin; all coordinates in steps of the grid."""

    origin: tuple[int, int, int]
    triangles: list[tuple[_Vertex, ...]] = field(default_factory=list)
    quads: list[tuple[_Vertex, ...]] = field(default_factory=list)


def _corners(points: Floats, colours: list[Colour], grid: float) -> tuple[_Vertex, ...]:
    """Snap a polygon to the grid; corners that fall together become one."""
    out: list[_Vertex] = []
    for point, colour in zip(points, colours, strict=True):
        x, y, z = (round(float(part) / grid) for part in point)
        if not out or out[-1][:3] != (x, y, z):
            out.append((x, y, z, rgb15(colour)))
    if len(out) > 1 and out[0][:3] == out[-1][:3]:
        out.pop()
    return tuple(out)


def _fitting(corners: tuple[_Vertex, ...], steps: tuple[int, int, int]) -> list[list[int]]:
    """Return for each axis the origins, multiples of its step, that reach all corners."""
    out = []
    for axis, step in enumerate(steps):
        values = [corner[axis] for corner in corners]
        low, high = max(values) - 511, min(values) + 512
        out.append(list(range(low + -low % step, high + 1, step)))
    return out


def _split(points: Floats, colours: list[Colour]) -> list[tuple[Floats, list[Colour]]]:
    """Cut a polygon that no origin reaches in halves, across its longer sides."""
    if all(_fitting(_corners(points, colours, GRID), _ORIGIN_STEPS)):
        return [(points, colours)]
    n = len(points)
    lengths = np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1)
    first = int(np.argmax(lengths if n == 3 else lengths[:2] + lengths[2:]))

    def middle(i: int) -> tuple[Floats, Colour]:
        return (points[i] + points[(i + 1) % n]) / 2, _mix(colours[i], colours[(i + 1) % n], 0.5)

    # From corner `first` on: the middle of the first side and of the one opposite.
    turned = [(points[(first + i) % n], colours[(first + i) % n]) for i in range(n)]
    one = middle(first)
    other = turned[2] if n == 3 else middle((first + 2) % n)
    halves = (
        [[turned[0], one, other], [one, turned[1], other]]
        if n == 3
        else [[turned[0], one, other, turned[3]], [one, turned[1], turned[2], other]]
    )
    return [
        piece
        for half in halves
        for piece in _split(np.array([p for p, _ in half]), [c for _, c in half])
    ]


def _groups(polygons: list[tuple[Floats, list[Colour]]]) -> list[_Group]:
    """Share polygons out among few origins: the one that reaches most comes first."""
    waiting: list[tuple[tuple[_Vertex, ...], set[tuple[int, int, int]]]] = []
    for points, colours in polygons:
        for piece in _split(points, colours):
            corners = _corners(*piece, GRID)
            if len(corners) >= 3:
                axes = _fitting(corners, _GRAIN_STEPS)
                if not all(axes):
                    axes = _fitting(corners, _ORIGIN_STEPS)
                waiting.append((corners, set(itertools.product(axes[0], axes[1], axes[2]))))
    out = []
    while waiting:
        votes = Counter(origin for _, origins in waiting for origin in origins)
        best = max(sorted(votes), key=lambda origin: votes[origin])
        group = _Group(best)
        for corners, origins in waiting:
            if best in origins:
                (group.quads if len(corners) == 4 else group.triangles).append(corners)
        waiting = [entry for entry in waiting if best not in entry[1]]
        out.append(group)
    return out


def _strips(quads: list[tuple[_Vertex, ...]]) -> list[list[tuple[_Vertex, ...]]]:
    """Chain quads that share an edge, colours included.

    Each chain's quads are turned so that the edge from corner 3 to corner 2 of one is that from
    corner 0 to corner 1 of the next.
    """
    starts: dict[tuple[_Vertex, _Vertex], list[tuple[int, int]]] = {}
    for index, quad in enumerate(quads):
        for turn in range(4):
            starts.setdefault((quad[turn], quad[(turn + 1) % 4]), []).append((index, turn))
    used: set[int] = set()

    def grow(index: int, turn: int) -> list[tuple[int, int]]:
        chain, taken = [(index, turn)], {index}
        while True:
            quad = quads[chain[-1][0]]
            turn = chain[-1][1]
            edge = (quad[(turn + 3) % 4], quad[(turn + 2) % 4])
            follow = next((e for e in starts.get(edge, []) if e[0] not in used | taken), None)
            if follow is None:
                return chain
            chain.append(follow)
            taken.add(follow[0])

    out = []
    for index in range(len(quads)):
        if index in used:
            continue
        # Back to the chain's other end first, then all the way along it.
        chains = []
        for turn in range(4):
            last, turned = grow(index, turn)[-1]
            chains.append(grow(last, (turned + 2) % 4))
        best = max(chains, key=len)
        used |= {i for i, _ in best}
        out.append([quads[i][turn:] + quads[i][:turn] for i, turn in best])
    return out


def _pack(polygons: list[tuple[Floats, list[Colour]]]) -> tuple[list[int], int, int]:
    """Pack polygons near each other; returns words, numbers of polygons and of vertices."""
    packer = _Packer()
    count, vertices, current = 0, 0, -1

    def put(group: _Group, corner: _Vertex) -> None:
        nonlocal current, vertices
        if corner[3] != current:
            current = corner[3]
            packer.put(_COLOR, current)
        x, y, z = (corner[axis] - group.origin[axis] & 0x3FF for axis in range(3))
        packer.put(_VTX_10, x | y << 10 | z << 20)
        vertices += 1

    for group in _groups(polygons):
        count += len(group.triangles) + len(group.quads)
        packer.put(_MTX_RESTORE, MATRIX_SLOT)
        if any(group.origin):
            packer.put(_MTX_TRANS, *(part * 64 & 0xFFFFFFFF for part in group.origin))
        strips = _strips(group.quads)
        single = [strip[0] for strip in strips if len(strip) == 1]
        for kind, plain in ((_QUADS, single), (_TRIANGLES, group.triangles)):
            if plain:
                packer.put(_BEGIN, kind)
            # Those of a colour together.
            for corners in sorted(plain, key=lambda corners: [corner[3] for corner in corners]):
                for corner in corners:
                    put(group, corner)
        for strip in strips:
            if len(strip) > 1:
                packer.put(_BEGIN, _QUAD_STRIP)
                put(group, strip[0][0])
                put(group, strip[0][1])
                for quad in strip:
                    put(group, quad[3])
                    put(group, quad[2])
    return packer.finish(), count, vertices


def _pack_coarse(polygons: list[tuple[Floats, list[Colour]]]) -> tuple[list[int], int, int]:
    """Pack quads that are too large for `_pack`, anywhere on the course; as `_pack` otherwise."""
    packer = _Packer()
    vertices, current, last = 0, -1, (0, 0, 0)
    quads = [_corners(*polygon, MODEL_UNIT / 4096) for polygon in polygons]
    for strip in _strips(quads):
        packer.put(_BEGIN, _QUAD_STRIP)
        pairs = [strip[0][:2]] + [(quad[3], quad[2]) for quad in strip]
        for x, y, z, colour in itertools.chain.from_iterable(pairs):
            if max(abs(x), abs(y), abs(z)) > 0x7FFF:
                raise ValueError(f"vertex {(x, y, z)} is outside the model's range")
            if colour != current:
                packer.put(_COLOR, colour)
                current = colour
            if vertices and y == last[1]:
                packer.put(_VTX_XZ, x & 0xFFFF | (z & 0xFFFF) << 16)
            else:
                packer.put(_VTX_16, x & 0xFFFF | (y & 0xFFFF) << 16, z & 0xFFFF)
            last = (x, y, z)
            vertices += 1
    return packer.finish(), len(polygons), vertices


class _Painter:
    """Draws one course into chunks."""

    def __init__(self, description: CourseDescription, layout: Layout) -> None:
        self.description = description
        self.ribbon = ribbon = layout.main
        self.count = len(ribbon)
        self.colours: dict[str, Colour] = {
            name: (float(value[0]), float(value[1]), float(value[2]))
            for name, value in description.colours.items()
        }
        self.base = fall_height(description, layout)
        self.floor = round(self.base / STATION_GRID) * STATION_GRID
        self.chunks = [_Mesh() for _ in range(math.ceil(self.count / SEGMENTS_PER_CHUNK))]
        self.lands = [
            [_Mesh() for _ in range(math.ceil(self.count / SEGMENTS_PER_LAND))] for _ in range(2)
        ]
        self.reach = [outer_reach(description, ribbon, side) for side in (0, 1)]
        self.steep = [self._steep(side) for side in (0, 1)]
        self.skirt = [self._skirt_widths(side) for side in (0, 1)]

    def chunk(self, station: int) -> _Mesh:
        return self.chunks[station % self.count // SEGMENTS_PER_CHUNK]

    def land_chunk(self, station: int, side: int) -> _Mesh:
        return self.lands[side][station % self.count // SEGMENTS_PER_LAND]

    def place(self, station: int, offset: float, rise: float = 0) -> Floats:
        """Return the ribbon's point on the grid."""
        return _snapped(self.ribbon.point(station, offset, rise))

    def point(self, station: int, t: float, here: float, there: float, rise: float = 0) -> Floats:
        """Return a point of the segment after `station`, at part `t` of the way.

        `here` and `there` are the lateral offsets at the segment's two stations.
        """
        a = self.place(station, here, rise)
        if t == 0.0:
            return a
        b = self.place(station + 1, there, rise)
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
            for part in ((begin, 0.5), (0.5, 1.0)):
                self.strip(k, half, inner, line, part=part)
                self.strip(k, minus(inner), minus(half), line, part=part)

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
        points = [self.place(k + i, sign * u, rise) for i, u, rise in corners]
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
            point = self.place(k + i, sign * (outer[i] + spread))
            if low:
                point[1] = self.floor
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
        return _snapped(point)

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
            self.land_chunk(k, side).add(points, *tones)

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
        # From afar a tree is a pyramid: strips that end in a point.
        tip = foot + np.array([0.0, 1.15 * size, 0.0])
        base = ring(0.46 * size, 0.26 * size, 3)
        for i, tone in enumerate((0.9, 1.05, 1.0)):
            shade = _tone(leaves, tone)
            mesh.strips.append([(base[i], base[i - 2], shade, shade), (tip, tip, shade, shade)])
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
            self.tree(self.land_chunk(k, side), foot, size, tint)

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
            [self.place(k, sign * float(half[k % self.count])) for k in stations]
            for sign in (1.0, -1.0)
        ]
        road = _tone(self.colours["road"], 0.965)
        self.band(self.chunk(first), lines[0], lines[1], road, road)
        for side in (0, 1):
            self.far_side(first, last, side, lines[side])

    @staticmethod
    def band(
        mesh: _Mesh, left: list[Floats], right: list[Floats], colour: Colour, edge: Colour
    ) -> None:
        """Add a strip between two lines, each with its colour."""
        pairs = zip(left, right, strict=True)
        mesh.strips.append([(a, b, colour, edge) for a, b in pairs])

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
            return [self.place(k, sign * u, rise) for k, u in zip(stations, lateral, strict=True)]

        mesh = self.chunk(first)

        def add(far: list[Floats], near: list[Floats], far_tone: Colour, near_tone: Colour) -> None:
            # Strips run with the left line first; on the right side that is the nearer one.
            if side == 0:
                self.band(mesh, far, near, far_tone, near_tone)
            else:
                self.band(mesh, near, far, near_tone, far_tone)

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
            # Its back is what one sees of it from other parts of the course.
            outer = [u + WALL_DEPTH for u in reach]
            back = _tone(panel, 0.65)
            add(line(outer, -6), top, back, back)
        if edge.end == "drop":
            rock = self.colours["rock"]
            foot = line([u + CLIFF_WIDTH for u in outer])
            for point in foot:
                point[1] = self.floor
            add(foot, line(outer), _tone(rock, 0.6), _tone(rock, 1.1))
            return
        grass = _tone(self.colours["terrain"], 0.97)
        shore = _mix(grass, self.colours["off-road"], 0.55)
        lands = [
            [self.land_point(k, side, u, part) for k, u in zip(stations, outer, strict=True)]
            for part in (0.45, 1.0)
        ]
        mesh = self.land_chunk(first, side)
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
        return [*self.chunks, *self.lands[0], *self.lands[1]]


def build_klm(description: CourseDescription, layout: Layout) -> tuple[bytes, ModelStatistics]:
    """Draw a course; returns the file and numbers about it."""
    painter = _Painter(description, layout)
    fine = [mesh for mesh in painter.paint() if mesh.polygons]
    meshes = fine + painter.water()
    table, body = bytearray(), bytearray()
    start = HEADER_SIZE + CHUNK_ENTRY_SIZE * len(meshes)
    polygons, vertices, largest = 0, 0, 0
    for index, mesh in enumerate(meshes):
        words, count, corners = (_pack if index < len(fine) else _pack_coarse)(mesh.polygons)
        plain = _pack(mesh.plain())[0] if mesh.strips else []
        points = np.concatenate([corners for corners, _ in mesh.polygons + mesh.plain()])
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
        polygons += count
        vertices += corners
        largest = max(largest, count)
    header = MAGIC + struct.pack(
        "<IIII",
        len(meshes),
        len(fine),
        rgb15(painter.colours["sky top"]),
        rgb15(painter.colours["sky bottom"]),
    )
    data = header + bytes(table)
    data += bytes(start - len(data)) + bytes(body)
    return data, ModelStatistics(len(meshes), polygons, vertices, largest)
