"""`Viewer`: a window on anybody's environments, whatever steps them."""

from __future__ import annotations

import contextlib
import logging
import operator
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

import mkds_gym
from mkds_gym.env import MKDSEnv
from mkds_gym.errors import ViewerError, reason
from mkds_gym.overlays import make_overlays
from mkds_gym.viewer.bus import Board, Bus, State, Tile, parse_show
from mkds_gym.viewer.publisher import RacePublisher
from mkds_gym.viewer.window import check_scale

_log = logging.getLogger(__name__)

_CLOSING: Final = 3.0
"""Seconds that a window gets to close by itself."""


class WindowProcess:
    """A window on a run, in a process of its own.

    It is in a session of its own too, so that Ctrl-C is for the run alone, and the window then goes
    with it. Why it could not open, it says on the standard error.

    Args:
        folder: of the run.
        arguments: more of ``python -m mkds_gym.viewer``.
    """

    def __init__(self, folder: Path, arguments: Sequence[str] = ()) -> None:
        root = str(Path(mkds_gym.__file__).parents[1])
        # It finds what this process finds, such as overlays of one's own.
        paths = [root, *filter(None, sys.path)]
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mkds_gym.viewer", str(folder), *arguments],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            _log.warning("no window: its process cannot be started (%s)", reason(error))

    @property
    def pid(self) -> int | None:
        """Of the process, if it could be started."""
        return None if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        """Whether it is there."""
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        """End it; it ends by itself once the run's folder is gone."""
        if self._process is None:
            return
        for number in (0, signal.SIGTERM, signal.SIGKILL):  # 0 is none
            self._process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_CLOSING)
                return


