"""The jobs of a comparison, several at a time, each in a process of its own."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from mkds_gym.errors import reason
from mkds_neat.errors import RunFolderError

POLL: Final = 0.2
"""Seconds between two looks at the jobs."""
END_SECONDS: Final = 20.0
"""Seconds that a job has to end cleanly before it is killed."""
_LAST_LINES: Final = 1 << 16
"""Bytes at the end of a log in which its last line is looked for."""
# The jobs import from the same folders as this process.
_PROGRAM: Final = (
    "import sys; sys.path[:] = {path!r}; import runpy; "
    "runpy.run_module('mkds_neat.compare.job', None, '__main__', True)"
)


@dataclass(frozen=True)
class Job:
    """A job for `mkds_neat.compare.job`.

    Attributes:
        kind: ``run``, ``reference`` or ``unseen``.
        name: The run, course or course seed.
    """

    kind: str
    name: str


class _Process:
    def __init__(self, job: Job, folder: Path, log: Path) -> None:
        self.job = job
        self.log = log
        try:
            log.unlink(missing_ok=True)  # may be a pipe, or a link to any file
            self._file: IO[bytes] = log.open("xb")
        except OSError as error:
            raise RunFolderError(f"{str(log)!r} cannot be written: {reason(error)}") from error
        program = _PROGRAM.format(path=sys.path)
        # A session of its own: Ctrl-C reaches this process only, which stops the jobs.
        try:
            self.child = subprocess.Popen(
                [sys.executable, "-c", program, str(folder), job.kind, job.name],
                stdin=subprocess.DEVNULL,
                stdout=self._file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            self._file.close()
            raise RunFolderError(
                f"no process can be started for {job.kind} {job.name} ({reason(error)}): free "
                "memory, or raise the limit on processes (ulimit -u)"
            ) from error

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.child.send_signal(number)

    def error(self) -> str:
        """Return the last line that the job printed."""
        self._file.close()
        with contextlib.suppress(OSError):
            if line := last_line(self.log):
                return line
        return f"exit status {self.child.returncode}"


def last_line(log: Path) -> str:
    """Return the last line of a log with words in it, or an empty string. It may have any size."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_LINES))
        lines = file.read().decode("utf-8", "replace").split("\n")
    return next((line.strip()[:1000] for line in reversed(lines) if line.strip()), "")


class Scheduler:
    """Runs jobs.

    Args:
        folder: Folder of the comparison.
        logs: Folder for what the jobs print.
        size: Jobs at a time.

    Attributes:
        stopped: Whether `stop` was called.
        deadline: Time of ``time.monotonic`` after which `run` stops the jobs.
    """

    def __init__(self, folder: Path, logs: Path, size: int) -> None:
        self._folder = folder
        self._logs = logs
        self._size = size
        self._running: list[_Process] = []
        self.stopped = False
        self.deadline = math.inf

    @property
    def running(self) -> list[Job]:
        """The jobs that run."""
        return [process.job for process in self._running]

    def stop(self) -> None:
        """Ask all jobs to stop and start no more. Safe in a signal handler."""
        self.stopped = True

    def run(
        self,
        jobs: Sequence[Job],
        on_end: Callable[[Job, str | None], object],
        on_poll: Callable[[], object] = lambda: None,
    ) -> None:
        """Run jobs to the end, or until `stop` or the deadline.

        Args:
            jobs: The jobs, in the order in which they start.
            on_end: Called when a job has ended by itself, with the last line that a failed one
                printed.
            on_poll: Called several times a second.
        """
        waiting = deque(jobs)
        asked = 0.0
        try:
            while self._running or waiting:
                ending = self.stopped or time.monotonic() > self.deadline
                if ending:
                    waiting.clear()
                while waiting and len(self._running) < self._size:
                    job = waiting.popleft()
                    log = self._logs / f"{job.kind}-{job.name.replace('/', '_')}.txt"
                    self._running.append(_Process(job, self._folder, log))
                if ending and not asked:
                    asked = time.monotonic()
                    for process in self._running:
                        process.signal(signal.SIGINT)
                time.sleep(POLL)
                if asked and time.monotonic() - asked > END_SECONDS:
                    for process in self._running:
                        process.signal(signal.SIGKILL)
                for process in [p for p in self._running if p.child.poll() is not None]:
                    self._running.remove(process)
                    text = process.error()
                    failed = process.child.returncode != 0
                    if not (failed and asked):
                        on_end(process.job, text if failed else None)
                on_poll()
        finally:
            for process in self._running:
                process.signal(signal.SIGKILL)
            for process in self._running:
                process.child.wait()
            self._running.clear()


def job_count(value: int) -> int:
    """Return how many jobs run at a time; 0 stands for the usable cores."""
    from mkds_gym.vector.threads import usable_cores

    return value or usable_cores()
