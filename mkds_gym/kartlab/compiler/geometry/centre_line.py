"""The centre line of a path: straights and arcs through the described points."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkds_gym.kartlab.compiler.description import CourseDescription, Place, Point

Floats = NDArray[np.float64]

MINIMUM_TURN = math.radians(0.5)
"""A point with a smaller turn counts as lying on a straight."""

MAXIMUM_TURN = math.radians(150)
"""Sharpest turn at one point."""

MAXIMUM_LENGTH = 40000.0
"""Longest path, in world units: six minutes a lap."""


@dataclass(frozen=True)
class Element:
    """A straight or an arc of the centre line.

    Attributes:
        start: distance of its first point from the path's start.
        length: along the line.
        x, z: its first point.
        heading: there, in radians.
        curvature: 1/radius, positive to the left; 0 for a straight.
    """

    start: float
    length: float
    x: float
    z: float
    heading: float
    curvature: float

    def at(self, distance: float) -> tuple[float, float, float]:
        """Return x, z and heading `distance` after this element's start."""
        if self.curvature == 0.0:
            return (
                self.x + distance * math.sin(self.heading),
                self.z + distance * math.cos(self.heading),
                self.heading,
            )
        # Heading h has the direction (sin h, cos h); its left is (cos h, -sin h). A left turn
        # raises h, as the game's rotation about y does.
        heading = self.heading + distance * self.curvature
        radius = 1.0 / self.curvature
        centre_x = self.x + radius * math.cos(self.heading)
        centre_z = self.z - radius * math.sin(self.heading)
        return (
            centre_x - radius * math.cos(heading),
            centre_z + radius * math.sin(heading),
            heading,
        )


@dataclass(frozen=True)
class CentreLine:
    """A path before it is cut into stations.

    Attributes:
        number: 0 for the main path, n + 1 for branch n.
        points: the corners of the line.
        closed: whether the last point leads back to the first.
        width: of the road where no point gives one, in world units.
        surface: of the road where no point gives one.
        elements: straights and arcs, from the first point on.
        bends: (P, 2) distances at which each point's bend begins and ends; equal on a straight.
        heights: (distance, height) pairs in addition to those of the points.
    """

    number: int
    points: tuple[Point, ...]
    closed: bool
    width: float
    surface: str
    elements: list[Element]
    bends: Floats
    heights: tuple[tuple[float, float], ...] = ()

    @classmethod
    def through(
        cls,
        description: CourseDescription,
        points: tuple[Point, ...],
        *,
        number: int = 0,
        width: float,
        surface: str,
    ) -> CentreLine:
        """Lay a centre line through points; that of the main path (number 0) is closed.

        Raises:
            CourseDescriptionError: a bend has no radius, two bends overlap, the start line is in
                a bend, or the path is too long.
        """
        closed = number == 0
        elements, bends = _elements(description, points, closed)
        return cls(number, points, closed, width, surface, elements, bends)

    @property
    def length(self) -> float:
        """Length in world units."""
        return self.elements[-1].start + self.elements[-1].length

    def at(self, distance: float) -> tuple[float, float, float]:
        """Return x, z and heading at a distance."""
        starts = [element.start for element in self.elements]
        element = self.elements[max(bisect_right(starts, distance) - 1, 0)]
        return element.at(distance - element.start)

    def distance_of(self, description: CourseDescription, place: Place) -> float:
        """Return the distance of a described place; on a closed path it wraps at the start line.

        Raises:
            CourseDescriptionError: the place is beyond the end of a branch.
        """
        return distance_of(description, place, self.bends, self.length, self.closed)


def distance_of(
    description: CourseDescription, place: Place, bends: Floats, length: float, closed: bool
) -> float:
    """Return the distance of a described place along a path with these bends and this length.

    Raises:
        CourseDescriptionError: the place is beyond the end of a branch.
    """
    distance = float(bends[place.point + (not closed)].mean()) + place.offset
    if closed:
        return distance % length
    if not 0 <= distance <= length:
        raise description.error(
            place.label,
            f"offset={place.offset:g} leads to {distance:.0f} units along a branch that is "
            f"{length:.0f} long",
        )
    return distance


def _turns(
    description: CourseDescription, points: tuple[Point, ...], heading: Floats, closed: bool
) -> list[float]:
    """Return the signed turn at each point in radians; 0 on a straight."""
    count = len(points)
    turns = [
        math.remainder(float(heading[i]) - float(heading[i - 1]), math.tau) for i in range(count)
    ]
    if not closed:
        turns[0] = turns[-1] = 0.0
    for i, point in enumerate(points):
        degrees = f"{math.degrees(turns[i]):.1f} degrees"
        if abs(turns[i]) < MINIMUM_TURN:
            turns[i] = 0.0
        elif i == 0:
            raise description.error(
                point.label,
                f"at={list(point.at)} is in a bend of {degrees}: expected the start line on a "
                "straight",
            )
        elif point.radius == 0.0:
            raise description.error(
                point.label, f"radius is missing, though the road turns {degrees} here"
            )
        elif abs(turns[i]) > MAXIMUM_TURN:
            raise description.error(
                point.label,
                f"at={list(point.at)} turns the road {degrees}; make a bend this sharp of two "
                "points",
            )
    return turns


def _elements(
    description: CourseDescription, points: tuple[Point, ...], closed: bool
) -> tuple[list[Element], Floats]:
    """Return the elements in order and (P, 2) where each point's bend begins and ends."""
    count = len(points)
    at = np.array([point.at for point in points])
    leg = np.roll(at, -1, axis=0) - at
    leg_length = np.hypot(leg[:, 0], leg[:, 1])
    heading = np.arctan2(leg[:, 0], leg[:, 1])
    turn = _turns(description, points, heading, closed)
    tangent = [
        point.radius * math.tan(abs(angle) / 2) if angle else 0.0
        for point, angle in zip(points, turn, strict=True)
    ]
    legs = count if closed else count - 1
    for i in range(legs):
        following = (i + 1) % count
        if tangent[i] + tangent[following] > leg_length[i] + 1e-6:
            raise description.error(
                f"{points[i].label} and {points[following].label}",
                f"the radii are too large: the bends need {tangent[i] + tangent[following]:.1f} "
                f"units of the {leg_length[i]:.1f} between the points",
            )

    elements: list[Element] = []
    bends = np.zeros((count, 2))
    distance = 0.0
    for i in range(legs):
        direction = leg[i] / leg_length[i]
        start = at[i] + direction * tangent[i]
        following = (i + 1) % count
        straight = float(leg_length[i]) - tangent[i] - tangent[following]
        if straight > 1e-6:
            elements.append(Element(distance, straight, start[0], start[1], float(heading[i]), 0.0))
            distance += straight
        if turn[following] != 0.0:
            entry = at[following] - direction * tangent[following]
            radius = points[following].radius
            arc = radius * abs(turn[following])
            curvature = math.copysign(1.0 / radius, turn[following])
            elements.append(
                Element(distance, arc, entry[0], entry[1], float(heading[i]), curvature)
            )
            bends[following] = distance, distance + arc
            distance += arc
        elif following:
            bends[following] = distance, distance
    if distance > MAXIMUM_LENGTH:
        raise description.error(
            points[0].label,
            f"the path from here is {distance:.0f} units long: expected at most "
            f"{MAXIMUM_LENGTH:.0f}",
        )
    return elements, bends
