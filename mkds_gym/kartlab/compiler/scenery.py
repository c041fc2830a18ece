"""Draw what stands beside the road: trees, the gate over the start line, the water."""

from __future__ import annotations

import math

import numpy as np

from mkds_gym.kartlab.compiler.klm import Faces, Floats
from mkds_gym.kartlab.compiler.painter import WALL_DEPTH, Colours, Painter, Way, mix

WATER_LIMIT = 2040.0
"""The water reaches this far, in world units: as far as coarse vertices do."""

WATER_TILE = 340.0


def water(colours: Colours, ways: list[Way], height: float) -> Faces:
    """Draw the water: tiles over the whole plane, lighter near the land."""
    ground = np.concatenate([way.ribbon.centre[:, [0, 2]] for way in ways])
    tiles = round(2 * WATER_LIMIT / WATER_TILE)
    lattice = np.linspace(-WATER_LIMIT, WATER_LIMIT, tiles + 1)
    x, z = np.meshgrid(lattice, lattice)  # rows along z
    away = np.hypot(x[..., None] - ground[:, 0], z[..., None] - ground[:, 1]).min(axis=2)
    depth = np.clip((away - 150) / 600, 0, 1)[..., None]
    tones = mix(colours["shallows"], colours["water"], depth)
    points = np.stack([x, np.full_like(x, height), z], axis=2)
    row, column = (index.ravel() for index in np.indices((tiles, tiles)))
    # A row of two tiles is a strip.
    corners = ((0, 0), (1, 0), (1, 1), (0, 1))
    faces = Faces()
    faces.add(
        row // 2 * ((tiles + 1) // 2) + column // 2,
        np.stack([points[row + i, column + j] for i, j in corners], axis=1),
        np.stack([tones[row + i, column + j] for i, j in corners], axis=1),
    )
    return faces


def ring(foot: Floats, radius: Floats, height: Floats, corners: int, turn: float) -> Floats:
    """(N, corners + 1, 3) points around feet (N, 3); the last is the first."""
    angle = math.tau * np.arange(corners + 1) / corners + turn
    points = np.repeat(foot[:, None], corners + 1, axis=1)
    points[..., 0] += radius[:, None] * np.sin(angle)
    points[..., 1] += height[:, None]
    points[..., 2] += radius[:, None] * np.cos(angle)
    return points


def wrap(lower: Floats, upper: Floats) -> Floats:
    """(N * corners, 4, 3) the sides between two rings, one strip around each."""
    sides = np.stack([upper[:, :-1], lower[:, :-1], lower[:, 1:], upper[:, 1:]], axis=2)
    return np.asarray(sides.reshape(-1, 4, 3))


def trees(painter: Painter, seed: int, wanted: int) -> None:
    """Plant trees on the land beyond the edges."""
    way, colours = painter.way, painter.colours
    random = np.random.default_rng(seed)
    tries = 60 * wanted
    station = random.integers(way.stations, size=tries)
    side = random.integers(2, size=tries)
    part = random.uniform(0.14, 0.5, tries)
    sizes = random.uniform(34, 62, tries)
    tints = random.uniform(0.85, 1.2, tries)
    ends = way.ends[side, station]
    fits = (painter.skirt[side, station] >= 70) & (ends != "drop")
    fits &= way.ends[side, station - 1] == ends
    ground = way.ribbon.centre[:, [0, 2]]
    reach = way.outer.max(axis=0) + 22
    feet: list[Floats] = []
    chosen: list[int] = []
    for index in np.flatnonzero(fits):
        k, s = int(station[index]), int(side[index])
        foot = painter.land_line(s, way.outer[s] + WALL_DEPTH, part[index])[k]
        near = ((ground - foot[[0, 2]]) ** 2).sum(axis=1) < reach**2
        if near.any() or any(math.dist(other[::2], foot[::2]) < 26 for other in feet):
            continue
        feet.append(foot)
        chosen.append(int(index))
        if len(feet) == wanted:
            break
    if not feet:
        return
    foot, size = np.array(feet), sizes[chosen]
    leaves = colours["tree"] * tints[chosen][:, None]
    chunk = painter.land_chunk[side[chosen], station[chosen]]
    faces = painter.faces

    def sides(corners: int, tone: float) -> Floats:
        return np.repeat(leaves * tone, corners, axis=0)[:, None]

    roots = ring(foot, 0.10 * size, np.full(len(size), -6.0), 3, 0.0)
    crown = ring(foot, 0.08 * size, 0.4 * size, 3, 0.0)
    faces.add(np.repeat(chunk, 3), wrap(roots, crown), colours["trunk"])
    for radius, bottom, top, tone in ((0.42, 0.28, 0.78, 0.9), (0.30, 0.6, 1.15, 1.15)):
        skirt = ring(foot, radius * size, bottom * size, 4, 0.3 * tone)
        tip = ring(foot, 0 * size, top * size, 4, 0.0)
        faces.add(np.repeat(chunk, 4), wrap(skirt, tip), sides(4, tone))
    # From afar a tree is a pyramid.
    skirt = ring(foot, 0.46 * size, 0.26 * size, 3, 0.0)
    tip = ring(foot, 0 * size, 1.15 * size, 3, 0.0)
    faces.add(np.repeat(chunk, 3), wrap(skirt, tip), sides(3, 1.0), far=True)


def arch(painter: Painter) -> None:
    """Draw the gate over the start line: two posts and a chequered beam."""
    way, colours = painter.way, painter.colours
    left = float(way.outer[0, 0]) + 1.0
    right = -float(way.outer[1, 0]) - 1.0
    heading = float(way.ribbon.heading[0])
    ahead = np.array([math.sin(heading), 0, math.cos(heading)])
    white, blue = colours["wall top"], colours["wall"]
    dark = colours["road"] * 0.35
    low, high, thick = 64.0, 86.0, 6.0
    chunk = int(painter.chunk[0])

    def at(offset: float, rise: float, along: float) -> Floats:
        return way.ribbon.point(0, offset, rise) + ahead * along

    def quad(corners: list[Floats], tone: Floats, lit: bool = True) -> None:
        painter.faces.add(chunk, np.array([corners]), tone, lit=lit)

    for post, width in ((left, 8.0), (right - 8.0, 8.0)):
        for bottom, top, tone in ((-8.0, 40.0, blue), (40.0, high, white)):
            corners = [
                (post + width, -thick),
                (post, -thick),
                (post, thick),
                (post + width, thick),
            ]
            for i in range(4):
                a, b = corners[i], corners[(i + 1) % 4]
                quad(
                    [
                        at(a[0], bottom, a[1]), at(b[0], bottom, b[1]),
                        at(b[0], top, b[1]), at(a[0], top, a[1]),
                    ],
                    tone,
                )  # fmt: skip
    columns, middle = 14, (low + high) / 2
    for column in range(columns):
        u0 = left + (right - left) * column / columns
        u1 = left + (right - left) * (column + 1) / columns
        for row, (bottom, top) in enumerate(((low, middle), (middle, high))):
            quad(
                [
                    at(u0, bottom, -thick), at(u1, bottom, -thick),
                    at(u1, top, -thick), at(u0, top, -thick),
                ],
                white if (row + column) % 2 else dark,
                lit=False,
            )  # fmt: skip
    quad(
        [
            at(right, low, thick),
            at(left, low, thick),
            at(left, high, thick),
            at(right, high, thick),
        ],
        blue,
    )
    quad(
        [
            at(left, low, -thick),
            at(left, low, thick),
            at(right, low, thick),
            at(right, low, -thick),
        ],
        blue * 0.8,
    )
