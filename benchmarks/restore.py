"""``python -m benchmarks.restore``: where the time of a `MKDSEnv.restore_state` goes.

States along a lap are restored in turn, each after a step of another place, with a clock around
the functions below. What one of them calls of the others is counted there and not here. Processor
time, so that a busy machine disturbs it little.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from benchmarks.report import table
from mkds_gym import env
from mkds_gym.emulator import builds, console, fast_restore, library, state_file
from mkds_gym.episodes import cloned_state

_STATES: Final = 8
_PARTS: Final[dict[str, tuple[tuple[type[Any], str], ...]]] = {
    "large memories written": ((fast_restore.InstantStates, "load"),),
    "emulator: the rest loaded": ((builds.MemoryStates, "load"),),
    "compiled code of changed pages forgotten": (
        (fast_restore.CompiledCode, "level"),
        (fast_restore.CompiledCode, "before_change"),
    ),
    "difference inflated and applied": (
        (state_file.Difference, "apply"),
        (type(state_file._scratch), "begin"),
    ),
    "metrics, events, reward unpickled": ((cloned_state.Parts, "load"),),
    "all else": (
        (env.MKDSEnv, "restore_state"),
        (console.Console, "restore"),
        (library.Core, "load"),
        (builds.Drawing, "load"),
    ),
}


class _Clock:
    """Sums up the time that functions take, without that of one another."""

    def __init__(self) -> None:
        self.spent = dict.fromkeys(_PARTS, 0.0)
        self._within = [0.0]
        self._plain: list[tuple[type[Any], str, Callable[..., Any]]] = []

    def __enter__(self) -> _Clock:
        for part, functions in _PARTS.items():
            for owner, name in functions:
                function = getattr(owner, name)
                self._plain.append((owner, name, function))
                setattr(owner, name, self._timed(function, part))
        return self

    def __exit__(self, *_: object) -> None:
        for owner, name, function in self._plain:
            setattr(owner, name, function)

    def _timed(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            self._within.append(0.0)
            begin = time.thread_time()
            try:
                return function(*arguments, **named)
            finally:
                took = time.thread_time() - begin
                self.spent[part] += took - self._within.pop()
                self._within[-1] += took

        return timed


def measure(rounds: int) -> dict[str, list[float]]:
    """Microseconds of each restore, by part.

    Args:
        rounds: how often all states are restored.
    """
    race = env.MKDSEnv(terminate_on=(), truncate_on=())
    try:
        race.reset(seed=0)
        along = race.clone_along([number / _STATES for number in range(_STATES)])
        for state in along:
            race.restore_state(state)
        parts: dict[str, list[float]] = {part: [] for part in _PARTS}
        with _Clock() as clock:
            for _ in range(rounds):
                for state in along:
                    race.step(0)
                    clock.spent = dict.fromkeys(_PARTS, 0.0)
                    race.restore_state(state)
                    for part, spent in clock.spent.items():
                        parts[part].append(spent * 1e6)
        return parts
    finally:
        race.close()


def main(argv: list[str] | None = None) -> int:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.restore", description="Where the time of restore_state goes."
    )
    parser.add_argument("--rounds", type=int, default=40, help="default: %(default)s")
    options = parser.parse_args(argv)
    if options.rounds < 1:
        parser.error(f"--rounds {options.rounds} must be at least 1")
    parts = measure(options.rounds)
    whole = [sum(spent) for spent in zip(*parts.values(), strict=True)]
    rows = [
        (part, f"{statistics.median(spent):,.0f}", f"{sum(spent) / sum(whole):.0%}")
        for part, spent in parts.items()
    ]
    rows.append(("restore_state", f"{statistics.median(whole):,.0f}", "100%"))
    print("\n".join(table(("part", "microseconds", "share"), rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
