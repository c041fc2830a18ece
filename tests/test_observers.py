"""Observers: which calls an environment makes, in which order, and what they may do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import data_equivalence

from mkds_gym.emulator.console import Keys
from mkds_gym.env import MKDSEnv
from mkds_gym.episodes.cloned_state import ClonedState
from mkds_gym.observer import EnvObserver
from mkds_gym.race.state import RaceState


class Log(EnvObserver):
    """Notes every call."""

    needs_frames = True

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def attached(self, env: MKDSEnv) -> None:
        self.calls.append(("attached", env.episode_over))

    def start_reached(self, env: MKDSEnv, lead: int) -> None:
        self.calls.append(("start_reached", lead, env.episode_over))

    def episode_started(self, env: MKDSEnv) -> None:
        self.calls.append(("episode_started", env.race.frame, env.episode_over))

    def step_started(self, env: MKDSEnv, keys: int, frames: int) -> None:
        self.calls.append(("step_started", keys, frames))

    def frame(self, env: MKDSEnv, race: RaceState, keys: int) -> None:
        assert race == env.reader.read()
        self.calls.append(("frame", race.frame, keys))

    def step_ended(self, env: MKDSEnv, reward: float, over: bool) -> None:
        self.calls.append(("step_ended", reward, over))

    def episode_ended(self, env: MKDSEnv, events: tuple[str, ...]) -> None:
        self.calls.append(("episode_ended", events))

    def detached(self, env: MKDSEnv) -> None:
        self.calls.append(("detached", env.closed))


@pytest.fixture
def env() -> Iterator[MKDSEnv]:
    env = MKDSEnv(frame_skip=3, truncate_on="clock:60")
    yield env
    env.close()


def test_observer_is_told_of_everything_in_order() -> None:
    env, log = MKDSEnv(frame_skip=3, truncate_on="clock:6"), Log()
    env.add_observer(log)
    env.reset()
    start = env.race.frame
    first = env.step(2)[1]
    state = env.clone_state()
    last = env.step(8)[1]
    env.restore_state(state)
    env.reset()
    env.close()
    left, back = int(Keys.A | Keys.RIGHT), 2
    lead = [("frame", start - 2 + number, 0) for number in range(3)]
    assert log.calls == [
        ("attached", True),
        ("start_reached", 3, True),
        *lead,
        ("episode_started", start, False),
        ("step_started", left, 3),
        *(("frame", start + number, left) for number in (1, 2, 3)),
        ("step_ended", first, False),
        ("step_started", back, 3),
        *(("frame", start + number, back) for number in (4, 5, 6)),
        ("step_ended", last, True),
        ("episode_ended", ("clock",)),
        ("start_reached", 0, True),
        ("episode_started", start + 3, False),
        ("episode_ended", ()),
        ("start_reached", 3, True),
        *lead,
        ("episode_started", start, False),
        ("episode_ended", ()),
        ("detached", True),
    ]


def test_observers_change_no_results(env: MKDSEnv) -> None:
    def drive() -> list[Any]:
        env.reset(seed=1)
        return [*env.step(2)[1:], *env.step(0)[1:], env.console.ram.copy()]

    alone = drive()
    log, drawing = Log(), EnvObserver()
    drawing.needs_picture = True
    env.add_observer(log)
    env.add_observer(drawing)
    assert data_equivalence(drive(), alone, exact=True)


def test_removed_observer_is_told_nothing_more(env: MKDSEnv) -> None:
    log = Log()
    env.add_observer(log)
    with pytest.raises(ValueError, match="watches this environment already"):
        env.add_observer(log)
    assert env.observers == (log,)
    env.remove_observer(log)
    env.reset()
    assert log.calls == [("attached", True), ("detached", False)]
    with pytest.raises(ValueError, match="does not watch this environment"):
        env.remove_observer(log)
    with pytest.raises(TypeError, match="expected an EnvObserver"):
        env.add_observer(object())  # type: ignore[arg-type]


def test_setting_the_viewer_replaces_the_one_before(env: MKDSEnv) -> None:
    own, first, second = Log(), Log(), Log()
    env.add_observer(own)
    for viewer in (first, second):
        env.viewer = viewer
        assert env.observers == (own, viewer)
    assert first.calls == [("attached", True), ("detached", False)]
    with env.without_viewer():
        env.reset()
    assert second.calls == [("attached", True)]
    assert own.calls[-1][0] == "episode_started"
    env.viewer = None
    assert env.observers == (own,)
    assert env.viewer is None


def test_picture_is_drawn_while_an_observer_needs_it(env: MKDSEnv) -> None:
    shown = MKDSEnv(frame_skip=3, truncate_on="clock:60", render_mode="rgb_array")
    drawing = EnvObserver()
    env.add_observer(drawing)
    for each in (env, shown):
        each.reset()
    same = []
    for wanted in (False, False, True, True, True):
        drawing.needs_picture = wanted
        for each in (env, shown):
            each.step(0)
        same.append(bool((env.console.screen("top") == shown.render()).all()))
    assert same[:2] == [False, False]
    assert same[3:] == [True, True]
    shown.close()


def test_error_in_an_observer_ends_the_episode_and_a_state_of_that_step_goes_on(
    env: MKDSEnv,
) -> None:
    states: list[tuple[bool, ClonedState]] = []

    class Cloning(EnvObserver):
        needs_frames = True

        def frame(self, env: MKDSEnv, race: RaceState, keys: int) -> None:
            if keys and race.frame > start + 3:
                states.append((env.episode_over, env.clone_state()))
                if len(states) == 2:
                    raise ZeroDivisionError

    cloning = Cloning()
    env.add_observer(cloning)
    env.reset(seed=0)
    start = env.race.frame
    env.step(0)
    with pytest.raises(ZeroDivisionError):
        env.step(0)
    assert env.episode_over
    failed = env.clone_state()
    env.remove_observer(cloning)
    assert [over for over, _ in states] == [False] * 2
    env.restore_state(states[0][1])
    env.step(0)
    env.restore_state(failed)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(0)
