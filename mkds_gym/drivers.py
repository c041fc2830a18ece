"""Scripted drivers, and the times they take: ``python -m mkds_gym.drivers``.

`PurePursuit` knows the way round from the course's checkpoints and the kart from `RaceState`:
it aims at a point of the centre line ahead, brakes for the bends behind it, and helps itself
when it is stuck. It is meant to get round every course of every cartridge, and to be the time
that a learned driver has to beat.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from mkds_gym.cartridge import Cartridge
from mkds_gym.console import Console, Keys
from mkds_gym.course import Course, Track
from mkds_gym.env import MKDSEnv
from mkds_gym.errors import MKDSError
from mkds_gym.files import write_bytes
from mkds_gym.kartlab.boot import CLASSES
from mkds_gym.memory import OFFROAD_SURFACES, Layout
from mkds_gym.metrics import collect_all, make_metrics, reset_all
from mkds_gym.races import RANDOM_COURSE
from mkds_gym.state import RaceReader, RaceState

_A: Final = int(Keys.A)
_B: Final = int(Keys.B)
_LEFT: Final = int(Keys.LEFT)
_RIGHT: Final = int(Keys.RIGHT)
_L: Final = int(Keys.L)
_R: Final = int(Keys.R)

_SLIPPERY: Final = (1, 6)  # indices of memory.SURFACES
_NO_DRIFT: Final = OFFROAD_SURFACES | set(_SLIPPERY)

_T = TypeVar("_T")

_STEP: Final = 8.0
"""World units between two entries of a speed profile."""


class Driver(Protocol):
    """What drives: anything with these two methods."""

    def reset(self) -> None:
        """Forget the race before; called when another one starts."""

    def keys(self, state: RaceState, course: Course) -> int:
        """The keys to hold in the next frame (or frames), a mask of `mkds_gym.console.Keys`."""


@dataclass
class _Plan:
    """What a driver knows of a course before it drives.

    Attributes:
        speeds: how fast to be along each section's centre line, every `_STEP` units of progress
            from ``first``; world units per frame.
        bends: likewise, 1 where a drift to the left pays, -1 to the right, else 0.
        first: progress of a section's first entry.
        ends: progress at which each checkpoint's stretch ends; more than the lap's length when
            that is behind the start line.
        follows: the checkpoint after each, on the main way where the course forks.
    """

    track: Track
    speeds: list[list[float]] = field(default_factory=list)
    bends: list[list[int]] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    follows: list[int] = field(default_factory=list)


class PurePursuit:
    """Drives after a point on the centre line ahead.

    The further ahead the faster the kart; and never faster than the bends allow that come within
    the way it takes to brake. Long bends it drifts through, with left and right in turns, which
    charges the boost behind them. What it knows of karts are the few numbers here, so that it
    drives on any cartridge. It keeps what it has seen in the frames before: one object drives one
    kart, and `reset` starts anew.

    Args:
        pace: share of the speed that the bends are reckoned to allow; less is slower, and surer.
        drifts: whether to drift. Where R does nothing it stops trying.
        items: whether to use what it has, on straight stretches.
    """

    TURN_RATE: Final = 0.0275
    """Radians a frame that a kart turns with the wheel full over, at speed."""
    DRIFT_RATE: Final = 0.042
    """The same, drifting, ..."""
    DRIFT_LOSS: Final = 0.085
    """... less this share of it for each world unit per frame."""
    DRIFT_CURVATURE: Final = 1 / 330
    """1 / radius, world units, from which on a drift pays ..."""
    DRIFT_TURN: Final = 0.7
    """... if the bend turns the way by so many radians."""
    SLIPPERY_PACE: Final = 0.83
    """Share of a bend's speed that ice allows."""
    TAP_FRAMES: Final = 6
    """Frames for which a side is held in a drift, at least, for the boost."""
    ITEM_FRAMES: Final = 60
    """Frames between two uses of an item."""
    BRAKING: Final = 0.07
    """World units per frame that a kart gets slower in each frame of braking, to be sure of."""
    TOP_SPEED: Final = 12.0
    """World units per frame that no kart reaches."""

    def __init__(self, pace: float = 1.0, *, drifts: bool = True, items: bool = True) -> None:
        if not 0.1 <= pace <= 3.0:
            raise ValueError(f"pace={pace!r}; allowed: 0.1 to 3")
        self.pace = pace
        self.drifts = drifts
        self.items = items
        self._plan: _Plan | None = None
        self.reset()

    def reset(self) -> None:
        """Forget the race before."""
        self._heading = 0.0
        self._frame = -1
        self._passed = 1  # frames from the last look to this
        self._turning = 0.0
        self._slow = 0
        self._reverse = 0
        self._reversed = 0
        self._way = 0.0
        self._way_turning = 0.0
        self._drift = 0  # the side of the drift that is on, or tried
        self._drift_frames = 0
        self._tap = 0
        self._tap_frames = 0
        self._failed = 0
        self._rest = 0
        self._item_rest = self.ITEM_FRAMES

    def keys(self, state: RaceState, course: Course) -> int:
        """The keys for the next frame; some 20 microseconds.

        Args:
            state: the race now.
            course: the course it is on.

        Returns:
            A mask of `mkds_gym.console.Keys`.
        """
        track = course.track
        plan = self._plan
        if plan is None or plan.track is not track:
            plan = self._plan = self._make_plan(track)
        checkpoint = state.checkpoint
        if not 0 <= checkpoint < len(track) or state.finished:
            return 0
        x, _, z = state.position
        heading, speed = state.heading, state.speed
        self._see_turning(state, heading)
        if state.respawning or not state.controllable:
            self._slow = self._reverse = self._drift = 0
            return 0  # the wheels spin for who holds the throttle all the countdown

        place = track.project(x, z, checkpoint)
        ahead = 34.0 + 13.0 * abs(speed) + 0.6 * abs(place.lateral)
        s, at = self._forward(plan, place.s + ahead, checkpoint)
        tx, _, tz = track.point_at(s, at)
        bearing = _turn(math.atan2(tx - x, tz - z) - heading)

        if self._stuck(state, speed):
            # Back off, with the nose towards where the road goes.
            self._drift = 0
            return _B | (_RIGHT if bearing > 0 else _LEFT)

        distance = math.hypot(tx - x, tz - z)
        keys = self._drifting(state, plan, place.s, checkpoint, (tx - x, tz - z), distance)
        if keys:
            return keys
        wanted = 2.0 * max(speed, 1.0) * math.sin(max(-1.57, min(bearing, 1.57))) / distance
        steer = 0
        if abs(bearing) > 1.2:
            steer = _LEFT if bearing > 0 else _RIGHT
        elif state.on_floor or abs(bearing) > 0.1:
            difference = wanted - self._turning
            if difference > 0.004:
                steer = _LEFT
            elif difference < -0.004:
                steer = _RIGHT

        allowed = self._allowed(plan, place.s + 6.0 * max(speed, 0.0), checkpoint)
        if state.boosting:  # which may be quicker than the end of the bend
            allowed = min(allowed, self._allowed(plan, place.s, checkpoint))
        if state.surface in _SLIPPERY:
            allowed *= self.SLIPPERY_PACE
        if abs(bearing) > 1.0:
            allowed = min(allowed, 1.6)
        # A boost pushes without the throttle too.
        if speed > allowed + (0.05 if state.boosting else 0.25) and state.on_floor:
            return steer | _B
        if speed > allowed + 0.05 and state.on_floor:
            return steer
        beyond = self._allowed(plan, place.s + 60.0 * max(speed, 0.0), checkpoint)
        if self._item_pays(state, bearing, allowed, beyond):
            return steer | _A | _L
        return steer | _A

    def _item_pays(self, state: RaceState, bearing: float, allowed: float, beyond: float) -> bool:
        """Whether to use an item now, if there is one: a boost must find a straight road."""
        self._item_rest -= self._passed
        if (
            not self.items
            or self._item_rest > 0
            or state.boosting
            or not state.on_floor
            or abs(bearing) > 0.12
            or allowed < 1.4 * state.max_speed
            or beyond < 1.2 * state.max_speed
        ):
            return False
        self._item_rest = self.ITEM_FRAMES
        return True

    def _drifting(
        self,
        state: RaceState,
        plan: _Plan,
        s: float,
        checkpoint: int,
        target: tuple[float, float],
        distance: float,
    ) -> int:
        """The keys of a drift, or of the hop before it; 0 where there is nothing to drift."""
        self._rest = max(self._rest - self._passed, 0)
        side = self._drift
        speed = math.hypot(state.velocity[0], state.velocity[2])
        inwards, outwards = (_LEFT, _RIGHT) if side > 0 else (_RIGHT, _LEFT)
        # The way, and not the nose, is what has to go to the target.
        bearing = _turn(math.atan2(*target) - self._way)
        wanted = 2.0 * speed * math.sin(max(-1.57, min(bearing, 1.57))) / distance
        if not side:
            bend = self._bend(plan, s + 11.0 * speed, checkpoint)
            if (
                not bend
                or self._rest
                or not self.drifts
                or self._failed > 3
                or not state.on_floor
                or state.drifting
                or state.touching_wall
                or state.surface in _NO_DRIFT
                or speed < 0.65 * max(state.max_speed, 1.0)
                or abs(bearing) > 0.7
                or bend * bearing < -0.1
                or speed > self._allowed(plan, s + 14.0 * speed, checkpoint) + 0.3
            ):
                return 0
            self._drift, self._drift_frames = bend, 0
            self._tap, self._tap_frames = 1, 0
            # The hop: nothing is steered yet.
            return _A | _R
        self._drift_frames += self._passed
        if not state.drifting:
            if self._drift_frames < 26 and not (self._tap_frames and state.on_floor):
                return _A | _R | (inwards if self._drift_frames > 6 else 0)
            if self._tap_frames == 0:
                self._failed += 1
            self._drift, self._rest = 0, 30
            return 0
        self._failed = 0
        over = self._bend(plan, s + 4.0 * speed, checkpoint) != side
        if (over and side * wanted < 0.012) or side * wanted < -0.004:
            self._drift, self._rest = 0, 20
            return _A
        self._tap_frames += self._passed
        if self._tap_frames > self.TAP_FRAMES:
            tap = 1 if side * (wanted - self._way_turning) > 0 else -1
            if tap != self._tap:
                self._tap, self._tap_frames = tap, 1
        allowed = self._allowed(plan, s + 6.0 * speed, checkpoint)
        if state.boosting:
            allowed = min(allowed, self._allowed(plan, s, checkpoint))
        pedal = _B if speed > allowed + 0.5 else 0 if speed > allowed + 0.1 else _A
        return pedal | _R | (inwards if self._tap > 0 else outwards)

    @classmethod
    def _bend(cls, plan: _Plan, s: float, checkpoint: int) -> int:
        """Which drift pays there."""
        return cls._entry(plan, plan.bends, s, checkpoint)

    # Within -----------------------------------------------------------------------------

    def _see_turning(self, state: RaceState, heading: float) -> None:
        """How fast the kart turns, radians a frame: from the last look to this."""
        passed = state.frame - self._frame
        self._passed = passed if 0 < passed <= 60 else 1
        if 0 < passed <= 60:
            self._turning = _turn(heading - self._heading) / passed
        elif passed:
            self._turning = 0.0
        vx, _, vz = state.velocity
        way = math.atan2(vx, vz) if vx * vx + vz * vz > 0.25 else heading
        self._way_turning = _turn(way - self._way) / passed if 0 < passed <= 60 else 0.0
        self._way = way
        self._heading, self._frame = heading, state.frame

    def _stuck(self, state: RaceState, speed: float) -> bool:
        """Whether to go backwards now."""
        if self._reverse:
            self._reverse = max(self._reverse - self._passed, 0)
            if self._reverse == 0:
                self._slow = 0
            return self._reverse > 0
        if abs(speed) < 0.5 and state.on_floor:
            self._slow += self._passed
        elif speed > 1.0:
            self._slow = 0
            if speed > 2.5:
                self._reversed = 0
        if self._slow > 45:
            # Longer each time that it was not enough.
            self._reversed = min(self._reversed + 1, 4)
            self._reverse = 25 + 20 * self._reversed
            self._slow = 0
            return True
        return False

    @staticmethod
    def _forward(plan: _Plan, s: float, checkpoint: int) -> tuple[float, int]:
        """Progress within the lap, and the checkpoint, that a point further on belongs to."""
        track = plan.track
        for _ in range(len(plan.ends)):
            if s < plan.ends[checkpoint]:
                break
            following = plan.follows[checkpoint]
            if track.start_of(following) < track.start_of(checkpoint):
                s -= track.length
            checkpoint = following
        return s, checkpoint

    @classmethod
    def _allowed(cls, plan: _Plan, s: float, checkpoint: int) -> float:
        """How fast to be there."""
        return cls._entry(plan, plan.speeds, s, checkpoint)

    @classmethod
    def _entry(cls, plan: _Plan, rows: list[list[_T]], s: float, checkpoint: int) -> _T:
        """The entry of a profile that is for that place."""
        s, at = cls._forward(plan, s, checkpoint)
        section = plan.track.section(at)
        row = rows[section]
        index = int((s - plan.first[section]) / _STEP)
        return row[max(0, min(index, len(row) - 1))]

    def _make_plan(self, track: Track) -> _Plan:
        plan = _Plan(track)
        main = {track.section(index) for index in track.main}
        for index in range(len(track)):
            following = track.next(index)[0]
            end = track.start_of(following)
            plan.follows.append(following)
            plan.ends.append(end if end > track.start_of(index) else end + track.length)
        whole = self._profile(track, 0.0, track.length, None)
        sections = max((track.section(index) for index in range(len(track))), default=0) + 1
        rows: list[tuple[float, tuple[list[float], list[int]]]] = []
        for section in range(sections):
            members = [index for index in range(len(track)) if track.section(index) == section]
            if section in main or not members:
                rows.append((0.0, whole))
                continue
            begin, end = track.start_of(members[0]), plan.ends[members[-1]]
            rows.append((begin, self._profile(track, begin, end, members[0], whole[0])))
        if any(track.section(index) < 0 for index in range(len(track))):
            rows.append((0.0, whole))  # found as the last one, by -1
        plan.first = [first for first, _ in rows]
        plan.speeds = [speeds for _, (speeds, _) in rows]
        plan.bends = [bends for _, (_, bends) in rows]
        return plan

    def _profile(
        self,
        track: Track,
        begin: float,
        end: float,
        checkpoint: int | None,
        then: list[float] | None = None,
    ) -> tuple[list[float], list[int]]:
        """How fast to be along a stretch, to be able to brake in time; and where to drift."""
        count = max(1, math.ceil((end - begin) / _STEP))
        curvature = [track.curvature_at(begin + i * _STEP, checkpoint) for i in range(count)]
        bends = self._bends(curvature) if self.drifts else [0] * count
        speeds = []
        for bend, drift in zip(curvature, bends, strict=True):
            if drift:
                rate = self.DRIFT_RATE * self.pace
                speed = rate / (abs(bend) + rate * self.DRIFT_LOSS)
            else:
                speed = self.TURN_RATE * self.pace / max(abs(bend), 1e-6)
            speeds.append(min(self.TOP_SPEED, speed))
        after = speeds[0]
        if then is not None:
            after = then[int(end / _STEP) % len(then)]
        # Backwards, twice: what a closed line ends with depends on how it begins.
        for _ in range(2 if then is None else 1):
            for index in range(count - 1, -1, -1):
                after = min(speeds[index], math.sqrt(after * after + 2.0 * self.BRAKING * _STEP))
                speeds[index] = after
        return speeds, bends

    def _bends(self, curvature: list[float]) -> list[int]:
        """Where a drift pays: 1 to the left, -1 to the right, 0 nowhere."""
        found = [0] * len(curvature)
        start = 0
        while start < len(curvature):
            sign = 1 if curvature[start] > 0 else -1
            end = start
            while end < len(curvature) and sign * curvature[end] > self.DRIFT_CURVATURE:
                end += 1
            if sum(map(abs, curvature[start:end])) * _STEP > self.DRIFT_TURN:
                found[start:end] = [sign] * (end - start)
            start = max(end, start + 1)
        return found


