"""End the interpreter while daemon threads are in calls.

Argument: what the threads do, ``env``, ``vector``, ``shared``, ``console``, ``long`` (one call of
many frames), ``reset`` or ``new`` (environments are made and closed).
"""

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

import mkds_gym  # noqa: F401 - registers MKDS-v0
from mkds_gym.emulator import Console


def make(kind: str) -> Callable[[], Any]:
    if kind in ("vector", "shared"):
        drivers = {"drivers_per_console": 2} if kind == "shared" else {}
        mode = "vector_entry_point"
        envs: Any = gym.make_vec("MKDS-v0", 2, vectorization_mode=mode, num_threads=2, **drivers)
        envs.reset()
        return lambda: envs.step(np.ones(2, np.int64))
    if kind in ("console", "long"):
        console = Console()
        return lambda: console.step(0, 100_000 if kind == "long" else 1)
    if kind == "new":
        return lambda: Console().close()
    env: Any = gym.make("MKDS-v0")
    env.reset()
    return env.reset if kind == "reset" else lambda: env.unwrapped.step(1)


def main() -> None:
    call = make(sys.argv[1])

    def work() -> None:
        while True:
            try:
                call()
            except gym.error.ResetNeeded:
                return

    threading.Thread(target=work, daemon=True).start()
    time.sleep(float(sys.argv[2]))
    print("exiting", flush=True)


main()
