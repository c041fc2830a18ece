"""From a ROM file to a race by name, on a cartridge that is not known to be Kartlab.

The cartridge is Kartlab under another name, path and game code, without boot parameters: a person
reaches its races by keys, as on the original.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pygame
import pytest
from kartlab_race import KartlabRace
from neat_config import config_text
from test_roms import rom_data
from windows import Clock, post, set_display

from mkds_gym.doctor import examine
from mkds_gym.drivers.pure_pursuit import PurePursuit
from mkds_gym.drivers.timing import main as time_drivers
from mkds_gym.emulator import Console, Keys, Snapshot
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.env import MKDSEnv
from mkds_gym.errors import StateError
from mkds_gym.play.__main__ import main as play
from mkds_gym.play.player import Player
from mkds_gym.recording.format import Recording
from mkds_gym.recording.recorder import Recorder
from mkds_gym.replay import environment, to_minari
from mkds_gym.roms.__main__ import main as roms_main
from mkds_gym.starts import KeptStart, keep_start, kept_starts, library
from mkds_gym.starts.__main__ import main
from mkds_gym.starts.importing import import_state
from mkds_neat.config import parse_config


def set_user(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.delenv("MKDS_ROM", raising=False)
    patch.setenv("MKDS_HOME", str(folder / "home"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder with the imported cartridge, a start, and savestates."""
    folder = tmp_path_factory.mktemp("user")
    path = folder / "elsewhere" / "dump of mine.nds"
    path.parent.mkdir()
    path.write_bytes(rom_data(title="MARIOKARTDS"))
    with pytest.MonkeyPatch.context() as patch:
        set_user(folder, patch)
        assert roms_main(["import", str(path)]) == 0
    return folder


@pytest.fixture(scope="module")
def grid(folder: Path) -> Iterator[tuple[Console, Snapshot, Snapshot]]:
    """The console with the cartridge, in its menu and on the grid of its first race."""
    with Console(folder / "elsewhere" / "dump of mine.nds") as console:
        person = KartlabRace(console)
        person.wait(80)
        for wait in (40, 0):
            menu = console.snapshot()
            person.wait(2, Keys.START)
            person.wait(2 + wait)
        person.wait_for_race()
        assert not person.state.controllable
        yield console, menu, console.snapshot()


