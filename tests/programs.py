"""Run programs in processes of their own, with or without a display."""

from __future__ import annotations

import contextlib
import os
import shutil
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
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    command = ["-W", "error", str(TESTS / "programs" / name), *arguments]
    return _run(command, {"PYTHONPATH": path, **environment})


def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in DISPLAYS}
    return subprocess.run(
        [sys.executable, *command],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@contextlib.contextmanager
def x_server() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A real X server (Xvfb), and the name of its display."""
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
