"""Why two environments at once do not make twice as much as one, step by step.

Each row runs two of something at the same time, and holds that against one alone, in one process
and on the same frames: arithmetic and memory show what two of this machine's processors are worth,
two bare consoles what they are worth to the emulator, and the rows after them what each thing that
is added takes away: one process for both, Python, and waiting for each other after every step.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import gymnasium as gym
import numpy as np

from benchmarks.pairs import WARM_UP
from benchmarks.processes import Answer, Process, Work, processes
from benchmarks.race import FRAME_SKIP, LAPS, Tape
from benchmarks.report import between, spread, table
from benchmarks.turns import pieces

_NUMBERS: Final = 120_000
"""How many are added up in place of a step: some milliseconds."""
_MIB: Final = 8
"""Size of the two arrays that are copied, larger than a processor's own caches."""
_COPIES: Final = 2

ROWS: Final = {
    "arithmetic": ("sums, in two processes", "arithmetic"),
    "memory": (f"copies of {_MIB} MiB, in two processes", "memory"),
    "console": ("Console.step, in two processes", "console"),
    "console_threads": ("Console.step, in two threads", "console"),
    "env_threads": ("env.step, in two threads", "env"),
    "vector": ("MKDSVectorEnv, 2: both wait after each step", "env"),
}
"""What runs twice: key -> (title, what one alone does)."""
_IN_PROCESSES: Final = ("arithmetic", "memory", "console")
_ALONE: Final = ("arithmetic", "memory", "console", "env")


class Runner:
    """Two environments, a vector of two, and what else can be run for a piece of the lap.

    Args:
        tape: the lap.
        threads: also the rows that run twice in this process.
    """

    def __init__(self, tape: Tape, threads: bool) -> None:
        self._tape = tape
        self._keys = tape.keys
        self._envs: list[Any] = [gym.make("MKDS-v0", laps=LAPS) for _ in range(2 if threads else 1)]
        self._vector: Any = (
            gym.make_vec("MKDS-v0", num_envs=2, vectorization_mode="vector_entry_point", laps=LAPS)
            if threads
            else None
        )
        self._from = np.ones(_MIB * 2**20, np.uint8)
        self._to = np.zeros_like(self._from)
        self._here: Any = None
        for env in self._all():
            env.reset()

    def _all(self) -> list[Any]:
        return self._envs + ([] if self._vector is None else [self._vector])

    def close(self) -> None:
        """Let go of everything."""
        for env in self._all():
            env.close()

    def restart(self) -> None:
        """Have the next piece begin at the race start."""
        self._envs[0].reset()
        self._here = self._envs[0].unwrapped.clone_state()

    def pass_on(self, begin: int, end: int) -> None:
        """Drive a piece for good: the next one begins where it ends."""
        env = self._envs[0]
        env.unwrapped.restore_state(self._here)
        for place in range(begin, end):
            env.step(self._tape.actions[place])
        self._here = env.unwrapped.clone_state()

    def alone(self, what: str, begin: int, end: int) -> float:
        """Seconds that one of something takes for a piece."""
        return self._timed(self._way(what, 0), begin, end)

    def twice(self, what: str, begin: int, end: int) -> float:
        """How many pieces a second two of something in this process make together."""
        if what == "vector":
            envs = self._vector.unwrapped
            for env in envs.envs:
                env.unwrapped.restore_state(self._here)
            actions = [np.full(2, action) for action in self._tape.actions]
            return 2 / self._timed(lambda place: envs.step(actions[place]), begin, end)
        kind = ROWS[what][1]
        ways = [self._way(kind, number) for number in range(2)]
        rates = [0.0, 0.0]
        barrier = threading.Barrier(2)

        def run(number: int) -> None:
            barrier.wait()
            rates[number] = 1 / self._timed(ways[number], begin, end)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(rates)

    def _way(self, what: str, number: int) -> Callable[[int], object]:
        """What is done for a step of the lap, from where the piece begins."""
        if what == "arithmetic":
            return lambda _: sum(range(_NUMBERS))
        if what == "memory":
            return lambda _: self._copy()
        env = self._envs[number]
        env.unwrapped.restore_state(self._here)
        if what == "console":
            step, keys = env.unwrapped.console.step, self._keys
            return lambda place: step(keys[place], FRAME_SKIP, False)
        return lambda place: env.step(self._tape.actions[place])

    def _copy(self) -> None:
        for _ in range(_COPIES):
            np.copyto(self._to, self._from)

    @staticmethod
    def _timed(way: Callable[[int], object], begin: int, end: int) -> float:
        for place in range(begin, begin + WARM_UP):
            way(place)
        clock = time.perf_counter()
        for place in range(begin + WARM_UP, end):
            way(place)
        return time.perf_counter() - clock


@contextlib.contextmanager
def answering(tape: Tape, threads: bool) -> Iterator[Answer]:
    """A `Runner`'s process: (method, arguments) is answered with what the method gives."""
    with contextlib.closing(Runner(tape, threads)) as runner:
        yield lambda question: getattr(runner, question[0])(*question[1])


def together(tape: Tape, seconds: float, rounds: int) -> dict[str, Any]:
    """Measure all rows, piece by piece, in an order drawn by lot for each piece.

    Args:
        tape: the lap.
        seconds: measure until each row has been running for so long, on average.
        rounds: pieces that are driven at least.

    Returns:
        ``ratios`` by row's title: pieces a second that two make, over those of one alone
        (`spread`); ``pieces``.

    Raises:
        RuntimeError: a process failed.
    """
    lot = random.Random(0)
    works = {
        "left": Work("two at once, and each alone", answering, (tape, True)),
        "right": Work("the other of two processes", answering, (tape, False)),
    }
    ratios: dict[str, list[float]] = {key: [] for key in ROWS}
    with processes(works) as running:
        left, right = running["left"], running["right"]
        began = time.perf_counter()
        for steps in pieces(tape):
            if steps[0] == 0:
                for process in (left, right):
                    process.ask(("restart", ()))
            rates: dict[str, float] = {}
            todo = [("alone", key) for key in _ALONE] + [("twice", key) for key in ROWS]
            for method, key in lot.sample(todo, len(todo)):
                if method == "alone":
                    rates[f"alone {key}"] = 1 / left.ask((method, (key, *steps)))
                elif key in _IN_PROCESSES:
                    rates[key] = _both(left, right, ("alone", (key, *steps)))
                else:
                    rates[key] = left.ask((method, (key, *steps)))
            for key, (_, alone) in ROWS.items():
                ratios[key].append(rates[key] / rates[f"alone {alone}"])
            for process in (left, right):
                process.ask(("pass_on", steps))
            spent = time.perf_counter() - began
            if len(ratios["vector"]) >= rounds and spent >= seconds * len(todo):
                break
    return {
        "ratios": {ROWS[key][0]: spread(values) for key, values in ratios.items()},
        "pieces": len(ratios["vector"]),
    }


def _both(left: Process, right: Process, question: Any) -> float:
    """Pieces a second of two processes that are asked at the same time."""
    for process in (left, right):
        process.put(question)
    rates: list[float] = [1 / process.answer() for process in (left, right)]
    return sum(rates)


def together_lines(data: dict[str, Any]) -> list[str]:
    """What `together` gives, as Markdown."""
    return table(
        ("two at once / one alone", "median", "middle half"),
        [
            (title, f"{value['median']:.2f}", between(value, ".2f"))
            for title, value in data["ratios"].items()
        ],
    )
