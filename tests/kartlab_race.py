"""A console on Kartlab with views of its race, for tests of the cartridge."""

from __future__ import annotations

import functools
import math
import struct
from typing import Any, TypeVar

import numpy as np
from cartridge_under_test import LAYOUT as LAYOUT
from race_memory import fx

from mkds_gym.course import Course
from mkds_gym.drivers.pure_pursuit import PurePursuit
from mkds_gym.emulator.console import Console
from mkds_gym.emulator.hardware import RAM_START
from mkds_gym.emulator.states.snapshot import Snapshot
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.race import memory_layout
from mkds_gym.race.memory import struct_view
from mkds_gym.race.reader import ObjectState, RaceReader
from mkds_gym.race.state import RaceState

BOOT_FRAMES = 240

Self = TypeVar("Self", bound="KartlabRace")


class KartlabRace:
    """A race on a console. Structures are live, writable views."""

    start: Snapshot

    def __init__(self, console: Console) -> None:
        self.console = console
        self.ram = console.ram
        self.reader = RaceReader(self.ram, LAYOUT)
        self.player = PurePursuit()

    @classmethod
    def boot(cls: type[Self], **parameters: Any) -> Self:
        """Boot a race with `BootParameters`."""
        boot = BootParameters(**parameters)
        race = cls(Console(on_power_on=boot.write))
        race.wait_for_race()
        assert boot.check(race.ram)
        return race

    @classmethod
    def boot_vs(cls: type[Self], **parameters: Any) -> Self:
        """Boot a VS race, by default of eight karts."""
        return cls.boot(**{"mode": "vs", "drivers": 8, **parameters})

    def wait_for_race(self) -> None:
        """Step until a race is on, and take its first frame as the start."""
        for _ in range(BOOT_FRAMES):
            self.wait(1)
            if self.reader.race_on:
                break
        else:
            raise AssertionError(f"no race within {BOOT_FRAMES} frames")
        self.start = self.console.snapshot()

    def restart(self: Self) -> Self:
        """Go back to `start`."""
        self.console.restore(self.start)
        self.player.reset()
        return self

    def close(self) -> None:
        self.console.close()

    def wait(self, frames: int, keys: int = 0) -> None:
        self.console.step(keys, frames, draw=False)

    def step(self, keys: int = 0, frames: int = 1) -> RaceState:
        self.wait(frames, keys)
        return self.state

    def pursuit(self) -> int:
        """Return keys that drive the player round the course."""
        return self.player.keys(self.state, self.course)

    @functools.cached_property
    def course(self) -> Course:
        return Course.from_ram(self.ram, LAYOUT)

    @property
    def state(self) -> RaceState:
        return self.reader.read()

    @functools.cached_property
    def readers(self) -> list[RaceReader]:
        return [RaceReader(self.ram, LAYOUT, driver=i) for i in range(len(self.drivers))]

    def states(self) -> list[RaceState]:
        """Return the state of every driver."""
        return [reader.read() for reader in self.readers]

    def word(self, address: int, form: str = "<I") -> int:
        return int(struct.unpack_from(form, self.ram, address - RAM_START)[0])

    @property
    def config(self) -> Any:
        return struct_view(
            self.ram, self.word(LAYOUT.race_config_pointer), memory_layout.RACE_CONFIG
        )[0]

    @property
    def status(self) -> Any:
        return struct_view(
            self.ram, self.word(LAYOUT.race_status_pointer), memory_layout.RACE_STATUS
        )[0]

    @property
    def drivers(self) -> Any:
        first, count = self.word(LAYOUT.drivers_pointer), self.word(LAYOUT.driver_count)
        return struct_view(self.ram, first, memory_layout.DRIVER, count)

    @property
    def driver(self) -> Any:
        return self.drivers[0]

    def order(self) -> list[int]:
        """Return driver numbers by place, -1 for absent drivers."""
        return [int(i) for i in self.status["driver_by_place"]]

    def kinds(self) -> list[str]:
        """Return "player", "CPU" or "ghost" for each driver."""
        names = {memory_layout.KIND_PLAYER: "player", memory_layout.KIND_GHOST: "ghost"}
        known = memory_layout.KIND_PLAYER | memory_layout.KIND_GHOST
        return [names.get(int(kind) & known, "CPU") for kind in self.drivers["kind"]]

    def objects(self, kind: str) -> list[ObjectState]:
        return [thing for thing in self.reader.read_objects() if thing.kind == kind]

    def positions(self) -> np.ndarray:
        """(drivers, 3) in world units."""
        return np.asarray(self.drivers["position"] / 4096)

    def floor(self, x: float, z: float) -> float:
        """Return the height of the nearest respawn point."""
        points = self.course.nkm.respawns["position"] / 4096
        nearest = np.hypot(points[:, 0] - x, points[:, 2] - z).argmin()
        return float(points[nearest, 1])

    def put(
        self: Self,
        x: float,
        z: float,
        heading: float = 0.0,
        speed: float = 0.0,
        *,
        y: float | None = None,
        index: int = 0,
    ) -> Self:
        """Move a kart; heading in radians from +z towards +x, ``y=None`` is the `floor`."""
        kart = self.drivers[index]
        kart["position"] = fx((x, self.floor(x, z) if y is None else y, z))
        kart["heading"] = np.int16((round(heading / math.tau * 65536) + 32768) % 65536 - 32768)
        kart["velocity"] = fx((math.sin(heading) * speed, 0, math.cos(heading) * speed))
        kart["up"] = (0, 4096, 0)
        kart["turning"] = kart["wall_rotation_speed"] = 0
        return self

    def put_on_road(
        self, index: int, s: float, left: float = 0.0, turned: float = 0.0, speed: float = 0.0
    ) -> None:
        """Move a kart to distance `s` of the centre line, `left` units to its left, and turn it."""
        track = self.course.track
        x, y, z = track.point_at(s % track.length)
        dx, dz = track.direction_at(s % track.length)
        heading = math.atan2(dx, dz) + turned
        self.put(x + dz * left, z - dx * left, heading, speed, y=y + 2.0, index=index)
