"""Rays that look for obstacles around the kart."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mkds_gym.components.sensors.values import checked_count, sensor_space
from mkds_gym.race.lengths import OBSTACLE_DISTANCE, RAY_HEIGHT
from mkds_gym.race.names import OFFROAD_SURFACES

if TYPE_CHECKING:
    from mkds_gym.course import Course
    from mkds_gym.race.state import RaceState

_pack_axes = struct.Struct("=9f").pack_into


class RayCaster:
    """Rays in the kart's plane, at fixed angles from its forward direction.

    Each origin and direction is a fixed combination of the kart's position and two of its axes,
    so one small matrix product computes all of them.

    Args:
        angles: degrees, positive to the left.
    """

    def __init__(self, angles: Sequence[float]) -> None:
        count = len(angles)
        self._angles = tuple(angles)
        radians = np.radians(np.asarray(angles, np.float64))
        # Rows: first all origins, then all directions.
        self._mix = np.zeros((2 * count, 3), np.float32)
        self._mix[:count, 0] = 1.0
        self._mix[count:, 1] = np.cos(radians)
        self._mix[count:, 2] = -np.sin(radians)
        self._axes = np.zeros((3, 3), np.float32)  # origin, forward, right
        self._memory = self._axes.data
        self._rays = np.zeros((2 * count, 3), np.float32)
        self._origins = self._rays[:count]
        self._directions = self._rays[count:]
        self._distances = np.empty(count, np.float32)

    def __reduce__(self) -> tuple[type[RayCaster], tuple[tuple[float, ...]]]:
        """Pickle and copy the angles only: copied views would not share their memory."""
        return (RayCaster, (self._angles,))

    def cast(self, state: RaceState, course: Course) -> list[float]:
        """Return the distances to the nearest obstacles, world units; infinity for no hit."""
        (x, y, z), (ux, uy, uz), (fx, fy, fz) = state.pose
        _pack_axes(
            self._memory,
            0,
            x + RAY_HEIGHT * ux,
            y + RAY_HEIGHT * uy,
            z + RAY_HEIGHT * uz,
            fx,
            fy,
            fz,
            # forward x up: the right axis, as RaceState.right
            fy * uz - fz * uy,
            fz * ux - fx * uz,
            fx * uy - fy * ux,
        )
        self._mix.dot(self._axes, self._rays)
        distances: list[float] = course.mesh.distances(
            self._origins, self._directions, state.surface in OFFROAD_SURFACES, self._distances
        ).tolist()
        return distances


def nearness(distance: float) -> float:
    """Map a distance to a nearness; infinity gives -1."""
    return math.tanh(1.0 - distance / OBSTACLE_DISTANCE)


class Rays:
    """Nearness of obstacles in evenly spread directions.

    Args:
        count: number of rays, from 90 degrees left to 90 degrees right; a single ray points ahead.
    """

    name = "rays"

    def __init__(self, count: float = 9) -> None:
        count = checked_count(self.name, count)
        angles = [0.0] if count == 1 else [90.0 - 180.0 * i / (count - 1) for i in range(count)]
        self.ray_angles: tuple[float, ...] = tuple(angles)
        """Degrees, positive to the left."""
        self.labels = tuple(f"ray_{angle:+.0f}" for angle in angles)
        self.space = sensor_space(-1.0, 1.0, count)
        self._rays = RayCaster(angles)

    def read(self, state: RaceState, course: Course) -> NDArray[np.float32]:
        return np.array(
            [nearness(distance) for distance in self._rays.cast(state, course)], np.float32
        )
