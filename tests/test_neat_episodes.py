"""Several episodes for each individual: courses, starts, common seeds, rungs and re-evaluation."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mkds_gym.recording.format import Recording
from mkds_neat.config import parse_config
from mkds_neat.config.episodes import given_courses
from mkds_neat.episode import EpisodeRecord
from mkds_neat.errors import ConfigError
from mkds_neat.evaluation import Evaluator
from mkds_neat.evolution import Evolution
from mkds_neat.individual import Individual, Result
from mkds_neat.networks import MLP, NetworkSpec, Node
from mkds_neat.plan import Plan, draws_of, episode_seed, summary
from mkds_neat.report import replay
from mkds_neat.results import RunFolder
from mkds_neat.strategies import RandomSearch

NETWORK = NetworkSpec((-1,), (0,), (Node(0),), ((-1, 0, 1.0),))
DRIVER = Individual(5, NETWORK, {})
ENV: dict[str, Any] = {
    "sensors": ["kinematics", "line:4"],
    "action_type": "wheel:1",
    "reward": "none",
    "info_every_step": False,
    "truncate_on": ["clock:100"],
}
RANDOM = {"course": "random", "course_seed": 3, "course_set": None}
MEADOW = {"course": "mario_course", "course_seed": None, "course_set": None}


def results_of(plan: Plan, env: dict[str, Any] = ENV, **how: Any) -> list[Result]:
    """Return results of six drivers, without their wall time."""
    drivers = RandomSearch(MLP(12, 1), population=6, sigma=1.0, seed=1).ask()
    how = {"workers": 1, "lanes": 1, "vectorization": "native", **how}
    with Evaluator("MKDS-v0", env, seed=1, scorer=_progress, plan=plan, **how) as evaluator:
        found = evaluator.evaluate(drivers, generation=2)
        assert evaluator.frames == sum(result.record.frames for result in found)
    return [
        replace(
            result,
            record=replace(result.record, seconds=0.0),
            episodes=tuple(replace(each, seconds=0.0) for each in result.episodes),
        )
        for result in found
    ]


def _progress(metrics: Any) -> float:
    return float(metrics["progress"])


# The plan ------------------------------------------------------------------------------------


def test_the_first_seed_of_an_individual_is_that_of_a_single_episode() -> None:
    plan = Plan(episodes=3)
    seeds = [task.seed for task in plan.tasks(1, DRIVER, 7)]
    assert seeds[0] == episode_seed(1, 5)
    assert len(set(seeds)) == 3


@pytest.mark.parametrize(
    ("seeds", "same_driver", "same_generation"),
    [("individual", False, True), ("generation", True, False), ("run", True, True)],
)
def test_seeds_depend_on_what_the_config_says(
    seeds: Any, same_driver: bool, same_generation: bool
) -> None:
    plan = Plan(episodes=2, seeds=seeds)

    def drawn(individual: int, generation: int) -> list[int]:
        driver = replace(DRIVER, id=individual)
        return [task.seed for task in plan.tasks(1, driver, generation)]

    assert (drawn(5, 0) == drawn(6, 0)) is same_driver
    assert (drawn(5, 0) == drawn(5, 1)) is same_generation
    assert len({*drawn(5, 0)}) == 2


def test_courses_and_starts_repeat_over_the_episodes() -> None:
    plan = Plan(episodes=4, courses=(MEADOW, RANDOM), starts=(None, 0.5, 0.25))
    tasks = plan.tasks(1, DRIVER, 0)
    assert [task.course for task in tasks] == [MEADOW, RANDOM, MEADOW, RANDOM]
    assert [task.start for task in tasks] == [None, 0.5, 0.25, None]


def test_rungs_of_episodes_share_them_out() -> None:
    plan = Plan(episodes=6, rung_episodes=(1, 3))
    assert [[t.episode for t in plan.tasks(1, DRIVER, 0, rung)] for rung in (0, 1, None)] == [
        [0],
        [1, 2],
        [3, 4, 5],
    ]


def test_rungs_of_frames_cut_off_the_first_episode() -> None:
    plan = Plan(episodes=2, rung_frames=(300, 900))
    assert [[t.frames for t in plan.tasks(1, DRIVER, 0, rung)] for rung in (0, 1, None)] == [
        [300],
        [900],
        [None, None],
    ]


def test_share_that_goes_on_is_rounded_up() -> None:
    counts = ((100, 0.07), (7, 0.5), (3, 0.01), (4, 1.0))
    assert [Plan(keep=keep).survivors(count) for count, keep in counts] == [7, 4, 1, 4]


@pytest.mark.parametrize(("combine", "fitness"), [("mean", 4.0), ("min", 1.0), ("median", 3.0)])
def test_fitness_combines_the_scores(combine: Any, fitness: float) -> None:
    assert Plan(episodes=3, combine=combine).fitness([8.0, 1.0, 3.0]) == fitness


def test_summary_is_finished_only_if_all_episodes_are() -> None:
    won = EpisodeRecord({"progress": 10.0}, 3, 12, finished=True, lap_times=(2.0,), race_time=2.0)
    lost = EpisodeRecord({"progress": 4.0}, 1, 4, events=("stuck",))
    both, mixed = summary([won, replace(won, race_time=4.0)]), summary([won, lost])
    assert (both.finished, both.race_time, both.lap_times, both.frames) == (True, 3.0, (2.0,), 24)
    assert (mixed.finished, mixed.race_time, mixed.metrics["progress"]) == (False, 0.0, 7.0)
    assert mixed.events == ("stuck",)
    assert summary([won]) is won


def test_individual_that_missed_episodes_has_not_finished() -> None:
    won = EpisodeRecord({"progress": 10.0}, 3, 12, finished=True, lap_times=(2.0,), race_time=2.0)
    dropped = Plan(episodes=2, rung_episodes=(1,)).record([won])
    assert (dropped.finished, dropped.race_time, dropped.lap_times) == (False, 0.0, (2.0,))
    assert Plan().record([won]) is won


@pytest.mark.slow
def test_drawn_course_is_that_of_a_reset_with_the_seed(make_env: Any) -> None:
    env = make_env(course_set="train", difficulty=0.0)
    _, info = env.reset(seed=11)
    draw = draws_of({"course_set": "train"})
    assert draw is not None
    assert draw(11)["course_seed"] == info["course_seed"]
    assert draws_of({}) is None


# The emulator --------------------------------------------------------------------------------


@pytest.mark.slow
def test_results_do_not_depend_on_workers_and_shared_consoles() -> None:
    plan = Plan(episodes=4, seeds="run", courses=(MEADOW, RANDOM), starts=(None, None, 0.1, 0.1))
    alone = results_of(plan)
    assert alone == [replace(r, recording=None) for r in results_of(plan, workers=2, lanes=3)]
    assert [len(result.scores) for result in alone] == [4] * 6
    assert len({alone[0].scores[0], alone[0].scores[1], alone[0].scores[2]}) == 3
    for result in alone:
        assert result.fitness == pytest.approx(sum(result.scores) / 4)


@pytest.mark.slow
def test_drawn_courses_are_the_same_in_shared_consoles() -> None:
    env = {**ENV, "course_set": "train", "difficulty": 0.0}
    plan = Plan(episodes=2, seeds="generation")
    shared = replace(plan, drawn=draws_of(env))
    assert results_of(plan, env) == results_of(shared, env, lanes=6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "plan",
    [
        Plan(rung_frames=(40,), keep=0.5),
        Plan(episodes=3, courses=(MEADOW, RANDOM, MEADOW), rung_episodes=(1, 2), keep=0.4),
    ],
    ids=["frames", "episodes"],
)
def test_dropped_individuals_rank_below_the_others(plan: Plan) -> None:
    found = results_of(plan, lanes=6)
    dropped = [each for each in found if each.rung is not None]
    whole = [each for each in found if each.rung is None]
    assert len(whole) == (3 if plan.rung_frames else 2)
    by_rung = [[r.fitness for r in dropped if r.rung == rung] for rung in range(plan.rungs)]
    in_order = [*by_rung, [each.fitness for each in whole]]
    assert all(max(low) < min(high) for low, high in itertools.pairwise(in_order))
    assert all(len(each.episodes) == plan.episodes for each in whole)
    assert found == results_of(plan, workers=2, lanes=2)


@pytest.mark.slow
def test_first_episode_is_recorded_with_rungs_and_starts(tmp_path: Path) -> None:
    text = CONFIG.format(again="never", workers=1).replace("generations = 3", "generations = 1")
    text = text.replace("episodes = 2\n", "episodes = 2\nstarts = 0.5, grid\n")
    text = text.replace("vectorization", "drivers_per_console = 1\nvectorization")
    config = parse_config(text)
    with RunFolder.create(tmp_path / "run", config.text) as folder:
        champion = Evolution(config, folder, progress=False).run().champion
    assert champion is not None
    assert (champion.start, champion.episodes) == (0.5, 2)
    recording = Recording.load(tmp_path / "run" / "champion.mkr")
    assert recording.frames > 100
    _, info = replay(champion, pictures=1)
    assert info["metrics"]["progress"] == pytest.approx(_first_score(tmp_path / "run", champion.id))


def _first_score(folder: Path, key: int) -> float:
    return next(each.scores[0] for each in _last(folder) if each.id == key)


def test_known_results_are_not_driven_again() -> None:
    plan = Plan(rung_frames=(40,), keep=0.5)
    drivers = RandomSearch(MLP(12, 1), population=6, sigma=1.0, seed=1).ask()
    how: Any = {"workers": 1, "lanes": 6, "vectorization": "native"}
    with Evaluator("MKDS-v0", ENV, seed=1, scorer=_progress, plan=plan, **how) as evaluator:
        first = evaluator.evaluate(drivers)
        before = evaluator.frames
        new: list[Result] = []
        again = evaluator.evaluate(drivers, new.append, known={r.id: r for r in first})
        spent = evaluator.frames - before
        # As after a stop: some results are averages with earlier evaluations.
        averaged = {
            r.id: replace(r, fitness=r.fitness - 1e4, evaluations=2)
            for r in first
            if r.rung is None
        }
        resumed = evaluator.evaluate(drivers, known=averaged)
    assert again == first
    assert new == []
    assert spent == 6 * 40
    assert [r.fitness for r in resumed if r.rung is not None] == [
        r.fitness for r in first if r.rung is not None
    ]


CONFIG = """
[run]
strategy = truncation
seed = 3
generations = 3
workers = {workers}
vectorization = native
stop_when = never
pictures = no
[environment]
sensors = ["kinematics", "line:4"]
action_type = wheel:1
course_set = train
difficulty = 0
[evaluation]
frames = 120
scorer = progress
episodes = 2
seeds = generation
reevaluate = {again}
rung_episodes = 1
[truncation]
population = 4
top_k = 2
elite = 1
"""


def run(folder: Path, again: str, workers: int, stop_after: int | None = None) -> list[Result]:
    """Run three generations, interrupted after some results; return the last generation."""
    config = parse_config(CONFIG.format(again=again, workers=workers))
    with RunFolder.create(folder, config.text) as made:
        evolution = Evolution(config, made, progress=False)
        if stop_after is not None:
            _stop_after(made, evolution, stop_after)
            evolution.run()
            reopened = RunFolder.open(folder)
            evolution = Evolution(
                config, reopened, checkpoint=reopened.load_checkpoint(), progress=False
            )
        evolution.run()
    return _last(folder)


def _stop_after(folder: RunFolder, evolution: Evolution, results: int) -> None:
    write, left = folder.journal, [results]

    def journal(*arguments: Any) -> None:
        write(*arguments)
        left[0] -= 1
        if left[0] == 0:
            evolution.stop()

    monkey: Any = folder
    monkey.journal = journal


def _last(folder: Path) -> list[Result]:
    checkpoint = RunFolder.open(folder).load_checkpoint()
    assert checkpoint is not None
    return [
        replace(
            each,
            record=replace(each.record, seconds=0.0),
            episodes=tuple(replace(e, seconds=0.0) for e in each.episodes),
        )
        for _, each in sorted(checkpoint.last.items())
    ]


@pytest.mark.slow
@pytest.mark.parametrize("again", ["replace", "average"])
def test_elites_are_driven_again_and_a_resumed_run_is_the_same(tmp_path: Path, again: str) -> None:
    whole = run(tmp_path / "whole", again, 1)
    elite = whole[0]
    assert elite.id < 8  # it survived
    assert elite.evaluations == (1 if again == "replace" else 3 - elite.id // 4)
    assert elite.rung is None
    assert run(tmp_path / "resumed", again, 2, stop_after=6) == whole


# The config ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("episodes = 2", "would repeat the same episode"),
        (
            "courses = nowhere",
            r"\[evaluation\] courses: course = .nowhere. is not on the",
        ),
        ("courses = 0:2", "write episodes = 2"),
        ("starts = far", "not a start"),
        ("rung_frames = 500, 300", "rising"),
        ("rung_episodes = 1", "rising"),
        ("rung_frames = 100\nrung_episodes = 1", "exclude each other"),
        ("reevaluate = average", "write seeds = generation"),
        ("reevaluate = average\nseeds = generation", "write never"),
        (
            "courses = mario_course, snow_course\nstarts = 0, 0.1, 0.2, 0.3\nepisodes = 5",
            "episodes = 5 would repeat .* at most 4",
        ),
        ("starts = 9", "not a start"),
        ("keep = 0", "greater than 0"),
        ("seeds = all", "'individual', 'generation' or 'run'"),
    ],
)
def test_config_refuses_episodes_that_cannot_be(lines: str, message: str) -> None:
    text = (
        "[run]\nstrategy = truncation\n[environment]\naction_type = wheel:1\n"
        f"[evaluation]\nframes = 400\n{lines}\n"
    )
    with pytest.raises(ConfigError, match=message):
        parse_config(text)


def test_courses_and_starts_combine_to_different_episodes() -> None:
    text = "[run]\nstrategy = truncation\n[environment]\naction_type = wheel:1\n[evaluation]\n"
    lists = "courses = mario_course, snow_course\nstarts = grid, 0.1, 0.2\n"
    assert parse_config(f"{text}{lists}episodes = 6\n").plan.episodes == 6


def test_thousand_courses_are_the_most() -> None:
    assert len(given_courses(["mario_course", "0:999"])) == 1000
    with pytest.raises(ConfigError, match="more than 1000 courses"):
        given_courses(["mario_course", "0:1000"])


def test_random_courses_share_consoles() -> None:
    text = "[run]\nstrategy = truncation\nworkers = 1\n[evaluation]\nepisodes = 2\n"
    sensors = "sensors = seed6\naction_type = wheel:1\n"
    config = parse_config(f"{text}[environment]\n{sensors}course_set = train\n")
    assert config.lanes == 8
    assert config.plan.drawn is not None
    few = config.with_workers(100)
    assert (few.lanes, few.with_workers(1).plan.drawn) == (1, config.plan.drawn)
    config = parse_config(f"{text}courses = 3, mario_course\n[environment]\n{sensors}")
    assert (config.lanes, config.plan.courses) == (8, (RANDOM, MEADOW))
