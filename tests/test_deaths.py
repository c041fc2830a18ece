"""What killed processes leave behind: nothing after the next start, and no process at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from deaths import Case, Outcome, run_case
from waiting import until

from mkds_gym.utils import files, leftovers
from mkds_gym.utils.files import atomic_path, write_bytes
from mkds_gym.utils.processes import boot_id, pid_namespace, start_time

METHODS = ("fork", "spawn", "forkserver")
SIGNALS = ("KILL", "TERM", "HUP", "INT")


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A temporary folder; a socket's path, of which it is a part, has at most 107 bytes."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def matrix() -> list[Case]:
    """Every kind, phase, start method, target and signal, in pairs rather than in all combinations.

    SIGKILL of the parent and of the group meets every phase and start method; the other signals,
    and stopped workers, meet every kind and start method while the environments step.
    """
    cases = []
    for kind in ("evolve-async", "evolve-native", "vector-async", "vector-native"):
        methods = METHODS if kind.endswith("async") else ("-",)
        for method in methods:
            for phase in ("starting", "resetting", "stepping", "writing", "drawing", "closing"):
                if phase == "writing" and kind.startswith("vector"):
                    continue
                cases += [Case(kind, method, phase, t, "KILL") for t in ("parent", "group")]
            for name in ("TERM", "HUP", "INT"):
                cases += [Case(kind, method, "stepping", t, name) for t in ("parent", "group")]
            if method != "-":
                cases += [Case(kind, method, "stepping", "worker", name) for name in SIGNALS]
                cases += [
                    Case(kind, method, "stepping", "parent", name, True)
                    for name in ("KILL", "TERM", "HUP")
                ]
                cases.append(Case(kind, method, "starting", "worker", "KILL"))
        cases += [Case(kind, methods[0], "drawing", "window", name) for name in SIGNALS]
        cases.append(Case(kind, methods[0], "drawing", "window", "KILL", True))
    for kind in ("record", "replay"):
        cases += [Case(kind, "-", p, "parent", n) for p in ("stepping", "writing") for n in SIGNALS]
    cases += [Case("play", "-", "stepping", "parent", name) for name in SIGNALS]
    cases.append(Case("play", "-", "writing", "parent", "KILL"))
    return cases


def markdown(outcomes: dict[Case, Outcome]) -> str:
    """Return the outcomes as a table, a row for each kind, start method and phase."""
    rows = defaultdict(list)
    for case, outcome in outcomes.items():
        rows[case.kind, case.method, case.phase].append((case, outcome))
    lines = [
        "| kind | start method | phase | killed | cases | processes left | files left at once | "
        "files left after the next start |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for key, found in rows.items():
        killed = ", ".join(
            dict.fromkeys(f"{c.target} {c.signal}{' (stopped)' * c.stopped}" for c, _ in found)
        )
        counts = [
            sum(map(len, column))
            for column in zip(*((o.processes, o.at_once, o.later) for _, o in found), strict=True)
        ]
        lines.append(f"| {' | '.join([*key, killed, str(len(found)), *map(str, counts)])} |")
    return "\n".join(lines)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_kill_matrix_leaves_nothing_behind(short_path: Path, display: str) -> None:
    outcomes, wrong = {}, []
    for number, case in enumerate(matrix()):
        outcome = run_case(case, short_path / str(number), display)
        outcomes[case] = outcome
        if outcome.processes or outcome.later or outcome.status is None:
            wrong.append(f"{case}: {outcome}")
    print(markdown(outcomes))
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["TERM", "HUP", "INT"])
@pytest.mark.parametrize(
    ("kind", "method"), [("evolve-async", "forkserver"), ("evolve-native", "-")]
)
def test_stopped_evolution_says_how_to_resume(
    kind: str, method: str, name: str, short_path: Path
) -> None:
    outcome = run_case(Case(kind, method, "stepping", "parent", name), short_path / "x", None)
    assert outcome.status == 128 + getattr(signal, f"SIG{name}")
    assert "continue with: python -m mkds_neat.run --resume out" in outcome.output
    assert "Traceback" not in outcome.output


def test_killed_parent_of_a_stopped_worker_leaves_no_process(short_path: Path) -> None:
    case = Case("vector-async", "fork", "resetting", "parent", "KILL", stopped=True)
    outcome = run_case(case, short_path / "x", None)
    assert (outcome.processes, outcome.at_once, outcome.later) == ([], [], [])


# Temporary files and folders -------------------------------------------------------------------


def _owner(**changes: object) -> str:
    """The name of this process, or of another one."""
    values = {
        "boot": boot_id(),
        "namespace": pid_namespace(),
        "pid": os.getpid(),
        "start": start_time(os.getpid()),
    }
    return "-".join(str(value) for value in {**values, **changes}.values())


def test_temporary_file_of_a_killed_writer_is_removed_by_the_next_one(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom mkds_gym.utils.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as path:\n"
        "    path.write_bytes(b'half'); print(flush=True); time.sleep(60)"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "a.bin")], stdout=subprocess.PIPE
    )
    with writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        files.remove_partials.cache_clear()
        write_bytes(tmp_path / "b.bin", b"")
        assert len(list(tmp_path.glob(".partial-*"))) == 1  # its writer lives
        writer.kill()
    files.remove_partials.cache_clear()
    write_bytes(tmp_path / "b.bin", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["b.bin"]


@pytest.mark.parametrize(
    ("changes", "age", "stays"),
    [
        ({}, 0, True),
        ({}, 1e6, True),
        ({"start": 1}, 0, False),  # the id belongs to another process now
        ({"start": 1, "namespace": 17}, 0, True),  # another container
        ({"start": 1, "namespace": 17}, 1e6, False),
        ({"start": 1, "boot": "00000001"}, 0, True),  # another host, or before a boot
        ({"start": 1, "boot": "00000001"}, 1e6, False),
    ],
)
def test_only_files_of_dead_owners_are_removed(
    changes: dict[str, object], age: float, stays: bool, tmp_path: Path
) -> None:
    path = tmp_path / f".partial-{_owner(**changes)}-abc.json"
    path.write_bytes(b"")
    os.utime(path, (time.time() - age,) * 2)
    files.remove_partials(tmp_path)
    assert path.exists() == stays


def test_files_of_other_users_and_links_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = leftovers.FOLDERS
    outside = tmp_path / "outside"
    outside.mkdir()
    dead = tmp_path / f"mkds-x-{_owner(start=1)}-a"
    link = tmp_path / f"mkds-x-{_owner(start=1)}-b"
    dead.mkdir()
    link.symlink_to(outside)
    user = os.geteuid()
    with monkeypatch.context() as other:
        other.setattr(os, "geteuid", lambda: user + 1)
        leftovers.remove_leftovers(tmp_path, names)
        assert dead.exists()
    leftovers.remove_leftovers(tmp_path, names)
    assert not dead.exists()
    assert not link.is_symlink()
    assert outside.exists()


def test_forked_child_removes_no_file_of_its_parent(tmp_path: Path) -> None:
    # In a child, because `remove_own` would take the sockets of this process, too.
    if (child := os.fork()) == 0:
        try:
            _fork_and_remove(tmp_path)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def _fork_and_remove(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a") as partial:
        if os.fork() == 0:
            leftovers.remove_own()
            os._exit(0)
        os.wait()
        assert partial.exists()
        leftovers.remove_own()
        until(lambda: not partial.exists())
        partial.write_bytes(b"again")
