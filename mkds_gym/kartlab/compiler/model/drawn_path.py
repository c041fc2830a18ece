"""A path prepared for drawing: on a grid, with its bridges and the land beyond its edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mkds_gym.kartlab.compiler.description import BRIDGE_CLEARANCE, CourseDescription
from mkds_gym.kartlab.compiler.geometry import (
    STATION_STEP,
    Cut,
    Ribbon,
    outer_reach,
    quads_overlap,
)
from mkds_gym.kartlab.compiler.model.klm import GRID

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

STATION_GRID = 2 * GRID
"""Grid of the places at stations, in world units.

The point halfway between two places is then on `GRID`: where a face has a corner in the middle of
another's side, no gap opens."""

WALL_DEPTH = 10.0
"""Thickness of a wall, in world units."""

SKIRT_WIDTHS = (325.0, 275.0, 225.0, 175.0, 125.0, 85.0, 55.0, 30.0, 15.0)
"""Widths that the land beyond an edge may have, in world units."""

CLIFF_WIDTH = 20.0
"""Horizontal width of a cliff, in world units."""

BRIDGE_MARGIN = 40.0
"""Distance between the road below a bridge and the land beside the bridge, in world units."""


@dataclass(frozen=True)
class Stretch:
    """N stretches of a path.

    Attributes:
        here: (N,) stations at which they begin.
        there: (N,) stations at which they end.
        of: (N,) segments whose properties they have.
    """

    here: Integers
    there: Integers
    of: Integers

    def where(self, mask: Mask) -> Stretch:
        """Return the stretches whose segment is in a mask (S,)."""
        keep = mask[self.of]
        return Stretch(self.here[keep], self.there[keep], self.of[keep])


class DrawnPath:
    """A path of the course with the properties of its S segments and K stations that drawing needs.

    Attributes:
        segments: all segments as stretches.
        half: (K,) half the road's width.
        reach: (2, K) distances from the centre to the shoulders' ends.
        outer: (2, K) distances from the centre to the end of all floor.
        ends: (2, S) ends of the edges.
        surfaces: (2, S) surfaces of the shoulders.
        road: (S,) surface of the road.
        floor: (S,) whether there is a floor.
        bridge: (S,) whether the segment leads over another road.
        joint: (S,) whether the segment has a cut.
        steep: (2, K) whether a cliff begins at a station.
    """

    def __init__(
        self, description: CourseDescription, ribbon: Ribbon, cuts: tuple[Cut | None, ...]
    ) -> None:
        self.ribbon = ribbon
        self.stations = len(ribbon)
        count = ribbon.segments
        first = np.arange(count)
        self.segments = Stretch(first, (first + 1) % self.stations, first)
        self.half = ribbon.half_width
        self.reach = np.stack([ribbon.reach(side) for side in (0, 1)])
        self.outer = np.stack([outer_reach(description, ribbon, side) for side in (0, 1)])
        edges = ribbon.edges[:count]
        self.ends = np.array([[pair[side].end for pair in edges] for side in (0, 1)])
        self.surfaces = np.array([[pair[side].surface for pair in edges] for side in (0, 1)])
        self.road = np.array(ribbon.surfaces[:count])
        self.floor = ~ribbon.gap[:count]
        self.bridge = np.zeros(count, dtype=np.bool_)
        self.cuts = cuts
        self.joint = np.array([cut is not None for cut in cuts[:count]])
        self.steep = np.stack([self.touching(self.ends[side] == "drop") for side in (0, 1)])

    def touching(self, mask: Mask) -> Mask:
        """Return (K,) whether stations are at an end of a segment in a mask (S,)."""
        out = np.zeros(self.stations, dtype=np.bool_)
        out[self.segments.here[mask]] = True
        out[self.segments.there[mask]] = True
        return out

    def line(self, offset: Floats | float, rise: float = 0.0) -> Floats:
        """Return points (K, 3) at lateral offsets, on the grid."""
        return np.asarray(np.rint(self.ribbon.line(offset, rise) / STATION_GRID) * STATION_GRID)

    def bed(self) -> Floats:
        """Return (S, 4, 3) quads of the ground that each segment takes."""
        left, right = self.outer + WALL_DEPTH
        return self.ribbon.strip(left, -right)

    def at(self, distance: ArrayLike, offset: ArrayLike, rise: float) -> Floats:
        """Return points (N, 3) of the drawn road at distances along the path, raised by `rise`."""
        ribbon = self.ribbon
        along, lateral = np.broadcast_arrays(
            np.asarray(distance, dtype=np.float64), np.asarray(offset, dtype=np.float64)
        )
        if ribbon.closed:
            along = along % ribbon.length
        k = np.clip(np.searchsorted(ribbon.distance, along, "right") - 1, 0, ribbon.segments - 1)
        n = (k + 1) % self.stations
        end = ribbon.borders[k + 1]
        t = ((along - ribbon.distance[k]) / (end - ribbon.distance[k]))[:, None]
        points = []
        for station in (k, n):
            heading = ribbon.heading[station]
            place = ribbon.centre[station].copy()
            place[:, 0] += lateral * np.cos(heading)
            place[:, 1] += lateral * ribbon.slope[station] + rise
            place[:, 2] -= lateral * np.sin(heading)
            points.append(place)
        return np.asarray(points[0] + (points[1] - points[0]) * t)


