"""What each course costs: ``python -m benchmarks.courses``.

Frames per second: the scripted driver goes round each course of the cartridge once, in a time
trial, and its keys are written down. Then the courses take turns, each in a process of its own: the
same keys, nothing drawn. With ``--against FILE`` another cartridge's default course takes its turn
as well, and the others are compared with it.

Work as a real Nintendo DS would see it, in the program's own profile: bus cycles (a frame has
`CYCLES`), polygons and vertices of the picture (the machine keeps `POLYGONS` and `VERTICES`). Once
for that lap, and once for the heaviest scenes there are: eight karts with items, all in front of
the player's camera, at place after place along the course.

Exit status: 0 done, 1 a course failed, 2 bad arguments, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
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

from benchmarks import processes
from benchmarks.report import between, check_writable, machine, say, spread, table
from benchmarks.turns import Samples, ratio
from mkds_gym.course import Course
from mkds_gym.drivers.pure_pursuit import PurePursuit
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.console import Console, Keys
from mkds_gym.emulator.hardware import RAM_START
from mkds_gym.errors import NoRaceError
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.race.memory_layout import DRIVER, MemoryLayout, course_id
from mkds_gym.race.reader import RaceReader

CYCLES: Final = 560_190
"""Cycles of the 33.5 MHz bus clock in a frame."""
POLYGONS: Final = 2_048
VERTICES: Final = 6_144
"""What the geometry engine keeps of a picture."""
_PROFILE: Final = 0x023FE040 - RAM_START
"""The program's profile block, see ``memory_map.h``: magic, race, draw, hud, total, worst; the
picture's load at +0x24, as the machine counted it, and at +0x28, as the program did."""
_CROWD_FRAMES: Final = 4
"""Frames at each place of the heaviest scenes."""
_MAX_FRAMES: Final = 9_000
_BATCH: Final = 64
"""Frames between two looks at the clock."""
AGAINST: Final = "other cartridge"


class Lap:
    """A console at a race start, and a lap's keys.

    Args:
        rom: the cartridge's file; None for the bundled one.
        parameters: the race.

    Raises:
        RuntimeError: no race begins.
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
            raise RuntimeError("no race began")
        self.start = console.snapshot()
        self.course = Course.from_ram(console.ram, reader.layout)

    def drive(self) -> list[int]:
        """Let the scripted driver go round once.

        Returns:
            Its keys, frame by frame.

        Raises:
            RuntimeError: it does not get round.
        """
        driver = PurePursuit()
        keys: list[int] = []
        driver.reset()
        state = self.reader.read()
        while state.lap <= 1 and not state.finished:
            if len(keys) == _MAX_FRAMES:
                raise RuntimeError(f"the scripted driver is not round after {_MAX_FRAMES} frames")
            keys.append(int(driver.keys(state, self.course)))
            self.console.step(keys[-1], 1, draw=False)
            state = self.reader.read()
        return keys


@contextlib.contextmanager
def answering(rom: str | None, parameters: BootParameters) -> Iterator[processes.Answer]:
    """A course's process, for `benchmarks.processes`; it drives the lap before it is ready.

    A number of seconds is answered with the frames per second of about so long.
    """
    lap = Lap(rom, parameters)
    console, keys = lap.console, lap.drive()
    at = len(keys)

    def answer(seconds: float) -> float:
        nonlocal at
        frames, spent = 0, 0.0
        while spent < seconds:
            if at >= len(keys):
                console.restore(lap.start)
                at = 0
            some = keys[at : at + _BATCH]
            begin = time.perf_counter()
            for key in some:
                console.step(key, 1, draw=False)
            spent += time.perf_counter() - begin
            frames += len(some)
            at += _BATCH
        return frames / spent

    with console:
        yield answer


def frames_per_second(
    courses: Sequence[str], against: str | None, seconds: float, repeats: int
) -> Samples:
    """Measure the courses in turns.

    Returns:
        Samples by course name; those of the other cartridge under `AGAINST`.

    Raises:
        RuntimeError: a course's process failed.
    """
    races: dict[str, tuple[str | None, BootParameters]] = {
        name: (None, BootParameters(course=course_id(name), laps=1)) for name in courses
    }
    if against is not None:
        races[AGAINST] = (against, BootParameters(laps=1))
    samples: Samples = {name: [] for name in races}
    say("each course drives a lap ...")
    works = {name: processes.Work(name, answering, race) for name, race in races.items()}
    with processes.processes(works) as running:
        for number in range(1, repeats + 1):
            say(f"round {number} of {repeats}, {seconds * len(races):.0f} s or more ...")
            for name, process in running.items():
                samples[name].append(process.ask(seconds))
    return samples


@dataclass(frozen=True)
class Work:
    """A frame's work, or the most of each kind that any of some frames had.

    Attributes:
        cycles: bus cycles of the whole frame.
        race: of these, those that moved the race.
        draw: those for camera and picture.
        hud: those for the second screen.
        polygons: in the picture, as the machine counted them.
        vertices: in the picture.
        booked: polygons and vertices as the program counted them while it sent them.
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
        """Read the frame that was just run; `profile` must have been called before it."""
        words = ram[_PROFILE : _PROFILE + 0x2C].view("<u4").tolist()
        (polygons, vertices), booked = ((value & 0xFFFF, value >> 16) for value in words[9:11])
        _, race, draw, hud, cycles = words[:5]
        return cls(cycles, race, draw, hud, polygons, vertices, booked)

    @classmethod
    def most(cls, works: Sequence[Work]) -> Work:
        """Return the largest of each."""
        columns: list[Any] = [max(column) for column in zip(*map(astuple, works), strict=True)]
        return cls(*columns)