def _turn(angle: float) -> float:
    """An angle as a turn of at most half a circle."""
    return math.remainder(angle, math.tau)


@dataclass(frozen=True)
class Drive:
    """How a drive went.

    Attributes:
        finished: whether the race was finished.
        frames: frames driven.
        time: seconds of the race, as the game rounds them; 0 if it was not finished.
        laps: laps finished.
        lap_times: seconds of each lap that was finished (the game keeps the first five).
        progress: laps driven, a float.
        offroad: world units driven off the road.
        wall_hits: how often the kart ran into a wall.
        respawns: how often it was put back on the course.
        place: 1 is the winner.
    """

    finished: bool
    frames: int
    time: float
    laps: int
    lap_times: tuple[float, ...]
    progress: float
    offroad: float
    wall_hits: int
    respawns: int
    place: int


def drive(
    console: Console,
    driver: Driver,
    *,
    frames: int = 30_000,
    course: Course | None = None,
    watch: Callable[[RaceState], object] | None = None,
) -> Drive:
    """Let a driver drive the race that a console is in, until it is finished.

    With an environment: ``env.reset()``, then ``drive(env.unwrapped.console, driver)``.

    Args:
        console: in a race (in its countdown at the earliest).
        driver: who drives; it is reset first.
        frames: how many at most.
        course: the course of the race, if it has been read; None reads it from memory.
        watch: called with the state after every frame; True from it ends the drive.

    Raises:
        NoRaceError: the console is in no race.
        CourseFormatError: memory holds no sound course.
    """
    layout = Layout.detect(console.ram, console.cartridge.region)
    reader = RaceReader(console.ram, layout)
    state = reader.read()
    if course is None:
        course = Course.from_ram(console.ram, layout)
    metrics = make_metrics(("offroad_dist", "wall_hits", "respawns"))
    reset_all(metrics)
    driver.reset()
    driven = 0
    for metric in metrics:
        metric.update(state, course)
    while driven < frames and not state.finished:
        console.step(driver.keys(state, course), 1, draw=False)
        state = reader.read()
        driven += 1
        for metric in metrics:
            metric.update(state, course)
        if watch is not None and watch(state):
            break
    values = collect_all(metrics)
    return Drive(
        finished=state.finished,
        frames=driven,
        time=state.total_time if state.finished else 0.0,
        laps=state.lap if state.finished else max(state.lap - 1, 0),
        lap_times=state.lap_times,
        progress=course.track.laps(state),
        offroad=values["offroad_dist"],
        wall_hits=int(values["wall_hits"]),
        respawns=int(values["respawns"]),
        place=state.place + 1,
    )


