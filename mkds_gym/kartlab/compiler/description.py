"""Read and check a course description (TOML), the short text a course is made from.

A course is a closed loop of points in the ground plane. The road runs straight from point to
point; a point with a ``radius`` is a bend whose arc touches both straights. The first point is
the start line. What stands at the road's sides is named once under ``[edges]`` and holds from
the point that names it until another point names another; so does the road's surface.

======================  =====================================================================
``title, name, id``     the course's own title; its folder name and number in the game's list
``laps``                1 to 5 (3)
``[road]``              ``width`` (120), ``surface`` (road; or slippery road, packed snow),
                        ``blend`` (140: length over which an edge's width
                        changes), ``wall_height`` (36), ``fall_depth`` (60, below the lowest
                        road), ``bounds_width`` (45), ``left`` and ``right`` (first edges)
``[edges.NAME]``        ``surface`` (road; or any other, weak off-road, off-road, heavy off-road),
                        ``width`` of the shoulder, ``end``: wall, drop or bounds (an
                        out-of-bounds strip)
``[[point]]``           ``at`` = [x, z], ``radius`` of the bend here, ``height``, ``width``,
                        ``bank`` (degrees, inside lower), ``left`` and ``right``: edges from
                        here, ``surface`` of the road from here
``[[branch]]``          a second path: ``from`` and ``to``, points of the main path, with
                        ``from_offset`` and ``to_offset`` (0), ``width`` (the road's), ``left``,
                        ``right``, ``surface`` (the road's); and its own ``[[branch.point]]``
``[[pad]]``             ``kind`` = boost or jump, ``point``, ``offset`` (0: units beyond that
                        point), ``side`` (0: units to the left), ``width`` (40), ``length`` (40)
``[[gap]]``             road without a floor: ``point``, ``offset`` (0), ``length``
``[[items]]``           a row of item boxes across the road: ``point``, ``offset`` (0),
                        ``count`` (4)
``[checkpoints]``       ``spacing`` (120), ``keys`` besides the start line (4),
                        ``respawn_every`` so many checkpoints (3)
``[grid]``              pole position: ``back`` of the line (50), ``side`` to the left (0)
``[scenery]``           ``theme`` (meadow; see `THEMES`), ``trees`` (60), ``seed`` (1)
``[colours]``           red, green, blue of 0 to 255 for any name in `COLOURS`
======================  =====================================================================

Lengths are in world units. A height or width that is left out follows from the points around it.
The place of a point in a bend is the middle of its arc. A pad, a gap or a row of items lies on the
main path unless its ``branch`` names one by its number. A branch turns off and joins again at the
height of the main path, which has to be level there, and wherever the road crosses itself
one path has to pass `BRIDGE_CLEARANCE` above the other.
Everything is checked here or in `geometry` before a byte is written, and every error says
which entry of which file is wrong, and what was met there.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from mkds_gym.errors import MKDSError, reason
from mkds_gym.kartlab.compiler.themes import COLOURS, THEMES
from mkds_gym.race.memory_layout import COURSES
from mkds_gym.utils.arguments import choice, integer, number, shown

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - the standard library has it from 3.11 on
    import tomli as tomllib

T = TypeVar("T")

ROAD_SURFACES: dict[str, int] = {"road": 0, "slippery road": 1, "packed snow": 6}
"""Surfaces the road itself may have, by name, with their KCL collision type."""

SURFACES: dict[str, int] = {
    **ROAD_SURFACES,
    "weak off-road": 2,
    "off-road": 3,
    "heavy off-road": 5,
}
"""Surfaces a shoulder may have, by name, with their KCL collision type."""

ENDS: tuple[str, ...] = ("wall", "drop", "bounds")
"""What an edge ends in: a wall, a free drop, or a strip that is out of bounds."""

PADS: dict[str, int] = {"boost": 7, "jump": 12}
"""Kinds of pads on the road, by name, with their KCL collision type."""

SIZE_LIMIT = 128 * 1024
"""Largest description, in bytes of TOML: far more than the points it may have take."""

POINT_LIMIT = 200
"""Most points of one path."""

BRANCH_LIMIT = 4
ENTRY_LIMIT = 40
"""Most pads, most gaps and most rows of items."""

BRIDGE_CLEARANCE = 40.0
"""Height between two roads that cross, in world units: a kart and the camera behind it."""

COORDINATE_LIMIT = 1900.0
"""Largest |x| or |z| of anything on a course, in world units: a vertex of the drawn model is a
signed 4.12 number in units of 256, so it ends at 2,048; the difference is for scenery."""

HEIGHT_LIMIT = 400.0
"""Largest |height| of the road, in world units."""

MINIMUM_WIDTH = 40.0
"""Narrowest road, in world units: a kart's sphere is 12 wide and has to be able to turn."""

