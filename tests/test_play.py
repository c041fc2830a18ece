"""A person plays in a window: keys, rewinding, savestates, recordings and errors."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pygame
import pytest
from consoles import race_console
from PIL import Image
from programs import started, x_server
from waiting import until
from windows import Clock, contains, post, screenshot, set_display

from mkds_gym.components.sensors import make_sensors
from mkds_gym.emulator import Console, Keys, Rewind, Snapshot
from mkds_gym.emulator.hardware import FRAMES_PER_SECOND, RAM_START
from mkds_gym.env import MKDSEnv
from mkds_gym.overlays import OVERLAYS, LiveReward, draw_overlays, make_overlays
from mkds_gym.play.__main__ import main
from mkds_gym.play.player import KEYBOARD, Player
from mkds_gym.race.memory_layout import MemoryLayout
from mkds_gym.race.reader import RaceReader
from mkds_gym.recording.format import Recording
from mkds_gym.replay import Show, show, verify


@pytest.fixture(scope="module")
def racing() -> Iterator[tuple[Console, Snapshot]]:
    """A console and the state in which its race can be driven."""
    with race_console() as console:
        console.step(0, 60)
        yield console, console.snapshot()


@pytest.fixture
def invisible(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """The clock of this process's windows, which nobody sees and which wait for nobody."""
    set_display(monkeypatch, None, driver="dummy")
    monkeypatch.setattr("mkds_gym.display.window.time", clock := Clock())
    yield clock
    pygame.quit()


@pytest.fixture
def player(racing: tuple[Console, Snapshot], invisible: Clock, tmp_path: Path) -> Iterator[Player]:  # noqa: ARG001
    """A player without overlays."""
    yield (made := make_player(racing, tmp_path))
    made.window.close()


def make_player(racing: tuple[Console, Snapshot], folder: Path, **arguments: Any) -> Player:
    console, start = racing
    console.restore(start)
    player = Player(console, save_path=folder / "a.state", scale=1, pictures=folder, **arguments)
    frames(player, 2)
    return player


def frames(player: Player, count: int) -> None:
    for _ in range(count):
        player.frame()


def down(*keys: int) -> None:
    for key in keys:
        post(pygame.KEYDOWN, key=key)


def up(*keys: int) -> None:
    for key in keys:
        post(pygame.KEYUP, key=key)


def tap(key: int) -> None:
    down(key)
    up(key)


@pytest.fixture
def plays(
    invisible: Clock,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., int]:
    """Run the command, in which a function plays in place of `Player.run`; return the status."""

    def command(play: Callable[[Player], object], *words: object) -> int:
        class Scripted(Player):
            def run(self) -> None:
                play(self)

        monkeypatch.setattr("mkds_gym.play.__main__.Player", Scripted)
        return main([str(word) for word in words])

    return command


# Input ------------------------------------------------------------------------------------------


def test_keyboard_keys_reach_the_console(player: Player) -> None:
    for name, key, _ in KEYBOARD:
        down(code := getattr(pygame, f"K_{name}"))
        frames(player, 2)
        assert player.keys == key, name
        up(code)
        frames(player, 1)
        assert player.keys == 0, name
    down(pygame.K_x, pygame.K_LEFT)
    frames(player, 40)
    assert player.keys == Keys.A | Keys.LEFT
    assert RaceReader(player.console.ram).read().speed > 0.5
    post(pygame.WINDOWFOCUSLOST)  # releases all keys
    frames(player, 2)
    assert player.keys == 0


def test_short_tap_presses_the_key_unless_paused(player: Player) -> None:
    unit = MemoryLayout().input_units - RAM_START

    def keypad() -> list[bool]:
        """Return whether the game sees a held key and a newly pressed key."""
        held: list[bool] = (player.console.ram[unit : unit + 4].view("<u2") != 0).tolist()
        return held

    for _ in range(3):
        tap(pygame.K_x)
        frames(player, 1)
        assert player.keys
        frames(player, 1)
        assert keypad() == [True, True]
        frames(player, 1)
        assert keypad() == [False, False]
    for key in (pygame.K_p, pygame.K_x, pygame.K_p):
        tap(key)
        frames(player, 2)
    assert keypad() == [False, False]


