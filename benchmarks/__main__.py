"""Compare speeds on this machine: ``python -m benchmarks``.

Ctrl-C ends all processes; the complete tables are printed and saved. Exit status: 0 done, 1 a table
failed, 2 bad arguments, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Final

from benchmarks import evolution, parts, step, throughput
from benchmarks.lap import Lap, record_lap
from benchmarks.report import add_json, describe, log, machine, write_json
from mkds_gym.utils.command_line import ArgumentParser

QUESTIONS: Final[dict[str, str]] = {
    **{name: throughput.TABLES[name][0] for name in ("plain", "wall")},
    "step": "How much of the console's speed does env.step keep?",
    "parts": "Where does the time go?",
    "evolution": "How fast are drivers evaluated, and how long do workers wait?",
    **{name: throughput.TABLES[name][0] for name in ("vector", "versus", "vector64", "peers")},
}
"""The tables in the order in which they are measured, and the question that each answers."""


def _measure(name: str, lap: Lap, wall: Lap, seconds: float, rounds: int) -> dict[str, Any]:
    if name == "step":
        return step.measure(lap, wall, seconds, rounds)
    if name == "parts":
        return parts.measure(lap, wall, seconds, rounds)
    if name == "evolution":
        return evolution.measure(rounds)
    drive = wall if name in throughput.WALL_TABLES else lap
    return throughput.measure(throughput.TABLES[name][1], drive, seconds, rounds)


def report(result: dict[str, Any]) -> str:
    """Return a result (what ``--json`` writes) as Markdown."""
    reports: dict[str, Callable[[dict[str, Any]], str]] = {
        "step": step.report,
        "parts": parts.report,
        "evolution": evolution.report,
    }
    texts = [f"{describe(result['machine'])} {result['minutes']:.0f} minutes in all."]
    for name, data in result["tables"].items():
        text = reports.get(name, throughput.report)(data)
        texts.append(f"**{QUESTIONS[name]}** (`{name}`)\n\n{text}")
    return "\n\n".join(texts)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = ArgumentParser(
        prog="python -m benchmarks", description="Compare speeds on this machine."
    )
    parser.add_argument(
        "--only", nargs="+", metavar="TABLE", help=f"tables to measure: {', '.join(QUESTIONS)}"
    )
    parser.add_argument(
        "--skip", nargs="+", metavar="TABLE", default=[], help="tables to leave out"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=8.0,
        metavar="S",
        help="seconds per row, on average (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=10,
        metavar="N",
        help="smallest number of pieces per row (default: %(default)s)",
    )
    add_json(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments; None takes those of the process.

    Returns:
        The exit status.
    """
    parser = build_parser()
    options = parser.parse_args(argv)
    if not (math.isfinite(options.seconds) and options.seconds > 0):
        parser.error(f"--seconds {options.seconds} is out of range: expected more than 0")
    if options.rounds < 1:
        parser.error(f"--rounds {options.rounds} is out of range: expected at least 1")
    for name in [*(options.only or ()), *options.skip]:
        if name not in QUESTIONS:
            parser.error(f"unknown table {name!r}: expected one of {', '.join(QUESTIONS)}")
    names = [name for name in options.only or QUESTIONS if name not in options.skip]
    if not names:
        parser.error("all tables are left out")

    result: dict[str, Any] = {"machine": machine(), "tables": {}, "failed": {}}
    begin = time.monotonic()
    status = 0
    try:
        log("recording the drives ...")
        lap, wall = record_lap()[0], record_lap(wall=True)[0]
        for name in names:
            log(f"measuring {name} ...")
            try:
                result["tables"][name] = _measure(name, lap, wall, options.seconds, options.rounds)
            except Exception as error:  # the other tables are measured all the same
                log(f"{name} failed: {''.join(traceback.format_exception(error))}")
                result["failed"][name] = str(error)
                status = 1
    except KeyboardInterrupt:
        log("stopped")
        status = 130
    result["minutes"] = (time.monotonic() - begin) / 60
    write_json(options.json, result)
    if result["tables"]:
        print(report(result))
    return status


if __name__ == "__main__":
    sys.exit(main())