def profile(ram: NDArray[np.uint8]) -> None:
    """Let the program count, from the next frame on."""
    ram[_PROFILE : _PROFILE + 4] = list(b"KLPR")


def lap_work(course: str) -> Work:
    """The most work of any frame of a lap of a time trial.

    Args:
        course: its folder name.

    Returns:
        The most of each kind.
    """
    lap = Lap(None, BootParameters(course=course_id(course), laps=1))
    with lap.console as console:
        keys = lap.drive()
        console.restore(lap.start)
        profile(console.ram)
        works = []
        for key in keys:
            console.step(key, 1, draw=False)
            works.append(Work.read(console.ram))
    return Work.most(works)


def crowded(
    parameters: BootParameters, spacing: float = 40.0, draw: bool = False
) -> Iterator[tuple[Console, Work]]:
    """Put eight karts at place after place along a course, seven before the camera of the first.

    Args:
        parameters: the race; VS with eight drivers.
        spacing: world units from place to place.
        draw: the console has a picture, too.

    Yields:
        the console, with the race in it, and the work of a frame there.
    """
    with Console(on_power_on=parameters.write) as console:
        console.step(0, 150, draw=False)
        parameters.check(console.ram)
        course = Course.from_ram(console.ram, MemoryLayout())
        profile(console.ram)
        for distance in np.arange(0.0, course.track.length, spacing):
            place = course.track.point_at(float(distance))
            _crowd(console.ram, place, course.track.point_at(float(distance) + 20.0))
            for _ in range(_CROWD_FRAMES):
                console.step(int(Keys.A), 1, draw=draw)
                yield console, Work.read(console.ram)


