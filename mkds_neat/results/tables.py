"""The tables of a run: ``individuals.csv`` and ``generations.csv``."""

from __future__ import annotations

import csv
import io
import itertools
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from mkds_gym.utils.files import is_file
from mkds_gym.utils.reading import decode, open_file
from mkds_neat.episode import EpisodeRecord
from mkds_neat.errors import RunFolderError
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
        x, y, z = record.end_position or ("", "", "")
        courses = [each.course for each in self.result.episodes]
        cells = {
            "generation": self.generation,
            "id": self.result.id,
            "species": "" if species is None else species,
            "parents": " ".join(map(str, self.individual.parents)),
            "fitness": self.result.fitness,
            "evaluated": int(self.evaluated),
            "courses": " ".join(name or "-" for name in courses) if any(courses) else "",
            "finished": int(record.finished),
            "race_seconds": record.race_time,
            "lap_seconds": " ".join(map(str, record.lap_times)),
            "steps": record.steps,
            "frames": record.frames,
            "events": " ".join(record.events),
            "end_x": x,
            "end_y": y,
            "end_z": z,
            "wall_seconds": round(record.seconds, 3),
        }
        result = self.result
        if len(result.episodes) > 1 or result.rung is not None:
            cells["rung"] = "" if result.rung is None else result.rung
            cells["episode_fitness"] = " ".join(map(str, result.scores))
            cells["episode_finished"] = " ".join(str(int(e.finished)) for e in result.episodes)
            cells["episode_ends"] = " ".join(map(_place, result.episodes))
        return {**cells, **{k: v for k, v in record.metrics.items() if k not in cells}}


def _place(record: EpisodeRecord) -> str:
    """Return where an episode ended, as ``x:y:z``; ``-`` for an environment without karts."""
    return "-" if record.end_position is None else ":".join(f"{v:.1f}" for v in record.end_position)


SUMMARY_COLUMNS: Final = (
    *("generation", "individuals", "evaluated", "best", "mean", "median", "worst", "best_id"),
    *("species", "finished", "frames", "seconds", "busy"),
)
"""The columns of ``generations.csv``."""


def summarise(
    generation: int, rows: Sequence[Row], species: int, seconds: float, busy: float
) -> dict[str, Any]:
    """Return a row of ``generations.csv``.

    Args:
        generation: The generation.
        rows: Its rows of ``individuals.csv``.
        species: Number of species.
        seconds: Time of its evaluation.
        busy: Workers' busy share, from 0 to 1.
    """
    scores = [row.result.fitness for row in rows]
    best = max(rows, key=lambda row: (row.result.fitness, -row.result.id))
    return {
        "generation": generation,
        "individuals": len(rows),
        "evaluated": sum(row.evaluated for row in rows),
        "best": max(scores),
        "mean": statistics.fmean(scores),
        "median": statistics.median(scores),
        "worst": min(scores),
        "best_id": best.result.id,
        "species": species,
        "finished": sum(row.result.record.finished for row in rows),
        "frames": sum(row.result.record.frames for row in rows if row.evaluated),
        "seconds": round(seconds, 3),
        "busy": round(busy, 3),
    }


def check_summaries(rows: Sequence[Sequence[str]]) -> None:
    """Check that the columns and rows of ``generations.csv`` are those that a run writes.

    Raises:
        ValueError: Columns are missing, or a value is not a finite number.
    """
    if rows and tuple(rows[0]) != SUMMARY_COLUMNS:
        raise ValueError("other columns")
    for row in rows[1:]:
        if len(row) != len(SUMMARY_COLUMNS) or not all(math.isfinite(float(x)) for x in row):
            raise ValueError("a row that is not complete")


def format_csv(
    columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, header: bool = True
) -> bytes:
    """Return rows as CSV text in UTF-8."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n", extrasaction="ignore")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def read_csv(data: bytes, name: str) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns and the complete rows of a CSV file.

    Raises:
        RunFolderError: The data are not CSV text in UTF-8.
    """
    try:
        reader = csv.DictReader(io.StringIO(decode(data, name, RunFolderError), newline=""))
        rows = list(_complete(reader))
        return list(reader.fieldnames or ()), rows
    except csv.Error as error:
        raise RunFolderError(f"{name} is damaged: {error}") from error


def csv_parts(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Yield the CSV text of `format_csv` in parts of some rows."""
    left, header = iter(rows), True
    while part := list(itertools.islice(left, _ROWS)):
        yield format_csv(columns, part, header=header)
        header = False
    if header:
        yield format_csv(columns, ())


_ROWS: Final = 100


def read_rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the complete rows of a CSV file, which may have any size.

    Raises:
        RunFolderError: The file cannot be read, or is not CSV text in UTF-8.
    """
    name = repr(str(path))
    with open_file(path, name, RunFolderError, remedy="expected a table of a run") as file:
        try:
            yield from _complete(csv.DictReader(_lines(file, name)))
        except csv.Error as error:
            raise RunFolderError(f"{name} is damaged: {error}") from error


def _complete(rows: Iterable[dict[str, str]]) -> Iterator[dict[str, str]]:
    return (row for row in rows if None not in row and None not in row.values())


def _lines(file: BinaryIO, name: str) -> Iterator[str]:
    while line := file.readline(_MAX_LINE + 1):
        if len(line) > _MAX_LINE:
            raise RunFolderError(f"{name} is damaged: a line has more than {_MAX_LINE:,} bytes")
        yield decode(line, name, RunFolderError)


def read_columns(path: Path) -> list[str]:
    """Return the columns of a CSV file; empty if the file is missing or empty."""
    if not is_file(path):
        return []
    with path.open("rb") as file:
        return read_csv(file.readline(_MAX_LINE), repr(str(path)))[0]


_MAX_LINE: Final = 1 << 20
