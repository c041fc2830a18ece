"""Recordings are exact, small and checked; replays make pictures and files of them."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import pickle
import re
import resource
import struct
import sys
import time
import tracemalloc
import weakref
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import imageio.v2
import numpy as np
import pygame
import pytest
from PIL import Image, ImageSequence
from programs import run_file
from recordings import drive, make, record
from windows import Clock, set_display

import mkds_gym
from mkds_gym.display.video import Thinned, gif_bytes, race_caption
from mkds_gym.display.window import Window
from mkds_gym.emulator.console import Console, Keys
from mkds_gym.emulator.hardware import FRAMES_PER_SECOND
from mkds_gym.episodes.race_config import RaceArguments
from mkds_gym.errors import NoRaceError, RecordingError
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.overlays import Ghosts, OverlayScene, SceneRecorder, draw_overlays
from mkds_gym.race.reader import RaceReader
from mkds_gym.race.state import RaceState
from mkds_gym.recording.format import Recording, Start, boot_digest
from mkds_gym.recording.recorder import ConsoleRecorder, Recorder
from mkds_gym.replay.__main__ import main
from mkds_gym.replay.replay import Replay, environment, verify
from mkds_gym.replay.show import Show, ghost, show

pytestmark = pytest.mark.usefixtures("default_start")


class Driven(NamedTuple):
    """An episode: its recording, and what the environment showed at its end."""

    recording: Recording
    picture: Any
    race: RaceState
    scene: OverlayScene


@pytest.fixture(scope="module")
def driven() -> Driven:
    env = make(render_mode="rgb_array", screens="both")
    recorder, scenes = Recorder(env, label="driver 0"), SceneRecorder()
    env.add_observer(scenes)
    env.reset(seed=0)
    drive(env, 40)
    scene = scenes.scene_of(env)
    assert scene is not None
    result = Driven(recorder.recording(), env.render(), env.race, scene)
    env.close()
    return result


@pytest.fixture(scope="module")
def recording(driven: Driven) -> Recording:
    return driven.recording


@pytest.mark.parametrize(
    "arguments",
    [
        {"frame_skip": 1, "engine_class": 150, "mirror": True},
        {"mode": "vs", "opponents": 3, "items": True},
        {"course": "random", "course_seed": 5, "difficulty": 0.3},
        {"course_set": "train"},
    ],
    ids=str,
)
def test_replay_ends_with_the_same_memory(arguments: dict[str, Any]) -> None:
    recording = record(25, seed=3, **arguments)
    again = Recording.from_bytes(recording.to_bytes())
    assert again.frames == 25 * arguments.get("frame_skip", 4) + 3
    verify(again)


def test_replay_with_other_keys_is_an_error(recording: Recording) -> None:
    keys = recording.keys.copy()
    keys[20] ^= 32
    with pytest.raises(RecordingError, match="differs from the recorded race"):
        verify(replace(recording, keys=keys))


def test_savestate_file_of_the_start_is_checked(tmp_path: Path) -> None:
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
    with pytest.raises(RecordingError, match=r"start\.state' does not exist"):
        verify(recording)
    verify(recording, state=tmp_path / "moved.state")
    with pytest.raises(RecordingError, match="not the one"):
        verify(recording, state=tmp_path / "other.state")


def test_recording_from_a_cloned_state_replays() -> None:
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


def test_interrupted_first_step_records_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def ctrl_c(*_: object) -> None:
        raise KeyboardInterrupt

    ended: list[Recording] = []
    env = make()
    env.reset()
    state = env.clone_state()
    recorder = Recorder(env, on_end=ended.append)
    for begin in (lambda: env.restore_state(state), env.reset):
        begin()
        with monkeypatch.context() as early:
            early.setattr(env.console, "run_and_copy", ctrl_c)
            with pytest.raises(KeyboardInterrupt):
                env.step(0)
    env.restore_state(state)
    with pytest.raises(RecordingError, match=r"nothing is recorded yet: call env\.step\(\)"):
        recorder.recording()
    recorder.close()
    with pytest.raises(RecordingError, match="nothing is recorded yet"):
        recorder.recording()
    env.close()
    assert not ended


def test_cloned_state_is_packed_once() -> None:
    ended: list[Recording] = []
    env = make(engine_class=150)  # no other environment shares its start
    env.reset()
    drive(env, 20)
    state = env.clone_state()
    Recorder(env, on_end=ended.append)
    for seed in range(2):
        env.reset(options={"state": state})
        drive(env, 10, seed)
    env.restore_state(state)
    drive(env, 10)
    env.close()
    assert pickle.loads(pickle.dumps(state)).saved == state.saved
    start = weakref.ref(state.base)
    del env, state
    gc.collect()
    assert start() is None  # what was made goes with the state, and so does its race start
    assert ended[0].state is ended[1].state is ended[2].state
    assert ended[0].start.digest == ended[1].start.digest
    assert len(ended[1].to_bytes()) < 560_000
    verify(Recording.from_bytes(ended[1].to_bytes()))
    verify(ended[2])


def test_on_end_gets_every_episode() -> None:
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
        "obs_type": "sensors",
        "screens": "top",
        "terminate_on": ["finish"],
        "truncate_on": "clock:40",
    }
    verify(ended[1])


def test_closed_recorder_and_second_recorder() -> None:
    env = make()
    recorder = Recorder(env)
    with pytest.raises(RecordingError, match="reset"):
        recorder.recording()
    other = Recorder(env)
    env.reset()
    env.step(0)
    recorder.close()
    env.step(0)
    assert recorder.recording().frames == 7
    assert other.recording().frames == 11
    env.close()
    with pytest.raises(TypeError, match="MKDS-v0"):
        Recorder(gym.make("CartPole-v1"))


def test_file_of_a_lap_is_small(recording: Recording) -> None:
    assert len(recording.to_bytes()) < 2000
    assert recording.describe().startswith("driver 0, 163 frames")


def test_saved_file_loads_equal(recording: Recording, tmp_path: Path) -> None:
    recording.save(tmp_path / "run.mkr")
    again = Recording.load(tmp_path / "run.mkr")
    np.testing.assert_array_equal(again.keys, recording.keys)
    assert again.keys.dtype == np.uint16
    assert again.to_bytes() == recording.to_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["run.mkr"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "not a recording"),
        (lambda data: b"GIF89a" + data, "not a recording"),
        (lambda data: data[:10], "truncated"),
        (lambda data: data[:-1], "truncated or damaged"),
        (lambda data: data[:60] + b"\xff" + data[61:], "truncated or damaged"),
        (
            lambda data: data[:4] + struct.pack("<H", 2) + data[6:].replace(b"m 0.", b"m 9."),
            r"version 2.*replay it with mkds-gym 9\.",
        ),
        (
            lambda data: (
                data[:4] + struct.pack("<H", 2) + data[6:].replace(b"made_by", b"baked_by")
            ),
            "version 2.*replay it with the version",
        ),
    ],
)
def test_damaged_file_is_refused(
    recording: Recording, tmp_path: Path, damage: Any, message: str
) -> None:
    (tmp_path / "bad.mkr").write_bytes(damage(recording.to_bytes()))
    with pytest.raises(RecordingError, match=message) as caught:
        Recording.load(tmp_path / "bad.mkr")
    assert "bad.mkr" in str(caught.value)


def rewrite(recording: Recording, changes: Mapping[str, Any] | str | bytes) -> bytes:
    """The recording's file with other values in its header (``"start.race"``), or another header.

    The text ``<NaN>`` as a value becomes the number.
    """
    data = recording.to_bytes()
    magic, version, _, header_size, keys_size, state_size, _ = HEADER.unpack_from(data)
    header: Any = json.loads(data[HEADER.size :][:header_size])
    if isinstance(changes, Mapping):
        for place, value in changes.items():
            *path, name = place.split(".")
            table = header
            for each in path:
                table = table[each]
            table[name] = value
        changes = re.sub('"<(.*?)>"', r"\1", json.dumps(header))
    text = changes.encode() if isinstance(changes, str) else changes
    body = text + data[HEADER.size + header_size :]
    return HEADER.pack(magic, version, 0, len(text), keys_size, state_size, zlib.crc32(body)) + body


HEADER = struct.Struct("<4sHHIIII")
WRONG_VALUES = [
    ({"start.race": None}, "start: Value error, a start at a race needs race"),
    ({"start.race": []}, "start.race: Input should be a valid dictionary"),
    ({"start.race.laps": {"a": 1}}, "start.race.laps"),
    ({"start": None}, "start: Input should be"),
    ({"start": {}}, "start.kind: Field required"),
    ({"start.kind": "menu"}, "start.kind: Input should be 'race'"),
    ({"start.kind": "state"}, "start: the savestate is missing"),
    ({"start.kind": "state", "start.path": "a\0b"}, "expected the path of a file"),
    ({"start.race_seed": -1}, "start.race_seed: Input should be greater than or equal to 0"),
    ({"start.race_seed": 2**40}, "start.race_seed: Input should be less than"),
    ({"start.course_seed": 1.5}, "start.course_seed: Input should be a valid integer"),
    ({"start.frame": -5}, "start.frame"),
    ({"start.frame": 2**50}, "more than a day after power-on"),
    ({"start.digest": "x"}, "start.digest"),
    ({"label": 5}, "label: Input should be a valid string"),
    ({"made_by": None}, "made_by"),
    ({"label": "\udcff"}, "label: Value error"),
    ({"result.events": ["\ud800"]}, "result.events.0"),
    ({"lead": -1}, "lead"),
    ({"lead": 10**6}, "lead: 1000000 of"),
    ({"jit": 1}, "jit: Input should be a valid boolean"),
    ({"rom": "../x"}, "rom"),
    ({"environment": None}, "environment"),
    ({"environment.frame_skip": "4"}, "environment.frame_skip"),
    ({"environment.frame_skip": 0}, "environment.frame_skip"),
    ({"environment.metrics": [1]}, "environment.metrics"),
    ({"environment.reward": ["x"]}, "environment.reward"),
    ({"result": []}, "result"),
    ({"result": {"finished": True}}, "a finished race needs total_time"),
    ({"result.lap_times": [None]}, "result.lap_times.0"),
    ({"result.total_time": "<NaN>"}, "is not JSON"),
    ({"result.total_time": "<-Infinity>"}, "is not JSON"),
    ({"result.total_time": "<1e999>"}, "number inf"),
    ({"result.place": "<" + "9" * 5000 + ">"}, "is not JSON"),
    ({"unknown": 1}, "unknown: Extra inputs are not permitted"),
    ("[]", "Input should be"),
    ("null", "Input should be"),
    ("", "is not JSON"),
    ("[" * 5_000, "recursion limit"),
    (b'{"label": "\xff"}', "is not JSON"),
    ("[" + "0," * 20_000 + "0]", "more than 10,000 values"),
    (b" " * (1 << 21), "header has more than 1,048,576 bytes"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG_VALUES, ids=range(len(WRONG_VALUES)))
def test_wrong_value_in_a_header_is_named(
    recording: Recording, changes: Mapping[str, Any] | str | bytes, message: str
) -> None:
    with pytest.raises(RecordingError) as caught:
        Recording.from_bytes(rewrite(recording, changes), "recording 'a.mkr'")
    assert "recording 'a.mkr'" in str(caught.value)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500


def test_header_of_an_older_or_newer_version_is_read(recording: Recording) -> None:
    notes = {"environment": {"frame_skip": 2, "new": [1]}, "result": {"new": {"a": None}}}
    assert Recording.from_bytes(rewrite(recording, notes)).environment["new"] == [1]
    data = rewrite(recording, {})
    oldest = {
        key: json.loads(data[HEADER.size :][: HEADER.unpack_from(data)[3]])[key]
        for key in ("rom", "title", "build_id", "jit")
    }
    text = json.dumps({**oldest, "start": {"kind": "power_on"}})
    read = Recording.from_bytes(rewrite(recording, text))
    assert (read.start, read.lead, read.label) == (Start("power_on"), 0, "")
    # A file name that is not UTF-8 does not make a recording unreadable.
    start = replace(recording.start, path="a\udcff")
    read = Recording.from_bytes(replace(recording, label="a\udcff", start=start).to_bytes())
    assert (read.label, read.start) == ("a?", start)


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (bytes(40 << 20), "more than 31,104,000 bytes when decompressed"),
        (struct.pack("<HI", 1, 2**32 - 1), "more than a day of frames"),
        (struct.pack("<HI", 0xFFFF, 1), "keys that the console does not have"),
        (b"x", "last key is incomplete"),
    ],
    ids=range(4),
)
def test_keys_that_would_fill_memory_are_refused_at_once(
    recording: Recording, runs: bytes, message: str
) -> None:
    data = recording.to_bytes()
    magic, version, _, header_size, *_ = HEADER.unpack_from(data)
    keys = zlib.compress(runs)
    body = data[HEADER.size :][:header_size] + keys
    packed = HEADER.pack(magic, version, 0, header_size, len(keys), 0, zlib.crc32(body)) + body
    tracemalloc.start()
    begin = time.monotonic()
    try:
        with pytest.raises(RecordingError, match=message):
            Recording.from_bytes(packed)
        assert time.monotonic() - begin < 1
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


def test_missing_file_or_folder_is_an_error(recording: Recording, tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"none\.mkr' does not exist"):
        Recording.load(tmp_path / "none.mkr")
    os.mkfifo(tmp_path / "pipe.mkr")
    with (tmp_path / "large.mkr").open("wb") as file:
        file.truncate(1 << 40)
    for path, message in (
        (tmp_path / "pipe.mkr", "is a pipe"),
        (Path("/dev/zero"), "is a device"),
        (tmp_path / "large.mkr", "has 1,099,511,627,776 bytes, and the limit is 33,554,432"),
    ):
        with pytest.raises(RecordingError, match=f"{message}: expected the path of a .mkr file"):
            Recording.load(path)
    nowhere = tmp_path / "none" / "run.mkr"
    with pytest.raises(RecordingError) as caught:
        recording.save(nowhere)  # the user's file and the reason, no temporary one and no number
    assert str(caught.value) == f"cannot write '{nowhere}': No such file or directory"
    with pytest.raises(RecordingError) as caught:
        Recording.load(tmp_path)
    assert str(caught.value) == (
        f"recording '{tmp_path}' is a directory: expected the path of a .mkr file"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rom": "0" * 40}, "another ROM"),
        ({"build_id": "0" * 64}, "another build"),
    ],
)
def test_other_rom_or_emulator_is_refused(
    recording: Recording, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecordingError, match=message):
        Replay(replace(recording, **change))


def test_changed_race_of_the_same_name_is_refused(recording: Recording) -> None:
    start = replace(recording.start, digest="0" * 64)
    with pytest.raises(RecordingError, match="replay it with the commit"):
        Replay(replace(recording, start=start))
    with pytest.raises(RecordingError, match=r"replay it with mkds-gym 9\.1$"):
        Replay(replace(recording, start=start, made_by="mkds-gym 9.1"))
    assert recording.made_by == f"mkds-gym {mkds_gym.__version__}"


def test_recompiler_is_used_as_recorded(recording: Recording) -> None:
    for jit in (True, False):
        with Replay(replace(recording, jit=jit)) as replay:
            assert replay.console.capabilities.jit is jit


@pytest.fixture(scope="module")
def frames(recording: Recording) -> Iterator[list[Any]]:
    with Replay(recording, every=37, screens="both") as replay:
        yield list(replay)


def test_replay_pictures_equal_those_of_the_environment(driven: Driven, frames: list[Any]) -> None:
    np.testing.assert_array_equal(frames[-1].picture, driven.picture)
    assert frames[-1].race == driven.race
    pictured = [frame.number for frame in frames if frame.picture is not None]
    assert pictured == [*range(3, 163, 37), 163]
    assert [frame.keys for frame in frames] == driven.recording.keys.tolist()
    with Replay(driven.recording, screens="both") as replay:  # draws more frames
        for frame, alone in zip(replay, frames, strict=True):
            if alone.picture is not None:
                np.testing.assert_array_equal(frame.picture, alone.picture)


@pytest.fixture(scope="module")
def person() -> Recording:
    """Through the cartridge's title and menu into a race, some frames of which are driven."""
    with Console() as console:
        recorder = ConsoleRecorder(console, Start("power_on"), label="person")

        def hold(keys: int, frames: int) -> None:
            for _ in range(frames):
                console.step(keys, 1, draw=False)
                recorder.step(keys)

        hold(0, 60)
        assert recorder.recording().result == {}  # nobody drives the race behind the title
        for keys, frames in ((Keys.START, 2), (0, 40), (Keys.START, 2)):
            hold(keys, frames)
        reader = RaceReader(console.ram)
        while not (reader.race_on and reader.read().frame > 90):
            hold(Keys.A if reader.race_on and reader.read().frame else 0, 1)
            assert recorder.frames < 900
        return recorder.recording()


