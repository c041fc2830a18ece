"""A strategy of the user's own: ``[run] strategy = module:Class``."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from neat_config import config_text
from neat_runs import NATIVE, everything, resume, start

from mkds_neat.config import parse_config
from mkds_neat.errors import ConfigError, StrategyError, StrategyStateError
from mkds_neat.individual import Individual, Result
from mkds_neat.networks import MLP
from mkds_neat.run import main
from mkds_neat.strategies import CustomStrategy

PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "custom_strategy.md"
NETWORK = MLP(6, 2)
SHORT = {"run__generations": 3, "evaluation__frames": 30, **NATIVE}


class Fixed:
    """Always the same individuals. Each fault is an argument."""

    def __init__(self, inputs, outputs, seed, **faults):
        self.faults = faults
        self.generation, self.solved = 0, False
        if "init" in faults:
            raise KeyError("init")
        if "generation" in faults:
            self.generation = faults["generation"]

    def ask(self):
        if "fails" in self.faults:
            raise ValueError("oops")
        network = self.faults.get("network", NETWORK)
        vector = [0.1 + self.generation * self.faults.get("change", 0.0)] * network.size
        genome = self.faults.get("genome", {})
        people = [Individual(i, network.network(vector), genome) for i in (3, 1)]
        return self.faults.get("ask", people)

    def tell(self, results):
        self.told = [result.id for result in results]
        self.generation += self.faults.get("step", 1)

    def state(self):
        return self.faults.get("state", {"generation": self.generation, "pair": (1, 2)})

    def restore(self, state):
        self.generation = state["generation"]


class Lacking:
    def __init__(self, inputs, outputs, seed):
        pass

    def ask(self):
        return []

    restore = state = ask


class WithoutGeneration(Lacking):
    def tell(self, results):
        pass


def make(**faults) -> CustomStrategy:
    return CustomStrategy(f"{__name__}:Fixed", 6, 2, seed=1, arguments=faults)


def results(strategy, fitness: float = 1.0) -> list[Result]:
    return [Result(each.id, fitness) for each in strategy.ask()]


def test_results_come_in_order_of_id():
    strategy = make()
    assert [each.id for each in strategy.ask()] == [1, 3]
    strategy.tell(reversed(results(strategy)))
    assert strategy.strategy.told == [1, 3]
    assert strategy.generation == 1


def test_solved_strategy_need_not_make_another_generation():
    strategy = make(step=0)
    strategy.strategy.solved = True
    strategy.tell(results(strategy))
    assert strategy.solved


def test_wrong_calls_do_not_reach_the_class():
    strategy = make()
    with pytest.raises(StrategyError, match="before ask"):
        strategy.tell([])
    with pytest.raises(StrategyError, match=r"missing \[3\]"):
        strategy.tell(results(strategy)[:1])
    with pytest.raises(ValueError, match="nan"):
        strategy.tell(results(strategy, float("nan")))
    assert strategy.generation == 0


def test_new_network_under_an_id_of_the_generation_before_is_refused():
    strategy = make(change=0.1)
    strategy.tell(results(strategy))
    with pytest.raises(StrategyError, match=r"another network for the id 3 .* a new id"):
        strategy.ask()
    survivors = make()
    survivors.tell(results(survivors))
    assert len(survivors.ask()) == 2


def test_state_goes_through_json():
    strategy, other = make(), make()
    strategy.tell(results(strategy))
    other.restore(json.loads(json.dumps(strategy.state())))
    assert other.generation == 1
    other = make(change=0.1)
    other.tell(results(other))
    later = {**strategy.state(), "state": {"generation": 5}}
    other.restore(later)
    assert len(other.ask()) == 2  # other networks than before, and no survivors
    other.restore(later)
    with pytest.raises(StrategyError, match="before ask"):
        other.tell([])
    for damaged in ({}, {**strategy.state(), "strategy": "neat"}, {**strategy.state(), "state": 3}):
        with pytest.raises(StrategyStateError):
            other.restore(damaged)


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"ask": [3]}, r"ask\(\) returned 3: expected an Individual with a NetworkSpec"),
        ({"ask": [Individual(1, None, {})]}, r"expected an Individual with a NetworkSpec"),
        ({"fails": 1}, r"ask\(\) failed \(line \d+ of test_neat_custom\.py\): ValueError: oops"),
        ({"genome": {"x": {1, 2}}}, r"a genome that JSON cannot hold: .*set"),
        ({"genome": {"x": float("nan")}}, r"a genome that JSON cannot hold: .*float values"),
        ({"ask": []}, r"ask\(\) returned 0 individuals"),
        ({"network": MLP(5, 2)}, r"a network of 5 inputs and 2 outputs: expected 6 and 2"),
        (
            {"ask": [Individual(1, NETWORK.network([0.0] * NETWORK.size), {})] * 2},
            r"with the ids \[1, 1\]: .*different ids",
        ),
        ({"step": 2}, r"from generation 0 to 2: expected 1"),
        ({"state": {"x": float("nan")}}, r"state\(\) is not plain data"),
        ({"state": {"x": {1, 2}}}, r"state\(\) is not plain data: .*set"),
        ({"state": {1: 2}}, r"state\(\) is not plain data: .*strings as keys"),
        ({"state": [1]}, r"state\(\) is not plain data"),
    ],
)
def test_fault_of_a_class_is_one_error(faults, message):
    strategy = make(**faults)

    def use() -> None:
        strategy.tell(results(strategy))
        strategy.state()

    with pytest.raises(StrategyError, match=rf"^the strategy .*:Fixed is faulty: .*{message}"):
        use()


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("no_such_module:Class", {}, r"cannot be imported: ModuleNotFoundError.*no_such_module"),
        (f"{__name__}:NoClass", {}, r"cannot be imported: AttributeError.*NoClass"),
        ("climber:", {}, r"cannot be imported: expected module:object"),
        (f"{__name__}:make", {}, r"is of type function: expected module:Class"),
        (f"{__name__}:Lacking", {}, r"lacks the method tell\(\): expected ask\(\), tell"),
        ("builtins:dict", {}, r"lacks the methods ask\(\) and tell\(\) and state\(\) and restore"),
        (f"{__name__}:WithoutGeneration", {}, r"lacks the attribute generation"),
        (f"{__name__}:Fixed", {"seed": 3}, r"does not take its arguments: .*seed"),
        (f"{__name__}:WithoutGeneration", {"sigma": 3}, r"does not take its arguments: .*sigma"),
        (f"{__name__}:Fixed", {"init": 1}, r"cannot be made: KeyError: 'init'"),
        (f"{__name__}:Fixed", {"fails": 1}, r"ask\(\) failed \(line .*ValueError: oops"),
        (f"{__name__}:Fixed", {"generation": "x"}, r"has generation = 'x': expected an integer"),
        (f"{__name__}:Fixed", {"ask": "[3]"}, r"ask\(\) returned 3"),
        (f"{__name__}:Fixed", {"state": "[3]"}, r"state\(\) is not plain data"),
    ],
)
def test_class_is_checked_before_anything_starts(spec, options, message):
    changes = {f"strategy__{key}": value for key, value in options.items()}
    start = rf"^config: \[run\] strategy = '{re.escape(spec)}':? (the strategy .* is faulty: )?"
    with pytest.raises(ConfigError, match=start + message) as caught:
        parse_config(config_text(run__strategy=spec, **changes))
    assert "\n" not in str(caught.value)


def test_options_are_literals_and_population_is_that_of_ask():
    text = config_text(run__strategy=f"{__name__}:Fixed", strategy__a="[1, 2]", strategy__b="x y")
    config = parse_config(text)
    assert config.make_strategy().strategy.faults == {"a": [1, 2], "b": "x y"}
    assert config.population == 2
    assert parse_config(config.text).text == config.text


@pytest.fixture
def climber(tmp_path, monkeypatch) -> Path:
    """The class and the config of the documentation, as files in the current folder."""
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(python|ini)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (tmp_path / "climber.py").write_text(next(code for kind, code in blocks if kind == "python"))
    (tmp_path / "climber.ini").write_text(next(code for kind, code in blocks if kind == "ini"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "climber", raising=False)
    return tmp_path


@pytest.mark.slow
@pytest.mark.usefixtures("climber")
def test_strategy_of_the_documentation_runs_and_resumes_identically(tmp_path):
    changes = {**SHORT, "run__strategy": "climber:Climber", "strategy__population": 4}
    straight = start(tmp_path / "a", **changes)
    straight.run()
    first = start(tmp_path / "b", **{**changes, "run__generations": 1})
    first.run()
    outcome = resume(first.folder, generations="3").run()
    assert outcome.champion is not None
    assert outcome.champion.strategy == "climber:Climber"
    assert everything(first.folder) == everything(straight.folder)


def test_command_drives_the_config_of_the_documentation(climber, capsys, monkeypatch):
    config = (climber / "climber.ini").read_text()
    config = config.replace("population = 30", "population = 3")
    config = config.replace("[run]", "[run]\nvectorization = native\nworkers = 1")
    (climber / "climber.ini").write_text(config + "[evaluation]\nframes = 30\n[truncation]\n")
    options = ["--generations", "1", "--no-pictures", "--quiet"]
    assert main(["climber.ini", *options]) == 0
    assert main(["--resume", "runs/climber", "--generations", "2", *options[2:]]) == 0
    out = capsys.readouterr().out
    assert "climber:Climber, seed 0" in out
    assert "note: sections without effect in this run" in out
    source = (climber / "climber.py").read_text()
    monkeypatch.delitem(sys.modules, "climber")
    (climber / "climber.py").write_text(source.replace("generation += 1", "generation += 2  "))
    assert main(["--resume", "runs/climber", "--generations", "3", *options[2:]]) == 1
    assert "expected 3; correct the class and continue with: python" in capsys.readouterr().err
    ini = climber / "runs" / "climber" / "config.ini"
    ini.write_text(ini.read_text().replace("climber:Climber", "no_such_module:Climber"))
    assert main(["--resume", "runs/climber", *options[2:]]) == 2
    assert "strategy = 'no_such_module:Climber' cannot change" in capsys.readouterr().err
