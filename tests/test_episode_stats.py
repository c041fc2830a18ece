"""EpisodeStats: which frames metrics and events see, and what a step reports."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from race_memory import RaceMemory, fork

from mkds_gym.components.episode_stats import EpisodeStats
from mkds_gym.components.events import Clock, Finish, Stuck, WrongWay
from mkds_gym.components.metrics import DEFAULT_METRICS, WallHits, make_metrics
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


def _random_changes(rng: np.random.Generator, course: Course) -> dict[str, Any]:
    """Changes of a frame: the kart moves, and now and then something happens."""
    flags = ("on_floor", "touching_wall", "respawning", "wrong_way", "finished")
    changes: dict[str, Any] = {"position": rng.uniform(-60, 60, 3)}
    if rng.random() < 0.06:
        changes[str(rng.choice(flags))] = bool(rng.random() < 0.5)
    if rng.random() < 0.03:
        changes["surface"] = int(rng.choice([0, 1, 2, 3, 5]))
    if rng.random() < 0.03:
        changes["checkpoint"] = int(rng.integers(len(course.track) + 1))
    if rng.random() < 0.02:
        changes["lap"] = int(rng.integers(0, 4))
    return changes


@pytest.mark.parametrize("length", [1, 4, 7])
def test_skipping_steady_frames_changes_no_result(length: int) -> None:
    rng = np.random.default_rng(length)
    course = fork()

    def new_stats() -> EpisodeStats:
        return EpisodeStats(
            make_metrics([*DEFAULT_METRICS, "place"]),
            [Finish()],
            [Clock(30 * length), Stuck(35), WrongWay(20)],
        )

    skipping, looking = new_stats(), new_stats()
    happened = set()
    for _ in range(30):
        race = RaceMemory()
        start = race.frame(position=(0, 0, 1))
        assert skipping.reset(start, course) == looking.reset(start, course)
        for step in range(40):
            copies = []
            for _ in range(length):
                race.race["not_controllable"] = rng.random() < 0.01
                race.frame(int(rng.random() < 0.95), **_random_changes(rng, course))
                copies.append(race.reader.copy())
            frames = race.reader.frames(copies)
            states = [race.reader.race(copied) for copied in copies]
            if step % 9 == 8:  # observers see frames one by one
                events = [event.name for event in skipping.update(states, course)]
            else:
                events = [event.name for event in skipping.update(frames, course)]
            assert events == [event.name for event in looking.update(states, course)]
            assert list(frames) == states
            happened.update(events)
            if step % 3:
                assert list(skipping.collect().items()) == list(looking.collect().items())
            if step % 7 == 6:
                skipping, looking = (pickle.loads(pickle.dumps(s)) for s in (skipping, looking))
    assert happened == {"finish", "clock", "stuck", "wrong_way"}


def test_subclass_of_a_metric_sees_every_frame() -> None:
    class Heard(WallHits):
        frames = 0

        def update(self, state: RaceState, course: Course) -> None:
            self.frames += 1
            super().update(state, course)

    race, course, heard = RaceMemory(), fork(), Heard()
    stats = EpisodeStats([heard])
    stats.reset(race.frame(), course)
    for _ in range(3):
        copies = [(race.frame(), race.reader.copy())[1] for _ in range(4)]
        stats.update(race.reader.frames(copies), course)
    assert heard.frames == 1 + 12
