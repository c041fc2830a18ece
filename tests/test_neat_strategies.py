"""Strategies: ask and tell, random state, and states that continue identically."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections import Counter
from importlib import metadata

import numpy as np
import pytest
from neat_config import config_text

from mkds_neat.config import parse_config
from mkds_neat.errors import ChampionFormatError, StrategyError
from mkds_neat.individual import Result
from mkds_neat.networks import GenomeNetwork
from mkds_neat.strategies import neat_state
from mkds_neat.strategies.truncation import Genome, TruncationStrategy, count_parents


def make(name: str, seed: int = 1):
    return parse_config(config_text(run__strategy=name, run__seed=seed)).make_strategy()


def fitness(individual) -> float:
    """A fitness that evolution can improve: outputs near a target."""
    out = GenomeNetwork(individual.network).act(np.array([0.5, -0.2, 0.1, 1.0, 0.0, 0.3]))
    return float(-abs(out - np.array([0.7, -0.4])).sum())


def results_of(fitnesses: dict[int, float]) -> list[Result]:
    return [Result(key, value) for key, value in fitnesses.items()]


def tell(strategy) -> dict[int, float]:
    fitnesses = {i.id: fitness(i) for i in strategy.ask()}
    strategy.tell(results_of(fitnesses))
    return fitnesses


def contents(strategy):
    return [(i.id, i.species, i.parents, json.dumps(i.genome), i.network) for i in strategy.ask()]


both = pytest.mark.parametrize("name", ["neat", "truncation"])


@both
def test_generations_improve_and_an_id_keeps_its_individual(name):
    strategy = make(name)
    networks: dict[int, object] = {}
    best = []
    for generation in range(12):
        assert strategy.generation == generation
        individuals = strategy.ask()
        assert individuals == strategy.ask()
        assert [i.id for i in individuals] == sorted(i.id for i in individuals)
        assert len(individuals) == 50
        for i in individuals:
            assert networks.setdefault(i.id, i.network) == i.network
        best.append(max(tell(strategy).values()))
    assert best[-1] > best[0]
    if name == "truncation":  # the best is kept unchanged
        assert best == sorted(best)


@both
def test_same_seed_gives_the_same_run_despite_the_global_generators(name):
    one, two, other = make(name), make(name), make(name, seed=2)
    assert contents(one) == contents(two) != contents(other)
    for _ in range(3):
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002 - must have no effect
        tell(one)
        random.random()
        tell(two)
    assert contents(one) == contents(two)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param(
            "neat",
            "5df74a46f4a02327",
            marks=pytest.mark.skipif(metadata.version("neat-python") != "2.0.0", reason="pinned"),
        ),
        ("truncation", "62b5eca5438cf552"),
        ("random_search", "90b3f8626af81941"),
    ],
)
def test_seed_gives_the_individuals_of_earlier_versions(name, expected):
    """neat and truncation have the digests of commit 2092c77, before `tell` took results."""
    strategy, digest = make(name, seed=5), hashlib.sha256()
    for _ in range(10):
        results = []
        for each in strategy.ask():
            network = each.network
            nodes = [(n.id, n.bias, n.response, n.activation, n.aggregation) for n in network.nodes]
            parts = (each.id, each.species, each.parents, network.inputs, network.outputs, nodes)
            digest.update(repr((*parts, network.connections)).encode())
            weights = [weight for *_, weight in network.connections]
            results.append(Result(each.id, math.fsum(weights) - 0.1 * len(weights)))
        strategy.tell(results)
    assert digest.hexdigest()[:16] == expected


@both
def test_global_generator_is_left_alone(name):
    random.seed(5)
    expected = random.Random(5).random()
    strategy = make(name)
    tell(strategy)
    make(name).restore(strategy.state())
    assert random.random() == expected


@both
def test_state_goes_through_json_and_continues_identically(name):
    straight, restored = make(name), make(name)
    for generation in range(12):
        if generation % 2:
            assert contents(straight) == contents(restored)
        text = json.dumps(restored.state(), allow_nan=False)
        assert json.dumps(restored.state()) == text  # the call changes nothing
        again = make(name, seed=99)
        again.restore(json.loads(text))
        assert json.dumps(again.state()) == text
        restored = again
        assert tell(straight) == tell(restored)
    assert contents(straight) == contents(restored)


@both
def test_wrong_order_is_refused_with_the_remedy(name):
    strategy = make(name)
    with pytest.raises(StrategyError, match=r"strategy\.ask\(\)"):
        strategy.tell([])
    fitnesses = {i.id: 1.0 for i in strategy.ask()}
    one = next(iter(fitnesses))
    with pytest.raises(
        StrategyError, match=rf"missing \[{one}\], not asked for none, 0 more than once$"
    ):
        strategy.tell([Result(k, v) for k, v in fitnesses.items() if k != one])
    with pytest.raises(StrategyError, match=r"missing none, not asked for \[99999\], 0 more"):
        strategy.tell(results_of({**fitnesses, 99999: 1.0}))
    with pytest.raises(StrategyError, match="1 more than once"):
        strategy.tell([*results_of(fitnesses), Result(one, 2.0)])
    for wrong, text in ((float("nan"), "nan"), (None, "None"), ("1", "'1'")):
        with pytest.raises(ValueError, match=f"fitness {text}: expected a finite number"):
            strategy.tell(results_of({**fitnesses, one: wrong}))
    for item in (1.0, (one, 1.0), strategy.ask()[0]):
        with pytest.raises(TypeError, match=r"tell\(\) got .*: expected .* Result\(individual\.id"):
            strategy.tell([item])
    strategy.tell(results_of(fitnesses))
    with pytest.raises(StrategyError, match="before ask"):
        strategy.tell(results_of(fitnesses))


def test_neat_extinction_names_the_keys_to_change():
    text = config_text(
        NEAT__reset_on_extinction=False,
        DefaultStagnation__max_stagnation=1,
        DefaultStagnation__species_elitism=0,
    )
    strategy = parse_config(text).make_strategy()

    def stagnate() -> None:
        for _ in range(6):
            strategy.tell([Result(i.id, 1.0) for i in strategy.ask()])

    before = strategy.state()
    with pytest.raises(StrategyError, match="reset_on_extinction"):
        stagnate()
    for call in (strategy.ask, lambda: strategy.tell([]), strategy.state):
        with pytest.raises(StrategyError, match=r"the last tell\(\) failed: restore\(\)"):
            call()
    strategy.restore(before)
    assert len(strategy.ask()) == 50


def test_neat_is_solved_at_the_fitness_threshold():
    text = config_text(NEAT__no_fitness_termination=False, NEAT__fitness_threshold=5.0)
    strategy = parse_config(text).make_strategy()
    ids = [i.id for i in strategy.ask()]
    strategy.tell([Result(k, 4.0) for k in ids])
    assert not strategy.solved
    ids = [i.id for i in strategy.ask()]
    strategy.tell([Result(k, 5.0 if k == ids[3] else 0.0) for k in ids])
    assert strategy.solved


def test_neat_genome_reads_back_from_json():
    strategy = make("neat")
    for _ in range(5):
        tell(strategy)
    config = strategy.config.genome_config
    for individual in strategy.ask():
        genome = neat_state.genome_from_json(json.loads(json.dumps(individual.genome)))
        assert neat_state.network_of(genome, config) == individual.network
        assert neat_state.genome_to_json(genome, config) == individual.genome
    with pytest.raises(ChampionFormatError):
        neat_state.genome_from_json({"key": 1, "nodes": [{}]})


def test_truncation_starts_from_one_random_connection():
    starts = [i.genome for i in make("truncation").ask()]
    assert all(len(g["connections"]) == 1 and g["hidden"] == 0 for g in starts)
    pairs = Counter((g["connections"][0]["from"], g["connections"][0]["to"]) for g in starts)
    assert len(pairs) > 8  # of 6 x 2
    assert all(source < 6 <= target < 8 for source, target in pairs)


def test_truncation_keeps_the_best_and_mutates_the_top_only():
    strategy = TruncationStrategy(6, 2, population=200, top_k=5, seed=3)
    parents: Counter[int] = Counter()
    individuals = {i.id: i for i in strategy.ask()}
    # 99 and 199 are equal: the older ranks first.
    fitnesses = {k: float(k % 100) for k in individuals}
    strategy.tell(results_of(fitnesses))
    new = {i.id: i for i in strategy.ask()}
    assert new[99].genome == individuals[99].genome
    assert 199 not in new
    parents.update(p for i in new.values() for p in i.parents)
    assert set(parents) == {99, 199, 98, 198, 97}
    assert min(parents.values()) > 20  # uniformly: 199 children of 5 parents


def test_truncation_applies_one_of_three_mutations_at_equal_odds():
    rng = np.random.default_rng(0)
    kinds: Counter[str] = Counter()
    changes = []
    for _ in range(3000):
        before = Genome.random(6, 2, rng)
        (key,) = before.weights
        after = Genome.from_json(before.to_json())
        after.mutate(rng, 0.1)
        if after.hidden:
            kinds["node"] += 1
            node = 8
            assert after.weights == {
                key: before.weights[key],
                (key[0], node): 1.0,
                (node, key[1]): before.weights[key],
            }
            assert after.disabled == {key}
        elif len(after.weights) == 2:
            kinds["connection"] += 1
            assert after.weights[key] == before.weights[key]
            assert not after.disabled
        else:
            kinds["weight"] += 1
            changes.append(after.weights[key] - before.weights[key])
    assert all(900 < kinds[k] < 1100 for k in ("node", "connection", "weight")), kinds
    assert np.std(changes) == pytest.approx(0.1, rel=0.1)
    assert np.mean(changes) == pytest.approx(0.0, abs=0.02)


def test_truncation_never_connects_into_an_input_or_out_of_an_output():
    rng = np.random.default_rng(1)
    genome = Genome.random(3, 2, rng)
    for _ in range(4):
        genome.add_node(rng)
    while genome.add_connection(rng):
        pass
    # Every possible pair: 3 inputs + 4 hidden, into 2 outputs + 4 hidden.
    assert len(genome.weights) == 7 * 6
    assert not any(t < 3 or s in (3, 4) for s, t in genome.weights)
    genome.mutate(rng, 0.1)  # a weight changes instead
    assert Genome.from_json(json.loads(json.dumps(genome.to_json()))) == genome


def test_truncation_network_is_tanh_of_weighted_sums():
    genome = Genome(2, 1, 1, {(0, 3): 1.0, (3, 2): 0.8, (1, 2): -0.5, (0, 2): 9.0}, {(0, 2)})
    out = GenomeNetwork(genome.network()).act(np.array([0.3, 0.6]))
    assert out[0] == pytest.approx(np.tanh(0.8 * np.tanh(0.3) - 0.5 * 0.6), rel=1e-14)


@pytest.mark.parametrize(("top_k", "count"), [(1, 1), (60, 60), (0.2, 12), (1.0, 60), (0.001, 1)])
def test_top_k_is_a_count_or_a_fraction(top_k, count):
    assert count_parents(60, top_k, elite=1, sigma=0.1) == count


@pytest.mark.parametrize("top_k", [0, 61, -1, 0.0, 1.5, float("nan"), True])
def test_top_k_out_of_range_is_refused(top_k):
    with pytest.raises(ValueError, match="top_k"):
        count_parents(60, top_k, elite=1, sigma=0.1)
