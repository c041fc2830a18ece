"""MKDS-v0 as its users meet it: on the bundled cartridge, in the real emulator."""

from __future__ import annotations

import multiprocessing
import pickle
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import mkds_gym
from mkds_gym.emulator.console import Console
from mkds_gym.emulator.hardware import RAM_START
from mkds_gym.env import MKDSEnv
from mkds_gym.errors import CartridgeError, ConsoleError, StateError
from mkds_gym.race.memory import read_pointer
from mkds_gym.race.memory_layout import MemoryLayout

OBS_TYPES: list[Any] = ["sensors", "dict", "pixels", "ram", "rays:9", ["seed6", "kinematics"]]
ACTION_TYPES = ["discrete", "discrete_items", "keys", "threshold", "threshold:2", "keymask"]


class Flat:
    """A sensor whose space is none that can be put into a vector."""

    name = "flat"
    labels = ("flat",)
    space = gym.spaces.Discrete(2)

    def read(self, state: Any, course: Any) -> int:
        return 0


@pytest.fixture
def make() -> Iterator[Callable[..., MKDSEnv]]:
    made: list[gym.Env[Any, Any]] = []

    def build(**arguments: Any) -> MKDSEnv:
        env = gym.make("MKDS-v0", **arguments)
        made.append(env)
        unwrapped = env.unwrapped
        assert isinstance(unwrapped, MKDSEnv)
        return unwrapped

    yield build
    for env in made:
        env.close()


def drive(env: gym.Env[Any, Any], steps: int, seed: int) -> list[Any]:
    """Observation, reward and flags of each step under a seeded random driver."""
    rng = np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed)
    seen: list[Any] = [np.asarray(observation).tobytes()]
    for _ in range(steps):
        action = int(rng.integers(0, 5))
        observation, reward, terminated, truncated, info = env.step(action)
        seen.append((np.asarray(observation).tobytes(), reward, terminated, truncated))
        seen.append(sorted(info["metrics"].items()))
        if terminated or truncated:
            break
    return seen


# The contract of Gymnasium ----------------------------------------------------------------


@pytest.mark.parametrize("action_type", ACTION_TYPES)
def test_check_env_passes_without_a_warning_for_every_action_type(action_type: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make("MKDS-v0", action_type=action_type).unwrapped)


@pytest.mark.parametrize("obs_type", OBS_TYPES)
def test_check_env_passes_without_a_warning_for_every_obs_type(obs_type: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make("MKDS-v0", obs_type=obs_type).unwrapped)


@pytest.mark.parametrize("screens", ["top", "bottom", "both"])
def test_check_env_passes_when_rendering(screens: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make("MKDS-v0", render_mode="rgb_array", screens=screens).unwrapped
        check_env(env)


def test_spaces_are_known_without_starting_the_emulator(make: Callable[..., MKDSEnv]) -> None:
    env = make()
    assert env.observation_space.shape == (6,)
    with pytest.raises(ConsoleError, match="reset"):
        _ = env.console


def test_pickle_keeps_the_arguments(make: Callable[..., MKDSEnv]) -> None:
    env = make(frame_skip=7, action_type="threshold:2", truncate_on="clock:99")
    env.reset()
    again = pickle.loads(pickle.dumps(env))
    try:
        assert again.frame_skip == 7
        assert again.action_space == env.action_space
        again.reset()
    finally:
        again.close()


# Exactness -----------------------------------------------------------------------------


def test_an_episode_repeats_exactly_after_reset(make: Callable[..., MKDSEnv]) -> None:
    env = make()
    first = drive(env, 120, seed=3)
    ram = zlib.crc32(env.console.ram.tobytes())
    second = drive(env, 120, seed=3)
    assert first == second
    assert zlib.crc32(env.console.ram.tobytes()) == ram
    assert drive(env, 120, seed=4) != first


def _drive_in_child(queue: Any, arguments: dict[str, Any]) -> None:
    import mkds_gym  # noqa: F401

    env = gym.make("MKDS-v0", **arguments)
    seen = drive(env, 60, seed=5)
    console = env.unwrapped.console  # type: ignore[attr-defined]
    queue.put((seen, zlib.crc32(console.ram.tobytes())))
    env.close()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_another_process_drives_the_same_race(make: Callable[..., MKDSEnv], method: str) -> None:
    env = make()
    here = drive(env, 60, seed=5)
    ram = zlib.crc32(env.console.ram.tobytes())
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_drive_in_child, args=(queue, {}))
    child.start()
    there, ram_there = queue.get(timeout=120)
    child.join(30)
    assert child.exitcode == 0
    assert there == here
    assert ram_there == ram


