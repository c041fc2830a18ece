"""Kartlab drives the same race on a second, more accurate emulator core (melonDS).

The core comes with stable-retro (the ``peers`` extra), which wants a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mkds_gym.emulator.console import Console, Keys
from mkds_gym.kartlab import ROM_PATH
from mkds_gym.kartlab.boot import BootParameters

FRAMES = 1800

# What both sides run: keys from the race clock, and a record of clock and position a frame.
DRIVE = '''
def keys(clock):
    """A and, in turn, left and right, so that the kart meets grass, walls and a fall."""
    if clock < 60:
        return (False, False, False)
    turn = clock // 45 % 4
    return (True, turn == 1, turn == 3)

def record(ram):
    word = lambda address: int.from_bytes(bytes(ram[address:address + 4]), "little")
    scene = word(0x1759AC)
    if not 0x02000000 <= scene < 0x02400000 or word((scene & 0x3FFFFF) + 0x10C) != 2:
        return -1, ""  # memory holds anything before the program has run, then title and menu
    driver, status = word(0x17ACF8) & 0x3FFFFF, word(0x1755FC) & 0x3FFFFF
    return word(status), bytes(ram[driver + 0x80:driver + 0x8C]).hex()
'''

MELON = """
import json, sys
import numpy as np
import stable_retro as retro
{drive}
retro.data.Integrations.add_custom_path(sys.argv[1])
env = retro.make("Kartlab-Nds-v0", state=retro.State.NONE,
                 inttype=retro.data.Integrations.CUSTOM_ONLY, render_mode=None,
                 use_restricted_actions=retro.Actions.ALL)
env.reset()
index = [env.buttons.index(name) for name in ("A", "LEFT", "RIGHT")]
start = env.buttons.index("START")
seen, clock = [], -1
for frame in range(int(sys.argv[2])):
    action = np.zeros(len(env.buttons), np.int8)
    if clock < 0:  # this core's memory cannot be written to: through title and menu, as people go
        action[start] = frame % 60 < 3
    else:
        action[index] = keys(clock)
    env.step(action)
    clock, position = record(env.get_ram())
    seen.append((clock, position))
json.dump(seen, open(sys.argv[3], "w"))
"""


@pytest.mark.slow
def test_the_race_is_the_same_and_keeps_60_frames_a_second(tmp_path: Path) -> None:
    pytest.importorskip("stable_retro", reason="pip install 'mkds-gym[peers]'")
    game = tmp_path / "Kartlab-Nds-v0"
    game.mkdir()
    rom = ROM_PATH.read_bytes()
    (game / "rom.nds").write_bytes(rom)
    (game / "rom.sha").write_text(hashlib.sha1(rom).hexdigest() + "\n")
    (game / "data.json").write_text(json.dumps({"info": {}}))
    (game / "scenario.json").write_text(json.dumps({"done": {}, "reward": {}}))
    (game / "metadata.json").write_text("{}")
    program = textwrap.dedent(MELON).format(drive=DRIVE)
    there_file = tmp_path / "seen.json"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), str(FRAMES), str(there_file)],
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    there = json.loads(there_file.read_text())

    names: dict[str, object] = {}
    exec(DRIVE, names)
    keys, record = names["keys"], names["record"]
    here: list[tuple[int, str]] = []
    with Console(on_power_on=BootParameters(skip_countdown=False).write) as console:
        clock = 0
        for _ in range(FRAMES):
            mask = Keys(0)
            for pressed, key in zip(
                keys(clock),  # type: ignore[operator]
                (Keys.A, Keys.LEFT, Keys.RIGHT),
                strict=True,
            ):
                mask |= key if pressed else Keys(0)
            console.step(int(mask), 1, draw=False)
            clock, position = record(console.ram)  # type: ignore[operator]
            here.append((clock, position))

    clocks = [clock for clock, _ in there if clock > 0]
    # A frame that took too long would miss a VBlank, and the clock would stand still for one.
    assert clocks == list(range(1, len(clocks) + 1))
    assert len(clocks) > 1000
    positions_here = dict(here)
    same = [
        positions_here[clock] == position
        for clock, position in there
        if clock > 0
        if clock in positions_here
    ]
    assert len(set(positions_here.values())) > 800
    assert all(same)
    assert len(same) > 1000
