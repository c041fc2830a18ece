"""The window of render mode ``human``."""

from __future__ import annotations

from typing import Any

from mkds_gym.display.window import Window
from mkds_gym.emulator.hardware import FRAMES_PER_SECOND
from mkds_gym.observer import EnvObserver
from mkds_gym.race.state import RaceState


class LiveWindow(EnvObserver):
    """Shows every frame of an environment at the console's speed, until the user closes the window.

    The window opens with the first picture.

    Args:
        title: of the window.
        scale: screen pixels per console pixel, 1 to 8.
    """

    needs_frames = True
    needs_picture = True

    def __init__(self, title: str, scale: int) -> None:
        self._title = title
        self._scale = scale
        self._window: Window | None = None

    def show(self, env: Any) -> None:
        """Show the picture on the console's screen."""
        if self._window is None:
            self._window = Window(self._title, FRAMES_PER_SECOND, self._scale)
        if not self._window.closed:
            self._window.show(env.picture())
        self.needs_frames = self.needs_picture = not self._window.closed

    def episode_started(self, env: Any) -> None:
        """Show the first picture of an episode."""
        self.show(env)

    def frame(self, env: Any, race: RaceState, keys: int) -> None:  # noqa: ARG002
        """Show a frame of a step. The pictures of a reset are those of the race before."""
        if not env.episode_over:
            self.show(env)

    def detached(self, env: Any) -> None:  # noqa: ARG002
        """Close the window."""
        if self._window is not None:
            self._window.close()