# The table ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One drive of the table.

    Attributes:
        course: name of the course; ``random:7`` is the random course of seed 7.
        engine_class: cc.
        mirror: whether it was mirrored.
        drive: how it went.
    """

    course: str
    engine_class: int
    mirror: bool
    drive: Drive


def time_course(
    course: str, engine_class: int = 100, *, mirror: bool = False, laps: int | None = None
) -> Run:
    """Let `PurePursuit` drive one race against the clock, on Kartlab.

    Args:
        course: name of a course, ``random:SEED`` or ``random:SEED:DIFFICULTY``.
        engine_class: 50, 100 or 150.
        mirror: left and right exchanged.
        laps: None is the course's own number.

    Raises:
        ValueError: there is no such course, or a value is out of range.
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
                f"course {course!r}: write random:SEED or random:SEED:DIFFICULTY"
            ) from None
    env = MKDSEnv(**arguments, engine_class=engine_class, mirror=mirror, laps=laps)
    try:
        env.reset()
        result = drive(env.console, PurePursuit(), course=env.course)
        return Run(course, engine_class, mirror, result)
    finally:
        env.close()


def dump(runs: Iterable[Run]) -> dict[str, Any]:
    """Runs as what ``--json`` writes; `load` reads it."""
    return {"drivers": [asdict(run) for run in runs]}


