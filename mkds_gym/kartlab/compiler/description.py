"""Read and check a course description (TOML), the short text a course is made from.

A course is a closed loop of points in the ground plane. The road runs straight from point to
point; a point with a ``radius`` is a bend whose arc touches both straights. The first point is
the start line. What stands at the road's sides is named once under ``[edges]`` and holds from
the point that names it until another point names another.

======================  =====================================================================
``title, name, id``     the course's own title; its folder name and number in the game's list
``laps``                1 to 5 (3)
``[road]``              ``width`` (120), ``blend`` (140: length over which an edge's width
                        changes), ``wall_height`` (36), ``fall_depth`` (60, below the lowest
                        road), ``bounds_width`` (45), ``left`` and ``right`` (first edges)
``[edges.NAME]``        ``surface`` (road; or weak off-road, off-road, heavy off-road), ``width``
                        of the shoulder, ``end``: wall, drop or bounds (an out-of-bounds strip)
``[[point]]``           ``at`` = [x, z], ``radius`` of the bend here, ``height``, ``width``,
                        ``bank`` (degrees, inside lower), ``left`` and ``right``: edges from here
``[checkpoints]``       ``spacing`` (120), ``keys`` besides the start line (4),
                        ``respawn_every`` so many checkpoints (3)
``[grid]``              pole position: ``back`` of the line (50), ``side`` to the left (0)
``[scenery]``           ``trees`` (60), ``seed`` (1)
``[colours]``           red, green, blue of 0 to 255 for any name in `COLOURS`
======================  =====================================================================

Lengths are in world units. A height or width that is left out follows from the points around it.
Everything is checked here or in `geometry` before a byte is written, and every error says
which entry of which file is wrong, and what was met there.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from mkds_gym.errors import MKDSError
from mkds_gym.memory import COURSES

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - the standard library has it from 3.11 on
    import tomli as tomllib

SURFACES: dict[str, int] = {
    "road": 0,
    "weak off-road": 2,
    "off-road": 3,
    "heavy off-road": 5,
}
"""Surfaces a shoulder may have, by name, with their KCL collision type."""

ENDS: tuple[str, ...] = ("wall", "drop", "bounds")
"""What an edge ends in: a wall, a free drop, or a strip that is out of bounds."""

COORDINATE_LIMIT = 1900.0
"""Largest |x| or |z| of anything on a course, in world units: a vertex of the drawn model is a
signed 4.12 number in units of 256, so it ends at 2,048; the difference is for scenery."""

HEIGHT_LIMIT = 400.0
"""Largest |height| of the road, in world units."""

MINIMUM_WIDTH = 40.0
"""Narrowest road, in world units: a kart's sphere is 12 wide and has to be able to turn."""

MAXIMUM_WIDTH = 300.0
MAXIMUM_EDGE = 200.0
MAXIMUM_BANK = 30.0
MAXIMUM_LAPS = 5
"""A driver status has room for five lap times."""

COLOURS: dict[str, tuple[int, int, int]] = {
    "road": (112, 112, 112),
    "line": (240, 240, 236),
    "kerb": (206, 44, 40),
    "weak off-road": (176, 200, 96),
    "off-road": (222, 194, 128),
    "heavy off-road": (138, 98, 62),
    "bounds": (74, 110, 58),
    "wall": (70, 118, 196),
    "wall top": (236, 238, 246),
    "terrain": (82, 156, 66),
    "rock": (142, 122, 102),
    "water": (36, 100, 178),
    "shallows": (84, 168, 206),
    "tree": (36, 116, 52),
    "trunk": (112, 78, 48),
    "sky top": (52, 124, 220),
    "sky bottom": (188, 222, 246),
}
"""Colours (red, green, blue, 0 to 255) a description may replace under ``[colours]``."""


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

    def error(self, where: str, what: str) -> CourseDescriptionError:
        """Make an error about one entry of this description."""
        return CourseDescriptionError(f"{self.source}: {where}: {what}")


class _Table:
    """One TOML table under reading: typed, ranged, and left with no key unread."""

    def __init__(self, source: str, where: str, value: object) -> None:
        if not isinstance(value, dict):
            raise CourseDescriptionError(f"{source}: {where}: expected a table, got {value!r}")
        self._source = source
        self._where = where
        self._values: dict[str, Any] = dict(value)
        self._known: list[str] = []

    def fail(self, key: str, what: str) -> CourseDescriptionError:
        where = f"{self._where}: {key}" if self._where else key
        return CourseDescriptionError(f"{self._source}: {where}: {what}")

    def take(self, key: str, default: object = None, *, needed: bool = False) -> Any:
        self._known.append(key)
        if key in self._values:
            return self._values.pop(key)
        if needed:
            raise self.fail(key, "missing")
        return default

    def _number(self, key: str, value: object, low: float, high: float) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.fail(key, f"expected a number, got {value!r}")
        number = float(value)
        # Written so that NaN, which is not in any range, fails too.
        if not low <= number <= high:
            raise self.fail(key, f"{value!r} is not within {low:g} to {high:g}")
        return number

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float:
        value = self.take(key, default, needed=default is None)
        return self._number(key, value, low, high)

    def maybe_number(self, key: str, low: float, high: float) -> float | None:
        value = self.take(key)
        return None if value is None else self._number(key, value, low, high)

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self.take(key, default, needed=default is None)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.fail(key, f"expected a whole number, got {value!r}")
        if not low <= value <= high:
            raise self.fail(key, f"{value!r} is not within {low} to {high}")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        value = self.take(key, default, needed=default is None)
        if not isinstance(value, str) or not value:
            raise self.fail(key, f"expected a non-empty string, got {value!r}")
        return value

    def choice(self, key: str, allowed: Iterable[str], default: str | None = None) -> str:
        value = self.take(key, default, needed=default is None)
        names = list(allowed)
        if not isinstance(value, str) or value not in names:
            raise self.fail(key, f"{value!r} is not one of {', '.join(map(repr, names))}")
        return value

    def maybe_choice(self, key: str, allowed: Iterable[str]) -> str | None:
        self._known.append(key)
        return self.choice(key, allowed) if key in self._values else None

    def pair(self, key: str, limit: float) -> tuple[float, float]:
        value = self.take(key, needed=True)
        if not isinstance(value, list) or len(value) != 2:
            raise self.fail(key, f"expected [x, z], got {value!r}")
        return (
            self._number(key, value[0], -limit, limit),
            self._number(key, value[1], -limit, limit),
        )

    def done(self) -> None:
        if self._values:
            key = next(iter(self._values))
            allowed = ", ".join(sorted(set(self._known)))
            raise self.fail(key, f"unknown key; known here are: {allowed}")


