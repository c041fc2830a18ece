"""A Minari dataset has the observations, actions and rewards of recordings."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import minari
import numpy as np
import pytest
from recordings import drive, make, record

from mkds_gym.components.actions import ACTION_TYPES
from mkds_gym.emulator.console import Keys
from mkds_gym.errors import RecordingError
from mkds_gym.recording.format import Recording
from mkds_gym.recording.recorder import Recorder
from mkds_gym.replay.dsm import read_movie, write_movie
from mkds_gym.replay.minari import to_minari
from mkds_gym.replay.replay import Replay, environment, verify

pytestmark = pytest.mark.usefixtures("default_start")


@pytest.fixture(autouse=True)
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Datasets are written to a temporary folder."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def driven() -> tuple[Recording, list[Any]]:
    """A recording of 15 steps, and what the steps returned."""
    env = make()
    recorder = Recorder(env, label="driver 0")
    env.reset(seed=0)
    results = drive(env, 15)
    env.close()
    return recorder.recording(), results


@pytest.fixture(scope="module")
def recording(driven: tuple[Recording, list[Any]]) -> Recording:
    return driven[0]


def test_dataset_has_the_recorded_episodes(driven: tuple[Recording, list[Any]]) -> None:
    recording, results = driven
    recordings = [recording, record(6, seed=1, mode="vs", opponents=1)]
    kind = ACTION_TYPES.make("discrete")
    with pytest.warns(UserWarning, match="differ in mode, opponents: the dataset has no env"):
        made = to_minari(
            recordings, "mkds/test-v0", metadata={"author": "me", "description": "two"}
        )
    assert list(made.storage.metadata["author"]) == ["me"]
    assert made.storage.metadata["description"] == "two"
    assert (made.total_episodes, made.total_steps) == (2, 21)
    loaded = minari.load_dataset("mkds/test-v0")
    first, second = loaded.iterate_episodes()
    np.testing.assert_array_equal(first.observations[1:], [each[0] for each in results])
    np.testing.assert_allclose(first.rewards, [each[1] for each in results])
    keys = [kind.keys(action) for action in first.actions]
    np.testing.assert_array_equal(keys, recording.keys[3::4])
    assert loaded.action_space == gym.spaces.Discrete(11)
    assert first.truncations.tolist() == [False] * 14 + [True]
    assert len(second.actions) == 6
    with pytest.raises(RecordingError, match="exists"):
        to_minari(recordings, "mkds/test-v0")
    with pytest.raises(ValueError, match="env_spec is None"):
        loaded.recover_environment()


@pytest.mark.parametrize("dataset_id", ["mkds", "mkds/laps", "../x-v0", "/x-v0", "a b-v0", "", 5])
def test_bad_dataset_id_is_refused_and_deletes_nothing(
    recording: Recording, dataset_id: Any, datasets: Path
) -> None:
    kept = datasets / "mkds" / "others-v0" / "data"
    kept.parent.mkdir(parents=True)
    kept.write_text("x")
    with pytest.raises(ValueError, match=r"dataset_id=.* is malformed: expected .*mkds/laps-v0"):
        to_minari([recording], dataset_id)
    assert kept.read_text() == "x"
    with pytest.raises(RecordingError, match="already exists"):
        to_minari([recording], "mkds/others-v0")
    assert kept.read_text() == "x"


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"title": "races"}, "metadata has an unknown key 'title': expected author"),
        ({"author": 5}, r"metadata is wrong \(author"),
        ({"description": ["x"]}, r"metadata is wrong \(description"),
        ({"ref_min_score": math.nan, "ref_max_score": 1.0}, r"metadata is wrong \(ref_min_score"),
        ({"requirements": "numpy"}, r"metadata is wrong \(requirements"),
        ({"ref_max_score": 1.0}, "pass both or neither"),
    ],
)
def test_bad_metadata_is_refused(
    recording: Recording, metadata: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        to_minari([recording], "mkds/test-v0", metadata=metadata)


def test_dataset_recovers_its_environment() -> None:
    recording = record(6, mode="vs", opponents=1, engine_class=150, frame_skip=2)
    to_minari([recording] * 2, "mkds/race-v0", obs_type="pixels", action_type="keys")
    dataset = minari.load_dataset("mkds/race-v0")
    env = dataset.recover_environment()
    assert env.unwrapped.frame_skip == 2
    assert env.observation_space == dataset.observation_space
    assert env.action_space == dataset.action_space == gym.spaces.MultiBinary(11)
    observation, info = env.reset(seed=0)
    assert info["drivers"] == 2
    episode = dataset[1]
    assert episode.observations.shape == (7, *observation.shape)
    kind = ACTION_TYPES.make("keys")
    assert [kind.keys(each) for each in episode.actions] == recording.keys[3::2].tolist()
    env.close()


def test_recovered_environment_has_the_arguments_of_the_recordings() -> None:
    arguments: dict[str, Any] = {
        "obs_type": "dict",
        "sensors": ["rays:5", "kinematics"],
        "frame_skip": 6,
        "action_type": "discrete_items",
        "reward": "progress",
        "metrics": ["progress", "lap_times"],
        "terminate_on": ["clock:60"],
        "truncate_on": [],
        "engine_class": 50,
    }
    recordings = [record(40, seed, **arguments) for seed in range(2)]
    dataset = to_minari(recordings, "mkds/same-v0")
    env = dataset.recover_environment()
    assert dict(env.spec.kwargs) == {**arguments, "screens": "top"}
    assert dataset[0].terminations[-1]
    env.reset()
    for action, reward in zip(dataset[0].actions, dataset[0].rewards, strict=True):
        assert env.step(action)[1] == pytest.approx(reward)
    env.close()
    # An argument of the caller replaces that of the recordings.
    dataset = to_minari(recordings, "mkds/other-v0", obs_type="seed6", reward="driving")
    env = dataset.recover_environment()
    assert env.observation_space.shape == dataset[0].observations[0].shape == (6,)
    assert env.spec.kwargs["reward"] == "driving"
    env.close()


def test_arguments_in_which_recordings_differ_are_the_defaults() -> None:
    def pay(metrics: Any) -> float:
        return float(metrics["progress"])

    recordings = [
        record(3, obs_type="seed6", reward=pay),
        record(3, obs_type="kinematics", reward=pay),
    ]
    env = to_minari(recordings, "mkds/mixed-v0").recover_environment()
    assert not {"obs_type", "sensors", "reward"} & env.spec.kwargs.keys()
    assert env.observation_space.shape == (6,)
    env.close()


class Constant:
    """A custom sensor."""

    name = "constant"
    labels = ("constant",)
    space = gym.spaces.Box(0, 1, (1,), np.float32)

    def read(self, race: Any, course: Any) -> Any:
        return np.ones(1, np.float32)


def test_object_of_a_recording_is_noted_and_passed_again() -> None:
    made = record(3, obs_type=["seed6", Constant()])
    assert made.environment["obs_type"] == ["seed6", f"{__name__}:Constant"]
    with pytest.raises(
        ValueError, match=rf"obs_type='{__name__}:Constant', an object that .*again"
    ):
        to_minari([made], "mkds/object-v0")
    dataset = to_minari([made], "mkds/object-v0", obs_type=["seed6", Constant()])
    assert dataset[0].observations.shape == (4, 7)


def test_failed_recording_leaves_no_dataset(recording: Recording) -> None:
    bad = replace(recording, keys=np.ones_like(recording.keys))
    for recordings in ([recording, bad], [bad]):
        with pytest.raises(RecordingError, match="no race"):
            to_minari(recordings, "mkds/half-v0")
        assert "mkds/half-v0" not in minari.list_local_datasets()


def test_keys_without_an_action_need_the_action_type_keymask(recording: Recording) -> None:
    select = replace(recording, keys=recording.keys | np.uint16(Keys.SELECT), ram="")
    select.keys[:3] = 0
    with pytest.raises(ValueError, match=r"'keys' has no action that presses .*SELECT"):
        to_minari([select], "mkds/half-v0", action_type="keys")
    assert to_minari([select], "mkds/whole-v0").action_space == gym.spaces.Discrete(4096)


def test_dataset_from_a_savestate_recovers_its_start(tmp_path: Path) -> None:
    env = make()
    env.reset()
    drive(env, 20)
    state = tmp_path / "there.state"
    env.console.save_state(state)
    env.close()
    dataset = to_minari([record(5, state=state)], "mkds/state-v0")
    again = dataset.recover_environment()
    observation, info = again.reset()
    np.testing.assert_array_equal(observation, dataset[0].observations[0])
    assert info["frame"] > 80
    again.close()


def test_missing_minari_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(RecordingError, match=r"need minari.*mkds-gym\[minari\]"):
        to_minari([], "mkds/none-v0")


def test_movie_drives_an_environment(recording: Recording, tmp_path: Path) -> None:
    env, keys = environment(read_movie(write_movie(recording, tmp_path / "a.dsm")[0]))
    assert keys.tolist() == recording.keys[3::4].tolist()
    env.reset()
    for mask in keys.tolist():
        info = env.step(mask)[-1]
    assert info["progress"] == recording.result["progress"]
    env.close()
    with pytest.raises(RecordingError, match="frame_skip=1"):
        environment(recording, frame_skip=5)
    with pytest.raises(RecordingError, match="no race"):
        environment(replace(recording, keys=np.ones_like(recording.keys)))


def test_missing_recordings_are_refused() -> None:
    with pytest.raises(RecordingError, match="recordings is empty"):
        to_minari([], "mkds/none-v0")
    with pytest.raises(TypeError, match=r"'run\.mkr' is not a Recording: Recording\.load"):
        to_minari(["run.mkr"], "kartlab/none-v0")  # type: ignore[list-item]
    with pytest.raises(TypeError, match="is not a list"):
        to_minari("run.mkr", "kartlab/none-v0")  # type: ignore[arg-type]
    for driven in (Replay, verify, environment):
        with pytest.raises(TypeError, match=r"'run\.mkr' is not a Recording: Recording\.load"):
            driven("run.mkr")  # type: ignore[operator]
