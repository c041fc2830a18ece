"""Strategies on the parameters of a fixed network: pyribs and random search."""

from __future__ import annotations

import configparser
import io
import json
import re
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from neat_config import config_text
from neat_runs import QUICK, everything, resume, start

from mkds_neat.config import parse_config
from mkds_neat.episode import EpisodeRecord
from mkds_neat.errors import ChampionFormatError, ConfigError, StrategyError, StrategyStateError
from mkds_neat.individual import Result
from mkds_neat.networks import compile_network
from mkds_neat.networks.mlp import MLP
from mkds_neat.results import load_champion
from mkds_neat.strategies import (
    CMAES,
    CMAME,
    Behaviour,
    MAPElites,
    OpenAIES,
    RandomSearch,
    SepCMAES,
    TruncationStrategy,
)
from mkds_neat.strategies.parameters import genome_from_json

NETWORK = MLP(3, 2, (4,))
SPAN = (
    Behaviour(metric="left", low=-1.0, high=1.0, cells=6),
    Behaviour(metric="right", low=-1.0, high=1.0, cells=5),
)
# 2 to the power of 64 cells, which 64 bits count as 0.
MANY = [SPAN[0].model_copy(update={"metric": f"m{i}", "cells": 256}) for i in range(8)]


def make(kind, seed: int = 1, network: MLP = NETWORK, **more):
    if kind in (MAPElites, CMAME):
        more["behaviours"] = SPAN
    return kind(network, population=20, sigma=0.5, seed=seed, **more)


def tell(strategy) -> list[float]:
    """Reward outputs near a target; the outputs themselves are the behaviour."""
    results = []
    for individual in strategy.ask():
        left, right = compile_network(individual.network)([0.5, -0.2, 1.0])
        metrics = {"left": left, "right": right}
        fitness = -abs(left - 0.7) - abs(right + 0.4)
        results.append(Result(individual.id, fitness, EpisodeRecord(metrics=metrics)))
    strategy.tell(reversed(results))
    return [result.fitness for result in results]


every = pytest.mark.parametrize("kind", [RandomSearch, OpenAIES, CMAES, SepCMAES, MAPElites, CMAME])
# numba compiles for seconds in each process that uses CMA-ES.
compiled_slow = pytest.mark.parametrize(
    "kind",
    [
        RandomSearch,
        OpenAIES,
        MAPElites,
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in (CMAES, SepCMAES, CMAME)),
    ],
)


@pytest.mark.parametrize(
    "kind",
    [
        RandomSearch,
        *(
            pytest.param(k, marks=pytest.mark.slow)
            for k in (MAPElites, OpenAIES, CMAES, SepCMAES, CMAME)
        ),
    ],
)
def test_strategy_improves_and_repeats_with_the_same_seed(kind):
    strategy, again, other = make(kind), make(kind), make(kind, seed=2)
    first = tell(strategy)
    assert first == tell(again)
    assert first != tell(other)
    means = [np.mean(first)]
    for _ in range(24):
        told = tell(strategy)
        assert told == tell(again)
        means.append(np.mean(told))
    assert strategy.generation == 25
    if kind in (CMAES, SepCMAES, OpenAIES):
        assert np.mean(means[-5:]) > np.mean(means[:5]) + 0.1
    if kind in (MAPElites, CMAME):
        assert strategy.archive.stats.num_elites > 15
        assert strategy.archive.stats.obj_max > max(first)


@compiled_slow
def test_state_continues_identically_after_json(kind):
    straight = make(kind)
    restored = make(kind)
    for generation in range(6):
        text = json.dumps(restored.state())
        if generation % 2:
            restored.ask()  # asking again changes nothing
        restored = make(kind)
        restored.restore(json.loads(text))
        assert json.dumps(restored.state()) == text
        assert restored.generation == generation
        assert tell(restored) == tell(straight)


