"""The measures of a run within its budget of frames, from the tables in its folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, TypeAdapter

from mkds_gym.utils.files import is_file, write_bytes
from mkds_gym.utils.reading import parse_json, read_file, validated
from mkds_neat.errors import RunFolderError
from mkds_neat.results.tables import read_csv

MEASURES_FORMAT: Final = "mkds_neat measures"
MEASURES_VERSION: Final = 1
MAX_TABLE: Final = 1 << 30
MAX_MEASURES: Final = 16 << 20

_Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True)
class Measures:
    """What a run has reached within its budget.

    Attributes:
        name: Name of the run.
        frames: Driver frames that count: those of the individuals within the budget.
        spent: Driver frames of the whole run, which ends with a generation.
        generations: Generations of the whole run.
        individuals: Individuals within the budget that were evaluated.
        seconds: Wall time of the whole run without the start of workers.
        finished: Individuals within the budget that finished the race.
        first_finish: Frames until the first of them had finished; None for none.
        first_finish_seconds: Wall time until the end of its generation; None for none.
        best_time: Shortest race time in seconds; None if no individual finished.
        best_fitness: Highest fitness; None without individuals.
        champion: Id of the best individual, by the order of `mkds_neat.results.Champion`; None
            without individuals.
        curve: A point (frames, best fitness, best race time) wherever one of the two improves.
    """

    name: str
    frames: int
    spent: int
    generations: int
    individuals: int
    seconds: _Finite
    finished: int
    first_finish: int | None
    first_finish_seconds: _Finite | None
    best_time: _Finite | None
    best_fitness: _Finite | None
    champion: int | None
    curve: tuple[tuple[int, _Finite, _Finite | None], ...]

    def save(self, path: Path) -> None:
        """Write the measures as JSON."""
        data = {"format": MEASURES_FORMAT, "version": MEASURES_VERSION, **asdict(self)}
        write_bytes(path, (json.dumps(data) + "\n").encode(), RunFolderError)

    @classmethod
    def load(cls, path: Path) -> Measures | None:
        """Read what `save` wrote; None if there is no file.

        Raises:
            RunFolderError: The file is damaged or of another version.
        """
        if not is_file(path):
            return None
        name = repr(str(path))
        remedy = "remove the file; the comparison then measures the run again"
        data = read_file(path, name, RunFolderError, limit=MAX_MEASURES, remedy=remedy)
        read = parse_json(data, name, RunFolderError)
        if not isinstance(read, dict) or (read.pop("format", None), read.pop("version", None)) != (
            MEASURES_FORMAT,
            MEASURES_VERSION,
        ):
            raise RunFolderError(f"{name} has another format or version: {remedy}")
        return validated(_MEASURES, read, name, RunFolderError)


_MEASURES: Final = TypeAdapter(Measures)


@dataclass(frozen=True)
class _Drive:
    """A row of ``individuals.csv``."""

    generation: int
    id: int
    frames: int
    fitness: float
    time: float | None

    @property
    def rank(self) -> tuple[float, ...]:
        finished = self.time is not None
        return (finished, -(self.time or 0.0), self.fitness, -self.generation, -self.id)


def _table(folder: Path, name: str) -> list[dict[str, str]]:
    path = folder / name
    if not is_file(path):
        return []
    label = repr(str(path))
    data = read_file(path, label, RunFolderError, limit=MAX_TABLE, remedy="expected a run's table")
    return read_csv(data, label)[1]


def _drives(folder: Path) -> Iterator[_Drive]:
    """Yield the evaluated individuals in order of generation and id."""
    try:
        rows = [
            _Drive(
                int(row["generation"]),
                int(row["id"]),
                int(row["frames"]),
                float(row["fitness"]),
                float(row["race_seconds"]) if int(row["finished"]) else None,
            )
            for row in _table(folder, "individuals.csv")
            if int(row["evaluated"])
        ]
    except (KeyError, ValueError) as error:
        raise RunFolderError(
            f"{str(folder / 'individuals.csv')!r} is damaged: {error!r}"
        ) from error
    yield from sorted(rows, key=lambda drive: (drive.generation, drive.id))


def measure(folder: Path, name: str, budget: int, *, last_champion: bool = False) -> Measures:
    """Measure a run whose tables are complete.

    Args:
        folder: The run's folder.
        name: Name of the run.
        budget: Its budget in driver frames.
        last_champion: Take the champion from the last generation that is wholly within the budget,
            because results of generations cannot be compared (``seeds = generation``).

    Raises:
        RunFolderError: A table is damaged.
    """
    try:
        summaries = [
            (int(row["generation"]), int(row["frames"]), float(row["seconds"]))
            for row in _table(folder, "generations.csv")
        ]
    except (KeyError, ValueError) as error:
        path = str(folder / "generations.csv")
        raise RunFolderError(f"{path!r} is damaged: {error!r}") from error
    frames = individuals = finished = 0
    first: _Drive | None = None
    first_frames = None
    best: _Drive | None = None
    fitness: float | None = None
    time: float | None = None
    curve: list[tuple[int, float, float | None]] = []
    champion: _Drive | None = None
    for drive in _drives(folder):
        if last_champion and best is not None and drive.generation > best.generation:
            champion, best = best, None
        if frames + drive.frames > budget:
            break
        frames += drive.frames
        individuals += 1
        if drive.time is not None:
            finished += 1
            if first is None:
                first, first_frames = drive, frames
        if best is None or drive.rank > best.rank:
            best = drive
        better = fitness is None or drive.fitness > fitness
        faster = drive.time is not None and (time is None or drive.time < time)
        fitness = drive.fitness if better else fitness
        time = drive.time if faster else time
        if better or faster:
            assert fitness is not None
            curve.append((frames, fitness, time))
    else:  # the last generation is whole
        champion = best
    if not last_champion or champion is None:
        champion = best
    return Measures(
        name=name,
        frames=frames,
        spent=sum(spent for _, spent, _ in summaries),
        generations=len(summaries),
        individuals=individuals,
        seconds=sum(seconds for _, _, seconds in summaries),
        finished=finished,
        first_finish=first_frames,
        first_finish_seconds=None
        if first is None
        else sum(s for generation, _, s in summaries if generation <= first.generation),
        best_time=time,
        best_fitness=fitness,
        champion=None if champion is None else champion.id,
        curve=tuple(curve),
    )
