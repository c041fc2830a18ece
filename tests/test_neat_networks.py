"""Networks: exactly their definition, the numbers of neat-python, and PyTorch beside them."""

from __future__ import annotations

import copy
import json
import math
import pickle
import random

import gymnasium as gym
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
    NetworkSpec,
    Node,
    compile_network,
    load_pt,
    save_pt,
)
from mkds_neat.networks.functions import BOUNDED
from mkds_neat.networks.module import TENSOR_FUNCTIONS


def random_spec(
    rng: random.Random, *, cyclic: bool = False, activations=("tanh",), aggregations=("sum",)
) -> NetworkSpec:
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
            Node(
                i,
                rng.gauss(0, 1),
                rng.choice((1.0, rng.gauss(1, 0.3))),
                rng.choice(activations),
                rng.choice(aggregations),
            )
            for i in ids
        ),
        tuple((s, t, w) for (s, t), w in connections.items()),
    )


def by_hand(spec: NetworkSpec, x) -> list[float]:
    """The definition: rounds from zero, sums from first to last, without a compiler."""
    values = dict.fromkeys((n.id for n in spec.nodes), 0.0)
    values.update(zip(spec.inputs, x, strict=True))
    order = [*spec.inputs, *(n.id for n in spec.nodes)]
    # Rounds after the depth change nothing without cycles.
    for _ in range(MAX_ROUNDS if spec.depth() is None else len(spec.nodes)):
        new = dict(values)
        for node in spec.nodes:
            weights = {s: w for s, t, w in spec.connections if t == node.id}
            sources = [key for key in order if key in weights]
            factor, function = ACTIVATIONS[node.activation]
            response, bias = node.response * factor, node.bias * factor
            if node.aggregation == "sum":
                z = bias
                for key in sources:
                    z += (weights[key] * response) * values[key]
            else:
                z = aggregate(node.aggregation, [weights[key] * values[key] for key in sources])
                z = z * response + bias
            value = function(z)
            if node.activation not in BOUNDED:
                value = max(-1e12, min(1e12, value))
            new[node.id] = value
        values = new
    return [values[o] for o in spec.outputs]


def aggregate(kind: str, products: list[float]) -> float:
    if not products:
        return 1.0 if kind == "product" else 0.0
    if kind in ("max", "min"):
        return max(products) if kind == "max" else min(products)
    total = products[0]
    for product in products[1:]:
        total = total * product if kind == "product" else total + product
    return total if kind == "product" else total / len(products)


@pytest.mark.parametrize("cyclic", [False, True])
def test_compiled_network_equals_its_definition_bit_for_bit(cyclic):
    rng = random.Random(1)
    kinds = {"activations": tuple(ACTIVATIONS), "aggregations": AGGREGATIONS}
    specs = [random_spec(rng, cyclic=cyclic, **(kinds if i % 2 else {})) for i in range(120)]
    depths = {spec.depth() for spec in specs}
    assert (None in depths) == cyclic
    assert len(depths) > (0 if cyclic else 3)
    for spec in specs:
        policy = compile_network(spec)
        assert compile_network(pickle.loads(pickle.dumps(spec)))([0.5] * 6) == policy([0.5] * 6)
        for scale in (0.1, 1.0, 1e9):
            x = np.array([rng.gauss(0, scale) for _ in range(6)], np.float32).tolist()
            assert list(policy(x)) == by_hand(spec, x)


def test_outputs_are_clipped_to_the_space_of_actions():
    nodes = (Node(0, activation="identity"), Node(1, activation="identity"))
    spec = NetworkSpec((-1, -2), (0, 1), nodes, ((-1, 0, 1.0), (-2, 1, 1.0)))
    space = gym.spaces.Box(np.array([-1.0, -np.inf], np.float32), np.array([1.0, 0.5], np.float32))
    policy = compile_network(spec, space)
    for x in ((-3.0, -3.0), (3.0, 3.0), (0.25, 0.25)):
        assert policy(x) == tuple(np.clip(x, space.low, space.high))


