"""The page of a run, and the plots on it."""

from __future__ import annotations

import html
import os
import re
import sys
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from browser import PROGRAM, Browser
from neat_runs import NATIVE, start

from mkds_neat import plots
from mkds_neat.episode import EpisodeRecord
from mkds_neat.errors import RunFolderError
from mkds_neat.individual import Individual, Result
from mkds_neat.networks import NetworkSpec, Node
from mkds_neat.networks.mlp import MLP
from mkds_neat.plots.diagram import arrange
from mkds_neat.plots.maps import courses_of, episode_ends
from mkds_neat.plots.run import NEEDED_COLUMNS, Run
from mkds_neat.report import page_html, write_page
from mkds_neat.report.__main__ import main
from mkds_neat.report.facts import drivers, run_status
from mkds_neat.report.page import line_caption
from mkds_neat.results import Champion, Checkpoint, Row, RunFolder, RunInfo, Session

mpl.use("Agg")

EVIL = "<script>alert(1)</script>\"'&$x^{</style>"
NETWORK = NetworkSpec(
    (-1, -2), (0,), (Node(0), Node(7)), ((-1, 7, 0.5), (7, 0, -2.0), (-2, 0, 1.0))
)


def rows(generation: int, names: tuple[str, ...] = ("speed", "wall_hits")) -> list[Row]:
    rng = np.random.default_rng(generation)
    made = []
    for place in range(8):
        key = generation * 8 + place
        finished = generation == 2 and place < 2
        speed = float(rng.random())
        record = EpisodeRecord(
            metrics=dict(zip(names, (speed, float(place)), strict=True)),
            steps=10,
            frames=40,
            finished=finished,
            lap_times=(20.0 + place, 21.0) if finished else (),
            race_time=41.0 + place if finished else 0.0,
            events=("finish",) if finished else ("stuck",),
            end_position=(100.0 * place, 0.0, -50.0),
        )
        individual = Individual(key, NETWORK, {}, species=1 + place % 3)
        made.append(Row(generation, individual, True, Result(key, 100 * speed, record)))
    return made


def summary(generation: int, **more: Any) -> dict[str, Any]:
    return {"generation": generation, "individuals": 8, "best": 1.0, "seconds": 2.5, **more}


def champion(**changes: Any) -> Champion:
    record = rows(2)[0].result.record
    best = Champion(16, 2, 1.0, "neat", {}, NETWORK, "MKDS-v0", {}, 1, record)
    return replace(best, **changes)


def make_run(path: Path, generations: int = 3, text: str = "neat", **more: Any) -> RunFolder:
    """Write a run folder without driving."""
    config = f"[run]\nstrategy = {text}\ngenerations = 9\n[environment]\nid = {text}\n"
    folder = RunFolder.create(path, config)
    session = Session(0, 1, text, text, {text: text}, text, ((text, text, text),))
    folder.save_info(RunInfo(text, 5, text, text, "ab" * 20, "", (session,)))
    names = ("speed", "wall_hits") if text == "neat" else (text, f"{text}2")
    for generation in range(generations):
        folder.add_individuals(rows(generation, names))
        folder.add_generation(summary(generation, **more))
    if generations:
        folder.save_champion(champion(strategy=text, env_id=text))
    folder.save_checkpoint(Checkpoint(generations, {}))
    return folder


