"""`Run`: what a run folder holds, as arrays."""

from __future__ import annotations

import csv
import io
import os
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.errors import MKDSError
from mkds_gym.recording.format import Recording
from mkds_gym.utils.arguments import file_path, shown
from mkds_gym.utils.files import exists, is_folder
from mkds_gym.utils.reading import open_file, parse_ini, read_text
from mkds_neat.errors import RunFolderError
from mkds_neat.individual import Individual
from mkds_neat.networks import NetworkSpec
from mkds_neat.plots.race import Race, drive
from mkds_neat.results import Champion, Checkpoint, Row, RunFolder, RunInfo, load_champion
from mkds_neat.results.checkpoint import read_journal_line

MAX_TABLE: Final = 256 << 20
"""Largest table that is read, in bytes."""
MAX_CELLS: Final = 20_000_000
"""Most cells of a table that are read."""
MAX_COLUMNS: Final = 1_000

_EPISODES: Final = ("episode_fitness", "episode_finished", "episode_ends")
TEXT_COLUMNS: Final = ("parents", "courses", "lap_seconds", "events", *_EPISODES)
"""Columns of ``individuals.csv`` that are not numbers."""

NEEDED_COLUMNS: Final = {
    "generations.csv": ("generation",),
    "individuals.csv": ("generation", "id", "fitness"),
}
"""Columns without which a table is not read."""

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Run:
    """What a run folder holds.

    A file that is missing or damaged leaves its attribute empty and adds a note. Nothing in the
    folder is unpickled, and no code that the folder names is imported.

    Attributes:
        path: The folder.
        info: The contents of ``run.json``; None without it.
        config: The text of each value of ``config.ini``, by section and key.
        config_text: The text of ``config.ini``.
        generations: The columns of ``generations.csv`` by name, float64 (generations,).
        individuals: The columns of ``individuals.csv`` by name. A row is an individual in a
            generation. Columns are float64, and NaN for an empty cell; `TEXT_COLUMNS` have str. In
            a run that is going, the last rows are those of the generation under way.
        metrics: Names of the columns that are metrics.
        champion: The best driver; None without ``champion.json``.
        notes: Sentences about files that could not be read.
    """

    path: Path
    info: RunInfo | None = None
    config: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    config_text: str = ""
    generations: Columns = field(default_factory=dict)
    individuals: Columns = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    champion: Champion | None = None
    notes: list[str] = field(default_factory=list)
    _races: dict[bool, Race] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, path: str | os.PathLike[str] | Run) -> Run:
        """Read a run folder, also one that a run writes to at the moment.

        Args:
            path: The folder. A `Run` is returned as it is.

        Raises:
            RunFolderError: The path is not the folder of a run, or cannot be read.
        """
        if isinstance(path, Run):
            return path
        folder = RunFolder(file_path("path", path, "the folder of a run"))
        _check_folder(folder.path)
        notes: list[str] = []

        def tried(read: Any, *arguments: Any, default: Any) -> Any:
            try:
                return read(*arguments)
            except (MKDSError, OSError, ValueError) as error:
                notes.append(str(error))
                return default

        text = tried(_read_config, folder.path, default="")
        generations = tried(_read_table, folder.path / "generations.csv", default={})
        individuals = tried(_read_table, folder.path / "individuals.csv", default={})
        known = (*_row_of_nothing(), *_EPISODES, "rung")
        done = generations.get("generation", ())
        begun = np.max(done) + 1 if len(done) else 0
        individuals = _joined(individuals, tried(_read_journal, folder, begun, default=[]))
        has_champion = exists(folder.path / "champion.json")
        return cls(
            path=folder.path,
            info=tried(folder.info, default=None),
            config=tried(_sections, text, default={}),
            config_text=text,
            generations=generations,
            individuals=individuals,
            metrics=tuple(name for name in individuals if name not in known),
            champion=tried(load_champion, folder.path / "champion.json", default=None)
            if has_champion
            else None,
            notes=notes,
        )

    def checkpoint(self) -> Checkpoint | None:
        """Return the newest checkpoint that can be read; None if there is no checkpoint.

        Raises:
            RunFolderError: No checkpoint can be read.
        """
        return RunFolder(self.path).load_checkpoint()

    def race(self, *, pictures: bool = False) -> Race:
        """Return the champion's race, driven again from ``champion.mkr``.

        The first call takes seconds.

        Args:
            pictures: Whether the race has pictures.

        Raises:
            RunFolderError: The folder has no recording of the champion.
            RecordingError: The recording is damaged, or cannot be driven here.
            CartridgeError, ConsoleError: The cartridge or the emulator cannot be used.
        """
        for known in (True, pictures):
            if known in self._races:
                return self._races[known]
        path = self.path / "champion.mkr"
        if not exists(path):
            raise RunFolderError(
                "the folder has no champion.mkr: races of MKDS-v0 are recorded, except those of "
                "drivers that start along the course and share a console"
            )
        rom = None if self.info is None else self.info.rom
        self._races[pictures] = drive(Recording.load(path), rom or None, pictures=pictures)
        return self._races[pictures]

    @property
    def strategy(self) -> str:
        """Name of the strategy; empty if it is not known."""
        if self.info is not None:
            return self.info.strategy
        return self.config.get("run", {}).get("strategy", "")