MAXIMUM_WIDTH = 300.0
MINIMUM_PAD = 16.0
MAXIMUM_OFFSET = 4000.0
MAXIMUM_EDGE = 200.0
MAXIMUM_BANK = 30.0
MAXIMUM_LAPS = 5
"""A driver status has room for five lap times."""


class CourseDescriptionError(MKDSError, ValueError):
    """A course description is wrong; the message names the file, the entry and the value."""


@dataclass(frozen=True)
class Edge:
    """One kind of roadside: a shoulder of some surface and width, and what it ends in."""

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
    """One corner of the centre line, as written; None where the description says nothing.

    Attributes:
        at: x and z in world units.
        radius: radius of the bend here in world units; 0 on a straight.
        height, width: of the road here in world units.
        bank: degrees the road leans into this bend (inside lower).
        left, right: names of the edges that begin here.
        surface: name of the road's surface that begins here.
        label: how the point is called in errors, e.g. ``point 3``.
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
        label: how the entry is called in errors, e.g. ``pad 0``.
    """

    path: int
    point: int
    offset: float
    label: str


@dataclass(frozen=True)
class Pad:
    """A boost or jump pad: its near end at `place`, `side` units left of the centre."""

    kind: str
    place: Place
    side: float
    width: float
    length: float


@dataclass(frozen=True)
class Gap:
    """A stretch of road without a floor, from `place` on."""

    place: Place
    length: float


@dataclass(frozen=True)
class ItemRow:
    """A row of `count` item boxes across the road."""

    place: Place
    count: int


@dataclass(frozen=True)
class Branch:
    """A second path, from one place of the main path to a later one.

    Attributes:
        start, end: places on the main path.
        width: of the road where no point says another, in world units.
        surface: of the road where no point says another.
        points: corners of its centre line between the two places; the first has both edges.
        label: how the branch is called in errors, e.g. ``branch 0``.
    """

    start: Place
    end: Place
    width: float
    surface: str
    points: tuple[Point, ...]
    label: str


@dataclass(frozen=True)
class CourseDescription:
    """A whole course as described; lengths in world units, angles in degrees."""

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

    def error(self, where: str, what: str) -> CourseDescriptionError:
        """Make an error about one entry of this description."""
        return CourseDescriptionError(f"{self.source}: {where}: {what}")


class _Table:
    """One TOML table under reading: typed, ranged, and left with no key unread."""

    def __init__(self, source: str, where: str, value: object) -> None:
        if not isinstance(value, dict):
            raise CourseDescriptionError(f"{source}: {where}: expected a table, got {shown(value)}")
        self._source = source
        self._where = where
        self._values: dict[str, Any] = dict(value)
        self._known: list[str] = []

    @property
    def where(self) -> str:
        return self._where

    def has(self, key: str) -> bool:
        """Whether the table has a key; it counts as known from now on."""
        self._known.append(key)
        return key in self._values

    def error(self, message: str) -> CourseDescriptionError:
        where = f"{self._where}: " if self._where else ""
        return CourseDescriptionError(f"{self._source}: {where}{message}")

    def take(self, key: str, default: object = None, *, needed: bool = False) -> Any:
        self._known.append(key)
        if key in self._values:
            return self._values.pop(key)
        if needed:
            raise self.error(f"{key} is missing")
        return default

    def check(self, check: Callable[..., T], key: str, value: object, *limits: Any) -> T:
        """Apply a check of `mkds_gym.utils.arguments`; its error names this entry."""
        try:
            return check(key, value, *limits)
        except (TypeError, ValueError) as error:
            raise self.error(str(error)) from None

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float:
        value = self.take(key, default, needed=default is None)
        return self.check(number, key, value, low, high)

    def maybe_number(self, key: str, low: float, high: float) -> float | None:
        value = self.take(key)
        return None if value is None else self.check(number, key, value, low, high)

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self.take(key, default, needed=default is None)
        return self.check(integer, key, value, low, high)

    def text(self, key: str) -> str:
        value: Any = self.take(key, needed=True)
        if not isinstance(value, str) or not value:
            raise self.error(f"{key}={shown(value)} is not a non-empty string")
        return value

    def choice(self, key: str, allowed: Iterable[str], default: str | None = None) -> str:
        value = self.take(key, default, needed=default is None)
        chosen: str = self.check(choice, key, value, allowed)
        return chosen

    def maybe_choice(self, key: str, allowed: Iterable[str]) -> str | None:
        return self.choice(key, allowed) if self.has(key) else None

    def pair(self, key: str, limit: float) -> tuple[float, float]:
        value = self.take(key, needed=True)
        if not isinstance(value, list) or len(value) != 2:
            raise self.error(f"{key}={shown(value)} is not a place: expected [x, z]")
        x, z = (
            self.check(number, f"{key}[{index}]", part, -limit, limit)
            for index, part in enumerate(value)
        )
        return x, z

    def done(self) -> None:
        if self._values:
            key = next(iter(self._values))
            allowed = ", ".join(sorted(set(self._known)))
            raise self.error(f"{key} is unknown: expected one of {allowed}")