@pytest.mark.slow
@every
def test_state_after_many_generations_is_as_small_and_continues_identically(kind):
    network = MLP(2, 1, (2,))
    straight, restored, sizes = make(kind, network=network), None, []
    for generation in range(40):
        if generation in (15, 39):
            text = json.dumps(straight.state())
            sizes.append(len(text))
            restored = make(kind, network=network)
            restored.restore(json.loads(text))
        if restored is not None:
            assert [i.genome for i in restored.ask()] == [i.genome for i in straight.ask()]
            tell_distance(restored)
        tell_distance(straight)
    assert restored.state() == straight.state()
    assert sizes[1] < 1.2 * sizes[0]


def tell_distance(strategy) -> None:
    results = []
    for individual in strategy.ask():
        vector = np.array(individual.genome["parameters"])
        record = EpisodeRecord(metrics={"left": vector[0], "right": vector[1]})
        results.append(Result(individual.id, -float(np.abs(vector - 0.5).sum()), record))
    strategy.tell(results)


def test_random_search_draws_from_one_distribution():
    strategy = RandomSearch(MLP(10, 5), population=400, sigma=0.3, seed=4)
    vectors = np.array([i.genome["parameters"] for i in strategy.ask()])
    assert abs(vectors.mean()) < 0.01
    assert abs(vectors.std() - 0.3) < 0.01


def test_openai_es_mirrors_its_perturbations():
    vectors = np.array([i.genome["parameters"] for i in make(OpenAIES).ask()])
    np.testing.assert_array_equal(vectors[:10], -vectors[10:])


def test_ids_are_new_in_every_generation():
    strategy = make(MAPElites)
    assert [i.id for i in strategy.ask()] == list(range(20))
    tell(strategy)
    assert [i.id for i in strategy.ask()] == list(range(20, 40))


@compiled_slow
def test_wrong_calls_are_refused_and_change_nothing(kind):
    strategy, straight = make(kind), make(kind)
    with pytest.raises(StrategyError, match=r"strategy\.ask\(\)"):
        strategy.tell([])
    strategy.ask()
    with pytest.raises(StrategyError, match=r"missing \[0, 1"):
        strategy.tell([])
    with pytest.raises(ValueError, match="nan"):
        strategy.tell([Result(i.id, float("nan")) for i in strategy.ask()])
    if kind in (MAPElites, CMAME):
        record = EpisodeRecord(metrics={"speed": 1.0})
        with pytest.raises(StrategyError, match=r"no metric 'left'.*only speed: expected Result"):
            strategy.tell([Result(i.id, 1.0, record) for i in strategy.ask()])
        record = EpisodeRecord(metrics={"left": float("nan"), "right": 0.0})
        with pytest.raises(StrategyError, match=r"left = nan, which the archive .* cannot"):
            strategy.tell([Result(i.id, 1.0, record) for i in strategy.ask()])
    assert tell(strategy) == tell(straight)
    assert tell(strategy) == tell(straight)


def test_state_of_other_arguments_is_refused_by_name():
    strategy = make(OpenAIES)
    tell(strategy)
    state = strategy.state()
    for other, word in (
        (OpenAIES(NETWORK, population=18, sigma=0.5, seed=1), "population = 18"),
        (OpenAIES(NETWORK, population=20, sigma=0.4, seed=1), "sigma = 0.4"),
        (make(OpenAIES, seed=3), "seed = 3"),
        (make(OpenAIES, network=MLP(3, 2, (5,))), "layers"),
        (make(RandomSearch), "expected a state of random_search, got one of 'openai_es'"),
    ):
        before = json.dumps(other.state())
        with pytest.raises(StrategyStateError, match=word):
            other.restore(state)
        assert json.dumps(other.state()) == before


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"search": 3}, "search"),
        ({"search": {}}, "expected a generator, elites and searches"),
        ({"generation": -1}, "generation"),
        ({"digest": "0" * 64}, "other parameters"),
        ({"version": 1}, "version"),
        ({"extra": 1}, "extra"),
    ],
)
def test_damaged_state_is_refused(change, word):
    strategy = make(OpenAIES)
    tell(strategy)
    with pytest.raises(StrategyStateError, match=word):
        make(OpenAIES).restore({**strategy.state(), **change})