def _crowd(ram: NDArray[np.uint8], place: ArrayLike, ahead: ArrayLike) -> None:
    """Put the player's kart somewhere, and the others before it, four rows of two abreast."""
    start = int(ram[MemoryLayout().drivers_pointer - RAM_START :][:4].view("<u4")[0]) - RAM_START
    drivers: NDArray[Any] = ram[start : start + 8 * DRIVER.itemsize].view(DRIVER)
    at, to = np.asarray(place, np.float64), np.asarray(ahead, np.float64)
    forward = (to - at) / np.linalg.norm(to - at)
    left = np.array([forward[2], 0.0, -forward[0]])
    for i in range(8):
        move = forward * (22.0 * (i // 2 + 1)) + left * (16.0 if i % 2 else -16.0)
        for name, rise in (("position", 2.0), ("sphere_centre", 8.0)):
            where = at + (move if i else 0.0) + np.array([0.0, rise, 0.0])
            drivers[name][i] = np.rint(where * 4096)
        drivers["forward"][i] = np.rint(forward * 4096)
        drivers["heading"][i] = round(np.arctan2(forward[0], forward[2]) / np.pi * 0x8000)


def crowd_parameters(course: str, mirror: bool = False) -> BootParameters:
    """The race of the heaviest scenes."""
    return BootParameters(course=course_id(course), mode="vs", drivers=8, items=True, mirror=mirror)


def measure(
    courses: Sequence[str], against: str | None, seconds: float, repeats: int
) -> dict[str, Any]:
    """Measure everything; what ``--json`` writes."""
    started = time.monotonic()
    description = machine()
    samples = frames_per_second(courses, against, seconds, repeats)
    result: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "machine": description,
        "seconds": seconds,
        "repeats": repeats,
        "courses": {
            name: {**spread(values), "samples": values} for name, values in samples.items()
        },
        "ratios": {name: ratio(samples, name, AGAINST) for name in courses if AGAINST in samples},
        "time_trial": {},
        "eight_karts": {},
    }
    for number, name in enumerate(courses, 1):
        say(f"counting the work, course {number} of {len(courses)}: {name}")
        result["time_trial"][name] = asdict(lap_work(name))
        scenes = [work for _, work in crowded(crowd_parameters(name))]
        result["eight_karts"][name] = asdict(Work.most(scenes))
    result["minutes"] = (time.monotonic() - started) / 60.0
    return result


def report(result: dict[str, Any]) -> str:
    """The tables, as Markdown, of what `measure` gives."""
    lines = table(
        ("frames per second, time trial", "median", "middle half"),
        [
            (name, f"{row['median']:,.0f}", between(row, ",.0f"))
            for name, row in result["courses"].items()
        ],
    )
    if result["ratios"]:
        lines.append("")
        lines += table(
            (f"ratio to the {AGAINST}", "median", "middle half"),
            [
                (name, f"{value['median']:.2f}", between(value, ".2f"))
                for name, value in result["ratios"].items()
            ],
        )
    for title, key in (
        ("work of a frame, time trial", "time_trial"),
        ("eight karts and items", "eight_karts"),
    ):
        lines.append("")
        lines += table(
            (title, "bus cycles", "of a frame", "race", "draw", "hud", "polygons", "vertices"),
            [
                (
                    name,
                    f"{most['cycles']:,}",
                    f"{most['cycles'] / CYCLES:.0%}",
                    *(f"{most[kind]:,}" for kind in ("race", "draw", "hud")),
                    *(f"{most[kind]:,}" for kind in ("polygons", "vertices")),
                )
                for name, most in result[key].items()
            ],
        )
    about = result["machine"]
    lines += [
        "",
        f"{result['date']}: {result['repeats']} rounds of {result['seconds']:g} s a course, "
        f"{result['minutes']:.0f} minutes in all, "
        f"{about['processor']}, {about['cores']} cores, load average before: "
        f"{about['load_average_before']}. Work: the most of any frame; a frame has {CYCLES:,} "
        f"bus cycles, a picture at most {POLYGONS:,} polygons and {VERTICES:,} vertices.",
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; see the module.

    Args:
        argv: arguments, by default the process's own.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.courses", description="Measure what each course costs."
    )
    parser.add_argument(
        "courses", nargs="*", metavar="COURSE", help="folder names; by default all on Kartlab"
    )
    parser.add_argument("--against", type=Path, metavar="FILE", help="another Kartlab cartridge")
    parser.add_argument("--seconds", type=float, default=2.0, metavar="S", help="of a turn (2)")
    parser.add_argument("--repeats", type=int, default=5, metavar="R", help="turns (5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to a file")
    options = parser.parse_args(argv)
    # The cartridge is the bundled one: only that has boot parameters and a profile.
    os.environ.pop("MKDS_ROM", None)
    known = Cartridge.open().course_names()
    for name in options.courses:
        if name not in known:
            parser.error(f"course {name!r} is not on the cartridge; it has {', '.join(known)}")
    if options.against is not None and not options.against.is_file():
        parser.error(f"--against {options.against}: no such file")
    if not (math.isfinite(options.seconds) and options.seconds > 0) or options.repeats < 1:
        parser.error("--seconds must be finite and greater than 0, and --repeats at least 1")
    check_writable(parser, "--json", options.json)
    against = None if options.against is None else str(options.against)
    try:
        result = measure(options.courses or known, against, options.seconds, options.repeats)
    except RuntimeError as error:
        say(f"failed: {error}")
        return 1
    except KeyboardInterrupt:
        say("stopped")
        return 130
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(report(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
