"""Programs in processes of their own, with or without a display."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator

DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR", "SDL_VIDEODRIVER")
"""Variables of the environment by which a display is found."""


def run(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program on no display but that of ``environment``; what became of it."""
    clean = {k: v for k, v in os.environ.items() if k not in DISPLAYS}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *arguments],
        env={**clean, **environment},
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
