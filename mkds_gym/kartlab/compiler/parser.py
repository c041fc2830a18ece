"""Parsing of course descriptions from TOML, with every value checked."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any, TypeVar

from mkds_gym.kartlab.compiler.description import (
    BRANCH_LIMIT,
    COORDINATE_LIMIT,
    ENDS,
    ENTRY_LIMIT,
    HEIGHT_LIMIT,
    MAXIMUM_BANK,
    MAXIMUM_EDGE,
    MAXIMUM_LAPS,
    MAXIMUM_OFFSET,
    MAXIMUM_WIDTH,
    MINIMUM_PAD,
    MINIMUM_WIDTH,
    PADS,
    POINT_LIMIT,
    ROAD_SURFACES,
    SIZE_LIMIT,
    SURFACES,
    Branch,
    CourseDescription,
    CourseDescriptionError,
    Edge,
    Gap,
    ItemRow,
    Pad,
    Place,
    Point,
)
from mkds_gym.kartlab.compiler.themes import COLOURS, THEMES
from mkds_gym.race.names import COURSES
from mkds_gym.utils.arguments import choice, integer, number, shortened, shown
from mkds_gym.utils.reading import parse_toml, read_text

T = TypeVar("T")


def read_description(path: str | PathLike[str]) -> CourseDescription:
    """Read a course description from a TOML file.

    Args:
        path: the file.

    Raises:
        CourseDescriptionError: the file is missing, is not TOML, or has a bad value.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path={shown(path)} is not a path: expected a course description (.toml)")
    name = shortened(os.fspath(path))
    remedy = "expected a course description (.toml)"
    text = read_text(path, name, CourseDescriptionError, limit=SIZE_LIMIT, remedy=remedy)
    return parse_description(text, source=name)


def parse_description(text: str, source: str = "<description>") -> CourseDescription:
    """Parse a course description from TOML text.

    Args:
        text: the TOML.
        source: name of the text in errors.

    Raises:
        CourseDescriptionError: the text is not TOML or has a bad value.
    """
    if len(text) > SIZE_LIMIT:
        raise CourseDescriptionError(
            f"{source}: too large: expected at most {SIZE_LIMIT:,} characters"
        )
    document = parse_toml(text, f"{source}: the text", CourseDescriptionError)

    root = _Table(source, "", document)
    title, name = root.text("title"), root.text("name")
    course_id = root.integer("id", 1, 54)
    _check_name(root, name, course_id)
    laps = root.integer("laps", 1, MAXIMUM_LAPS, 3)

    road = root.table("road")
    width = road.number("width", MINIMUM_WIDTH, MAXIMUM_WIDTH, 300)
    surface = road.choice("surface", ROAD_SURFACES, "road")
    edges = _edges(root)
    first_edges = tuple(road.optional_choice(side, edges) for side in ("left", "right"))

    points = _points(source, "point", root.take("point", []), edges, 4)
    if math.dist(points[-1].at, points[0].at) < 1.0:
        raise CourseDescriptionError(
            f"{source}: point {len(points) - 1}: at repeats the first point: the loop closes by "
            "itself; leave this point out"
        )
    points = _with_first_edges(source, points, *first_edges)
    branches = tuple(
        _branch(table, edges, points, width, surface)
        for table in root.tables("branch", BRANCH_LIMIT)
    )
    counts = [len(points), *(len(branch.points) for branch in branches)]
    checkpoints, grid, scenery = (root.table(key) for key in ("checkpoints", "grid", "scenery"))
    theme = scenery.choice("theme", THEMES, "meadow")
    description = CourseDescription(
        source=source,
        title=title,
        name=name,
        course_id=course_id,
        laps=laps,
        width=width,
        blend=road.number("blend", 50, 2500, 350),
        wall_height=road.number("wall_height", 20, 250, 58),
        fall_depth=road.number("fall_depth", 50, 1000, 150),
        bounds_width=road.number("bounds_width", 25, MAXIMUM_EDGE, 112),
        points=points,
        edges=edges,
        checkpoint_spacing=checkpoints.number("spacing", 75, 1500, 300),
        keys=checkpoints.integer("keys", 1, 30, 4),
        respawn_every=checkpoints.integer("respawn_every", 1, 50, 3),
        grid_back=grid.number("back", 12, 1200, 125),
        grid_side=grid.number("side", -250, 250, 0),
        trees=scenery.integer("trees", 0, 200, 60),
        seed=scenery.integer("seed", 0, 2**31 - 1, 1),
        colours=_colours(root, theme),
        surface=surface,
        theme=theme,
        branches=branches,
        pads=tuple(_pad(table, counts) for table in root.tables("pad", ENTRY_LIMIT)),
        gaps=tuple(_gap(table, counts) for table in root.tables("gap", ENTRY_LIMIT)),
        items=tuple(_item_row(table, counts) for table in root.tables("items", ENTRY_LIMIT)),
    )
    for table in (road, checkpoints, grid, scenery, root):
        table.done()
    return description


