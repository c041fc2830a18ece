"""The thread pool: every task runs once, errors and Ctrl-C reach the caller, no thread is left."""

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


def test_run_calls_every_task_once(pool: ThreadPool) -> None:
    for count in (0, 1, 2, 3, 50, 1, 4):
        done: list[int] = []
        pool.run(done.append, count)
        assert Counter(done) == Counter(range(count))


def test_run_uses_all_threads() -> None:
    pool = ThreadPool(3, "test")
    together = threading.Barrier(3, timeout=20)
    pool.run(lambda _: together.wait(), 3)
    # With more tasks than threads, a free thread takes the next task.
    pool.run(lambda number: together.wait() if number < 3 else None, 30)
    pool.close()


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_exception_of_a_task_reaches_the_caller(
    pool: ThreadPool, kind: type[BaseException]
) -> None:
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
        # Tasks start in order, so those before it have run.
        assert set(range(bad)) <= set(done)
        pool.run(done.append, 3)


def test_exception_does_not_keep_the_task_alive(pool: ThreadPool) -> None:
    class Task:
        def __call__(self, number: int) -> None:
            raise ValueError(number)

    gc.disable()
    try:
        task = Task()
        gone = weakref.ref(task)
        with contextlib.suppress(ValueError):
            pool.run(task, 4)
        del task
        # Another thread may still refer to it for a moment.
        deadline = time.monotonic() + 20
        while gone() is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert gone() is None
    finally:
        gc.enable()


def test_exception_of_any_thread_reaches_the_caller() -> None:
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


def test_repeated_ctrl_c_waits_for_running_tasks() -> None:
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


def test_thread_left_behind_after_ctrl_c_starts_no_further_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mkds_gym.vector.threads._PATIENCE", 0.1)
    pool = ThreadPool(2, "test")
    go_on, ended = threading.Event(), threading.Event()
    started: list[int] = []

    def task(number: int) -> None:
        started.append(number)
        if threading.current_thread() is threading.main_thread():
            while len(started) < 2:
                time.sleep(0.001)
            signal.raise_signal(signal.SIGINT)
        go_on.wait(30)
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        pool.run(task, 10)
    assert not ended.is_set()
    go_on.set()
    assert ended.wait(60)
    pool._workers[0].join(0.2)  # the time of a further task
    assert len(started) == 2
    pool.close()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_usable_cores_respects_cgroup_limits(tmp_path: Path) -> None:
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
    # cgroup version 1, where other controllers have other groups.
    write(group, "3:memory:/lab\n2:cpu,cpuacct:/not/seen/here\n")
    write(tree / "cpu/cpu.cfs_quota_us", "-1\n")
    write(tree / "cpu/cpu.cfs_period_us", "100000\n")
    assert usable_cores(tmp_path) == all_of_them
    write(tree / "cpu/cpu.cfs_quota_us", "20000\n")
    assert usable_cores(tmp_path) == 1
