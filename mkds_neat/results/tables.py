"""The tables of a run: ``individuals.csv`` and ``generations.csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mkds_neat.individual import Result

INDIVIDUAL_COLUMNS: Final = (
    "generation",
    "id",
    "species",
    "parents",
    "fitness",
    "evaluated",
    "finished",
    "race_seconds",
    "lap_seconds",
    "steps",
    "frames",
    "events",
    "wall_seconds",
)
"""The columns of every run; the metrics follow."""

GENERATION_COLUMNS: Final = (
    "generation",
    "individuals",
    "evaluated",
    "best",
    "mean",
    "median",
    "worst",
    "best_id",
    "species",
    "finished",
    "frames",
    "seconds",
)


@dataclass(frozen=True)
class Row:
    """A row of ``individuals.csv``.

    Attributes:
        generation: The generation.
        species: Species of the individual; None for a strategy without species.
        parents: Ids of its parents.
        evaluated: Whether it was evaluated in this generation; a survivor keeps its result.
        result: Its result.
    """

    generation: int
    species: int | None
    parents: tuple[int, ...]
    evaluated: bool
    result: Result

    def cells(self) -> dict[str, Any]:
        """Return the cells by column."""
        record = self.result.record
        values = (
            self.generation,
            self.result.id,
            "" if self.species is None else self.species,
            " ".join(map(str, self.parents)),
            self.result.fitness,
            int(self.evaluated),
            int(record.finished),
            record.race_time,
            " ".join(map(str, record.lap_times)),
            record.steps,
            record.frames,
            " ".join(record.events),
            round(record.seconds, 3),
        )
        return {**record.metrics, **dict(zip(INDIVIDUAL_COLUMNS, values, strict=True))}


def format_csv(
    columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, header: bool = True
) -> str:
    """Return rows as CSV text."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read_csv(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the columns and the complete rows of a CSV file; nothing if there is no file."""
    if not path.is_file():
        return [], []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = [row for row in reader if None not in row and None not in row.values()]
        return list(reader.fieldnames or ()), rows
