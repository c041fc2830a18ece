"""One race as typed values with units, read from main RAM.

`RaceReader.read` takes a `RaceState`: a snapshot that stays as it is when the console steps on.
It is read once per emulated frame, so it is built to cost little: the bytes are copied, two
`struct` calls take the raw integers, and a value is converted to its unit when somebody asks for
it. The formats of those
calls are made from the dtypes of `mkds_gym.race.memory_layout`; no offset is typed here.

Axes: right-handed, y up. Angles are radians, positive to the left (counter-clockwise seen from
above). A bearing is measured from the kart's forward vector.
"""

from __future__ import annotations

import logging
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mkds_gym.errors import NoRaceError
from mkds_gym.race import memory_layout
from mkds_gym.race.memory_layout import (
    CAMERA,
    DRIVER,
    DRIVER_STATUS,
    FX32_SCALE,
    OBJECT_ENTRY,
    OBJECT_LIMIT,
    OBJECT_TABLE,
    RACE_CONFIG,
    RACE_STATUS,
    SCENE,
    Layout,
)

_log = logging.getLogger(__name__)

Vector = tuple[float, float, float]
"""x, y, z."""

_STRUCT_CODES = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I"}
_ANGLE16 = 2.0 * math.pi / memory_layout.ANGLE16_TURN
_RACE_SCENES: Final = (2, 3)


class _Packed:
    """A `struct` reader of some scalars at given offsets, whatever lies between.

    Attributes:
        unpack_from: of a buffer and the index of offset 0: a tuple of integers.
        index: place in that tuple of a name's (first) integer.
    """

    def __init__(self, parts: Sequence[tuple[str, int, np.dtype[Any]]]) -> None:
        self.index: dict[str, int] = {}
        code, position, count = "<", 0, 0
        for name, offset, dtype in sorted(parts, key=lambda part: part[1]):
            base, shape = dtype.subdtype or (dtype, ())
            size = int(np.prod(shape))
            if offset < position:
                raise ValueError(f"{name} overlaps the field before it")
            code += f"{offset - position}x{size}{_STRUCT_CODES[base.str[1:]]}"
            self.index[name] = count
            position = offset + dtype.itemsize
            count += size
        self._struct = struct.Struct(code)
        self.unpack_from = self._struct.unpack_from
        self.size = self._struct.size


def _fields(
    dtype: np.dtype[np.void], names: Sequence[str], at: int = 0
) -> list[tuple[str, int, np.dtype[Any]]]:
    """The named fields of ``dtype``, with their offsets from ``at`` bytes before it."""
    assert dtype.fields is not None
    return [(name, at + dtype.fields[name][1], dtype.fields[name][0]) for name in names]


_DRIVER = _Packed(
    _fields(
        DRIVER,
        (
            "state_bits",
            "flags",
            "flags2",
            "velocity",
            "kind",
            "position",
            "previous_position",
            "delta",
            "max_speed",
            "speed_multiplier",
            "heading",
            "boost_timer",
            "drift_boost_counter",
            "up",
            "forward",
            "delta_length",
            "speed",
            "drift_direction",
            "turning",
            "air_frames",
            "drift_left_count",
            "drift_right_count",
            "drift_angle",
            "floor_type",
            "floor_variant",
            "heading_speed",
        ),
    )
)
assert RACE_STATUS.fields is not None
_STATUS_OFFSET: Final = RACE_STATUS.fields["drivers"][1]
assert DRIVER_STATUS.fields is not None
_LAP_TIMES_OFFSET: Final = DRIVER_STATUS.fields["lap_times"][1]
_LAPS_TIMED: Final = 5
_TIME_SIZE: Final = memory_layout.TIME.itemsize


def _time_fields(name: str, offset: int) -> list[tuple[str, int, np.dtype[Any]]]:
    return [
        (f"{name}.{part}", place, dtype)
        for part, place, dtype in _fields(
            memory_layout.TIME, memory_layout.TIME.names or (), offset
        )
    ]


