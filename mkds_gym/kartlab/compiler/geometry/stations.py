"""Cutting a centre line into stations: the cross-sections of a `Ribbon`."""

from __future__ import annotations

import math
from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

from mkds_gym.kartlab.compiler.description import CourseDescription, Gap, Pad, Point
from mkds_gym.kartlab.compiler.geometry.centre_line import CentreLine
from mkds_gym.kartlab.compiler.geometry.ribbon import PlacedPad, Ribbon

Floats = NDArray[np.float64]

STATION_STEP = 140.0
"""Longest distance between stations, in world units."""

STATION_TURN = math.radians(15.0)
"""Largest turn between stations."""

STATION_SNAP = 25.0
"""The station at an end of a pad or gap replaces any other station this near."""


def build_ribbon(description: CourseDescription, line: CentreLine) -> Ribbon:
    """Cut one path into stations.

    Raises:
        CourseDescriptionError: a pad or gap reaches over the start line or beyond a branch.
    """
    own_pads = [pad for pad in description.pads if pad.place.path == line.number]
    own_gaps = [gap for gap in description.gaps if gap.place.path == line.number]
    gaps = [_reach(description, line, gap) for gap in own_gaps]
    pads = [_reach(description, line, pad) for pad in own_pads]
    cuts = {distance for reach in (*gaps, *pads) for distance in reach}
    distance, x, z, heading, curvature = _stations(line, sorted(cuts)).T
    points, bends, length, closed = line.points, line.bends, line.length, line.closed

    def nearest(value: float) -> int:
        """Return the station at a distance; the lap's end is the station after the last."""
        places = np.append(distance, length) if closed else distance
        return int(np.abs(places - value).argmin())

    def profile(keys: list[tuple[float, float]]) -> Floats:
        return _smooth_profile(keys, length, distance, closed)

    height_keys = dict([*_value_keys(points, bends, "height", 0.0), *line.heights])
    if line.heights and all(point.height is None for point in points):
        height_keys = dict(line.heights)
    bank_keys = []
    for point, (start, end) in zip(points, bends, strict=True):
        if end > start:
            turn = float(curvature[int(np.searchsorted(distance, start - 1e-6))])
            # The inside is lower: in a left bend the floor falls towards the left.
            bank = -math.copysign(math.tan(math.radians(point.bank)), turn)
            bank = bank if point.bank >= 0 else -bank
            bank_keys += [(start, bank), (end, bank)]
        else:
            bank_keys.append((start, 0.0))

    def changes(name: str) -> tuple[list[float], list[str]]:
        """Return the distances at which points set an attribute, and the values."""
        found = [
            (float(span[0]), str(getattr(point, name)))
            for span, point in zip(bends, points, strict=True)
            if getattr(point, name)
        ]
        return [start for start, _ in found], [value for _, value in found]

    def holding(starts: list[float], values: list[str]) -> list[str]:
        return [values[bisect_right(starts, value + 1e-6) - 1] for value in distance]

    sides = [changes("left"), changes("right")]
    if not closed:
        # The edges of a branch's first point hold from where it leaves the main path.
        for starts, _ in sides:
            starts[0] = 0.0
    surface_starts, surface_names = changes("surface")
    gap = np.zeros(len(distance), dtype=np.bool_)
    for start, end in gaps:
        gap[nearest(start) : nearest(end)] = True
    heights = profile(list(height_keys.items()))
    return Ribbon(
        distance=distance,
        length=length,
        centre=np.stack([x, heights, z], axis=1),
        heading=heading,
        curvature=curvature,
        half_width=profile(_value_keys(points, bends, "width", line.width)) / 2,
        slope=profile(list(dict(bank_keys).items())),
        shoulder=np.stack(
            [_edge_widths(description, *side, length, distance, closed) for side in sides], axis=1
        ),
        edges=tuple(
            (description.edges[left], description.edges[right])
            for left, right in zip(*(holding(*side) for side in sides), strict=True)
        ),
        surfaces=tuple(holding([-1.0, *surface_starts], [line.surface, *surface_names])),
        gap=gap,
        pads=tuple(
            PlacedPad(
                kind=pad.kind,
                first=nearest(start),
                last=nearest(end),
                left=pad.side + pad.width / 2,
                right=pad.side - pad.width / 2,
            )
            for pad, (start, end) in zip(own_pads, pads, strict=True)
        ),
        closed=closed,
        points=points,
        bends=bends,
    )


def _reach(
    description: CourseDescription, line: CentreLine, entry: Pad | Gap
) -> tuple[float, float]:
    """Return where a pad or gap begins and ends along its path."""
    start = line.distance_of(description, entry.place)
    end = start + entry.length
    if end > line.length + 1e-6:
        limit = "over the start line" if line.closed else "beyond the end of the branch"
        raise description.error(entry.place.label, f"length={entry.length:g} reaches {limit}")
    return start, end