def parts(value, path=()):
    """Every place in plain data that is no dict or list."""
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from parts(each, (*path, key))
    else:
        yield path


@pytest.mark.parametrize(
    "kind", [RandomSearch, OpenAIES, MAPElites, pytest.param(CMAME, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("new", [None, "AAAA"])
def test_state_with_any_part_replaced_is_refused_or_restored(kind, new):
    arguments = {"network": MLP(1, 1), **({"emitters": 1} if kind is CMAME else {})}
    strategy = make(kind, **arguments)
    tell_distance(strategy)
    text = json.dumps(strategy.state())
    before = json.dumps(make(kind, **arguments).state())
    for path in parts(json.loads(text)):
        damaged = json.loads(text)
        place = damaged
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = new
        other = make(kind, **arguments)
        try:
            other.restore(damaged)
        except StrategyStateError:
            assert json.dumps(other.state()) == before, path


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (CMAES, {"network": 6}, "network=6 is not an MLP: expected"),
        (CMAES, {"population": 1}, "population=1 is out of range: expected"),
        (CMAES, {"population": 8.5}, "population=8.5 is not an integer: expected"),
        (CMAES, {"sigma": 0.0}, "sigma=0.0 is out of range: expected a positive number"),
        (CMAES, {"sigma": float("nan")}, "sigma=nan is out of range: expected"),
        (CMAES, {"sigma": "x"}, "sigma='x' is not a number: expected"),
        (CMAES, {"seed": -1}, "seed=-1 is out of range: expected"),
        (OpenAIES, {"population": 7}, "population = 7 is odd"),
        (OpenAIES, {"population": "8"}, "population='8' is not an integer: expected"),
        (OpenAIES, {"learning_rate": 0.0}, "learning_rate=0.0 is out of range: expected"),
        (OpenAIES, {"weight_decay": -1.0}, "weight_decay=-1.0 is out of range: expected"),
        (MAPElites, {"behaviours": ()}, "behaviours is empty: map_elites needs"),
        (MAPElites, {"behaviours": ["speed"]}, "behaviours has 'speed': expected"),
        (MAPElites, {"behaviours": (SPAN[0], SPAN[0])}, "different metrics"),
        (MAPElites, {"behaviours": MANY}, "at most 1,000,000"),
        (MAPElites, {"line_sigma": -1.0}, "line_sigma=-1.0 is out of range: expected"),
        (CMAME, {"emitters": 3}, "multiple"),
        (CMAME, {"emitters": 2.5}, "emitters=2.5 is not an integer: expected"),
    ],
)
def test_wrong_arguments_are_refused(kind, arguments, message):
    usual = {"network": NETWORK, "population": 20, "sigma": 0.5}
    if kind in (MAPElites, CMAME):
        usual["behaviours"] = SPAN
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        kind(**{**usual, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": 0}, "inputs=0 is out of range: expected"),
        ({"outputs": "2"}, "outputs='2' is not an integer: expected"),
        ({"population": 1}, "population=1 is out of range: expected"),
        ({"elite": 0.5}, "elite=0.5 is not an integer: expected"),
        ({"seed": -1}, "seed=-1 is out of range: expected"),
    ],
)
def test_wrong_arguments_of_truncation_are_refused(arguments, message):
    usual = {"inputs": 2, "outputs": 1, "population": 10}
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        TruncationStrategy(**{**usual, **arguments})


@pytest.mark.parametrize(
    ("kind", "arguments", "word"),
    [
        (CMAES, {}, "sep_cma_es"),
        (CMAME, {"behaviours": SPAN}, "fewer emitters"),
        (MAPElites, {"behaviours": [b.model_copy(update={"cells": 400}) for b in SPAN]}, "cells"),
    ],
)
def test_search_whose_state_cannot_be_saved_is_refused(kind, arguments, word):
    with pytest.raises(ValueError, match=rf"MiB for .* parameters.*{word}"):
        kind(MLP(20, 4, (60,)), population=20, sigma=0.5, **arguments)


@pytest.mark.parametrize("name", ["openai_es", "cma_es", "sep_cma_es", "map_elites", "cma_me"])
def test_missing_pyribs_is_one_error_before_anything_starts(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "ribs", None)
    monkeypatch.setitem(sys.modules, "ribs.archives", None)
    with pytest.raises(ConfigError, match=rf"strategy = '{name}': .*mkds-gym\[pyribs\]'$"):
        parse_config(config_text(run__strategy=name))
    assert parse_config(config_text(run__strategy="random_search")).population == 60


SMALL = {**QUICK, "run__generations": 3, "evaluation__frames": 60, "mlp__hidden": "3"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["random_search", "openai_es", "cma_es", "sep_cma_es", "map_elites", "cma_me"]
)
def test_run_that_stops_and_resumes_has_the_results_of_one_that_does_not(name, tmp_path):
    changes = {**SMALL, "run__strategy": name, f"{name}__population": 10}
    straight = start(tmp_path / "a", **changes)
    straight.run()
    first = start(tmp_path / "b", **{**changes, "run__generations": 1})
    first.run()
    again = resume(first.folder, generations="3")
    assert again.run().generation == 3
    assert everything(first.folder) == everything(straight.folder)
    assert load_champion(first.folder.path / "champion.json").strategy == name
    for section, key, value in (("mlp", "hidden", "4"), (name, "sigma", "0.7")):
        with pytest.raises(ConfigError, match=rf"\[{section}\] {key} = .* cannot change"):
            start_changed(first.folder, section, key, value)


def start_changed(folder, section: str, key: str, value: str) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string((folder.path / "config.ini").read_text())
    parser[section][key] = value
    text = io.StringIO()
    parser.write(text)
    parse_config(text.getvalue(), before=folder.load_checkpoint().config)


def test_mlp_equals_torch():
    network = MLP(4, 3, (5, 6))
    vector = np.random.default_rng(3).normal(size=network.size)
    layers: list[torch.nn.Module] = []
    for size, following in pairwise(network.layers):
        layers += [torch.nn.Linear(size, following, dtype=torch.float64), torch.nn.Tanh()]
    module = torch.nn.Sequential(*layers)
    torch.nn.utils.vector_to_parameters(torch.from_numpy(vector), module.parameters())
    x = [0.3, -1.0, 0.2, 0.9]
    with torch.no_grad():
        expected = module(torch.tensor(x, dtype=torch.float64)).numpy()
    np.testing.assert_allclose(compile_network(network.network(vector))(x), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"inputs": 0, "outputs": 2}, "at least 1 node"),
        ({"inputs": 3, "outputs": 2, "hidden": (0,)}, "at least 1 node"),
        ({"inputs": 3, "outputs": 2, "activation": "x"}, "activation='x'"),
        ({"inputs": 3, "outputs": 2, "hidden": (1000, 1000)}, "parameters"),
    ],
)
def test_impossible_mlp_is_refused(arguments, word):
    with pytest.raises(ValueError, match=word):
        MLP(**arguments)


def test_genome_reads_back_from_json():
    individual = make(RandomSearch).ask()[3]
    network, vector = genome_from_json(json.loads(json.dumps(individual.genome)))
    assert network == NETWORK
    assert network.network(vector) == individual.network
    for damaged in (
        {},
        {**individual.genome, "parameters": [1.0]},
        {**individual.genome, "layers": [1]},
    ):
        with pytest.raises(ChampionFormatError):
            genome_from_json(damaged)
