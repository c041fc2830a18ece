"""Drive Kartlab on melonDS and write a record of every frame: ROM MEMORY FRAMES OUTPUT.

MEMORY is an ``.npz`` file with the bytes to write before the first frame, and their addresses.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import stable_retro as retro
from second_core_drive import clock, digest, keys, structures

from mkds_gym.emulator.console import Keys
from mkds_gym.emulator.hardware import RAM_SIZE

BUTTONS = (Keys.B, Keys.Y, Keys.SELECT, Keys.START, Keys.UP, Keys.DOWN, Keys.LEFT, Keys.RIGHT)
BUTTONS += (Keys.A, Keys.X, Keys.L, Keys.R)

rom, memory, frames, output = sys.argv[1:]
emulator = retro.RetroEmulator(rom)
data = retro.data.GameData()
emulator.configure_data(data)
with np.load(memory) as written:
    for index, value in zip(written["addresses"], written["values"], strict=True):
        data.memory.assign(int(index), "|u1", int(value))
records, now = [], 0
while len(records) < int(frames):
    held = keys(now)
    emulator.set_button_mask(np.array([bool(held & key) for key in BUTTONS] + [0] * 4, np.uint8), 0)
    emulator.step()
    ram = np.frombuffer(next(iter(data.memory.blocks.values())), np.uint8)[:RAM_SIZE]
    if pieces := structures(ram):
        now = clock(pieces)
        records.append((now, digest(pieces)))
Path(output).write_text(json.dumps(records))
