"""Windows show pictures at the console's speed, react to keys, and can be closed at any time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pygame
import pytest
from programs import run_file
from waiting import until
from windows import Clock, contains, enlarged, framed, post, screenshot, set_display

import mkds_gym  # noqa: F401  registers MKDS-v0
from mkds_gym.display.window import Window
from mkds_gym.emulator.hardware import FRAMES_PER_SECOND
from mkds_gym.errors import ConsoleError, ViewerError
from mkds_gym.viewer import Bus
from mkds_gym.viewer.window import ViewerWindow

_random = np.random.default_rng(0)
ONE = _random.integers(0, 256, (192, 256, 3), np.uint8)
BOTH = _random.integers(0, 256, (384, 256, 3), np.uint8)


@pytest.fixture
def on_display(display: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """This process opens its windows on a real display."""
    set_display(monkeypatch, display)
    yield display
    pygame.quit()


# In the environment -------------------------------------------------------------------------------


class Counter:
    """An overlay that counts its drawings."""

    name, drawn = "counter", 0

    def draw(self, canvas: Any, scene: Any, course: Any) -> None:
        Counter.drawn += 1


def test_human_mode_shows_the_rendered_picture_at_most_at_full_speed(on_display: str) -> None:
    env: Any = gym.make("MKDS-v0", render_mode="human", screens="both").unwrapped
    env.reset()
    start = time.perf_counter()
    for _ in range(8):
        env.step(0)
    # A loaded machine without a graphics card is slower, but does not stand still.
    assert 3.0 < 32 / (time.perf_counter() - start) < 1.1 * FRAMES_PER_SECOND
    picture = enlarged(env.console.screen("both"), 2)
    try:
        # Rendering again shows the picture again: a late window skips some.
        until(lambda: (env.render(), contains(screenshot(on_display), picture))[1], 20.0)
    finally:
        env.close()


@pytest.mark.usefixtures("on_display")
def test_closed_window_does_not_stop_the_race_and_draws_no_overlays() -> None:
    env, other = (
        gym.make("MKDS-v0", render_mode="human", overlays=Counter(), window_scale=1).unwrapped
        for _ in range(2)
    )
    for each in (env, other):
        each.reset()
        each.step(0)
    assert Counter.drawn == 10
    (window,) = (o.window for o in env.observers if hasattr(o, "window"))  # type: ignore[attr-defined]
    assert window.size == (256, 192)
    post(pygame.WINDOWCLOSE, window=window.native)
    env.step(0)
    before = Counter.drawn
    frames = [env.step(0)[4]["frame"] for _ in range(5)]
    assert Counter.drawn == before
    assert frames == sorted(set(frames))
    other.step(0)
    assert Counter.drawn == before + 4
    other.close()
    assert not pygame.display.get_init()
    env.reset()
    env.close()


@pytest.mark.parametrize(
    ("scale", "error"), [(0, ValueError), (9, ValueError), (1.5, TypeError), (True, TypeError)]
)
def test_bad_window_scale_is_refused(scale: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="window_scale"):
        gym.make("MKDS-v0", render_mode="human", window_scale=scale)


# The window ---------------------------------------------------------------------------------------


def show_until(window: Window, picture: np.ndarray, scale: int, size: tuple[int, int]) -> None:
    """Show a picture until the window has its new size, which takes a display some time."""

    def shown() -> bool:
        window.show(picture)
        return (window.size, window.scale) == (size, scale) and np.array_equal(
            window.grab(), framed(picture, scale, size)
        )

    until(shown, 20.0)


@pytest.mark.usefixtures("on_display")
def test_picture_is_scaled_by_integers() -> None:
    window = Window("test", 60, scale=1)
    assert (window.size, window.scale) == ((0, 0), 1)
    window.show(ONE)
    assert window.size == (256, 192)
    # By keys, up to the size of the display (1024 x 900).
    for key, scale in (("PLUS", 2), ("KP_PLUS", 3), ("PLUS", 4), ("PLUS", 4), ("MINUS", 3)):
        post(pygame.KEYDOWN, key=getattr(pygame, "K_" + key), window=window.native)
        window.show(ONE)
        show_until(window, ONE, scale, (256 * scale, 192 * scale))
    # Other keyboards have another code for the key with this letter.
    post(pygame.KEYDOWN, key=pygame.K_EQUALS, unicode="-", window=window.native)
    show_until(window, ONE, 2, (512, 384))
    for size, scale in (((900, 500), 2), ((300, 200), 1), ((768, 576), 3), ((767, 576), 2)):
        window.native.size = size
        show_until(window, ONE, scale, size)
    assert tuple(window.native.minimum_size) == (256, 192)
    # The window follows the size of the pictures and keeps the scale.
    show_until(window, BOTH, 2, (512, 768))
    window.close()


@pytest.mark.usefixtures("on_display")
def test_window_is_never_faster_than_its_rate() -> None:
    window = Window("test", 100.0, scale=1)
    window.show(ONE)
    start = time.perf_counter()
    for _ in range(60):
        window.show(ONE)
    # The window may catch up a delay of two pictures.
    assert 3 < 60 / (time.perf_counter() - start) < 1.05 * 100
    window.close()


def test_rate_is_exact_and_long_delays_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    set_display(monkeypatch, None, driver="dummy")
    monkeypatch.setattr("mkds_gym.display.window.time", clock := Clock())
    period = 1 / FRAMES_PER_SECOND
    window = Window("test", FRAMES_PER_SECOND, scale=1)

    def periods(pictures: int) -> float:
        start = clock.now
        for _ in range(pictures):
            window.show(ONE)
        return (clock.now - start) / period

    periods(1)
    assert periods(60) == pytest.approx(60, abs=0.001 / period)
    clock.now += 1.8 * period
    assert periods(1) == 0
    assert periods(9) == pytest.approx(10 - 1.8)
    clock.now += 4 * period
    assert periods(1) == 0
    assert periods(9) == pytest.approx(9)
    window.close()


@pytest.mark.usefixtures("on_display")
def test_each_window_receives_its_own_events() -> None:
    events: dict[str, list[int]] = {"first": [], "second": []}

    def handler(name: str) -> Callable[[Any], None]:
        return lambda event: events[name].append(event.type)

    first, second = (Window(name, 60, on_event=handler(name)) for name in events)
    first.show(ONE)
    second.show(BOTH)
    for received in events.values():
        received.clear()
    post(pygame.KEYDOWN, key=pygame.K_x, window=first.native)
    post(pygame.KEYUP, key=pygame.K_x, window=second.native)
    post(pygame.USEREVENT)
    second.show(BOTH)
    own = {pygame.KEYDOWN, pygame.KEYUP, pygame.USEREVENT}
    assert set(events["first"]) & own == {pygame.KEYDOWN, pygame.USEREVENT}
    assert set(events["second"]) & own == {pygame.KEYUP, pygame.USEREVENT}
    assert np.array_equal(first.grab(), framed(ONE, 2, (512, 384)))
    assert np.array_equal(second.grab(), framed(BOTH, 2, (512, 768)))
    post(pygame.WINDOWCLOSE, window=first.native)
    second.show(BOTH)
    assert first.closed
    assert not second.closed
    first.show(ONE)
    second.show(ONE)
    assert np.array_equal(second.grab(), framed(ONE, 2, (512, 384)))
    post(pygame.KEYDOWN, key=pygame.K_ESCAPE, window=second.native)
    second.show(BOTH)
    assert second.closed
    assert not pygame.display.get_init()


def test_windows_left_open_do_not_disturb_the_end_of_the_process(display: str) -> None:
    done = run_file("window_left_open.py", DISPLAY=display)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.usefixtures("on_display")
def test_window_tolerates_other_users_of_pygame() -> None:
    pygame.display.init()
    window = Window("test", 60)
    window.show(ONE)
    window.close()
    assert pygame.display.get_init()
    window = Window("test", 60)
    window.show(ONE)
    pygame.quit()
    window.show(ONE)
    assert window.closed


@pytest.mark.parametrize("environment", [{}, {"DISPLAY": ":977"}])
def test_missing_display_is_logged_once(environment: dict[str, str]) -> None:
    done = run_file("window_left_open.py", **environment)
    assert done.stdout.split()[-2:] == ["512", "384"]
    (line,) = done.stderr.splitlines()
    assert "no display was found" in line
    assert "rgb_array" in line


def test_pygame_instead_of_pygame_ce_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gymnasium's own environments install pygame."""
    monkeypatch.delattr(pygame, "Window")
    with pytest.raises(ConsoleError, match="pip uninstall pygame"):
        Window("test", 60)


def test_missing_pygame_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    words = r"needs pygame-ce: pip install 'mkds-gym\[human\]'"
    with pytest.raises(ConsoleError, match=words):
        Window("test", 60)
    with Bus(1) as bus, pytest.raises(ViewerError, match=words):
        ViewerWindow(bus.folder)
