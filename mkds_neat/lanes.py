"""The lanes of a worker: the episodes that it drives at the same time, step by step.

Lanes are numbered from 0. `SingleLane` is any registered environment. `ConsoleLanes` is several
drivers of ``MKDS-v0`` in one console.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

import mkds_gym  # noqa: F401 - registers MKDS-v0 in a worker process
from mkds_gym.env import MKDSEnv
from mkds_gym.errors import VectorEnvError
from mkds_gym.recording.recorder import Recorder


class Lanes(Protocol):
    """Environments that are stepped together.

    Attributes:
        envs: The environment of each lane.
        action_space: Of one lane.
        observations: The observation of each lane.
        actions: The action of each lane, to be written before `step`.
    """

    envs: Sequence[gym.Env[Any, Any]]
    action_space: gym.spaces.Box
    observations: Any
    actions: NDArray[Any]

    def reset(self, seeds: Mapping[int, int], start: float | None = None) -> None:
        """Begin an episode in some lanes, each from its seed.

        Args:
            seeds: Seed by lane.
            start: Laps since the start line; None for the start of the race.
        """

    def step(self, lanes: Sequence[int]) -> tuple[Sequence[float], dict[int, dict[str, Any]]]:
        """Step some lanes.

        Returns:
            Rewards of all lanes, and the last info of each episode that ended, by lane.
        """

    def failed(self, error: Exception) -> set[int]:
        """Return the lanes that caused an error of `reset` or `step`; empty if it is not known."""

    def close(self) -> None:
        """Close the environments."""


class SingleLane:
    """One environment.

    Args:
        env_id: A registered environment.
        kwargs: Its arguments.
    """

    def __init__(self, env_id: str, kwargs: Mapping[str, Any]) -> None:
        self._env: gym.Env[Any, Any] = gym.make(env_id, disable_env_checker=True, **kwargs)
        self.envs: Sequence[gym.Env[Any, Any]] = [self._env]
        space = self._env.action_space
        assert isinstance(space, gym.spaces.Box)
        self.action_space = space
        self.observations: list[Any] = [None]
        self.actions = np.zeros((1, *space.shape), space.dtype)

    def reset(self, seeds: Mapping[int, int], start: float | None = None) -> None:
        """Begin an episode."""
        options = None if start is None else {"progress": start}
        self.observations[0] = self._env.reset(seed=seeds[0], options=options)[0]

    def step(self, lanes: Sequence[int]) -> tuple[Sequence[float], dict[int, dict[str, Any]]]:  # noqa: ARG002
        """Step the environment."""
        observation, reward, terminated, truncated, info = self._env.step(self.actions[0].copy())
        self.observations[0] = observation
        return (float(reward),), {0: info} if terminated or truncated else {}

    def failed(self, error: Exception) -> set[int]:  # noqa: ARG002
        """Return the only lane."""
        return {0}

    def close(self) -> None:
        """Close the environment."""
        self._env.close()


class ConsoleLanes:
    """Several drivers of ``MKDS-v0`` in one console, stepped by the calling thread.

    Args:
        env_id: The environment.
        kwargs: Its arguments.
        count: Number of drivers.
    """

    def __init__(self, env_id: str, kwargs: Mapping[str, Any], count: int) -> None:
        made: Any = gym.make_vec(
            env_id,
            num_envs=count,
            drivers_per_console=count,
            vectorization_mode="vector_entry_point",
            num_threads=1,
            copy=False,
            autoreset_mode=AutoresetMode.DISABLED,
            **kwargs,
        )
        self._vector = made.unwrapped
        self.envs: Sequence[gym.Env[Any, Any]] = self._vector.envs
        space = self._vector.single_action_space
        assert isinstance(space, gym.spaces.Box)
        self.action_space = space
        self.observations: Any = None
        self.actions = np.zeros((count, *space.shape), space.dtype)
        self._mask = np.zeros(count, np.bool_)

    def reset(self, seeds: Mapping[int, int], start: float | None = None) -> None:
        """Begin an episode in some lanes."""
        each = [seeds.get(lane) for lane in range(len(self.actions))]
        self._select(seeds)
        options = {"reset_mask": self._mask} | ({} if start is None else {"progress": start})
        self.observations = self._vector.reset(seed=each, options=options)[0]

    def step(self, lanes: Sequence[int]) -> tuple[Sequence[float], dict[int, dict[str, Any]]]:
        """Step some lanes."""
        self._select(lanes)
        _, rewards, terminated, truncated, infos = self._vector.step(
            self.actions, step_mask=self._mask
        )
        over = np.flatnonzero(terminated | truncated).tolist()
        return rewards.tolist(), {lane: _info_of(infos, lane) for lane in over}

    def failed(self, error: Exception) -> set[int]:
        """Return the lanes that a `VectorEnvError` names."""
        return set(error.failures) if isinstance(error, VectorEnvError) else set()

    def close(self) -> None:
        """Close the console."""
        self._vector.close()

    def _select(self, lanes: Mapping[int, Any] | Sequence[int]) -> None:
        self._mask[:] = False
        self._mask[list(lanes)] = True


def _info_of(infos: Mapping[str, Any], lane: int) -> dict[str, Any]:
    """Return the info of one lane from those of a vector environment."""
    return {
        key: _info_of(value, lane) if isinstance(value, dict) else value[lane]
        for key, value in infos.items()
        if not key.startswith("_") and infos[f"_{key}"][lane]
    }


@dataclass(frozen=True)
class LanesFactory:
    """Makes the lanes of a worker. Picklable, for every start method.

    Attributes:
        env_id: A registered environment.
        kwargs: Its arguments.
        count: Number of lanes. More than 1 only for ``MKDS-v0``.
        publishers: The publisher of each lane of all workers, or None; lane 0 of worker 1 follows
            the last lane of worker 0.
        course: Arguments that choose the course of a worker's first lanes.
        records: Whether races are recorded. A driver of a shared console that starts along the
            course cannot be.
    """

    env_id: str
    kwargs: dict[str, Any]
    count: int = 1
    publishers: Sequence[Any] = field(default=(), repr=False)
    course: Mapping[str, Any] = field(default_factory=dict)
    records: bool = True

    def __call__(self) -> gym.Env[Any, Any]:
        """Return one environment, from which `AsyncVectorEnv` reads the spaces."""
        return gym.make(self.env_id, disable_env_checker=True, **self.kwargs)

    def make(
        self, worker: int, course: Mapping[str, Any]
    ) -> tuple[Lanes, list[Recorder | None], list[Any]]:
        """Return lanes of a worker, with the recorder and the publisher of each, or None.

        Args:
            worker: Number of the worker.
            course: Arguments that choose a course, in the place of those of ``kwargs``.
        """
        kwargs = {**self.kwargs, **course}
        lanes: Lanes = (
            SingleLane(self.env_id, kwargs)
            if self.count == 1
            else ConsoleLanes(self.env_id, kwargs, self.count)
        )
        first = worker * self.count
        publishers = list(self.publishers[first : first + self.count]) or [None] * self.count
        recorders: list[Recorder | None] = []
        for env, publisher in zip(lanes.envs, publishers, strict=True):
            base: Any = env.unwrapped
            records = self.records and isinstance(base, MKDSEnv)
            recorders.append(Recorder(env) if records else None)
            if publisher is not None:
                base.viewer = publisher
        return lanes, recorders, publishers
