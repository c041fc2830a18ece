"""The folder of a run."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pickle
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.errors import reason
from mkds_gym.recording.format import Recording
from mkds_gym.utils.files import atomic_path
from mkds_neat.episode import EpisodeRecord
from mkds_neat.errors import RunFolderError
from mkds_neat.individual import Result
from mkds_neat.networks import pt_bytes
from mkds_neat.results.champion import Champion
from mkds_neat.results.tables import Row, format_csv, read_csv

CHECKPOINT_VERSION: Final = 1
KEPT_CHECKPOINTS: Final = 3
RUN_FORMAT: Final = "mkds_neat run"
RUN_VERSION: Final = 1

_RECORD: Final = TypeAdapter(EpisodeRecord)


class RunFolder:
    """The folder of a run, made by `create` or `open`.

    Raises:
        RunFolderError: From every method that writes, if the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, output: str | os.PathLike[str], config_text: str) -> RunFolder:
        """Make a new folder. If ``output`` exists, the next free number is added.

        Raises:
            RunFolderError: The folder cannot be made or written, or ``output`` is a file. Nothing
                is left behind.
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
                        "folder with --output"
                    ) from error
                number += 1
                path = base.with_name(f"{base.name}-{number}")
            except OSError as error:
                raise _write_error(path, error) from error
        folder = cls(path)
        try:
            with _write_errors(path):
                folder.checkpoints.mkdir()
            folder.write("config.ini", config_text.encode())
        except BaseException:
            folder.discard()
            raise
        return folder

    def discard(self) -> bool:
        """Remove the folder if no run has begun in it. Files of other programs stay.

        Returns:
            Whether the folder is gone.
        """
        if self._checkpoint_paths():
            return False
        with contextlib.suppress(OSError):
            for name in ("config.ini", "run.json", "run.log", "journal.jsonl"):
                (self.path / name).unlink(missing_ok=True)
            for path in self.checkpoints.glob(".*"):  # a temporary file
                path.unlink()
            if self.checkpoints.exists():
                self.checkpoints.rmdir()
            self.path.rmdir()
        return not self.path.exists()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunFolder:
        """Return the folder of an earlier run.

        Raises:
            RunFolderError: The path is not such a folder.
        """
        folder = cls(Path(path))
        if not (folder.path / "config.ini").is_file():
            raise RunFolderError(
                f"{str(folder.path)!r} is not the folder of a run (no config.ini); give --resume "
                "the folder that the run named when it began"
            )
        return folder

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    def write_errors(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Turn an OSError of the block into a RunFolderError with the file and the remedy."""
        return _write_errors(self.path / name)

    def write(self, name: str, data: bytes) -> None:
        """Write a file completely, or not at all."""
        path = self.path / name
        with _write_errors(path), atomic_path(path) as partial, partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def _append(self, name: str, text: str) -> None:
        path = self.path / name
        with _write_errors(path), path.open("a", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    def journal(self, generation: int, result: Result) -> None:
        """Append a result to ``journal.jsonl``."""
        self._append("journal.jsonl", _journal_line(generation, result))

    def add_individuals(self, rows: Sequence[Row]) -> None:
        """Append a generation to ``individuals.csv``."""
        cells = [row.cells() for row in rows]
        path = self.path / "individuals.csv"
        with _write_errors(path):
            old_columns, old = read_csv(path)
        columns = list(dict.fromkeys([*old_columns, *(name for c in cells for name in c)]))
        if old and columns != old_columns:  # a new metric
            self.write(path.name, format_csv(columns, [*old, *cells]).encode())
        else:
            self._append(path.name, format_csv(columns, cells, header=not old_columns))

    def add_generation(self, cells: Mapping[str, Any]) -> None:
        """Append a row to ``generations.csv``."""
        header = not (self.path / "generations.csv").is_file()
        self._append("generations.csv", format_csv(list(cells), [cells], header=header))

    def save_checkpoint(self, generation: int, state: Mapping[str, Any]) -> None:
        """Save the state before a generation. Empty the journal and remove old checkpoints."""
        data = pickle.dumps({"version": CHECKPOINT_VERSION, "generation": generation, **state})
        self.write(f"checkpoints/{generation:06d}.pkl", data)
        self.write("journal.jsonl", b"")
        with _write_errors(self.checkpoints):
            for path in self._checkpoint_paths()[:-KEPT_CHECKPOINTS]:
                path.unlink()

    def save_recording(self, champion: Champion, recording: bytes) -> None:
        """Save the recording of a driver's race, by its generation and id."""
        labelled = replace(Recording.from_bytes(recording), label=champion.describe())
        with _write_errors(self.path / "recordings"):
            (self.path / "recordings").mkdir(exist_ok=True)
        self.write(_recording_name(champion), labelled.to_bytes())

    def save_champion(self, champion: Champion) -> None:
        """Write ``champion.json``, ``champion.pt`` and, after a recorded race, ``champion.mkr``."""
        recorded = self.path / _recording_name(champion)
        if recorded.is_file():
            with _write_errors(recorded):
                data = recorded.read_bytes()
            self.write("champion.mkr", data)
        else:  # remove the recording of an earlier champion
            with _write_errors(self.path / "champion.mkr"):
                (self.path / "champion.mkr").unlink(missing_ok=True)
        self.write("champion.json", _json_bytes(champion.to_json()))
        self.write("champion.pt", pt_bytes(champion.network))

    def save_cartridge(self, cartridge: Cartridge) -> None:
        """Write ``run.json``."""
        data = {
            "format": RUN_FORMAT,
            "version": RUN_VERSION,
            "rom": str(cartridge.path),
            "rom_title": cartridge.title,
            "rom_sha1": cartridge.sha1,
        }
        self.write("run.json", _json_bytes(data))

    def check_cartridge(self, cartridge: Cartridge) -> None:
        """Compare a cartridge with ``run.json``. Without that file, every cartridge is accepted.

        Raises:
            RunFolderError: The cartridge is another one, or the file is malformed.
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
                f"{str(path)!r} cannot be read ({_cause(error)}); remove the file to continue with "
                "any cartridge"
            ) from error
        if sha1 != cartridge.sha1:
            raise RunFolderError(
                f"the run in {str(self.path)!r} was driven on {title} ({rom!r}, SHA-1 {sha1}), but "
                f"the cartridge is now {cartridge.title} ({str(cartridge.path)!r}, SHA-1 "
                f"{cartridge.sha1}), and results would not be comparable; restore the old one (rom "
                "in the folder's config.ini, or MKDS_ROM), or start a new run"
            )

    def _checkpoint_paths(self) -> list[Path]:
        found = (p for p in self.checkpoints.glob("*.pkl") if re.fullmatch(r"\d+", p.stem))
        return sorted(p for p in found if p.is_file())

    def load_checkpoint(self) -> dict[str, Any]:
        """Return the newest checkpoint that can be read.

        Raises:
            RunFolderError: No checkpoint can be read.
        """
        problem = "there is no file"
        for path in reversed(self._checkpoint_paths()):
            try:
                state = pickle.loads(path.read_bytes())
                version = state["version"]
            except Exception as error:  # a damaged pickle raises anything
                problem = f"{path.name} is damaged ({_cause(error)})"
                continue
            if version != CHECKPOINT_VERSION:
                problem = f"{path.name} has version {version}: expected {CHECKPOINT_VERSION}"
                continue
            return dict(state)
        raise RunFolderError(
            f"{str(self.path)!r} has no checkpoint to resume from: {problem}; start a new run"
        )

    def rewind(self, generation: int) -> dict[tuple[int, int], Result]:
        """Remove ``generation`` and later ones from the tables.

        Returns:
            Results of these generations from the journal, by (generation, id). They need not be
            evaluated again.
        """
        for name in ("individuals.csv", "generations.csv"):
            path = self.path / name
            with _write_errors(path):
                columns, rows = read_csv(path)
            kept = [
                r for r in rows if r["generation"].isdigit() and int(r["generation"]) < generation
            ]
            if kept:
                self.write(name, format_csv(columns, kept).encode())
            elif path.is_file():
                path.unlink()
        known: dict[tuple[int, int], Result] = {}
        path = self.path / "journal.jsonl"
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        for line in text.splitlines():
            try:
                data = json.loads(line)
                record = _RECORD.validate_python(data["record"])
                result = Result(int(data["id"]), float(data["fitness"]), record)
                if int(data["generation"]) >= generation:
                    known[int(data["generation"]), result.id] = result
            except (ValueError, KeyError, TypeError):
                continue  # a line that a crash cut short
        # Written again without such a line, which would swallow the next one that is appended.
        lines = [_journal_line(number, result) for (number, _), result in known.items()]
        self.write("journal.jsonl", "".join(lines).encode())
        return known

    def generations(self) -> list[dict[str, float]]:
        """Return ``generations.csv`` as numbers."""
        _, rows = read_csv(self.path / "generations.csv")
        return [{k: float(v) for k, v in row.items()} for row in rows]


def _recording_name(champion: Champion) -> str:
    return f"recordings/{champion.generation:06d}-{champion.id}.mkr"


def _json_bytes(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, indent=1) + "\n").encode()


def _journal_line(generation: int, result: Result) -> str:
    line = {
        "generation": generation,
        "id": result.id,
        "fitness": result.fitness,
        "record": asdict(result.record),
    }
    return json.dumps(line) + "\n"


@contextlib.contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except RunFolderError:
        raise
    except OSError as error:
        raise _write_error(path, error) from error


_REMEDIES: Final = (
    ((errno.ENOSPC, errno.EDQUOT), "free some space"),
    ((errno.EFBIG,), "raise the limit of a file's size (ulimit -f), or free some space"),
    ((errno.EACCES, errno.EPERM, errno.EROFS), "get the permission to write there"),
    (
        (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
        "check the path",
    ),
)


def _cause(error: Exception) -> str:
    """Return the system's reason, or the type and message of another error."""
    return reason(error) if isinstance(error, OSError) else repr(error)


def _write_error(path: Path, error: OSError) -> RunFolderError:
    remedy = next((text for numbers, text in _REMEDIES if error.errno in numbers), "fix the cause")
    return RunFolderError(
        f"{str(path)!r} cannot be written ({reason(error)}); {remedy} or choose "
        "another folder with --output, and continue with --resume if the run had begun"
    )