def test_drawing_changes_nothing_but_the_picture(make: Callable[..., MKDSEnv]) -> None:
    plain = make()
    drawn = make(render_mode="rgb_array")
    assert drive(plain, 60, seed=6) == drive(drawn, 60, seed=6)
    assert np.array_equal(plain.console.ram, drawn.console.ram)


# Vector environments -----------------------------------------------------------------------


@pytest.mark.parametrize("context", ["fork", "forkserver", "spawn"])
def test_async_vector_env_equals_sync(context: str) -> None:
    sync = gym.make_vec("MKDS-v0", num_envs=2, vectorization_mode="sync")
    both = gym.make_vec(
        "MKDS-v0",
        num_envs=2,
        vectorization_mode="async",
        vector_kwargs={"context": context},
    )
    try:
        one, _ = sync.reset(seed=1)
        two, _ = both.reset(seed=1)
        assert np.array_equal(one, two)
        rng = np.random.default_rng(0)
        for _ in range(25):
            actions = rng.integers(0, 5, 2)
            first = sync.step(actions)
            second = both.step(actions)
            for left, right in zip(first[:4], second[:4], strict=True):
                assert np.array_equal(left, right)
    finally:
        sync.close()
        both.close()


# What an episode is -------------------------------------------------------------------------


def test_driving_on_the_road_pays_and_standing_still_does_not(
    make: Callable[..., MKDSEnv],
) -> None:
    env = make()
    _, info = env.reset()
    assert info["lap_times"] == ()
    forward = sum(env.step(0)[1] for _ in range(50))
    assert forward > 1.0
    env.reset()
    assert abs(sum(env.step(5)[1] for _ in range(20))) < 0.05


def test_rewards_add_up_to_the_score(make: Callable[..., MKDSEnv]) -> None:
    def progress(metrics: Mapping[str, float]) -> float:
        return metrics["progress"]

    env = make(reward=progress)
    _, info = env.reset()
    start = info["metrics"]["progress"]
    total = 0.0
    for _ in range(60):
        _, reward, _, _, info = env.step(0)
        total += reward
    assert total == pytest.approx(info["metrics"]["progress"] - start)
    assert total > 100.0


def test_a_driver_that_stands_still_is_truncated_as_stuck(make: Callable[..., MKDSEnv]) -> None:
    env = make(truncate_on=["stuck:60"])
    env.reset()
    for steps in range(1, 60):  # noqa: B007
        _, _, terminated, truncated, info = env.step(5)
        if truncated:
            break
    assert truncated
    assert not terminated
    assert info["events"] == ("stuck",)
    assert 14 <= steps <= 17
    with pytest.raises(gym.error.ResetNeeded):
        env.step(0)


def test_the_clock_budget_is_in_frames(make: Callable[..., MKDSEnv]) -> None:
    env = make(truncate_on="clock:100", frame_skip=4)
    _, info = env.reset()
    while not info["events"]:
        _, _, _, truncated, info = env.step(0)
    assert truncated
    assert info["events"] == ("clock",)
    assert 100 <= info["frame"] < 108


def test_laps_and_course_choose_the_race(make: Callable[..., MKDSEnv]) -> None:
    env = make(laps=1, course="mario_course", obs_type="checkpoints", truncate_on="clock:4000")
    observation, info = env.reset()
    assert env.race.course_id == 25
    sine = env.observation_labels.index("checkpoint_2_sin")
    while not info["events"]:
        turn = observation[sine]
        observation, _, _, _, info = env.step(1 if turn > 0.08 else 2 if turn < -0.08 else 0)
    assert info["events"] == ("finish",)
    assert len(info["lap_times"]) == 1


