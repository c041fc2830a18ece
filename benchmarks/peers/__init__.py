"""Other projects on the same lap, where they are installed.

gym-mkds brings a fork of py-desmume under the same name, so that it wants an environment of its
own; the variable ``MKDS_PEERS`` names Python interpreters to look in, beside this one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.race import BOOT, FRAME_SKIP, Row, Tape
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.kartlab import boot
from mkds_gym.race.memory_layout import DRIVER_STATUS, RACE_STATUS, SCENE, MemoryLayout

VARIABLE: Final = "MKDS_PEERS"
_FRAMES: Final = 3_000
"""Within which a race must begin: some go through title, menu and countdown."""


@dataclass(frozen=True)
class Peer:
    """Another project.

    Attributes:
        package: its distribution.
        version: that is measured.
        program: that drives it, in this folder.
    """

    package: str
    version: str
    program: str

    def interpreter(self) -> str | None:
        """The Python that has it in that version; None when there is none."""
        others = os.environ.get(VARIABLE, "").split(os.pathsep)
        for python in (sys.executable, *filter(None, others)):
            question = f"from importlib.metadata import version; print(version({self.package!r}))"
            try:
                done = subprocess.run(
                    [python, "-c", question], capture_output=True, text=True, timeout=60
                )
            except OSError as error:
                raise OSError(f"{VARIABLE}: {python!r} cannot be run: {error.strerror}") from None
            if done.stdout.strip() == self.version:
                return python
        return None


PEERS: Final = {
    "gym_mkds": Peer("gym-mkds", "0.2.3", "drive_gym_mkds.py"),
    "stable_retro": Peer("stable-retro", "1.0.1", "drive_stable_retro.py"),
}
"""The projects by the key of their row."""


class PeerProgram(Row):
    """A peer's program, run by the interpreter that has the peer.

    Args:
        key: of the peer.
        tape: the lap.
    """

    def __init__(self, key: str, tape: Tape) -> None:
        peer = PEERS[key]
        python = peer.interpreter()
        if python is None:
            raise RuntimeError(f"{peer.package} {peer.version} is not installed")
        layout = MemoryLayout()  # Kartlab's is that of the USA cartridge
        checkpoint = _offset(RACE_STATUS, "drivers") + _offset(DRIVER_STATUS, "checkpoint")
        assert checkpoint % 4 == 2  # the upper half of a word
        # A pipe that nobody reads would fill up.
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process: Any = subprocess.Popen(
            [python, str(Path(__file__).parent / peer.program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            bufsize=1,
            env={name: text for name, text in os.environ.items() if name != "PYTHONPATH"},
        )
        self._where = -1, -1
        self._send(
            json.dumps(
                {
                    "rom": str(Cartridge.open().path),
                    "keys": tape.keys,
                    "frame_skip": FRAME_SKIP,
                    "start": tape.start,
                    "most_frames": _FRAMES,
                    "boot_address": boot.ADDRESS,
                    "boot_words": memoryview(BOOT.pack()).cast("I").tolist(),
                    "status_pointer": layout.race_status_pointer,
                    "clock": _offset(RACE_STATUS, "frame"),
                    "checkpoint": checkpoint - 2,
                    "scene_pointer": layout.scene_pointer,
                    "scene_state": _offset(SCENE, "state"),
                }
            )
        )

    def restart(self) -> None:
        """Nothing: a piece that begins at 0 goes to the race start by itself."""

    def step(self, place: int) -> None:
        """See `Row.step`."""
        self.run(place, place + 1)

    def run(self, begin: int, end: int) -> float:
        """Run steps; see `benchmarks.rows.Row.run`."""
        seconds, clock, checkpoint = self._send(f"{begin} {end}").split()
        self._where = int(clock), int(checkpoint)
        return float(seconds)

    def where(self) -> tuple[int, int]:
        """Race clock and checkpoint."""
        return self._where

    def _send(self, line: str) -> str:
        answer = ""
        try:
            self._process.stdin.write(line + "\n")
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            pass
        if not answer:
            self._process.wait()
            self._said.seek(0)
            said = self._said.read().strip().splitlines()
            raise RuntimeError(f"its program ended: {said[-1] if said else 'without a word'}")
        return str(answer)

    def close(self) -> None:
        """End the program."""
        self._process.stdin.close()
        try:
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._said.close()


def _offset(structure: np.dtype[np.void], name: str) -> int:
    assert structure.fields is not None
    return structure.fields[name][1]
