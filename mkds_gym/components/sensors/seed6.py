"""`Seed6`: the nearest obstacles and the next checkpoint, in six numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.components.sensors.checkpoints import next_checkpoint
from mkds_gym.components.sensors.rays import RayCaster
from mkds_gym.components.sensors.values import sensor_space
from mkds_gym.race.lengths import OBSTACLE_DISTANCE

if TYPE_CHECKING:
    from mkds_gym.course import Course
    from mkds_gym.race.state import RaceState


class Seed6:
    """Six numbers, the default observation of an evolved driver.

    * ``ahead``, ``left``, ``right``: nearness of the nearest obstacle that any of five rays hits,
      in the kart's plane, at -18, -9, 0, 9 and 18 degrees around 0, +90 and -90 degrees.
    * ``cos``, ``sin``, ``-sin`` of the bearing of the next checkpoint's midpoint, seen from above,
      positive to the left of the heading. Where the course branches, the next checkpoint nearest
      in bearing.
    """

    name = "seed6"
    labels: tuple[str, ...] = (
        "ahead",
        "left",
        "right",
        "checkpoint_cos",
        "checkpoint_sin",
        "checkpoint_-sin",
    )
    space = sensor_space(-1.0, 1.0, 6)

    ray_angles: Final = tuple(
        m + a for m in (0.0, 90.0, -90.0) for a in (-18.0, -9.0, 0.0, 9.0, 18.0)
    )
    """Angles of all rays, degrees, positive to the left."""

    def __init__(self) -> None:
        self._rays = RayCaster(self.ray_angles)

    def read(self, state: RaceState, course: Course) -> NDArray[np.float32]:
        distances = self._rays.cast(state, course)
        _, forward, left = next_checkpoint(state, course.track, state.checkpoint)
        length = math.hypot(forward, left)
        cosine, sine = (forward / length, left / length) if length else (1.0, 0.0)
        return np.array(
            (
                math.tanh(1.0 - min(distances[0:5]) / OBSTACLE_DISTANCE),
                math.tanh(1.0 - min(distances[5:10]) / OBSTACLE_DISTANCE),
                math.tanh(1.0 - min(distances[10:15]) / OBSTACLE_DISTANCE),
                cosine,
                sine,
                -sine,
            ),
            np.float32,
        )
