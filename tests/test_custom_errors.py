"""Exceptions of custom code that are hard to pickle or to print: reported by every kind of worker.

And waits for workers: none is without end, and Ctrl-C and SIGTERM end them.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import custom_errors
import gymnasium as gym
import numpy as np
import pytest
from custom_errors import KINDS, FailingWrapper, arguments
from neat_envs import FAILING, HANGING
from waiting import until

from mkds_gym.errors import ComponentError
from mkds_gym.utils.portable_errors import describe, portable, traceback_of
from mkds_gym.vector import async_worker
from mkds_neat.errors import EvaluationError
from mkds_neat.evaluation import Evaluator, Stopped
from mkds_neat.individual import Individual
from mkds_neat.networks import NetworkSpec, Node
from mkds_neat.workers import Channel

SOON = 10.0
"""Longest time of an end on a busy machine, seconds. What hangs does so for 20 s."""

NETWORK = NetworkSpec(tuple(range(-1, -7, -1)), (0, 1), (Node(0), Node(1)), ((-1, 0, 0.1),))
DRIVERS = [Individual(key, NETWORK, {}) for key in range(3)]


@pytest.fixture(autouse=True)
def no_worker_is_left() -> Iterator[None]:
    yield
    assert not multiprocessing.active_children()


def evaluator(env_id: str, workers: str, **arguments: Any) -> Evaluator:
    how = {"vectorization": "native"} if workers == "native" else {"start_method": workers}
    return Evaluator(env_id, arguments, workers=2, seed=1, retries=0, **how)  # type: ignore[arg-type]


def test_every_exception_has_a_description_and_can_be_sent() -> None:
    for kind in KINDS:
        with pytest.raises(BaseException) as raised:  # noqa: PT011
            custom_errors.fail(kind)
        error = raised.value
        name = type(error).__name__
        assert describe(error).startswith(f"{name}: ")
        assert "in fail" in traceback_of(error)
        sent = portable(error)
        if kind in ("memory", "ctrl-c"):
            assert sent is error
        else:
            assert isinstance(sent, ComponentError)
            assert name in str(sent)
            assert portable(sent) is sent
    by_signal = SystemExit(143)
    assert portable(by_signal) is by_signal
    assert len(describe(ValueError("x" * 1_000_000))) < 20_000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers", ["native", "fork"])
def test_worker_of_an_evolution_reports_any_exception(workers: str, kind: str) -> None:
    for where in ("step", "reset"):
        with (
            evaluator(FAILING, workers, kind=kind, where=where) as pool,
            pytest.raises(EvaluationError, match=r"failed 1 times.*(Error|Exc|Exit|exit|Inter)"),
        ):
            pool.evaluate(DRIVERS)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["native", "fork", "forkserver", "spawn"])
def test_worker_reports_an_exception_of_every_call(method: str) -> None:
    for kind in KINDS:
        for where in ("make", "close"):
            with (
                contextlib.suppress(EvaluationError, KeyboardInterrupt),
                evaluator(FAILING, method, kind=kind, where=where) as pool,
            ):
                pool.evaluate(DRIVERS)


@pytest.mark.parametrize("kind", ["local", "base"])
def test_scorer_that_raises_anything_is_an_error(kind: str) -> None:
    with (
        Evaluator(
            FAILING,
            workers=1,
            seed=1,
            vectorization="native",
            scorer=lambda _: custom_errors.fail(kind),  # type: ignore[func-returns-value]
        ) as pool,
        pytest.raises(EvaluationError, match="the scorer failed on individual"),
    ):
        pool.evaluate(DRIVERS)


def fails_in_async(**arguments: Any) -> BaseException:
    """Return what `AsyncVectorEnv` raises."""
    envs = gym.make_vec("MKDS-v0", 1, vectorization_mode="async", **arguments)

    def drive() -> None:
        envs.reset()
        for _ in range(20):
            envs.step(np.ones(1, np.int64))

    try:
        with pytest.raises(BaseException) as raised:  # noqa: PT011
            drive()
        return raised.value
    finally:
        envs.close(terminate=True)


def test_async_vector_environment_reports_an_exception_that_cannot_be_pickled() -> None:
    error = fails_in_async(**arguments("update", "local"))
    assert isinstance(error, ComponentError)
    assert "LocalError: local" in str(error)
    assert "top level of a module" in str(error)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_async_vector_environment_reports_any_exception(kind: str) -> None:
    expected = {"ctrl-c": KeyboardInterrupt, "memory": MemoryError}.get(kind, ComponentError)
    # A metric that fails in reset() fails in this process already, where the spaces are read.
    assert isinstance(fails_in_async(**arguments("update", kind)), expected)
    if kind not in ("base", "exit"):  # Gymnasium's worker catches an Exception only
        wrapped = fails_in_async(
            wrappers=[functools.partial(FailingWrapper, kind=kind)],
            vector_kwargs={"worker": async_worker},
        )
        assert isinstance(wrapped, expected)


# Waits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["native", "fork"])
def test_stop_does_not_wait_for_workers_that_hang(
    workers: str, caplog: pytest.LogCaptureFixture
) -> None:
    """They hang in a step, and ignore SIGTERM where they are processes."""
    pool = evaluator(HANGING, workers)
    pool.start()
    begun = time.monotonic()
    with caplog.at_level(logging.WARNING), pytest.raises(Stopped):
        pool.evaluate(DRIVERS, should_stop=lambda: time.monotonic() > begun + 0.5)
    assert time.monotonic() - begun < SOON
    assert ("left behind" in caplog.text) == (workers == "native")


def test_stopped_worker_delays_neither_tasks_nor_the_end() -> None:
    pool = evaluator(HANGING, "fork")
    pool.start()
    workers: Any = pool.pool
    for process in workers.processes:
        os.kill(process.pid, signal.SIGSTOP)
    begun = time.monotonic()
    workers.send(0, ["x" * 3_000_000])  # more than the pipe takes
    assert workers.receive(0.1) == []
    pool.close()
    assert time.monotonic() - begun < SOON


def test_half_a_message_is_no_reason_to_wait() -> None:
    ours, theirs = multiprocessing.Pipe()
    channel = Channel(ours)
    theirs.send("whole")
    os.write(theirs.fileno(), (100).to_bytes(4, "big") + b"half")
    assert channel.receive() == ["whole"]
    assert channel.receive() == []
    os.write(theirs.fileno(), b"x" * 96)
    with pytest.raises(pickle.UnpicklingError):
        channel.receive()
    channel.send("y" * 3_000_000)
    received: list[str] = []
    thread = threading.Thread(target=lambda: received.append(theirs.recv()), daemon=True)
    thread.start()

    def arrived() -> list[str]:
        channel.flush()
        return received

    until(arrived)
    thread.join(10)
    assert len(received[0]) == 3_000_000
    theirs.close()
    with pytest.raises((EOFError, OSError)):
        channel.receive()
