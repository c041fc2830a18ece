"""A few threads that share out a round of small tasks, again and again, with little ado.

`concurrent.futures` makes an object with a lock and a condition for each task; a round here costs
one queue entry a thread. That matters where a task takes a millisecond and there are a thousand
rounds a second (see docs/development.md for what each costs).
"""

from __future__ import annotations

import itertools
import math
import os
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Final


class _Round:
    """One call of `ThreadPool.run`: whoever is free takes the next task.

    Attributes:
        error: what a task raised first. No task begins after that.
    """

    def __init__(self, task: Callable[[int], object], count: int) -> None:
        self.task = task
        self.count = count
        self.error: BaseException | None = None
        # Next numbers: taking one is a single step of the interpreter, and so needs no lock.
        self.take = itertools.count().__next__
        self.finish = itertools.count(1).__next__
        self.finished = threading.Lock()
        self.finished.acquire()

    def work(self) -> None:
        """Take tasks until there are none."""
        task, count = self.task, self.count
        while (number := self.take()) < count:
            if self.error is None:
                try:
                    task(number)
                except BaseException as error:  # also what ends a thread: the round must end
                    self.error = self.error or error
            if self.finish() == count:
                self.finished.release()

    def cancel(self) -> None:
        """No task begins any more."""
        for _ in range(self.count):
            self.take()


class ThreadPool:
    """Threads that wait for rounds of tasks; the thread that calls `run` works along.

    Args:
        threads: how many work on a round, the caller included: with 1 there is no other thread.
        name: of the threads, for debuggers.
    """

    def __init__(self, threads: int, name: str) -> None:
        self.threads: Final = threads
        self._queues: list[SimpleQueue[_Round | threading.Event | None]] = []
        self._members: list[threading.Thread] = []
        for number in range(1, threads):
            queue: SimpleQueue[_Round | threading.Event | None] = SimpleQueue()
            # Daemons, as an interpreter that ends would else wait for them for ever.
            member = threading.Thread(
                target=_serve, args=(queue,), name=f"{name}-{number}", daemon=True
            )
            self._queues.append(queue)
            self._members.append(member)
            member.start()

    def run(self, task: Callable[[int], object], count: int) -> None:
        """Call ``task`` with 0 to ``count - 1``, each once, and return when all have returned.

        Raises:
            BaseException: what a task raised first, whichever thread it ran in, or what reached
                this thread meanwhile (Ctrl-C). No task runs any more then, but some may never have
                begun, and one may have been left half way.
        """
        if not self._queues or count <= 1:
            for number in range(count):
                task(number)
            return
        work = _Round(task, count)
        try:
            for queue in self._queues[: count - 1]:
                queue.put(work)
            work.work()
            work.finished.acquire()
        except BaseException:
            while True:
                try:
                    work.cancel()
                    self._wait_idle()
                    break
                except KeyboardInterrupt:
                    continue  # again: what the threads are at ends all the same, and is awaited
            raise
        if work.error is not None:
            try:
                raise work.error
            finally:
                work.error = None  # else it would hold itself, and all that the task holds

    def _wait_idle(self) -> None:
        """Wait until no thread is at a task."""
        events = []
        for queue in self._queues:
            event = threading.Event()
            events.append(event)
            queue.put(event)
        for event in events:
            event.wait()

    def close(self) -> None:
        """End the threads, after the tasks they are at."""
        for queue in self._queues:
            queue.put(None)
        for member in self._members:
            if member is not threading.current_thread():
                member.join()
        self._queues.clear()
        self._members.clear()


def _serve(queue: SimpleQueue[_Round | threading.Event | None]) -> None:
    """What a thread of the pool does. It holds no reference to the pool."""
    while (order := queue.get()) is not None:
        if isinstance(order, _Round):
            order.work()
        else:
            order.set()
        del order  # the task may hold what shall be collected


def usable_cores(system: Path = Path("/")) -> int:
    """Processor cores that this process may use: by its affinity, and by its container's quota.

    Args:
        system: where ``/proc`` and ``/sys`` are.

    Returns:
        At least 1; part of a core counts as one.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        cores = os.cpu_count() or 1
    groups = system / "sys/fs/cgroup"
    try:
        lines = (system / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # no control groups
        return cores
    for line in lines:
        _, controllers, path = line.split(":", 2)
        # Version 2 has one tree without a name, version 1 one for each controller.
        top, files = groups, ["cpu.max"]
        if "cpu" in controllers.split(","):
            top, files = groups / "cpu", ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        elif controllers:
            continue
        # Whatever is above a group limits it, too; in a container its own is the top.
        own = top / path.strip("/")
        for folder in (own, *own.parents):
            if not folder.is_relative_to(top):
                break
            try:
                quota, period = " ".join((folder / file).read_text() for file in files).split()
                if int(quota) > 0:
                    cores = min(cores, math.ceil(int(quota) / int(period)))
            except (OSError, ValueError):
                continue  # it has no limit ("max"), or no such file
    return max(1, cores)
