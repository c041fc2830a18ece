"""Rewards: what a step is worth, computed from the metrics of the episode so far.

By default a reward is the *change of a score* over the step, so that the rewards of an episode
add up to the score it ends with: the same `FitnessScorer` can pay a learner step by step and
judge an evolved driver at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np

from mkds_gym.components.metrics import SCORERS, FitnessScorer, Metric, collect_all, reset_all
from mkds_gym.components.registry import Registry


@runtime_checkable
class Reward(Protocol):
    """Pays a driver. Picklable, and without access to the emulator."""

    def reset(self, metrics: Mapping[str, float]) -> None:
        """Begin an episode.

        Args:
            metrics: the metrics at the race start, by name, in the units they document.
        """

    def step(self, metrics: Mapping[str, float]) -> float:
        """The reward of the step that has just been driven, given the metrics now."""


class ScoreChange:
    """The change of a score since the last step, times a scale.

    Args:
        scorer: metrics in, score out. The default score is in world units, a lap of a course
            being a few thousand of them.
        scale: reward per unit of score. The default makes 100 world units one unit of reward,
            which keeps a step's reward below about 0.2 and the return of a lap near 40.
    """

    def __init__(self, scorer: FitnessScorer, scale: float = 0.01) -> None:
        if not math.isfinite(scale):
            raise ValueError(f"a reward's scale must be a finite number, not {scale}")
        self._scorer = scorer
        self._scale = scale
        self._score = 0.0

    def reset(self, metrics: Mapping[str, float]) -> None:
        """See `Reward.reset`."""
        self._score = self._scorer(metrics)

    def step(self, metrics: Mapping[str, float]) -> float:
        """See `Reward.step`."""
        score = self._scorer(metrics)
        change = score - self._score
        self._score = score
        return change * self._scale


class NoReward:
    """Pays nothing: for evolution, which judges whole episodes and spends nothing on steps."""

    def reset(self, metrics: Mapping[str, float]) -> None:
        """See `Reward.reset`."""

    def step(self, metrics: Mapping[str, float]) -> float:  # noqa: ARG002
        """See `Reward.step`."""
        return 0.0


REWARDS: Final[Registry[Reward]] = Registry("reward")
"""What ``reward`` may name: every scorer's change, and ``none``."""


class _ScorerReward:
    """A named scorer's reward, as a factory that takes no argument."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self) -> Reward:
        return ScoreChange(SCORERS.make(self._name))


for _name in SCORERS.names():
    REWARDS.register(_name, _ScorerReward(_name))
REWARDS.register("none", NoReward)


def make_reward(reward: str | Reward | Callable[[Mapping[str, float]], float]) -> Reward:
    """The reward that an environment's ``reward`` argument asks for.

    Args:
        reward: a name of `REWARDS`; an object with `Reward`'s two methods; any callable from the
            metrics to a float, whose change is paid, unscaled; or where one of these is imported
            from, ``"my.module.score"``.

    Raises:
        ValueError: an unknown name.
        TypeError: none of the three.
    """
    if isinstance(reward, str):
        if reward in SCORERS and reward not in REWARDS:
            return ScoreChange(SCORERS.make(reward))
        made = REWARDS.make(reward)
        if "." not in reward or isinstance(made, Reward):
            return made
        reward = made  # a function of one's own, by the place that it is imported from
    if isinstance(reward, type):
        raise TypeError(f"reward={reward.__name__} is a class; pass an object: {reward.__name__}()")
    candidate: Any = reward
    if isinstance(candidate, Reward):
        return candidate
    if callable(candidate):
        return ScoreChange(candidate, scale=1.0)
    raise TypeError(
        f"reward={reward!r} is neither a name ({', '.join(REWARDS)}), nor an object with reset() "
        "and step(), nor a callable from the metrics to a float"
    )


class Read(dict[str, float]):
    """Metrics that remember which of them were looked at."""

    def __init__(self, metrics: Mapping[str, float]) -> None:
        super().__init__(metrics)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> float:
        self.names.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """As a dict's."""
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
    collected = Read(collect_all(metrics))
    try:
        reward.reset(collected)
        value: object = reward.step(collected)
    except TypeError as error:
        raise TypeError(
            f"reward={argument!r} cannot be computed from the metrics, a dict of floats: {error}"
        ) from error
    except KeyError as error:
        raise ValueError(
            f"reward={argument!r} needs the metric {error}: add it to metrics=, which has "
            f"{', '.join(collected)}"
        ) from error
    if not isinstance(value, float | int | np.number) or not math.isfinite(value):
        raise ValueError(
            f"reward={argument!r} is {value!r} at the race start: expected a finite number"
        )
    return tuple(name for name in collected if name in collected.names)