@lru_cache(maxsize=8)
def _status_reader(driver: int) -> _Packed:
    """A reader of the race status as one driver sees it; the same tuple for all of them."""
    own = _STATUS_OFFSET + driver * DRIVER_STATUS.itemsize
    return _Packed(
        [
            *_fields(RACE_STATUS, ("frame", "clock_running", "not_controllable")),
            *_fields(
                DRIVER_STATUS,
                (
                    "lap_frames",
                    "lap",
                    "total_milliseconds",
                    "flags",
                    "checkpoint",
                    "last_key_checkpoint",
                    "key_checkpoint",
                    "section",
                    "highest_lap",
                    "place_and_driver",
                    "checkpoint_progress",
                    "race_progress",
                    "lap_progress",
                ),
                own,
            ),
            *(
                field
                for lap in range(_LAPS_TIMED)
                for field in _time_fields(f"lap{lap}", own + _LAP_TIMES_OFFSET + lap * _TIME_SIZE)
            ),
        ]
    )


# Where the structures are in a `RaceCopy`.
_SCENE_AT: Final = RACE_STATUS.itemsize
_COURSE_AT: Final = _SCENE_AT + SCENE["state"].itemsize
_DRIVERS_AT: Final = _COURSE_AT + RACE_CONFIG["course_id"].itemsize

# What is asked of every frame, in the order in which it lies in a copy; the rest is mostly asked of
# a step's last frame alone.
_SOON_OF_STATUS: Final = ("lap", "flags", "checkpoint", "place_and_driver")
_SOON_OF_DRIVER: Final = ("state_bits", "flags", "floor_type")
_UNPACK_SOON: Final = tuple(
    _Packed(
        [
            *_fields(RACE_STATUS, ("frame", "not_controllable")),
            *_fields(
                DRIVER_STATUS, _SOON_OF_STATUS, _STATUS_OFFSET + driver * DRIVER_STATUS.itemsize
            ),
            *_fields(DRIVER, _SOON_OF_DRIVER, _DRIVERS_AT + driver * DRIVER.itemsize),
        ]
    ).unpack_from
    for driver in range(8)
)
assert sorted(_SOON_OF_DRIVER, key=_DRIVER.index.__getitem__) == list(_SOON_OF_DRIVER)
assert sorted(_SOON_OF_STATUS, key=_status_reader(0).index.__getitem__) == list(_SOON_OF_STATUS)

# Where the kart is, without all else that there is of it: what most observations are made of.
_unpack_pose = _Packed(_fields(DRIVER, ("position", "up", "forward"))).unpack_from

# Where a value is in the tuples: constants, so that a property costs one lookup.
_D = _DRIVER.index
_S = _status_reader(0).index
_LAP: Final = _S["lap"]
_STATUS_FLAGS: Final = _S["flags"]
_PLACE: Final = _S["place_and_driver"]
_LAP_TIMES: Final = tuple(_S[f"lap{lap}.milliseconds"] for lap in range(_LAPS_TIMED))
_FLAGS2: Final = _D["flags2"]
_VELOCITY: Final = _D["velocity"]
_POSITION: Final = _D["position"]
_PREVIOUS_POSITION: Final = _D["previous_position"]
_DELTA: Final = _D["delta"]
_UP: Final = _D["up"]
_FORWARD: Final = _D["forward"]
_KIND: Final = _D["kind"]
_GHOST: Final = 2


def _scaled(raw: tuple[int, ...], at: int) -> Vector:
    x, y, z = raw[at : at + 3]
    return (x * FX32_SCALE, y * FX32_SCALE, z * FX32_SCALE)


@dataclass(frozen=True)
class CameraState:
    """The camera that drew the picture.

    Attributes:
        position: of the eye, world units, elevation included.
        target: the point looked at, world units.
        up: unit vector.
        right: unit vector, as the game stores it.
        matrix: world to view, (4, 3) float64, rows: three axes and the translation.
        half_fov: half the vertical field of view, radians.
        aspect: width over height.
        near: world units.
        far: world units.
    """

    position: Vector
    target: Vector
    up: Vector
    right: Vector
    matrix: NDArray[np.float64]
    half_fov: float
    aspect: float
    near: float
    far: float

    @property
    def looks(self) -> bool:
        """Whether it looks somewhere: False until the game has set it up."""
        x, y, z = (e - t for e, t in zip(self.position, self.target, strict=True))
        ux, uy, uz = self.up
        across = (uy * z - uz * y, uz * x - ux * z, ux * y - uy * x)
        return (
            math.hypot(*across) > 1e-9
            and math.hypot(x, y, z) > 1e-9
            and 0 < self.half_fov < math.pi / 2
            and self.aspect > 0
        )