def load(data: dict[str, Any]) -> list[Run]:
    """The runs that `dump` gave."""
    return [
        Run(**{**row, "drive": Drive(**{**drive, "lap_times": tuple(drive["lap_times"])})})
        for row in data["drivers"]
        for drive in (row["drive"],)
    ]


def report(runs: Iterable[Run]) -> str:
    """A Markdown table of runs: a row a course, a column a class.

    Off-road distance, wall hits and respawns are those of all classes together.
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
        arguments: the words behind the command; None takes the process's own.

    Returns:
        0; 1 if a race was not finished, or could not be driven.
    """
    parser = argparse.ArgumentParser(
        prog="python -m mkds_gym.drivers",
        description="Let the scripted driver race against the clock and print its times. The same "
        "cartridge gives the same times.",
    )
    parser.add_argument(
        "--courses",
        nargs="+",
        metavar="NAME",
        help="names, random:SEED or random:SEED:DIFFICULTY; default: all of the cartridge",
    )
    parser.add_argument(
        "--classes", nargs="+", type=int, choices=tuple(CLASSES), default=tuple(CLASSES)
    )
    parser.add_argument("--laps", type=int, help="1 to 9; default: each course's own number")
    parser.add_argument("--mirror", action="store_true", help="exchange left and right")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers to a file")
    options = parser.parse_args(arguments)
    if options.workers < 1:
        parser.error(f"--workers {options.workers}: at least 1")
    if options.json is not None and (options.json.is_dir() or not options.json.parent.is_dir()):
        parser.error(f"--json {options.json}: is not a file in an existing directory")
    try:
        courses = options.courses or Cartridge.open().course_names()
        jobs = [(course, engine_class) for course in courses for engine_class in options.classes]
        runs = _run_all(
            jobs,
            partial(_run_one, mirror=options.mirror, laps=options.laps),
            min(options.workers, len(jobs)),
        )
        print(report(runs))
        if options.json is not None:
            result = {"date": date.today().isoformat(), **dump(runs)}
            write_bytes(options.json, (json.dumps(result, indent=1) + "\n").encode())
    except (MKDSError, ValueError, TypeError, OSError) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 1
    return 0 if all(run.drive.finished for run in runs) else 1


def _run_all(
    jobs: Sequence[tuple[str, int]], run: Callable[[tuple[str, int]], Run], workers: int
) -> list[Run]:
    if workers == 1:
        return [run(job) for job in jobs]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context) as pool:
        return list(pool.map(run, jobs))


if __name__ == "__main__":
    sys.exit(main())