def read_description(path: str | PathLike[str]) -> CourseDescription:
    """Read a course description from a TOML file.

    Args:
        path: the file.

    Raises:
        CourseDescriptionError: the file is missing, is not TOML, or says something impossible.
    """
    file = Path(path)
    try:
        with file.open("rb") as stream:
            data = stream.read(SIZE_LIMIT + 1)
        text = data.decode("utf-8") if len(data) <= SIZE_LIMIT else ""
    except OSError as error:
        raise CourseDescriptionError(f"{file}: cannot be read: {reason(error)}") from error
    except UnicodeDecodeError as error:
        raise CourseDescriptionError(f"{file}: is not text in UTF-8: {error}") from error
    if len(data) > SIZE_LIMIT:
        raise CourseDescriptionError(
            f"{file}: has more than {SIZE_LIMIT:,} bytes, more than any course needs; at most "
            f"{POINT_LIMIT} points are allowed"
        )
    return parse_description(text, source=str(file))


def parse_description(text: str, source: str = "<description>") -> CourseDescription:
    """Read a course description from TOML text; `source` is its name in errors.

    Raises:
        CourseDescriptionError: as for `read_description`.
    """
    if len(text) > SIZE_LIMIT:
        raise CourseDescriptionError(
            f"{source}: has {len(text):,} characters, more than any course needs; at most "
            f"{SIZE_LIMIT:,} are read"
        )
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise CourseDescriptionError(f"{source}: not TOML: {error}") from error

    root = _Table(source, "", document)
    title = root.text("title")
    name = root.text("name")
    if not re.fullmatch(r"[a-z0-9_]{1,32}", name):
        raise root.error(
            f"name={shown(name)} is not a folder name: expected lowercase letters, digits and _"
        )
    course_id = root.integer("id", 1, 54)
    if COURSES[course_id] != name:
        # Tools, and the boot parameters, find a course by this list.
        number = next((i for i, known in COURSES.items() if known == name), None)
        listed = f"{name!r} has the id {number}" if number else f"{name!r} is not on the list"
        raise root.error(
            f"name={name!r} and id={course_id} do not match: the game's list of courses has "
            f"{COURSES[course_id]!r} under the id {course_id}, and {listed}; take a pair of "
            "mkds_gym.race.memory_layout.COURSES"
        )
    laps = root.integer("laps", 1, MAXIMUM_LAPS, 3)

    road = _Table(source, "[road]", root.take("road", {}))
    width = road.number("width", MINIMUM_WIDTH, MAXIMUM_WIDTH, 120)
    surface = road.choice("surface", ROAD_SURFACES, "road")
    blend = road.number("blend", 20, 1000, 140)
    wall_height = road.number("wall_height", 12, 100, 36)
    fall_depth = road.number("fall_depth", 20, 400, 60)
    bounds_width = road.number("bounds_width", 10, MAXIMUM_EDGE, 45)
    left_name = road.take("left")
    right_name = road.take("right")

    edges: dict[str, Edge] = {}
    edge_tables = root.take("edges", {})
    if not isinstance(edge_tables, dict):
        raise root.error(f"edges={shown(edge_tables)}: expected tables [edges.NAME]")
    for edge_name, value in edge_tables.items():
        table = _Table(source, f"[edges.{edge_name}]", value)
        edges[edge_name] = Edge(
            name=edge_name,
            surface=table.choice("surface", SURFACES, "road"),
            width=table.number("width", 0, MAXIMUM_EDGE),
            end=table.choice("end", ENDS),
        )
        table.done()
    if not edges:
        raise root.error("edges is empty: expected at least one [edges.NAME]")
    for key, given in (("left", left_name), ("right", right_name)):
        if given is not None:
            road.check(choice, key, given, edges)
    road.done()

    points = _read_points(source, "point", root.take("point", []), edges, 4)
    if math.dist(points[-1].at, points[0].at) < 1.0:
        raise CourseDescriptionError(
            f"{source}: point {len(points) - 1}: at: the loop closes by itself; leave out the "
            "repeated first point"
        )
    points = _with_first_edges(source, points, left_name, right_name)
    branches = tuple(
        _read_branch(source, f"branch {index}", value, edges, points, width, surface)
        for index, value in enumerate(_entries(root, "branch", BRANCH_LIMIT))
    )
    paths = [len(points), *(len(branch.points) for branch in branches)]
    pads = tuple(
        _read_pad(_Table(source, f"pad {index}", value), paths)
        for index, value in enumerate(_entries(root, "pad", ENTRY_LIMIT))
    )
    gaps, items = [], []
    for index, value in enumerate(_entries(root, "gap", ENTRY_LIMIT)):
        table = _Table(source, f"gap {index}", value)
        gaps.append(Gap(_read_place(table, paths), table.number("length", 5, 1000)))
        table.done()
    for index, value in enumerate(_entries(root, "items", ENTRY_LIMIT)):
        table = _Table(source, f"items {index}", value)
        items.append(ItemRow(_read_place(table, paths), table.integer("count", 1, 10, 4)))
        table.done()

    checkpoints = _Table(source, "[checkpoints]", root.take("checkpoints", {}))
    spacing = checkpoints.number("spacing", 30, 600, 120)
    keys = checkpoints.integer("keys", 1, 30, 4)
    respawn_every = checkpoints.integer("respawn_every", 1, 50, 3)
    checkpoints.done()

    grid = _Table(source, "[grid]", root.take("grid", {}))
    grid_back = grid.number("back", 5, 400, 50)
    grid_side = grid.number("side", -100, 100, 0)
    grid.done()

    scenery = _Table(source, "[scenery]", root.take("scenery", {}))
    theme = scenery.choice("theme", THEMES, "meadow")
    trees = scenery.integer("trees", 0, 200, 60)
    seed = scenery.integer("seed", 0, 2**31 - 1, 1)
    scenery.done()

    colours = THEMES[theme].palette()
    palette = _Table(source, "[colours]", root.take("colours", {}))
    for colour in COLOURS:
        value = palette.take(colour)
        if value is None:
            continue
        if not isinstance(value, list) or len(value) != 3:
            raise palette.error(
                f"{colour}={shown(value)} is not a colour: expected [red, green, blue]"
            )
        red, green, blue = (
            palette.check(integer, f"{colour}[{index}]", part, 0, 255)
            for index, part in enumerate(value)
        )
        colours[colour] = red, green, blue
    palette.done()
    root.done()

    return CourseDescription(
        source=source,
        title=title,
        name=name,
        course_id=course_id,
        laps=laps,
        width=width,
        blend=blend,
        wall_height=wall_height,
        fall_depth=fall_depth,
        bounds_width=bounds_width,
        points=points,
        edges=edges,
        checkpoint_spacing=spacing,
        keys=keys,
        respawn_every=respawn_every,
        grid_back=grid_back,
        grid_side=grid_side,
        trees=trees,
        seed=seed,
        colours=colours,
        surface=surface,
        theme=theme,
        branches=branches,
        pads=pads,
        gaps=tuple(gaps),
        items=tuple(items),
    )


