"""What the plots of a run show."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_hex

from mkds_gym.course import Course
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.errors import RecordingError
from mkds_gym.race.names import Surface
from mkds_gym.recording.format import Recording
from mkds_neat import plots
from mkds_neat.episode import EpisodeRecord
from mkds_neat.networks import NetworkSpec, Node
from mkds_neat.plots import Race, Run
from mkds_neat.plots.race import drive
from mkds_neat.plots.style import BLUE, ORANGE, label
from mkds_neat.report.facts import drivers, facts, run_status, shown_text, tiles
from mkds_neat.results import Champion, Checkpoint

mpl.use("Agg")

NETWORK = NetworkSpec(
    (-1, -2), (0,), (Node(0), Node(7)), ((-1, 7, 0.5), (7, 0, -2.0), (-2, 0, 1.0))
)
FINISHED = EpisodeRecord(finished=True, lap_times=(31.0, 30.0), race_time=61.0)
CHAMPION = Champion(16, 2, 1.0, "neat", {}, NETWORK, "MKDS-v0", {}, 1, FINISHED)


def lines_of(ax: Any) -> dict[str, tuple[list[float], list[float]]]:
    """Return x and y of the lines of axes, by label."""
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in ax.lines}


@pytest.fixture
def figures() -> Iterator[None]:
    yield
    pyplot.close("all")


@pytest.mark.usefixtures("figures")
def test_fitness_and_species_of_complete_generations_are_drawn() -> None:
    table = {
        "generation": np.repeat([0.0, 1.0, 2.0], 5),
        "fitness": np.array([*range(5), *range(10, 60, 10), *range(900, 905)], np.float64),
        "species": np.array([1, 1, 1, 1, 2, 1, 2, 2, 3, 3, np.nan, 3, 3, 3, 3]),
        "finished": np.array([0] * 9 + [1] * 6, np.float64),
    }
    run = Run(Path("run"), individuals=table, generations={"generation": np.array([0.0, 1.0])})
    ax = plots.fitness(run)
    lines = lines_of(ax)
    assert lines["best"] == ([0, 1], [4, 50])
    assert lines["median"] == ([0, 1], [2, 30])
    assert lines["mean"] == ([0, 1], [2, 30])
    assert lines["finished"] == ([1], [50])
    bands = {band.get_label(): band.get_paths()[0].vertices[:, 1] for band in ax.collections}
    ends = {name: (y.min(), y.max()) for name, y in bands.items()}
    assert ends == {"all": (0, 50), "10–90 %": (0.4, 46), "25–75 %": (1, 40)}
    tops = [line.get_ydata()[::2].tolist() for line in plots.species(run).lines]
    assert tops == [[4, 1, 0], [5, 3, 0], [5, 5, 4]]
    many = {"generation": np.zeros(501), "species": np.arange(501.0)}
    with pytest.raises(plots.PlotError, match="501 species are too many"):
        plots.species(replace(run, individuals=many))


@pytest.mark.usefixtures("figures")
def test_times_are_those_of_finished_laps_and_races() -> None:
    table = {
        "generation": np.array([0.0, 0.0, 1.0, 2.0, 3.0]),
        "finished": np.array([1.0, 0.0, 1.0, 1.0, 0.0]),
        "race_seconds": np.array([90.0, 20.0, 80.0, 85.0, 10.0]),
        "lap_seconds": np.array(["31.5 30.5", "-1 inf x", "28", "29.5", ""]),
    }
    run = Run(Path("run"), individuals=table)
    for plot, best, record in (
        (plots.lap_times, [30.5, 28, 29.5], [30.5, 28, 28, 28]),
        (plots.race_times, [90, 80, 85], [90, 80, 80, 80]),
    ):
        lines = lines_of(plot(run, references={"a rival": 27.0}))
        assert lines["best of the generation"] == ([0, 1, 2], best)
        assert lines["record"] == ([0, 1, 2, 3], record)
        assert lines["a rival"][1] == [27, 27]
        with pytest.raises(plots.PlotError, match="no driver has"):
            plot(replace(run, individuals={name: each[-1:] for name, each in table.items()}))
    shares = {"generation": np.array([0.0, 1.0]), "busy": np.array([0.25, 1.0])}
    ax = plots.busy(replace(run, generations=shares))
    assert ax.lines[0].get_ydata().tolist() == [25, 100]


@pytest.mark.usefixtures("figures")
def test_racing_line_is_that_of_the_lap_on_the_course_from_above(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    course = Course.from_cartridge(Cartridge.open(), "mario_course")
    ways = [(10.0 * i, 5.0, 100.0 + 10.0 * i) for i in range(20)]
    places = np.array([*ways, *((x + 500, y, z) for x, y, z in ways)])  # a kart respawned
    laps = np.repeat([1, 2], [10, 30])
    race = Race(course, places, np.arange(40.0), np.arange(40.0), laps)
    monkeypatch.setattr(Run, "race", lambda *_, **__: race)
    run = Run(Path("run"), champion=CHAMPION, config={"environment": {}})
    for lap, pieces, first in ((None, 38, 0), (1, 9, 0), (2, 28, 10)):
        ax = plots.racing_line(run, lap=lap)
        line = next(each for each in ax.collections if each.get_zorder() == 3)
        segments = line.get_segments()
        assert len(segments) == len(line.get_array()) == pieces
        assert segments[0].tolist() == [
            [10 * first, 100 + 10 * first],
            [10 * first + 10, 110 + 10 * first],
        ]
        assert line.get_array()[0] == first + 1
        assert [each.get_marker() for each in ax.lines[1:]] == []  # no cross: it has finished
    with pytest.raises(plots.PlotError, match="no lap 3"):
        plots.racing_line(run, lap=3)
    (bottom, top), (left, right) = ax.get_ylim(), ax.get_xlim()
    assert bottom > top, "z points down"
    assert left < right
    stopped = replace(CHAMPION, record=replace(FINISHED, finished=False))
    cross = plots.racing_line(replace(run, champion=stopped)).lines[-1]
    assert (cross.get_marker(), cross.get_xydata().tolist()) == ("X", [[690, 290]])
    table = {
        "fitness": np.ones(4),
        "evaluated": np.array([1.0, 1.0, 1.0, 0.0]),
        "finished": np.array([0.0, 1.0, 0.0, 0.0]),
        "end_x": np.array([1.0, 2.0, 3.0, 4.0]),
        "end_z": np.array([5.0, 6.0, 7.0, 8.0]),
    }
    dots = plots.deaths(replace(run, individuals=table)).lines[-1]
    assert dots.get_xydata().tolist() == [[1, 5], [3, 7]]


@pytest.mark.usefixtures("figures")
def test_bridges_cover_the_road_below_and_walls_are_lines() -> None:
    corners = np.array([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0], [0.0, 0.0, 5.0]])
    wall = np.array([[1.0, 0.0, 1.0], [1.0, 9.0, 1.0], [4.0, 0.0, 1.0]])
    kcl = SimpleNamespace(
        triangles=np.array([corners + np.array([0, 50, 0]), corners, wall]),
        types=np.array([Surface.ROAD, Surface.OFFROAD, Surface.WALL]),
        degenerate=np.zeros(3, np.bool_),
    )
    ends = {"left": np.array([[1.0, 1.0]]), "right": np.array([[2.0, 2.0]])}
    course: Any = SimpleNamespace(kcl=kcl, track=SimpleNamespace(start=0, **ends))
    floors, walls = plots.course_map(course).collections
    assert [to_hex(each) for each in floors.get_facecolor()] == ["#e6dcc3", "#c3c6cb"]
    (side,) = walls.get_segments()
    assert sorted(side.tolist()) == [[1, 1], [4, 1]]


def test_race_is_driven_on_the_cartridge_of_its_recording_and_for_an_hour_at_most(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: list[tuple[Recording, Cartridge]] = []

    def replay(recording: Recording, rom: Cartridge, **_: Any) -> None:
        given.append((recording, rom))
        raise RecordingError("no console in this test")

    monkeypatch.delenv("MKDS_ROM", raising=False)
    monkeypatch.setattr("mkds_neat.plots.race.Replay", replay)
    monkeypatch.setattr("mkds_neat.plots.race.MAX_FRAMES", 10)
    bundled, file = Cartridge.open("kartlab"), tmp_path / "other.nds"
    file.write_bytes(bundled.path.read_bytes() + b"other")
    start: Any = None
    for sha1, path in (
        (bundled.sha1, bundled.path),
        (Cartridge.open(file).sha1, file),
        ("0" * 40, bundled.path),
    ):
        recording = Recording(sha1, "", "", False, start, np.zeros(12, np.uint16), ram="1")
        with pytest.raises(RecordingError, match="no console"):
            drive(recording, file)
        shortened, cartridge = given[-1]
        assert cartridge.path == path
        assert (shortened.frames, shortened.ram) == (10, "")


@pytest.mark.usefixtures("figures")
def test_strongest_connections_of_a_network_have_the_colour_of_their_sign(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def colours() -> list[str]:
        drawn = plots.network(NETWORK).collections[0]
        return [to_hex(each) for each in drawn.get_colors()]

    assert colours() == [BLUE, BLUE, ORANGE]
    monkeypatch.setattr("mkds_neat.plots.diagram.MAX_LINES", 1)
    assert colours() == [ORANGE]
    loop = NetworkSpec((-1,), (0,), (Node(0),), ((-1, 0, 1.0), (0, 0, 1.0)))
    for network, recurrent in ((NETWORK, False), (loop, True)):
        texts = [each.get_text() for each in plots.network(network).get_legend().get_texts()]
        assert ("recurrent" in texts) == recurrent


@pytest.mark.usefixtures("figures")
@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"sensors": ["speed", "heading"]}, ["input 0", "input 1", "output 0"]),
        ({"sensors": "this:Sensor"}, ["input 0", "input 1", "output 0"]),
        ({"action_type": "wheel"}, ["input 0", "input 1", "steering"]),
        ({"action_type": "threshold:1"}, ["input 0", "input 1", "right"]),
    ],
)
def test_nodes_have_the_names_of_sensors_and_keys(
    arguments: dict[str, Any], names: list[str], tmp_path: Path
) -> None:
    run = Run(tmp_path, champion=replace(CHAMPION, env_kwargs=arguments))
    assert [each.get_text() for each in plots.network(run).texts] == names
    assert "this" not in sys.modules
    network = NetworkSpec((-1, -2, -3, -4), (), (), ())
    line = replace(CHAMPION, env_kwargs={"sensors": "line"}, network=network)
    texts = [each.get_text() for each in plots.network(replace(run, champion=line)).texts]
    assert texts == ["line 100", "line 200", "line 400", "line 800"]


@pytest.mark.usefixtures("figures")
def test_correlations_are_of_evaluated_drivers_and_in_order_of_strength(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = {
        "fitness": np.array([1.0, 2.0, 3.0, 4.0, 9.0]),
        "evaluated": np.array([1.0, 1.0, 1.0, 1.0, 0.0]),
        "weak": np.array([1.0, 2.0, 4.0, 3.0, 0.0]),
        "against": np.array([4.0, 3.0, 2.0, 1.0, 9.0]),
        "constant": np.ones(5),
        "best_lap": np.array([0.0, 0.0, 3000.0, 2500.0, 0.0]),  # 0: no lap
    }
    run = Run(Path("run"), individuals=table, metrics=("weak", "against", "constant"))
    texts = [each.get_text() for each in plots.correlations(run).texts]
    assert texts == ["1", "-1", ".80", "-1", "1", "-.80", ".80", "-.80", "1"]
    lap = plots.rank_correlations(replace(run, metrics=("best_lap",)))[1]
    assert lap[0, 1] == pytest.approx(np.corrcoef([1, 2, 3, 4], [3.5, 3.5, 2, 1])[0, 1])
    names, matrix = plots.rank_correlations(run)
    assert names == ["fitness", "against", "weak"]
    assert matrix[0].tolist() == pytest.approx([1.0, -1.0, 0.8])
    monkeypatch.setattr("mkds_neat.plots.statistics.MAX_METRICS", 1)
    assert plots.rank_correlations(run)[0] == ["fitness", "against"]


@pytest.mark.usefixtures("figures")
def test_archive_of_three_behaviours_shows_the_best_along_the_third() -> None:
    axes = {"behaviours": "a, b, c", "ranges": "0..1, 0..1, 0..1", "cells": "2, 2, 2"}
    table: dict[str, Any] = {"fitness": np.array([1.0, 5.0, 3.0]), "c": np.array([0.0, 0.0, 1.0])}
    table |= {name: np.array([0.9, 0.1, 0.1]) for name in "ab"}
    config = {"run": {"strategy": "map_elites"}, "map_elites": axes}
    ax = plots.archive(Run(Path("run"), config=config, individuals=table))
    shown = np.ma.filled(ax.collections[0].get_array().astype(float), np.nan)
    assert np.nan_to_num(shown, nan=0.0).tolist() == [[5.0, 0.0], [0.0, 1.0]]


def test_labels_are_short_printable_and_no_formula() -> None:
    assert label("a$b\n") == r"a\$b�"
    assert label("x" * 29) == "x" * 27 + "…"


# Facts -------------------------------------------------------------------------------------------


def test_best_drivers_are_finishers_by_time_and_then_the_rest_by_fitness() -> None:
    table = {
        "id": np.array([1.0, 2.0, 3.0, 4.0, 3.0]),
        "generation": np.array([0.0, 0.0, 0.0, 1.0, 1.0]),
        "fitness": np.array([50.0, 90.0, 10.0, 20.0, 10.0]),
        "finished": np.array([0.0, 0.0, 1.0, 1.0, 1.0]),
        "race_seconds": np.array([5.0, 0.0, 70.0, 80.0, 70.0]),
        "evaluated": np.array([1.0, 1.0, 1.0, 1.0, 0.0]),
        "frames": np.array([10.0, 10.0, 10.0, 10.0, 500.0]),
    }
    run = Run(Path("run"), individuals=table, champion=CHAMPION)
    assert [row[0] for row in drivers(run)] == ["3", "4", "2", "1"]
    assert [row[3] for row in drivers(run)] == ["1:10.000", "1:20.000", "–", "–"]
    assert tiles(run) == [
        ("90", "best fitness"),
        ("1:01.000", "champion's race"),
        ("0:30.000", "champion's best lap"),
        ("2", "finishes of 4 evaluations"),
        ("0", "generations"),
        ("40", "frames driven"),
    ]
    one = {name: each[2:3] for name, each in table.items()}
    summaries = {"generation": np.zeros(1), "seconds": np.array([3 * 3600 + 125.0])}
    assert tiles(Run(Path("run"), individuals=one, generations=summaries))[1:] == [
        ("1", "finish of 1 evaluation"),
        ("1", "generation"),
        ("10", "frames driven"),
        ("3 h 02 min", "driving time"),
    ]


@pytest.mark.parametrize(
    ("reason", "done", "status"),
    [
        ("finished", 1, ("done", "ended: a driver finished the race")),
        ("solved", 1, ("done", "ended: the fitness threshold was met")),
        (None, 1, ("stopped", "stopped in generation 1")),
        (None, 2, ("done", "ended: all 2 generations are done")),
    ],
)
def test_status_names_why_a_run_ended(
    reason: str | None, done: int, status: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "checkpoint", lambda _: Checkpoint(1, {}, reason=reason))
    summaries = {"generation": np.arange(float(done))}
    run = Run(Path("run"), config={"run": {"generations": "2"}}, generations=summaries)
    assert run_status(run) == status


def test_facts_have_no_paths_of_inputs_and_quote_the_folder() -> None:
    config = {"environment": {"id": "MKDS-v0", "rom": "/secret", "state": "/secret", "a": "b"}}
    found = dict(facts(Run(Path("my run"), config=config)))
    assert found["arguments"] == "a = b"
    assert found["continue with"] == "python -m mkds_neat.run --resume 'my run'"
    assert shown_text("x" * 400) == "x" * 300 + " …"
