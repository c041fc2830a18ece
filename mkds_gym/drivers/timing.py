"""Race times of the scripted driver: ``python -m mkds_gym.drivers``."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from mkds_gym.drivers.drive import Drive, drive
from mkds_gym.drivers.pure_pursuit import PurePursuit
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.env import MKDSEnv
from mkds_gym.episodes.race_config import RANDOM_COURSE
from mkds_gym.errors import MKDSError, StateError
from mkds_gym.kartlab.boot import CLASSES
from mkds_gym.starts import kept_starts
from mkds_gym.utils.arguments import shown
from mkds_gym.utils.command_line import ArgumentParser, print_error, print_line
from mkds_gym.utils.files import why_unwritable, write_bytes


@dataclass(frozen=True)
class Run:
    """One row of the table of times.

    Attributes:
        course: name of the course; ``random:7`` is the random course with seed 7.
        engine_class: 50, 100 or 150.
        mirror: whether left and right are exchanged.
        drive: result of the drive.
    """

    course: str
    engine_class: int
    mirror: bool
    drive: Drive


def time_course(
    course: str, engine_class: int = 100, *, mirror: bool = False, laps: int | None = None
) -> Run:
    """Let `PurePursuit` drive one time trial: on Kartlab, or from a kept start.

    Args:
        course: name of a course, ``random:SEED`` or ``random:SEED:DIFFICULTY``.
        engine_class: 50, 100 or 150.
        mirror: exchange left and right.
        laps: number of laps; None is the course's own number, the only one from a kept start.

    Raises:
        ValueError: unknown course, or a value is out of range.
        StateError: no start of the race is kept.
    """
    arguments: dict[str, Any] = {"course": course}
    name, *numbers = course.split(":")
    if name == RANDOM_COURSE and numbers:
        try:
            arguments = {"course": name, "course_seed": int(numbers[0])}
            if len(numbers) > 1:
                arguments["difficulty"] = float(numbers[1])
        except ValueError:
            raise ValueError(
                f"course={shown(course)} is unknown: expected random:SEED or random:SEED:DIFFICULTY"
            ) from None
    env = MKDSEnv(**arguments, engine_class=engine_class, mirror=mirror, laps=laps)
    try:
        if env.starts.config.laps is not None:
            raise ValueError(
                f"laps={laps} has no effect here on {env.cartridge.title}: leave it out; the game "
                "drives its own laps"
            )
        env.reset()
        result = drive(env.console, PurePursuit(), course=env.course)
        return Run(course, engine_class, mirror, result)
    finally:
        env.close()


def dump(runs: Iterable[Run]) -> dict[str, Any]:
    """Return runs as the data that ``--json`` saves, see `load`."""
    return {"drivers": [asdict(run) for run in runs]}


def load(data: dict[str, Any]) -> list[Run]:
    """Return the runs from the result of `dump`."""
    return [
        Run(**{**row, "drive": Drive(**{**drive, "lap_times": tuple(drive["lap_times"])})})
        for row in data["drivers"]
        for drive in (row["drive"],)
    ]


def report(runs: Iterable[Run]) -> str:
    """Return a Markdown table of runs with a row per course and a column per class.

    Off-road distance, wall hits and respawns are sums over all classes.
    """
    rows: dict[str, list[Run]] = {}
    for run in runs:
        rows.setdefault(run.course + (", mirrored" if run.mirror else ""), []).append(run)
    classes = sorted({run.engine_class for row in rows.values() for run in row})
    head = [
        "course",
        "laps",
        *(f"{engine_class} cc" for engine_class in classes),
        "best lap",
        "off the road",
        "wall hits",
        "respawns",
    ]
    lines = [head, ["---", "---:", *("---:" for _ in classes), *4 * ["---:"]]]
    for name, row in rows.items():
        by_class = {run.engine_class: run.drive for run in row}
        drives = list(by_class.values())
        laps = [lap for drive in drives for lap in drive.lap_times]
        lines.append(
            [
                f"`{name}`",
                str(max(drive.laps for drive in drives)),
                *(_result(by_class.get(engine_class)) for engine_class in classes),
                _time(min(laps)) if laps else "-",
                f"{sum(drive.offroad for drive in drives):.0f}",
                str(sum(drive.wall_hits for drive in drives)),
                str(sum(drive.respawns for drive in drives)),
            ]
        )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _result(drive: Drive | None) -> str:
    if drive is None:
        return "-"
    return _time(drive.time) if drive.finished else f"not finished ({drive.progress:.2f} laps)"


def _time(seconds: float) -> str:
    return f"{int(seconds // 60)}:{seconds % 60:06.3f}"


def _run_one(job: tuple[str, int], *, mirror: bool, laps: int | None) -> Run:
    return time_course(job[0], job[1], mirror=mirror, laps=laps)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: command-line arguments; None takes those of the process.

    Returns:
        0; 1 if a race was not finished or could not be driven.
    """
    parser = ArgumentParser(
        prog="python -m mkds_gym.drivers",
        description="Let the scripted driver drive time trials and print its times. They depend "
        "only on the cartridge.",
    )
    parser.add_argument(
        "--courses",
        nargs="+",
        metavar="NAME",
        help="names, random:SEED or random:SEED:DIFFICULTY (default: all of Kartlab; on your own "
        "cartridge, those of kept time trials)",
    )
    parser.add_argument(
        "--classes",
        nargs="+",
        type=int,
        choices=tuple(CLASSES),
        help="engine classes in cc (default: all; on your own cartridge, those of kept starts)",
    )
    parser.add_argument("--laps", type=int, help="1 to 9 (default: each course's own number)")
    parser.add_argument("--mirror", action="store_true", help="exchange left and right")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="save all numbers to a file")
    options = parser.parse_args(arguments)
    if options.workers < 1:
        parser.error(f"--workers {options.workers} is out of range: expected at least 1")
    if options.json is not None and (problem := why_unwritable(options.json)):
        parser.error(f"--json {options.json}: {problem}")
    try:
        jobs = _jobs(options.courses, options.classes, options.mirror)
        runs = _run_all(
            jobs,
            partial(_run_one, mirror=options.mirror, laps=options.laps),
            min(options.workers, len(jobs)),
        )
        print_line(report(runs))
        if options.json is not None:
            result = {"date": date.today().isoformat(), **dump(runs)}
            write_bytes(options.json, (json.dumps(result, indent=1) + "\n").encode())
    except (MKDSError, ValueError, TypeError, OSError) as error:
        print_error(f"{parser.prog}: error: {error}")
        return 1
    return 0 if all(run.drive.finished for run in runs) else 1