def test_title_screen_has_no_race(person: Recording) -> None:
    assert person.result["progress"] > 0
    with Replay(person, overlays=["collision", "hud"], every=8) as replay:
        begun = 0
        for frame in replay:
            if frame.race is not None:
                begun = begun or frame.number
            elif not begun:
                assert (frame.scene, replay.course) == (None, None)
                if frame.picture is not None:
                    np.testing.assert_array_equal(frame.picture, replay.console.screen("top"))
            assert (frame.race is not None) is (begun > 0)
    assert begun > 100


def test_environment_starts_at_a_recorded_race(person: Recording) -> None:
    """Not at the one that lies in memory behind the title."""
    env, keys = environment(person)
    env.reset()
    assert env.race.race_on
    assert env.race.frame == 0  # in the countdown
    for mask in keys.tolist():
        info = env.step(mask)[-1]
    assert info["progress"] == person.result["progress"]
    env.close()


# Pictures ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two drivers of the same race, and one of another."""
    folder = tmp_path_factory.mktemp("runs")
    for name, steps, arguments in (
        ("ada", 14, {}),
        ("ben", 10, {}),
        ("cyd", 5, {"course": "random", "course_seed": 3}),
    ):
        replace(record(steps, seed=len(name) + steps, **arguments), label="").save(
            folder / f"{name}.mkr"
        )
    return [str(folder / f"{name}.mkr") for name in ("ada", "ben", "cyd")]


