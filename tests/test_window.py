"""render_mode="human" opens a real window, shows the race in it, and survives its closing."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image
from programs import run

import mkds_gym  # noqa: F401  registers MKDS-v0
from mkds_gym.display.window import Window


def test_the_window_shows_what_render_returns(display: str, tmp_path: Path) -> None:
    done = run(
        f"""
        import time
        import gymnasium as gym, mkds_gym
        from PIL import Image, ImageGrab
        env = gym.make("MKDS-v0", render_mode="human", screens="both").unwrapped
        env.reset()
        env.step(0)
        start = time.perf_counter()
        for _ in range(30):
            env.step(0)
        print(120 / (time.perf_counter() - start))
        time.sleep(0.2)  # late frames are forgiven then, and none is left out
        env.step(0)
        Image.fromarray(env.console.screen("both")).save({str(tmp_path / "console.png")!r})
        ImageGrab.grab(xdisplay={display!r}).save({str(tmp_path / "window.png")!r})
        env.close()
        """,
        DISPLAY=display,
    )
    assert done.returncode == 0, done.stderr
    # The console's own speed, or less on a loaded machine that draws by itself; it does not stand.
    assert 3.0 < float(done.stdout) < 62.0
    console = np.asarray(Image.open(tmp_path / "console.png").convert("RGB"))
    window = np.asarray(Image.open(tmp_path / "window.png").convert("RGB"))
    twice = console.repeat(2, axis=0).repeat(2, axis=1)
    found = any(
        np.array_equal(window[y : y + 768, x : x + 512], twice)
        for y in range(window.shape[0] - 767)
        for x in range(window.shape[1] - 511)
        if (window[y, x] == twice[0, 0]).all() and (window[y + 767, x + 511] == twice[-1, -1]).all()
    )
    assert found


HEAD = """
import time
import numpy as np
import pygame
from mkds_gym.display.window import Window

chance = np.random.default_rng(0)
one = chance.integers(0, 256, (192, 256, 3), np.uint8)
both = chance.integers(0, 256, (384, 256, 3), np.uint8)

def post(window, kind, **what):
    pygame.event.post(pygame.event.Event(kind, window=window._window, **what))

def framed(picture, scale, size):
    # A picture in the middle of a window of (width, height), and black around it.
    wanted = np.zeros((size[1], size[0], 3), np.uint8)
    large = picture.repeat(scale, 0).repeat(scale, 1)
    x, y = (size[0] - large.shape[1]) // 2, (size[1] - large.shape[0]) // 2
    wanted[y : y + large.shape[0], x : x + large.shape[1]] = large
    return wanted

def comes_to_show(window, picture, scale, size):
    # A display takes its time to give a window another size.
    end = time.monotonic() + 20
    while True:
        window.show(picture)
        if (window.size, window.scale) == (size, scale):
            if (window.grab() == framed(picture, scale, size)).all():
                return
        assert time.monotonic() < end, (window.size, window.scale, size, scale)
