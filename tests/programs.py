"""Programs in processes of their own, with or without a display."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap


def run(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program on no display but that of ``environment``; what became of it."""
    clean = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "SDL_VIDEODRIVER")}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *arguments],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
