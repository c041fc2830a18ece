"""EpisodeStats: which frames metrics and events see, and what a step reports."""

from __future__ import annotations

from typing import Any

import pytest
from race_memory import RaceMemory, fork

from mkds_gym.components.episode_stats import EpisodeStats
from mkds_gym.components.events import Clock, Stuck
from mkds_gym.components.metrics import make_metrics
from mkds_gym.course import Course
from mkds_gym.race.state import RaceState


class Frames:
    """A metric and an event that notes the clock of each frame, and another metric's value."""

    name = "frames"

    def __init__(self, other: Any = None) -> None:
        self.other = other
        self.clocks: list[int] = []
        self.others: list[float] = []

    def reset(self) -> None:
        self.clocks = []

    def update(self, state: RaceState, course: Course) -> bool:
        self.clocks.append(state.frame)
        if self.other is not None:
            self.others.append(self.other.total)
        return False

    def collect(self) -> dict[str, float]:
        return {"frames": float(len(self.clocks))}


@pytest.mark.parametrize("length", [1, 4])
def test_update_shows_every_frame_in_order(length: int) -> None:
    race, course = RaceMemory(), fork()
    progress = make_metrics(["progress"])[0]
    metric, event = Frames(progress), Frames()
    stats = EpisodeStats([progress, metric], [event])  # type: ignore[list-item]
    start = race.frame(position=(0, 0, 1))
    stats.reset(start, course)
    states = [race.frame(position=(0, 0, 1 + frame)) for frame in range(1, 9)]
    for first in range(0, 8, length):
        assert stats.update(states[first : first + length], course) == ()
    assert event.clocks == [state.frame for state in states]
    assert metric.clocks == [start.frame, *event.clocks]
    assert metric.others == sorted(set(metric.others))  # grows with each frame
    assert stats.collect()["frames"] == 9


def test_collect_returns_a_new_dict() -> None:
    stats = EpisodeStats(make_metrics(["distance"]), [])
    stats.reset(RaceMemory().frame(), fork())["distance"] = 1.0
    stats.collect()["distance"] = 2.0
    assert stats.collect() == {"distance": 0.0}


@pytest.mark.parametrize("order", [[Clock(12), Stuck(11)], [Stuck(11), Clock(12)]])
def test_update_reports_events_once_in_the_given_order(order: list[Any]) -> None:
    race, course = RaceMemory(), fork()
    stats = EpisodeStats([], order)
    stats.reset(race.frame(), course)
    assert list(stats.update([race.frame() for _ in range(30)], course)) == order
