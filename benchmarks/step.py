"""What ``env.step`` adds to its console, and what other code adds to ``env.step``.

The question is a few per cent, and two processes that run the same code differ by as much. So
each pair runs in one process, on one console: from the same state, a piece of the lap is driven
by ``console.step`` and by ``env.step``, in random order. The first steps of a piece are not
counted, because the state has just been restored.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from typing import Any, Final

import gymnasium as gym

from benchmarks.lap import FRAME_SKIP, LAPS, Lap
from benchmarks.remote import remotes
from benchmarks.report import cells, spread, table
from benchmarks.throughput import PIECE, pieces
from mkds_gym.race.memory_layout import MemoryLayout
from mkds_gym.race.reader import RaceReader

WARM_UP: Final = 3
"""Steps of a piece that are not counted."""
WALL: Final = "default arguments, wall drive"
PAIRS: Final[dict[str, tuple[bool, dict[str, Any]]]] = {
    "default arguments": (False, {}),
    "obs_type='dict'": (False, {"obs_type": "dict"}),
    "obs_type='ram'": (False, {"obs_type": "ram"}),
    "obs_type='pixels'": (True, {"obs_type": "pixels"}),
    WALL: (False, {}),
}
"""By title: whether the console draws the last frame of each step too, and arguments."""


class Pair:
    """An environment and its own console.

    Args:
        title: a key of `PAIRS`.
        lap: the recorded lap.
    """

    def __init__(self, title: str, lap: Lap) -> None:
        self._lap = lap
        self._keys = lap.keys
        self._draw, arguments = PAIRS[title]
        self._random = random.Random(0)
        self._env: Any = gym.make("MKDS-v0", laps=LAPS, **arguments)
        self._core: Any = self._env.unwrapped
        self._restart()

    def _restart(self) -> None:
        self._env.reset()
        self._env_steps(0, self._lap.first)
        self._state = self._core.clone_state()

    def drive(self, begin: int, end: int) -> dict[str, float]:
        """Drive a piece in both ways; ``begin`` is where the last piece ended, or the first step.

        Returns:
            Seconds of ``console`` and of ``env``.

        Raises:
            RuntimeError: one of them drives another race than the recorded one.
        """
        if begin == self._lap.first:
            self._restart()
        ways: list[tuple[str, Callable[[int, int], None]]] = [
            ("console", self._console_steps),
            ("env", self._env_steps),
        ]
        self._random.shuffle(ways)
        seconds: dict[str, float] = {}
        state = self._state
        for name, drive in ways:
            self._core.restore_state(state)
            drive(begin, begin + WARM_UP)
            clock = time.perf_counter()
            drive(begin + WARM_UP, end)
            seconds[name] = time.perf_counter() - clock
            self._lap.check(end - 1, self._place())
            if name == "env":
                self._state = self._core.clone_state()
        return seconds

    def _console_steps(self, begin: int, end: int) -> None:
        step, keys, draw = self._core.console.step, self._keys, self._draw
        for number in range(begin, end):
            step(keys[number], FRAME_SKIP, draw)

    def _env_steps(self, begin: int, end: int) -> None:
        step, actions = self._env.step, self._lap.actions
        for number in range(begin, end):
            step(actions[number])

    def _place(self) -> tuple[int, int]:
        console = self._core.console
        reader = RaceReader(console.ram, MemoryLayout.detect(console.ram, console.cartridge.region))
        reader.resolve()
        state = reader.read()
        return state.frame, state.checkpoint

    def close(self) -> None:
        """Close the environment."""
        self._env.close()


def measure(lap: Lap, wall: Lap, seconds: float, rounds: int) -> dict[str, Any]:
    """Measure all pairs, piece by piece.

    Args:
        lap: the recorded lap.
        wall: the recorded wall drive, of the pair `WALL`.
        seconds: measure until each way of each pair has run for so long on average, ...
        rounds: ... and at least so many pieces.

    Returns:
        By title: ``ratio`` of the speed of ``env.step`` to that of ``Console.step``, and
        ``console`` and ``env``, microseconds per step (`spread`).
    """
    order = random.Random(0)
    samples: dict[str, list[dict[str, float]]] = {title: [] for title in PAIRS}
    steps = PIECE - WARM_UP
    drives = {title: wall if title == WALL else lap for title in PAIRS}
    with remotes(Pair, {title: (title, drives[title]) for title in PAIRS}) as pairs:
        spent = 0.0
        following = {title: pieces(drive) for title, drive in drives.items()}
        for count in itertools.count(1):
            for title in order.sample(list(PAIRS), len(PAIRS)):
                piece = pairs[title].call("drive", *next(following[title]))
                samples[title].append(piece)
                spent += piece["console"] + piece["env"]
            if count >= rounds and spent >= seconds * 2 * len(PAIRS):
                break
    return {
        title: {
            "ratio": spread([piece["console"] / piece["env"] for piece in found]),
            **{
                way: spread([piece[way] / steps * 1e6 for piece in found])
                for way in ("console", "env")
            },
        }
        for title, found in samples.items()
    }


def report(result: dict[str, Any]) -> str:
    """Return the result of `measure` as a Markdown table."""
    head = ("env.step", "x Console.step", "quartiles", "Console.step, µs", "env.step, µs")
    return table(
        head,
        [
            (
                title,
                *cells(row["ratio"], ".3f"),
                f"{row['console']['median']:,.0f}",
                f"{row['env']['median']:,.0f}",
            )
            for title, row in result.items()
        ],
    )