"""


def windows(program: str, display: str) -> str:
    """Run a program with windows on a display; what it prints."""
    done = run(HEAD + textwrap.dedent(program), DISPLAY=display)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pictures_are_enlarged_by_whole_numbers(display: str) -> None:
    windows(
        """
        window = Window("test", 60, scale=1)
        assert (window.size, window.scale) == ((0, 0), 1)
        window.show(one)
        assert window.size == (256, 192)
        # By its keys, as far as the display goes (1024 x 900).
        for key, scale in (("PLUS", 2), ("KP_PLUS", 3), ("PLUS", 4), ("PLUS", 4), ("MINUS", 3)):
            post(window, pygame.KEYDOWN, key=getattr(pygame, "K_" + key))
            window.show(one)
            comes_to_show(window, one, scale, (256 * scale, 192 * scale))
        # On another keyboard, plus is a key with another code.
        post(window, pygame.KEYDOWN, key=pygame.K_EQUALS, unicode="-")
        comes_to_show(window, one, 2, (512, 384))
        # By resizing.
        for size, scale in (((900, 500), 2), ((300, 200), 1), ((768, 576), 3), ((767, 576), 2)):
            window._window.size = size
            comes_to_show(window, one, scale, size)
        assert tuple(window._window.minimum_size) == (256, 192)
        # Pictures of another size: the window follows, the scale stays.
        comes_to_show(window, both, 2, (512, 768))
        """,
        display,
    )


def test_it_keeps_to_its_pace(display: str) -> None:
    rates = windows(
        """
        for rate in (59.8261, 100.0):
            window = Window("test", rate)
            window.show(one)
            start = time.perf_counter()
            for _ in range(100):
                window.show(one)
            print(100 / (time.perf_counter() - start))
            window.close()
        """,
        display,
    )
    slow, quick = (float(rate) for rate in rates.split())
    # Never faster. How much slower is for the machine to say: only a window that stands is wrong.
    assert 3 < slow < 1.04 * 59.8261, rates
    assert 3 < quick < 1.04 * 100, rates


class Clock:
    """Stands for `time` in the window: it goes on by what is slept, and by nothing else."""

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_its_pace_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that no machine's load moves; a late picture is caught up, three are forgiven."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setattr("mkds_gym.display.window.time", clock := Clock())
    picture = np.zeros((192, 256, 3), np.uint8)
    period = 1 / 59.8261
    window = Window("test", 59.8261, scale=1)

    def pictures(count: int) -> float:
        """Periods until so many more are shown."""
        begun = clock.now
        for _ in range(count):
            window.show(picture)
        return (clock.now - begun) / period

    pictures(1)
    assert pictures(60) == pytest.approx(60, abs=0.001 / period)
    clock.now += 1.8 * period
    assert pictures(1) == 0
    assert pictures(9) == pytest.approx(10 - 1.8)
    clock.now += 4 * period
    assert pictures(1) == 0
    assert pictures(9) == pytest.approx(9)
    window.close()


def test_a_process_may_have_several_windows(display: str) -> None:
    windows(
        """
        heard = {"first": [], "second": []}
        first, second = (
            Window(name, 60, on_event=lambda event, into=into: into.append(event.type))
            for name, into in heard.items()
        )
        first.show(one)
        second.show(both)
        for into in heard.values():
            into.clear()
        # Whichever of them looks for events, each gets its own, and both what is of none.
        post(first, pygame.KEYDOWN, key=pygame.K_x)
        post(second, pygame.KEYUP, key=pygame.K_x)
        pygame.event.post(pygame.event.Event(pygame.USEREVENT))
        second.show(both)
        own = {pygame.KEYDOWN, pygame.KEYUP, pygame.USEREVENT}
        assert set(heard["first"]) & own == {pygame.KEYDOWN, pygame.USEREVENT}
        assert set(heard["second"]) & own == {pygame.KEYUP, pygame.USEREVENT}
        assert (first.grab() == framed(one, 2, (512, 384))).all()
        assert (second.grab() == framed(both, 2, (512, 768))).all()
        # Closing one leaves the other.
        post(first, pygame.WINDOWCLOSE)
        second.show(both)
        assert first.closed and not second.closed
        first.show(one)
        second.show(one)
        assert (second.grab() == framed(one, 2, (512, 384))).all()
        post(second, pygame.KEYDOWN, key=pygame.K_ESCAPE)
        second.show(both)
        assert second.closed
        assert not pygame.display.get_init()
        # And a new one can be opened; without its being closed, the process still ends well.
        third = Window("third", 60)
        third.show(one)
        """,
        display,
    )


def test_it_does_not_mind_other_users_of_pygame(display: str) -> None:
    windows(
        """
        pygame.display.init()
        window = Window("test", 60)
        window.show(one)
        window.close()
        assert pygame.display.get_init()
        window = Window("test", 60)
        window.show(one)
        pygame.quit()
        window.show(one)
        assert window.closed
        """,
        display,
    )


def test_closing_the_window_does_not_stop_the_race(display: str) -> None:
    """Nor does it cost the race any more: no overlay is drawn for nobody."""
    done = run(
        """
        import gymnasium as gym, mkds_gym, pygame
        class Count:
            name, drawn = "count", 0
            def draw(self, canvas, scene, course):
                Count.drawn += 1
        make = lambda: gym.make(
            "MKDS-v0", render_mode="human", overlays=Count(), window_scale=1
        ).unwrapped
        env, other = make(), make()
        for each in (env, other):
            each.reset()
            each.step(0)
        assert Count.drawn == 10
        assert env._window.size == (256, 192)
        pygame.event.post(pygame.event.Event(pygame.WINDOWCLOSE, window=env._window._window))
        env.step(0)
        before = Count.drawn
        frames = [env.step(0)[4]["frame"] for _ in range(5)]
        assert Count.drawn == before
        assert frames == sorted(set(frames))
        other.step(0)
        assert Count.drawn == before + 4
        other.close()
        assert not pygame.display.get_init()
        env.reset()
        env.close()
        """,
        DISPLAY=display,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("display_name", [None, ":977"])
def test_without_a_display_it_says_so_and_goes_on(display_name: str | None) -> None:
    done = run(
        """
        import gymnasium as gym, mkds_gym
        env = gym.make("MKDS-v0", render_mode="human").unwrapped
        env.reset()
        print(env.step(0)[4]["frame"])
        env.close()
        """,
        **({} if display_name is None else {"DISPLAY": display_name}),
    )
    (line,) = done.stderr.splitlines()
    assert "no display was found" in line
    assert "rgb_array" in line
    assert int(done.stdout) > 0


@pytest.mark.parametrize(
    ("scale", "error"), [(0, ValueError), (9, ValueError), (1.5, TypeError), (True, TypeError)]
)
def test_a_scale_is_a_small_whole_number(scale: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="window_scale"):
        gym.make("MKDS-v0", render_mode="human", window_scale=scale)


def test_another_pygame_is_told_apart() -> None:
    """Gymnasium's own environments bring it, under the same name."""
    done = run(
        """
        import pygame
        from mkds_gym.errors import ConsoleError
        from mkds_gym.display.window import Window
        del pygame.Window
        try:
            Window("test", 60)
        except ConsoleError as error:
            print(error)
        """
    )
    assert "pip uninstall pygame" in done.stdout, done.stderr


def test_without_pygame_it_says_what_to_install() -> None:
    """Each window with an error of its own kind."""
    done = run(
        """
        import sys
        sys.modules["pygame"] = None
        from mkds_gym.errors import ConsoleError, ViewerError
        from mkds_gym.viewer import Bus
        from mkds_gym.viewer.window import ViewerWindow
        from mkds_gym.display.window import Window
        with Bus(1) as bus:
            for kind, make in (
                (ConsoleError, lambda: Window("test", 60)),
                (ViewerError, lambda: ViewerWindow(bus.folder)),
            ):
                try:
                    make()
                except kind as error:
                    print(error)
        """
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all(line.endswith("needs pygame-ce: pip install 'mkds-gym[human]'") for line in lines)