@dataclass(frozen=True)
class ObjectState:
    """One entry of the object table.

    Attributes:
        index: of the entry.
        kind: "driver", "item", "map_object", "moving_collision" or "other".
        position: world units.
        radius: of the bounding sphere, world units.
        active: whether the game minds it.
        type_id: number of the kind of map object (101 item box, ...), None for other kinds.
        address: ARM address of the object.
    """

    index: int
    kind: str
    position: Vector
    radius: float
    active: bool
    type_id: int | None
    address: int


@dataclass(frozen=True)
class OpponentState:
    """Another kart in the race.

    Attributes:
        driver: its index among the drivers.
        position: world units.
        velocity: world units per frame.
        forward: unit vector along the kart.
        place: 0 leads.
        lap: 0 before the start line, then 1 and up.
        race_progress: fraction of the race, as the game reckons it.
        finished: whether it has finished the race.
    """

    driver: int
    position: Vector
    velocity: Vector
    forward: Vector
    place: int
    lap: int
    race_progress: float
    finished: bool


RaceCopy: TypeAlias = bytes
"""The race status, the scene's state, the course id, and all drivers, one after another."""


class RaceState:
    """A race in one frame, seen from one driver: an immutable snapshot.

    Attributes:
        frame: the race clock, frames since GO.
        lap: 0 before the start line is first crossed, then 1 and up; stays when finished.
        checkpoint: index of the current checkpoint.
        surface: collision type under the kart, an index of `memory.SURFACES`; while the kart
            is in the air, of the floor it left.
        state_bits: the driver's raw ``memory.DRIVER_STATE_*`` bits.
        flags: the driver's raw ``memory.DRIVER_FLAG_*`` bits.
        status_flags: raw ``memory.STATUS_FLAG_*`` bits.
    """

    __slots__ = (
        "_copied",
        "_driver_values",
        "_index",
        "_not_controllable",
        "_place",
        "_pose_values",
        "_status_values",
        "checkpoint",
        "flags",
        "frame",
        "lap",
        "state_bits",
        "status_flags",
        "surface",
    )
    frame: int
    lap: int
    status_flags: int
    checkpoint: int
    state_bits: int
    flags: int
    surface: int
    _not_controllable: int
    _place: int

    def __init__(self, copied: RaceCopy, index: int) -> None:
        """Wrap what was copied out of memory; use `RaceReader.read` instead."""
        self._copied = copied
        self._index = index
        self._driver_values: tuple[int, ...] | None = None
        self._pose_values: tuple[int, ...] | None = None
        self._status_values: tuple[int, ...] | None = None
        # What is asked of every frame; see the names at the top.
        (
            self.frame,
            self.lap,
            status_flags,
            checkpoint,
            self._place,
            not_controllable,
            state_bits,
            flags,
            surface,
        ) = _UNPACK_SOON[index](copied)
        self.status_flags = status_flags
        self.checkpoint = checkpoint
        self._not_controllable = not_controllable
        self.state_bits = state_bits
        self.flags = flags
        self.surface = surface

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what it was made of."""
        return type(self), (self._copied, self._index)

    @property
    def driver_count(self) -> int:
        """How many karts race."""
        return (len(self._copied) - _DRIVERS_AT) // DRIVER.itemsize

    @property
    def _driver(self) -> tuple[int, ...]:
        """The raw integers of the driver, taken from the bytes when first asked for."""
        values = self._driver_values
        if values is None:
            values = _unpack_driver(self._copied, _DRIVERS_AT + self._index * DRIVER.itemsize)
            self._driver_values = values
        return values

    @property
    def _pose(self) -> tuple[int, ...]:
        """The raw integers of position, up and forward, as of the driver."""
        values = self._pose_values
        if values is None:
            values = _unpack_pose(self._copied, _DRIVERS_AT + self._index * DRIVER.itemsize)
            self._pose_values = values
        return values

    @property
    def _status(self) -> tuple[int, ...]:
        """The raw integers of the race status, as of the driver."""
        values = self._status_values
        if values is None:
            values = _status_reader(self._index).unpack_from(self._copied)
            self._status_values = values
        return values

    @property
    def scene(self) -> int:
        """The raw scene state; a race scene runs in 2 and 3."""
        return int.from_bytes(self._copied[_SCENE_AT:_COURSE_AT], "little")

    @property
    def course_id(self) -> int:
        """Number of the course, see `memory.COURSES`."""
        return int.from_bytes(self._copied[_COURSE_AT:_DRIVERS_AT], "little")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RaceState):
            return NotImplemented
        return (self._driver, self._status, self.scene, self.driver_count, self.course_id) == (
            other._driver,
            other._status,
            other.scene,
            other.driver_count,
            other.course_id,
        )

    def __hash__(self) -> int:
        return hash((self._driver, self._status))

    def __repr__(self) -> str:
        x, y, z = self.position
        return (
            f"<RaceState frame {self.frame}, lap {self.lap}, checkpoint {self.checkpoint}, "
            f"at ({x:.1f}, {y:.1f}, {z:.1f})>"
        )

    # The race

    @property
    def race_on(self) -> bool:
        """Whether a race scene runs, with a driver in it."""
        return self.scene in _RACE_SCENES and self.driver_count >= 1

    @property
    def clock_running(self) -> bool:
        """Whether the race clock runs: from GO on."""
        return self._status[_S["clock_running"]] != 0

    @property
    def controllable(self) -> bool:
        """Whether the keys drive the kart: not in the countdown."""
        return self._not_controllable == 0

    @property
    def course_name(self) -> str | None:
        """Folder name of the course, None for an id that is not in `memory.COURSES`."""
        return memory_layout.COURSES.get(self.course_id)

    @property
    def lap_frames(self) -> int:
        """Frames in this lap."""
        return self._status[_S["lap_frames"]]

    @property
    def lap_times(self) -> tuple[float, ...]:
        """Seconds of the laps that are done, as the game rounds them; it keeps the first five."""
        done = self.lap if self.finished else self.lap - 1
        if done <= 0:
            return ()
        status = self._status
        return tuple(
            status[at + 1] * 60 + status[at + 2] + status[at] / 1000
            for at in _LAP_TIMES[: min(done, _LAPS_TIMED)]
        )

    @property
    def total_time(self) -> float:
        """Seconds that the race has lasted, as the game rounds them."""
        return self._status[_S["total_milliseconds"]] / 1000

    @property
    def race_time(self) -> float:
        """Centiseconds on the race clock, exactly frames x 100 / 59.8261."""
        return self.frame * memory_layout.CENTISECONDS_PER_FRAME

    @property
    def section(self) -> int:
        """Index of the current checkpoint section."""
        return self._status[_S["section"]]

    @property
    def key_checkpoint(self) -> int:
        """Current key checkpoint."""
        return self._status[_S["key_checkpoint"]]

    @property
    def last_key_checkpoint(self) -> int:
        """Last correct key checkpoint."""
        return self._status[_S["last_key_checkpoint"]]

    @property
    def highest_lap(self) -> int:
        """Highest lap reached."""
        return self._status[_S["highest_lap"]]

    @property
    def place(self) -> int:
        """Place in the race, 0 to 7 as the game stores it."""
        return self._place & 15

    @property
    def checkpoint_progress(self) -> float:
        """Fraction of the way to the next checkpoint, as the game reckons it."""
        return self._status[_S["checkpoint_progress"]] * FX32_SCALE

    @property
    def lap_progress(self) -> float:
        """Fraction of the lap, as the game reckons it."""
        return self._status[_S["lap_progress"]] * FX32_SCALE

    @property
    def race_progress(self) -> float:
        """Fraction of the race, as the game reckons it."""
        return self._status[_S["race_progress"]] * FX32_SCALE

    @property
    def wrong_way(self) -> bool:
        """Whether the game shows that the driver goes the wrong way."""
        return self.status_flags & memory_layout.STATUS_FLAG_WRONG_WAY != 0

    @property
    def finished(self) -> bool:
        """Whether the driver has finished the race."""
        return self.status_flags & memory_layout.STATUS_FLAG_FINISHED != 0

    @property
    def opponents(self) -> tuple[OpponentState, ...]:
        """The other karts, in the order of the drivers; ghosts are none. 5 µs each."""
        copied = self._copied
        found: list[OpponentState] = []
        for index in range(self.driver_count):
            raw = _unpack_driver(copied, _DRIVERS_AT + index * DRIVER.itemsize)
            if index == self._index or raw[_KIND] == _GHOST:
                continue
            place = _status_reader(index).unpack_from(copied)
            found.append(
                OpponentState(
                    driver=index,
                    position=_scaled(raw, _POSITION),
                    velocity=_scaled(raw, _VELOCITY),
                    forward=_scaled(raw, _FORWARD),
                    place=place[_PLACE] & 15,
                    lap=place[_LAP],
                    race_progress=place[_S["race_progress"]] * FX32_SCALE,
                    finished=place[_STATUS_FLAGS] & memory_layout.STATUS_FLAG_FINISHED != 0,
                )
            )
        return tuple(found)

    # The kart: where it is and how it moves

    @property
    def position(self) -> Vector:
        """World units."""
        x, y, z = self._pose[0:3]
        return (x * FX32_SCALE, y * FX32_SCALE, z * FX32_SCALE)

    @property
    def previous_position(self) -> Vector:
        """World units, a frame ago."""
        x, y, z = self._driver[_PREVIOUS_POSITION : _PREVIOUS_POSITION + 3]
        return (x * FX32_SCALE, y * FX32_SCALE, z * FX32_SCALE)

    @property
    def delta(self) -> Vector:
        """What the last frame added to the position, world units."""
        x, y, z = self._driver[_DELTA : _DELTA + 3]
        return (x * FX32_SCALE, y * FX32_SCALE, z * FX32_SCALE)

    @property
    def velocity(self) -> Vector:
        """The game's movement vector, world units per frame."""
        x, y, z = self._driver[_VELOCITY : _VELOCITY + 3]
        return (x * FX32_SCALE, y * FX32_SCALE, z * FX32_SCALE)

    @property
    def speed(self) -> float:
        """World units per frame, negative backwards."""
        return self._driver[_D["speed"]] * FX32_SCALE

    @property
    def max_speed(self) -> float:
        """World units per frame that the kart reaches on this surface."""
        return self._driver[_D["max_speed"]] * FX32_SCALE

    @property
    def forward(self) -> Vector:
        """Unit vector along the kart."""
        x, y, z = self._pose[6:9]
        return (x * FX32_SCALE, y * FX32_SCALE, z * FX32_SCALE)

    @property
    def up(self) -> Vector:
        """Unit vector out of the kart's roof."""
        x, y, z = self._pose[3:6]
        return (x * FX32_SCALE, y * FX32_SCALE, z * FX32_SCALE)

    @property
    def right(self) -> Vector:
        """Unit vector out of the kart's right side: forward x up.

        Not the row of the kart's matrix that goes by this name: a rotation matrix whose rows
        are called right, up, forward has the left side there when the world is right-handed.
        """
        fx, fy, fz = self.forward
        ux, uy, uz = self.up
        return (fy * uz - fz * uy, fz * ux - fx * uz, fx * uy - fy * ux)

    @property
    def heading(self) -> float:
        """Direction of the forward vector seen from above, radians from +z towards +x (left)."""
        return math.atan2(self._driver[_FORWARD], self._driver[_FORWARD + 2])

    @property
    def turning(self) -> float:
        """The game's turning amount, in its own scale."""
        return self._driver[_D["turning"]] * FX32_SCALE

    @property
    def heading_speed(self) -> float:
        """How fast the heading turns, radians per frame, in the game's own sense."""
        return self._driver[_D["heading_speed"]] * _ANGLE16

    @property
    def drift_direction(self) -> int:
        """-1 or 1 while drifting, by the sign that the game gives the direction; else 0."""
        raw = self._driver[_D["drift_direction"]]
        return (raw > 0) - (raw < 0)

    @property
    def drift_angle(self) -> float:
        """Angle between the kart and its way in a drift, radians."""
        return self._driver[_D["drift_angle"]] * _ANGLE16

    @property
    def drift_counts(self) -> tuple[int, int]:
        """Presses to the left and to the right that count towards a mini-turbo in this drift."""
        return (
            self._driver[_D["drift_left_count"]],
            self._driver[_D["drift_right_count"]],
        )

    @property
    def mini_turbo_charge(self) -> float:
        """How far the drift has charged a mini-turbo: 0, 0.5 (one spark) or 1 (let go of R).

        By the counts as Kartlab keeps them, two of each side for a charge; the original's
        counters are known by name only.
        """
        return min(*self.drift_counts, 2) / 2

    # The kart: what happens to it

    @property
    def on_floor(self) -> bool:
        """Whether the kart is on a floor."""
        return self.state_bits & memory_layout.DRIVER_STATE_ON_FLOOR != 0

    @property
    def air_frames(self) -> int:
        """Frames in the air."""
        return self._driver[_D["air_frames"]]

    @property
    def variant(self) -> int:
        """Variant of the surface, 0 to 7."""
        return self._driver[_D["floor_variant"]]

    @property
    def surface_multiplier(self) -> float:
        """What the surface does to the top speed: 1 on a road, less off it."""
        return self._driver[_D["speed_multiplier"]] * FX32_SCALE

    @property
    def touching_wall(self) -> bool:
        """Whether the kart touches a wall."""
        return self.state_bits & memory_layout.DRIVER_STATE_TOUCHING_WALL != 0

    @property
    def touching_driver(self) -> bool:
        """Whether the kart touches another."""
        return self.state_bits & memory_layout.DRIVER_STATE_TOUCHING_DRIVER != 0

    @property
    def touching_object(self) -> bool:
        """Whether the kart touches an object of the course."""
        return self.state_bits & memory_layout.DRIVER_STATE_TOUCHING_OBJECT != 0

    @property
    def drifting(self) -> bool:
        """Whether the kart drifts."""
        return self.state_bits & memory_layout.DRIVER_STATE_DRIFTING != 0

    @property
    def going_backwards(self) -> bool:
        """Whether the kart rolls backwards."""
        return self.state_bits & memory_layout.DRIVER_STATE_GOING_BACKWARDS != 0

    @property
    def respawning(self) -> bool:
        """Whether the kart is being put back on the course."""
        return self.flags & memory_layout.DRIVER_FLAG_RESPAWNING != 0

    @property
    def boosting(self) -> bool:
        """Whether a boost drives the kart."""
        return self.flags & memory_layout.DRIVER_FLAG_BOOSTING != 0

    @property
    def boost_frames(self) -> int:
        """Frames that the boost still lasts."""
        return self._driver[_D["boost_timer"]]

    @property
    def on_jump_pad(self) -> bool:
        """Whether a jump pad has thrown the kart up and it is not down again."""
        return self.flags & memory_layout.DRIVER_FLAG_JUMP_PAD != 0

    @property
    def spinning_out(self) -> bool:
        """Whether the kart spins after a hit."""
        return self._driver[_FLAGS2] & memory_layout.DRIVER_FLAG2_SPIN_OUT != 0


