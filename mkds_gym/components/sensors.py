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

import math
import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from mkds_gym.components.registry import Registry
from mkds_gym.race.lengths import (
    BEND_RADIUS,
    BEND_SPACING,
    CHECKPOINT_DISTANCE,
    OBSTACLE_DISTANCE,
    OPPONENT_DISTANCE,
    RAY_HEIGHT,
    SPEED_DIFFERENCE,
)
from mkds_gym.race.names import OFFROAD_SURFACES, SURFACES
from mkds_gym.utils.arguments import shown

if TYPE_CHECKING:
    from mkds_gym.course import Course
    from mkds_gym.course.track import Track
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

MAX_COUNT: Final = 256
"""Largest number that a sensor takes."""


def _count(sensor: str, count: float) -> int:
    """Check the number that a sensor takes.

    Raises:
        ValueError: not an integer from 1 to `MAX_COUNT`.
    """
    if isinstance(count, bool) or not 1 <= count <= MAX_COUNT or count != int(count):
        raise ValueError(
            f"sensor {shown(sensor)}: {shown(count)} is out of range: expected an integer from "
            f"1 to {MAX_COUNT}"
        )
    return int(count)


def _box(low: float | Sequence[float], high: float | Sequence[float], size: int) -> Box:
    lows = np.broadcast_to(np.asarray(low, np.float32), (size,))
    highs = np.broadcast_to(np.asarray(high, np.float32), (size,))
    return Box(lows.copy(), highs.copy(), dtype=np.float32)


def _clip(value: float, bound: float = 1.0) -> float:
    return -bound if value < -bound else bound if value > bound else value


_pack_axes = struct.Struct("=9f").pack_into


class _Rays:
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

    def __reduce__(self) -> tuple[type[_Rays], tuple[tuple[float, ...]]]:
        """Pickle and copy the angles only: copied views would not share their memory."""
        return (_Rays, (self._angles,))

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


def _nearness(distance: float) -> float:
    """Map a distance to a nearness; infinity gives -1."""
    return math.tanh(1.0 - distance / OBSTACLE_DISTANCE)


def _ahead(state: RaceState, track: Track, checkpoint: int) -> tuple[int, float, float]:
    """Return the checkpoint after ``checkpoint``, relative to the kart.

    Where the course branches, this is the next checkpoint nearest in bearing.

    Returns:
        Index; how far the midpoint is forward and to the left of the kart, seen from above, in
        world units times the length of the forward vector's projection. Without a next
        checkpoint, a point straight ahead.
    """
    following = track.next(checkpoint) if 0 <= checkpoint < len(track) else ()
    (x, _, z), _, (fx, _, fz) = state.pose
    best = (checkpoint, 1.0, 0.0)
    best_cosine = -2.0
    for index in following:
        mx, mz = track.middle(index)
        dx, dz = mx - x, mz - z
        forward, left = dx * fx + dz * fz, dx * fz - dz * fx
        if len(following) == 1:
            return index, forward, left
        cosine = forward / (math.hypot(forward, left) or 1.0)
        if cosine > best_cosine:
            best_cosine = cosine
            best = (index, forward, left)
    return best


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
    space = _box(-1.0, 1.0, 6)

    ray_angles: Final = tuple(
        m + a for m in (0.0, 90.0, -90.0) for a in (-18.0, -9.0, 0.0, 9.0, 18.0)
    )
    """Angles of all rays, degrees, positive to the left."""

    def __init__(self) -> None:
        self._rays = _Rays(self.ray_angles)

    def read(self, state: RaceState, course: Course) -> NDArray[np.float32]:
        distances = self._rays.cast(state, course)
        _, forward, left = _ahead(state, course.track, state.checkpoint)
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


class Rays:
    """Nearness of obstacles in evenly spread directions.

    Args:
        count: number of rays, from 90 degrees left to 90 degrees right; a single ray points ahead.
    """

    name = "rays"

    def __init__(self, count: float = 9) -> None:
        count = _count(self.name, count)
        angles = [0.0] if count == 1 else [90.0 - 180.0 * i / (count - 1) for i in range(count)]
        self.ray_angles: tuple[float, ...] = tuple(angles)
        """Degrees, positive to the left."""
        self.labels = tuple(f"ray_{angle:+.0f}" for angle in angles)
        self.space = _box(-1.0, 1.0, count)
        self._rays = _Rays(angles)

    def read(self, state: RaceState, course: Course) -> NDArray[np.float32]:
        return np.array(
            [_nearness(distance) for distance in self._rays.cast(state, course)], np.float32
        )


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
    space = _box((-1.5, -1, -1, -1, -1, 0, 0, 0), (1.5, 1, 1, 1, 1, 1, 1, 1), 8)

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
                _clip(state.speed / top, 1.5),
                _clip(-(dx * rx + dy * ry + dz * rz) / top),
                _clip(state.heading_speed / self.YAW_RATE),
                float(state.drift_direction),
                _clip(state.drift_angle / (0.5 * math.pi)),
                float(state.on_floor),
                min(state.air_frames / self.AIR_FRAMES, 1.0),
                float(state.boosting),
            ),
            np.float32,
        )


