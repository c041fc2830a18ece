"""Metrics and events of an episode, updated frame by frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from mkds_gym.components.events import Event
from mkds_gym.components.metrics import Metric, collect_all

if TYPE_CHECKING:
    from mkds_gym.course import Course
    from mkds_gym.race.state import RaceState


class EpisodeStats:
    """Updates metrics and events with the frames of an episode, and collects the metrics.

    Args:
        metrics: updated and collected in this order.
        terminate_on: events that terminate the episode.
        truncate_on: events that truncate the episode.
    """

    def __init__(
        self,
        metrics: Iterable[Metric],
        terminate_on: Iterable[Event] = (),
        truncate_on: Iterable[Event] = (),
    ) -> None:
        self.metrics: Final = tuple(metrics)
        self.terminate_on: Final = tuple(terminate_on)
        self.truncate_on: Final = tuple(truncate_on)

    def reset(self, state: RaceState, course: Course) -> dict[str, float]:
        """Begin an episode.

        Args:
            state: the race at its start.
            course: the course of the race.

        Returns:
            The metrics at the start, as from `collect`.
        """
        for metric in self.metrics:
            metric.reset()
            metric.update(state, course)
        for event in (*self.terminate_on, *self.truncate_on):
            event.reset()
        return self.collect()

    def update(self, states: Sequence[RaceState], course: Course) -> tuple[Event, ...]:
        """Update metrics and events with the frames of one step.

        Args:
            states: the race after each frame, in order; at least one.
            course: the course of the race.

        Returns:
            The events that happened in these frames: first those of `terminate_on`, then those of
            `truncate_on`.
        """
        events = self.terminate_on + self.truncate_on
        happened: list[Event] = []
        for state in states:
            for metric in self.metrics:
                metric.update(state, course)
            for event in events:
                if event.update(state, course):
                    happened.append(event)
        return tuple(event for event in events if event in happened) if happened else ()

    def collect(self) -> dict[str, float]:
        """Return the values of all metrics so far, by name, in a new dict.

        Raises:
            ValueError: two metrics use the same name.
        """
        return collect_all(self.metrics)
