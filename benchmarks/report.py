"""The machine, statistics, and Markdown tables."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import psutil
from tabulate import tabulate

from mkds_gym.utils.files import why_unwritable
from mkds_gym.vector.threads import usable_cores

_PACKAGES: Final = ("mkds-gym", "py-desmume", "gymnasium", "numpy", "embreex")


def machine() -> dict[str, Any]:
    """Return what the numbers depend on: date, processor, cores, memory, load, versions."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text(errors="replace").splitlines() if cpu.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "processor": names[0] if names else platform.processor() or "unknown processor",
        "cores": usable_cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        # The rest of the release is the distribution's or the host's own numbering.
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "load_average_before": round(os.getloadavg()[0], 2),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def describe(about: dict[str, Any]) -> str:
    """Return the result of `machine` as one line."""
    packages = ", ".join(f"{name} {number}" for name, number in about["packages"].items())
    return (
        f"{about['date']}: {about['processor']}, {about['cores']} cores, "
        f"{about['memory_gib']} GiB, {about['system']}, Python {about['python']}, {packages}; "
        f"load average before: {about['load_average_before']}."
    )


def memory_mib(pids: Sequence[int]) -> float:
    """Return the memory of processes in MiB (PSS: shared pages are divided between processes)."""
    return sum(float(psutil.Process(pid).memory_full_info().pss) for pid in pids) / 2**20


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the quartiles (``low``, ``high``)."""
    if len(values) == 1:
        return {"median": values[0], "low": values[0], "high": values[0]}
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "low": low, "high": high}


def cells(value: dict[str, float], form: str) -> tuple[str, str]:
    """Return two cells of a table: the median, and "low to high" of a `spread`."""
    return f"{value['median']:{form}}", f"{value['low']:{form}} to {value['high']:{form}}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table. All columns but the first hold numbers."""
    align = ("left", *("right" for _ in head[1:]))
    text: str = tabulate(
        rows, headers=head, tablefmt="github", colalign=align, disable_numparse=True
    )
    return text


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--json FILE``. The parser refuses a file that cannot be written."""
    help_text = "save all results to a file"
    parser.add_argument("--json", type=_writable_file, metavar="FILE", help=help_text)


def _writable_file(name: str) -> Path:
    file = Path(name)
    if problem := why_unwritable(file):
        raise argparse.ArgumentTypeError(f"{file}: {problem}")
    try:
        with file.open("a"):
            return file
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{file} cannot be written: {error.strerror}") from None


def write_json(file: Path | None, result: dict[str, Any]) -> None:
    """Save a result to the file of ``--json``; None saves nothing."""
    if file is not None:
        file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def log(line: str) -> None:
    """Print progress to standard error."""
    print(line, file=sys.stderr, flush=True)
