"""What is measured of an episode while it is driven: its metrics and events, frame by frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from mkds_gym.components.events import Event
from mkds_gym.components.metrics import Metric, Sees, collect_all

if TYPE_CHECKING:
    from mkds_gym.course import Course
    from mkds_gym.race.state import RaceState


class Telemetry:
    """Shows metrics and events the frames of an episode, and sums the metrics up.

    All of them see every frame in which something has changed, see `RaceState.marks`. In between,
    those that say so (see `Sees`) are spared the frames that tell them nothing: on a straight that
    is nearly all of them. The results are the same.

    Args:
        metrics: in the order in which they are updated and collected.
        events: in the order in which they are asked.
    """

    def __init__(self, metrics: Iterable[Metric], events: Iterable[Event]) -> None:
        self.metrics: Final = tuple(metrics)
        self.events: Final = tuple(events)
        # Those that can be spared frames at all, with how to ask them.
        parts: tuple[Any, ...] = (*self.metrics, *self.events)
        self._asked: Final = {id(part): part.sees for part in parts if _tells(type(part))}
        self._all_tell: Final = len(self._asked) == len(parts)
        self._forget()

    def _forget(self) -> None:
        """Show the next frame to all."""
        self._marks: object = None
        self._collected: dict[str, float] | None = None
        self._waking_metrics: list[Metric] = []
        self._waking_events: list[Event] = []
        self._late_metrics: list[Metric] = []
        self._late_events: list[Event] = []

    def reset(self, state: RaceState, course: Course) -> dict[str, float]:
        """Begin an episode.

        Args:
            state: of the race start.
            course: that is driven.

        Returns:
            The metrics there, as `collect`.
        """
        self._forget()
        for metric in self.metrics:
            metric.reset()
            metric.update(state, course)
        for event in self.events:
            event.reset()
        return self.collect()

    def see(self, states: Sequence[RaceState], course: Course) -> tuple[Event, ...]:
        """Show the frames of one step.

        Args:
            states: one for each frame, in order; at least one.
            course: that is driven.

        Returns:
            The events that have happened in one of them, in the order of ``events``.
        """
        happened: list[Event] = []
        late = True
        for state in states:
            late = state.marks == self._marks
            if late:
                for metric in self._waking_metrics:
                    metric.update(state, course)
                for event in self._waking_events:
                    if event.update(state, course):
                        happened.append(event)
            else:
                for metric in self.metrics:
                    metric.update(state, course)
                for event in self.events:
                    if event.update(state, course):
                        happened.append(event)
                self._sort(state)
        if late:
            for metric in self._late_metrics:
                metric.update(state, course)
            for event in self._late_events:
                if event.update(state, course):
                    happened.append(event)
        if not happened:
            return ()
        return tuple(event for event in self.events if event in happened)

    def _sort(self, state: RaceState) -> None:
        """Ask each what it has to see until the marks change."""
        self._marks = state.marks
        self._collected = None
        needs = {key: sees(state) for key, sees in self._asked.items()}
        every = Sees.EVERY_FRAME
        parts: tuple[Any, ...] = (*self.metrics, *self.events)
        for part in parts:
            need = needs.get(id(part), every)
            if not isinstance(need, Sees):
                raise TypeError(
                    f"{part.name!r}: sees() returned {need!r}; allowed: {', '.join(map(str, Sees))}"
                )
            if need is Sees.LAST_FRAME and not self._all_tell:
                needs[id(part)] = every
        self._waking_metrics = [m for m in self.metrics if needs.get(id(m), every) is every]
        self._waking_events = [e for e in self.events if needs.get(id(e), every) is every]
        last = Sees.LAST_FRAME
        self._late_metrics = [m for m in self.metrics if needs.get(id(m)) is last]
        self._late_events = [e for e in self.events if needs.get(id(e)) is last]

    def collect(self) -> dict[str, float]:
        """The measures of all metrics so far, by name; a new dict.

        Raises:
            ValueError: two metrics collect under the same name.
        """
        if self._collected is None:
            self._collected = collect_all(self.metrics)
            return self._collected.copy()
        collected = self._collected
        for metric in self._waking_metrics:
            collected.update(metric.collect())
        for metric in self._late_metrics:
            collected.update(metric.collect())
        return collected.copy()


def _tells(kind: type[Any]) -> bool:
    """Whether a class says what it has to see: the one that has its ``update`` or ``collect`` must.

    One that inherits ``sees`` and has one of these of its own may look at other things.
    """
    for each in kind.__mro__:
        if "sees" in vars(each):
            return True
        if "update" in vars(each) or "collect" in vars(each):
            return False
    return False
