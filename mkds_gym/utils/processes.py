"""The identity of processes, and the end of processes whose parent has died."""

from __future__ import annotations

import ctypes
import functools
import os
import select
import signal
import threading
from collections.abc import Callable
from multiprocessing import forkserver, parent_process
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PARENT_DIED: Final = 1
"""Exit status of a process that ended because its parent died."""

before_sudden_end: Final[list[Callable[[], object]]] = []
"""Called before a process ends because its parent died; atexit functions are not."""

_watched_by: int | None = None
"""The process that watches its parent; a forked child is another one."""


def start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if it does not run.

    A process id is used again after its process ends; id and start time together are unique until
    the next boot. A zombie does not run.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is a name in brackets, which may contain brackets and spaces.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def pid_namespace() -> int:
    """Return the number of this process's PID namespace; 0 if the system has none.

    A process id is valid only within its namespace, for example within one container.
    """
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return 0


@functools.cache
def boot_id() -> str:
    """Return eight hexadecimal digits that identify the host and its last boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        return "0" * 8


def signal_if_parent_dies(number: int = signal.SIGCONT) -> None:
    """Ask the system for a signal to this process when its parent ends.

    The system also sends the signal when only the thread ends that started this process. So a
    deadly signal is right only if that thread waits for this process. SIGCONT continues a stopped
    process, and a running one ignores the signal.

    Args:
        number: the signal.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, int(number))


def end_with_parent() -> None:
    """End this process when its parent ends, even if this process is stopped then.

    Only a child process of `multiprocessing` does so. A second call does nothing.
    """
    global _watched_by
    parent = parent_process()
    if parent is None or parent.pid is None or _watched_by == os.getpid():
        return
    _watched_by = os.getpid()
    signal_if_parent_dies()
    # A fork server, which is the parent for the system, gives each process a pipe that would keep
    # the server alive after the end of the process that started it.
    server = getattr(forkserver, "_forkserver", None)
    if (alive := getattr(server, "_forkserver_alive_fd", None)) is not None:
        setattr(server, "_forkserver_alive_fd", None)  # noqa: B010
        os.close(alive)
    poll = select.poll()
    # The end of an inherited pipe. Forked siblings may keep the other end open, so it is not enough
    # where the system has descriptors of processes.
    poll.register(parent.sentinel, select.POLLIN)
    try:
        poll.register(os.pidfd_open(parent.pid), select.POLLIN)
    except ProcessLookupError:
        _end()
    except (AttributeError, OSError):
        pass
    thread = threading.Thread(target=_wait, args=(poll,), name="mkds-parent", daemon=True)
    try:
        thread.start()
    except (RuntimeError, MemoryError):  # no more threads: the next call tries again
        _watched_by = None


def _wait(poll: select.poll) -> None:
    poll.poll()
    _end()


def _end() -> None:
    try:
        for function in before_sudden_end:
            function()
    finally:
        os._exit(_PARENT_DIED)
