"""Work per frame on Kartlab's heaviest scenes, against what a Nintendo DS can do.

    python -m benchmarks.work [--course NAME ...] [--steps 300]

Every course is driven by `mkds_gym.drivers.PurePursuit` in a race of eight karts with items, whose
seven others are put before the player's camera again and again, whatever they were about. The
program counts the bus cycles of each part of a frame itself (its profile block), and the geometry
engine what the picture holds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.cartridge import Cartridge
from mkds_gym.console import Console
from mkds_gym.course import Course
from mkds_gym.drivers import PurePursuit
from mkds_gym.hardware import RAM_START
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.memory import DRIVER, Layout, course_id
from mkds_gym.state import RaceReader

CYCLES: Final = 560_190
"""Of the 33.5 MHz bus clock to a frame."""
POLYGONS: Final = 2048
VERTICES: Final = 6144
"""What the geometry engine keeps of a picture."""

_PROFILE: Final = 0x023FE040 - RAM_START
_FRAME_SKIP: Final = 4
_CROWD_STEPS: Final = 6
"""Steps after which the others are put before the camera again."""


@dataclass(frozen=True)
class Work:
    """The most that any frame of a drive had.

    Attributes:
        course: its name.
        race: bus cycles of moving the race, as `draw`, `hud` and `total`.
        draw: of camera and picture.
        hud: of the second screen.
        total: of a whole frame.
        polygons: in a picture.
        vertices: in a picture.
    """

    course: str
    race: int
    draw: int
    hud: int
    total: int
    polygons: int
    vertices: int


def measure(course: str, steps: int, mirror: bool = False) -> Work:
    """Drive a course in a crowd.

    Args:
        course: its name.
        steps: of `_FRAME_SKIP` frames.
        mirror: left and right exchanged.

    Returns:
        The most that any frame had.
    """
    parameters = BootParameters(
        course=course_id(course), mode="vs", drivers=8, items=True, mirror=mirror
    )
    rows = []
    with Console(on_power_on=parameters.write) as console:
        console.step(0, 150, draw=False)
        parameters.check(console.ram)
        reader, driver = RaceReader(console.ram), PurePursuit()
        map_of = Course.from_ram(console.ram, Layout(), course)
        console.ram[_PROFILE : _PROFILE + 4] = np.frombuffer(b"KLPR", np.uint8)
        for step in range(steps):
            if step % _CROWD_STEPS == 0:
                _crowd(console.ram)
            console.step(driver.keys(reader.read(), map_of), _FRAME_SKIP, draw=False)
            words = console.ram[_PROFILE : _PROFILE + 0x28].view("<u4")
            load = int(words[9])
            rows.append((*words[1:5].tolist(), load & 0xFFFF, load >> 16))
    worst = np.max(rows, axis=0).tolist()
    return Work(course, *worst)


def _crowd(ram: NDArray[np.uint8]) -> None:
    """Put all karts but the player's before it, four rows of two abreast."""
    start = int(ram[Layout().drivers_pointer - RAM_START :][:4].view("<u4")[0]) - RAM_START
    drivers: NDArray[Any] = ram[start : start + 8 * DRIVER.itemsize].view(DRIVER)
    forward = drivers["forward"][0].astype(np.int64)
    left = np.array([forward[2], 0, -forward[0]])
    for i in range(1, 8):
        move = forward * (22 * (i // 2 + 1)) + left * (16 if i % 2 else -16)
        for name, rise in (("position", 2), ("sphere_centre", 8)):
            drivers[name][i] = drivers["position"][0] + move + np.array([0, rise * 4096, 0])
        drivers["heading"][i] = drivers["heading"][0]


def report(works: Sequence[Work]) -> str:
    """A table, and how much of a frame the worst of it takes."""
    lines = [
        "| course | race | draw | hud | whole frame | of a DS frame | polygons | vertices |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {w.course} | {w.race:,} | {w.draw:,} | {w.hud:,} | {w.total:,} "
        f"| {w.total / CYCLES:.0%} | {w.polygons:,} | {w.vertices:,} |"
        for w in works
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.work", description="Measure work.")
    names = Cartridge.open().course_names()
    parser.add_argument("--course", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--steps", type=int, default=300, metavar="N", help="of 4 frames (300)")
    options = parser.parse_args(arguments)
    if options.steps < 1:
        parser.error(f"--steps {options.steps} must be at least 1")
    print(report([measure(name, options.steps) for name in options.course]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
