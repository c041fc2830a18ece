"""Open and close environments; print MiB of resident memory and threads, before and after.

Arguments: number of rounds; each makes two environments, a vector environment of two, and one with
shared consoles.
"""

import ctypes
import gc
import os
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

import mkds_gym  # noqa: F401 - registers MKDS-v0


def resident() -> float:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def open_and_close() -> None:
    mode = "vector_entry_point"
    opened: list[Any] = [gym.make("MKDS-v0", render_mode="rgb_array") for _ in range(2)]
    for drivers in (1, 2):
        opened.append(
            gym.make_vec(
                "MKDS-v0", 2, vectorization_mode=mode, num_threads=2, drivers_per_console=drivers
            )
        )
    for env in opened:
        env.reset()
        env.step(np.ones(2, np.int64) if hasattr(env, "num_envs") else 1)
    for env in opened:
        env.close()


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


open_and_close()
print(resident(), threads(), flush=True)
for _ in range(int(sys.argv[1]) - 1):
    open_and_close()
print(resident(), threads())
