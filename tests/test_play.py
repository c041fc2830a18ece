"""A person's window: real keys in a real window, rewinding, states, and what goes wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from programs import run, x_server
from waiting import until

from mkds_gym.emulator.console import Console
from mkds_gym.emulator.rewind import Rewind
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.play.__main__ import main
from mkds_gym.recording.format import Recording
from mkds_gym.replay.replay import verify

HEAD = """
import sys
from pathlib import Path
import numpy as np
import pygame
from mkds_gym.emulator.console import Console
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.play.player import Player

folder = Path(sys.argv[1])
console = Console(on_power_on=BootParameters().write)
console.step(0, 60)
player = Player(console, save_path=folder / "a.state", scale=1, pictures=folder)

def frames(count):
    for _ in range(count):
        player.frame()

def post(kind, **what):
    pygame.event.post(pygame.event.Event(kind, **what))

def down(key):
    post(pygame.KEYDOWN, key=key)

def up(key):
    post(pygame.KEYUP, key=key)

def tap(key):
    down(key)
    up(key)

frames(2)
"""


def play(program: str, display: str, folder: Path) -> str:
    """Run a program in a window of its own; what it prints."""
    done = run(HEAD + textwrap.dedent(program), str(folder), DISPLAY=display)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_keyboard_keys_reach_the_console(display: str, tmp_path: Path) -> None:
    play(
        """
        from mkds_gym.emulator.console import Keys
        from mkds_gym.play.player import KEYBOARD
        for name, key, _ in KEYBOARD:
            down(getattr(pygame, "K_" + name))
            frames(2)
            assert player.keys == key, name
            up(getattr(pygame, "K_" + name))
            frames(1)
            assert player.keys == 0, name
        from mkds_gym.race.reader import RaceReader
        reader = RaceReader(console.ram)
        down(pygame.K_x)
        down(pygame.K_LEFT)
        frames(40)
        state = reader.read()
        assert player.keys == Keys.A | Keys.LEFT
        assert state.speed > 0.5
        # The keys are let go with the window.
        post(pygame.WINDOWFOCUSLOST)
        frames(2)
        assert player.keys == 0
        """,
        display,
        tmp_path,
    )


def test_short_tap_presses_the_key(display: str, tmp_path: Path) -> None:
    play(
        """
        from mkds_gym.emulator.hardware import RAM_START
        from mkds_gym.race.memory_layout import MemoryLayout
        unit = MemoryLayout().input_units - RAM_START
        def keypad():  # the keys that the game sees: whether held, whether newly pressed
            return (player.console.ram[unit : unit + 4].view("<u2") != 0).tolist()
        seen = []
        for _ in range(3):
            tap(pygame.K_x)
            frames(1)
            assert player.keys
            frames(1)
            seen.append(keypad())
            frames(1)
            seen.append(keypad())
        assert seen == [[True, True], [False, False]] * 3, seen
        # Not what was tapped in a pause of the window, though.
        tap(pygame.K_p)
        frames(2)
        tap(pygame.K_x)
        frames(2)
        tap(pygame.K_p)
        frames(2)
        assert keypad() == [False, False]
        """,
        display,
        tmp_path,
    )


def test_gamepad_drives(display: str, tmp_path: Path) -> None:
    play(
        """
        from mkds_gym.emulator.console import Keys
        def button(kind, number):
            post(kind, button=number, instance_id=0)
        def axis(number, value):
            post(pygame.CONTROLLERAXISMOTION, axis=number, value=value, instance_id=0)
        button(pygame.CONTROLLERBUTTONDOWN, pygame.CONTROLLER_BUTTON_A)
        axis(pygame.CONTROLLER_AXIS_LEFTX, -30000)
        axis(pygame.CONTROLLER_AXIS_TRIGGERRIGHT, 32767)
        frames(2)
        assert player.keys == Keys.A | Keys.LEFT | Keys.R
        axis(pygame.CONTROLLER_AXIS_LEFTX, 30000)
        axis(pygame.CONTROLLER_AXIS_TRIGGERRIGHT, 0)
        button(pygame.CONTROLLERBUTTONUP, pygame.CONTROLLER_BUTTON_A)
        frames(2)
        assert player.keys == Keys.RIGHT
        axis(pygame.CONTROLLER_AXIS_LEFTX, 3000)
        frames(2)
        assert player.keys == 0
        """,
        display,
        tmp_path,
    )


def test_rewinding_restores_memory_exactly(display: str, tmp_path: Path) -> None:
    play(
        """
        memory = {}
        def drive(count):
            for _ in range(count):
                player.frame()
                memory[console.frame_count] = console.ram.copy()
        down(pygame.K_x)
        drive(100)
        last = console.frame_count
        up(pygame.K_x)
        down(pygame.K_r)
        frames(31)
        there = console.frame_count
        assert there < last - 48
        assert np.array_equal(console.ram, memory[there])
        up(pygame.K_r)
        down(pygame.K_x)
        drive(30)
        assert console.frame_count > there + 10
        # All the way: it stays at the first.
        down(pygame.K_r)
        frames(150)
        first = console.frame_count
        frames(12)
        assert console.frame_count == first
        assert player.message == ""
        """,
        display,
        tmp_path,
    )


def test_f5_saves_and_f9_loads_the_state(display: str, tmp_path: Path) -> None:
    play(
        """
        frames(5)
        tap(pygame.K_F9)
        frames(2)
        assert "does not exist" in player.message
        tap(pygame.K_F5)
        frames(1)
        saved, then = console.ram.copy(), console.frame_count
        frames(1)
        assert "saved to" in player.message
        down(pygame.K_x)
        frames(30)
        tap(pygame.K_p)
        frames(2)
        assert player.paused
        stands = console.frame_count
        frames(5)
        assert console.frame_count == stands
        tap(pygame.K_F9)
        frames(2)
        # The state was saved after the frame that was shown when F5 was pressed.
        assert then - 1 <= console.frame_count <= then
        assert player.message.startswith("loaded")
        (folder / "a.state").write_bytes(b"nonsense")
        tap(pygame.K_F9)
        frames(2)
        assert "a.state" in player.message
        assert not player.window.closed
        """,
        display,
        tmp_path,
    )
    # What it wrote is a state like any other: the nonsense in its place is not.
    with Console() as console, pytest.raises(Exception, match=r"a\.state"):
        console.load_state(tmp_path / "a.state")


def test_help_screenshots_and_closing(display: str, tmp_path: Path) -> None:
    play(
        f"""
        from PIL import Image, ImageGrab
        def grab(name):
            ImageGrab.grab(xdisplay={display!r}).save(folder / name)
        frames(3)
        grab("plain.png")
        tap(pygame.K_h)
        frames(3)
        grab("help.png")
        tap(pygame.K_h)
        tap(pygame.K_F12)
        frames(2)
        (picture,) = folder.glob("kartlab-*.png")
        assert Image.open(picture).size == (256, 384)
        # Both screens, the upper, the lower, and both again.
        player._message_left = 0
        for screens in ("top", "bottom", "both"):
            tap(pygame.K_TAB)
            frames(3)
            picture = console.screen(screens)
            assert player.window.size == picture.shape[1::-1]
            assert (player.window.grab() == picture).all()
        tap(pygame.K_ESCAPE)
        player.run()
        assert player.window.closed
        console.step(0, 1)
        """,
        display,
        tmp_path,
    )
    plain, helping = (np.asarray(Image.open(tmp_path / f"{n}.png")) for n in ("plain", "help"))
    # The help darkens the window, and writes on it in white.
    assert helping.mean() < 0.7 * plain.mean()
    assert ((helping == 255).all(axis=2)).sum() > 300


def test_game_runs_at_60_frames_per_second(display: str, tmp_path: Path) -> None:
    shown = play(
        """
        import time
        start = time.perf_counter()
        frames(120)
        print(120 / (time.perf_counter() - start))
        """,
        display,
        tmp_path,
    )
    # Never faster; slower, but not still, where the machine has more to do.
    assert 3 < float(shown) < 62


# Rewinding, without a window ------------------------------------------------------------------


def test_rewind_buffer_is_exact_and_bounded() -> None:
    with Console(on_power_on=BootParameters().write) as console:
        console.step(0, 40)
        row = Rewind(length=6)
        taken = []
        for _ in range(9):
            console.step(1, 6)
            taken.append(console.snapshot())
            row.push(taken[-1])
        assert len(row) == 6
        assert row.nbytes < len(taken[-1].data) + (6 << 20)
        for wanted in (*taken[-2:-7:-1], taken[3]):
            found = row.back()
            assert found is not None
            assert (found.data, found.frame_count) == (wanted.data, wanted.frame_count)
        assert found is not None
        console.restore(found)
        row.clear()
        assert (len(row), row.nbytes, row.back()) == (0, 0, None)
        tight = Rewind(length=100, bytes_limit=1)
        for snapshot in taken:
            tight.push(snapshot)
        assert len(tight) == 1
        assert tight.back() is taken[-1]


# What goes wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--course", "moo_moo"], "mario_course"),
        (["--opponents", "3"], "mode='vs'"),
        (["--course-seed", "3"], "course='random'"),
        (["--laps", "12"], "1 to 9"),
        (["--rom", "nothing.nds"], "nothing.nds"),
        (["--state", "nothing.state"], "nothing.state"),
        (["--state", "nothing.state", "--class", "150"], "exclude each other"),
        (["--overlays", "rays,hat"], "unknown overlay 'hat'"),
        (["--reward", "praise"], "unknown reward 'praise': expected one of distance"),
        (["--sensors", "rays:15,nose"], "unknown sensor 'nose'"),
        (["--seed", "3"], "--seed 3 has no effect"),
        (["--seed", "3", "--course", "random", "--course-seed", "4"], "--seed 3"),
    ],
)
def test_bad_argument_is_an_error_of_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 1
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.startswith("python -m mkds_gym.play: error: ")
    assert len(shown.splitlines()) == 1


def test_argument_out_of_range_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["--class", "200"],
        ["--mode", "battle"],
        ["--rewind", "-1"],
        ["--scale", "9"],
        ["--rewind", "nan"],
        ["--save", "nowhere/my.state"],
        ["--save", "."],
        ["--record", "run.txt"],
        ["--record", "a.mkr", "--save", "a.mkr"],
        ["--record", "a.mkr", "--state", "./a.mkr"],
        ["--record", "a.mkr", "--rom", "a.mkr"],
        ["--save", "a.nds", "--rom", "a.nds"],
    ):
        with pytest.raises(SystemExit) as left:
            main(words)
        assert left.value.code == 2
        assert words[0] in capsys.readouterr().err


def test_missing_display_is_an_error() -> None:
    done = run("import sys; from mkds_gym.play.__main__ import main; sys.exit(main([]))")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()  # and nothing of libraries, whatever the environment lacks
    assert line.startswith("python -m mkds_gym.play: error: no display was found")


def test_missing_pygame_names_the_package() -> None:
    done = run(
        """
        import sys
        sys.modules["pygame"] = None
        from mkds_gym.play.__main__ import main
        sys.exit(main([]))
        """
    )
    assert done.returncode == 1
    assert "pip install 'mkds-gym[human]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_command_starts_the_requested_race(display: str) -> None:
    done = run(
        """
        import sys
        import mkds_gym.play.__main__ as play
        from mkds_gym.race.reader import RaceReader

        class Watched(play.Player):
            def run(self):
                for _ in range(90):
                    self.frame()
                config = RaceReader(self.console.ram).read_config()
                print(int(config["engine_class"]), int(config["mode"]), int(config["driver_count"]))
                assert not RaceReader(self.console.ram).read().controllable

        play.Player = Watched
        sys.exit(play.main(["--class", "150", "--mode", "vs", "--opponents", "2"]))
        """,
        DISPLAY=display,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-3:] == ["2", "3", "3"]


def test_overlays_are_drawn_and_switched(display: str, tmp_path: Path) -> None:
    """Those asked for, none, and each alone; exactly those of the scene that is shown."""
    play(
        """
        from mkds_gym.overlays import OVERLAYS, LiveReward, draw_overlays, make_overlays
        from mkds_gym.components.sensors import make_sensors

        player.window.close()

        class Broken:
            name = "broken"
            def draw(self, canvas, scene, course):
                raise KeyError("nothing")

        def shown(overlays):
            picture = console.screen("both")
            if overlays:
                live = player._live
                picture = draw_overlays(make_overlays(overlays), picture, live.scene(), live.course)
            assert (player.window.grab() == picture).all(), overlays

        player = Player(console, save_path=folder / "a.state", scale=1, overlays=["rays", "hud"])
        frames(4)
        shown(["rays", "hud"])
        down(pygame.K_x)
        wanted = [(), *OVERLAYS.names(), ["rays", "hud"]]
        for overlays in wanted:
            tap(pygame.K_o)
            frames(1)
            assert player.message.startswith("overlay: ")
            player._message_left = 0
            frames(3)
            shown(overlays)
        # Going back in time, it is of the time then.
        frames(60)
        here = console.frame_count
        down(pygame.K_r)
        frames(30)
        up(pygame.K_r)
        frames(4)
        assert console.frame_count < here
        live = player._live
        assert live.scene().race.frame == live._reader.read().frame - 2
        shown(["rays", "hud"])
        # With a reward, and sensors; nothing is paid for going back in time.
        class Seen:
            name = "seen"
            def draw(self, canvas, scene, course):
                seen.append(scene)
        seen = []
        player.window.close()
        player = Player(
            console,
            save_path=folder / "a.state",
            scale=1,
            overlays=[Seen()],
            reward=LiveReward("driving"),
            sensors=make_sensors("rays:15"),
        )
        frames(1)
        down(pygame.K_x)
        frames(40)
        assert {len(scene.ray_angles) for scene in seen} == {15}
        assert seen[-1].reward > 0 and "progress" in seen[-1].terms, seen[-1].terms
        seen.clear()
        down(pygame.K_r)
        frames(24)
        up(pygame.K_r)
        frames(2)
        assert {scene.reward for scene in seen[1:]} == {0.0}
        # One that fails is said to, and the game goes on.
        player.window.close()
        player = Player(console, save_path=folder / "a.state", scale=1, overlays=[Broken()])
        frames(1)
        assert "overlay 'broken' failed: KeyError" in player.message
        player._message_left = 0
        frames(1)
        shown(())
        """,
        display,
        tmp_path,
    )


def test_same_seed_gives_the_same_race_as_the_environment(display: str, tmp_path: Path) -> None:
    found = play(
        """
        import gymnasium as gym
        import mkds_gym
        import mkds_gym.play.__main__ as play
        from mkds_gym.recording.format import Recording
        from mkds_gym.replay.replay import verify

        player.window.close()
        console.close()

        class Driven(Player):
            def run(self):
                for _ in range(5):
                    self.frame()

        play.Player = Driven
        record = folder / "run.mkr"
        files = ["--record", str(record), "--save", str(folder / "s")]
        race = ["--mode", "vs", "--course", "random", "--opponent-strength", "hard"]
        starts = []
        for seed, name in (("5", "run.mkr"), ("6", "run-2.mkr")):
            assert play.main([*race, "--opponents", "1", "--seed", seed, *files]) == 0
            recording = Recording.load(folder / name)
            starts.append((recording.start.course_seed, recording.start.race_seed))
        verify(recording)
        env = gym.make(
            "MKDS-v0", course="random", mode="vs", opponents=1, opponent_strength="hard"
        ).unwrapped
        _, info = env.reset(seed=5)
        config = env.reader.read_config()
        of_env = (info["course_seed"], int(config["rng_seed"]))
        print(starts[0] == of_env, starts[1] == of_env)
        """,
        display,
        tmp_path,
    )
    assert found.split()[-2:] == ["True", "False"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_terminated_game_keeps_its_recording(
    number: signal.Signals, display: str, tmp_path: Path
) -> None:
    record, driven = tmp_path / "run.mkr", tmp_path / "driven"
    program = """
    import sys
    from pathlib import Path
    import mkds_gym.play.__main__ as play

    class Told(play.Player):
        def frame(self):
            super().frame()
            if self.console.frame_count == 30:
                Path(sys.argv[2]).touch()

    play.Player = Told
    sys.exit(play.main(["--class", "150", "--record", sys.argv[1], "--overlays", "hud"]))
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(record), str(driven)],
        env={**os.environ, "DISPLAY": display},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        until(lambda: driven.exists() or process.poll() is not None)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert str(record) in output
    verify(Recording.load(record))


