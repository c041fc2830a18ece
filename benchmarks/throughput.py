"""Tables of the speed of several rows.

Each row has its own process. All rows of a table drive one piece of the lap, one row after the
other in random order, then the next piece. So a disturbance of the machine hits all rows alike,
and the ratio of two rows compares the same frames. Tables show the median and the quartiles over
pieces; a ratio is the median of the pieces' ratios.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import Any, Final

from benchmarks.lap import FRAME_SKIP, Lap
from benchmarks.remote import remotes
from benchmarks.report import cells, spread, table
from benchmarks.row import Row
from benchmarks.rows import (
    CONSOLE,
    ENV,
    GEOMETRY,
    NATIVE_2,
    PIXELS,
    PLAIN,
    ROWS,
    eight_each,
    opponents,
)

PIECE: Final = 25
"""Steps of a piece of the lap."""


TABLES: Final[dict[str, tuple[str, list[str]]]] = {
    "plain": (
        "How much faster than py-desmume alone?",
        [
            PLAIN,
            "Console.step, one frame in 4 drawn",
            GEOMETRY,
            CONSOLE,
            ENV,
            PIXELS,
            "AsyncVectorEnv, 2",
            NATIVE_2,
            eight_each(consoles=2),
        ],
    ),
    "wall": (
        "And on frames that look at a wall, which are cheaper to emulate?",
        [PLAIN, GEOMETRY, CONSOLE, ENV, NATIVE_2, eight_each(consoles=2)],
    ),
    "vector": (
        "How fast are several environments together?",
        [
            NATIVE_2,
            CONSOLE,
            "Console.step, two consoles in two threads",
            ENV,
            "AsyncVectorEnv of plain py-desmume loops, 2",
            "SyncVectorEnv, 2",
            "AsyncVectorEnv, 2",
            "MKDSVectorEnv, 1",
            "SyncVectorEnv, 8",
            "AsyncVectorEnv, 8",
            "MKDSVectorEnv, 8",
            eight_each(consoles=1),
            eight_each(consoles=2),
        ],
    ),
    "versus": (
        "How fast are races against each other?",
        [
            opponents(1),
            opponents(7),
            "parallel_env, 2 agents",
            "parallel_env, 8 agents",
        ],
    ),
    "vector64": (
        "How fast are 64 environments, far more than cores?",
        [NATIVE_2, "AsyncVectorEnv, 64", "MKDSVectorEnv, 64", eight_each(consoles=8)],
    ),
    "peers": (
        "How fast are other projects on the same lap?",
        [
            PLAIN,
            PIXELS,
            ENV,
            "gym-mkds 0.2.3, its core environment",
            "stable-retro 1.0.1, melonDS core",
        ],
    ),
}
"""Question and rows of each table. The ratios of a table are those to its first row."""
WALL_TABLES: Final = ("wall",)
"""Tables whose rows take the wall drive instead of the lap."""


def make_row(title: str, lap: Lap) -> Row:
    """Make a row; called in its own process."""
    return ROWS[title](lap)


def pieces(lap: Lap) -> Iterator[tuple[int, int]]:
    """Yield the pieces of the lap (first step, step after the last), again and again."""
    starts = range(lap.first, len(lap.actions) - PIECE + 1, PIECE)
    return itertools.cycle([(begin, begin + PIECE) for begin in starts])


def measure(titles: Sequence[str], lap: Lap, seconds: float, rounds: int) -> dict[str, Any]:
    """Measure rows piece by piece.

    Args:
        titles: of the rows; the first is the reference of the ratios.
        lap: the recorded lap.
        seconds: measure until each row has run for so long on average, ...
        rounds: ... and at least so many pieces.

    Returns:
        By title: ``frames_per_second`` of all drivers together and ``ratio`` (`spread`),
        ``drivers``, and ``memory_mib`` per driver. A row that cannot be made has ``missing``
        instead, the reason.
    """
    order = random.Random(0)
    missing: dict[str, str] = {}
    with remotes(make_row, {title: (title, lap) for title in titles}, missing) as rows:
        result: dict[str, Any] = {title: {"missing": missing.get(title)} for title in titles}
        speeds: dict[str, list[float]] = {title: [] for title in rows}
        drivers = {title: row.call("drivers") for title, row in rows.items()}
        spent = 0.0
        for count, (begin, end) in enumerate(pieces(lap), 1):
            for title in order.sample(list(rows), len(rows)):
                took = rows[title].call("drive", begin, end)
                spent += took
                speeds[title].append(drivers[title] * (end - begin) * FRAME_SKIP / took)
            if count >= rounds and spent >= seconds * len(rows):
                break
        for title, row in rows.items():
            result[title] = {
                "frames_per_second": spread(speeds[title]),
                "ratio": spread(
                    [a / b for a, b in zip(speeds[title], speeds[titles[0]], strict=True)]
                ),
                "memory_mib": row.call("memory") / drivers[title],
                "drivers": drivers[title],
            }
    return result


def report(result: dict[str, Any]) -> str:
    """Return the result of `measure` as a Markdown table."""
    reference = next(iter(result))
    lines = []
    for title, row in result.items():
        if "missing" in row:
            lines.append((title, "not measured", "", "", "", ""))
            continue
        ratio = ("1", "") if title == reference else cells(row["ratio"], ".3f")
        speed = cells(row["frames_per_second"], ",.0f")
        lines.append((title, *speed, *ratio, f"{row['memory_mib']:,.0f}"))
    head = ("row", "driver frames/s", "quartiles", f"x {reference}", "quartiles", "MiB a driver")
    return table(head, lines)
