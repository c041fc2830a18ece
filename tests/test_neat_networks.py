"""Networks: the numbers of neat-python, and the same bits in every batch."""

from __future__ import annotations

import copy
import json
import math
import random

import neat
import numpy as np
import pytest
import torch
from neat_config import config_text

from mkds_neat.config import parse_config
from mkds_neat.errors import ChampionFormatError
from mkds_neat.networks import (
    ACTIVATIONS,
    AGGREGATIONS,
    MAX_ROUNDS,
    GenomeNetwork,
    NetworkBatch,
    NetworkSpec,
    Node,
    load_pt,
    save_pt,
)


def random_spec(rng: random.Random, *, cyclic: bool = False, activations=("tanh",)) -> NetworkSpec:
    hidden = rng.randrange(0, 12)
    inputs = tuple(range(-6, 0))
    ids = [0, 1, *range(2, 2 + hidden)]
    # Order of evaluation: hidden nodes first, outputs last, so that forward edges have no cycle.
    order = [*range(2, 2 + hidden), 0, 1]
    connections = {}
    for target in ids:
        for source in (*inputs, *ids):
            if source in ids and not cyclic and order.index(source) >= order.index(target):
                continue
            if source in (0, 1) or rng.random() < 0.5:
                continue
            connections[source, target] = rng.gauss(0, 1.5)
    return NetworkSpec(
        inputs,
        (0, 1),
        tuple(
            Node(i, rng.gauss(0, 1), rng.choice((1.0, rng.gauss(1, 0.3))), rng.choice(activations))
            for i in ids
        ),
        tuple((s, t, w) for (s, t), w in connections.items()),
    )


def by_hand(spec: NetworkSpec, x) -> list[float]:
    """The definition in plain Python: rounds from zero, sums from first to last."""
    depth = spec.depth()
    values = dict.fromkeys((n.id for n in spec.nodes), 0.0)
    values.update(zip(spec.inputs, map(float, x), strict=True))
    order = {k: i for i, k in enumerate((*spec.inputs, *(n.id for n in spec.nodes)))}
    for _ in range(MAX_ROUNDS if depth is None else depth):
        new = dict(values)
        for node in spec.nodes:
            into = sorted((order[s], s, w) for s, t, w in spec.connections if t == node.id)
            z = 0.0
            for _, source, weight in into:
                z += values[source] * weight
            new[node.id] = math.tanh(2.5 * (z * node.response + node.bias))
        values = new
    return [values[o] for o in spec.outputs]


@pytest.mark.parametrize("cyclic", [False, True])
def test_network_equals_its_definition(cyclic):
    rng = random.Random(1)
    for _ in range(20):
        spec = random_spec(rng, cyclic=cyclic)
        x = [rng.gauss(0, 1) for _ in range(6)]
        assert GenomeNetwork(spec).act(x) == pytest.approx(by_hand(spec, x), rel=1e-12, abs=1e-12)


def test_outputs_are_bit_identical_in_every_batch():
    rng = random.Random(2)
    names = ("tanh", "sigmoid", "relu", "sin", "gauss", "cube", "exp", "softplus", "elu")
    specs = [random_spec(rng) for _ in range(6)]
    specs += [random_spec(rng, cyclic=True) for _ in range(3)]
    specs += [random_spec(rng, activations=names) for _ in range(6)]
    # Deeper than MAX_ROUNDS: networks with cycles must still stop after MAX_ROUNDS.
    chain = 20
    specs.append(
        NetworkSpec(
            tuple(range(-6, 0)),
            (0, 1),
            tuple(Node(i) for i in range(chain)),
            (
                (-1, 2, 1.0),
                *((i, i + 1, 0.9) for i in range(2, chain - 1)),
                (chain - 1, 0, 1.0),
                (chain - 1, 1, -1.0),
            ),
        )
    )
    assert specs[-1].depth() == chain - 1 > MAX_ROUNDS
    nets = [GenomeNetwork(s) for s in specs]
    alone = {}
    for _ in range(60):
        x = np.array([[rng.gauss(0, 1) for _ in range(6)] for _ in nets], dtype=np.float32)
        alone = [NetworkBatch([n])(x[i : i + 1])[0] for i, n in enumerate(nets)]
        for i, net in enumerate(nets):
            assert (net.act(x[i]) == alone[i]).all()
        for _ in range(4):
            chosen = rng.sample(range(len(nets)), rng.randrange(1, len(nets) + 1))
            together = NetworkBatch([nets[i] for i in chosen])(x[chosen])
            for row, i in enumerate(chosen):
                assert (together[row] == alone[i]).all(), (i, chosen)


