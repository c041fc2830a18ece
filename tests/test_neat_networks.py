"""Networks: exactly their definition, the numbers of neat-python, and PyTorch beside them."""

from __future__ import annotations

import copy
import io
import json
import math
import pickle
import random
import zipfile

import gymnasium as gym
import numpy as np
import pytest
import torch
from network_definition import by_hand, random_spec

from mkds_neat.errors import ChampionFormatError
from mkds_neat.networks import (
    ACTIVATIONS,
    AGGREGATIONS,
    MLP,
    GenomeNetwork,
    NetworkSpec,
    Node,
    compile_network,
    load_pt,
    save_pt,
)
from mkds_neat.networks.pt_format import pt_bytes

ANY_KIND = {"activations": tuple(ACTIVATIONS), "aggregations": AGGREGATIONS}


@pytest.mark.parametrize("cyclic", [False, True])
def test_compiled_network_equals_its_definition_bit_for_bit(cyclic):
    rng = random.Random(1)
    specs = [random_spec(rng, cyclic=cyclic, **(ANY_KIND if i % 2 else {})) for i in range(120)]
    depths = {spec.depth() for spec in specs}
    assert (None in depths) == cyclic
    assert len(depths) > (0 if cyclic else 3)
    for spec in specs:
        policy = compile_network(spec)
        assert compile_network(pickle.loads(pickle.dumps(spec)))([0.5] * 6) == policy([0.5] * 6)
        for scale in (0.1, 1.0, 1e9):
            x = np.array([rng.gauss(0, scale) for _ in range(6)], np.float32).tolist()
            assert list(policy(x)) == by_hand(spec, x)


def test_large_layers_equal_their_definition_bit_for_bit():
    """NumPy computes them. Neither their number nor their size may change a bit."""
    rng = np.random.default_rng(9)
    for hidden in ((2,), (32, 32), (90, 7, 64), (300, 2)):
        for activation in ("unit_tanh", "selu"):
            sizes = MLP(9, 3, hidden, activation)
            spec = sizes.network(rng.normal(size=sizes.size))
            for scale in (0.1, 1.0, 1e9):
                x = rng.normal(scale=scale, size=9).tolist()
                assert list(compile_network(spec)(x)) == by_hand(spec, x)


def test_recurrent_policies_remember_each_its_own_steps_bit_for_bit():
    rng = random.Random(8)
    for i in range(120):
        spec = random_spec(rng, recurrent=True, **(ANY_KIND if i % 2 else {}))
        policies = compile_network(spec), compile_network(spec)
        states = [dict.fromkeys((node.id for node in spec.nodes), 0.0) for _ in policies]
        for _ in range(12):
            for policy, state in zip(policies, states, strict=True):
                x = [rng.gauss(0, rng.choice((0.1, 1.0, 1e9))) for _ in range(6)]
                assert list(policy(x)) == by_hand(spec, x, state)


def test_outputs_are_clipped_to_the_space_of_actions():
    nodes = (Node(0, activation="identity"), Node(1, activation="identity"))
    spec = NetworkSpec((-1, -2), (0, 1), nodes, ((-1, 0, 1.0), (-2, 1, 1.0)))
    space = gym.spaces.Box(np.array([-1.0, -np.inf], np.float32), np.array([1.0, 0.5], np.float32))
    policy = compile_network(spec, space)
    for x in ((-3.0, -3.0), (3.0, 3.0), (0.25, 0.25)):
        assert policy(x) == tuple(np.clip(x, space.low, space.high))


def test_sum_of_infinities_becomes_the_lower_limit():
    connections = ((-1, 0, 1e308), (-2, 0, -1e308))
    spec = NetworkSpec((-1, -2), (0,), (Node(0),), connections)
    space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    assert math.isnan(compile_network(spec)((1e9, 1e9))[0])
    assert compile_network(spec, space)((1e9, 1e9)) == (-1.0,)


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
    for number in range(40):
        # Errors grow in cycles of unbounded functions.
        spec = random_spec(rng, cyclic=cyclic, **({} if cyclic or number % 2 else ANY_KIND))
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


@pytest.mark.parametrize(
    ("part", "old", "new", "message"),
    [
        ("data.pkl", b'"weight": ', b'"weighs": ', "connections.0.weight: Field required"),
        ("data.pkl", b'"inputs": [', b'"inputs": {', "is not JSON"),
        ("data.pkl", b"version", b"varsion", "format version None"),
        ("data.pkl", b"state_dict", b"state_disk", "its parts have other types"),
        ("data.pkl", b"DoubleStorage", b"FloatStorage", "is damaged|cannot be loaded"),
        ("data.pkl", b"ctorch._utils\n_rebuild_tensor_v2", b"cos\nsystem", "Weights only load"),
        ("data/0", bytes(8), b"\xff" * 8, "weight: expected finite numbers"),
        ("data/0", bytes(8), b"", "cannot be loaded"),
    ],
    ids=range(8),
)
def test_damaged_part_of_a_network_file_is_refused(part, old, new, message, tmp_path):
    spec = random_spec(random.Random(3))
    with zipfile.ZipFile(io.BytesIO(pt_bytes(spec))) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert old in parts[f"archive/{part}"]
    parts[f"archive/{part}"] = parts[f"archive/{part}"].replace(old, new, 1)
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    with pytest.raises(ChampionFormatError, match=message) as caught:
        load_pt(tmp_path / "a.pt")
    assert str(tmp_path / "a.pt") in str(caught.value)
    assert len(str(caught.value)) < 500


def test_files_that_pytorch_reads_in_another_way_are_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("the file was opened"))
    data = pt_bytes(random_spec(random.Random(3)))
    (tmp_path / "old.pt").write_bytes(bytes(512) + data)  # a TAR archive, with a ZIP at its end
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        archive.writestr("archive/constants.pkl", b"")
    for name, message in (("old.pt", "not a PyTorch file"), ("script.pt", "TorchScript program")):
        with pytest.raises(ChampionFormatError, match=message):
            load_pt(tmp_path / name)


def test_compressed_network_file_is_refused_unread(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50 << 20))
    with pytest.raises(ChampionFormatError, match=r"a\.pt' is compressed"):
        load_pt(tmp_path / "a.pt")


def test_malformed_files_are_refused(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"not a network")
    with pytest.raises(ChampionFormatError, match=r"a\.pt"):
        load_pt(tmp_path / "a.pt")
    torch.save({"format": "other"}, tmp_path / "b.pt")
    with pytest.raises(ChampionFormatError, match=r"champion\.pt"):
        load_pt(tmp_path / "b.pt")
    with pytest.raises(ChampionFormatError, match="outputs"):
        NetworkSpec.from_json({"inputs": [0]})
    with pytest.raises(ChampionFormatError, match=r"description: nodes\.0\.id: Field required$"):
        NetworkSpec.from_json({"inputs": [], "outputs": [], "nodes": [{}], "connections": []})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"connections": ((9, 0, 1.0),)}, "9->0"),
        ({"connections": ((-1, -1, 1.0),)}, "-1->-1"),
        ({"connections": ((-1, 0, 1.0), (-1, 0, 2.0))}, "twice"),
        ({"connections": ((-1, 0, math.nan),)}, "nan"),
        ({"nodes": (Node(0, activation="tanhh"),)}, "tanhh"),
        ({"nodes": (Node(0, aggregation="mode"),)}, "mode"),
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
