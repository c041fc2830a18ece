"""The harness for windows: displays, screenshots, keys, and a clock that tests move."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pygame
from numpy.typing import NDArray
from PIL import ImageGrab
from programs import DISPLAYS

Pixels = NDArray[np.uint8]


def set_display(monkeypatch: Any, name: str | None, *, driver: str | None = None) -> None:
    """Set the X display and SDL's video driver of this process; None unsets them."""
    for variable in DISPLAYS:
        monkeypatch.delenv(variable, raising=False)
    if name is not None:
        monkeypatch.setenv("DISPLAY", name)
    if driver is not None:
        monkeypatch.setenv("SDL_VIDEODRIVER", driver)


def screenshot(display: str) -> Pixels:
    """Return what an X display shows."""
    return np.asarray(ImageGrab.grab(xdisplay=display).convert("RGB"))


def surface_pixels(surface: Any = None) -> Pixels:
    """Return the pixels of a pygame surface, by default of the display's."""
    array = pygame.surfarray.array3d(surface or pygame.display.get_surface())
    return np.asarray(array.swapaxes(0, 1))


def contains(window: Pixels, picture: Pixels) -> bool:
    """Return whether a picture is somewhere in a window."""
    height, width = picture.shape[:2]
    corners = (window[: 1 - height, : 1 - width] == picture[0, 0]).all(axis=2)
    return any(
        np.array_equal(window[y : y + height, x : x + width], picture)
        for y, x in zip(*np.nonzero(corners), strict=True)
    )


def enlarged(picture: Pixels, scale: int) -> Pixels:
    """Return a picture with every pixel repeated."""
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)


def framed(picture: Pixels, scale: int, size: tuple[int, int]) -> Pixels:
    """Return an enlarged picture in the middle of a black window of (width, height)."""
    window = np.zeros((size[1], size[0], 3), np.uint8)
    inside = enlarged(picture, scale)
    x, y = (size[0] - inside.shape[1]) // 2, (size[1] - inside.shape[0]) // 2
    window[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    return window


def key(code: int, letter: str = "", mod: int = 0) -> Any:
    """Return the event of a pressed key."""
    return pygame.event.Event(pygame.KEYDOWN, key=code, unicode=letter, mod=mod)


def click(*place: int) -> Any:
    """Return the event of a left click."""
    return pygame.event.Event(pygame.MOUSEBUTTONDOWN, button=1, pos=place)


def post(kind: int, **values: Any) -> None:
    """Post an event, of any window or (``window=``) of one."""
    pygame.event.post(pygame.event.Event(kind, **values))


class Clock:
    """Replaces the module `time` in a tested module; only tests and sleeps move it."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def perf_counter(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
