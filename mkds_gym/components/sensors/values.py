"""What the sensors share: their spaces, their numbers, and a limit for values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from gymnasium.spaces import Box

from mkds_gym.utils.arguments import shown

MAX_COUNT: Final = 256
"""Largest number that a sensor takes."""


def checked_count(sensor: str, count: float) -> int:
    """Check the number that a sensor takes.

    Raises:
        ValueError: not an integer from 1 to `MAX_COUNT`.
    """
    if isinstance(count, bool) or not 1 <= count <= MAX_COUNT or count != int(count):
        raise ValueError(
            f"sensor {shown(sensor)}: {shown(count)} is out of range: expected an integer from "
            f"1 to {MAX_COUNT}"
        )
    return int(count)


def sensor_space(low: float | Sequence[float], high: float | Sequence[float], size: int) -> Box:
    """Return the space of a sensor with this number of values.

    Args:
        low: smallest value, of all or of each.
        high: largest value, of all or of each.
        size: number of values.
    """
    lows = np.broadcast_to(np.asarray(low, np.float32), (size,))
    highs = np.broadcast_to(np.asarray(high, np.float32), (size,))
    return Box(lows.copy(), highs.copy(), dtype=np.float32)


def clip(value: float, bound: float = 1.0) -> float:
    """Return the value, limited to the range from ``-bound`` to ``bound``."""
    return -bound if value < -bound else bound if value > bound else value
