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
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Final

import mkds_gym
from benchmarks.evolution import CONFIG
from benchmarks.lap import Lap
from benchmarks.remote import remotes
from benchmarks.report import table
from benchmarks.rows import ENV, ROWS, eight_each
from benchmarks.throughput import pieces
from mkds_neat.episode import Task

INTERVAL: Final = 0.002
"""Seconds between samples."""
OTHER: Final = "other code"
PARTS: Final[dict[str, tuple[str, ...]]] = {
    "emulator": ("mkds_gym/emulator",),
    "memory": ("mkds_gym/race", "mkds_gym/kartlab"),
    "sensors, course": ("mkds_gym/components/sensors", "mkds_gym/course"),
    "metrics, rewards, events": ("mkds_gym/components",),
    "environment": ("mkds_gym",),
    "networks": ("mkds_neat/networks", "<network>"),
    "evolution": ("mkds_neat",),
    OTHER: (),
}
"""The parts and the beginnings of their files. The first part that fits a file counts."""

_ROOT: Final = f"{Path(mkds_gym.__file__).parent.parent}/"


def part_of(frame: FrameType | None) -> str:
    """Return the part that a frame of the interpreter belongs to."""
    while frame is not None:
        name = frame.f_code.co_filename.removeprefix(_ROOT)
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


class RowSubject:
    """A row of the tables.

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


class WorkerSubject:
    """The loop of a worker that evaluates the first generation, without other processes.

    Args:
        run: overrides of the section ``[run]``.
    """

    def __init__(self, run: Mapping[str, str]) -> None:
        from mkds_neat.config import load_config
        from mkds_neat.lanes import LanesFactory
        from mkds_neat.plan import episode_seed

        config = load_config(CONFIG, dict(run))
        self._factory = LanesFactory(config.env_id, config.env_kwargs, config.lanes)
        self._tasks = [
            Task(driver.id, driver.network, episode_seed(config.run.seed, driver.id))
            for driver in config.make_strategy().ask()
        ]

    def profile(self, seconds: float, rounds: int) -> dict[str, int]:
        """Return the number of samples by part, of so many seconds and some drivers per round."""
        from mkds_neat.rollout import drive

        end = 0.0
        with contextlib.ExitStack() as stack:
            samples: Counter[str] = Counter()

            def receive(idle: bool) -> list[Task]:
                nonlocal samples, end
                if not idle:
                    return []
                if not end:
                    end = -1.0
                    return self._tasks[: self._factory.count]  # the consoles boot now
                if end < 0:
                    samples, end = stack.enter_context(sampling()), time.monotonic() + seconds
                elif time.monotonic() > end:
                    raise EOFError
                return self._tasks[: 4 * self._factory.count * rounds]

            drive(self._factory, 0, receive, lambda _: None)
        return dict(samples)

    def close(self) -> None:
        """Do nothing: `profile` has closed the consoles."""


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
    eight = eight_each(consoles=1)
    rows = {ENV: (ENV, lap), f"{ENV}, wall drive": (ENV, wall), eight: (eight, lap)}
    workers = {
        f"worker of an evolution, {drivers} a console": ({"drivers_per_console": str(drivers)},)
        for drivers in (1, 8)
    }
    with remotes(RowSubject, rows, {}) as subjects, remotes(WorkerSubject, workers, {}) as others:
        return {
            title: subject.call("profile", seconds, rounds)
            for title, subject in {**subjects, **others}.items()
        }


def report(result: dict[str, Any]) -> str:
    """Return the result of `measure` as a Markdown table."""
    lines = []
    for title, samples in result.items():
        total = sum(samples.values()) or 1
        lines.append((title, *(f"{samples.get(part, 0) / total:.1%}" for part in PARTS)))
    return table(("share of time", *PARTS), lines)
