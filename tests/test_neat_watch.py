"""Drivers of run folders driven again: ``mkds_neat.watch`` and ``mkds_neat.race``."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio.v2
import pygame
import pytest
from neat_runs import NATIVE, QUICK, SMALL, resume, start, table
from waiting import until
from windows import post, screenshot, set_display

from mkds_gym.recording.format import Recording
from mkds_gym.replay.replay import verify
from mkds_neat.errors import RunFolderError
from mkds_neat.individual import Individual
from mkds_neat.networks import NetworkSpec, Node
from mkds_neat.plan import Plan, episode_seed
from mkds_neat.race import Outcome
from mkds_neat.race import main as race
from mkds_neat.race import table as race_table
from mkds_neat.results import RunFolder, load_champion
from mkds_neat.results.population import load_network, save_networks
from mkds_neat.stored_driver import StoredDriver, load_driver
from mkds_neat.watch import main as watch

LINE = NetworkSpec((-1,), (0,), (Node(0),), ((-1, 0, 0.5),))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    # Without sensors, whose default differs in a race of several agents.
    changes = {**QUICK, "environment__sensors": None}
    evolution = start(tmp_path_factory.mktemp("watched"), **changes)
    evolution.run()
    return evolution.folder


# Stored networks -----------------------------------------------------------------------------


def test_network_of_every_individual_is_stored(run: RunFolder) -> None:
    rows = table(run, "individuals.csv")
    first = {int(row["id"]): int(row["generation"]) for row in reversed(rows)}
    for key, generation in first.items():
        stored, network = load_network(run.path, key)
        assert (stored, len(network.inputs)) == (generation, 6)
    champion = load_champion(run.path / "champion.json")
    assert load_network(run.path, champion.id) == (champion.generation, champion.network)


@pytest.mark.slow
def test_resumed_run_stores_the_same_bytes(tmp_path: Path) -> None:
    run = start(tmp_path / "whole", **{**SMALL, **NATIVE})
    run.run()
    parts = start(tmp_path, **{**SMALL, **NATIVE, "run__generations": 2})
    parts.run()
    resume(parts.folder, generations="4").run()
    names = sorted(path.name for path in (run.folder.path / "networks").iterdir())
    assert names == [f"{number:06d}.jsonl.gz" for number in range(4)]
    for name in names:
        files = [folder.path / "networks" / name for folder in (run.folder, parts.folder)]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_oldest_networks_make_room(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for generation in range(6):
        individuals = [Individual(10 * generation + n, LINE, {}) for n in range(10)]
        save_networks(folder, generation, individuals, limit=500)
    left = sorted(path.name for path in (tmp_path / "networks").iterdir())
    assert left[-1] == "000005.jsonl.gz"
    assert 1 < len(left) < 6
    assert load_network(tmp_path, 52) == (5, LINE)
    with pytest.raises(RunFolderError, match=r"individual 3 .*from \d+ to 59.*\[run\] networks"):
        load_network(tmp_path, 3)
    save_networks(folder, 6, [Individual(60, LINE, {})], limit=0)
    assert sorted(path.name for path in (tmp_path / "networks").iterdir()) == left
    save_networks(folder, 6, [Individual(60, LINE, {})], limit=1)
    assert [path.name for path in (tmp_path / "networks").iterdir()] == ["000006.jsonl.gz"]


def test_last_evaluation_of_a_survivor_is_found(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for generation in (1, 2):
        save_networks(folder, generation, [Individual(3, LINE, {})], limit=10_000)
    assert load_network(tmp_path, 3) == (2, LINE)
    assert load_network(tmp_path, 3, until=1) == (1, LINE)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x1f\x8b\x08\x00 no gzip", "damaged"),
        (gzip.compress(b"{}\n"), "damaged"),
        (gzip.compress(b'{"id":1,"network":{"inputs":"many"}}\n'), "damaged.*inputs"),
        (gzip.compress(b'{"id":1,"netw'), "damaged|JSON"),
    ],
    ids=["no gzip", "no id", "no network", "cut"],
)
def test_damaged_networks_are_refused(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "networks").mkdir()
    (tmp_path / "networks" / "000000.jsonl.gz").write_bytes(data)
    with pytest.raises(RunFolderError, match=message):
        load_network(tmp_path, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "message"),
    [
        (bytes(1 << 20), "a line of more than 16,777,216 bytes"),
        (b'{"id":7,' + b" " * (1 << 20) + b"}\n", "more than 268,435,456 bytes"),
    ],
    ids=["one line", "many lines"],
)
def test_networks_that_would_fill_memory_are_refused(
    part: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / "networks").mkdir()
    with gzip.open(tmp_path / "networks" / "000000.jsonl.gz", "wb", compresslevel=1) as file:
        for _ in range(257):
            file.write(part)
    with pytest.raises(RunFolderError, match=message):
        load_network(tmp_path, 1)


# Choosing a driver ---------------------------------------------------------------------------


def test_watch_drives_the_race_that_was_evaluated(run: RunFolder, capsys: Any) -> None:
    best = [row["best_id"] for row in table(run, "generations.csv")][1]
    said = []
    for arguments in (["champion"], [best], ["--generation", "1"]):
        assert watch([str(run.path), *arguments, "--no-window"]) == 0
        said.append(capsys.readouterr().out)
    assert said[0].startswith("run: ended by ")
    assert said[1] == said[2]
    row = next(r for r in table(run, "individuals.csv") if r["id"] == best)
    assert f"ended by {row['events'].replace(' ', ' and ')} in lap" in said[1]


def test_driver_has_the_seed_of_its_episode(run: RunFolder, tmp_path: Path) -> None:
    seed, champion = run.info().seed, load_champion(run.path / "champion.json")
    rows = table(run, "individuals.csv")
    key = max(int(row["id"]) for row in rows if int(row["id"]) != champion.id)
    generation, _ = load_network(run.path, key)
    assert load_driver(run.path, str(key)).seed == episode_seed(seed, key)
    folder = tmp_path / "copy"
    shutil.copytree(run.path, folder)
    config = (folder / "config.ini").read_text().replace("seeds = individual", "seeds = generation")
    (folder / "config.ini").write_text(config)
    expected = Plan(seeds="generation").seed(seed, key, 0, generation)
    assert load_driver(folder, str(key)).seed == expected != episode_seed(seed, key)
    # A champion that was evaluated again: its race of an earlier generation is another one.
    (folder / "champion.json").write_text(json.dumps(replace(champion, generation=9).to_json()))
    (folder / "generations.csv").write_text(f"generation,best_id\n1,{champion.id}\n")
    assert load_driver(folder).name == "copy"
    assert load_driver(folder, generation=1).name == f"copy {champion.id}"


@pytest.mark.parametrize(
    ("arguments", "seed", "start"),
    [([], 5, 0.5), (["--seed", "9"], 9, 0.5), (["--course", "desert_course"], 5, None)],
)
def test_watch_begins_where_the_episode_began(
    arguments: list[str],
    seed: int,
    start: float | None,
    run: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    champion = load_champion(run.path / "champion.json")
    values = replace(champion, seed=5, start=0.5).to_json()
    (tmp_path / "champion.json").write_text(json.dumps(values))
    resets: list[Any] = []

    def reset(_: Any, *, seed: int, options: Any) -> Any:
        resets.append((seed, options))
        raise ValueError("enough")

    monkeypatch.setattr("mkds_gym.env.MKDSEnv.reset", reset)
    assert watch([str(tmp_path / "champion.json"), "--no-window", *arguments]) == 1
    assert resets == [(seed, None if start is None else {"progress": start})]


@pytest.mark.slow
def test_recorded_individual_is_replayed_to_the_same_end(
    run: RunFolder, tmp_path: Path, capsys: Any
) -> None:
    keys = {row["id"] for row in table(run, "individuals.csv")}
    champion = load_champion(run.path / "champion.json")
    key = max(keys - {str(champion.id)})
    assert watch([str(run.path), key, "--no-window", "--save", str(tmp_path / "a.mkr")]) == 0
    assert capsys.readouterr().out.endswith(f"\nsaved: {tmp_path / 'a.mkr'}\n")
    verify(Recording.load(tmp_path / "a.mkr"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["99999"], "individual 99999 is not stored in .*from 1 to"),
        (["best"], "individual 'best': expected an id of individuals.csv, or champion"),
        (["3", "--generation", "1"], "an individual or a generation, not both"),
        (["--generation", "77"], "generation 77 is not in .*2 generations"),
        (["--course", "nowhere"], "nowhere"),
        (["--overlays", "magic"], "magic"),
        (["--save", "/proc/1/a.mkr"], "/proc/1/a.mkr"),
    ],
)
def test_watch_refuses(arguments: list[str], message: str, run: RunFolder, capsys: Any) -> None:
    assert watch([str(run.path), *arguments, "--no-window"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("python -m mkds_neat.watch: error: ")
    assert re.search(message, error), error


@pytest.mark.parametrize("command", [watch, race])
def test_missing_folder_is_named(command: Any, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "file").mkdir()
    for name, message in (
        ("none", "none' does not exist: expected the folder of a run"),
        ("file", "champion.json' does not exist: expected the champion.json of a run folder"),
        ("none.json", "none.json' does not exist: expected the champion.json of a run folder"),
    ):
        assert command([str(tmp_path / name), str(tmp_path / name)][: 1 + (command is race)]) == 1
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("env_id", "kwargs", "names"),
    [
        ("MKDS-v0", {"sensors": "rays:9", "truncate_on": ["clock:60", "stuck:1.5"]}, []),
        ("MKDS-v0", {"rom": "/a:b", "state": "c:d"}, []),
        ("MKDS-v0", {"sensors": ["seed6", "evil:Sensor"]}, ["evil:Sensor"]),
        ("MKDS-v0", {"truncate_on": {"kart": ("evil:Event:3",)}}, ["evil:Event:3"]),
        ("MKDS-v0", {"sensors": ["evil:inf", "evil:nan"]}, ["evil:inf", "evil:nan"]),
        ("MKDS-v0", {"sensors": {"evil:Sensor": 1}}, ["evil:Sensor"]),
        ("evil:Env-v0", {}, ["evil:Env-v0"]),
    ],
)
def test_names_of_code_are_found(env_id: str, kwargs: Any, names: list[str]) -> None:
    driver = StoredDriver("it", LINE, env_id, kwargs, 0)
    assert driver.names_of_code() == names
    driver.check_trusted(trusted=True)
    if names:
        with pytest.raises(RunFolderError, match=r"names code.*--trust"):
            driver.check_trusted(trusted=False)


@pytest.mark.parametrize("name", ["fly", "inf"])
def test_strangers_folder_runs_no_code(
    name: str, run: RunFolder, tmp_path: Path, capsys: Any
) -> None:
    folder = tmp_path / "stranger"
    shutil.copytree(run.path, folder)
    champion = json.loads((folder / "champion.json").read_text())
    champion["env_kwargs"]["sensors"] = f"antigravity:{name}"
    (folder / "champion.json").write_text(json.dumps(champion))
    for command in (watch, race):
        assert command([str(folder), "--no-window"]) == 1
        assert f"antigravity:{name}" in capsys.readouterr().err
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sensors": "rays:3"}, "expected observations of 6 numbers"),
        ({"action_type": "discrete"}, "expected actions of 2 numbers, got .*Discrete"),
    ],
)
def test_driver_of_another_environment_is_refused(
    changes: dict[str, str], message: str, run: RunFolder, tmp_path: Path, capsys: Any
) -> None:
    champion = json.loads((run.path / "champion.json").read_text())
    champion["env_kwargs"] |= changes
    (tmp_path / "champion.json").write_text(json.dumps(champion))
    for command in (watch, race):
        assert command([str(tmp_path / "champion.json"), "--no-window"]) == 1
        assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize("number", ["inf", "nan", "1.5"])
def test_damaged_best_id_is_refused(number: str, tmp_path: Path, run: RunFolder) -> None:
    shutil.copy(run.path / "champion.json", tmp_path)
    (tmp_path / "generations.csv").write_text(f"generation,best_id\n0,{number}\n")
    with pytest.raises(RunFolderError, match="is damaged: best_id"):
        load_driver(tmp_path, generation=0)


# Races ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two runs, with other sensors, actions and steps; the second one of a run of MLPs."""
    changes = {
        "run__strategy": "truncation",
        "environment__sensors": "rays:5",
        "environment__action_type": "threshold:4",
        "environment__frame_skip": 6,
    }
    other = start(tmp_path_factory.mktemp("rival") / "rival", **{**QUICK, **changes})
    other.run()
    return [str(run.path), str(other.folder.path)]