def _place(dtype: np.dtype[np.void], name: str) -> slice:
    """Where a field lies among the bytes of its structure."""
    assert dtype.fields is not None
    field, at = dtype.fields[name][:2]
    return slice(at, at + field.itemsize)


class RaceReader:
    """Reads races out of one console's RAM.

    Args:
        ram: main RAM, (0x400000,) uint8, the live view of the console.
        layout: where things are; found in ``ram`` at the first read when None.
        driver: which driver's race to see; 0 is the player.

    Raises:
        ValueError: ``ram`` is not main RAM, or no race has such a driver.
    """

    def __init__(
        self, ram: NDArray[np.uint8], layout: Layout | None = None, driver: int = 0
    ) -> None:
        if ram.shape != (memory_layout.RAM_SIZE,) or ram.dtype != np.uint8:
            raise ValueError(
                f"ram must be ({memory_layout.RAM_SIZE:#x},) uint8, not {ram.shape} {ram.dtype}"
            )
        if not 0 <= driver < 8:
            raise ValueError(f"driver must be 0 to 7, not {driver}")
        self._ram = ram
        self._bytes: memoryview = ram.data
        self._layout = layout
        self._driver_index = driver
        # The static words that are compared before each read: when one has changed, another
        # race has been set up, and every address is looked up again.
        self._words: tuple[int, ...] | None = None
        self._warned = False
        self._unpack_words = struct.Struct("<").unpack_from
        self._words_start = 0
        self._driver_count = 0
        # Of what is read, live: the race status, the scene's state, the course id, all drivers.
        self._live: tuple[memoryview, ...] = ()

    @property
    def layout(self) -> Layout:
        """Where things are in this RAM.

        Raises:
            NoRaceError: the layout was to be found in RAM, and the game has not started.
        """
        if self._layout is None:
            self._layout = Layout.detect(self._ram)
        return self._layout

    @property
    def race_on(self) -> bool:
        """Whether a race scene runs, with all pointers in place and a driver in it."""
        try:
            return self.read().race_on
        except NoRaceError:
            return False

    def resolve(self) -> None:
        """Look all pointers up again. `read` does this when one of them has changed.

        Raises:
            NoRaceError: one does not point into main RAM, or there is no such driver.
        """
        layout = self.layout
        self._words = None
        if not layout.checkpoint_fields and not self._warned:
            self._warned = True
            _log.warning(
                "the %s release keeps its checkpoint fields elsewhere: checkpoints, and metrics "
                "that count by them, mean nothing",
                layout.region,
            )
        word = np.dtype("<u4")
        names = ("race_status_pointer", "race_config_pointer", "scene_pointer", "drivers_pointer")
        start = min(getattr(layout, name) for name in (*names, "driver_count"))
        words = _Packed(
            [
                *((name, getattr(layout, name) - start, word) for name in names),
                ("driver_count", layout.driver_count - start, np.dtype("<i4")),
            ]
        )
        at = memory_layout.check_pointer(start, words.size, "the static words")
        values = words.unpack_from(self._bytes, at)
        value = {name: values[index] for name, index in words.index.items()}
        count = value["driver_count"]
        status = self._part(value["race_status_pointer"], RACE_STATUS, "the race status")
        config = self._part(value["race_config_pointer"], RACE_CONFIG, "the race config")
        scene = self._part(value["scene_pointer"], SCENE, "the scene state")
        if not self._driver_index < count <= 8:
            raise NoRaceError(
                f"no race: {count} drivers, of which driver {self._driver_index} was asked for; "
                "start a race, or load a savestate that is in one"
            )
        drivers = self._part(value["drivers_pointer"], DRIVER, "the drivers", count)
        self._live = (status, scene[_SCENE_STATE], config[_COURSE_ID], drivers)
        self._driver_count = count
        self._words_start = at
        self._unpack_words = words.unpack_from
        self._words = values

    def _part(
        self, pointer: int, dtype: np.dtype[np.void], what: str, count: int = 1
    ) -> memoryview:
        """The live bytes of structures in memory."""
        size = dtype.itemsize * count
        at = memory_layout.check_pointer(pointer, size, what)
        return self._bytes[at : at + size]

    def read(self) -> RaceState:
        """The race in this frame. About 3 µs.

        Raises:
            NoRaceError: there is no race to read. A race scene that is being left or set up
                can still be read: see `RaceState.race_on`.
        """
        return self.race(self.copy())

    def copy(self) -> RaceCopy:
        """What `race` makes a state of, copied out of memory as it is.

        For a loop over frames: all that has to be done between two of them. The emulator fills
        the processor's caches with its own code and data, so that anything else that is done
        after every frame takes several times as long as when it is done for all frames in a row.

        Raises:
            NoRaceError: there is no race to read.
        """
        if self._words is None or self._unpack_words(self._bytes, self._words_start) != self._words:
            self.resolve()
        return b"".join(self._live)

    def race(self, copied: RaceCopy) -> RaceState:
        """The race that was copied."""
        return RaceState(copied, self._driver_index)

    # For tools: slower, and complete.

    @staticmethod
    def _record(live: memoryview, dtype: np.dtype[np.void], index: int = 0) -> np.void:
        """A copy of one structure."""
        record: np.void = np.frombuffer(live.tobytes(), dtype)[index]
        return record

    def read_driver(self, index: int = 0) -> np.void:
        """A copy of a driver's whole structure, dtype `memory.DRIVER`.

        Raises:
            NoRaceError: there is no race.
            IndexError: there is no such driver.
        """
        self.resolve()
        if not 0 <= index < self._driver_count:
            raise IndexError(f"driver {index}: the race has {self._driver_count}")
        return self._record(self._live[3], DRIVER, index)

    def read_status(self) -> np.void:
        """A copy of the whole race status, dtype `memory.RACE_STATUS`.

        Raises:
            NoRaceError: there is no race.
        """
        self.resolve()
        return self._record(self._live[0], RACE_STATUS)

    def read_config(self) -> np.void:
        """A copy of the race config, dtype `memory.RACE_CONFIG`.

        Raises:
            NoRaceError: there is no race.
        """
        self.resolve()
        address = memory_layout.read_pointer(
            self._ram, self.layout.race_config_pointer, RACE_CONFIG.itemsize, "the race config"
        )
        return memory_layout.read_struct(self._ram, address, RACE_CONFIG)

    def read_camera(self) -> CameraState:
        """The camera of this frame.

        Raises:
            NoRaceError: there is no camera.
        """
        address = memory_layout.read_pointer(
            self._ram, self.layout.camera_pointer, CAMERA.itemsize, "the camera"
        )
        camera = memory_layout.read_struct(self._ram, address, CAMERA)
        x, y, z = _vector(camera["position"])
        return CameraState(
            position=(x, y + int(camera["elevation"]) * FX32_SCALE, z),
            target=_vector(camera["target"]),
            up=_vector(camera["up"]),
            right=_vector(camera["right"]),
            matrix=camera["matrix"] * FX32_SCALE,
            half_fov=int(camera["fov"]) * _ANGLE16,
            aspect=int(camera["aspect"]) * FX32_SCALE,
            near=int(camera["near"]) * FX32_SCALE,
            far=int(camera["far"]) * FX32_SCALE,
        )

    def read_objects(self) -> list[ObjectState]:
        """All live objects: karts, items, things on the course. Unreadable entries are left out.

        Raises:
            NoRaceError: there is no object table.
        """
        table = memory_layout.read_struct(self._ram, self.layout.object_table, OBJECT_TABLE)
        count = min(int(table["count"]), OBJECT_LIMIT)
        if count == 0:
            return []
        # Live entries need not be the first ones: free entries lie between them.
        limit = min(
            OBJECT_LIMIT, (memory_layout.RAM_END - int(table["entries"])) // OBJECT_ENTRY.itemsize
        )
        entries = memory_layout.struct_view(
            self._ram, int(table["entries"]), OBJECT_ENTRY, max(limit, 1)
        ).copy()
        found: list[ObjectState] = []
        for index, entry in enumerate(entries):
            if len(found) == count:
                break
            address, position = int(entry["object"]), int(entry["position"])
            if not address or not position:
                continue
            try:
                at = memory_layout.check_pointer(position, 12, "an object's position")
                body = memory_layout.check_pointer(address, 2, "an object")
            except NoRaceError:
                continue
            flags = int(entry["flags"])
            kind = _object_kind(flags)
            x, y, z = _POSITION_STRUCT.unpack_from(self._bytes, at)
            is_map_object = kind in ("map_object", "moving_collision")
            found.append(
                ObjectState(
                    index=index,
                    kind=kind,
                    position=(x * FX32_SCALE, y * FX32_SCALE, z * FX32_SCALE),
                    radius=int(entry["radius"]) * FX32_SCALE,
                    active=not flags & memory_layout.OBJECT_FLAG_INACTIVE,
                    type_id=_TYPE_ID_STRUCT.unpack_from(self._bytes, body)[0]
                    if is_map_object
                    else None,
                    address=address,
                )
            )
        return found


_unpack_driver = _DRIVER.unpack_from
_SCENE_STATE: Final = _place(SCENE, "state")
_COURSE_ID: Final = _place(RACE_CONFIG, "course_id")
_POSITION_STRUCT = struct.Struct("<3i")
_TYPE_ID_STRUCT = struct.Struct("<h")


def _vector(raw: NDArray[np.int32]) -> Vector:
    x, y, z = (float(value) * FX32_SCALE for value in raw)
    return (x, y, z)


def _object_kind(flags: int) -> str:
    if flags & memory_layout.OBJECT_FLAG_DRIVER:
        return "driver"
    if flags & memory_layout.OBJECT_FLAG_ITEM:
        return "item"
    if flags & memory_layout.OBJECT_FLAG_MAP_OBJECT:
        return "map_object"
    if flags & memory_layout.OBJECT_FLAG_MOVING_COLLISION:
        return "moving_collision"
    return "other"