def _entries(root: _Table, key: str, limit: int) -> list[object]:
    """Take an array of tables, of at most `limit` entries."""
    value = root.take(key, [])
    if not isinstance(value, list):
        raise root.error(f"{key}={shown(value)}: expected tables [[{key}]]")
    if len(value) > limit:
        raise root.error(f"{key} has {len(value):,} entries: expected at most {limit}")
    return value


def _read_points(
    source: str, label: str, value: object, edges: Mapping[str, Edge], fewest: int
) -> tuple[Point, ...]:
    if not isinstance(value, list) or len(value) < fewest:
        raise CourseDescriptionError(
            f"{source}: {label}: at least {fewest} [[{label.split()[0]}"
            f"{'.point' if ' ' in label else ''}]] tables are needed, got "
            f"{len(value) if isinstance(value, list) else type(value).__name__}"
        )
    if len(value) > POINT_LIMIT:
        raise CourseDescriptionError(
            f"{source}: {label}: {len(value):,} points; at most {POINT_LIMIT} are allowed"
        )
    points: list[Point] = []
    for index, entry in enumerate(value):
        name = f"{label} {index}"
        table = _Table(source, name, entry)
        at = table.pair("at", COORDINATE_LIMIT)
        points.append(
            Point(
                at=at,
                radius=table.number("radius", 0, 2000, 0),
                height=table.maybe_number("height", -HEIGHT_LIMIT, HEIGHT_LIMIT),
                width=table.maybe_number("width", MINIMUM_WIDTH, MAXIMUM_WIDTH),
                bank=table.number("bank", -MAXIMUM_BANK, MAXIMUM_BANK, 0),
                left=table.maybe_choice("left", edges),
                right=table.maybe_choice("right", edges),
                label=name,
                surface=table.maybe_choice("surface", ROAD_SURFACES),
            )
        )
        table.done()
        if index and math.dist(points[-2].at, at) < 1.0:
            raise table.error(f"at={list(at)} is the same place as point {index - 1}")
    return tuple(points)


