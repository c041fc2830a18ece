"""The rows of the benchmark: different ways to run the same race.

Each row runs in a process of its own (`answering`), so that none is slowed by what another left
behind, and keeps its consoles while the other rows take their turns.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv

from benchmarks.peers import PeerProgram
from benchmarks.processes import Answer
from benchmarks.race import BOOT, FRAME_SKIP, LAPS, Row, Tape
from benchmarks.report import memory_mib
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.console import Console
from mkds_gym.kartlab import boot
from mkds_gym.race.memory_layout import RACE_STATUS, MemoryLayout
from mkds_gym.race.reader import RaceReader

COUNTS: Final = (1, 2, 4, 8, 64)
"""Environments in a vector."""
PLAIN_WORKERS: Final = 2


class PlainLoop(Row):
    """py-desmume as it comes: ``emu.cycle()``, one call a frame, everything drawn."""

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
        self._layout = MemoryLayout()  # Kartlab's is that of the USA cartridge
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


class ConsoleLoop(Row):
    """`Console.step` and nothing else.

    Args:
        draw: draw the last frame of each step.
    """

    def __init__(self, tape: Tape, draw: bool) -> None:
        self._keys = tape.keys
        self._draw = draw
        self._console = console = Console(on_power_on=BOOT.write)
        # Without the last frame, which `where` would not see otherwise.
        console.step(0, tape.boot_frames, draw=True)
        self._start = console.snapshot()
        layout = MemoryLayout.detect(console.ram, console.cartridge.region)
        self._reader = RaceReader(console.ram, layout)
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


class Environment(Row):
    """``env.step`` on ``MKDS-v0``.

    Args:
        arguments: of ``gym.make``, beside the number of laps.
    """

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


class PlainEnv(gym.Env[Any, Any]):
    """A plain py-desmume loop as the least that is an environment: no sensors, no reward.

    It starts the emulator at the first reset, in the process that steps it.
    """

    def __init__(self, tape: Tape) -> None:
        self.observation_space = gym.spaces.Box(-1.0, 1.0, (6,), np.float32)
        self.action_space = gym.spaces.Discrete(len(tape.actions))
        self._tape = tape
        self._loop: PlainLoop | None = None
        self._nothing = np.zeros(6, np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Load the savestate of the race start."""
        super().reset(seed=seed, options=options)
        if self._loop is None:
            self._loop = PlainLoop(self._tape)
        self._loop.restart()
        return self._nothing, {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Run the tape's step of that number."""
        assert self._loop is not None
        self._loop.step(action)
        return self._nothing, 0.0, False, False, {}

    def where(self) -> tuple[int, int]:
        """See `Row.where`."""
        assert self._loop is not None
        return self._loop.where()

    def close(self) -> None:
        """See `Row.close`."""
        if self._loop is not None:
            self._loop.close()


class PlainWorkers(Row):
    """``AsyncVectorEnv`` of plain py-desmume loops: what the native vector is to be held against.

    Args:
        count: workers.
    """

    def __init__(self, tape: Tape, count: int) -> None:
        self._places = [np.full(count, place) for place in range(len(tape.actions))]
        self._env = AsyncVectorEnv([lambda: PlainEnv(tape)] * count)

    def restart(self) -> None:
        """See `Row.restart`."""
        self._env.reset()

    def step(self, place: int) -> None:
        """See `Row.step`."""
        self._env.step(self._places[place])

    def where(self) -> tuple[int, int]:
        """See `Row.where`."""
        return _agreed(self._env.call("where"))

    def close(self) -> None:
        """See `Row.close`."""
        self._env.close()


class Vector(Row):
    """A vector environment over ``MKDS-v0`` with its default arguments, infos included.

    Args:
        count: environments.
        mode: of ``gym.make_vec``.
    """

    def __init__(self, tape: Tape, count: int, mode: str) -> None:
        self._actions = [np.full(count, action) for action in tape.actions]
        self._env: Any = gym.make_vec("MKDS-v0", num_envs=count, vectorization_mode=mode, laps=LAPS)
        self._info: dict[str, Any] = {}

    def restart(self) -> None:
        """See `Row.restart`."""
        _, self._info = self._env.reset()

    def step(self, place: int) -> None:
        """See `Row.step`."""
        self._info = self._env.step(self._actions[place])[4]

    def where(self) -> tuple[int, int]:
        """See `Row.where`."""
        return _agreed(zip(self._info["frame"], self._info["checkpoint"], strict=True))

    def close(self) -> None:
        """See `Row.close`."""
        self._env.close()


def _agreed(places: Any) -> tuple[int, int]:
    different = {(int(frame), int(checkpoint)) for frame, checkpoint in places}
    if len(different) != 1:
        raise RuntimeError(f"the environments drive different races: {different}")
    return different.pop()


@dataclass(frozen=True)
class Way:
    """What a table has a row for.

    Attributes:
        title: in the tables.
        make: builds the row, in its process.
        consoles: how many run at once.
    """

    title: str
    make: Callable[[Tape], Row]
    consoles: int = 1


VECTORS: Final = {
    "sync": ("SyncVectorEnv", "sync"),
    "async": ("AsyncVectorEnv", "async"),
    "native": ("MKDSVectorEnv", "vector_entry_point"),
}
"""Kinds of vector environment: key -> (title, ``vectorization_mode``)."""
ROWS: Final[dict[str, Way]] = {
    "plain": Way("plain py-desmume loop, emu.cycle()", PlainLoop),
    "console": Way("Console.step, nothing drawn", partial(ConsoleLoop, draw=False)),
    "console_draw": Way("Console.step, one frame in 4 drawn", partial(ConsoleLoop, draw=True)),
    "env": Way("env.step, default arguments", Environment),
    "env_pixels": Way("env.step, obs_type='pixels'", partial(Environment, obs_type="pixels")),
    "plain_workers": Way(
        f"AsyncVectorEnv of plain py-desmume loops, {PLAIN_WORKERS}",
        partial(PlainWorkers, count=PLAIN_WORKERS),
        PLAIN_WORKERS,
    ),
    "gym_mkds": Way("gym-mkds 0.2.3, its core environment", partial(PeerProgram, "gym_mkds")),
    "stable_retro": Way("stable-retro 1.0.1, melonDS core", partial(PeerProgram, "stable_retro")),
    **{
        f"{kind}_{count}": Way(f"{title}, {count}", partial(Vector, count=count, mode=mode), count)
        for kind, (title, mode) in VECTORS.items()
        for count in COUNTS
    },
}
"""What is measured."""


@contextlib.contextmanager
def answering(key: str, tape: Tape) -> Iterator[Answer]:
    """A row's process, for `benchmarks.processes`.

    (begin, end), steps of the tape, is answered with the seconds that they took; a piece that
    begins at 0 begins at the race start. ``"memory"`` is answered with MiB, None if unknown.
    """
    row = ROWS[key].make(tape)

    def answer(question: Any) -> float | None:
        if question == "memory":
            workers = [child.pid for child in multiprocessing.active_children()]
            return memory_mib([os.getpid(), *(pid for pid in workers if pid)])
        begin, end = question
        if begin == 0:
            row.restart()
        spent = row.run(begin, end)
        where = row.where()
        if where != tape.places[end - 1]:
            raise RuntimeError(
                f"the race is at (frame, checkpoint) {where}, not {tape.places[end - 1]}"
            )
        return spent

    try:
        row.restart()
        yield answer
    finally:
        row.close()
