"""Record short races."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from mkds_gym.env import MKDSEnv
from mkds_gym.recording.format import Recording, memory_digest
from mkds_gym.recording.recorder import Recorder


def make(**arguments: Any) -> MKDSEnv:
    env = gym.make("MKDS-v0", **arguments).unwrapped
    assert isinstance(env, MKDSEnv)
    return env


def drive(env: MKDSEnv, steps: int, seed: int = 0) -> list[Any]:
    """Take random, mostly forward actions until the episode ends; return what the steps return."""
    random = np.random.default_rng(seed)
    results: list[Any] = []
    while len(results) < steps and not env.episode_over:
        results.append(env.step(int(random.choice([0, 0, 0, 1, 2, 3, 4, 8]))))
    return results


def record(steps: int = 40, seed: int = 0, **arguments: Any) -> Recording:
    env = make(**arguments)
    recorder = Recorder(env, label=f"driver {seed}")
    env.reset(seed=seed)
    drive(env, steps, seed)
    recording = recorder.recording()
    assert recording.ram == memory_digest(env.console)
    env.close()
    return recording
