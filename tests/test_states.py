"""Cloned states of an environment: exact, small, carried to other processes, refused elsewhere."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import mkds_gym  # noqa: F401
from mkds_gym.env import MKDSEnv
from mkds_gym.errors import ConsoleError, StateError
from mkds_gym.states import ClonedState


def make(**arguments: Any) -> MKDSEnv:
    env = gym.make("MKDS-v0", **arguments).unwrapped
    assert isinstance(env, MKDSEnv)
    return env


def drive(env: MKDSEnv, actions: list[int]) -> list[tuple[Any, ...]]:
    """What each step brings, and the memory and picture after it."""
    seen = []
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        picture = env.console.screen("both").tobytes()
        seen.append(
            (
                observation.tobytes(),
                reward,
                terminated,
                truncated,
                repr(info),
                env.console.ram.tobytes(),
                picture,
            )
        )
        if terminated or truncated:
            break
    return seen


@pytest.fixture
def env() -> Iterator[MKDSEnv]:
    made = make(obs_type="pixels")
    yield made
    made.close()


def test_what_follows_is_the_same(env: MKDSEnv) -> None:
    chance = np.random.default_rng(1)
    env.reset(seed=1)
    for _ in range(4):
        state = env.clone_state()
        picture = env.console.screen("both")
        actions = [int(action) for action in chance.integers(11, size=25)]
        first = drive(env, actions)
        env.restore_state(state)
        np.testing.assert_array_equal(env.console.screen("both"), picture)
        assert drive(env, actions) == first


def test_another_process_takes_a_pickled_state(tmp_path: Path) -> None:
    env = make()
    env.reset()
    drive(env, [0] * 40)
    state = env.clone_state()
    actions = [int(action) for action in np.random.default_rng(2).integers(11, size=30)]
    expected = drive(env, actions)
    file = tmp_path / "state"
    file.write_bytes(pickle.dumps((state, actions, expected)))
    script = (
        "import pickle, sys\n"
        "from test_states import drive, make\n"
        "state, actions, expected = pickle.load(open(sys.argv[1], 'rb'))\n"
        "env = make()\n"
        "env.restore_state(state)\n"
        "assert drive(env, actions) == expected\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, str(file)], check=True, cwd=Path(__file__).parent, timeout=60
    )
    env.close()


def test_an_ended_episode_stays_ended() -> None:
    env = make(truncate_on="clock:20")
    env.reset()
    alive = env.clone_state()
    drive(env, [0] * 20)
    ended = env.clone_state()
    env.restore_state(alive)
    env.step(0)
    env.restore_state(ended)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(0)
    env.close()


def test_a_lambda_as_reward(env: MKDSEnv) -> None:
    env = make(reward=lambda metrics: metrics["progress"])
    env.reset()
    state = env.clone_state()
    first = drive(env, [0] * 5)
    env.restore_state(state)
    assert drive(env, [0] * 5) == first
    env.close()


def test_other_arguments_are_refused(env: MKDSEnv) -> None:
    env.reset()
    state = env.clone_state()
    for arguments in ({"frame_skip": 2}, {"engine_class": 150}, {"mode": "vs"}, {"laps": 1}):
        other = make(**arguments)
        (name,) = arguments
        with pytest.raises(StateError, match=name):
            other.restore_state(state)
        other.close()


def test_wrong_uses(env: MKDSEnv) -> None:
    with pytest.raises(ConsoleError, match=r"reset\(\)"):
        env.clone_state()
    with pytest.raises(TypeError, match="clone_state"):
        env.restore_state(b"state")  # type: ignore[arg-type]


def test_a_state_is_small(env: MKDSEnv) -> None:
    env.reset()
    drive(env, [0] * 100)
    state = env.clone_state()
    assert isinstance(state, ClonedState)
    assert state.nbytes < 1 << 20
