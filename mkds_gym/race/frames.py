"""The race after each frame of a step, and whether anything happened in these frames.

The emulator evicts Python from the processor's caches, so a step is fast if it touches little.
Most frames change no more than the clock and where the kart is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias, overload

from mkds_gym.race.memory_layout import (
    DRIVER_FLAG_RESPAWNING,
    DRIVER_STATE_ON_FLOOR,
    DRIVER_STATE_TOUCHING_WALL,
    STATUS_FLAG_FINISHED,
    STATUS_FLAG_WRONG_WAY,
)
from mkds_gym.race.names import OFFROAD_SURFACES
from mkds_gym.race.race_copy import UNPACK_FRAME, RaceCopy
from mkds_gym.race.state import RaceState

Condition: TypeAlias = tuple[int, ...]
"""Lap, status flags, checkpoint, not controllable, floor and wall, respawn, surface."""

_STATE_BITS: Final = DRIVER_STATE_ON_FLOOR | DRIVER_STATE_TOUCHING_WALL
_EVENTFUL: Final = STATUS_FLAG_FINISHED | STATUS_FLAG_WRONG_WAY


class RaceFrames(Sequence[RaceState]):
    """The race after each frame of a step, a sequence that makes a state when it is read.

    Args:
        copies: results of `RaceReader.copy`, at least one.
        index: index of the driver.

    Attributes:
        condition: what holds in all frames; None if the frames differ.
    """

    __slots__ = ("_copies", "_fields", "_index", "_states", "condition")

    def __init__(self, copies: Sequence[RaceCopy], index: int) -> None:
        self._copies = copies
        self._index = index
        self._states: list[RaceState | None] = [None] * len(copies)
        self._fields: list[tuple[int, ...]] = []
        conditions: list[Condition] = []
        unpack = UNPACK_FRAME[index]
        for copied in copies:
            fields = unpack(copied)
            self._fields.append(fields)
            _, lap, status, checkpoint, _, waits, state_bits, flags, surface = fields
            bits = state_bits & _STATE_BITS, flags & DRIVER_FLAG_RESPAWNING
            conditions.append((lap, status, checkpoint, waits, *bits, surface))
        first = conditions[0]
        self.condition = first if conditions.count(first) == len(conditions) else None

    def __len__(self) -> int:
        return len(self._states)

    @overload
    def __getitem__(self, frame: int) -> RaceState: ...

    @overload
    def __getitem__(self, frame: slice) -> list[RaceState]: ...

    def __getitem__(self, frame: int | slice) -> RaceState | list[RaceState]:
        if isinstance(frame, slice):
            return [self[i] for i in range(*frame.indices(len(self)))]
        state = self._states[frame]
        if state is None:
            state = RaceState(self._copies[frame], self._index, self._fields[frame])
            self._states[frame] = state
        return state

    def __iter__(self) -> Iterator[RaceState]:
        return map(self.__getitem__, range(len(self)))


def is_ordinary(condition: Condition) -> bool:
    """Return whether the kart drives on the ground, the right way, and has not finished."""
    _, status_flags, _, not_controllable, state_bits, respawning, _ = condition
    return state_bits & DRIVER_STATE_ON_FLOOR != 0 and not (
        status_flags & _EVENTFUL or not_controllable or respawning
    )


def is_offroad(condition: Condition) -> bool:
    """Return whether the last floor under the kart is not road."""
    return condition[-1] in OFFROAD_SURFACES
