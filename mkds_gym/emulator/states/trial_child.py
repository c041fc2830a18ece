"""The child process in which states are tried; see `mkds_gym.emulator.states.trial`."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mkds_gym.emulator.console import Console, Keys
from mkds_gym.emulator.desmume.loader import LIBRARY_VARIABLE
from mkds_gym.emulator.states.state_layout import Layout
from mkds_gym.emulator.states.trial import TrialRequest
from mkds_gym.utils.child import answer_parent

_FRAMES: Final = 20
"""Frames that a state runs with each of `_KEYS`, without a picture."""
_KEYS: Final = (Keys.A, Keys.A | Keys.R | Keys.LEFT, Keys(0), Keys.START, Keys.B | Keys.L)
_DRAWN_FRAMES: Final = 4
"""Frames that it runs with a picture."""
_PROCESSOR_TIME: Final = 4.0
"""Seconds of processor time for a state. A good one takes two tenths."""
_MEMORY: Final = 512 << 20
"""Bytes that the states may allocate."""


def try_states(request: TrialRequest) -> Iterator[str]:
    """Yield "" when the console is ready, then what is wrong with each state; "" if nothing is."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ[LIBRARY_VARIABLE] = str(request.library)
    with Console(request.cartridge, jit=request.jit) as console:
        layout = Layout(console.snapshot().data)
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
        limit = pages * resource.getpagesize() + _MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        yield ""
        for state in request.states:
            problem = layout.fault(state)
            if not problem:
                # Its signal ends the process.
                signal.setitimer(signal.ITIMER_PROF, _PROCESSOR_TIME)
                problem = _load_and_run(console, state)
                signal.setitimer(signal.ITIMER_PROF, 0)
            yield problem


def _load_and_run(console: Console, state: bytes) -> str:
    library = console.library
    with _printed() as printed:
        try:
            accepted = library.load(state)
        except MemoryError:
            return f"the emulator needs more than {_MEMORY >> 20} MiB for it"
    if not accepted or printed:
        return ": ".join(["the emulator refused it", *printed])
    if library.drawing is not None:
        library.drawing.reset()
    for keys in _KEYS:
        console.step(keys, _FRAMES, draw=False)
    console.step(0, _DRAWN_FRAMES)
    console.screen("both")
    return ""


@contextlib.contextmanager
def _printed() -> Iterator[list[str]]:
    """Yield a list of what is printed in the body, filled afterwards. A good load prints nothing.

    The emulator loads the rest of a state after it has printed that there was an error.
    """
    flush = ctypes.CDLL(None).fflush
    printed: list[str] = []
    with tempfile.TemporaryFile() as file:
        saved = [os.dup(1), os.dup(2)]
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            yield printed
        finally:
            flush(None)
            for number, copy in zip((1, 2), saved, strict=True):
                os.dup2(copy, number)
                os.close(copy)
        file.seek(0)
        printed += [" ".join(file.read(1000).decode("utf-8", "replace").split())]
    printed[:] = filter(None, printed)


if __name__ == "__main__":
    answer_parent(try_states)