def read_description(path: str | PathLike[str]) -> CourseDescription:
    """Read a course description from a TOML file.

    Args:
        path: the file.

    Raises:
        CourseDescriptionError: the file is missing, is not TOML, or says something impossible.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CourseDescriptionError(f"{file}: cannot be read: {error}") from error
    return parse_description(text, source=str(file))


def parse_description(text: str, source: str = "<description>") -> CourseDescription:
    """Read a course description from TOML text; `source` is its name in errors.

    Raises:
        CourseDescriptionError: as for `read_description`.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CourseDescriptionError(f"{source}: not TOML: {error}") from error

    root = _Table(source, "", document)
    title = root.text("title")
    name = root.text("name")
    if not re.fullmatch(r"[a-z0-9_]{1,32}", name):
        raise root.fail("name", f"{name!r} is not a folder name of small letters, digits and _")
    course_id = root.integer("id", 1, 54)
    if COURSES[course_id] != name:
        # Tools, and the boot parameters, find a course by this list.
        number = next((i for i, known in COURSES.items() if known == name), None)
        listed = f"{name!r} has the id {number}" if number else f"{name!r} is not on the list"
        raise root.fail(
            "name",
            f"the game's list of courses has {COURSES[course_id]!r} under the id {course_id}, and "
            f"{listed}; name and id must be a pair of mkds_gym.memory.COURSES",
        )
    laps = root.integer("laps", 1, MAXIMUM_LAPS, 3)

    road = _Table(source, "[road]", root.take("road", {}))
    width = road.number("width", MINIMUM_WIDTH, MAXIMUM_WIDTH, 120)
    blend = road.number("blend", 20, 1000, 140)
    wall_height = road.number("wall_height", 12, 100, 36)
    fall_depth = road.number("fall_depth", 20, 400, 60)
    bounds_width = road.number("bounds_width", 10, MAXIMUM_EDGE, 45)
    left_name = road.take("left")
    right_name = road.take("right")

    edges: dict[str, Edge] = {}
    edge_tables = root.take("edges", {})
    if not isinstance(edge_tables, dict):
        raise root.fail("edges", f"expected tables [edges.NAME], got {edge_tables!r}")
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
        raise root.fail("edges", "at least one [edges.NAME] is needed")
    for key, given in (("left", left_name), ("right", right_name)):
        if given is not None and given not in edges:
            raise road.fail(key, f"{given!r} is not one of the edges {', '.join(edges)}")
    road.done()

    points = _read_points(source, root.take("point", []), edges)
    if points[0].left is None and left_name is None:
        raise CourseDescriptionError(f"{source}: point 0: left: missing (the first edge)")
    if points[0].right is None and right_name is None:
        raise CourseDescriptionError(f"{source}: point 0: right: missing (the first edge)")
    first = points[0]
    points = (
        Point(
            first.at,
            first.radius,
            first.height,
            first.width,
            first.bank,
            first.left or left_name,
            first.right or right_name,
            first.label,
        ),
        *points[1:],
    )

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
    trees = scenery.integer("trees", 0, 200, 60)
    seed = scenery.integer("seed", 0, 2**31 - 1, 1)
    scenery.done()

    colours = dict(COLOURS)
    palette = _Table(source, "[colours]", root.take("colours", {}))
    for colour in COLOURS:
        value = palette.take(colour)
        if value is None:
            continue
        if (
            not isinstance(value, list)
            or len(value) != 3
            or not all(type(part) is int and 0 <= part <= 255 for part in value)
        ):
            raise palette.fail(colour, f"expected [red, green, blue] of 0 to 255, got {value!r}")
        colours[colour] = (value[0], value[1], value[2])
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
    )


def _read_points(source: str, value: object, edges: Mapping[str, Edge]) -> tuple[Point, ...]:
    if not isinstance(value, list) or len(value) < 4:
        raise CourseDescriptionError(
            f"{source}: point: a course needs at least four [[point]] tables, got "
            f"{len(value) if isinstance(value, list) else value!r}"
        )
    points: list[Point] = []
    for index, entry in enumerate(value):
        label = f"point {index}"
        table = _Table(source, label, entry)
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
                label=label,
            )
        )
        table.done()
        if index and math.dist(points[-2].at, at) < 1.0:
            raise table.fail("at", f"{list(at)} is the same place as point {index - 1}")
    if math.dist(points[-1].at, points[0].at) < 1.0:
        raise CourseDescriptionError(
            f"{source}: point {len(points) - 1}: at: the loop closes by itself; leave out the "
            "repeated first point"
        )
    return tuple(points)
