"""The tables of a run: ``individuals.csv`` and ``generations.csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mkds_neat.individual import Individual, Result


@dataclass(frozen=True)
class Row:
    """A row of ``individuals.csv``.

    Attributes:
        generation: The generation.
        individual: The individual.
        evaluated: Whether it was evaluated in this generation; a survivor keeps its result.
        result: Its result.
    """

    generation: int
    individual: Individual
    evaluated: bool
    result: Result

    def cells(self) -> dict[str, Any]:
        """Return the cells by column: those of every run, and then the metrics."""
        record, species = self.result.record, self.individual.species
        cells = {
            "generation": self.generation,
            "id": self.result.id,
            "species": "" if species is None else species,
            "parents": " ".join(map(str, self.individual.parents)),
            "fitness": self.result.fitness,
            "evaluated": int(self.evaluated),
            "finished": int(record.finished),
            "race_seconds": record.race_time,
            "lap_seconds": " ".join(map(str, record.lap_times)),
            "steps": record.steps,
            "frames": record.frames,
            "events": " ".join(record.events),
            "wall_seconds": round(record.seconds, 3),
        }
        return {**cells, **{k: v for k, v in record.metrics.items() if k not in cells}}


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
    """Return the columns and the complete rows of a CSV file; empty if the file is missing."""
    if not path.is_file():
        return [], []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = [row for row in reader if None not in row and None not in row.values()]
        return list(reader.fieldnames or ()), rows