def find_bridges(paths: list[DrawnPath]) -> None:
    """Set `bridge` of the segments that lead over another road."""
    beds = np.concatenate([path.bed() for path in paths])
    ground = beds[:, :, [0, 2]]
    low, high = ground.min(axis=1) - BRIDGE_MARGIN, ground.max(axis=1) + BRIDGE_MARGIN
    height = beds[:, :, 1].mean(axis=1)
    near = (low[:, None] < high[None]).all(axis=2) & (high[:, None] > low[None]).all(axis=2)
    upper, lower = np.nonzero(near & (height[:, None] > height[None] + BRIDGE_CLEARANCE / 2))
    middle = ground[upper].mean(axis=1, keepdims=True)
    # Lengthened: the land ends before the road below begins.
    reach = 1 + 2 * BRIDGE_MARGIN / STATION_STEP
    crossing = quads_overlap(middle + (ground[upper] - middle) * reach, ground[lower])
    flags = np.zeros(len(beds), dtype=np.bool_)
    flags[upper[crossing]] = True
    for path in paths:
        path.bridge, flags = flags[: len(path.floor)] & path.floor, flags[len(path.floor) :]


def skirt_widths(paths: list[DrawnPath]) -> list[Floats]:
    """Return for each path the widths (2, K) of the land beyond its edges."""
    ground = np.concatenate([path.ribbon.centre[:, [0, 2]] for path in paths])
    height = np.concatenate([path.ribbon.centre[:, 1] for path in paths])
    lefts = np.concatenate([path.ribbon.left for path in paths])
    outer = np.concatenate([path.outer for path in paths], axis=1)
    result, begin = [], 0
    for path in paths:
        ribbon, count = path.ribbon, path.stations
        own_slice = slice(begin, begin + count)
        begin += count
        along = np.abs(ribbon.distance[:, None] - ribbon.distance[None])
        if ribbon.closed:
            along = np.minimum(along, ribbon.length - along)
        near = np.zeros((count, len(ground)), dtype=np.bool_)
        near[:, own_slice] = along < 625
        # A road well above is a bridge; its land begins elsewhere.
        above = height[None] > height[own_slice, None] + BRIDGE_CLEARANCE / 2
        out = np.empty((2, count))
        step = np.diff(ribbon.borders)
        for side, sign in ((0, 1.0), (1, -1.0)):
            own = path.outer[side] + WALL_DEPTH
            width = np.full(count, SKIRT_WIDTHS[-1])
            for wanted in SKIRT_WIDTHS[-2::-1]:  # from narrow to wide
                points = ground[own_slice] + sign * (own + wanted)[:, None] * ribbon.left
                away = points[:, None] - ground[None]
                gap = np.hypot(away[..., 0], away[..., 1])
                facing = (away * lefts[None]).sum(axis=2) >= 0
                need = np.where(facing, outer[0], outer[1]) + WALL_DEPTH
                # Land may not cut off nearby stations on the same side (inside of a bend). Other
                # stations need room for their own land.
                need = need + np.where(near, 0.7 * wanted, min(wanted, 62.5))
                width[((gap >= need) | above).all(axis=1)] = wanted
            width[path.steep[side]] = CLIFF_WIDTH
            # The land narrows by at most its length: no end stands in the air.
            pairs = list(
                zip(path.segments.here.tolist(), path.segments.there.tolist(), strict=True)
            )
            values = width.tolist()
            for _ in range(2):
                for a, b in pairs:
                    values[b] = min(values[b], values[a] + step[a])
                for a, b in reversed(pairs):
                    values[a] = min(values[a], values[b] + step[a])
            out[side] = values
        result.append(out)
    return result
