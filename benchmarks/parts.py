"""Where the time goes: a sampling profile of one thread, by part of the program.

A timer interrupts the thread every two milliseconds. A sample belongs to the innermost function of
`mkds_gym` or `mkds_neat` that runs then, so the time in the emulator, in NumPy and in embreex
counts for their caller. The samples cost less than a thousandth of the time.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

import mkds_gym
from benchmarks.lap import Lap
from benchmarks.remote import remotes
from benchmarks.report import table
from benchmarks.rows import ENV, ROWS
from benchmarks.throughput import pieces

INTERVAL: Final = 0.002
"""Seconds between samples."""
OTHER: Final = "other code"
PARTS: Final[dict[str, tuple[str, ...]]] = {
    "emulator": ("mkds_gym/emulator",),
    "memory": ("mkds_gym/race", "mkds_gym/kartlab"),
    "sensors, course": ("mkds_gym/components/sensors", "mkds_gym/course"),
    "metrics, rewards, events": ("mkds_gym/components",),
    "environment": ("mkds_gym",),
    "networks": ("mkds_neat/networks",),
    "evolution": ("mkds_neat",),
    OTHER: (),
}
"""The parts and the beginnings of their files. The first part that fits a file counts."""

SUBJECTS: Final[dict[str, tuple[str, bool]]] = {
    ENV: (ENV, False),
    f"{ENV}, wall drive": (ENV, True),
}
"""By title: the row of the tables, and whether it takes the wall drive."""

_ROOT: Final = f"{Path(mkds_gym.__file__).parent.parent}/"


def part_of(frame: FrameType | None) -> str:
    """Return the part that a frame of the interpreter belongs to."""
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_ROOT):
            name = file[len(_ROOT) :]
            for part, beginnings in PARTS.items():
                if name.startswith(beginnings):
                    return part
        frame = frame.f_back
    return OTHER


@contextlib.contextmanager
def sampling() -> Iterator[Counter[str]]:
    """Count samples of the main thread by part while the body runs in it."""
    samples: Counter[str] = Counter()

    def sample(_: int, frame: FrameType | None) -> None:
        samples[part_of(frame)] += 1

    before = signal.signal(signal.SIGALRM, sample)
    signal.setitimer(signal.ITIMER_REAL, INTERVAL, INTERVAL)
    try:
        yield samples
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Subject:
    """A row in a separate process.

    Args:
        title: a key of `ROWS`.
        lap: the drive.
    """

    def __init__(self, title: str, lap: Lap) -> None:
        self._row = ROWS[title](lap)
        self._lap = lap

    def profile(self, seconds: float, rounds: int) -> dict[str, int]:
        """Return the number of samples by part, of so many seconds and at least so many pieces."""
        total: Counter[str] = Counter()
        end = time.monotonic() + seconds
        for count, (begin, after) in zip(itertools.count(1), pieces(self._lap), strict=False):
            if begin == self._lap.first:
                self._row.restart()
                self._row.time_steps(0, begin)
            with sampling() as samples:
                self._row.time_steps(begin, after)
            total += samples
            if count >= rounds and time.monotonic() > end:
                break
        return dict(total)

    def close(self) -> None:
        """Close the row."""
        self._row.close()


def measure(lap: Lap, wall: Lap, seconds: float, rounds: int) -> dict[str, Any]:
    """Profile all subjects, one after another.

    Args:
        lap: the recorded lap.
        wall: the recorded wall drive.
        seconds: per subject, ...
        rounds: ... and at least so many pieces.

    Returns:
        By title, the number of samples by part.
    """
    arguments = {
        title: (row, wall if at_wall else lap) for title, (row, at_wall) in SUBJECTS.items()
    }
    with remotes(Subject, arguments) as subjects:
        return {
            title: subject.call("profile", seconds, rounds) for title, subject in subjects.items()
        }


def report(result: dict[str, Any]) -> str:
    """Return the result of `measure` as a Markdown table."""
    lines = []
    for title, samples in result.items():
        total = sum(samples.values()) or 1
        lines.append((title, *(f"{samples.get(part, 0) / total:.1%}" for part in PARTS)))
    return table(("share of time", *PARTS), lines)
