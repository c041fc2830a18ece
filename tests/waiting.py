"""Waiting for what other processes and threads do."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest


def until(true: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


@contextlib.contextmanager
def interrupted_when(true: Callable[[], object]) -> Iterator[None]:
    """Ctrl-C comes, some time after a thing has become true, and ends the block."""
    main = threading.main_thread()
    assert threading.current_thread() is main
    over = threading.Event()

    def press() -> None:
        while not over.is_set():
            if true():
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
