"""Let a driver drive the race that a console is in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mkds_gym.components.metrics import collect_all, make_metrics, reset_all
from mkds_gym.course import Course
from mkds_gym.drivers.pure_pursuit import Driver
from mkds_gym.emulator.console import Console
from mkds_gym.race.memory_layout import MemoryLayout
from mkds_gym.race.reader import RaceReader
from mkds_gym.race.state import RaceState


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
    layout = MemoryLayout.detect(console.ram, console.cartridge.region)
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
