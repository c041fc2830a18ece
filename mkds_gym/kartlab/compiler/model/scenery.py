"""Objects beside the road, the gate over the start line, and the water or sand below."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkds_gym.kartlab.compiler.model.drawn_path import WALL_DEPTH, DrawnPath
from mkds_gym.kartlab.compiler.model.klm import Faces
from mkds_gym.kartlab.compiler.model.painter import Colours, Painter, mix

Floats = NDArray[np.float64]

WATER_LIMIT = 5100.0
"""Largest |x| and |z| of the water, in world units."""

WATER_TILE = 850.0
"""Side of the water's square tiles, in world units."""


def water(colours: Colours, paths: list[DrawnPath], height: float) -> Faces:
    """Draw the water: tiles over the whole plane, lighter near the land."""
    ground = np.concatenate([path.ribbon.centre[:, [0, 2]] for path in paths])
    tiles = round(2 * WATER_LIMIT / WATER_TILE)
    lattice = np.linspace(-WATER_LIMIT, WATER_LIMIT, tiles + 1)
    x, z = np.meshgrid(lattice, lattice)  # rows along z
    away = np.hypot(x[..., None] - ground[:, 0], z[..., None] - ground[:, 1]).min(axis=2)
    depth = np.clip((away - 375) / 1500, 0, 1)[..., None]
    tones = mix(colours["shallows"], colours["water"], depth)
    points = np.stack([x, np.full_like(x, height), z], axis=2)
    row, column = (index.ravel() for index in np.indices((tiles, tiles)))
    # Two tiles in a row make a strip.
    corners = ((0, 0), (1, 0), (1, 1), (0, 1))
    faces = Faces()
    faces.add(
        row // 2 * ((tiles + 1) // 2) + column // 2,
        np.stack([points[row + i, column + j] for i, j in corners], axis=1),
        np.stack([tones[row + i, column + j] for i, j in corners], axis=1),
    )
    return faces


@dataclass(frozen=True)
class _Part:
    """Faces (N, 4, 3) of one colour, of an object of size 1 on the ground."""

    corners: Floats
    colour: str
    tone: float = 1.0
    lit: bool = True


def _ring(
    radius: float, height: float, corners: int, turn: float, at: tuple[float, float]
) -> Floats:
    angle = math.tau * np.arange(corners + 1) / corners + turn
    x, z = at[0] + radius * np.sin(angle), at[1] + radius * np.cos(angle)
    return np.stack([x, np.full_like(x, height), z], axis=1)


def _body(
    colour: str,
    *rings: tuple[float, float],
    corners: int = 4,
    turn: float = 0.0,
    at: tuple[float, float] = (0.0, 0.0),
    tone: float = 1.0,
    lit: bool = True,
) -> list[_Part]:
    """Return the sides between rings of (radius, height), from the ground up."""
    out = []
    for (r0, h0), (r1, h1) in itertools.pairwise(rings):
        low, high = (_ring(r, h, corners, turn, at) for r, h in ((r0, h0), (r1, h1)))
        sides = np.stack([high[:-1], low[:-1], low[1:], high[1:]], axis=1)
        out.append(_Part(sides, colour, tone, lit))
    return out


def _palm() -> list[_Part]:
    leaves = []
    for angle in math.tau * np.arange(5) / 5:
        out = np.array([math.sin(angle), 0.0, math.cos(angle)])
        side = np.array([out[2], 0.0, -out[0]]) * 0.12
        top, tip = np.array([0.0, 0.82, 0.0]), out * 0.5 + np.array([0.0, 0.62, 0.0])
        bend = out * 0.26 + np.array([0.0, 0.90, 0.0])
        leaf = np.stack([top, bend - side, tip, bend + side])
        leaves += [leaf, leaf[::-1]]
    return [
        *_body("trunk", (0.05, -0.1), (0.03, 0.84), corners=3),
        _Part(np.array(leaves), "tree", 1.0),
    ]


_TRUNK = _body("trunk", (0.10, -0.12), (0.08, 0.4), corners=3)
_CROWN = _body("tree", (0.22, 0.34), (0.44, 0.62), tone=0.85)
_DOME = ((0.44, 0.62), (0.0, 1.1))
_LEAVES = _body("tree", (0.42, 0.28), (0.0, 0.78), turn=0.27, tone=0.9)
_CONE = ((0.30, 0.6), (0.0, 1.15))
_WINDOWS = [
    part
    for low in (0.35, 0.75, 1.15)
    for part in _body("extra", (0.42, low), (0.42, low + 0.12), turn=0.785, lit=False)
]

