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
        title: title of the window.
        scale: screen pixels per console pixel, 1 to 8.

    Attributes:
        window: the window; None before the first picture.
    """

    needs_frames = True
    needs_picture = True

    def __init__(self, title: str, scale: int) -> None:
        self._title = title
        self._scale = scale
        self.window: Window | None = None

    def show(self, env: Any) -> None:
        """Show the picture on the console's screen."""
        if self.window is None:
            self.window = Window(self._title, FRAMES_PER_SECOND, self._scale)
        if not self.window.closed:
            self.window.show(env.picture())
        self.needs_frames = self.needs_picture = not self.window.closed

    def episode_started(self, env: Any) -> None:
        self.show(env)

    def frame(self, env: Any, race: RaceState, keys: int) -> None:  # noqa: ARG002
        # The pictures of a reset are those of the race before.
        if not env.episode_over:
            self.show(env)

    def detached(self, env: Any) -> None:  # noqa: ARG002
        if self.window is not None:
            self.window.close()
