"""The scripted driver finishes races, recovers from trouble, and is deterministic."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mkds_gym.drivers.drive import Drive, drive
from mkds_gym.drivers.pure_pursuit import PurePursuit
from mkds_gym.drivers.timing import Run, dump, load, main, report, time_course
from mkds_gym.emulator import Cartridge, Keys, Snapshot
from mkds_gym.emulator.hardware import RAM_START
from mkds_gym.env import MKDSEnv
from mkds_gym.race.memory import read_pointer
from mkds_gym.race.memory_layout import DRIVER, MemoryLayout
from mkds_gym.race.state import RaceState

timed = functools.cache(time_course)
"""`time_course`, which drives each race once."""


@pytest.fixture(scope="module")
def driven() -> Iterator[tuple[MKDSEnv, Snapshot]]:
    """An environment and the state after 300 driven frames."""
    env = MKDSEnv()
    env.reset(seed=0)
    drive(env.console, PurePursuit(), frames=300)
    yield env, env.console.snapshot()
    env.close()


@pytest.fixture
def driving(driven: tuple[MKDSEnv, Snapshot]) -> MKDSEnv:
    env, snapshot = driven
    env.console.restore(snapshot)
    return env


def kart(env: MKDSEnv) -> Any:
    """The player's structure: live, and writable."""
    ram = env.console.ram
    address = read_pointer(
        ram, MemoryLayout.detect(ram).drivers_pointer, DRIVER.itemsize, "drivers"
    )
    return ram[address - RAM_START :][: DRIVER.itemsize].view(DRIVER)[0]


def face(env: MKDSEnv, heading: float) -> None:
    """Turn the kart, and let it stand."""
    body = kart(env)
    body["heading"] = np.int16((round(heading / math.tau * 65536) + 32768) % 65536 - 32768)
    body["velocity"] = 0


@pytest.mark.parametrize(
    ("engine_class", "mirror"),
    [
        (50, False),
        (150, True),
        pytest.param(50, True, marks=pytest.mark.slow),
        pytest.param(150, False, marks=pytest.mark.slow),
    ],
)
def test_driver_finishes_in_every_class_and_mirrored(engine_class: int, mirror: bool) -> None:
    run = timed("mario_course", engine_class, mirror=mirror, laps=1)
    assert run.drive.finished
    assert run.drive.laps == 1
    assert run.drive.offroad == 0
    assert (run.drive.wall_hits, run.drive.respawns) == (0, 0)
    assert 20 < run.drive.time < 45


@pytest.mark.slow
@pytest.mark.timeout(1800)  # 27 races: 100 s on an idle core
def test_driver_finishes_every_course_in_the_documented_time() -> None:
    runs = [
        time_course(course, engine_class)
        for course in Cartridge.open().course_names()
        for engine_class in (50, 100, 150)
    ]
    assert all(run.drive.finished for run in runs)
    page = Path(__file__).parents[1] / "docs" / "reference" / "kartlab.md"
    assert report(runs) in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "course", ["random:5:1", pytest.param("random:801", marks=pytest.mark.slow)]
)
def test_driver_finishes_random_courses(course: str) -> None:
    run = time_course(course, laps=1)
    assert run.drive.finished
    assert run.drive.respawns == 0


def test_driver_passes_opponents(make_env: Callable[..., MKDSEnv]) -> None:
    env = make_env(mode="vs", opponents=3, opponent_strength="easy", laps=1)
    env.reset(seed=0)
    result = drive(env.console, PurePursuit())
    assert result.finished
    assert result.place < 4  # its place on the grid


def test_driver_works_with_frame_skip(make_env: Callable[..., MKDSEnv]) -> None:
    env = make_env(action_type="keymask", laps=1, frame_skip=4)
    env.reset(seed=0)
    driver = PurePursuit()
    while not env.episode_over:
        info = env.step(driver.keys(env.race, env.course))[4]
    assert info["is_success"]
    assert info["metric_wall_hits"] == 0