def test_lost_display_keeps_the_recording(tmp_path: Path) -> None:
    """The process goes with it, at once: what was saved until then is there."""
    record = tmp_path / "run.mkr"
    program = """
    import sys
    import mkds_gym.play.__main__ as play
    import mkds_gym.play.player
    mkds_gym.play.player.SAVED_EVERY = 40
    sys.exit(play.main(["--class", "150", "--record", sys.argv[1]]))
    """
    with (
        x_server() as (server, name),
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program), str(record)],
            env={**os.environ, "DISPLAY": name},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        try:
            until(lambda: record.exists() or process.poll() is not None)
        finally:
            server.kill()
        output, errors = process.communicate(timeout=60)
    assert process.returncode != 0, output
    assert "Traceback" not in errors
    recording = Recording.load(record)
    assert recording.frames >= 40
    assert recording.frames % 40 == 0
    verify(recording)


def test_unwritable_recording_is_saved_elsewhere(display: str, tmp_path: Path) -> None:
    """What was driven is not lost with the folder that it was to be written to."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "spare").mkdir()
    done = run(
        """
        import shutil, sys
        import mkds_gym.play.__main__ as play

        folder = sys.argv[1]

        class Driven(play.Player):
            def run(self):
                for _ in range(30):
                    self.frame()
                shutil.rmtree(folder)

        play.Player = Driven
        sys.exit(play.main(["--class", "150", "--record", folder + "/run.mkr"]))
        """,
        str(tmp_path / "disk"),
        DISPLAY=display,
        TMPDIR=str(tmp_path / "spare"),
    )
    assert done.returncode == 1
    (kept,) = (tmp_path / "spare").rglob("*.mkr")
    (line,) = done.stderr.splitlines()
    assert line.startswith("python -m mkds_gym.play: error: cannot write ")
    assert "No such file or directory; the" in line
    assert line.endswith(f"the recording is in {kept}")
    assert Recording.load(kept).frames == 30


def test_recording_has_what_was_driven(display: str, tmp_path: Path) -> None:
    """Through rewinding, which takes back what was driven; the replay ends in the same memory."""
    told = play(
        """
        import threading
        import mkds_gym.play.__main__ as play
        from mkds_gym.recording.format import Recording
        from mkds_gym.replay import Show, show, verify

        # Saved meanwhile by another thread, as no picture waits for it; at the end, by this one.
        import mkds_gym.play.player
        mkds_gym.play.player.SAVED_EVERY = 50
        save, savers = Recording.save, []
        def noted(recording, path):
            savers.append(threading.current_thread())
            save(recording, path)
        Recording.save = noted

        player.window.close()
        console.close()

        class Driven(Player):
            def run(self):
                global player
                player = self
                frames(200)
                down(pygame.K_x)
                down(pygame.K_LEFT)
                frames(100)
                down(pygame.K_r)
                frames(13)
                up(pygame.K_r)
                frames(40)

        play.Player = Driven
        record = folder / "run.mkr"
        files = ["--record", str(record), "--save", str(folder / "s")]
        assert play.main(["--class", "150", *files]) == 0
        assert len(savers) > 2
        assert savers.pop() is threading.main_thread()
        assert threading.main_thread() not in savers
        recording = Recording.load(record)
        assert recording.start.kind == "power_on"
        assert 300 <= recording.frames < 345, recording.frames
        assert recording.keys[-1] == 33
        verify(recording)

        class Loading(Player):
            def run(self):
                global player
                player = self
                frames(100)
                tap(pygame.K_F5)
                frames(20)
                tap(pygame.K_F9)
                frames(30)

        play.Player = Loading
        assert play.main(files) == 0
        assert Recording.load(record).keys.tolist() == recording.keys.tolist()  # it stays
        recording = Recording.load(folder / "run-2.mkr")
        # The window hands F9 on at the end of the first frame.
        assert (recording.start.kind, recording.frames) == ("state", 29), recording
        verify(recording)
        # Behind the title a kart drives too, but nobody drives it: nothing is told of it.
        assert recording.result == {}
        captions = [caption for _, caption in show([recording], Show(overlays="hud"))]
        assert captions == [f"frame {number}" for number in range(1, 30)]

        # The state that it starts at is written over, so that it has to be in the recording.
        class Saving(Player):
            def run(self):
                global player
                player = self
                frames(20)
                tap(pygame.K_F5)
                frames(20)

        play.Player = Saving
        before = (folder / "s").read_bytes()
        assert play.main(["--state", str(folder / "." / "s"), *files]) == 0
        assert (folder / "s").read_bytes() != before
        recording = Recording.load(folder / "run-3.mkr")
        assert (recording.start.path, recording.frames) == (None, 40), recording
        verify(recording)
        """,
        display,
        tmp_path,
    )
    assert f": {tmp_path / 'run-3.mkr'}\n" in told


def test_a_recording_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["--record", str(tmp_path / "none" / "run.mkr")])
