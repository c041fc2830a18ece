"""An environment whose episodes last one step, in which nothing happens."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np


class InstantEnv(gym.Env[Any, Any]):
    """All that an episode takes is the time to deal it out and to take its result."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (6,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    _observation = np.zeros(6, np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        return self._observation, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self._observation, float(action[0]), True, False, {}


INSTANT = "benchmarks.instant:Instant-v0"
gym.register("Instant-v0", entry_point="benchmarks.instant:InstantEnv")
