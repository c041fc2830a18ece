"""A small environment without an emulator, which worker processes import."""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np


class DrawnEnv(gym.Env[Any, Any]):
    """Observations and the number of steps are drawn from the seed; rewards follow the actions.

    Args:
        fails_after: number of steps after which a step fails.
        delay: seconds that a step takes.
    """

    observation_space = gym.spaces.Box(-1.0, 1.0, (6,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, fails_after: int = 1000, delay: float = 0.0) -> None:
        self._fails_after = fails_after
        self._delay = delay
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self._left = int(self.np_random.integers(10, 40))
        return self._draw(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        time.sleep(self._delay)
        self._left -= 1
        self._steps += 1
        if self._steps > self._fails_after:
            raise ZeroDivisionError("the environment broke")
        return self._draw(), float(action @ (1.0, 0.1)), self._left == 0, False, {}

    def _draw(self) -> Any:
        return self.np_random.uniform(-1.0, 1.0, 6).astype(np.float32)


DRAWN = f"{__name__}:Drawn-v0"
gym.register("Drawn-v0", entry_point=f"{__name__}:DrawnEnv")
