"""``run.json``: where a run comes from, and the processes that drove it."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

import mkds_gym
from mkds_gym.emulator.desmume.loader import installed_build_id
from mkds_gym.utils.reading import parse_json, validated
from mkds_gym.version import __version__
from mkds_neat.errors import RunFolderError, RunVersionError

RUN_FORMAT: Final = "mkds_neat run"
RUN_VERSION: Final = 2
_PACKAGES: Final = ("embreex", "gymnasium", "neat-python", "numpy", "py-desmume", "ribs")


@dataclass(frozen=True)
class Session:
    """A process that begins or continues a run.

    Attributes:
        generation: The generation that it begins with.
        pid: Its process id.
        host: Its machine.
        started: When it began, in UTC.
        versions: Versions of mkds-gym, Python and packages, and the emulator's build.
        commit: Git commit of mkds-gym, with ``+`` if files have changed; empty without git.
        changes: Settings that differ from those of the session before: ``section.key``, old text,
            new text.
    """

    generation: int
    pid: int
    host: str
    started: str
    versions: Mapping[str, str]
    commit: str = ""
    changes: tuple[tuple[str, str, str], ...] = ()

    @classmethod
    def begin(cls, generation: int, changes: tuple[tuple[str, str, str], ...] = ()) -> Session:
        """Return a session of this process."""
        return cls(
            generation,
            os.getpid(),
            socket.gethostname(),
            time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            {
                "mkds-gym": __version__,
                "python": platform.python_version(),
                **{name: _version(name) for name in _PACKAGES},
                "emulator": installed_build_id(),
            },
            _commit(),
            changes,
        )


@dataclass(frozen=True)
class RunInfo:
    """The contents of ``run.json``.

    Attributes:
        strategy: Name of the strategy.
        seed: The run's seed.
        rom: Path of the cartridge; empty without one, as the next two.
        rom_title: Title of the cartridge.
        rom_sha1: SHA-1 of the cartridge.
        state_sha256: SHA-256 of the savestate that races start at; empty without one.
        sessions: The processes so far. The last one is that of a run that is going.
    """

    strategy: str
    seed: int
    rom: str = ""
    rom_title: str = ""
    rom_sha1: str = ""
    state_sha256: str = ""
    sessions: tuple[Session, ...] = ()

    @property
    def holder(self) -> str:
        """The process of a run that is going, for messages."""
        if not self.sessions:
            return "unknown"
        last = self.sessions[-1]
        return f"{last.pid} on {last.host}, since {last.started}"

    def to_bytes(self) -> bytes:
        """Return the contents of the file."""
        data = {"format": RUN_FORMAT, "version": RUN_VERSION, **asdict(self)}
        return (json.dumps(data, indent=1) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> RunInfo:
        """Read what `to_bytes` returned.

        Raises:
            RunFolderError: The data are something else.
            RunVersionError: Another version of mkds-gym wrote the data.
        """
        read = parse_json(data, name, RunFolderError)
        if not isinstance(read, dict) or read.pop("format", None) != RUN_FORMAT:
            raise RunFolderError(f"{name} has another format")
        version = read.pop("version", None)
        if not isinstance(version, int):
            raise RunFolderError(f"{name} has no version")
        if version != RUN_VERSION:
            raise RunVersionError(name, version, RUN_VERSION)
        return validated(_INFO, read, name, RunFolderError)


_INFO: Final = TypeAdapter(RunInfo)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _commit() -> str:
    """Return the commit of the package's working tree; empty if there is none."""
    folder = Path(mkds_gym.__file__).parent
    if not (folder.parent / ".git").exists():  # installed, perhaps within another project
        return ""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "--no-optional-locks", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=5,
        ).stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        return commit and commit + "+" * bool(git("status", "--porcelain", "-uno"))
    except (OSError, subprocess.SubprocessError):
        return ""
