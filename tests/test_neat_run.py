"""Whole runs: folders, exact resumption, interruptions, and full disks."""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import itertools
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from neat_config import config_text
from neat_runs import LONG, NATIVE, QUICK, SMALL, command, everything, finish, resume, start, table
from PIL import Image
from waiting import until

from mkds_gym.display.video import race_clock
from mkds_gym.emulator.cartridge import BUNDLED_ROM
from mkds_gym.recording.format import Recording
from mkds_gym.replay.replay import verify
from mkds_neat.episode import EpisodeRecord
from mkds_neat.errors import ChampionFormatError, RunFolderError
from mkds_neat.networks import GenomeNetwork, NetworkSpec, Node, load_pt
from mkds_neat.report import GIF_LIMIT, replay, write_page, write_pictures
from mkds_neat.results import Champion, Checkpoint, RunFolder, load_champion
from mkds_neat.run import main
from mkds_neat.watch import main as watch


def worker_processes() -> list[str]:
    """Worker processes of this process (the helpers of multiprocessing stay until the end)."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            line = " ".join(child.cmdline())
            helper = child.ppid() == os.getpid() and ("forkserver" in line or "tracker" in line)
            if not helper:
                found.append(f"{child.pid} {child.status()} {line}")
    return found


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Callable[[str], RunFolder]:
    """Return the folder of an uninterrupted run of four generations, by strategy."""
    folders: dict[str, RunFolder] = {}

    def folder_of(strategy: str) -> RunFolder:
        if strategy not in folders:
            run = start(tmp_path_factory.mktemp(strategy), run__strategy=strategy, **NATIVE)
            outcome = run.run()
            assert (outcome.reason, outcome.generation) == ("generations", 4)
            folders[strategy] = run.folder
        return folders[strategy]

    return folder_of


@pytest.mark.parametrize("strategy", ["neat", pytest.param("truncation", marks=pytest.mark.slow)])
def test_resumed_run_equals_the_uninterrupted_run(strategy, straight, tmp_path):
    rows = table(straight(strategy), "individuals.csv")
    assert [r["generation"] for r in rows] == [str(g) for g in range(4) for _ in range(5)]
    for g in range(4):
        ids = [int(r["id"]) for r in rows if r["generation"] == str(g)]
        assert ids == sorted(ids)
    assert {r["evaluated"] for r in rows} == {"0", "1"}
    # Drivers end in different places, on a flat course.
    places = {tuple(float(r[name]) for name in ("end_x", "end_y", "end_z")) for r in rows}
    assert len(places) > 2
    assert {y for _, y, _ in places} == {0.0}
    # A survivor keeps its result: its frames are not emulated again.
    for summary in table(straight(strategy), "generations.csv"):
        of_generation = [r for r in rows if r["generation"] == summary["generation"]]
        evaluated = [int(r["frames"]) for r in of_generation if r["evaluated"] == "1"]
        assert (int(summary["evaluated"]), int(summary["frames"])) == (
            len(evaluated),
            sum(evaluated),
        )
    # How busy the workers are depends on the other work of the machine.
    assert all(0.0 < summary["busy"] <= 1.0 for summary in straight(strategy).generations())
    # Two generations in one worker, and the rest in another number of workers with gaps between
    # the checkpoints.
    changes = {
        "run__generations": 2,
        "run__workers": 1,
        "run__drivers_per_console": 1,
        "run__start_method": "fork",
    }
    if strategy == "truncation":  # worker processes make no other difference to a strategy
        changes |= NATIVE
    parts = start(tmp_path, run__strategy=strategy, **changes)
    parts.run()
    changes = {"workers": "4", "drivers_per_console": "2", "checkpoint_every": "3"}
    again = resume(parts.folder, generations="4", **changes)
    assert again.run().generation == 4
    assert everything(parts.folder) == everything(straight(strategy))


def test_crashed_run_resumes_with_all_its_results(straight, tmp_path):
    crashed = start(tmp_path, run__checkpoint_every=100, run__start_method="fork")

    class CrashError(Exception):
        pass

    def crash_in_third_generation(generation, individual, result, journal=crashed.folder.journal):
        journal(generation, individual, result)
        if generation == 2:
            raise CrashError

    crashed.folder.journal = crash_in_third_generation
    with pytest.raises(CrashError):
        crashed.run()
    assert not worker_processes()
    # The crash cut the last lines short.
    for name in ("journal.jsonl", "individuals.csv"):
        with (crashed.folder.path / name).open("a") as file:
            file.write('{"generation": 2, "id"' if name == "journal.jsonl" else "2,9")
    folder = RunFolder.open(crashed.folder.path)
    again = resume(folder, checkpoint_every="1", vectorization="native")
    evaluated = []
    journal = folder.journal
    folder.journal = lambda g, i, r: (evaluated.append((g, r.id)), journal(g, i, r))
    again.run()
    # The results of two generations, and the first of the third, are not evaluated again.
    assert {g for g, _ in evaluated} == {2, 3}
    known = [r for r in table(folder, "individuals.csv") if r["generation"] == "2"]
    assert len([g for g, _ in evaluated if g == 2]) == sum(int(r["evaluated"]) for r in known) - 1
    assert everything(folder) == everything(straight("neat"))


def test_folder_holds_all_files(tmp_path, caplog):
    run = start(
        tmp_path,
        run__generations=2,
        evaluation__frames=240,
        evaluation__scorer="progress",
        **NATIVE,
    )
    outcome = run.run()
    folder, champion = run.folder, outcome.champion
    assert champion is not None
    rows = table(folder, "individuals.csv")
    best = max(rows, key=lambda r: float(r["fitness"]))
    assert champion.fitness == float(best["fitness"]) == float(best["progress"]) > 100.0
    loaded = load_champion(folder.path / "champion.json")
    assert loaded == champion
    x = np.linspace(-1, 1, 6)
    expected = GenomeNetwork(champion.network).act(x)
    assert (GenomeNetwork(loaded.network).act(x) == expected).all()
    assert (load_pt(folder.path / "champion.pt").act(x) == expected).all()
    assert len(list(folder.checkpoints.iterdir())) == 3
    assert Image.open(folder.path / "fitness.png").size[0] > 500
    caplog.clear()
    with caplog.at_level("WARNING"):
        write_pictures(folder, champion)
    assert caplog.messages == []  # the replay is the race that was evaluated
    assert (folder.path / "champion.gif").stat().st_size < GIF_LIMIT
    gif = Image.open(folder.path / "champion.gif")
    assert gif.size == (256, 192)
    assert gif.n_frames > 20
    sheet = Image.open(folder.path / "champion.png")
    assert sheet.size[0] > 4 * 256
    assert len(sheet.getcolors(1 << 24)) > 50
    recording = Recording.load(folder.path / "champion.mkr")
    assert recording.label == champion.describe()
    assert recording.frames == champion.record.frames + recording.lead
    verify(recording)
    names = [path.name for path in (folder.path / "recordings").iterdir()]
    assert f"{champion.generation:06d}-{champion.id}.mkr" in names
    assert len({name[:6] for name in names}) == len(names)  # one of each generation
    # A champion without a recording does not keep the recording of another one.
    folder.save_champion(replace(champion, generation=99))
    assert not (folder.path / "champion.mkr").exists()
    folder.save_champion(champion)
    assert Recording.load(folder.path / "champion.mkr").ram == recording.ram
    assert [p.name for p in folder.path.rglob(".*")] == []  # no temporary files
    # The same output again makes a new folder and leaves the old one as it is.
    second = RunFolder.create(folder.path, "x")
    assert second.path.name == "run-2"
    assert table(folder, "individuals.csv") == rows


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    run = start(tmp_path_factory.mktemp("quick"), **QUICK)
    run.run()
    return everything(run.folder)


@pytest.mark.parametrize(
    "name",
    [
        "checkpoints/000001.json",
        "journal.jsonl",
        "generations.csv",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in (
                "checkpoints/000000.json",
                "individuals.csv",
                "champion.json",
                "champion.pt",
                "networks/000001.jsonl.gz",
                "fitness.png",
            )
        ),
    ],
)
def test_full_disk_is_named_and_loses_no_result(name, tmp_path, quick):
    run = start(tmp_path, **QUICK)
    path = run.folder.path / name
    path.parent.mkdir(exist_ok=True)
    path.symlink_to("/dev/full")
    with pytest.raises(RunFolderError, match=f"{name}.*No space left.*free some space.*--resume"):
        run.run()
    assert path.is_symlink()  # a device is not replaced by a file
    assert [p.name for p in run.folder.path.rglob(".*")] == []
    if run.champion is not None and name != "champion.json":
        assert load_champion(run.folder.path / "champion.json") == run.champion
    path.unlink()
    if name == "checkpoints/000000.json":
        assert run.folder.discard()
        return
    # With free space, the run continues and ends as if nothing had happened.
    again = resume(RunFolder.open(run.folder.path))
    assert again.run().generation == 2
    assert everything(run.folder) == quick


@pytest.mark.parametrize(
    "method",
    [
        "save_checkpoint",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("journal", "add_individuals", "add_generation", "save_champion")
        ),
    ],
)
def test_folder_that_vanishes_is_named_and_continues_when_it_is_back(
    method, tmp_path, quick, monkeypatch
):
    run = start(tmp_path, **QUICK)
    path, original, calls = run.folder.path, getattr(RunFolder, method), itertools.count()

    def vanish_before(*arguments):
        if next(calls) == 1:
            path.rename(tmp_path / "elsewhere")
        return original(*arguments)

    monkeypatch.setattr(RunFolder, method, vanish_before)
    with pytest.raises(RunFolderError, match=r"No such file.*check the path.*--resume"):
        run.run()
    assert not path.exists()  # a new folder would hide the loss
    (tmp_path / "elsewhere").rename(path)
    again = resume(RunFolder.open(path))
    assert again.run().generation == 2
    assert everything(run.folder) == quick


def test_link_is_written_through(tmp_path):
    folder = RunFolder.create(tmp_path / "run", "x")
    elsewhere = tmp_path / "elsewhere.json"
    (folder.path / "champion.json").symlink_to(elsewhere)
    for data in (b"1", b"2"):
        folder.write("champion.json", data)
        assert (folder.path / "champion.json").is_symlink()
        assert elsewhere.read_bytes() == data


def test_impossible_output_is_refused_with_its_cause(tmp_path):
    file = tmp_path / "file"
    file.write_text("precious")
    for output, message in (
        (file, r"file' is a file, not a folder.*--output"),
        (file / "run", r"Not a directory\); check the path"),
        ("/proc/1/run" if os.getuid() else "/sys/kernel/run", r"get the permission"),
    ):
        with pytest.raises(RunFolderError, match=message) as caught:
            RunFolder.create(output, "x")
        assert "space" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert file.read_text() == "precious"


def test_damaged_folder_is_named(tmp_path):
    folder = RunFolder.create(tmp_path / "run", "x")
    assert folder.load_checkpoint() is None
    folder.save_checkpoint(Checkpoint(0, {}))
    folder.save_checkpoint(Checkpoint(1, {}))
    (folder.checkpoints / "000001.json").write_bytes(b"cut sho")
    assert folder.load_checkpoint().generation == 0
    assert folder.notes == [
        "checkpoint 000001.json is not JSON: expected value at line 1 column 1; continuing from "
        "000000.json"
    ]


def test_champion_ranks_by_finish_then_time_then_fitness_then_age():
    slow = EpisodeRecord(
        {}, 1, 4, 0.0, finished=True, lap_times=(), race_time=90.0, events=(), seconds=0.0
    )
    fast, lost = replace(slow, race_time=80.0), replace(slow, finished=False, race_time=0.0)
    ranked = [  # the best first: (id, generation, fitness, record)
        (9, 9, 1.0, fast),
        (8, 8, 3.0, slow),
        (7, 7, 2.0, slow),
        (6, 1, 9.0, lost),
        (4, 2, 9.0, lost),
        (5, 2, 9.0, lost),
        (1, 0, 8.0, lost),
    ]
    network = NetworkSpec((-1,), (0,), (Node(0),), ())
    ranks = [
        Champion(key, generation, fitness, "neat", {}, network, "MKDS-v0", {}, 0, record).rank
        for key, generation, fitness, record in ranked
    ]
    assert ranks == sorted(ranks, reverse=True)
    assert len(set(ranks)) == len(ranks)


@pytest.fixture(scope="module")
def champion_values():
    record = EpisodeRecord({"progress": 1.0}, 100, 400, 3.5, True, (20.0, 21.5), 41.5, ("x",), 1.5)
    record = replace(record, end_position=(1.0, 2.0, -3.0))
    network = NetworkSpec((-1,), (0,), (Node(0),), ((-1, 0, 0.5),))
    champion = Champion(3, 7, 1.5, "neat", {"key": 3}, network, "MKDS-v0", {"laps": 1}, 12, record)
    assert Champion.from_json(champion.to_json()) == champion
    return json.loads(json.dumps(champion.to_json()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", r"c\.json': expected the champion\.json"),
        ("{", "not JSON"),
        ('{"format": "mkds_neat champion", "version": 9}', "version 9"),
        (
            '{"format": "mkds_neat champion", "version": 1}',
            r"the champion is damaged \(",
        ),
    ],
)
def test_malformed_champion_is_refused(text, message, tmp_path):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(ChampionFormatError, match=message):
        load_champion(tmp_path / "c.json")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("id", -1, "id: Input should be greater"),
        ("seed", 2**70, "seed: Input should be less"),
        ("seed", True, "seed: Input should be a valid integer"),
        ("generation", "1", "generation: Input should be a valid integer"),
        ("fitness", "<NaN>", "is not JSON"),
        ("fitness", "<1e999>", "number inf"),
        ("id", "<" + "9" * 5000 + ">", "is not JSON"),
        ("genome", None, "genome"),
        ("env_kwargs", [], "env_kwargs"),
        ("rom_sha1", "../x", "rom_sha1"),
        ("record", None, "record"),
        ("record.frames", -1, "record.frames"),
        ("record.lap_times", [None], "record.lap_times.0"),
        ("record.lap_times", ["<-Infinity>"], "is not JSON"),
        ("record.metrics", [], "record.metrics"),
        ("record.metrics", {"x": "1"}, "record.metrics.x"),
        ("record.events", [1], "record.events.0"),
        ("network.inputs", [1.5], "inputs.0: Input should be a valid integer"),
        ("network.nodes", [[0]], "nodes.0"),
        ("network.connections", [{"from": 0, "to": 1}], "connections.0.weight: Field required"),
        ("network.inputs", [0] * 1_100_000, "more than 1,000,000 values"),
        ("network.nodes", [{"id": each} for each in range(3_000)], "matrix of weights"),
    ],
    ids=range(22),
)
def test_wrong_value_in_a_champion_is_named(place, value, message, champion_values, tmp_path):
    values = copy.deepcopy(champion_values)
    *path, name = place.split(".")
    table = values
    for each in path:
        table = table[each]
    table[name] = value
    (tmp_path / "c.json").write_text(re.sub('"<(.*?)>"', r"\1", json.dumps(values)))
    with pytest.raises(ChampionFormatError) as caught:
        load_champion(tmp_path / "c.json")
    assert str(tmp_path / "c.json") in str(caught.value)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500


def test_champion_of_any_metrics_is_read(champion_values, tmp_path):
    values = copy.deepcopy(champion_values)
    values["record"]["metrics"] = {"a": "nan", "b": "-inf", "c": 1}
    values["made_by"] = "a newer version"
    (tmp_path / "c.json").write_text(json.dumps(values))
    metrics = load_champion(tmp_path / "c.json").record.metrics
    assert str(metrics) == "{'a': nan, 'b': -inf, 'c': 1.0}"


def test_champion_that_is_not_a_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", tmp_path, tmp_path / "none"):
        for load in (load_champion, load_pt):
            with pytest.raises(ChampionFormatError, match=r"expected the champion\.(json|pt)"):
                load(path)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0:00.000"), (59.9996, "1:00.000"), (83.4567, "1:23.457"), (605.0, "10:05.000")],
)
def test_race_clock_rounds_to_milliseconds(seconds, text):
    assert race_clock(seconds) == text


# The command in a process of its own ---------------------------------------------------------


def catches(pid: int, number: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(status.split("SigCgt:")[1].split()[0], 16) >> (number - 1) & 1)


def maps(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/maps").read_text()
    except OSError:  # the process has ended
        return ""


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


STAGES = {
    # The interpreter itself does not handle SIGTERM.
    "handlers": lambda pid, out: catches(pid, signal.SIGTERM),
    "imports": lambda pid, out: "_pydantic_core" in maps(pid),
    "folder": lambda pid, out: out.exists(),
    "workers": lambda pid, out: len(family(pid)) > 1,
    "emulator": lambda pid, out: any("libdesmume" in maps(each) for each in family(pid)),
    "generation": lambda pid, out: (out / "individuals.csv").exists(),
}
"""How far a run has come, as seen from outside."""


def reach(process: subprocess.Popen[str], stage: str, out: Path) -> None:
    until(lambda: STAGES[stage](process.pid, out) or process.poll() is not None)


def test_file_size_limit_is_one_line_and_leaves_no_folder(tmp_path):
    limit = (4096, 4096)
    process = command(
        tmp_path, "c.ini", before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    )
    _, err = finish(process, 1)
    assert err.startswith("python -m mkds_neat.run: error: ")
    assert "File too large" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGTERM, signal.SIGHUP)),
    ],
)
def test_interrupted_command_can_be_resumed(number, tmp_path, monkeypatch, capsys):
    process = command(tmp_path, *LONG)
    reach(process, "generation", tmp_path / "out")
    # Ctrl-C and the end of the terminal reach the whole process group, SIGTERM only one process.
    (os.kill if number == signal.SIGTERM else os.killpg)(process.pid, number)
    out, _ = finish(process, 128 + number)
    assert "--resume out" in out
    assert (tmp_path / "out" / "champion.json").exists()
    if number != signal.SIGINT:
        assert RunFolder.open(tmp_path / "out").load_checkpoint().generation > 0
        return
    done = len({r["generation"] for r in table(RunFolder(tmp_path / "out"), "individuals.csv")})
    monkeypatch.chdir(tmp_path)
    assert main(["--resume", "out", "--generations", str(done + 1), *LONG[3:]]) == 0
    assert f"done: {done + 1} generation" in capsys.readouterr().out


@pytest.mark.slow
def test_end_of_the_terminal_does_not_stop_a_run_under_nohup(tmp_path):
    ignore = functools.partial(signal.signal, signal.SIGHUP, signal.SIG_IGN)
    changes = {"run__vectorization": "native", "evaluation__frames": 30}
    process = command(tmp_path, "c.ini", *LONG[1:2], "2", *LONG[3:], before=ignore, **changes)
    reach(process, "folder", tmp_path / "out")
    os.killpg(process.pid, signal.SIGHUP)
    finish(process, 0)
    assert len(table(RunFolder(tmp_path / "out"), "generations.csv")) == 2


@pytest.mark.parametrize(
    ("method", "stage"),
    [
        *(("forkserver", stage) for stage in ("handlers", "imports")),
        *(("native", stage) for stage in ("folder", "emulator")),
        *(
            pytest.param(method, stage, marks=pytest.mark.slow)
            for method, stage in (
                ("forkserver", "workers"),
                ("forkserver", "emulator"),
                ("spawn", "workers"),
                ("spawn", "emulator"),
            )
        ),
    ],
)
def test_interrupt_during_the_start_ends_the_command(method, stage, tmp_path):
    key = "run__vectorization" if method == "native" else "run__start_method"
    process = command(tmp_path, *LONG, **{key: method})
    reach(process, stage, tmp_path / "out")
    os.killpg(process.pid, signal.SIGINT)
    out, _ = finish(process, 130)
    if not (tmp_path / "out").exists():
        assert "nothing was written" in out
        return
    assert "--resume out" in out
    assert RunFolder.open(tmp_path / "out").load_checkpoint().generation >= 0


@pytest.mark.parametrize("stage", ["generation", pytest.param("imports", marks=pytest.mark.slow)])
def test_second_interrupt_is_one_line(stage, tmp_path):
    process = command(tmp_path, *LONG)
    reach(process, stage, tmp_path / "out")
    # Until the very end, including the end of the interpreter.
    with contextlib.suppress(ProcessLookupError):
        while process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.005)
    out, err = finish(process, 130)
    assert err.count("\n") <= 1
    if stage == "imports":
        assert not (tmp_path / "out").exists()
    else:
        assert "--resume out" in out + err
        assert RunFolder.open(tmp_path / "out").load_checkpoint().generation >= 0


def test_run_resumes_only_with_its_own_cartridge(tmp_path, monkeypatch, capsys):
    rom = tmp_path / "k.nds"
    shutil.copy(BUNDLED_ROM, rom)
    changes = {**SMALL, **QUICK, "run__generations": 1}
    (tmp_path / "c.ini").write_text(config_text(**changes, run__output="out"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MKDS_ROM", "k.nds")
    quiet = ("--quiet", "--no-pictures")
    assert main(["c.ini", *quiet]) == 0
    sha1 = hashlib.sha1(rom.read_bytes()).hexdigest()
    out = tmp_path / "out"
    assert json.loads((out / "run.json").read_text())["rom_sha1"] == sha1
    champion = load_champion(out / "champion.json")
    assert champion.rom_sha1 == sha1
    assert champion.env_kwargs["rom"] == str(rom)
    # From another folder, and without the variable, the cartridge is still that file.
    monkeypatch.delenv("MKDS_ROM")
    monkeypatch.chdir("/")
    assert main(["--resume", str(out), "--generations", "2", *quiet]) == 0
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    data = bytearray(rom.read_bytes())
    data[-1] ^= 1
    rom.write_bytes(data)
    capsys.readouterr()
    assert main(["--resume", str(out), "--generations", "3", *quiet]) == 1
    err = capsys.readouterr().err
    assert sha1 in err
    assert hashlib.sha1(data).hexdigest() in err
    assert "start a new run" in err
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_other_environment_runs_to_its_end_and_is_shown(tmp_path, capsys):
    (tmp_path / "c.ini").write_text(
        f"[run]\nstrategy = truncation\ngenerations = 1\nworkers = 1\nstart_method = fork\n"
        f"output = {tmp_path / 'run'}\n[environment]\nid = Pendulum-v1\n"
        "[evaluation]\nscorer = rewards\n[truncation]\npopulation = 2\n"
    )
    assert main([str(tmp_path / "c.ini"), "--quiet"]) == 0
    out = capsys.readouterr().out
    assert "done: 1 generation; for more: " in out
    assert "pictures" not in out
    champion = load_champion(tmp_path / "run" / "champion.json")
    assert champion.fitness == champion.record.score < 0
    assert watch([str(tmp_path / "run"), "--no-window"]) == 0
    assert f"score {champion.fitness:.1f}" in capsys.readouterr().out
    page = write_page(tmp_path / "run", video=False).read_text()

    assert "the folder has no champion.mkr" in page


@pytest.mark.slow
@pytest.mark.timeout(1700)
def test_example_evolves_a_driver_that_finishes(tmp_path):
    """`make evolve` with one lap instead of three, including the pictures."""
    (tmp_path / "c.ini").write_text(config_text(environment__laps=1, run__output="out"))
    out, _ = finish(command(tmp_path, "c.ini", "--quiet"), 0, 1500)
    assert "a driver finished the race" in out
    champion = load_champion(tmp_path / "out" / "champion.json")
    assert champion.record.finished
    assert race_clock(champion.record.race_time) in out
    assert len(champion.record.lap_times) == 1
    assert sum(champion.record.lap_times) == pytest.approx(champion.record.race_time, abs=0.1)
    for name in ("champion.gif", "champion.png", "champion.pt", "fitness.png"):
        assert 0 < (tmp_path / "out" / name).stat().st_size < GIF_LIMIT
    # A finished run does not continue.
    out, _ = finish(command(tmp_path, "--resume", "out", "--quiet", "--no-pictures"), 0, 100)
    assert "a driver finished the race" in out
    # The champion drives the same race again.
    _, info = replay(champion, pictures=2)
    assert info["is_success"]
    assert info["total_time"] == champion.record.race_time
