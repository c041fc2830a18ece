"""An evolution in the viewer: the same races, even when a worker dies."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from neat_config import config_text
from waiting import until

from mkds_gym.viewer import Run, State, runs
from mkds_neat.run import main

SMALL = {
    "run__stop_when": "never",
    "run__generations": 1,
    "run__workers": 2,
    "run__pictures": "no",
    "evaluation__frames": 240,
    "NEAT__pop_size": 4,
    "DefaultReproduction__elitism": 1,
}


def config_file(folder: Path, **changes: object) -> str:
    text = config_text(**{**SMALL, "run__output": folder / "run", **changes})
    (folder / "config.ini").write_text(text)
    return str(folder / "config.ini")


def evolve(folder: Path, show: str, environment: dict[str, str], **changes: object) -> Any:
    clean = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "SDL_VIDEODRIVER")}
    config = config_file(folder, **changes)
    return subprocess.Popen(
        [sys.executable, "-m", "mkds_neat.run", config, "--show", show, "--quiet"],
        env={**clean, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def fitnesses(folder: Path) -> list[tuple[str, str]]:
    with (folder / "run" / "individuals.csv").open(newline="") as file:
        return [(row["id"], row["fitness"]) for row in csv.DictReader(file)]


def folder_of(process: Any) -> Path | None:
    return next((run for run in runs() if f"-{process.pid}-" in run.name), None)


def run_of(process: Any) -> Run:
    until(lambda: folder_of(process) or process.poll() is not None)
    folder = folder_of(process)
    assert folder is not None, process.communicate()
    return Run(folder)


def emulators(pid: int) -> set[int]:
    """The descendants of a process that have loaded the emulator."""
    return {
        child.pid
        for child in psutil.Process(pid).children(recursive=True)
        if "libdesmume" in Path(f"/proc/{child.pid}/maps").read_text()
    }


@pytest.mark.slow
def test_shown_evolution_has_the_results_of_a_hidden_one(display: str, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    hidden = config_file(tmp_path / "a", run__vectorization="native", run__drivers_per_console=1)
    assert main([hidden, "--show", "none", "--quiet"]) == 0

    shown = evolve(tmp_path / "b", "all", {"DISPLAY": display})
    run = run_of(shown)
    assert [tile.index for tile in run.tiles] == [0, 1, 2, 3]  # two drivers in each console
    until(lambda: all(tile.shot() for tile in run.tiles) or shown.poll() is not None)
    board = run.board()
    assert board.score == "fitness"
    assert board.header.startswith("generation ")
    for tile in run.tiles:
        shot = tile.shot()
        assert shot is not None
        assert re.fullmatch(r"driver \d+ · species \d+ · generation 0", shot.status.label)
    # The header has a frame rate before the first episode ends.
    until(lambda: "frames/s" in run.board().header or shown.poll() is not None)
    best, left = r"( · best so far [\d.]+)?", r"0:\d\d:\d\d left at most"
    header = rf"generation 0{best} · \d+ species · \d+ frames/s · {left}"
    assert re.fullmatch(header, run.board().header)
    shot = run.tiles[0].shot()
    assert shot is not None
    assert not np.isnan(shot.status.score)
    _, errors = shown.communicate(timeout=120)
    assert (shown.returncode, errors) == (0, "")
    assert not run.folder.exists()
    assert fitnesses(tmp_path / "b") == fitnesses(tmp_path / "a")


@pytest.mark.slow
def test_individuals_are_shown_by_their_places_in_a_generation(tmp_path: Path) -> None:
    """More individuals than workers are shown, in whichever worker they drive."""
    process = evolve(
        tmp_path,
        "3,0,2",
        {"SDL_VIDEODRIVER": "dummy"},
        run__generations=2,
        run__vectorization="native",
        run__drivers_per_console=1,
    )
    run = run_of(process)
    assert [tile.index for tile in run.tiles] == [0, 2, 3]
    labels: dict[int, set[str]] = {tile.index: set() for tile in run.tiles}
    running = True
    while running:
        running = process.poll() is None  # read again after the end: the memory stays mapped
        run.watch()  # the window may open late
        states, again = ([tile.state() for tile in run.tiles] for _ in range(2))
        if states == again:  # otherwise an episode has ended in between
            assert states.count(State.DRIVING) <= 2
        for tile in run.tiles:
            shot = tile.shot()
            if shot is not None:
                labels[tile.index].add(shot.status.label)
        time.sleep(0.002)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    assert all(tile.frames for tile in run.tiles)
    # The individuals of the first generation have the ids 1 to 4; the second has three new ones.
    first = {place: f"driver {place + 1} · species 1 · generation 0" for place in (0, 2, 3)}
    assert all(first[place] in labels[place] for place in (0, 2, 3))
    assert [len(labels[place]) for place in (0, 2, 3)] == [2, 2, 1]


@pytest.mark.slow
def test_dead_worker_is_shown_as_dead_and_then_its_successor(tmp_path: Path) -> None:
    process = evolve(
        tmp_path,
        "all",
        {"SDL_VIDEODRIVER": "dummy"},
        evaluation__frames=600,
        run__drivers_per_console=1,
    )
    run = run_of(process)
    until(lambda: all(tile.shot() for tile in run.tiles) or process.poll() is not None)
    workers = emulators(process.pid)
    assert len(workers) == 2
    killed = min(workers)
    os.kill(killed, signal.SIGKILL)
    until(lambda: any(tile.state() == State.DEAD for tile in run.tiles))
    until(
        lambda: (
            all(tile.state() == State.DRIVING for tile in run.tiles) or process.poll() is not None
        )
    )
    assert emulators(process.pid) & workers == workers - {killed}  # the others go on
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert not run.folder.exists()
