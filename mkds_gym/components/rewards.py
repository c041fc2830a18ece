"""Rewards: the value of a step, computed from the metrics of the episode.

By default, a reward is the *change of a score* over the step. The rewards of an episode then add
up to its score, so the same scorer can reward a learner step by step and be the fitness of an
evolved driver.
"""

from __future__ import annotations

import functools
import math
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np

from mkds_gym.components.metrics import Metric, collect_all, reset_all
from mkds_gym.components.registry import Registry
from mkds_gym.components.scorers import SCORERS, FitnessScorer
from mkds_gym.race.lengths import REWARD_PER_UNIT
from mkds_gym.utils.arguments import shown


@runtime_checkable
class Reward(Protocol):
    """Computes rewards. Picklable, and without access to the emulator."""

    def reset(self, metrics: Mapping[str, float]) -> None:
        """Start an episode.

        Args:
            metrics: the metrics at the race start, by name.
        """

    def step(self, metrics: Mapping[str, float]) -> float:
        """Return the reward of the last step, given the metrics after it."""


class ScoreChange:
    """The change of a score since the last step, times a scale.

    Args:
        scorer: computes the score from the metrics. The scores of this package are in world
            units; a lap has about ten thousand of them.
        scale: reward per unit of score. With the default, 250 world units are a reward of 1: a
            step pays less than about 0.2, and a lap about 40.

    Raises:
        ValueError: ``scale`` is not finite.
    """

    def __init__(self, scorer: FitnessScorer, scale: float = REWARD_PER_UNIT) -> None:
        if not math.isfinite(scale):
            raise ValueError(f"scale={scale} is out of range: expected a finite number")
        self._scorer = scorer
        self._scale = scale
        self._score = 0.0

    def reset(self, metrics: Mapping[str, float]) -> None:
        self._score = self._scorer(metrics)

    def step(self, metrics: Mapping[str, float]) -> float:
        score = self._scorer(metrics)
        change = score - self._score
        self._score = score
        return change * self._scale


class NoReward:
    """A reward of 0 for every step, for evolution: evolution scores whole episodes."""

    def reset(self, metrics: Mapping[str, float]) -> None: ...

    def step(self, metrics: Mapping[str, float]) -> float:  # noqa: ARG002
        return 0.0


REWARDS: Final[Registry[Reward]] = Registry("reward", Reward, "reset() and step()", functions=True)
"""Rewards by the name that the argument ``reward`` takes: all scorers, and ``none``."""


def _score_change(scorer: str) -> Reward:
    return ScoreChange(SCORERS.make(scorer))


for _name in SCORERS.names():
    REWARDS.register(_name, functools.partial(_score_change, _name))
REWARDS.register("none", NoReward)


def make_reward(reward: str | Reward | Callable[[Mapping[str, float]], float]) -> Reward:
    """Return the reward for an environment's argument ``reward``.

    Args:
        reward: a name of `REWARDS`; an object with the methods of `Reward`; a callable from the
            metrics to a float, whose change is paid, unscaled; or the import path of an object or a
            function, ``"my.module:score"``.

    Raises:
        ValueError: unknown name.
        TypeError: ``reward`` is not a name, a `Reward` or a callable.
    """
    if isinstance(reward, str):
        if reward in SCORERS and reward not in REWARDS:
            return _score_change(reward)  # registered later
        reward = REWARDS.make(reward)
    if isinstance(reward, type):
        raise TypeError(f"reward={reward.__name__} is a class: pass an object, {reward.__name__}()")
    candidate: Any = reward
    if isinstance(candidate, Reward):
        return candidate
    if callable(candidate) and not isinstance(candidate, types.BuiltinFunctionType):
        return ScoreChange(candidate, scale=1.0)
    raise TypeError(
        f"reward={shown(reward)} is not a reward: expected a name ({', '.join(REWARDS)}), an "
        "object with reset() and step(), or a Python function from the metrics to a float"
    )


class Read(dict[str, float]):
    """Metrics that record which names were read."""

    def __init__(self, metrics: Mapping[str, float]) -> None:
        super().__init__(metrics)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> float:
        self.names.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a metric and record its name."""
        self.names.add(name)
        return super().get(name, default)


def metrics_read(reward: Reward, metrics: Sequence[Metric], argument: object) -> tuple[str, ...]:
    """Try a reward on the metrics of an empty episode.

    Args:
        reward: the reward to try.
        metrics: the metrics of the environment.
        argument: the argument that the reward was made from, for error messages.

    Returns:
        Names of the metrics that the reward reads.

    Raises:
        TypeError: the reward cannot be computed from a dict of floats.
        ValueError: a metric is missing, or the reward is not a finite number.
    """
    reset_all(metrics)
    for metric in metrics:
        measures: object = metric.collect()
        if not isinstance(measures, dict):
            raise TypeError(
                f"metric {shown(metric.name)}: collect() returned {shown(measures)}: "
                "expected a dict of names and floats"
            )
    collected = Read(collect_all(metrics))
    try:
        reward.reset(collected)
        value: object = reward.step(collected)
    except TypeError as error:
        raise TypeError(
            f"reward={shown(argument)} cannot be computed from the metrics, a dict of floats: "
            f"{error}"
        ) from error
    except KeyError as error:
        raise ValueError(
            f"reward={shown(argument)} needs the metric {error}: add it to metrics=, which has "
            f"{', '.join(collected)}"
        ) from error
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"reward={shown(argument)} fails on the metrics of an empty episode: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(value, float | int | np.number) or not math.isfinite(value):
        raise ValueError(
            f"reward={shown(argument)} is {shown(value)} at the race start: expected a finite "
            "number"
        )
    return tuple(name for name in collected if name in collected.names)
