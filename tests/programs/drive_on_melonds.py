"""Drive Kartlab on melonDS and write a record of every frame: GAME_FOLDER FRAMES OUTPUT."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import stable_retro as retro
from second_core_drive import keys, record

folder, frames, output = sys.argv[1:]
retro.data.Integrations.add_custom_path(folder)
env = retro.make(
    "Kartlab-Nds-v0",
    state=retro.State.NONE,
    inttype=retro.data.Integrations.CUSTOM_ONLY,
    render_mode=None,
    use_restricted_actions=retro.Actions.ALL,
)
env.reset()
index = [env.buttons.index(name) for name in ("A", "LEFT", "RIGHT")]
start = env.buttons.index("START")
records, clock = [], -1
for frame in range(int(frames)):
    action = np.zeros(len(env.buttons), np.int8)
    if clock < 0:  # the core's memory is read-only: start a race through title and menu
        action[start] = frame % 60 < 3
    else:
        action[index] = keys(clock)
    env.step(action)
    clock, position = record(env.get_ram())
    records.append((clock, position))
Path(output).write_text(json.dumps(records))
