"""`Row`: one way to drive the recorded lap, a row of the tables."""

from __future__ import annotations

import multiprocessing
import os
import time
from abc import ABC, abstractmethod

from benchmarks.lap import Lap
from benchmarks.report import memory_mib


class Row(ABC):
    """One way to drive the lap.

    Args:
        lap: the recorded lap.
        drivers: number of drivers that drive it at once.
    """

    def __init__(self, lap: Lap, drivers: int = 1) -> None:
        self.lap = lap
        self._drivers = drivers

    def drivers(self) -> int:
        """Return the number of drivers that drive at once."""
        return self._drivers

    @abstractmethod
    def restart(self) -> None:
        """Go to the race start."""

    @abstractmethod
    def step(self, number: int) -> None:
        """Take a step of the lap, `FRAME_SKIP` frames."""

    @abstractmethod
    def place(self) -> tuple[int, int]:
        """Return the race clock (frames) and the checkpoint."""

    @abstractmethod
    def close(self) -> None:
        """Close consoles and environments."""

    def time_steps(self, begin: int, end: int) -> float:
        """Return the seconds that a range of steps takes."""
        start = time.perf_counter()
        for number in range(begin, end):
            self.step(number)
        return time.perf_counter() - start

    def drive(self, begin: int, end: int) -> float:
        """Drive a piece; if it is the first one, restart and go to its begin.

        Returns:
            Seconds of the piece alone.

        Raises:
            RuntimeError: the row drives another race than the recorded one.
        """
        if begin == self.lap.first:
            self.restart()
            self.time_steps(0, begin)
        seconds = self.time_steps(begin, end)
        self.check(end - 1)
        return seconds

    def check(self, number: int) -> None:
        """Check the place after a step.

        Raises:
            RuntimeError: the row drives another race than the recorded one.
        """
        self.lap.check(number, self.place())

    def memory(self) -> float:
        """Return the memory of this process and its workers, in MiB."""
        workers = [child.pid for child in multiprocessing.active_children()]
        return memory_mib([os.getpid(), *filter(None, workers)])
