"""A window on the console's screens, in the process that shows it (pygame-ce)."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable
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
        on_event: called with each pygame event but the closing of the window.
        wanted_by: what needs a window, for messages.
        instead: what to do without one, for messages.
        must_be_seen: a display that nobody can see is an error.

    Attributes:
        closed: the user has closed the window, or `close` was called.

    Raises:
        ConsoleError: pygame-ce is not installed.
    """

    def __init__(
        self,
        title: str,
        frames_per_second: float,
        scale: int = 2,
        *,
        on_event: Callable[[Any], None] | None = None,
        wanted_by: str = "render_mode='human'",
        instead: str = "use render_mode='rgb_array', or run under a display such as Xvfb",
        must_be_seen: bool = False,
    ) -> None:
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        try:
            import pygame
        except ImportError as error:
            raise ConsoleError(
                f"{wanted_by} needs pygame-ce: pip install 'mkds-gym[human]'"
            ) from error
        self._pygame: Any = pygame
        self._title = title
        self._period = 1.0 / frames_per_second
        self._scale = scale
        self._on_event = on_event
        self._instead = instead
        self._must_be_seen = must_be_seen
        self._surface: Any = None
        self._due = 0.0
        self.closed = False

    @property
    def scale(self) -> int:
        """Screen pixels per console pixel; a new one holds from the next picture on."""
        return self._scale

    @scale.setter
    def scale(self, scale: int) -> None:
        self._scale = scale

    def show(
        self,
        picture: NDArray[np.uint8],
        notes: Iterable[Callable[[Any], None]] = (),
    ) -> None:
        """Show an RGB picture, uint8 (height, width, 3), and wait until it is due.

        Does nothing once the user has closed the window: what runs behind it goes on.

        Args:
            picture: at the console's size.
            notes: called with the pygame surface, to draw over the picture.

        Raises:
            ConsoleError: pygame cannot open a window. (Without any display it logs a warning and
                goes on unseen, unless the window must be seen.)
        """
        if self.closed:
            return
        pygame = self._pygame
        height, width = picture.shape[:2]
        size = (width * self._scale, height * self._scale)
        if self._surface is None:
            self._open(size)
        elif self._surface.get_size() != size:
            self._surface = pygame.display.set_mode(size)
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                self.close()
                return
            if self._on_event is not None:
                self._on_event(event)
                if self.closed:
                    return
        image = pygame.surfarray.make_surface(picture.swapaxes(0, 1))
        pygame.transform.scale(image, size, self._surface)
        for note in notes:
            note(self._surface)
        pygame.display.flip()
        self._wait()

    def _open(self, size: tuple[int, int]) -> None:
        pygame = self._pygame
        try:
            pygame.display.init()
            # Without a display SDL falls back to one that nobody can see. That is no error by
            # itself: environment checkers render in every mode on machines without a screen.
            driver = pygame.display.get_driver()
            if driver in _INVISIBLE and os.environ.get("SDL_VIDEODRIVER") != driver:
                if self._must_be_seen:
                    pygame.display.quit()
                    raise ConsoleError(f"no display was found; {self._instead}")
                _warn_once("no display was found, so nobody will see the window; %s", self._instead)
            self._surface = pygame.display.set_mode(size)
        except pygame.error as error:
            pygame.display.quit()
            raise ConsoleError(
                f"no window can be opened here ({error}); {self._instead}"
            ) from error
        pygame.display.set_caption(self._title)

    def _wait(self) -> None:
        """Until a picture's time is over, by a clock that forgets being late, but not early."""
        now = time.perf_counter()
        # pygame's own clock counts in whole milliseconds: 16 instead of 16.7.
        self._due = max(self._due + self._period, now - self._period)
        if self._due > now:
            time.sleep(self._due - now)

    def close(self) -> None:
        """Close the window; the second time does nothing."""
        if not self.closed and self._surface is not None:
            self._pygame.display.quit()
        self._surface = None
        self.closed = True