def test_gamepad_drives(player: Player) -> None:
    def button(kind: int) -> None:
        post(kind, button=pygame.CONTROLLER_BUTTON_A, instance_id=0)

    def axis(number: int, value: int) -> None:
        post(pygame.CONTROLLERAXISMOTION, axis=number, value=value, instance_id=0)

    button(pygame.CONTROLLERBUTTONDOWN)
    axis(pygame.CONTROLLER_AXIS_LEFTX, -30000)
    axis(pygame.CONTROLLER_AXIS_TRIGGERRIGHT, 32767)
    frames(player, 2)
    assert player.keys == Keys.A | Keys.LEFT | Keys.R
    axis(pygame.CONTROLLER_AXIS_LEFTX, 30000)
    axis(pygame.CONTROLLER_AXIS_TRIGGERRIGHT, 0)
    button(pygame.CONTROLLERBUTTONUP)
    frames(player, 2)
    assert player.keys == Keys.RIGHT
    axis(pygame.CONTROLLER_AXIS_LEFTX, 3000)
    frames(player, 2)
    assert player.keys == 0


def test_game_runs_at_60_frames_per_second(player: Player, invisible: Clock) -> None:
    start = invisible.now
    frames(player, 30)
    assert 30 / (invisible.now - start) == pytest.approx(FRAMES_PER_SECOND, rel=0.001)


# Rewinding and savestates -----------------------------------------------------------------------


def test_rewinding_restores_memory_exactly(player: Player) -> None:
    console, memory = player.console, {}

    def drive(count: int) -> None:
        for _ in range(count):
            player.frame()
            memory[console.frame_count] = zlib.crc32(console.ram)

    down(pygame.K_x)
    drive(72)
    last = console.frame_count
    up(pygame.K_x)
    down(pygame.K_r)
    frames(player, 27)
    there = console.frame_count
    assert there < last - 36
    assert zlib.crc32(console.ram) == memory[there]
    up(pygame.K_r)
    down(pygame.K_x)
    drive(20)
    assert console.frame_count > there + 10
    down(pygame.K_r)  # to the first point in time, and no further
    frames(player, 36)
    first = console.frame_count
    assert first < there
    frames(player, 12)
    assert console.frame_count == first
    assert player.message == ""


def test_rewind_buffer_is_exact_and_bounded(racing: tuple[Console, Snapshot]) -> None:
    console, start = racing
    console.restore(start)
    rewind = Rewind(length=6)
    taken = []
    for _ in range(9):
        console.step(1, 6)
        taken.append(console.snapshot())
        rewind.push(taken[-1])
    assert len(rewind) == 6
    assert rewind.nbytes < len(taken[-1].data) + (6 << 20)
    for wanted in (*taken[-2:-7:-1], taken[3]):
        found = rewind.back()
        assert found is not None
        assert (found.data, found.frame_count) == (wanted.data, wanted.frame_count)
    console.restore(found)
    rewind.clear()
    assert (len(rewind), rewind.nbytes, rewind.back()) == (0, 0, None)
    tight = Rewind(length=100, bytes_limit=1)
    for snapshot in taken:
        tight.push(snapshot)
    assert len(tight) == 1
    assert tight.back() is taken[-1]


def test_f5_saves_and_f9_loads_the_state(player: Player, tmp_path: Path) -> None:
    console, file = player.console, tmp_path / "a.state"
    tap(pygame.K_F9)
    frames(player, 2)
    assert "does not exist" in player.message
    tap(pygame.K_F5)
    frames(player, 1)
    then = console.frame_count
    frames(player, 1)
    assert "saved to" in player.message
    down(pygame.K_x)
    frames(player, 10)
    tap(pygame.K_p)
    frames(player, 2)
    assert player.paused
    stopped = console.frame_count
    frames(player, 5)
    assert console.frame_count == stopped
    tap(pygame.K_F9)
    frames(player, 2)
    # The saved frame is the one that was shown when F5 was pressed.
    assert then - 1 <= console.frame_count <= then
    assert player.message.startswith("loaded")
    file.write_bytes(b"nonsense")
    tap(pygame.K_F9)
    frames(player, 2)
    assert "a.state" in player.message
    assert not player.window.closed
    with pytest.raises(Exception, match=r"a\.state"):
        console.load_state(file)


