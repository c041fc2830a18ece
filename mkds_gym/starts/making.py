"""Make a kept start from a console that is on the grid of a race."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import numpy as np

from mkds_gym.course import Course
from mkds_gym.course.progress import race_reader
from mkds_gym.emulator.console import Console
from mkds_gym.emulator.states.state_file import pack_state
from mkds_gym.errors import CourseFormatError, NoRaceError, StateError
from mkds_gym.kartlab.boot import CLASSES
from mkds_gym.race.memory_layout import MemoryLayout
from mkds_gym.race.reader import RaceReader
from mkds_gym.race.state import RaceState
from mkds_gym.starts import library
from mkds_gym.starts.library import KeptStart
from mkds_gym.utils.arguments import shown

FRAMES_TO_GO: Final = 1200
"""Most frames from the grid to GO: 20 s."""
LATEST_FRAME: Final = 60
"""Last frame of the race clock that still counts as the start."""
_MODES: Final = {0: "grand_prix", 1: "time_trial", 3: "vs"}


def keep_start(console: Console) -> KeptStart:
    """Keep the start of the race on a console, at GO. The console stays where it is.

    Args:
        console: a console on the grid: in the countdown, or up to a second after GO.

    Returns:
        The kept start.

    Raises:
        StateError: there is no race, or the race is not at its start; or the start cannot be
            written.
    """
    if not isinstance(console, Console):
        raise TypeError(f"console={shown(console)} is not a Console")
    if console.cartridge.boot_parameters:
        raise StateError("Kartlab needs no kept start: pass course= and the like to gym.make")
    before = console.snapshot()
    try:
        start, state = make_start(console)
    finally:
        console.restore(before)
    return library.keep(start, state)


def make_start(console: Console) -> tuple[KeptStart, bytes]:
    """Run a console from the grid to GO; return the start there, and its savestate.

    Raises:
        StateError: there is no race, or the race is not at its start.
    """
    try:
        layout = MemoryLayout.detect(console.ram, console.cartridge.region)
        reader = race_reader(console.ram, layout)
        race = _run_to_go(console, reader)
        course = Course.from_ram(console.ram, reader.layout)
        config = reader.read_config()
        start = _describe(console, race, course, config)
    except (NoRaceError, CourseFormatError) as error:
        raise StateError(f"not in a race ({error}): drive to the grid of a race first") from error
    snapshot = console.snapshot()
    digest = hashlib.sha256(snapshot.data).hexdigest()
    return KeptStart(**{**start, "digest": digest}), pack_state(snapshot)


def laps_of_game(config: np.void, course: Course) -> int:
    """Return the laps after which the game ends a race; 0 if unknown.

    Args:
        config: the race config, dtype `mkds_gym.race.memory_layout.RACE_CONFIG`.
        course: the course of the race.
    """
    override = int(config["lap_override"])
    stage = course.nkm.stage
    return override if override > 0 else 0 if stage is None else int(stage["laps"])


def _run_to_go(console: Console, reader: RaceReader) -> RaceState:
    reader.resolve()
    race = reader.read()
    for _ in range(FRAMES_TO_GO):
        if not race.race_on:
            raise NoRaceError("no race scene runs")
        if race.controllable:
            break
        console.step(0, 1, draw=False)
        race = reader.read()
    if not race.controllable:
        raise StateError("no GO within 20 s: is the game paused, or the race over?")
    if race.finished or race.frame > LATEST_FRAME or race.lap > 1:
        raise StateError(
            f"after GO: the race is {race.total_time:.1f} s old; go back to the grid (in "
            "mkds_gym.play, R rewinds) and keep the start there"
        )
    return race


def _describe(console: Console, race: RaceState, course: Course, config: np.void) -> dict[str, Any]:
    mode = _MODES.get(int(config["mode"]))
    if mode is None:
        raise StateError(f"not in a race: the game plays mode {int(config['mode'])}")
    if race.course_name is None:
        raise StateError(f"the course has the unknown number {race.course_id}")
    classes = {number: name for name, number in CLASSES.items()}
    player = config["drivers"][0]
    return {
        "name": "",
        "rom": console.cartridge.sha1,
        "course": race.course_name,
        "mode": mode,
        "engine_class": classes.get(int(config["engine_class"]), 0),
        "mirror": bool(config["mirror"]),
        "character": int(player["character"]),
        "kart": int(player["kart"]),
        "drivers": race.driver_count,
        "laps": laps_of_game(config, course),
    }
