"""Processes that measure: each answers questions until it is told to end, or its parent is gone."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any, Final

from benchmarks.report import say

_SECONDS: Final = 600.0
"""How long a process may take to start, or to answer."""
_READY: Final = "ready"
Answer = Callable[[Any], Any]
"""From a question to its answer, neither of them a bare string."""


@dataclass(frozen=True)
class Work:
    """What a process does.

    Attributes:
        title: for people.
        prepare: called in the process, with ``arguments``: a context manager that gives what
            answers. It must be importable.
        arguments: that can be pickled.
    """

    title: str
    prepare: Callable[..., contextlib.AbstractContextManager[Answer]]
    arguments: tuple[Any, ...] = ()


class Process:
    """A process, seen from its parent."""

    def __init__(self, work: Work) -> None:
        self._title = work.title
        self._pipe, there = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(work, there)
        )
        self._process.start()
        there.close()

    def ask(self, question: Any) -> Any:
        """Ask, and wait for the answer.

        Raises:
            RuntimeError: the process failed; the message says what with.
        """
        self.put(question)
        return self.answer()

    def put(self, question: Any) -> None:
        """Ask, and go on: `answer` waits."""
        self._pipe.send(question)

    def answer(self) -> Any:
        """Wait for an answer; see `ask`."""
        if not self._pipe.poll(_SECONDS):
            raise RuntimeError(f"{self._title}: no answer within {_SECONDS:.0f} s")
        try:
            answer = self._pipe.recv()
        except (EOFError, ConnectionError):
            raise RuntimeError(f"{self._title}: the process has died") from None
        if isinstance(answer, str) and answer != _READY:
            raise RuntimeError(f"{self._title}: {answer}")
        return answer

    def ask_to_end(self) -> None:
        """Tell the process that nothing more is wanted."""
        with contextlib.suppress(OSError):  # it may be gone already
            self._pipe.send(None)
            self._pipe.close()

    def end(self, patience: float) -> None:
        """Wait for the end, ``patience`` seconds before it is made to."""
        self._process.join(patience)
        for harder in (self._process.terminate, self._process.kill):
            if self._process.is_alive():
                harder()
                self._process.join(10.0)


@contextlib.contextmanager
def processes(works: Mapping[str, Work]) -> Iterator[dict[str, Process]]:
    """Start processes, one after another, and end them, whatever happens.

    Args:
        works: by a key of the caller's.

    Returns:
        The processes by the same keys, ready to be asked.

    Raises:
        RuntimeError: one of them does not start.
    """
    running: dict[str, Process] = {}
    patience = 0.0
    # Starting the tracker unblocks SIGINT, so it must run before that is blocked.
    resource_tracker.ensure_running()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    try:
        for key, work in works.items():
            say(f"  starting: {work.title}")
            # A Ctrl-C waits until the process knows that it is none of its business.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                running[key] = Process(work)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            running[key].answer()
        yield running
        patience = 60.0
    finally:
        for process in running.values():
            process.ask_to_end()
        for process in running.values():
            process.end(patience)


def _serve(work: Work, pipe: Connection) -> None:
    # Ctrl-C reaches the whole process group, but the parent decides what it means; whatever this
    # process starts inherits that it is ignored. A terminated process still cleans up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        with work.prepare(*work.arguments) as answer:
            pipe.send(_READY)
            while (question := pipe.recv()) is not None:
                pipe.send(answer(question))
    except (EOFError, ConnectionError):
        pass  # the parent is gone, or a worker of ours is, whose message is lost
    except Exception as error:
        with contextlib.suppress(OSError):
            pipe.send(f"{type(error).__name__}: {error}")
        raise
    finally:
        sys.stdout.flush()
