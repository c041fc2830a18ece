"""What ``env.step`` keeps of its console's speed, and what our own code in it costs.

Two processes that run the same code differ in speed, by where their memory happens to lie. So
each environment is compared with the console that it has itself, in one process: from the same
state, a piece of the lap is driven by ``console.step`` and by ``env.step``, and once more by an
``env.step`` whose emulated frames are timed. Which of them comes first is drawn by lot.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import gymnasium as gym

from benchmarks.processes import Answer, Work, processes
from benchmarks.race import FRAME_SKIP, LAPS, Tape
from benchmarks.report import between, spread, table
from benchmarks.turns import PIECE, pieces
from mkds_gym.race.memory_layout import MemoryLayout
from mkds_gym.race.reader import RaceReader

WARM_UP: Final = 3
"""Steps of a piece that are not counted: the state was put back just before."""


@dataclass(frozen=True)
class Pair:
    """An environment and its console.

    Attributes:
        title: of the environment.
        draw: the console draws the last frame of each step, as the environment does.
        arguments: of ``gym.make``, beside the number of laps.
    """

    title: str
    draw: bool = False
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def console(self) -> str:
        """What the environment is compared with."""
        return "console, one frame in 4 drawn" if self.draw else "console, nothing drawn"

    @property
    def name(self) -> str:
        """Of the ratio."""
        return f"{self.title} / {self.console}"


PAIRS: Final = {
    "env": Pair("default arguments"),
    "env_dict": Pair("obs_type='dict'", arguments={"obs_type": "dict"}),
    "env_ram": Pair("obs_type='ram'", arguments={"obs_type": "ram"}),
    "env_pixels": Pair("obs_type='pixels'", True, {"obs_type": "pixels"}),
}
"""What is compared, by key."""


@dataclass(frozen=True)
class Piece:
    """What one piece of the lap took, without its first steps.

    Attributes:
        console: seconds of ``console.step``.
        env: seconds of ``env.step``.
        own: of each step of an ``env.step`` that is timed, the microseconds outside the
            emulator's frames.
        emulator: of each of these steps, the microseconds within them.
    """

    console: float
    env: float
    own: list[float]
    emulator: list[float]


class Paired:
    """An environment, and the tape.

    Args:
        pair: what to make.
        tape: the lap.
    """

    def __init__(self, pair: Pair, tape: Tape) -> None:
        self._tape = tape
        self._keys = tape.keys
        self._draw = pair.draw
        self._random = random.Random(0)
        self._env: Any = gym.make("MKDS-v0", laps=LAPS, **pair.arguments)
        self._base: Any = self._env.unwrapped
        self._here: Any = None  # the state at which the next piece begins
        self._restart()

    def close(self) -> None:
        """Let go of everything."""
        self._env.close()

    def piece(self, begin: int, end: int) -> Piece:
        """Drive a piece in each of the ways.

        Args:
            begin: first step; that at which the piece before ended, or 0.
            end: the step after the last.

        Raises:
            RuntimeError: one of them does not come to the recorded place.
        """
        if begin == 0:
            self._restart()
        own: list[float] = []
        emulator: list[float] = []
        ways: list[tuple[str, Callable[[range], object]]] = [
            ("console", self._console_steps),
            ("env", self._env_steps),
            ("timed", lambda steps: self._timed_steps(steps, own, emulator)),
        ]
        self._random.shuffle(ways)
        seconds: dict[str, float] = {}
        for name, way in ways:
            self._base.restore_state(self._here)
            way(range(begin, begin + WARM_UP))
            own.clear()
            emulator.clear()
            clock = time.perf_counter()
            way(range(begin + WARM_UP, end))
            seconds[name] = time.perf_counter() - clock
            where = self._where()
            if where != self._tape.places[end - 1]:
                raise RuntimeError(
                    f"{name}: the race is at (frame, checkpoint) {where}, not "
                    f"{self._tape.places[end - 1]}"
                )
            if name == "env":
                after = self._base.clone_state()
            elif name == "timed":
                timed = list(own), list(emulator)
        self._here = after
        return Piece(seconds["console"], seconds["env"], *timed)

    def _restart(self) -> None:
        self._env.reset()
        self._here = self._base.clone_state()

    def _console_steps(self, steps: range) -> None:
        step, keys, draw = self._base.console.step, self._keys, self._draw
        for place in steps:
            step(keys[place], FRAME_SKIP, draw)

    def _env_steps(self, steps: range) -> None:
        step, actions = self._env.step, self._tape.actions
        for place in steps:
            step(actions[place])

    def _timed_steps(self, steps: range, own: list[float], emulator: list[float]) -> None:
        console, step, actions = self._base.console, self._env.step, self._tape.actions
        clock, cycle = time.perf_counter, console._cycle
        within = 0.0

        def timed(number: int) -> None:
            nonlocal within
            begin = clock()
            cycle(number)
            within += clock() - begin

        console._cycle = timed
        try:
            for place in steps:
                within = 0.0
                begin = clock()
                step(actions[place])
                whole = clock() - begin
                own.append((whole - within) * 1e6)
                emulator.append(within * 1e6)
        finally:
            console._cycle = cycle

    def _where(self) -> tuple[int, int]:
        """Race clock and checkpoint, as they stand in memory."""
        console = self._base.console
        reader = RaceReader(console.ram, MemoryLayout.detect(console.ram, console.cartridge.region))
        reader.resolve()
        state = reader.read()
        return state.frame, state.checkpoint


@contextlib.contextmanager
def answering(key: str, tape: Tape) -> Iterator[Answer]:
    """A pair's process, for `benchmarks.processes`: (begin, end) is answered with a `Piece`."""
    with contextlib.closing(Paired(PAIRS[key], tape)) as paired:
        yield lambda question: paired.piece(*question)


