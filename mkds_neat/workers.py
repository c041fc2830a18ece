"""Pools of workers that drive episodes: processes, or threads of this process.

Workers are numbered from 0. Each has a loop, `mkds_neat.rollout.drive`, which takes tasks in order
and answers with messages (see `mkds_neat.episode`).
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing import connection, resource_tracker
from queue import Empty, SimpleQueue
from typing import Any, Final

from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from mkds_neat.episode import Ended, Message, Task
from mkds_neat.lanes import LanesFactory
from mkds_neat.rollout import drive

_CLOSE_TIMEOUT: Final = 5.0
"""Seconds that a terminated worker process has to close its console before it is killed."""

Messages = list[tuple[int, Message]]


def _drive(factory: LanesFactory, worker: int, receive: Any, send: Any) -> None:
    """Drive episodes to the end, and report an error."""
    try:
        drive(factory, worker, receive, send)
    except Exception as error:
        with contextlib.suppress(OSError):  # the parent has ended
            send(Ended(f"{type(error).__name__}: {error}", traceback.format_exc()))


class ThreadPool:
    """Workers that are threads of this process. The emulator releases Python's global lock.

    Args:
        factory: Makes the lanes.
        count: Number of workers.
    """

    processes: Final[list[Any]] = []

    def __init__(self, factory: LanesFactory, count: int) -> None:
        self._factory = factory
        self._messages: SimpleQueue[tuple[int, Message]] = SimpleQueue()
        self._tasks: dict[int, SimpleQueue[Sequence[Task] | None]] = {}
        self._threads: dict[int, threading.Thread] = {}
        for worker in range(count):
            self.restart(worker)

    def restart(self, worker: int) -> None:
        """Start a worker, or start it again after it has ended."""
        tasks: SimpleQueue[Sequence[Task] | None] = SimpleQueue()

        def receive(wait: bool) -> Sequence[Task]:
            try:
                received = tasks.get(wait)
            except Empty:
                return ()
            if received is None:
                raise EOFError
            return received

        def send(message: Message) -> None:
            self._messages.put((worker, message))

        self._tasks[worker] = tasks
        self._threads[worker] = threading.Thread(
            target=_drive,
            args=(self._factory, worker, receive, send),
            name=f"mkds-neat-{worker}",
            daemon=True,
        )
        self._threads[worker].start()

    def send(self, worker: int, tasks: Sequence[Task]) -> None:
        """Give tasks to a worker."""
        self._tasks[worker].put(tasks)

    def receive(self, timeout: float) -> Messages:
        """Return messages with the numbers of their workers; wait for the first one."""
        messages: Messages = []
        with contextlib.suppress(Empty):
            messages.append(self._messages.get(timeout=timeout))
            while True:
                messages.append(self._messages.get_nowait())
        return messages

    def shut_down(self) -> None:
        """End the threads, after the step that they are in."""
        for tasks in self._tasks.values():
            tasks.put(None)
        for thread in self._threads.values():
            thread.join()


def serve(factory: LanesFactory, worker: int, _env: Any, pipe: Any, parent: Any, *_: Any) -> None:
    """Drive the episodes of a worker process: the ``worker`` of `AsyncVectorEnv`."""
    # Ctrl-C reaches the whole process group, but only the parent acts on it. A terminated worker
    # still closes its console and removes its files.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    parent.close()

    def receive(wait: bool) -> Sequence[Task]:
        received: list[Task] = []
        while (wait and not received) or pipe.poll():
            command, tasks = pipe.recv()
            if command == "close":
                raise EOFError
            received += tasks
        return received

    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the parent has ended
        _drive(factory, worker, receive, pipe.send)
    pipe.close()


# Without type arguments, which Gymnasium accepts only from 1.4 on.
class ProcessPool(AsyncVectorEnv):
    """Workers that are processes. One that has ended can be started again, alone.

    Args:
        factory: Makes the lanes.
        count: Number of workers.
        start_method: Start method of `multiprocessing`.
    """

    def __init__(self, factory: LanesFactory, count: int, start_method: str) -> None:
        # `shut_down` needs these if the base class fails.
        self.parent_pipes: list[Any] = []
        self.processes: list[Any] = []
        self._context: Any = multiprocessing.get_context(start_method)
        self._serve = functools.partial(serve, factory)
        if start_method == "forkserver":
            # The server imports the environment once, and each worker is a quick fork of it.
            self._context.set_forkserver_preload(["mkds_neat.rollout", "mkds_gym.vector.env"])
        if start_method != "fork":
            # Starting the tracker unblocks SIGINT; the tracker must run before SIGINT is blocked.
            resource_tracker.ensure_running()
        try:
            with _blocked_interrupt():
                super().__init__(
                    [factory] * count,
                    shared_memory=False,
                    copy=False,
                    context=start_method,
                    worker=self._serve,
                    autoreset_mode=AutoresetMode.DISABLED,
                )
        except BaseException:
            self.shut_down()
            raise

    def _check_spaces(self) -> None:
        """Do nothing: the workers report by themselves when they have started."""

    def restart(self, worker: int) -> None:
        """Start a worker again after it has ended, or kill it before."""
        self.parent_pipes[worker].close()
        old = self.processes[worker]
        old.kill()
        old.join()
        self.parent_pipes[worker], child = self._context.Pipe()
        arguments = (worker, None, child, self.parent_pipes[worker])
        with _blocked_interrupt():
            process = self._context.Process(target=self._serve, args=arguments, daemon=True)
            process.start()
        self.processes[worker] = process
        child.close()

    def send(self, worker: int, tasks: Sequence[Task]) -> None:
        """Give tasks to a worker. `receive` tells if the worker has ended."""
        with contextlib.suppress(OSError):
            self.parent_pipes[worker].send(("drive", tasks))

    def receive(self, timeout: float) -> Messages:
        """Return messages with the numbers of their workers; wait for the first one.

        A worker whose process has ended gives `Ended`, until it is started again.
        """
        messages: Messages = []
        ready: list[Any] = connection.wait(self.parent_pipes, timeout)
        for pipe in ready:
            worker = self.parent_pipes.index(pipe)
            try:
                messages.append((worker, pipe.recv()))
            except (EOFError, OSError):
                self.processes[worker].join(0.5)
                code = self.processes[worker].exitcode
                messages.append((worker, Ended(f"its process ended with exit code {code}")))
        return messages

    def shut_down(self) -> None:
        """End the worker processes.

        ``AsyncVectorEnv.close()`` would wait without a limit for a worker that has ended.
        """
        for pipe in self.parent_pipes:
            with contextlib.suppress(OSError):  # that worker has ended
                pipe.send(("close", None))
        deadline = time.monotonic() + _CLOSE_TIMEOUT
        # A message may fill the pipe; reading it lets the worker continue.
        for pipe in self.parent_pipes:
            with contextlib.suppress(EOFError, OSError):
                while pipe.poll(max(0.0, deadline - time.monotonic())):
                    pipe.recv_bytes()
        # A process that was never started has no pid and cannot be joined.
        processes = [process for process in self.processes if process.pid is not None]
        for process in processes:
            process.join(0.2)
            if process.is_alive():
                process.terminate()
        for process in processes:
            process.join(max(0.5, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        for pipe in self.parent_pipes:
            pipe.close()
        if hasattr(self, "error_queue"):
            self.error_queue.close()
            self.error_queue.join_thread()
        self.closed = True


@contextlib.contextmanager
def _blocked_interrupt() -> Iterator[None]:
    """Block SIGINT while processes start.

    Ctrl-C reaches the whole process group. The workers, and the server that forks them, inherit the
    blocked signal, which would kill them during their imports, before `serve` can ignore it.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


WorkerPool = ThreadPool | ProcessPool
