"""Kartlab: the free cartridge that ships with this package.

A Nintendo DS program (sources in ``src``) with courses (``courses``). It lays out a race in the
console's memory as Mario Kart DS does. ``python -m mkds_gym.kartlab build`` rebuilds
``kartlab.nds``.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["COURSE_DIRECTORY", "ROM_PATH", "SOURCE_DIRECTORY"]

_HERE = Path(__file__).resolve().parent

ROM_PATH = _HERE / "kartlab.nds"
"""The bundled cartridge."""

SOURCE_DIRECTORY = _HERE / "src"
"""C sources, linker scripts and headers of the program."""

COURSE_DIRECTORY = _HERE / "courses"
"""Course descriptions, one TOML file per course; file names are folder names of courses."""
