"""Drivers that are alone together on one console do what they do in races that they drive alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lone_races import DRIVERS, Together, drive_all_alone, drive_together

from mkds_gym.kartlab import COURSE_DIRECTORY
from mkds_gym.kartlab.generator import random_course_data
from mkds_gym.kartlab.host_drivers import NOBODY
from mkds_gym.race.names import course_id

RACES: list[dict[str, Any]] = [
    {"course": "mario_course", "laps": 3},
    {"course": "airship_course", "engine_class": 150, "mirror": True, "skip_countdown": False},
]
COURSES = sorted(path.stem for path in COURSE_DIRECTORY.glob("*.toml"))


def compare(parameters: dict[str, Any], frames: int, seed: int) -> None:
    """Compare eight races with the same races driven together."""
    race = {**parameters, "course": course_id(parameters["course"])}
    races = drive_all_alone(frames, seed, **race)
    together = Together(races, **race)
    drive_together(together, frames + frames // 2, seed)
    together.close()


@pytest.mark.parametrize("parameters", RACES, ids=lambda race: race["course"])
def test_drivers_together_race_as_each_alone(parameters: dict[str, Any]) -> None:
    compare(parameters, 330, seed=1)


def test_picture_of_a_driver_is_the_picture_of_its_lone_race() -> None:
    frames, shots = 150, (60, 149)
    race = {"course": course_id("donkey_course")}
    races = drive_all_alone(frames, 3, shots, **race)
    together = Together(races, **race)
    for shot in shots:
        # The picture of each driver, while the others stand three frames before it.
        while together.at[0][1] < shot - 3:
            together.step()
        for driver in range(DRIVERS):
            together.host.shown = driver
            for _ in range(3):
                together.step(held=0xFF & ~(1 << driver))
            assert together.at[driver] == (driver, shot)
            picture = together.field.console.colours("both")
            expected = races[driver].pictures[shot]
            assert np.array_equal(picture, expected), f"driver {driver}, frame {shot}"
        together.host.shown = NOBODY
    together.close()


@pytest.mark.slow
@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("engine_class", [50, 100, 150])
@pytest.mark.parametrize("course", COURSES)
def test_drivers_together_race_as_each_alone_on_all_courses(
    course: str, engine_class: int, mirror: bool
) -> None:
    seed = COURSES.index(course)
    race = {"course": course, "engine_class": engine_class, "mirror": mirror, "laps": 1}
    compare({**race, "skip_countdown": seed % 3 != 0}, 1200, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_drivers_together_race_as_each_alone_on_random_courses(seed: int) -> None:
    data = random_course_data(seed, seed / 11)
    compare({"course": "mario_course", "course_data": data, "laps": 1}, 1000, seed)
