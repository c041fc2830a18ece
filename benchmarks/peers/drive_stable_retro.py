"""The lap through stable-retro's melonDS core, run by an interpreter that has it.

Standard input: a JSON line of what to drive (see `benchmarks.peers`), then lines ``BEGIN END``.
Standard output: ``ready``, then a line ``SECONDS CLOCK CHECKPOINT`` each.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("A", "B", "SELECT", "START", "RIGHT", "LEFT", "UP", "DOWN", "R", "L", "X", "Y")
"""The buttons, by bit of a key mask."""


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    wanted = json.loads(sys.stdin.readline())
    with tempfile.TemporaryDirectory(prefix="mkds-gym-benchmark-") as folder:
        env = make(Path(folder), Path(wanted["rom"]).read_bytes())
        drive(env, wanted, answers)


def make(folder: Path, rom: bytes) -> Any:
    import stable_retro as retro

    game = folder / "Kartlab-Nds-v0"
    game.mkdir()
    (game / "rom.nds").write_bytes(rom)
    (game / "rom.sha").write_text(hashlib.sha1(rom).hexdigest() + "\n")
    (game / "data.json").write_text(json.dumps({"info": {}}))
    (game / "scenario.json").write_text(json.dumps({"done": {}, "reward": {}}))
    (game / "metadata.json").write_text("{}")
    retro.data.Integrations.add_custom_path(str(folder))
    env = retro.make(
        game.name,
        state=retro.State.NONE,
        inttype=retro.data.Integrations.CUSTOM_ONLY,
        render_mode=None,
        use_restricted_actions=retro.Actions.ALL,
    )
    env.reset()
    return env


def drive(env: Any, wanted: dict[str, Any], answers: Any) -> None:
    import numpy as np

    buttons = list(env.buttons)

    def where() -> tuple[int, int]:
        ram = env.get_ram()

        def word(address: int) -> int:
            at = address & 0x3FFFFF
            return int.from_bytes(bytes(ram[at : at + 4]), "little")

        scene, status = word(wanted["scene_pointer"]), word(wanted["status_pointer"])
        if not 0x02000000 <= scene < 0x02400000 or word(scene + wanted["scene_state"]) != 2:
            return -1, -1  # the program has not started, or shows title or menu
        return word(status + wanted["clock"]), word(status + wanted["checkpoint"]) >> 16

    def action(mask: int) -> Any:
        pressed = {name for bit, name in enumerate(NAMES) if mask >> bit & 1}
        return np.array([name in pressed for name in buttons], np.int8)

    # The core's memory is read-only: press START through title and menu.
    start, nothing = action(1 << NAMES.index("START")), action(0)
    for frame in range(wanted["most_frames"]):
        env.step(start if frame % 60 < 3 and where()[0] < 0 else nothing)
        if where()[0] == wanted["start"]:
            break
    else:
        raise RuntimeError("the race does not begin")
    state = env.em.get_state()
    actions, skip = [action(mask) for mask in wanted["keys"]], wanted["frame_skip"]
    print("ready", file=answers)
    for line in sys.stdin:
        begin, end = map(int, line.split())
        if begin == 0:
            env.em.set_state(state)
        start_time = time.perf_counter()
        for one in actions[begin:end]:
            for _ in range(skip):
                env.step(one)
        spent = time.perf_counter() - start_time
        print(spent, *where(), file=answers)


if __name__ == "__main__":
    main()
