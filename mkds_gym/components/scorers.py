"""Scorers: one number from the metrics of an episode, the higher the better.

A reward pays the change of a score (`mkds_gym.components.rewards`), and an evolution uses a score
as fitness.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from mkds_gym.components.registry import Registry
from mkds_gym.race.lengths import WALL_HIT_COST


class FitnessScorer(Protocol):
    """Computes a score from the metrics of an episode."""

    def __call__(self, metrics: Mapping[str, float], /) -> float:
        """Return the score.

        Raises:
            KeyError: a metric that the score needs is missing.
        """


SCORERS: Final[Registry[FitnessScorer]] = Registry(
    "scorer", Callable, "a call with the metrics", functions=True
)
"""Scorers by name. A factory takes no argument and returns the scorer."""

OFFROAD_COST: Final = 0.25
"""World units of progress that one world unit off the road costs, in `driving_scorer`."""

TIME_VALUE: Final = 4.5
"""World units of progress that a centisecond is worth, in `time_trial_scorer`."""

TRIAL_TIME: Final = 12_000.0
"""Centiseconds after which a finish is worth no more than its progress."""


def default_fitness_scorer(metrics: Mapping[str, float], /) -> float:
    """Return the metric ``distance``, world units.

    Raises:
        KeyError: ``distance`` is missing.
    """
    return metrics["distance"]


def progress_scorer(metrics: Mapping[str, float], /) -> float:
    """Return the metric ``progress``, world units.

    Raises:
        KeyError: ``progress`` is missing.
    """
    return metrics["progress"]


def driving_scorer(metrics: Mapping[str, float], /) -> float:
    """Return progress minus the cost of off-road driving and wall hits, world units.

    Raises:
        KeyError: ``progress``, ``offroad_path`` or ``wall_hits`` is missing.
    """
    return (
        metrics["progress"]
        - OFFROAD_COST * metrics["offroad_path"]
        - WALL_HIT_COST * metrics["wall_hits"]
    )


def checkpoint_distance_scorer(metrics: Mapping[str, float], /) -> float:
    """Return the sum of the distances in the checkpoint records, world units.

    Raises:
        KeyError: ``checkpoint_distance`` is missing.
    """
    return metrics["checkpoint_distance"]


def time_trial_scorer(metrics: Mapping[str, float], /) -> float:
    """Return progress and, after the finish, the value of the time that is left.

    Each centisecond before two minutes is worth 4.5 world units, which a kart drives in it at the
    top speed of 150 cc. So a finish ranks above no finish, and a faster one above a slower one.

    Raises:
        KeyError: ``progress`` or ``race_time`` is missing.
    """
    time = metrics["race_time"]
    left = max(TRIAL_TIME - time, 0.0) if time else 0.0
    return metrics["progress"] + TIME_VALUE * left


def register_scorer(name: str, scorer: FitnessScorer) -> None:
    """Register a custom scorer, for rewards and for the config of an evolution.

    Args:
        name: a new name.
        scorer: the scorer itself; a function at the top level of a module is picklable.

    Raises:
        ValueError: the name is taken or malformed.
    """
    SCORERS.register(name, lambda: scorer)


register_scorer("distance", default_fitness_scorer)
register_scorer("progress", progress_scorer)
register_scorer("driving", driving_scorer)
register_scorer("checkpoint_distance", checkpoint_distance_scorer)
register_scorer("time_trial", time_trial_scorer)
