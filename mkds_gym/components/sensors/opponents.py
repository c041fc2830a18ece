"""The other karts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.components.sensors.values import checked_count, clip, sensor_space
from mkds_gym.race.lengths import OPPONENT_DISTANCE, SPEED_DIFFERENCE

if TYPE_CHECKING:
    from mkds_gym.course import Course
    from mkds_gym.race.state import RaceState


class Opponents:
    """The nearest other karts, nearest first, seen from above.

    * ``near``: 1 / (1 + d / 250) for a kart at distance d; 0 without a kart.
    * ``cos``, ``sin`` of the bearing, positive to the left.
    * ``forward``, ``left``: velocity relative to this kart, along this kart's forward direction
      and to its left, divided by 6.5 world units per frame, clipped to -1 to 1.

    All five are 0 if there are fewer karts.

    Args:
        count: number of karts.
    """

    name = "opponents"

    def __init__(self, count: float = 3) -> None:
        self._count: Final = checked_count(self.name, count)
        self.labels = tuple(
            f"opponent_{i + 1}_{part}"
            for i in range(self._count)
            for part in ("near", "cos", "sin", "forward", "left")
        )
        self.space = sensor_space((0.0, -1.0, -1.0, -1.0, -1.0) * self._count, 1.0, 5 * self._count)

    def read(self, state: RaceState, course: Course) -> NDArray[np.float32]:  # noqa: ARG002
        values = np.zeros(5 * self._count, np.float32)
        x, _, z = state.position
        vx, _, vz = state.velocity
        fx, _, fz = state.forward
        length = math.hypot(fx, fz) or 1.0
        fx, fz = fx / length, fz / length
        karts = []
        for kart in state.opponents:
            dx, dz = kart.position[0] - x, kart.position[2] - z
            karts.append((math.hypot(dx, dz), dx, dz, kart.velocity))
        karts.sort()
        for at, (distance, dx, dz, (wx, _, wz)) in enumerate(karts[: self._count]):
            scale = 1.0 / (distance or 1.0)
            wx, wz = (wx - vx) / SPEED_DIFFERENCE, (wz - vz) / SPEED_DIFFERENCE
            values[5 * at : 5 * at + 5] = (
                1.0 / (1.0 + distance / OPPONENT_DISTANCE),
                clip((dx * fx + dz * fz) * scale),
                clip((dx * fz - dz * fx) * scale),
                clip(wx * fx + wz * fz),
                clip(wx * fz - wz * fx),
            )
        return values
