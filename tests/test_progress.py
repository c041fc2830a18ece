"""Progress computed from positions, as for the Korean release, against that in memory."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cartridge_under_test import LAYOUT, with_game_code
from gymnasium.utils.env_checker import data_equivalence
from kartlab_race import KartlabRace

from mkds_gym.course import Course
from mkds_gym.course.nkm import NO_SECTION
from mkds_gym.course.progress import RaceProgress, race_reader
from mkds_gym.drivers.pure_pursuit import PurePursuit
from mkds_gym.emulator.cartridge import BUNDLED_ROM
from mkds_gym.emulator.console import Keys
from mkds_gym.env import MKDSEnv
from mkds_gym.race.memory_layout import DRIVER_STATUS, FX32_SCALE, MemoryLayout
from mkds_gym.race.names import course_id
from mkds_gym.race.race_copy import STATUS_AT, RaceCopy
from mkds_gym.race.state import RaceState
from mkds_gym.recording.format import Start
from mkds_gym.recording.recorder import ConsoleRecorder
from mkds_gym.replay.replay import environment

EXACT = (
    *("checkpoint", "section", "lap", "highest_lap", "key_checkpoint", "last_key_checkpoint"),
    *("wrong_way", "finished", "place"),
)
FRACTIONS = ("checkpoint_progress", "lap_progress", "race_progress")

KeysOf = Callable[[int, RaceState, Course], int]


def laps() -> KeysOf:
    """The scripted driver."""
    driver = PurePursuit()
    return lambda _, race, course: driver.keys(race, course)


def branches() -> KeysOf:
    """The scripted driver, on the other path at each fork."""
    driver = PurePursuit()
    swapped: list[Course] = []

    def keys(_: int, race: RaceState, course: Course) -> int:
        if not swapped:
            sections = course.nkm.checkpoint_paths.copy()
            forks = sections["next"][:, 1] != NO_SECTION
            sections["next"][forks, :2] = sections["next"][forks, 1::-1]
            nkm = replace(course.nkm, checkpoint_paths=sections)
            swapped.append(Course("", course.kcl, nkm))
        return driver.keys(race, swapped[0])

    return keys


def backwards() -> KeysOf:
    """Turn round after some checkpoints, drive back across the start line, and on."""
    driver = PurePursuit()

    def keys(frame: int, race: RaceState, course: Course) -> int:
        if 400 < frame < 900:
            turning = frame < 510
            return int(Keys.A) | int(Keys.LEFT) * turning if frame < 700 else int(Keys.B)
        return driver.keys(race, course)

    return keys


def at_random(seed: int) -> KeysOf:
    """Keys at random: walls, respawns and the wrong way."""
    generator = random.Random(seed)
    choices = [int(Keys.A)] * 2 + [int(Keys.B), int(Keys.B) | int(Keys.LEFT)]
    choices += [int(Keys.A) | int(Keys.LEFT), int(Keys.A) | int(Keys.RIGHT)]
    held = 0

    def keys(frame: int, race: RaceState, course: Course) -> int:  # noqa: ARG001
        nonlocal held
        if frame % 60 == 0:
            held = generator.choice(choices)
        return held

    return keys


def scrambled(copied: RaceCopy, drivers: int) -> RaceCopy:
    """The copy, without the fields that the Korean release keeps elsewhere."""
    changed = bytearray(copied)
    first = DRIVER_STATUS.fields["flags"][1]  # type: ignore[index]
    for at in STATUS_AT[:drivers]:
        changed[at + first : at + 0x4C] = b"\xa5" * (0x4C - first)
        changed[at + 0x24 : at + 0x28] = b"\xa5" * 4
    return bytes(changed)


def compare(keys_of: KeysOf, frames: int, **race: Any) -> tuple[set[str], int]:
    """Compare computed values with those in memory, frame by frame.

    Returns:
        What was seen in the drive, and the number of compared rows.
    """
    env = MKDSEnv(**race)
    try:
        env.reset(seed=1)
        console, reader = env.console, env.reader
        assert env.starts.current is not None
        env.starts.current.restore(console)
        computed = RaceProgress(console.ram, reader.layout)
        state = reader.read()
        seen, rows = set(), 0
        for frame in range(frames):
            console.step(keys_of(frame, state, env.course), 1, draw=False)
            raw = reader.copy()
            state = RaceState(raw, 0)
            complete = computed.complete(scrambled(raw, state.driver_count))
            for driver in range(state.driver_count):
                told, own = RaceState(raw, driver), RaceState(complete, driver)
                for name in EXACT:
                    assert getattr(own, name) == getattr(told, name), (frame, driver, name)
                for name in FRACTIONS:
                    difference = getattr(own, name) - getattr(told, name)
                    assert abs(difference) <= FX32_SCALE, (frame, driver, name)
                rows += 1
            seen |= {"lap"} if state.lap > 1 else set()
            seen |= {"back"} if state.lap < state.highest_lap else set()
            seen |= {"branch"} if state.checkpoint not in env.course.track.main else set()
            for name in ("respawning", "wrong_way", "finished"):
                seen |= {name} if getattr(state, name) else set()
        return seen, rows
    finally:
        env.close()


@pytest.mark.parametrize(
    ("keys_of", "frames", "race", "seen"),
    [
        (backwards(), 800, {"course": "beach_course"}, {"wrong_way"}),
        (at_random(3), 700, {"course": "ridge_course", "mirror": True}, {"respawning"}),
    ],
    ids=["backwards", "respawns"],
)
def test_computed_progress_equals_that_in_memory(
    keys_of: KeysOf, frames: int, race: dict[str, Any], seen: set[str]
) -> None:
    found, _ = compare(keys_of, frames, **race)
    assert found >= seen


@pytest.mark.slow
@pytest.mark.parametrize("course", ["desert_course", "ridge_course", "beach_course"])
def test_computed_progress_equals_that_in_memory_on_each_course(course: str) -> None:
    seen, rows = set[str](), 0
    drives = [
        *((branches(), {"engine_class": 150, "laps": 2}), (backwards(), {}), (at_random(1), {})),
        *((at_random(2), {"mirror": True}), (laps(), {"mode": "vs", "items": True, "laps": 1})),
    ]
    for keys_of, race in drives:
        found, count = compare(keys_of, 3000, course=course, **race)
        seen, rows = seen | found, rows + count
    assert seen >= {"lap", "finished", "wrong_way"}
    assert ("branch" in seen) == (course == "desert_course")
    assert rows > 30_000


@pytest.mark.slow
def test_computed_progress_equals_that_in_memory_on_random_courses() -> None:
    seen = set[str]()
    for seed in range(6):
        for keys_of in (laps(), backwards(), at_random(seed)):
            race = {"course": "random", "course_seed": seed, "difficulty": 1.0}
            seen |= compare(keys_of, 1800, **race)[0]
    assert seen >= {"respawning", "wrong_way"}


# The environment --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def korean_rom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kartlab with the game code of its Korean release: its checkpoint fields are not read."""
    path = tmp_path_factory.mktemp("korea") / "kartlab.nds"
    path.write_bytes(with_game_code(BUNDLED_ROM.read_bytes(), "KLBK"))
    return path