def test_network_wider_and_deeper_than_an_expression_may_be_is_compiled():
    rng = random.Random(2)
    for width, depth in ((2000, 2), (6, 60)):
        inputs, hidden = tuple(range(-width, 0)), range(1, depth)
        for aggregation in AGGREGATIONS:
            spec = NetworkSpec(
                inputs,
                (0,),
                (Node(0), *(Node(i, aggregation=aggregation) for i in hidden)),
                (
                    *((i, 1, rng.gauss(0, 1)) for i in inputs),
                    *((i, i + 1, 0.9) for i in hidden[:-1]),
                    (hidden[-1], 0, 1.0),
                ),
            )
            x = [rng.gauss(0, 1) for _ in inputs]
            assert list(compile_network(spec)(x)) == by_hand(spec, x)


@pytest.mark.parametrize("cyclic", [False, True])
def test_torch_module_agrees_and_acts_with_the_same_bits(cyclic):
    rng = random.Random(3)
    kinds = {"activations": tuple(ACTIVATIONS), "aggregations": AGGREGATIONS}
    for number in range(40):
        # Errors grow in cycles of unbounded functions.
        spec = random_spec(rng, cyclic=cyclic, **({} if cyclic or number % 2 else kinds))
        network = GenomeNetwork(spec)
        x = np.array([rng.gauss(0, 1) for _ in range(6)], np.float32)
        expected = compile_network(spec)(x.tolist())
        assert (network.act(x) == expected).all()
        assert network.trained() == spec
        outputs = network(torch.from_numpy(x)).tolist()
        assert outputs == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_module_takes_many_observations():
    rng = random.Random(3)
    net = GenomeNetwork(random_spec(rng))
    x = torch.randn(5, 7, 6, dtype=torch.float64)
    y = net(x)
    assert y.shape == (5, 7, 2)
    assert net.act(x[3, 4].numpy()) == pytest.approx(y[3, 4].tolist(), rel=1e-12, abs=1e-12)


def test_activations_agree_with_neat_python():
    functions = neat.activations.ActivationFunctionSet().functions
    assert set(ACTIVATIONS) == {*functions, "unit_tanh"}
    z = np.linspace(-7, 7, 101)
    for name, function in functions.items():
        factor, of_float = ACTIVATIONS[name]
        expected = [function(v) for v in z]
        ours = [of_float(factor * v) for v in z.tolist()]
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-15)
        tensor = TENSOR_FUNCTIONS[name](factor * torch.tensor(z)).numpy()
        np.testing.assert_allclose(tensor, expected, rtol=1e-12, atol=1e-15)


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
        ours = compile_network(individual.network)
        sizes.add(len(individual.network.nodes))
        kinds |= {n.aggregation for n in individual.network.nodes}
        for _ in range(5):
            x = [rng.gauss(0, 1) for _ in range(6)]
            assert ours(x) == pytest.approx(theirs.activate(x), rel=1e-9, abs=1e-9)
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
    # Written without PyTorch, but as PyTorch writes.
    torch.save({**data, "state_dict": net.state_dict()}, tmp_path / "theirs.pt")
    theirs = torch.load(tmp_path / "theirs.pt", weights_only=True)
    assert list(data["state_dict"]) == list(theirs["state_dict"])
    for name, tensor in theirs["state_dict"].items():
        assert data["state_dict"][name].dtype == tensor.dtype
        assert torch.equal(data["state_dict"][name], tensor)
    x = [rng.gauss(0, 1) for _ in range(6)]
    for name in ("n.pt", "theirs.pt"):
        assert (load_pt(tmp_path / name).act(x) == net.act(x)).all()


def test_trained_weights_are_saved(tmp_path):
    net = GenomeNetwork(random_spec(random.Random(7)))
    with torch.no_grad():
        net.weight *= 1.5
    save_pt(net, tmp_path / "n.pt")
    assert load_pt(tmp_path / "n.pt").spec == net.trained() != net.spec


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
