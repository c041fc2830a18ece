"""A window on the console's screens, in the process that shows it (pygame-ce)."""

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
"""Most screen pixels per console pixel."""
DEFAULT_SCALE: Final = 2
_INVISIBLE: Final = ("offscreen", "dummy")
_WAYLAND_SOCKETS: Final = "XDG_RUNTIME_DIR"
_BACK: Final = (0, 0, 0, 255)
_MOST_LATE: Final = 2
"""Pictures by which a window may be late and still catch up; later ones are forgiven."""

_warn_once = lru_cache(_log.warning)  # a checker opens one window after the other

_windows: Final[list[Window]] = []
"""Those that are open: events come through one queue, for all of a process."""
_initialized: Final[list[bool]] = []
"""Whether pygame's display was made ready here, and is to be taken down with the last window."""


def import_pygame(wanted_by: str, error: type[MKDSError] = ConsoleError) -> Any:
    """pygame-ce, without its greeting.

    Args:
        wanted_by: what needs it, for the message.
        error: what to raise.

    Raises:
        MKDSError: it is not installed.
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
    """Make pygame's display ready.

    Without a display SDL falls back to one that nobody can see. That is no error by itself
    (environment checkers render in every mode on machines without a screen), but is logged, once;
    and it is none at all for who asks for such a one, by SDL_VIDEODRIVER.

    Args:
        pygame: the module.
        instead: what to do without a display, for messages.
        must_be_seen: a display that nobody can see is an error.
        error: what to raise.

    Raises:
        MKDSError: there is no display.
    """
    ready = pygame.display.get_init()
    # Without this variable, Wayland's library complains on the standard error by itself. It is set
    # for the whole process: a program that another thread starts meanwhile has it too, which
    # harms only what needs such a folder, and would have none without it.
    missing = _WAYLAND_SOCKETS not in os.environ
    if missing:
        os.environ[_WAYLAND_SOCKETS] = os.devnull
    try:
        pygame.display.init()
    except pygame.error as cause:
        raise error(f"no window can be opened ({cause}); {instead}") from cause
    finally:
        if missing:
            del os.environ[_WAYLAND_SOCKETS]
    driver = pygame.display.get_driver()
    if driver in _INVISIBLE and os.environ.get("SDL_VIDEODRIVER") != driver:
        if must_be_seen:
            if not ready:
                pygame.display.quit()
            raise error(f"no display was found; {instead}")
        _warn_once("no display was found, so nobody will see the window; %s", instead)


class Window:
    """Shows pictures at the console's own pace, enlarged by a whole number.

    The user may resize it: the picture takes the largest whole number that fits, in the middle.
    Plus and minus change the number, and ESC closes the window. A process may have several.

    Args:
        title: the window's caption.
        frames_per_second: pictures shown a second at the most.
        scale: screen pixels per console pixel at first.
        on_event: called with each other pygame event of this window, and with those of none.
        wanted_by: what needs a window, for messages.
        instead: what to do without one, for messages.
        must_be_seen: a display that nobody can see is an error.

    Attributes:
        closed: the user has closed the window, or `close` was called.

    Raises:
        ConsoleError: pygame-ce is not installed, or pygame in its place.
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
                f"{wanted_by} needs pygame-ce, and what is installed is pygame (the two share a "
                "name): pip uninstall pygame, then pip install --force-reinstall pygame-ce"
            )
        self._title = title
        self._period = 1.0 / frames_per_second
        self._scale = scale
        self._on_event = on_event
        self._instead = instead
        self._must_be_seen = must_be_seen
        self._window: Any = None
        self._renderer: Any = None
        self._texture: Any = None
        self._notes: Any = None
        self._shape = (0, 0)  # width and height of the picture
        self._due = 0.0
        self._blocked = 0.0  # seconds that showing the last picture took
        self.closed = False

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in screen pixels; (0, 0) while there is no window."""
        if self._window is None:
            return 0, 0
        width, height = self._window.size
        return int(width), int(height)

    @property
    def scale(self) -> int:
        """Screen pixels per console pixel; setting it resizes the window."""
        if self._window is None:
            return self._scale
        (width, height), (columns, rows) = self.size, self._shape
        return max(1, min(width // columns, height // rows, MAX_SCALE))

    @scale.setter
    def scale(self, scale: int) -> None:
        self._scale = min(max(scale, 1), MAX_SCALE)
        if self._window is not None:
            self._window.size = tuple(side * self._scale for side in self._shape)

    def show(
        self,
        picture: NDArray[np.uint8],
        notes: Iterable[Callable[[Any], None]] = (),
    ) -> None:
        """Show an RGB picture, uint8 (height, width, 3), once it is due, and handle the events.

        Does nothing once the user has closed the window: what runs behind it goes on. On a display
        that shows fewer pictures a second, some are left out, so that time goes by as it should.

        Args:
            picture: at the console's size.
            notes: called with a transparent pygame surface as large as the enlarged picture, to
                draw over it.

        Raises:
            ConsoleError: pygame cannot open a window. (Without any display it logs a warning and
                goes on unseen, unless the window must be seen.)
        """
        if self.closed:
            return
        pygame = self._pygame
        if self._window is not None and not pygame.display.get_init():
            _log.warning("the window is gone: this process has shut pygame down")
            self.close()
            return
        height, width = picture.shape[:2]
        self._fit((width, height))
        late = time.perf_counter() - self._due - self._period
        if late > _MOST_LATE * self._period:
            self._due, late = time.perf_counter() - self._period, 0.0
        self._due += self._period
        self._load(picture, notes)
        # A display that makes one wait for it (vsync), and a picture that comes too late for it:
        if late > self._period and self._blocked > self._period / 2:
            self._blocked = 0.0
        else:
            self._draw()
            if late < 0.0:
                # pygame's own clock counts in whole milliseconds: 16 instead of 16.7.
                time.sleep(max(self._due - time.perf_counter(), 0.0))
            begun = time.perf_counter()
            self._renderer.present()
            self._blocked = time.perf_counter() - begun
        # Last, so that what is held now holds in the next frame.
        _deliver(pygame)

    def grab(self) -> NDArray[np.uint8]:
        """What the window shows since the last `show`: uint8 RGB (height, width, 3), screen pixels.

        Raises:
            ConsoleError: it shows nothing yet, or is closed.
        """
        if self._texture is None:
            raise ConsoleError("the window shows nothing; call show() first")
        self._draw()
        shown = self._pygame.surfarray.array3d(self._renderer.to_surface())
        return np.ascontiguousarray(shown.swapaxes(0, 1))

    def close(self) -> None:
        """Close the window; the second time does nothing."""
        self.closed = True
        window, self._window = self._window, None
        # In this order: SDL frees textures with their renderer, and that with its window.
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

    # Within -----------------------------------------------------------------------------------

    def _open(self) -> None:
        pygame = self._pygame
        if not pygame.display.get_init():
            _initialized[:] = [True]
        open_display(pygame, self._instead, must_be_seen=self._must_be_seen)
        size = tuple(side * self._scale for side in self._shape)
        try:
            self._window = pygame.Window(self._title, size, resizable=True)
            self._renderer = self._make_renderer()
        except pygame.error as error:
            if self._window is not None:
                self._window.destroy()
            self._window = None
            if not _windows and _initialized:
                pygame.display.quit()
                _initialized.clear()
            raise ConsoleError(f"no window can be opened ({error}); {self._instead}") from error
        self._renderer.draw_color = _BACK
        if not _windows:
            # Before pygame's own, which would leave the renderers without their windows.
            atexit.unregister(_close_all)
            atexit.register(_close_all)
        _windows.append(self)

    def _make_renderer(self) -> Any:
        """By the graphics card if it can, in step with the display; else by the processor."""
        video = self._pygame._sdl2.video
        if self._pygame.display.get_driver() in _INVISIBLE:
            return video.Renderer(self._window, accelerated=0)
        try:
            return video.Renderer(self._window, vsync=True)
        except self._pygame.error:
            return video.Renderer(self._window, accelerated=0, vsync=True)

    def _fit(self, shape: tuple[int, int]) -> None:
        """Have a window for pictures of so many columns and rows."""
        if shape == self._shape and self._window is not None:
            return
        scale = self.scale
        self._shape = shape
        if self._window is None:
            self._open()
        self._window.minimum_size = shape
        self.scale = scale
        self._texture = self._pygame._sdl2.video.Texture(self._renderer, shape, streaming=True)

    def _load(self, picture: NDArray[np.uint8], notes: Iterable[Callable[[Any], None]]) -> None:
        """Hand picture and notes to the renderer."""
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
        """What an event of this window does, or one of no window."""
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
    """By how much a key that is pressed changes the scale."""
    letter = getattr(event, "unicode", "")
    if event.key in (pygame.K_PLUS, pygame.K_KP_PLUS) or letter == "+":
        return 1
    return -1 if event.key in (pygame.K_MINUS, pygame.K_KP_MINUS) or letter == "-" else 0


def _deliver(pygame: Any) -> None:
    """Hand every event to the window that it is of, or to all if it is of none."""
    for event in pygame.event.get():
        of = getattr(event, "window", None)
        if of is None and event.type == pygame.WINDOWCLOSE:
            continue  # of one that is gone
        for window in tuple(_windows):
            if window._window is not None and (of is None or of is window._window):
                window._handle(event)


def _close_all() -> None:
    for window in tuple(_windows):
        window.close()
