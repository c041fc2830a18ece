"""`drive`: let a driver drive the race of a console."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mkds_gym.components.metrics import collect_all, make_metrics, reset_all
from mkds_gym.course import Course
from mkds_gym.course.progress import race_reader
from mkds_gym.drivers.pure_pursuit import Driver
from mkds_gym.emulator.console import Console
from mkds_gym.race.memory_layout import MemoryLayout
from mkds_gym.race.state import RaceState


@dataclass(frozen=True)
class Drive:
    """The result of a drive.

    Attributes:
        finished: whether the race was finished.
        frames: frames driven.
        time: seconds of the race, as the game rounds them; 0 if not finished.
        laps: completed laps.
        lap_times: seconds of each completed lap (the game keeps the first five).
        progress: laps driven, as a float.
        offroad: world units driven off the road.
        wall_hits: number of wall contacts.
        respawns: number of respawns.
        place: final place, 1 is the winner.
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
    """Let a driver drive the race of a console until it is finished.

    With an environment: ``env.reset()``, then ``drive(env.unwrapped.console, driver)``.

    Args:
        console: a console in a race or its countdown.
        driver: the driver; it is reset first.
        frames: largest number of frames.
        course: the course of the race; None reads it from memory.
        watch: called with the race state after each frame; ends the drive by returning True.

    Raises:
        NoRaceError: the console is not in a race.
        CourseFormatError: the course in memory is damaged.
    """
    layout = MemoryLayout.detect(console.ram, console.cartridge.region)
    reader = race_reader(console.ram, layout)
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
