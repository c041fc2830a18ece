"""Sensors: small vectors that tell a driver about the race.

All values are float32 within `Sensor.space`. Left is positive for bearings, offsets, curvature and
turning. Distances are in world units before they are mapped.

====================  =====  ================================================================
sensor                size   components
====================  =====  ================================================================
``seed6``             6      nearness of obstacles ahead, left, right; cos, sin, -sin of the
                             bearing of the next checkpoint
``rays[:n]``          n (9)  nearness of obstacles in n directions, from 90 degrees left to 90
                             degrees right
``kinematics``        8      speed, slip, yaw rate, drift direction, drift angle, on the floor,
                             air, boost
``checkpoints[:k]``   3k(3)  distance and cos, sin of the bearing of each of the next k
                             checkpoints
``curvature[:k]``     k (5)  curvature of the course 200, 400, ... world units ahead
``line[:k]``          k (4)  bearing of the centre line 100, 200, 400, ... world units ahead
``drift``             4      drifting, charge of the mini-turbo, presses that count towards it and
                             which side is ahead
``surface``           8      kind of surface (one-hot) and its speed multiplier
``progress``          5      sin, cos of the position in the lap as an angle, fraction of the
                             lap, lateral offset, heading error
``opponents[:k]``     5k(3)  nearness, cos, sin of the bearing, and relative velocity of each of
                             the k nearest karts
====================  =====  ================================================================

An obstacle is a wall or, for a kart on the road, the edge of off-road ground (surfaces 2, 3 and
5). Its nearness at a distance of d sensor units is tanh(1 - d / 60): 0.76 at 0, 0 at 60, about -1
from 200; no hit is -1. A sensor unit is 2.5 world units (`mkds_gym.race.lengths`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from mkds_gym.components.registry import Registry
from mkds_gym.components.sensors.centre_line import Curvature, Line, ProgressSensor
from mkds_gym.components.sensors.checkpoints import Checkpoints
from mkds_gym.components.sensors.kart import Drift, Kinematics, Surface
from mkds_gym.components.sensors.opponents import Opponents
from mkds_gym.components.sensors.rays import Rays
from mkds_gym.components.sensors.seed6 import Seed6
from mkds_gym.components.sensors.values import MAX_COUNT
from mkds_gym.utils.arguments import shown

if TYPE_CHECKING:
    from mkds_gym.course import Course
    from mkds_gym.race.state import RaceState


@runtime_checkable
class Sensor(Protocol):
    """Computes a small vector from the state of a race."""

    @property
    def name(self) -> str:
        """Name in `SENSORS`, in a ``dict`` observation and in messages."""

    @property
    def space(self) -> Box:
        """Space of the values: one dimension, float32, known without a race."""

    @property
    def labels(self) -> tuple[str, ...]:
        """One name per component."""

    def read(self, state: RaceState, course: Course) -> NDArray[np.float32]:
        """Return the current values, a new float32 array within ``space``."""


SENSORS: Final[Registry[Sensor]] = Registry(
    "sensor", Sensor, "name, space, labels and read(state, course)"
)
"""Sensors by the name that the argument ``sensors`` takes."""

for _sensor in (
    Seed6,
    Rays,
    Kinematics,
    Checkpoints,
    Curvature,
    Line,
    Drift,
    Surface,
    ProgressSensor,
    Opponents,
):
    SENSORS.register(_sensor.name, _sensor)


def register_sensor(name: str, factory: Callable[..., Sensor]) -> None:
    """Register a custom sensor: ``register_sensor("compass", Compass)``.

    Args:
        name: a new name.
        factory: called without arguments, or with the number of ``"name:number"``.

    Raises:
        ValueError: the name is taken or malformed.
    """
    SENSORS.register(name, factory)


def make_sensors(
    sensors: Sequence[str | Sensor] | str | Sensor, argument: str = "sensors"
) -> list[Sensor]:
    """Return sensors, given names (``"seed6"``, ``"rays:15"``) and objects.

    Args:
        sensors: a name, an object, or a list of both.
        argument: name of the argument, for error messages.

    Raises:
        ValueError: unknown name, bad number, the same sensor twice, or a sensor with another
            space than a one-dimensional float32 `Box`.
        TypeError: an item is not a name or a sensor.
    """
    made = SENSORS.make_all(argument, sensors)
    for sensor in made:
        space: Any = sensor.space
        if not isinstance(space, Box) or space.dtype != np.float32 or len(space.shape) != 1:
            raise ValueError(
                f"sensor {shown(sensor.name)} has the space {space}: expected a Box of one "
                "dimension and dtype float32"
            )
    return made


def ray_angles(sensors: Sequence[Sensor]) -> tuple[float, ...]:
    """Return the angles of all rays of sensors, degrees from the heading, positive to the left."""
    return tuple(angle for sensor in sensors for angle in getattr(sensor, "ray_angles", ()))


__all__ = [
    "MAX_COUNT",
    "SENSORS",
    "Checkpoints",
    "Curvature",
    "Drift",
    "Kinematics",
    "Line",
    "Opponents",
    "ProgressSensor",
    "Rays",
    "Seed6",
    "Sensor",
    "Surface",
    "make_sensors",
    "ray_angles",
    "register_sensor",
]
