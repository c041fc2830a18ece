"""The lap through gym-mkds, run by an interpreter that has gym-mkds but not this package.

Standard input: a JSON line of what to drive (see `benchmarks.peers`), then lines ``BEGIN END``.
Standard output: ``ready``, then a line ``SECONDS CLOCK CHECKPOINT`` each.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from typing import Any


def main() -> None:
    # The emulator prints to standard output, opens a window system and keeps files.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    os.environ["SDL_VIDEODRIVER"] = os.environ["SDL_AUDIODRIVER"] = "dummy"
    with tempfile.TemporaryDirectory(prefix="mkds-gym-benchmark-") as folder:
        os.environ["XDG_CONFIG_HOME"] = folder
        drive(json.loads(sys.stdin.readline()), answers, f"{folder}/start.dst")
        answers.flush()
        os._exit(0)  # this emulator does not survive its end


def drive(wanted: dict[str, Any], answers: Any, state: str) -> None:
    # Without gym-mkds's wrappers (rays, rewards), which need GTK and a newer Python. Its
    # MarioKartDS-v0 passes arguments that this emulator refuses.
    from gym_mkds.envs import MarioKartCoreEnv

    env: Any = MarioKartCoreEnv(wanted["rom"])
    emulator = env.emu
    read = emulator.memory.unsigned.read_long

    def where() -> tuple[int, int]:
        status = read(wanted["status_pointer"])
        if not status:
            return -1, -1
        return read(status + wanted["clock"]), read(status + wanted["checkpoint"]) >> 16

    for i, word in enumerate(wanted["boot_words"]):
        emulator.memory.write_long(wanted["boot_address"] + 4 * i, word)
    for _ in range(wanted["most_frames"]):
        emulator.input.keypad_update(0)
        emulator.cycle()
        if where()[0] == wanted["start"]:
            break
    else:
        raise RuntimeError("the race does not begin")
    emulator.savestate.save_file(state)
    env.reset()
    keys, skip = wanted["keys"], wanted["frame_skip"]
    print("ready", file=answers)
    for line in sys.stdin:
        begin, end = map(int, line.split())
        if begin == 0:
            emulator.savestate.load_file(state)
        start = time.perf_counter()
        for mask in keys[begin:end]:
            for _ in range(skip):
                # as the action wrapper of gym-mkds does
                emulator.input.keypad_update(0)
                emulator.input.keypad_update(mask)
                env.step(mask)
        spent = time.perf_counter() - start
        print(spent, *where(), file=answers)


if __name__ == "__main__":
    main()
