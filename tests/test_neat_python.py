"""The strategy ``neat`` honours neat-python's whole config, and its reporters."""

from __future__ import annotations

import json
import random
import sys

import neat
import pytest
from neat_config import config_text
from neat_runs import NATIVE, start

from mkds_neat.config import parse_config
from mkds_neat.config.neat_sections import NEAT_KEYS, make_neat_config
from mkds_neat.errors import ConfigError, StrategyError
from mkds_neat.individual import Result
from mkds_neat.networks import compile_network
from mkds_neat.strategies import NeatStrategy

LIVELY = {
    "NEAT": {"pop_size": 14, "no_fitness_termination": False, "fitness_threshold": 1e9},
    "DefaultGenome": {
        "num_hidden": 1,
        "initial_connection": "partial_direct 0.6",
        "conn_add_prob": 0.4,
        "conn_delete_prob": 0.3,
        "node_add_prob": 0.4,
        "node_delete_prob": 0.3,
        "activation_default": "random",
        "activation_options": "tanh sigmoid relu",
        "activation_mutate_rate": 0.2,
        "aggregation_default": "random",
        "aggregation_options": "sum max mean",
        "aggregation_mutate_rate": 0.2,
        **{
            f"{name}_{key}": value
            for name in ("bias", "response", "time_constant", "weight")
            for key, value in (
                ("init_mean", 0.5),
                ("init_stdev", 1.0),
                ("mutate_power", 0.5),
                ("mutate_rate", 0.5),
                ("replace_rate", 0.2),
                ("max_value", 1.5),
                ("min_value", -1.0),
            )
        },
        "enabled_mutate_rate": 0.2,
        "enabled_rate_to_true_add": 0.1,
        "enabled_rate_to_false_add": 0.1,
    },
    "DefaultSpeciesSet": {"compatibility_threshold": 3.2},
    "DefaultStagnation": {"max_stagnation": 2, "species_elitism": 1},
    "DefaultReproduction": {"elitism": 1, "min_species_size": 1, "survival_threshold": 0.4},
}
CHANGED = {
    "NEAT.pop_size": 15,
    "NEAT.fitness_threshold": -1e9,
    "DefaultGenome.num_hidden": 2,
    "DefaultGenome.feed_forward": False,
    "DefaultGenome.single_structural_mutation": True,
    "DefaultGenome.initial_connection": "full_direct",
    "DefaultGenome.activation_default": "relu",
    "DefaultGenome.activation_options": "tanh sin",
    "DefaultGenome.aggregation_default": "max",
    "DefaultGenome.aggregation_options": "sum min",
    "DefaultGenome.enabled_default": False,
    "DefaultStagnation.species_fitness_func": "mean",
    "DefaultStagnation.max_stagnation": 1,
    "DefaultStagnation.species_elitism": 3,
    "DefaultReproduction.elitism": 0,
    "DefaultReproduction.survival_threshold": 0.8,
}
ELSEWHERE = {  # keys with a test of their own, below or in test_neat_config.py
    "NEAT.fitness_criterion",
    "NEAT.no_fitness_termination",
    "NEAT.reset_on_extinction",
    "NEAT.seed",
    "DefaultGenome.num_inputs",
    "DefaultGenome.num_outputs",
    "DefaultGenome.structural_mutation_surer",
    "DefaultReproduction.min_species_size",
}


def sections(*changes: dict[str, dict[str, object]]) -> dict[str, dict[str, str]]:
    found = {k: dict(v) for k, v in parse_config(config_text()).sections.items()}
    for change in (LIVELY, *changes):
        for section, values in change.items():
            found[section].update({key: str(value) for key, value in values.items()})
    return found


def make(*changes: dict[str, dict[str, object]]) -> NeatStrategy:
    return NeatStrategy(make_neat_config(sections(*changes)), seed=3)


def tell(strategy: NeatStrategy) -> None:
    results = []
    for individual in strategy.ask():
        left, right = compile_network(individual.network)([0.5, -0.2, 0.1, 1.0, 0.0, 0.3])
        results.append(Result(individual.id, -abs(left - 0.7) - abs(right + 0.4)))
    strategy.tell(results)


def states(*changes: dict[str, dict[str, object]]) -> str:
    strategy, found = make(*changes), []
    for _ in range(6):
        tell(strategy)
        found.append(strategy.state())
    return json.dumps(found)


@pytest.fixture(scope="module")
def lively() -> str:
    return states()


KEYS = [f"{section}.{key}" for section, keys in NEAT_KEYS.items() for key in keys]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*KEYS} - ELSEWHERE))
def test_key_of_neat_python_takes_effect(name, lively):
    section, key = name.split(".")
    old = sections()[section][key]
    if name in CHANGED:
        new = CHANGED[name]
    elif key.endswith("init_type"):
        new = "uniform"
    else:
        new = float(old) + 0.15
    assert states({section: {key: new}}) != lively


def test_structural_mutation_surer_takes_effect():
    alone = {"num_hidden": 0, "initial_connection": "unconnected", "conn_add_prob": 0.0}
    genomes = [
        states({"DefaultGenome": {**alone, "structural_mutation_surer": value}})
        for value in (True, False)
    ]
    assert genomes[0] != genomes[1]