def test_hud_shows_the_recorded_rewards(driven: Driven) -> None:
    recording, expected = driven.recording, driven.scene
    with Replay(recording, overlays="hud", every=1000) as replay:
        scene = list(replay)[-1].scene
    assert scene is not None
    assert scene.reward == pytest.approx(expected.reward)
    assert dict(scene.terms) == pytest.approx(dict(expected.terms))
    assert scene.progress == expected.progress
    # A recording has only the name of a custom reward, so the overlay shows no reward.
    mine = {**recording.environment, "reward": "somewhere.Mine"}
    with Replay(replace(recording, environment=mine), overlays="hud", every=1000) as replay:
        *_, last = replay
    assert last.scene is not None
    assert (last.scene.reward, last.scene.terms) == (None, {})
    assert last.picture is not None


def test_command_verifies_recordings(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(files[:1]) == 0
    assert capsys.readouterr().out.startswith("ada, 59 frames, ")


def test_command_converts_movies(files: list[str], tmp_path: Path) -> None:
    movie, again = tmp_path / "a.dsm", tmp_path / "b.mkr"
    assert main([files[0], "--movie", str(movie)]) == 0
    assert movie.with_suffix(".nds").is_file()
    assert main([str(movie)]) == 0
    assert main([str(movie), "--save", str(again)]) == 0
    kept = replace(Recording.load(again), label="")
    assert kept.to_bytes() == Path(files[0]).read_bytes()


def test_command_writes_video_gif_and_sheet(files: list[str], tmp_path: Path) -> None:
    video, gif, sheet = (tmp_path / name for name in ("a.mp4", "a.gif", "a.png"))
    words = ["--overlays", "rays,hud", "--video", video, "--gif", gif, "--sheet", sheet]
    assert main([*files[:2], *map(str, words), "--pictures", "3", "--names", "Ada,Ben"]) == 0
    opened: Any = imageio.v2.get_reader(video)
    with opened as reader:
        assert reader.get_meta_data()["size"] == (1024, 384)  # two, doubled
        assert reader.get_meta_data()["fps"] == pytest.approx(59.83, abs=0.01)
        assert reader.count_frames() == 57
    with Image.open(gif) as image:
        assert image.size == (512, 192)
        assert getattr(image, "n_frames", 1) == 15
    with Image.open(sheet) as image:
        assert image.size == (2 * (512 + 6) + 6, 2 * (192 + 16 + 6) + 6)  # three, in two rows
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gif", "a.mp4", "a.png"]


def test_faster_gif_has_fewer_pictures(files: list[str], tmp_path: Path) -> None:
    """Viewers slow down those that are shorter than they like."""
    for speed, pictures in ((1, 15), (3, 5), (0.25, 57)):
        assert main([files[0], "--gif", str(tmp_path / "a.gif"), "--speed", str(speed)]) == 0
        with Image.open(tmp_path / "a.gif") as image:
            assert getattr(image, "n_frames", 1) == pictures
            shown = [each.info["duration"] for each in ImageSequence.Iterator(image)]
        # Hundredths of a second, which are all that the format has, do not add up.
        assert sum(shown) == pytest.approx(pictures * 4 * 1000 / 59.8261, abs=10)
        assert set(shown) <= {60, 70}


def test_faster_video_has_fewer_pictures(files: list[str], tmp_path: Path) -> None:
    assert main([files[0], "--video", str(tmp_path / "a.mp4"), "--speed", "4"]) == 0
    opened: Any = imageio.v2.get_reader(tmp_path / "a.mp4")
    with opened as reader:
        assert reader.get_meta_data()["fps"] == pytest.approx(59.83, abs=0.01)
        assert reader.count_frames() == 15


def test_equal_gif_pictures_keep_their_duration() -> None:
    """The writer makes one of those that follow each other."""
    still, other = np.zeros((2, 8, 8, 3), np.uint8)
    other += 255
    for pictures, milliseconds in (
        ([still], [70]),
        ([still] * 3, [200]),
        ([still, other, other], [70, 130]),
    ):
        with Image.open(io.BytesIO(gif_bytes(pictures, 4 / 59.8261))) as image:
            shown = [each.info["duration"] for each in ImageSequence.Iterator(image)]
        assert shown == milliseconds


def test_ghost_is_at_the_recorded_position(files: list[str]) -> None:
    """A driver's own ghost: its box stands around the kart, in the middle of the picture."""
    ada = Recording.load(files[0])
    own, _ = ghost(ada)
    with Replay(ada, every=1000) as replay:
        *_, last = replay
        course = replay.course
    assert last.scene is not None
    assert last.race is not None
    assert last.picture is not None
    assert course is not None
    there, later = own.at(last.race.frame), own.at(10**6)
    assert there is not None
    assert later is not None
    assert there[0].tolist() == pytest.approx(list(last.race.position))
    assert later[0].tolist() == there[0].tolist()
    assert own.at(-1) is None
    drawn = draw_overlays([Ghosts([own])], last.picture, last.scene, course)
    rows, columns = np.nonzero((drawn != last.picture).any(axis=2))
    assert 90 < columns.min() < columns.max() < 170
    assert 90 < rows.min() < rows.max() < 192


def test_ghosts_are_drawn_into_one_picture(files: list[str]) -> None:
    both = [Recording.load(path) for path in files[:2]]
    shown = list(show(both, Show(ghosts=True, every=8)))
    alone = list(show(both[:1], Show(every=8)))
    assert len(shown) == len(alone)
    assert shown[0][0].shape == (192, 256, 3)
    assert any((a != b).any() for (a, _), (b, _) in zip(shown, alone, strict=True))


def test_ghosts_of_another_course_are_refused(
    files: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sheet = str(tmp_path / "a.png")
    assert main([files[2], files[0], "--ghosts", "--sheet", sheet]) == 1
    assert "different courses" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--video", "run.avi"], ".mp4"),
        (["--video", "nowhere/run.mp4"], "nowhere"),
        (["--gif", "nowhere/run.gif"], "nowhere"),
        (["--gif", "run.mkr"], "--gif needs the suffix .gif"),
        (["--sheet", "run.gif"], "--sheet needs the suffix .png"),
        (["--save", "run.txt"], "--save needs the suffix .mkr"),
        (["--overlays", "lasers", "--sheet", "run.png"], "lasers"),
        (["--state", "no.state"], "no recording starts at a savestate"),
        (["--rom", "no.nds"], "no.nds"),
    ],
)
def test_impossible_request_is_an_error(
    files: list[str], words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([files[0], *words]) == 1
    assert message in capsys.readouterr().err


def test_input_file_is_not_overwritten(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor anything twice; by whatever path."""
    own, link = tmp_path / "run.mkr", tmp_path / "link.png"
    own.write_bytes(before := Path(files[0]).read_bytes())
    link.symlink_to(own)
    new, twice = str(tmp_path / "new.mkr"), tmp_path / "new.png"
    twice.symlink_to(new)
    for words in (
        ["--sheet", str(link)],
        ["--save", str(own)],
        ["--state", str(link), "--sheet", str(link)],
        ["--sheet", str(twice), "--save", new],
    ):
        assert main([str(own), *words]) == 1
        assert "choose another name" in capsys.readouterr().err
    assert own.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"run.mkr", "link.png", "new.png"}


@pytest.mark.parametrize("words", [["--ghosts"], ["--speed", "0"], ["--names", "a,b"]])
def test_bad_arguments_are_refused(files: list[str], words: list[str]) -> None:
    with pytest.raises(SystemExit):
        main([files[0], *words])


def test_appearance_option_without_output_is_refused(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for words, wanted in (
        (["--overlays", "rays"], "--show, --video, --gif or --sheet"),
        (["--ghosts", "--save", "a.mkr"], "--show, --video, --gif or --sheet"),
        (["--speed", "2", "--sheet", "a.png"], "--show, --video or --gif"),
        (["--pictures", "5", "--gif", "a.gif"], "has no effect without --sheet"),
    ):
        with pytest.raises(SystemExit):
            main([*files[:2], *words])
        assert f"{words[0]} has no effect without" in (said := capsys.readouterr().err)
        assert wanted in said


def test_missing_ffmpeg_is_named(
    files: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "none"))
    assert main([files[0], "--video", str(tmp_path / "a.mp4")]) == 1
    error = capsys.readouterr().err
    assert f"'{tmp_path / 'none'}' is not a program" in error
    assert "IMAGEIO_FFMPEG_EXE" in error
    assert list(tmp_path.iterdir()) == []


def test_missing_imageio_is_named(
    files: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    assert main([files[0], "--video", str(tmp_path / "a.mp4")]) == 1
    assert "need imageio_ffmpeg: pip install 'mkds-gym[video]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_full_disk_keeps_the_old_recording(recording: Recording, tmp_path: Path) -> None:
    file = tmp_path / "run.mkr"
    file.write_bytes(b"the one before")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
    try:
        with pytest.raises(RecordingError, match=r"cannot write .*run\.mkr"):
            recording.save(file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert file.read_bytes() == b"the one before"
    assert list(tmp_path.iterdir()) == [file]


def test_full_disk_keeps_the_old_video(files: list[str], tmp_path: Path) -> None:
    """A file that may not grow is what a full disk is to ffmpeg, whose end imageio does not see."""
    video = tmp_path / "a.mp4"
    video.write_bytes(b"the one before")
    done = run_file("replay_on_full_disk.py", files[0], "--video", str(video))
    assert (done.returncode, done.stdout) == (1, "")
    program = "python -m mkds_gym.replay: error: "
    said = done.stderr.splitlines()[-1]
    assert said.startswith(f"{program}cannot write '{video}': ffmpeg failed")
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert video.read_bytes() == b"the one before"


def test_empty_sheet_and_gif_are_errors(
    recording: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty.mkr"
    replace(recording, keys=recording.keys[:0], lead=0, ram="").save(empty)
    for words in (["--video", "a.mp4"], ["--gif", "a.gif"], ["--sheet", "a.png"]):
        assert main([str(empty), words[0], str(tmp_path / words[1])]) == 1
        assert "picture" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [empty]


def test_number_of_kept_pictures_is_bounded() -> None:
    for length in (0, 1, 7, 8, 9, 1000, 1001):
        thinned: Thinned[int] = Thinned(4)
        for number in range(length):
            thinned.add(number)
            assert len(thinned.items) <= 9
        kept = thinned.items
        assert len(kept) >= min(4, length)
        assert kept == sorted({*range(0, length, thinned.stride), *range(length)[-1:]})


def test_captions_show_the_time_of_the_picture(files: list[str]) -> None:
    """A picture shows the race of two frames before."""
    ada = Recording.load(files[0])
    with Replay(ada) as replay:
        frames = list(replay)
    expected = []
    for frame, before in zip(frames[2:], frames, strict=False):
        if frame.picture is not None:
            assert before.race is not None
            expected.append(race_caption(before.race.lap, before.race.frame / FRAMES_PER_SECOND))
    assert [caption for _, caption in show([ada])] == expected
    assert len({*expected}) == len(expected)


@pytest.mark.slow
def test_side_by_side_follows_the_race_clock(files: list[str]) -> None:
    """A person's recording is from power-on, with a countdown; an environment's from the start."""
    ada = replace(Recording.load(files[0]), label="ada")
    with Console(on_power_on=(boot := BootParameters(skip_countdown=False)).write) as console:
        start = Start("power_on", vars(RaceArguments()), countdown=True, digest=boot_digest(boot))
        recorder = ConsoleRecorder(console, start, label="person")
        clock = 0
        while clock < 30:
            console.step(1, draw=False)
            recorder.step(1)
            with contextlib.suppress(NoRaceError):
                clock = RaceReader(console.ram).read().frame
        person = recorder.recording()
    assert person.frames > 200
    with Replay(ada) as replay:
        expected = {frame.race.frame: frame.picture for frame in replay if frame.race is not None}
    shown = [picture for picture, _ in show([ada, person])]
    with Replay(person) as replay:
        own = {frame.race.frame: frame.picture for frame in replay if frame.race is not None}
    assert len(shown) == max(expected) == 59
    for clock, both in enumerate(shown, 1):  # an environment's first picture is at 3 frames
        for column, pictures, there in ((0, expected, max(clock, 3)), (256, own, min(clock, 30))):
            seen, wanted = both[:170, column : column + 256], pictures[there]
            assert wanted is not None
            np.testing.assert_array_equal(seen, wanted[:170])


def test_side_by_side_on_different_courses_is_refused(files: list[str]) -> None:
    with pytest.raises(RecordingError, match="different courses"):
        next(show([Recording.load(path) for path in (files[0], files[2])]))


def test_recording_without_a_race_is_refused_side_by_side(files: list[str]) -> None:
    ada = Recording.load(files[0])
    menu = replace(ada, start=Start("power_on"), label="menu", lead=0, ram="")
    with pytest.raises(RecordingError, match="menu has no race"):
        next(show([ada, menu]))


def test_show_opens_a_window(
    files: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_display(monkeypatch, None, driver="dummy")
    monkeypatch.setattr("mkds_gym.display.window.time", Clock())
    assert main([files[0], "--show", "--speed", "16", "--scale", "1"]) == 0
    assert "ends as recorded" in capsys.readouterr().out
    seen: list[Any] = []

    class Watched(Window):
        """P at the third picture, again at the fifth, ESC at the seventh."""

        def show(self, picture: Any, notes: Any = ()) -> None:
            seen.append(picture)
            key = {3: pygame.K_p, 5: pygame.K_p, 7: pygame.K_ESCAPE}.get(len(seen))
            if key is not None:
                pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))
            super().show(picture, notes)
            if len(seen) == 1:
                np.testing.assert_array_equal(self.grab(), picture)

    monkeypatch.setattr("mkds_gym.replay.__main__.Window", Watched)
    assert main([files[0], "--show", "--scale", "1"]) == 0
    assert capsys.readouterr().out == ""
    with Replay(Recording.load(files[0])) as replay:
        expected = [frame.picture for frame in replay if frame.picture is not None]
    assert len(seen) == 7
    for picture, number in zip(seen, (0, 1, 2, 2, 2, 3, 4), strict=True):
        np.testing.assert_array_equal(picture, expected[number])


def test_missing_display_is_an_error_of_one_line(
    files: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    set_display(monkeypatch, None)
    assert main([files[0], "--show"]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.endswith("error: no display was found: --video writes a file instead")
