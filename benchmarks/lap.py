"""The drives of the tables: recorded once, then replayed by each row.

All rows press the same keys from the same race start, so they emulate the same frames, and no
row pays for the steering. The lap looks down the road. The wall drive turns left and then slides
along a wall, which fills the picture; such frames cost half as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import gymnasium as gym

import mkds_gym  # noqa: F401  registers MKDS-v0
from mkds_gym.components.actions import DISCRETE_ACTIONS
from mkds_gym.course import Course
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.race.state import RaceState

FRAME_SKIP: Final = 4
"""Frames per step, as in ``MKDS-v0``."""
LAPS: Final = 1
BOOT: Final = BootParameters(laps=LAPS)

_WALL_STEPS: Final = 150
_WALL_FIRST: Final = 75
_TURN_STEPS: Final = 14
"""Steps of the wall drive in which the kart turns left; in the others it drives straight."""

_STRAIGHT, _LEFT, _RIGHT = 0, 1, 2  # indices of DISCRETE_ACTIONS
_SINE_AFTER_NEXT: Final = 5
"""Component of the sensor ``checkpoints``: sine of the bearing of the checkpoint after next."""


@dataclass(frozen=True)
class Lap:
    """A drive on the default course, as actions.

    Attributes:
        actions: actions of ``action_type="discrete"``, one per step.
        boot_frames: frames from power-on to the race start.
        start: frame of the race clock at the race start.
        places: race clock (frames) and checkpoint after each step. A row that arrives elsewhere
            drives another race, and its benchmark fails.
        first: index of the first step that is measured; the steps before lead to the wall.
    """

    actions: tuple[int, ...]
    boot_frames: int
    start: int
    places: tuple[tuple[int, int], ...]
    first: int = 0

    @property
    def keys(self) -> list[int]:
        """The key mask of each step."""
        return [int(DISCRETE_ACTIONS[action][1]) for action in self.actions]

    def check(self, step: int, place: tuple[int, int]) -> None:
        """Check where a row is after a step.

        Raises:
            RuntimeError: at another place than the recorded lap.
        """
        if place != self.places[step]:
            raise RuntimeError(
                f"the race is at (frame, checkpoint) {place}, expected {self.places[step]}"
            )

    def check_clock(self, step: int, frame: int) -> None:
        """Check the race clock after a step, where the karts may be elsewhere.

        Raises:
            RuntimeError: the clock shows another frame than in the recorded lap.
        """
        self.check(step, (frame, self.places[step][1]))


def steer(observation: Any) -> int:
    """Return the discrete action that steers to the checkpoint after next.

    Args:
        observation: of the sensor ``checkpoints``, float32 (n,).
    """
    sine = observation[_SINE_AFTER_NEXT]
    return _LEFT if sine > 0.1 else _RIGHT if sine < -0.1 else _STRAIGHT


def record_lap(wall: bool = False) -> tuple[Lap, list[list[RaceState]], Course]:
    """Drive the lap, or the wall drive.

    Returns:
        The drive, the states of all frames of each step (the first item is the race start alone),
        and the course.

    Raises:
        RuntimeError: the driver does not finish the lap.
    """
    env: Any = gym.make(
        "MKDS-v0", laps=LAPS, sensors="checkpoints", truncate_on="clock:3600", frame_skip=1
    )
    try:
        observation, info = env.reset()
        boot_frames = env.unwrapped.console.frame_count
        actions: list[int] = []
        places: list[tuple[int, int]] = []
        states: list[list[RaceState]] = [[env.unwrapped.race]]
        over = False
        while not over and not (wall and len(actions) > _WALL_STEPS):
            turn = _LEFT if len(actions) < _TURN_STEPS else _STRAIGHT
            actions.append(turn if wall else steer(observation))
            states.append([])
            for _ in range(FRAME_SKIP):
                if not over:
                    observation, _, terminated, truncated, info = env.step(actions[-1])
                    states[-1].append(env.unwrapped.race)
                    over = terminated or truncated
            places.append((info["frame"], info["checkpoint"]))
        if not wall and not info["is_success"]:
            raise RuntimeError(f"the benchmark's driver did not finish the lap: {info}")
        course: Course = env.unwrapped.course
    finally:
        env.close()
    # Omitted: the last step, which the finish may cut short.
    lap = Lap(
        tuple(actions[:-1]),
        boot_frames,
        states[0][0].frame,
        tuple(places[:-1]),
        _WALL_FIRST if wall else 0,
    )
    return lap, states[:-1], course