def _with_first_edges(
    source: str, points: tuple[Point, ...], left: str | None, right: str | None
) -> tuple[Point, ...]:
    """Give the first point the edges that the path begins with."""
    first = replace(points[0], left=points[0].left or left, right=points[0].right or right)
    for key, value in (("left", first.left), ("right", first.right)):
        if value is None:
            raise CourseDescriptionError(
                f"{source}: {first.label}: {key}: missing (the first edge)"
            )
    return (first, *points[1:])


def _read_place(table: _Table, paths: list[int]) -> Place:
    """Read where something is; `paths` has the number of points of each path."""
    path = 0
    if table.has("branch"):
        if len(paths) == 1:
            raise table.error("branch: the course has no [[branch]]")
        path = table.integer("branch", 0, len(paths) - 2) + 1
    return Place(
        path=path,
        point=table.integer("point", 0, paths[path] - 1),
        offset=table.number("offset", -MAXIMUM_OFFSET, MAXIMUM_OFFSET, 0),
        label=table.where,
    )


def _read_end(table: _Table, key: str, points: int) -> Place:
    """Read where a branch begins or ends on the main path, which has so many points."""
    return Place(
        path=0,
        point=table.integer(key, 0, points - 1),
        offset=table.number(f"{key}_offset", -MAXIMUM_OFFSET, MAXIMUM_OFFSET, 0),
        label=table.where,
    )


def _read_branch(
    source: str,
    label: str,
    value: object,
    edges: Mapping[str, Edge],
    main: tuple[Point, ...],
    width: float,
    surface: str,
) -> Branch:
    table = _Table(source, label, value)
    points = _read_points(source, f"{label} point", table.take("point", []), edges, 2)
    branch = Branch(
        start=_read_end(table, "from", len(main)),
        end=_read_end(table, "to", len(main)),
        width=table.number("width", MINIMUM_WIDTH, MAXIMUM_WIDTH, width),
        surface=table.choice("surface", ROAD_SURFACES, surface),
        points=_with_first_edges(
            source,
            points,
            table.maybe_choice("left", edges) or main[0].left,
            table.maybe_choice("right", edges) or main[0].right,
        ),
        label=label,
    )
    table.done()
    return branch


def _read_pad(table: _Table, paths: list[int]) -> Pad:
    pad = Pad(
        kind=table.choice("kind", PADS),
        place=_read_place(table, paths),
        side=table.number("side", -MAXIMUM_WIDTH, MAXIMUM_WIDTH, 0),
        width=table.number("width", MINIMUM_PAD, MAXIMUM_WIDTH, 40),
        length=table.number("length", MINIMUM_PAD, 400, 40),
    )
    table.done()
    return pad
