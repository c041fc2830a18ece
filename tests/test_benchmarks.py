"""The benchmarks run, measure what they say, and print tables."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from benchmarks import evolution, parts, step, throughput
from benchmarks.__main__ import QUESTIONS, main, report
from benchmarks.courses import AGAINST, frames_per_second
from benchmarks.lap import record_lap
from benchmarks.remote import Remote
from benchmarks.report import spread, table
from mkds_gym.components.metrics import DEFAULT_METRICS
from mkds_gym.components.sensors import SENSORS
from mkds_gym.emulator.cartridge import Cartridge

ROOT = Path(__file__).parent.parent


def run(module: str, *arguments: str, timeout: float = 280) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=timeout,
        capture_output=True,
        text=True,
    )


def measure(tmp_path: Path, *tables: str) -> dict[str, Any]:
    """Run tables as briefly as possible; a row that drives another race fails its table."""
    file = tmp_path / "result.json"
    arguments = ("--seconds", "0.05", "--rounds", "1", "--json", str(file))
    done = run("benchmarks", "--only", *tables, *arguments, timeout=850)
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(file.read_text())
    assert list(result["tables"]) == list(tables)
    assert not result["failed"]
    assert done.stdout.strip() == report(result)
    for name in tables:
        assert f"**{QUESTIONS[name]}** (`{name}`)" in done.stdout
    return result


def is_spread(value: dict[str, float]) -> bool:
    return 0 < value["low"] <= value["median"] <= value["high"]


@pytest.mark.slow
def test_step_and_parts_compare_an_environment_with_its_console(tmp_path: Path) -> None:
    result = measure(tmp_path, "step", "parts")
    assert list(result["tables"]["step"]) == list(step.PAIRS)
    for row in result["tables"]["step"].values():
        assert all(is_spread(row[name]) for name in ("ratio", "console", "env"))
        # The ratio's median is over pieces, of which a fast machine measures several.
        ratio = row["console"]["median"] / row["env"]["median"]
        assert row["ratio"]["median"] == pytest.approx(ratio, rel=0.5)
        assert 200 < row["console"]["median"] < 1e6  # microseconds for four frames
    for samples in result["tables"]["parts"].values():
        assert samples.keys() <= parts.PARTS.keys()
        # A slow machine takes few samples: what is certain is only the largest part.
        assert samples["emulator"] == max(samples.values()) > 5
    assert result["machine"]["cores"] >= 1
    assert result["machine"]["packages"]["py-desmume"][0].isdigit()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_rows_drive_the_recorded_race(tmp_path: Path) -> None:
    tables = measure(tmp_path, "plain", "wall", "vector", "versus", "evolution", "peers")["tables"]
    for name in ("plain", "wall", "vector", "versus", "peers"):
        assert list(tables[name]) == throughput.TABLES[name][1]
        for row in tables[name].values():
            assert (name == "peers" and row.get("missing")) or is_spread(row["frames_per_second"])
    for title, row in tables["vector"].items():
        number = re.search(r", (\d+)", title)
        assert row["drivers"] == (2 if "two" in title else int(number[1]) if number else 1)
    assert "missing" not in tables["peers"]["stable-retro 1.0.1, melonDS core"]
    assert {ratio["ratio"]["median"] for ratio in (tables["plain"][throughput.PLAIN],)} == {1.0}
    shown = bool(os.environ.get("DISPLAY"))
    expected = {title for title, run in evolution.WAYS.items() if shown or "viewer" not in run}
    assert tables["evolution"].keys() == expected
    for row in tables["evolution"].values():
        assert row["frames_per_second"]["median"] > 20
        assert 0 <= row["idle"]["median"] < 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_calls_time_every_sensor_and_metric(tmp_path: Path) -> None:
    file = tmp_path / "calls.json"
    done = run("benchmarks.calls", "--debug-single-value", "-o", str(file), timeout=850)
    assert done.returncode == 0, done.stdout + done.stderr
    names = {each["metadata"]["name"] for each in json.loads(file.read_text())["benchmarks"]}
    assert names == {
        *("reset", "clone_state", "restore_state", "shown step without a window"),
        *(f"sensor {name}" for name in SENSORS),
        *(f"metric {name}" for name in DEFAULT_METRICS),
    }


def test_row_that_drives_another_race_is_an_error() -> None:
    lap, states, course = record_lap()
    assert len(lap.actions) == len(lap.places) == len(states) - 1
    assert course.track.length > 0
    lap.check(3, lap.places[3])
    with pytest.raises(RuntimeError, match="expected"):
        lap.check(3, lap.places[4])


class Counter:
    def __init__(self, start: int) -> None:
        if start < 0:
            raise ValueError("negative")
        self.count = start

    def add(self, number: int) -> int:
        self.count += number
        return self.count

    def die(self) -> None:
        os._exit(3)

    def pid(self) -> int:
        return os.getpid()

    def close(self) -> None: ...


@pytest.mark.slow
def test_remote_object_keeps_state_and_reports_errors() -> None:
    with contextlib.closing(Remote(Counter, 3)) as remote:
        assert remote.call("add", 2) == 5
        assert remote.call("add", 2) == 7
        assert remote.call("pid") != os.getpid()
    with pytest.raises(ValueError, match="negative"):
        Remote(Counter, -1)
    remote = Remote(Counter, 3)
    with pytest.raises(RuntimeError, match="ended unexpectedly"):
        remote.call("die")


@pytest.mark.slow
def test_remote_process_ends_with_its_parent() -> None:
    program = ROOT / "tests" / "programs" / "remote_until_killed.py"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    parent = subprocess.Popen([sys.executable, str(program)], stdout=-1, text=True, env=environment)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until(lambda: not Path(f"/proc/{child}").exists())


def test_ctrl_c_saves_complete_tables(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "--only", "step", "--json", str(file)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    while "measuring step" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert json.loads(file.read_text())["tables"] == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seconds", "0"], "--seconds 0.0 is out of range"),
        (["--seconds", "nan"], "--seconds nan is out of range"),
        (["--rounds", "0"], "--rounds 0 is out of range"),
        (["--only", "speed"], "unknown table 'speed'"),
        (["--skip", "speed"], "unknown table 'speed'"),
        (["--only", "step", "--skip", "step"], "all tables are left out"),
        (["--json", "/nowhere/file"], "the folder /nowhere does not exist"),
    ],
)
def test_bad_argument_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert message in capsys.readouterr().err


def test_spread_and_table() -> None:
    assert spread([5.0]) == {"median": 5.0, "low": 5.0, "high": 5.0}
    assert spread([1.0, 2.0, 3.0, 4.0, 100.0]) == {"median": 3.0, "low": 2.0, "high": 4.0}
    lines = table(("row", "frames/s"), [("a", "1,000"), ("long name", "2")]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2].endswith(" 1,000 |")


@pytest.mark.slow
def test_courses_are_measured_in_turns(tmp_path: Path) -> None:
    rom = str(Cartridge.open().path)
    samples = frames_per_second(["mario_course"], rom, 0.02, 2)
    assert [*samples] == ["mario_course", AGAINST]
    assert all(len(values) == 2 and min(values) > 10 for values in samples.values())
    broken = tmp_path / "broken.nds"
    broken.write_bytes(b"no cartridge")
    with pytest.raises(Exception, match=r"broken\.nds"):
        frames_per_second(["mario_course"], str(broken), 0.02, 1)
