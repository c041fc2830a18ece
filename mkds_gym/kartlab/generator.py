"""Random courses: a number in, a course description out, the same one everywhere.

`generate` lays a loop around a random shape of squares, so that no road ever comes near another,
bends its corners into curves that a kart can take, and gives it hills, edges and colours.
`difficulty` goes from 0 (wide, gentle, walled) to 1 (narrow, tight, open to the drop). A seed
keeps its shape for the most part while the difficulty changes.

Only `numpy.random.PCG64`'s stream is used, which NumPy promises to keep, and every number of a
description is rounded: a seed's course is the same with every version and on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from mkds_gym.kartlab.compiler import (
    CourseDescription,
    CourseDescriptionError,
    compile_description,
    parse_description,
)
from mkds_gym.kartlab.compiler.geometry import build_layout
from mkds_gym.kartlab.compiler.themes import THEMES
from mkds_gym.race.names import COURSES
from mkds_gym.utils.arguments import integer, number

__all__ = [
    "COURSE_ID",
    "SEEDS",
    "TEST_SEEDS",
    "TRAIN_SEEDS",
    "generate",
    "random_course",
    "random_course_data",
]

SEEDS: Final = range(2**31)
"""Every seed there is."""

TRAIN_SEEDS: Final = range(800)
"""Courses to learn on."""

TEST_SEEDS: Final = range(800, 1000)
"""Courses to measure a driver on that has learned on others."""

COURSE_ID: Final = 5
"""The number a random course goes by, in the game's list of courses."""

SHORTEST: Final = 2500.0
LONGEST: Final = 6000.0
"""Bounds of a lap along the centre line, in world units."""

_ATTEMPTS: Final = 40
_START_ROOM: Final = 190.0
"""Straight road behind the start line, in world units: the grid stands there."""
_START_RUN: Final = 90.0
"""And straight road after it."""

_LANDING: Final = 320.0
"""Straight road behind a gap: whoever comes from a boost flies far."""
_JUMP_ROOM: Final = 560.0
"""Straight road that a jump needs in all: to get going, the pad, the gap and the landing."""

_ICY_RADIUS: Final = 140.0
"""Smallest radius of a bend on ice, in world units."""

_T = TypeVar("_T")
_Place = tuple[float, float]
_Cell = tuple[int, int]


