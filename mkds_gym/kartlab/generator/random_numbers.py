"""Random numbers that are equal with every NumPy version and on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class RandomNumbers:
    """Random numbers from the raw stream of `numpy.random.PCG64`, which NumPy promises to keep.

    Args:
        seed: integers of at least 0.
    """

    def __init__(self, *seed: int) -> None:
        self._bits = np.random.PCG64(list(seed))

    def number(self, low: float = 0.0, high: float = 1.0) -> float:
        """Return a number from `low` up to, but not including, `high`."""
        return low + (high - low) * (int(self._bits.random_raw()) >> 11) / 2.0**53

    def integer(self, low: int, high: int) -> int:
        """Return an integer from `low` to `high`, both included."""
        return low + int(self.number() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """Return True with a probability."""
        return self.number() < probability

    def pick(self, options: Sequence[T]) -> T:
        """Return one of several options."""
        return options[self.integer(0, len(options) - 1)]
