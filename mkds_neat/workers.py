"""Pools of workers that drive episodes: processes, or threads of this process.

Workers are numbered from 0. Each has a loop, `mkds_neat.rollout.drive`, which takes tasks in order
and answers with messages (see `mkds_neat.episode`). `mkds_neat.cluster` has workers on other
machines.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import multiprocessing
import os
import pickle
import signal
import struct
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import connection, resource_tracker
from multiprocessing.reduction import ForkingPickler
from queue import Empty, SimpleQueue
from typing import Any, Final, Protocol

from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from mkds_gym.utils.leftovers import own_semaphores, own_sockets, remove_leftover_folders
from mkds_gym.utils.portable_errors import describe, traceback_of
from mkds_gym.utils.processes import end_with_parent
from mkds_neat.episode import Ended, Message, Task
from mkds_neat.lanes import LanesFactory
from mkds_neat.main_module import REMEDY, check_main_module
from mkds_neat.rollout import drive

_LOG = logging.getLogger(__name__)

_CLOSE_TIMEOUT: Final = 0.6
"""Seconds that workers have to end when they are asked to, and again when they are terminated.
Ctrl-C must end the run within two seconds."""
_CHUNK: Final = 1 << 20
"""Bytes that are read from a pipe at once."""

_FOR_PARENT: Final = (signal.SIGINT, signal.SIGHUP)

Messages = list[tuple[int, Message]]


class WorkerPool(Protocol):
    """Workers, numbered from 0, that drive episodes."""

    @property
    def processes(self) -> list[Any]:
        """Worker processes that are children of this process."""

    @property
    def needs_all(self) -> bool:
        """Whether an evaluation begins only when all workers have started."""

    @property
    def look_ahead(self) -> int:
        """Tasks that a worker gets beyond its lanes while many wait."""

    def restart(self, worker: int) -> None:
        """Start a worker again after it has ended, or end it before."""

    def send(self, worker: int, tasks: Sequence[Task]) -> None:
        """Give tasks to a worker."""

    def receive(self, timeout: float) -> Messages:
        """Return messages with the numbers of their workers; wait for the first one."""

    def shut_down(self) -> None:
        """End the workers."""


def _drive(factory: LanesFactory, worker: int, receive: Any, send: Any) -> None:
    """Drive episodes to the end, and report an error, of whatever kind."""
    try:
        drive(factory, worker, receive, send)
    except BaseException as error:
        in_thread = threading.current_thread() is not threading.main_thread()
        if isinstance(error, SystemExit) and not in_thread:
            raise  # SIGTERM
        with contextlib.suppress(OSError):  # the parent has ended
            send(Ended(describe(error), traceback_of(error)))


class ThreadPool:
    """Workers that are threads of this process. The emulator releases Python's global lock.

    Args:
        factory: Makes the lanes.
        count: Number of workers.
    """

    processes: Final[list[Any]] = []
    needs_all: Final = True
    look_ahead: Final = 1

    def __init__(self, factory: LanesFactory, count: int) -> None:
        self._factory = factory
        self._messages: SimpleQueue[tuple[int, Message]] = SimpleQueue()
        self._tasks: dict[int, SimpleQueue[Sequence[Task] | None]] = {}
        self._threads: dict[int, threading.Thread] = {}
        try:
            for worker in range(count):
                self.restart(worker)
        except BaseException:
            self.shut_down()
            raise

    def restart(self, worker: int) -> None:
        """Start a worker, or start it again after it has ended.

        Raises:
            RuntimeError: The system starts no more threads.
        """
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

        thread = threading.Thread(
            target=_drive,
            args=(self._factory, worker, receive, send),
            name=f"mkds-neat-{worker}",
            daemon=True,
        )
        thread.start()
        self._tasks[worker], self._threads[worker] = tasks, thread

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
        """End the threads, after the step that they are in.

        A thread that hangs in custom code stays until the process ends.
        """
        for tasks in self._tasks.values():
            tasks.put(None)
        deadline = time.monotonic() + _CLOSE_TIMEOUT
        for thread in self._threads.values():
            thread.join(max(0.0, deadline - time.monotonic()))
        hanging = [thread.name for thread in self._threads.values() if thread.is_alive()]
        if hanging:
            _LOG.warning(
                "%s: in a step, or loading a course, after %s seconds; left behind to end alone",
                ", ".join(hanging),
                _CLOSE_TIMEOUT,
            )


def serve(
    factory: LanesFactory,
    variables: Mapping[str, str],
    worker: int,
    _env: Any,
    pipe: Any,
    parent: Any,
    *_: Any,
) -> None:
    """Drive the episodes of a worker process: the ``worker`` of `AsyncVectorEnv`.

    Args:
        factory: Makes the lanes.
        variables: Environment variables of the parent. Those of a fork server are as old as it.
        worker: Number of the worker.
        pipe: Connection to the parent.
        parent: The parent's end of it.
    """
    end_with_parent()
    os.environ.clear()
    os.environ.update(variables)
    # Ctrl-C and the end of a terminal reach the whole process group, but only the parent acts on
    # them. A terminated worker still closes its console and removes its files.
    for number in _FOR_PARENT:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _exit)
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
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the process ends by itself
    pipe.close()


def _exit(number: int, _frame: object) -> None:
    # A later signal would interrupt the end of the interpreter, which prints a traceback then.
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


class Channel:
    """The parent's end of a worker's pipe. No call waits for the worker.

    `multiprocessing.connection.Connection` waits without end for the rest of a message of a worker
    that was stopped, and for room in the pipe.

    Args:
        pipe: The connection, with the other end of which a worker uses `Connection`.
    """

    _LENGTH: Final = struct.Struct("!i")
    """Head of a message of `Connection`; -1 stands before the head of a very long one."""
    _LONG_LENGTH: Final = struct.Struct("!Q")

    def __init__(self, pipe: Any) -> None:
        self._file: int = pipe.fileno()
        os.set_blocking(self._file, False)
        self._incoming = bytearray()
        self._outgoing = bytearray()

    def send(self, message: Any) -> None:
        """Send a message now, or its rest with `flush`.

        Raises:
            OSError: The worker has ended.
        """
        data = ForkingPickler.dumps(message)
        self._outgoing += self._LENGTH.pack(len(data)) + data
        self.flush()

    def flush(self) -> None:
        """Send what the pipe has room for.

        Raises:
            OSError: The worker has ended.
        """
        with contextlib.suppress(BlockingIOError):
            while self._outgoing:
                del self._outgoing[: os.write(self._file, self._outgoing)]

    def receive(self) -> list[Any]:
        """Return the messages that have arrived completely.

        Raises:
            EOFError, OSError: The worker has ended.
            Exception: A message cannot be unpickled.
        """
        with contextlib.suppress(BlockingIOError):
            read = os.read(self._file, _CHUNK)
            if not read:
                raise EOFError
            self._incoming += read
        messages = []
        while (message := self._next()) is not None:
            messages.append(pickle.loads(message))
        return messages

    def _next(self) -> bytes | None:
        """Take the first message out of what was read, if it is complete."""
        head, data = self._LENGTH, self._incoming
        if len(data) < head.size:
            return None
        (length,) = head.unpack_from(data)
        start = head.size
        if length < 0:
            if len(data) < start + self._LONG_LENGTH.size:
                return None
            (length,) = self._LONG_LENGTH.unpack_from(data, start)
            start += self._LONG_LENGTH.size
        if len(data) < start + length:
            return None
        message = bytes(data[start : start + length])
        del data[: start + length]
        return message


# Without type arguments, which Gymnasium accepts only from 1.4 on.
class ProcessPool(AsyncVectorEnv):
    """Workers that are processes. One that has ended can be started again, alone.

    Args:
        factory: Makes the lanes.
        count: Number of workers.
        start_method: Start method of `multiprocessing`.

    Raises:
        EvaluationError: A worker process that imports the main module makes a pool.
    """

    needs_all: Final = True
    look_ahead: Final = 1

    def __init__(self, factory: LanesFactory, count: int, start_method: str) -> None:
        # `shut_down` needs these if the base class fails.
        self.parent_pipes: list[Any] = []
        self.processes: list[Any] = []
        self._channels: list[Channel] = []
        check_main_module()
        remove_leftover_folders()
        own_semaphores()
        self._context: Any = multiprocessing.get_context(start_method)
        self._serve = functools.partial(serve, factory, dict(os.environ))
        self._imports_main = start_method != "fork"
        if start_method == "forkserver":
            own_sockets()
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
            self._channels = [Channel(pipe) for pipe in self.parent_pipes]
        except BaseException:
            self.shut_down()
            raise

    @property
    def error_queue(self) -> Any:
        """None: the base class makes a queue, which is dropped at once, as the pipes suffice.

        The system keeps the semaphores of a queue if the whole process group is killed.
        """

    @error_queue.setter
    def error_queue(self, queue: Any) -> None:
        queue.close()

    def _check_spaces(self) -> None:
        """Do nothing: the workers report by themselves when they have started."""

    def restart(self, worker: int) -> None:
        """Start a worker again after it has ended, or kill it before."""
        old = self.processes[worker]
        old.kill()
        old.join(_CLOSE_TIMEOUT)
        parent, child = self._context.Pipe()
        # The channel of a closed pipe would write to the next file with its number.
        self._channels[worker] = Channel(parent)
        self.parent_pipes[worker].close()
        self.parent_pipes[worker] = parent
        arguments = (worker, None, child, parent)
        with contextlib.closing(child), _blocked_interrupt():
            process = self._context.Process(target=self._serve, args=arguments, daemon=True)
            process.start()
        self.processes[worker] = process

    def send(self, worker: int, tasks: Sequence[Task]) -> None:
        """Give tasks to a worker. `receive` tells if the worker has ended."""
        with contextlib.suppress(OSError):
            self._channels[worker].send(("drive", tasks))

    def receive(self, timeout: float) -> Messages:
        """Return messages with the numbers of their workers; wait for the first one.

        A worker whose process has ended gives `Ended`, until it is started again.
        """
        messages: Messages = []
        ready: list[Any] = connection.wait(self.parent_pipes, timeout)
        for worker, channel in enumerate(self._channels):
            with contextlib.suppress(OSError):
                channel.flush()
            if self.parent_pipes[worker] not in ready:
                continue
            try:
                messages += [(worker, message) for message in channel.receive()]
            except (EOFError, OSError):
                self.processes[worker].join(0.5)
                code = self.processes[worker].exitcode
                text = f"its process ended with exit code {code}"
                if code == 1 and self._imports_main:  # Python's exit code after an exception
                    text += f" (a worker imports the main module: in a script, {REMEDY})"
                messages.append((worker, Ended(text)))
            except Exception as error:
                messages.append((worker, Ended(f"its answer cannot be read: {describe(error)}")))
        return messages

    def shut_down(self) -> None:
        """End the worker processes: ask them, terminate them, and kill them.

        ``AsyncVectorEnv.close()`` would wait without a limit for a worker that has ended.
        """
        for channel in self._channels:
            with contextlib.suppress(OSError):  # that worker has ended
                channel.send(("close", None))
        # A process that was never started has no pid and cannot be joined.
        processes = [process for process in self.processes if process.pid is not None]
        for end in (None, "terminate", "kill"):
            for process in processes:
                if end and process.is_alive():
                    getattr(process, end)()
            self._wait_for_end(processes)
        for pipe in self.parent_pipes:
            pipe.close()
        self.closed = True

    def _wait_for_end(self, processes: Sequence[Any]) -> None:
        """Wait until processes have ended, but not longer than `_CLOSE_TIMEOUT`."""
        deadline = time.monotonic() + _CLOSE_TIMEOUT
        while alive := [process for process in processes if process.is_alive()]:
            for channel in self._channels:  # a message may fill the pipe
                with contextlib.suppress(Exception):
                    channel.receive()
            left = deadline - time.monotonic()
            if left <= 0:
                return
            connection.wait([process.sentinel for process in alive], min(left, 0.02))


@contextlib.contextmanager
def _blocked_interrupt() -> Iterator[None]:
    """Block SIGINT and SIGHUP while processes start.

    They reach the whole process group. The workers, and the server that forks them, inherit the
    blocked signals, which would kill them during their imports, before `serve` can ignore them.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_PARENT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
