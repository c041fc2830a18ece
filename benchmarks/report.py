"""What the benchmark's commands have in common: the machine described, tables, progress."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from mkds_gym.vector.threads import usable_cores

_PACKAGES: Final = ("mkds-gym", "py-desmume", "gymnasium", "numpy", "embreex")


def machine() -> dict[str, Any]:
    """What the numbers depend on: processor, cores, memory, load, versions."""
    return {
        "processor": _first("/proc/cpuinfo", "model name") or platform.processor() or "unknown",
        "architecture": platform.machine(),
        "cores": usable_cores(),
        "memory_gib": round(_kib(_first("/proc/meminfo", "MemTotal")) / 2**20, 1),
        # What a distributor or host adds to the kernel's version is of no interest.
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "load_average_before": round(os.getloadavg()[0], 2),
        "packages": {name: installed(name) or "not installed" for name in _PACKAGES},
    }


def available_mib() -> float:
    """Memory that programs may still ask for, in MiB; infinite where the system does not say."""
    text = _first("/proc/meminfo", "MemAvailable")
    return _kib(text) / 1024 if text else float("inf")


def memory_mib(processes: Sequence[int]) -> float | None:
    """Memory of processes, shared pages counted once between those that share them.

    Args:
        processes: their ids.

    Returns:
        MiB; None where the system does not say.
    """
    sizes = [_first(f"/proc/{number}/smaps_rollup", "Pss:") for number in processes]
    return sum(map(_kib, sizes)) / 1024 if all(sizes) else None


def installed(package: str) -> str | None:
    """The version of a distribution package, None when it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _first(file: str, key: str) -> str:
    """The value of the first ``key: value`` line of a file; empty when there is none."""
    try:
        lines = Path(file).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def _kib(text: str) -> int:
    return int(text.split()[0]) if text else 0


def describe(result: dict[str, Any]) -> str:
    """When and where: a line from a result's ``date`` and ``machine``."""
    about = result["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in about["packages"].items())
    return (
        f"{result['date']}: {about['processor']}, {about['cores']} cores, "
        f"{about['memory_gib']} GiB, {about['system']} {about['architecture']}, "
        f"Python {about['python']}, {packages}; load average before: "
        f"{about['load_average_before']}."
    )


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, and the quartiles between which the middle half lies."""
    if len(values) == 1:
        return {"median": values[0], "low": values[0], "high": values[0]}
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "low": low, "high": high}


def between(row: dict[str, float], form: str) -> str:
    """``low to high`` of a `spread`."""
    return f"{row['low']:{form}} to {row['high']:{form}}"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """A Markdown table whose columns line up; all but the first are numbers."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]

    def line(cells: tuple[str, ...]) -> str:
        padded = [cells[0].ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return [line(head), f"| {' | '.join(rule)} |", *map(line, rows)]


def check_writable(parser: argparse.ArgumentParser, option: str, file: Path | None) -> None:
    """End with the parser's error if a file that is named cannot be written.

    Better now than after minutes of measuring; a file that is not there yet is made, empty.
    """
    if file is None:
        return
    if not file.resolve().parent.is_dir():
        parser.error(f"{option} {file}: there is no folder {file.parent}")
    if file.is_dir():
        parser.error(f"{option} {file} is a folder; name a file")
    try:
        with file.open("a"):
            pass
    except OSError as error:
        parser.error(f"{option} {file} cannot be written: {error.strerror}")


def say(line: str) -> None:
    """Progress, out of the way of the tables."""
    print(line, file=sys.stderr, flush=True)
