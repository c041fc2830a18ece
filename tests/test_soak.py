"""Memory stays where it is while races are driven (``python -m benchmarks.soak`` for longer)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.soak import Sample, Soak, growth, main, report

ROOT = Path(__file__).parent.parent


def sample(frames: int, mib: float) -> Sample:
    return Sample(frames, 1, 1.0, mib, 10, 4)


def test_growth_is_told_from_warming_up() -> None:
    # It fills for a third, and is constant then; or grows by 2 MiB in 100,000 frames.
    flat = [sample(10_000 * n, min(100.0 + 50 * n, 250.0)) for n in range(12)]
    assert growth(flat) == pytest.approx(0.0, abs=1e-9)
    leaking = [sample(s.frames, s.resident_mib + s.frames * 2e-5) for s in flat]
    assert growth(leaking) == pytest.approx(2.0)
    assert report(flat).count("\n") == len(flat) + 1
    with pytest.raises(ValueError, match="too few to tell growth"):
        growth(flat[:3])


def test_a_turn_drives_every_kind_of_environment() -> None:
    soak = Soak(envs=2, seed=0)
    try:
        begun = soak.episodes
        soak.turn()
        assert soak.frames == 1_504  # whole steps of two environments
        assert soak.episodes >= begun == 4
    finally:
        soak.close()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--frames", "100"], "--frames 100 must be at least 45000"),
        (["--envs", "0"], "--envs 0 is outside 1..64"),
        (["--seed", "-1"], "--seed -1 must not be negative"),
        (["--limit", "nan"], "--limit nan must be greater than 0"),
    ],
)
def test_bad_arguments(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_memory_is_constant() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", "--frames", "200000", "--limit", "5"],
        cwd=ROOT,
        timeout=850,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [row.split("|")[1:-1] for row in done.stdout.splitlines() if row.startswith("| ")][1:]
    files, threads = ({row[column].strip() for row in rows[5:]} for column in (4, 5))
    assert len(files) == len(threads) == 1, done.stdout
