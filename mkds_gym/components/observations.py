"""Observations: the input of a policy, chosen by ``obs_type``.

============  ==============================================  ===============================
``obs_type``  space                                           content
============  ==============================================  ===============================
``sensors``   ``Box(float32, (n,))``                          all sensors, concatenated
``dict``      ``Dict`` of one ``Box`` per sensor              the sensors by name
``pixels``    ``Box(0, 255, (192 or 384, 256, 3), uint8)``    the screens, RGB
``ram``       ``Box(0, 255, (4194304,), uint8)``              main memory from 0x02000000
============  ==============================================  ===============================

The name of a sensor, or a list of names, is short for ``sensors`` with these sensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, Protocol, TypeAlias

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from mkds_gym.components.sensors import SENSORS, Sensor, make_sensors
from mkds_gym.course import Course
from mkds_gym.emulator.console import SCREENS, Console
from mkds_gym.emulator.hardware import RAM_SIZE, SCREEN_HEIGHT, SCREEN_WIDTH
from mkds_gym.race.state import RaceState
from mkds_gym.utils.arguments import choice, copied, shown

OBS_TYPES: Final = ("sensors", "dict", "pixels", "ram")
DEFAULT_SENSORS: Final = ("seed6",)

Screens: TypeAlias = Literal["top", "bottom", "both"]
SensorLike: TypeAlias = "str | Sensor"


def _own_sensors(
    sensors: SensorLike | Sequence[SensorLike], argument: str = "sensors"
) -> list[Sensor]:
    """Make sensors. Objects are copied, because vector environments share their arguments."""
    made = make_sensors(copied(argument, sensors), argument)
    if not made:
        raise ValueError(f"{argument} is empty: expected at least one of {', '.join(SENSORS)}")
    return made


class ObservationBuilder(Protocol):
    """Builds one kind of observation."""

    @property
    def space(self) -> gym.Space[Any]:
        """The observation space, known without an emulator."""

    @property
    def draws(self) -> bool:
        """Whether the last frame of a step must be drawn."""

    @property
    def labels(self) -> tuple[str, ...]:
        """One name per component of a flat observation; empty for other kinds."""

    def check(self, out: Any) -> None:
        """Check that an observation can be written into ``out``.

        Raises:
            ValueError: the shape, dtype or keys differ from the space, or the array is read-only.
            TypeError: not an array, or not a dict.
        """

    def observe(self, console: Console, state: RaceState, course: Course, out: Any = None) -> Any:
        """Return the current observation.

        Args:
            console: the console on which the race runs.
            state: the race, as last read.
            course: the course of the race.
            out: write into this object, which `check` accepted, and return it. None returns a
                new object that later steps do not change.
        """


def _check_array(out: Any, space: gym.spaces.Box, what: str = "out") -> None:
    """Check that a value of ``space`` can be written into ``out``."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{what} is a {type(out).__name__}: expected an array like {space}")
    if out.shape != space.shape or out.dtype != space.dtype or not out.flags.writeable:
        kind = "" if out.flags.writeable else ", read-only"
        raise ValueError(
            f"{what} is {out.dtype} of shape {out.shape}{kind}: expected writable {space.dtype} of "
            f"shape {space.shape}, as in observation_space"
        )


def _check_values(sensor: Sensor, values: object) -> None:
    """Check what a sensor returned against its space."""
    expected = f"expected float32 of shape {sensor.space.shape}, as in its space"
    if not isinstance(values, np.ndarray):
        raise TypeError(
            f"sensor {shown(sensor.name)} returned a {type(values).__name__}: expected an array; "
            f"{expected}"
        )
    if values.shape != sensor.space.shape or values.dtype != np.float32:
        raise ValueError(
            f"sensor {shown(sensor.name)} returned {values.dtype} of shape {values.shape}: "
            f"{expected}"
        )


def _read(sensors: Sequence[Sensor], state: RaceState, course: Course) -> list[NDArray[np.float32]]:
    """Read all sensors. From Python 3.11 on, an exception of a sensor gets a note with its name."""
    parts: list[NDArray[np.float32]] = []
    for sensor in sensors:
        try:
            parts.append(sensor.read(state, course))
        except Exception as error:
            if hasattr(error, "add_note"):
                error.add_note(f"raised by sensor {shown(sensor.name)}")
            raise
    return parts


