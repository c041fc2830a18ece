"""Networks in files of other programs: the same outputs, and clear errors."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from neat_runs import NATIVE, start
from network_definition import random_spec

from mkds_neat.errors import ChampionFormatError, ExportError
from mkds_neat.export import difference, export, main, read_network
from mkds_neat.networks import (
    ACTIVATIONS,
    AGGREGATIONS,
    MLP,
    GenomeNetwork,
    NetworkSpec,
    Node,
    compile_network,
    network_of_torch,
    onnx_bytes,
    pt2_bytes,
    pt_bytes,
    save_pt,
)
from mkds_neat.results import load_champion

ROOT = Path(__file__).parent.parent
ANY_KIND = {"activations": tuple(ACTIVATIONS), "aggregations": AGGREGATIONS}
LAYER = {"0.weight": np.zeros((2, 3)), "0.bias": np.zeros(2)}
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def mlp(seed: int = 0, hidden: tuple[int, ...] = (16, 16)) -> NetworkSpec:
    sizes = MLP(6, 2, hidden)
    return sizes.network(np.random.default_rng(seed).normal(size=sizes.size))


def session(spec: NetworkSpec) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(onnx_bytes(spec), providers=["CPUExecutionProvider"])


def observations(rng: random.Random, count: int = 3) -> np.ndarray:
    return np.array([[rng.gauss(0, 1) for _ in range(6)] for _ in range(count)], np.float32)


@pytest.mark.parametrize("count", [8, pytest.param(80, marks=pytest.mark.slow)])
@pytest.mark.parametrize("cyclic", [False, True])
def test_onnx_has_the_outputs_of_the_network(cyclic, count):
    rng = random.Random(11)
    # Errors grow in cycles of unbounded functions.
    kinds = {} if cyclic else ANY_KIND
    specs = [random_spec(rng, cyclic=cyclic, **kinds) for _ in range(count)]
    for spec in [mlp(), mlp(hidden=()), *specs]:
        x = observations(rng)
        (actions,) = session(spec).run(["action"], {"observation": x})
        np.testing.assert_allclose(
            actions, [compile_network(spec)(row) for row in x.tolist()], **CLOSE
        )


@pytest.mark.parametrize("count", [8, pytest.param(80, marks=pytest.mark.slow)])
def test_recurrent_onnx_takes_and_returns_its_state(count):
    rng = random.Random(12)
    for _ in range(count):
        spec = random_spec(rng, recurrent=True, **ANY_KIND)
        run, module = session(spec).run, GenomeNetwork(spec).requires_grad_(False)
        state = np.zeros((3, len(spec.nodes)))
        for _ in range(4):
            x = observations(rng)
            actions, after = run(None, {"observation": x, "state": state})
            expected, state = (v.numpy() for v in module(torch.tensor(x), torch.tensor(state)))
            np.testing.assert_allclose(actions, expected, **CLOSE)
            np.testing.assert_allclose(after, state, **CLOSE)


@pytest.mark.slow
@pytest.mark.parametrize("recurrent", [False, True])
def test_torch_program_equals_the_module(recurrent, tmp_path):
    rng = random.Random(13)
    for spec in [random_spec(rng, recurrent=recurrent, **ANY_KIND) for _ in range(2)]:
        (tmp_path / "a.pt2").write_bytes(pt2_bytes(spec))
        program = torch.export.load(tmp_path / "a.pt2").module()
        module = GenomeNetwork(spec).requires_grad_(False)
        state = module.initial_state(3)
        for _ in range(4):
            x = torch.tensor(observations(rng))
            if recurrent:
                actions, after = program(x, state)
                expected, state = module(x, state)
                assert torch.equal(after, state)
            else:
                actions, expected = program(x), module(x)
            assert torch.equal(actions, expected)
            assert not actions.requires_grad


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = start(
        tmp_path_factory.mktemp("run"),
        **{**NATIVE, "run__generations": 1, "run__workers": 1, "evaluation__frames": 60},
    )
    made.run()
    return made.folder.path


def drive(run: Path, file: str | Path) -> str:
    """The output of the example, which cannot import mkds_neat."""
    code = (
        "import sys, runpy; sys.modules['mkds_neat'] = None; sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    example = ROOT / "examples" / "drive_champion.py"
    done = subprocess.run(
        [sys.executable, "-c", code, str(example), str(run), str(file)],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_champion_drives_as_recorded_from_onnx_without_mkds_neat(run, tmp_path, capsys):
    assert main([str(run), str(tmp_path / "c.onnx")]) == 0
    assert "a feed-forward network (inputs: 6, outputs: 2); differs " in capsys.readouterr().out
    printed = drive(run, tmp_path / "c.onnx")
    assert "as recorded" in printed
    assert (
        json.loads(printed.splitlines()[0]) == load_champion(run / "champion.json").record.metrics
    )


@pytest.mark.slow
@pytest.mark.parametrize("feed_forward", [True, False])
def test_champion_drives_as_recorded_from_every_file(feed_forward, tmp_path):
    changes = {"DefaultGenome__feed_forward": feed_forward, "run__generations": 2}
    made = start(tmp_path, **{**NATIVE, **changes, "evaluation__frames": 300})
    made.run()
    folder = made.folder.path
    files = [folder / "champion.pt", tmp_path / "c.pt2", tmp_path / "c.onnx"]
    for file in files[1:]:
        export(read_network(folder), file)
    for file in files[:1] if feed_forward else files:
        assert "as recorded" in drive(folder, file)


def test_network_is_read_back_from_json_and_weights(run, tmp_path):
    champion = load_champion(run / "champion.json").network
    assert read_network(run) == champion
    assert read_network(run / "champion.json") == champion
    assert read_network(run / "champion.pt") == champion
    assert read_network(run, str(load_champion(run / "champion.json").id)) == champion
    others = [read_network(run, str(key)) for key in range(1, 6)]
    assert champion in others
    assert len(set(others)) == 5
    for i, recurrent in enumerate((False, True)):
        spec = random_spec(random.Random(14), recurrent=recurrent, **ANY_KIND)
        assert export(spec, tmp_path / f"{i}.json") == 0.0
        save_pt(GenomeNetwork(spec), tmp_path / f"{i}.pt")
        assert read_network(tmp_path / f"{i}.json") == read_network(tmp_path / f"{i}.pt") == spec


def test_damaged_json_is_refused_or_another_network(tmp_path):
    rng = random.Random(15)
    file = tmp_path / "a.json"
    export(random_spec(rng, recurrent=True, **ANY_KIND), file)
    text = file.read_bytes()
    refused = 0
    for _ in range(80):
        data = bytearray(text)
        for _ in range(rng.choice((1, 3, 20))):
            data[rng.randrange(len(data))] = rng.choice(b'0123456789-eE.,:[]{}"tfn\xff')
        file.write_bytes(data)
        try:
            assert compile_network(read_network(file))
        except ChampionFormatError:
            refused += 1
    assert refused > 40


def test_existing_file_is_kept_unless_forced(tmp_path):
    (tmp_path / "a.json").write_text("precious")
    with pytest.raises(ExportError, match=r"a\.json' exists: .*--force"):
        export(mlp(), tmp_path / "a.json")
    assert (tmp_path / "a.json").read_text() == "precious"
    export(mlp(), tmp_path / "a.json", force=True)
    assert read_network(tmp_path / "a.json") == mlp()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["n.json", "a.tflite"], r"'a.tflite' has an unknown suffix: .*onnx \(\.onnx\)"),
        (["n.json", "a.onnx", "--to", "tflite"], "format 'tflite' is unknown"),
        (["n.json", "no/a.onnx"], "the folder no does not exist"),
        (["n.json", ".", "--to", "onnx"], "this is a folder"),
        (["n.json", "n.json", "--force"], "'n.json' is the network itself"),
        (["none", "a.onnx"], "'none' does not exist: expected a run folder"),
        (["program.pt2", "a.onnx"], "'program.pt2' is not read: expected a run folder"),
        ([".", "a.onnx"], r"champion\.json"),
        (["other.json", "a.onnx"], r"other\.json': expected the champion\.json"),
        (["new.json", "a.onnx"], "format version 9: expected 1 to 2"),
        (["damaged.json", "a.onnx"], "nodes.0.id: Field required"),
        (["deep.json", "a.onnx"], "recursion limit"),
        (["weights.pt", "a.onnx"], "is not a PyTorch file"),
        ([".", "a.onnx", "--individual", "x"], "champion"),
        (["n.json", "a.onnx", "--individual", "3"], "champion"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_error_of_the_command_is_one_line_and_writes_nothing(
    arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    export(mlp(), "n.json")
    values = json.loads(Path("n.json").read_text())
    Path("new.json").write_text(json.dumps({**values, "version": 9}))
    Path("damaged.json").write_text(json.dumps({**values, "nodes": [{}]}))
    Path("other.json").write_text("{}")
    Path("deep.json").write_text("[" * 5000)
    for name in ("program.pt2", "weights.pt"):
        Path(name).write_bytes(b"unread")
    before = {path: path.read_bytes() for path in Path().iterdir()}
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("python -m mkds_neat.export: error: ")
    assert error.count("\n") == 1
    assert re.search(message, error), error
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


def test_old_pytorch_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.4.1+cpu")
    with pytest.raises(ExportError, match=r"PyTorch 2\.4\.1\+cpu is installed: .*2\.5"):
        export(mlp(), tmp_path / "a.pt2")


@pytest.mark.parametrize(
    ("to", "module", "package", "extra"),
    [
        ("onnx", "onnx_format", "onnx", "onnx"),
        ("onnx", "", "onnxruntime", "onnx"),
        ("torch", "pt2_format", "torch", "neat"),
    ],
)
def test_missing_package_names_the_extra(to, module, package, extra, tmp_path, monkeypatch):
    if module:
        monkeypatch.delitem(sys.modules, f"mkds_neat.networks.{module}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ExportError, match=rf"{package}: pip install 'mkds-gym\[{extra}\]'"):
        export(mlp(), tmp_path / "a", to)
    assert not list(tmp_path.iterdir())


def test_network_of_torch_weights_has_the_outputs_of_torch():
    torch.manual_seed(1)
    layers = [torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3), torch.nn.Tanh()]
    net = torch.nn.Sequential(*layers, torch.nn.Linear(3, 2)).double()
    policy = compile_network(network_of_torch(net.state_dict()))
    x = torch.randn(6, dtype=torch.float64)
    np.testing.assert_allclose(policy(x.tolist()), net(x).tolist(), rtol=1e-12)
    relu = network_of_torch(net[4].state_dict(), output="relu")
    assert {node.activation for node in relu.nodes} == {"relu"}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "expected a weight and a bias"),
        ({"0.weight": np.zeros((2, 3))}, "without '0.bias'"),
        ({"0.weight": np.zeros((2, 3)), "0.bias": np.zeros(3)}, r"\(2, 3\) and \(3,\)"),
        ({"0.weight": np.zeros((2, 3, 3)), "0.bias": np.zeros(2)}, "expected"),
        ({"0.weight": np.zeros((0, 3)), "0.bias": np.zeros(0)}, "expected"),
        ({**LAYER, "x": np.zeros(2)}, "'x'"),
        ({"0.weight": np.full((2, 3), np.nan), "0.bias": np.zeros(2)}, "nan"),
        ({**LAYER, "1.weight": np.zeros((2, 3)), "1.bias": np.zeros(2)}, "the layer before has 2"),
    ],
    ids=range(8),
)
def test_state_of_another_kind_of_network_is_refused(state, message):
    with pytest.raises(ValueError, match=message):
        network_of_torch(state)


def test_network_whose_nodes_have_no_inputs_is_exported():
    nodes = tuple(Node(i, bias=0.5, aggregation=kind) for i, kind in enumerate(AGGREGATIONS))
    outputs = tuple(range(len(nodes)))
    for recurrent in (False, True):
        spec = NetworkSpec((-1,), outputs, nodes, (), recurrent)
        feed = {"observation": np.ones((1, 1), np.float32)}
        if recurrent:
            feed["state"] = np.zeros((1, len(nodes)))
        actions = session(spec).run(None, feed)[0][0]
        np.testing.assert_allclose(actions, compile_network(spec)([1.0]), **CLOSE)


def test_network_that_differs_is_not_written(tmp_path, monkeypatch):
    spec = mlp()
    other = onnx_bytes(mlp(seed=1))
    monkeypatch.setattr("mkds_neat.networks.onnx_format.onnx_bytes", lambda _: other)
    (tmp_path / "a.onnx").write_text("precious")
    with pytest.raises(ExportError, match=r"a\.onnx' is not written: .* differ .*--to json"):
        export(spec, tmp_path / "a.onnx", force=True)
    assert (tmp_path / "a.onnx").read_text() == "precious"


def test_example_names_the_files_that_it_reads(run):
    example = ROOT / "examples" / "drive_champion.py"
    done = subprocess.run(
        [sys.executable, example, run, "network.json"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "error: network.json: expected a file named .onnx, .pt2 or .pt" in done.stderr
    done = subprocess.run(
        [sys.executable, example, run, "none.pt"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.endswith("error: none.pt: no such file\n")


@pytest.mark.slow
def test_example_names_a_node_that_it_cannot_read(run, tmp_path):
    file = tmp_path / "relu.pt"
    file.write_bytes(pt_bytes(NetworkSpec((-1,), (0,), (Node(0, activation="relu"),), ())))
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "drive_champion.py", run, file],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "relu.pt: node 0 is relu of a sum, but this reads tanh of a sum only" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("theirs", "worst"), [(0.5, 0.0), (0.75, 0.25), (np.nan, np.inf)])
def test_difference_of_a_network_that_gives_nan_is_infinite(theirs, worst):
    spec = NetworkSpec((-1,), (0,), (Node(0, bias=0.5, activation="identity"),), ())
    assert difference(spec, lambda arrays: [np.full((len(arrays[0]), 1), theirs)]) == worst
