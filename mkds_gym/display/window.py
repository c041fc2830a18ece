"""`Window`: shows pictures of the console's screens (pygame-ce)."""

from __future__ import annotations

import atexit
import logging
import os
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.errors import ConsoleError, MKDSError

_log = logging.getLogger(__name__)

MAX_SCALE: Final = 8
"""Largest number of screen pixels per console pixel."""
DEFAULT_SCALE: Final = 2
_INVISIBLE: Final = ("offscreen", "dummy")
_WAYLAND_SOCKETS: Final = "XDG_RUNTIME_DIR"
_BACKGROUND: Final = (0, 0, 0, 255)
_MAX_DELAY: Final = 2
"""Pictures that a late window catches up; a longer delay is dropped."""

_warn_once = lru_cache(_log.warning)  # environment checkers open many windows

_windows: Final[list[Window]] = []
"""Open windows of this process. Its events come through one queue."""
_initialized: Final[list[bool]] = []
"""Not empty if this module initialized pygame's display and quits it with the last window."""


def import_pygame(wanted_by: str, error: type[MKDSError] = ConsoleError) -> Any:
    """Import and return pygame-ce, without its greeting.

    Args:
        wanted_by: the feature that needs pygame-ce, for the message.
        error: the exception to raise.

    Raises:
        MKDSError: pygame-ce is not installed.
    """
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        import pygame
        import pygame._sdl2.video
    except ImportError as cause:
        raise error(f"{wanted_by} needs pygame-ce: pip install 'mkds-gym[human]'") from cause
    return pygame


def open_display(
    pygame: Any, instead: str, *, must_be_seen: bool, error: type[MKDSError] = ConsoleError
) -> None:
    """Initialize pygame's display.

    Without a display, SDL falls back to an invisible one. This is logged once, unless the variable
    SDL_VIDEODRIVER asks for it. It is not an error, because environment checkers render in every
    mode on machines without a screen.

    Args:
        pygame: the module.
        instead: advice for messages.
        must_be_seen: raise an error if the display is invisible.
        error: the exception to raise.

    Raises:
        MKDSError: there is no display.
    """
    ready = pygame.display.get_init()
    # Without this variable, Wayland's library prints an error.
    missing = _WAYLAND_SOCKETS not in os.environ
    if missing:
        os.environ[_WAYLAND_SOCKETS] = os.devnull
    try:
        pygame.display.init()
    except pygame.error as cause:
        raise error(f"no window can be opened ({cause}): {instead}") from cause
    finally:
        if missing:
            del os.environ[_WAYLAND_SOCKETS]
    driver = pygame.display.get_driver()
    if driver in _INVISIBLE and os.environ.get("SDL_VIDEODRIVER") != driver:
        if must_be_seen:
            if not ready:
                pygame.display.quit()
            raise error(f"no display was found: {instead}")
        _warn_once("no display was found, so the window is invisible: %s", instead)


