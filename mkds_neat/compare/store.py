"""The folder of a comparison."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout
from pydantic import TypeAdapter

from mkds_gym.errors import reason
from mkds_gym.utils.arguments import shown
from mkds_gym.utils.files import is_file, is_folder, write_bytes
from mkds_gym.utils.reading import parse_json, read_file, validated
from mkds_neat.compare.measures import Measures
from mkds_neat.compare.plan import LOCK, Plan, PlannedRun, load_plan, save_plan
from mkds_neat.compare.reference import Reference
from mkds_neat.compare.unseen import Unseen, unseen_seeds
from mkds_neat.errors import RunFolderError
from mkds_neat.networks import NetworkSpec
from mkds_neat.results import RunFolder, load_champion
from mkds_neat.results.population import load_network

_MAX_SIZE: Final = 16 << 20


_REFERENCE: Final[TypeAdapter[Reference]] = TypeAdapter(Reference)
_RACES: Final[TypeAdapter[dict[str, Unseen]]] = TypeAdapter(dict[str, Unseen])


class Store:
    """The files of a comparison.

    Args:
        path: The folder.
        plan: The comparison.
    """

    def __init__(self, path: Path, plan: Plan) -> None:
        self.path = path
        self.plan = plan
        self._lock = FileLock(path / LOCK, timeout=0, thread_local=False)

    @classmethod
    def open(cls, path: Path) -> Store:
        """Return the comparison in a folder.

        Raises:
            RunFolderError: There is none, or it is damaged.
        """
        plan = load_plan(path)
        if plan is None:
            raise RunFolderError(f"{shown(str(path))} holds no comparison (no comparison.json)")
        return cls(path, plan)

    @classmethod
    def begin(cls, path: Path, plan: Plan) -> Store:
        """Make a comparison's folder, or open that of the same comparison, as its only writer.

        Raises:
            RunFolderError: The folder holds something else or cannot be written, or another
                process is at work there.
        """
        load_plan(path)  # refuses a folder that holds something else, before anything is written
        store = cls(path, plan)
        try:
            path.mkdir(parents=True, exist_ok=True)
            store._lock.acquire()
            try:
                save_plan(path, plan)
                (path / "results").mkdir(exist_ok=True)
                for run in plan.runs:
                    store._prepare(run)
            except BaseException:
                store.close()
                raise
        except Timeout:
            raise RunFolderError(
                f"another process is at work on the comparison in {shown(str(path))}: wait for its "
                "end, or stop it"
            ) from None
        except RunFolderError:  # an OSError that says what to do
            raise
        except OSError as error:
            raise RunFolderError(
                f"{shown(str(path))} cannot be written: {reason(error)}"
            ) from error
        return store

    def close(self) -> None:
        """Let another process work on the comparison."""
        self._lock.release()

    def _prepare(self, run: PlannedRun) -> None:
        """Make the folder of a run, which `mkds_neat.run` then resumes from its beginning."""
        folder = self.run_folder(run.name)
        if is_file(folder / "config.ini") or is_folder(folder / "checkpoints"):
            return
        text = self.plan.config_text(run, folder)
        if is_folder(folder):  # a start that was killed
            RunFolder(folder).discard()
        if not is_folder(folder):
            RunFolder.create(folder, text)

    def run_folder(self, name: str) -> Path:
        """Return the folder of a run."""
        return self.path / "runs" / name

    def measures_path(self, name: str) -> Path:
        """Return the file of a run's measures."""
        return self.path / "results" / f"{name}.json"

    def reference_path(self, course: str) -> Path:
        """Return the file of a course's race times."""
        return self.path / "results" / f"reference-{re.sub(r'[^A-Za-z0-9_.]+', '_', course)}.json"

    def unseen_path(self, seed: int) -> Path:
        """Return the file of the champions' races on an unseen course."""
        return self.path / "results" / f"unseen-{seed}.json"

    def measures(self, name: str) -> Measures | None:
        """Return a run's measures; None if it is not complete."""
        return Measures.load(self.measures_path(name))

    def reference(self, course: str) -> Reference | None:
        """Return a course's race times; None if they are not measured."""
        times: Reference | None = _read(self.reference_path(course), _REFERENCE)
        return times

    def unseen_races(self, seed: int) -> dict[str, Unseen]:
        """Return the races of champions on an unseen course so far, by name of the run."""
        return _read(self.unseen_path(seed), _RACES) or {}

    def unseen(self) -> dict[str, list[Unseen]]:
        """Return each champion's races on the unseen courses so far."""
        found: dict[str, list[Unseen]] = {}
        for seed in unseen_seeds(self.plan.unseen):
            for name, race in self.unseen_races(seed).items():
                found.setdefault(name, []).append(race)
        return found

    def network(self, run: PlannedRun, individual: int) -> NetworkSpec:
        """Return the network of an individual of a complete run."""
        folder = self.run_folder(run.name)
        champion = load_champion(folder / "champion.json")
        # The champion of the whole run may lie beyond the budget.
        return (
            champion.network if champion.id == individual else load_network(folder, individual)[1]
        )

    def frames(self, name: str) -> int:
        """Return the frames that a run has driven in complete generations."""
        try:
            rows = RunFolder(self.run_folder(name)).generations()
            return sum(int(row["frames"]) for row in rows)
        except (RunFolderError, KeyError):  # just being written
            return 0

    def write(self, path: Path, data: Mapping[str, Any]) -> None:
        """Write a file of numbers."""
        write_bytes(path, (json.dumps(data, indent=1) + "\n").encode(), RunFolderError)

    def write_text(self, name: str, text: str) -> None:
        """Write a file for people."""
        write_bytes(self.path / name, text.encode(), RunFolderError)

    @cached_property
    def log_folder(self) -> Path:
        """The folder of what the jobs print."""
        folder = self.path / "logs"
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise RunFolderError(
                f"{shown(str(folder))} is not a folder for logs ({reason(error)}): remove it"
            ) from error
        return folder


def _read(path: Path, schema: TypeAdapter[Any]) -> Any:
    if not is_file(path):
        return None
    name = repr(os.fspath(path))
    remedy = "remove the file; the comparison then measures it again"
    data = read_file(path, name, RunFolderError, limit=_MAX_SIZE, remedy=remedy)
    return validated(schema, parse_json(data, name, RunFolderError), name, RunFolderError)