def _jobs(
    courses: Sequence[str] | None, classes: Sequence[int] | None, mirror: bool
) -> list[tuple[str, int]]:
    """Return the course and class of each race, those of kept starts on an own cartridge.

    Raises:
        CartridgeError: the cartridge cannot be used.
        StateError: no start of a race is kept.
    """
    cartridge = Cartridge.open()
    if cartridge.boot_parameters:
        names = list(courses or cartridge.course_names())
        return [(name, engine_class) for name in names for engine_class in classes or CLASSES]
    kept = [
        (start.course, start.engine_class)
        for start in kept_starts(cartridge.sha1)
        if start.mode == "time_trial"
        and start.mirror == mirror
        and start.engine_class in (classes or CLASSES)
    ]
    known = dict.fromkeys(course for course, _ in kept)
    missing = [name for name in courses or () if name not in known]
    if missing or not known:
        wanted = f"course {shown(missing[0])}" if missing else cartridge.title
        options = "" if classes is None else f" --classes {' '.join(map(str, classes))}"
        options += " --mirror" * mirror
        raise StateError(
            f"no time trial of {wanted} is kept{' for' * bool(options)}{options} (kept: "
            f"{', '.join(known) or 'none'}): press K on the grid in `python -m mkds_gym.play`, or "
            "run `python -m mkds_gym.starts import STATE`"
        )
    names = list(courses or known)
    return list(dict.fromkeys(race for name in names for race in kept if race[0] == name))


def _run_all(
    jobs: Sequence[tuple[str, int]], run: Callable[[tuple[str, int]], Run], workers: int
) -> list[Run]:
    if workers == 1:
        return [run(job) for job in jobs]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context) as pool:
        return list(pool.map(run, jobs))
