"""Milliseconds of a reset, a clone and a restore, and how large clones are along a lap."""

from __future__ import annotations

import pickle
import statistics
import time
from collections.abc import Callable
from typing import Any, Final

import gymnasium as gym

from benchmarks.race import LAPS, Tape
from benchmarks.report import between, say, spread, table

_APART: Final = 15
"""Steps driven before each call, so that there is something to put back."""
_CLONES: Final = 25
"""Places of the lap at which a clone is weighed."""


def states(tape: Tape, rounds: int) -> dict[str, Any]:
    """Time the calls in turns, then drive a lap and weigh clones.

    Args:
        tape: the lap.
        rounds: of calls.

    Returns:
        ``milliseconds`` by call (`spread`), and ``clone_kib``: mean, least and most
        along the lap, and what a pickle of several holds besides.

    Raises:
        RuntimeError: a restored race is not where its clone was taken.
    """
    say("timing reset, clone and restore ...")
    env: Any = gym.make("MKDS-v0", laps=LAPS)
    samples: dict[str, list[float]] = {}
    try:
        first = _milliseconds(env.reset)
        base = env.unwrapped
        clone = base.clone_state()
        frame = base.race.frame
        calls: dict[str, Callable[[], object]] = {
            "reset": env.reset,
            "clone_state": base.clone_state,
            "restore_state": lambda: base.restore_state(clone),
        }
        for _ in range(max(5, rounds)):
            for name, call in calls.items():
                for action in tape.actions[:_APART]:
                    env.step(action)
                samples.setdefault(name, []).append(_milliseconds(call))
                if name == "restore_state" and base.race.frame != frame:
                    raise RuntimeError(
                        f"restored to frame {base.race.frame} of the race, not {frame}"
                    )
        return {
            "milliseconds": {
                "first reset, with the start of the emulator": spread([first]),
                **{name: spread(values) for name, values in samples.items()},
            },
            "clone_kib": _weigh(env, tape),
        }
    finally:
        env.close()


def _milliseconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return (time.perf_counter() - begin) * 1e3


def _weigh(env: Any, tape: Tape) -> dict[str, float]:
    env.reset()
    base = env.unwrapped
    every = max(1, len(tape.actions) // _CLONES)
    clones = []
    for place, action in enumerate(tape.actions):
        if place % every == 0:
            clones.append(base.clone_state())
        env.step(action)
    sizes = [clone.nbytes / 1024 for clone in clones]
    # A pickle holds the race start once, from which all of them differ.
    start = len(pickle.dumps(clones)) / 1024 - sum(sizes)
    return {
        "mean": statistics.fmean(sizes),
        "least": min(sizes),
        "most": max(sizes),
        "race start, once for all": start,
    }


def states_lines(data: dict[str, Any]) -> list[str]:
    """What `states` gives, as Markdown."""
    return [
        *table(
            ("call", "milliseconds", "middle half"),
            [
                (name, f"{value['median']:.1f}", between(value, ".1f"))
                for name, value in data["milliseconds"].items()
            ],
        ),
        "",
        *table(
            ("a clone along the lap", "KiB"),
            [(name, f"{value:,.0f}") for name, value in data["clone_kib"].items()],
        ),
    ]
