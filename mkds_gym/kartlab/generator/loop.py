"""The centre line of a random course: a loop around a random shape of squares."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from mkds_gym.kartlab.generator.random_numbers import RandomNumbers

Place = tuple[float, float]
_Cell = tuple[int, int]

START_ROOM: Final = 475.0
"""Straight road before the start line, in world units: room for the grid."""

START_RUN: Final = 225.0
"""Straight road after the start line, in world units."""

_AROUND: Final = ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1))


@dataclass
class Corner:
    """A point of a course under construction."""

    at: Place
    radius: float = 0.0
    turn: float = 0.0
    """In radians, positive to the left; 0 on a straight."""
    height: float | None = None
    width: float | None = None
    bank: float = 0.0
    left: str = ""
    right: str = ""
    surface: str = "road"


@dataclass(frozen=True)
class Style:
    """Dimensions that follow from the difficulty, in world units.

    Attributes:
        difficulty: 0 to 1.
        width: of the road.
        pitch: smallest distance between parallel roads.
        smallest: smallest radius of a bend.
    """

    difficulty: float
    width: float
    pitch: float
    smallest: float


def mix(easy: float, hard: float, difficulty: float) -> float:
    """Return the value for a difficulty of 0 to 1."""
    return easy + (hard - easy) * difficulty


def lay_corners(
    shape: RandomNumbers, form: RandomNumbers, style: Style, length: float, boldness: float
) -> list[Corner] | None:
    """Lay the corners of a course, from the start line on.

    Args:
        shape: random numbers for the squares.
        form: random numbers for everything else.
        style: dimensions.
        length: of the lap, in world units.
        boldness: 0 to 1; lower values give plainer courses.

    Returns:
        The corners; None if they are too close together or leave no room for the start.
    """
    corners = _bend(form, style, _loop(shape, form, style, length, boldness), boldness)
    scale = length / _lap(corners)
    if scale < 0.97:
        return None
    corners = [
        Corner((c.at[0] * scale, c.at[1] * scale), c.radius * scale, c.turn) for c in corners
    ]
    started = _start(corners)
    return None if started is None else _centred(_straights(form, started))


def _loop(
    shape: RandomNumbers, form: RandomNumbers, style: Style, length: float, boldness: float
) -> list[Place]:
    """Return the corners of a rectangular loop whose roads are at least `style.pitch` apart."""
    # Each square adds at most two sides; sides are 1.2 pitches long on average.
    most = max(2, int((length / (1.12 * style.pitch) - 2) / 2))
    count = shape.integer(max(2, round(most * 0.6)), most)
    squares = _squares(shape, count, boldness)
    path = _outline(squares)
    if shape.chance(0.5):  # the opposite direction
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
    corners = []
    for column, row in path:
        x, z = lines[0][column], lines[1][row]
        # Corners stray by so little that no two roads can meet.
        stray = 0.16 * boldness * style.pitch
        x += form.number(-stray, stray)
        z += form.number(-stray, stray)
        corners.append((x * cosine - z * sine, x * sine + z * cosine))
    return corners


def _squares(random: RandomNumbers, count: int, boldness: float) -> set[_Cell]:
    """Return squares whose outline is one loop that does not touch itself."""
    squares = {(0, 0)}
    order: list[_Cell] = [(0, 0)]
    # Tendency towards arms rather than lumps.
    lanky = random.number(0.3, 1.0) * boldness
    while len(order) < count:
        options: list[tuple[int, _Cell]] = []
        for x, z in order:
            for dx, dz in _AROUND[::2]:
                cell = x + dx, z + dz
                around = [(cell[0] + ax, cell[1] + az) in squares for ax, az in _AROUND]
                # Its neighbours must be contiguous: sides, with corners between them.
                changes = sum(around[i] != around[i - 1] for i in range(8))
                if cell in squares or changes != 2 or not any(around[::2]):
                    continue
                sides = sum(around[::2])
                corners = sum(around[1::2])
                # A square that touches only by a corner would pinch the outline.
                if corners > sides + 1 or any(
                    around[i] and not (around[i - 1] or around[(i + 1) % 8]) for i in (1, 3, 5, 7)
                ):
                    continue
                options.append((sides, cell))
        fewest = min(sides for sides, _ in options)
        if random.chance(lanky):
            options = [option for option in options if option[0] == fewest]
        cell = random.pick(sorted({cell for _, cell in options}))
        order.append(cell)
        squares.add(cell)
    return squares


def _outline(squares: set[_Cell]) -> list[_Cell]:
    """Return the corners of the outline of squares."""
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


def _turn(before: Place, here: Place, after: Place) -> float:
    """Return the turn at `here` in radians, positive to the left."""
    a, b = (here[0] - before[0], here[1] - before[1]), (after[0] - here[0], after[1] - here[1])
    # Seen from above, z grows downwards: the cross product has the opposite sign.
    return math.atan2(a[1] * b[0] - a[0] * b[1], a[0] * b[0] + a[1] * b[1])


def _bend(form: RandomNumbers, style: Style, loop: list[Place], boldness: float) -> list[Corner]:
    """Cut some corners, and give each corner a radius that fits its two straights."""
    count = len(loop)
    places: list[Place] = []
    for i, here in enumerate(loop):
        before, after = loop[i - 1], loop[(i + 1) % count]
        a, b = math.dist(before, here), math.dist(here, after)
        room = min(a, b)
        if form.chance(0.35 * boldness) and room > 1.6 * style.pitch:
            # Two gentle bends instead of a sharp bend.
            cut = form.number(0.25, 0.42)
            places.append(_between(here, before, cut * room / a))
            places.append(_between(here, after, cut * room / b))
        else:
            places.append(here)
    count = len(places)
    turns = [_turn(places[i - 1], places[i], places[(i + 1) % count]) for i in range(count)]
    legs = [math.dist(places[i], places[(i + 1) % count]) for i in range(count)]
    tight = mix(0.25, 0.85, style.difficulty)
    corners = []
    for i, place in enumerate(places):
        tangent = math.tan(abs(turns[i]) / 2)
        most = 0.485 * min(legs[i - 1], legs[i]) / max(tangent, 1e-3)
        most = min(most, 1050.0)
        share = form.number() ** (0.6 + 1.4 * tight)
        radius = max(most * share, min(style.smallest * 1.02, most))
        corners.append(Corner(place, radius, turns[i]))
    return corners


def _between(a: Place, b: Place, share: float) -> Place:
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share


def tangent(corner: Corner) -> float:
    """Return the distance from a corner to the ends of its arc."""
    return corner.radius * math.tan(abs(corner.turn) / 2)


def straight_after(corners: list[Corner], i: int) -> float:
    """Return the length of straight road between corner `i` and the next."""
    following = corners[(i + 1) % len(corners)]
    leg = math.dist(corners[i].at, following.at)
    return leg - tangent(corners[i]) - tangent(following)


def _lap(corners: list[Corner]) -> float:
    return sum(
        straight_after(corners, i) + abs(corner.turn) * corner.radius
        for i, corner in enumerate(corners)
    )


def _start(corners: list[Corner]) -> list[Corner] | None:
    """Start the lap on the longest straight; None if no straight is long enough."""
    need = START_ROOM + START_RUN + 25.0
    longest = max(range(len(corners)), key=lambda i: straight_after(corners, i))
    free = straight_after(corners, longest)
    if free < need:
        return None
    here, following = corners[longest], corners[(longest + 1) % len(corners)]
    leg = math.dist(here.at, following.at)
    along = tangent(here) + START_ROOM + 0.3 * (free - need)
    line = Corner(_between(here.at, following.at, along / leg))
    order = [*corners[longest + 1 :], *corners[: longest + 1]]
    return [line, *order]


def _straights(form: RandomNumbers, corners: list[Corner]) -> list[Corner]:
    """Add points on long straights, where edges may change and hills may have their tops."""
    out: list[Corner] = []
    for i, corner in enumerate(corners):
        out.append(corner)
        following = corners[(i + 1) % len(corners)]
        free = straight_after(corners, i)
        if free > 825.0:
            leg = math.dist(corner.at, following.at)
            along = tangent(corner) + free * form.number(0.4, 0.6)
            out.append(Corner(_between(corner.at, following.at, along / leg)))
    return out


def _centred(corners: list[Corner]) -> list[Corner]:
    """Move the course to the middle of the map, and round its numbers."""
    xs, zs = [c.at[0] for c in corners], [c.at[1] for c in corners]
    x, z = (min(xs) + max(xs)) / 2, (min(zs) + max(zs)) / 2
    for corner in corners:
        corner.at = round(corner.at[0] - x, 2), round(corner.at[1] - z, 2)
        corner.radius = math.floor(corner.radius * 10) / 10
    return corners
