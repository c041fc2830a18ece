"""One thread at a time in a console or environment: a second one gets an error, at once."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from consoles import race_console
from gymnasium.utils.env_checker import data_equivalence
from programs import run_file
from waiting import exit_status

from mkds_gym.emulator import Console, Keys
from mkds_gym.emulator.desmume import library
from mkds_gym.emulator.frame_copies import FrameCopies
from mkds_gym.env import MKDSEnv
from mkds_gym.errors import ConcurrentCallError, ConsoleError, VectorEnvError
from mkds_gym.observer import EnvObserver
from mkds_gym.utils.one_thread import OneThread, one_thread
from mkds_gym.vector import MKDSVectorEnv


def in_thread(call: Callable[[], Any]) -> Any:
    """Return the result of a call in another thread, or raise its exception."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result(timeout=60)


class Gate(EnvObserver):
    """Holds a thread inside: after the second frame, until `open` is set."""

    needs_frames = True

    def __init__(self) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        self.frames = 0

    def look(self) -> int:
        self.frames += 1
        if self.frames == 2:
            self.reached.set()
            assert self.open.wait(60)
        return self.frames

    def frame(self, *arguments: Any) -> None:
        self.look()


@contextlib.contextmanager
def inside(call: Callable[[], Any], gate: Gate) -> Iterator[list[Any]]:
    """Run a body while another thread is in a call that a gate holds; yields its later result."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    assert gate.reached.wait(60)
    try:
        yield results
    finally:
        gate.open.set()
        thread.join(60)
    assert results, "the call failed"


@pytest.fixture(scope="module")
def console() -> Iterator[Console]:
    with race_console() as console:
        yield console


@pytest.fixture
def env() -> Iterator[MKDSEnv]:
    env = gym.make("MKDS-v0", render_mode="rgb_array").unwrapped
    assert isinstance(env, MKDSEnv)
    env.reset()
    yield env
    env.close()


def test_console_refuses_every_call_of_a_second_thread(console: Console) -> None:
    console.reset()
    start, state = console.snapshot(), console.save_state()
    assert isinstance(state, bytes)
    console.step(Keys.A, 5)
    expected = console.ram.copy()
    console.restore(start)
    gate = Gate()
    calls: list[Callable[[], Any]] = [
        console.step,
        lambda: console.run(0, 1, int),
        lambda: console.run_and_copy(0, 1, FrameCopies(console.ram, [(0, 4)], [])),
        console.reset,
        console.screen,
        console.colours,
        console.snapshot,
        lambda: console.difference(start),
        lambda: console.restore(start),
        console.save_state,
        lambda: console.load_state(state),
        console.close,
        console.__exit__,
    ]
    with inside(lambda: console.run(Keys.A, 5, gate.look), gate) as results:
        for call in calls[:-1]:
            with pytest.raises(ConcurrentCallError, match=r"\(\) was called while another thread"):
                call()
        with pytest.raises(ConcurrentCallError, match=r"^close\(\).* one Console per thread"):
            console.__exit__(None, None, None)
        # Reading needs no turn.
        assert (console.frame_count, console.closed) == (2, False)
        assert len(console.ram)
    assert results == [[1, 2, 3, 4, 5]]
    np.testing.assert_array_equal(console.ram, expected)
    assert in_thread(console.snapshot).frame_count == 5


def test_function_that_looks_on_may_call_the_console(console: Console) -> None:
    console.reset()
    pictures = console.run(0, 3, console.screen)
    assert len(pictures) == 3
    with pytest.raises(ZeroDivisionError):
        console.run(0, 3, lambda: 1 // 0)
    with Console(on_power_on=lambda ram: ram.fill(0)) as other:
        other.step()
    assert in_thread(lambda: console.screen("both")).shape == (384, 256, 3)


def test_environment_refuses_every_call_of_a_second_thread(env: MKDSEnv) -> None:
    state = env.clone_state()
    expected = [env.step(1) for _ in range(2)]
    env.restore_state(state)
    gate = Gate()
    env.add_observer(gate)
    out = np.empty(6, np.float32)
    calls: list[Callable[[], Any]] = [
        lambda: env.step(0),
        lambda: env.step_into(0, out),
        env.reset,
        lambda: env.reset_into(out),
        env.render,
        env.picture,
        env.collect_metrics,
        env.clone_state,
        lambda: env.clone_along([0.1]),
        lambda: env.restore_state(state),
        env.prepare,
        env.close,
        env.console.screen,
    ]
    with inside(lambda: env.step(1), gate) as results:
        for call in calls[:-1]:
            with pytest.raises(ConcurrentCallError, match="one MKDSEnv per thread"):
                call()
        calls[-1]()  # Python code has the console's turn between two frames
    for got, wanted in zip([*results, in_thread(lambda: env.step(1))], expected, strict=True):
        assert data_equivalence(got, wanted, exact=True)


def test_second_thread_in_the_console_of_a_step_needs_a_reset(env: MKDSEnv) -> None:
    """The step is the second call here."""
    gate = Gate()
    with inside(lambda: env.console.run(0, 4, gate.look), gate):
        with pytest.raises(ConcurrentCallError, match="one Console per thread"):
            env.step(1)
        with pytest.raises(gym.error.ResetNeeded):
            env.step(1)
    env.reset()
    env.step(1)


def test_vector_environment_names_the_environment_that_another_thread_uses() -> None:
    envs = MKDSVectorEnv(2)
    try:
        envs.reset()
        second = envs.envs[1].unwrapped
        assert isinstance(second, MKDSEnv)
        gate = Gate()
        second.add_observer(gate)
        actions = np.ones(2, np.int64)
        with (
            inside(lambda: second.step(1), gate),
            pytest.raises(VectorEnvError, match=r"environment 1 .*ConcurrentCallError"),
        ):
            envs.step(actions)
        envs.replace(1)
        gate = Gate()
        envs.envs[0].unwrapped.add_observer(gate)  # type: ignore[attr-defined]
        with inside(lambda: envs.step(actions), gate):
            with pytest.raises(ConcurrentCallError):
                envs.step(actions)
            with pytest.raises(ConcurrentCallError):
                envs.envs[0].step(1)
        envs.step(actions)
    finally:
        envs.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_at_any_moment_leaves_the_console_to_other_threads(console: Console) -> None:
    main = threading.get_ident()

    def call_until_interrupted(timer: threading.Timer) -> None:
        timer.start()
        while timer.is_alive():
            console.colours()
        time.sleep(0.01)  # the Ctrl-C was sent

    interrupts = 0
    for _ in range(100):
        timer = threading.Timer(0.0005, signal.pthread_kill, (main, signal.SIGINT))
        try:
            call_until_interrupted(timer)
        except KeyboardInterrupt:
            interrupts += 1
        timer.join()
        in_thread(console.colours)
    assert interrupts > 80  # Python loses those that arrive in a callback of its own


class InterruptedLock:
    """An `RLock` whose calls do their work, and are followed by a Ctrl-C."""

    def __init__(self, interrupted: str) -> None:
        self._lock: Any = threading.RLock()
        self.interrupted = interrupted

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            result = getattr(self._lock, name)(*arguments)
            if name == self.interrupted:
                self.interrupted = ""
                raise KeyboardInterrupt
            return result

        return call


class Guarded(OneThread):
    @one_thread
    def call(self, interrupted: bool = False) -> None:
        if interrupted:
            raise KeyboardInterrupt


@pytest.mark.parametrize("interrupted", ["_is_owned", "acquire", "call", "release"])
def test_ctrl_c_after_each_call_of_the_guard_leaves_the_object_to_other_threads(
    interrupted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = InterruptedLock(interrupted)
    with monkeypatch.context() as patch:
        patch.setattr(threading, "RLock", lambda: lock)
        guarded = Guarded()
    with pytest.raises(KeyboardInterrupt):
        guarded.call(interrupted == "call")
    in_thread(guarded.call)


def test_close_in_another_thread_and_collection() -> None:
    other = race_console()
    other.step()
    in_thread(other.close)
    assert other.closed
    other = race_console()
    used, gone = other.library, weakref.ref(other)
    in_thread(other.step)
    del other
    gc.collect()
    assert gone() is None
    assert used in library.idle


def test_forked_child_names_the_parent_while_a_thread_is_inside(
    console: Console, env: MKDSEnv
) -> None:
    gates = [Gate(), Gate()]
    env.add_observer(gates[1])
    with (
        inside(lambda: console.run(0, 4, gates[0].look), gates[0]),
        inside(lambda: env.step(1), gates[1]),
    ):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for call in (console.step, env.reset):
                    with pytest.raises(ConsoleError, match="process that this one was forked from"):
                        call()
                env.close()
                code = 0
            finally:
                os._exit(code)
        assert exit_status(child) == 0


@pytest.mark.parametrize(
    "kind",
    [
        "step",
        *(pytest.param(k, marks=pytest.mark.slow) for k in ("reset", "pictures", "console")),
    ],
)
def test_two_careless_threads_harm_nothing(kind: str) -> None:
    run = run_file("two_threads.py", kind)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("same")
