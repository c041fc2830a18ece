"""Kill real processes, and count what they leave: processes, shared memory, files."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mkds_gym.utils.leftovers import OWNER
from mkds_gym.utils.processes import start_time

PROGRAMS: Final = Path(__file__).parent / "programs"
_MARK: Final = "MKDS_DEATH_CASE"
_SHARED: Final = Path("/dev/shm")


@dataclass(frozen=True)
class Case:
    """What is killed, when and how.

    Attributes:
        kind: see programs/death_subject.py.
        method: start method; "-" without worker processes.
        phase: see there.
        target: parent, group, worker or window.
        signal: name of the signal without SIG.
        stopped: stop a worker (or the window, if there is no worker) before.
    """

    kind: str
    method: str
    phase: str
    target: str
    signal: str
    stopped: bool = False

    def __str__(self) -> str:
        stopped = " stopped" if self.stopped else ""
        return f"{self.kind} {self.method} {self.phase} {self.target} {self.signal}{stopped}"


@dataclass(frozen=True)
class Outcome:
    """What a case left behind, at once and after the next start.

    Attributes:
        status: exit status of the parent; None if it did not end.
        output: what it printed.
        processes: command lines of processes that still run.
        at_once: files left.
        later: files left after the next start.
        seconds: from the signal until no process was left.
    """

    status: int | None
    output: str
    processes: list[str]
    at_once: list[str]
    later: list[str]
    seconds: float


class Family:
    """All processes that inherit an environment variable, also those of other sessions."""

    def __init__(self, mark: str) -> None:
        self.mark = f"{_MARK}={mark}".encode()
        self.seen: set[int] = set()
        self.semaphores: set[str] = set()

    def running(self) -> dict[int, str]:
        """Return the command lines of the processes that run, by process id."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if self.mark in (entry / "environ").read_bytes().split(b"\0"):
                        pid = int(entry.name)
                        line = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                        if start_time(pid) is not None:
                            found[pid] = line.decode(errors="replace")
                            maps = (entry / "maps").read_text()
                            self.semaphores.update(re.findall(r"/dev/shm/(sem\.\S+)", maps))
        self.seen |= set(found)
        return found

    def shared(self) -> list[str]:
        """Return the files in shared memory that these processes made."""
        found = []
        for entry in _SHARED.iterdir():
            owner = re.search(OWNER, entry.name)
            if entry.name in self.semaphores or (owner and int(owner["pid"]) in self.seen):
                found.append(str(entry))
        return found


def run_case(case: Case, folder: Path, display: str | None = None) -> Outcome:
    """Run a case in an empty folder."""
    family = Family(uuid.uuid4().hex)
    temporary, work = folder / "tmp", folder / "work"
    temporary.mkdir(parents=True)
    work.mkdir()
    environment = {
        **os.environ,
        _MARK: family.mark.decode().partition("=")[2],
        "TMPDIR": str(temporary),
        "PYTHONPATH": os.pathsep.join(
            [str(PROGRAMS.parent), str(PROGRAMS.parents[1]), os.environ.get("PYTHONPATH", "")]
        ),
    }
    if display is not None:
        environment["DISPLAY"] = display
    output = folder / "output"
    with output.open("wb") as stream:
        parent = subprocess.Popen(
            [
                sys.executable,
                str(PROGRAMS / "death_subject.py"),
                case.kind,
                case.method,
                case.phase,
            ],
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            # A shell lets its background jobs ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        _until(lambda: "reached" in output.read_text() or parent.poll() is not None, 60)
        assert parent.poll() is None, output.read_text()
        began = _strike(case, parent, family)
        _until(lambda: parent.poll() is not None, 20)
        _until(lambda: not family.running(), 20)
        seconds = time.monotonic() - began
        processes = list(family.running().values())
    finally:
        for pid in [parent.pid, *family.running()]:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        parent.wait()

    def left() -> list[str]:
        partial = [str(path) for path in work.rglob(".*")]
        # Not ours: caches of libraries, and the socket of the fork server that Gymnasium starts.
        foreign = "matplotlib|pymp-.*" if case.kind == "vector-async" else "matplotlib"
        names = [path.name for path in temporary.iterdir()]
        other = [name for name in names if not re.fullmatch(foreign, name)]
        return partial + other + family.shared()

    at_once = left()
    if at_once:
        subprocess.run(
            [sys.executable, str(PROGRAMS / "next_start.py")], cwd=work, env=environment, check=True
        )
    return Outcome(parent.returncode, output.read_text(), processes, at_once, left(), seconds)


def _strike(case: Case, parent: subprocess.Popen[bytes], family: Family) -> float:
    """Send the signals; return when."""
    number = getattr(signal, f"SIG{case.signal}")
    victim = None
    if case.target in ("worker", "window") or case.stopped:
        deadline = time.monotonic() + 30
        while victim is None and time.monotonic() < deadline:
            victim = _find(case, parent.pid, family)
    family.running()
    if case.stopped:
        assert victim is not None, "there is no process to stop"
        os.kill(victim, signal.SIGSTOP)
    began = time.monotonic()
    if case.target == "parent":
        os.kill(parent.pid, number)
    elif case.target == "group":
        os.killpg(parent.pid, number)
    else:
        assert victim is not None, "there is no process to kill"
        os.kill(victim, number)
        time.sleep(1.0)
        # The run goes on, or has ended with an error.
        with contextlib.suppress(ProcessLookupError):
            os.kill(parent.pid, signal.SIGTERM)
    return began


def _find(case: Case, parent: int, family: Family) -> int | None:
    """Return the process id of a worker, or of the window."""
    for pid, line in family.running().items():
        is_window = "mkds_gym.viewer" in line
        helper = "resource_tracker" in line or ("forkserver" in line and _parent(pid) == parent)
        wants_window = case.target == "window" or case.method == "-"
        if is_window == wants_window and not helper and pid != parent:
            return pid
    return None


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def _until(condition, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.03)
