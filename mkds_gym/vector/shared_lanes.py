"""Lanes whose environments share consoles: their frames run together.

A lane yields the frames that it wants to drive, and goes on when they have run. Environments with
wrappers run in threads, of which only one runs at a time, because a call through wrappers cannot
be left in the middle otherwise.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

from mkds_gym.episodes.shared_console import FrameRequest, SharedConsole
from mkds_gym.errors import ConcurrentCallError
from mkds_gym.vector.lanes import Lane
from mkds_gym.vector.threads import start_thread


class SharedLane(Lane):
    """A lane with one driver of a shared console."""

    _thread: LaneThread | None = None

    def _reset_into(
        self, seed: int | None, options: dict[str, Any] | None
    ) -> Generator[FrameRequest, None, dict[str, Any]]:
        with self.core.turn("reset"):
            self.core.observation_builder.check(self._row)
            request = self.core.begin_reset(seed, options)
            yield from _frames(request)
            return self.core.finish_reset(request, self._row)

    def _step_into(
        self, action: Any
    ) -> Generator[FrameRequest, None, tuple[float, bool, bool, dict[str, Any]]]:
        with self.core.turn("step"):
            request = self.core.begin_step(action)
            yield from _frames(request)
            return self.core.finish_step(request, self._row)

    def _call(self, method: Callable[[], Any]) -> Generator[FrameRequest, None, Any]:
        if self._thread is None:
            self._thread = LaneThread(f"mkds-lane-{self.index}")
            weakref.finalize(self, self._thread.close).atexit = False
        assert self.shared is not None
        return (yield from self._thread.run(method, self.shared))

    def close(self) -> None:
        """Close the environment, and end its thread."""
        if self._thread is not None:
            self._thread.close()
            self._thread = None
        super().close()


def _frames(request: FrameRequest) -> Iterator[FrameRequest]:
    if not request.alone:
        yield request
        if request.error is not None:
            raise request.error


def run_together(
    lanes: Sequence[Lane],
    task: Callable[[Lane], Iterator[FrameRequest] | None],
    failures: dict[int, Exception],
) -> None:
    """Run a task for each of some lanes of one console.

    Args:
        lanes: lanes of one console, or one lane that shares none.
        task: does its work when called, or yields the frames that a lane waits for.
        failures: receives what the tasks raised, by index of the lane.
    """
    shared = lanes[0].shared
    waiting: dict[FrameRequest, tuple[Lane, Iterator[FrameRequest]]] = {}

    def go_on(lane: Lane, frames: Iterator[FrameRequest]) -> None:
        try:
            request = next(frames, None)
        except Exception as error:
            failures[lane.index] = error
        else:
            if request is not None:
                waiting[request] = lane, frames

    try:
        for lane in lanes:
            try:
                frames = task(lane)
            except Exception as error:
                failures[lane.index] = error
                continue
            if frames is not None:
                go_on(lane, frames)
        while waiting:
            assert shared is not None
            try:
                done = shared.advance(list(waiting))
            except ConcurrentCallError as error:  # a thread calls one of the environments
                failures.update((lane.index, error) for lane, _ in waiting.values())
                return
            for request in done:
                go_on(*waiting.pop(request))
    finally:  # Ctrl-C
        for _, frames in waiting.values():
            frames.close()  # type: ignore[attr-defined]


class _Cancelled(BaseException):
    """Ends a call that waits for frames."""


class LaneThread:
    """A thread for calls that wait for frames in the middle.

    Either this thread runs, or the thread that iterates over `run`, but never both.

    Args:
        name: name of the thread.

    Raises:
        VectorEnvError: the system starts no more threads.
    """

    def __init__(self, name: str) -> None:
        self._process = os.getpid()
        self._resume = threading.Semaphore(0)
        self._paused = threading.Semaphore(0)
        self._method: Callable[[], Any] | None = None
        self._request: FrameRequest | None = None
        self._result: Any = None
        self._error: BaseException | None = None
        self._cancelled = False
        self._running = False
        self._done = True
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        start_thread(self._thread)

    def run(
        self, method: Callable[[], Any], shared: SharedConsole
    ) -> Generator[FrameRequest, None, Any]:
        """Call a method; yield the frames that it waits for, and return its result."""
        self._method, self._done, self._cancelled = method, False, False
        self._result = self._error = None
        try:
            while True:
                shared.wait = self._wait
                try:
                    self._switch()
                finally:
                    shared.wait = None
                if self._done:
                    break
                assert self._request is not None
                yield self._request
        finally:  # the caller may have been interrupted anywhere
            self._cancelled = True
            while self._running or not self._done:
                self._switch()
        result, error = self._result, self._error
        self._result = self._error = None
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        """End the thread."""
        if os.getpid() == self._process:  # a forked child does not have the thread
            self._method = None
            self._resume.release()

    def _switch(self) -> None:
        """Let the thread run until it waits for frames or is done."""
        if not self._running:
            self._running = True
            self._resume.release()
        self._paused.acquire()
        self._running = False

    def _wait(self, request: FrameRequest) -> None:
        if threading.current_thread() is not self._thread:
            return  # a thread of the user calls the environment
        self._request = request
        self._paused.release()
        self._resume.acquire()
        if self._cancelled:
            raise _Cancelled

    def _serve(self) -> None:
        while True:
            self._resume.acquire()
            method, self._method = self._method, None
            if method is None:
                return
            try:
                self._result = method()
            except BaseException as error:
                self._error = error
            del method
            self._done = True
            self._paused.release()
