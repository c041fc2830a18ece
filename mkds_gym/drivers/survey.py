"""Survey of random courses: compile and drive each, ``python -m mkds_gym.drivers.survey``.

Each seed's course is compiled, handed to the cartridge, and driven one lap by `PurePursuit` in a
time trial at 100 cc. Every result is written down when it is there, so that an interrupted survey
goes on where it was.
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

SPREAD = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Difficulties of ``--difficulty spread``, one seed after another."""

BOOT_FRAMES = 300
SLOWEST = 0.8
"""World units per frame: who is slower than that on average does not finish."""


@dataclass(frozen=True)
class Survey:
    """What became of one course.

    Attributes:
        seed: of the course.
        difficulty: of the course.
        engine_class: 50, 100 or 150.
        problem: why it is no good; "" if the lap was finished.
        length: of the lap, world units.
        size: of the compiled course, bytes.
        time: seconds of the lap.
        offroad: world units driven off the road.
        wall_hits: how often the kart ran into a wall.
        respawns: how often it was put back.
        compile_seconds: that the description and the compiler took.
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


def survey(seed: int, difficulty: float, engine_class: int = 100) -> Survey:
    """Compile one random course and let the scripted driver drive a lap of it.

    Args:
        seed: of the course.
        difficulty: 0 to 1.
        engine_class: 50, 100 or 150.

    Returns:
        How it went. A course that does not compile, boot or end is no error but a `problem`.
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
            seed, difficulty, engine_class, f"has {len(data)} bytes, too many to hand over"
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
                return about("no race began")
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
    """Step up to where the race can be driven."""
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
    """A Markdown table of what was found, a row a difficulty, and every course that failed.

    Length, times and the compiler's work are medians, times with the least and the most;
    respawns and wall hits are sums.
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
    """What an earlier survey of this class has written; a line that was cut off is removed."""
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    found = {}
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            one = Survey(**json.loads(line))
        except (json.JSONDecodeError, TypeError) as error:
            raise ValueError(f"'{path}', line {number}, is no result of a survey") from error
        if one.engine_class == engine_class:
            found[one.seed, one.difficulty] = one
    return found


def _append(path: Path, text: str) -> None:
    try:
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
    pool = ProcessPoolExecutor(workers, context, initializer=_stay)
    try:
        for future in as_completed([pool.submit(work, *job) for job in jobs]):
            yield future.result()
    finally:
        # Once: another shutdown, such as that of a `with`, would take the cancelling back.
        pool.shutdown(wait=True, cancel_futures=True)


def _stay() -> None:
    """A worker ends what it is at when Ctrl-C is pressed: the survey itself stops."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _seeds(text: str) -> range:
    first, _, last = text.partition(":")
    try:
        seeds = range(int(first), int(last) if last else int(first) + 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not FIRST:LAST or one seed") from None
    if not seeds or seeds[0] not in SEEDS or seeds[-1] not in SEEDS:
        raise argparse.ArgumentTypeError(f"{text!r} has no seeds of 0 to {SEEDS[-1]}")
    return seeds


def _difficulties(text: str) -> tuple[float, ...]:
    if text == "spread":
        return SPREAD
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not 0 to 1, or 'spread'")
    return (value,)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the words behind the command; None takes the process's own.

    Returns:
        0; 1 if a course is no good or the survey could not be made; 130 if it was interrupted.
    """
    parser = argparse.ArgumentParser(
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
        help="write each result there, one JSON object a line; what it has already is not driven "
        "again",
    )
    options = parser.parse_args(arguments)
    if options.workers < 1:
        parser.error(f"--workers {options.workers}: at least 1")
    spread = options.difficulty
    jobs = [(seed, spread[seed % len(spread)]) for seed in options.seeds]
    found: dict[tuple[int, float], Survey] = {}
    interrupted = False
    try:
        if options.output is not None:
            _append(options.output, "")  # or say now that it cannot be
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
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 1
    seen = [found[job] for job in jobs if job in found]
    if seen:
        print(report(seen))
    if interrupted:
        print(f"interrupted: {len(seen)} of {len(jobs)} courses were driven", file=sys.stderr)
        return 130
    return 1 if any(one.problem for one in seen) else 0


def _show(count: int, total: int, seconds: float) -> None:
    """A line that says how far it is, where somebody looks on."""
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
    sys.exit(main())
