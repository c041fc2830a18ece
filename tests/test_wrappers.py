"""`RecordRaces` saves every episode."""

from __future__ import annotations

import contextlib
import functools
import pickle
import shutil
import signal
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from waiting import interrupted_when

import mkds_gym  # noqa: F401  registers MKDS-v0
from mkds_gym.errors import RecordingError
from mkds_gym.recording.format import Recording
from mkds_gym.recording.recorder import Recorder
from mkds_gym.replay.replay import verify
from mkds_gym.wrappers.record_races import RecordRaces

SHORT: dict[str, Any] = {"truncate_on": "clock:40", "course": "desert_course"}


def recordings(folder: Path) -> list[Recording]:
    return [Recording.load(path) for path in sorted(folder.iterdir())]


def test_each_episode_is_saved_to_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "races"
    made = gym.make("MKDS-v0", **SHORT)
    env = RecordRaces(made, folder, episode_trigger=lambda episode: episode != 1, label="me")
    for _ in range(3):
        env.reset()
        over = False
        while not over:
            *_, over, _ = env.step(0)
    env.reset()
    env.step(2)
    env.reset()  # cuts it off
    env.close()  # there was no step
    assert [path.name for path in env.recorded] == [f"race-{n:06d}.mkr" for n in (1, 2, 3)]
    found = recordings(folder)
    assert [each.label for each in found] == ["me"] * 3
    assert found[0].result["events"] == ["clock"]
    assert found[2].frames == found[2].lead + 4
    verify(found[2])


def test_record_races_pickles_with_its_environment(tmp_path: Path) -> None:
    env = RecordRaces(gym.make("MKDS-v0", **SHORT), tmp_path, name_prefix="a")
    again = pickle.loads(pickle.dumps(env))
    again.reset()
    again.step(0)
    again.close()
    env.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a-000001.mkr"]
    assert env.spec is not None
    assert env.spec.additional_wrappers[-1].name == "RecordRaces"


@pytest.mark.parametrize("mode", ["sync", "async", "vector_entry_point"])
def test_vector_environments_share_a_folder(mode: str, tmp_path: Path) -> None:
    wrap = functools.partial(RecordRaces, folder=tmp_path)
    more: dict[str, Any] = {"wrappers": [wrap]}
    if mode == "vector_entry_point":
        more = {"env_wrappers": [wrap]}
    made = gym.make_vec("MKDS-v0", num_envs=2, vectorization_mode=mode, **more, **SHORT)
    with contextlib.closing(made) as envs:
        envs.reset()
        for _ in range(14):
            envs.step([0, 1])
    found = recordings(tmp_path)
    ended = [each for each in found if each.result["events"]]
    assert sorted(int(each.keys[-1]) for each in ended) == [1, 33]
    assert len(found) == 4


def test_full_disk_gives_a_warning(tmp_path: Path) -> None:
    folder = tmp_path / "races"
    env = RecordRaces(gym.make("MKDS-v0", **SHORT), folder)
    env.reset()
    env.step(0)
    shutil.rmtree(folder)
    with pytest.warns(UserWarning, match="episode 0 is not recorded: .*race-000001"):
        env.reset()
    env.step(0)
    folder.mkdir()
    env.close()
    assert len(recordings(folder)) == len(env.recorded) == 1


def test_interrupted_step_is_recorded_up_to_its_last_frame(tmp_path: Path) -> None:
    env = RecordRaces(gym.make("MKDS-v0", frame_skip=30), tmp_path)
    for _ in range(2):
        env.reset()
        console = env.unwrapped.console  # type: ignore[attr-defined]
        wanted = console.frame_count + 40
        with interrupted_when(lambda: console.frame_count >= wanted):  # noqa: B023
            while True:
                env.step(0)
    env.close()
    found = recordings(tmp_path)
    assert len(found) == 2
    for each in found:
        assert each.frames >= 40
        verify(each)


