"""The rows of the tables: ways to drive the recorded lap."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv

import mkds_gym
from benchmarks.lap import BOOT, FRAME_SKIP, LAPS, Lap
from benchmarks.peers import PeerProgram
from benchmarks.row import Row
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.console import Console
from mkds_gym.kartlab import boot
from mkds_gym.race.memory_layout import RACE_STATUS, MemoryLayout
from mkds_gym.race.reader import RaceReader

_TIME_LIMIT: Final = "clock:3600"
"""Event that replaces those that end the episode of a kart that is stuck."""


class PlainLoop(Row):
    """py-desmume without mkds-gym: one ``emu.cycle()`` per frame, every frame drawn."""

    def __init__(self, lap: Lap) -> None:
        from desmume.emulator import DeSmuME

        super().__init__(lap)
        self._keys = lap.keys
        self._folder = tempfile.TemporaryDirectory(prefix="mkds-gym-benchmark-")
        # Plain py-desmume plays sound, opens a window system, writes a battery file to the user's
        # folder, and prints.
        os.environ["XDG_CONFIG_HOME"] = self._folder.name
        os.environ["SDL_VIDEODRIVER"] = os.environ["SDL_AUDIODRIVER"] = "dummy"
        with open(os.devnull, "wb") as null:  # noqa: PTH123
            os.dup2(null.fileno(), 1)
        self._layout = MemoryLayout()  # Kartlab has the layout of the USA cartridge
        self._emulator = emulator = DeSmuME()
        emulator.open(str(Cartridge.open().path))
        for i, word in enumerate(np.frombuffer(BOOT.pack(), "<u4").tolist()):
            emulator.memory.write_long(boot.ADDRESS + 4 * i, word)
        # The interpreter starts the program a few frames earlier or later than the recompiler.
        for _ in range(2 * lap.boot_frames + 60):
            emulator.cycle(with_joystick=False)
            if self._read_long(self._layout.race_status_pointer) and self.place()[0] == lap.start:
                break
        else:
            raise RuntimeError("Kartlab did not reach the race start")
        self._state = os.path.join(self._folder.name, "start.dst")  # noqa: PTH118
        emulator.savestate.save_file(self._state)

    def _read_long(self, address: int) -> int:
        return int(self._emulator.memory.unsigned.read_long(address))

    def restart(self) -> None:
        self._emulator.savestate.load_file(self._state)

    def step(self, number: int) -> None:
        emulator = self._emulator
        emulator.input.keypad_update(self._keys[number])
        for _ in range(FRAME_SKIP):
            emulator.cycle(with_joystick=False)

    def place(self) -> tuple[int, int]:
        address = self._read_long(self._layout.race_status_pointer)
        words = range(address, address + RACE_STATUS.itemsize, 4)
        data = np.array([self._read_long(word) for word in words], "<u4").view(RACE_STATUS)[0]
        return int(data["frame"]), int(data["drivers"][0]["checkpoint"])

    def close(self) -> None:
        self._folder.cleanup()


class ConsoleLoop(Row):
    """`Console.step` and nothing else.

    Args:
        lap: the recorded lap.
        draw: draw the last frame of each step.
        geometry: compute the geometry of undrawn frames too.
    """

    def __init__(self, lap: Lap, draw: bool = False, geometry: bool = False) -> None:
        super().__init__(lap)
        self._keys = lap.keys
        self._draw = draw
        self._console = console = Console(on_power_on=BOOT.write)
        if geometry and console.library.undrawn is not None:
            console.library.undrawn.enabled = False
        console.step(0, lap.boot_frames, draw=True)
        self._start = console.snapshot()
        layout = MemoryLayout.detect(console.ram, console.cartridge.region)
        self._reader = RaceReader(console.ram, layout)
        self._reader.resolve()

    def restart(self) -> None:
        self._console.restore(self._start)

    def step(self, number: int) -> None:
        self._console.step(self._keys[number], FRAME_SKIP, self._draw)

    def place(self) -> tuple[int, int]:
        state = self._reader.read()
        return state.frame, state.checkpoint

    def close(self) -> None:
        self._console.close()


class TwoThreads(Row):
    """Two consoles in two threads that never wait for each other: the limit of two lanes."""

    def __init__(self, lap: Lap) -> None:
        super().__init__(lap, 2)
        self._loops = [ConsoleLoop(lap), ConsoleLoop(lap)]
        self._pool = ThreadPoolExecutor(2)

    def restart(self) -> None:
        for loop in self._loops:
            loop.restart()

    def step(self, number: int) -> None:
        for loop in self._loops:
            loop.step(number)

    def time_steps(self, begin: int, end: int) -> float:
        start = time.perf_counter()
        list(self._pool.map(lambda loop: loop.time_steps(begin, end), self._loops))
        return time.perf_counter() - start

    def place(self) -> tuple[int, int]:
        return _common(loop.place() for loop in self._loops)

    def close(self) -> None:
        self._pool.shutdown()
        for loop in self._loops:
            loop.close()


class Environment(Row):
    """``env.step`` of ``MKDS-v0``."""

    def __init__(self, lap: Lap, **arguments: Any) -> None:
        super().__init__(lap)
        self._env: Any = gym.make("MKDS-v0", laps=LAPS, **arguments)
        self._info: dict[str, Any] = {}
        self.restart()

    def restart(self) -> None:
        _, self._info = self._env.reset()

    def step(self, number: int) -> None:
        self._info = self._env.step(self.lap.actions[number])[4]

    def place(self) -> tuple[int, int]:
        return self._info["frame"], self._info["checkpoint"]

    def close(self) -> None:
        self._env.close()


class Vector(Row):
    """``envs.step`` of a vector environment of ``MKDS-v0``, infos included."""

    def __init__(self, lap: Lap, count: int, mode: str, **arguments: Any) -> None:
        super().__init__(lap, count)
        self._actions = [np.full(count, action) for action in lap.actions]
        self._envs: Any = gym.make_vec(
            "MKDS-v0", num_envs=count, vectorization_mode=mode, laps=LAPS, **arguments
        )
        self._info: dict[str, Any] = {}

    def restart(self) -> None:
        _, self._info = self._envs.reset()

    def step(self, number: int) -> None:
        self._info = self._envs.step(self._actions[number])[4]

    def place(self) -> tuple[int, int]:
        return _common(zip(self._info["frame"], self._info["checkpoint"], strict=True))

    def close(self) -> None:
        self._envs.close()


class Opponents(Environment):
    """``env.step`` of a VS race. Karts hit each other, so only the race clock is checked."""

    def __init__(self, lap: Lap, opponents: int) -> None:
        super().__init__(lap, mode="vs", opponents=opponents, truncate_on=_TIME_LIMIT)

    def check(self, number: int) -> None:
        self.lap.check_clock(number, self.place()[0])


class Agents(Row):
    """``env.step`` of `mkds_gym.parallel_env`, all agents with the same actions."""

    def __init__(self, lap: Lap, agents: int) -> None:
        super().__init__(lap, agents)
        self._env = mkds_gym.parallel_env(agents, laps=LAPS, truncate_on=_TIME_LIMIT)
        self._info: dict[str, Any] = {}

    def restart(self) -> None:
        self._info = self._env.reset(seed=0)[1]

    def step(self, number: int) -> None:
        action = self.lap.actions[number]
        self._info = self._env.step(dict.fromkeys(self._env.agents, action))[4]

    def place(self) -> tuple[int, int]:
        return _common((info["frame"], 0) for info in self._info.values())

    def check(self, number: int) -> None:
        self.lap.check_clock(number, self.place()[0])

    def close(self) -> None:
        self._env.close()


class PlainEnv(gym.Env[Any, Any]):
    """A plain py-desmume loop as a minimal environment, without sensors and rewards."""

    def __init__(self, lap: Lap) -> None:
        self.observation_space = gym.spaces.Box(-1.0, 1.0, (6,), np.float32)
        self.action_space = gym.spaces.Discrete(len(lap.actions))
        self._lap = lap
        self._loop: Any = None
        self._observation = np.zeros(6, np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self._loop = self._loop or PlainLoop(self._lap)
        self._loop.restart()
        return self._observation, {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._loop.step(action)
        return self._observation, 0.0, False, False, {}

    def place(self) -> tuple[int, int]:
        place: tuple[int, int] = self._loop.place()
        return place

    def close(self) -> None:
        if self._loop is not None:
            self._loop.close()


class PlainWorkers(Row):
    """``AsyncVectorEnv`` of plain py-desmume loops, to compare the native vector with."""

    def __init__(self, lap: Lap, count: int) -> None:
        super().__init__(lap, count)
        self._steps = [np.full(count, number) for number in range(len(lap.actions))]
        self._envs = AsyncVectorEnv([partial(PlainEnv, lap)] * count)

    def restart(self) -> None:
        self._envs.reset()

    def step(self, number: int) -> None:
        self._envs.step(self._steps[number])

    def place(self) -> tuple[int, int]:
        return _common(self._envs.call("place"))

    def close(self) -> None:
        self._envs.close()


def _common(places: Any) -> tuple[int, int]:
    different = {(int(frame), int(checkpoint)) for frame, checkpoint in places}
    if len(different) != 1:
        raise RuntimeError(f"the environments drive different races: {different}")
    return different.pop()


PLAIN: Final = "plain py-desmume loop, emu.cycle()"
CONSOLE: Final = "Console.step, nothing drawn"
GEOMETRY: Final = "Console.step, nothing drawn, undrawn geometry computed"
NATIVE_2: Final = "MKDSVectorEnv, 2"
ENV: Final = "env.step, default arguments"
PIXELS: Final = "env.step, obs_type='pixels'"


def opponents(number: int) -> str:
    """Return the title of the row of a VS race against so many opponents of the cartridge."""
    return f"env.step, mode='vs', opponents={number}"


def eight_each(consoles: int) -> str:
    """Return the title of the row with eight drivers in each console."""
    return f"MKDSVectorEnv, {8 * consoles}, eight drivers a console"


_MODES: Final = {
    "SyncVectorEnv": "sync",
    "AsyncVectorEnv": "async",
    "MKDSVectorEnv": "vector_entry_point",
}
ROWS: Final[dict[str, Callable[[Lap], Row]]] = {
    PLAIN: PlainLoop,
    "Console.step, one frame in 4 drawn": partial(ConsoleLoop, draw=True),
    CONSOLE: ConsoleLoop,
    GEOMETRY: partial(ConsoleLoop, geometry=True),
    "Console.step, two consoles in two threads": TwoThreads,
    ENV: Environment,
    PIXELS: partial(Environment, obs_type="pixels"),
    **{opponents(n): partial(Opponents, opponents=n) for n in (1, 7)},
    **{f"parallel_env, {n} agents": partial(Agents, agents=n) for n in (2, 8)},
    "AsyncVectorEnv of plain py-desmume loops, 2": partial(PlainWorkers, count=2),
    **{
        f"{title}, {count}": partial(Vector, count=count, mode=mode)
        for title, mode in _MODES.items()
        for count in (1, 2, 8, 64)
    },
    **{
        eight_each(consoles): partial(
            Vector, count=8 * consoles, mode="vector_entry_point", drivers_per_console=8
        )
        for consoles in (1, 2, 8)
    },
    "gym-mkds 0.2.3, its core environment": partial(PeerProgram, "gym_mkds"),
    "stable-retro 1.0.1, melonDS core": partial(PeerProgram, "stable_retro"),
}
"""All rows by their title in the tables."""