class _Table:
    """Reader of one TOML table: checks types and ranges, and refuses unknown keys.

    Attributes:
        where: the table's name in errors, "" for the document.
    """

    def __init__(self, source: str, where: str, value: object) -> None:
        if not isinstance(value, dict):
            raise CourseDescriptionError(f"{source}: {where}={shown(value)}: expected a table")
        self.source = source
        self.where = where
        self._values: dict[str, Any] = dict(value)
        self._known: set[str] = set()

    def error(self, message: str) -> CourseDescriptionError:
        where = f"{self.where}: " if self.where else ""
        return CourseDescriptionError(f"{self.source}: {where}{message}")

    def has(self, key: str) -> bool:
        self._known.add(key)
        return key in self._values

    def take(self, key: str, default: Any = None) -> Any:
        """Remove and return a value; a default of None means that the key is required."""
        if self.has(key):
            return self._values.pop(key)
        if default is None:
            raise self.error(f"{key} is missing")
        return default

    def check(self, check: Callable[..., T], key: str, value: object, *limits: Any) -> T:
        """Apply a check of `mkds_gym.utils.arguments`; its error names this table."""
        try:
            return check(key, value, *limits)
        except (TypeError, ValueError) as error:
            raise self.error(str(error)) from None

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float:
        return self.check(number, key, self.take(key, default), low, high)

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        return self.check(integer, key, self.take(key, default), low, high)

    def choice(self, key: str, allowed: Iterable[str], default: str | None = None) -> str:
        chosen: str = self.check(choice, key, self.take(key, default), allowed)
        return chosen

    def optional_number(self, key: str, low: float, high: float) -> float | None:
        return self.number(key, low, high) if self.has(key) else None

    def optional_choice(self, key: str, allowed: Iterable[str]) -> str | None:
        return self.choice(key, allowed) if self.has(key) else None

    def text(self, key: str) -> str:
        value: Any = self.take(key)
        if not isinstance(value, str) or not value:
            raise self.error(f"{key}={shown(value)} is not a text: expected a non-empty string")
        return value

    def sequence(
        self, key: str, form: Sequence[str], check: Callable[..., T], *limits: float
    ) -> list[T]:
        """Take a list whose parts are named by `form`."""
        value = self.take(key)
        if not isinstance(value, list) or len(value) != len(form):
            raise self.error(f"{key}={shown(value)} is malformed: expected [{', '.join(form)}]")
        return [
            self.check(check, f"{key}[{index}]", part, *limits) for index, part in enumerate(value)
        ]

    def table(self, key: str) -> _Table:
        return _Table(self.source, f"[{key}]", self.take(key, {}))

    def tables(self, key: str, limit: int) -> list[_Table]:
        """Take an array of at most `limit` tables."""
        value = self.take(key, [])
        if not isinstance(value, list):
            raise self.error(f"{key}={shown(value)}: expected tables [[{key}]]")
        if len(value) > limit:
            raise self.error(f"{key} has {len(value):,} entries: expected at most {limit}")
        return [_Table(self.source, f"{key} {index}", entry) for index, entry in enumerate(value)]

    def done(self) -> None:
        """Refuse a key that was not read."""
        for key in self._values:
            allowed = ", ".join(sorted(self._known))
            raise self.error(f"{shortened(key)} is unknown: expected one of {allowed}")


def _check_name(root: _Table, name: str, course_id: int) -> None:
    if not re.fullmatch(r"[a-z0-9_]{1,32}", name):
        raise root.error(
            f"name={shown(name)} is not a folder name: expected lowercase letters, digits and _"
        )
    if COURSES[course_id] != name:
        # Tools and the boot parameters find a course by this list.
        known = next((i for i, each in COURSES.items() if each == name), None)
        listed = (
            f"{shown(name)} has the id {known}" if known else f"{shown(name)} is not on the list"
        )
        raise root.error(
            f"name={shown(name)} and id={course_id} do not match: the game's list of courses has "
            f"{shown(COURSES[course_id])} under the id {course_id}, and {listed}; choose a pair of "
            "mkds_gym.race.names.COURSES"
        )


def _edges(root: _Table) -> dict[str, Edge]:
    tables = root.take("edges", {})
    if not isinstance(tables, dict) or not tables:
        raise root.error(f"edges={shown(tables)}: expected at least one table [edges.NAME]")
    edges = {}
    for name, value in tables.items():
        table = _Table(root.source, f"[edges.{name}]", value)
        edges[name] = Edge(
            name=name,
            surface=table.choice("surface", SURFACES, "road"),
            width=table.number("width", 0, MAXIMUM_EDGE),
            end=table.choice("end", ENDS),
        )
        table.done()
    return edges


