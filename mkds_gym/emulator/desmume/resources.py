"""What a console needs from the system, checked before the emulator runs into its absence."""

from __future__ import annotations

import mmap
import threading
from typing import Final

from mkds_gym.errors import ConsoleError, reason

LOADING_SPACE: Final = 400 << 20
"""Bytes of address space for an image, its heap, and the stacks and heaps of its threads."""
FIRST_SPACE: Final = 1000 << 20
"""The same for the first console of a process, with system libraries and the first environment."""
WAKING_SPACE: Final = 150 << 20
"""Bytes of address space for an image that is loaded already."""
THREADS: Final = 6
"""Threads of a console."""


def check_resources(space: int) -> None:
    """Check that the emulator can allocate memory and start its threads.

    The emulator itself crashes or waits without end if it cannot.

    Raises:
        ConsoleError: there is not enough memory, or there are too many threads.
    """
    go_on = threading.Event()
    threads = [threading.Thread(target=go_on.wait, daemon=True) for _ in range(THREADS)]
    started = []
    try:
        with mmap.mmap(-1, space, prot=mmap.PROT_READ):
            for thread in threads:
                thread.start()
                started.append(thread)
    except (OSError, RuntimeError, MemoryError) as error:
        raise no_resources(error) from error
    finally:
        go_on.set()
        for thread in started:
            thread.join()


def no_resources(error: BaseException) -> ConsoleError:
    """Return the error that says what a console needs, and why it is not there."""
    return ConsoleError(
        f"cannot start the emulator, which needs {FIRST_SPACE >> 20} MB of address space, "
        f"{LOADING_SPACE >> 20} MB for each further console, {THREADS} threads and some open "
        f"files: {reason(error)}; raise the limits (ulimit -v, ulimit -u, ulimit -n), or make "
        "fewer consoles"
    )
