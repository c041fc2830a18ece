"""A small environment without an emulator, which worker processes import."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from custom_errors import fail


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


class FailingEnv(DrawnEnv):
    """Raises an exception of `custom_errors` in a call."""

    def __init__(self, kind: str = "", where: str = "") -> None:
        super().__init__()
        self._kind, self._where = kind, where
        self._fail("make")

    def _fail(self, where: str) -> None:
        if where == self._where:
            fail(self._kind)

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        self._fail("reset")
        return super().reset(**arguments)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._fail("step")
        return super().step(action)

    def close(self) -> None:
        self._fail("close")


class HangingEnv(DrawnEnv):
    """A step does not end, and SIGTERM is ignored."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        with contextlib.suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            time.sleep(0.1)
        return super().step(action)


class DyingEnv(DrawnEnv):
    """The first step of all takes its process with it.

    Args:
        died: file that tells that it has.
    """

    def __init__(self, died: str, delay: float = 0.0) -> None:
        super().__init__(10**6, delay)
        self._died = Path(died)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if not self._died.exists():
            self._died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


DYING = f"{__name__}:Dying-v0"
gym.register("Dying-v0", entry_point=f"{__name__}:DyingEnv")
FAILING = f"{__name__}:Failing-v0"
gym.register("Failing-v0", entry_point=f"{__name__}:FailingEnv")
HANGING = f"{__name__}:Hanging-v0"
gym.register("Hanging-v0", entry_point=f"{__name__}:HangingEnv")
