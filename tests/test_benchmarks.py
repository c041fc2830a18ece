"""The benchmark command runs, and what it reports hangs together. Speed itself is not judged."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import RATIOS, report
from benchmarks.race import FRAME_SKIP, drive
from benchmarks.rows import ROWS
from mkds_gym.metrics import DEFAULT_METRICS
from mkds_gym.sensors import SENSORS

ROOT = Path(__file__).parent.parent


def command(*arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        timeout=timeout,
        capture_output=True,
        text=True,
    )


def test_a_short_run_measures_everything(tmp_path: Path) -> None:
    done = command("--seconds", "0.2", "--repeats", "2", "--json", str(tmp_path / "result.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    # Rows that do not drive the recorded race would have failed, see benchmarks.rows.serve.
    result = json.loads((tmp_path / "result.json").read_text())
    rows = result["frames_per_second"]
    assert list(rows) == list(ROWS)
    for row in rows.values():
        assert len(row["samples"]) == 2
        assert 0 < row["lowest"] <= row["median"] <= row["highest"]
    for name, upper, lower in RATIOS:
        rounds = zip(rows[upper]["samples"], rows[lower]["samples"], strict=True)
        assert result["ratios"][name] == pytest.approx(statistics.median(a / b for a, b in rounds))
    parts = result["microseconds_per_step"]
    assert set(parts) == {
        *("state", "metrics", "events", "reward", "observation", "info"),
        *(f"sensor {name}" for name in SENSORS),
    }
    assert set(result["microseconds_per_step_of_metrics"]) == set(DEFAULT_METRICS)
    # A microsecond or so, and no sleep: units are not mixed up.
    assert all(0.01 < value < 5000 for value in parts.values())
    resets = result["milliseconds_per_reset"]
    assert 0 < resets["fastest"] <= resets["median"] <= resets["slowest"]
    assert result["machine"]["cores"] >= 1
    assert result["machine"]["packages"]["py-desmume"][0].isdigit()
    printed = done.stdout.strip()
    assert printed == report(result)
    for title, _ in ROWS.values():
        assert f"| {title} " in printed
    widths = {len(line) for line in printed.splitlines() if line.startswith("| plain py-desmume")}
    widths |= {len(line) for line in printed.splitlines() if line.startswith("| env.step")}
    assert len(widths) == 1, "the table's columns do not line up"


def test_the_recorded_lap_is_a_lap() -> None:
    tape, states, course = drive()
    assert len(tape.actions) == len(tape.places) == len(tape.keys) == len(states) - 1
    assert all(len(frames) == FRAME_SKIP for frames in states[1:])
    assert {0, 1, 2} == set(tape.actions), "straight, left and right are all driven"
    seen = {checkpoint for _, checkpoint in tape.places}
    assert seen == set(course.track.main)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--seconds", "0"), "--seconds 0.0 must be greater than 0"),
        (("--repeats", "0"), "--repeats 0 must be at least 1"),
        (("--json", "no/such/folder/x.json"), "there is no folder"),
    ],
)
def test_bad_arguments(arguments: tuple[str, ...], complaint: str) -> None:
    done = command(*arguments, timeout=60)
    assert done.returncode == 2
    assert complaint in done.stderr
