"""Trajectories: everything that a reset and steps return, recorded and compared exactly."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import VectorEnv

from mkds_gym.env import MKDSEnv


class Row(NamedTuple):
    """What a reset or step returns, and checksums of memory and picture; None is not compared."""

    observation: Any
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]
    ram: int | None = None
    picture: int | None = None


def row(env: MKDSEnv, results: tuple[Any, ...], *, picture: bool = False) -> Row:
    """Make the row of a reset (two results) or step (five)."""
    observation, *flags, info = results
    reward, terminated, truncated = flags or (0.0, False, False)
    shown = zlib.crc32(env.console.screen("both")) if picture else None
    ram = zlib.crc32(env.console.ram)
    return Row(observation, reward, terminated, truncated, info, ram, shown)


def drive(env: MKDSEnv, actions: Iterable[int], *, picture: bool = False) -> list[Row]:
    """Step, or reset in place of a step after the end of an episode."""
    rows: list[Row] = []
    for action in actions:
        results = env.reset() if env.episode_over else env.step(action)
        rows.append(row(env, results, picture=picture))
    return rows


def reset_and_drive(env: MKDSEnv, actions: Iterable[int], seed: int | None = None) -> list[Row]:
    """Reset and `drive`."""
    return [row(env, env.reset(seed=seed)), *drive(env, actions)]


def drive_vector(
    envs: VectorEnv[Any, Any, Any], actions: Iterable[Any], seeds: Sequence[int]
) -> list[list[Row]]:
    """Drive the environments of a vector environment, which is closed; one trajectory each."""
    try:
        observations, infos = envs.reset(seed=list(seeds))
        zeros = np.zeros(len(seeds), bool)
        results: list[Any] = [(observations, zeros.astype(float), zeros, zeros, infos)]
        results += [envs.step(action) for action in actions]
    finally:
        envs.close()
    return [[_vector_row(each, index) for each in results] for index in range(len(seeds))]


def _vector_row(results: Any, index: int) -> Row:
    observations, rewards, terminations, truncations, infos = results
    own = [key for key in infos if infos.get(f"_{key}", np.zeros(index + 1))[index]]
    info = {key: infos[key][index] for key in own if key not in ("final_obs", "final_info")}
    return Row(observations[index], rewards[index], terminations[index], truncations[index], info)


def assert_same_trajectory(expected: Sequence[Row], got: Sequence[Row]) -> None:
    """Compare two trajectories exactly; the error names the step and the part that differs."""
    assert len(expected) == len(got)
    for step, (one, other) in enumerate(zip(expected, got, strict=True)):
        for name in ("reward", "terminated", "truncated"):
            assert getattr(one, name) == getattr(other, name), f"step {step}: {name}"
        assert data_equivalence(one.observation, other.observation), f"step {step}: observation"
        assert one.info.keys() == other.info.keys(), f"step {step}: info"
        for name in one.info:
            same = np.array_equal(one.info[name], other.info[name])
            assert same, f"step {step}: info {name}"
        for name in ("ram", "picture"):
            values = {getattr(one, name), getattr(other, name)} - {None}
            assert len(values) < 2, f"step {step}: {name}"
