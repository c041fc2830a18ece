"""Run programs in processes of their own, with or without a display."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR", "SDL_VIDEODRIVER")
"""Environment variables that name a display."""
TESTS = Path(__file__).parent


def run(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the source of a program, with no display but that of ``environment``."""
    return _run(["-c", textwrap.dedent(program), *arguments], environment)


def run_file(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a file of tests/programs, which may import the helpers in tests/. Warnings are errors."""
    return _run(["-W", "error", str(TESTS / "programs" / name), *arguments], environment)


@contextlib.contextmanager
def started(name: str, *arguments: object, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Start a file of tests/programs in its own session; whatever still runs is killed at the end.

    A program whose standard error is read must be read to its end with ``communicate``.
    """
    process = subprocess.Popen(
        [sys.executable, str(TESTS / "programs" / name), *map(str, arguments)],
        env=_environment(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def first_line(process: subprocess.Popen[str]) -> str:
    """Return the first line that a program prints."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line, process.communicate()[1]
    return line


def _environment(changes: dict[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in DISPLAYS}
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    return {**inherited, "PYTHONPATH": path, **changes}


def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        env=_environment(environment),
        capture_output=True,
        text=True,
        timeout=120,
    )


@contextlib.contextmanager
def x_server() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start a real X server (Xvfb) and yield its process and the name of its display."""
    server = shutil.which("Xvfb")
    assert server is not None, "the window tests need Xvfb: apt-get install xvfb"
    read, write = os.pipe()
    process = subprocess.Popen(
        [server, "-displayfd", str(write), "-screen", "0", "1024x900x24", "-nolisten", "tcp"],
        pass_fds=[write],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as pipe:
        number = pipe.readline().strip()
    assert number, "Xvfb did not start"
    try:
        yield process, f":{number}"
    finally:
        process.terminate()
        process.wait(10)
