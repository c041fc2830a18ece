"""Other projects on the same lap, if they are installed.

gym-mkds installs a fork of py-desmume under the same name, so it needs its own virtual environment.
The variable ``MKDS_PEERS`` lists Python interpreters to search, besides the current one.
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

from benchmarks.lap import BOOT, FRAME_SKIP, Lap
from benchmarks.row import Row
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.kartlab import boot
from mkds_gym.race.memory_layout import DRIVER_STATUS, RACE_STATUS, SCENE, MemoryLayout

VARIABLE: Final = "MKDS_PEERS"
_FRAMES: Final = 3_000
"""Frames within which the race must begin, some peers start in the menu."""


@dataclass(frozen=True)
class Peer:
    """Another project.

    Attributes:
        package: name of the distribution.
        version: the one that is measured.
        program: file in this folder that drives the lap.
    """

    package: str
    version: str
    program: str

    def interpreter(self) -> str | None:
        """Return the Python that has this version installed, or None."""
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
"""The projects by key."""


class PeerProgram(Row):
    """Drives the lap with a peer, in the interpreter that has it installed.

    Args:
        key: of `PEERS`.
        lap: the recorded lap.
    """

    def __init__(self, key: str, lap: Lap) -> None:
        super().__init__(lap)
        peer = PEERS[key]
        python = peer.interpreter()
        if python is None:
            raise RuntimeError(f"{peer.package} {peer.version} is not installed")
        layout = MemoryLayout()  # Kartlab's is that of the USA cartridge
        checkpoint = _offset(RACE_STATUS, "drivers") + _offset(DRIVER_STATUS, "checkpoint")
        assert checkpoint % 4 == 2  # the upper half of a word
        # A file: an unread pipe would fill up.
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process: Any = subprocess.Popen(
            [python, str(Path(__file__).parent / peer.program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            bufsize=1,
            env={name: text for name, text in os.environ.items() if name != "PYTHONPATH"},
        )
        self._place = -1, -1
        self._send(
            json.dumps(
                {
                    "rom": str(Cartridge.open().path),
                    "keys": lap.keys,
                    "frame_skip": FRAME_SKIP,
                    "start": lap.start,
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
        """Do nothing: the program goes to the race start for a piece that begins at 0."""

    def step(self, number: int) -> None:
        self.time_steps(number, number + 1)

    def time_steps(self, begin: int, end: int) -> float:
        seconds, clock, checkpoint = self._send(f"{begin} {end}").split()
        self._place = int(clock), int(checkpoint)
        return float(seconds)

    def place(self) -> tuple[int, int]:
        return self._place

    def _send(self, line: str) -> str:
        answer = ""
        try:
            self._process.stdin.write(line + "\n")
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            pass
        if not answer:
            self._process.wait()
            self._stderr.seek(0)
            lines = self._stderr.read().strip().splitlines()
            raise RuntimeError(
                f"the program of the peer ended: {lines[-1] if lines else 'no message'}"
            )
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
        self._stderr.close()


def _offset(structure: np.dtype[np.void], name: str) -> int:
    assert structure.fields is not None
    return structure.fields[name][1]