def test_table_has_the_best_driver_first() -> None:
    driver = StoredDriver("", LINE, "MKDS-v0", {}, 0)
    ends = {"far": (False, 0.0, 2.5), "slow": (True, 90.0, 3.0), "fast": (True, 80.0, 3.0)}
    outcomes = [
        Outcome(replace(driver, name=name), finished, seconds, (), progress)
        for name, (finished, seconds, progress) in {"near": (False, 0.0, 0.5), **ends}.items()
    ]
    lines = race_table(outcomes).splitlines()[2:]
    assert [line.split("|")[2].strip() for line in lines] == ["fast", "slow", "far", "near"]


def test_options_replace_the_course_of_the_run(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def make(_: str, **kwargs: Any) -> Any:
        names = ("course", "course_seed", "course_set", "laps")
        raise ValueError(str([kwargs.get(name, "-") for name in names]))

    monkeypatch.setattr("gymnasium.make", make)
    for command in (watch, race):
        for arguments, expected in (
            (["--course", "desert_course", "--laps", "2"], "['desert_course', None, None, 2]"),
            (["--course-seed", "7"], "['random', 7, None, '-']"),
        ):
            assert command([str(run.path), "--no-window", *arguments]) == 1
            assert expected in capsys.readouterr().err


@pytest.mark.parametrize("versus", [pytest.param(False, marks=pytest.mark.slow), True])
def test_race_prints_the_places(versus: bool, runs: list[str], capsys: Any) -> None:
    arguments = ["--no-window", "--frames", "120", *(["--versus"] if versus else [])]
    printed = []
    for _ in range(2):
        assert race([*runs, runs[0], *arguments]) == 0
        printed.append(capsys.readouterr().out)
    lines = printed[0].splitlines()
    assert printed[0] == printed[1]
    assert [line.split("|")[1].strip() for line in lines] == ["place", "-------", "1", "2", "3"]
    names = {line.split("|")[2].strip() for line in lines[2:]}
    assert names == {"run", "run #2", "run #3"}
    times = dict(line.split("|")[2:4] for line in lines[2:])
    same = len({times[name] for name in times if name.strip() in ("run", "run #3")}) == 1
    assert same is not versus, "the same driver drives the same race, unless others are in its way"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frames", "0"], "--frames 0 is out of range"),
        (["--items"], "no effect without --versus"),
        (["--versus"], "--versus needs 2 to 8 runs, and 1 were given"),
        (["--view", "2"], "no effect without --versus"),
        (["b", "--versus", "--view", "3"], "--view 3 is out of range: expected 1 to 2; --help"),
    ],
)
def test_race_refuses_arguments(
    arguments: list[str], message: str, run: RunFolder, capsys: Any
) -> None:
    with pytest.raises(SystemExit):
        race([str(run.path), *arguments])
    (error,) = capsys.readouterr().err.splitlines()
    assert re.search(message, error)


