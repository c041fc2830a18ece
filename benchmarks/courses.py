"""What each course costs: ``python -m benchmarks.courses``.

The scripted driver goes round each course of the cartridge once, in a time trial, and its keys are
written down. Then the courses take turns, each in a process of its own: the same keys, nothing
drawn, frames per second. With ``--against FILE`` another cartridge's default course takes
its turn as well, and the others are compared with it.

The second part counts the work of a frame as a real Nintendo DS would see it, in the program's own
profile: bus cycles (a frame has `FRAME_CYCLES`), polygons and vertices of the picture (the machine
draws `POLYGONS` and `VERTICES`), in the time trial and in a race of eight karts with items.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from benchmarks.report import machine, table
from mkds_gym.cartridge import Cartridge
from mkds_gym.console import Console
from mkds_gym.course import Course
from mkds_gym.drivers import PurePursuit
from mkds_gym.errors import NoRaceError
from mkds_gym.hardware import RAM_START
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.memory import Layout, course_id
from mkds_gym.state import RaceReader

FRAME_CYCLES: Final = 560_190
"""Cycles of the 33.5 MHz bus clock in a frame."""
POLYGONS: Final = 2_048
VERTICES: Final = 6_144
_PROFILE: Final = 0x023FE040 - RAM_START
"""The program's profile block, see ``memory_map.h``: magic, race, draw, hud, total, worst."""
_PICTURE_LOAD: Final = 0x023FE064 - RAM_START
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
                    console.ram, Layout.detect(console.ram, console.cartridge.region)
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


def serve(rom: str | None, parameters: BootParameters, pipe: Connection) -> None:
    """A course's process: answers every number of seconds with (frames, seconds) really run."""
    try:
        lap = Lap(rom, parameters)
        keys = lap.drive()
        pipe.send(len(keys))
        console, at = lap.console, len(keys)
        while (seconds := pipe.recv()) is not None:
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
            pipe.send((frames, spent))
        console.close()
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
        raise


def frames_per_second(
    courses: Sequence[str], against: str | None, seconds: float, repeats: int
) -> dict[str, list[float]]:
    """Measure the courses in turns.

    Returns:
        Samples by course name; those of the other cartridge under `AGAINST`.
    """
    context = multiprocessing.get_context("spawn")
    races: dict[str, tuple[str | None, BootParameters]] = {
        name: (None, BootParameters(course=course_id(name), laps=1)) for name in courses
    }
    if against is not None:
        races[AGAINST] = (against, BootParameters(laps=1))
    samples: dict[str, list[float]] = {name: [] for name in races}
    running, processes = {}, []
    try:
        for name, (rom, parameters) in races.items():
            here, there = context.Pipe()
            process = context.Process(target=serve, args=(rom, parameters, there), daemon=True)
            process.start()
            there.close()
            processes.append(process)
            running[name] = here
            _say(f"driving a lap: {name}")
            _answer(name, here)
        for number in range(repeats):
            _say(f"round {number + 1} of {repeats} ...")
            for name, pipe in running.items():
                pipe.send(seconds)
                frames, spent = _answer(name, pipe)
                samples[name].append(frames / spent)
        for pipe in running.values():
            pipe.send(None)
    finally:
        for process in processes:
            process.join(5.0)
            process.terminate()
    return samples


