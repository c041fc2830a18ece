"""Progress of drivers along a course, computed from their positions.

The game keeps each driver's checkpoint, lap and progress in the race status. On the Korean release
these fields lie at unknown offsets. `RaceProgress` computes them from the karts' positions and the
course's checkpoints, by the rules of `mkds_gym.course.checkpoint_lines`.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.course.checkpoint_lines import KART, CheckpointLines, DriverProgress
from mkds_gym.course.nkm import NKM, checksum_ram
from mkds_gym.errors import CourseFormatError, NoRaceError
from mkds_gym.race.memory import read_pointer, read_struct
from mkds_gym.race.memory_layout import (
    DRIVER,
    DRIVER_STATUS,
    FX32_ONE,
    RACE_CONFIG,
    STATUS_FLAG_FINISHED,
    STATUS_FLAG_WRONG_WAY,
    MemoryLayout,
)
from mkds_gym.race.packing import PackedFields, field_slice, parts_of
from mkds_gym.race.race_copy import DRIVERS_AT, STATUS_AT, RaceCopy
from mkds_gym.race.reader import Progress, RaceReader

_LONGEST_GAP: Final = 600
"""Most frames between two copies of one race."""
_COUNTDOWN_DRIFT: Final = 50 * FX32_ONE
"""Distance that no kart moves in the countdown, fx32 world units."""
_DEFAULT_LAPS: Final = 3
_MOST_LAPS: Final = 9

_CLOCK: Final = struct.Struct("<I")
_RAW_LAP_AT: Final = field_slice(DRIVER_STATUS, "lap").start
_LAP: Final = struct.Struct("<i")
_FLAGS_AT: Final = field_slice(DRIVER_STATUS, "flags").start
_FLAGS: Final = struct.Struct("<H")
# These fields follow each other.
_COMPUTED: Final = PackedFields(
    parts_of(
        DRIVER_STATUS,
        (
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
        -_FLAGS_AT,
    )
)


class RaceProgress:
    """Completes copies of a race with the progress of all drivers, see the top of this module.

    Args:
        ram: main RAM of the console.
        layout: memory layout of the game.
        laps: laps of the race; None: those of the game.
    """

    def __init__(
        self, ram: NDArray[np.uint8], layout: MemoryLayout, laps: int | None = None
    ) -> None:
        self._ram = ram
        self._layout = layout
        self._laps_wanted = laps
        self._laps = laps or _DEFAULT_LAPS
        self._lines: CheckpointLines | None = None
        self._checksum = -1
        self._course_laps = 0
        self._course_known = False
        self._drivers: list[DriverProgress] = []

    @property
    def progress(self) -> Progress | None:
        """The progress of all drivers, for `continue_from`; None before the first frame."""
        return tuple(me.saved() for me in self._drivers) or None

    def continue_from(self, progress: Progress | None) -> None:
        """Continue at another state of the console.

        Args:
            progress: the progress there; None finds the drivers by their positions.
        """
        self._drivers = [DriverProgress(*each) for each in progress or ()]
        self._course_known = False

    def complete(self, copied: RaceCopy) -> RaceCopy:
        """Return a copy with the progress of all drivers. Call once per frame, in order.

        Frames may be left out, and the same frame may come again.

        Raises:
            NoRaceError: memory has no valid course.
        """
        (clock,) = _CLOCK.unpack_from(copied)
        count = (len(copied) - DRIVERS_AT) // DRIVER.itemsize
        drivers = self._drivers
        if len(drivers) != count or self._is_another_race(copied, clock):
            drivers = self._drivers = []
            self._course_known = False
        lines = self._lines if self._course_known else self._read_course()
        assert lines is not None
        changed = bytearray(copied)
        for index in range(count):
            kart = KART.unpack_from(copied, DRIVERS_AT + index * DRIVER.itemsize)
            at = STATUS_AT[index]
            if len(drivers) == index:
                (lap,) = _LAP.unpack_from(copied, at + _RAW_LAP_AT)
                drivers.append(lines.locate(kart, clock, lap if 0 <= lap <= self._laps else 1))
            me = drivers[index]
            lines.update(me, kart, clock, self._laps)
            self._write(changed, at, index, me, kart)
        return bytes(changed)

    def _is_another_race(self, copied: RaceCopy, clock: int) -> bool:
        """Return whether a copy cannot be of the race whose drivers are known."""
        me = self._drivers[0]
        if not 0 <= clock - me.clock <= _LONGEST_GAP:
            return True
        kart = KART.unpack_from(copied, DRIVERS_AT)
        # In the countdown the clock stands still, and so do the karts.
        return clock == 0 and abs(kart[4] - me.x) + abs(kart[6] - me.z) > _COUNTDOWN_DRIFT

    def _write(
        self,
        changed: bytearray,
        at: int,
        index: int,
        me: DriverProgress,
        kart: tuple[int, ...],
    ) -> None:
        lines = self._lines
        assert lines is not None
        point = me.checkpoint
        share, of_lap = lines.fractions(me)
        of_race = 1.0 if me.finished else (me.lap - 1 + of_lap) / self._laps
        (flags,) = _FLAGS.unpack_from(changed, at + _FLAGS_AT)
        flags &= ~(STATUS_FLAG_FINISHED | STATUS_FLAG_WRONG_WAY)
        if me.finished:
            flags |= STATUS_FLAG_FINISHED
        if me.wrong_way:
            flags |= STATUS_FLAG_WRONG_WAY
        _LAP.pack_into(changed, at + _RAW_LAP_AT, me.lap)
        _COMPUTED.pack_into(
            changed,
            at + _FLAGS_AT,
            flags,
            point,
            me.last_key,
            me.key,
            lines.sections[point],
            me.highest_lap,
            kart[13] & 15 | index << 4,
            int(share * FX32_ONE),
            int(min(max(of_race, 0.0), 1.0) * FX32_ONE),
            int(of_lap * FX32_ONE),
        )

    def _read_course(self) -> CheckpointLines:
        """Read the course and the laps of the race, if they have changed."""
        ram, layout = self._ram, self._layout
        at = read_pointer(ram, layout.map_data_pointer, 4, "the map data")
        try:
            checksum = checksum_ram(ram, at)
            if self._lines is None or checksum != self._checksum:
                nkm = NKM.from_ram(ram, at)
                self._lines = CheckpointLines(nkm)
                self._checksum = checksum
                self._course_laps = 0 if nkm.stage is None else int(nkm.stage["laps"])
        except CourseFormatError as error:
            raise NoRaceError(
                f"no race: memory has no course with checkpoints ({error})"
            ) from error
        self._laps = self._laps_wanted or self._game_laps()
        self._course_known = True
        return self._lines

    def _game_laps(self) -> int:
        layout = self._layout
        at = read_pointer(
            self._ram, layout.race_config_pointer, RACE_CONFIG.itemsize, "the race config"
        )
        laps = int(read_struct(self._ram, at, RACE_CONFIG)["lap_override"])
        if laps <= 0:
            laps = self._course_laps
        return laps if 1 <= laps <= _MOST_LAPS else _DEFAULT_LAPS


def race_reader(
    ram: NDArray[np.uint8], layout: MemoryLayout, driver: int = 0, laps: int | None = None
) -> RaceReader:
    """Return a reader of the race in memory, which computes the progress where the game keeps none.

    Args:
        ram: main RAM.
        layout: memory layout of the game.
        driver: driver whose race to read, 0 to 7.
        laps: laps after which a race with computed progress is over; None: those of the game.
    """
    computed = None if layout.checkpoint_fields else RaceProgress(ram, layout, laps)
    return RaceReader(ram, layout, driver, computed)
