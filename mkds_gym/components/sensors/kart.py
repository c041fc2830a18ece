"""The kart itself: how it moves, its drift, and the surface under it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.components.sensors.values import clip, sensor_space
from mkds_gym.race.names import SURFACES

if TYPE_CHECKING:
    from mkds_gym.course import Course
    from mkds_gym.race.state import RaceState


class Kinematics:
    """How the kart moves.

    * ``speed``: along the kart, divided by its top speed on this surface; -1.5 to 1.5.
    * ``slip``: movement to the left per frame, divided by the top speed.
    * ``yaw_rate``: of the heading, divided by 3 degrees per frame.
    * ``drift_direction``: -1, 0 or 1, with the game's sign.
    * ``drift_angle``: divided by 90 degrees.
    * ``on_floor``: 0 or 1.
    * ``air``: frames in the air divided by 60.
    * ``boost``: 0 or 1.

    All but ``speed`` are clipped to -1 to 1, and the last three to 0 to 1.
    """

    name = "kinematics"
    labels: tuple[str, ...] = (
        "speed",
        "slip",
        "yaw_rate",
        "drift_direction",
        "drift_angle",
        "on_floor",
        "air",
        "boost",
    )
    space = sensor_space((-1.5, -1, -1, -1, -1, 0, 0, 0), (1.5, 1, 1, 1, 1, 1, 1, 1), 8)

    YAW_RATE: Final = math.radians(3.0)
    """Radians per frame that give 1."""
    AIR_FRAMES: Final = 60.0
    """Frames in the air that give 1."""

    def read(self, state: RaceState, course: Course) -> NDArray[np.float32]:  # noqa: ARG002
        # A kart that cannot move has a top speed of 0.
        top = max(state.max_speed, 1.0)
        dx, dy, dz = state.delta
        rx, ry, rz = state.right
        return np.array(
            (
                clip(state.speed / top, 1.5),
                clip(-(dx * rx + dy * ry + dz * rz) / top),
                clip(state.heading_speed / self.YAW_RATE),
                float(state.drift_direction),
                clip(state.drift_angle / (0.5 * math.pi)),
                float(state.on_floor),
                min(state.air_frames / self.AIR_FRAMES, 1.0),
                float(state.boosting),
            ),
            np.float32,
        )


class Drift:
    """The drift and its mini-turbo.

    * ``drifting``: -1 or 1 in a drift, with the game's sign of the direction; else 0.
    * ``charge``: of the mini-turbo, 0, 0.5 or 1.
    * ``presses``: left and right presses that count in this drift, divided by 8; 0 to 1.
    * ``ahead``: left presses minus right presses; -1 to 1.
    """

    name = "drift"
    labels: tuple[str, ...] = ("drifting", "charge", "presses", "ahead")
    space = sensor_space((-1, 0, 0, -1), 1.0, 4)

    PRESSES: Final = 8.0
    """Presses that give 1."""

    def read(self, state: RaceState, course: Course) -> NDArray[np.float32]:  # noqa: ARG002
        left, right = state.drift_counts
        return np.array(
            (
                float(state.drift_direction) if state.drifting else 0.0,
                clip(state.mini_turbo_charge),
                min((left + right) / self.PRESSES, 1.0),
                clip(float(left - right)),
            ),
            np.float32,
        )


def _surface_kinds() -> list[int]:
    """Return the component of `Surface` for each collision type."""
    kinds = {
        "road": 0,
        "sound_trigger": 0,
        "special_road": 0,
        "loop": 0,
        "slippery_road": 1,
        "slippery_road_2": 1,
        "weak_offroad": 2,
        "offroad": 3,
        "heavy_offroad": 4,
        "boost_pad": 5,
        "boost_pad_minimum_speed": 5,
    }
    return [kinds.get(name, 6) for name in SURFACES]


class Surface:
    """Surface under the kart: one-hot of seven kinds, and the speed multiplier, 0 to 2."""

    name = "surface"
    labels: tuple[str, ...] = (
        "road",
        "slippery",
        "weak_offroad",
        "offroad",
        "heavy_offroad",
        "boost",
        "other",
        "speed_multiplier",
    )
    space = sensor_space(0.0, (1.0,) * 7 + (2.0,), 8)

    _KINDS: Final = _surface_kinds()

    def read(self, state: RaceState, course: Course) -> NDArray[np.float32]:  # noqa: ARG002
        values = np.zeros(8, np.float32)
        surface = state.surface
        values[self._KINDS[surface] if 0 <= surface < len(self._KINDS) else 6] = 1.0
        values[7] = min(max(state.surface_multiplier, 0.0), 2.0)
        return values
