"""MKDS-v0 on the bundled cartridge, in the real emulator."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from cartridge_under_test import needs_checkpoint_fields
from gymnasium.utils.env_checker import check_env, data_equivalence

import mkds_gym
from mkds_gym.emulator.console import SCREENS, Console
from mkds_gym.emulator.hardware import RAM_START
from mkds_gym.env import MKDSEnv
from mkds_gym.errors import CartridgeError, ConsoleError, StateError
from mkds_gym.race.memory import read_pointer
from mkds_gym.race.memory_layout import MemoryLayout
from mkds_gym.race.names import COURSES

OBS_TYPES: list[Any] = ["sensors", "dict", "pixels", "ram", "rays:9", ["seed6", "kinematics"]]
ACTION_TYPES = ["discrete", "discrete_items", "keys", "threshold", "threshold:2", "keymask"]


class Flat:
    """A sensor with a space that does not fit into a vector."""

    name = "flat"
    labels = ("flat",)
    space = gym.spaces.Discrete(2)

    def read(self, state: Any, course: Any) -> int:
        return 0


def ended_by(env: MKDSEnv, info: Mapping[str, Any]) -> list[str]:
    return [name for name, over in zip(env.event_names, info["events"], strict=True) if over]


# The contract of Gymnasium ----------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        *({"action_type": a, "obs_type": o} for a, o in zip(ACTION_TYPES, OBS_TYPES, strict=True)),
        {"mode": "vs", "opponents": 7, "items": True, "render_mode": "rgb_array"},
        *(
            pytest.param({"render_mode": "rgb_array", "screens": each}, marks=pytest.mark.slow)
            for each in SCREENS
        ),
        pytest.param({"course_set": "train", "difficulty": 0.2}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_check_env_passes_without_a_warning(
    arguments: dict[str, Any], make_env: Callable[..., MKDSEnv]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make_env(**arguments), skip_render_check="render_mode" not in arguments)


def test_spaces_are_known_before_the_console_starts(make_env: Callable[..., MKDSEnv]) -> None:
    env = make_env()
    assert env.observation_space.shape == (6,)
    with pytest.raises(ConsoleError, match="reset"):
        _ = env.console


def test_pickle_keeps_the_arguments(make_env: Callable[..., MKDSEnv]) -> None:
    env = make_env(frame_skip=7, action_type="threshold:2", truncate_on="clock:99")
    env.reset()
    again = pickle.loads(pickle.dumps(env))
    try:
        assert again.frame_skip == 7
        assert again.action_space == env.action_space
        again.reset()
    finally:
        again.close()


def test_copied_environment_says_how_an_episode_is_carried_over(
    make_env: Callable[..., MKDSEnv],
) -> None:
    env = make_env()
    env.reset()
    for again in (copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        with pytest.raises(gym.error.ResetNeeded, match="clone_state"):
            again.step(0)


@pytest.mark.parametrize(("frame_skip", "rate"), [(1, 60), (4, 15), (60, 1)])
def test_render_fps_is_an_integer_beside_the_exact_rate(
    make_env: Callable[..., MKDSEnv], frame_skip: int, rate: int
) -> None:
    env = make_env(frame_skip=frame_skip)
    assert type(env.metadata["render_fps"]) is int
    assert env.metadata["render_fps"] == rate
    assert env.steps_per_second == pytest.approx(59.8261 / frame_skip, abs=1e-4)


# Cloned states ------------------------------------------------------------------------------


def test_cloned_states_are_equal_if_console_and_episode_are(
    make_env: Callable[..., MKDSEnv],
) -> None:
    env = make_env()
    env.reset(seed=1)
    for action in (0, 1, 0, 2):
        env.step(action)
    state, same = env.clone_state(), env.clone_state()
    env.step(0)
    later = env.clone_state()
    env.restore_state(state)
    restored, pickled = env.clone_state(), pickle.loads(pickle.dumps(state))
    assert state == same == restored == pickled
    assert len({state, same, restored, pickled, later}) == 2
    assert state != later
    assert state != "state"
    other = make_env(frame_skip=2)
    other.reset(seed=1)
    for action in (0, 1, 0, 2):
        other.step(action)
        other.step(action)
    assert other.clone_state() != state  # its arguments differ


def test_cloned_states_differ_if_only_the_episode_does(make_env: Callable[..., MKDSEnv]) -> None:
    env = make_env()
    env.reset(seed=1)
    state = env.clone_state()
    env.np_random.random()
    assert env.clone_state() != state


# The info -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kwargs", [{}, {"course_set": "train"}, {"mode": "vs", "opponents": 3}])
def test_info_has_a_fixed_form(make_env: Callable[..., MKDSEnv], kwargs: dict[str, Any]) -> None:
    env = make_env(truncate_on="clock:20", **kwargs)
    infos = [env.reset(seed=1)[1]]
    while not env.episode_over:
        infos.append(env.step(0)[-1])
    infos.append(env.reset()[1])
    forms = [
        {key: (np.asarray(value).dtype, np.shape(value)) for key, value in info.items()}
        for info in infos
    ]
    assert all(form == forms[0] for form in forms)
    assert {dtype for dtype, _ in forms[0].values()} == {np.dtype(t) for t in "dl?"}
    assert forms[0]["lap_times"][1] == (5,)
    assert forms[0]["events"][1] == (2,)
    assert all(isinstance(value, np.generic | np.ndarray) for value in infos[0].values())
    assert (infos[0]["course_seed"] == -1) == ("course_set" not in kwargs)
    assert ended_by(env, infos[-2]) == ["clock"]


def test_full_info_has_the_same_facts_in_words(make_env: Callable[..., MKDSEnv]) -> None:
    envs = [make_env(truncate_on="clock:20", info_type=form) for form in ("numeric", "full")]
    infos = [env.reset(seed=1)[1] for env in envs]
    while not envs[0].episode_over:
        infos = [env.step(0)[-1] for env in envs]
        numeric, full = infos
        assert full == envs[0].full_info() == envs[1].full_info()
    metrics = {key: value for key, value in numeric.items() if key.startswith("metric_")}
    assert {f"metric_{name}": value for name, value in full["metrics"].items()} == metrics
    assert full["events"] == ("clock",)
    assert full["course"] == "mario_course" == COURSES[int(numeric["course"])]
    assert full["course_seed"] is None
    assert (full["lap_times"], full["total_time"]) == ((), 0.0)
    assert numeric["total_time"] == -1
    for key in ("progress", "lap", "checkpoint", "frame", "place", "drivers", "is_success"):
        assert numeric[key] == full[key]


@pytest.mark.parametrize("mode", ["sync", "async", "vector_entry_point"])
def test_vector_infos_are_arrays_of_numbers(mode: str) -> None:
    envs = gym.make_vec("MKDS-v0", num_envs=2, vectorization_mode=mode, truncate_on="clock:20")
    try:
        _, infos = envs.reset(seed=1)
        for _ in range(8):
            assert not [key for key, value in infos.items() if value.dtype.kind not in "fib"]
            assert infos["is_success"].dtype == np.bool_
            assert infos["events"].shape == (2, 2)
            *_, infos = envs.step(np.zeros(2, np.int64))
    finally:
        envs.close()


# What an episode is -------------------------------------------------------------------------


def test_driving_earns_reward_and_standing_does_not(
    make_env: Callable[..., MKDSEnv],
) -> None:
    env = make_env()
    _, info = env.reset()
    assert (info["lap_times"] == -1).all()
    forward = sum(env.step(0)[1] for _ in range(50))
    assert forward > 1.0
    env.reset()
    assert abs(sum(env.step(5)[1] for _ in range(20))) < 0.05


def test_rewards_add_up_to_the_score(make_env: Callable[..., MKDSEnv]) -> None:
    def progress(metrics: Mapping[str, float]) -> float:
        return metrics["progress"]

    env = make_env(reward=progress)
    _, info = env.reset()
    start = info["metric_progress"]
    total = 0.0
    for _ in range(60):
        _, reward, _, _, info = env.step(0)
        total += reward
    assert total == pytest.approx(info["metric_progress"] - start)
    assert total > 100.0


def test_standing_kart_truncates_as_stuck(make_env: Callable[..., MKDSEnv]) -> None:
    env = make_env(truncate_on=["stuck:60"])
    env.reset()
    for steps in range(1, 60):  # noqa: B007
        _, _, terminated, truncated, info = env.step(5)
        if truncated:
            break
    assert truncated
    assert not terminated
    assert ended_by(env, info) == ["stuck"]
    assert 14 <= steps <= 17
    with pytest.raises(gym.error.ResetNeeded):
        env.step(0)


def test_clock_event_counts_frames(make_env: Callable[..., MKDSEnv]) -> None:
    env = make_env(truncate_on="clock:100", frame_skip=4)
    _, info = env.reset()
    while not info["events"].any():
        _, _, _, truncated, info = env.step(0)
    assert truncated
    assert ended_by(env, info) == ["clock"]
    assert 100 <= info["frame"] < 108


def test_race_of_one_lap_terminates_at_the_finish(make_env: Callable[..., MKDSEnv]) -> None:
    env = make_env(laps=1, course="mario_course", obs_type="checkpoints", truncate_on="clock:4000")
    observation, info = env.reset()
    assert env.race.course_id == 25
    sine = env.observation_labels.index("checkpoint_2_sin")
    while not info["events"].any():
        turn = observation[sine]
        observation, _, _, _, info = env.step(1 if turn > 0.08 else 2 if turn < -0.08 else 0)
    assert ended_by(env, info) == ["finish"]
    assert (info["lap_times"] >= 0).sum() == 1


def test_savestate_starts_this_and_later_episodes(
    make_env: Callable[..., MKDSEnv], tmp_path: Path
) -> None:
    env = make_env()
    env.reset()
    for _ in range(60):
        env.step(0)
    path = tmp_path / "later.state"
    env.console.save_state(path)
    there = env.race.position
    other = make_env(state=path)
    other.reset()
    assert other.race.position == pytest.approx(there, abs=20.0)
    _, info = env.reset(options={"state": path})
    assert info["frame"] > 200
    _, info = env.reset()
    assert info["frame"] > 200


def test_pixels_show_the_race(make_env: Callable[..., MKDSEnv]) -> None:
    env = make_env(obs_type="pixels", screens="both")
    first, _ = env.reset()
    assert first.shape == (384, 256, 3)
    assert len(np.unique(first.reshape(-1, 3), axis=0)) > 20
    for _ in range(20):
        later = env.step(0)[0]
    assert not np.array_equal(first, later)
    again, _ = env.reset()
    assert np.array_equal(first, again)


def test_info_every_step_false_empties_infos_between_the_ends(
    make_env: Callable[..., MKDSEnv],
) -> None:
    env = make_env(info_every_step=False, truncate_on="clock:40")
    _, info = env.reset()
    assert info["metric_distance"] == 0
    infos = []
    while not infos or not infos[-1]:
        infos.append(env.step(0)[4])
    assert ended_by(env, infos[-1]) == ["clock"]
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
        ({"obs_type": []}, ValueError, "obs_type is empty"),
        ({"sensors": ["seed6", "seed6"]}, ValueError, "twice"),
        ({"sensors": [3]}, TypeError, "not a sensor"),
        ({"obs_type": "pixels", "sensors": "seed6"}, ValueError, "takes no sensors"),
        ({"action_type": "discret"}, ValueError, "discrete"),
        ({"action_type": "threshold:12"}, ValueError, "1 to 11"),
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
        ({"truncate_on": [4]}, TypeError, "expected a name .finish"),
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
def test_bad_argument_is_refused(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        MKDSEnv(**arguments)


def test_one_metric_may_be_given_without_a_list() -> None:
    assert set(MKDSEnv(metrics="progress", reward="progress").collect_metrics()) == {
        "progress",
        "progress_laps",
    }


def test_failed_reset_ends_the_episode_and_keeps_the_start(
    make_env: Callable[..., MKDSEnv], tmp_path: Path
) -> None:
    env = make_env()
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


def test_state_without_a_course_is_refused(
    make_env: Callable[..., MKDSEnv], tmp_path: Path
) -> None:
    env = make_env()
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


def test_reader_reads_the_race_config(make_env: Callable[..., MKDSEnv]) -> None:
    env = make_env(laps=2)
    env.reset()
    config = env.reader.read_config()
    assert (config["course_id"], config["mode"], config["engine_class"]) == (25, 1, 1)
    assert config["lap_override"] == 2


@needs_checkpoint_fields
def test_checkpoint_outside_the_course_is_tolerated(
    make_env: Callable[..., MKDSEnv],
) -> None:
    env = make_env(obs_type="dict", truncate_on="clock:100000")
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


def test_unknown_reset_option_is_refused(make_env: Callable[..., MKDSEnv]) -> None:
    env = make_env()
    with pytest.raises(ValueError, match="expected state, course_seed, progress"):
        env.reset(options={"lap": 2})


def test_frame_skip_set_later_equals_the_argument(make_env: Callable[..., MKDSEnv]) -> None:
    given, changed = (make_env(frame_skip=skip, render_mode="rgb_array") for skip in (9, 4))
    changed.reset(seed=0)
    given.reset(seed=0)
    changed.frame_skip = 9
    for _ in range(3):
        assert data_equivalence(changed.step(0)[4], given.step(0)[4], exact=True)
    assert np.array_equal(changed.render(), given.render())
    assert changed.metadata == given.metadata
    with pytest.raises(ValueError, match="frame_skip=0"):
        changed.frame_skip = 0
    changed.step(0)


@pytest.mark.parametrize("state", ["no_such.state", b"nonsense"])
def test_bad_state_option_does_not_end_the_episode(
    make_env: Callable[..., MKDSEnv], state: Any
) -> None:
    env = make_env()
    env.reset(seed=0)
    with pytest.raises(StateError):
        env.reset(options={"state": state})
    env.step(0)


def test_step_before_reset_is_refused(make_env: Callable[..., MKDSEnv]) -> None:
    with pytest.raises(gym.error.ResetNeeded):
        make_env().step(0)


def test_bad_rom_in_the_environment_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.nds"
    bad.write_bytes(b"not a cartridge")
    monkeypatch.setenv("MKDS_ROM", str(bad))
    with pytest.raises(CartridgeError, match="MKDS_ROM"):
        MKDSEnv()


def test_package_has_a_version() -> None:
    assert mkds_gym.__version__ != "0+unknown"
