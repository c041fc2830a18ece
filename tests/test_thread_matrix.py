"""Every public method and attribute while another thread steps: a documented error, or a result."""

from __future__ import annotations

import gc
import os
import threading

import gymnasium as gym
import numpy as np
import pytest
from programs import run_file
from waiting import exit_status

from mkds_gym.emulator.desmume import library
from mkds_gym.errors import ConsoleError
from mkds_gym.vector import MKDSVectorEnv

KINDS = ("console", "env", "vector", "shared", "wrapped", "parallel")


def test_every_call_while_another_thread_steps_an_environment() -> None:
    run = run_file("thread_matrix.py", "env", "0.002")
    assert run.returncode == 0, run.stderr[-4000:]
    assert "ConcurrentCallError" in run.stdout


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", KINDS)
def test_every_pair_of_calls_while_another_thread_steps(kind: str) -> None:
    run = run_file("thread_matrix.py", kind, "0.01", "pairs")
    assert run.returncode == 0, run.stderr[-4000:]
    assert "ConcurrentCallError" in run.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["env", "vector", "shared", "console", "long", "reset", "new"])
def test_interpreter_exits_while_a_thread_is_in_a_call(kind: str) -> None:
    for seconds in ("0.05", "0.1", "0.2", "0.3"):
        run = run_file("exit_while_stepping.py", kind, seconds)
        assert (run.returncode, run.stdout, run.stderr) == (0, "exiting\n", "")


def fork_while_stepped(envs: MKDSVectorEnv) -> None:
    """Fork while a thread steps; the child is refused, and can close the environment."""
    actions = np.ones(2, np.int64)
    done = threading.Event()

    def step() -> None:
        while not done.is_set():
            envs.step(actions)

    thread = threading.Thread(target=step)
    thread.start()
    for _ in range(3):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for call in (lambda: envs.step(actions), envs.reset, envs.clone_states):
                    with pytest.raises(gym.error.Error, match=r"before os\.fork"):
                        call()
                with pytest.raises(ConsoleError, match="forked from"):
                    envs.envs[0].unwrapped.console.step()  # type: ignore[attr-defined]
                envs.close()
                code = 0
            finally:
                os._exit(code)
        assert exit_status(child) == 0
    done.set()
    thread.join()


def test_vector_environment_is_forked_while_a_thread_steps_it_and_collected_in_another() -> None:
    envs = MKDSVectorEnv(2, num_threads=2)
    envs.reset()
    fork_while_stepped(envs)
    used = [env.unwrapped.console.library for env in envs.envs]  # type: ignore[attr-defined]
    collector = threading.Thread(target=gc.collect)
    del envs
    collector.start()
    collector.join()
    assert all(each in library.idle for each in used)