class Viewer:
    """Shows environments while something else steps them.

    ```python
    envs = gym.make_vec("MKDS-v0", num_envs=8, vectorization_mode="async")
    with Viewer(envs):
        ...  # any training loop
    ```

    The window may be closed, killed, or unable to open: the environments go on. Closed windows are
    opened again by ``python -m mkds_gym.viewer``.

    Args:
        envs: made of `MKDSEnv`: one environment, a vector environment of Gymnasium
            (`SyncVectorEnv`, `AsyncVectorEnv`, `MKDSVectorEnv`), or a `VecEnv` of
            Stable-Baselines3.
        show: which of them: ``"none"``, ``"first"``, ``"all"``, or their numbers; or True or False
            for each, or for all.
        title: of the window, and of the run in ``python -m mkds_gym.viewer --list``.
        window: open one; False only publishes, for ``python -m mkds_gym.viewer``.
        scale: screen pixels per pixel of a picture; None fits the screen.
        overlays: names of those that are drawn at first, see `mkds_gym.overlays`; one of your own
            as ``"module.Class"``.

    Raises:
        TypeError: no such environments; they are as they were.
        ValueError: ``show``, ``scale`` or ``overlays`` ask for what there is not.
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
        make_overlays(list(overlays))  # better refused here than by the window
        check_scale(scale)
        count, self._attach, attribute = _kind(envs)
        self._count = count
        self._board = Board(title)
        self._bus: Bus | None = None
        self._window: WindowProcess | None = None
        shown = parse_show(show, count)
        if not shown:
            return
        for index, metadata in enumerate(attribute("metadata")):
            if not (metadata or {}).get("observers"):
                raise TypeError(f"environment {index} of {envs!r} is not made of MKDSEnv")
        self._nobody: list[RacePublisher | None] = [None] * count
        self._bus = Bus(shown, label=title)
        try:
            self._bus.post(self._board)
            publishers = [
                RacePublisher(self._bus.folder, index) if index in shown else None
                for index in range(count)
            ]
            self._attach(publishers)
            waiting = [i for i in shown if Tile(self._bus.folder, i).state() is State.WAITING]
            if waiting:
                self._attach(self._nobody)
                raise ViewerError(
                    f"environment {waiting[0]} of {envs!r} does not see the shared memory in "
                    f"'{self._bus.folder.parent}'"
                )
            if window:
                arguments = [] if scale is None else [f"--scale={scale}"]
                arguments += [f"--overlays={','.join(overlays)}"] if overlays else []
                self._window = WindowProcess(self._bus.folder, arguments)
        except BaseException:
            self._bus.close()
            raise

    @property
    def folder(self) -> Path | None:
        """The run's folder in shared memory; None when nothing is shown."""
        return None if self._bus is None else self._bus.folder

    @property
    def window(self) -> WindowProcess | None:
        """The window's process, if one was started."""
        return self._window

    def header(self, text: str) -> None:
        """Write the line above the tiles.

        Raises:
            TypeError: the text is none.
        """
        if not isinstance(text, str):
            raise TypeError(f"header() takes a line of text, not {text!r}")
        self._post(Board(self._board.title, text, self._board.captions, self._board.score))

    def caption(self, index: int, text: str) -> None:
        """Write the first line below a tile, which is ``env <index>`` by default.

        Args:
            index: of the environment; one that is not shown has no tile, and nothing happens.
            text: the line.

        Raises:
            ValueError: there is no such environment.
            TypeError: the text is none.
        """
        try:
            number = operator.index(index)
        except TypeError:
            number = -1
        if isinstance(index, bool | np.bool_) or not 0 <= number < self._count:
            raise ValueError(f"caption() of environment {index!r}; they are 0 to {self._count - 1}")
        if not isinstance(text, str):
            raise TypeError(f"caption() takes a line of text, not {text!r}")
        board = self._board
        captions = {**board.captions, number: text}
        self._post(Board(board.title, board.header, captions, board.score))

    def close(self) -> None:
        """Stop showing; the environments go on. The second time does nothing.

        Where that is not possible at once, in the middle of a step, what publishes takes leave by
        itself in a later one.
        """
        if self._bus is not None and not self._bus.closed:
            # They may be closed, or have lost a process; then there is nobody to tell. Or another
            # thread is stepping them.
            with contextlib.suppress(Exception):
                self._attach(self._nobody)
        self._end()

    def _end(self) -> None:
        if self._bus is not None:
            self._bus.close()
        if self._window is not None:
            self._window.close()

    def __enter__(self) -> Viewer:
        """Itself, closed at the block's end."""
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        if kind is None:
            self.close()
        else:  # maybe in the middle of a step, when no process can be told anything
            self._end()

    def _post(self, board: Board) -> None:
        if self._bus is not None:
            self._bus.post(board)
        self._board = board


_Attach: TypeAlias = "Callable[[list[RacePublisher | None]], object]"


def _kind(envs: Any) -> tuple[int, _Attach, Callable[[str], Sequence[Any]]]:
    """How many environments there are, what gives each its viewer, and what an attribute is."""
    if isinstance(envs, VectorEnv) and hasattr(envs.unwrapped, "set_attr"):
        base: Any = envs.unwrapped
        return envs.num_envs, lambda each: base.set_attr("viewer", each), base.get_attr
    if isinstance(envs, gym.Env):
        env = envs.unwrapped
        if not isinstance(env, MKDSEnv):
            raise TypeError(f"{envs!r} is no MKDSEnv, nor made of them")

        def attach(each: list[RacePublisher | None]) -> None:
            env.viewer = each[0]

        return 1, attach, lambda name: [getattr(env, name)]
    if hasattr(envs, "env_method") and hasattr(envs, "num_envs"):  # Stable-Baselines3's VecEnv

        def attach_each(each: list[RacePublisher | None]) -> None:
            for index, publisher in enumerate(each):
                envs.env_method("set_wrapper_attr", "viewer", publisher, indices=[index])

        return envs.num_envs, attach_each, envs.get_attr
    raise TypeError(
        f"{type(envs).__name__} cannot be shown: give an environment, a vector environment of "
        "Gymnasium, or a VecEnv of Stable-Baselines3"
    )
