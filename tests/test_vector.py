"""`MKDSVectorEnv`: the same races as single environments drive, together in one process."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode

import mkds_gym  # noqa: F401
from mkds_gym.vector import MKDSVectorEnv

SHORT = {"truncate_on": ("clock:60",)}
"""Episodes of a second of the race, of which there are several in a test."""


def make(num_envs: int, **kwargs: Any) -> MKDSVectorEnv:
    envs = gym.make_vec(
        "MKDS-v0", num_envs=num_envs, vectorization_mode="vector_entry_point", **kwargs
    )
    assert isinstance(envs, MKDSVectorEnv)
    return envs


def play(envs: Any, steps: int, seed: Any = 3, action_seed: int = 5) -> list[Any]:
    """What reset and steps gave."""
    told = [envs.reset(seed=seed)]
    envs.action_space.seed(action_seed)
    for _ in range(steps):
        told.append(envs.step(envs.action_space.sample()))
    return told


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_same_as_gymnasiums_own_vector_environment(mode: AutoresetMode, threads: int) -> None:
    kwargs: dict[str, Any] = {"frame_skip": 8, **SHORT}
    sync = gym.make_vec(
        "MKDS-v0",
        num_envs=3,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": mode},
        **kwargs,
    )
    with make(3, num_threads=threads, autoreset_mode=mode, **kwargs) as envs:
        for expected, got in zip(play(sync, 40), play(envs, 40), strict=True):
            assert data_equivalence(expected, got, exact=True)
    sync.close()
