"""Recordings: exact, small, checked; and what is made of them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import mkds_gym  # noqa: F401
from mkds_gym.env import MKDSEnv
from mkds_gym.errors import RecordingError
from mkds_gym.recording import Recorder, Recording, memory_digest
from mkds_gym.replay import Replay, verify


def make(**arguments: Any) -> MKDSEnv:
    env = gym.make("MKDS-v0", **arguments).unwrapped
    assert isinstance(env, MKDSEnv)
    return env


def drive(env: MKDSEnv, steps: int, seed: int = 0) -> None:
    """Steps of chance, mostly forward."""
    chance = np.random.default_rng(seed)
    for _ in range(steps):
        action = int(chance.choice([0, 0, 0, 1, 2, 3, 4, 8]))
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            break


def record(steps: int = 60, seed: int = 0, **arguments: Any) -> Recording:
    env = make(**arguments)
    recorder = Recorder(env, label=f"driver {seed}")
    env.reset(seed=seed)
    drive(env, steps, seed)
    recording = recorder.recording()
    assert recording.ram == memory_digest(env.console)
    env.close()
    return recording


@pytest.fixture(scope="module")
def recording() -> Recording:
    return record()


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"frame_skip": 1, "engine_class": 150, "mirror": True},
        {"mode": "vs", "opponents": 3, "items": True},
        {"course": "random", "course_seed": 5, "difficulty": 0.3},
        {"course_set": "train"},
    ],
    ids=str,
)
def test_a_replay_ends_in_the_same_memory(arguments: dict[str, Any]) -> None:
    recording = record(40, seed=3, **arguments)
    again = Recording.from_bytes(recording.to_bytes())
    assert again.frames == 40 * arguments.get("frame_skip", 4) + 3
    verify(again)


def test_a_replay_that_goes_another_way_is_told(recording: Recording) -> None:
    keys = recording.keys.copy()
    keys[20] ^= 32
    with pytest.raises(RecordingError, match="another way"):
        verify(replace(recording, keys=keys))


def test_a_state_file_is_named_and_checked(tmp_path: Path) -> None:
    env = make()
    env.reset()
    drive(env, 30)
    file = tmp_path / "start.state"
    env.console.save_state(file)
    drive(env, 5)
    env.console.save_state(tmp_path / "other.state")
    env.close()
    recording = record(20, state=file)
    assert recording.start.path == str(file)
    assert len(recording.to_bytes()) < 2000
    verify(recording)
    file.rename(tmp_path / "moved.state")
    with pytest.raises(RecordingError, match=r"no state .*start\.state"):
        verify(recording)
    verify(recording, state=tmp_path / "moved.state")
    with pytest.raises(RecordingError, match="not the one"):
        verify(recording, state=tmp_path / "other.state")


def test_from_a_cloned_state_on() -> None:
    env = make()
    recorder = Recorder(env)
    env.reset()
    drive(env, 20)
    state = env.clone_state()
    drive(env, 20, seed=1)
    env.restore_state(state)
    drive(env, 10, seed=2)
    recording = recorder.recording()
    env.close()
    assert recording.frames == 40
    verify(Recording.from_bytes(recording.to_bytes()))


def test_every_episode_is_handed_over() -> None:
    ended: list[Recording] = []
    env = make(truncate_on="clock:40")
    recorder = Recorder(env, on_end=ended.append)
    for seed in range(2):
        env.reset(seed=seed)
        drive(env, 1000)
    env.reset()
    env.reset()  # nothing was driven: nothing to hand over
    env.step(0)
    env.close()
    assert [each.result["events"] for each in ended] == [["clock"], ["clock"], []]
    assert recorder.recording() is ended[-1]
    assert ended[0].environment == {
        "frame_skip": 4,
        "action_type": "discrete",
        "reward": "driving",
    }
    verify(ended[1])


def test_without_a_recorder_and_with_another() -> None:
    env = make()
    recorder = Recorder(env)
    with pytest.raises(RecordingError, match="reset"):
        recorder.recording()
    with pytest.raises(ValueError, match="already"):
        Recorder(env)
    env.reset()
    env.step(0)
    recorder.close()
    env.step(0)
    assert recorder.recording().frames == 7
    Recorder(env).close()
    env.close()
    with pytest.raises(TypeError, match="MKDS-v0"):
        Recorder(gym.make("CartPole-v1"))


def test_it_is_small(recording: Recording) -> None:
    assert len(recording.to_bytes()) < 2000
    assert recording.describe().startswith("driver 0, 243 frames")


def test_the_file_comes_back(recording: Recording, tmp_path: Path) -> None:
    recording.save(tmp_path / "run.mkr")
    again = Recording.load(tmp_path / "run.mkr")
    np.testing.assert_array_equal(again.keys, recording.keys)
    assert again.keys.dtype == np.uint16
    assert again.to_bytes() == recording.to_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["run.mkr"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "no recording"),
        (lambda data: b"GIF89a" + data, "no recording"),
        (lambda data: data[:10], "truncated"),
        (lambda data: data[:-1], "truncated or damaged"),
        (lambda data: data[:60] + b"\xff" + data[61:], "truncated or damaged"),
        (lambda data: data[:4] + struct.pack("<H", 2) + data[6:], "version 2"),
    ],
)
def test_a_bad_file_is_refused(
    recording: Recording, tmp_path: Path, damage: Any, message: str
) -> None:
    (tmp_path / "bad.mkr").write_bytes(damage(recording.to_bytes()))
    with pytest.raises(RecordingError, match=message) as caught:
        Recording.load(tmp_path / "bad.mkr")
    assert "bad.mkr" in str(caught.value)


def test_no_file_and_no_place(recording: Recording, tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no recording"):
        Recording.load(tmp_path / "none.mkr")
    with pytest.raises(RecordingError, match="cannot write"):
        recording.save(tmp_path / "none" / "run.mkr")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rom": "0" * 40}, "another ROM"),
        ({"build_id": "0" * 64}, "another build"),
    ],
)
def test_what_it_was_made_with_is_checked(
    recording: Recording, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecordingError, match=message):
        Replay(replace(recording, **change))


def test_another_race_under_the_same_name_is_refused(recording: Recording) -> None:
    start = replace(recording.start, digest="0" * 64)
    with pytest.raises(RecordingError, match="version"):
        Replay(replace(recording, start=start))


def test_the_recompiler_is_used_as_it_was(recording: Recording) -> None:
    for jit in (True, False):
        with Replay(replace(recording, jit=jit)) as replay:
            assert replay.console.capabilities.jit is jit


@pytest.fixture(scope="module")
def frames(recording: Recording) -> Iterator[list[Any]]:
    with Replay(recording, every=40, screens="both") as replay:
        yield list(replay)


def test_pictures_of_a_replay(recording: Recording, frames: list[Any]) -> None:
    env = make(render_mode="rgb_array", screens="both")
    env.reset(seed=0)
    drive(env, 60)
    np.testing.assert_array_equal(frames[-1].picture, env.render())
    assert frames[-1].race == env.race
    env.close()
    assert [frame.number for frame in frames if frame.picture is not None] == [
        *range(1, 243, 40),
        243,
    ]
    assert [frame.keys for frame in frames] == recording.keys.tolist()