def _check_folder(path: Path) -> None:
    expected = "expected the folder of a run, such as runs/first_finish"
    try:
        if not is_folder(path):
            problem = "is not a folder" if exists(path) else "does not exist"
            raise RunFolderError(f"{shown(str(path))} {problem}: {expected}")
        names = {entry.name for entry in path.iterdir()}
    except PermissionError as error:
        raise RunFolderError(f"{shown(str(path))} cannot be read ({error.strerror})") from error
    if not names & {"config.ini", "run.json", "checkpoints"}:
        raise RunFolderError(
            f"{shown(str(path))} is not the folder of a run (no config.ini): {expected}"
        )


def _read_config(path: Path) -> str:
    file = path / "config.ini"
    return read_text(file, shown(str(file)), RunFolderError, remedy="put the file back")


def _sections(text: str) -> dict[str, dict[str, str]]:
    parser = parse_ini(text, "config.ini", RunFolderError)
    return {name: dict(parser.items(name)) for name in parser.sections()}


def _read_table(path: Path) -> dict[str, NDArray[Any]]:
    """Return the columns of a table, without an incomplete last row; empty without the file."""
    if not exists(path):
        return {}
    name = shown(str(path))
    remedy = "expected a table that a run has written"
    with open_file(path, name, RunFolderError, remedy=remedy) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > MAX_TABLE:
            raise RunFolderError(
                f"{name} has {size:,} bytes, and the limit is {MAX_TABLE:,}: {remedy}"
            )
        try:
            with io.TextIOWrapper(stream, encoding="utf-8", newline="") as text:
                columns = _columns(text)
        except (csv.Error, UnicodeDecodeError) as error:
            raise RunFolderError(f"{name} is damaged: {error}") from error
    for needed in NEEDED_COLUMNS[path.name]:
        if columns and needed not in columns:
            raise RunFolderError(f"{name} is damaged: it has no column {needed!r}")
    return columns


def _columns(text: io.TextIOWrapper) -> dict[str, NDArray[Any]]:
    reader = csv.reader(_complete(text))
    names = next(reader, [])
    if len(names) > MAX_COLUMNS:
        raise csv.Error(f"{len(names):,} columns, and the limit is {MAX_COLUMNS:,}")
    cells: list[Any] = [[] if name in TEXT_COLUMNS else array("d") for name in names]
    for number, row in enumerate(reader):
        if (number + 1) * len(names) > MAX_CELLS:
            raise csv.Error(f"more than {MAX_CELLS:,} cells")
        if len(row) != len(names):
            continue
        for column, cell in zip(cells, row, strict=True):
            column.append(cell if isinstance(column, list) else _number(cell))
    return {
        name: np.array(column, np.object_ if isinstance(column, list) else np.float64)
        for name, column in zip(names, cells, strict=True)
    }


def _complete(text: io.TextIOWrapper) -> Iterator[str]:
    """Yield the complete lines: a run that is going may be about to write the last one."""
    while line := text.readline(1 << 20):
        if line.endswith(("\n", "\r")):
            yield line


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def _row_of_nothing() -> dict[str, Any]:
    """Return the cells of every run, without metrics."""
    from mkds_neat.individual import Result

    return Row(0, Individual(0, NetworkSpec((), (), (), ()), {}), True, Result(0, 0.0)).cells()


def _read_journal(folder: RunFolder, begun: float) -> list[dict[str, Any]]:
    """Return the rows of the generation under way, from the journal."""
    rows = []
    for line in folder.journal_lines():
        entry = read_journal_line(line)
        if entry is not None and entry[0] >= begun:
            generation, _, result = entry
            who = Individual(result.id, NetworkSpec((), (), (), ()), {})
            rows.append(Row(generation, who, True, result).cells())
    return rows


def _joined(
    columns: dict[str, NDArray[Any]], rows: list[dict[str, Any]]
) -> dict[str, NDArray[Any]]:
    """Append rows to a table."""
    if not rows:
        return columns
    old = len(next(iter(columns.values()), ()))
    names = dict.fromkeys([*columns, *(name for row in rows for name in row)])
    joined = {}
    for name in names:
        is_text = name in TEXT_COLUMNS
        kind: Any = np.object_ if is_text else np.float64
        empty: Any = "" if is_text else np.nan
        new = [row.get(name, empty) for row in rows]
        if not is_text:
            new = [np.nan if cell == "" else float(cell) for cell in new]
        before = columns.get(name, np.full(old, empty, kind))
        joined[name] = np.concatenate([before, np.array(new, kind)])
    return joined
