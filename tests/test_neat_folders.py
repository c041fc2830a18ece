"""Run folders: locks, damage, pickles, changed settings, and deaths at every write."""

from __future__ import annotations

import configparser
import contextlib
import errno
import fcntl
import hashlib
import json
import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from neat_config import config_text
from neat_runs import LONG, QUICK, SMALL, command, everything, resume, start, table
from programs import started
from waiting import until

from mkds_neat.errors import ConfigError, NoRunFolderError, RunFolderError
from mkds_neat.evolution import Evolution
from mkds_neat.results import RunFolder, Session
from mkds_neat.run import main


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two generations."""
    run = start(tmp_path_factory.mktemp("finished"), **QUICK)
    run.run()
    return run.folder.path


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def reopened(folder: Path, **overrides: str) -> Evolution:
    """The run of a folder, resumed up to where the first worker would start."""
    evolution = resume(RunFolder.open(folder), **overrides)
    evolution.begin()
    evolution.folder.unlock()
    return evolution


class Marker:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["000002.pkl", "000002.json", "000009.json"])
def test_pickles_as_checkpoints_are_refused_and_not_read(
    name: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    marker, out = tmp_path / "marker", folder / "checkpoints"
    data = pickle.dumps({"version": 1, "strategy": Marker(marker)})
    if name.endswith(".pkl"):
        shutil.rmtree(out)
        out.mkdir()
    (out / name).write_bytes(data)
    (folder / "journal.jsonl").write_bytes(data)
    before = contents(folder)
    if name.endswith(".pkl"):
        assert main(["--resume", str(folder), "--quiet"]) == 1
        err = capsys.readouterr().err
        assert f"{name}' is a pickle, which an earlier version of mkds-gym wrote" in err
        assert "start a new run: python -m mkds_neat.run" in err
        assert contents(folder) == before
    else:  # an older checkpoint can be read
        assert any(name in note for note in reopened(folder).folder.notes)
    assert not marker.exists()
    pickle.loads(data)
    assert marker.exists()


# Locks ---------------------------------------------------------------------------------------


def test_second_process_on_a_folder_is_refused_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    process = command(tmp_path, *LONG, run__vectorization="native")
    out = tmp_path / "out"
    until(lambda: (out / "run.json").exists() or process.poll() is not None)
    monkeypatch.chdir(tmp_path)
    begun = time.monotonic()
    assert main(["--resume", "out", *LONG[3:]]) == 1
    assert time.monotonic() - begun < 10
    err = capsys.readouterr().err
    assert f"the run in 'out' is going: process {process.pid} on {socket.gethostname()}" in err
    assert "wait for its end, or stop that process" in err
    assert process.poll() is None
    process.kill()
    process.communicate()
    # The lock of a process that has died holds nobody up.
    assert reopened(out).strategy.generation >= 0
    sessions = RunFolder(out).info().sessions
    assert [session.pid for session in sessions] == [process.pid, os.getpid()]


def test_folder_is_locked_within_a_process_and_by_a_file_where_the_system_has_no_locks(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = RunFolder.open(folder), RunFolder.open(folder)
    for _ in range(2):
        with first:
            first.lock()
            first.lock()
            with pytest.raises(RunFolderError, match=r"is going: process .*; wait for its end"):
                second.lock()
        with second:
            second.lock()

        def no_lock(*_: int) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(fcntl, "flock", no_lock)
    with first:
        first.lock()
        with pytest.raises(RunFolderError, match=r"remove '.*owner' if that process no longer"):
            second.lock()
    assert not (folder / "run.lock.owner").exists()


# Damage --------------------------------------------------------------------------------------


def replace(name: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        data = (folder / name).read_bytes()
        assert old in data
        (folder / name).write_bytes(data.replace(old, new, 1))

    return damage


def write(name: str, data: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(data)  # type: ignore[return-value]


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def flip(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)

    return damage


def append(name: str, data: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes() + data)  # type: ignore[return-value]


def with_checksum(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Change all checkpoints, and give them checksums that match."""

    def damage(folder: Path) -> None:
        for path in (folder / "checkpoints").iterdir():
            head, body = map(json.loads, path.read_bytes().splitlines())
            change(body)
            text = json.dumps(body).encode()
            head["sha256"] = hashlib.sha256(text).hexdigest()
            path.write_bytes(json.dumps(head).encode() + b"\n" + text + b"\n")

    return damage


