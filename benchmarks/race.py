"""The race that every row of the benchmark drives: one recorded lap of Kartlab.

A driver that steers for the checkpoint after next goes round once, and the actions are written
down. Every row then presses the same keys from the same race start, so that all of them emulate
the same frames, and none of them pays for the steering.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import gymnasium as gym

import mkds_gym  # noqa: F401  registers MKDS-v0
from mkds_gym.components.actions import DISCRETE_ACTIONS
from mkds_gym.course import Course
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.race.state import RaceState

FRAME_SKIP: Final = 4
"""Frames that an action is held for, as in ``MKDS-v0``."""
LAPS: Final = 1
"""A lap shows all of the course; after it, a row starts again."""
BOOT: Final = BootParameters(laps=LAPS)

STRAIGHT, LEFT, RIGHT = 0, 1, 2
"""The actions that the driver uses, numbers of `DISCRETE_ACTIONS`."""
_SINE_AFTER_NEXT: Final = 5
"""Component of the sensor ``checkpoints``: sine of the bearing of the checkpoint after next."""
_STRAIGHT_ENOUGH: Final = 0.1


@dataclass(frozen=True)
class Tape:
    """A lap, as actions.

    Attributes:
        actions: of ``action_type="discrete"``, one a step.
        boot_frames: frames from switching the console on to the race start, with the JIT.
        start: race clock (frames) at the race start.
        places: at the end of each step, the race clock (frames) and the current checkpoint, by
            which a row shows that it drives the same race.
    """

    actions: tuple[int, ...]
    boot_frames: int
    start: int
    places: tuple[tuple[int, int], ...]

    @property
    def keys(self) -> list[int]:
        """The key mask of each step."""
        return [int(DISCRETE_ACTIONS[action][1]) for action in self.actions]


class Row(ABC):
    """One way to run the race."""

    @abstractmethod
    def restart(self) -> None:
        """Go to the race start."""

    @abstractmethod
    def step(self, place: int) -> None:
        """Run the tape's step number ``place``, `FRAME_SKIP` frames."""

    def run(self, begin: int, end: int) -> float:
        """Run the steps from ``begin`` to before ``end``.

        Returns:
            Seconds.
        """
        step = self.step
        start = time.perf_counter()
        for place in range(begin, end):
            step(place)
        return time.perf_counter() - start

    @abstractmethod
    def where(self) -> tuple[int, int]:
        """Race clock and checkpoint now; of all consoles, which must agree."""

    @abstractmethod
    def close(self) -> None:
        """Let go of everything."""


def steer(observation: Sequence[float]) -> int:
    """Drive for the checkpoint after next.

    Args:
        observation: of the sensor ``checkpoints``.

    Returns:
        An action of ``action_type="discrete"``.
    """
    sine = observation[_SINE_AFTER_NEXT]
    return LEFT if sine > _STRAIGHT_ENOUGH else RIGHT if sine < -_STRAIGHT_ENOUGH else STRAIGHT


def drive() -> tuple[Tape, list[list[RaceState]], Course]:
    """Drive the lap.

    Returns:
        The tape; the states of the frames of each step, the race start being a step of its own;
        the course.

    Raises:
        RuntimeError: the driver does not get round.
    """
    env: Any = gym.make(
        "MKDS-v0",
        laps=LAPS,
        sensors="checkpoints",
        truncate_on="clock:3600",
        frame_skip=1,  # to have the state of every frame
    )
    try:
        observation, info = env.reset()
        boot_frames = env.unwrapped.console.frame_count
        actions: list[int] = []
        places: list[tuple[int, int]] = []
        states: list[list[RaceState]] = [[env.unwrapped.race]]
        over = False
        while not over:
            actions.append(steer(observation))
            states.append([])
            for _ in range(FRAME_SKIP):
                if not over:
                    observation, _, terminated, truncated, info = env.step(actions[-1])
                    states[-1].append(env.unwrapped.race)
                    over = terminated or truncated
            places.append((info["frame"], info["checkpoint"]))
        if not info["is_success"]:
            raise RuntimeError(f"the benchmark's driver did not get round: {info}")
        course: Course = env.unwrapped.course
    finally:
        env.close()
    # The last step may be cut short by the finish: it is left out, so that all steps are whole.
    start = states[0][0].frame
    tape = Tape(tuple(actions[:-1]), boot_frames, start, tuple(places[:-1]))
    return tape, states[:-1], course
