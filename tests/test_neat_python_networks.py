"""Networks of random genomes against neat-python's own networks."""

from __future__ import annotations

import functools
import math
import random
from dataclasses import dataclass
from typing import Any

import neat
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from neat.innovation import InnovationTracker
from neat_config import config_text
from network_definition import by_hand

from mkds_neat.config import parse_config
from mkds_neat.networks import ACTIVATIONS, AGGREGATIONS, GenomeNetwork, compile_network
from mkds_neat.networks.functions import BOUNDED, VALUE_LIMIT
from mkds_neat.networks.module import TENSOR_FUNCTIONS
from mkds_neat.strategies.neat_state import network_of

NAMES = set(ACTIVATIONS) - {"unit_tanh"}
CLOSE = {"rel": 1e-9, "abs": 1e-9}
"""neat-python adds the same terms in another order."""


def test_names_are_those_that_neat_python_knows():
    assert set(ACTIVATIONS) == {*neat.activations.ActivationFunctionSet().functions, "unit_tanh"}
    assert set(AGGREGATIONS) == set(neat.aggregations.AggregationFunctionSet().functions)


def test_activations_agree_with_neat_python():
    functions = neat.activations.ActivationFunctionSet().functions
    z = np.linspace(-7, 7, 101)
    for name, function in functions.items():
        factor, of_float = ACTIVATIONS[name]
        expected = [function(v) for v in z]
        ours = [of_float(factor * v) for v in z.tolist()]
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-15)
        tensor = TENSOR_FUNCTIONS[name](factor * torch.tensor(z)).numpy()
        np.testing.assert_allclose(tensor, expected, rtol=1e-12, atol=1e-15)


@functools.cache
def neat_config(feed_forward: bool) -> Any:
    return (
        parse_config(
            config_text(
                DefaultGenome__feed_forward=feed_forward,
                DefaultGenome__initial_connection="partial_direct 0.5",
                DefaultGenome__num_hidden=2,
                DefaultGenome__activation_default="random",
                DefaultGenome__activation_mutate_rate=0.3,
                DefaultGenome__activation_options=" ".join(sorted(NAMES)),
                DefaultGenome__aggregation_default="random",
                DefaultGenome__aggregation_mutate_rate=0.3,
                DefaultGenome__aggregation_options=" ".join(AGGREGATIONS),
                DefaultGenome__response_mutate_rate=0.3,
                DefaultGenome__response_mutate_power=0.5,
                DefaultGenome__enabled_mutate_rate=0.1,
            )
        )
        .make_strategy()
        .config
    )


@dataclass
class Plan:
    """How a genome comes about."""

    seed: int
    mutations: int
    activations: list[str]
    aggregations: list[str]

    def make(self, config: Any) -> Any:
        """Return a genome that neat-python has mutated many times."""
        genome_config = config.genome_config
        genome_config.activation_options = self.activations
        genome_config.aggregation_options = self.aggregations
        genome_config.innovation_tracker = InnovationTracker()
        genome_config.node_indexer = None
        random.seed(self.seed)
        genome = neat.DefaultGenome(1)
        genome.configure_new(genome_config)
        for _ in range(self.mutations):
            genome.mutate(genome_config)
        return genome


PLANS = st.builds(
    Plan,
    st.integers(0, 1 << 32),
    st.integers(0, 80),
    st.lists(st.sampled_from(sorted(NAMES)), min_size=1, max_size=4)
    | st.lists(st.sampled_from(sorted(NAMES & BOUNDED)), min_size=1),
    st.lists(st.sampled_from(AGGREGATIONS), min_size=1),
)


def activate(network: Any, values: Any, x: list[float]) -> list[float] | None:
    """Activate neat-python's network; None if a value leaves the limits, which it does not have."""
    try:
        outputs: list[float] = network.activate(x)
    except OverflowError:
        return None
    all_values = values if isinstance(values, dict) else values[network.active]
    return outputs if all(abs(v) < VALUE_LIMIT for v in all_values.values()) else None


def feed_forward_genome_agrees(plan: Plan) -> None:
    config, rng = neat_config(feed_forward=True), random.Random(plan.seed)
    genome = plan.make(config)
    spec = network_of(genome, config.genome_config)
    theirs = neat.nn.FeedForwardNetwork.create(genome, config)
    policy, module = compile_network(spec), GenomeNetwork(spec)
    for scale in (0.3, 1.0, 10.0):
        x = [rng.gauss(0, scale) for _ in spec.inputs]
        ours = policy(x)
        assert list(ours) == by_hand(spec, x)
        if (expected := activate(theirs, theirs.values, x)) is not None:
            assert ours == pytest.approx(expected, **CLOSE)
            assert module(torch.tensor(x, dtype=torch.float64)).tolist() == pytest.approx(
                expected, **CLOSE
            )
        else:
            assert all(map(math.isfinite, ours))


def recurrent_genome_agrees_at_every_step(plan: Plan) -> None:
    """Small differences grow from step to step. So each step begins with neat-python's values."""
    config, rng = neat_config(feed_forward=False), random.Random(plan.seed)
    genome = plan.make(config)
    spec = network_of(genome, config.genome_config)
    assert spec.recurrent
    theirs = neat.nn.RecurrentNetwork.create(genome, config)
    policy, module = compile_network(spec), GenomeNetwork(spec)
    ids = [node.id for node in spec.nodes]
    memory = dict.fromkeys(ids, 0.0)
    for _ in range(10):
        x = [rng.gauss(0, 1) for _ in spec.inputs]
        assert list(policy(x)) == by_hand(spec, x, memory)
        before = theirs.values[theirs.active]
        state = {key: before.get(key, 0.0) for key in ids}
        if (expected := activate(theirs, theirs.values, x)) is None:
            break
        tensor = torch.tensor([state[key] for key in ids], dtype=torch.float64)
        assert by_hand(spec, x, state) == pytest.approx(expected, **CLOSE)
        outputs, after = module(torch.tensor(x, dtype=torch.float64), tensor)
        assert outputs.tolist() == pytest.approx(expected, **CLOSE)
        assert after.tolist() == pytest.approx([state[key] for key in ids], **CLOSE)


@pytest.mark.parametrize("examples", [30, pytest.param(400, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "check", [feed_forward_genome_agrees, recurrent_genome_agrees_at_every_step]
)
def test_random_genomes_agree_with_neat_python(check, examples):
    settings(derandomize=True, max_examples=examples, deadline=None)(given(PLANS)(check))()


def test_recurrent_policy_agrees_with_neat_python_over_an_episode():
    """With weights so small that differences shrink."""
    config = neat_config(feed_forward=False)
    rng = random.Random(9)
    for seed in range(10):
        genome = Plan(seed, 40, ["tanh", "sigmoid"], ["sum", "mean", "median"]).make(config)
        for gene in genome.connections.values():
            gene.weight *= 0.05
        theirs = neat.nn.RecurrentNetwork.create(genome, config)
        policy = compile_network(network_of(genome, config.genome_config))
        for _ in range(200):
            x = [rng.gauss(0, 1) for _ in range(6)]
            assert policy(x) == pytest.approx(theirs.activate(x), **CLOSE)
