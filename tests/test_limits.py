"""Threads, processes, files and memory that the system refuses are documented errors, at once."""

from __future__ import annotations

import pytest
from programs import run_file


@pytest.mark.parametrize("kind", [pytest.param("threads", marks=pytest.mark.slow), "files"])
def test_thread_file_or_process_that_is_refused_is_a_documented_error(kind: str) -> None:
    run = run_file("limited.py", kind)
    assert run.returncode == 0, run.stdout + run.stderr
    lines = dict(line.split(" ", 1) for line in run.stdout.splitlines() if line.count(" "))
    *refused, later = lines.values()
    assert later == "worked"
    assert len(refused) == (4 if kind == "threads" else 7)
    if kind == "files":
        assert lines.pop("native") == "worked"
    assert all("Error" in line.split()[0] for line in list(lines.values())[:-1]), lines
    assert "limits" in lines["console"] or "Too many open files" in lines["console"]


def test_obstacles_in_too_little_memory_are_a_documented_error() -> None:
    """Embree would end the process."""
    run = run_file("limited.py", "obstacles", "100")
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.startswith("obstacles OutOfMemoryError cannot build the obstacles"), (
        run.stdout
    )
    assert "ulimit -v" in run.stdout


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_environment_in_too_little_memory_is_a_documented_error() -> None:
    worked = 0
    for mebibytes in range(50, 1500, 50):
        run = run_file("limited.py", "memory", str(mebibytes))
        assert run.returncode == 0, (mebibytes, run.stdout, run.stderr)
        worked += run.stdout.count("worked")
    assert 5 < worked < 50
