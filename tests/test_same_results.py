"""The same seeds and actions give the same results, however several environments are run.

`tests/test_vector.py` holds `MKDSVectorEnv` against Gymnasium's `SyncVectorEnv` in every mode and
form; here everything that runs environments side by side is held against single environments.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import VectorEnv

import mkds_gym  # noqa: F401  registers MKDS-v0

SEEDS = [7, 1, 2**31]
# Chance in every race and another course in each episode: whatever a seed decides is in here.
# Short episodes, so that there are several.
ARGUMENTS: dict[str, Any] = {
    "mode": "vs",
    "opponents": 3,
    "items": True,
    "course_set": "train",
    "sensors": ["seed6", "opponents"],
    "action_type": "discrete_items",
    "truncate_on": "clock:120",
}
STEPS = 45


def actions(count: int) -> Iterator[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(5)
    for _ in range(STEPS):
        yield rng.integers(14, size=count)


def driven(envs: VectorEnv[Any, Any, Any], seeds: list[int]) -> list[tuple[Any, ...]]:
    """Everything that a vector environment told, step by step."""
    try:
        observations, infos = envs.reset(seed=seeds)
        told: list[tuple[Any, ...]] = [(observations, infos)]
        told += [envs.step(action) for action in actions(len(seeds))]
    finally:
        envs.close()
    return told


def alone() -> list[list[tuple[Any, ...]]]:
    """The same of single environments, one after another; a reset takes the place of a step."""
    runs = []
    for index, seed in enumerate(SEEDS):
        env = gym.make("MKDS-v0", **ARGUMENTS)
        try:
            run: list[tuple[Any, ...]] = [env.reset(seed=seed)]
            over = False
            for action in actions(len(SEEDS)):
                if over:
                    observation, info = env.reset()
                    run.append((observation, 0.0, False, False, info))
                else:
                    run.append(env.step(int(action[index])))
                over = bool(run[-1][2] or run[-1][3])
        finally:
            env.close()
        runs.append(run)
    return runs


NATIVE = "vector_entry_point"
WAYS: dict[str, dict[str, Any]] = {
    "sync": {"vectorization_mode": "sync"},
    "async": {"vectorization_mode": "async"},
    **{f"{n} threads": {"vectorization_mode": NATIVE, "num_threads": n} for n in range(1, 9)},
}


@pytest.fixture(scope="module")
def singles() -> list[list[tuple[Any, ...]]]:
    runs = alone()
    assert sum(step[3] for run in runs for step in run[1:]) >= 3, "no episode ever ended"
    assert len({tuple(run[-1][0]) for run in runs}) == len(SEEDS), "all seeds drove the same race"
    return runs


@pytest.mark.parametrize("way", ["sync", "async", "1 threads", "2 threads", "3 threads"])
def test_the_same_as_alone(way: str, singles: list[list[tuple[Any, ...]]]) -> None:
    envs = gym.make_vec("MKDS-v0", num_envs=len(SEEDS), **WAYS[way], **ARGUMENTS)
    told = driven(envs, SEEDS)
    for step, together in enumerate(told):
        for index, run in enumerate(singles):
            one = run[step]
            assert np.array_equal(together[0][index], one[0]), (step, index)
            for flag in range(1, len(one) - 1):
                assert together[flag][index] == one[flag], (step, index, flag)
            infos = together[-1]
            for key in ("frame", "progress", "checkpoint", "course_seed", "place"):
                assert infos[key][index] == one[-1][key], (step, index, key)
            for name, value in one[-1]["metrics"].items():
                assert infos["metrics"][name][index] == value, (step, index, name)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_same_with_any_number_of_threads() -> None:
    """More environments than threads, as many, and every number between; Sync and Async too."""
    kwargs = {**ARGUMENTS, "course_set": None}
    seeds = list(range(8))
    first: list[tuple[Any, ...]] | None = None
    for way, arguments in WAYS.items():
        envs = gym.make_vec("MKDS-v0", num_envs=len(seeds), **arguments, **kwargs)
        if "num_threads" in arguments:
            assert envs.num_threads == arguments["num_threads"]  # type: ignore[attr-defined]
        told = driven(envs, seeds)
        if first is None:
            first = told
            assert sum(int(step[3].sum()) for step in told[1:]) >= len(seeds), "no episode ended"
            assert len({row.tobytes() for row in told[-1][0]}) == len(seeds)
            continue
        for step, (one, other) in enumerate(zip(first, told, strict=True)):
            assert data_equivalence(one[:-1], other[:-1]), (way, step)
            assert data_equivalence(one[-1], other[-1]), (way, step)
