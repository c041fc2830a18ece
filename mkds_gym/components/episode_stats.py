"""Metrics and events of an episode, updated frame by frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from mkds_gym.components import events as event_types
from mkds_gym.components import metrics as metric_types
from mkds_gym.components.events import Event, Stuck
from mkds_gym.components.metrics import Metric, collect_all
from mkds_gym.components.place import Place
from mkds_gym.race.frames import RaceFrames, is_offroad, is_ordinary

if TYPE_CHECKING:
    from mkds_gym.course import Course
    from mkds_gym.race.frames import Condition
    from mkds_gym.race.state import RaceState

# What `update` of a class needs to see of steady frames.
_LAST: Final[set[type]] = {metric_types.Speed, metric_types.Progress, Place, event_types.Clock}
"""The last one."""
_OFFROAD: Final[set[type]] = {metric_types.OffroadDistance, metric_types.OffroadPath}
"""Every one, if the kart is not on the road."""
_UNUSUAL: Final[set[type]] = {
    metric_types.AirTime,
    metric_types.WrongWayTime,
    event_types.Finish,
    event_types.WrongWay,
}
"""Every one, unless the driver drives as usual."""
_NOTHING: Final[set[type]] = {
    metric_types.Distance,
    metric_types.LapTimes,
    metric_types.CheckpointRecords,
    metric_types.WallHits,
    metric_types.Respawns,
}


class EpisodeStats:
    """Updates metrics and events with the frames of an episode, and collects the metrics.

    Frames are steady if nothing but the clock and the kart's motion has changed since the frame
    before: see `RaceFrames.condition`. If all metrics and events are of this package, they skip
    what they need not see of steady frames; the results are the same.

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
        self.events: Final = self.terminate_on + self.truncate_on
        kinds = {type(part) for part in (*self.metrics, *self.events)}
        self._skips_frames: Final = kinds <= _LAST | _OFFROAD | _UNUSUAL | _NOTHING | {Stuck}
        self._moving: Final = tuple(m for m in self.metrics if type(m) in _LAST)
        self._clocks: Final = tuple(e for e in self.events if type(e) in _LAST)
        self._stuck: Final = tuple(e for e in self.events if isinstance(e, Stuck))
        self._offroad: Final = tuple(m for m in self.metrics if type(m) in _OFFROAD)
        self._unusual: Final = tuple(m for m in self.metrics if type(m) in _OFFROAD | _UNUSUAL)
        self._unusual_events: Final = tuple(e for e in self.events if type(e) in _UNUSUAL | {Stuck})
        self._forget()

    def _forget(self) -> None:
        self._condition: Condition | None = None  # of the last frame, if known
        self._ordinary = self._on_road = False  # what it means
        self._collected: dict[str, float] | None = None  # the metrics, apart from `_moving`

    def reset(self, state: RaceState, course: Course) -> dict[str, float]:
        """Begin an episode.

        Args:
            state: the race at its start.
            course: the course of the race.

        Returns:
            The metrics at the start, as from `collect`.
        """
        self._forget()
        for metric in self.metrics:
            metric.reset()
            metric.update(state, course)
        for event in self.events:
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
        condition = None
        if self._skips_frames and isinstance(states, RaceFrames):
            condition = states.condition
            if condition is not None and condition == self._condition:
                return self._update_steady(states, course)
            if condition is not None:
                self._ordinary, self._on_road = is_ordinary(condition), not is_offroad(condition)
        self._condition = condition
        return self._update_all(self.metrics, self.events, states, course)

    def _update_steady(self, states: RaceFrames, course: Course) -> tuple[Event, ...]:
        last = states[-1]
        for metric in self._moving:
            metric.update(last, course)
        happened: list[Event] = []
        for event in self._clocks:
            if event.update(last, course):
                happened.append(event)
        if not self._ordinary:
            happened += self._update_all(self._unusual, self._unusual_events, states, course)
            return self._in_order(happened)
        if not self._on_road:
            self._update_all(self._offroad, (), states, course)
        for stuck in self._stuck:
            if not stuck.skip(len(states)):
                happened += [stuck for state in states if stuck.update(state, course)]
        return self._in_order(happened) if happened else ()

    def _update_all(
        self,
        metrics: Sequence[Metric],
        events: Sequence[Event],
        states: Sequence[RaceState],
        course: Course,
    ) -> tuple[Event, ...]:
        self._collected = None
        happened: list[Event] = []
        for state in states:
            for metric in metrics:
                metric.update(state, course)
            for event in events:
                if event.update(state, course):
                    happened.append(event)
        return self._in_order(happened) if happened else ()

    def _in_order(self, happened: list[Event]) -> tuple[Event, ...]:
        return tuple(event for event in self.events if event in happened)

    def collect(self) -> dict[str, float]:
        """Return the values of all metrics so far, by name, in a new dict.

        Raises:
            ValueError: two metrics use the same name.
        """
        if self._collected is None:
            self._collected = collect_all(self.metrics)
        else:
            for metric in self._moving:
                self._collected.update(metric.collect())
        return self._collected.copy()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without what only saves time; see `MKDSEnv.clone_state`."""
        return {**self.__dict__, "_condition": None, "_collected": None}
