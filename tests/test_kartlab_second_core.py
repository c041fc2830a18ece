"""Kartlab gives the same race on a second, more accurate emulator core (melonDS).

The core comes with stable-retro (the ``peers`` extra) and needs a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from second_core_drive import keys, record

from mkds_gym.emulator.console import Console, Keys
from mkds_gym.kartlab import ROM_PATH
from mkds_gym.kartlab.boot import BootParameters

FRAMES = 1800
TESTS = Path(__file__).parent


def drive_on_melonds(folder: Path) -> list[tuple[int, str]]:
    """Return clock and position of every frame on melonDS."""
    game = folder / "Kartlab-Nds-v0"
    game.mkdir()
    rom = ROM_PATH.read_bytes()
    (game / "rom.nds").write_bytes(rom)
    (game / "rom.sha").write_text(hashlib.sha1(rom).hexdigest() + "\n")
    (game / "data.json").write_text(json.dumps({"info": {}}))
    (game / "scenario.json").write_text(json.dumps({"done": {}, "reward": {}}))
    (game / "metadata.json").write_text("{}")
    program, output = TESTS / "programs" / "drive_on_melonds.py", folder / "records.json"
    done = subprocess.run(
        [sys.executable, str(program), str(folder), str(FRAMES), str(output)],
        capture_output=True,
        text=True,
        timeout=250,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    assert done.returncode == 0, done.stderr
    return [(clock, position) for clock, position in json.loads(output.read_text())]


def drive_on_desmume() -> dict[int, str]:
    """Return the position at every frame of the race's clock on DeSmuME."""
    positions: dict[int, str] = {}
    with Console(on_power_on=BootParameters(skip_countdown=False).write) as console:
        clock = 0
        for _ in range(FRAMES):
            pressed = zip(keys(clock), (Keys.A, Keys.LEFT, Keys.RIGHT), strict=True)
            mask = sum(int(key) for held, key in pressed if held)
            console.step(mask, 1, draw=False)
            clock, positions[clock] = record(console.ram)
    return positions


@pytest.mark.slow
def test_race_on_melonds_is_the_same_at_60_frames_a_second(tmp_path: Path) -> None:
    pytest.importorskip("stable_retro", reason="pip install 'mkds-gym[peers]'")
    there, here = drive_on_melonds(tmp_path), drive_on_desmume()
    clocks = [clock for clock, _ in there if clock > 0]
    # A frame that takes too long misses a VBlank, and the clock stands still for a frame.
    assert clocks == list(range(1, len(clocks) + 1))
    assert len(clocks) > 1000
    same = [here[clock] == position for clock, position in there if clock > 0 and clock in here]
    assert len(set(here.values())) > 800
    assert all(same)
    assert len(same) > 1000
