"""Survey of random courses: compile and drive each, ``python -m mkds_gym.drivers.survey``.

`PurePursuit` drives one lap of each seed's course in a time trial at 100 cc. Each result is saved
at once, so an interrupted survey continues where it stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final

from pydantic import TypeAdapter, ValidationError

from mkds_gym.course import Course
from mkds_gym.drivers.drive import drive
from mkds_gym.drivers.pure_pursuit import PurePursuit
from mkds_gym.emulator.console import Console
from mkds_gym.errors import MKDSError, NoRaceError, reason
from mkds_gym.kartlab.boot import CLASSES, COURSE_DATA_SIZE, BootParameters
from mkds_gym.kartlab.compiler import compile_description
from mkds_gym.kartlab.generator import COURSE_ID, SEEDS, generate
from mkds_gym.race.memory_layout import MemoryLayout
from mkds_gym.race.reader import RaceReader
from mkds_gym.utils.arguments import shown
from mkds_gym.utils.command_line import ArgumentParser, print_error, print_line, run_command
from mkds_gym.utils.reading import parse_json, read_file

SPREAD = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Difficulties of ``--difficulty spread``, one seed after another."""

BOOT_FRAMES = 300
SLOWEST = 1.3
"""Average speed in world units per frame below which a lap counts as not finished."""


@dataclass(frozen=True)
class Survey:
    """The result of one course.

    Attributes:
        seed: of the course.
        difficulty: of the course.
        engine_class: 50, 100 or 150.
        problem: why the course failed; empty if the lap was finished.
        length: of the lap, world units.
        size: of the compiled course, bytes.
        time: seconds of the lap.
        offroad: world units driven off the road.
        wall_hits: number of wall contacts.
        respawns: number of respawns.
        compile_seconds: time to generate and compile the course.
    """

    seed: int
    difficulty: float
    engine_class: int
    problem: str
    length: float = 0.0
    size: int = 0
    time: float = 0.0
    offroad: float = 0.0
    wall_hits: int = 0
    respawns: int = 0
    compile_seconds: float = 0.0


_SURVEY: Final = TypeAdapter(Survey)
_MAX_SIZE: Final = 32 << 20


def survey(seed: int, difficulty: float, engine_class: int = 100) -> Survey:
    """Compile one random course and let the scripted driver drive a lap of it.

    Args:
        seed: of the course.
        difficulty: 0 to 1.
        engine_class: 50, 100 or 150.

    Returns:
        The result. A course that does not compile, boot or end has a `problem`; no error is raised.
    """
    begin = perf_counter()
    try:
        compiled = compile_description(generate(seed, difficulty))
    except (MKDSError, AssertionError, ValueError) as error:
        return Survey(seed, difficulty, engine_class, f"does not compile: {error}")
    data = compiled.narc()
    took = perf_counter() - begin
    if len(data) > COURSE_DATA_SIZE:
        return Survey(
            seed, difficulty, engine_class, f"has {len(data)} bytes, more than the cartridge takes"
        )
    about = partial(
        Survey,
        seed,
        difficulty,
        engine_class,
        length=round(compiled.length, 1),
        size=len(data),
        compile_seconds=round(took, 3),
    )
    parameters = BootParameters(
        course=COURSE_ID, laps=1, engine_class=engine_class, course_data=data
    )
    try:
        with Console(on_power_on=parameters.write) as console:
            if not _started(console):
                return about("the race does not start")
            layout = MemoryLayout.detect(console.ram, console.cartridge.region)
            course = Course.from_ram(console.ram, layout)
            frames = round(course.track.length / SLOWEST)
            run = drive(console, PurePursuit(), frames=frames, course=course)
    except MKDSError as error:
        return about(f"cannot be driven: {error}")
    return about(
        "" if run.finished else f"not finished: {run.progress:.0%} after {run.frames} frames",
        time=round(run.time, 3),
        offroad=round(run.offroad, 1),
        wall_hits=run.wall_hits,
        respawns=run.respawns,
    )


def _started(console: Console) -> bool:
    """Step until the kart can be controlled; return False if the race does not start."""
    for _ in range(BOOT_FRAMES):
        console.step(0, 1, draw=False)
        try:
            state = RaceReader(console.ram, MemoryLayout.detect(console.ram)).read()
        except NoRaceError:
            continue
        if state.race_on and state.controllable:
            return True
    return False


def report(found: Sequence[Survey]) -> str:
    """Return a Markdown table with one row per difficulty, and a list of the failed courses.

    Lengths, lap times and compile times are medians; respawns and wall hits are sums.
    """
    head = [
        "difficulty",
        *("courses", "compiled", "finished"),
        *("lap, units", "lap time, s", "shortest", "longest"),
        *("off the road", "wall hits", "respawns", "compile, ms"),
    ]
    lines = [head, ["---:"] * len(head)]
    for difficulty in sorted({one.difficulty for one in found}):
        here = [one for one in found if one.difficulty == difficulty]
        compiled = [one for one in here if one.size]
        good = [one for one in here if not one.problem]
        times = [one.time for one in good] or [math.nan]
        driven = sum(one.length for one in good)
        lines.append(
            [
                f"{difficulty:g}",
                *(f"{len(some):,}" for some in (here, compiled, good)),
                f"{_median([one.length for one in compiled]):,.0f}",
                *(f"{value:.2f}" for value in (_median(times), min(times), max(times))),
                f"{sum(one.offroad for one in good) / driven if driven else math.nan:.1%}",
                f"{sum(one.wall_hits for one in good):,}",
                f"{sum(one.respawns for one in good):,}",
                f"{1000 * _median([one.compile_seconds for one in compiled]):.0f}",
            ]
        )
    bad = [one for one in found if one.problem]
    verdict = f"{len(bad)} of {len(found):,} courses failed" + (":" if bad else ".")
    failed = [f"- seed {one.seed}, difficulty {one.difficulty:g}: {one.problem}" for one in bad]
    return "\n".join([*(f"| {' | '.join(cells)} |" for cells in lines), "", verdict, *failed])