def test_interrupted_save_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = RecordRaces(gym.make("MKDS-v0", **SHORT), tmp_path)
    env.reset()
    env.step(2)
    save = Recording.save

    def interrupted(recording: Recording, path: Path) -> None:
        monkeypatch.undo()
        signal.raise_signal(signal.SIGINT)
        save(recording, path)

    monkeypatch.setattr(Recording, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        env.reset()
    (found,) = recordings(tmp_path)
    env.close()
    assert [path.name for path in env.recorded] == [path.name for path in tmp_path.iterdir()]
    verify(found)


def test_interrupted_save_on_a_full_disk_raises_keyboard_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = RecordRaces(gym.make("MKDS-v0", **SHORT), tmp_path)
    env.reset()
    env.step(2)
    save = Recording.save

    def full(recording: Recording, path: Path) -> None:
        if not tried:
            tried.append(path)
            signal.raise_signal(signal.SIGINT)
        save(recording, Path("/dev/full"))

    tried: list[Path] = []
    monkeypatch.setattr(Recording, "save", full)

    def reset() -> None:
        with pytest.raises(KeyboardInterrupt):
            env.reset()

    with pytest.warns(UserWarning, match="is not recorded"):
        reset()
    assert tried
    env.close()
    assert not env.recorded
    assert not list(tmp_path.iterdir())


def test_interrupted_trigger_is_repeated(tmp_path: Path) -> None:
    asked: list[int] = []

    def trigger(episode: int) -> bool:
        asked.append(episode)
        if len(asked) == 1:
            signal.raise_signal(signal.SIGINT)
        return True

    env = RecordRaces(gym.make("MKDS-v0", **SHORT), tmp_path, episode_trigger=trigger)
    env.reset()
    env.step(2)
    with pytest.raises(KeyboardInterrupt):
        env.reset()
    assert len(recordings(tmp_path)) == 1
    env.reset()
    env.close()
    assert asked == [0, 0]
    assert len(recordings(tmp_path)) == len(env.recorded) == 1


class Failing:
    """A metric that fails at its n-th frame."""

    name = "failing"

    def __init__(self, fails_at: int) -> None:
        self._fails_at, self._frames = fails_at, 0

    def reset(self) -> None:
        self._frames = 0

    def update(self, *_: object) -> None:
        self._frames += 1
        if self._frames == self._fails_at:
            raise ZeroDivisionError

    def collect(self) -> dict[str, float]:
        return {"failing": 0.0}


def test_failed_step_is_recorded_up_to_its_last_frame() -> None:
    env = gym.make("MKDS-v0", metrics=["distance", Failing(20)], reward=float_of_distance)
    told: list[Recording] = []
    recorder = Recorder(env, on_end=told.append)
    env.reset()
    for _ in range(4):
        env.step(0)
    with pytest.raises(ZeroDivisionError):
        env.step(0)
    recording = recorder.recording()
    assert recording.frames == 3 + 20  # of the fifth step, too
    verify(recording)
    with pytest.raises(gym.error.ResetNeeded, match=r"reset\(\).* failed"):
        env.step(0)
    assert recorder.recording().ram == recording.ram
    env.reset()
    assert [each.ram for each in told] == [recording.ram]
    env.step(0)
    env.close()
    verify(told[1])


def float_of_distance(metrics: Any) -> float:
    return float(metrics["distance"])


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_episode_of_a_replaced_environment_is_saved(mode: str, tmp_path: Path) -> None:
    made = gym.make_vec(
        "MKDS-v0",
        num_envs=2,
        vectorization_mode="vector_entry_point",
        on_error="replace",
        autoreset_mode=mode,
        env_wrappers=[functools.partial(RecordRaces, folder=tmp_path)],
        reward=float_of_distance,
        env_kwargs=[{"metrics": ["distance"]}, {"metrics": ["distance", Failing(20)]}],
    )
    with contextlib.closing(made) as envs:
        envs.reset()
        for _ in range(8):
            envs.step([0, 0])
    found = recordings(tmp_path)
    assert sorted(each.frames for each in found) == [11 if mode == "NextStep" else 15, 23, 35]
    for each in found:
        verify(each)


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    with gym.make("CartPole-v1") as env, pytest.raises(TypeError, match="MKDS-v0"):
        RecordRaces(env, tmp_path)
    (tmp_path / "file").touch()
    with gym.make("MKDS-v0") as env:
        with pytest.raises(RecordingError, match="cannot be made"):
            RecordRaces(env, tmp_path / "file" / "races")
        with pytest.raises(TypeError, match="episode_trigger=5 is not callable"):
            RecordRaces(env, tmp_path / "races", episode_trigger=5)  # type: ignore[arg-type]
        assert not (tmp_path / "races").exists()
