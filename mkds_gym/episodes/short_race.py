"""`ShortRace`: a race that ends earlier than the game's own."""

from __future__ import annotations

import struct
from typing import Final

from mkds_gym.race.memory_layout import DRIVER_STATUS, STATUS_FLAG_FINISHED
from mkds_gym.race.packing import field_slice
from mkds_gym.race.race_copy import STATUS_AT, RaceCopy
from mkds_gym.race.reader import Progress

_LAP_AT: Final = STATUS_AT[0] + field_slice(DRIVER_STATUS, "lap").start
_FLAGS_AT: Final = STATUS_AT[0] + field_slice(DRIVER_STATUS, "flags").start
_LAP: Final = struct.Struct("<i")
_FLAGS: Final = struct.Struct("<H")


class ShortRace:
    """Completion of a `RaceReader`: driver 0 finishes after a number of laps.

    Args:
        laps: laps of the race, at least 1.
    """

    progress: Final = None

    def __init__(self, laps: int) -> None:
        self._laps = laps

    def continue_from(self, progress: Progress | None) -> None:
        """Do nothing: each frame has all that is needed."""

    def complete(self, copied: RaceCopy) -> RaceCopy:
        """Return the copy, with the driver finished after the last lap."""
        if _LAP.unpack_from(copied, _LAP_AT)[0] <= self._laps:
            return copied
        changed = bytearray(copied)
        _LAP.pack_into(changed, _LAP_AT, self._laps)
        (flags,) = _FLAGS.unpack_from(copied, _FLAGS_AT)
        _FLAGS.pack_into(changed, _FLAGS_AT, flags | STATUS_FLAG_FINISHED)
        return bytes(changed)
