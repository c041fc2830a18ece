"""Course descriptions: the parts of a course, and the limits of their values.

A course is a closed loop of points in the ground plane. The road runs straight from point to
point; a point with a ``radius`` is a bend whose arc touches both straights. The first point is
the start line. ``[edges]`` names kinds of roadside; an edge, or a surface of the road, holds from
the point that names it to the next point that names another.

======================  =====================================================================
``title, name, id``     the course's title; its folder name and number in the game's list
``laps``                1 to 5 (3)
``[road]``              ``width`` (300), ``surface`` (road, slippery road or packed snow),
                        ``blend`` (350, length over which an edge's width changes),
                        ``wall_height`` (58), ``fall_depth`` (150, below the lowest road),
                        ``bounds_width`` (112), ``left`` and ``right`` (first edges)
``[edges.NAME]``        ``surface`` (road, or any other surface, weak off-road, off-road, heavy
                        off-road), ``width`` of the shoulder, ``end``: wall, drop or bounds (an
                        out-of-bounds strip)
``[[point]]``           ``at`` = [x, z], ``radius`` of the bend, ``height``, ``width``,
                        ``bank`` (degrees, inside lower), ``left`` and ``right``: edges from
                        here on, ``surface`` of the road from here on
``[[branch]]``          a second path: ``from`` and ``to``, points of the main path, with
                        ``from_offset`` and ``to_offset`` (0), ``width`` (the road's), ``left``,
                        ``right``, ``surface`` (the road's); ``[[branch.point]]`` as above
``[[pad]]``             ``kind`` = boost or jump, ``point``, ``offset`` (0, units beyond the
                        point), ``side`` (0, units to the left), ``width`` (100), ``length`` (100)
``[[gap]]``             road without a floor: ``point``, ``offset`` (0), ``length``
``[[items]]``           a row of item boxes across the road: ``point``, ``offset`` (0),
                        ``count`` (4)
``[checkpoints]``       ``spacing`` (300), ``keys`` besides the start line (4),
                        ``respawn_every`` (3, checkpoints per respawn point)
``[grid]``              pole position: ``back`` of the line (125), ``side`` to the left (0)
``[scenery]``           ``theme`` (meadow, or another of `THEMES`), ``trees`` (60), ``seed`` (1)
``[colours]``           red, green, blue of 0 to 255 for any name in `COLOURS`
======================  =====================================================================

Lengths are in world units. A missing height or width follows from the neighbouring points. The
place of a point in a bend is the middle of its arc. A pad, a gap or a row of items lies on the main
path unless its ``branch`` gives the number of a branch. The main path must be level where a branch
leaves or joins. Where two roads cross, one must pass `BRIDGE_CLEARANCE` above the other.

`parser` and `geometry` check everything before a file is written. Each error names the file, the
entry and the value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mkds_gym.errors import MKDSError
from mkds_gym.kartlab.compiler.themes import COLOURS
from mkds_gym.race.names import Surface

ROAD_SURFACES: dict[str, int] = {
    "road": Surface.ROAD,
    "slippery road": Surface.SLIPPERY_ROAD,
    "packed snow": Surface.SLIPPERY_ROAD_2,
}
"""KCL collision types of the surfaces that a road may have, by name."""

SURFACES: dict[str, int] = {
    **ROAD_SURFACES,
    "weak off-road": Surface.WEAK_OFFROAD,
    "off-road": Surface.OFFROAD,
    "heavy off-road": Surface.HEAVY_OFFROAD,
}
"""KCL collision types of the surfaces that a shoulder may have, by name."""

ENDS: tuple[str, ...] = ("wall", "drop", "bounds")
"""Ends of an edge: a wall, a free drop, or an out-of-bounds strip."""

PADS: dict[str, int] = {"boost": Surface.BOOST_PAD, "jump": Surface.JUMP_PAD}
"""KCL collision types of the kinds of pads, by name."""

SIZE_LIMIT = 128 * 1024
"""Largest description, in bytes of TOML."""

POINT_LIMIT = 200
"""Largest number of points of a path."""

BRANCH_LIMIT = 4
"""Most branches."""

ENTRY_LIMIT = 40
"""Largest number of pads, of gaps and of rows of items."""

BRIDGE_CLEARANCE = 100.0
"""Height between two roads that cross, in world units: room for a kart and its camera."""

COORDINATE_LIMIT = 4750.0
"""Largest |x| and |z| of the road, in world units.

