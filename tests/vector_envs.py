"""Vector environments for tests, and a metric and an observer that can be told what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import gymnasium as gym
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode

import mkds_gym  # noqa: F401
from mkds_gym.observer import EnvObserver
from mkds_gym.vector.env import MKDSVectorEnv

SHORT: dict[str, Any] = {"frame_skip": 10, "truncate_on": ("clock:30", "stuck:100")}
"""Arguments for episodes of half a second on the race clock, three steps each."""


def make(num_envs: int, **kwargs: Any) -> MKDSVectorEnv:
    envs = gym.make_vec(
        "MKDS-v0", num_envs=num_envs, vectorization_mode="vector_entry_point", **kwargs
    )
    assert isinstance(envs, MKDSVectorEnv)
    return envs


def make_sync(num_envs: int, mode: AutoresetMode, **kwargs: Any) -> Any:
    return gym.make_vec(
        "MKDS-v0",
        num_envs=num_envs,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": mode},
        **kwargs,
    )


def play(envs: Any, steps: int, seed: Any = 3, action_seed: int = 5) -> Iterator[Any]:
    """Yield the results of a reset and of steps; reset ended episodes in mode ``Disabled``."""
    yield envs.reset(seed=seed)
    envs.action_space.seed(action_seed)
    for _ in range(steps):
        results = envs.step(envs.action_space.sample())
        yield results
        over = results[2] | results[3]
        if over.any() and envs.metadata["autoreset_mode"] == AutoresetMode.DISABLED:
            yield envs.reset(options={"reset_mask": over})


def equal(expected: Any, got: Any) -> bool:
    return bool(data_equivalence(expected, got, exact=True))


class FaultyMetric:
    """A metric that raises on demand.

    The faults are shared by all copies of the metric with the same number, also by the copy in
    an environment that replaces a failed one.
    """

    name = "faulty"
    frame_faults: ClassVar[dict[int, list[BaseException]]] = {}
    """Errors of the next frames, by number; each is raised once."""
    reset_faults: ClassVar[dict[int, list[BaseException]]] = {}
    """Errors of the next resets, likewise."""

    def __init__(self, number: int) -> None:
        self.number = number

    def reset(self) -> None:
        self._raise(self.reset_faults)

    def update(self, state: Any, course: Any) -> None:
        self._raise(self.frame_faults)

    def collect(self) -> dict[str, float]:
        return {"faulty": 0.0}

    def _raise(self, faults: dict[int, list[BaseException]]) -> None:
        if faults.get(self.number):
            raise faults[self.number].pop(0)


def make_faulty(num_envs: int = 3, **kwargs: Any) -> MKDSVectorEnv:
    """Environments whose metrics raise what `FaultyMetric.frame_faults` says."""
    FaultyMetric.frame_faults.clear()
    FaultyMetric.reset_faults.clear()
    each = [{"metrics": ["progress", "distance", FaultyMetric(i)]} for i in range(num_envs)]
    defaults: dict[str, Any] = {"reward": "none", "num_threads": 2, "frame_skip": 8}
    return make(num_envs, env_kwargs=each, **{**defaults, **kwargs})


def fail_next_frame(index: int, error: BaseException | None = None, times: int = 1) -> None:
    """Let an environment of `make_faulty` fail in its next frames."""
    FaultyMetric.frame_faults[index] = [error or ZeroDivisionError("the metric broke")] * times


class EventLog(EnvObserver):
    """An observer that notes what happens, and the frames at which episodes start."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.started_at: list[int] = []

    def attached(self, env: Any) -> None:
        self.events.append("attached")

    def episode_started(self, env: Any) -> None:
        self.events.append("started")
        self.started_at.append(env.race.frame)

    def step_ended(self, env: Any, reward: float, over: bool) -> None:
        self.events.append("stepped")

    def detached(self, env: Any) -> None:
        self.events.append("detached")
