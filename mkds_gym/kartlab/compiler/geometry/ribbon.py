"""A path cut into cross-sections, on which collision, map and model are built."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mkds_gym.kartlab.compiler.description import CourseDescription, Edge, Place, Point
from mkds_gym.kartlab.compiler.geometry.centre_line import distance_of

Floats = NDArray[np.float64]

PATH_MARGIN = 15.0
"""Ground beyond the floor that a path needs for its walls, in world units."""


@dataclass(frozen=True)
class PlacedPad:
    """A pad on segments `first` to `last` - 1.

    `left` and `right` are offsets to the left of the centre: left > right. `kind` is a name of
    `PADS`.
    """

    kind: str
    first: int
    last: int
    left: float
    right: float


class Spot(NamedTuple):
    """A place on a centre line.

    Attributes:
        point: (3,) x, y and z.
        heading: there, in radians.
        station: the station before the place.
        fraction: 0 to 1 of the distance to the next station.
    """

    point: Floats
    heading: float
    station: int
    fraction: float


@dataclass(frozen=True)
class Ribbon:
    """A path as cross-sections at K stations.

    Segment k lies between station k and `following(k)`. The main path is closed: its last station
    leads back to the first. A branch is open and has K - 1 segments; arrays with one entry per
    segment have K entries there too, and the last one is unused.

    All lengths are in world units. Arrays with two columns have the left side first.

    Attributes:
        distance: (K,) distance of each station from the path's start along the centre line.
        length: of a lap, or of the branch.
        centre: (K, 3) points on the road's centre.
        heading: (K,) radians; forward is (sin h, 0, cos h).
        curvature: (K,) 1/radius, positive in a left bend.
        half_width: (K,) half the road's width.
        slope: (K,) rise per unit towards the left, from the bank.
        shoulder: (K, 2) width of the shoulders.
        edges: left and right `Edge` of each segment.
        surfaces: name of the road's surface of each segment.
        gap: (K,) whether a segment has no floor and no walls.
        pads: the pads on the road.
        closed: whether the last station leads back to the first.
        points: the described points; for a branch also where it leaves and where it joins.
        bends: (P, 2) distances at which each point's bend begins and ends.
    """

    distance: Floats
    length: float
    centre: Floats
    heading: Floats
    curvature: Floats
    half_width: Floats
    slope: Floats
    shoulder: Floats
    edges: tuple[tuple[Edge, Edge], ...]
    surfaces: tuple[str, ...]
    gap: NDArray[np.bool_]
    pads: tuple[PlacedPad, ...]
    closed: bool
    points: tuple[Point, ...]
    bends: Floats

    def __len__(self) -> int:
        return len(self.distance)

    @property
    def segments(self) -> int:
        """Number of segments."""
        return len(self) if self.closed else len(self) - 1

    def following(self, station: int) -> int:
        """Return the station that a segment leads to."""
        return (station + 1) % len(self) if self.closed else min(station + 1, len(self) - 1)

    @property
    def next_stations(self) -> NDArray[np.int64]:
        """(S,) the station that each segment leads to."""
        return (np.arange(self.segments) + 1) % len(self)

    @property
    def borders(self) -> Floats:
        """(S + 1,) distances at which segments begin and end."""
        return np.append(self.distance, self.length) if self.closed else self.distance

    @property
    def forward(self) -> Floats:
        """(K, 2) forward directions, x and z."""
        return np.stack([np.sin(self.heading), np.cos(self.heading)], axis=1)

    @property
    def left(self) -> Floats:
        """(K, 2) directions to the left, x and z."""
        return np.stack([np.cos(self.heading), -np.sin(self.heading)], axis=1)

    def reach(self, side: int) -> Floats:
        """Return (K,) distances from the centre to the shoulder's end; side 0 is left, 1 right."""
        return self.half_width + self.shoulder[:, side]

    def point(self, station: int, offset: float, rise: float = 0.0) -> Floats:
        """Return the floor's point (3,) `offset` to the left of the centre, raised by `rise`."""
        k = station % len(self)
        h = float(self.heading[k])
        x, y, z = (float(part) for part in self.centre[k])
        return np.array(
            [
                x + offset * math.cos(h),
                y + offset * float(self.slope[k]) + rise,
                z - offset * math.sin(h),
            ]
        )

    def line(self, offset: Floats | float, rise: float = 0.0) -> Floats:
        """Return the floor's points (K, 3) `offset` to the left of the centre, raised by `rise`."""
        u = np.broadcast_to(np.asarray(offset, dtype=np.float64), (len(self),))
        h = self.heading
        return self.centre + np.stack(
            [u * np.cos(h), u * self.slope + rise, -u * np.sin(h)], axis=1
        )

    def strip(self, left: Floats | float, right: Floats | float) -> Floats:
        """Return (S, 4, 3) quads between two offsets, counter-clockwise from above."""
        a, b = self.line(left), self.line(right)
        k, n = np.arange(self.segments), self.next_stations
        return np.stack([a[k], b[k], b[n], a[n]], axis=1)

    def at(self, distance: float) -> Spot:
        """Return the place on the centre line at a distance; a closed path wraps."""
        if self.closed:
            distance %= self.length
        k = int(np.searchsorted(self.distance, distance, side="right")) - 1
        k = min(max(k, 0), self.segments - 1)
        n = self.following(k)
        end = self.distance[n] if n else self.length
        t = min(max(float((distance - self.distance[k]) / (end - self.distance[k])), 0.0), 1.0)
        turn = math.remainder(float(self.heading[n] - self.heading[k]), math.tau)
        point = self.centre[k] * (1 - t) + self.centre[n] * t
        return Spot(point, float(self.heading[k]) + turn * t, k, t)

    def _between(self, values: Floats, spot: Spot) -> float:
        k, t = spot.station, spot.fraction
        return float(values[k] * (1 - t) + values[self.following(k)] * t)

    def floor_at(self, distance: float, offset: float) -> Floats:
        """Return the floor's point (3,) `offset` to the left of the centre at a distance."""
        spot = self.at(distance)
        slope = self._between(self.slope, spot)
        return spot.point + offset * np.array(
            [math.cos(spot.heading), slope, -math.sin(spot.heading)]
        )

    def half_width_at(self, distance: float) -> float:
        """Return half the road's width at a distance."""
        return self._between(self.half_width, self.at(distance))

    def pads_at(self, segment: int) -> list[PlacedPad]:
        """Return the pads on a segment, from left to right."""
        found = [pad for pad in self.pads if pad.first <= segment < pad.last]
        return sorted(found, key=lambda pad: -pad.left)

    def label(self, station: int) -> str:
        """Return the error label of the last described point before a station."""
        index = int(np.searchsorted(self.bends[:, 0], self.distance[station] + 1e-6, "right")) - 1
        return self.points[max(index, 0)].label

    def distance_of(self, description: CourseDescription, place: Place) -> float:
        """Return the distance of a described place; a closed path wraps.

        Raises:
            CourseDescriptionError: the place is beyond the end of a branch.
        """
        return distance_of(description, place, self.bends, self.length, self.closed)


def outer_reach(description: CourseDescription, ribbon: Ribbon, side: int) -> Floats:
    """Return (K,) distances from the centre to the end of all floor, out-of-bounds included."""
    bounds = np.array([pair[side].end == "bounds" for pair in ribbon.edges])
    before = np.roll(bounds, 1)
    if not ribbon.closed:
        before[0] = False
    return ribbon.reach(side) + np.where(bounds | before, description.bounds_width, 0.0)


def ground(description: CourseDescription, ribbon: Ribbon) -> Floats:
    """Return (S, 4, 3) quads of the ground that each segment takes, walls included."""
    left, right = (outer_reach(description, ribbon, side) + PATH_MARGIN for side in (0, 1))
    return ribbon.strip(left, -right)