@pytest.mark.slow
@pytest.mark.parametrize("versus", [False, True])
def test_race_is_shown_and_filmed(
    versus: bool, runs: list[str], display: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_display(monkeypatch, display)
    shown: list[int] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.2):
            shown.append(int(screenshot(display).any(axis=2).sum()))

    thread = threading.Thread(target=look)
    thread.start()
    arguments = ["--frames", "90", "--scale", "1", "--video", str(tmp_path / "race.mp4")]
    try:
        assert race([*runs, *arguments, *(["--versus", "--view", "2"] if versus else [])]) == 0
    finally:
        stop.set()
        thread.join()
    assert max(shown) > 192 * 256 / 2
    pictures = list(imageio.v2.get_reader(tmp_path / "race.mp4").iter_data())
    height, width = pictures[0].shape[:2]
    assert (height, width) == (192, 256) if versus else width >= 512
    assert len(pictures) >= (90 // 2 if versus else 90)


@pytest.mark.slow
def test_watch_ends_when_its_window_is_closed_and_saves_what_was_driven(
    run: RunFolder, display: str, monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path
) -> None:
    set_display(monkeypatch, display)

    def close() -> None:
        until(lambda: screenshot(display).any(), 30)
        post(pygame.QUIT)

    thread = threading.Thread(target=close)
    thread.start()
    saved = tmp_path / "a.mkr"
    assert watch([str(run.path), "--overlays=rays,hud", "--laps=9", f"--save={saved}"]) == 0
    thread.join()
    assert capsys.readouterr().out == f"run: the window was closed\nsaved: {saved}\n"
    assert Recording.load(saved).frames > 0


def test_watch_without_a_display_says_so(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    set_display(monkeypatch, None)
    assert watch([str(run.path)]) == 1
    assert "--no-window" in capsys.readouterr().err