class Page(HTMLParser):
    """The elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "poster"):
                self.sources.append(value or "")
            assert not name.startswith("on"), (tag, name)

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_page_of_hostile_folder_escapes_every_text_and_loads_nothing(tmp_path: Path) -> None:
    name = EVIL.replace("/", "%")
    folder = make_run(tmp_path / name, text=EVIL)
    (folder.path / "champion.mkr").write_text(EVIL)
    (folder.path / "checkpoints" / "000003.json").write_text(EVIL)
    text = page_html(folder.path)
    found = Page(text)
    assert "script" not in found.tags
    assert "<script" not in text.lower()
    assert all(source.startswith(("data:", "#")) for source in found.sources), found.sources
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"data:[^\"]+", "", text))
    assert found.tags.count("style") == 1
    # The texts are there, as texts.
    assert EVIL in html.unescape(text)
    assert name in found.text
    assert len(text) < 10e6
    for heading in ("Progress", "Fitness", "Species", "Race times", "Network", "Details"):
        assert heading in found.words, heading


def test_page_of_a_run_in_generation_0_counts_the_journal(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", generations=0)
    for row in rows(0)[:5]:
        folder.journal(0, row.individual, row.result)
    with (folder.path / "journal.jsonl").open("ab") as file:
        file.write(b'{"half')
    run = Run.load(folder.path)
    assert run.individuals["id"].tolist() == [0, 1, 2, 3, 4]
    assert run.metrics == ("speed", "wall_hits")
    assert run.notes == []
    with pytest.raises(plots.PlotError, match="no species yet"):
        plots.species(run)
    found = Page(page_html(run, video=False))
    assert "0 finishes of 5 evaluations" in found.text
    assert "stopped in generation 0" in found.text


def test_run_under_way_is_named_and_its_last_rows_may_be_incomplete(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", generations=2, busy=0.5)
    with (folder.path / "individuals.csv").open("ab") as file:
        file.write(b"2,16,1")
    folder.journal(2, rows(2)[0].individual, rows(2)[0].result)
    folder.lock()
    run = Run.load(folder.path)
    try:
        assert run_status(run) == ("going", "under way")
    finally:
        folder.unlock()
    assert run_status(run) == ("stopped", "stopped in generation 2")
    assert run.individuals["generation"].tolist() == [0] * 8 + [1] * 8 + [2]
    assert plots.busy(run).get_ylabel() == "workers' busy share (%)"


def test_pipe_in_place_of_the_lock_is_not_opened(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    os.mkfifo(folder.path / "run.lock")
    assert run_status(Run.load(folder.path))[0] == "stopped"


def test_incomplete_rows_and_old_lines_of_the_journal_are_left_out(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", generations=2)
    with (folder.path / "individuals.csv").open("ab") as file:
        file.write(b"2,16\n")
    for generation in (1, 2):
        row = rows(generation)[0]
        folder.journal(generation, row.individual, row.result)
    run = Run.load(folder.path)
    assert run.individuals["generation"].tolist() == [0] * 8 + [1] * 8 + [2]
    assert run.notes == []


@pytest.mark.slow
def test_old_and_damaged_tables_leave_out_their_plots_only(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    path = folder.path / "individuals.csv"
    lines = [line.split(",") for line in path.read_text().splitlines()]
    dropped = [lines[0].index(name) for name in ("end_x", "species", "lap_seconds", "events")]
    kept = [[c for i, c in enumerate(line) if i not in dropped] for line in lines]
    path.write_text("\n".join(map(",".join, kept)) + "\n")
    (folder.path / "run.json").write_text('{"format": "mkds_neat run", "version": 1}')
    run = Run.load(folder.path)
    found = Page(page_html(run, video=False))
    assert {"Fitness", "Race times", "Correlations", "Network"} <= set(found.words)
    assert not {"Species", "Lap times"} & set(found.words)
    assert "the run did not note where episodes ended" in found.text
    assert "run.json has version 1: expected 2" in found.text
    path.write_bytes(b"generation,fitness\n0,\xff\n")
    (folder.path / "champion.json").write_text("{}")
    text = page_html(folder.path, video=False)
    assert "individuals.csv" in text
    assert "is damaged" in text


def test_table_above_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(tmp_path / "run")
    monkeypatch.setattr("mkds_neat.plots.run.MAX_CELLS", 50)
    run = Run.load(folder.path)
    assert any("more than 50 cells" in note for note in run.notes)
    monkeypatch.setattr("mkds_neat.plots.run.MAX_TABLE", 50)
    assert any("the limit is 50" in note for note in Run.load(folder.path).notes)
    monkeypatch.undo()
    monkeypatch.setattr("mkds_neat.plots.run.MAX_COLUMNS", 5)
    assert any("columns, and the limit is 5" in note for note in Run.load(folder.path).notes)


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (lambda path: None, [], "does not exist: expected the folder of a run"),
        (lambda path: path.write_text("x"), [], "is not a folder"),
        (lambda path: path.mkdir(), [], r"is not the folder of a run \(no config.ini\)"),
        (make_run, ["--output", "missing/page.html"], "cannot be written .*No such file"),
        (make_run, ["--output", "."], "is a folder: give --output the path of a file"),
        (make_run, ["--output", "run/config.ini"], "exists, and is not such a page"),
        (make_run, ["--output", "/dev/full"], "cannot be written .*No space left"),
    ],
)
def test_bad_input_is_one_clear_error(
    make: Any,
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mkds_neat.report.page.page_html", lambda *_, **__: "page")
    make(tmp_path / "run")
    assert main(["run", *arguments]) == 1
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert error.count("\n") == 1


def test_existing_page_is_replaced_at_the_end_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(tmp_path / "run", generations=0)
    path = folder.path / "report.html"
    path.write_text("old")

    def fail(*_: Any, **__: Any) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("mkds_neat.report.page.page_html", fail)
    with pytest.raises(KeyboardInterrupt):
        write_page(folder.path)
    assert path.read_text() == "old"
    assert [p.name for p in folder.path.glob(".partial*")] == []
    monkeypatch.setattr("mkds_neat.report.page.page_html", lambda *_, **__: "new")
    assert write_page(folder.path) == path
    assert path.read_text() == "new"


def test_page_elsewhere_is_replaced_and_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(tmp_path / "run", generations=0)
    path = tmp_path / "page.html"
    for _ in range(2):
        write_page(folder.path, path, video=False)
    for text in ("", "<!DOCTYPE html>\n", f"A quotation:\n{path.read_text()}"):
        other = tmp_path / "other.html"
        other.write_text(text)
        with pytest.raises(RunFolderError, match="exists, and is not such a page"):
            write_page(folder.path, other)
        assert other.read_text() == text

    def refuse(*_: Any) -> Any:
        raise PermissionError

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(RunFolderError, match="exists, and is not such a page"):
        write_page(folder.path, path)


@pytest.mark.parametrize("table", ["individuals.csv", "generations.csv"])
def test_table_without_a_needed_column_is_named_on_the_terminal(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mkds_neat.report.page.page_html", lambda *_, **__: "page")
    folder = make_run(tmp_path / "run")
    assert main([str(folder.path)]) == 0
    assert capsys.readouterr().err == ""
    for column in NEEDED_COLUMNS[table]:
        folder = make_run(tmp_path / column)
        path = folder.path / table
        path.write_text(path.read_text().replace(column, "other\x1b", 1))
        assert main([str(folder.path)]) == 0
        error = capsys.readouterr().err
        assert error.endswith(f"{table}' is damaged: it has no column '{column}'\n")
        assert error.startswith("python -m mkds_neat.report: warning: ")
        assert error.count("\n") == 1


def test_status_counts_the_generations_that_are_done(tmp_path: Path) -> None:
    run = Run.load(make_run(tmp_path / "run", generations=2).path)
    for planned, status in (("1", "ended: all 2 generations are done"), ("3", "stopped in gen")):
        found = run_status(replace(run, config={"run": {"generations": planned}}))[1]
        assert found.startswith(status)


@pytest.mark.parametrize(
    ("frames", "status"),
    [
        ("640", ("done", "ended: the budget of 640 frames is spent")),
        ("641", ("stopped", "stopped in generation 2")),
        ("none", ("stopped", "stopped in generation 2")),
    ],
)
def test_status_knows_the_budget_of_frames(
    frames: str, status: tuple[str, str], tmp_path: Path
) -> None:
    run = Run.load(make_run(tmp_path / "run", generations=2, frames=320).path)
    config = {"run": {"generations": "9", "frames": frames}}
    assert run_status(replace(run, config=config)) == status


@pytest.mark.parametrize(
    ("courses", "number"), [("none", 1), ("mario_course", 1), ("mario_course, 3, 3:5", 3)]
)
def test_page_says_that_it_shows_the_first_of_several_courses(
    courses: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mkds_neat.report.page.attempt", lambda *_, **__: ("data:,", ""))
    run = Run.load(make_run(tmp_path / "run").path)
    run = replace(run, config={**run.config, "evaluation": {"courses": courses}})
    text = Page(page_html(run, video=False)).text
    assert ("This is the first of" in text) == (number > 1)
    if number > 1:
        assert f"This is the first of {number} courses." in text


# Networks ----------------------------------------------------------------------------------------


def test_layers_of_a_network_follow_its_connections() -> None:
    assert arrange(NETWORK) == [[-1, -2], [7], [0]]
    network = MLP(6, 2, (16, 16)).network(np.linspace(-1, 1, MLP(6, 2, (16, 16)).size))
    assert [len(layer) for layer in arrange(network)] == [6, 16, 16, 2]
    # Cycles, a loop, a node without inputs, and one that leads nowhere.
    nodes = tuple(Node(key) for key in range(6))
    pairs = [(-1, 2), (2, 3), (3, 2), (3, 3), (3, 0), (0, 2), (1, 1), (4, 0), (-1, 5), (0, 1)]
    recurrent = NetworkSpec((-1,), (0, 1), nodes, tuple((a, b, 1.0) for a, b in pairs))
    layers = arrange(recurrent)
    assert (layers[0], layers[-1]) == ([-1], [0, 1])
    assert sorted(key for layer in layers for key in layer) == [-1, *range(6)]


def test_networks_are_drawn_with_arcs_for_cycles_and_refused_above_a_size() -> None:
    from matplotlib import pyplot
    from matplotlib.patches import FancyArrowPatch

    loop = NetworkSpec((-1,), (0,), (Node(0), Node(1)), ((-1, 1, 1.0), (1, 0, 1.0), (0, 1, -1.0)))
    ax = plots.network(loop, inputs=[EVIL], outputs=["a\nb"])
    arcs = [each for each in ax.patches if isinstance(each, FancyArrowPatch)]
    assert len(arcs) == 1
    ax.figure.canvas.draw()  # EVIL is not a formula
    with pytest.raises(plots.PlotError, match="can be drawn"):
        plots.network(NetworkSpec((-1,), (0,), tuple(Node(key) for key in range(900)), ()))
    pyplot.close("all")


@pytest.mark.slow
def test_labels_of_plots_are_within_the_picture(tmp_path: Path) -> None:
    from matplotlib import pyplot

    run = Run.load(make_run(tmp_path / "run", busy=0.5).path)
    for plot in (plots.fitness, plots.race_times, plots.network, plots.correlations, plots.busy):
        ax = plot(run)
        ax.figure.canvas.draw()
        width, height = ax.figure.get_size_inches()
        box = ax.figure.get_tightbbox()
        assert box.x0 > -0.01, plot
        assert box.y0 > -0.01, plot
        assert box.x1 < width + 0.01, plot
        assert box.y1 < height + 0.01, plot
        pyplot.close("all")


# Numbers -----------------------------------------------------------------------------------------


def test_rank_correlations_are_those_of_spearman(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    names, matrix = plots.rank_correlations(folder.path)
    assert names[0] == "fitness"
    assert dict(zip(names, matrix[0], strict=True))["speed"] == pytest.approx(1.0)
    run = Run.load(folder.path)
    values = np.array([1.0, 2.0, 2.0, 5.0])
    table = {"fitness": np.array([4.0, 1.0, 2.0, 3.0]), "x": values}
    names, matrix = plots.rank_correlations(replace(run, individuals=table, metrics=("x",)))
    # Ranks 4 1 2 3, and 1 2.5 2.5 4.
    assert matrix[0, 1] == pytest.approx(np.corrcoef([4, 1, 2, 3], [1, 2.5, 2.5, 4])[0, 1])


def test_lap_times_of_drivers_have_three_decimals(tmp_path: Path) -> None:
    table = {
        "id": np.array([1.0, 2.0]),
        "fitness": np.array([5.0, 4.0]),
        "lap_seconds": np.array(["27.637999999999998 28.5", "nonsense"], np.object_),
    }
    rows = drivers(Run(tmp_path, individuals=table))
    assert [row[4] for row in rows] == ["27.638 28.500", "–"]


@pytest.mark.parametrize("finished", [False, True])
def test_caption_explains_the_cross_where_there_is_one(finished: bool, tmp_path: Path) -> None:
    record = replace(champion().record, finished=finished)
    text = line_caption(Run(tmp_path, champion=champion(record=record)))
    assert ("A cross marks the end of a race without a finish." in text) is not finished
    assert ("cross" in line_caption(Run(tmp_path))) is False


def test_archive_holds_the_best_of_each_cell() -> None:
    table = {
        "fitness": np.array([1.0, 3.0, 2.0, 5.0, np.nan]),
        "a": np.array([0.1, 0.2, 0.1, 7.0, 0.9]),
        "$b": np.array([-0.9, -0.8, -0.9, 9.0, 0.9]),
    }
    axes = {"behaviours": "a, $b", "ranges": "0..1, -1..1", "cells": "2, 4"}
    config = {"run": {"strategy": "map_elites"}, "map_elites": axes}
    run = Run(Path("run"), config=config, individuals=table)
    grid = plots.archive_grid(run)
    assert grid.names == ("a", "$b")
    assert grid.fitness[0, 0] == 3.0
    assert grid.fitness[1, 3] == 5.0
    assert grid.coverage == 2 / 8
    assert "2 of 8 cells" in plots.archive(run).get_title(loc="left")
    for changes, message in (
        ({"run": {"strategy": "neat"}}, "no archive"),
        ({"map_elites": {"cells": "x"}}, r"\[map_elites\] of the config is damaged"),
    ):
        with pytest.raises(plots.PlotError, match=message):
            plots.archive(replace(run, config={**config, **changes}))


def test_table_has_the_end_of_each_episode() -> None:
    drive, other = rows(0)[1].result.record, EpisodeRecord()
    result = Result(1, 1.0, other, episodes=(drive, other), scores=(1.0, 1.0))
    cells = Row(0, Individual(1, NETWORK, {}), True, result).cells()
    assert cells["episode_ends"] == "100.0:0.0:-50.0 -"


def test_courses_are_those_of_the_plan_and_at_most_a_thousand() -> None:
    def courses(text: str) -> list[tuple[Any, ...]]:
        return courses_of(Run(Path("run"), config={"evaluation": {"courses": text}}))

    assert courses("none") == courses_of(Run(Path("run"))) == []
    assert courses("luigi_course, 07") == [
        ("luigi_course", None, None),
        ("random", 7, None),
    ]
    assert courses("3:5, 4") == [("random", seed, None) for seed in (3, 4, 4)]
    assert len(courses("0:999, 7")) == 1000
    begun = time.perf_counter()
    assert courses(", ".join(["0:1000"] * 100_000)) == []
    assert courses("0:" + "9" * 100_000) == [("0:" + "9" * 100_000, None, None)]
    assert time.perf_counter() - begun < 5.0


def test_ends_of_episodes_are_those_on_the_first_course(tmp_path: Path) -> None:
    table = {
        "fitness": np.array([1.0, 2.0, 3.0]),
        "evaluated": np.array([1.0, 1.0, 0.0]),
        "generation": np.array([0.0, 1.0, 1.0]),
        "episode_ends": np.array(["1:0:2 3:0:4 5:0:6", "- 7:0:8 nan:0:1", "9:0:9"]),
        "episode_finished": np.array(["0 0 1", "0 0 0", "0"]),
    }
    run = Run(tmp_path, individuals=table)
    assert episode_ends(run).tolist() == [[1, 2], [3, 4], [7, 8]]
    assert episode_ends(run, (1, 5)).tolist() == [[7, 8]]
    courses = {"evaluation": {"courses": "17, luigi_course, 17"}}
    assert episode_ends(replace(run, config=courses)).tolist() == [[1, 2]]
    for environment in ({"course_set": "'train'"}, {"course": "random"}, {"course": "'random'"}):
        with pytest.raises(plots.PlotError, match="different courses"):
            plots.deaths(replace(run, config={"environment": environment}))
    with pytest.raises(plots.PlotError, match="the course is not known"):
        plots.deaths(replace(run, config={"environment": {"course": "random", "course_seed": "3"}}))


# In a browser ------------------------------------------------------------------------------------

needs_browser = pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")
LOADED = """Promise.all([...document.images].map(
    image => image.decode().then(() => image.naturalWidth > 0, () => false)))"""
VIDEOS = """Promise.all([...document.querySelectorAll("video")].map(async video => {
    while (video.readyState < 1 && !video.error) await new Promise(done => setTimeout(done, 50));
    return video.error ? video.error.message : video.duration;
}))"""
OVERLAPS = """[...document.querySelectorAll("figure, .card, .tiles li")].filter(each => {
    const box = each.getBoundingClientRect();
    return box.left < 0 || box.right > innerWidth || !box.height;
}).map(each => each.id || each.className)"""


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of the cartridge, short and with a recorded champion."""
    changes = {**NATIVE, "run__workers": 1, "evaluation__frames": 240, "evaluation__stuck": 150}
    evolution = start(tmp_path_factory.mktemp("driven"), **changes)
    evolution.run()
    return evolution.folder


