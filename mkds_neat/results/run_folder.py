"""The folder of a run."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, SoftFileLock, Timeout

from mkds_gym.errors import RecordingError, reason
from mkds_gym.recording.format import MAX_SIZE as MAX_RECORDING
from mkds_gym.recording.format import Recording
from mkds_gym.utils.arguments import shown
from mkds_gym.utils.files import exists, is_file, is_folder, is_partial
from mkds_gym.utils.reading import open_file, read_file
from mkds_neat.errors import NoRunFolderError, RunFolderError, RunVersionError
from mkds_neat.individual import Individual, Result
from mkds_neat.main_module import check_main_module
from mkds_neat.networks import pt_bytes
from mkds_neat.results.champion import Champion
from mkds_neat.results.checkpoint import (
    MAX_CHECKPOINT,
    MAX_VALUES,
    Checkpoint,
    Tables,
    journal_line,
    network_digest,
    plain,
    read_journal_line,
)
from mkds_neat.results.individuals_table import IndividualsTable
from mkds_neat.results.run_info import RunInfo
from mkds_neat.results.tables import Row, format_csv, read_csv
from mkds_neat.results.writing import append_to_file, write_error, write_errors, write_file

FOLDERS: Final = ("checkpoints", "recordings", "networks", "tensorboard")
"""Folders in the folder of a run."""
KEPT_CHECKPOINTS: Final = 3
MAX_CONFIG: Final = 1 << 20
MAX_RUN_INFO: Final = 1 << 20
MAX_JOURNAL: Final = 64 << 20
"""Most bytes of ``journal.jsonl`` that are read."""
MAX_TABLE: Final = 16 << 20
"""Most bytes of ``generations.csv`` that are read."""
_LOCK_SECONDS: Final = 0.5
"""Time that the processes of a run that was killed have to end."""

_LOG: Final = logging.getLogger(__name__)

Known = Mapping[tuple[int, int, str], Result]
"""Results by generation, id, and digest of the network."""


class RunFolder:
    """The folder of a run, made by `create` or `open`.

    One process at a time writes to a folder, see `lock`. A folder is a context manager that
    unlocks at the end.

    Attributes:
        path: The folder.
        notes: Sentences about damage that was repaired.

    Raises:
        RunFolderError: From every method that writes, if the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self._too_large = False
        self._lock: FileLock | SoftFileLock | None = None
        self._individuals = IndividualsTable(path / "individuals.csv")

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *error: object) -> None:
        self.unlock()

    def lock(self) -> bool:
        """Become the only writer, until `unlock` or the end of this process.

        Temporary files of writers that were killed are removed.

        The lock is one of the system (``flock``), which ends with the process, however that ends.
        It also holds between machines on network file systems that pass it on, such as NFS since
        version 3. On a file system without such locks, the lock is a file with the process id
        and host of its owner.

        Returns:
            True; False if this object has the lock already.

        Raises:
            RunFolderError: Another process, or another object of this process, is the writer.
        """
        if self._lock is not None:
            return False
        path = self.path / "run.lock"
        for kind in (FileLock, SoftFileLock):
            lock = kind(path, timeout=_LOCK_SECONDS, thread_local=False)
            try:
                lock.acquire()
            except Timeout:
                raise RunFolderError(self._held(kind is SoftFileLock)) from None
            except (OSError, NotImplementedError) as error:  # filelock 3 raises the second one
                if kind is FileLock and getattr(error, "errno", errno.ENOSYS) in _NO_LOCKS:
                    path = path.with_name("run.lock.owner")
                    continue
                raise write_error(path, OSError(*error.args)) from error
            self._lock = lock
            break
        with write_errors(self.path):
            for folder in (self.path, *(self.path / name for name in FOLDERS)):
                for partial in folder.glob(".*") if is_folder(folder) else ():
                    if is_partial(partial) and not is_folder(partial):
                        partial.unlink(missing_ok=True)
        return True

    def unlock(self) -> None:
        """Let another process write."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def _held(self, soft: bool) -> str:
        try:
            holder = f"process {self.info().holder}"
        except RunFolderError:
            holder = "another process"
        remedy = (
            f"or remove {str(self.path / 'run.lock.owner')!r} if that process no longer exists"
            if soft
            else "or stop that process"
        )
        return (
            f"the run in {str(self.path)!r} is going: {holder} writes to it; wait for its end, "
            f"{remedy}"
        )

    @classmethod
    def create(cls, output: str | os.PathLike[str], config_text: str) -> RunFolder:
        """Make a new folder. If ``output`` exists, the next free number is added.

        Raises:
            RunFolderError: The folder cannot be made or written, or ``output`` is a file. Nothing
                is left behind.
            EvaluationError: A worker process that imports the main module calls this.
        """
        check_main_module()
        base = Path(output)
        path, number = base, 1
        while True:
            try:
                path.mkdir(parents=True)
                break
            except FileExistsError as error:
                if number == 1 and not is_folder(path):
                    raise RunFolderError(
                        f"{str(path)!r} is a file, not a folder to write a run to; choose another "
                        "folder with --output"
                    ) from error
                number += 1
                path = base.with_name(f"{base.name}-{number}")
            except OSError as error:
                raise write_error(path, error) from error
        folder = cls(path)
        try:
            with write_errors(path):
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
        if self._checkpoint_paths() or exists(self.path / "individuals.csv"):
            return False
        with contextlib.suppress(OSError):
            for name in ("config.ini", "run.json", "run.log", "journal.jsonl", "run.lock"):
                (self.path / name).unlink(missing_ok=True)
            if exists(self.checkpoints):
                self.checkpoints.rmdir()
            self.path.rmdir()
        return not exists(self.path)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunFolder:
        """Return the folder of an earlier run.

        Raises:
            NoRunFolderError: The path is not such a folder, or cannot be read.
            RunFolderError: The folder has a pipe or a device.
        """
        folder = cls(Path(path))
        try:
            folder._check_entries()
        except RunFolderError:
            raise
        except OSError as error:
            raise NoRunFolderError(
                f"{shown(str(folder.path))} cannot be read ({reason(error)}); give --resume the "
                "folder that the run named when it began, and the permission to read it"
            ) from error
        return folder

    def _check_entries(self) -> None:
        if not (self.path / "config.ini").is_file() and not self._checkpoint_paths():
            raise NoRunFolderError(
                f"{str(self.path)!r} is not the folder of a run (no config.ini); give --resume "
                "the folder that the run named when it began"
            )
        for each in (self.path, *(self.path / name for name in FOLDERS)):
            for entry in each.iterdir() if each.is_dir() else ():
                if entry.exists() and not (entry.is_file() or entry.is_dir()):
                    raise RunFolderError(f"{str(entry)!r} is a pipe or a device: remove it")

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    def write_errors(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Turn an OSError of the block into a RunFolderError with the file and the remedy."""
        return write_errors(self.path / name)

    def write(self, name: str, data: bytes) -> None:
        """Write a file completely, or not at all."""
        write_file(self.path / name, [data])

    def _read(self, name: str, limit: int) -> bytes | None:
        """Return a file's contents; None if there is no file."""
        path = self.path / name
        if not is_file(path):
            return None
        return read_file(path, repr(str(path)), RunFolderError, limit=limit, remedy=_LARGE)

    def journal(self, generation: int, individual: Individual, result: Result) -> None:
        """Append a result to ``journal.jsonl``."""
        line = journal_line(generation, network_digest(individual.network), result)
        append_to_file(self.path / "journal.jsonl", line)

    def add_individuals(self, rows: Sequence[Row]) -> None:
        """Append rows of a generation to ``individuals.csv``."""
        self._individuals.append(rows)

    def _summaries(self) -> tuple[list[str], list[dict[str, str]]]:
        """Return the columns and the rows of ``generations.csv``; empty without the file."""
        name = "generations.csv"
        return read_csv(self._read(name, MAX_TABLE) or b"", repr(str(self.path / name)))

    def add_generation(self, cells: Mapping[str, Any]) -> None:
        """Append a row to ``generations.csv``."""
        path = self.path / "generations.csv"
        append_to_file(path, format_csv(list(cells), [cells], header=not is_file(path)))

    def tables(self, generations: int) -> Tables:
        """Return the tables for a checkpoint, as they are now.

        Args:
            generations: Number of generations in them.
        """
        individuals = self._individuals
        size = individuals.size()
        columns, summaries = self._summaries()
        return Tables(
            generations,
            tuple(individuals.columns()),
            size,
            individuals.digest(size),
            (tuple(columns), *(tuple(row.values()) for row in summaries)) if summaries else (),
        )

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Save the state before a generation. Empty the journal and remove old checkpoints.

        A checkpoint that would be too large to be read again is not saved; the journal goes on.
        """
        data = checkpoint.to_bytes()
        if len(data) > MAX_CHECKPOINT or sum(map(data.count, (b",", b"[", b"{"))) > MAX_VALUES:
            if not self._too_large:
                self._too_large = True
                _LOG.warning(
                    "the checkpoint of generation %d would be too large to be read again (%d "
                    "bytes): from now on, the run resumes from the checkpoint before, and repeats "
                    "what came after; use a smaller population or smaller networks",
                    checkpoint.generation,
                    len(data),
                )
            return
        self.write(f"checkpoints/{checkpoint.generation:06d}.json", data)
        self.write("journal.jsonl", b"")
        with write_errors(self.checkpoints):
            for path in self._checkpoint_paths()[:-KEPT_CHECKPOINTS]:
                path.unlink()

    def save_recording(self, champion: Champion, recording: bytes) -> None:
        """Save the recording of a driver's race, by its generation and id."""
        labelled = replace(Recording.from_bytes(recording), label=champion.describe())
        with write_errors(self.path / "recordings"):
            (self.path / "recordings").mkdir(exist_ok=True)
        self.write(_recording_name(champion), labelled.to_bytes())

    def keep_recording(self, generation: int, champion: Champion | None) -> None:
        """Remove the recordings of a generation except the champion's.

        Which drivers were the best for a moment depends on the order in which workers end.
        """
        kept = "" if champion is None else Path(_recording_name(champion)).name
        for path in (self.path / "recordings").glob(f"{generation:06d}-*.mkr"):
            if path.name != kept:
                with write_errors(path):
                    path.unlink(missing_ok=True)

    def save_champion(self, champion: Champion) -> None:
        """Write ``champion.json``, ``champion.pt`` and, after a recorded race, ``champion.mkr``."""
        data = self._read(_recording_name(champion), MAX_RECORDING)
        if data is not None:
            self.write("champion.mkr", data)
        elif not self._is_of(champion):  # remove the recording of an earlier champion
            with write_errors(self.path / "champion.mkr"):
                (self.path / "champion.mkr").unlink(missing_ok=True)
        self.write("champion.json", _json_bytes(champion.to_json()))
        self.write("champion.pt", pt_bytes(champion.network))

    def _is_of(self, champion: Champion) -> bool:
        """Return whether ``champion.mkr`` is the champion's race."""
        try:
            return Recording.load(self.path / "champion.mkr").label == champion.describe()
        except RecordingError:
            return False

    def info(self) -> RunInfo:
        """Read ``run.json``.

        Raises:
            RunFolderError: The file is missing or damaged.
        """
        data = self._read("run.json", MAX_RUN_INFO)
        if data is None:
            raise RunFolderError("run.json is missing")
        return RunInfo.from_bytes(data, "run.json")

    def save_info(self, info: RunInfo) -> None:
        """Write ``run.json``."""
        self.write("run.json", info.to_bytes())

    def _checkpoint_paths(self, suffix: str = ".json") -> list[Path]:
        found = (p for p in self.checkpoints.glob(f"*{suffix}") if re.fullmatch(r"\d+", p.stem))
        return sorted((p for p in found if is_file(p)), key=lambda p: int(p.stem))

    def load_checkpoint(self) -> Checkpoint | None:
        """Return the newest checkpoint that can be read.

        Returns:
            The checkpoint; None if the run ended before its first one, and can only begin again.

        Raises:
            RunFolderError: No checkpoint can be read.
            RunVersionError: Another version of mkds-gym wrote the newest checkpoint.
        """
        problems = []
        for path in reversed(self._checkpoint_paths()):
            try:
                data = self._read(f"checkpoints/{path.name}", MAX_CHECKPOINT) or b""
                checkpoint = Checkpoint.from_bytes(data, f"checkpoint {path.name}")
            except RunVersionError:  # an older checkpoint would lose what that version has added
                raise
            except RunFolderError as error:
                problems.append(str(error))
                continue
            self.notes += [f"{problem}; continuing from {path.name}" for problem in problems]
            return checkpoint
        advice = f"start a new run: python -m mkds_neat.run {str(self.path / 'config.ini')!r}"
        if pickles := self._checkpoint_paths(".pkl"):
            raise RunFolderError(
                f"{str(pickles[-1])!r} is a pickle, which an earlier version of mkds-gym wrote; it "
                f"is not read, because a pickle can contain any program; {advice}"
            )
        if problems:
            raise RunFolderError(
                f"{str(self.path)!r} has no checkpoint to resume from: {'; '.join(problems)}; "
                f"put back a copy of the folder's checkpoints, or {advice}"
            )
        for name in ("individuals.csv", "generations.csv"):
            if exists(self.path / name):
                raise RunFolderError(
                    f"{str(self.path)!r} has results in {name}, but its checkpoints are gone; put "
                    f"them back from a copy, or {advice}"
                )
        return None

    def rewind(self, checkpoint: Checkpoint | None, *, restart_tables: bool = False) -> Known:
        """Bring the tables back to a checkpoint.

        Args:
            checkpoint: The checkpoint; None for the start of the run.
            restart_tables: Rename an ``individuals.csv`` that has lost rows, and begin another.

        Returns:
            Results since the checkpoint, from the journal. They need not be evaluated again.

        Raises:
            RunFolderError: ``individuals.csv`` has lost rows. Nothing has changed.
        """
        tables = Tables() if checkpoint is None else checkpoint.tables
        self._individuals.rewind(tables, restart=restart_tables)
        columns, *rows = tables.summaries or ((),)
        summaries = [dict(zip(columns, row, strict=True)) for row in rows]
        if summaries:
            self.write("generations.csv", format_csv(columns, summaries))
        else:
            with self.write_errors("generations.csv"):
                (self.path / "generations.csv").unlink(missing_ok=True)
        known, lines, damaged = {}, [], 0
        for line in self.journal_lines():
            entry = read_journal_line(line)
            if entry is None:
                damaged += 1
            elif checkpoint is None or entry[0] >= checkpoint.generation:
                generation, network, result = entry
                known[generation, result.id, network] = result
                lines.append(line + b"\n")
        if damaged:
            self.notes.append(
                f"journal.jsonl has {damaged} damaged line{'s'[: damaged != 1]}; these drivers are "
                "evaluated again"
            )
        # Written again without such a line, which would swallow the next one that is appended.
        self.write("journal.jsonl", b"".join(lines))
        return known

    def journal_lines(self) -> list[bytes]:
        """Return the lines of ``journal.jsonl``: the first ones if the file is too large.

        Raises:
            RunFolderError: The file cannot be read.
        """
        path = self.path / "journal.jsonl"
        if not is_file(path):
            return []
        with open_file(path, repr(str(path)), RunFolderError, remedy=_LARGE) as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(min(size, MAX_JOURNAL) + 1)  # `read` takes as much memory at once
        if len(data) > MAX_JOURNAL:
            data = data[: data.rfind(b"\n") + 1]
            self.notes.append(
                f"journal.jsonl has more than {MAX_JOURNAL:,} bytes; the results after them are "
                "evaluated again"
            )
        return data.splitlines()

    def generations(self) -> list[dict[str, float]]:
        """Return ``generations.csv`` as numbers."""
        _, rows = self._summaries()
        try:
            return [{k: float(v) for k, v in row.items()} for row in rows]
        except ValueError as error:
            raise RunFolderError(
                f"{str(self.path / 'generations.csv')!r} is damaged: {error}"
            ) from error


def _recording_name(champion: Champion) -> str:
    return f"recordings/{champion.generation:06d}-{champion.id}.mkr"


def _json_bytes(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(plain(data), indent=1) + "\n").encode()


_LARGE: Final = "expected a file that a run has written"
_NO_LOCKS: Final = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
"""Errors of ``flock`` on file systems without locks."""
