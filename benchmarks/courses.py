"""Speed and work of each course: ``python -m benchmarks.courses``.

Frames per second: the scripted driver drives one lap of each course in a time trial, and its keys
are recorded. Then all courses take turns, each in its own process, with the same keys and nothing
drawn. ``--against FILE`` adds the default course of another Kartlab cartridge, to compare with.

Work on a real Nintendo DS, from the program's own profile: bus cycles (a frame has `CYCLES`),
polygons and vertices of the picture (the limits are `POLYGONS` and `VERTICES`). Measured for that
lap, and for the heaviest scenes: eight karts with items in front of the camera, along the course.

Exit status: 0 done, 1 a course failed, 2 bad arguments, 130 Ctrl-C.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.remote import remotes
from benchmarks.report import add_json, cells, describe, log, machine, spread, table, write_json
from mkds_gym.course import Course
from mkds_gym.drivers.pure_pursuit import PurePursuit
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.console import Console, Keys
from mkds_gym.emulator.hardware import RAM_START
from mkds_gym.errors import NoRaceError
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.race.memory_layout import DRIVER, MemoryLayout
from mkds_gym.race.names import course_id
from mkds_gym.race.reader import RaceReader
from mkds_gym.utils.command_line import ArgumentParser

CYCLES: Final = 560_190
"""Cycles of the 33.5 MHz bus clock in a frame."""
POLYGONS: Final = 2_048
VERTICES: Final = 6_144
"""Limits of the geometry engine per picture."""
_PROFILE: Final = 0x023FE040 - RAM_START
"""Address of the program's profile block (``memory_map.h``): magic, then the cycles of race, draw,
hud, total, worst; at +0x24 polygons and vertices as the hardware counts them, at +0x28 as the
program counts them."""
_CROWD_FRAMES: Final = 4
"""Frames per place of the heaviest scenes."""
_MAX_FRAMES: Final = 9_000
_BATCH: Final = 64
"""Frames between two readings of the clock."""
AGAINST: Final = "other cartridge"


class Lap:
    """A console at a race start.

    Args:
        rom: file of the cartridge; None for the bundled one.
        parameters: the race.

    Raises:
        RuntimeError: no race starts.
    """

    def __init__(self, rom: str | None, parameters: BootParameters) -> None:
        self.console = console = Console(rom, on_power_on=parameters.write)
        for _ in range(1200):
            console.step(0, 1, draw=False)
            try:
                self.reader = reader = RaceReader(
                    console.ram, MemoryLayout.detect(console.ram, console.cartridge.region)
                )
                reader.resolve()
            except NoRaceError:
                continue
            state = reader.read()
            if state.race_on and state.controllable:
                break
        else:
            raise RuntimeError("no race started")
        self.start = console.snapshot()
        self.course = Course.from_ram(console.ram, reader.layout)

    def drive(self) -> list[int]:
        """Let the scripted driver drive one lap.

        Returns:
            Its keys, frame by frame.

        Raises:
            RuntimeError: the driver does not finish the lap.
        """
        driver = PurePursuit()
        keys: list[int] = []
        driver.reset()
        state = self.reader.read()
        while state.lap <= 1 and not state.finished:
            if len(keys) == _MAX_FRAMES:
                raise RuntimeError(
                    f"the scripted driver did not finish the lap in {_MAX_FRAMES} frames"
                )
            keys.append(int(driver.keys(state, self.course)))
            self.console.step(keys[-1], 1, draw=False)
            state = self.reader.read()
        return keys


class TimedLap:
    """Drives a lap repeatedly, in a separate process.

    Args:
        rom: file of the cartridge; None for the bundled one.
        parameters: the race.
    """

    def __init__(self, rom: str | None, parameters: BootParameters) -> None:
        self._lap = Lap(rom, parameters)
        self._keys = self._lap.drive()
        self._next = len(self._keys)

    def frames_per_second(self, seconds: float) -> float:
        """Drive for about so many seconds."""
        console = self._lap.console
        frames, spent = 0, 0.0
        while spent < seconds:
            if self._next >= len(self._keys):
                console.restore(self._lap.start)
                self._next = 0
            keys = self._keys[self._next : self._next + _BATCH]
            begin = time.perf_counter()
            for key in keys:
                console.step(key, 1, draw=False)
            spent += time.perf_counter() - begin
            frames += len(keys)
            self._next += _BATCH
        return frames / spent

    def close(self) -> None:
        """Close the console."""
        self._lap.console.close()


def frames_per_second(
    courses: Sequence[str], against: str | None, seconds: float, repeats: int
) -> dict[str, list[float]]:
    """Measure the courses in turns.

    Returns:
        Samples by course name; those of the other cartridge under `AGAINST`.

    Raises:
        RuntimeError: the process of a course failed.
    """
    races: dict[str, tuple[str | None, BootParameters]] = {
        name: (None, BootParameters(course=course_id(name), laps=1)) for name in courses
    }
    if against is not None:
        races[AGAINST] = (against, BootParameters(laps=1))
    samples: dict[str, list[float]] = {name: [] for name in races}
    log("each course drives a lap ...")
    with remotes(TimedLap, races) as laps:
        for number in range(1, repeats + 1):
            log(f"round {number} of {repeats}, {seconds * len(races):.0f} s or more ...")
            for name, remote in laps.items():
                samples[name].append(remote.call("frames_per_second", seconds))
    return samples


@dataclass(frozen=True)
class Work:
    """The work of a frame, or the largest values of several frames.

    Attributes:
        cycles: bus cycles of the whole frame.
        race: the part that moves the race.
        draw: the part for camera and picture.
        hud: the part for the second screen.
        polygons: in the picture, as the hardware counts them.
        vertices: in the picture.
        booked: polygons and vertices as the program counts them.
    """

    cycles: int
    race: int
    draw: int
    hud: int
    polygons: int
    vertices: int
    booked: tuple[int, int]

    @classmethod
    def read(cls, ram: NDArray[np.uint8]) -> Work:
        """Read the work of the last frame; call `start_profile` before that frame."""
        words = ram[_PROFILE : _PROFILE + 0x2C].view("<u4").tolist()
        (polygons, vertices), booked = ((value & 0xFFFF, value >> 16) for value in words[9:11])
        _, race, draw, hud, cycles = words[:5]
        return cls(cycles, race, draw, hud, polygons, vertices, booked)

    @classmethod
    def most(cls, works: Sequence[Work]) -> Work:
        """Return the largest value of each kind."""
        columns: list[Any] = [max(column) for column in zip(*map(astuple, works), strict=True)]
        return cls(*columns)


def start_profile(ram: NDArray[np.uint8]) -> None:
    """Let the program count its work from the next frame on."""
    ram[_PROFILE : _PROFILE + 4] = list(b"KLPR")


def lap_work(course: str) -> Work:
    """Return the largest work of any frame of a lap of a time trial.

    Args:
        course: folder name.
    """
    lap = Lap(None, BootParameters(course=course_id(course), laps=1))
    with lap.console as console:
        keys = lap.drive()
        console.restore(lap.start)
        start_profile(console.ram)
        works = []
        for key in keys:
            console.step(key, 1, draw=False)
            works.append(Work.read(console.ram))
    return Work.most(works)


def crowded(
    parameters: BootParameters, spacing: float = 100.0, draw: bool = False
) -> Iterator[tuple[Console, Work]]:
    """Put eight karts at places along a course, seven in front of the first one's camera.

    Args:
        parameters: the race; VS with eight drivers.
        spacing: world units between two places.
        draw: also draw the picture.

    Yields:
        The console, and the work of a frame there.
    """
    with Console(on_power_on=parameters.write) as console:
        console.step(0, 150, draw=False)
        parameters.check(console.ram)
        course = Course.from_ram(console.ram, MemoryLayout())
        start_profile(console.ram)
        for distance in np.arange(0.0, course.track.length, spacing):
            place = course.track.point_at(float(distance))
            _crowd(console.ram, place, course.track.point_at(float(distance) + 40.0))
            for _ in range(_CROWD_FRAMES):
                console.step(int(Keys.A), 1, draw=draw)
                yield console, Work.read(console.ram)


def _crowd(ram: NDArray[np.uint8], place: ArrayLike, ahead: ArrayLike) -> None:
    """Put the player's kart at a place, and the others ahead in rows of two."""
    start = int(ram[MemoryLayout().drivers_pointer - RAM_START :][:4].view("<u4")[0]) - RAM_START
    drivers: NDArray[Any] = ram[start : start + 8 * DRIVER.itemsize].view(DRIVER)
    at, to = np.asarray(place, np.float64), np.asarray(ahead, np.float64)
    forward = (to - at) / np.linalg.norm(to - at)
    left = np.array([forward[2], 0.0, -forward[0]])
    for i in range(8):
        move = forward * (30.0 * (i // 2 + 1)) + left * (22.0 if i % 2 else -22.0)
        for name, rise in (("position", 2.0), ("sphere_centre", 8.0)):
            where = at + (move if i else 0.0) + np.array([0.0, rise, 0.0])
            drivers[name][i] = np.rint(where * 4096)
        drivers["forward"][i] = np.rint(forward * 4096)
        drivers["heading"][i] = round(np.arctan2(forward[0], forward[2]) / np.pi * 0x8000)


def crowd_parameters(course: str, mirror: bool = False) -> BootParameters:
    """Return the race of the heaviest scenes."""
    return BootParameters(course=course_id(course), mode="vs", drivers=8, items=True, mirror=mirror)


def measure(
    courses: Sequence[str], against: str | None, seconds: float, repeats: int
) -> dict[str, Any]:
    """Measure everything; the result is what ``--json`` saves."""
    started = time.monotonic()
    description = machine()
    samples = frames_per_second(courses, against, seconds, repeats)
    result: dict[str, Any] = {
        "machine": description,
        "seconds": seconds,
        "repeats": repeats,
        "courses": {
            name: {**spread(values), "samples": values} for name, values in samples.items()
        },
        "ratios": {
            name: spread([a / b for a, b in zip(samples[name], samples[AGAINST], strict=True)])
            for name in courses
            if AGAINST in samples
        },
        "time_trial": {},
        "eight_karts": {},
    }
    for number, name in enumerate(courses, 1):
        log(f"counting the work, course {number} of {len(courses)}: {name}")
        result["time_trial"][name] = asdict(lap_work(name))
        scenes = [work for _, work in crowded(crowd_parameters(name))]
        result["eight_karts"][name] = asdict(Work.most(scenes))
    result["minutes"] = (time.monotonic() - started) / 60.0
    return result


def report(result: dict[str, Any]) -> str:
    """Return the result of `measure` as Markdown tables."""
    courses = [(name, *cells(row, ",.0f")) for name, row in result["courses"].items()]
    tables = [table(("frames per second, time trial", "median", "quartiles"), courses)]
    if result["ratios"]:
        ratios = [(name, *cells(value, ".2f")) for name, value in result["ratios"].items()]
        tables.append(table((f"ratio to the {AGAINST}", "median", "quartiles"), ratios))
    for title, key in (
        ("work of a frame, time trial", "time_trial"),
        ("eight karts and items", "eight_karts"),
    ):
        kinds = ("race", "draw", "hud", "polygons", "vertices")
        rows = [
            (
                name,
                f"{most['cycles']:,}",
                f"{most['cycles'] / CYCLES:.0%}",
                *(f"{most[kind]:,}" for kind in kinds),
            )
            for name, most in result[key].items()
        ]
        tables.append(table((title, "bus cycles", "of a frame", *kinds), rows))
    tables.append(
        f"{describe(result['machine'])} {result['repeats']} rounds of {result['seconds']:g} s per "
        f"course, {result['minutes']:.0f} minutes in all. Work: the largest value of any frame. A "
        f"frame has {CYCLES:,} bus cycles, a picture at most {POLYGONS:,} polygons and "
        f"{VERTICES:,} vertices."
    )
    return "\n\n".join(tables)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments; None takes those of the process.

    Returns:
        The exit status.
    """
    parser = ArgumentParser(
        prog="python -m benchmarks.courses", description="Measure what each course costs."
    )
    parser.add_argument(
        "courses", nargs="*", metavar="COURSE", help="folder names (default: all of the cartridge)"
    )
    parser.add_argument("--against", type=Path, metavar="FILE", help="another Kartlab cartridge")
    parser.add_argument(
        "--seconds",
        type=float,
        default=2.0,
        metavar="S",
        help="seconds per turn (default: %(default)s)",
    )
    parser.add_argument(
        "--repeats",
        type=int,
        default=5,
        metavar="R",
        help="turns per course (default: %(default)s)",
    )
    add_json(parser)
    options = parser.parse_args(argv)
    # Only the bundled cartridge has boot parameters and a profile.
    os.environ.pop("MKDS_ROM", None)
    known = Cartridge.open().course_names()
    for name in options.courses:
        if name not in known:
            parser.error(f"course {name!r} is not on the cartridge; it has {', '.join(known)}")
    if options.against is not None and not options.against.is_file():
        parser.error(f"--against {options.against}: no such file")
    if not (math.isfinite(options.seconds) and options.seconds > 0) or options.repeats < 1:
        parser.error("--seconds must be finite and greater than 0, and --repeats at least 1")
    against = None if options.against is None else str(options.against)
    try:
        result = measure(options.courses or known, against, options.seconds, options.repeats)
    except RuntimeError as error:
        log(f"failed: {error}")
        return 1
    except KeyboardInterrupt:
        log("stopped")
        return 130
    write_json(options.json, result)
    print(report(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
