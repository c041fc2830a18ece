"""A VS race on Kartlab with views of all its drivers, for tests of opponents and items."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from mkds_gym.course import Course, read_course_archive
from mkds_gym.course.archive import write_narc
from mkds_gym.course.nkm import NKM, OBJECT
from mkds_gym.drivers.pure_pursuit import PurePursuit
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.console import Console
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.race import memory_layout
from mkds_gym.race.memory import read_pointer, struct_view
from mkds_gym.race.memory_layout import MemoryLayout
from mkds_gym.race.reader import ObjectState, RaceReader
from mkds_gym.race.state import RaceState

LAYOUT = MemoryLayout()
BOOT_FRAMES = 240


class Field:
    """A console in a VS race. Methods read the last frame."""

    def __init__(self, **parameters: object) -> None:
        boot = BootParameters(**{"mode": "vs", "drivers": 8, **parameters})  # type: ignore[arg-type]
        self.console = Console(on_power_on=boot.write)
        self.ram = self.console.ram
        for _ in range(BOOT_FRAMES):
            self.console.step(0, 1, draw=False)
            if boot.check(self.ram) and RaceReader(self.ram, LAYOUT).race_on:
                break
        else:
            raise AssertionError("no race within four seconds")
        self.reader = RaceReader(self.ram, LAYOUT)
        self.count = self.state().driver_count
        self.readers = [RaceReader(self.ram, LAYOUT, driver=i) for i in range(self.count)]
        first = read_pointer(self.ram, LAYOUT.drivers_pointer, 4, "the drivers")
        self.drivers = struct_view(self.ram, first, memory_layout.DRIVER, self.count)
        config = read_pointer(self.ram, LAYOUT.race_config_pointer, 4, "the race config")
        self.config = struct_view(self.ram, config, memory_layout.RACE_CONFIG)[0]
        self.course = Course.from_ram(self.ram, LAYOUT)
        self.player = PurePursuit()

    def step(self, keys: int = 0, frames: int = 1) -> None:
        self.console.step(keys, frames, draw=False)

    def state(self) -> RaceState:
        return self.reader.read()

    def states(self) -> list[RaceState]:
        return [reader.read() for reader in self.readers]

    def status(self) -> np.void:
        return self.reader.read_status()

    def order(self) -> list[int]:
        return [int(i) for i in self.status()["driver_by_place"]]

    def objects(self, kind: str) -> list[ObjectState]:
        return [thing for thing in self.reader.read_objects() if thing.kind == kind]

    def positions(self) -> np.ndarray:
        """(drivers, 3) in world units."""
        return np.asarray(self.drivers["position"] / 4096)

    def put(self, index: int, x: float, y: float, z: float, heading: float, speed: float) -> None:
        """Move a kart; heading in radians from +z towards +x, y a little above the floor."""
        kart = self.drivers[index]
        kart["position"] = (round(x * 4096), round(y * 4096), round(z * 4096))
        kart["heading"] = np.int16((round(heading / math.tau * 65536) + 32768) % 65536 - 32768)
        kart["velocity"] = [
            round(c * speed * 4096) for c in (math.sin(heading), 0, math.cos(heading))
        ]
        kart["up"] = (0, 4096, 0)
        kart["turning"] = 0

    def put_on_road(
        self, index: int, s: float, left: float = 0.0, turned: float = 0.0, speed: float = 0.0
    ) -> None:
        """Move a kart to distance `s` of the centre line, `left` units to its left, and turn it."""
        track = self.course.track
        x, y, z = track.point_at(s % track.length)
        dx, dz = track.direction_at(s % track.length)
        heading = math.atan2(dx, dz) + turned
        self.put(index, x + dz * left, y + 2.0, z - dx * left, heading, speed)

    def pursuit(self) -> int:
        """Return keys that drive the player round the course."""
        return self.player.keys(self.state(), self.course)

    def close(self) -> None:
        self.console.close()


def course_with_boxes(rows: Sequence[tuple[float, Sequence[float]]]) -> bytes:
    """Return Meadow Circuit with the item boxes of a test, for `BootParameters.course_data`.

    Args:
        rows: rows of boxes. Each row has its distance along the centre line, and for each box the
            distance to the left of the line, in world units.
    """
    files = dict(read_course_archive(Cartridge.open(), "mario_course"))
    nkm = NKM.from_bytes(files["course_map.nkm"])
    track = Course.from_files(files["course_collision.kcl"], files["course_map.nkm"]).track
    boxes = []
    for s, sides in rows:
        (x, y, z), (dx, dz) = track.point_at(s), track.direction_at(s)
        for left in sides:
            box = np.zeros((), OBJECT)
            place = (x + dz * left, y + 8.0, z - dx * left)
            box["position"] = [round(value * 4096) for value in place]
            box["scale"], box["id"], box["path"] = 4096, 101, -1
            boxes.append(box)
    changed = dataclasses.replace(nkm, objects=np.array(boxes, OBJECT))
    return write_narc({**files, "course_map.nkm": changed.save()})