def pairs(tape: Tape, seconds: float, rounds: int) -> dict[str, Any]:
    """Measure all pairs, piece by piece, in an order drawn by lot for each piece.

    Args:
        tape: the lap.
        seconds: measure until each way of each pair has been running for so long, on average.
        rounds: pieces that are driven at least.

    Returns:
        ``rows`` by key, with ``title``, frames per second of ``console`` and ``env`` (`spread`)
        and ``pieces``; ``ratios``, by `Pair.name`; ``own`` by key: microseconds a step
        (`spread`) of our own code, ``own``, step by step, of the emulator's frames,
        ``emulator``, and of ``console.step``, ``alone``, piece by piece.

    Raises:
        RuntimeError: a process failed, or does not drive the recorded race.
    """
    lot = random.Random(0)
    seen: dict[str, list[Piece]] = {key: [] for key in PAIRS}
    works = {key: Work(f"env.step, {p.title}", answering, (key, tape)) for key, p in PAIRS.items()}
    with processes(works) as running:
        spent = 0.0
        for steps in pieces(tape):
            for key in lot.sample(list(PAIRS), len(PAIRS)):
                piece: Piece = running[key].ask(steps)
                seen[key].append(piece)
                timed = (sum(piece.own) + sum(piece.emulator)) / 1e6
                spent += piece.console + piece.env + timed
            if len(seen["env"]) >= rounds and spent >= seconds * 3 * len(PAIRS):
                break
    frames = (PIECE - WARM_UP) * FRAME_SKIP
    return {
        "rows": {
            key: {
                "title": PAIRS[key].title,
                "console": spread([frames / one.console for one in ones]),
                "env": spread([frames / one.env for one in ones]),
                "pieces": len(ones),
            }
            for key, ones in seen.items()
        },
        "ratios": {
            PAIRS[key].name: spread([one.console / one.env for one in ones])
            for key, ones in seen.items()
        },
        "own": {
            key: {
                "own": spread([step for one in ones for step in one.own]),
                "emulator": spread([sum(one.emulator) / len(one.emulator) for one in ones]),
                "alone": spread([one.console / (PIECE - WARM_UP) * 1e6 for one in ones]),
            }
            for key, ones in seen.items()
        },
    }


def pairs_lines(data: dict[str, Any]) -> list[str]:
    """What `pairs` gives, as Markdown."""
    rows, ratios, own = data["rows"], data["ratios"], data["own"]
    return [
        *table(
            ("frames per second, env.step and its console", "Console.step", "env.step"),
            [
                (
                    PAIRS[key].name,
                    f"{row['console']['median']:,.0f}",
                    f"{row['env']['median']:,.0f}",
                )
                for key, row in rows.items()
            ],
        ),
        "",
        *table(
            ("ratio, both in one process", "median", "middle half"),
            [
                (name, f"{value['median']:.3f}", between(value, ".3f"))
                for name, value in ratios.items()
            ],
        ),
        "",
        *table(
            ("microseconds a step", "our own code", "middle half", "emulator", "Console.step"),
            [
                (
                    rows[key]["title"],
                    f"{value['own']['median']:.1f}",
                    between(value["own"], ".1f"),
                    f"{value['emulator']['median']:,.0f}",
                    f"{value['alone']['median']:,.0f}",
                )
                for key, value in own.items()
            ],
        ),
    ]
