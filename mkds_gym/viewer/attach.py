"""`Viewer`: a window on environments that another program steps."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import gymnasium as gym
from gymnasium.vector import VectorEnv

import mkds_gym
from mkds_gym.env import MKDSEnv
from mkds_gym.errors import ViewerError, reason
from mkds_gym.overlays import make_overlays
from mkds_gym.utils.arguments import integer, shown
from mkds_gym.viewer.bus import Board, Bus, State, Tile
from mkds_gym.viewer.race_publisher import RacePublisher
from mkds_gym.viewer.show import parse_show
from mkds_gym.viewer.window import check_scale

_log = logging.getLogger(__name__)

_CLOSE_SECONDS: Final = 3.0
"""Time for the window to close by itself, and again after each signal."""


class WindowProcess:
    """A process that shows a run in a window.

    The process has its own session, so Ctrl-C reaches only the run; the window closes when the run
    is over. If the window cannot open, the process prints the reason on the standard error.

    Args:
        folder: the run's folder.
        arguments: more arguments of ``python -m mkds_gym.viewer``.
    """

    def __init__(self, folder: Path, arguments: Sequence[str] = ()) -> None:
        root = str(Path(mkds_gym.__file__).parents[1])
        # The process can import what this process can import, such as custom overlays.
        paths = [root, *filter(None, sys.path)]
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mkds_gym.viewer", str(folder), "--with-run", *arguments],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            _log.warning("no window: its process cannot be started (%s)", reason(error))

    @property
    def pid(self) -> int | None:
        """Process id; None if the process could not be started."""
        return None if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        """Wait until the process ends because the run is over, or terminate it."""
        if self._process is None:
            return
        for number in (0, signal.SIGTERM, signal.SIGKILL):  # 0 sends no signal
            self._process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_CLOSE_SECONDS)
                return


class Viewer:
    """Shows environments while another program steps them. A context manager.

    ```python
    envs = gym.make_vec("MKDS-v0", num_envs=8, vectorization_mode="async")
    with Viewer(envs):
        ...  # any training loop
    ```

    The environments go on if the window is closed or killed, or cannot open. ``python -m
    mkds_gym.viewer`` opens another window.

    Args:
        envs: an `MKDSEnv` or environments made of it: a vector environment of Gymnasium
            (`SyncVectorEnv`, `AsyncVectorEnv`, `MKDSVectorEnv`), or a `VecEnv` of
            Stable-Baselines3.
        show: environments to show, as `parse_show`.
        title: title of the window and part of the run's name.
        window: open a window; False only publishes, for ``python -m mkds_gym.viewer``.
        scale: screen pixels per pixel of a picture; None fits the window to the screen.
        overlays: names of the overlays drawn at first, as in `mkds_gym.overlays`; a custom overlay
            as ``"module:Class"``.

    Raises:
        TypeError: ``envs`` are not such environments; they are left unchanged.
        ValueError: ``show``, ``scale`` or ``overlays`` is invalid.
        ViewerError: there is no shared memory.
    """

    def __init__(
        self,
        envs: Any,
        show: str | int | bool | Sequence[int] | Sequence[bool] = "all",
        *,
        title: str = "mkds-gym",
        window: bool = True,
        scale: int | None = None,
        overlays: Sequence[str] = (),
    ) -> None:
        make_overlays(list(overlays))
        check_scale(scale)
        self._count, self._attach, attribute = _interface(envs)
        self._board = Board(title)
        self._bus: Bus | None = None
        self._window: WindowProcess | None = None
        indices = parse_show(show, self._count)
        if not indices:
            return
        for index, metadata in enumerate(attribute("metadata")):
            if not (metadata or {}).get("observers"):
                raise TypeError(f"environment {index} of {shown(envs)}: expected an MKDSEnv")
        self._bus = Bus(indices, label=title)
        try:
            folder = self._bus.folder
            self._bus.post(self._board)
            self._attach(
                [RacePublisher(folder, i) if i in indices else None for i in range(self._count)]
            )
            waiting = [i for i in indices if Tile(folder, i).state() is State.WAITING]
            if waiting:
                self._detach()
                raise ViewerError(
                    f"environment {waiting[0]} of {shown(envs)} cannot open the shared memory in "
                    f"'{folder.parent}'"
                )
            if window:
                arguments = [] if scale is None else [f"--scale={scale}"]
                arguments += [f"--overlays={','.join(overlays)}"] if overlays else []
                self._window = WindowProcess(folder, arguments)
        except BaseException:
            self._bus.close()
            raise

    @property
    def folder(self) -> Path | None:
        """The run's folder in shared memory; None if nothing is shown."""
        return None if self._bus is None else self._bus.folder

    @property
    def window(self) -> WindowProcess | None:
        """The window's process; None without a window."""
        return self._window

    def header(self, text: str) -> None:
        """Write the line above the tiles.

        Raises:
            TypeError: ``text`` is not a string.
        """
        self._post(header=_check_text(text))

    def caption(self, index: int, text: str) -> None:
        """Write the first line below a tile; the default is ``env <index>``.

        Args:
            index: index of the environment. Nothing happens if it is not shown.
            text: the line.

        Raises:
            ValueError: there is no such environment.
            TypeError: ``index`` is not an integer, or ``text`` is not a string.
        """
        index = integer("index", index, 0, self._count - 1)
        self._post(captions={**self._board.captions, index: _check_text(text)})

    def close(self) -> None:
        """Stop showing; the environments go on. A second call does nothing.

        During a step, publishers cannot be detached; each detaches itself in a later step.
        """
        if self._bus is not None and not self._bus.closed:
            # Fails if the environments are closed or died, or another thread steps them.
            with contextlib.suppress(Exception):
                self._detach()
        self._end()

    def _detach(self) -> None:
        self._attach([None] * self._count)

    def _end(self) -> None:
        if self._bus is not None:
            self._bus.close()
        if self._window is not None:
            self._window.close()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        if kind is None:
            self.close()
        else:  # the error may have come during a step, when other processes do not answer
            self._end()

    def _post(self, **changes: Any) -> None:
        self._board = dataclasses.replace(self._board, **changes)
        if self._bus is not None:
            self._bus.post(self._board)


