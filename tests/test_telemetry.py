"""Metrics and events that are spared frames measure what they would measure with all of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from mkds_gym.components.episode_stats import Telemetry
from mkds_gym.components.events import EVENTS, Clock, Stuck, WrongWay
from mkds_gym.components.metrics import DEFAULT_METRICS, Distance, Sees, collect_all, make_metrics
from mkds_gym.course import Course
from mkds_gym.env import MKDSEnv
from mkds_gym.race.state import RaceState


class Frames:
    """A metric that counts the frames it sees."""

    name = "frames"

    def __init__(self) -> None:
        self.count = 0

    def reset(self) -> None:
        self.count = 0

    def update(self, state: RaceState, course: Course) -> None:
        self.count += 1

    def collect(self) -> dict[str, float]:
        return {"frames": float(self.count)}


class CountingDistance(Distance):
    """One that says nothing itself, though what it inherits from does."""

    name = "counting"
    updates = 0

    def update(self, state: RaceState, course: Course) -> None:
        self.updates += 1
        super().update(state, course)


class Share(Distance):
    """One that sees what it inherits, and collects what another one has seen."""

    name = "share"

    def __init__(self, other: Frames) -> None:
        self._other = other
        super().__init__()

    def collect(self) -> dict[str, float]:
        return {"share": float(self._other.count)}


@pytest.fixture(scope="module")
def race() -> tuple[list[RaceState], Course]:
    """A wild drive: on and off the road, into walls, off the course, the wrong way."""
    env = MKDSEnv(frame_skip=1, truncate_on=(), terminate_on=())
    rng = np.random.default_rng(3)
    try:
        env.reset(seed=0)
        states = [env.race]
        while len(states) < 2400:
            action = int(rng.integers(env.action_space.n))  # type: ignore[attr-defined]
            for _ in range(int(rng.integers(5, 60))):
                env.step(action)
                states.append(env.race)
        return states, env.course
    finally:
        env.close()


def steps(states: Sequence[RaceState], length: int) -> list[Sequence[RaceState]]:
    return [states[at : at + length] for at in range(1, len(states), length)]


def test_the_drive_has_it_all(race: tuple[list[RaceState], Course]) -> None:
    states, _ = race
    for what in ("surface", "checkpoint", "touching_wall", "on_floor", "marks"):
        assert len({getattr(state, what) for state in states}) > 1, what
    alike = sum(a.marks == b.marks for a, b in itertools.pairwise(states))
    assert alike > len(states) / 2  # or nothing is spared


@pytest.mark.parametrize("length", [1, 4, 7])
@pytest.mark.parametrize("backward", [False, True])
def test_same_as_with_every_frame(
    race: tuple[list[RaceState], Course], length: int, backward: bool
) -> None:
    states, course = race
    if backward:
        states = states[::-1]

    def events() -> list[Any]:
        return [Clock(700), Stuck(60), WrongWay(20), EVENTS.make("finish")]

    plain_metrics, plain_events = make_metrics(DEFAULT_METRICS), events()
    telemetry = Telemetry(make_metrics(DEFAULT_METRICS), events())
    for metric in plain_metrics:
        metric.reset()
        metric.update(states[0], course)
    for event in plain_events:
        event.reset()
    assert telemetry.reset(states[0], course) == collect_all(plain_metrics)
    ever: set[str] = set()
    for number, frames in enumerate(steps(states, length)):
        expected = set()
        for state in frames:
            for metric in plain_metrics:
                metric.update(state, course)
            expected |= {event.name for event in plain_events if event.update(state, course)}
        happened = [event.name for event in telemetry.see(frames, course)]
        assert set(happened) == expected, number
        assert len(happened) == len(expected)
        ever |= expected
        if number % 3:
            assert telemetry.collect() == collect_all(plain_metrics), number
    assert ("stuck" if backward else "clock") in ever  # the clock runs backward as well
    assert telemetry.collect()["offroad_path"] > 0
    assert telemetry.collect()["wall_hits"] > 0


def test_those_that_say_nothing_see_every_frame(race: tuple[list[RaceState], Course]) -> None:
    states, course = race
    frames, counting = Frames(), CountingDistance()
    telemetry = Telemetry([frames, counting, Share(frames)], [])
    telemetry.reset(states[0], course)
    for step in steps(states, 4):
        telemetry.see(step, course)
        assert telemetry.collect()["share"] == frames.count
    assert frames.count == counting.updates == len(states)
    assert telemetry.collect()["frames"] == len(states)


def test_all_of_our_own_say_something() -> None:
    events = [Clock(1), Stuck(1), WrongWay(1), EVENTS.make("finish")]
    assert Telemetry(make_metrics(DEFAULT_METRICS), events)._all_tell


class Asleep(Frames):
    """One that wants to see nothing."""

    name = "asleep"

    def sees(self, state: RaceState) -> Sees:
        return Sees.NOTHING

    def update(self, state: RaceState, course: Course) -> None:
        self.count += 1


def test_the_spared_see_each_change_and_nothing_else(
    race: tuple[list[RaceState], Course],
) -> None:
    states, course = race
    asleep = Asleep()
    telemetry = Telemetry([asleep], [])
    telemetry.reset(states[0], course)
    for step in steps(states, 4):
        telemetry.see(step, course)
    # The start, the first frame driven, and each change after that.
    changes = sum(a.marks != b.marks for a, b in itertools.pairwise(states[1:]))
    assert asleep.count == 2 + changes
    assert telemetry.collect() == {"frames": float(asleep.count)}


def test_what_is_collected_is_the_callers_own(race: tuple[list[RaceState], Course]) -> None:
    states, course = race
    telemetry = Telemetry(make_metrics(["distance"]), [])
    telemetry.reset(states[0], course)["distance"] = 1.0
    telemetry.collect()["distance"] = 2.0
    assert telemetry.collect() == {"distance": 0.0}


def test_events_come_in_their_order(race: tuple[list[RaceState], Course]) -> None:
    """Whichever of them happened first within the step."""
    states, course = race
    go = next(number for number, state in enumerate(states) if state.frame > 10)
    orders: list[list[Any]] = [[Clock(12), Stuck(11)], [Stuck(11), Clock(12)]]
    for order in orders:
        telemetry = Telemetry([], order)
        telemetry.reset(states[go], course)
        standing = [states[go]] * 13 + states[go : go + 30]
        assert list(telemetry.see(standing, course)) == order


class Forgetful(Frames):
    """One whose ``sees`` forgets to return."""

    def sees(self, state: RaceState) -> None:
        pass


def test_what_sees_returns_is_checked(race: tuple[list[RaceState], Course]) -> None:
    states, course = race
    telemetry = Telemetry([Forgetful()], [])
    telemetry.reset(states[0], course)
    with pytest.raises(TypeError, match=r"'frames': sees\(\) returned None; allowed: Sees.EVERY"):
        telemetry.see(states[1:5], course)


class Spurt(Frames):
    """The most that another metric grew by in a frame: it looks at it while it is shown one."""

    def __init__(self, progress: Any) -> None:
        super().__init__()
        self.progress, self.last, self.best = progress, 0.0, 0.0

    def update(self, state: RaceState, course: Course) -> None:
        total = self.progress.total
        self.best = max(self.best, total - self.last)
        self.last = total


@pytest.mark.parametrize("length", [1, 4])
def test_one_that_looks_at_another_sees_it_of_this_frame(
    race: tuple[list[RaceState], Course], length: int
) -> None:
    states, course = race
    spurts = []
    for steps_of in (1, length):
        progress = make_metrics(["progress"])[0]
        spurt = Spurt(progress)
        telemetry = Telemetry([progress, spurt], [])
        telemetry.reset(states[0], course)
        for step in steps(states, steps_of):
            telemetry.see(step, course)
        spurts.append(spurt.best)
    assert spurts[0] == spurts[1] > 0