def test_one_network_over_many_observations_gives_the_same_bits():
    rng = random.Random(3)
    net = GenomeNetwork(random_spec(rng))
    x = torch.randn(5, 7, 6, dtype=torch.float64)
    y = net(x)
    assert y.shape == (5, 7, 2)
    assert (net.act(x[3, 4].numpy()) == y[3, 4].detach().numpy()).all()


def test_activations_agree_with_neat_python():
    functions = neat.activations.ActivationFunctionSet().functions
    assert set(ACTIVATIONS) == {*functions, "unit_tanh"}
    z = np.linspace(-7, 7, 101)
    for name, function in functions.items():
        factor, ours_of = ACTIVATIONS[name]
        ours = ours_of(factor * torch.tensor(z)).numpy()
        np.testing.assert_allclose(ours, [function(v) for v in z], rtol=1e-12, atol=1e-15)


def test_evolved_genomes_agree_with_neat_python():
    """Mutated genomes against neat-python's own network."""
    text = config_text(
        DefaultGenome__activation_options="tanh sigmoid gauss",
        DefaultGenome__activation_mutate_rate=0.4,
        DefaultGenome__aggregation_options="sum mean max min product",
        DefaultGenome__aggregation_mutate_rate=0.4,
    )
    strategy = parse_config(text).make_strategy()
    rng = random.Random(4)
    for _ in range(8):
        strategy.tell({i.id: rng.random() for i in strategy.ask()})
    population = strategy.population.population
    sizes, kinds = set(), set()
    for individual in strategy.ask():
        theirs = neat.nn.FeedForwardNetwork.create(population[individual.id], strategy.config)
        ours = GenomeNetwork(individual.network)
        sizes.add(len(individual.network.nodes))
        kinds |= {n.aggregation for n in individual.network.nodes}
        for _ in range(5):
            x = [rng.gauss(0, 1) for _ in range(6)]
            assert ours.act(x) == pytest.approx(theirs.activate(x), rel=1e-9, abs=1e-9)
    assert len(sizes) > 2
    assert kinds == set(AGGREGATIONS)


def test_json_and_pytorch_files_hold_the_same_network(tmp_path):
    rng = random.Random(5)
    spec = random_spec(rng, cyclic=True)
    assert NetworkSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    net = GenomeNetwork(spec)
    save_pt(net, tmp_path / "n.pt")
    data = torch.load(tmp_path / "n.pt", weights_only=True)
    assert set(data) == {"format", "version", "spec", "state_dict"}
    x = [rng.gauss(0, 1) for _ in range(6)]
    assert (load_pt(tmp_path / "n.pt").act(x) == net.act(x)).all()


def test_malformed_files_are_refused(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"not a network")
    with pytest.raises(ChampionFormatError, match=r"a\.pt"):
        load_pt(tmp_path / "a.pt")
    torch.save({"format": "other"}, tmp_path / "b.pt")
    with pytest.raises(ChampionFormatError, match=r"champion\.pt"):
        load_pt(tmp_path / "b.pt")
    with pytest.raises(ChampionFormatError, match="outputs"):
        NetworkSpec.from_json({"inputs": [0]})
    with pytest.raises(ChampionFormatError, match=r"description: 0\.id: Field required$"):
        NetworkSpec.from_json({"inputs": [], "outputs": [], "nodes": [{}], "connections": []})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"connections": ((9, 0, 1.0),)}, "9->0"),
        ({"connections": ((-1, -1, 1.0),)}, "-1->-1"),
        ({"connections": ((-1, 0, 1.0), (-1, 0, 2.0))}, "twice"),
        ({"connections": ((-1, 0, math.nan),)}, "nan"),
        ({"nodes": (Node(0, activation="tanhh"),)}, "tanhh"),
        ({"nodes": (Node(0, aggregation="median"),)}, "median"),
        ({"outputs": (5,)}, "output 5"),
        ({"inputs": (0,)}, "not unique"),
    ],
)
def test_impossible_networks_are_refused(change, message):
    good = {"inputs": (-1,), "outputs": (0,), "nodes": (Node(0),), "connections": ((-1, 0, 1.0),)}
    NetworkSpec(**good)
    with pytest.raises(ValueError, match=message):
        NetworkSpec(**{**good, **change})


def test_network_can_be_trained():
    net = GenomeNetwork(random_spec(random.Random(6)))
    net(torch.randn(4, 6)).sum().backward()
    assert net.weight.grad is not None
    # Missing connections have no gradient.
    assert (net.weight.grad[~net.mask] == 0).all()
    assert (net.weight.grad[net.mask] != 0).any()
    # The trained or copied weights act.
    x = np.linspace(-1, 1, 6)
    before = net.act(x)
    copied = copy.deepcopy(net)
    with torch.no_grad():
        net.bias += 0.25
    assert (net.act(x) != before).all()
    assert (copied.act(x) == before).all()
    copied.load_state_dict(net.state_dict())
    assert (copied.act(x) == net.act(x)).all()
