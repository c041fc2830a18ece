"""Runs on a budget of frames, and `mkds_neat.compare`."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from filelock import FileLock
from neat_config import config_text
from neat_runs import NATIVE, resume, start, table
from waiting import until

from benchmarks.results import tuning
from benchmarks.results.__main__ import main as measure_results
from mkds_gym.emulator.cartridge import BUNDLED_ROM
from mkds_neat.compare import Measures, make_plan, measure, requirements
from mkds_neat.compare.__main__ import main
from mkds_neat.compare.curves import draw, quartiles, sampled
from mkds_neat.compare.plan import has_reference, load_plan, save_plan
from mkds_neat.compare.ppo import policy_network
from mkds_neat.compare.reference import Reference
from mkds_neat.compare.scheduler import Job, Scheduler, last_line
from mkds_neat.compare.store import Store
from mkds_neat.compare.summary import (
    Spread,
    interquartile_mean,
    interval,
    markdown,
    runs_csv,
    summarize,
    table_csv,
)
from mkds_neat.compare.unseen import Unseen
from mkds_neat.errors import ConfigError, RunFolderError
from mkds_neat.networks import compile_network
from mkds_neat.results import RunFolder

BUDGET = {**NATIVE, "run__strategy": "truncation", "run__generations": 50, "run__workers": 1}
SHORT = {"evaluation__frames": 60, "evaluation__stuck": 40, "truncation__population": 4}


def frames(folder) -> list[int]:
    return [int(row["frames"]) for row in table(folder, "generations.csv")]


def test_run_ends_with_the_generation_that_reaches_its_frame_budget(tmp_path):
    first = start(tmp_path, **{**BUDGET, **SHORT}, run__frames=1)
    outcome = first.run()
    assert (outcome.reason, outcome.generation) == ("frames", 1)
    budget = sum(frames(first.folder)) + 1

    resumed = resume(first.folder, frames=str(budget))
    assert resumed.run().reason == "frames"
    spent = frames(first.folder)
    assert len(spent) > 1
    assert sum(spent[:-1]) < budget <= sum(spent)

    again = resume(first.folder)
    assert again.run().reason == "frames"
    assert frames(first.folder) == spent


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("config") / "base.ini"
    path.write_text(config_text(**{**NATIVE, **SHORT}))
    return path


@pytest.fixture(scope="module")
def plan(config):
    return make_plan([config], ["truncation"], ["mario_course", "random"], [2, 1], frames=100)


def test_plan_has_a_run_for_each_competitor_course_and_seed(plan):
    assert [run.name for run in plan.runs] == [
        "truncation-mario_course-seed2",
        "truncation-random-seed2",
        "truncation-mario_course-seed1",
        "truncation-random-seed1",
    ]
    run = plan.runs[1]
    config = plan.config(run)
    assert (config.run.seed, config.run.frames, config.run.stop_when) == (2, 100, "never")
    assert config.env_kwargs["course_set"] == "train"
    assert "course" not in config.env_kwargs


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strategies": ["neatt"]}, r"strategy neatt: .*did you mean"),
        ({"strategies": ["neat", "neat"]}, "--strategies has 'neat' more than once"),
        ({"strategies": [""]}, "--strategies has '' an empty name"),
        ({"courses": ["nowhere"]}, "course nowhere, .*is not on the cartridge"),
        ({"courses": ["mario"]}, "did you mean 'mario_course'"),
        ({"courses": ["random:x"]}, "--courses 'random:x': expected"),
        ({"seeds": [1, 1]}, "--seeds has 1 more than once"),
        ({"frames": 0}, "--frames 0 is out of range"),
        ({"unseen": 201}, "--unseen 201 is out of range"),
        ({"seeds": range(20_000)}, "more than 10,000 runs"),
    ],
)
def test_impossible_comparison_is_refused_before_anything_starts(config, changes, message):
    arguments = {"strategies": ["truncation"], "courses": [], "seeds": [1], "frames": 9} | changes
    with pytest.raises(ConfigError, match=message):
        make_plan([config], **arguments)


def test_config_without_the_section_of_a_strategy_names_the_strategy(config, tmp_path):
    path = tmp_path / "less.ini"
    path.write_text(config.read_text().split("[NEAT]")[0])
    with pytest.raises(ConfigError, match=r"less.ini, strategy neat: .*\[NEAT\]"):
        make_plan([path], ["truncation", "neat"], frames=9)


def test_race_times_are_measured_only_where_all_episodes_are_whole_races_there(tmp_path):
    path = tmp_path / "own.ini"

    def measured(**changes: object) -> bool:
        path.write_text(config_text(**{**NATIVE, **SHORT, **changes}))
        plan = make_plan([path], ["truncation"], frames=100)
        return has_reference(plan, plan.courses[0])

    assert measured()
    assert not measured(environment__course="random")
    assert measured(environment__course="random", environment__course_seed=3)
    two = {"evaluation__episodes": 2}
    assert not measured(**two, evaluation__courses="mario_course, 3")
    assert not measured(**two, evaluation__starts="grid, 0.5")


def test_course_of_the_command_replaces_all_courses_of_the_config(tmp_path):
    path = tmp_path / "own.ini"
    environment = {"environment__course": "random", "environment__course_seed": 5}
    path.write_text(
        config_text(**{**NATIVE, **SHORT, **environment, "evaluation__courses": "mario_course"})
    )
    plan = make_plan([path], ["truncation"], ["snow_course", "random:7:0.25"], frames=9)
    fixed, drawn = (plan.config(run) for run in plan.runs)
    assert fixed.plan.courses == drawn.plan.courses == ()
    assert fixed.env_kwargs["course"] == "snow_course"
    assert "course_seed" not in fixed.env_kwargs
    assert (drawn.env_kwargs["course_seed"], drawn.env_kwargs["difficulty"]) == (7, 0.25)
    assert fixed.run.workers == 1


def test_configs_of_different_cartridges_are_refused(config, tmp_path):
    data = bytearray(BUNDLED_ROM.read_bytes())
    data[-1] ^= 1
    (tmp_path / "other.nds").write_bytes(data)
    other = tmp_path / "other.ini"
    other.write_text(config_text(**{**NATIVE, **SHORT, "environment__rom": tmp_path / "other.nds"}))
    with pytest.raises(ConfigError, match="have different cartridges"):
        make_plan([config, other], ["truncation"], frames=9)


def test_other_cartridge_has_no_reference_times_and_no_unseen_courses(config, plan, monkeypatch):
    assert has_reference(plan, "mario_course")
    monkeypatch.setattr("mkds_neat.compare.plan.is_kartlab", lambda cartridge: False)
    assert not has_reference(plan, "mario_course")
    with pytest.raises(ConfigError, match="--unseen 2 needs the cartridge Kartlab"):
        make_plan([config], ["truncation"], frames=9, unseen=2)


def test_missing_package_is_named_with_its_extra(monkeypatch):
    for missing, strategies, extra in (
        ("scipy", ("neat",), "compare"),
        ("stable_", ("ppo",), "sb3"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(
                requirements, "find_spec", lambda name, m=missing: None if m in name else name
            )
            with pytest.raises(ConfigError, match=rf"pip install 'mkds-gym\[.*{extra}\]'"):
                requirements.check_packages(strategies)
            if missing != "scipy":
                requirements.check_packages(["neat"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "has version 2: expected 1"),
        ({"format": "mkds_neat run"}, "is not the comparison.json of a comparison"),
        ({"frames": "x"}, "is damaged"),
        ({"name": "../escaped"}, r"is damaged: run '../escaped'"),
        ({"setting": "none"}, "is damaged: run 'truncation-mario_course-seed2'"),
    ],
)
def test_damaged_plan_is_refused(plan, tmp_path, changes, message):
    data = json.loads(plan.to_bytes())
    for key, value in changes.items():
        (data if key in data else data["runs"][0])[key] = value
    (tmp_path / "comparison.json").write_text(json.dumps(data))
    with pytest.raises(RunFolderError, match=message):
        load_plan(tmp_path)


def test_dry_run_lists_the_runs_and_writes_nothing(config, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ("--strategies", "truncation", "--seeds", "2-3,5", "--frames", "3e2", "--dry-run")
    assert main([str(config), *options]) == 0
    names = [f"truncation-default-seed{seed}" for seed in (2, 3, 5)]
    assert capsys.readouterr().out.splitlines() == ["3 runs of 300 frames: 900 frames", *names]
    assert not any(tmp_path.iterdir())


def test_failed_job_is_reported_with_its_last_line_and_none_starts_after_the_deadline(tmp_path):
    ends = []
    (tmp_path / "logs").mkdir()
    scheduler = Scheduler(tmp_path / "none", tmp_path / "logs", 1)
    scheduler.deadline = 0.0
    scheduler.run([Job("run", "late")], lambda job, error: ends.append((job.name, error)))
    assert ends == []
    scheduler.deadline = math.inf
    scheduler.run([Job("run", "x")], lambda job, error: ends.append((job.name, error)))
    ((name, error),) = ends
    assert name == "x"
    assert "holds no comparison" in error


def test_pipes_and_links_in_place_of_logs_neither_hang_nor_lead_elsewhere(plan, tmp_path):
    logs, other = tmp_path / "logs", tmp_path / "other"
    os.mkfifo(logs)
    with pytest.raises(RunFolderError, match="logs' is not a folder for logs"):
        Store(tmp_path, plan).log_folder  # noqa: B018
    logs.unlink()
    logs.mkdir()
    other.write_text("kept")
    os.mkfifo(logs / "run-a.txt")
    (logs / "run-b.txt").symlink_to(other)
    ended = []
    scheduler = Scheduler(tmp_path / "none", logs, 2)
    scheduler.run([Job("run", "a"), Job("run", "b")], lambda *end: ended.append(end))
    assert len(ended) == 2
    assert all("holds no comparison" in error for _, error in ended)
    assert other.read_text() == "kept"


def test_job_that_cannot_be_started_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    scheduler = Scheduler(tmp_path, tmp_path, 1)
    with pytest.raises(RunFolderError, match="no process can be started for run a"):
        scheduler.run([Job("run", "a")], print)


def test_last_line_of_an_endless_log_is_read_alone(tmp_path: Path) -> None:
    log = tmp_path / "job.txt"
    with log.open("wb") as file:
        file.truncate(1 << 36)  # sparse: 64 GB
        file.seek(0, os.SEEK_END)
        file.write(b"\nthe last line\n\n")
    assert last_line(log) == "the last line"


def test_another_comparison_in_the_same_folder_is_refused_by_name(plan, tmp_path):
    (tmp_path / "c").mkdir()
    save_plan(tmp_path / "c", plan)
    save_plan(tmp_path / "c", plan)
    assert load_plan(tmp_path / "c") == plan
    settings = json.loads(json.dumps(plan.settings))
    settings["truncation on random"]["evaluation"]["frames"] = "61"
    for changes, message in [
        ({"frames": 101}, "--frames 100, not 101"),
        ({"unseen": 3}, "--unseen 0, not 3"),
        ({"runs": plan.runs[:2]}, "--seeds 1,2, not 2"),
        ({"runs": plan.runs[::2]}, "--courses mario_course,random, not mario_course"),
        ({"rom_sha1": "0"}, "the cartridge"),
        ({"settings": settings}, r"\[evaluation\] frames = '60' for truncation on random"),
    ]:
        with pytest.raises(RunFolderError, match=message):
            save_plan(tmp_path / "c", dataclasses.replace(plan, **changes))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(RunFolderError, match=r"something else than a comparison \(thesis.tex\)"):
        Store.begin(tmp_path / "other", plan)
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thesis.tex"]


def test_only_one_process_at_a_time_works_on_a_comparison(plan, tmp_path):
    def begin() -> Store:
        return Store.begin(tmp_path / "c", plan)

    (tmp_path / "c").mkdir()
    with (
        FileLock(tmp_path / "c" / "comparison.lock"),
        pytest.raises(RunFolderError, match="another process is at work"),
    ):
        begin()
    assert not (tmp_path / "c" / "comparison.json").exists(), "written without the lock"
    first = begin()
    with pytest.raises(RunFolderError, match="another process is at work"):
        begin()
    paths = {first.reference_path(course) for course in ("random:1", "random:2", "mario_course")}
    assert len(paths) == 3
    first.close()
    with pytest.raises(RunFolderError, match=r"^'[^']*' holds another comparison: --frames"):
        Store.begin(tmp_path / "c", dataclasses.replace(plan, frames=7))
    begin().close()
    assert sorted(path.name for path in (tmp_path / "c" / "runs").iterdir()) == sorted(
        run.name for run in plan.runs
    )


def test_results_stop_at_a_part_that_is_refused(tmp_path, capsys):
    folder = tmp_path / "courses"
    folder.mkdir()
    options = ("--strategies", "truncation", "--seeds", "1", "--output", str(tmp_path))
    with FileLock(folder / "comparison.lock"):
        assert measure_results(["run", *options]) == 2
    assert "another process is at work" in capsys.readouterr().err
    assert not (tmp_path / "random").exists()


def test_comparison_keeps_networks_for_the_champions_within_the_budget(config, tmp_path):
    path = tmp_path / "none.ini"
    path.write_text(config.read_text().replace("[run]\n", "[run]\nnetworks = 0\n"))
    plan = make_plan([path], ["truncation"], frames=9)
    assert plan.config(plan.runs[0]).run.networks > 0


def write_tables(folder: Path, drives) -> Path:
    """Write the tables of a run: (generation, id, evaluated, frames, fitness, race time)."""
    folder.mkdir()
    with (folder / "individuals.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        names = ("generation", "id", "evaluated", "frames", "fitness", "race_seconds", "finished")
        writer.writerow(names)
        writer.writerows((*drive, int(drive[5] > 0)) for drive in drives)
    with (folder / "generations.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("generation", "frames", "seconds"))
        for number in sorted({drive[0] for drive in drives}):
            spent = sum(d[3] for d in drives if d[0] == number and d[2])
            writer.writerow((number, spent, 2.5))
    return folder


DRIVES = [
    (0, 1, 1, 30, 5.0, 0.0),
    (0, 0, 1, 40, 3.0, 0.0),
    (1, 1, 0, 30, 5.0, 0.0),  # survives
    (1, 2, 1, 50, 9.0, 91.5),
    (1, 3, 1, 60, 8.0, 90.0),
]


def test_measures_count_individuals_in_order_of_id_within_the_budget(tmp_path):
    folder = write_tables(tmp_path / "run", DRIVES)
    found = measure(folder, "run", 179)
    assert (found.frames, found.spent, found.individuals, found.generations) == (120, 180, 3, 2)
    assert (found.first_finish, found.first_finish_seconds) == (120, 5.0)
    assert (found.best_time, found.best_fitness, found.champion) == (91.5, 9.0, 2)
    assert found.curve == ((40, 3.0, None), (70, 5.0, None), (120, 9.0, 91.5))

    # Generation 1 is not whole: where generations cannot be compared, the champion is of 0.
    assert measure(folder, "run", 179, last_champion=True).champion == 1
    assert measure(folder, "run", 99, last_champion=True).champion == 1
    assert measure(folder, "run", 180, last_champion=True).champion == 3

    whole = measure(folder, "run", 180)
    assert (whole.champion, whole.best_time, whole.best_fitness) == (3, 90.0, 9.0)
    assert measure(folder, "run", 39).champion is None
    whole.save(tmp_path / "m.json")
    assert Measures.load(tmp_path / "m.json") == whole
    (tmp_path / "m.json").write_text('{"format": "x"}')
    with pytest.raises(RunFolderError, match=r"m\.json' has another format"):
        Measures.load(tmp_path / "m.json")


def test_curves_are_staircases_with_quartiles_over_seeds(tmp_path):
    found = measure(write_tables(tmp_path / "run", DRIVES), "run", 200)
    at = np.array([0.0, 39.0, 40.0, 119.0, 120.0, 200.0])
    np.testing.assert_equal(sampled(found, at, 1), [math.nan, math.nan, 3, 5, 9, 9])
    np.testing.assert_equal(sampled(found, at, 2), [*[math.nan] * 4, 91.5, 90])
    late = np.full(6, math.nan)
    _, median, high = quartiles([sampled(found, at, 2), late, late + 1], 2)
    assert np.isnan(median).all(), "most runs have no time"
    assert np.isnan(high).all()
    curves = [np.full(1, each) for each in (5.0, 7.0, math.nan)]
    assert [float(quartiles(curves, value)[1][0]) for value in (1, 2)] == [5.0, 7.0]


def test_picture_has_a_dot_for_a_seed_that_finished_and_says_that_no_driver_has(plan, tmp_path):
    plan = dataclasses.replace(plan, frames=200)
    folder = write_tables(tmp_path / "run", DRIVES)
    measures = {run.name: measure(folder, run.name, 100) for run in plan.runs}
    finished = plan.runs[0].name  # one of two seeds on mario_course: the median is "never"
    measures[finished] = measure(folder, finished, 180)
    del measures[plan.runs[1].name], measures[plan.runs[3].name]  # the random course
    dotted = draw(plan, measures, {"mario_course": Reference(81.0, 75.0)}, "svg").decode()
    assert dotted.count("no driver has finished") == dotted.count("no run is complete") == 1
    assert len(re.findall(r'<use [^>]* x="[1-9][^>]*fill: #0072b2', dotted)) == 1

    def heights(picture: str) -> list[float]:
        names = ("PurePursuit", "hard")
        return [float(re.search(rf' y="([\d.]+)"[^>]*>{n}<', picture)[1]) for n in names]

    slow, fast = heights(dotted)
    assert slow < fast, "81 s above 75 s"
    for hard in (80.99, 81.01):
        near = draw(plan, measures, {"mario_course": Reference(81.0, hard)}, "svg").decode()
        first, second = heights(near)
        assert abs(first - second) > 5, "one label covers the other"


def test_table_has_medians_ratios_and_shares(plan, tmp_path):
    folder = write_tables(tmp_path / "run", DRIVES)
    measures = {run.name: measure(folder, run.name, 180) for run in plan.runs}
    never = plan.runs[2].name  # mario_course, seed 1
    measures[never] = measure(folder, never, 100)
    races = {run.name: [Unseen(True, 3, 9), Unseen(False, 0, 9)] for run in plan.runs}
    lines, overall = summarize(plan, measures, {"mario_course": Reference(81.0, 75.0)}, races)
    mario, random = lines
    assert (mario.finished, mario.seeds) == (1, 2)
    assert mario.best_time == Spread(90.0, math.inf, math.inf)
    assert (random.best_time.median, random.unseen) == (90.0, 0.5)
    assert math.isnan(random.to_hard)
    assert random.frames_per_second == 36
    _, random = summarize(plan, measures, {"random": Reference(90.0, 60.0)}, races)[0]
    assert (random.to_pure_pursuit, random.to_hard) == (1.0, 1.5)
    assert (overall[0].runs, overall[0].speed) == (2, pytest.approx(0.45))
    (row, _) = csv.DictReader(table_csv(lines).splitlines())
    assert (row["best_time_low"], row["best_time_median"], row["seeds"]) == ("90.0", "", "2")
    rows = list(csv.DictReader(runs_csv(plan, measures, races).splitlines()))
    assert [each["seed"] for each in rows] == ["2", "2", "1", "1"]
    names = ("best_time", "unseen_courses", "unseen_finished")
    assert [rows[2][name] for name in names] == ["", "2", "1"]
    pairs = [dataclasses.replace(run, competitor=f"seed {run.seed}") for run in plan.runs]
    two = dataclasses.replace(plan, runs=tuple(pairs[::-1]))
    _, ranked = summarize(two, measures, {"mario_course": Reference(81.0, 75.0)}, races)
    assert [each.competitor for each in ranked] == ["seed 2", "seed 1"], "the fastest first"
    text = markdown(lines, overall, {"mario_course": Reference(81.0, 75.0)})
    assert "PurePursuit takes 1:21.000" in text
    assert "| truncation | 1 of 2 |" in text


def test_bootstrap_interval_is_stratified_and_repeatable():
    strata = [np.array([1.0, 2.0, 3.0]), np.array([11.0])]
    value, low, high = interval(strata, np.mean)
    assert value == 4.25
    assert 3.5 <= low < value < high <= 5.0
    assert interval(strata, np.mean) == (value, low, high)
    assert interquartile_mean(np.array([0.0, 1.0, 2.0, 9.0])) == 1.5
    assert interval([np.array([0.5, 0.5])], np.mean) == (0.5, 0.5, 0.5)


def test_network_of_a_policy_has_its_layers_in_order_and_linear_outputs():
    draw = np.random.default_rng(1).normal
    sizes = [3, *[4] * 6, 2]
    names = [*(f"mlp_extractor.policy_net.{2 * i}" for i in range(6)), "action_net"]
    parameters = {f"mlp_extractor.value_net.{i}.weight": draw(size=(9, 9)) for i in range(2)}
    values = np.array([0.5, -1.0, 2.0])
    expected = values
    for name, inputs, outputs in zip(names, sizes[:-1], sizes[1:], strict=True):
        weight, bias = draw(size=(outputs, inputs)), draw(size=outputs)
        parameters |= {f"{name}.weight": weight.tolist(), f"{name}.bias": bias.tolist()}
        expected = weight @ expected + bias
        if name != "action_net":
            expected = np.tanh(expected)
    network = policy_network(dict(sorted(parameters.items())))
    np.testing.assert_allclose(compile_network(network)(values.tolist()), expected)


@pytest.mark.parametrize(
    ("times", "fitness", "best"),
    [((90.0, 80.0, None), (1.0, 2.0, 3.0), 1), ((None, None, None), (1.0, 2.0, 3.0), 2)],
)
def test_tuning_chooses_the_shortest_race_then_the_highest_fitness(
    times, fitness, best, tmp_path, monkeypatch
):
    tuned = tmp_path / "tuned.json"
    found = {
        f"{number}": SimpleNamespace(best_time=times[number], best_fitness=fitness[number])
        for number in range(3)
    }
    runs = [SimpleNamespace(name=name, competitor=f"truncation{name}") for name in found]
    store = SimpleNamespace(plan=SimpleNamespace(runs=runs), measures=found.get)
    monkeypatch.setattr(tuning, "TUNED", tuned)
    monkeypatch.setattr("mkds_neat.compare.__main__.main", lambda arguments: 0)
    monkeypatch.setattr("mkds_neat.compare.store.Store.open", lambda path: store)
    assert tuning.tune(tmp_path, ["truncation"], 9, "1") == 0
    assert tuning.chosen() == {"truncation": tuning.CANDIDATES["truncation"][best]}
    assert tuning.chosen_frames() == 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "5-1"], "empty range of seeds"),
        (["--seeds", "one"], "expected a list such as 1-5"),
        (["--seeds", "1-2000"], "more than 1000 seeds"),
        (["--frames", "many"], "not a number of frames"),
        (["--jobs", "-1"], "--jobs -1 is out of range"),
    ],
)
def test_wrong_arguments_are_one_line(config, arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        status = main([str(config), *arguments])
    except SystemExit as end:
        status = end.code
    assert status == 2
    assert message in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def command(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def results(folder: Path) -> dict[str, object]:
    """All results without wall times."""
    found = {}
    for path in sorted((folder / "results").iterdir()):
        data = json.loads(path.read_text())
        found[path.name] = {k: v for k, v in data.items() if "seconds" not in k}
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_and_interrupted_comparison_ends_like_an_uninterrupted_one(tmp_path):
    config = tmp_path / "base.ini"
    ppo = "\n[ppo]\nenvironments = 4\nrollout = 16\nbatch_size = 32\nevaluate_every = 2\n"
    config.write_text(config_text(**{**NATIVE, **SHORT, "environment__laps": 1}) + ppo)

    def compare(folder: Path) -> subprocess.Popen[str]:
        options = ("--strategies", "truncation,ppo", "--frames", "3100", "--output", folder)
        return command("mkds_neat.compare", config, *options, "--jobs", 2)

    whole = compare(tmp_path / "whole")
    text, _ = whole.communicate()
    assert whole.returncode == 0, text
    rows = table(RunFolder(tmp_path / "whole" / "runs" / "ppo-default-seed1"), "generations.csv")
    assert [row["frames"] for row in rows] == ["512"] * 6

    folder = tmp_path / "killed"
    driven = folder / "runs" / "ppo-default-seed1" / "generations.csv"
    for number in (signal.SIGKILL, signal.SIGINT):
        process = compare(folder)
        size = driven.stat().st_size if driven.exists() else 0
        until(lambda n=size: driven.exists() and driven.stat().st_size > n, seconds=120)
        os.kill(process.pid, number)
        text, _ = process.communicate()
        assert process.returncode in (-number, 128 + number), text
    process = compare(folder)
    text, _ = process.communicate()
    assert process.returncode == 0, text
    assert results(folder) == results(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ppo_trains_where_each_episode_draws_its_course(tmp_path):
    config = tmp_path / "random.ini"
    ppo = "\n[ppo]\nenvironments = 2\nrollout = 16\nbatch_size = 32\nevaluate_every = 1\n"
    config.write_text(config_text(**{**NATIVE, **SHORT, "environment__laps": 1}) + ppo)
    options = ("--strategies", "ppo", "--courses", "random", "--frames", "300")
    process = command("mkds_neat.compare", config, *options, "--output", tmp_path / "out")
    text, _ = process.communicate()
    assert process.returncode == 0, text
    rows = table(RunFolder(tmp_path / "out" / "runs" / "ppo-random-seed1"), "individuals.csv")
    assert [row["frames"] for row in rows] == ["128", "128"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_small_version_of_the_results_writes_the_page(tmp_path):
    folder = tmp_path / "results"
    frames = ("--frames", 4_200, "--random-frames", 4_200)
    small = ("--seeds", 1, *frames, "--unseen", 1, "--courses", "mario_course")
    chosen = ("--strategies", "random_search,truncation,ppo")
    process = command("benchmarks.results", "run", *small, *chosen, "--output", folder)
    text, _ = process.communicate()
    assert process.returncode == 0, text
    assert f"page --output {folder} --page {folder / 'page'}" in text.replace("\n", ""), (
        "the page in docs/ stays"
    )
    page = tmp_path / "page"
    process = command("benchmarks.results", "page", "--output", folder, "--page", page)
    text, _ = process.communicate()
    assert process.returncode == 0, text
    text = (page / "index.md").read_text()
    assert text.count("3 of 3 runs are complete") == 2
    assert text.count("This is a trial of the command") == 2
    assert len(re.findall(r"\n\| ppo \| \d of 1 \|", text)) == 2
    assert {path.name for path in page.iterdir()} == {
        "index.md",
        *(f"courses_{name}" for name in ("runs.csv", "table.csv", "curves.png")),
        *(f"random_{name}" for name in ("runs.csv", "table.csv", "curves.png")),
    }
