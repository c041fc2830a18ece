"""Throughput against number of environments, as a picture: ``python -m benchmarks.plot FILE PNG``.

FILE is what ``python -m benchmarks --json FILE`` wrote, with the tables ``vector`` and
``vector64``. Their groups of rows were measured one after another, while the machine may have
become faster or slower; the reference took its turns in each of them. So a point is its row's
ratio to the reference of its own group, times one speed for all: the median of the reference's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows import COUNTS, ROWS, VECTORS
from benchmarks.tables import REFERENCE
from mkds_gym.errors import reason


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; see the module.

    Args:
        argv: arguments, by default the process's own.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.plot",
        description="Draw throughput against number of environments.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="of python -m benchmarks --json")
    parser.add_argument("picture", type=Path, metavar="PNG", help="the picture to write")
    options = parser.parse_args(argv)
    try:
        result = json.loads(options.file.read_text(encoding="utf-8"))
        draw(result, options.picture)
    except OSError as error:
        parser.error(f"{error.filename or options.picture}: {reason(error)}")
    except ValueError as error:
        parser.error(str(error))
    return 0


def points(result: dict[str, Any]) -> tuple[float, dict[str, dict[str, float]]]:
    """What to draw of a result.

    Args:
        result: of ``python -m benchmarks --json``.

    Returns:
        Frames per second of the reference, and by row `benchmarks.report.spread` of frames per
        second: that of the row's ratio to the reference of its group, times the reference's.

    Raises:
        ValueError: the result has no vector environments.
    """
    tables = result.get("tables", {})
    groups = [
        group["rows"]
        for name in ("vector", "vector64")
        for group in tables.get(name, {}).get("groups", [])
    ]
    if not groups:
        raise ValueError(
            "no vector environments were measured; run python -m benchmarks --only "
            "vector vector64 --json FILE"
        )
    speed = statistics.median(rows[REFERENCE]["median"] for rows in groups)
    return speed, {
        key: {name: speed * value for name, value in row["of_reference"].items()}
        for rows in groups
        for key, row in rows.items()
    }


def draw(result: dict[str, Any], picture: Path) -> None:
    """Draw a result's vector environments.

    Args:
        result: of ``python -m benchmarks --json``.
        picture: where to.

    Raises:
        ValueError: the result has no vector environments.
    """
    reference, rows = points(result)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    axes = figure.subplots()
    for kind, (title, _) in VECTORS.items():
        keys = {count: f"{kind}_{count}" for count in COUNTS}
        seen = {count: rows[key] for count, key in keys.items() if key in rows}
        axes.errorbar(
            list(seen),
            [point["median"] for point in seen.values()],
            yerr=[
                [point["median"] - point["low"] for point in seen.values()],
                [point["high"] - point["median"] for point in seen.values()],
            ],
            marker="o",
            capsize=3,
            label=title,
        )
    if "plain_workers" in rows:
        count, speed = ROWS["plain_workers"].consoles, rows["plain_workers"]["median"]
        axes.plot([count], [speed], "kx", label="AsyncVectorEnv, plain py-desmume")
    axes.set_xscale("log", base=2)
    axes.set_xticks(COUNTS, [str(count) for count in COUNTS])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("environments")
    axes.set_ylabel("frames per second, all together")
    ratios = axes.secondary_yaxis(
        "right",
        functions=(
            lambda speed: np.asarray(speed, float) / reference,
            lambda times: np.asarray(times, float) * reference,
        ),
    )
    ratios.set_ylabel(f"x {ROWS[REFERENCE].title}")
    about = result["machine"]
    axes.set_title(f"{about['cores']} cores ({about['processor']}), {result['date']}", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    # No date of writing and no version in the file.
    figure.savefig(picture, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    sys.exit(main())