# The window -------------------------------------------------------------------------------------


def test_help_screenshots_screens_and_closing(
    racing: tuple[Console, Snapshot],
    display: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_display(monkeypatch, display)
    player = make_player(racing, tmp_path)
    console = player.console
    until(lambda: player.frame() or contains(screenshot(display), console.screen("both")))
    plain = screenshot(display)
    tap(pygame.K_h)
    frames(player, 3)
    # The help darkens the window and has white text.
    until(lambda: player.frame() or screenshot(display).mean() < 0.7 * plain.mean())
    assert ((screenshot(display) == 255).all(axis=2)).sum() > 300
    tap(pygame.K_h)
    tap(pygame.K_F12)
    monkeypatch.setattr("mkds_gym.play.player.MESSAGE_PICTURES", 0)
    frames(player, 2)
    assert player.message.startswith("screenshot saved")
    (picture,) = tmp_path.glob("kartlab-*.png")
    assert Image.open(picture).size == (256, 384)
    for screens in ("top", "bottom", "both"):
        tap(pygame.K_TAB)
        frames(player, 3)
        shown = console.screen(screens)
        assert player.window.size == shown.shape[1::-1]
        np.testing.assert_array_equal(player.window.grab(), shown)
    tap(pygame.K_ESCAPE)
    player.run()
    assert player.window.closed
    console.step(0, 1)
    pygame.quit()


class Scenes:
    """An overlay that keeps the scenes that it gets."""

    name = "scenes"
    seen: ClassVar[list[Any]] = []

    def draw(self, canvas: Any, scene: Any, course: Any) -> None:
        Scenes.seen.append(scene)


class Broken:
    """An overlay that fails."""

    name = "broken"

    def draw(self, canvas: Any, scene: Any, course: Any) -> None:
        raise KeyError("nothing")


def assert_shows(player: Player, overlays: Any) -> None:
    """Check that the window shows exactly these overlays, of the picture's own scene."""
    picture = player.console.screen("both")
    if overlays:
        assert player.live is not None
        scene, course = player.live.scene(), player.live.course
        assert scene is not None
        assert course is not None
        picture = draw_overlays(make_overlays(overlays), picture, scene, course)
    np.testing.assert_array_equal(player.window.grab(), picture, str(overlays))


@pytest.fixture
def no_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages are not drawn over the picture."""
    monkeypatch.setattr("mkds_gym.play.player.MESSAGE_PICTURES", 0)


@pytest.mark.usefixtures("invisible", "no_messages")
def test_overlays_are_drawn_switched_and_rewound(
    racing: tuple[Console, Snapshot], tmp_path: Path
) -> None:
    player = make_player(racing, tmp_path, overlays=["rays", "hud"])
    frames(player, 2)
    assert_shows(player, ["rays", "hud"])
    down(pygame.K_x)
    for overlays in ((), *OVERLAYS.names(), ["rays", "hud"]):
        tap(pygame.K_o)
        frames(player, 2)
        assert player.message.startswith("overlay: ")
        assert_shows(player, overlays)
    frames(player, 30)
    here = player.console.frame_count
    down(pygame.K_r)
    frames(player, 24)
    up(pygame.K_r)
    frames(player, 4)
    assert player.console.frame_count < here
    assert player.live is not None
    scene = player.live.scene()
    assert scene is not None
    assert scene.race.frame == RaceReader(player.console.ram).read().frame - 2
    assert_shows(player, ["rays", "hud"])
    player.window.close()


@pytest.mark.usefixtures("invisible")
def test_overlays_show_sensors_and_rewards_but_no_reward_for_rewinding(
    racing: tuple[Console, Snapshot], tmp_path: Path
) -> None:
    player = make_player(
        racing,
        tmp_path,
        overlays=[Scenes()],
        reward=LiveReward("driving"),
        sensors=make_sensors("rays:15"),
    )
    down(pygame.K_x)
    frames(player, 40)
    assert {len(scene.ray_angles) for scene in Scenes.seen} == {15}
    assert Scenes.seen[-1].reward > 0
    assert "progress" in Scenes.seen[-1].terms
    Scenes.seen.clear()
    down(pygame.K_r)
    frames(player, 24)
    up(pygame.K_r)
    frames(player, 2)
    assert {scene.reward for scene in Scenes.seen[1:]} == {0.0}
    player.window.close()


@pytest.mark.usefixtures("invisible", "no_messages")
def test_failed_overlay_is_switched_off(racing: tuple[Console, Snapshot], tmp_path: Path) -> None:
    player = make_player(racing, tmp_path, overlays=[Broken()])
    assert "overlay 'broken' failed: KeyError" in player.message
    assert_shows(player, ())
    player.window.close()


# The command: errors ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--course moo_moo", "mario_course"),
        ("--opponents 3", "mode='vs'"),
        ("--course-seed 3", "course='random'"),
        ("--laps 12", "1 to 9"),
        ("--rom nothing.nds", "nothing.nds"),
        ("--state nothing.state", "nothing.state"),
        ("--state nothing.state --class 150", "exclude each other"),
        ("--overlays rays,hat", "unknown overlay 'hat'"),
        ("--reward praise", "unknown reward 'praise': expected one of distance"),
        ("--sensors rays:15,nose", "unknown sensor 'nose'"),
        ("--seed 3", "--seed 3 has no effect"),
        ("--seed 3 --course random --course-seed 4", "--seed 3"),
    ],
)
def test_bad_argument_is_an_error_of_one_line(
    words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("python -m mkds_gym.play: error: ")
    assert message in line


@pytest.mark.parametrize(
    "words",
    [
        "--class 200",
        "--mode battle",
        "--rewind -1",
        "--scale 9",
        "--rewind nan",
        "--save nowhere/my.state",
        "--save .",
        "--record run.txt",
        "--record nowhere/run.mkr",
        "--record a.mkr --save a.mkr",
        "--record a.mkr --state ./a.mkr",
        "--record a.mkr --rom a.mkr",
        "--save a.nds --rom a.nds",
    ],
)
def test_argument_out_of_range_is_a_usage_error(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(words.split())
    assert exit_.value.code == 2
    assert words.split()[0] in capsys.readouterr().err


def test_missing_display_is_an_error_of_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    set_display(monkeypatch, None)
    assert main([]) == 1
    (line,) = capfd.readouterr().err.splitlines()  # and no line of a library
    assert line.startswith("python -m mkds_gym.play: error: no display was found")


def test_missing_pygame_names_the_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    assert main([]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'mkds-gym[human]'" in line


# The command: races and recordings --------------------------------------------------------------


def test_command_starts_the_requested_race(plays: Callable[..., int]) -> None:
    def play(player: Player) -> None:
        frames(player, 90)
        reader = RaceReader(player.console.ram)
        config = reader.read_config()
        race = [int(config[name]) for name in ("engine_class", "mode", "driver_count")]
        assert race == [2, 3, 3]
        assert not reader.read().controllable

    assert plays(play, "--class", 150, "--mode", "vs", "--opponents", 2) == 0


def test_same_seed_gives_the_same_race_as_the_environment(
    plays: Callable[..., int], tmp_path: Path
) -> None:
    race = {"course": "random", "mode": "vs", "opponents": 1, "opponent_strength": "hard"}
    words = [
        word for name, value in race.items() for word in (f"--{name.replace('_', '-')}", value)
    ]
    words += ["--record", tmp_path / "run.mkr"]
    starts = []
    for seed, name in ((5, "run.mkr"), (6, "run-2.mkr")):
        assert plays(lambda player: frames(player, 5), *words, "--seed", seed) == 0
        recording = Recording.load(tmp_path / name)
        starts.append((recording.start.course_seed, recording.start.race_seed))
    verify(recording)
    env = MKDSEnv(**race)  # type: ignore[arg-type]
    _, info = env.reset(seed=5)
    assert starts[0] == (info["course_seed"], int(env.reader.read_config()["rng_seed"]))
    assert starts[1] != starts[0]
    env.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.usefixtures("invisible")
def test_terminated_game_keeps_its_recording(
    number: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Terminated(Player):
        def frame(self) -> None:
            super().frame()
            if self.console.frame_count == 30:
                os.kill(os.getpid(), number)

    monkeypatch.setattr("mkds_gym.play.__main__.Player", Terminated)
    record = tmp_path / "run.mkr"
    handler = signal.getsignal(number)
    assert main(["--class", "150", "--record", str(record), "--overlays", "hud"]) == 128 + number
    assert signal.getsignal(number) is handler
    assert str(record) in capsys.readouterr().out
    recording = Recording.load(record)
    assert recording.frames == 30
    verify(recording)


def test_lost_display_keeps_the_last_automatic_save(tmp_path: Path) -> None:
    record = tmp_path / "run.mkr"
    with (
        x_server() as (server, name),
        started("play_recorded.py", record, DISPLAY=name) as process,
    ):
        until(lambda: record.exists() or process.poll() is not None)
        server.kill()
        output, errors = process.communicate(timeout=60)
    assert process.returncode != 0, output
    assert "Traceback" not in errors
    recording = Recording.load(record)
    assert recording.frames >= 40
    assert recording.frames % 40 == 0
    verify(recording)


def test_unwritable_recording_is_saved_elsewhere(
    plays: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (disk := tmp_path / "disk").mkdir()
    (spare := tmp_path / "spare").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spare))

    def play(player: Player) -> None:
        frames(player, 30)
        shutil.rmtree(disk)

    assert plays(play, "--class", 150, "--record", disk / "run.mkr") == 1
    (kept,) = spare.rglob("*.mkr")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("python -m mkds_gym.play: error: cannot write ")
    assert "No such file or directory; the" in line
    assert line.endswith(f"the recording is in {kept}")
    assert Recording.load(kept).frames == 30


def test_recording_omits_rewound_frames_and_is_saved_by_a_thread(
    plays: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mkds_gym.play.player.SAVED_EVERY", 50)
    save, savers = Recording.save, []

    def noted(recording: Recording, path: Path) -> None:
        savers.append(threading.current_thread())
        save(recording, path)

    monkeypatch.setattr(Recording, "save", noted)

    def play(player: Player) -> None:
        frames(player, 200)
        down(pygame.K_x, pygame.K_LEFT)
        frames(player, 60)
        down(pygame.K_r)
        frames(player, 13)
        up(pygame.K_r)
        frames(player, 20)

    assert plays(play, "--class", 150, "--record", tmp_path / "run.mkr") == 0
    assert len(savers) > 2
    assert savers.pop() is threading.main_thread()
    assert threading.main_thread() not in savers
    recording = Recording.load(tmp_path / "run.mkr")
    assert recording.start.kind == "power_on"
    assert 220 <= recording.frames < 265
    assert recording.keys[-1] == 33
    verify(recording)


def test_recording_starts_again_at_a_loaded_state(
    plays: Callable[..., int], tmp_path: Path
) -> None:
    (record := tmp_path / "run.mkr").write_bytes(b"the one before")

    def play(player: Player) -> None:
        frames(player, 100)
        tap(pygame.K_F5)
        frames(player, 20)
        tap(pygame.K_F9)
        frames(player, 30)

    assert plays(play, "--record", record, "--save", tmp_path / "s") == 0
    assert record.read_bytes() == b"the one before"
    recording = Recording.load(tmp_path / "run-2.mkr")
    # The window hands F9 on at the end of the first frame.
    assert (recording.start.kind, recording.frames) == ("state", 29)
    verify(recording)
    # Nobody drives the kart behind the title: the recording has no result, the captions no race.
    assert recording.result == {}
    captions = [caption for _, caption in show([recording], Show(overlays="hud"))]
    assert captions == [f"frame {number}" for number in range(1, 30)]


def test_recording_holds_its_start_if_f5_overwrites_the_file(
    racing: tuple[Console, Snapshot],
    plays: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    console, start = racing
    console.restore(start)
    console.save_state(file := tmp_path / "s")
    before = file.read_bytes()
    record = tmp_path / "run.mkr"

    def play(player: Player) -> None:
        frames(player, 20)
        tap(pygame.K_F5)
        frames(player, 20)

    words = ("--state", tmp_path / "." / "s", "--save", file, "--record", record)
    assert plays(play, *words) == 0
    assert file.read_bytes() != before
    recording = Recording.load(record)
    assert (recording.start.path, recording.frames) == (None, 40)
    verify(recording)
    assert f": {record}\n" in capsys.readouterr().out