def _colours(root: _Table, theme: str) -> dict[str, tuple[int, int, int]]:
    colours = dict(THEMES[theme].colours)
    table = root.table("colours")
    for colour in COLOURS:
        if table.has(colour):
            red, green, blue = table.sequence(colour, ("red", "green", "blue"), integer, 0, 255)
            colours[colour] = red, green, blue
    table.done()
    return colours


def _points(
    source: str, label: str, value: object, edges: Mapping[str, Edge], fewest: int
) -> tuple[Point, ...]:
    if not isinstance(value, list) or not fewest <= len(value) <= POINT_LIMIT:
        count = f"{len(value):,}" if isinstance(value, list) else shown(value)
        raise CourseDescriptionError(
            f"{source}: {label}: expected {fewest} to {POINT_LIMIT} "
            f"[[{label.split()[0]}{'.point' if ' ' in label else ''}]] tables, got {count}"
        )
    points: list[Point] = []
    for index, entry in enumerate(value):
        table = _Table(source, f"{label} {index}", entry)
        x, z = table.sequence("at", ("x", "z"), number, -COORDINATE_LIMIT, COORDINATE_LIMIT)
        points.append(
            Point(
                at=(x, z),
                radius=table.number("radius", 0, 5000, 0),
                height=table.optional_number("height", -HEIGHT_LIMIT, HEIGHT_LIMIT),
                width=table.optional_number("width", MINIMUM_WIDTH, MAXIMUM_WIDTH),
                bank=table.number("bank", -MAXIMUM_BANK, MAXIMUM_BANK, 0),
                left=table.optional_choice("left", edges),
                right=table.optional_choice("right", edges),
                label=table.where,
                surface=table.optional_choice("surface", ROAD_SURFACES),
            )
        )
        table.done()
        if index and math.dist(points[-2].at, (x, z)) < 1.0:
            raise table.error(f"at={[x, z]} is the same place as point {index - 1}")
    return tuple(points)


def _with_first_edges(
    source: str, points: tuple[Point, ...], left: str | None, right: str | None
) -> tuple[Point, ...]:
    """Give the first point of a path its edges."""
    first = replace(points[0], left=points[0].left or left, right=points[0].right or right)
    for side in ("left", "right"):
        if getattr(first, side) is None:
            raise CourseDescriptionError(
                f"{source}: {first.label}: {side} is missing: expected the first edge"
            )
    return (first, *points[1:])


def _place(table: _Table, counts: list[int]) -> Place:
    """Read a place; `counts` has the number of points of each path."""
    path = 0
    if table.has("branch"):
        if len(counts) == 1:
            raise table.error("branch is given, but the course has no [[branch]]")
        path = table.integer("branch", 0, len(counts) - 2) + 1
    return Place(
        path=path,
        point=table.integer("point", 0, counts[path] - 1),
        offset=table.number("offset", -MAXIMUM_OFFSET, MAXIMUM_OFFSET, 0),
        label=table.where,
    )


def _branch_end(table: _Table, key: str, points: int) -> Place:
    """Read where a branch begins or ends on the main path, which has `points` points."""
    return Place(
        path=0,
        point=table.integer(key, 0, points - 1),
        offset=table.number(f"{key}_offset", -MAXIMUM_OFFSET, MAXIMUM_OFFSET, 0),
        label=table.where,
    )


def _branch(
    table: _Table,
    edges: Mapping[str, Edge],
    main: tuple[Point, ...],
    width: float,
    surface: str,
) -> Branch:
    points = _points(table.source, f"{table.where} point", table.take("point", []), edges, 2)
    branch = Branch(
        start=_branch_end(table, "from", len(main)),
        end=_branch_end(table, "to", len(main)),
        width=table.number("width", MINIMUM_WIDTH, MAXIMUM_WIDTH, width),
        surface=table.choice("surface", ROAD_SURFACES, surface),
        points=_with_first_edges(
            table.source,
            points,
            table.optional_choice("left", edges) or main[0].left,
            table.optional_choice("right", edges) or main[0].right,
        ),
        label=table.where,
    )
    table.done()
    return branch


def _pad(table: _Table, counts: list[int]) -> Pad:
    pad = Pad(
        kind=table.choice("kind", PADS),
        place=_place(table, counts),
        side=table.number("side", -MAXIMUM_WIDTH, MAXIMUM_WIDTH, 0),
        width=table.number("width", MINIMUM_PAD, MAXIMUM_WIDTH, 100),
        length=table.number("length", MINIMUM_PAD, 1000, 100),
    )
    table.done()
    return pad


def _gap(table: _Table, counts: list[int]) -> Gap:
    gap = Gap(_place(table, counts), table.number("length", 12, 2500))
    table.done()
    return gap


def _item_row(table: _Table, counts: list[int]) -> ItemRow:
    row = ItemRow(_place(table, counts), table.integer("count", 1, 10, 4))
    table.done()
    return row
