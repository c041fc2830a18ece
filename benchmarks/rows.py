"""The rows of the benchmark: different ways to run the same race.

Each row runs in a process of its own, so that none is slowed by what another left behind, and
keeps its console while the other rows take their turns.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Final, Protocol

import gymnasium as gym
import numpy as np

from benchmarks.race import BOOT, FRAME_SKIP, LAPS, Tape
from mkds_gym.cartridge import Cartridge
from mkds_gym.console import Console
from mkds_gym.kartlab import boot
from mkds_gym.memory import RACE_STATUS, Layout
from mkds_gym.state import RaceReader

_BATCH: Final = 16
"""Steps between two looks at the clock."""


class Row(Protocol):
    """One way to run the race."""

    consoles: int
    """How many consoles each step runs."""

    def restart(self) -> None:
        """Go to the race start."""

    def step(self, place: int) -> None:
        """Run the tape's step number ``place``, `FRAME_SKIP` frames."""

    def where(self) -> tuple[int, int]:
        """Race clock and checkpoint now."""

    def close(self) -> None:
        """Let go of everything."""


class PlainLoop:
    """py-desmume as it comes: ``emu.cycle()``, one call a frame, everything drawn."""

    consoles = 1

    def __init__(self, tape: Tape) -> None:
        from desmume.emulator import DeSmuME

        self._keys = tape.keys
        self._folder = tempfile.TemporaryDirectory(prefix="mkds-gym-benchmark-")
        cartridge = Cartridge.open()
        # What needs care when py-desmume is used bare: it plays sound, opens a window system,
        # keeps a battery file in the user's folder, and prints.
        os.environ["XDG_CONFIG_HOME"] = self._folder.name
        os.environ["SDL_VIDEODRIVER"] = os.environ["SDL_AUDIODRIVER"] = "dummy"
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), 1)
        self._layout = Layout()  # Kartlab's is that of the USA cartridge
        self._emulator = emulator = DeSmuME()
        emulator.open(str(cartridge.path))
        for i, word in enumerate(np.frombuffer(BOOT.pack(), "<u4").tolist()):
            emulator.memory.write_long(boot.ADDRESS + 4 * i, word)
        # The interpreter counts other cycles than the recompiler, so that the program starts a
        # few frames earlier or later: the race clock tells where the race is the same.
        for _ in range(2 * tape.boot_frames + 60):
            emulator.cycle(with_joystick=False)
            if self._read_long(self._layout.race_status_pointer) and self.where()[0] == tape.start:
                break
        else:
            raise RuntimeError("Kartlab did not come to the race start")
        self._state = os.path.join(self._folder.name, "start.dst")  # noqa: PTH118
        emulator.savestate.save_file(self._state)

    def _read_long(self, address: int) -> int:
        return int(self._emulator.memory.unsigned.read_long(address))

    def restart(self) -> None:
        """See `Row.restart`."""
        self._emulator.savestate.load_file(self._state)

    def step(self, place: int) -> None:
        """See `Row.step`."""
        emulator = self._emulator
        emulator.input.keypad_update(self._keys[place])
        for _ in range(FRAME_SKIP):
            emulator.cycle(with_joystick=False)

    def where(self) -> tuple[int, int]:
        """See `Row.where`."""
        address = self._read_long(self._layout.race_status_pointer)
        words = range(address, address + RACE_STATUS.itemsize, 4)
        data = np.array([self._read_long(word) for word in words], "<u4").view(RACE_STATUS)[0]
        return int(data["frame"]), int(data["drivers"][0]["checkpoint"])

    def close(self) -> None:
        """See `Row.close`."""
        self._folder.cleanup()


class ConsoleLoop:
    """`Console.step` and nothing else.

    Args:
        draw: draw the last frame of each step.
    """

    consoles = 1

    def __init__(self, tape: Tape, draw: bool) -> None:
        self._keys = tape.keys
        self._draw = draw
        self._console = console = Console(on_power_on=BOOT.write)
        # Without the last frame, which `where` would not see otherwise.
        console.step(0, tape.boot_frames, draw=True)
        self._start = console.snapshot()
        self._reader = RaceReader(console.ram, Layout.detect(console.ram, console.cartridge.region))
        self._reader.resolve()

    def restart(self) -> None:
        """See `Row.restart`."""
        self._console.restore(self._start)

    def step(self, place: int) -> None:
        """See `Row.step`."""
        self._console.step(self._keys[place], FRAME_SKIP, self._draw)

    def where(self) -> tuple[int, int]:
        """See `Row.where`."""
        state = self._reader.read()
        return state.frame, state.checkpoint

    def close(self) -> None:
        """See `Row.close`."""
        self._console.close()


