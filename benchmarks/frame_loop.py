"""``python -m benchmarks.frame_loop``: should the frames of a step be run without Python?

Between two frames of a step the race is copied out of memory, for the metrics. `Console.run` does
that in Python. Here it is held against a loop in C (compiled now, with ``cc``) that calls the
emulator and copies the same bytes without coming back, as a loop compiled by Numba would; the
copies are then cut into the same pieces. Measured with the emulator, and, as that takes a hundred
times as long as what is in question, with an emulator that does nothing, or that sleeps a frame
long; in one thread and in several, which have to wait for Python's lock after each frame.
"""

from __future__ import annotations

import argparse
import ctypes
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.report import table
from mkds_gym.emulator.console import Keys
from mkds_gym.env import MKDSEnv
from mkds_gym.race.state import RaceCopy

FRAMES: Final = 4
_SOURCE: Final = """
#include <stddef.h>
#include <string.h>
#include <time.h>
void run(int (*cycle)(int), void (*skip)(void), int frames,
         const char **parts, const size_t *sizes, int count, char *out)
{
    for (int frame = 0; frame < frames; frame++) {
        skip();
        cycle(0);
        for (int part = 0; part < count; part++) {
            memcpy(out, parts[part], sizes[part]);
            out += sizes[part];
        }
    }
}
int nothing(int x) { return x; }
int sleeping(int x) { struct timespec frame = {0, 250000}; nanosleep(&frame, 0); return x; }
"""
_STEPS: Final = {"emulator": 150, "sleeping": 150, "nothing": 2000}
_ROUNDS: Final = 3


def compiled(folder: Path) -> ctypes.CDLL:
    """The loop in C.

    Raises:
        RuntimeError: there is no C compiler.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise RuntimeError("no C compiler: install one that is called cc (apt-get install gcc)")
    source, library = folder / "loop.c", folder / "loop.so"
    source.write_text(_SOURCE)
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(source)]
    subprocess.run(command, check=True)
    loaded = ctypes.CDLL(str(library))
    pointer, number = ctypes.c_void_p, ctypes.c_int
    loaded.run.argtypes = (pointer, pointer, number, pointer, pointer, number, pointer)
    loaded.run.restype = None
    return loaded


class Loops:
    """One environment, whose frames are run in turns by each of the loops.

    Args:
        library: the loop in C.
        emulator: ``emulator``, or the C function that stands in for it.
        seed: of the turns.
    """

    def __init__(self, library: ctypes.CDLL, emulator: str, seed: int) -> None:
        self.env = MKDSEnv()
        self.env.reset(seed=0)
        self._random = random.Random(seed)
        console: Any = self.env.console
        reader: Any = self.env._starts.reader
        if emulator != "emulator":
            console._cycle, console._skip = library[emulator], library["nothing"]
        self._console, self._reader = console, reader
        views = [np.frombuffer(part, np.uint8) for part in reader._live]
        self._addresses = np.array([view.ctypes.data for view in views], np.uint64)
        self._sizes = np.array([view.size for view in views], np.uint64)
        size = sum(view.size for view in views)
        self._out = np.zeros(size * FRAMES, np.uint8)
        self._cuts = [slice(start, start + size) for start in range(0, len(self._out), size)]
        self._arguments = (
            ctypes.cast(console._cycle, ctypes.c_void_p),
            ctypes.cast(console._skip, ctypes.c_void_p),
            FRAMES,
            self._addresses.ctypes.data,
            self._sizes.ctypes.data,
            len(self._sizes),
            self._out.ctypes.data,
        )
        self._run = library.run
        self.microseconds: dict[str, list[float]] = {name: [] for name in self.loops()}

    def loops(self) -> dict[str, Callable[[int], list[RaceCopy]]]:
        """Each loop, by name; it runs the frames and gives the copies."""
        return {"no copies": self._nothing, "Python": self._python, "C": self._c}

    def _nothing(self, keys: int) -> list[RaceCopy]:
        self._console.step(keys, FRAMES, draw=False)
        return []

    def _python(self, keys: int) -> list[RaceCopy]:
        copies: list[RaceCopy] = self._console.run(keys, FRAMES, self._reader.copy)
        return copies

    def _c(self, keys: int) -> list[RaceCopy]:
        if keys != self._console._keys:
            self._console._hold(keys)
        self._run(*self._arguments)
        out = self._out.data
        return [out[cut].tobytes() for cut in self._cuts]

    def drive(self, steps: int) -> None:
        """Run steps, each by a loop drawn by lot, and do what the environment does after it."""
        env, loops = self.env, self.loops()
        for step in range(steps):
            name = self._random.choice(tuple(loops))
            keys = int(Keys.A | Keys.LEFT if step // 8 % 4 == 1 else Keys.A)
            begin = time.perf_counter()
            copies = loops[name](keys)
            self.microseconds[name].append((time.perf_counter() - begin) * 1e6)
            copies = copies or [self._reader.copy()] * FRAMES
            states = [self._reader.race(copied) for copied in copies]
            env.episode_stats.update(states, env.course)
            env.observation_builder.observe(env.console, states[-1], env.course)


def measure(library: ctypes.CDLL, emulator: str, threads: int) -> list[tuple[str, ...]]:
    """Rows of the table for so many environments in as many threads."""
    workers = [Loops(library, emulator, seed) for seed in range(threads)]
    try:
        for _ in range(_ROUNDS):
            for worker in workers:
                worker.env.reset(seed=0)
            started = [
                threading.Thread(target=worker.drive, args=(_STEPS[emulator],))
                for worker in workers
            ]
            for thread in started:
                thread.start()
            for thread in started:
                thread.join()
    finally:
        for worker in workers:
            worker.env.close()
    rows: list[tuple[str, ...]] = []
    for name in workers[0].microseconds:
        times = np.concatenate([worker.microseconds[name] for worker in workers])
        tenth, median = np.percentile(times, [10, 50])
        rows.append((f"{name}, {emulator}", str(threads), f"{tenth:,.1f}", f"{median:,.1f}"))
    return rows


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frame_loop")
    parser.description = "Run the frames of a step in Python, or in C?"
    parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            library = compiled(Path(folder))
        except RuntimeError as error:
            print(f"{parser.prog}: error: {error}", file=sys.stderr)
            return 2
        rows = [
            row
            for emulator in _STEPS
            for threads in (1, 2)
            for row in measure(library, emulator, threads)
        ]
    head = ("loop, what runs a frame", "threads", "microseconds, lowest tenth", "median")
    print("\n".join(table(head, rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