def test_drive_is_deterministic(driving: MKDSEnv) -> None:
    driver = PurePursuit()
    driving.reset()
    first = drive(driving.console, driver, frames=300)
    driving.reset()
    assert drive(driving.console, driver, frames=300) == first
    driving.reset()
    assert drive(driving.console, PurePursuit(), frames=300, course=driving.course) == first
    assert first.frames == 300
    assert not first.finished
    assert first.time == 0.0
    assert first.progress > 0.08


# Difficult situations ------------------------------------------------------------------------


def assert_continues(env: MKDSEnv, frames: int) -> Drive:
    """Check that the driver drives a fifth of a lap within so many frames."""
    laps = env.course.track.laps
    goal = laps(env.reader.read()) + 0.2
    result = drive(
        env.console,
        PurePursuit(),
        frames=frames,
        watch=lambda state: laps(state) > goal and not state.respawning,
    )
    assert result.progress > goal
    return result


@pytest.mark.parametrize("turned", [math.pi, 2.0, -2.0])
def test_driver_turns_around(driving: MKDSEnv, turned: float) -> None:
    face(driving, driving.reader.read().heading + turned)
    assert_continues(driving, 1000)


def test_driver_backs_off_a_wall(driving: MKDSEnv) -> None:
    class Straight:
        """Drives straight on."""

        def reset(self) -> None:
            """This driver has no memory."""

        def keys(self, state: RaceState, course: object) -> int:
            return int(Keys.A)

    drive(driving.console, PurePursuit(), frames=100)
    drive(driving.console, Straight(), frames=600, watch=lambda state: state.touching_wall)
    state = driving.reader.read()
    assert state.touching_wall
    x, _, z = state.position
    place = driving.course.track.project(x, z, state.checkpoint)
    face(driving, place.heading + math.copysign(math.pi / 2, place.lateral))  # to the wall
    assert_continues(driving, 1400)


def test_driver_continues_after_a_respawn(driving: MKDSEnv) -> None:
    kart(driving)["position"][1] += 4096 * 3000  # so high that the game respawns the kart
    assert assert_continues(driving, 2000).respawns >= 1


def test_pace_out_of_range_is_refused() -> None:
    for pace in (0.0, -1.0, 5.0, math.nan):
        with pytest.raises(ValueError, match=r"0\.1 to 3"):
            PurePursuit(pace)


# The table ----------------------------------------------------------------------------------


def test_command_prints_a_table_and_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "drivers.json"
    words = ["--courses", "mario_course", "--classes", "150", "--laps", "1", "--workers", "1"]
    assert main([*words, "--json", str(path)]) == 0
    shown = capsys.readouterr().out
    runs = load(json.loads(path.read_text()))
    assert [run.course for run in runs] == ["mario_course"]
    assert shown.strip() == report(runs)
    assert dump(runs) == dump(load(dump(runs)))
    assert runs == [timed("mario_course", 150, mirror=False, laps=1)]


def test_table_shows_unfinished_races() -> None:
    done = Drive(True, 100, 61.5, 1, (61.5,), 1.0, 10.0, 2, 1, 1)
    lost = Drive(False, 100, 0.0, 0, (), 0.25, 5.0, 1, 0, 1)
    text = report([Run("a", 50, False, done), Run("a", 100, False, lost), Run("b", 50, True, done)])
    assert "| `a` | 1 | 1:01.500 | not finished (0.25 laps) | 1:01.500 | 15 | 3 | 1 |" in text
    assert "| `b, mirrored` | 1 | 1:01.500 | - | 1:01.500 | 10 | 2 | 1 |" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--courses", "moo_moo"], "mario_course"),
        (["--courses", "random:x"], "random:SEED"),
        (["--courses", "random:3:7"], "0 to 1"),
        (["--laps", "12", "--courses", "mario_course"], "1 to 9"),
    ],
)
def test_command_refuses_unknown_courses(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--workers", "1"]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("python -m mkds_gym.drivers: error: ")
    assert captured.out == ""


@pytest.mark.parametrize("words", ["--json nowhere/d.json", "--json .", "--classes 200"])
def test_argument_out_of_range_is_a_usage_error(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(words.split())
    assert exit_.value.code == 2
    assert words.split()[0] in capsys.readouterr().err
