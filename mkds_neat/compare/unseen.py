"""Generalisation: how many random courses that it never saw a driver finishes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.episodes.race_config import RANDOM_COURSE
from mkds_gym.kartlab.boot import MAX_DRIVERS
from mkds_gym.kartlab.generator import TEST_SEEDS
from mkds_neat.config.environment import inspect_environment
from mkds_neat.evaluation import Evaluator
from mkds_neat.individual import Individual
from mkds_neat.networks import NetworkSpec

MAX_UNSEEN: Final = len(TEST_SEEDS)
FRAMES_PER_LAP: Final = 3600
"""Frames that a lap of a random course may take. The scripted driver takes 1,200 to 2,600."""
_COURSE: Final = ("course", "course_set", "course_seed", "reward", "state")


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Unseen:
    """A driver's race on a course that it never saw.

    Attributes:
        finished: Whether the race was finished.
        laps: Complete laps, of which the game keeps the first five.
        frames: Frames of the race.
    """

    finished: bool
    laps: int
    frames: int


def unseen_seeds(count: int) -> range:
    """Return the first course seeds of the test set."""
    return TEST_SEEDS[:count]


def drive_unseen(
    networks: Mapping[str, NetworkSpec],
    env_kwargs: Mapping[str, Any],
    seed: int,
    *,
    laps: int | None = None,
) -> dict[str, Unseen]:
    """Let networks drive a race each on a random course, eight at a time.

    Args:
        networks: The networks, by name.
        env_kwargs: Arguments of ``MKDS-v0``, as in training. Those that choose the course are
            replaced, and the longest time is `FRAMES_PER_LAP` for each lap.
        seed: Seed of the course.
        laps: Laps of the race; None for the number of ``env_kwargs``.

    Returns:
        The races, by name.
    """
    kwargs = {k: v for k, v in env_kwargs.items() if k not in _COURSE}
    if laps is not None:
        kwargs["laps"] = laps
    total = int(kwargs.get("laps") or 3)
    others = [event for event in kwargs.get("truncate_on", ()) if not event.startswith("clock:")]
    kwargs |= {
        "course": RANDOM_COURSE,
        "course_seed": seed,
        "truncate_on": [*others, f"clock:{total * FRAMES_PER_LAP}"],
        "reward": "none",
        "info_every_step": False,
    }
    shareable = not inspect_environment("MKDS-v0", kwargs).unshareable
    with Evaluator(
        "MKDS-v0",
        kwargs,
        workers=1,
        lanes=min(MAX_DRIVERS, len(networks)) if shareable else 1,
        seed=seed,
        vectorization="native",
    ) as evaluator:
        names = list(networks)
        results = evaluator.evaluate(
            Individual(number, networks[name], {}) for number, name in enumerate(names)
        )
    return {
        names[result.id]: Unseen(
            result.record.finished, len(result.record.lap_times), result.record.frames
        )
        for result in results
    }


def is_kartlab(cartridge: Cartridge | None) -> bool:
    """Return whether a cartridge has random courses, and opponents of a chosen strength."""
    return cartridge is not None and cartridge.boot_parameters
