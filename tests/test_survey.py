"""The survey compiles and drives random courses, and continues after an interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import until

from mkds_gym.drivers.survey import Survey, main, report, survey
from mkds_gym.kartlab.generator import LONGEST, SHORTEST

COMMAND = [sys.executable, "-m", "mkds_gym.drivers.survey"]


@pytest.mark.parametrize(("seed", "difficulty"), [(11, 1.0), (903, 0.5)])
def test_survey_compiles_and_drives_a_course(seed: int, difficulty: float) -> None:
    found = survey(seed, difficulty)
    assert (found.problem, found.respawns) == ("", 0)
    assert SHORTEST <= found.length <= LONGEST
    assert found.length / 10.5 < found.time * 60 < found.length / 1.3
    assert found.size > 10_000
    assert found.compile_seconds > 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("difficulty", [0.0, 0.5, 1.0])
def test_random_courses_can_be_finished(difficulty: float) -> None:
    """Every 83rd seed, drawn from both sets; the page's table has all thousand."""
    failed = [
        found
        for found in (survey(seed, difficulty) for seed in range(7, 1000, 83))
        if found.problem
    ]
    assert not failed


def test_command_continues_a_survey(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "found.jsonl"
    done = Survey(3, 0.0, 100, "not finished: 40% after 5000 frames", length=3000.0, size=9)
    # Results of another class do not count; an incomplete row is driven again.
    other = json.dumps(vars(Survey(4, 0.0, 150, "")))
    file.write_text(json.dumps(vars(done)) + "\n" + other + '\n{"seed": 4, "diff')
    words = ["--seeds", "3:5", "--difficulty", "0", "--workers", "1", "-o", str(file)]
    assert main(words) == 1
    shown = capsys.readouterr().out
    assert "| 0 | 2 | 2 | 1 |" in shown
    assert "1 of 2 courses failed:\n- seed 3, difficulty 0: not finished: 40%" in shown
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(row["seed"], row["engine_class"]) for row in rows] == [(3, 100), (4, 150), (4, 100)]
    assert (rows[-1]["problem"], rows[-1]["respawns"]) == ("", 0)
    size = file.stat().st_size
    assert main(words) == 1
    assert capsys.readouterr().out == shown
    assert file.stat().st_size == size


@pytest.mark.slow
def test_interrupted_survey_keeps_its_results(tmp_path: Path) -> None:
    file = tmp_path / "found.jsonl"
    words = [*COMMAND, "--seeds", "0:1000", "--workers", "2", "-o", str(file)]
    with subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        until(lambda: process.poll() is not None or (file.exists() and file.stat().st_size), 120)
        os.killpg(process.pid, signal.SIGINT)  # like Ctrl-C, to all processes
        out, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    count = len([json.loads(line) for line in file.read_text().splitlines()])
    assert f"0 of {count} courses failed." in out
    assert f"interrupted: {count} of 1000 courses" in errors
    assert "Traceback" not in errors


def test_report_without_finished_courses_has_no_times() -> None:
    shown = report([Survey(5, 1.0, 100, "does not compile: no")])
    assert "| 1 | 1 | 0 | 0 | nan | nan |" in shown
    assert "- seed 5, difficulty 1: does not compile: no" in shown


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--seeds", "5:5"], "expected seeds from 0 to 2147483647"),
        (["--seeds=-1:5"], "is out of range"),
        (["--seeds", "a"], "expected FIRST:LAST or one seed"),
        (["--difficulty", "nan"], "expected 0 to 1, or 'spread'"),
        (["--difficulty", "1.5"], "is out of range"),
        (["--workers", "0"], "--workers 0 is out of range"),
    ],
)
def test_bad_argument_is_a_usage_error(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert says in capsys.readouterr().err


def test_other_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "0", "-o", str(tmp_path / "nowhere" / "x")]) == 1
    assert "nowhere" in capsys.readouterr().err
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text('{"course": 1}\n')
    assert main(["--seeds", "0", "-o", str(wrong)]) == 1
    assert "line 1, is not a result of a survey" in capsys.readouterr().err
