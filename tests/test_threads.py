"""The pool of threads: every task once, errors and Ctrl-C to the caller, nobody left at work."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mkds_gym.vector.threads import ThreadPool, usable_cores


@pytest.fixture(params=[1, 2, 4])
def pool(request: pytest.FixtureRequest) -> Iterator[ThreadPool]:
    threads = threading.active_count()
    pool = ThreadPool(request.param, "test")
    yield pool
    pool.close()
    pool.close()
    assert threading.active_count() == threads


def test_every_task_once(pool: ThreadPool) -> None:
    for count in (0, 1, 2, 3, 50, 1, 4):
        done: list[int] = []
        pool.run(done.append, count)
        assert Counter(done) == Counter(range(count))


def test_all_threads_work() -> None:
    pool = ThreadPool(3, "test")
    together = threading.Barrier(3, timeout=20)
    pool.run(lambda _: together.wait(), 3)
    # And of more tasks than threads, whoever is free takes the next.
    pool.run(lambda number: together.wait() if number < 3 else None, 30)
    pool.close()


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_a_task_raises_reaches_the_caller(pool: ThreadPool, kind: type[BaseException]) -> None:
    for bad in (0, 3, 7):
        done: list[int] = []

        def task(number: int, bad: int = bad, done: list[int] = done) -> None:
            if number == bad:
                raise kind(number)
            done.append(number)

        with pytest.raises(kind) as told:
            pool.run(task, 8)
        assert told.value.args == (bad,)
        assert bad not in done
        # Those before it have been begun, as the numbers are taken in order.
        assert set(range(bad)) <= set(done)
        pool.run(done.append, 3)


def test_what_was_raised_holds_nothing(pool: ThreadPool) -> None:
    class Kept:
        def __call__(self, number: int) -> None:
            raise ValueError(number)

    gc.disable()
    try:
        task = Kept()
        gone = weakref.ref(task)
        with contextlib.suppress(ValueError):
            pool.run(task, 4)
        del task
        # Another thread may not have put its order away yet.
        deadline = time.monotonic() + 20
        while gone() is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert gone() is None
    finally:
        gc.enable()


def test_whichever_thread_raises() -> None:
    pool = ThreadPool(2, "test")
    together = threading.Barrier(2, timeout=20)
    caller = threading.current_thread()

    def task_for(wanted: bool) -> Callable[[int], None]:
        def task(_: int) -> None:
            together.wait()
            if (threading.current_thread() is caller) == wanted:
                raise SystemExit(5)

        return task

    for wanted in (True, False, False, True):
        with pytest.raises(SystemExit):
            pool.run(task_for(wanted), 2)
    pool.close()


def test_ctrl_c_again_and_again_waits_for_what_is_under_way() -> None:
    pool = ThreadPool(2, "test")
    caller = threading.current_thread()
    begun = threading.Event()
    steps: list[int] = []

    def task(_: int) -> None:
        if threading.current_thread() is caller:
            begun.wait(20)
            time.sleep(20)
            return
        begun.set()
        for number in range(4):
            time.sleep(0.1)
            signal.pthread_kill(caller.ident or 0, signal.SIGINT)
            steps.append(number)
        time.sleep(0.1)
        steps.append(4)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        pool.run(task, 50)
    assert steps == [0, 1, 2, 3, 4]  # one task, to its end
    assert time.monotonic() - began < 15
    done: list[int] = []
    pool.run(done.append, 5)
    assert sorted(done) == [0, 1, 2, 3, 4]
    pool.close()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_cores_are_those_that_are_granted(tmp_path: Path) -> None:
    all_of_them = len(os.sched_getaffinity(0))
    assert usable_cores(tmp_path / "no such system") == all_of_them
    assert 1 <= usable_cores() <= all_of_them
    group, tree = tmp_path / "proc/self/cgroup", tmp_path / "sys/fs/cgroup"
    write(group, "0::/lab/run\n")
    write(tree / "lab/run/cpu.max", "max 100000\n")
    assert usable_cores(tmp_path) == all_of_them
    write(tree / "lab/cpu.max", "50000 100000\n")
    assert usable_cores(tmp_path) == 1
    write(tree / "lab/cpu.max", f"{100_000 * all_of_them - 1} 100000\n")
    assert usable_cores(tmp_path) == all_of_them
    # In a container of version 1; other controllers' groups do not count.
    write(group, "3:memory:/lab\n2:cpu,cpuacct:/not/seen/here\n")
    write(tree / "cpu/cpu.cfs_quota_us", "-1\n")
    write(tree / "cpu/cpu.cfs_period_us", "100000\n")
    assert usable_cores(tmp_path) == all_of_them
    write(tree / "cpu/cpu.cfs_quota_us", "20000\n")
    assert usable_cores(tmp_path) == 1
