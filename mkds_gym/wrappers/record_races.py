"""Wrappers of ``MKDS-v0``, for vector environments and training libraries too."""

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


class RecordRaces(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Writes a recording (``.mkr``) of each episode into a folder.

    ```python
    env = RecordRaces(gym.make("MKDS-v0"), "races")
    envs = gym.make_vec("MKDS-v0", num_envs=4, vectorization_mode="async",
                        wrappers=[functools.partial(RecordRaces, folder="races")])
    ```

    The files are ``race-000001.mkr`` and so on: each takes the next number that is free, so that
    many environments, in as many processes, and many runs can share a folder. An episode that a
    reset or `close` cuts off is written too, once a step of it was made. A file that cannot be
    written is a warning, and no end of the training.

    Args:
        env: ``MKDS-v0``, wrapped or not.
        folder: is made if there is none.
        episode_trigger: called with the number of this environment's episode, from 0 on: whether
            it is written; None writes all.
        name_prefix: how the files' names begin.
        label: of the recordings: who drives.

    Attributes:
        recorded: the files that were written.

    Raises:
        TypeError: the environment is another one, or ``episode_trigger`` cannot be called.
        RecordingError: the folder cannot be made.
        ValueError: it is being recorded already.
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
            raise TypeError(
                f"episode_trigger={episode_trigger!r} is no function of an episode's number"
            )
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
            raise RecordingError(
                f"the folder '{folder}' cannot be made: {reason(error)}"
            ) from error
        self._recorder = Recorder(env, label=label, on_end=self._ended)

    def __reduce__(self) -> tuple[Any, ...]:
        # The environment is made anew by its arguments, and so is its recorder.
        return functools.partial(RecordRaces, **self._arguments), (self.env,)

    def _ended(self, recording: Recording) -> None:
        if self._trigger is None or self._trigger(self._episode):
            self._write(recording)
        self._episode += 1

    def _write(self, recording: Recording) -> None:
        """Write a recording; that it cannot be is a warning."""
        try:
            path = self._reserve()
            try:
                recording.save(path)
            except BaseException:
                path.unlink(missing_ok=True)  # no empty file
                raise
        except RecordingError as error:
            gym.logger.warn(f"episode {self._episode} is not recorded: {error}")
        else:
            self.recorded.append(path)

    def _reserve(self) -> Path:
        """An empty file of the next number that nobody else has."""
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
                        path.unlink()  # if somebody else is at it, the file comes back whole
                raise
            except OSError as error:
                raise RecordingError(f"cannot write '{path}': {reason(error)}") from error
            return path
