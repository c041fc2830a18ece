"""Start consoles, threads and processes under limits; print each error, which must be documented.

Arguments: ``threads`` (none can be started), ``files`` (none can be opened), or ``memory`` or
``obstacles`` and a number of MiB of address space in which two environments drive, or obstacles of
a course are built.
"""

import resource
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from course_builder import plain_course
from neat_envs import DRAWN

from mkds_gym.course import KCL
from mkds_gym.course.mesh import ObstacleMesh
from mkds_gym.emulator import Console
from mkds_gym.errors import MKDSError
from mkds_gym.multi_agent import parallel_env
from mkds_gym.vector import MKDSVectorEnv
from mkds_neat.evaluation import Evaluator

MIB = 1 << 20


def address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def limit(kind: int, amount: int) -> None:
    resource.setrlimit(kind, (amount, resource.getrlimit(kind)[1]))


def evaluate(**how: Any) -> None:
    with Evaluator(DRAWN, workers=2, seed=1, **how) as evaluator:
        evaluator.start()


def drive() -> None:
    envs = [gym.make("MKDS-v0", render_mode="rgb_array") for _ in range(2)]
    for env in envs:
        env.reset()
        for _ in range(5):
            env.step(1)
        env.unwrapped.clone_state()  # type: ignore[attr-defined]
        env.render()
    for env in envs:
        env.close()


def obstacles() -> None:
    mesh = ObstacleMesh(KCL.from_bytes(plain_course()))
    mesh.distances(np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32))


def vector(**arguments: Any) -> None:
    envs = MKDSVectorEnv(2, num_threads=2, **arguments)
    try:
        envs.reset()
        envs.step(np.ones(2, np.int64))
    finally:
        envs.close()


def attempt(name: str, call: Callable[[], object]) -> None:
    try:
        call()
        print(name, "worked", flush=True)
    except MKDSError as error:
        print(name, type(error).__name__, error, flush=True)


def main(kind: str) -> None:
    if kind in ("memory", "obstacles"):
        limit(resource.RLIMIT_AS, address_space() + int(sys.argv[2]) * MIB)
    if kind == "obstacles":
        attempt("obstacles", obstacles)
        return
    if kind == "memory":
        attempt("drive", drive)
        attempt("vector", vector)
        return
    race = parallel_env()  # imports its packages
    if kind == "threads":
        threading.stack_size(1 << 30)
        limit(resource.RLIMIT_AS, address_space() + 1010 * MIB)
    else:
        limit(resource.RLIMIT_NOFILE, len(list(Path("/proc/self/fd").iterdir())) - 1)
    attempt("console", Console)
    attempt("vector", vector)
    attempt("native", lambda: evaluate(vectorization="native"))
    for method in () if kind == "threads" else ("fork", "spawn", "forkserver"):
        attempt(method, lambda method=method: evaluate(start_method=method))
    attempt("parallel", race.reset)
    if kind == "threads":
        limit(resource.RLIMIT_AS, resource.RLIM_INFINITY)
    else:
        limit(resource.RLIMIT_NOFILE, 200)
    attempt("later", drive)  # nothing is left in the way


if __name__ == "__main__":
    main(sys.argv[1])