class Checkpoints:
    """Distance and bearing of the midpoints of the next checkpoints, seen from above.

    A distance d gives d / (d + 500), 0 to 1; a bearing gives its cosine and sine, positive to the
    left. Where the course branches, the next checkpoint is the one nearest in bearing.

    Args:
        count: number of checkpoints.
    """

    name = "checkpoints"

    def __init__(self, count: float = 3) -> None:
        self._count: Final = _count(self.name, count)
        self.labels = tuple(
            f"checkpoint_{i + 1}_{part}"
            for i in range(self._count)
            for part in ("distance", "cos", "sin")
        )
        self.space = _box((0.0, -1.0, -1.0) * self._count, 1.0, 3 * self._count)

    def read(self, state: RaceState, course: Course) -> NDArray[np.float32]:
        values: list[float] = []
        index = state.checkpoint
        # On a slope, the projection of the forward axis is shorter than 1.
        fx, _, fz = state.forward
        scale = 1.0 / (math.hypot(fx, fz) or 1.0)
        for _ in range(self._count):
            index, forward, left = _ahead(state, course.track, index)
            length = math.hypot(forward, left)
            distance = length * scale
            values.append(distance / (distance + CHECKPOINT_DISTANCE))
            values += (forward / length, left / length) if length else (1.0, 0.0)
        return np.array(values, np.float32)


class Curvature:
    """Curvature of the centre line ahead of the kart, positive for left bends.

    A radius gives tanh(250 / radius). All values are 0 while the game has no current checkpoint.

    Args:
        count: number of places, 200 world units apart.
    """

    name = "curvature"

    def __init__(self, count: float = 5) -> None:
        count = _count(self.name, count)
        self._ahead = [BEND_SPACING * (i + 1) for i in range(count)]
        self.labels = tuple(f"curvature_{ahead:.0f}" for ahead in self._ahead)
        self.space = _box(-1.0, 1.0, count)

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
        count = _count(self.name, count)
        if count > 8:
            raise ValueError(f"sensor 'line': {count} is out of range: expected 1 to 8")
        self._ahead = [BEND_SPACING / 2 * 2**i for i in range(count)]
        self.labels = tuple(f"line_{ahead:.0f}" for ahead in self._ahead)
        self.space = _box(-1.0, 1.0, count)

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
            values.append(_clip(bearing / (0.5 * math.pi)))
        return np.array(values, np.float32)


class Drift:
    """The drift and its mini-turbo.

    * ``drifting``: -1 or 1 in a drift, with the game's sign of the direction; else 0.
    * ``charge``: of the mini-turbo, 0, 0.5 or 1.
    * ``presses``: left and right presses that count in this drift, divided by 8; 0 to 1.
    * ``ahead``: left presses minus right presses; -1 to 1.
    """

    name = "drift"
    labels: tuple[str, ...] = ("drifting", "charge", "presses", "ahead")
    space = _box((-1, 0, 0, -1), 1.0, 4)

    PRESSES: Final = 8.0
    """Presses that give 1."""

    def read(self, state: RaceState, course: Course) -> NDArray[np.float32]:  # noqa: ARG002
        left, right = state.drift_counts
        return np.array(
            (
                float(state.drift_direction) if state.drifting else 0.0,
                _clip(state.mini_turbo_charge),
                min((left + right) / self.PRESSES, 1.0),
                _clip(float(left - right)),
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
    space = _box(0.0, (1.0,) * 7 + (2.0,), 8)

    _KINDS: Final = _surface_kinds()

    def read(self, state: RaceState, course: Course) -> NDArray[np.float32]:  # noqa: ARG002
        values = np.zeros(8, np.float32)
        surface = state.surface
        values[self._KINDS[surface] if 0 <= surface < len(self._KINDS) else 6] = 1.0
        values[7] = min(max(state.surface_multiplier, 0.0), 2.0)
        return values


class ProgressSensor:
    """Position on the course; all 0 while the game has no current checkpoint.

    * ``lap_sin``, ``lap_cos``: of the position in the lap as an angle, continuous at the line.
    * ``lap_fraction``: of the lap, 0 to 1.
    * ``lateral``: offset from the centre line, divided by half the width there; -2 to 2.
    * ``heading_error``: heading relative to the centre line, divided by 180 degrees; -1 to 1.
    """

    name = "progress"
    labels: tuple[str, ...] = ("lap_sin", "lap_cos", "lap_fraction", "lateral", "heading_error")
    space = _box((-1, -1, 0, -2, -1), (1, 1, 1, 2, 1), 5)

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
                _clip(fraction),
                _clip(lateral / half_width, 2.0),
                _clip(error / math.pi),
            ),
            np.float32,
        )


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
        self._count: Final = _count(self.name, count)
        self.labels = tuple(
            f"opponent_{i + 1}_{part}"
            for i in range(self._count)
            for part in ("near", "cos", "sin", "forward", "left")
        )
        self.space = _box((0.0, -1.0, -1.0, -1.0, -1.0) * self._count, 1.0, 5 * self._count)

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
                _clip((dx * fx + dz * fz) * scale),
                _clip((dx * fz - dz * fx) * scale),
                _clip(wx * fx + wz * fz),
                _clip(wx * fz - wz * fx),
            )
        return values


SENSORS.register("seed6", Seed6)
SENSORS.register("rays", Rays)
SENSORS.register("kinematics", Kinematics)
SENSORS.register("checkpoints", Checkpoints)
SENSORS.register("curvature", Curvature)
SENSORS.register("line", Line)
SENSORS.register("drift", Drift)
SENSORS.register("surface", Surface)
SENSORS.register("progress", ProgressSensor)
SENSORS.register("opponents", Opponents)


def register_sensor(name: str, factory: Callable[..., Sensor]) -> None:
    """Register a custom sensor: ``register_sensor("compass", Compass)``.

    Args:
        name: a new name.
        factory: called without arguments, or with the number of ``"name:number"``.

    Raises:
        ValueError: the name is taken or malformed.
    """
    SENSORS.register(name, factory)


def ray_angles(sensors: Sequence[Sensor]) -> tuple[float, ...]:
    """Return the angles of all rays of sensors, degrees from the heading, positive to the left."""
    return tuple(angle for sensor in sensors for angle in getattr(sensor, "ray_angles", ()))


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
