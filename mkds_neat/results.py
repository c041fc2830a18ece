"""A run's folder: everything a run writes, and how it is read back.

===================  ============================================================================
file                 what it holds
===================  ============================================================================
``config.ini``       the config, with the command line's overrides in place
``run.json``         the cartridge: where it is, its title and its SHA-1
``individuals.csv``  a row for every individual of every generation, in order of id
``generations.csv``  a row for every generation
``journal.jsonl``    results since the last checkpoint, as they came in, so that a crash loses none
``checkpoints/``     the last few states of the run, for ``--resume``; pickles, so resume only from
                     folders that you trust
``champion.json``    the best driver so far, see `Champion`
``champion.pt``      its network for PyTorch, see `mkds_neat.networks.load_pt`
``champion.mkr``     its race, for ``python -m mkds_gym.replay``
``recordings/``      likewise of every driver that was the best when it was evaluated, by generation
                     and id
``champion.gif``     the champion's race, and ``champion.png``, a strip of pictures of it
``fitness.png``      fitness over the generations
``run.log``          what was logged
===================  ============================================================================

Tables grow by appending, flushed to the disk; every other file is written beside its place and
then renamed, so that it is never half there. A symbolic link in the folder is followed and stays.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import os
import pickle
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from mkds_gym.display.video import race_clock
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.errors import reason
from mkds_gym.recording.format import Recording
from mkds_gym.utils.files import atomic_path
from mkds_neat.errors import ChampionFormatError, RunFolderError
from mkds_neat.evaluation import Result
from mkds_neat.networks import GenomeNetwork, NetworkSpec, pt_bytes
from mkds_neat.workers import EpisodeRecord

CHECKPOINT_VERSION: Final = 1
KEPT_CHECKPOINTS: Final = 3
RUN_FORMAT: Final = "mkds_neat run"
RUN_VERSION: Final = 1
CHAMPION_FORMAT: Final = "mkds_neat champion"
CHAMPION_VERSION: Final = 1

_FIXED_COLUMNS: Final = (
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
class Champion:
    """The best driver of a run.

    One that finished the race ranks before any that did not, and among those the faster; then
    fitness counts, and then the earlier one. Its JSON file has these attributes as keys, beside
    ``format`` and ``version``.

    Attributes:
        id: its number in the run.
        generation: in which it was evaluated first.
        fitness: its score.
        strategy: whose genome it is.
        genome: in the strategy's own form (``genome_from_json`` in the strategy's module).
        network: the network that drove.
        env_id: the environment.
        env_kwargs: the arguments with which it was evaluated.
        seed: of its episode.
        record: what became of its episode.
        rom_sha1: of the cartridge, 40 hexadecimal digits; empty where there is none.
    """

    id: int
    generation: int
    fitness: float
    strategy: str
    genome: Mapping[str, Any]
    network: NetworkSpec
    env_id: str
    env_kwargs: Mapping[str, Any]
    seed: int
    record: EpisodeRecord
    rom_sha1: str = ""

    @property
    def rank(self) -> tuple[float, ...]:
        """Greater is better."""
        time = -self.record.race_time if self.record.finished else 0.0
        return (float(self.record.finished), time, self.fitness, -self.generation, -self.id)

    def describe(self) -> str:
        """One line for people."""
        text = f"driver {self.id} of generation {self.generation}, fitness {self.fitness:.1f}"
        if self.record.finished:
            laps = ", ".join(map(race_clock, self.record.lap_times))
            text += f": finished in {race_clock(self.record.race_time)} (laps {laps})"
        return text

    def to_json(self) -> dict[str, Any]:
        """The champion as JSON-ready values."""
        return {
            "format": CHAMPION_FORMAT,
            "version": CHAMPION_VERSION,
            "id": self.id,
            "generation": self.generation,
            "fitness": self.fitness,
            "strategy": self.strategy,
            "genome": self.genome,
            "network": self.network.to_json(),
            "env_id": self.env_id,
            "env_kwargs": self.env_kwargs,
            "seed": self.seed,
            "record": asdict(self.record),
            "rom_sha1": self.rom_sha1,
        }

    @classmethod
    def from_json(cls, data: Any) -> Champion:
        """The champion that `to_json` wrote.

        Raises:
            ChampionFormatError: it is something else, or of another version.
        """
        if not isinstance(data, dict) or data.get("format") != CHAMPION_FORMAT:
            raise ChampionFormatError("this is no champion; use champion.json of a run's folder")
        if data.get("version") != CHAMPION_VERSION:
            raise ChampionFormatError(
                f"the champion has version {data.get('version')!r} of the format; this program "
                f"reads {CHAMPION_VERSION}"
            )
        try:
            return cls(
                id=int(data["id"]),
                generation=int(data["generation"]),
                fitness=float(data["fitness"]),
                strategy=str(data["strategy"]),
                genome=dict(data["genome"]),
                network=NetworkSpec.from_json(data["network"]),
                env_id=str(data["env_id"]),
                env_kwargs=dict(data["env_kwargs"]),
                seed=int(data["seed"]),
                record=record_from_json(data["record"]),
                rom_sha1=str(data.get("rom_sha1", "")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ChampionFormatError(f"the champion's file is malformed: {error!r}") from error


def load_champion(path: str | os.PathLike[str]) -> Champion:
    """Read ``champion.json``.

    Raises:
        ChampionFormatError: it is something else.
        OSError: it cannot be read.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ChampionFormatError(f"{os.fspath(path)} is not JSON: {error}") from error
    return Champion.from_json(data)