class Window:
    """Shows pictures at the console's speed, enlarged by an integer scale.

    The picture is in the middle of the window, at the largest scale that fits. Plus and minus
    change the scale, and ESC closes the window. A process may have several windows. The window
    opens with the first picture.

    Args:
        title: title of the window.
        frames_per_second: highest rate of pictures.
        scale: screen pixels per console pixel at first.
        on_event: called with each other pygame event of this window or of no window.
        wanted_by: the feature that needs the window, for messages.
        instead: advice for messages if no window can be opened.
        must_be_seen: raise an error if the display is invisible.

    Attributes:
        closed: whether the user closed the window or `close` was called.
        native: the `pygame.Window`; None before the first picture and after `close`.

    Raises:
        ConsoleError: pygame-ce is not installed, or pygame is installed in its place.
    """

    def __init__(
        self,
        title: str,
        frames_per_second: float,
        scale: int = DEFAULT_SCALE,
        *,
        on_event: Callable[[Any], None] | None = None,
        wanted_by: str = "render_mode='human'",
        instead: str = "use render_mode='rgb_array', or run under a display such as Xvfb",
        must_be_seen: bool = False,
    ) -> None:
        self._pygame = import_pygame(wanted_by)
        if not hasattr(self._pygame, "Window"):
            raise ConsoleError(
                f"{wanted_by} needs pygame-ce, but pygame is installed, which has the same name: "
                "pip uninstall pygame, then pip install --force-reinstall pygame-ce"
            )
        self._title = title
        self._period = 1.0 / frames_per_second
        self._scale = scale
        self._on_event = on_event
        self._instead = instead
        self._must_be_seen = must_be_seen
        self.native: Any = None
        self._renderer: Any = None
        self._texture: Any = None
        self._notes: Any = None
        self._shape = (0, 0)  # width and height of the picture
        self._due = 0.0
        self._blocked = 0.0  # seconds that the display blocked for the last picture
        self.closed = False

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in screen pixels; (0, 0) before the window opens."""
        if self.native is None:
            return 0, 0
        width, height = self.native.size
        return int(width), int(height)

    @property
    def scale(self) -> int:
        """Screen pixels per console pixel; setting it resizes the window."""
        if self.native is None:
            return self._scale
        (width, height), (columns, rows) = self.size, self._shape
        return max(1, min(width // columns, height // rows, MAX_SCALE))

    @scale.setter
    def scale(self, scale: int) -> None:
        self._scale = min(max(scale, 1), MAX_SCALE)
        if self.native is not None:
            self.native.size = tuple(side * self._scale for side in self._shape)

    def show(
        self,
        picture: NDArray[np.uint8],
        notes: Iterable[Callable[[Any], None]] = (),
    ) -> None:
        """Wait until the picture is due, show it, and handle the events.

        Does nothing if the window is closed. A display with a lower rate skips pictures, to keep
        the console's speed.

        Args:
            picture: uint8 RGB (height, width, 3), in console pixels.
            notes: called with a transparent pygame surface of the enlarged picture's size, to draw
                over the picture.

        Raises:
            ConsoleError: the window cannot be opened.
        """
        if self.closed:
            return
        pygame = self._pygame
        if self.native is not None and not pygame.display.get_init():
            _log.warning("the window was closed: this process quit pygame")
            self.close()
            return
        height, width = picture.shape[:2]
        self._fit((width, height))
        late = time.perf_counter() - self._due - self._period
        if late > _MAX_DELAY * self._period:
            self._due, late = time.perf_counter() - self._period, 0.0
        self._due += self._period
        self._load(picture, notes)
        # Skip a late picture if the display blocks (vsync).
        if late > self._period and self._blocked > self._period / 2:
            self._blocked = 0.0
        else:
            self._draw()
            if late < 0.0:
                # Not pygame's clock, which counts whole milliseconds: 16 instead of 16.7.
                time.sleep(max(self._due - time.perf_counter(), 0.0))
            begun = time.perf_counter()
            self._renderer.present()
            self._blocked = time.perf_counter() - begun
        # Events come last, so that keys held now count in the next frame.
        _deliver(pygame)

    def grab(self) -> NDArray[np.uint8]:
        """Return the window's contents: uint8 RGB (height, width, 3), screen pixels.

        Raises:
            ConsoleError: nothing was shown yet, or the window is closed.
        """
        if self._texture is None:
            raise ConsoleError("the window shows nothing: call show() first")
        self._draw()
        shown = self._pygame.surfarray.array3d(self._renderer.to_surface())
        return np.ascontiguousarray(shown.swapaxes(0, 1))

    def close(self) -> None:
        """Close the window. A second call does nothing."""
        self.closed = True
        window, self.native = self.native, None
        # In this order: SDL frees textures with their renderer, and the renderer with its window.
        self._notes = self._texture = None
        self._renderer = None
        if window is None:
            return
        _windows.remove(self)
        display = self._pygame.display
        if display.get_init():
            window.destroy()
            if not _windows and _initialized:
                display.quit()
        if not _windows:
            _initialized.clear()

    def _open(self) -> None:
        pygame = self._pygame
        if not pygame.display.get_init():
            _initialized[:] = [True]
        open_display(pygame, self._instead, must_be_seen=self._must_be_seen)
        size = tuple(side * self._scale for side in self._shape)
        try:
            self.native = pygame.Window(self._title, size, resizable=True)
            self._renderer = self._make_renderer()
        except pygame.error as error:
            if self.native is not None:
                self.native.destroy()
            self.native = None
            if not _windows and _initialized:
                pygame.display.quit()
                _initialized.clear()
            raise ConsoleError(f"no window can be opened ({error}): {self._instead}") from error
        self._renderer.draw_color = _BACKGROUND
        if not _windows:
            # Run before pygame's own exit function, which would destroy windows before renderers.
            atexit.unregister(_close_all)
            atexit.register(_close_all)
        _windows.append(self)

    def _make_renderer(self) -> Any:
        """Return a renderer on the graphics card with vsync, or else in software."""
        video = self._pygame._sdl2.video
        if self._pygame.display.get_driver() in _INVISIBLE:
            return video.Renderer(self.native, accelerated=0)
        try:
            return video.Renderer(self.native, vsync=True)
        except self._pygame.error:
            return video.Renderer(self.native, accelerated=0, vsync=True)

    def _fit(self, shape: tuple[int, int]) -> None:
        """Open or resize the window for pictures of this width and height."""
        if shape == self._shape and self.native is not None:
            return
        scale = self.scale
        self._shape = shape
        if self.native is None:
            self._open()
        self.native.minimum_size = shape
        self.scale = scale
        self._texture = self._pygame._sdl2.video.Texture(self._renderer, shape, streaming=True)

    def _load(self, picture: NDArray[np.uint8], notes: Iterable[Callable[[Any], None]]) -> None:
        """Upload picture and notes to the renderer."""
        pygame = self._pygame
        self._texture.update(pygame.image.frombuffer(picture.tobytes(), self._shape, "RGB"))
        self._notes = None
        surface = None
        for note in notes:
            if surface is None:
                scale = self.scale
                surface = pygame.Surface([side * scale for side in self._shape], pygame.SRCALPHA)
            note(surface)
        if surface is not None:
            self._notes = pygame._sdl2.video.Texture.from_surface(self._renderer, surface)

    def _draw(self) -> None:
        (width, height), scale = self.size, self.scale
        inside = self._pygame.Rect(0, 0, self._shape[0] * scale, self._shape[1] * scale)
        inside.center = (width // 2, height // 2)
        self._renderer.clear()
        self._texture.draw(dstrect=inside)
        if self._notes is not None:
            self._notes.draw(dstrect=inside)

    def _handle(self, event: Any) -> None:
        """Handle an event of this window or of no window."""
        pygame = self._pygame
        pressed = event.key if event.type == pygame.KEYDOWN else None
        if event.type in (pygame.QUIT, pygame.WINDOWCLOSE) or pressed == pygame.K_ESCAPE:
            self.close()
        elif pressed is not None and (step := scale_step(pygame, event)):
            room = pygame.display.get_desktop_sizes()[0]
            most = min(side // own for side, own in zip(room, self._shape, strict=True))
            self.scale = min(self.scale + step, max(most, 1))
        elif self._on_event is not None:
            self._on_event(event)


def scale_step(pygame: Any, event: Any) -> int:
    """Return by how much a pressed key changes the scale: 1 (plus), -1 (minus) or 0."""
    letter = getattr(event, "unicode", "")
    if event.key in (pygame.K_PLUS, pygame.K_KP_PLUS) or letter == "+":
        return 1
    return -1 if event.key in (pygame.K_MINUS, pygame.K_KP_MINUS) or letter == "-" else 0


def _deliver(pygame: Any) -> None:
    """Give each event to its window, or to all windows if it has none."""
    for event in pygame.event.get():
        target = getattr(event, "window", None)
        if target is None and event.type == pygame.WINDOWCLOSE:
            continue  # of a window that is already closed
        for window in tuple(_windows):
            if window.native is not None and target in (None, window.native):
                window._handle(event)


def _close_all() -> None:
    for window in tuple(_windows):
        window.close()