@pytest.mark.slow
@needs_browser
def test_page_in_a_browser_has_all_pictures_and_fits_every_width(
    driven: RunFolder, tmp_path: Path
) -> None:
    path = write_page(driven.path)
    assert path.stat().st_size < 10e6
    folder = make_run(tmp_path / EVIL.replace("/", "%"), text=EVIL)
    hostile = write_page(folder.path, tmp_path / "hostile.html")
    with Browser(tmp_path / "browser") as browser:
        for width in (1400, 400):
            browser.open(path, width, dark=width == 400)
            assert browser.value("document.documentElement.scrollWidth") == width
            assert browser.value(OVERLAPS) == []
            loaded = browser.value(LOADED)
            assert len(loaded) >= 6
            assert all(loaded)
            assert [4 < seconds < 5 for seconds in browser.value(VIDEOS)] == [True]
            headings = browser.value(
                "[...document.querySelectorAll('h2, h3')].map(h => h.innerText)"
            )
            for heading in (
                *("Progress", "Fitness", "Species", "Workers", "Champion", "Race", "Network"),
                *("On the course", "Racing line", "Where drivers failed", "Metrics", "Details"),
            ):
                assert heading in headings
            browser.open(hostile, width)
            assert browser.value("document.documentElement.scrollWidth") == width
            assert all(browser.value(LOADED))
            assert browser.value("document.scripts.length") == 0
        assert browser.problems == []


@pytest.mark.slow
def test_champions_race_is_driven_again_to_the_place_where_it_ended(driven: RunFolder) -> None:
    run = Run.load(driven.path)
    assert run.champion is not None
    race = run.race()
    assert race is run.race()
    assert race.positions[-1].tolist() == pytest.approx(run.champion.record.end_position)
    assert len(race.positions) == len(race.speeds) == len(race.times) == len(race.laps)
    assert race.times[-1] == pytest.approx(240 / 59.8261, abs=0.1)
    moved = np.linalg.norm(np.diff(race.positions, axis=0), axis=1)
    assert np.median(np.abs(moved - race.speeds[1:])) < 0.5  # world units per frame, both
    assert race.pictures == []
    assert plots.course_map(race.course).get_aspect() == 1.0


@pytest.mark.slow
def test_page_without_the_video_extra_has_an_animated_picture(
    driven: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    text = page_html(driven.path)
    assert "data:image/gif;base64," in text
    assert "<video" not in text
