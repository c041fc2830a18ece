"""The configs in examples/ load, run, and reach what they are for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mkds_neat.config import load_config, parse_config
from mkds_neat.evolution import Evolution, Outcome
from mkds_neat.results import RunFolder

EXAMPLES = Path(__file__).parent.parent / "examples"
CONFIGS = sorted(EXAMPLES.glob("*.ini"))


def evolve(example: str, folder: Path, **changes: str) -> Outcome:
    """Run an example with other values of some keys."""
    text = (EXAMPLES / f"{example}.ini").read_text(encoding="utf-8")
    for key, value in changes.items():
        text, count = re.subn(rf"(?m)^{key} = .*$", f"{key} = {value}", text)
        assert count == 1, key
    config = parse_config(text.replace("[run]\n", "[run]\npictures = no\n"))
    with RunFolder.create(folder, config.text) as made:
        return Evolution(config, made, progress=False).run()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_example_is_a_config(path: Path) -> None:
    config = load_config(path)
    assert path.stem in config.run.output
    assert config.lanes == (1 if path.stem == "versus" else 8)


@pytest.mark.slow
@pytest.mark.parametrize("example", ["time_trial", "generalist", "versus"])
def test_example_runs_two_generations(example: str, tmp_path: Path) -> None:
    changes = {"frames": "700"} if example == "versus" else {"frames": "1500"}
    outcome = evolve(example, tmp_path / "run", generations="2", **changes)
    assert outcome.reason == "generations"
    assert outcome.champion is not None
    assert outcome.champion.fitness > 500


@pytest.mark.slow
def test_first_finish_finishes(tmp_path: Path) -> None:
    outcome = evolve("first_finish", tmp_path / "run")
    assert outcome.reason == "finished"
    assert outcome.champion is not None
    assert len(outcome.champion.record.lap_times) == 3
