"""The worker's side of an evaluation: one environment, driven an episode at a time.

This module does not import torch: worker processes start quickly and stay small.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import Any, Final

import gymnasium as gym
import numpy as np

import mkds_gym  # noqa: F401 - registers MKDS-v0 in a worker process
from mkds_gym.env import MKDSEnv
from mkds_gym.recording.recorder import Recorder

STARTED: Final = "started"
"""Attribute that tells the parent whether the environment of a new worker could be made."""
RECORD_KEY: Final = "mkds_neat.episode"
"""Key of the `EpisodeRecord` in the info of an episode's last step."""
RECORDING_KEY: Final = "mkds_neat.recording"
"""Key of the bytes of the recording in the same info, if the environment records."""


@dataclass(frozen=True)
class EpisodeRecord:
    """The facts of one episode.

    Attributes:
        metrics: The environment's metrics at the end, by name.
        steps: Steps of the environment.
        frames: Emulated frames; equal to ``steps`` for an environment without ``frame_skip``.
        score: Sum of the rewards, for environments without metrics.
        finished: Whether the race was finished (``info["is_success"]``).
        lap_times: Seconds of each complete lap.
        race_time: Seconds of the race; 0 if it was not finished.
        events: Names of the events that ended the episode.
        seconds: Wall time from the end of the reset to the end of the last step.
    """

    metrics: dict[str, float]
    steps: int
    frames: int
    score: float
    finished: bool
    lap_times: tuple[float, ...]
    race_time: float
    events: tuple[str, ...]
    seconds: float


class EpisodeWrapper(gym.Wrapper[Any, Any, Any, Any]):
    """An environment that reports an episode once, at its end, as an `EpisodeRecord`.

    Infos are empty until then: carrying them through the vector environment costs more than a
    step of the network. Before the first reset and after the end of an episode, a step returns
    the last observation and does not step the environment.
    """

    started = True

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._idle = True
        self._last: Any = np.zeros(self.observation_space.shape or (), self.observation_space.dtype)
        self._steps = 0
        self._score = 0.0
        self._start = 0.0
        self._skip = int(getattr(env.unwrapped, "frame_skip", 1))
        self._recorder = Recorder(env) if isinstance(env.unwrapped, MKDSEnv) else None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode. The info is empty."""
        self._last, _ = self.env.reset(seed=seed, options=options or None)
        self._idle = False
        self._steps = 0
        self._score = 0.0
        self._start = time.perf_counter()
        return self._last, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step the environment. The info is empty until the last step of the episode."""
        if self._idle:
            return self._last, 0.0, False, False, {}
        self._last, reward, terminated, truncated, info = self.env.step(action)
        self._steps += 1
        self._score += float(reward)
        if not (terminated or truncated):
            return self._last, 0.0, False, False, {}
        self._idle = True
        record = EpisodeRecord(
            metrics={name: float(value) for name, value in info.get("metrics", {}).items()},
            steps=self._steps,
            frames=self._steps * self._skip,
            score=self._score,
            finished=bool(info.get("is_success", False)),
            lap_times=tuple(float(t) for t in info.get("lap_times", ())),
            race_time=float(info.get("total_time", 0.0)),
            events=tuple(info.get("events", ())),
            seconds=time.perf_counter() - self._start,
        )
        last: dict[str, Any] = {RECORD_KEY: record}
        if self._recorder is not None:
            last[RECORDING_KEY] = self._recorder.recording().to_bytes()
        return self._last, 0.0, terminated, truncated, last


@dataclass(frozen=True)
class EnvironmentFactory:
    """Makes the environment of a worker. Picklable, for every start method.

    Attributes:
        env_id: A registered environment.
        kwargs: Its arguments.
        owner: Id of the process that evaluates. Every other process is a worker.
        publisher: publisher of the pictures of the environment, or None.
    """

    env_id: str
    kwargs: dict[str, Any]
    owner: int = field(default_factory=os.getpid)
    publisher: Any = None

    def __call__(self) -> gym.Env[Any, Any]:
        """Make the environment and, in a worker process, set its signal handlers."""
        in_worker = os.getpid() != self.owner
        if in_worker:
            # Ctrl-C reaches the whole process group, but only the parent acts on it. A terminated
            # worker still closes its console and removes its files.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
        try:
            env = EpisodeWrapper(gym.make(self.env_id, disable_env_checker=True, **self.kwargs))
            if self.publisher is not None:
                base: Any = env.unwrapped
                base.viewer = self.publisher
            return env
        except Exception as error:
            if not in_worker:
                raise
            return _FailedEnvironment(error)


class _FailedEnvironment(gym.Env[Any, Any]):
    """Stands in for an environment that could not be made, and reports the error when asked."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.observation_space = self.action_space = gym.spaces.Discrete(1)

    @property
    def started(self) -> bool:
        raise self._error