def test_a_saved_state_starts_an_episode(make: Callable[..., MKDSEnv], tmp_path: Path) -> None:
    env = make()
    env.reset()
    for _ in range(60):
        env.step(0)
    path = tmp_path / "later.state"
    env.console.save_state(path)
    there = env.race.position
    other = make(state=path)
    other.reset()
    assert other.race.position == pytest.approx(there, abs=20.0)
    _, info = env.reset(options={"state": path})
    assert info["frame"] > 200
    _, info = env.reset()
    assert info["frame"] > 200


def test_pixels_show_the_race(make: Callable[..., MKDSEnv]) -> None:
    env = make(obs_type="pixels", screens="both")
    first, _ = env.reset()
    assert first.shape == (384, 256, 3)
    assert len(np.unique(first.reshape(-1, 3), axis=0)) > 20
    for _ in range(20):
        later = env.step(0)[0]
    assert not np.array_equal(first, later)
    again, _ = env.reset()
    assert np.array_equal(first, again)


def test_info_can_be_left_out_between_an_episodes_ends(make: Callable[..., MKDSEnv]) -> None:
    env = make(info_every_step=False, truncate_on="clock:40")
    _, info = env.reset()
    assert info["metrics"]
    infos = []
    while not infos or not infos[-1]:
        infos.append(env.step(0)[4])
    assert infos[-1]["events"] == ("clock",)
    assert infos[0] == {}