ARGUMENTS: dict[str, Any] = {
    "course": "beach_course",
    "laps": 1,
    "engine_class": 150,
    "frame_skip": 8,
    "obs_type": "dict",
    "terminate_on": ("finish", "stuck"),
}


@pytest.fixture(scope="module")
def envs(korean_rom: Path) -> Iterator[tuple[MKDSEnv, MKDSEnv]]:
    """The Korean environment, and the one that reads all fields."""
    made = MKDSEnv(rom=korean_rom, **ARGUMENTS), MKDSEnv(**ARGUMENTS)
    yield made
    for env in made:
        env.close()


def drive(env: MKDSEnv, steps: int) -> list[Any]:
    """The results of steps of the scripted driver, until the episode is over."""
    driver, rows = PurePursuit(), []
    for _ in range(steps):
        keys = driver.keys(env.race, env.course)
        action = 1 if keys & Keys.LEFT else 2 if keys & Keys.RIGHT else 0
        rows.append(env.step(action))
        if env.episode_over:
            break
    return rows


def test_episodes_without_checkpoint_fields_are_the_same(envs: tuple[MKDSEnv, MKDSEnv]) -> None:
    _, plain = envs
    for options in (None, {"progress": 0.6}):
        starts = [env.reset(seed=1, options=options) for env in envs]
        rows = [drive(env, 60 if options is None else 400) for env in envs]
        assert data_equivalence([starts[0], *rows[0]], [starts[1], *rows[1]], exact=True)
    assert plain.collect_metrics()["laps"] == 1.0
    assert plain.episode_over


def test_restored_state_without_checkpoint_fields_goes_on_in_its_lap(
    envs: tuple[MKDSEnv, MKDSEnv],
) -> None:
    korean = envs[0]
    korean.reset(seed=1, options={"progress": 0.6})
    drive(korean, 20)
    state = pickle.loads(pickle.dumps(korean.clone_state()))
    expected = drive(korean, 400)
    assert korean.collect_metrics()["laps"] == 1.0
    korean.restore_state(state)
    assert data_equivalence(drive(korean, 400), expected, exact=True)
    korean.reset(options={"state": state})
    assert korean.race.lap == 1
    assert 0.6 < korean.race.lap_progress < 0.9


def test_progress_is_computed_wherever_a_korean_race_is_read(
    korean_rom: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A reader of the fields of other releases would log a warning."""
    with MKDSEnv(rom=korean_rom) as env:
        env.reset(seed=1)
        recorder = ConsoleRecorder(env.console, Start("power_on"))
        recorder.loaded()
        for frame in range(90):
            keys = 0 if frame < 30 else int(Keys.A)
            env.console.step(keys, 1, draw=False)
            recorder.step(keys)
        recording = recorder.recording()
    assert abs(recording.result["progress"]) < 0.1
    again, _ = environment(recording, rom=korean_rom, frame_skip=1)
    again.close()
    assert "unknown offsets" not in caplog.text


def test_reader_notices_the_countdown_of_another_race() -> None:
    person = KartlabRace.boot(course=course_id("beach_course"))
    other = KartlabRace.boot(course=course_id("desert_course"))
    try:
        korea = MemoryLayout.shifted(LAYOUT.shift, "Korea")
        ram = person.ram.copy()
        reader = race_reader(ram, korea)
        assert reader.read().checkpoint == person.reader.read().checkpoint
        ram[:] = other.ram
        assert reader.read().checkpoint == other.reader.read().checkpoint
    finally:
        person.close()
        other.close()


def test_reader_in_the_middle_of_a_race_finds_the_driver(envs: tuple[MKDSEnv, MKDSEnv]) -> None:
    env = envs[1]
    env.reset(seed=1, options={"progress": 0.6})
    korea = MemoryLayout.shifted(0, "Korea")
    found = race_reader(env.console.ram, korea).read()
    assert (found.checkpoint, found.lap, found.last_key_checkpoint) == (
        *(env.race.checkpoint, env.race.lap, env.race.last_key_checkpoint),
    )