@pytest.mark.parametrize(
    ("damage", "note"),
    [
        (flip("checkpoints/000002.json"), "checkpoint 000002.json is damaged.* from 000001.json"),
        (write("checkpoints/000002.json", b""), "000002.json is not JSON.* from 000001.json"),
        (remove("checkpoints/000002.json"), None),
        (append("individuals.csv", b"2,7,1"), None),
        (replace("individuals.csv", b"\n", b"\r\n"), None),
        (remove("generations.csv"), None),
        (write("generations.csv", b"generation,best\n\xff,\n"), None),
        (replace("generations.csv", b"0,5,5,", b"0,5,5,nan"), None),
        (remove("journal.jsonl"), None),
        (append("journal.jsonl", b'{"generation": 2, "id"'), "1 damaged line"),
        (append("journal.jsonl", b"\xff\x00\n[[[[\n"), "2 damaged lines"),
        (remove("run.json"), "run.json is missing; run.json is written again"),
        (write("run.json", b"[" * 100_000), "run.json .* written again"),
        (write("run.json", b"3"), "run.json has another format"),
        (remove("config.ini"), "config.ini is missing; it is written again"),
        (remove("champion.json"), None),
        (write("checkpoints/.partial-abc.json", b"half"), None),
        (write(".partial-abc.ini", b"half"), None),
    ],
)
@pytest.mark.slow
def test_damage_is_repaired_from_the_rest(
    damage: Callable[[Path], None],
    note: str | None,
    folder: Path,
    finished: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(folder)
    assert main(["--resume", str(folder), "--quiet", "--no-pictures"]) == 0
    assert everything(RunFolder(folder)) == everything(RunFolder(finished))
    captured = capsys.readouterr()
    assert captured.err == ""
    if note is not None:
        assert re.search(note, captured.out)
    assert not list(folder.rglob(".*"))


def test_damage_in_many_files_is_repaired(
    folder: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for damage in (
        flip("checkpoints/000002.json"),
        append("individuals.csv", b"2,7,1"),
        write("generations.csv", b"generation,best\n\xff,\n"),
        append("journal.jsonl", b'{"generation": 2, "id"\n\xff\x00\n[[[['),
        write("run.json", b"[" * 100_000),
        remove("config.ini"),
        remove("champion.json"),
        write("checkpoints/.partial-abc.json", b"half"),
    ):
        damage(folder)
    assert main(["--resume", str(folder), "--quiet", "--no-pictures"]) == 0
    assert everything(RunFolder(folder)) == everything(RunFolder(finished))
    captured = capsys.readouterr()
    assert captured.err == ""
    for note in (
        "checkpoint 000002.json is damaged",
        "journal.jsonl has 3 damaged lines",
        "run.json is written again",
        "config.ini is missing",
    ):
        assert note in captured.out
    assert not list(folder.rglob(".*"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("individuals.csv"), "individuals.csv' is missing or has changed.*restart-tables"),
        (
            replace("run.json", b'"version": 2', b'"version": 3'),
            "run.json has version 3: expected 2; continue the run with the mkds-gym that wrote it",
        ),
        (
            replace("checkpoints/000002.json", b'"version": 3', b'"version": 4'),
            "checkpoint 000002.json has version 4: expected 3; continue the run with the mkds-gym",
        ),
        (write("individuals.csv", b"\xff"), "individuals.csv' is missing or has changed"),
        (replace("individuals.csv", b"\n0,1,", b"\n0,2,"), "is missing or has changed"),
        (lambda folder: shutil.rmtree(folder / "checkpoints"), "but its checkpoints are gone"),
        (
            lambda folder: [p.write_bytes(b"x") for p in (folder / "checkpoints").iterdir()],
            "no checkpoint to resume from: checkpoint 000002.json is not JSON.*000000.json",
        ),
        (write("config.ini", b"\xff"), "config.ini.*not UTF-8"),
        (write("config.ini", b""), r"config\.ini: no section \[run\]"),
        (with_checksum(lambda body: body["tables"].update(summaries=[["x"]])), "other columns"),
        (with_checksum(lambda body: body["tables"].update(sha256="0" * 64)), "individuals.csv"),
        (with_checksum(lambda body: body.pop("last")), "000002.json is damaged .*last"),
        (with_checksum(lambda body: body.update(generation=-1)), "is damaged .*generation"),
        (with_checksum(lambda body: body.update(champion={})), "is damaged: expected the champion"),
        (with_checksum(lambda body: body["strategy"].update(best=1 << 40)), "best genome"),
        (with_checksum(lambda body: body["strategy"].update(generation=7)), "generation 7"),
        (with_checksum(lambda body: body["strategy"]["genomes"].pop()), "is missing"),
        (with_checksum(lambda body: body["strategy"]["species"].clear()), "members of the species"),
        (with_checksum(lambda body: body["strategy"]["random"]["numbers"].pop()), "state"),
        (
            lambda folder: (
                (folder / "journal.jsonl").unlink(),
                os.mkfifo(folder / "journal.jsonl"),
            ),
            "journal.jsonl' is a pipe or a device: remove it",
        ),
    ],
)
def test_damage_that_cannot_be_repaired_is_refused_by_name(
    damage: Callable[[Path], object],
    message: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(folder)
    regular = [p for p in folder.rglob("*") if p.is_file()]
    before = {path: path.read_bytes() for path in regular}
    assert main(["--resume", str(folder), "--quiet", "--generations", "3"]) in (1, 2)
    err = capsys.readouterr().err
    assert re.search(message, err), err
    assert err.count("\n") == 1
    assert len(err) < 1000
    assert {path: path.read_bytes() for path in regular} == before


def test_champion_of_a_checkpoint_is_driven_in_the_environment_of_the_config(folder: Path) -> None:
    names = {"env_id": "a_strangers_module:Env-v0", "env_kwargs": {"reward": "its_module:Reward"}}
    with_checksum(lambda body: body["champion"] and body["champion"].update(names))(folder)
    evolution = reopened(folder)
    assert evolution.champion is not None
    assert evolution.champion.env_id == evolution.config.env_id
    assert evolution.champion.env_kwargs == evolution.config.env_kwargs


def test_lost_rows_may_be_left_behind_on_request(folder: Path) -> None:
    rows = table(RunFolder(folder), "individuals.csv")
    replace("individuals.csv", b"\n0,1,", b"\n0,2,")(folder)
    arguments = ["--resume", str(folder), "--quiet", "--no-pictures", "--restart-tables"]
    assert main([*arguments, "--generations", "3"]) == 0
    assert (folder / "individuals-old.csv").exists()
    assert {row["generation"] for row in table(RunFolder(folder), "individuals.csv")} == {"2"}
    assert len(table(RunFolder(folder), "generations.csv")) == 3
    assert len(rows) == 10
    assert main([*arguments[:-1], "--generations", "3"]) == 0  # the new table is whole


def test_run_that_died_before_its_first_checkpoint_begins_again(
    finished: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    shutil.copy(finished / "config.ini", folder)
    (folder / "checkpoints" / ".partial-x.json").write_bytes(b"half")
    assert main(["--resume", str(folder), "--quiet", "--no-pictures"]) == 0
    assert everything(RunFolder(folder)) == everything(RunFolder(finished))
    with pytest.raises(NoRunFolderError, match=r"no config\.ini"):
        RunFolder.open(tmp_path)
    with pytest.raises(NoRunFolderError, match=r"cannot be read \(File name too long\)"):
        RunFolder.open("x" * 5000)


def test_checkpoint_that_cannot_be_read_again_is_not_saved(
    tmp_path: Path,
    finished: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The run resumes from the one before, and from the part of the journal that is read."""
    run = start(tmp_path, **QUICK)
    run.begin()
    assert "too large" not in caplog.text
    with monkeypatch.context() as patch:
        patch.setattr("mkds_neat.results.run_folder.MAX_VALUES", 10)
        run._checkpoint()
        run.run()
    assert caplog.text.count("would be too large to be read again") == 1
    assert [path.name for path in run.folder._checkpoint_paths()] == ["000000.json"]
    size = (run.folder.path / "journal.jsonl").stat().st_size
    monkeypatch.setattr("mkds_neat.results.run_folder.MAX_JOURNAL", size // 2)
    assert main(["--resume", str(run.folder.path), "--quiet", "--no-pictures"]) == 0
    assert everything(run.folder) == everything(RunFolder(finished))
    assert "journal.jsonl has more than" in (run.folder.path / "run.log").read_text()


def test_code_of_a_refused_change_is_not_imported(
    tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "stranger.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    text = (folder / "config.ini").read_text()
    (folder / "config.ini").write_text(re.sub(r"(?m)^scorer = .*", "scorer = stranger:score", text))
    assert main(["--resume", str(folder), "--quiet", "--no-pictures"]) == 2
    error = capsys.readouterr().err
    assert "[evaluation] scorer = 'stranger:score' cannot change in a resumed run" in error
    assert "imported" not in error
    assert "stranger" not in sys.modules


# Changed settings ----------------------------------------------------------------------------


def edit(folder: Path, section: str, key: str, value: str) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(folder / "config.ini")
    parser[section][key] = value
    with (folder / "config.ini").open("w") as file:
        parser.write(file)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("evaluation", "frames", "31"),
        ("evaluation", "stuck", "none"),
        ("evaluation", "scorer", "progress"),
        ("environment", "frame_skip", "2"),
        ("environment", "laps", "1"),
        ("run", "seed", "5"),
        ("run", "strategy", "truncation"),
        ("run", "output", "elsewhere"),
        ("DefaultGenome", "feed_forward", "False"),
    ],
)
def test_change_that_fitness_does_not_survive_is_refused_by_name(
    section: str, key: str, value: str, folder: Path
) -> None:
    edit(folder, section, key, value)
    before = contents(folder)
    with pytest.raises(ConfigError, match=rf"\[{section}\] {key} = .* cannot change .* began with"):
        resume(RunFolder.open(folder))
    assert contents(folder) == before


def test_another_savestate_under_the_same_name_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "start.state"
    with gym.make("MKDS-v0") as env:
        env.reset()
        env.unwrapped.console.save_state(state)
        env.step(0)
        later = env.unwrapped.console.save_state()
    changes = {"environment__state": str(state), "environment__course": None}
    run = start(tmp_path, **QUICK, **changes)
    run.begin()
    run.folder.unlock()
    assert reopened(run.folder.path).strategy.generation == 0
    state.write_bytes(later)
    with pytest.raises(RunFolderError, match=r"from a savestate with the SHA-256 .* put the old"):
        reopened(run.folder.path)


def test_other_changes_take_effect_and_are_noted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(folder, "NEAT", "pop_size", "8")
    edit(folder, "run", "generations", "4")
    assert main(["--resume", str(folder), "--quiet", "--no-pictures"]) == 0
    assert "changed since the last checkpoint: NEAT.pop_size from '5' to '8'" in (
        capsys.readouterr().out
    )
    individuals = [row["individuals"] for row in table(RunFolder(folder), "generations.csv")]
    assert individuals == ["5", "5", "5", "8"]
    first, second = RunFolder(folder).info().sessions
    assert first.changes == ()
    assert ("NEAT.pop_size", "5", "8") in second.changes
    assert (second.generation, second.versions) == (2, first.versions)


def test_run_json_has_the_commit_and_whether_files_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mkds_gym" / "__init__.py"
    file.parent.mkdir()
    file.touch()
    monkeypatch.setattr("mkds_gym.__file__", str(file))
    assert Session.begin(0).commit == ""

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=x", "-c", "user.email=x@x")
        command = ["git", *who, "-C", str(tmp_path), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "x")
    head = git("rev-parse", "HEAD")
    assert Session.begin(0).commit == head
    file.write_text("changed = True\n")
    assert Session.begin(0).commit == f"{head}+"


def test_other_versions_of_packages_are_noted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    versions = RunFolder(folder).info().sessions[0].versions
    assert {"mkds-gym", "python", "numpy", "neat-python", "ribs", "embreex"} <= set(versions)
    old = f'"numpy": "{versions["numpy"]}"'.encode()
    replace("run.json", old, b'"numpy": "1.2.3"')(folder)
    assert main(["--resume", str(folder), "--quiet", "--no-pictures"]) == 0
    expected = f"changed since the last session: numpy from 1.2.3 to {versions['numpy']}; the"
    assert capsys.readouterr().out.count("changed since the last session") == 1
    assert expected in (folder / "run.log").read_text()


def test_population_of_truncation_may_change(tmp_path: Path) -> None:
    run = start(tmp_path, **QUICK, run__strategy="truncation")
    run.run()
    edit(run.folder.path, "truncation", "population", "7")
    again = reopened(run.folder.path, generations="4")
    again.run()
    individuals = [row["individuals"] for row in table(again.folder, "generations.csv")]
    assert individuals == ["5", "5", "5", "7"]


def test_raised_fitness_threshold_continues_a_solved_run(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    solvable = {"NEAT__no_fitness_termination": False, "NEAT__fitness_threshold": -1000.0}
    text = config_text(**{**SMALL, **QUICK, **solvable, "run__output": tmp_path / "run"})
    (tmp_path / "c.ini").write_text(text)
    quiet = ("--quiet", "--no-pictures")
    folder = tmp_path / "run"
    assert main([str(tmp_path / "c.ini"), *quiet]) == 0
    assert "the fitness threshold was met after 1 generation\n" in capsys.readouterr().out
    assert len(table(RunFolder(folder), "generations.csv")) == 1
    assert main(["--resume", str(folder), *quiet]) == 0  # stays solved, and loses no row
    assert "the fitness threshold was met after 1 generation\n" in capsys.readouterr().out
    assert len(table(RunFolder(folder), "individuals.csv")) == 5
    edit(folder, "NEAT", "fitness_threshold", "1000000.0")
    assert main(["--resume", str(folder), *quiet]) == 0
    assert everything(RunFolder(folder))[:2] == everything(RunFolder(finished))[:2]


def test_extinct_population_is_named_and_continues_with_another_config(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {
        "NEAT__reset_on_extinction": False,
        "DefaultStagnation__max_stagnation": 1,
        "DefaultStagnation__species_elitism": 0,
        "evaluation__scorer": "10",
        "run__generations": 4,
    }
    text = config_text(**{**SMALL, **QUICK, **changes, "run__output": tmp_path / "run"})
    (tmp_path / "c.ini").write_text(text)
    quiet = ("--quiet", "--no-pictures")
    folder = tmp_path / "run"
    assert main([str(tmp_path / "c.ini"), *quiet]) == 1
    err = capsys.readouterr().err
    assert "set reset_on_extinction = True" in err
    assert f"edit '{folder}/config.ini' and continue with: python -m mkds_neat.run --resume" in err
    rows = table(RunFolder(folder), "generations.csv")
    assert len(rows) == 2  # the generation that died out was driven, too
    edit(folder, "NEAT", "reset_on_extinction", "True")
    assert main(["--resume", str(folder), *quiet]) == 0
    assert len(table(RunFolder(folder), "generations.csv")) == 4
    assert table(RunFolder(folder), "generations.csv")[:2] == rows


def test_impossible_species_size_is_known_before_a_driver_starts(tmp_path: Path) -> None:
    message = (
        r"^\[DefaultReproduction\] min_species_size = 3 .* has \d+ species, .*pop_size is \d+;"
    )
    with pytest.raises(ConfigError, match=message):
        start(
            tmp_path,
            **QUICK,
            DefaultReproduction__min_species_size=3,
            DefaultSpeciesSet__compatibility_threshold=0.01,
        )


# Output --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_closed_output_does_not_end_a_command(tmp_path: Path) -> None:
    text = config_text(**{**SMALL, **QUICK, "run__output": "out", "run__workers": 1})
    (tmp_path / "c.ini").write_text(text)
    run = f"{sys.executable} -m mkds_neat.run c.ini --no-pictures --seed 0"
    script = f"({run} 2>&1; echo $? > status) | head -n 1"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.startswith("neat, seed 0, 1 worker, writing to out")
    assert (tmp_path / "status").read_text() == "0\n"
    assert len(table(RunFolder(tmp_path / "out"), "generations.csv")) == 2
    resumed = f"{sys.executable} -m mkds_neat.run --resume out --generations 3 --no-pictures"
    script = f"{resumed} >&- 2>&-"
    assert subprocess.run(["bash", "-c", script], cwd=tmp_path, timeout=120).returncode == 0
    assert len(table(RunFolder(tmp_path / "out"), "generations.csv")) == 3


def test_closed_output_does_not_end_a_run(
    folder: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inward, outward = os.pipe()
    os.close(inward)
    with open(outward, "w") as closed:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", closed)
        assert main(["--resume", str(folder), "--quiet", "--no-pictures"]) == 0
        monkeypatch.undo()
    assert everything(RunFolder(folder)) == everything(RunFolder(finished))


def test_lost_terminal_does_not_end_a_run(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, follower = os.openpty()
    with open(follower, "w") as terminal:  # noqa: PTH123
        monkeypatch.setattr(sys, "stderr", terminal)
        run = start(tmp_path, **QUICK)
        run = Evolution(run.config, run.folder)  # with a progress bar
        os.close(leader)
        assert run.run().generation == 2
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            terminal.close()
    assert everything(run.folder) == everything(RunFolder(finished))


def test_stopped_generation_leaves_its_rows(finished: Path, tmp_path: Path) -> None:
    run = start(tmp_path, **QUICK, run__drivers_per_console=1)
    journal = run.folder.journal

    def stop_at_first(*result: Any) -> None:
        journal(*result)
        run.stop()

    run.folder.journal = stop_at_first
    assert run.run().reason == "stopped"
    rows = table(run.folder, "individuals.csv")
    whole = table(RunFolder(finished), "individuals.csv")
    assert 0 < len(rows) < 5
    assert all(row in whole for row in rows)
    again = reopened(run.folder.path, drivers_per_console="auto")
    again.run()
    assert everything(again.folder) == everything(RunFolder(finished))


# Deaths --------------------------------------------------------------------------------------


def test_run_killed_at_a_write_resumes_with_the_same_result(tmp_path: Path) -> None:
    kill_at_writes(tmp_path, "neat", "native", 60, 1000)


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize(("strategy", "engine"), [("neat", "native"), ("truncation", "async")])
def test_run_killed_at_every_third_write_resumes_with_the_same_result(
    strategy: str, engine: str, tmp_path: Path
) -> None:
    kill_at_writes(tmp_path, strategy, engine, 0, 3, timeout=2300)


def kill_at_writes(
    tmp_path: Path, strategy: str, engine: str, first: int, step: int, timeout: float = 200
) -> None:
    arguments = [str(tmp_path), strategy, engine, str(first), str(step)]
    with started("kill_at_writes.py", *arguments) as process:
        out, err = process.communicate(timeout=timeout)
    assert process.returncode == 0, err
    assert out.endswith("writes, different after []\n"), out
