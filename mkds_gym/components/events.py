"""Events: what may end an episode.

An event is asked once per emulated frame, and says True from the frame on in which it has
happened. Whether it terminates or truncates is the environment's affair.

======================  =========  =================================================================
event                   argument   it happens when
======================  =========  =================================================================
``finish``                         the driver has finished the race
``clock[:frames]``      7200       the race clock has run this many frames in this episode
``stuck[:frames]``      300        for this many frames under the driver's control the kart has not
                                   come 5 world units further along the course than ever before
``wrong_way[:frames]``  180        the wrong-way sign has shown for this many frames on end
======================  =========  =================================================================

A frame is 1/59.8261 s; 7,200 of them are two minutes.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from mkds_gym.components.metrics import Progress
from mkds_gym.components.registry import Registry
from mkds_gym.race.memory_layout import (
    DRIVER_FLAG_RESPAWNING,
    STATUS_FLAG_FINISHED,
    STATUS_FLAG_WRONG_WAY,
)
from mkds_gym.utils.arguments import as_list

if TYPE_CHECKING:
    from mkds_gym.course import Course
    from mkds_gym.race.state import RaceState


@runtime_checkable
class Event(Protocol):
    """Something that may end an episode. A small class at the top level of a module.

    Attributes:
        name: what ``info["events"]`` calls it.
    """

    name: str

    def reset(self) -> None:
        """Begin an episode."""

    def update(self, state: RaceState, course: Course) -> bool:
        """See one emulated frame; True when it has happened."""


EVENTS: Final[Registry[Event]] = Registry("event", Event)
"""What ``terminate_on`` and ``truncate_on`` may name."""


def _frames(event: str, frames: float) -> int:
    """Check a number of frames that an event takes.

    Raises:
        ValueError: not a whole number of at least 1.
    """
    if isinstance(frames, bool) or not 1 <= frames < math.inf or frames != int(frames):
        raise ValueError(
            f"event {event!r}: {frames!r} is not a number of frames; give a whole number of at "
            f"least 1, as in '{event}:600' (60 frames are a second)"
        )
    return int(frames)


class Finish:
    """The driver has finished the race."""

    name = "finish"

    def reset(self) -> None:
        """See `Event.reset`."""

    def update(self, state: RaceState, course: Course) -> bool:  # noqa: ARG002
        """See `Event.update`."""
        return state.status_flags & STATUS_FLAG_FINISHED != 0


class Clock:
    """The episode's budget on the race clock is spent.

    The race clock starts at GO and stands still in the countdown and while the game is paused;
    ``stuck`` is what ends a paused episode.

    Args:
        frames: the budget, frames of the race clock since the episode's first frame.
    """

    name = "clock"

    def __init__(self, frames: float = 7200) -> None:
        self.frames: Final = _frames(self.name, frames)
        self.reset()

    def reset(self) -> None:
        """See `Event.reset`."""
        self._end: int | None = None

    def update(self, state: RaceState, course: Course) -> bool:  # noqa: ARG002
        """See `Event.update`."""
        if self._end is None:
            # This update is the end of the first frame; the clock may still stand at 0.
            self._end = max(state.frame - 1, 0) + self.frames
        return state.frame >= self._end


STUCK_DISTANCE: Final = 5.0
"""World units along the course by which a driver must come further, not to be stuck."""
_STUCK_PERIOD: Final = 10
"""Frames between two looks at the progress: a look costs more than all else here."""


class Stuck:
    """The driver does not come forward.

    The furthest point that the kart reached along the course, in this episode, has to move on by
    `STUCK_DISTANCE` within the given frames. Frames in which nobody can drive (the countdown,
    being put back on the course) do not count; emulated frames do while the game is paused.
    The progress is looked at every 10 frames.

    Args:
        frames: how long the driver may take.
    """

    name = "stuck"

    def __init__(self, frames: float = 300) -> None:
        self.frames: Final = _frames(self.name, frames)
        self._progress = Progress()
        self.reset()

    def reset(self) -> None:
        """See `Event.reset`."""
        self._progress.reset()
        self._checkpoint: int | None = None
        self._furthest = 0.0
        self._waited = 0

    def update(self, state: RaceState, course: Course) -> bool:
        """See `Event.update`."""
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


class WrongWay:
    """The driver goes the wrong way and stays with it.

    Args:
        frames: how long the game's wrong-way sign shows without a break.
    """

    name = "wrong_way"

    def __init__(self, frames: float = 180) -> None:
        self.frames: Final = _frames(self.name, frames)
        self.reset()

    def reset(self) -> None:
        """See `Event.reset`."""
        self._shown = 0

    def update(self, state: RaceState, course: Course) -> bool:  # noqa: ARG002
        """See `Event.update`."""
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
    """Let ``terminate_on`` and ``truncate_on`` name an event of yours.

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
        ValueError: a name is unknown.
        TypeError: an element is neither a name nor an event.
    """
    made: list[Event] = []
    for event in as_list(argument, events, str | Event):
        if isinstance(event, str):
            made.append(EVENTS.make(event))
        elif isinstance(event, Event) and not isinstance(event, type):
            made.append(copy.deepcopy(event))
        else:
            raise TypeError(
                f"{argument}: {event!r} is not an event: expected a name ({', '.join(EVENTS)}), or "
                "an object with name, reset() and update()"
            )
    return tuple(made)
