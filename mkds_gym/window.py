"""A window for ``render_mode="human"``, in the process of its environment (pygame-ce)."""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.errors import ConsoleError

_log = logging.getLogger(__name__)

_INVISIBLE: Final = ("offscreen", "dummy")

_warn_once = lru_cache(_log.warning)  # a checker opens one window after the other


class Window:
    """Shows pictures at the console's own pace.

    Args:
        title: the window's caption.
        frames_per_second: pictures shown a second at the most.
        scale: screen pixels per console pixel.

    Raises:
        ConsoleError: pygame-ce is not installed,
    """

    def __init__(self, title: str, frames_per_second: float, scale: int = 2) -> None:
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        try:
            import pygame
        except ImportError as error:
            raise ConsoleError(
                "render_mode='human' needs pygame-ce: pip install 'mkds-gym[human]'"
            ) from error
        self._pygame: Any = pygame
        self._title = title
        self._rate = frames_per_second
        self._scale = scale
        self._surface: Any = None
        self._clock: Any = None
        self.closed = False

    def show(self, picture: NDArray[np.uint8]) -> None:
        """Show an RGB picture, uint8 (height, width, 3), and wait until it is due.

        Does nothing once the user has closed the window: what runs behind it goes on.

        Raises:
            ConsoleError: pygame cannot open a window. (Without any display it logs a warning and
                goes on unseen.)
        """
        if self.closed:
            return
        pygame = self._pygame
        height, width = picture.shape[:2]
        size = (width * self._scale, height * self._scale)
        if self._surface is None:
            try:
                pygame.display.init()
                # Without a display SDL falls back to one that nobody can see. That is no error:
                # environment checkers render in every mode on machines without a screen.
                driver = pygame.display.get_driver()
                if driver in _INVISIBLE and os.environ.get("SDL_VIDEODRIVER") != driver:
                    _warn_once(
                        "no display was found, so nobody will see the window; use "
                        "render_mode='rgb_array', or run under a display such as Xvfb"
                    )
                self._surface = pygame.display.set_mode(size)
            except pygame.error as error:
                pygame.display.quit()
                raise ConsoleError(
                    f"no window can be opened here ({error}); use render_mode='rgb_array', or run "
                    "under a display such as Xvfb"
                ) from error
            pygame.display.set_caption(self._title)
            self._clock = pygame.time.Clock()
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                self.close()
                return
        image = pygame.surfarray.make_surface(picture.swapaxes(0, 1))
        pygame.transform.scale(image, size, self._surface)
        pygame.display.flip()
        self._clock.tick(self._rate)

    def close(self) -> None:
        """Close the window; the second time does nothing."""
        if not self.closed and self._surface is not None:
            self._pygame.display.quit()
        self._surface = None
        self.closed = True
