"""An evolution that is watched: the same races, whatever becomes of worker and window."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from neat_config import config_text
from waiting import until

from mkds_gym.viewer import State, runs
from mkds_gym.viewer.bus import Run


def evolve(folder: Path, show: str, environment: dict[str, str], **changes: object) -> Any:
    config = folder / "config.ini"
    small = {
        "run__stop_when": "never",
        "run__generations": 1,
        "run__workers": 2,
        "run__pictures": "no",
        "run__output": folder / "run",
        "evaluation__frames": 240,
        "NEAT__pop_size": 4,
        "DefaultReproduction__elitism": 1,
    }
    config.write_text(config_text(**{**small, **changes}))
    clean = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "SDL_VIDEODRIVER")}
    return subprocess.Popen(
        [sys.executable, "-m", "mkds_neat.run", str(config), "--show", show, "--quiet"],
        env={**clean, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def fitnesses(folder: Path) -> list[tuple[str, str]]:
    with (folder / "run" / "individuals.csv").open(newline="") as file:
        return [(row["id"], row["fitness"]) for row in csv.DictReader(file)]


def run_of(process: Any) -> Path | None:
    return next((run for run in runs() if f"-{process.pid}-" in run.name), None)


def test_an_evolution_is_shown_and_is_the_same(display: str, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    hidden = evolve(tmp_path / "a", "none", {}, run__vectorization="native")
    until(lambda: (tmp_path / "a" / "run").exists() or hidden.poll() is not None)
    assert run_of(hidden) is None
    _, errors = hidden.communicate(timeout=120)
    assert (hidden.returncode, errors) == (0, "")

    shown = evolve(tmp_path / "b", "all", {"DISPLAY": display})
    until(lambda: run_of(shown) or shown.poll() is not None)
    folder = run_of(shown)
    assert folder is not None
    run = Run(folder)
    assert [tile.index for tile in run.tiles] == [0, 1]
    until(lambda: all(tile.shot() for tile in run.tiles) or shown.poll() is not None)
    board = run.board()
    assert board.score == "fitness"
    assert board.header.startswith("generation ")
    pattern = r"driver \d+ · species \d+ · generation 0"
    for tile in run.tiles:
        shot = tile.shot()
        assert shot is not None
        assert re.fullmatch(pattern, shot.status.label)
    # Nobody has ended yet, and yet:
    until(lambda: "frames/s" in run.board().header or shown.poll() is not None)
    best, left = r"( · best so far [\d.]+)?", r"0:\d\d:\d\d left at most"
    header = rf"generation 0{best} · \d+ species · \d+ frames/s · {left}"
    assert re.fullmatch(header, run.board().header)
    shot = run.tiles[0].shot()
    assert shot is not None
    assert not np.isnan(shot.status.score)
    _, errors = shown.communicate(timeout=120)
    assert (shown.returncode, errors) == (0, "")
    assert not folder.exists()
    assert fitnesses(tmp_path / "b") == fitnesses(tmp_path / "a")


def test_individuals_are_shown_by_their_places(tmp_path: Path) -> None:
    """Whatever worker each of them drives on, and though there are more than workers."""
    process = evolve(
        tmp_path,
        "3,0,2",
        {"SDL_VIDEODRIVER": "dummy"},
        run__generations=2,
        run__vectorization="native",
    )
    until(lambda: run_of(process) or process.poll() is not None)
    folder = run_of(process)
    assert folder is not None
    run = Run(folder)
    assert [tile.index for tile in run.tiles] == [0, 2, 3]
    labels: dict[int, set[str]] = {tile.index: set() for tile in run.tiles}
    goes_on = True
    while goes_on:
        goes_on = process.poll() is None  # once more after its end: what is mapped stays
        run.watch()  # the window may be late for the first generation, or for all
        states, again = ([tile.state() for tile in run.tiles] for _ in range(2))
        if states == again:  # else somebody has ended, and another begun, in between
            assert states.count(State.DRIVING) <= 2
        for tile in run.tiles:
            shot = tile.shot()
            if shot is not None:
                labels[tile.index].add(shot.status.label)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    assert all(tile.frames for tile in run.tiles)
    # The first generation's have the ids 1 to 4; of the second one only three are new.
    first = {place: f"driver {place + 1} · species 1 · generation 0" for place in (0, 2, 3)}
    assert all(first[place] in labels[place] for place in (0, 2, 3))
    assert [len(labels[place]) for place in (0, 2, 3)] == [2, 2, 1]


def test_a_worker_that_dies_is_seen_and_its_successor_shown(tmp_path: Path) -> None:
    process = evolve(tmp_path, "all", {"SDL_VIDEODRIVER": "dummy"}, evaluation__frames=600)
    until(lambda: run_of(process) or process.poll() is not None)
    folder = run_of(process)
    assert folder is not None
    run = Run(folder)
    until(lambda: run.tiles[1].shot() or process.poll() is not None)
    worker = int(run.tiles[1]._words[4])
    os.kill(worker, signal.SIGKILL)
    until(lambda: run.tiles[1].state() == State.DEAD)
    until(lambda: run.tiles[1].state() == State.DRIVING or process.poll() is not None)
    assert int(run.tiles[1]._words[4]) != worker
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert not folder.exists()