# What bad input gets -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"frame_skip": 0},
            ValueError,
            "expected an integer from 1 to 60",
        ),
        ({"frame_skip": 2.5}, TypeError, "not an integer"),
        ({"obs_type": "sensor"}, ValueError, "'sensors', 'dict', 'pixels', 'ram'"),
        ({"obs_type": ["sede6"]}, ValueError, "did you mean 'seed6'"),
        ({"obs_type": []}, ValueError, "choose from"),
        ({"sensors": ["seed6", "seed6"]}, ValueError, "twice"),
        ({"sensors": [3]}, TypeError, "no sensor"),
        ({"obs_type": "pixels", "sensors": "seed6"}, ValueError, "takes no sensors"),
        ({"action_type": "discret"}, ValueError, "discrete"),
        ({"action_type": "threshold:12"}, ValueError, "1..11"),
        ({"render_mode": "ansi"}, ValueError, "'rgb_array'"),
        ({"screens": "left"}, ValueError, "'top', 'bottom', 'both'"),
        ({"reward": "drivign"}, ValueError, "did you mean .driving"),
        ({"reward": 3}, TypeError, "not a reward"),
        ({"metrics": ["distance"], "reward": "driving"}, ValueError, "add it to metrics"),
        ({"metrics": ["distanz"]}, ValueError, "distance"),
        ({"metrics": 5}, TypeError, "metrics=5"),
        ({"obs_type": 5}, TypeError, "obs_type=5"),
        ({"obs_type": None}, TypeError, "'sensors', 'dict', 'pixels', 'ram'"),
        ({"sensors": 5}, TypeError, "sensors=5"),
        ({"action_type": 5}, TypeError, "discrete"),
        ({"terminate_on": None}, TypeError, "terminate_on=None"),
        ({"reward": lambda metrics: None}, TypeError, "metrics"),
        ({"reward": lambda metrics: float("nan")}, ValueError, "finite"),
        ({"info_every_step": "no"}, TypeError, "not a boolean"),
        ({"sensors": [Flat()]}, ValueError, "Box of one dimension"),
        ({"terminate_on": ["finished"]}, ValueError, "finish"),
        ({"truncate_on": [4]}, TypeError, "not an event"),
        ({"truncate_on": ["clock:-5"]}, ValueError, "clock"),
        ({"course": "moo_moo"}, ValueError, "mario_course"),
        ({"laps": 0}, ValueError, "laps"),
        ({"laps": 10}, ValueError, "laps"),
        ({"laps": "three"}, TypeError, "not an integer"),
        ({"rom": "no_such.nds"}, CartridgeError, "no_such.nds"),
        ({"state": "no_such.state"}, StateError, "no_such.state"),
        ({"state": b"nonsense"}, StateError, "savestate"),
    ],
)
def test_bad_arguments_are_refused_before_anything_starts(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        MKDSEnv(**arguments)


def test_one_name_is_as_good_as_a_list_of_one() -> None:
    assert set(MKDSEnv(metrics="progress", reward="progress").collect_metrics()) == {
        "progress",
        "progress_laps",
    }


def test_a_reset_that_fails_leaves_nothing_to_step(
    make: Callable[..., MKDSEnv], tmp_path: Path
) -> None:
    env = make()
    first, _ = env.reset()
    path = tmp_path / "no_race.state"
    with Console() as console:
        console.save_state(path)
    with pytest.raises(StateError, match="no running race"):
        env.reset(options={"state": path})
    with pytest.raises(gym.error.ResetNeeded):
        env.step(0)
    # The start before it is still in force.
    assert np.array_equal(env.reset()[0], first)
    assert env.step(0)[4]["frame"] > 0


def test_a_start_without_a_course_is_refused_and_forgotten(
    make: Callable[..., MKDSEnv], tmp_path: Path
) -> None:
    env = make()
    first, _ = env.reset()
    layout = MemoryLayout.detect(env.console.ram)
    ram = env.console.ram
    header = layout.collision_header - RAM_START
    kept = ram[header : header + 0x3C].copy()
    ram[header : header + 0x10] = 0xFF
    path = tmp_path / "no_course.state"
    env.console.save_state(path)
    ram[header : header + 0x3C] = kept
    with pytest.raises(StateError, match="no running race"):
        env.reset(options={"state": path})
    assert np.array_equal(env.reset()[0], first)


def test_the_config_says_which_race_is_driven(make: Callable[..., MKDSEnv]) -> None:
    env = make(laps=2)
    env.reset()
    config = env.reader.read_config()
    assert (config["course_id"], config["mode"], config["engine_class"]) == (25, 1, 1)
    assert config["lap_override"] == 2


def test_a_checkpoint_that_is_none_of_the_course_ends_nothing(
    make: Callable[..., MKDSEnv],
) -> None:
    env = make(obs_type="dict", truncate_on="clock:100000")
    env.reset()
    layout = MemoryLayout.detect(env.console.ram)
    for index in (0xFFFF, 39, 0):
        status = read_pointer(env.console.ram, layout.race_status_pointer, 0x528, "race status")
        at = status - RAM_START + 0x14 + 0x32
        env.console.ram[at : at + 2] = np.frombuffer(index.to_bytes(2, "little"), np.uint8)
        # One frame: the game itself will set it right again.
        race = env.reader.read()
        assert race.checkpoint == index
        observation = env.observation_builder.observe(env.console, race, env.course)
        assert env.observation_space.contains(observation)
        assert np.isfinite(env.course.track.laps(race))


def test_an_unknown_reset_option_is_refused(make: Callable[..., MKDSEnv]) -> None:
    env = make()
    with pytest.raises(ValueError, match="expected state, course_seed, progress"):
        env.reset(options={"lap": 2})


def test_a_frame_skip_that_is_set_is_as_one_that_was_given(make: Callable[..., MKDSEnv]) -> None:
    given, changed = (make(frame_skip=skip, render_mode="rgb_array") for skip in (9, 4))
    changed.reset(seed=0)
    given.reset(seed=0)
    changed.frame_skip = 9
    for _ in range(3):
        assert changed.step(0)[4] == given.step(0)[4]
    assert np.array_equal(changed.render(), given.render())
    assert changed.metadata == given.metadata
    with pytest.raises(ValueError, match="frame_skip=0"):
        changed.frame_skip = 0
    changed.step(0)


@pytest.mark.parametrize("state", ["no_such.state", b"nonsense"])
def test_a_state_that_is_none_ends_no_episode(make: Callable[..., MKDSEnv], state: Any) -> None:
    env = make()
    env.reset(seed=0)
    with pytest.raises(StateError):
        env.reset(options={"state": state})
    env.step(0)


def test_stepping_before_reset_is_refused(make: Callable[..., MKDSEnv]) -> None:
    with pytest.raises(gym.error.ResetNeeded):
        make().step(0)


def test_a_bad_rom_in_the_environment_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.nds"
    bad.write_bytes(b"not a cartridge")
    monkeypatch.setenv("MKDS_ROM", str(bad))
    with pytest.raises(CartridgeError, match="MKDS_ROM"):
        MKDSEnv()


def test_the_package_knows_its_version() -> None:
    assert mkds_gym.__version__ != "0+unknown"