@pytest.fixture(autouse=True)
def user(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_user(folder, monkeypatch)


@pytest.fixture(scope="module")
def kept(folder: Path, grid: tuple[Console, Snapshot, Snapshot]) -> KeptStart:
    """The start, kept from the grid."""
    console, _, on_grid = grid
    console.restore(on_grid)
    with pytest.MonkeyPatch.context() as patch:
        set_user(folder, patch)
        return keep_start(console)


def test_start_is_kept_with_its_race(
    grid: tuple[Console, Snapshot, Snapshot], kept: KeptStart
) -> None:
    console, _, on_grid = grid
    cartridge = console.cartridge
    assert not cartridge.boot_parameters
    race = KartlabRace(console)
    assert (kept.name, kept.course, kept.rom) == (
        kept.course,
        race.state.course_name,
        cartridge.sha1,
    )
    assert kept.mode == "time_trial"
    assert kept.engine_class in (50, 100, 150)
    assert kept.laps == race.course.nkm.stage["laps"]
    assert kept.drivers == 1
    assert kept_starts(cartridge.sha1) == [kept]
    # The console stays on the grid.
    assert console.frame_count == on_grid.frame_count
    assert not race.state.controllable


def test_environment_is_made_by_name_and_trains(kept: KeptStart) -> None:
    env: Any = gym.make("MKDS-v0", rom="mkds-usa", course=kept.course, info_type="full")
    observation, info = env.reset(seed=1)
    assert env.observation_space.contains(observation)
    assert info["course"] == kept.course
    assert env.unwrapped.race.controllable
    for _ in range(20):
        _, _, _, _, info = env.step(0)
    assert info["metrics"]["progress"] > 0
    again, _ = env.reset()
    first = MKDSEnv("mkds-usa")  # the only course
    np.testing.assert_array_equal(first.reset()[0], again)
    first.close()
    env.close()
    envs = gym.make_vec("MKDS-v0", num_envs=2, rom="mkds-usa", course=kept.course)
    envs.reset()
    envs.step(envs.action_space.sample())
    envs.close()


def test_race_is_over_after_the_laps_of_the_argument(kept: KeptStart) -> None:
    race = {"course": kept.course, "laps": 1}
    env = MKDSEnv("mkds-usa", **race, info_type="full", frame_skip=8, action_type="keymask")
    env.reset()
    driver = PurePursuit()
    terminated = truncated = False
    while not (terminated or truncated):
        action = driver.keys(env.race, env.course)
        _, _, terminated, truncated, info = env.step(action)
    assert terminated
    assert info["is_success"]
    assert (info["metrics"]["laps"], info["lap"]) == (1, 1)
    assert info["metrics"]["race_time"] == info["metrics"]["last_lap"] > 0
    assert env.reader.read_status()["drivers"][0]["lap"] == 2  # the game goes on
    env.close()
    with pytest.raises(ValueError, match=f"laps=9 .* after {kept.laps} laps"):
        MKDSEnv("mkds-usa", course=kept.course, laps=9)


def record_lap(**arguments: Any) -> tuple[Recording, int]:
    """Drive a race of one lap; return its recording and number of steps."""
    env = MKDSEnv("mkds-usa", laps=1, frame_skip=8, action_type="keymask", **arguments)
    recorder = Recorder(env)
    env.reset()
    driver = PurePursuit()
    steps = 0
    while not env.episode_over:
        env.step(driver.keys(env.race, env.course))
        steps += 1
    env.close()
    return recorder.recording(), steps


def test_laps_of_a_kept_start_are_those_of_its_recording(
    kept: KeptStart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    made, steps = record_lap(course=kept.course)
    made.save(tmp_path / "a.mkr")
    recording = Recording.load(tmp_path / "a.mkr")
    assert recording.environment["laps"] == 1
    assert recording.result["finished"]

    env, actions = environment(recording, rom="mkds-usa")
    env.reset()
    assert len(actions) == steps
    ends = [env.step(int(action))[2] for action in actions]
    assert ends == [False] * (steps - 1) + [True]
    env.close()

    dataset = to_minari([recording], "own/lap-v0", rom="mkds-usa", metadata={"author": "me"})
    (episode,) = dataset.iterate_episodes()
    assert (episode.terminations[-1], episode.truncations[-1]) == (True, False)
    recovered: Any = dataset.recover_environment()
    recovered.reset()
    for action in actions:
        _, _, terminated, _, info = recovered.step(int(action))
    assert terminated
    assert info["is_success"]
    recovered.close()

    # Earlier versions noted no laps: the game's own are driven, unless they are passed.
    noted = {name: value for name, value in recording.environment.items() if name != "laps"}
    old = Recording.from_bytes(replace(recording, environment=noted).to_bytes())
    for laps, finished in (({}, False), ({"laps": 1}, True)):
        env, actions = environment(old, rom="mkds-usa", **laps)
        env.reset()
        for action in actions:
            _, _, terminated, _, _ = env.step(int(action))
        assert terminated == finished
        env.close()
    with pytest.warns(UserWarning, match="differ in laps"):
        to_minari([recording, old], "own/both-v0", rom="mkds-usa", metadata={"author": "me"})


def test_race_from_a_state_is_over_after_the_laps_of_the_argument(kept: KeptStart) -> None:
    recording, _ = record_lap(state=kept.path)
    assert recording.result["events"] == ["finish"]
    assert recording.environment["laps"] == 1
    env = MKDSEnv("mkds-usa", state=kept.path, laps=9)
    with pytest.raises(StateError, match=f"laps=9 .* after {kept.laps} laps"):
        env.reset()
    env.close()
    with pytest.raises(ValueError, match="laps=1 and state exclude each other"):
        MKDSEnv("kartlab", state=kept.path, laps=1)


def test_recording_holds_no_data_of_the_game(kept: KeptStart, tmp_path: Path) -> None:
    env = MKDSEnv("mkds-usa")
    recorder = Recorder(env)
    env.reset()
    env.step(0)
    recording = recorder.recording()
    recording.save(tmp_path / "a.mkr")
    assert recording.start.path == str(kept.path)
    assert (tmp_path / "a.mkr").stat().st_size < 4000
    env.close()


def test_course_set_draws_among_kept_starts(
    grid: tuple[Console, Snapshot, Snapshot], kept: KeptStart
) -> None:
    console, menu, _ = grid
    other = keep_other_course(console, menu)
    try:
        assert other.course != kept.course
        with pytest.raises(StateError, match="several kept starts: pass course="):
            MKDSEnv("mkds-usa")
        courses = [kept.course, other.course]
        env = MKDSEnv("mkds-usa", course_set=courses, info_type="full")
        drawn = [env.reset(seed=0 if i == 0 else None)[1]["course"] for i in range(8)]
        assert set(drawn) == set(courses)
        again = [env.reset(seed=0 if i == 0 else None)[1]["course"] for i in range(8)]
        assert again == drawn
        env.close()
    finally:
        assert main(["remove", "--rom", "mkds-usa", other.name]) == 0
    with pytest.raises(StateError, match=f"no start of course '{other.course}' is kept.*press K"):
        MKDSEnv("mkds-usa", course_set=courses)


def test_mode_chooses_among_the_starts_of_a_course(kept: KeptStart) -> None:
    drawn = {}
    others = [
        library.keep(replace(kept, mode=mode), kept.path.read_bytes())
        for mode in ("grand_prix", "vs")
    ]
    try:
        for mode in ("time_trial", "grand_prix", "vs"):
            env = MKDSEnv("mkds-usa", course=kept.course, mode=mode)
            drawn[mode] = env.starts.config.kept[0].mode
            env.reset()
            env.close()
        assert MKDSEnv("mkds-usa").starts.config.kept[0] == kept
        with pytest.raises(ValueError, match=r"mode='battle' is unknown: expected .*'grand_prix'"):
            MKDSEnv("mkds-usa", course=kept.course, mode="battle")
    finally:
        for other in others:
            library.remove(kept.rom, other.name)
    assert drawn == {mode: mode for mode in drawn}
    with pytest.raises(StateError, match="has mode='grand_prix'"):
        MKDSEnv("mkds-usa", course=kept.course, mode="grand_prix")


def keep_other_course(console: Console, menu: Snapshot) -> KeptStart:
    """Choose the next course in the menu."""
    console.restore(menu)
    person = KartlabRace(console)
    for key in (Keys.RIGHT, Keys.START):
        person.wait(2, key)
        person.wait(2)
    person.wait_for_race()
    return keep_start(console)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"course": "nowhere"}, "no start of course 'nowhere' is kept .kept starts: .*press K"),
        ({"mode": "vs"}, "has mode='vs'"),
        ({"mirror": True}, "has mirror=True"),
        ({"course": "random"}, "random courses have no effect on MARIOKARTDS"),
        ({"course_set": "train"}, "random courses have no effect"),
        ({"items": True}, "items=True has no effect"),
        ({"course_set": []}, "course_set=.. is empty: expected names of courses"),
        ({"course_set": ["mario_course", 3]}, "is not the name of a course"),
        ({"course": "a", "course_set": ["b"]}, "exclude each other"),
        ({"course": "a", "state": b"x"}, "course='a' and state exclude each other"),
    ],
)
def test_race_that_is_not_kept_is_refused(
    kept: KeptStart,  # noqa: ARG001
    arguments: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        MKDSEnv("mkds-usa", **arguments)


def test_cartridge_without_starts_names_the_commands(tmp_path: Path) -> None:
    (tmp_path / "new.nds").write_bytes(rom_data(last=7))
    with pytest.raises(StateError, match=r"mkds_gym\.play --rom.*starts import"):
        MKDSEnv(tmp_path / "new.nds")


def test_only_a_grid_is_kept(grid: tuple[Console, Snapshot, Snapshot], kept: KeptStart) -> None:
    console, _, _ = grid
    console.restore(kept_snapshot(console, kept))
    console.step(Keys.A, 120, draw=False)
    with pytest.raises(StateError, match=r"after GO: the race is .* s old"):
        keep_start(console)
    with Console() as bundled, pytest.raises(StateError, match="Kartlab needs no kept start"):
        keep_start(bundled)


def kept_snapshot(console: Console, kept: KeptStart) -> Snapshot:
    console.load_state(kept.path)
    return console.snapshot()


def test_states_are_imported_and_sorted(
    grid: tuple[Console, Snapshot, Snapshot],
    kept: KeptStart,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    console, _, on_grid = grid
    console.restore(on_grid)
    console.save_state(tmp_path / "grid.state")
    console.restore(kept_snapshot(console, kept))
    console.step(Keys.A, 120, draw=False)
    console.save_state(tmp_path / "late.state")
    with Console() as bundled:
        bundled.save_state(tmp_path / "kartlab.state")
    (tmp_path / "text.dst").write_text("no savestate")
    names = ["grid.state", "late.state", "kartlab.state", "text.dst", "gone.dst"]
    assert main(["import", *(str(tmp_path / name) for name in names)]) == 1
    kinds = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert kinds == ["duplicate", "after GO", "wrong cartridge", "refused", "refused"]
    assert main(["import", "--replace", str(tmp_path / "grid.state")]) == 0
    assert capsys.readouterr().out.startswith("replaced: ")
    (again,) = kept_starts(kept.rom)
    assert again.race == kept.race
    assert main(["list"]) == 0
    assert kept.course in capsys.readouterr().out


@pytest.fixture
def copied(kept: KeptStart, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the user's folder, for damage; the folder of its starts."""
    shutil.copytree(folder / "home", tmp_path / "home")
    monkeypatch.setenv("MKDS_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "starts" / kept.rom


def test_start_whose_savestate_is_not_the_kept_one_is_refused(
    kept: KeptStart, copied: Path, grid: tuple[Console, Snapshot, Snapshot]
) -> None:
    console, menu, _ = grid
    other = keep_other_course(console, menu)
    shutil.copy(other.path, copied / f"{kept.name}.state")
    for arguments in ({"course": kept.course}, {"course_set": [kept.course, kept.course]}):
        env = MKDSEnv("mkds-usa", **arguments)  # type: ignore[arg-type]
        with pytest.raises(StateError, match=r"another savestate.*starts remove .* --rom mkds-usa"):
            env.reset()
        env.close()
    (copied / f"{kept.name}.state").unlink()
    env = MKDSEnv("mkds-usa", course=kept.course)
    with pytest.raises(StateError, match=r"does not exist.*starts remove .* --rom mkds-usa"):
        env.reset()
    env.close()
    found = [each for each in examine("mkds-usa", frames=10) if each.level == "bad"]
    assert [each.part for each in found] == [f"start {kept.name}"]
    assert main(["remove", kept.name]) == 0


def test_damaged_entry_of_a_start_can_be_removed(
    kept: KeptStart, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copied / f"{kept.name}.json").write_text("{")
    assert main(["list"]) == 0
    out, err = capsys.readouterr()
    assert out == "mkds-usa: 0 starts\n"
    assert f"run `python -m mkds_gym.starts remove {kept.name} --rom mkds-usa`" in err
    assert main(["remove", "nothing"]) == 1
    assert f"no start 'nothing' is kept for this cartridge (kept starts: {kept.name})" in (
        capsys.readouterr().err
    )
    assert main(["remove", kept.name]) == 0
    assert main(["list"]) == 0
    assert list(copied.iterdir()) == []


def test_damaged_entry_of_a_start_does_not_matter_to_others(
    kept: KeptStart, copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copied / "bad.json").write_text("{")
    remedy = "starts remove bad --rom mkds-usa`, and keep it again"
    assert main(["list"]) == 0
    out, err = capsys.readouterr()
    assert f"  {kept}\n" in out
    assert err.startswith("left out: the entry ")
    assert remedy in err
    shutil.copy(kept.path, tmp_path / "a.state")
    assert main(["import", str(tmp_path / "a.state")]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("duplicate: ")
    assert remedy in err
    with pytest.warns(UserWarning, match=f"left out: .*{remedy}"):
        gym.make("MKDS-v0", rom="mkds-usa").close()
    # A damaged entry keeps its name, so that nothing replaces it.
    (copied / f"{kept.name}.json").write_text("{")
    assert main(["import", str(tmp_path / "a.state")]) == 0
    assert capsys.readouterr().out.startswith(f"kept: {tmp_path / 'a.state'}: {kept.course}-2  ")
    found = {each.part: each for each in examine("mkds-usa", frames=10) if each.level == "bad"}
    assert set(found) == {"start bad", f"start {kept.name}"}
    assert remedy in found["start bad"].text


def test_damaged_entry_of_another_cartridge_does_not_matter(
    kept: KeptStart, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    roms = copied.parents[1] / "roms"
    (roms / "a.json").write_text("{")
    MKDSEnv("mkds-usa", course=kept.course).close()
    assert main(["list"]) == 0
    out, err = capsys.readouterr()
    assert kept.course in out
    assert err.startswith("left out: the entry ")
    (roms / "mkds-usa.json").unlink()
    assert main(["list"]) == 1
    assert "no imported cartridge can be read" in capsys.readouterr().err


def test_cartridge_of_the_environment_variable_is_named_in_errors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MKDS_ROM", "mkds-asia")
    assert main(["list"]) == 1
    assert "from the environment variable MKDS_ROM" in capsys.readouterr().err


def test_state_that_crashes_the_emulator_is_refused(
    kept: KeptStart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(kept.path, tmp_path / "a.state")
    monkeypatch.setattr("sys.executable", "/bin/false")  # a child process that dies
    outcome = import_state(tmp_path / "a.state", [Cartridge.open("mkds-usa")], replace=True)
    assert outcome.kind == "refused"
    assert "the emulator crashes on it" in outcome.problem


def test_key_k_keeps_the_start(
    grid: tuple[Console, Snapshot, Snapshot],
    kept: KeptStart,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    console, menu, on_grid = grid
    set_display(monkeypatch, None, driver="dummy")
    monkeypatch.setattr("mkds_gym.display.window.time", Clock())
    player = Player(console, save_path=tmp_path / "a.state", scale=1)
    for place, message in ((on_grid, f"kept: {kept}"), (menu, "not in a race")):
        console.restore(place)
        player.frame()
        post(pygame.KEYDOWN, key=pygame.K_k)
        player.frame()
        assert player.message.startswith(message)
    player.window.close()
    pygame.quit()


def test_play_begins_at_a_kept_start(
    kept: KeptStart, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_display(monkeypatch, None, driver="dummy")
    seen: list[bool] = []

    def run(player: Player) -> None:
        seen.append(KartlabRace(player.console).state.controllable)

    monkeypatch.setattr(Player, "run", run)
    assert play(["--rom", "mkds-usa", "--course", kept.course]) == 0
    assert play(["--rom", "mkds-usa", "--course", kept.course, "--laps", "1"]) == 1
    assert "laps=1 has no effect in play" in capsys.readouterr().err
    assert seen == [True]
    pygame.quit()


def test_scripted_driver_is_timed_on_the_kept_starts(
    kept: KeptStart, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MKDS_ROM", "mkds-usa")
    assert time_drivers(["--workers", "1"]) == 0
    head, _, row = capsys.readouterr().out.splitlines()
    assert head.startswith(f"| course | laps | {kept.engine_class} cc | best lap ")
    assert row.startswith(f"| `{kept.course}` | {kept.laps} | ")
    for words, message in (
        (["--mirror"], "no time trial of MARIOKARTDS is kept for --mirror (kept: none)"),
        (["--courses", "a"], f"no time trial of course 'a' is kept (kept: {kept.course}): press K"),
        (["--laps", "1"], "laps=1 has no effect here on MARIOKARTDS"),
    ):
        assert time_drivers([*words, "--workers", "1"]) == 1
        assert message in capsys.readouterr().err


def test_scripted_driver_is_timed_on_time_trials_only(
    copied: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MKDS_ROM", "mkds-usa")
    (path,) = copied.glob("*.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "mode": "vs"}))
    assert time_drivers(["--workers", "1"]) == 1
    assert "no time trial of MARIOKARTDS is kept (kept: none)" in capsys.readouterr().err


def test_import_of_a_cartridge_with_starts_names_a_course(
    kept: KeptStart, copied: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dump = str(folder / "elsewhere" / "dump of mine.nds")
    assert roms_main(["import", dump]) == 0
    assert capsys.readouterr().out.endswith(f'rom="mkds-usa", course="{kept.course}")\n')
    assert roms_main(["import", "gone.nds", dump]) == 1
    assert "refused: ROM 'gone.nds' does not exist" in capsys.readouterr().err
    assert main(["remove", kept.name]) == 0
    assert list(copied.iterdir()) == []
    assert roms_main(["import", dump]) == 0
    assert "first keep a race start" in capsys.readouterr().out


def test_evolution_drives_from_a_kept_start(kept: KeptStart) -> None:
    race = {"rom": "mkds-usa", "course": kept.course}
    config = parse_config(config_text(), environment=race)
    assert config.env_kwargs["rom"] == "mkds-usa"  # not a path: the file may move
    assert parse_config(config.text).env_kwargs == config.env_kwargs


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("course", ["a"], r"\(course: "),
        ("course", "../a", r"\(course: "),
        ("mode", 3, r"\(mode: "),
        ("mirror", 10**9, r"\(mirror: "),
        ("laps", True, r"\(laps: "),
        ("character", -1, r"\(character: "),
        ("digest", None, r"\(digest: "),
        ("version", 2, r"\(version: "),
        ("more", 1, r"\(more: "),
    ],
)
def test_damaged_entry_of_a_start_is_refused(
    kept: KeptStart,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: object,
    message: str,
) -> None:
    entry = json.loads(kept.path.with_suffix(".json").read_text())
    monkeypatch.setenv("MKDS_HOME", str(tmp_path))
    mine = kept.path.parent
    mine.mkdir(parents=True)
    (mine / ".partial-x.json").write_text("{")  # of a writer that died
    (mine / "a.json").write_text(json.dumps(entry))
    assert [start.course for start in kept_starts(kept.rom)] == [kept.course]
    (mine / "a.json").write_text(json.dumps({**entry, name: value}))
    match = f"left out: the entry '.*a.json' .* is damaged {message}.*starts remove a --rom ROM`"
    with pytest.warns(UserWarning, match=match):
        assert kept_starts(kept.rom) == []
