"""What the project wants of its speed, and whether a run of the benchmark shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from benchmarks.pairs import PAIRS
from benchmarks.report import table
from benchmarks.rows import ROWS


@dataclass(frozen=True)
class Aim:
    """A number that is to be reached.

    Attributes:
        title: what is measured.
        path: where a result has it: table, then keys.
        wanted: the bound.
        at_least: the number must not be below the bound; else it must be below.
        unit: of both.
    """

    title: str
    path: tuple[str, ...]
    wanted: float
    at_least: bool = True
    unit: str = ""

    def measured(self, tables: dict[str, Any]) -> float | None:
        """The number in a result; None if that has no such number."""
        value: Any = tables
        for key in self.path:
            if key not in value:
                return None
            value = value[key]
        return float(value)

    def met(self, value: float) -> bool:
        """Whether a number reaches the aim."""
        return value >= self.wanted if self.at_least else value < self.wanted


def _ratio(upper: str, lower: str) -> tuple[str, str, str]:
    return "ratios", f"{ROWS[upper].title} / {ROWS[lower].title}", "median"


AIMS: Final = (
    *(
        Aim(f"env.step, {PAIRS[key].name}", ("step", "ratios", PAIRS[key].name, "median"), wanted)
        for key, wanted in (("env", 0.97), ("env_pixels", 0.90))
    ),
    Aim("MKDSVectorEnv, 2 / one env.step", ("vector", *_ratio("native_2", "env")), 1.95),
    Aim(
        "MKDSVectorEnv, 2 / AsyncVectorEnv of plain loops, 2",
        ("vector", *_ratio("native_2", "plain_workers")),
        4.0,
    ),
    Aim("MKDSVectorEnv, 64 / 2", ("vector64", *_ratio("native_64", "native_2")), 1.0),
    Aim(
        "restore_state, milliseconds",
        ("states", "milliseconds", "restore_state", "median"),
        8.0,
        at_least=False,
    ),
    Aim("a clone, KiB on average", ("states", "clone_kib", "mean"), 1024.0, at_least=False),
)
"""All aims."""


def aims(tables: dict[str, Any]) -> list[dict[str, Any]]:
    """Each aim whose table was measured.

    Args:
        tables: of a result.

    Returns:
        For each ``aim``, ``wanted``, ``measured`` and ``met``; the number is None where the table
        is there without it, as when rows were left out for want of memory: the aim is not met.
    """
    found = []
    for aim in AIMS:
        if aim.path[0] in tables:
            value = aim.measured(tables)
            sign = "at least" if aim.at_least else "below"
            found.append(
                {
                    "aim": aim.title,
                    "wanted": f"{sign} {aim.wanted:g}{aim.unit}",
                    "measured": value,
                    "met": value is not None and aim.met(value),
                }
            )
    return found


def aims_lines(found: list[dict[str, Any]]) -> list[str]:
    """What `aims` gives, as Markdown."""
    return table(
        ("aim", "wanted", "measured", "met"),
        [
            (
                row["aim"],
                row["wanted"],
                _number(row["measured"]),
                "yes" if row["met"] else "NO",
            )
            for row in found
        ],
    )


def _number(value: float | None) -> str:
    if value is None:
        return "left out"
    return f"{value:,.3f}" if value < 10 else f"{value:,.1f}"
