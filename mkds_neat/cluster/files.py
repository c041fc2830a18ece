"""The files that an environment needs on each node: the cartridge and race starts."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.starts import kept_starts
from mkds_gym.utils.arguments import shown
from mkds_gym.utils.files import write_bytes
from mkds_gym.utils.user_folders import HOME_VARIABLE
from mkds_neat.config.environment import is_mkds
from mkds_neat.errors import EvaluationError


@dataclass(frozen=True)
class NodeFiles:
    """The files of an environment, which each node receives once.

    Attributes:
        contents: Bytes of each file (uint8), by its path in the folder of the node.
        arguments: Arguments of the environment that are such paths.
        home: Whether the folder is the user's data folder (`mkds_gym.utils.user_folders`) for the
            environment, because it holds kept starts.
    """

    contents: dict[str, Any]
    arguments: dict[str, str]
    home: bool = False

    @classmethod
    def of(cls, kwargs: Mapping[str, Any]) -> NodeFiles:
        """Read the cartridge and the race starts of ``MKDS-v0`` with these arguments."""
        contents: dict[str, Any] = {}
        arguments: dict[str, str] = {}
        cartridge = Cartridge.open(kwargs.get("rom"))
        arguments["rom"] = f"{cartridge.sha1}.nds"
        contents[arguments["rom"]] = _read(cartridge.path)
        state = kwargs.get("state")
        if isinstance(state, str | os.PathLike):
            data = _read(Path(state))
            arguments["state"] = f"{hashlib.sha256(data).hexdigest()}.state"
            contents[arguments["state"]] = data
        kept = state is None and not cartridge.boot_parameters
        if kept:
            for start in kept_starts(cartridge.sha1):
                for path in (start.path, start.path.with_suffix(".json")):
                    contents[f"starts/{cartridge.sha1}/{path.name}"] = _read(path)
        return cls(contents, arguments, kept)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(len(data) for data in self.contents.values())

    def write(self) -> dict[str, str]:
        """Write the files to a folder of this node, unless they are there.

        Returns:
            The arguments of the environment that are paths.
        """
        if not self.contents:
            return {}
        names = "\n".join(f"{name} {_digest(data)}" for name, data in self.contents.items())
        folder = _cache_folder() / hashlib.sha256(names.encode()).hexdigest()[:24]
        for name, data in self.contents.items():
            path = folder / name
            if not (path.is_file() and _digest(path.read_bytes()) == _digest(data)):
                path.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(path, data.tobytes(), EvaluationError)
        if self.home:
            os.environ[HOME_VARIABLE] = str(folder)
        return {key: str(folder / name) for key, name in self.arguments.items()}


def _read(path: Path) -> Any:
    return np.frombuffer(path.read_bytes(), np.uint8)


def _digest(data: Any) -> str:
    return hashlib.sha256(data).hexdigest()


def _cache_folder() -> Path:
    """Return a folder of this user among the temporary files, which are on a disk of the node.

    Raises:
        EvaluationError: The folder belongs to another user.
    """
    folder = Path(tempfile.gettempdir()) / f"mkds-gym-{os.geteuid()}"
    with contextlib.suppress(FileExistsError):  # is it a folder?
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise EvaluationError(f"{shown(str(folder))} is not a folder of this user: remove it")
    return folder


def files_of(env_id: str, kwargs: Mapping[str, Any]) -> NodeFiles:
    """Return the files of an environment; none for one of another package."""
    return NodeFiles.of(kwargs) if is_mkds(env_id) else NodeFiles({}, {})