def _check_text(text: Any) -> str:
    if not isinstance(text, str):
        raise TypeError(f"text={shown(text)} is not a string: expected a line of text")
    return text


_Attach: TypeAlias = "Callable[[list[RacePublisher | None]], object]"


def _interface(envs: Any) -> tuple[int, _Attach, Callable[[str], Sequence[Any]]]:
    """Return the number of environments, a setter of their publishers, and an attribute getter."""
    if isinstance(envs, VectorEnv) and hasattr(envs.unwrapped, "set_attr"):
        base: Any = envs.unwrapped
        return envs.num_envs, lambda each: base.set_attr("viewer", each), base.get_attr
    if isinstance(envs, gym.Env):
        env = envs.unwrapped
        if not isinstance(env, MKDSEnv):
            raise TypeError(f"{shown(envs)}: expected an MKDSEnv, or environments made of it")

        def attach(publishers: list[RacePublisher | None]) -> None:
            env.viewer = publishers[0]

        return 1, attach, lambda name: [getattr(env, name)]
    if hasattr(envs, "env_method") and hasattr(envs, "num_envs"):  # VecEnv of Stable-Baselines3

        def attach_each(publishers: list[RacePublisher | None]) -> None:
            for index, publisher in enumerate(publishers):
                envs.env_method("set_wrapper_attr", "viewer", publisher, indices=[index])

        return envs.num_envs, attach_each, envs.get_attr
    raise TypeError(
        f"{type(envs).__name__} cannot be shown: expected an environment, a vector environment of "
        "Gymnasium, or a VecEnv of Stable-Baselines3"
    )