class SensorObservation:
    """The values of all sensors in one float32 vector."""

    draws = False

    def __init__(self, sensors: Sequence[Sensor]) -> None:
        self.sensors = tuple(sensors)
        self.space = gym.spaces.Box(
            np.concatenate([np.ravel(s.space.low) for s in self.sensors]),
            np.concatenate([np.ravel(s.space.high) for s in self.sensors]),
            dtype=np.float32,
        )
        self.labels = tuple(label for s in self.sensors for label in s.labels)
        self._checked = False

    def check(self, out: Any) -> None:
        _check_array(out, self.space)

    def observe(
        self,
        console: Console,  # noqa: ARG002
        state: RaceState,
        course: Course,
        out: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        parts = _read(self.sensors, state, course)
        if not self._checked:
            for sensor, values in zip(self.sensors, parts, strict=True):
                _check_values(sensor, values)
            self._checked = True
        if len(parts) > 1:
            return np.concatenate(parts, out=out)
        if out is None:
            return parts[0]
        out[:] = parts[0]
        return out


class DictObservation:
    """The values of each sensor, a float32 vector, by sensor name."""

    draws = False

    def __init__(self, sensors: Sequence[Sensor]) -> None:
        self.sensors = tuple(sensors)
        self.space = gym.spaces.Dict({s.name: s.space for s in self.sensors})
        self.labels: tuple[str, ...] = ()
        self._checked = False

    def check(self, out: Any) -> None:
        if not isinstance(out, dict):
            raise TypeError(f"out is a {type(out).__name__}: expected a dict of arrays by sensor")
        if out.keys() != self.space.keys():
            raise ValueError(
                f"out has the keys {', '.join(map(repr, out))}: expected "
                f"{', '.join(map(repr, self.space))}, as in observation_space"
            )
        for sensor in self.sensors:
            _check_array(out[sensor.name], sensor.space, f"out[{sensor.name!r}]")

    def observe(
        self,
        console: Console,  # noqa: ARG002
        state: RaceState,
        course: Course,
        out: dict[str, NDArray[np.float32]] | None = None,
    ) -> dict[str, NDArray[np.float32]]:
        values = _read(self.sensors, state, course)
        parts = {sensor.name: part for sensor, part in zip(self.sensors, values, strict=True)}
        if not self._checked:
            for sensor in self.sensors:
                _check_values(sensor, parts[sensor.name])
            self._checked = True
        if out is None:
            return parts
        for name, part in parts.items():
            out[name][:] = part
        return out


class PixelObservation:
    """The picture on one screen or both."""

    draws = True
    labels: tuple[str, ...] = ()

    def __init__(self, screens: Screens) -> None:
        self._screens: Screens = screens
        height = 2 * SCREEN_HEIGHT if screens == "both" else SCREEN_HEIGHT
        self.space = gym.spaces.Box(0, 255, (height, SCREEN_WIDTH, 3), np.uint8)

    def check(self, out: Any) -> None:
        _check_array(out, self.space)

    def observe(
        self,
        console: Console,
        state: RaceState,  # noqa: ARG002
        course: Course,  # noqa: ARG002
        out: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        return console.screen(self._screens, out)


class RamObservation:
    """The 4 MiB of main memory."""

    draws = False
    labels: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.space = gym.spaces.Box(0, 255, (RAM_SIZE,), np.uint8)

    def check(self, out: Any) -> None:
        _check_array(out, self.space)

    def observe(
        self,
        console: Console,
        state: RaceState,  # noqa: ARG002
        course: Course,  # noqa: ARG002
        out: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        if out is None:
            out = np.empty(RAM_SIZE, np.uint8)
        out[:] = console.ram
        return out


def make_observation_builder(
    obs_type: str | Sequence[SensorLike],
    sensors: SensorLike | Sequence[SensorLike] | None,
    screens: str,
) -> ObservationBuilder:
    """Return the observation builder for an environment's arguments.

    Args:
        obs_type: one of `OBS_TYPES`, the name of a sensor, or a list of sensors.
        sensors: sensors of ``sensors`` and ``dict``. None: ``("seed6",)`` for ``sensors``, all
            registered sensors for ``dict``.
        screens: one of `SCREENS`, for ``pixels``.

    Raises:
        ValueError, TypeError: an argument is wrong; the message has the accepted values.
    """
    choice("screens", screens, SCREENS)
    expected = (
        f"expected one of {', '.join(map(repr, OBS_TYPES))}, a sensor, or a list of sensors "
        f"({', '.join(SENSORS)})"
    )
    if obs_type is None or isinstance(obs_type, int | float | bytes):
        raise TypeError(f"obs_type={shown(obs_type)} is not an observation type: {expected}")
    if not isinstance(obs_type, str) or obs_type.partition(":")[0] in SENSORS:
        if sensors is not None:
            raise ValueError(
                f"obs_type={shown(obs_type)} already names sensors: leave out "
                f"sensors={shown(sensors)}, or pass obs_type='sensors'"
            )
        return SensorObservation(_own_sensors(obs_type, "obs_type"))
    if obs_type not in OBS_TYPES:
        raise ValueError(f"obs_type={shown(obs_type)} is unknown: {expected}")
    if obs_type == "sensors":
        return SensorObservation(_own_sensors(DEFAULT_SENSORS if sensors is None else sensors))
    if obs_type == "dict":
        return DictObservation(_own_sensors(SENSORS.names() if sensors is None else sensors))
    if sensors is not None:
        raise ValueError(
            f"obs_type={shown(obs_type)} takes no sensors: leave out sensors={shown(sensors)}"
        )
    if obs_type == "pixels":
        return PixelObservation(screens)  # type: ignore[arg-type]
    return RamObservation()
