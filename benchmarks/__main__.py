"""``python -m benchmarks``: frames per second, microseconds per step, milliseconds per reset.

All rows of the first table drive the same recorded lap (`benchmarks.race`), one after another
and again, so that what disturbs the machine for a while disturbs all of them alike; a ratio is
the median of the ratios within a round.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import multiprocessing
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from benchmarks.parts import microseconds_per_metric, microseconds_per_step, reset_milliseconds
from benchmarks.race import Tape, drive
from benchmarks.rows import ROWS, serve

RATIOS: Final = (
    ("console / plain", "console", "plain"),
    ("env / console", "env", "console"),
    ("2 workers / 1 worker", "async_2", "async_1"),
)
_PACKAGES: Final = ("mkds-gym", "py-desmume", "gymnasium", "numpy", "embreex")
_START_SECONDS: Final = 120.0
"""How long a row may take to start, or to answer beyond the time it was asked to run."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; see the module.

    Args:
        argv: arguments, by default the process's own.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure speed.")
    parser.add_argument(
        "--seconds", type=float, default=3.0, metavar="S", help="of each measurement (3)"
    )
    parser.add_argument(
        "--repeats", type=int, default=5, metavar="R", help="rounds of measurements (5)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to a file")
    options = parser.parse_args(argv)
    if not options.seconds > 0:
        parser.error(f"--seconds {options.seconds} must be greater than 0")
    if options.repeats < 1:
        parser.error(f"--repeats {options.repeats} must be at least 1")
    if options.json is not None and not options.json.resolve().parent.is_dir():
        parser.error(f"--json {options.json}: there is no folder {options.json.parent}")
    result = measure(options.seconds, options.repeats)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(report(result))
    return 0


def measure(seconds: float, repeats: int) -> dict[str, Any]:
    """Measure everything.

    Args:
        seconds: of each measurement of a row.
        repeats: rounds, each with one measurement of every row.

    Returns:
        What ``--json`` writes.

    Raises:
        RuntimeError: a row failed, or does not drive the recorded race.
    """
    description = machine()
    _say("driving a lap to record it ...")
    tape, states, course = drive()
    samples = _frames_per_second(tape, seconds, repeats)
    _say("timing parts and resets ...")
    parts = microseconds_per_step(states, course)
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "machine": description,
        "seconds": seconds,
        "repeats": repeats,
        "steps_in_a_lap": len(tape.actions),
        "frames_per_second": {
            key: {
                "title": ROWS[key][0],
                "median": statistics.median(values),
                "lowest": min(values),
                "highest": max(values),
                "samples": values,
            }
            for key, values in samples.items()
        },
        "ratios": {
            name: statistics.median(
                a / b for a, b in zip(samples[upper], samples[lower], strict=True)
            )
            for name, upper, lower in RATIOS
        },
        "microseconds_per_step": parts,
        "microseconds_per_step_of_metrics": microseconds_per_metric(states, course),
        "milliseconds_per_reset": reset_milliseconds(max(3, min(50, round(seconds * 15)))),
    }


def _frames_per_second(tape: Tape, seconds: float, repeats: int) -> dict[str, list[float]]:
    context = multiprocessing.get_context("spawn")
    samples: dict[str, list[float]] = {key: [] for key in ROWS}
    running: dict[str, Any] = {}
    processes: list[Any] = []
    try:
        for key in ROWS:
            here, there = context.Pipe()
            process = context.Process(target=serve, args=(key, tape, there))
            process.start()
            there.close()
            processes.append(process)
            running[key] = here
            _say(f"starting: {ROWS[key][0]}")
            _answer(key, here, _START_SECONDS)
        for number in range(repeats):
            _say(f"round {number + 1} of {repeats} ...")
            for key, pipe in running.items():
                pipe.send(seconds)
                frames, spent = _answer(key, pipe, 2.0 * seconds + _START_SECONDS)
                samples[key].append(frames / spent)
    finally:
        for pipe in running.values():
            with contextlib.suppress(OSError):  # its process may be gone already
                pipe.send(None)
        for process in processes:
            process.join(20.0)
            if process.is_alive():
                process.terminate()
                process.join()
    return samples


def _answer(key: str, pipe: Any, timeout: float) -> Any:
    if not pipe.poll(timeout):
        raise RuntimeError(f"{ROWS[key][0]}: no answer within {timeout:.0f} s")
    try:
        answer = pipe.recv()
    except EOFError:
        raise RuntimeError(f"{ROWS[key][0]}: the process has died") from None
    if isinstance(answer, str) and answer != "ready":
        raise RuntimeError(f"{ROWS[key][0]}: {answer}")
    return answer


def machine() -> dict[str, Any]:
    """What the numbers depend on: processor, cores, memory, load, versions."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        cores = os.cpu_count() or 1
    return {
        "processor": _first("/proc/cpuinfo", "model name") or platform.processor() or "unknown",
        "architecture": platform.machine(),
        "cores": cores,
        "memory_gib": round(_kib(_first("/proc/meminfo", "MemTotal")) / 2**20, 1),
        # What a distributor or host adds to the kernel's version is of no interest.
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "load_average_before": round(os.getloadavg()[0], 2),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _first(file: str, key: str) -> str:
    """The value of the first ``key: value`` line of a file; empty when there is none."""
    try:
        lines = Path(file).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def _kib(text: str) -> int:
    return int(text.split()[0]) if text else 0


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def report(result: dict[str, Any]) -> str:
    """The tables, as Markdown, of what `measure` gives."""
    about = result["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in about["packages"].items())
    lines = [
        f"{result['date']}: {about['processor']}, {about['cores']} cores, "
        f"{about['memory_gib']} GiB, {about['system']} {about['architecture']}, "
        f"Python {about['python']}, {packages}; load average before: "
        f"{about['load_average_before']}. "
        f"{result['repeats']} rounds of {result['seconds']:g} s a row.",
        "",
        *table(
            ("frames per second", "median", "lowest to highest"),
            [
                (
                    row["title"],
                    f"{row['median']:,.0f}",
                    f"{row['lowest']:,.0f} to {row['highest']:,.0f}",
                )
                for row in result["frames_per_second"].values()
            ],
        ),
        "",
        *table(
            ("ratio", "median"),
            [(name, f"{value:.2f}") for name, value in result["ratios"].items()],
        ),
        "",
        *table(
            ("part of a step", "microseconds"),
            [(name, f"{value:.1f}") for name, value in result["microseconds_per_step"].items()],
        ),
        "",
        *table(
            ("metric, 4 frames and a collect", "microseconds"),
            [
                (name, f"{value:.1f}")
                for name, value in result["microseconds_per_step_of_metrics"].items()
            ],
        ),
        "",
        *table(
            ("reset", "milliseconds"),
            [(name, f"{value:.1f}") for name, value in result["milliseconds_per_reset"].items()],
        ),
    ]
    return "\n".join(lines)


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """A Markdown table whose columns line up; all but the first are numbers."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]

    def line(cells: tuple[str, ...]) -> str:
        padded = [cells[0].ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return [line(head), f"| {' | '.join(rule)} |", *map(line, rows)]


def _say(line: str) -> None:
    """Progress, out of the way of the tables."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
