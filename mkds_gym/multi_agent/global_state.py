"""The state of all karts of a race in one vector, for a critic that sees everything."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from mkds_gym.race.lengths import POSITION_UNIT
from mkds_gym.race.race_copy import RaceCopy
from mkds_gym.race.state import RaceState

KART_VALUES: Final = 13
"""Numbers for each kart."""


def global_state_space(karts: int) -> Box:
    """Return the space of `global_state` for a number of karts."""
    return Box(-np.inf, np.inf, (karts * KART_VALUES,), np.float32)


def global_state(copied: RaceCopy, karts: Iterable[int]) -> NDArray[np.float32]:
    """Return the state of karts, float32 of shape (karts x 13,).

    Args:
        copied: the race in one frame.
        karts: numbers of the karts, in the order of the result.

    Returns:
        For each kart what `MKDSParallelEnv.state` describes.
    """
    rows = []
    for kart in karts:
        race = RaceState(copied, kart)
        x, y, z = race.position
        rows.append(
            (
                *(x / POSITION_UNIT, y / POSITION_UNIT, z / POSITION_UNIT),
                *race.velocity,
                *race.forward,
                race.lap,
                race.race_progress,
                race.place + 1,
                race.finished,
            )
        )
    return np.array(rows, np.float32).ravel()