def work(parameters: BootParameters) -> dict[str, int]:
    """The most work of any frame of a lap, as the program's own profile has it.

    Returns:
        ``cycles`` of the whole frame, of ``race`` (all karts), ``draw`` and ``hud``;
        ``polygons`` and ``vertices`` of the picture. Each the largest of all frames.
    """
    lap = Lap(None, parameters)
    with lap.console as console:
        keys = lap.drive()
        console.restore(lap.start)
        ram = console.ram
        ram[_PROFILE : _PROFILE + 4] = list(b"KLPR")
        words = ram[_PROFILE : _PROFILE + 0x18].view("<u4")
        load = ram[_PICTURE_LOAD : _PICTURE_LOAD + 4].view("<u4")
        most = dict.fromkeys(("cycles", "race", "draw", "hud", "polygons", "vertices"), 0)
        for key in keys:
            console.step(key, 1, draw=False)
            _, race, draw, hud, total, _ = words.tolist()
            polygons, vertices = int(load[0]) & 0xFFFF, int(load[0]) >> 16
            now = (total, race, draw, hud, polygons, vertices)
            for name, value in zip(most, now, strict=True):
                most[name] = max(most[name], value)
    return most


def _vs(course: str) -> BootParameters:
    return BootParameters(
        course=course_id(course), laps=1, mode="vs", drivers=8, strength="hard", items=True
    )


def measure(
    courses: Sequence[str], against: str | None, seconds: float, repeats: int
) -> dict[str, Any]:
    """Measure everything; what ``--json`` writes."""
    description = machine()
    samples = frames_per_second(courses, against, seconds, repeats)
    result: dict[str, Any] = {
        "machine": description,
        "seconds": seconds,
        "repeats": repeats,
        "frames_per_second": samples,
        "time_trial": {},
        "eight_karts": {},
    }
    for name in courses:
        _say(f"counting the work: {name}")
        result["time_trial"][name] = work(BootParameters(course=course_id(name), laps=1))
        result["eight_karts"][name] = work(_vs(name))
    return result


def report(result: dict[str, Any]) -> str:
    """The tables."""
    samples = result["frames_per_second"]
    other = samples.get(AGAINST)
    head: tuple[str, ...] = ("time trial on", "frames per second", "lowest to highest")
    rows = []
    for name, values in samples.items():
        row = [
            name,
            f"{statistics.median(values):,.0f}",
            f"{min(values):,.0f} to {max(values):,.0f}",
        ]
        if other:
            ratios = [a / b for a, b in zip(values, other, strict=True)]
            row.append(f"{statistics.median(ratios):.2f}")
        rows.append(tuple(row))
    if other:
        head = (*head, f"x {AGAINST}")
    lines = table(head, rows)
    for title, key in (("time trial", "time_trial"), ("eight karts, items", "eight_karts")):
        lines.append("")
        lines += table(
            (title, "cycles", "of a frame", "karts", "drawing", "polygons", "vertices"),
            [
                (
                    name,
                    f"{most['cycles']:,}",
                    f"{most['cycles'] / FRAME_CYCLES:.0%}",
                    f"{most['race']:,}",
                    f"{most['draw']:,}",
                    f"{most['polygons']:,}",
                    f"{most['vertices']:,}",
                )
                for name, most in result[key].items()
            ],
        )
    about = result["machine"]
    lines += [
        "",
        f"{result['repeats']} rounds of {result['seconds']:g} s a course, {about['processor']}, "
        f"{about['cores']} cores, load average before: {about['load_average_before']}. Work: the "
        f"most of any frame of a lap; a frame has {FRAME_CYCLES:,} cycles, a picture at most "
        f"{POLYGONS:,} polygons and {VERTICES:,} vertices.",
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; see the module."""
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
    if not options.seconds > 0 or options.repeats < 1:
        parser.error("--seconds must be greater than 0 and --repeats at least 1")
    if options.json is not None and not options.json.resolve().parent.is_dir():
        parser.error(f"--json {options.json}: there is no folder {options.json.parent}")
    against = None if options.against is None else str(options.against)
    result = measure(options.courses or known, against, options.seconds, options.repeats)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(report(result))
    return 0


def _answer(name: str, pipe: Connection) -> Any:
    try:
        answer = pipe.recv()
    except EOFError:
        raise RuntimeError(f"the process of {name!r} ended without an answer") from None
    if isinstance(answer, str):
        raise RuntimeError(f"{name!r} failed: {answer}")
    return answer


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