def _stations(line: CentreLine, cuts: list[float]) -> Floats:
    """Return (K, 5) distance, x, z, heading and curvature; distances in `cuts` get a station."""
    rows: list[tuple[float, float, float, float, float]] = []
    for element in line.elements:
        pieces = max(
            math.ceil(element.length / STATION_STEP - 1e-9),
            math.ceil(element.length * abs(element.curvature) / STATION_TURN - 1e-9),
            1,
        )
        offsets = [element.length * piece / pieces for piece in range(pieces)]
        own = [
            distance - element.start
            for distance in cuts
            if STATION_SNAP < distance - element.start < element.length - STATION_SNAP
        ]
        if own:
            offsets = [
                offset
                for offset in offsets
                if offset == 0.0 or all(abs(offset - cut) >= STATION_SNAP for cut in own)
            ]
            offsets = sorted({*offsets, *own})
        for offset in offsets:
            rows.append((element.start + offset, *element.at(offset), element.curvature))
    if not line.closed:
        last = line.elements[-1]
        rows.append((line.length, *last.at(last.length), last.curvature))
    return np.array(rows)


def _smooth_profile(
    keys: list[tuple[float, float]], length: float, where: Floats, closed: bool
) -> Floats:
    """Evaluate a monotone cubic through (distance, value) keys (Fritsch and Carlson, 1980).

    The curve is monotone between keys: a hill's top is at its key. It is periodic on a closed
    path, and level beyond the first and the last key on an open one.
    """
    keys = sorted(keys)
    xs = np.array([key[0] for key in keys])
    ys = np.array([key[1] for key in keys])
    if len(keys) == 1:
        return np.full(len(where), ys[0])
    dx = np.diff(np.append(xs, xs[0] + length if closed else xs[-1] + 1.0))
    secant = np.diff(np.append(ys, ys[0])) / dx
    if not closed:
        secant[-1] = 0.0
    before = np.roll(secant, 1)
    dx_before = np.roll(dx, 1)
    weight = 3 * (dx + dx_before)
    slope = np.zeros(len(xs))
    same = before * secant > 0
    slope[same] = weight[same] / (
        (2 * dx + dx_before)[same] / before[same] + (dx + 2 * dx_before)[same] / secant[same]
    )
    if not closed:
        where = np.clip(where, xs[0], xs[-1])
    k = np.searchsorted(xs, where, side="right") - 1
    offset = np.where(k >= 0, where - xs[k], where + length - xs[-1])
    following = (k + 1) % len(xs)
    t = np.clip(offset / dx[k], 0.0, 1.0)
    if not closed:
        last = k == len(xs) - 1
        k, following, t = np.where(last, k - 1, k), np.where(last, k, following), t
        t = np.where(last, 1.0, t)
    return np.asarray(
        (1 + 2 * t) * (1 - t) ** 2 * ys[k]
        + t * (1 - t) ** 2 * dx[k] * slope[k]
        + t * t * (3 - 2 * t) * ys[following]
        - t * t * (1 - t) * dx[k] * slope[following]
    )


def _value_keys(
    points: tuple[Point, ...], bends: Floats, name: str, default: float
) -> list[tuple[float, float]]:
    """Return a (distance, value) key for each point that sets an attribute."""
    keys = [
        ((start + end) / 2, float(getattr(point, name)))
        for point, (start, end) in zip(points, bends, strict=True)
        if getattr(point, name) is not None
    ]
    return keys or [(0.0, default)]


def _edge_widths(
    description: CourseDescription,
    starts: list[float],
    names: list[str],
    length: float,
    distance: Floats,
    closed: bool,
) -> Floats:
    """Return shoulder widths at the stations; a wide stretch narrows to its neighbours.

    The widths of two stretches agree where they meet: walls have no gap there.
    """
    widths = np.array([description.edges[name].width for name in names])
    begin = np.array(starts)
    end = np.append(begin[1:], begin[0] + length)
    before, after = np.roll(widths, 1), np.roll(widths, -1)
    if not closed:
        before[0], after[-1] = widths[0], widths[-1]
    k = np.searchsorted(begin, distance + 1e-6, side="right") - 1
    own = widths[k]
    opening = before[k] + (own - before[k]) * (distance - begin[k]) / description.blend
    closing = after[k] + (own - after[k]) * (end[k] - distance) / description.blend
    width = np.where(before[k] < own, np.minimum(own, opening), own)
    width = np.where(after[k] < own, np.minimum(width, closing), width)
    return np.maximum(width, 0.0)
