"""Sensors: what a driver may know of the race, as small vectors of numbers.

All values are float32 within the `Sensor.space` that is declared. Left is positive: of bearings,
offsets, curvature and turning. Distances are world units before they are mapped.

====================  =====  ================================================================
sensor                size   components
====================  =====  ================================================================
``seed6``             6      nearness of obstacles ahead, left, right; cos, sin, -sin of the
                             bearing of the next checkpoint
``rays[:n]``          n (9)  nearness of obstacles in n directions over the front half turn,
                             from left to right
``kinematics``        8      speed, slip, yaw rate, drift direction, drift angle, on the floor,
                             air, boost
``checkpoints[:k]``   3k(3)  distance and cos, sin of the bearing of each of the next k
                             checkpoints
``curvature[:k]``     k (5)  curvature of the course 75, 150, ... world units ahead
``surface``           8      kind of surface as one-hot, and its speed multiplier
``progress``          5      sin, cos of the place in the lap as an angle, the lap's fraction,
                             lateral offset, heading error
``opponents[:k]``     5k(3)  nearness, cos, sin of the bearing, and relative velocity of each of
                             the k nearest karts
====================  =====  ================================================================

An obstacle is a wall, or the edge of off-road ground (surfaces 2, 3 and 5) for a kart that is on
the road. Its nearness at distance d is tanh(1 - d / 60): 0.76 in touch, 0 at 60, near -1 from
200 on; no hit is -1.
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
from mkds_gym.race.names import OFFROAD_SURFACES, SURFACES
from mkds_gym.utils.arguments import as_list

if TYPE_CHECKING:
    from mkds_gym.course import Course
    from mkds_gym.course.track import Track
    from mkds_gym.race.state import RaceState


@runtime_checkable
class Sensor(Protocol):
    """Tells a driver something about the race.

    Attributes:
        name: what it is called in `SENSORS`, in a ``dict`` observation and in messages.
        space: `gymnasium.spaces.Box` of one dimension, float32; known without a race.
        labels: a name for each component.
    """

    name: str
    space: Box
    labels: tuple[str, ...]

    def read(self, state: RaceState, course: Course) -> NDArray[np.float32]:
        """The values now: a new array within ``space``."""


SENSORS: Final[Registry[Sensor]] = Registry("sensor", Sensor)
"""What ``sensors`` may name."""

OBSTACLE_SCALE: Final = 60.0
"""World units at which the nearness of an obstacle is 0."""
RAY_HEIGHT: Final = 3.0
"""World units above the wheels from which rays start, so that they do not scrape the floor."""
MAX_PARTS: Final = 256
"""Most rays or checkpoints that a sensor takes."""


def _count(sensor: str, count: float) -> int:
    """Check the number that a sensor takes.

    Raises:
        ValueError: not a whole number from 1 to `MAX_PARTS`.
    """
    if isinstance(count, bool) or not 1 <= count <= MAX_PARTS or count != int(count):
        raise ValueError(
            f"sensor {sensor!r}: {count!r} is not a whole number from 1 to {MAX_PARTS}"
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

    They start `RAY_HEIGHT` above the wheels. One small matrix product makes all origins and
    directions, as each is a fixed combination of the kart's position and two of its axes.

    Args:
        angles: degrees, positive to the left.
    """

    def __init__(self, angles: Sequence[float]) -> None:
        count = len(angles)
        self._angles = tuple(angles)
        radians = np.radians(np.asarray(angles, np.float64))
        # Rows of the product: count origins, then count directions.
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
        """Pickle and copy by the angles: copied views would no longer share their memory."""
        return (_Rays, (self._angles,))

    def cast(self, state: RaceState, course: Course) -> list[float]:
        """Distances to the nearest obstacles, world units, infinity where there is none."""
        x, y, z = state.position
        fx, fy, fz = state.forward
        ux, uy, uz = state.up
        _pack_axes(
            self._memory,
            0,
            x + RAY_HEIGHT * ux,
            y + RAY_HEIGHT * uy,
            z + RAY_HEIGHT * uz,
            fx,
            fy,
            fz,
            # forward x up: the right side, see RaceState.right.
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
    """What a sensor shows of an obstacle at ``distance``; -1 for infinity."""
    return math.tanh(1.0 - distance / OBSTACLE_SCALE)


def _ahead(state: RaceState, track: Track, checkpoint: int) -> tuple[int, float, float]:
    """The checkpoint after ``checkpoint``, as the kart sees it.

    Where the course branches it is, of the next ones, the one nearest in bearing: the one that
    the kart heads for.

    Returns:
        Its index; how far its midpoint is forward and to the left of the kart, seen from above,
        in world units times the length of the forward vector's shadow. Without a next
        checkpoint the midpoint counts as straight ahead.
    """
    following = track.next(checkpoint) if 0 <= checkpoint < len(track) else ()
    x, _, z = state.position
    fx, _, fz = state.forward
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
    """The six numbers that a first evolved driver drives by.

    * ``ahead``, ``left``, ``right``: nearness of the nearest obstacle that any ray of a fan of
      five hits, in the kart's plane. The fan ahead is at -18, -9, 0, 9 and 18 degrees, those to
      the sides at the same angles around +90 and -90.
    * ``cos``, ``sin``, ``-sin`` of the bearing of the next checkpoint: of the midpoint of its
      line, seen from above, positive to the left of the heading. On a branch it is the next
      checkpoint nearest in bearing.
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

    FAN: Final = (-18.0, -9.0, 0.0, 9.0, 18.0)
    """Angles of a fan's rays from its middle, degrees."""
    ray_angles: Final = tuple(
        m + a for m in (0.0, 90.0, -90.0) for a in (-18.0, -9.0, 0.0, 9.0, 18.0)
    )
    """Angles of all rays, degrees, positive to the left."""

    def __init__(self) -> None:
        self._rays = _Rays(self.ray_angles)

    def read(self, state: RaceState, course: Course) -> NDArray[np.float32]:
        """See `Sensor.read`."""
        distances = self._rays.cast(state, course)
        _, forward, left = _ahead(state, course.track, state.checkpoint)
        length = math.hypot(forward, left)
        cosine, sine = (forward / length, left / length) if length else (1.0, 0.0)
        return np.array(
            (
                math.tanh(1.0 - min(distances[0:5]) / OBSTACLE_SCALE),
                math.tanh(1.0 - min(distances[5:10]) / OBSTACLE_SCALE),
                math.tanh(1.0 - min(distances[10:15]) / OBSTACLE_SCALE),
                cosine,
                sine,
                -sine,
            ),
            np.float32,
        )


class Rays:
    """Nearness of obstacles in directions spread evenly over the front half turn.

    Args:
        count: how many rays, from 90 degrees left to 90 degrees right; one ray looks ahead.
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
        """See `Sensor.read`."""
        return np.array(
            [_nearness(distance) for distance in self._rays.cast(state, course)], np.float32
        )


class Kinematics:
    """How the kart moves.

    * ``speed``: along the kart, over its top speed on this surface; -1.5 to 1.5.
    * ``slip``: what it moves to its left in a frame, over its top speed.
    * ``yaw_rate``: of the heading, over 3 degrees per frame.
    * ``drift_direction``: -1, 0 or 1, by the game's sign.
    * ``drift_angle``: over a quarter turn.
    * ``on_floor``: 0 or 1.
    * ``air``: frames in the air over 60.
    * ``boost``: 0 or 1.

    All but ``speed`` are cut to -1 to 1, and the last three to 0 to 1.
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
    """Radians per frame that count as 1."""
    AIR_FRAMES: Final = 60.0
    """Frames in the air that count as 1."""

    def read(self, state: RaceState, course: Course) -> NDArray[np.float32]:  # noqa: ARG002
        """See `Sensor.read`."""
        # A kart that may not move has a top speed of 0: its speed is a fraction of 1 then.
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
    """Distance and bearing of the next checkpoints' midpoints, seen from above.

    A distance d is shown as d / (d + 200), 0 to 1; a bearing as its cosine and sine, positive to
    the left. On a branch the next checkpoint is the one nearest in bearing.

    Args:
        count: how many checkpoints ahead.
    """

    name = "checkpoints"

    DISTANCE_SCALE: Final = 200.0
    """World units that are shown as one half."""

    def __init__(self, count: float = 3) -> None:
        self._count: Final = _count(self.name, count)
        self.labels = tuple(
            f"checkpoint_{i + 1}_{part}"
            for i in range(self._count)
            for part in ("distance", "cos", "sin")
        )
        self.space = _box((0.0, -1.0, -1.0) * self._count, 1.0, 3 * self._count)

    def read(self, state: RaceState, course: Course) -> NDArray[np.float32]:
        """See `Sensor.read`."""
        values: list[float] = []
        index = state.checkpoint
        # The axis seen from above is shorter than 1 on a slope; distances want its true length.
        fx, _, fz = state.forward
        scale = 1.0 / (math.hypot(fx, fz) or 1.0)
        for _ in range(self._count):
            index, forward, left = _ahead(state, course.track, index)
            length = math.hypot(forward, left)
            distance = length * scale
            values.append(distance / (distance + self.DISTANCE_SCALE))
            values += (forward / length, left / length) if length else (1.0, 0.0)
        return np.array(values, np.float32)


class Curvature:
    """Curvature of the centre line ahead of the kart, positive where it bends to the left.

    A curvature of 1 / radius is shown as tanh(100 / radius). All 0 while the game names no
    checkpoint of the course.

    Args:
        count: at how many places, `Curvature.SPACING` world units apart.
    """

    name = "curvature"

    SPACING: Final = 75.0
    """World units from one place to the next; the first is this far ahead."""
    RADIUS: Final = 100.0
    """World units of radius that are shown as tanh(1)."""

    def __init__(self, count: float = 5) -> None:
        count = _count(self.name, count)
        self._ahead = [self.SPACING * (i + 1) for i in range(count)]
        self.labels = tuple(f"curvature_{ahead:.0f}" for ahead in self._ahead)
        self.space = _box(-1.0, 1.0, count)

    def read(self, state: RaceState, course: Course) -> NDArray[np.float32]:
        """See `Sensor.read`."""
        track = course.track
        if not 0 <= state.checkpoint < len(track):
            return np.zeros(len(self.labels), np.float32)
        x, _, z = state.position
        place = track.progress(state.checkpoint, x, z)
        return np.array(
            [
                math.tanh(self.RADIUS * track.curvature_at(place + ahead, state.checkpoint))
                for ahead in self._ahead
            ],
            np.float32,
        )


def _surface_kinds() -> list[int]:
    """The component of `Surface` that each collision type sets."""
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
    """What the kart drives on: a one-hot of seven kinds, and the speed multiplier, 0 to 2."""

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
        """See `Sensor.read`."""
        values = np.zeros(8, np.float32)
        surface = state.surface
        values[self._KINDS[surface] if 0 <= surface < len(self._KINDS) else 6] = 1.0
        values[7] = min(max(state.surface_multiplier, 0.0), 2.0)
        return values


class ProgressSensor:
    """Where on the course the kart is; all 0 while the game names no checkpoint of the course.

    * ``lap_sin``, ``lap_cos``: of the place in the lap as an angle, without a jump at the line.
    * ``lap_fraction``: of the lap, 0 to 1.
    * ``lateral``: offset from the centre line, over half the course's width there; -2 to 2.
    * ``heading_error``: heading against that of the centre line, over half a turn; -1 to 1.
    """

    name = "progress"
    labels: tuple[str, ...] = ("lap_sin", "lap_cos", "lap_fraction", "lateral", "heading_error")
    space = _box((-1, -1, 0, -2, -1), (1, 1, 1, 2, 1), 5)

    def read(self, state: RaceState, course: Course) -> NDArray[np.float32]:
        """See `Sensor.read`."""
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
    """The nearest other karts, the nearest first, seen from above.

    * ``near``: 1 / (1 + d / 100) for a kart at distance d; 0 for none.
    * ``cos``, ``sin`` of its bearing, positive to the left.
    * ``forward``, ``left``: how much faster than this kart it moves along this kart's forward
      direction and to its left, over 4 world units per frame, cut to -1 to 1.

    All five are 0 where there are fewer karts.

    Args:
        count: how many karts.
    """

    name = "opponents"

    DISTANCE_SCALE: Final = 100.0
    """World units at which the nearness is one half."""
    SPEED_SCALE: Final = 4.0
    """World units per frame that count as 1."""

    def __init__(self, count: float = 3) -> None:
        self._count: Final = _count(self.name, count)
        self.labels = tuple(
            f"opponent_{i + 1}_{part}"
            for i in range(self._count)
            for part in ("near", "cos", "sin", "forward", "left")
        )
        self.space = _box((0.0, -1.0, -1.0, -1.0, -1.0) * self._count, 1.0, 5 * self._count)

    def read(self, state: RaceState, course: Course) -> NDArray[np.float32]:  # noqa: ARG002
        """See `Sensor.read`."""
        values = np.zeros(5 * self._count, np.float32)
        x, _, z = state.position
        vx, _, vz = state.velocity
        fx, _, fz = state.forward
        length = math.hypot(fx, fz) or 1.0
        fx, fz = fx / length, fz / length
        seen = []
        for kart in state.opponents:
            dx, dz = kart.position[0] - x, kart.position[2] - z
            seen.append((math.hypot(dx, dz), dx, dz, kart.velocity))
        seen.sort()
        for at, (distance, dx, dz, (wx, _, wz)) in enumerate(seen[: self._count]):
            scale = 1.0 / (distance or 1.0)
            wx, wz = (wx - vx) / self.SPEED_SCALE, (wz - vz) / self.SPEED_SCALE
            values[5 * at : 5 * at + 5] = (
                1.0 / (1.0 + distance / self.DISTANCE_SCALE),
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
SENSORS.register("surface", Surface)
SENSORS.register("progress", ProgressSensor)
SENSORS.register("opponents", Opponents)


def register_sensor(name: str, factory: Callable[..., Sensor]) -> None:
    """Let ``sensors`` name a sensor of yours: ``register_sensor("compass", Compass)``.

    Args:
        name: a new name.
        factory: called with no argument, or with the number of ``"name:number"``.

    Raises:
        ValueError: the name is taken or malformed.
    """
    SENSORS.register(name, factory)


def ray_angles(sensors: Sequence[Sensor]) -> tuple[float, ...]:
    """Where the rays of sensors point: degrees from the heading, positive to the left."""
    return tuple(angle for sensor in sensors for angle in getattr(sensor, "ray_angles", ()))


def make_sensors(sensors: Sequence[str | Sensor] | str | Sensor) -> list[Sensor]:
    """Sensors from names (``"seed6"``, ``"rays:15"``) and objects.

    Raises:
        ValueError: an unknown name, a bad number, or the same name twice.
        TypeError: an entry is neither a name nor a sensor.
    """
    made: list[Sensor] = []
    wanted = as_list("sensors", sensors, str | Sensor)
    for spec in wanted:
        if isinstance(spec, str):
            made.append(SENSORS.make(spec))
        elif isinstance(spec, Sensor) and not isinstance(spec, type):
            made.append(spec)
        else:
            raise TypeError(
                f"{spec!r} is no sensor: give a name ({', '.join(SENSORS)}) or an object with "
                "name, space, labels and read(state, course)"
            )
    for sensor in made:
        space: Any = sensor.space
        if not isinstance(space, Box) or space.dtype != np.float32 or len(space.shape) != 1:
            raise ValueError(
                f"sensor {sensor.name!r} has the space {space}; a sensor's space is a Box of one "
                "dimension and dtype float32"
            )
    names = [sensor.name for sensor in made]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"sensor {name!r} is given twice; give each sensor once")
    return made
