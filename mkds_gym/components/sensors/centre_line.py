"""The course's centre line: how it bends, where it leads, and where the kart is on it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mkds_gym.components.sensors.values import checked_count, clip, sensor_space
from mkds_gym.race.lengths import BEND_RADIUS, BEND_SPACING

if TYPE_CHECKING:
    from mkds_gym.course import Course
    from mkds_gym.race.state import RaceState


class Curvature:
    """Curvature of the centre line ahead of the kart, positive for left bends.

    A radius gives tanh(250 / radius). All values are 0 while the game has no current checkpoint.

    Args:
        count: number of places, 200 world units apart.
    """

    name = "curvature"

    def __init__(self, count: float = 5) -> None:
        count = checked_count(self.name, count)
        self._ahead = [BEND_SPACING * (i + 1) for i in range(count)]
        self.labels = tuple(f"curvature_{ahead:.0f}" for ahead in self._ahead)
        self.space = sensor_space(-1.0, 1.0, count)

    def read(self, state: RaceState, course: Course) -> NDArray[np.float32]:
        track = course.track
        if not 0 <= state.checkpoint < len(track):
            return np.zeros(len(self.labels), np.float32)
        x, _, z = state.position
        place = track.progress(state.checkpoint, x, z)
        return np.array(
            [
                math.tanh(BEND_RADIUS * track.curvature_at(place + ahead, state.checkpoint))
                for ahead in self._ahead
            ],
            np.float32,
        )


class Line:
    """Bearing of points of the centre line ahead of the kart, positive to the left.

    A bearing is divided by 90 degrees and clipped to -1 to 1. All values are 0 while the game has
    no current checkpoint.

    Args:
        count: number of points, 1 to 8; each is twice as far ahead as the one before.
    """

    name = "line"

    def __init__(self, count: float = 4) -> None:
        count = checked_count(self.name, count)
        if count > 8:
            raise ValueError(f"sensor 'line': {count} is out of range: expected 1 to 8")
        self._ahead = [BEND_SPACING / 2 * 2**i for i in range(count)]
        self.labels = tuple(f"line_{ahead:.0f}" for ahead in self._ahead)
        self.space = sensor_space(-1.0, 1.0, count)

    def read(self, state: RaceState, course: Course) -> NDArray[np.float32]:
        track, checkpoint = course.track, state.checkpoint
        if not 0 <= checkpoint < len(track):
            return np.zeros(len(self.labels), np.float32)
        x, _, z = state.position
        fx, _, fz = state.forward
        place = track.progress(checkpoint, x, z)
        values = []
        for ahead in self._ahead:
            px, _, pz = track.point_at(place + ahead, checkpoint)
            dx, dz = px - x, pz - z
            bearing = math.atan2(dx * fz - dz * fx, dx * fx + dz * fz)
            values.append(clip(bearing / (0.5 * math.pi)))
        return np.array(values, np.float32)


class ProgressSensor:
    """Position on the course; all 0 while the game has no current checkpoint.

    * ``lap_sin``, ``lap_cos``: of the position in the lap as an angle, continuous at the line.
    * ``lap_fraction``: of the lap, 0 to 1.
    * ``lateral``: offset from the centre line, divided by half the width there; -2 to 2.
    * ``heading_error``: heading relative to the centre line, divided by 180 degrees; -1 to 1.
    """

    name = "progress"
    labels: tuple[str, ...] = ("lap_sin", "lap_cos", "lap_fraction", "lateral", "heading_error")
    space = sensor_space((-1, -1, 0, -2, -1), (1, 1, 1, 2, 1), 5)

    def read(self, state: RaceState, course: Course) -> NDArray[np.float32]:
        track = course.track
        if not 0 <= state.checkpoint < len(track):
            return np.zeros(len(self.labels), np.float32)
        x, _, z = state.position
        place, lateral, heading = track.project(x, z, state.checkpoint)
        fraction = place / track.length
        half_width = max(0.5 * track.width_at(place, state.checkpoint), 1.0)
        error = (state.heading - heading + math.pi) % (2.0 * math.pi) - math.pi
        angle = 2.0 * math.pi * fraction
        return np.array(
            (
                math.sin(angle),
                math.cos(angle),
                clip(fraction),
                clip(lateral / half_width, 2.0),
                clip(error / math.pi),
            ),
            np.float32,
        )
