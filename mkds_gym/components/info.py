"""The info of a step or reset: numbers of a fixed form, or the full form with words and dicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mkds_gym.components.events import Event
from mkds_gym.course import Course
from mkds_gym.race.state import RaceState

InfoType: TypeAlias = Literal["numeric", "full"]
INFO_TYPES: Final = ("numeric", "full")
"""Values of the argument ``info_type``."""

LAP_TIMES: Final = 5
"""Number of lap times that the game keeps."""
MISSING: Final = -1
"""Instead of a time or seed that does not exist."""
METRIC_PREFIX: Final = "metric_"
"""What the keys of the metrics begin with."""


class NumericInfo:
    """Makes infos of numbers: the same keys, shapes and dtypes at every step and reset.

    All values are NumPy scalars or arrays, as libraries that store infos in arrays need them. A
    time or seed that does not exist is -1: several libraries refuse NaN.

    ``is_success`` is an array without dimensions, as Gymnasium's vector environments merge an
    array of bool into an array of bool, and a scalar of NumPy into an array of objects.

    Args:
        events: the events that can end the episode; ``events`` of the info has a flag for each.
    """

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = tuple(events)
        self._none = self._flags(())
        self._laps: tuple[tuple[float, ...], NDArray[np.float64]] = ((), _lap_times(()))
        self._keys: dict[str, str] = {}

    def make(
        self,
        race: RaceState,
        course: Course,
        course_seed: int | None,
        metrics: Mapping[str, float],
        events: Sequence[Event],
    ) -> dict[str, Any]:
        """Return the info.

        Args:
            race: the race at the end of the step.
            course: the course of the race.
            course_seed: seed of a random course, else None.
            metrics: the metrics of the episode.
            events: the events that ended the episode.
        """
        laps, keys = race.lap_times, self._keys
        if laps != self._laps[0]:
            self._laps = (laps, _lap_times(laps))
        finished = race.finished
        info: dict[str, Any] = {
            "lap_times": self._laps[1].copy(),
            "total_time": np.float64(race.total_time if finished else MISSING),
            "progress": np.float64(course.track.laps(race)),
            "lap": np.int64(race.lap),
            "checkpoint": np.int64(race.checkpoint),
            "frame": np.int64(race.frame),
            "place": np.int64(race.place + 1),
            "drivers": np.int64(race.driver_count),
            "course": np.int64(race.course_id),
            "course_seed": np.int64(MISSING if course_seed is None else course_seed),
            "events": self._flags(events) if events else self._none.copy(),
            "is_success": np.array(finished),
        }
        for name, value in metrics.items():
            key = keys.get(name)
            if key is None:
                key = keys[name] = METRIC_PREFIX + name
            info[key] = np.float64(value)
        return info

    def _flags(self, events: Sequence[Event]) -> NDArray[np.bool_]:
        happened = [id(event) for event in events]
        return np.array([id(event) in happened for event in self._events], np.bool_)


def _lap_times(laps: Sequence[float]) -> NDArray[np.float64]:
    times = np.full(LAP_TIMES, float(MISSING))
    times[: len(laps)] = laps[:LAP_TIMES]
    return times


def full_info(
    race: RaceState,
    course: Course,
    course_name: str,
    course_seed: int | None,
    metrics: dict[str, float],
    events: Sequence[Event],
) -> dict[str, Any]:
    """Return the full form of an info; arguments as for `NumericInfo.make`."""
    finished = race.finished
    return {
        "metrics": metrics,
        "lap_times": race.lap_times,
        "total_time": race.total_time if finished else 0.0,
        "progress": course.track.laps(race),
        "lap": race.lap,
        "checkpoint": race.checkpoint,
        "frame": race.frame,
        "place": race.place + 1,
        "drivers": race.driver_count,
        "course": course_name,
        "course_seed": course_seed,
        "events": tuple(event.name for event in events),
        "is_success": finished,
    }
