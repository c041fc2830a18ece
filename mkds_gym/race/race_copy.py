"""The copy of a race that `RaceReader` takes each frame, and the fields in it."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, TypeAlias

from mkds_gym.race.memory_layout import (
    DRIVER,
    DRIVER_LIMIT,
    DRIVER_STATUS,
    RACE_CONFIG,
    RACE_STATUS,
    SCENE,
    TIME,
)
from mkds_gym.race.packing import PackedFields, field_slice, parts_of

RaceCopy: TypeAlias = bytes
"""The race status, the scene state, the course id and all drivers, concatenated."""

# Offsets in a `RaceCopy`.
SCENE_AT: Final = RACE_STATUS.itemsize
COURSE_AT: Final = SCENE_AT + SCENE["state"].itemsize
DRIVERS_AT: Final = COURSE_AT + RACE_CONFIG["course_id"].itemsize

STATUS_AT: Final = tuple(
    field_slice(RACE_STATUS, "drivers").start + driver * DRIVER_STATUS.itemsize
    for driver in range(DRIVER_LIMIT)
)
_LAP_TIMES_AT: Final = field_slice(DRIVER_STATUS, "lap_times").start
LAPS_TIMED: Final = 5
"""Laps whose times the race status has."""

DRIVER_FIELDS: Final = PackedFields(
    parts_of(
        DRIVER,
        (
            "flags2",
            "velocity",
            "kind",
            "previous_position",
            "position",
            "delta",
            "max_speed",
            "speed_multiplier",
            "boost_timer",
            "up",
            "forward",
            "speed",
            "drift_direction",
            "turning",
            "air_frames",
            "drift_left_count",
            "drift_right_count",
            "drift_angle",
            "floor_variant",
            "heading_speed",
        ),
    )
)
"""Fields of one driver, from the start of the driver on."""


@lru_cache(maxsize=DRIVER_LIMIT)
def status_fields(driver: int) -> PackedFields:
    """Fields of the race status for one driver; `index` is the same for all drivers."""
    own = STATUS_AT[driver]
    parts = parts_of(RACE_STATUS, ("clock_running",))
    parts += parts_of(
        DRIVER_STATUS,
        (
            "lap_frames",
            "lap",
            "total_milliseconds",
            "flags",
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
    )
    for lap in range(LAPS_TIMED):
        at = own + _LAP_TIMES_AT + lap * TIME.itemsize
        parts += [
            (f"lap{lap}.{name}", offset, dtype)
            for name, offset, dtype in parts_of(TIME, TIME.names or (), at)
        ]
    return PackedFields(parts)


LAP_TIMES: Final = tuple(
    status_fields(0).index[f"lap{lap}.milliseconds"] for lap in range(LAPS_TIMED)
)
"""Positions of the laps' milliseconds among the `status_fields`; minutes and seconds follow."""

UNPACK_FRAME: Final = tuple(
    PackedFields(
        parts_of(RACE_STATUS, ("frame", "not_controllable"))
        + parts_of(
            DRIVER_STATUS, ("lap", "flags", "checkpoint", "place_and_driver"), STATUS_AT[driver]
        )
        + parts_of(
            DRIVER, ("state_bits", "flags", "floor_type"), DRIVERS_AT + driver * DRIVER.itemsize
        )
    ).unpack_from
    for driver in range(DRIVER_LIMIT)
)
"""Unpack the fields that every frame needs, in memory order; one function per driver."""

# Most observations need the pose and nothing else of the driver.
unpack_pose = PackedFields(parts_of(DRIVER, ("position", "up", "forward"))).unpack_from
