"""Throughput against number of environments, as a picture: ``python -m benchmarks.plot FILE PNG``.

FILE is what ``python -m benchmarks --json FILE`` wrote, with the tables ``vector`` and
``vector64``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.rows import COUNTS, VECTORS
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


def draw(result: dict[str, Any], picture: Path) -> None:
    """Draw a result's vector environments.

    Args:
        result: of ``python -m benchmarks --json``.
        picture: where to.

    Raises:
        ValueError: the result has no vector environments.
    """
    rows: dict[str, Any] = {}
    for name in ("vector64", "vector"):
        rows |= result.get("tables", {}).get(name, {}).get("rows", {})
    if not rows:
        raise ValueError(
            "no vector environments were measured; run python -m benchmarks --only "
            "vector vector64 --json FILE"
        )
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    axes = figure.subplots()
    for kind, (title, _) in VECTORS.items():
        seen = [(count, rows[f"{kind}_{count}"]) for count in COUNTS if f"{kind}_{count}" in rows]
        medians = [row["median"] for _, row in seen]
        axes.errorbar(
            [count for count, _ in seen],
            medians,
            yerr=[
                [row["median"] - row["low"] for _, row in seen],
                [row["high"] - row["median"] for _, row in seen],
            ],
            marker="o",
            capsize=3,
            label=title,
        )
    if "plain_workers" in rows:
        row = rows["plain_workers"]
        axes.plot(
            [row["consoles"]], [row["median"]], "kx", label="AsyncVectorEnv, plain py-desmume"
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(COUNTS, [str(count) for count in COUNTS])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("environments")
    axes.set_ylabel("frames per second, all together")
    about = result["machine"]
    axes.set_title(f"{about['cores']} cores ({about['processor']}), {result['date']}", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    # No date of writing and no version in the file.
    figure.savefig(picture, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    sys.exit(main())
