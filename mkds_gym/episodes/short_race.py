"""`ShortRaceReader`: a race that ends earlier than the game's own."""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator.console import Console
from mkds_gym.race.memory_layout import (
    DRIVER_STATUS,
    RACE_STATUS,
    STATUS_FLAG_FINISHED,
    MemoryLayout,
)
from mkds_gym.race.packing import field_slice
from mkds_gym.race.reader import RaceReader
from mkds_gym.race.state import RaceCopy

_STATUS_AT: Final = field_slice(RACE_STATUS, "drivers").start
_LAP_AT: Final = _STATUS_AT + field_slice(DRIVER_STATUS, "lap").start
_FLAGS_AT: Final = _STATUS_AT + field_slice(DRIVER_STATUS, "flags").start
_LAP: Final = struct.Struct("<i")
_FLAGS: Final = struct.Struct("<H")


class ShortRaceReader(RaceReader):
    """Reads the race of driver 0 as finished after a number of laps, before the game ends it.

    Args:
        ram: main RAM.
        layout: memory layout of the game.
        laps: laps of the race, at least 1.
    """

    def __init__(self, ram: NDArray[np.uint8], layout: MemoryLayout, laps: int) -> None:
        super().__init__(ram, layout)
        self._laps = laps

    def copy(self) -> RaceCopy:
        """Copy the bytes of the race out of memory, see `RaceReader.copy`."""
        return self._shortened(super().copy())

    def run_and_copy(
        self, console: Console, keys: int, frames: int, drawn: int = -1
    ) -> list[RaceCopy]:
        """Run frames, and return a `copy` of the race after each."""
        copies = super().run_and_copy(console, keys, frames, drawn)
        return [self._shortened(copied) for copied in copies]

    def _shortened(self, copied: RaceCopy) -> RaceCopy:
        if _LAP.unpack_from(copied, _LAP_AT)[0] <= self._laps:
            return copied
        changed = bytearray(copied)
        _LAP.pack_into(changed, _LAP_AT, self._laps)
        (flags,) = _FLAGS.unpack_from(copied, _FLAGS_AT)
        _FLAGS.pack_into(changed, _FLAGS_AT, flags | STATUS_FLAG_FINISHED)
        return bytes(changed)