def record_from_json(data: Mapping[str, Any]) -> EpisodeRecord:
    """An `EpisodeRecord` from what ``dataclasses.asdict`` and JSON made of it."""
    return EpisodeRecord(
        metrics={str(k): float(v) for k, v in data["metrics"].items()},
        steps=int(data["steps"]),
        frames=int(data["frames"]),
        score=float(data["score"]),
        finished=bool(data["finished"]),
        lap_times=tuple(float(t) for t in data["lap_times"]),
        race_time=float(data["race_time"]),
        events=tuple(str(e) for e in data["events"]),
        seconds=float(data["seconds"]),
    )


@dataclass(frozen=True)
class Row:
    """A row of ``individuals.csv``."""

    generation: int
    species: int | None
    parents: tuple[int, ...]
    evaluated: bool
    result: Result

    def cells(self) -> dict[str, Any]:
        """Cells by column."""
        record = self.result.record
        cells: dict[str, Any] = {
            "generation": self.generation,
            "id": self.result.id,
            "species": "" if self.species is None else self.species,
            "parents": " ".join(map(str, self.parents)),
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
        cells.update({k: v for k, v in record.metrics.items() if k not in cells})
        return cells


class RunFolder:
    """A run's folder, see the module. Made by `create` or `open`.

    Raises:
        RunFolderError: from every method that writes, when that fails.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, output: str | os.PathLike[str], config_text: str) -> RunFolder:
        """A new folder; an existing one is never touched, the next free number is added.

        Raises:
            RunFolderError: it cannot be made or written, or a file is in its place; then
                nothing is left of it.
        """
        base = Path(output)
        path, number = base, 1
        while True:
            try:
                path.mkdir(parents=True)
                break
            except FileExistsError as error:
                if number == 1 and not path.is_dir():
                    raise RunFolderError(
                        f"{str(path)!r} is a file, not a folder to write a run to; choose another "
                        "place with --output"
                    ) from error
                number += 1
                path = base.with_name(f"{base.name}-{number}")
            except OSError as error:
                raise _failure(path, error) from error
        folder = cls(path)
        try:
            with _reporting(path):
                folder.checkpoints.mkdir()
            folder.write("config.ini", config_text.encode())
        except BaseException:
            folder.discard()
            raise
        return folder

    def discard(self) -> bool:
        """Remove a folder in which no run has begun; whatever else is in it stays.

        Returns:
            It is gone.
        """
        if self._checkpoint_paths():
            return False
        with contextlib.suppress(OSError):
            for name in ("config.ini", "run.json", "run.log", "journal.jsonl"):
                (self.path / name).unlink(missing_ok=True)
            for path in self.checkpoints.glob(".*"):  # a file that was not finished
                path.unlink()
            if self.checkpoints.exists():
                self.checkpoints.rmdir()
            self.path.rmdir()
        return not self.path.exists()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunFolder:
        """The folder of an earlier run.

        Raises:
            RunFolderError: it is none.
        """
        folder = cls(Path(path))
        if not (folder.path / "config.ini").is_file():
            raise RunFolderError(
                f"{str(folder.path)!r} is not the folder of a run (it has no config.ini); give "
                "--resume the folder that the run named when it began"
            )
        return folder

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    # Writing ---------------------------------------------------------------------------------

    def reporting(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Turns an OSError within into a RunFolderError that names the file and the remedy."""
        return _reporting(self.path / name)

    def write(self, name: str, data: bytes) -> None:
        """Write a file, all of it or nothing."""
        path = self.path / name
        with _reporting(path), atomic_path(path) as partial, partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def _append(self, name: str, text: str) -> None:
        path = self.path / name
        with _reporting(path), path.open("a", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    def journal(self, generation: int, result: Result) -> None:
        """Note a result as soon as it is there."""
        line = {
            "generation": generation,
            "id": result.id,
            "fitness": result.fitness,
            "record": asdict(result.record),
        }
        self._append("journal.jsonl", json.dumps(line) + "\n")

    def add_individuals(self, rows: Sequence[Row]) -> None:
        """Append a generation to ``individuals.csv``."""
        cells = [row.cells() for row in rows]
        names = [*_FIXED_COLUMNS]
        path = self.path / "individuals.csv"
        old: list[dict[str, Any]] = []
        if path.is_file():
            with _reporting(path):
                names, old = _read_csv(path)
        header = not names or not path.is_file()
        for cell in cells:
            for name in cell:
                if name not in names:
                    names.append(name)
                    header = True
        if header and old:
            # A metric turned up that no row before had: write the table anew.
            self.write("individuals.csv", _csv(names, [*old, *cells]).encode())
        else:
            self._append("individuals.csv", _csv(names, cells, header=header))

    def add_generation(self, cells: Mapping[str, Any]) -> None:
        """Append a row to ``generations.csv``."""
        header = not (self.path / "generations.csv").is_file()
        self._append("generations.csv", _csv(GENERATION_COLUMNS, [cells], header=header))

    def save_checkpoint(self, generation: int, state: Mapping[str, Any]) -> None:
        """Save the state before a generation; older ones but the last few, and the journal, go."""
        data = pickle.dumps({"version": CHECKPOINT_VERSION, "generation": generation, **state})
        self.write(f"checkpoints/{generation:06d}.pkl", data)
        self.write("journal.jsonl", b"")
        with _reporting(self.checkpoints):
            for path in self._checkpoint_paths()[:-KEPT_CHECKPOINTS]:
                path.unlink()

    def _recording(self, champion: Champion) -> str:
        return f"recordings/{champion.generation:06d}-{champion.id}.mkr"

    def save_recording(self, champion: Champion, recording: bytes) -> None:
        """Keep the recording of a driver's race, by its generation and id."""
        labelled = replace(Recording.from_bytes(recording), label=champion.describe())
        with _reporting(self.path / "recordings"):
            (self.path / "recordings").mkdir(exist_ok=True)
        self.write(self._recording(champion), labelled.to_bytes())

    def save_champion(self, champion: Champion) -> None:
        """Write ``champion.json``, ``champion.pt`` and, if it was recorded, ``champion.mkr``."""
        recorded = self.path / self._recording(champion)
        if recorded.is_file():
            with _reporting(recorded):
                data = recorded.read_bytes()
            self.write("champion.mkr", data)
        else:  # that of a champion before must not pass for this one's
            with _reporting(self.path / "champion.mkr"):
                (self.path / "champion.mkr").unlink(missing_ok=True)
        self.write("champion.json", (json.dumps(champion.to_json(), indent=1) + "\n").encode())
        self.write("champion.pt", pt_bytes(GenomeNetwork(champion.network)))

    def save_cartridge(self, cartridge: Cartridge) -> None:
        """Write ``run.json``."""
        data = {
            "format": RUN_FORMAT,
            "version": RUN_VERSION,
            "rom": str(cartridge.path),
            "rom_title": cartridge.title,
            "rom_sha1": cartridge.sha1,
        }
        self.write("run.json", (json.dumps(data, indent=1) + "\n").encode())

    def check_cartridge(self, cartridge: Cartridge) -> None:
        """See that a cartridge is the one of ``run.json``; without that file, any is.

        Raises:
            RunFolderError: it is another, or the file is malformed.
        """
        path = self.path / "run.json"
        if not path.is_file():
            return
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if (data["format"], data["version"]) != (RUN_FORMAT, RUN_VERSION):
                raise ValueError("another format or version")
            rom, title, sha1 = (str(data[key]) for key in ("rom", "rom_title", "rom_sha1"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunFolderError(
                f"{str(path)!r} cannot be read ({_why(error)}); remove it to go on with any "
                "cartridge"
            ) from error
        if sha1 != cartridge.sha1:
            raise RunFolderError(
                f"the run in {str(self.path)!r} was driven on {title} ({rom!r}, SHA-1 {sha1}), but "
                f"now the cartridge is {cartridge.title} ({str(cartridge.path)!r}, SHA-1 "
                f"{cartridge.sha1}), on which its results mean nothing; put the old one back (rom "
                "in the folder's config.ini, or MKDS_ROM), or start a new run"
            )

    # Reading ---------------------------------------------------------------------------------

    def _checkpoint_paths(self) -> list[Path]:
        found = (p for p in self.checkpoints.glob("*.pkl") if re.fullmatch(r"\d+", p.stem))
        return sorted(p for p in found if p.is_file())

    def load_checkpoint(self) -> dict[str, Any]:
        """The newest checkpoint that can be read.

        Raises:
            RunFolderError: there is none.
        """
        problem = "there is none"
        for path in reversed(self._checkpoint_paths()):
            try:
                state = pickle.loads(path.read_bytes())
                version = state["version"]
            except Exception as error:  # a damaged pickle raises anything
                problem = f"{path.name} is damaged ({_why(error)})"
                continue
            if version != CHECKPOINT_VERSION:
                problem = f"{path.name} has version {version}, not {CHECKPOINT_VERSION}"
                continue
            return dict(state)
        raise RunFolderError(
            f"{str(self.path)!r} has no checkpoint to resume from: {problem}; start the run anew"
        )

    def rewind(self, generation: int) -> dict[tuple[int, int], Result]:
        """Take the tables back to before ``generation``.

        Returns:
            Results of that generation and later ones from the journal, by (generation, id);
            they need not be evaluated again.
        """
        for name in ("individuals.csv", "generations.csv"):
            path = self.path / name
            if not path.is_file():
                continue
            with _reporting(path):
                names, rows = _read_csv(path)
            kept = [r for r in rows if (r["generation"] or "").isdigit()]
            kept = [r for r in kept if int(r["generation"]) < generation]
            if kept:
                self.write(name, _csv(names, kept).encode())
            else:
                path.unlink()
        known: dict[tuple[int, int], Result] = {}
        path = self.path / "journal.jsonl"
        if path.is_file():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    data = json.loads(line)
                    result = Result(
                        int(data["id"]), float(data["fitness"]), record_from_json(data["record"])
                    )
                    if int(data["generation"]) >= generation:
                        known[int(data["generation"]), result.id] = result
                except (ValueError, KeyError, TypeError):
                    continue  # a line that a crash cut short
        # Written anew, as a line cut short would swallow the first one appended to it.
        lines = [
            json.dumps(
                {
                    "generation": g,
                    "id": r.id,
                    "fitness": r.fitness,
                    "record": asdict(r.record),
                }
            )
            for (g, _), r in known.items()
        ]
        self.write("journal.jsonl", "".join(line + "\n" for line in lines).encode())
        return known

    def generations(self) -> list[dict[str, float]]:
        """``generations.csv`` as numbers."""
        path = self.path / "generations.csv"
        if not path.is_file():
            return []
        _, rows = _read_csv(path)
        return [{k: float(v) for k, v in row.items()} for row in rows]


def _csv(names: Sequence[str], rows: Iterable[Mapping[str, Any]], *, header: bool = True) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _read_csv(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = [row for row in reader if None not in row and None not in row.values()]
        return list(reader.fieldnames or ()), rows


@contextlib.contextmanager
def _reporting(path: Path) -> Iterator[None]:
    try:
        yield
    except RunFolderError:
        raise
    except OSError as error:
        raise _failure(path, error) from error


_REMEDIES: Final = (
    ((errno.ENOSPC, errno.EDQUOT), "free some space"),
    ((errno.EFBIG,), "raise the limit of a file's size (ulimit -f), or free some space"),
    ((errno.EACCES, errno.EPERM, errno.EROFS), "get the permission to write there"),
    (
        (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
        "check the path",
    ),
)


def _why(error: Exception) -> str:
    """What is wrong with a file: what the system says, or else with the kind of the error."""
    return reason(error) if isinstance(error, OSError) else repr(error)


def _failure(path: Path, error: OSError) -> RunFolderError:
    remedy = next((text for numbers, text in _REMEDIES if error.errno in numbers), "see to that")
    return RunFolderError(
        f"{str(path)!r} cannot be written ({reason(error)}); {remedy} or choose "
        "another folder with --output, and go on with --resume if the run had begun"
    )
