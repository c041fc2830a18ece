"""One race in one frame, as values with units.

A `RaceState` is a snapshot: its values stay the same when the console steps on. `RaceReader`
makes one per emulated frame, so a `RaceState` holds a copy of the bytes and converts a value only
when its property is read. All offsets come from the dtypes of `mkds_gym.race.memory_layout`.

Axes are right-handed with y up. Angles are in radians, positive to the left (counter-clockwise
from above).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from mkds_gym.race import memory_layout, names
from mkds_gym.race.memory_layout import DRIVER, FX32_SCALE
from mkds_gym.race.race_copy import (
    COURSE_AT,
    DRIVER_FIELDS,
    DRIVERS_AT,
    LAP_TIMES,
    LAPS_TIMED,
    SCENE_AT,
    UNPACK_FRAME,
    RaceCopy,
    status_fields,
    unpack_pose,
)

Vector = tuple[float, float, float]
"""x, y, z."""

ANGLE16_RADIANS = 2.0 * math.pi / memory_layout.ANGLE16_TURN
"""Radians per angle16."""

RACE_SCENES: Final = (2, 3)
"""Scene states in which a race runs."""

_unpack_driver = DRIVER_FIELDS.unpack_from
_D: Final = DRIVER_FIELDS.index
_S: Final = status_fields(0).index


def _scaled(raw: tuple[int, ...], at: int) -> Vector:
    x, y, z = raw[at : at + 3]
    return (x * FX32_SCALE, y * FX32_SCALE, z * FX32_SCALE)


@dataclass(frozen=True)
class OpponentState:
    """Another kart in the race.

    Attributes:
        driver: index among the drivers.
        position: world units.
        velocity: world units per frame.
        forward: unit vector along the kart.
        place: place in the race, 0 is first.
        lap: 0 before the start line, then 1 and up.
        race_progress: fraction of the race, as the game computes it.
        finished: whether the driver has finished the race.
    """

    driver: int
    position: Vector
    velocity: Vector
    forward: Vector
    place: int
    lap: int
    race_progress: float
    finished: bool


class RaceState:
    """Immutable snapshot of a race in one frame, from the view of one driver.

    Attributes:
        frame: race clock, frames since GO.
        lap: 0 before the driver first crosses the start line, then 1 and up; the last lap's
            number after the finish.
        checkpoint: index of the current checkpoint.
        surface: collision type under the kart, an index of `names.SURFACES`. In the air,
            the type of the last floor.
        state_bits: raw ``DRIVER_STATE_*`` bits.
        flags: raw ``DRIVER_FLAG_*`` bits.
        status_flags: raw ``STATUS_FLAG_*`` bits.
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

    def __init__(self, copied: RaceCopy, index: int, fields: tuple[int, ...] | None = None) -> None:
        """Wrap bytes from `RaceReader.copy`; `RaceReader.read` does both.

        Args:
            copied: the bytes.
            index: index of the driver.
            fields: the fields that every frame needs, if they are unpacked already.
        """
        self._copied = copied
        self._index = index
        self._driver_values: tuple[int, ...] | None = None
        self._pose_values: tuple[int, ...] | None = None
        self._status_values: tuple[int, ...] | None = None
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
        ) = fields or UNPACK_FRAME[index](copied)
        self.status_flags = status_flags
        self.checkpoint = checkpoint
        self._not_controllable = not_controllable
        self.state_bits = state_bits
        self.flags = flags
        self.surface = surface

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._copied, self._index)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RaceState):
            return NotImplemented
        return self._index == other._index and self._copied == other._copied

    def __hash__(self) -> int:
        return hash((self._index, self._copied))

    def __repr__(self) -> str:
        x, y, z = self.position
        return (
            f"<RaceState frame {self.frame}, lap {self.lap}, checkpoint {self.checkpoint}, "
            f"at ({x:.1f}, {y:.1f}, {z:.1f})>"
        )

    # Raw integers, unpacked on first use

    @property
    def _driver(self) -> tuple[int, ...]:
        values = self._driver_values
        if values is None:
            values = _unpack_driver(self._copied, DRIVERS_AT + self._index * DRIVER.itemsize)
            self._driver_values = values
        return values

    @property
    def _pose(self) -> tuple[int, ...]:
        """Position, up, forward."""
        values = self._pose_values
        if values is None:
            values = unpack_pose(self._copied, DRIVERS_AT + self._index * DRIVER.itemsize)
            self._pose_values = values
        return values

    @property
    def _status(self) -> tuple[int, ...]:
        values = self._status_values
        if values is None:
            values = status_fields(self._index).unpack_from(self._copied)
            self._status_values = values
        return values

    # The race

    @property
    def driver(self) -> int:
        """Index of the driver whose view this is."""
        return self._index

    @property
    def driver_count(self) -> int:
        """Number of karts in the race."""
        return (len(self._copied) - DRIVERS_AT) // DRIVER.itemsize

    @property
    def scene(self) -> int:
        """Raw scene state; see `RACE_SCENES`."""
        return int.from_bytes(self._copied[SCENE_AT:COURSE_AT], "little")

    @property
    def course_id(self) -> int:
        """Course number, a key of `names.COURSES`."""
        return int.from_bytes(self._copied[COURSE_AT:DRIVERS_AT], "little")

    @property
    def course_name(self) -> str | None:
        """Folder name of the course, None for an unknown course id."""
        return names.COURSES.get(self.course_id)

    @property
    def race_on(self) -> bool:
        """Whether a race scene runs and has a driver."""
        return self.scene in RACE_SCENES and self.driver_count >= 1

    @property
    def clock_running(self) -> bool:
        """Whether the race clock runs: from GO on."""
        return self._status[_S["clock_running"]] != 0

    @property
    def controllable(self) -> bool:
        """Whether the keys drive the kart: False in the countdown."""
        return self._not_controllable == 0

    @property
    def lap_frames(self) -> int:
        """Frames in this lap."""
        return self._status[_S["lap_frames"]]

    @property
    def lap_times(self) -> tuple[float, ...]:
        """Seconds of the finished laps, rounded by the game to milliseconds; at most five."""
        done = self.lap if self.finished else self.lap - 1
        if done <= 0:
            return ()
        status = self._status
        return tuple(
            status[at + 1] * 60 + status[at + 2] + status[at] / 1000
            for at in LAP_TIMES[: min(done, LAPS_TIMED)]
        )

    @property
    def total_time(self) -> float:
        """Seconds since GO, rounded by the game to milliseconds."""
        return self._status[_S["total_milliseconds"]] / 1000

    @property
    def race_time(self) -> float:
        """Centiseconds since GO, exactly frames x 100 / 59.8261."""
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
        """Place in the race, 0 to 7."""
        return self._place & 15

    @property
    def checkpoint_progress(self) -> float:
        """Fraction of the way to the next checkpoint, as the game computes it."""
        return self._status[_S["checkpoint_progress"]] * FX32_SCALE

    @property
    def lap_progress(self) -> float:
        """Fraction of the lap, as the game computes it."""
        return self._status[_S["lap_progress"]] * FX32_SCALE

    @property
    def race_progress(self) -> float:
        """Fraction of the race, as the game computes it."""
        return self._status[_S["race_progress"]] * FX32_SCALE

    @property
    def wrong_way(self) -> bool:
        """Whether the game shows the wrong-way sign."""
        return self.status_flags & memory_layout.STATUS_FLAG_WRONG_WAY != 0

    @property
    def finished(self) -> bool:
        """Whether the driver has finished the race."""
        return self.status_flags & memory_layout.STATUS_FLAG_FINISHED != 0

    @property
    def opponents(self) -> tuple[OpponentState, ...]:
        """The other karts in driver order, without ghosts. Takes 5 µs per kart."""
        copied = self._copied
        found: list[OpponentState] = []
        for index in range(self.driver_count):
            raw = _unpack_driver(copied, DRIVERS_AT + index * DRIVER.itemsize)
            if index == self._index or raw[_D["kind"]] & memory_layout.KIND_GHOST:
                continue
            status = status_fields(index).unpack_from(copied)
            found.append(
                OpponentState(
                    driver=index,
                    position=_scaled(raw, _D["position"]),
                    velocity=_scaled(raw, _D["velocity"]),
                    forward=_scaled(raw, _D["forward"]),
                    place=status[_S["place_and_driver"]] & 15,
                    lap=status[_S["lap"]],
                    race_progress=status[_S["race_progress"]] * FX32_SCALE,
                    finished=status[_S["flags"]] & memory_layout.STATUS_FLAG_FINISHED != 0,
                )
            )
        return tuple(found)

    # The kart: position and motion

    @property
    def position(self) -> Vector:
        """Contact point of the wheels, world units."""
        x, y, z = self._pose[0:3]
        return (x * FX32_SCALE, y * FX32_SCALE, z * FX32_SCALE)

    @property
    def previous_position(self) -> Vector:
        """Position in the previous frame, world units."""
        return _scaled(self._driver, _D["previous_position"])

    @property
    def delta(self) -> Vector:
        """Change of the position in this frame, world units."""
        return _scaled(self._driver, _D["delta"])

    @property
    def velocity(self) -> Vector:
        """The game's movement vector, world units per frame."""
        return _scaled(self._driver, _D["velocity"])

    @property
    def speed(self) -> float:
        """World units per frame, negative backwards."""
        return self._driver[_D["speed"]] * FX32_SCALE

    @property
    def max_speed(self) -> float:
        """Top speed on this surface, world units per frame."""
        return self._driver[_D["max_speed"]] * FX32_SCALE

    @property
    def pose(self) -> tuple[Vector, Vector, Vector]:
        """`position`, `up` and `forward`."""
        x, y, z, ux, uy, uz, fx, fy, fz = self._pose
        return (
            (x * FX32_SCALE, y * FX32_SCALE, z * FX32_SCALE),
            (ux * FX32_SCALE, uy * FX32_SCALE, uz * FX32_SCALE),
            (fx * FX32_SCALE, fy * FX32_SCALE, fz * FX32_SCALE),
        )

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

        Row 0 of the driver's matrix points to the left side instead.
        """
        fx, fy, fz = self.forward
        ux, uy, uz = self.up
        return (fy * uz - fz * uy, fz * ux - fx * uz, fx * uy - fy * ux)

    @property
    def heading(self) -> float:
        """Direction of the forward vector from above, radians from +z towards +x (left)."""
        pose = self._pose
        return math.atan2(pose[6], pose[8])

    @property
    def turning(self) -> float:
        """The game's turning amount, -1 (right) to 1 (left)."""
        return self._driver[_D["turning"]] * FX32_SCALE

    @property
    def heading_speed(self) -> float:
        """Change of the heading, radians per frame, with the game's sign."""
        return self._driver[_D["heading_speed"]] * ANGLE16_RADIANS

    @property
    def drift_direction(self) -> int:
        """Sign of the game's drift direction: -1 or 1, and 0 without a drift."""
        raw = self._driver[_D["drift_direction"]]
        return (raw > 0) - (raw < 0)

    @property
    def drift_angle(self) -> float:
        """Angle between the kart and its direction of movement in a drift, radians."""
        return self._driver[_D["drift_angle"]] * ANGLE16_RADIANS

    @property
    def drift_counts(self) -> tuple[int, int]:
        """Left and right presses that count towards a mini-turbo in this drift."""
        raw = self._driver
        return raw[_D["drift_left_count"]], raw[_D["drift_right_count"]]

    @property
    def mini_turbo_charge(self) -> float:
        """Charge of the mini-turbo: 0, 0.5 (one spark) or 1 (release R for the boost).

        Kartlab needs two presses to each side. How the original counts is unknown.
        """
        return min(*self.drift_counts, 2) / 2

    # The kart: surface, contacts and effects

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
        """Factor of the surface on the top speed: 1 on a road, less off-road."""
        return self._driver[_D["speed_multiplier"]] * FX32_SCALE

    @property
    def touching_wall(self) -> bool:
        """Whether the kart touches a wall."""
        return self.state_bits & memory_layout.DRIVER_STATE_TOUCHING_WALL != 0

    @property
    def touching_driver(self) -> bool:
        """Whether the kart touches another kart."""
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
        """Whether the kart respawns on the course."""
        return self.flags & memory_layout.DRIVER_FLAG_RESPAWNING != 0

    @property
    def boosting(self) -> bool:
        """Whether the kart has a boost."""
        return self.flags & memory_layout.DRIVER_FLAG_BOOSTING != 0

    @property
    def boost_frames(self) -> int:
        """Remaining frames of the boost."""
        return self._driver[_D["boost_timer"]]

    @property
    def on_jump_pad(self) -> bool:
        """Whether a jump pad has launched the kart and the kart has not landed yet."""
        return self.flags & memory_layout.DRIVER_FLAG_JUMP_PAD != 0

    @property
    def spinning_out(self) -> bool:
        """Whether the kart spins after a hit."""
        return self._driver[_D["flags2"]] & memory_layout.DRIVER_FLAG2_SPIN_OUT != 0
