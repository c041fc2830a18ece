"""A savestate that the desktop emulator (Debian's ``desmume``) saves is a start.

Needs the packages desmume, xvfb and xdotool; skipped without them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mkds_gym import MKDSEnv
from mkds_gym.kartlab import ROM_PATH

PROGRAM = shutil.which("desmume", path=f"{os.environ.get('PATH', '')}:/usr/games")
DISPLAY = ":91"
PRESSES = ("Return", "x", "x", "x")  # START and A, through the menu
MAGIC = b"DeSmuME SState"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (PROGRAM and shutil.which("Xvfb") and shutil.which("xdotool")),
        reason="needs desmume, xvfb and xdotool",
    ),
]


@contextmanager
def running(command: list[str], environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drive the menu to a race in the desktop emulator, and save there."""
    home = tmp_path_factory.mktemp("desktop")
    rom = home / "kartlab.nds"
    shutil.copy(ROM_PATH, rom)
    environment = {**os.environ, "HOME": str(home), "DISPLAY": DISPLAY, "SDL_AUDIODRIVER": "dummy"}
    environment.pop("XDG_CONFIG_HOME", None)

    def xdotool(*words: str) -> str:
        command = ["xdotool", *words]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False
        ).stdout

    def press(*keys: str) -> None:
        for key in keys:
            xdotool("keydown", key)
        time.sleep(0.15)
        for key in reversed(keys):
            xdotool("keyup", key)
        time.sleep(1.5)

    with running(["Xvfb", DISPLAY, "-screen", "0", "1024x768x24"], environment):
        time.sleep(1)
        window = ("search", "--onlyvisible", "--name", "DeSmuME")
        with running([str(PROGRAM), "--disable-sound", str(rom)], environment):
            deadline = time.monotonic() + 30
            while not xdotool(*window):
                assert time.monotonic() < deadline, "the window did not open"
                time.sleep(0.5)
            time.sleep(6)
            xdotool(*window, "windowfocus")
            for key in PRESSES:
                press(key)
            time.sleep(5)
            press("shift", "F1")
            found = list(home.rglob("*.ds1"))
    assert found, "the emulator saved no state"
    assert found[0].read_bytes().startswith(MAGIC)
    return found[0]


def test_desktop_state_starts_a_race(state: Path, make_env: Callable[..., MKDSEnv]) -> None:
    env = make_env(state=state)
    _, info = env.reset(seed=0)
    assert abs(info["progress"]) < 0.1
    before = env.reader.read().position
    for _ in range(40):
        env.step(1)
    assert env.reader.read().position != before
    assert env.console.screen("both").max() == 255
    # The race has no lap override: the course's three laps count.
    assert env.reset(options={"progress": 0.3})[1]["progress"] == pytest.approx(0.3, abs=0.02)
    with pytest.raises(ValueError, match="beyond the race of 3 laps"):
        env.reset(options={"progress": 3.5})
