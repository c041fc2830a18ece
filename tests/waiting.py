"""Wait for other processes and threads."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"the condition did not hold within {seconds} s"
        time.sleep(0.02)


def exit_status(child: int, seconds: float = 60.0) -> int:
    """Wait for a forked child, and return its status as of `os.waitpid`."""
    ended: list[int] = []

    def has_ended() -> bool:
        pid, status = os.waitpid(child, os.WNOHANG)
        ended.append(status)
        return pid == child

    until(has_ended, seconds)
    return ended[-1]


@contextlib.contextmanager
def interrupted_when(condition: Callable[[], object]) -> Iterator[None]:
    """Press Ctrl-C once a condition holds, and expect it to end the body."""
    main = threading.main_thread()
    assert threading.current_thread() is main
    over = threading.Event()

    def press() -> None:
        while not over.is_set():
            if condition():
                assert main.ident is not None
                signal.pthread_kill(main.ident, signal.SIGINT)
                return
            time.sleep(0.0005)

    thread = threading.Thread(target=press)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        over.set()
        thread.join()
