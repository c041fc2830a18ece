"""Events: conditions that end an episode.

An event is updated once per emulated frame and returns True from the frame in which it happens.
The environment decides whether an event terminates or truncates.

======================  ============  ==============================================================
event                   default       happens when
======================  ============  ==============================================================
``finish``                            the driver has finished the race
``clock[:frames]``      7200          the race clock has run for so many frames in this episode
``stuck[:frames]``      300           the kart was under control for so many frames without getting
                                      12.5 world units further along the course
``wrong_way[:frames]``  180           the wrong-way sign has been shown for so many frames in a row
======================  ============  ==============================================================

A frame is 1/59.8261 s: 7,200 frames are two minutes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from mkds_gym.components.metrics import Progress
from mkds_gym.components.registry import Registry
from mkds_gym.race.lengths import STUCK_DISTANCE
from mkds_gym.race.memory_layout import (
    DRIVER_FLAG_RESPAWNING,
    STATUS_FLAG_FINISHED,
    STATUS_FLAG_WRONG_WAY,
)
from mkds_gym.utils.arguments import copied, shown

if TYPE_CHECKING:
    from mkds_gym.course import Course
    from mkds_gym.race.state import RaceState


@runtime_checkable
class Event(Protocol):
    """A condition that ends an episode. A small picklable class at the top level of a module."""

    @property
    def name(self) -> str:
        """Name in ``event_names`` and in the full form of the info."""

    def reset(self) -> None:
        """Start an episode."""

    def update(self, state: RaceState, course: Course) -> bool:
        """Process one emulated frame. Return True if the event has happened."""


EVENTS: Final[Registry[Event]] = Registry("event", Event, "name, reset() and update(state, course)")
"""Events by the name that ``terminate_on`` and ``truncate_on`` take."""


def _frames(event: str, frames: float) -> int:
    """Check the number of frames that an event takes.

    Raises:
        ValueError: not an integer of at least 1.
    """
    if isinstance(frames, bool) or not 1 <= frames < math.inf or frames != int(frames):
        raise ValueError(
            f"event {shown(event)}: {shown(frames)} is not a number of frames: expected an "
            f"integer of at least 1, as in '{event}:600' (about 60 frames are one second)"
        )
    return int(frames)


class Finish:
    """The driver has finished the race."""

    name = "finish"

    def reset(self) -> None: ...

    def update(self, state: RaceState, course: Course) -> bool:  # noqa: ARG002
        return state.status_flags & STATUS_FLAG_FINISHED != 0


class Clock:
    """The race clock has run for a number of frames.

    The race clock starts at GO. The clock stops while the game is paused; ``stuck`` ends a paused
    episode.

    Args:
        frames: frames of the race clock since the episode's first frame.
    """

    name = "clock"

    def __init__(self, frames: float = 7200) -> None:
        self.frames: Final = _frames(self.name, frames)
        self.reset()

    def reset(self) -> None:
        self._end: int | None = None

    def update(self, state: RaceState, course: Course) -> bool:  # noqa: ARG002
        if self._end is None:
            # This update is the end of the first frame; the clock may still be at 0.
            self._end = max(state.frame - 1, 0) + self.frames
        return state.frame >= self._end


_STUCK_PERIOD: Final = 10
"""Frames between two computations of the progress, which are expensive."""


class Stuck:
    """The driver makes no progress.

    The furthest point along the course that the kart has reached in this episode must advance by
    `STUCK_DISTANCE` within the given frames. Frames of the countdown and of respawns do not count;
    frames of a paused game do. Progress is computed every 10 frames.

    Args:
        frames: frames that the driver may take.
    """

    name = "stuck"

    def __init__(self, frames: float = 300) -> None:
        self.frames: Final = _frames(self.name, frames)
        self._progress = Progress()
        self.reset()

    def reset(self) -> None:
        self._progress.reset()
        self._checkpoint: int | None = None
        self._furthest = 0.0
        self._waited = 0

    def update(self, state: RaceState, course: Course) -> bool:
        if state.checkpoint != self._checkpoint:
            self._checkpoint = state.checkpoint
            self._progress.update(state, course)
        if state.flags & DRIVER_FLAG_RESPAWNING or not state.controllable:
            return False
        waited = self._waited = self._waited + 1
        if waited % _STUCK_PERIOD == 0 or waited >= self.frames:
            self._progress.update(state, course)
            total = self._progress.total
            if total >= self._furthest + STUCK_DISTANCE:
                self._furthest = total
                self._waited = 0
        return self._waited >= self.frames

    def skip(self, frames: int) -> bool:
        """Count frames in which only the kart moved.

        Returns:
            False, and nothing is counted, if `update` has to see one of the frames.
        """
        waited = self._waited + frames
        if waited // _STUCK_PERIOD != self._waited // _STUCK_PERIOD or waited >= self.frames:
            return False
        self._waited = waited
        return True


class WrongWay:
    """The driver keeps going the wrong way.

    Args:
        frames: frames in a row in which the game shows the wrong-way sign.
    """

    name = "wrong_way"

    def __init__(self, frames: float = 180) -> None:
        self.frames: Final = _frames(self.name, frames)
        self.reset()

    def reset(self) -> None:
        self._shown = 0

    def update(self, state: RaceState, course: Course) -> bool:  # noqa: ARG002
        if not state.status_flags & STATUS_FLAG_WRONG_WAY:
            self._shown = 0
            return False
        self._shown += 1
        return self._shown >= self.frames


EVENTS.register("finish", Finish)
EVENTS.register("clock", Clock)
EVENTS.register("stuck", Stuck)
EVENTS.register("wrong_way", WrongWay)


def register_event(name: str, factory: Callable[..., Event]) -> None:
    """Register a custom event for ``terminate_on`` and ``truncate_on``.

    Raises:
        ValueError: the name is taken or malformed.
    """
    EVENTS.register(name, factory)


def make_events(argument: str, events: str | Event | Sequence[str | Event]) -> tuple[Event, ...]:
    """Make events from names such as ``"clock:3600"``; objects are copied.

    Args:
        argument: name of the argument, for error messages.
        events: a name, an object, or a list of both.

    Raises:
        ValueError: unknown name.
        TypeError: an item is not a name or an event.
    """
    return tuple(EVENTS.make_all(argument, copied(argument, events), unique=False))