def _median(values: Sequence[float]) -> float:
    return median(values) if values else math.nan


def _read(path: Path, engine_class: int) -> dict[tuple[int, float], Survey]:
    """Read the results of an earlier survey with this class; remove an incomplete last line."""
    remedy = "choose another file"
    data = read_file(path, f"survey '{path}'", MKDSError, limit=_MAX_SIZE, remedy=remedy)
    complete = data[: data.rfind(b"\n") + 1]
    if complete != data:
        path.write_bytes(complete)
    found = {}
    for number, line in enumerate(complete.splitlines(), 1):
        name = f"'{path}', line {number},"
        try:
            one = _SURVEY.validate_python(parse_json(line, name, MKDSError))
        except (MKDSError, ValidationError) as error:
            raise ValueError(f"{name} is not a result of a survey; {remedy}") from error
        if one.engine_class == engine_class:
            found[one.seed, one.difficulty] = one
    return found


def _append(path: Path, text: str) -> None:
    try:
        if path.exists() and not path.is_file():  # a pipe would wait for a reader
            raise MKDSError(f"cannot write '{path}': expected the path of a file")
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise MKDSError(f"cannot write '{path}': {reason(error)}") from error


def _run(jobs: Sequence[tuple[int, float]], engine_class: int, workers: int) -> Iterator[Survey]:
    work = partial(survey, engine_class=engine_class)
    if workers == 1:
        yield from (work(*job) for job in jobs)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_ignore_interrupts)
    try:
        for future in as_completed([pool.submit(work, *job) for job in jobs]):
            yield future.result()
    finally:
        # A second shutdown, as by `with`, would undo cancel_futures.
        pool.shutdown(wait=True, cancel_futures=True)


def _ignore_interrupts() -> None:
    """Let only the main process handle Ctrl-C; a worker finishes its course."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _seeds(text: str) -> range:
    first, _, last = text.partition(":")
    try:
        seeds = range(int(first), int(last) if last else int(first) + 1)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is not a range of seeds: expected FIRST:LAST or one seed"
        ) from None
    if not seeds or seeds[0] not in SEEDS or seeds[-1] not in SEEDS:
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is out of range: expected seeds from 0 to {SEEDS[-1]}"
        )
    return seeds


def _difficulties(text: str) -> tuple[float, ...]:
    if text == "spread":
        return SPREAD
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is out of range: expected 0 to 1, or 'spread'"
        )
    return (value,)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: command-line arguments; None takes those of the process.

    Returns:
        0; 1 if a course failed or the survey could not run; 130 after Ctrl-C.
    """
    parser = ArgumentParser(
        prog="python -m mkds_gym.drivers.survey",
        description="Compile random courses and let the scripted driver drive one lap of each.",
    )
    parser.add_argument(
        "--seeds", type=_seeds, default=range(1000), metavar="FIRST:LAST", help="default: 0:1000"
    )
    parser.add_argument(
        "--difficulty",
        type=_difficulties,
        default=(0.5,),
        metavar="D",
        help="0 to 1; 'spread': "
        + ", ".join(f"{value:g}" for value in SPREAD)
        + " in turn; default: 0.5",
    )
    parser.add_argument("--engine-class", type=int, choices=tuple(CLASSES), default=100)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="save each result, one JSON object per line; courses that are already in the file are "
        "skipped",
    )
    options = parser.parse_args(arguments)
    if options.workers < 1:
        parser.error(f"--workers {options.workers} is out of range: expected at least 1")
    spread = options.difficulty
    jobs = [(seed, spread[seed % len(spread)]) for seed in options.seeds]
    found: dict[tuple[int, float], Survey] = {}
    interrupted = False
    try:
        if options.output is not None:
            _append(options.output, "")  # fails now if it cannot be written
            found = _read(options.output, options.engine_class)
        left = [job for job in jobs if job not in found]
        begin = perf_counter()
        try:
            for count, one in enumerate(
                _run(left, options.engine_class, min(options.workers, max(len(left), 1))), 1
            ):
                found[one.seed, one.difficulty] = one
                if options.output is not None:
                    _append(options.output, json.dumps(asdict(one)) + "\n")
                _show(count, len(left), perf_counter() - begin)
        except KeyboardInterrupt:
            interrupted = True
    except (MKDSError, ValueError, OSError) as error:
        print_error(f"{parser.prog}: error: {error}")
        return 1
    seen = [found[job] for job in jobs if job in found]
    if seen:
        print_line(report(seen))
    if interrupted:
        print_error(f"interrupted: {len(seen)} of {len(jobs)} courses were driven")
        return 130
    return 1 if any(one.problem for one in seen) else 0


def _show(count: int, total: int, seconds: float) -> None:
    """Show the progress on a terminal."""
    if sys.stderr.isatty():
        rest = seconds / count * (total - count)
        end = "\n" if count == total else ""
        print(
            f"\r{count} of {total} courses, {rest:.0f} s to go   ",
            end=end,
            file=sys.stderr,
            flush=True,
        )


if __name__ == "__main__":
    run_command(main)