A coarse vertex of the model is a signed 4.12 number in units of 1,024: it ends at 8,192. The rest
is for scenery."""

HEIGHT_LIMIT = 1000.0
"""Largest |height| of the road, in world units."""

MINIMUM_WIDTH = 100.0
"""Narrowest road, in world units: a kart's sphere is 16 wide and must be able to turn."""

MAXIMUM_WIDTH = 750.0
MINIMUM_PAD = 40.0
MAXIMUM_OFFSET = 10000.0
MAXIMUM_EDGE = 500.0
MAXIMUM_BANK = 30.0
MAXIMUM_LAPS = 5
"""A driver status has room for five lap times."""


class CourseDescriptionError(MKDSError, ValueError):
    """A course description is wrong; the message names the file, the entry and the value."""


@dataclass(frozen=True)
class Edge:
    """A kind of roadside: surface, width and end of a shoulder."""

    name: str
    surface: str
    width: float
    end: str

    @property
    def collision_type(self) -> int:
        """KCL type of the shoulder."""
        return SURFACES[self.surface]


@dataclass(frozen=True)
class Point:
    """A corner of the centre line; None where the description has no value.

    Attributes:
        at: x and z in world units.
        radius: of the bend, in world units; 0 on a straight.
        height, width: of the road, in world units.
        bank: degrees the road leans into this bend (inside lower).
        left, right: names of the edges from here on.
        label: the point's name in errors, such as ``point 3``.
        surface: name of the road's surface from here on.
    """

    at: tuple[float, float]
    radius: float
    height: float | None
    width: float | None
    bank: float
    left: str | None
    right: str | None
    label: str
    surface: str | None = None


@dataclass(frozen=True)
class Place:
    """A place along a path: `offset` units beyond its point number `point`.

    Attributes:
        path: 0 for the main path, n + 1 for branch n.
        label: the entry's name in errors, such as ``pad 0``.
    """

    path: int
    point: int
    offset: float
    label: str


@dataclass(frozen=True)
class Pad:
    """A boost or jump pad, from `place` on, `side` units left of the centre."""

    kind: str
    place: Place
    side: float
    width: float
    length: float


@dataclass(frozen=True)
class Gap:
    """A road without a floor, from `place` on."""

    place: Place
    length: float


@dataclass(frozen=True)
class ItemRow:
    """A row of `count` item boxes across the road."""

    place: Place
    count: int


@dataclass(frozen=True)
class Branch:
    """A second path, from one place of the main path to a later place.

    Attributes:
        start, end: places on the main path.
        width: of the road where no point gives one, in world units.
        surface: of the road where no point gives one.
        points: corners of its centre line between the two places; the first has both edges.
        label: the branch's name in errors, such as ``branch 0``.
    """

    start: Place
    end: Place
    width: float
    surface: str
    points: tuple[Point, ...]
    label: str


@dataclass(frozen=True)
class CourseDescription:
    """A described course; lengths in world units, angles in degrees."""

    source: str
    title: str
    name: str
    course_id: int
    laps: int
    width: float
    blend: float
    wall_height: float
    fall_depth: float
    bounds_width: float
    points: tuple[Point, ...]
    edges: Mapping[str, Edge]
    checkpoint_spacing: float
    keys: int
    respawn_every: int
    grid_back: float
    grid_side: float
    trees: int
    seed: int
    colours: Mapping[str, tuple[int, int, int]] = field(default_factory=lambda: dict(COLOURS))
    surface: str = "road"
    theme: str = "meadow"
    branches: tuple[Branch, ...] = ()
    pads: tuple[Pad, ...] = ()
    gaps: tuple[Gap, ...] = ()
    items: tuple[ItemRow, ...] = ()

    def error(self, where: str, message: str) -> CourseDescriptionError:
        """Return an error about one entry of this description."""
        return CourseDescriptionError(f"{self.source}: {where}: {message}")
