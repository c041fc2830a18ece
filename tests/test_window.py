"""render_mode="human" opens a real window, shows the race in it, and survives its closing."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "SDL_VIDEODRIVER")}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_window_shows_what_render_returns(display: str, tmp_path: Path) -> None:
    done = run(
        f"""
        import time
        import gymnasium as gym, mkds_gym
        from PIL import Image, ImageGrab
        env = gym.make("MKDS-v0", render_mode="human", screens="both").unwrapped
        env.reset()
        start = time.perf_counter()
        for _ in range(30):
            env.step(0)
        print(120 / (time.perf_counter() - start))
        Image.fromarray(env.console.screen("both")).save({str(tmp_path / "console.png")!r})
        ImageGrab.grab(xdisplay={display!r}).save({str(tmp_path / "window.png")!r})
        env.close()
        """,
        DISPLAY=display,
    )
    assert done.returncode == 0, done.stderr
    # Not faster than the console; a loaded machine may well be slower.
    assert float(done.stdout) < 66.0
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


def test_closing_the_window_does_not_stop_the_race(display: str) -> None:
    done = run(
        """
        import gymnasium as gym, mkds_gym, pygame
        env = gym.make("MKDS-v0", render_mode="human").unwrapped
        env.reset()
        env.step(0)
        pygame.event.post(pygame.event.Event(pygame.QUIT))
        frames = [env.step(0)[4]["frame"] for _ in range(5)]
        assert not pygame.display.get_init()
        assert frames == sorted(set(frames))
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
    assert "no display was found" in done.stderr
    assert "rgb_array" in done.stderr
    assert int(done.stdout) > 0
