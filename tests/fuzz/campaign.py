"""Distribute cases over child processes, and count what became of them."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .kinds import Kind, all_kinds

OUTCOMES = ("accepted", "documented", "raw", "crash", "hang", "over-limit")
BAD = OUTCOMES[2:]
DEADLINE = 70.0
"""Seconds after which a case hangs: longer than the trial of a state in a child process."""
PREPARATION = 120.0
"""Seconds that a child may take to start and to prepare a kind."""
BATCH = 100
_TESTS = Path(__file__).parents[1]


@dataclass
class Report:
    """Outcome of the cases.

    Attributes:
        counts: outcomes of each kind.
        seconds: time of each kind, summed over the workers.
        findings: files of failing cases, and the last line of what is known.
    """

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    seconds: Counter[str] = field(default_factory=Counter)
    findings: list[tuple[Path, str]] = field(default_factory=list)

    @property
    def bad(self) -> int:
        """Number of cases that did not end in an acceptance or a documented error."""
        return sum(count[outcome] for count in self.counts.values() for outcome in BAD)

    def table(self) -> str:
        """Return a Markdown table with a row per kind."""
        lines = [
            "| kind | cases | accepted | documented | raw | crash | hang | over-limit | cases/s |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        total: Counter[str] = Counter()
        for name, counts in sorted(self.counts.items()):
            lines.append(_row(name, counts, self.seconds[name]))
            total += counts
        return "\n".join([*lines, _row("**all**", total, sum(self.seconds.values()))])


def _row(name: str, counts: Counter[str], seconds: float) -> str:
    cases = sum(counts.values())
    cells = [name, cases, *(counts[each] for each in OUTCOMES), f"{cases / max(seconds, 0.01):.1f}"]
    return "| " + " | ".join(map(str, cells)) + " |"


class Child:
    """A process that runs cases.

    Args:
        folder: folder of the campaign.
    """

    def __init__(self, folder: Path) -> None:
        theirs, self._requests = os.pipe()
        self._reports, other = os.pipe()
        handle, name = tempfile.mkstemp(dir=folder, prefix="log-")
        self._log = Path(name)
        home = folder / "home"
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("MKDS", "DISPLAY"))},
            "PYTHONPATH": f"{_TESTS}{os.pathsep}{_TESTS.parent}",
            "MKDS_HOME": str(home / "mkds"),
            "HOME": str(home),
            "TMPDIR": str(folder / "work"),
            "OMP_NUM_THREADS": "1",
            "PYTHONFAULTHANDLER": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fuzz.child", str(theirs), str(other), str(folder)],
            pass_fds=(theirs, other),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=handle,
            start_new_session=True,
        )
        for each in (theirs, other, handle):
            os.close(each)
        self._pending = b""

    def ask(self, **request: Any) -> None:
        """Send a request."""
        with contextlib.suppress(BrokenPipeError):  # `reports` notices a death
            os.write(self._requests, (json.dumps(request) + "\n").encode())

    def reports(self, seconds: float = DEADLINE) -> Iterator[dict[str, Any] | None]:
        """Yield reports of a request; None when a case takes longer, or the process is dead."""
        deadline = time.monotonic() + PREPARATION
        while True:
            while b"\n" not in self._pending:
                ready, _, _ = select.select([self._reports], [], [], deadline - time.monotonic())
                data = os.read(self._reports, 1 << 16) if ready else b""
                if not data:
                    yield None
                    return
                self._pending += data
            line, self._pending = self._pending.split(b"\n", 1)
            report = json.loads(line)
            if report.get("done"):
                return
            yield report
            deadline = time.monotonic() + seconds

    def end(self) -> str:
        """End the process. Return how it ended, and the end of what it printed."""
        try:
            status = self._process.wait(0.2)
            text = f"exit status {status}"
        except subprocess.TimeoutExpired:
            text = "no answer"
            os.killpg(self._process.pid, 9)
            self._process.wait()
        if not self._log.exists():
            return text
        os.close(self._requests)
        os.close(self._reports)
        printed = self._log.read_bytes()[-3000:].decode(errors="replace")
        self._log.unlink()
        return f"{text}\n{printed}"


class Campaign:
    """A number of cases of some kinds.

    Args:
        findings: folder that failing cases are written to.
        seed: of all cases.
        workers: child processes at a time.
        deadline: seconds after which a case hangs.
        say: receives a line for every failing case.
    """

    def __init__(
        self,
        findings: Path,
        *,
        seed: int = 0,
        workers: int = 2,
        deadline: float = DEADLINE,
        say: Callable[[str], object] = lambda line: None,
    ) -> None:
        self.findings = findings
        self.seed = seed
        self.workers = workers
        self.deadline = deadline
        self._say = say
        self._report = Report()
        self._lock = threading.Lock()
        self._error: Exception | None = None

    def run(self, cases: Mapping[str, int], *, seconds: float | None = None) -> Report:
        """Run cases.

        Args:
            cases: number of cases by kind.
            seconds: stop after this time; None runs all.
        """
        kinds = all_kinds()
        batches: queue.Queue[tuple[Kind, int, int]] = queue.Queue()
        for name in sorted(cases, key=lambda name: (kinds[name].group, name)):
            for first in range(0, cases[name], BATCH):
                batches.put((kinds[name], first, min(BATCH, cases[name] - first)))
        end = None if seconds is None else time.monotonic() + seconds
        with tempfile.TemporaryDirectory(prefix="mkds-fuzz-") as name:
            folder = Path(name)
            for each in ("work", "home"):
                (folder / each).mkdir()
            threads = [
                threading.Thread(target=self._work, args=(folder, batches, end), daemon=True)
                for _ in range(self.workers)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        if self._error is not None:
            raise self._error
        return self._report

    def replay(self, file: Path) -> str:
        """Run the payload of one file again; its folder has the name of the kind."""
        with tempfile.TemporaryDirectory(prefix="mkds-fuzz-") as name:
            folder = Path(name)
            for each in ("work", "home"):
                (folder / each).mkdir()
            child = Child(folder)
            child.ask(kind=file.absolute().parent.name, file=str(file.absolute()), count=0, seed=0)
            reports = list(child.reports())
            last = reports[-1] if reports else None
            end = child.end()
            if last is None:
                return end
            return f"{last.pop('details')}\n{last}"

    def _work(
        self, folder: Path, batches: queue.Queue[tuple[Kind, int, int]], end: float | None
    ) -> None:
        child: Child | None = None
        group = ""
        try:
            while end is None or time.monotonic() < end:
                try:
                    kind, first, count = batches.get_nowait()
                except queue.Empty:
                    return
                if child is not None and kind.group != group:
                    child.end()
                    child = None
                group, last = kind.group, first + count
                while first < last and (end is None or time.monotonic() < end):
                    child = child or Child(folder)
                    started = time.monotonic()
                    ended = self._batch(child, folder, kind, first, last - first)
                    with self._lock:
                        self._report.seconds[kind.name] += time.monotonic() - started
                    if ended is None:
                        break
                    child, first = None, ended + 1
        except Exception as error:
            self._error = error
        finally:
            if child is not None:
                child.end()

    def _batch(self, child: Child, folder: Path, kind: Kind, first: int, count: int) -> int | None:
        """Run cases of a kind. Return the number of the case that ended the child, if one did."""
        child.ask(kind=kind.name, seed=self.seed, first=first, count=count)
        number: int | None = None
        for report in child.reports(self.deadline):
            if report is None:
                end = child.end()
                if number is None:
                    raise RuntimeError(f"kind {kind.name} cannot be prepared: {end}")
                outcome = "hang" if end.startswith("no answer") else "crash"
                self._count(folder, kind, number, outcome, end)
                return number
            if "number" in report:
                number = report["number"]
            else:
                assert number is not None
                details = f"{report.pop('details')}\n{report}"
                self._count(folder, kind, number, report["outcome"], details)
        return None

    def _count(self, folder: Path, kind: Kind, number: int, outcome: str, details: str) -> None:
        with self._lock:
            self._report.counts.setdefault(kind.name, Counter())[outcome] += 1
        if outcome not in BAD:
            return
        seeds = [p.read_bytes() for p in sorted((folder / "seeds" / kind.name).glob("*.seed"))]
        path = self.findings / kind.name / f"{self.seed}-{number}.{outcome}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(kind.case(seeds, self.seed, number))
        path.with_name(path.name + ".txt").write_text(details, errors="backslashreplace")
        lines = [line for line in details.splitlines() if line.strip() and line[0] != "{"]
        with self._lock:
            self._report.findings.append((path, lines[-1][:200] if lines else ""))
        self._say(f"{outcome}: {path}: {lines[-1][:200] if lines else ''}")


def shares(cases: int, names: Sequence[str] = ()) -> dict[str, int]:
    """Return the number of cases of each kind, at least one, in proportion to their shares.

    Args:
        cases: number of cases in all.
        names: names of kinds; empty for all.
    """
    kinds = all_kinds()
    chosen = [kinds[name] for name in names or kinds if names or kinds[name].share]
    total = sum(kind.share for kind in chosen)
    return {kind.name: max(1, round(cases * kind.share / (total or 1))) for kind in chosen}
