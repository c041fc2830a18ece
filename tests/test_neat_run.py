"""Whole runs: folders, resuming to the bit, interruptions, and disks that fill up."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from neat_config import config_text
from PIL import Image

from mkds_gym.display.video import race_clock
from mkds_gym.emulator.cartridge import BUNDLED_ROM
from mkds_gym.recording.format import Recording
from mkds_gym.replay.replay import verify
from mkds_neat.config import parse_config
from mkds_neat.errors import ChampionFormatError, RunFolderError
from mkds_neat.evolution import Evolution
from mkds_neat.networks import GenomeNetwork, load_pt
from mkds_neat.report import GIF_LIMIT, write_pictures
from mkds_neat.results import RunFolder, load_champion
from mkds_neat.run import main

SMALL = {
    "run__stop_when": "never",
    "run__generations": 4,
    "run__workers": 2,
    "evaluation__frames": 90,
    "evaluation__stuck": 60,
    "NEAT__pop_size": 5,
    "DefaultReproduction__elitism": 1,
    "truncation__population": 5,
}


def start(tmp_path: Path, **changes) -> Evolution:
    config = parse_config(config_text(**{**SMALL, "run__output": tmp_path / "run", **changes}))
    return Evolution(config, RunFolder.create(config.run.output, config.text), progress=False)


def resume(folder: RunFolder, **overrides: str) -> Evolution:
    config = parse_config((folder.path / "config.ini").read_text(), overrides=overrides)
    return Evolution(config, folder, state=folder.load_checkpoint(), progress=False)


def table(folder: RunFolder, name: str) -> list[dict[str, str]]:
    """A table without the columns that tell how long something took."""
    with (folder.path / name).open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in r.items() if k not in ("wall_seconds", "seconds")} for r in rows]


def everything(folder: RunFolder):
    champion = json.loads((folder.path / "champion.json").read_text())
    del champion["record"]["seconds"]
    return table(folder, "individuals.csv"), table(folder, "generations.csv"), champion


@pytest.mark.parametrize("strategy", ["neat", "truncation"])
def test_resumed_runs_are_the_straight_run(strategy, tmp_path):
    straight = start(tmp_path / "a", run__strategy=strategy)
    outcome = straight.run()
    assert (outcome.reason, outcome.generation) == ("generations", 4)
    rows = table(straight.folder, "individuals.csv")
    assert [r["generation"] for r in rows] == [str(g) for g in range(4) for _ in range(5)]
    for g in range(4):
        ids = [int(r["id"]) for r in rows if r["generation"] == str(g)]
        assert ids == sorted(ids)
    assert {r["evaluated"] for r in rows} == {"0", "1"}

    # Two generations, then the rest by another number of workers; with gaps between checkpoints.
    parts = start(tmp_path / "b", run__strategy=strategy, run__generations=2, run__workers=1)
    parts.run()
    again = resume(parts.folder, generations="4", workers="2", checkpoint_every="3")
    assert again.run().generation == 4
    assert everything(parts.folder) == everything(straight.folder)


def test_a_run_that_died_anywhere_goes_on_with_what_it_had(tmp_path):
    straight = start(tmp_path / "a")
    straight.run()
    crashed = start(tmp_path / "b", run__checkpoint_every=100)

    class DiedError(Exception):
        pass

    def die_in_third_generation(generation, result, keep=crashed.folder.journal):
        keep(generation, result)
        if generation == 2:
            raise DiedError

    crashed.folder.journal = die_in_third_generation
    with pytest.raises(DiedError):
        crashed.run()
    assert not psutil_children()
    # As if the crash had cut the last lines short, too.
    for name in ("journal.jsonl", "individuals.csv"):
        with (crashed.folder.path / name).open("a") as file:
            file.write('{"generation": 2, "id"' if name == "journal.jsonl" else "2,9")
    folder = RunFolder.open(crashed.folder.path)
    again = resume(folder, checkpoint_every="1")
    evaluated = []
    keep = folder.journal
    folder.journal = lambda g, r: (evaluated.append((g, r.id)), keep(g, r))
    again.run()
    # What the first two generations earned was not evaluated again, nor the third's first.
    assert {g for g, _ in evaluated} == {2, 3}
    known = [r for r in table(folder, "individuals.csv") if r["generation"] == "2"]
    assert len([g for g, _ in evaluated if g == 2]) == sum(int(r["evaluated"]) for r in known) - 1
    assert everything(folder) == everything(straight.folder)


def psutil_children() -> list[str]:
    """Worker processes of this process (multiprocessing's own helpers stay until the end)."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            line = " ".join(child.cmdline())
        except psutil.Error:
            continue
        helper = child.ppid() == os.getpid() and ("forkserver" in line or "tracker" in line)
        if not helper:
            found.append(f"{child.pid} {child.status()} {line}")
    return found


def test_folder_holds_all_that_it_promises(tmp_path, caplog):
    run = start(tmp_path, run__generations=2, evaluation__frames=240, evaluation__scorer="progress")
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
    with caplog.at_level("WARNING"):
        write_pictures(folder, champion)
    assert caplog.messages == []  # the very race that was evaluated
    assert (folder.path / "champion.gif").stat().st_size < GIF_LIMIT
    gif = Image.open(folder.path / "champion.gif")
    assert gif.size == (256, 192)
    assert gif.n_frames > 20
    sheet = Image.open(folder.path / "champion.png")
    assert sheet.size[0] > 4 * 256
    assert len(sheet.getcolors(1 << 24)) > 50
    recording = Recording.load(folder.path / "champion.mkr")
    champion = load_champion(folder.path / "champion.json")
    assert recording.label == champion.describe()
    assert recording.frames == champion.record.frames + recording.lead
    verify(recording)
    assert (folder.path / "recordings" / f"{champion.generation:06d}-{champion.id}.mkr").is_file()
    # A champion without a recording, as of another environment, does not keep that of another.
    folder.save_champion(replace(champion, generation=99))
    assert not (folder.path / "champion.mkr").exists()
    folder.save_champion(champion)
    assert Recording.load(folder.path / "champion.mkr").ram == recording.ram
    leftovers = [p.name for p in folder.path.rglob(".*")]
    assert leftovers == []
    # The same output folder again: a new one beside it, the old one untouched.
    second = RunFolder.create(folder.path, "x")
    assert second.path.name == "run-2"
    assert table(folder, "individuals.csv") == rows


QUICK = {
    "run__generations": 2,
    "run__workers": 1,
    "run__start_method": "fork",
    "evaluation__frames": 30,
}


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    run = start(tmp_path_factory.mktemp("quick"), **QUICK)
    run.run()
    return everything(run.folder)


@pytest.mark.parametrize(
    "name",
    [
        "checkpoints/000000.pkl",
        "checkpoints/000001.pkl",
        "journal.jsonl",
        "individuals.csv",
        "generations.csv",
        "champion.json",
        "champion.pt",
        "fitness.png",
    ],
)
def test_full_disk_is_named_and_nothing_is_lost(name, tmp_path, quick):
    run = start(tmp_path, **QUICK)
    path = run.folder.path / name
    path.symlink_to("/dev/full")
    with pytest.raises(RunFolderError, match=f"{name}.*No space left.*free some space.*--resume"):
        run.run()
    assert path.is_symlink()  # a device is not replaced by a file
    assert not psutil_children()
    assert [p.name for p in run.folder.path.rglob(".*")] == []
    if run.champion is not None and name != "champion.json":
        saved = load_champion(run.folder.path / "champion.json")
        assert saved == run.champion
    path.unlink()
    if name == "checkpoints/000000.pkl":
        assert run.folder.discard()
        return
    # Space was made: it goes on, and ends as if nothing had happened.
    again = resume(RunFolder.open(run.folder.path))
    assert again.run().generation == 2
    assert everything(run.folder) == quick


def test_links_are_written_through(tmp_path):
    folder = RunFolder.create(tmp_path / "run", "x")
    elsewhere = tmp_path / "elsewhere.json"
    (folder.path / "champion.json").symlink_to(elsewhere)
    for data in (b"1", b"2"):
        folder.write("champion.json", data)
        assert (folder.path / "champion.json").is_symlink()
        assert elsewhere.read_bytes() == data


def test_output_that_cannot_be_is_refused_by_its_cause(tmp_path):
    file = tmp_path / "file"
    file.write_text("precious")
    with pytest.raises(RunFolderError, match=r"file' is a file, not a folder.*--output"):
        RunFolder.create(file, "x")
    with pytest.raises(RunFolderError, match=r"Not a directory\); check the path"):
        RunFolder.create(file / "run", "x")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert file.read_text() == "precious"
    with pytest.raises(RunFolderError, match=r"get the permission") as caught:
        RunFolder.create("/proc/1/run" if os.getuid() else "/sys/kernel/run", "x")
    assert "space" not in str(caught.value)


def test_a_limit_of_file_size_leaves_one_line_and_no_folder(tmp_path):
    (tmp_path / "c.ini").write_text(config_text(**{**SMALL, "run__output": "out"}))
    process = command(
        tmp_path,
        "c.ini",
        before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.startswith("python -m mkds_neat.run: error: ")
    assert "File too large" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_damaged_folders_are_named(tmp_path):
    folder = RunFolder.create(tmp_path / "run", "x")
    with pytest.raises(RunFolderError, match="no checkpoint"):
        folder.load_checkpoint()
    folder.save_checkpoint(0, {"strategy": None})
    folder.save_checkpoint(1, {"strategy": None})
    (folder.checkpoints / "000001.pkl").write_bytes(b"cut sho")
    assert folder.load_checkpoint()["generation"] == 0
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(ChampionFormatError, match=r"champion\.json"):
        load_champion(tmp_path / "c.json")
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(ChampionFormatError, match="not JSON"):
        load_champion(tmp_path / "c.json")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0:00.000"), (59.9996, "1:00.000"), (83.4567, "1:23.457"), (605.0, "10:05.000")],
)
def test_race_clock(seconds, text):
    assert race_clock(seconds) == text


def command(tmp_path: Path, *arguments: str, before=None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mkds_neat.run", *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=before,
    )


def group_is_gone(group: int) -> bool:
    for _ in range(50):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_command_says_how_to_go_on_and_does(number, tmp_path):
    (tmp_path / "c.ini").write_text(config_text(**{**SMALL, "run__output": "out"}))
    process = command(tmp_path, "c.ini", "--generations", "50", "--no-pictures")
    journal = tmp_path / "out" / "individuals.csv"
    deadline = time.monotonic() + 60
    while not journal.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    group = os.getpgid(process.pid)
    # Ctrl-C reaches the whole process group, SIGTERM the one process.
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert "--resume out" in out
    assert "Traceback" not in err
    assert (tmp_path / "out" / "champion.json").exists()
    assert group_is_gone(group)
    done = len({r["generation"] for r in table(RunFolder(tmp_path / "out"), "individuals.csv")})
    process = command(
        tmp_path, "--resume", "out", "--generations", str(done + 1), "--no-pictures", "--quiet"
    )
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert f"all {done + 1} generations done" in out
    shutil.rmtree(tmp_path / "out")


def interrupt(process: subprocess.Popen[str], number: int = signal.SIGINT) -> None:
    """As a terminal does it: to the whole process group."""
    os.killpg(process.pid, number)


def wait_for(process: subprocess.Popen[str], what) -> None:
    deadline = time.monotonic() + 60
    while not what() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


def catches(pid: int, number: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(status.split("SigCgt:")[1].split()[0], 16) >> (number - 1) & 1)


def maps(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/maps").read_text()
    except OSError:  # it has ended
        return ""


def family(pid: int) -> list[int]:
    """A process, and all that have come of it."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


STAGES = {
    # The interpreter itself leaves SIGTERM alone: this is the first thing that we do.
    "handlers": lambda pid, out: catches(pid, signal.SIGTERM),
    "torch": lambda pid, out: "torch" in maps(pid),
    "folder": lambda pid, out: out.exists(),
    "workers": lambda pid, out: len(family(pid)) > 1,
    "emulator": lambda pid, out: any("libdesmume" in maps(each) for each in family(pid)),
}
"""How far a run has come that has just been started, told from outside."""


@pytest.mark.parametrize(
    ("method", "stage"),
    [
        *(("forkserver", stage) for stage in ("handlers", "torch", "workers", "emulator")),
        *(("spawn", stage) for stage in ("workers", "emulator")),
        *(("native", stage) for stage in ("folder", "emulator")),
    ],
)
def test_interrupted_while_it_starts(method, stage, tmp_path):
    key = "run__vectorization" if method == "native" else "run__start_method"
    (tmp_path / "c.ini").write_text(config_text(**{**SMALL, "run__output": "out", key: method}))
    process = command(tmp_path, "c.ini", "--generations", "50", "--no-pictures")
    wait_for(process, lambda: STAGES[stage](process.pid, tmp_path / "out"))
    interrupt(process)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert "Traceback" not in err, err
    assert group_is_gone(process.pid)
    if not (tmp_path / "out").exists():
        assert "nothing was written" in out
        return
    assert "--resume out" in out
    folder = RunFolder.open(tmp_path / "out")
    assert folder.load_checkpoint()["generation"] >= 0


@pytest.mark.parametrize("begun", [False, True])
def test_a_second_interrupt_is_one_line(begun, tmp_path):
    (tmp_path / "c.ini").write_text(config_text(**{**SMALL, "run__output": "out"}))
    process = command(tmp_path, "c.ini", "--generations", "50", "--no-pictures", "--quiet")
    if begun:
        wait_for(process, (tmp_path / "out" / "individuals.csv").exists)
    else:
        wait_for(process, lambda: b"torch" in Path(f"/proc/{process.pid}/maps").read_bytes())
    interrupt(process)
    # And on until the very end, the end of the interpreter too.
    with contextlib.suppress(ProcessLookupError):
        while process.poll() is None:
            interrupt(process)
            time.sleep(0.005)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert "Traceback" not in err, err
    assert err.count("\n") <= 1
    assert group_is_gone(process.pid)
    if begun:
        assert "--resume out" in out + err
        assert RunFolder.open(tmp_path / "out").load_checkpoint()["generation"] >= 0
    else:
        assert not (tmp_path / "out").exists()


def test_a_run_goes_on_with_its_own_cartridge_only(tmp_path, monkeypatch, capsys):
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
    # From another folder, and without the variable: it is still that file.
    monkeypatch.delenv("MKDS_ROM")
    monkeypatch.chdir("/")
    assert main(["--resume", str(out), "--generations", "2", *quiet]) == 0
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    with rom.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    capsys.readouterr()
    assert main(["--resume", str(out), "--generations", "3", *quiet]) == 1
    err = capsys.readouterr().err
    assert sha1 in err
    assert hashlib.sha1(rom.read_bytes()).hexdigest() in err
    assert "start a new run" in err
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


@pytest.mark.slow
@pytest.mark.timeout(1700)
def test_the_example_evolves_a_driver_that_finishes(tmp_path):
    """One lap instead of three; else what `make evolve` does, pictures and all."""
    (tmp_path / "c.ini").write_text(config_text(environment__laps=1, run__output="out"))
    process = command(tmp_path, "c.ini", "--quiet")
    out, err = process.communicate(timeout=1500)
    assert process.returncode == 0, err
    assert "a driver finished the race" in out
    champion = load_champion(tmp_path / "out" / "champion.json")
    assert champion.record.finished
    assert race_clock(champion.record.race_time) in out
    assert len(champion.record.lap_times) == 1
    assert sum(champion.record.lap_times) == pytest.approx(champion.record.race_time, abs=0.1)
    for name in ("champion.gif", "champion.png", "champion.pt", "fitness.png"):
        assert 0 < (tmp_path / "out" / name).stat().st_size < GIF_LIMIT
    # Finished is finished.
    process = command(tmp_path, "--resume", "out", "--quiet", "--no-pictures")
    out, err = process.communicate(timeout=100)
    assert "a driver finished the race" in out
    # The champion drives the same race again.
    from mkds_neat.report import replay

    _, info = replay(champion, pictures=2)
    assert info["is_success"]
    assert info["total_time"] == champion.record.race_time