OBJECTS: dict[str, tuple[list[_Part], list[_Part]]] = {
    "conifer": (
        [*_TRUNK, *_LEAVES, *_body("tree", *_CONE, turn=0.345, tone=1.15)],
        _body("tree", (0.46, 0.26), (0.0, 1.15), corners=3),
    ),
    "snowy conifer": (
        [*_TRUNK, *_LEAVES, *_body("extra", *_CONE, turn=0.345)],
        [
            *_body("tree", (0.46, 0.26), (0.2, 0.76), corners=3),
            *_body("extra", (0.28, 0.7), (0.0, 1.15), corners=3),
        ],
    ),
    "tree": (
        [*_TRUNK, *_CROWN, *_body("tree", *_DOME, tone=1.1)],
        _body("tree", (0.2, 0.25), (0.44, 0.62), (0.0, 1.1), corners=3),
    ),
    "golden tree": (
        [*_TRUNK, *_body("extra", (0.22, 0.34), (0.44, 0.62), tone=0.85), *_body("extra", *_DOME)],
        _body("extra", (0.2, 0.25), (0.44, 0.62), (0.0, 1.1), corners=3),
    ),
    "cactus": (
        [
            *_body("tree", (0.10, -0.1), (0.10, 0.9), (0.0, 1.0)),
            *_body("tree", (0.06, 0.45), (0.07, 0.75), (0.0, 0.82), corners=3, at=(0.25, 0.0)),
            *_body("tree", (0.06, 0.3), (0.07, 0.6), (0.0, 0.67), corners=3, at=(-0.25, 0.0)),
            *_body("tree", (0.27, 0.38), (0.27, 0.48), corners=2, turn=1.571, tone=0.9),
        ],
        _body("tree", (0.13, 0.0), (0.1, 1.0), corners=3),
    ),
    "rock": (
        _body("rock", (0.5, -0.15), (0.36, 0.3), (0.0, 0.48), corners=5),
        _body("rock", (0.5, -0.1), (0.0, 0.5), corners=3),
    ),
    "mesa": (
        _body("extra", (0.6, -0.15), (0.42, 0.7), (0.46, 0.9), (0.0, 0.95), corners=5),
        _body("extra", (0.55, -0.1), (0.45, 0.9), (0.0, 0.95), corners=3),
    ),
    "lamp": (
        [
            *_body("trunk", (0.05, -0.1), (0.03, 1.0), corners=3),
            *_body("extra", (0.04, 0.96), (0.12, 1.06), (0.0, 1.16), corners=4, lit=False),
        ],
        [
            *_body("trunk", (0.05, 0.0), (0.04, 1.0), corners=3),
            *_body("extra", (0.14, 0.96), (0.0, 1.16), corners=3, lit=False),
        ],
    ),
    "tower": (
        [*_body("tree", (0.4, -0.2), (0.4, 1.5), (0.0, 1.56), turn=0.785), *_WINDOWS],
        _body("tree", (0.4, -0.1), (0.4, 1.5), turn=0.785),
    ),
    "dead tree": (
        [
            *_body("trunk", (0.10, -0.12), (0.05, 0.6), (0.0, 1.0), corners=3),
            *_body("trunk", (0.05, 0.5), (0.0, 0.85), corners=3, at=(0.12, 0.05)),
        ],
        _body("trunk", (0.10, 0.0), (0.0, 1.0), corners=3),
    ),
    "ember": (
        [
            *_body("rock", (0.42, -0.15), (0.2, 0.4), corners=5),
            *_body("extra", (0.2, 0.4), (0.0, 0.46), corners=5, lit=False),
        ],
        _body("rock", (0.42, -0.1), (0.0, 0.44), corners=3),
    ),
    "palm": (
        _palm(),
        [
            *_body("trunk", (0.05, 0.0), (0.04, 0.84), corners=3),
            *_body("tree", (0.45, 0.68), (0.0, 0.95), corners=3),
        ],
    ),
    "crystal": (
        _body("tree", (0.05, 0.0), (0.2, 0.4), (0.0, 1.0)),
        _body("tree", (0.05, 0.0), (0.2, 0.4), (0.0, 1.0), corners=3),
    ),
    "rose crystal": (
        _body("extra", (0.05, 0.0), (0.2, 0.4), (0.0, 1.0)),
        _body("extra", (0.05, 0.0), (0.2, 0.4), (0.0, 1.0), corners=3),
    ),
}
"""Objects beside the road, by name: their parts drawn near and far."""