class _Dice:
    """Chance made of PCG64's raw numbers alone."""

    def __init__(self, *seed: int) -> None:
        self._bits = np.random.PCG64(list(seed))

    def number(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number from `low` up to `high`."""
        return low + (high - low) * (int(self._bits.random_raw()) >> 11) / 2.0**53

    def whole(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + int(self.number() * (high - low + 1))

    def chance(self, share: float) -> bool:
        """True in this share of the cases."""
        return self.number() < share

    def pick(self, options: Sequence[_T]) -> _T:
        """One of several."""
        return options[self.whole(0, len(options) - 1)]


@dataclass
class _Corner:
    """A point of the course in the making."""

    at: _Place
    radius: float = 0.0
    turn: float = 0.0
    """Radians, positive to the left; 0 on a straight."""
    height: float | None = None
    width: float | None = None
    bank: float = 0.0
    left: str = ""
    right: str = ""
    surface: str = "road"


@dataclass(frozen=True)
class _Style:
    """What the difficulty decides, in world units."""

    difficulty: float
    width: float
    fence: float
    """Width of the narrowest shoulder, which fits into every bend."""
    pitch: float
    """Smallest distance between parallel roads."""
    smallest: float
    """Smallest radius."""


def _mix(easy: float, hard: float, difficulty: float) -> float:
    return easy + (hard - easy) * difficulty


def generate(seed: int, difficulty: float = 0.5) -> CourseDescription:
    """Describe a random course.

    Args:
        seed: which course, one of `SEEDS`; the same seed is the same course.
        difficulty: 0 (wide, gentle, walled) to 1 (narrow, tight, with drops).

    Returns:
        The description, of a course that compiles.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: an argument out of range.
    """
    return parse_description(_text(seed, difficulty), f"random course {seed}")


def random_course(seed: int, difficulty: float = 0.5) -> str:
    """The same as `generate`, as the text of a description file.

    Args and errors: as of `generate`.
    """
    return _text(seed, difficulty)


def random_course_data(seed: int, difficulty: float = 0.5) -> bytes:
    """Compile a random course for `BootParameters.course_data`.

    Args and errors: as of `generate`.

    Returns:
        The course's files in an archive that is not compressed.
    """
    return compile_description(generate(seed, difficulty)).narc()


def _text(seed: int, difficulty: float) -> str:
    seed = integer("seed", seed, 0, SEEDS[-1])
    # A thousandth is finer than anybody can tell, and leaves nothing to rounding.
    step = round(number("difficulty", difficulty, 0, 1) * 1000) / 1000
    for attempt in range(_ATTEMPTS):
        text = _attempt(seed, step, attempt)
        if text is None:
            continue
        try:
            description = parse_description(text)
            length = build_layout(description).main.length
        except CourseDescriptionError:
            continue
        if SHORTEST <= length <= LONGEST:
            return text
    raise AssertionError(f"no course for seed {seed}, difficulty {difficulty}")


def _attempt(seed: int, difficulty: float, attempt: int) -> str | None:
    """Write one course; the later the attempt, the plainer. None if it has no room to start."""
    boldness = 1.0 - attempt / _ATTEMPTS
    shape, form, dress = (_Dice(seed, attempt, part) for part in range(3))
    width = _mix(150.0, 84.0, difficulty) * form.number(0.92, 1.08)
    fence = _mix(14.0, 8.0, difficulty)
    smallest = max(width / 2 + fence + 14.0, _mix(130.0, 84.0, difficulty))
    style = _Style(
        difficulty=difficulty,
        width=round(width),
        fence=round(fence),
        # Twice the radius of the tightest bend is a hairpin, a little more lets it lean.
        pitch=smallest * 2.3 + 8.0,
        smallest=smallest,
    )
    length = form.number(SHORTEST + 150, LONGEST - 150)
    loop = _loop(shape, form, style, length, boldness)
    corners = _bend(form, style, loop, boldness)
    scale = length / _lap(corners)
    if scale < 0.97:
        return None  # the roads would come too near each other
    corners = [
        _Corner((c.at[0] * scale, c.at[1] * scale), c.radius * scale, c.turn) for c in corners
    ]
    started = _start(corners)
    if started is None:
        return None
    corners = _centred(_straights(form, started))
    _heights(dress, style, corners, boldness)
    # The harder, the more often it freezes.
    snow = dress.chance(_mix(0.12, 0.35, difficulty))
    theme = "snow" if snow else dress.pick([name for name in THEMES if name != "snow"])
    edges = _sides(dress, style, corners, boldness)
    _ices(dress, style, corners, theme)
    extras = _pads(_Dice(seed, attempt, 3), style, corners)
    return _write(seed, dress, style, corners, edges, extras, theme, length)


# The way round.


def _loop(shape: _Dice, form: _Dice, style: _Style, length: float, boldness: float) -> list[_Place]:
    """Corners of a loop with right angles, `style.pitch` or more between its roads."""
    # Each square adds two sides at most, and sides are 1.2 pitches long on average.
    most = max(2, int((length / (1.12 * style.pitch) - 2) / 2))
    count = shape.whole(max(2, round(most * 0.6)), most)
    squares = _squares(shape, count, boldness)
    path = _outline(squares)
    if shape.chance(0.5):  # driven the other way round
        path = path[::-1]
    lines: list[dict[int, float]] = []
    for axis in (0, 1):
        place, lines_here = 0.0, {}
        numbers = sorted({corner[axis] for corner in path})
        for line in range(numbers[0], numbers[-1] + 1):
            lines_here[line] = place
            place += style.pitch * (1.0 + 0.55 * boldness * form.number() ** 2)
        lines.append(lines_here)
    angle = form.number(0.0, math.tau)
    sine, cosine = math.sin(angle), math.cos(angle)
    out = []
    for column, row in path:
        x, z = lines[0][column], lines[1][row]
        # Corners may stray, each by so little that no two roads can meet.
        stray = 0.16 * boldness * style.pitch
        x += form.number(-stray, stray)
        z += form.number(-stray, stray)
        out.append((x * cosine - z * sine, x * sine + z * cosine))
    return out


_AROUND: Final = ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1))


def _squares(dice: _Dice, count: int, boldness: float) -> set[_Cell]:
    """Grow a shape of squares whose outline is one loop that nowhere touches itself."""
    found: list[_Cell] = [(0, 0)]
    taken = set(found)
    # Lean towards arms or towards lumps.
    lanky = dice.number(0.3, 1.0) * boldness
    while len(found) < count:
        options: list[tuple[int, _Cell]] = []
        for x, z in found:
            for dx, dz in _AROUND[::2]:
                cell = x + dx, z + dz
                around = [(cell[0] + ax, cell[1] + az) in taken for ax, az in _AROUND]
                # The squares around it must touch it in one piece: sides, with corners between.
                changes = sum(around[i] != around[i - 1] for i in range(8))
                if cell in taken or changes != 2 or not any(around[::2]):
                    continue
                sides = sum(around[::2])
                corners = sum(around[1::2])
                # A square that touches by a corner without the side next to it would pinch.
                if corners > sides + 1 or any(
                    around[i] and not (around[i - 1] or around[(i + 1) % 8]) for i in (1, 3, 5, 7)
                ):
                    continue
                options.append((sides, cell))
        fewest = min(sides for sides, _ in options)
        if dice.chance(lanky):
            options = [option for option in options if option[0] == fewest]
        cell = dice.pick(sorted({cell for _, cell in options}))
        found.append(cell)
        taken.add(cell)
    return taken


def _outline(squares: set[_Cell]) -> list[_Cell]:
    """Corners of the outline, only those where it turns."""
    onward: dict[_Cell, _Cell] = {}
    for x, z in squares:
        for (dx, dz), start, end in (
            ((0, -1), (x, z), (x + 1, z)),
            ((1, 0), (x + 1, z), (x + 1, z + 1)),
            ((0, 1), (x + 1, z + 1), (x, z + 1)),
            ((-1, 0), (x, z + 1), (x, z)),
        ):
            if (x + dx, z + dz) not in squares:
                onward[start] = end
    first = min(onward)
    path = [first]
    while onward[path[-1]] != first:
        path.append(onward[path[-1]])
    count = len(path)
    return [
        path[i]
        for i in range(count)
        if (path[i][0] - path[i - 1][0], path[i][1] - path[i - 1][1])
        != (path[(i + 1) % count][0] - path[i][0], path[(i + 1) % count][1] - path[i][1])
    ]


def _turn(before: _Place, here: _Place, after: _Place) -> float:
    """Radians that the way turns at `here`, positive to the left."""
    a, b = (here[0] - before[0], here[1] - before[1]), (after[0] - here[0], after[1] - here[1])
    # Seen from above, z grows downwards: the cross product's sign is turned round.
    return math.atan2(a[1] * b[0] - a[0] * b[1], a[0] * b[0] + a[1] * b[1])


def _bend(form: _Dice, style: _Style, loop: list[_Place], boldness: float) -> list[_Corner]:
    """Cut some corners, then give each a radius that its two straights have room for."""
    count = len(loop)
    places: list[_Place] = []
    for i, here in enumerate(loop):
        before, after = loop[i - 1], loop[(i + 1) % count]
        a, b = math.dist(before, here), math.dist(here, after)
        room = min(a, b)
        if form.chance(0.35 * boldness) and room > 1.6 * style.pitch:
            # Two gentle bends in place of a sharp one.
            cut = form.number(0.25, 0.42)
            places.append(_between(here, before, cut * room / a))
            places.append(_between(here, after, cut * room / b))
        else:
            places.append(here)
    count = len(places)
    turns = [_turn(places[i - 1], places[i], places[(i + 1) % count]) for i in range(count)]
    legs = [math.dist(places[i], places[(i + 1) % count]) for i in range(count)]
    tight = _mix(0.25, 0.85, style.difficulty)
    corners = []
    for i, place in enumerate(places):
        tangent = math.tan(abs(turns[i]) / 2)
        most = 0.485 * min(legs[i - 1], legs[i]) / max(tangent, 1e-3)
        most = min(most, 420.0)
        share = form.number() ** (0.6 + 1.4 * tight)
        radius = max(most * share, min(style.smallest * 1.02, most))
        corners.append(_Corner(place, radius, turns[i]))
    return corners


def _between(a: _Place, b: _Place, share: float) -> _Place:
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share


def _tangent(corner: _Corner) -> float:
    return corner.radius * math.tan(abs(corner.turn) / 2)


def _free(corners: list[_Corner], i: int) -> float:
    """Straight road between corner `i` and the one after it."""
    following = corners[(i + 1) % len(corners)]
    leg = math.dist(corners[i].at, following.at)
    return leg - _tangent(corners[i]) - _tangent(following)


def _lap(corners: list[_Corner]) -> float:
    return sum(
        _free(corners, i) + abs(corner.turn) * corner.radius for i, corner in enumerate(corners)
    )


def _start(corners: list[_Corner]) -> list[_Corner] | None:
    """Begin the lap on the longest straight, tightening its two bends where that is needed."""
    need = _START_ROOM + _START_RUN + 10.0
    longest = max(range(len(corners)), key=lambda i: _free(corners, i))
    free = _free(corners, longest)
    if free < need:
        return None
    here, following = corners[longest], corners[(longest + 1) % len(corners)]
    leg = math.dist(here.at, following.at)
    along = _tangent(here) + _START_ROOM + 0.3 * (free - need)
    line = _Corner(_between(here.at, following.at, along / leg))
    order = [*corners[longest + 1 :], *corners[: longest + 1]]
    return [line, *order]


def _straights(form: _Dice, corners: list[_Corner]) -> list[_Corner]:
    """Put points on long straights, where edges may change and hills have their tops."""
    out: list[_Corner] = []
    for i, corner in enumerate(corners):
        out.append(corner)
        following = corners[(i + 1) % len(corners)]
        free = _free(corners, i)
        if free > 330.0:
            leg = math.dist(corner.at, following.at)
            along = _tangent(corner) + free * form.number(0.4, 0.6)
            out.append(_Corner(_between(corner.at, following.at, along / leg)))
    return out


def _centred(corners: list[_Corner]) -> list[_Corner]:
    """Move the course to the middle of the map, and round."""
    xs, zs = [c.at[0] for c in corners], [c.at[1] for c in corners]
    x, z = (min(xs) + max(xs)) / 2, (min(zs) + max(zs)) / 2
    for corner in corners:
        corner.at = round(corner.at[0] - x, 2), round(corner.at[1] - z, 2)
        corner.radius = math.floor(corner.radius * 10) / 10
    return corners


# What it is like there.


def _heights(dice: _Dice, style: _Style, corners: list[_Corner], boldness: float) -> None:
    """Lay hills: three waves along the lap, together never steeper than the course may be."""
    places, place = [], 0.0
    for i, corner in enumerate(corners):
        arc = abs(corner.turn) * corner.radius
        places.append(place if i == 0 else place + arc / 2)
        place += (arc if i else 0.0) + _free(corners, i)
    lap = place
    steepest = _mix(0.025, 0.09, style.difficulty) * dice.number(0.4, 1.0) * boldness
    shares = [dice.number() ** 2 for _ in range(3)]
    waves = [
        (number, share / sum(shares) * steepest * lap / (math.tau * number), dice.number(0, lap))
        for number, share in enumerate(shares, 1)
    ]
    for corner, at in zip(corners, places, strict=True):
        if corner.turn:
            corner.bank = float(round(dice.number(1.0, 6.0)))
        corner.width = float(round(style.width * dice.number(0.9, 1.1)))
        height = sum(
            size * math.sin(math.tau * number * (at - shift) / lap) for number, size, shift in waves
        )
        corner.height = round(height, 1)
    # The grid stands level across.
    corners[0].width = None


_KINDS: Final = {
    # name: surface of the shoulder, width at difficulty 0 and 1, end, how it likes difficulty
    "fence": ("weak off-road", 14, 8, "wall", -1.0),
    "meadow": ("weak off-road", 60, 30, "wall", -1.0),
    "gravel": ("off-road", 50, 28, "wall", 0.0),
    "mud": ("heavy off-road", 26, 18, "wall", 0.3),
    "common": ("weak off-road", 44, 30, "bounds", 0.4),
    "beach": ("off-road", 44, 26, "drop", 0.6),
    "cliff": ("off-road", 22, 10, "drop", 1.0),
}


def _sides(
    dice: _Dice, style: _Style, corners: list[_Corner], boldness: float
) -> dict[str, tuple[str, int, str]]:
    """Choose the edges; those inside a bend must fit into it."""
    kinds = {
        name: (surface, round(_mix(easy, hard, style.difficulty)), end)
        for name, (surface, easy, hard, end, _) in _KINDS.items()
    }
    weights = {
        name: max(0.0, 0.9 + liking * (2.4 * style.difficulty - 1.1))
        for name, (_, _, _, _, liking) in _KINDS.items()
    }

    def draw(inside: float | None) -> str:
        names = [
            name
            for name, (_, width, end) in kinds.items()
            if inside is None
            or style.width * 1.1 / 2 + width + (45 if end == "bounds" else 0) + 13 <= inside
        ] or ["fence"]
        total = sum(weights[name] for name in names)
        left = dice.number(0, total)
        for name in names:
            left -= weights[name]
            if left <= 0:
                return name
        return names[-1]

    now: dict[str, str] = {}
    for corner in corners:
        for side, sign in (("left", 1.0), ("right", -1.0)):
            inside = corner.radius if corner.turn * sign > 0 else None
            change = dice.chance(0.5 * boldness)
            name = draw(inside)
            kept = now.get(side)
            if kept is not None and not change:
                _, width, end = kinds[kept]
                need = style.width * 1.1 / 2 + width + (45 if end == "bounds" else 0) + 13
                if inside is None or need <= inside:
                    name = kept
            now[side] = name
            setattr(corner, side, name)
    return kinds


def _ices(dice: _Dice, style: _Style, corners: list[_Corner], theme: str) -> None:
    """Let it snow, and here and there freeze."""
    if theme != "snow":
        return
    surface = "packed snow"
    share = _mix(0.2, 0.6, style.difficulty)
    for corner in corners[1:]:
        if dice.chance(0.6):
            surface = "slippery road" if dice.chance(share) else dice.pick(["road", "packed snow"])
        corner.surface = surface
        # Where a kart slides out of a tight bend, it is to slide along a wall, not off the course
        # again and again; and ice is for the wide ones.
        if corner.turn and corner.surface == "slippery road" and corner.radius < _ICY_RADIUS:
            corner.surface = surface = "packed snow"
    # What the last point has holds up to the line: the grid stands on a road.
    corners[-1].surface = "road"
    for i, corner in enumerate(corners):
        if corner.surface != "road" or corners[i - 1].surface != "road":
            for side in ("left", "right"):
                if _KINDS[getattr(corner, side)][3] != "wall":
                    setattr(corner, side, "fence")


def _pads(dice: _Dice, style: _Style, corners: list[_Corner]) -> list[str]:
    """Put boost pads, jumps and items on the straights; returns their lines."""
    lines: list[str] = []
    jumps = items = 0
    for i, corner in enumerate(corners):
        if i == 0 or corner.turn:
            continue
        following = corners[(i + 1) % len(corners)]
        before = math.dist(corners[i - 1].at, corner.at) - _tangent(corners[i - 1])
        after = math.dist(corner.at, following.at) - _tangent(following)
        if following is corners[0]:
            after -= _START_ROOM
        narrow = math.floor(style.width * 0.9)
        kind, side = dice.number(), dice.number(-1.0, 1.0)
        if jumps < 2 and before + after > _JUMP_ROOM and kind < _mix(0.25, 0.6, style.difficulty):
            jumps += 1
            gap = round(dice.number(36, 60))
            start = math.floor(after - _LANDING - gap - 36)
            lines += _entry("pad", kind="jump", point=i, offset=start, width=narrow, length=28)
            lines += _entry("gap", point=i, offset=start + 34, length=gap)
        elif kind > 0.55 and after > 60.0:
            wide = round(dice.number(32, 52))
            lines += _entry(
                "pad",
                kind="boost",
                point=i,
                offset=-20,
                side=round(side * (narrow - wide) / 2.2),
                width=wide,
                length=40,
            )
        elif items < 3:
            items += 1
            lines += _entry("items", point=i, offset=0, count=dice.whole(3, 5))
    if not items:
        lines += _entry("items", point=0, offset=60, count=4)
    return lines


def _entry(name: str, **values: object) -> list[str]:
    shown = {
        key: f'"{value}"' if isinstance(value, str) else f"{value}" for key, value in values.items()
    }
    return ["", f"[[{name}]]", *(f"{key} = {value}" for key, value in shown.items())]


# On paper.


def _write(
    seed: int,
    dice: _Dice,
    style: _Style,
    corners: list[_Corner],
    edges: dict[str, tuple[str, int, str]],
    extras: list[str],
    theme: str,
    length: float,
) -> str:
    """The text of the description."""
    laps = min(5, max(2, round(11_000 / length)))
    lines = [
        f'title = "Random course {seed}"',
        f'name = "{COURSES[COURSE_ID]}"',
        f"id = {COURSE_ID}",
        f"laps = {laps}",
        "",
        "[road]",
        f"width = {style.width:g}",
        "blend = 120",
        "",
        "[scenery]",
        f'theme = "{theme}"',
        f"trees = {dice.whole(20, 50)}",
        f"seed = {dice.whole(1, 10_000)}",
    ]
    used = {name for corner in corners for name in (corner.left, corner.right)}
    for name, (surface, width, end) in edges.items():
        if name in used:
            lines += ["", f"[edges.{name}]", f'surface = "{surface}"', f"width = {width}"]
            lines += [f'end = "{end}"']
    left = right = surface = ""
    for corner in corners:
        lines += ["", "[[point]]", f"at = [{corner.at[0]:g}, {corner.at[1]:g}]"]
        if corner.turn:
            lines.append(f"radius = {corner.radius:g}")
        if corner.height is not None:
            lines.append(f"height = {corner.height:g}")
        if corner.width is not None:
            lines.append(f"width = {corner.width:g}")
        if corner.bank:
            lines.append(f"bank = {corner.bank:g}")
        if corner.left != left:
            lines.append(f'left = "{corner.left}"')
        if corner.right != right:
            lines.append(f'right = "{corner.right}"')
        if corner.surface != (surface or "road"):
            lines.append(f'surface = "{corner.surface}"')
        left, right, surface = corner.left, corner.right, corner.surface
    return "\n".join(lines + extras) + "\n"
