"""What runs in a worker process: one environment, driven an episode at a time.

This module imports no torch, so that a worker starts quickly and stays small.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np

import mkds_gym  # noqa: F401 - registers MKDS-v0, in a worker too
from mkds_gym.env import MKDSEnv
from mkds_gym.recording.recorder import Recorder

ALIVE = "started"
"""The attribute that a parent asks a new worker for, to see whether its environment was made."""
RECORD_KEY = "mkds_neat.episode"
"""Under this key the info of an episode's last step carries its `EpisodeRecord`."""
RECORDING_KEY = "mkds_neat.recording"
"""And under this one the bytes of its `Recording`, where there are any."""


@dataclass(frozen=True)
class EpisodeRecord:
    """What became of one episode, as the worker saw it.

    Attributes:
        metrics: the environment's metrics at the end, by name.
        steps: environment steps.
        frames: emulated frames; steps where the environment has no ``frame_skip``.
        score: sum of the rewards, for environments without metrics.
        finished: the race was finished (``info["is_success"]``).
        lap_times: seconds, one for each lap driven.
        race_time: seconds, 0 when not finished.
        events: names of the events that ended the episode.
        seconds: wall time from the reset's end to the last step's.
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


class Lane(gym.Wrapper[Any, Any, Any, Any]):
    """An environment as a lane of the vector environment that the evaluator drives.

    It tells the parent nothing until an episode is over and then everything at once
    (`EpisodeRecord`), as carrying infos through the vector environment costs more than a step
    of the network. An episode that is over, or was never begun, idles: steps are answered from
    here and cost the emulator nothing.
    """

    started = True

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._idle = True
        self._last: Any = None
        self._steps = 0
        self._score = 0.0
        self._start = 0.0
        self._skip = int(getattr(env.unwrapped, "frame_skip", 1))
        self._recorder = Recorder(env) if isinstance(env.unwrapped, MKDSEnv) else None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; the info stays here."""
        self._last, _ = self.env.reset(seed=seed, options=options or None)
        self._idle = False
        self._steps = 0
        self._score = 0.0
        self._start = time.perf_counter()
        return self._last, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """A step of the environment; an empty info until the episode's last step."""
        if self._idle:
            if self._last is None:
                space = self.observation_space
                self._last = np.zeros(space.shape or (), space.dtype)
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
class LaneFactory:
    """Makes a `Lane`; picklable, for every start method.

    Attributes:
        env_id: a registered environment.
        kwargs: its arguments.
        owner: id of the process that evaluates; any other that calls is a worker.
        spectator: of the environment, if anybody looks; see `mkds_gym.env.MKDSEnv.spectator`.
    """

    env_id: str
    kwargs: dict[str, Any]
    owner: int = field(default_factory=os.getpid)
    spectator: Any = None

    def __call__(self) -> gym.Env[Any, Any]:
        """Make the environment, and a worker's manners with it."""
        worker = os.getpid() != self.owner
        if worker:
            # Ctrl-C reaches the whole process group, but only the parent decides what it
            # means; and a terminated worker shall still close its console, files and all.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, _leave)
        try:
            lane = Lane(gym.make(self.env_id, disable_env_checker=True, **self.kwargs))
            if self.spectator is not None:
                env: Any = lane.unwrapped
                env.spectator = self.spectator
            return lane
        except Exception as error:
            if not worker:
                raise
            return _Failed(error)


class _Failed(gym.Env[Any, Any]):
    """In the place of an environment that could not be made: tells the parent why, when asked."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.observation_space = self.action_space = gym.spaces.Discrete(1)

    @property
    def started(self) -> bool:
        raise self._error


def _leave(number: int, frame: object) -> None:  # noqa: ARG001
    sys.exit(128 + number)
