"""Kartlab gives the same races on a second, more accurate emulator core (melonDS).

The core comes with stable-retro (the ``peers`` extra) and needs a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from second_core_drive import clock, digest, keys, structures

from mkds_gym.emulator.console import Console
from mkds_gym.kartlab import ROM_PATH
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.kartlab.generator import random_course_data

TESTS = Path(__file__).parent
RACES: dict[str, tuple[dict[str, Any], int]] = {
    "time trial": ({"skip_countdown": False}, 1800),
    "eight karts with items": ({"course": 27, "mode": "vs", "drivers": 8, "items": True}, 2800),
    "mirrored, hard, 150 cc": (
        {
            "course": 19,
            "mode": "vs",
            "drivers": 8,
            "items": True,
            "mirror": True,
            "strength": "hard",
            "engine_class": 150,
            "seed": 7,
        },
        2800,
    ),
    "random course": ({"mode": "vs", "drivers": 8, "items": True, "seed": 3}, 2600),
}
"""Boot parameters and frames of each race: 10,000 frames in all."""


def drive_on_melonds(boot: BootParameters, frames: int, folder: Path) -> list[Any]:
    """Return clock and structures of every frame of the race on melonDS."""
    with Console() as console:
        before = console.ram.copy()
    after = before.copy()
    boot.write(after)
    addresses = np.flatnonzero(after != before)
    np.savez(folder / "memory.npz", addresses=addresses, values=after[addresses])
    (folder / "rom.nds").write_bytes(ROM_PATH.read_bytes())
    program, output = TESTS / "programs" / "drive_on_melonds.py", folder / "records.json"
    done = subprocess.run(
        [sys.executable, program, folder / "rom.nds", folder / "memory.npz", str(frames), output],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(TESTS), str(TESTS.parent)))},
    )
    assert done.returncode == 0, done.stderr
    records: list[Any] = json.loads(output.read_text())
    return records


def drive_on_desmume(boot: BootParameters, frames: int) -> dict[int, dict[str, str]]:
    """Return the structures at every frame of the race's clock on DeSmuME."""
    records: dict[int, dict[str, str]] = {}
    with Console(on_power_on=boot.write) as console:
        now = 0
        while len(records) < frames:
            console.step(keys(now), 1, draw=False)
            if pieces := structures(console.ram):
                now = clock(pieces)
                records[now] = digest(pieces)
    return records


@pytest.mark.slow
@pytest.mark.parametrize("name", RACES)
def test_race_on_melonds_is_the_same_at_60_frames_a_second(name: str, tmp_path: Path) -> None:
    pytest.importorskip("stable_retro", reason="pip install 'mkds-gym[peers]'")
    parameters, frames = RACES[name]
    if name == "random course":
        parameters = {**parameters, "course_data": random_course_data(5, 1.0)}
    boot = BootParameters(**parameters)
    there, here = drive_on_melonds(boot, frames, tmp_path), drive_on_desmume(boot, frames)
    # A frame that takes too long misses a VBlank, and the clock stands still for a frame.
    assert [now for now, _ in there] == list(range(1, frames + 1))
    different = [
        (now, part) for now, parts in there for part in parts if parts[part] != here[now][part]
    ]
    assert not different
    assert len({parts["drivers"] for parts in here.values()}) > 0.8 * frames
