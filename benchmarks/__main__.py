"""``python -m benchmarks`` measures the tables of docs/reference/benchmarks.md.

Ctrl-C ends all processes; the tables that are complete by then are printed, and kept in the JSON.
Exit status: 0 done, 1 a table failed, 2 bad arguments, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.aims import aims, aims_lines
from benchmarks.report import check_writable, describe, machine, say
from benchmarks.tables import TABLES, Session
from mkds_gym.errors import MKDSError


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; see the module.

    Args:
        argv: arguments, by default the process's own.

    Returns:
        The exit status.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    if not (math.isfinite(options.seconds) and options.seconds > 0):
        parser.error(f"--seconds {options.seconds} must be greater than 0, and finite")
    if options.rounds < 1:
        parser.error(f"--rounds {options.rounds} must be at least 1")
    try:
        names = _chosen(options.only, options.skip)
    except ValueError as error:
        parser.error(str(error))
    check_writable(parser, "--json", options.json)

    def keep(result: dict[str, Any]) -> None:
        if options.json is not None:
            # At once, so that no Ctrl-C leaves half of it.
            part = options.json.with_name(options.json.name + ".part")
            part.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
            part.replace(options.json)

    result, stopped = measure(names, options.seconds, options.rounds, keep)
    print(report(result))
    if stopped:
        say("stopped; the tables above are complete")
        return 130
    return 1 if result["failed"] else 0


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, TABLES))
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure speed: print tables, and write everything as JSON.",
        epilog="tables:\n"
        + "\n".join(f"  {name:<{width}}  {table.question}" for name, table in TABLES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for option, what in (("--only", "measure these tables"), ("--skip", "leave these tables out")):
        parser.add_argument(option, nargs="+", action="extend", metavar="TABLE", help=what)
    parser.add_argument(
        "--seconds",
        type=float,
        default=8.0,
        metavar="S",
        help="of measurement of each row, on average (8)",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=10,
        metavar="R",
        help="turns that each row takes at least (10)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to a file")
    return parser


def _chosen(only: Sequence[str] | None, skip: Sequence[str] | None) -> list[str]:
    """Names of the tables to measure, in the order asked for."""
    for option, names in (("--only", only), ("--skip", skip)):
        for name in names or ():
            if name not in TABLES:
                raise ValueError(f"{option}: no table {name!r}; tables are {', '.join(TABLES)}")
    chosen = [name for name in dict.fromkeys(only or TABLES) if name not in (skip or ())]
    if not chosen:
        raise ValueError("--only and --skip leave no table to measure")
    return chosen


def measure(
    names: Sequence[str],
    seconds: float,
    rounds: int,
    keep: Callable[[dict[str, Any]], None],
) -> tuple[dict[str, Any], bool]:
    """Measure tables.

    Args:
        names: of the tables.
        seconds: of each row, on average.
        rounds: that each row takes part in at least.
        keep: called with the result as it grows, table by table.

    Returns:
        What ``--json`` writes, and whether Ctrl-C cut it short.
    """
    session = Session(seconds, rounds)
    result: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "machine": machine(),
        "seconds": seconds,
        "rounds": rounds,
        "minutes": 0.0,
        "tables": {},
        "failed": {},
        "aims": [],
    }
    started = time.monotonic()
    try:
        for number, name in enumerate(names, 1):
            table = TABLES[name]
            say(f"[{number}/{len(names)}] {name}: {table.question}")
            try:
                result["tables"][name] = table.measure(session)
            except (RuntimeError, OSError, MKDSError) as error:
                # The other tables can still be measured.
                result["failed"][name] = str(error)
                say(f"{name} failed: {error}")
            result["aims"] = aims(result["tables"])
            result["minutes"] = (time.monotonic() - started) / 60.0
            keep(result)
    except KeyboardInterrupt:
        return result, True
    return result, False


def report(result: dict[str, Any]) -> str:
    """The tables, as Markdown, of what `measure` gives."""
    lines = [
        f"{describe(result)} Each row measured for {result['seconds']:g} s on average, in "
        f"{result['rounds']} turns or more; {result['minutes']:.0f} minutes in all."
    ]
    for name, data in result["tables"].items():
        lines += ["", f"**{TABLES[name].question}** (`{name}`)", "", *TABLES[name].lines(data)]
    for name, error in result["failed"].items():
        lines += ["", f"The table `{name}` failed: {error}"]
    if result["aims"]:
        lines += ["", "**Aims**", "", *aims_lines(result["aims"])]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
