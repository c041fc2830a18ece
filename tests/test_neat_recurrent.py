"""Evolutions of recurrent networks, from the config to the champion."""

from __future__ import annotations

import json

import pytest
from neat_runs import NATIVE, everything, resume, start

from mkds_neat.networks import GenomeNetwork, compile_network, load_pt
from mkds_neat.report import replay
from mkds_neat.results import load_champion

RECURRENT = {
    "DefaultGenome__feed_forward": False,
    "DefaultGenome__initial_connection": "full_direct",
    "DefaultGenome__num_hidden": 3,
    "DefaultSpeciesSet__compatibility_threshold": 30.0,
    "DefaultGenome__conn_add_prob": 0.9,
    "DefaultGenome__aggregation_options": "sum median maxabs",
    "DefaultGenome__aggregation_mutate_rate": 0.2,
    "run__generations": 2,
    "run__workers": 1,
    "evaluation__frames": 40,
    **NATIVE,
}


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    run = start(tmp_path_factory.mktemp("recurrent"), **RECURRENT, run__drivers_per_console=8)
    run.run()
    return run.folder


def test_resumed_run_alone_in_its_console_equals_eight_drivers_per_console(straight, tmp_path):
    changes = {"run__generations": 1, "run__drivers_per_console": 1}
    parts = start(tmp_path, **{**RECURRENT, **changes})
    parts.run()
    resume(parts.folder, generations="2").run()
    assert everything(parts.folder) == everything(straight)


def test_champion_remembers_in_its_files_and_in_its_replay(straight):
    champion = load_champion(straight.path / "champion.json")
    assert champion.network.recurrent
    cyclic = {(s, t) for s, t, _ in champion.network.connections}
    assert any((t, s) in cyclic for s, t in cyclic)
    assert load_pt(straight.path / "champion.pt").spec == champion.network
    _, info = replay(champion, pictures=2)
    assert info["metrics"] == champion.record.metrics
    x = [0.5] * len(champion.network.inputs)
    policy = compile_network(champion.network)
    assert policy(x) != policy(x)
    assert compile_network(champion.network)(x) == tuple(GenomeNetwork(champion.network).act(x))


def test_champion_of_version_1_is_read(straight, tmp_path):
    values = json.loads((straight.path / "champion.json").read_text())
    assert values["version"] == 2
    values["version"] = 1
    del values["network"]["recurrent"]
    (tmp_path / "champion.json").write_text(json.dumps(values))
    assert not load_champion(tmp_path / "champion.json").network.recurrent