def plant(painters: list[Painter], seed: int, wanted: int, kinds: tuple[str, ...]) -> None:
    """Put objects on the land beyond the edges, away from every road and from each other."""
    random = np.random.default_rng(seed)
    tries = 60 * wanted
    counts = np.array([len(painter.path.segments.of) for painter in painters])
    starts = np.cumsum(counts) - counts
    place = random.integers(int(counts.sum()), size=tries)
    side = random.integers(2, size=tries)
    part = random.uniform(0.14, 0.5, tries)
    sizes = random.uniform(70, 130, tries)
    tints = random.uniform(0.85, 1.2, tries)
    turns = random.uniform(0, math.tau, tries)
    chosen_kind = random.integers(len(kinds), size=tries)
    ground = np.concatenate([painter.path.ribbon.centre[:, [0, 2]] for painter in painters])
    reach = np.concatenate([painter.path.outer.max(axis=0) for painter in painters]) + 55
    fits = np.concatenate([_room(painter) for painter in painters], axis=1)
    feet: list[Floats] = []
    for index in np.flatnonzero(fits[side, place]):
        which = int(np.searchsorted(starts, place[index], side="right")) - 1
        painter, k, s = painters[which], int(place[index] - starts[which]), int(side[index])
        path, sign = painter.path, 1.0 if s == 0 else -1.0
        outer = float(path.outer[s, k]) + WALL_DEPTH
        width = float(painter.skirt[s, k])
        foot = path.ribbon.point(k, sign * (outer + width * part[index]))
        near = ((ground - foot[[0, 2]]) ** 2).sum(axis=1) < reach**2
        if near.any() or any(math.dist(other[::2], foot[::2]) < 60 for other in feet):
            continue
        foot[1] = painter.land_height(s, k, outer, float(part[index]))
        feet.append(foot)
        chunk = int(painter.land_chunk[s, k])
        for far, parts in enumerate(OBJECTS[kinds[int(chosen_kind[index])]]):
            _stand(painter, chunk, parts, foot, sizes[index], turns[index], tints[index], bool(far))
        if len(feet) == wanted:
            break


def _room(painter: Painter) -> NDArray[np.bool_]:
    """Return (2, S) whether the land beside a segment has room for objects."""
    path = painter.path
    ends = path.ends
    fits = (painter.skirt[:, path.segments.here] >= 175) & (ends != "drop")
    return np.asarray(fits & (np.roll(ends, 1, axis=1) == ends) & path.floor & ~path.bridge)


def _stand(
    painter: Painter,
    chunk: int,
    parts: list[_Part],
    foot: Floats,
    size: float,
    turn: float,
    tint: float,
    far: bool,
) -> None:
    """Draw one object at its foot, turned and tinted."""
    sine, cosine = math.sin(turn), math.cos(turn)
    matrix = np.array([[cosine, 0.0, -sine], [0.0, 1.0, 0.0], [sine, 0.0, cosine]]) * size
    for part in parts:
        tone = painter.colours[part.colour] * part.tone * (tint if part.lit else 1.0)
        corners = part.corners @ matrix + foot
        painter.faces.add(chunk, corners, tone, lit=part.lit, far=far)


def arch(painter: Painter) -> None:
    """Draw the gate over the start line: two posts and a chequered beam."""
    path, colours = painter.path, painter.colours
    left = float(path.outer[0, 0]) + 1.0
    right = -float(path.outer[1, 0]) - 1.0
    heading = float(path.ribbon.heading[0])
    ahead = np.array([math.sin(heading), 0, math.cos(heading)])
    white, blue = colours["wall top"], colours["wall"]
    light, dark = colours["light"], colours["dark"]
    low, high, thick = 120.0, 165.0, 12.0
    chunk = int(painter.chunk[0])

    def quad(tone: Floats, *corners: tuple[float, float, float], lit: bool = True) -> None:
        """Draw a quad of corners (offset, height, distance ahead)."""
        points = [path.ribbon.point(0, u, rise) + ahead * along for u, rise, along in corners]
        painter.faces.add(chunk, np.array([points]), tone, lit=lit)

    for post, width in ((left, 16.0), (right - 16.0, 16.0)):
        for bottom, top, tone in ((-16.0, 75.0, blue), (75.0, high, white)):
            feet = ((width, -thick), (0.0, -thick), (0.0, thick), (width, thick))
            for (a, m), (b, n) in itertools.pairwise((*feet, feet[0])):
                a, b = post + a, post + b
                quad(tone, (a, bottom, m), (b, bottom, n), (b, top, n), (a, top, m))
    columns, middle, front = 14, (low + high) / 2, -thick
    for column in range(columns):
        u = left + (right - left) * column / columns
        v = left + (right - left) * (column + 1) / columns
        for row, (bottom, top) in enumerate(((low, middle), (middle, high))):
            corners = ((u, bottom, front), (v, bottom, front), (v, top, front), (u, top, front))
            quad(light if (row + column) % 2 else dark, *corners, lit=False)
    rear = ((right, low, thick), (left, low, thick), (left, high, thick), (right, high, thick))
    quad(blue, *rear)
    below = ((left, low, front), (left, low, thick), (right, low, thick), (right, low, front))
    quad(blue * 0.8, *below)
