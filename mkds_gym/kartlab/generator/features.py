"""Features of a random course along its centre line: hills, edges, ice, pads and items."""

from __future__ import annotations

import math
from typing import Final

from mkds_gym.kartlab.generator.loop import START_ROOM, Corner, Style, mix, straight_after, tangent
from mkds_gym.kartlab.generator.random_numbers import RandomNumbers

_LANDING: Final = 800.0
"""Straight road behind a gap, in world units: a boosted kart flies far."""

_JUMP_ROOM: Final = 1400.0
"""Straight road that a jump needs, in world units: run-up, pad, gap and landing."""

_ICY_RADIUS: Final = 350.0
"""Smallest radius of a bend on ice, in world units."""

_KINDS: Final = {
    # name: surface of the shoulder, widths at difficulty 0 and 1, end, preference for difficulty
    "fence": ("weak off-road", 35, 20, "wall", -1.0),
    "meadow": ("weak off-road", 150, 75, "wall", -1.0),
    "gravel": ("off-road", 125, 70, "wall", 0.0),
    "mud": ("heavy off-road", 65, 45, "wall", 0.3),
    "common": ("weak off-road", 110, 75, "bounds", 0.4),
    "beach": ("off-road", 110, 65, "drop", 0.6),
    "cliff": ("off-road", 55, 25, "drop", 1.0),
}


def add_heights(
    random: RandomNumbers, style: Style, corners: list[Corner], boldness: float
) -> None:
    """Set heights, widths and banks; the hills are three waves along the lap."""
    places, place = [], 0.0
    for i, corner in enumerate(corners):
        arc = abs(corner.turn) * corner.radius
        places.append(place if i == 0 else place + arc / 2)
        place += (arc if i else 0.0) + straight_after(corners, i)
    lap = place
    steepest = mix(0.025, 0.09, style.difficulty) * random.number(0.4, 1.0) * boldness
    shares = [random.number() ** 2 for _ in range(3)]
    waves = [
        (number, share / sum(shares) * steepest * lap / (math.tau * number), random.number(0, lap))
        for number, share in enumerate(shares, 1)
    ]
    for corner, at in zip(corners, places, strict=True):
        if corner.turn:
            corner.bank = float(round(random.number(1.0, 6.0)))
        corner.width = float(round(style.width * random.number(0.9, 1.1)))
        height = sum(
            size * math.sin(math.tau * number * (at - shift) / lap) for number, size, shift in waves
        )
        corner.height = round(height, 1)
    # The grid is level across.
    corners[0].width = None


def add_sides(
    random: RandomNumbers, style: Style, corners: list[Corner], boldness: float
) -> dict[str, tuple[str, int, str]]:
    """Set the edges of all corners; an edge inside a bend must fit.

    Returns:
        Surface, width and end of each kind of edge.
    """
    kinds = {
        name: (surface, round(mix(easy, hard, style.difficulty)), end)
        for name, (surface, easy, hard, end, _) in _KINDS.items()
    }
    weights = {
        name: max(0.0, 0.9 + liking * (2.4 * style.difficulty - 1.1))
        for name, (_, _, _, _, liking) in _KINDS.items()
    }

    def fits(name: str, inside: float | None) -> bool:
        """Return whether an edge fits inside a bend of this radius; None is not inside."""
        _, width, end = kinds[name]
        need = style.width * 1.1 / 2 + width + (112 if end == "bounds" else 0) + 32
        return inside is None or need <= inside

    def draw(inside: float | None) -> str:
        names = [name for name in kinds if fits(name, inside)] or ["fence"]
        total = sum(weights[name] for name in names)
        left = random.number(0, total)
        for name in names:
            left -= weights[name]
            if left <= 0:
                return name
        return names[-1]

    current: dict[str, str] = {}
    for corner in corners:
        for side, sign in (("left", 1.0), ("right", -1.0)):
            inside = corner.radius if corner.turn * sign > 0 else None
            change = random.chance(0.5 * boldness)
            name = draw(inside)
            previous = current.get(side)
            if previous is not None and not change and fits(previous, inside):
                name = previous
            current[side] = name
            setattr(corner, side, name)
    return kinds


def add_ice(random: RandomNumbers, style: Style, corners: list[Corner]) -> None:
    """Set snowy and icy surfaces."""
    surface = "packed snow"
    share = mix(0.2, 0.6, style.difficulty)
    for corner in corners[1:]:
        if random.chance(0.6):
            surface = (
                "slippery road" if random.chance(share) else random.pick(["road", "packed snow"])
            )
        corner.surface = surface
        # Ice is for wide bends only.
        if corner.turn and corner.surface == "slippery road" and corner.radius < _ICY_RADIUS:
            corner.surface = surface = "packed snow"
    # The surface of the last point holds up to the line: the grid needs a road.
    corners[-1].surface = "road"
    # A kart that slides out of a bend slides along a wall instead of off the course.
    for i, corner in enumerate(corners):
        if corner.surface != "road" or corners[i - 1].surface != "road":
            for side in ("left", "right"):
                if _KINDS[getattr(corner, side)][3] != "wall":
                    setattr(corner, side, "fence")


def add_pads(random: RandomNumbers, style: Style, corners: list[Corner]) -> list[str]:
    """Return the TOML lines of boost pads, jumps and items on the straights."""
    lines: list[str] = []
    jumps = items = 0
    for i, corner in enumerate(corners):
        if i == 0 or corner.turn:
            continue
        following = corners[(i + 1) % len(corners)]
        before = math.dist(corners[i - 1].at, corner.at) - tangent(corners[i - 1])
        after = math.dist(corner.at, following.at) - tangent(following)
        if following is corners[0]:
            after -= START_ROOM
        narrow = math.floor(style.width * 0.9)
        kind, side = random.number(), random.number(-1.0, 1.0)
        if jumps < 2 and before + after > _JUMP_ROOM and kind < mix(0.25, 0.6, style.difficulty):
            jumps += 1
            gap = round(random.number(90, 150))
            start = math.floor(after - _LANDING - gap - 90)
            lines += _entry("pad", kind="jump", point=i, offset=start, width=narrow, length=70)
            lines += _entry("gap", point=i, offset=start + 85, length=gap)
        elif kind > 0.55 and after > 150.0:
            wide = round(random.number(80, 130))
            lines += _entry(
                "pad",
                kind="boost",
                point=i,
                offset=-50,
                side=round(side * (narrow - wide) / 2.2),
                width=wide,
                length=100,
            )
        elif items < 3:
            items += 1
            lines += _entry("items", point=i, offset=0, count=random.integer(5, 7))
    if not items:
        lines += _entry("items", point=0, offset=150, count=6)
    return lines


def _entry(name: str, **values: object) -> list[str]:
    shown = {
        key: f'"{value}"' if isinstance(value, str) else f"{value}" for key, value in values.items()
    }
    return ["", f"[[{name}]]", *(f"{key} = {value}" for key, value in shown.items())]
