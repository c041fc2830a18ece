"""Race times to compare with: the scripted driver, and Kartlab's strongest opponents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ConfigDict, FiniteFloat
from pydantic.dataclasses import dataclass

from mkds_gym.course.progress import race_reader
from mkds_gym.drivers import PurePursuit
from mkds_gym.drivers.drive import drive
from mkds_gym.emulator.hardware import FRAMES_PER_SECOND
from mkds_gym.env import MKDSEnv
from mkds_gym.episodes.race_config import MAX_OPPONENTS
from mkds_gym.race.memory_layout import MemoryLayout

_MAX_FRAMES: Final = 20_000
_RACE: Final = ("rom", "course", "course_seed", "difficulty", "laps", "engine_class", "mirror")
"""Arguments of the environment that decide how long a race takes."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Reference:
    """Race times on a course, in seconds; None for a driver that does not finish.

    Attributes:
        pure_pursuit: The scripted driver in a time trial.
        hard: The first of seven opponents of the strength ``hard`` in a VS race without items.
    """

    pure_pursuit: FiniteFloat | None
    hard: FiniteFloat | None


def reference(env_kwargs: Mapping[str, Any]) -> Reference:
    """Measure the times on the course of an environment.

    Args:
        env_kwargs: Arguments of ``MKDS-v0`` on Kartlab, with one course.
    """
    race = {name: env_kwargs[name] for name in _RACE if name in env_kwargs}
    return Reference(pure_pursuit_time(race), hard_time(race))


def pure_pursuit_time(race: Mapping[str, Any]) -> float | None:
    """Return the seconds of the scripted driver in a time trial; None without a finish.

    Args:
        race: Arguments of ``MKDS-v0`` that choose the race.
    """
    env = MKDSEnv(**race)
    try:
        env.reset(seed=0)
        result = drive(env.console, PurePursuit(), course=env.course, frames=_MAX_FRAMES)
        return result.time if result.finished else None
    finally:
        env.close()


def hard_time(race: Mapping[str, Any], seed: int = 0) -> float | None:
    """Return the seconds of the first of seven ``hard`` opponents; None without a finish.

    Args:
        race: Arguments of ``MKDS-v0`` that choose the race.
        seed: Seed of the race.
    """
    env = MKDSEnv(**race, mode="vs", opponents=MAX_OPPONENTS, opponent_strength="hard")
    try:
        env.reset(seed=seed)  # our own kart stands on the last place of the grid
        reader = race_reader(env.console.ram, MemoryLayout.detect(env.console.ram))
        for _ in range(_MAX_FRAMES):
            env.console.step(0, 1, draw=False)
            state = reader.read()
            if any(opponent.finished for opponent in state.opponents):
                return float(state.frame) / FRAMES_PER_SECOND
        return None
    finally:
        env.close()
