"""Rows take turns: the same piece of the lap, one row after another, and again.

What disturbs the machine for a while thus disturbs all rows alike, and they are compared piece by
piece: a ratio is the median of the ratios of single pieces, which are the same frames.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Final

from benchmarks.processes import Work, processes
from benchmarks.race import FRAME_SKIP, Tape
from benchmarks.report import spread
from benchmarks.rows import ROWS, answering

PIECE: Final = 25
"""Steps of a piece: 100 frames."""

Samples = dict[str, list[float]]
"""Frames per second of each piece, by row."""


def pieces(tape: Tape) -> Iterator[tuple[int, int]]:
    """Pieces of the lap, (first step, step after the last), over and over."""
    begins = range(0, len(tape.actions) - PIECE + 1, PIECE)
    return ((begin, begin + PIECE) for begin in itertools.cycle(begins))


def take_turns(
    keys: Sequence[str], tape: Tape, seconds: float, rounds: int
) -> tuple[Samples, dict[str, float | None]]:
    """Measure rows in turns.

    Args:
        keys: of the rows.
        tape: the lap; it is driven piece by piece, and again.
        seconds: measure until the rows have been running for so long, on average.
        rounds: pieces that are driven at least.

    Returns:
        The samples, as many of each row, and each row's memory at the end, MiB.

    Raises:
        RuntimeError: a row failed, or does not drive the recorded race.
    """
    samples: Samples = {key: [] for key in keys}
    with processes({key: Work(ROWS[key].title, answering, (key, tape)) for key in keys}) as rows:
        spent = 0.0
        for piece in pieces(tape):
            for key, row in rows.items():
                took = row.ask(piece)
                samples[key].append(PIECE * FRAME_SKIP * ROWS[key].consoles / took)
                spent += took
            if len(samples[keys[0]]) >= rounds and spent >= seconds * len(keys):
                break
        memory = {key: row.ask("memory") for key, row in rows.items()}
    return samples, memory


def ratio(samples: Samples, upper: str, lower: str) -> dict[str, float]:
    """How much faster one row is than another, piece by piece; see `spread`."""
    return spread([a / b for a, b in zip(samples[upper], samples[lower], strict=True)])