class Environment:
    """``env.step`` on ``MKDS-v0``.

    Args:
        arguments: of ``gym.make``, beside the number of laps.
    """

    consoles = 1

    def __init__(self, tape: Tape, **arguments: Any) -> None:
        self._actions = tape.actions
        self._env: Any = gym.make("MKDS-v0", laps=LAPS, **arguments)
        self._info: dict[str, Any] = {}
        self.restart()

    def restart(self) -> None:
        """See `Row.restart`."""
        _, self._info = self._env.reset()

    def step(self, place: int) -> None:
        """See `Row.step`."""
        self._info = self._env.step(self._actions[place])[4]

    def where(self) -> tuple[int, int]:
        """See `Row.where`."""
        return self._info["frame"], self._info["checkpoint"]

    def close(self) -> None:
        """See `Row.close`."""
        self._env.close()


class Workers:
    """``AsyncVectorEnv`` over ``MKDS-v0`` with the default arguments.

    Args:
        count: workers.
    """

    def __init__(self, tape: Tape, count: int) -> None:
        self.consoles = count
        self._actions = [np.full(count, action) for action in tape.actions]
        self._env: Any = gym.make_vec(
            "MKDS-v0", num_envs=count, vectorization_mode="async", laps=LAPS
        )
        self._info: dict[str, Any] = {}
        self.restart()

    def restart(self) -> None:
        """See `Row.restart`."""
        _, self._info = self._env.reset()

    def step(self, place: int) -> None:
        """See `Row.step`."""
        self._info = self._env.step(self._actions[place])[4]

    def where(self) -> tuple[int, int]:
        """See `Row.where`."""
        places = {
            (int(frame), int(checkpoint))
            for frame, checkpoint in zip(self._info["frame"], self._info["checkpoint"], strict=True)
        }
        if len(places) != 1:
            raise RuntimeError(f"the workers drive different races: {places}")
        return places.pop()

    def close(self) -> None:
        """See `Row.close`."""
        self._env.close()


ROWS: Final[dict[str, tuple[str, Callable[[Tape], Row]]]] = {
    "plain": ("plain py-desmume loop, emu.cycle()", PlainLoop),
    "console": ("Console.step, nothing drawn", lambda tape: ConsoleLoop(tape, draw=False)),
    "console_draw": (
        f"Console.step, one frame in {FRAME_SKIP} drawn",
        lambda tape: ConsoleLoop(tape, draw=True),
    ),
    "env": ("env.step, default arguments", Environment),
    "env_pixels": (
        "env.step, obs_type='pixels'",
        lambda tape: Environment(tape, obs_type="pixels"),
    ),
    "async_1": ("AsyncVectorEnv, 1 worker", lambda tape: Workers(tape, 1)),
    "async_2": ("AsyncVectorEnv, 2 workers", lambda tape: Workers(tape, 2)),
}
"""What is measured: key -> (title, factory), in the order of the table."""


def serve(key: str, tape: Tape, pipe: Connection) -> None:
    """A row's process: build the row, then measure as often as asked.

    Every number of seconds received is answered with (frames, seconds) really run; None ends
    the process. An exception is sent as its text.
    """
    try:
        row = ROWS[key][1](tape)
        row.restart()
        place = 0
        pipe.send("ready")
        while (seconds := pipe.recv()) is not None:
            frames, spent = 0, 0.0
            while spent < seconds:
                if place == len(tape.actions):
                    row.restart()
                    place = 0
                end = min(place + _BATCH, len(tape.actions))
                begin = time.perf_counter()
                for step in range(place, end):
                    row.step(step)
                spent += time.perf_counter() - begin
                frames += (end - place) * FRAME_SKIP * row.consoles
                place = end
            where = row.where()
            if where != tape.places[place - 1]:
                raise RuntimeError(
                    f"the race is at (frame, checkpoint) {where}, not {tape.places[place - 1]}"
                )
            pipe.send((frames, spent))
        row.close()
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
        raise
    finally:
        sys.stdout.flush()
