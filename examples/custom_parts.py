"""Drive with a custom sensor, metric and scorer.

python examples/custom_parts.py
"""

from __future__ import annotations

from collections.abc import Mapping

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

import mkds_gym  # noqa: F401  registers MKDS-v0
from mkds_gym.components.metrics import DEFAULT_METRICS
from mkds_gym.course import Course
from mkds_gym.race.state import RaceState


class Slope:
    """Sensor: how steeply the kart points up (1) or down (-1)."""

    name = "slope"
    labels = ("slope",)
    space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def read(self, state: RaceState, course: Course) -> NDArray[np.float32]:
        return np.clip(np.array([state.forward[1]], np.float32), -1.0, 1.0)


class TopSpeed:
    """Metric: the highest speed of the episode, in world units per frame."""

    name = "top_speed"

    def __init__(self) -> None:
        self.best = 0.0

    def reset(self) -> None:
        self.best = 0.0

    def update(self, state: RaceState, course: Course) -> None:
        self.best = max(self.best, state.speed)

    def collect(self) -> dict[str, float]:
        return {"top_speed": self.best}


def fast_and_far(metrics: Mapping[str, float]) -> float:
    """Scorer: one point for a hundred world units, and one for each unit of top speed."""
    return metrics["progress"] / 100.0 + metrics["top_speed"]


def main() -> None:
    env = gym.make(
        "MKDS-v0",
        obs_type=["seed6", Slope()],
        metrics=[*DEFAULT_METRICS, TopSpeed()],
        reward=fast_and_far,
        truncate_on="clock:300",
    )
    observation, _ = env.reset(seed=0)
    total, done = 0.0, False
    while not done:
        observation, reward, terminated, truncated, _ = env.step(0)  # accelerate
        total += float(reward)
        done = terminated or truncated
    metrics = env.unwrapped.full_info()["metrics"]
    env.close()
    print(f"observation: {observation.round(2)} (the last number is the slope)")
    print(f"top speed:   {metrics['top_speed']:.2f} world units per frame")
    print(f"return:      {total:.2f} = the score {fast_and_far(metrics):.2f}")


if __name__ == "__main__":
    main()
