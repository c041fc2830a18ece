"""Which race an episode is: courses, random courses, opponents and seeds."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.env import MKDSEnv
from mkds_gym.episodes.race_config import RaceArguments, RaceConfig
from mkds_gym.episodes.start_manager import COURSES_KEPT
from mkds_gym.errors import CartridgeError
from mkds_gym.kartlab.generator import TEST_SEEDS, TRAIN_SEEDS
from mkds_gym.race.names import course_id
from mkds_gym.recording import Recorder, Recording


def steps(env: MKDSEnv, count: int = 40) -> list[bytes]:
    """Return the observations of steps with the accelerator held."""
    return [np.asarray(env.step(0)[0]).tobytes() for _ in range(count)]


# Race arguments ---------------------------------------------------------------------


def test_engine_class_and_laps_reach_the_race(make_env: Callable[..., MKDSEnv]) -> None:
    speeds = []
    for engine_class in (50, 100, 150):
        env = make_env(engine_class=engine_class, laps=2)
        env.reset()
        config = env.reader.read_config()
        assert (config["engine_class"], config["lap_override"]) == (engine_class // 50 - 1, 2)
        steps(env)
        speeds.append(env.race.speed)
        env.close()
    assert speeds == sorted(speeds)
    assert speeds[2] > speeds[0] + 0.5


def test_mirror_exchanges_left_and_right(make_env: Callable[..., MKDSEnv]) -> None:
    plain, mirrored = make_env(), make_env(mirror=True)
    for env in (plain, mirrored):
        env.reset()
    assert mirrored.race.position[0] == pytest.approx(-plain.race.position[0], abs=0.01)
    assert mirrored.race.position[1:] == pytest.approx(plain.race.position[1:], abs=0.01)
    bends = [env.course.track.curvature_at(1000.0) for env in (plain, mirrored)]
    assert bends[0] == pytest.approx(-bends[1], rel=0.01)
    left, right = plain, mirrored
    for _ in range(20):
        left.step(1)
        right.step(2)
    assert right.race.heading == pytest.approx(-left.race.heading, abs=0.01)


def test_vs_race_has_opponents_that_drive(make_env: Callable[..., MKDSEnv]) -> None:
    env = make_env(mode="vs", opponents=3, opponent_strength="hard")
    _, info = env.reset(seed=1)
    assert (info["place"], info["drivers"]) == (4, 4)
    assert (info["course"], info["course_seed"]) == (course_id("mario_course"), -1)
    for _ in range(60):
        _, _, _, _, info = env.step(5)  # coasting: left behind
    assert info["place"] == 4
    objects = [thing for thing in env.reader.read_objects() if thing.kind == "driver"]
    assert len(objects) == 4


def test_time_trial_has_one_kart(make_env: Callable[..., MKDSEnv]) -> None:
    env = make_env()
    _, info = env.reset()
    assert (info["place"], info["drivers"]) == (1, 1)


# Seeds ---------------------------------------------------------------------------------


def race_seed(env: MKDSEnv) -> int:
    return int(env.reader.read_config()["rng_seed"])


def test_vs_race_depends_on_the_seed(make_env: Callable[..., MKDSEnv]) -> None:
    env = make_env(mode="vs", opponents=2)
    env.reset(seed=3)
    first, seen = race_seed(env), steps(env)
    env.reset()
    assert race_seed(env) != first
    env.reset(seed=3)
    assert race_seed(env) == first
    assert steps(env) == seen
    memory = env.console.ram.copy()
    other = make_env(mode="vs", opponents=2)
    other.reset(seed=3)
    assert steps(other) == seen
    assert np.array_equal(other.console.ram, memory)


def test_time_trial_draws_nothing(make_env: Callable[..., MKDSEnv]) -> None:
    env = make_env()
    env.reset(seed=3)
    before = env.np_random.bit_generator.state
    first = race_seed(env)
    env.reset()
    assert env.np_random.bit_generator.state == before
    env.reset(seed=4)
    assert race_seed(env) == first


def test_savestate_keeps_its_race_seed(make_env: Callable[..., MKDSEnv], tmp_path: Path) -> None:
    env = make_env(mode="vs", opponents=1)
    env.reset(seed=3)
    first = race_seed(env)
    path = tmp_path / "vs.state"
    env.console.save_state(path)
    env.reset(seed=9, options={"state": path})
    assert race_seed(env) == first
    other = make_env(state=path)
    _, info = other.reset(seed=10)
    assert race_seed(other) == first
    assert info["drivers"] == 2


# Random courses ---------------------------------------------------------------------------


def test_course_seed_chooses_the_course(make_env: Callable[..., MKDSEnv]) -> None:
    one, two = make_env(course="random", course_seed=3), make_env(course="random", course_seed=4)
    _, info = one.reset(seed=1)
    assert info["course_seed"] == 3
    assert one.full_info()["course"] == "random"
    two.reset()
    assert one.course.fingerprint != two.course.fingerprint
    first = one.course.fingerprint
    _, info = one.reset(seed=2)
    assert one.course.fingerprint == first
    # Another one for one episode, and back.
    _, info = one.reset(options={"course_seed": 4})
    assert info["course_seed"] == 4
    assert one.course.fingerprint == two.course.fingerprint
    assert steps(one) == steps(two)
    _, info = one.reset()
    assert info["course_seed"] == 3
    assert one.course.fingerprint == first


def test_difficulty_changes_a_course(make_env: Callable[..., MKDSEnv]) -> None:
    widths = []
    for difficulty in (0, 1.0):
        env = make_env(course="random", course_seed=3, difficulty=difficulty)
        env.reset()
        widths.append(env.course.fingerprint)
        env.close()
    assert widths[0] != widths[1]


def test_course_seed_0_is_not_drawn() -> None:
    arguments = RaceArguments(course="random", course_seed=0)
    races = RaceConfig(Cartridge.open(), arguments, has_state=False)
    assert races.draw_course_seed(np.random.default_rng(0)) == 0


def test_course_sets_are_disjoint() -> None:
    assert not set(TRAIN_SEEDS[:10_000]) & set(TEST_SEEDS[:10_000])
    for chosen, seeds in (("train", TRAIN_SEEDS), ("test", TEST_SEEDS)):
        races = RaceConfig(Cartridge.open(), RaceArguments(course_set=chosen), has_state=False)
        rng = np.random.default_rng(0)
        drawn = [races.draw_course_seed(rng) for _ in range(200)]
        assert all(seed in seeds for seed in drawn)
        assert len(set(drawn)) > 50
    alone = RaceConfig(Cartridge.open(), RaceArguments(course="random"), has_state=False)
    assert alone.draw_course_seed(np.random.default_rng(0)) in TRAIN_SEEDS


def test_every_reset_draws_a_course_and_the_seed_repeats_them(
    make_env: Callable[..., MKDSEnv],
) -> None:
    env = make_env(course_set="train")
    seeds, starts = [], []
    for episode in range(3):
        observation, info = env.reset(seed=5 if episode == 0 else None)
        seeds.append(info["course_seed"])
        starts.append(observation)
        seen = steps(env, 10)
    assert len(set(seeds)) == 3
    last = env.console.ram.copy()
    other = make_env(course_set="train")
    for episode in range(3):
        observation, info = other.reset(seed=5 if episode == 0 else None)
        assert info["course_seed"] == seeds[episode]
        assert np.array_equal(observation, starts[episode])
    assert steps(other, 10) == seen
    assert np.array_equal(other.console.ram, last)
    # A start that was kept is the same as one that was booted.
    env.reset(options={"course_seed": seeds[0]})
    env.reset(options={"course_seed": seeds[2]})
    assert steps(env, 10) == seen
    assert np.array_equal(env.console.ram, last)


def test_every_reset_draws_one_of_the_named_courses(
    make_env: Callable[..., MKDSEnv], tmp_path: Path
) -> None:
    courses = ["mario_course", "beach_course"]
    env = make_env(course_set=courses, info_type="full")
    recorder = Recorder(env)
    drawn = []
    for episode in range(6):
        drawn.append(env.reset(seed=3 if episode == 0 else None)[1]["course"])
        seen = steps(env, 4)
    assert set(drawn) == set(courses)
    alone = make_env(course=drawn[-1])
    alone.reset()
    assert steps(alone, 4) == seen
    recorder.recording().save(tmp_path / "a.mkr")
    start = Recording.load(tmp_path / "a.mkr").start
    assert start.race is not None
    assert (start.race["course"], start.race["course_set"]) == (drawn[-1], None)
    # A state of one course can be restored on another.
    state = env.clone_state()
    expected = steps(env, 4)
    while env.reset()[1]["course"] == drawn[-1]:
        pass
    env.restore_state(state)
    assert steps(env, 4) == expected
    again = make_env(course_set=courses, info_type="full")
    assert drawn == [again.reset(seed=3 if i == 0 else None)[1]["course"] for i in range(6)]


def test_most_recent_courses_are_kept(
    make_env: Callable[..., MKDSEnv], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert COURSES_KEPT >= 2
    monkeypatch.setattr("mkds_gym.episodes.start_manager.COURSES_KEPT", 2)
    env = make_env(course_set="train")
    for seed in (1, 2, 3, 2):
        _, info = env.reset(options={"course_seed": seed})
        assert info["course_seed"] == seed
    assert env.starts.courses_kept == (3, 2)
    env.close()
    assert not env.starts.courses_kept


# Gymnasium -----------------------------------------------------------------------------


def test_spec_and_pickle_keep_the_arguments() -> None:
    env = gym.make("MKDS-v0", course_set="test", engine_class=150, mode="vs", opponents=2)
    assert env.spec is not None
    assert env.spec.kwargs["course_set"] == "test"
    again = gym.make(env.spec)
    assert again.spec is not None
    assert again.spec.kwargs == env.spec.kwargs
    copied = pickle.loads(pickle.dumps(env.unwrapped))
    assert copied.starts.config.boot_parameters(None).drivers == 3
    for one in (env, again, copied):
        one.close()


# What bad input gets -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"course": "rainbow_course"},
            ValueError,
            r"not on the cartridge.*: expected one of .*mario_course",
        ),
        ({"course": "Mario"}, ValueError, r"cartridge \(did you mean 'mario_course'\?\): expected"),
        ({"course": "my_course.toml"}, ValueError, "kartlab compile. makes a cartridge"),
        (
            {"course": "random", "course_seed": -1},
            ValueError,
            "course_seed=-1 is out of range",
        ),
        ({"course": "random", "course_seed": 2.0}, TypeError, "not an integer"),
        ({"course_seed": 3}, ValueError, "course='random'"),
        ({"difficulty": 0.5}, ValueError, "course='random'"),
        ({"course": "random", "difficulty": 1.5}, ValueError, "0 to 1"),
        ({"course": "random", "difficulty": float("nan")}, ValueError, "0 to 1"),
        ({"course": "random", "difficulty": "hard"}, TypeError, "not a number"),
        ({"course_set": "validation"}, ValueError, "'train', 'test'"),
        ({"course_set": ["moon"]}, ValueError, "course_set='moon' is not on the cartridge"),
        ({"course_set": ["mario_course"], "course": "random"}, ValueError, "exclude each other"),
        ({"course_set": ["mario_course"], "difficulty": 0.1}, ValueError, "course='random'"),
        ({"mode": "grand_prix"}, ValueError, "expected one of 'time_trial', 'vs'"),
        ({"course_set": "train", "course": "mario_course"}, ValueError, "exclude"),
        ({"course_set": "train", "course_seed": 4}, ValueError, "exclude"),
        ({"engine_class": 60}, ValueError, "50, 100, 150"),
        ({"engine_class": float("nan")}, TypeError, "50, 100, 150"),
        ({"laps": 0}, ValueError, "1 to 9"),
        ({"laps": float("nan")}, TypeError, "1 to 9"),
        ({"engine_class": None}, TypeError, "50, 100, 150"),
        ({"engine_class": "150"}, TypeError, "50, 100, 150"),
        ({"mirror": 1}, TypeError, "True or False"),
        ({"mode": "battle"}, ValueError, "'time_trial', 'vs'"),
        ({"opponents": 3}, ValueError, "mode='vs'"),
        ({"mode": "vs", "opponents": 8}, ValueError, "0 to 7"),
        ({"mode": "vs", "opponents": True}, TypeError, "0 to 7"),
        ({"opponent_strength": "hard"}, ValueError, "mode='vs'"),
        ({"mode": "vs", "opponent_strength": "cruel"}, ValueError, "'easy', 'normal', 'hard'"),
        ({"items": True}, ValueError, "mode='vs'"),
        ({"items": "yes", "mode": "vs"}, TypeError, "True or False"),
        ({"mode": "vs", "state": b"some"}, ValueError, "exclude each other"),
        ({"engine_class": 150, "state": b"some"}, ValueError, "exclude each other"),
    ],
)
def test_bad_race_argument_is_refused(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        MKDSEnv(**arguments)


def test_bad_reset_options_are_refused(make_env: Callable[..., MKDSEnv]) -> None:
    plain = make_env()
    with pytest.raises(ValueError, match="random courses"):
        plain.reset(options={"course_seed": 3})
    env = make_env(course="random", course_seed=1)
    with pytest.raises(TypeError, match="not an integer"):
        env.reset(options={"course_seed": "three"})
    with pytest.raises(ValueError, match="expected an integer from 0 to"):
        env.reset(options={"course_seed": -3})
    with pytest.raises(ValueError, match="exclude each other"):
        env.reset(options={"course_seed": 3, "state": "x.state"})
    with pytest.raises(gym.error.ResetNeeded):
        env.step(0)


def test_race_arguments_are_refused_for_other_cartridges(tmp_path: Path) -> None:
    data = bytearray(Cartridge.open().path.read_bytes())
    data[0x0C:0x10] = b"AMCE"
    rom = tmp_path / "other.nds"
    rom.write_bytes(data)
    for arguments in ({"mode": "vs"}, {"course": "random"}, {"mirror": True}):
        with pytest.raises(ValueError, match="and state exclude each other"):
            MKDSEnv(rom=rom, state=b"some", **arguments)  # type: ignore[arg-type]
    rom.write_bytes(data[:100])
    with pytest.raises(CartridgeError):
        MKDSEnv(rom=rom, mode="vs")
