"""`RecordRaces`: a wrapper that saves a recording of each episode."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from mkds_gym.errors import RecordingError, reason
from mkds_gym.recording.format import SUFFIX, Recording
from mkds_gym.recording.recorder import Recorder
from mkds_gym.utils.arguments import shown


class RecordRaces(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Saves a recording (``.mkr``) of each episode in a folder.

    ```python
    env = RecordRaces(gym.make("MKDS-v0"), "races")
    envs = gym.make_vec("MKDS-v0", num_envs=4, vectorization_mode="async",
                        wrappers=[functools.partial(RecordRaces, folder="races")])
    ```

    The files are ``race-000001.mkr`` and so on. Each takes the next free number, so that several
    environments, processes and runs can share a folder. An episode that a reset or `close` cuts
    off after its first step is saved as well. A file that cannot be written gives a warning.

    Args:
        env: ``MKDS-v0``, wrapped or not.
        folder: made if it does not exist.
        episode_trigger: called with the number of the episode, from 0; True saves it. None saves
            all.
        name_prefix: prefix of the file names.
        label: label of the recordings: who drives.

    Attributes:
        recorded: the files written.

    Raises:
        TypeError: `env` is not an ``MKDS-v0`` environment, or `episode_trigger` is not callable.
        RecordingError: the folder cannot be made.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        folder: str | os.PathLike[str],
        *,
        episode_trigger: Callable[[int], bool] | None = None,
        name_prefix: str = "race",
        label: str = "",
    ) -> None:
        if episode_trigger is not None and not callable(episode_trigger):
            raise TypeError(f"episode_trigger={shown(episode_trigger)} is not callable")
        arguments: dict[str, Any] = {
            "folder": os.fspath(folder),
            "episode_trigger": episode_trigger,
            "name_prefix": name_prefix,
            "label": label,
        }
        RecordConstructorArgs.__init__(self, **arguments)
        gym.Wrapper.__init__(self, env)
        self._arguments = arguments
        self._folder = Path(folder)
        self._trigger = episode_trigger
        self._prefix = name_prefix
        self._episode = 0
        self._number = 0
        self.recorded: list[Path] = []
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordingError(f"folder '{folder}' cannot be made: {reason(error)}") from error
        self._recorder = Recorder(env, label=label, on_end=self._ended)

    def __reduce__(self) -> tuple[Any, ...]:
        # The environment is rebuilt from its arguments, and its recorder with it.
        return functools.partial(RecordRaces, **self._arguments), (self.env,)

    def _ended(self, recording: Recording) -> None:
        if self._trigger is None or self._trigger(self._episode):
            self._write(recording)
        self._episode += 1

    def _write(self, recording: Recording) -> None:
        """Save a recording; an error becomes a warning."""
        try:
            path = self._reserve()
            try:
                recording.save(path)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
        except RecordingError as error:
            gym.logger.warn(f"episode {self._episode} is not recorded: {error}")
        else:
            self.recorded.append(path)

    def _reserve(self) -> Path:
        """Create an empty file with the next free number."""
        while True:
            self._number += 1
            path = self._folder / f"{self._prefix}-{self._number:06d}{SUFFIX}"
            try:
                path.open("xb").close()
            except FileExistsError:
                continue
            except KeyboardInterrupt:
                with contextlib.suppress(OSError):
                    if not path.stat().st_size:
                        path.unlink()  # another writer's file would be replaced as a whole
                raise
            except OSError as error:
                raise RecordingError(f"cannot write '{path}': {reason(error)}") from error
            return path
