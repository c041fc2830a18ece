"""The scripted driver gets round, helps itself, and repeats itself."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from mkds_gym.drivers.drive import Drive, drive
from mkds_gym.drivers.pure_pursuit import Driver, PurePursuit
from mkds_gym.drivers.timing import dump, load, main, report, time_course
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.console import Keys
from mkds_gym.emulator.hardware import RAM_START
from mkds_gym.env import MKDSEnv
from mkds_gym.race.memory import read_pointer
from mkds_gym.race.memory_layout import DRIVER, MemoryLayout
from mkds_gym.race.state import RaceState


@pytest.fixture
def make() -> Iterator[Callable[..., MKDSEnv]]:
    made: list[MKDSEnv] = []

    def build(**arguments: Any) -> MKDSEnv:
        env = gym.make("MKDS-v0", **arguments).unwrapped
        assert isinstance(env, MKDSEnv)
        made.append(env)
        env.reset(seed=0)
        return env

    yield build
    for env in made:
        env.close()


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


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("engine_class", [50, 150])
def test_driver_finishes_in_every_class_and_mirrored(engine_class: int, mirror: bool) -> None:
    run = time_course("mario_course", engine_class, mirror=mirror, laps=1)
    assert run.drive.finished
    assert run.drive.laps == 1
    assert run.drive.offroad == 0
    assert (run.drive.wall_hits, run.drive.respawns) == (0, 0)
    assert 15 < run.drive.time < 30


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


@pytest.mark.parametrize("course", ["random:3:0", "random:801", "random:5:1"])
def test_driver_finishes_random_courses(course: str) -> None:
    run = time_course(course, laps=1)
    assert run.drive.finished
    assert run.drive.respawns == 0


def test_driver_passes_opponents(make: Callable[..., MKDSEnv]) -> None:
    env = make(mode="vs", opponents=3, opponent_strength="easy", laps=2)
    result = drive(env.console, PurePursuit())
    assert result.finished
    assert result.place < 4  # where it stood on the grid


def test_driver_works_with_frame_skip(make: Callable[..., MKDSEnv]) -> None:
    """As an agent of the environment, asked once in four frames."""
    env = make(action_type="keymask", laps=1, frame_skip=4)
    driver = PurePursuit()
    info: dict[str, Any] = {"events": ()}
    while not info["events"]:
        info = env.step(driver.keys(env.race, env.course))[4]
    assert info["events"] == ("finish",)
    assert info["metrics"]["wall_hits"] == 0


def test_drive_is_deterministic(make: Callable[..., MKDSEnv]) -> None:
    env = make(laps=1)
    driver = PurePursuit()
    first = drive(env.console, driver, frames=500)
    env.reset()
    assert drive(env.console, driver, frames=500) == first
    env.reset()
    assert drive(env.console, PurePursuit(), frames=500, course=env.course) == first
    assert first.frames == 500
    assert not first.finished
    assert first.time == 0.0
    assert first.progress > 0.2


# Difficult situations ------------------------------------------------------------------------


def progress_of(env: MKDSEnv, driver: Driver, frames: int) -> float:
    start = env.course.track.laps(env.reader.read())
    return drive(env.console, driver, frames=frames).progress - start


@pytest.mark.parametrize("turned", [math.pi, 2.0, -2.0])
def test_driver_turns_around(make: Callable[..., MKDSEnv], turned: float) -> None:
    env = make()
    drive(env.console, PurePursuit(), frames=300)
    face(env, env.reader.read().heading + turned)
    assert progress_of(env, PurePursuit(), 600) > 0.2


def test_driver_backs_off_a_wall(make: Callable[..., MKDSEnv]) -> None:
    env = make()

    class Straight:
        """Drives straight on, whatever comes."""

        def reset(self) -> None:
            """Nothing to forget."""

        def keys(self, state: RaceState, course: object) -> int:
            return int(Keys.A)

    drive(env.console, PurePursuit(), frames=400)
    drive(env.console, Straight(), frames=400, watch=lambda state: state.touching_wall)
    state = env.reader.read()
    assert state.touching_wall
    # Nose to the wall, standing.
    x, _, z = state.position
    place = env.course.track.project(x, z, state.checkpoint)
    face(env, place.heading + math.copysign(math.pi / 2, place.lateral))
    assert progress_of(env, PurePursuit(), 900) > 0.2


def test_driver_continues_after_a_respawn(make: Callable[..., MKDSEnv]) -> None:
    env = make()
    drive(env.console, PurePursuit(), frames=200)
    kart(env)["position"][1] += 4096 * 3000  # so high that it counts as lost
    respawned: list[bool] = []

    def watch(state: RaceState) -> bool:
        respawned.append(state.respawning)
        return False

    before = env.course.track.laps(env.reader.read())
    result = drive(env.console, PurePursuit(), frames=1500, watch=watch)
    assert any(respawned)
    assert result.respawns >= 1
    assert result.progress > before + 0.2


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
    again = time_course("mario_course", 150, laps=1)
    assert again == runs[0]


def test_table_shows_unfinished_races() -> None:
    done = Drive(True, 100, 61.5, 1, (61.5,), 1.0, 10.0, 2, 1, 1)
    lost = Drive(False, 100, 0.0, 0, (), 0.25, 5.0, 1, 0, 1)
    from mkds_gym.drivers.timing import Run

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


def test_command_checks_the_output_file_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for words in (["--json", "nowhere/d.json"], ["--json", "."], ["--classes", "200"]):
        with pytest.raises(SystemExit) as left:
            main(words)
        assert left.value.code == 2
        assert words[0] in capsys.readouterr().err
