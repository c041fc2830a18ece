"""`step_into` and `reset_into`: observations written into arrays of the caller."""

from __future__ import annotations

import copy
import gc
import tracemalloc
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence

from mkds_gym.course import Course
from mkds_gym.env import MKDSEnv
from mkds_gym.observer import EnvObserver
from mkds_gym.race.state import RaceState

KINDS: list[dict[str, Any]] = [
    {},
    {"sensors": ("seed6", "rays:5", "kinematics")},
    {"obs_type": "dict"},
    {"obs_type": "pixels"},
    {"obs_type": "pixels", "screens": "both"},
    {"obs_type": "ram"},
]


@pytest.fixture(params=KINDS, ids=str)
def env(request: pytest.FixtureRequest) -> Iterator[MKDSEnv]:
    env = MKDSEnv(**request.param)
    yield env
    env.close()


def place(space: Any, rows: int) -> Any:
    """Return zeros for `rows` observations, as a vector environment holds them."""
    if isinstance(space, gym.spaces.Dict):
        return {name: place(part, rows) for name, part in space.items()}
    return np.zeros((rows, *space.shape), space.dtype)


def row(batch: Any, index: int) -> Any:
    if isinstance(batch, dict):
        return {name: part[index] for name, part in batch.items()}
    return batch[index]


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[name], b[name]) for name in a)
    return a.dtype == b.dtype and np.array_equal(a, b)


def test_step_into_writes_what_step_returns(env: MKDSEnv) -> None:
    steps = 5 if env.observation_space.shape == (4 << 20,) else 8
    wanted = [env.reset(seed=3)]
    wanted += [env.step(index % 3) for index in range(steps)]
    batch = place(env.observation_space, 3)
    out = row(batch, 1)
    info = env.reset_into(out, seed=3)
    assert data_equivalence(info, wanted[0][1], exact=True)
    assert equal(out, wanted[0][0])
    for index in range(steps):
        observation, *rest = wanted[index + 1]
        assert data_equivalence(env.step_into(index % 3, out), tuple(rest), exact=True)
        assert equal(out, observation)
    # Only this row was written.
    for other in (0, 2):
        untouched = row(batch, other)
        parts = untouched.values() if isinstance(untouched, dict) else [untouched]
        assert not any(part.any() for part in parts)


def test_later_steps_leave_returned_observations_unchanged(env: MKDSEnv) -> None:
    env.reset(seed=3)
    first = env.step(0)[0]
    kept = copy.deepcopy(first)
    for _ in range(5):
        env.step(1)
    assert equal(first, kept)


class Seen:
    """A metric that keeps values of every frame."""

    name = "seen"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.frames: list[tuple[Any, ...]] = []

    def update(self, state: RaceState, course: Course) -> None:
        # Values that a state decodes at once, and others that it decodes on access.
        karts = tuple((kart.driver, kart.position) for kart in state.opponents)
        self.frames.append(
            (state.frame, state.lap, state.surface, state.position, state.lap_frames, karts)
        )

    def collect(self) -> dict[str, float]:
        return {"seen": float(len(self.frames))}


class Reading(EnvObserver):
    """Has every frame processed before the next one runs."""

    needs_frames = True

    def frame(self, env: MKDSEnv, race: RaceState, keys: int) -> None:
        assert race == env.reader.read()


@pytest.mark.parametrize("frame_skip", [1, 4, 7])
def test_metrics_see_every_frame_as_an_observer_does(frame_skip: int) -> None:
    frames = []
    for watched in (False, True):
        env = MKDSEnv(mode="vs", metrics=["progress", Seen()], reward="none", frame_skip=frame_skip)
        if watched:
            env.add_observer(Reading())
        env.reset(seed=1)
        for _ in range(140 // frame_skip):
            info = env.step(1)[4]
        seen = next(metric for metric in env.episode_stats.metrics if isinstance(metric, Seen))
        assert info["metric_seen"] == len(seen.frames) == 140 // frame_skip * frame_skip + 1
        frames.append(seen.frames)
        env.close()
    assert frames[0] == frames[1]
    clocks = [frame[0] for frame in frames[0]]
    assert clocks == sorted(clocks)
    assert len({frame[3] for frame in frames[0]}) > 50  # it drives
    assert all(len(frame[5]) == 7 for frame in frames[0])


def test_steps_do_not_accumulate_memory() -> None:
    env = MKDSEnv()
    out = np.zeros(env.observation_space.shape, np.float32)

    def drive(steps: int) -> int:
        for step in range(steps):
            _, terminated, truncated, _ = env.step_into(step // 5 % 3, out)
            if terminated or truncated:
                env.reset_into(out)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    env.reset_into(out, seed=0)
    tracemalloc.start()
    try:
        drive(150)
        before = drive(20)
        # A few states are kept, but nothing per step.
        assert drive(200) - before < 10_000
    finally:
        tracemalloc.stop()
        env.close()


def bad(space: gym.Space[Any]) -> Iterator[tuple[Any, type[Exception], str]]:
    yield None, TypeError, "out is a NoneType"
    if isinstance(space, gym.spaces.Dict):
        good = row(place(space, 1), 0)
        yield {**good, "lidar": np.zeros(3, np.float32)}, ValueError, "has the keys .*'lidar'"
        yield {**good, "rays": good["rays"][:2]}, ValueError, r"out\['rays'\] is float32 .*\(2,\)"
        return
    yield np.zeros((2, *space.shape), space.dtype), ValueError, "expected writable"
    yield np.zeros(space.shape, np.float64), ValueError, "out is float64"
    frozen = np.zeros(space.shape, space.dtype)
    frozen.flags.writeable = False
    yield frozen, ValueError, "read-only"


def test_out_that_does_not_fit_is_refused(env: MKDSEnv) -> None:
    env.reset(seed=0)
    frame = env.race.frame
    for out, error, message in bad(env.observation_space):
        with pytest.raises(error, match=message):
            env.step_into(0, out)
        with pytest.raises(error, match=message):
            env.reset_into(out)
    assert env.race.frame == frame
    env.step(0)  # the episode goes on
