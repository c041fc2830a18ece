"""Drivers that are alone together on one console do what they do in races that they drive alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from lone_races import (
    DRIVERS,
    PICTURE_FRAMES,
    Together,
    camera_bytes,
    drive_all_alone,
    drive_together,
)

from mkds_gym.kartlab import COURSE_DIRECTORY
from mkds_gym.kartlab.generator import random_course_data
from mkds_gym.kartlab.host_drivers import NOBODY
from mkds_gym.race.names import course_id

RACES: list[dict[str, Any]] = [
    {"course": "mario_course", "laps": 3},
    {"course": "airship_course", "engine_class": 150, "mirror": True, "skip_countdown": False},
]
PROFILE = 0x3FE040
FRAME_CYCLES = 560_190
"""Bus cycles of a frame on a real console."""
COURSES = sorted(path.stem for path in COURSE_DIRECTORY.glob("*.toml"))


def compare(parameters: dict[str, Any], frames: int, seed: int) -> None:
    """Compare eight races with the same races driven together."""
    race = {**parameters, "course": course_id(parameters["course"])}
    races = drive_all_alone(frames, seed, **race)
    together = Together(races, **race)
    drive_together(together, frames + frames // 2, seed)
    together.close()


@pytest.mark.parametrize(
    "parameters",
    [RACES[1], pytest.param(RACES[0], marks=pytest.mark.slow)],
    ids=lambda race: race["course"],
)
def test_drivers_together_race_as_each_alone(parameters: dict[str, Any]) -> None:
    compare(parameters, 290, seed=1)


def compare_pictures(parameters: dict[str, Any], shots: Sequence[int]) -> None:
    """Compare pictures of eight races with those of the same races driven together."""
    race = {**parameters, "course": course_id(parameters["course"])}
    races = drive_all_alone(max(shots), 3, shots, **race)
    together = Together(races, **race)
    for shot in shots:
        # The picture of each driver in turn, while the others stand still.
        while together.at[0][1] < shot - PICTURE_FRAMES:
            together.step()
        for driver in range(DRIVERS):
            together.host.shown = driver
            for _ in range(PICTURE_FRAMES):
                together.step(held=0xFF & ~(1 << driver), draw=True)
            assert together.at[driver] == (driver, shot)
            picture = together.field.console.colours("both")
            expected = races[driver].pictures[shot]
            assert np.array_equal(picture, expected), f"driver {driver}, frame {shot}"
            assert camera_bytes(together.field) == races[driver].cameras[shot]
        together.host.shown = NOBODY
    together.close()


def test_picture_of_a_driver_is_the_picture_of_its_lone_race() -> None:
    compare_pictures({"course": "donkey_course"}, (60, 149))


def test_state_of_a_driver_fits_another_console_with_the_same_race() -> None:
    races = drive_all_alone(60, 2)
    together = Together(races)
    for frame in range(40):
        together.step(save=0xFF if frame == 39 else 0)
    other = Together(races, drivers=3)
    assert other.start == together.start
    other.blocks.update(together.blocks)
    other.step(loads={0: (7, 40), 2: (5, 40)})
    for frame in range(15):
        other.step(save=0b101 if frame == 14 else 0)
    assert other.at == [(7, 56), (1, 16), (5, 56)]
    together.close()
    other.close()


def test_host_block_of_drivers_refuses_wrong_states() -> None:
    together = Together(drive_all_alone(5), drivers=2)
    with pytest.raises(ValueError, match=r"state has 3 bytes: expected \d+"):
        together.host.write_state(0, b"abc")
    host = together.host
    for driver in (-1, host.count):
        for call in (host.state, host.race_pieces, lambda n: host.write_state(n, host.state(0))):
            with pytest.raises(ValueError, match=f"driver={driver} is out of range"):
                call(driver)
    assert host.keys.shape == (host.count,)
    with pytest.raises(IndexError):
        host.keys[host.count] = 1
    together.close()


@pytest.mark.parametrize("course", ["donkey_course", "desert_course"])
def test_work_of_eight_drivers_fits_into_a_frame(course: str) -> None:
    """With a picture, and with a load and a save of every driver in every frame."""
    race = {"course": course_id(course), "engine_class": 150}
    races = drive_all_alone(160, 4, **race)
    together = Together(races, **race)
    together.field.ram[PROFILE : PROFILE + 4] = np.frombuffer(b"KLPR", np.uint8)
    for frame in range(100):
        together.host.shown = frame // 3 % DRIVERS
        kept = {driver: together.at[driver] for driver in range(DRIVERS)} if frame > 1 else {}
        together.step(save=0xFF, loads=kept)
    assert 0 < together.field.word(0x02000000 + PROFILE + 0x14) < FRAME_CYCLES
    together.close()


@pytest.mark.slow
@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("course", COURSES)
def test_drivers_together_race_as_each_alone_on_all_courses(course: str, mirror: bool) -> None:
    seed = COURSES.index(course)
    engine_class = (50, 100, 150)[(seed + mirror) % 3]
    race = {"course": course, "engine_class": engine_class, "mirror": mirror, "laps": 1}
    compare({**race, "skip_countdown": seed % 3 != 0}, 1200, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_drivers_together_race_as_each_alone_on_random_courses(seed: int) -> None:
    data = random_course_data(seed, seed / 11)
    compare({"course": "mario_course", "course_data": data, "laps": 1}, 1000, seed)


@pytest.mark.slow
@pytest.mark.parametrize(
    "parameters",
    [
        {"course": "mario_course", "laps": 1, "skip_countdown": False},
        {"course": "airship_course", "laps": 1, "engine_class": 150, "mirror": True},
        {"course": "snow_course", "laps": 1, "engine_class": 50},
    ],
    ids=lambda race: race["course"],
)
def test_pictures_of_drivers_from_the_countdown_to_the_finish(parameters: dict[str, Any]) -> None:
    compare_pictures(parameters, range(20, 1600, 23))