@pytest.mark.parametrize(("criterion", "solved"), [("max", True), ("mean", False), ("min", False)])
def test_fitness_criterion_and_threshold_decide_when_a_run_is_solved(criterion, solved):
    for never in (False, True):
        strategy = make(
            {
                "NEAT": {
                    "fitness_criterion": criterion,
                    "fitness_threshold": 5.0,
                    "no_fitness_termination": never,
                },
                "DefaultSpeciesSet": {"compatibility_threshold": 99.0},
            }
        )
        first, *rest = strategy.ask()
        strategy.tell([Result(first.id, 9.0), *(Result(i.id, 0.0) for i in rest)])
        assert strategy.solved is (solved and not never)


def test_reset_on_extinction_takes_effect():
    extinct = {"DefaultStagnation": {"max_stagnation": 1, "species_elitism": 0}}
    for reset in (True, False):
        strategy = make(extinct, {"NEAT": {"reset_on_extinction": reset}})
        for generation in range(3):
            results = [Result(i.id, 1.0) for i in strategy.ask()]
            if generation == 1 and not reset:
                with pytest.raises(StrategyError, match="died out; set reset_on_extinction"):
                    strategy.tell(results)
                break
            strategy.tell(results)


class Events(neat.reporting.BaseReporter):
    """Notes what it hears, and draws from the global generator."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def _hear(self, name: str) -> None:
        self.events.append(name)
        random.random()

    def start_generation(self, generation):
        self._hear(f"start {generation}")

    def post_evaluate(self, config, population, species, best_genome):
        assert all(genome.fitness is not None for genome in population.values())
        self._hear("evaluated")

    def end_generation(self, config, population, species_set):
        self._hear("end")

    def found_solution(self, config, generation, best):
        self._hear(f"solved {generation}")

    def complete_extinction(self):
        self._hear("extinct")


def test_reporters_hear_each_event_once_and_change_nothing():
    plain, strategy, events = make(), make(), Events()
    strategy.ask()
    strategy.add_reporter(events)
    random.seed(7)
    for _ in range(3):
        tell(strategy)
        tell(plain)
    strategy.ask()
    heard = [f"{word}" for n in range(3) for word in (f"start {n}", "evaluated", "end")]
    assert events.events == [*heard, "start 3"]
    assert strategy.state() == plain.state()
    expected = random.Random(7)  # the draws of the reporter are those of its own program
    for _ in events.events[1:]:
        expected.random()
    assert random.random() == expected.random()
    strategy.remove_reporter(events)
    tell(strategy)
    assert events.events[-1] == "start 3"


def test_found_solution_is_told_at_the_threshold_only():
    for never, told in ((True, 0), (False, 1)):
        change = {"fitness_threshold": -1e9, "no_fitness_termination": never}
        strategy, events = make({"NEAT": change}), Events()
        strategy.add_reporter(events)
        tell(strategy)
        assert sum(event.startswith("solved") for event in events.events) == told


def test_reporters_of_neat_python_work(capsys):
    strategy, statistics = make(), neat.StatisticsReporter()
    strategy.add_reporter(statistics)
    strategy.add_reporter(neat.StdOutReporter(True))
    best = []
    for _ in range(3):
        tell(strategy)
        best.append(statistics.most_fit_genomes[-1].fitness)
    assert [genome.fitness for genome in statistics.most_fit_genomes] == best
    assert len(statistics.get_fitness_mean()) == 3
    assert statistics.best_genome().fitness == max(best)
    out = capsys.readouterr().out
    for words in ("Running generation 2", "Best fitness: ", "members in", "adj fit"):
        assert words in out
    assert "meets fitness threshold" not in out


class Silent:
    def start_generation(self, generation):
        pass


class Faulty(neat.reporting.BaseReporter):
    def post_evaluate(self, *arguments):
        raise RuntimeError("no paper")


def test_reporter_that_is_not_one_or_fails_is_named():
    strategy = make()
    with pytest.raises(TypeError, match=r"Silent lacks .*end_generation\(\).*BaseReporter"):
        strategy.add_reporter(Silent())
    strategy.add_reporter(Faulty())
    with pytest.raises(StrategyError, match=r"Faulty fails in post_evaluate\(\).*no paper$"):
        tell(strategy)


@pytest.mark.parametrize(
    ("reporters", "changes", "message"),
    [
        ("stdoutt", {}, r"reporters = 'stdoutt' .*expected module:object"),
        ("no_such:Reporter", {}, r"ModuleNotFoundError"),
        (f"{__name__}:Silent", {}, r"Silent lacks .*end_generation"),
        (f"{__name__}:make", {}, r"a function: expected stdout or module:Class"),
        ("neat:StdOutReporter", {}, r"show_species_detail"),
        ("stdout", {"run__strategy": "truncation"}, r"for strategy = neat only"),
    ],
)
def test_reporters_of_a_config_are_checked(reporters, changes, message, monkeypatch):
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    with pytest.raises(ConfigError, match=message):
        parse_config(config_text(run__reporters=reporters, **changes))


def test_reporters_of_a_config_hear_of_a_run(tmp_path, capsys):
    reporters = f"stdout, {__name__}:Events"
    run = start(
        tmp_path, **NATIVE, run__reporters=reporters, run__generations=2, evaluation__frames=30
    )
    run.run()
    out = capsys.readouterr().out
    assert "Running generation 1" in out
    assert out.count("Population's average fitness") == 2
