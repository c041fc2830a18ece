"""The examples run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(*arguments: str, cwd: Path, timeout: float = 280) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, timeout=timeout, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_notebook_drives_a_lap(tmp_path: Path) -> None:
    notebook = nbformat.read(EXAMPLES / "quickstart.ipynb", as_version=4)
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": tmp_path}}).execute()
    text = "".join(str(cell.get("outputs", "")) for cell in notebook.cells)
    assert "ended by ('finish',)" in text
    pictures = re.findall("image/png", text)
    assert len(pictures) == 3


def test_custom_parts_are_used(tmp_path: Path) -> None:
    printed = run(str(EXAMPLES / "custom_parts.py"), cwd=tmp_path)
    speed = re.search(r"top speed: +([0-9.]+)", printed)
    assert speed is not None
    assert float(speed.group(1)) > 2.0


@pytest.mark.slow
def test_ppo_starts_and_saves(tmp_path: Path) -> None:
    printed = run(
        *(str(EXAMPLES / "ppo_sb3.py"), "--envs", "4", "--steps", "512", "--output", "model.zip"),
        cwd=tmp_path,
    )
    assert "untrained:" in printed
    assert (tmp_path / "model.zip").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_policies_learn_to_beat_their_untrained_selves(tmp_path: Path) -> None:
    steps = ("--steps", "16000", "--output", str(tmp_path))
    printed = run(str(EXAMPLES / "versus_sb3.py"), *steps, cwd=tmp_path, timeout=880)
    laps = [float(value) for value in re.findall(r"([-0-9.]+) laps", printed)]
    before, after = max(laps[:2]), laps[2:4]
    assert min(after) > before + 0.2
    won = [int(value) for value in re.findall(r"won (\d+)", printed)]
    assert won[4] == 4, "trained kart_0 beats untrained kart_1"
    assert won[7] == 4, "trained kart_1 beats untrained kart_0"
    assert (tmp_path / "versus_kart_1.zip").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ppo_learns(tmp_path: Path) -> None:
    steps = ("--steps", "20000", "--output", "model.zip")
    printed = run(str(EXAMPLES / "ppo_sb3.py"), *steps, cwd=tmp_path, timeout=880)
    laps = [float(value) for value in re.findall(r"([-0-9.]+) laps", printed)]
    assert laps[1] > max(0.5, 2 * laps[0])
