"""``python -m benchmarks.rounds``: what a step of several environments costs beside their own.

A round of tasks, which sleep for a millisecond, is shared out to threads: by `ThreadPool`, and by
`concurrent.futures`; what it takes longer than its longest task counts. Default infos are made one:
by `InfoForm`, and by Gymnasium's ``VectorEnv._add_info``. Which of two comes next is drawn by lot.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from typing import Any, Final

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import VectorEnv

import mkds_gym  # noqa: F401  registers MKDS-v0
from benchmarks.report import table
from mkds_gym.vector.lanes import InfoForm
from mkds_gym.vector.threads import ThreadPool

ENVS: Final = 2
"""Environments, and threads: the caller, and others beside it."""
_TIMES: Final = 1000
_TASK_SECONDS: Final = 0.001


def measure(
    ways: Mapping[str, Callable[[], object]], discount: Callable[[], float]
) -> list[tuple[str, ...]]:
    """Time calls in turns; rows of the table, microseconds.

    Args:
        ways: to call, by name.
        discount: seconds of the last call that do not count.
    """
    lot = random.Random(0)
    seen: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(_TIMES):
        for name in lot.sample(list(ways), len(ways)):
            begin = time.perf_counter()
            ways[name]()
            seen[name].append((time.perf_counter() - begin - discount()) * 1e6)
    rows: list[tuple[str, ...]] = []
    for name, times in seen.items():
        tenth, median = np.percentile(times, [10, 50])
        rows.append((name, f"{tenth:,.1f}", f"{median:,.1f}"))
    return rows


def rounds() -> list[tuple[str, ...]]:
    """Share out rounds of `ENVS` tasks."""
    took = [0.0] * ENVS

    def task(number: int) -> None:
        begin = time.perf_counter()
        time.sleep(_TASK_SECONDS)
        took[number] = time.perf_counter() - begin

    with closing(ThreadPool(ENVS, "round")) as pool, ThreadPoolExecutor(ENVS) as executor:
        return measure(
            {
                "ThreadPool.run": lambda: pool.run(task, ENVS),
                "concurrent.futures": lambda: wait([executor.submit(task, i) for i in range(ENVS)]),
            },
            lambda: max(took),
        )


def infos() -> list[tuple[str, ...]]:
    """Make one of `ENVS` infos of a step."""
    with closing(gym.make("MKDS-v0")) as env:
        env.reset(seed=0)
        # As of two environments: two steps of one.
        seen: list[dict[str, Any]] = [env.step(0)[4] for _ in range(ENVS)]
    form, vector = InfoForm(seen), VectorEnv()
    vector.num_envs = ENVS

    def gymnasium() -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for number, info in enumerate(seen):
            merged = vector._add_info(merged, info, number)
        return merged

    def ours() -> dict[str, Any]:
        if not form.fits(seen):
            raise RuntimeError("these infos do not have the form of a step's")
        return form.merge(seen)

    if not (form.usable and data_equivalence(ours(), gymnasium())):
        raise RuntimeError("InfoForm and Gymnasium make different infos")
    return measure({"InfoForm": ours, "VectorEnv._add_info": gymnasium}, lambda: 0.0)


def main() -> int:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rounds")
    parser.description = "What does a vector's step cost beside the environments' own?"
    parser.parse_args()
    head = (f"microseconds, {ENVS} environments", "lowest tenth", "median")
    print("\n".join(table(head, [*rounds(), *infos()])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
