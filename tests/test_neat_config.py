"""The config: every mistake is one clear error, before anything starts or is written."""

from __future__ import annotations

import multiprocessing
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from neat_config import EXAMPLE, config_text

from mkds_gym.vector.threads import usable_cores
from mkds_neat.config import (
    default_workers,
    load_config,
    make_scorer,
    parse_config,
)
from mkds_neat.errors import ConfigError
from mkds_neat.run import main


def test_example_is_sound():
    config = load_config(EXAMPLE)
    assert config.run.strategy == "neat"
    assert config.run.stop_when == "finish"
    assert config.run.workers == usable_cores() >= default_workers() >= 1
    assert (config.inputs, config.outputs) == (6, 2)
    assert len(config.input_labels) == 6
    assert config.env_kwargs["info_every_step"] is False
    assert config.env_kwargs["truncate_on"][0].startswith("clock:")
    assert config.make_strategy().name == "neat"
    assert "workers = cores" in config.text


def test_our_sections_have_defaults():
    config = parse_config(
        "[run]\nstrategy = truncation\n[environment]\naction_type = threshold:3\n"
    )
    assert (config.inputs, config.outputs) == (6, 3)
    assert len(config.make_strategy().ask()) == 60


def test_workers_default_to_the_cores_less_one():
    assert parse_config(config_text(run__workers=None)).run.workers == default_workers()
    assert parse_config(config_text(run__workers="auto")).run.workers == default_workers()


def test_environment_values_are_literals_or_text():
    text = config_text(
        environment__sensors='["seed6", "rays:3"]',
        environment__laps=2,
        DefaultGenome__num_inputs=9,
    )
    config = parse_config(text)
    assert config.env_kwargs["sensors"] == ["seed6", "rays:3"]
    assert config.env_kwargs["laps"] == 2
    assert config.inputs == 9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run__worker": 2}, r"\[run\].*'worker'.*Did you mean 'workers'"),
        ({"run__workers": 0}, r"\[run\] workers = 0 must be at least 1"),
        ({"run__workers": "two"}, r"workers = 'two' is not a whole number"),
        ({"run__strategy": "neet"}, r"'neet'.*neat, truncation.*Did you mean 'neat'"),
        ({"run__stop_when": "finished"}, r"Did you mean 'finish'"),
        ({"run__seed": -1}, r"seed = -1"),
        ({"run__pictures": "perhaps"}, r"pictures = 'perhaps' is neither yes nor no"),
        ({"run__generations": "1e3"}, r"generations = '1e3' is not a whole number"),
        ({"run__output": ""}, r"output is empty"),
        ({"run__vectorization": "nativ"}, r"vectorization.*Did you mean 'native'"),
        (
            {
                "run__vectorization": "native",
                "environment__id": "Pendulum-v1",
                "environment__sensors": None,
                "environment__action_type": None,
                "environment__frame_skip": None,
            },
            r"native cannot step Pendulum-v1",
        ),
        ({"environment__id": "MKDS-v9"}, r"MKDS-v9"),
        ({"environment__sensor": "seed6"}, r"'sensor'.*Did you mean 'sensors'"),
        ({"environment__sensors": "seed7"}, r"'seed7'.*Did you mean 'seed6'"),
        ({"environment__frame_skip": 0}, r"frame_skip=0"),
        ({"environment__rom": "/no/such.nds"}, r"/no/such\.nds"),
        ({"environment__course": "no_such_course"}, r"no_such_course"),
        ({"environment__obs_type": "pixels", "environment__sensors": None}, r"obs_type = sensors"),
        ({"environment__action_type": "discrete"}, r"action_type = threshold:2"),
        ({"environment__truncate_on": "stuck"}, r"truncate_on.*\[evaluation\]"),
        ({"environment__render_mode": "human"}, r"render_mode"),
        ({"evaluation__frames": 0}, r"frames = 0"),
        ({"evaluation__stuck": "never"}, r"stuck = 'never' is not a whole number or none"),
        ({"evaluation__scorer": "progres"}, r"'progres'.*Did you mean 'progress'"),
        ({"evaluation__scorer": "progress - "}, r"cannot be read"),
        ({"evaluation__scorer": "2 progress"}, r"cannot be read"),
        ({"evaluation__scorer": "no.such.module:f"}, r"cannot be imported"),
        ({"evaluation__scorer": "math:pi"}, r"not callable"),
        ({"DefaultGenome__num_inputs": 5}, r"num_inputs = 5.*sensors.*6 numbers.*num_inputs = 6"),
        ({"DefaultGenome__num_outputs": 3}, r"num_outputs = 3.*action_type"),
        ({"DefaultGenome__feed_forward": False}, r"feed_forward = True"),
        ({"DefaultGenome__activation_options": "tanh tanhh"}, r"tanhh"),
        ({"DefaultGenome__aggregation_options": "sum median"}, r"'median'"),
        ({"DefaultGenome__weight_mutate_pwer": 1}, r"Did you mean 'weight_mutate_power'"),
        ({"DefaultGenome__bias_max_value": None}, r"bias_max_value"),
        ({"DefaultGenome__num_hidden": "none"}, r"num_hidden"),
        ({"DefaultReproduction__elitsm": 1}, r"\[DefaultReproduction\].*Did you mean 'elitism'"),
        ({"DefaultStagnation__max_stagnatio": 1}, r"Did you mean 'max_stagnation'"),
        ({"DefaultSpeciesSet__threshold": 1}, r"compatibility_threshold"),
        ({"NEAT__popsize": 10}, r"Did you mean 'pop_size'"),
        ({"NEAT__pop_size": 1}, r"pop_size = 1"),
        ({"NEAT__seed": 1}, r"\[run\]"),
        ({"run__strategy": "truncation", "truncation__top_k": 61}, r"\[truncation\] top_k=61"),
        ({"run__strategy": "truncation", "truncation__top_k": 1.5}, r"top_k=1\.5"),
        ({"run__strategy": "truncation", "truncation__elite": 60}, r"elite = 60"),
        ({"run__strategy": "truncation", "truncation__sigma": 0}, r"sigma = 0"),
        ({"run__strategy": "truncation", "truncation__sigma": "nan"}, r"sigma = 'nan'"),
    ],
)
def test_mistakes_name_the_thing_and_the_remedy(changes, message):
    with pytest.raises(ConfigError, match=message):
        parse_config(config_text(**changes))
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"no section \[run\]"),
        ("[runn]\n", r"unknown section \[runn\].*'run'"),
        ("[run]\nseed = 1\nseed = 2\n", r"seed.*already exists"),
        ("no section\n", r"not a config file"),
        ("[run]\n[DEFAULT]\nx = 1\n", r"DEFAULT"),
        ("[run]\n[environment]\naction_type = threshold:2\n", r"\[NEAT\] is missing"),
    ],
)
def test_files_that_are_no_config(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_config(text)


def test_overrides_are_in_the_text_that_the_run_keeps():
    overrides = {"seed": "7", "log_interval": "3"}
    config = parse_config(config_text(run__log_interval=None), overrides=overrides)
    assert (config.run.seed, config.run.log_interval) == (7, 3)
    again = parse_config(config.text)
    assert again.run == config.run
    assert "# A number; or auto, the machine's cores" in again.text


@pytest.mark.parametrize("header", ["[run]  ; mine", "[run] # mine", "  [run]"])
def test_overrides_find_the_section_that_configparser_finds(header):
    text = config_text().replace("[run]\n", header + "\n")
    config = parse_config(text, overrides={"seed": "7", "checkpoint_every": "9"})
    assert (config.run.seed, config.run.checkpoint_every) == (7, 9)
    assert header in config.text
    assert parse_config(config.text).run == config.run


def test_overrides_replace_values_of_many_lines_and_leave_others_alone():
    text = config_text(environment__sensors='[\n  "seed6",\n  "rays:2"\n  ]')
    text = text.replace("seed = 1\n", "seed =\n    # a comment\n    1\n", 1)
    text = text.replace("num_inputs = 6", "num_inputs = 8")
    assert parse_config(text).run.seed == 1
    config = parse_config(text, overrides={"seed": "7"})
    assert config.run.seed == 7
    assert config.env_kwargs["sensors"] == ["seed6", "rays:2"]
    assert "    # a comment" in config.text


def test_the_example_is_kept_as_it_is(monkeypatch):
    monkeypatch.delenv("MKDS_ROM", raising=False)
    config = load_config(EXAMPLE)
    assert config.text == EXAMPLE.read_text(encoding="utf-8")
    assert config.env_kwargs.get("rom") is None


def test_paths_are_found_from_any_folder(tmp_path, monkeypatch):
    from mkds_gym.emulator.cartridge import BUNDLED_ROM

    monkeypatch.delenv("MKDS_ROM", raising=False)
    rom = tmp_path / "it's a rom.nds"
    shutil.copy(BUNDLED_ROM, rom)
    monkeypatch.chdir(tmp_path)
    config = parse_config(config_text(environment__rom=rom.name))
    assert config.env_kwargs["rom"] == str(rom)
    monkeypatch.chdir("/")
    again = parse_config(config.text)
    assert again.env_kwargs["rom"] == str(rom)
    assert again.text == config.text
    # The variable's cartridge is kept, too.
    monkeypatch.setenv("MKDS_ROM", str(rom))
    config = parse_config(config_text())
    monkeypatch.delenv("MKDS_ROM")
    assert parse_config(config.text).env_kwargs["rom"] == str(rom)
    assert parse_config("[run]\nstrategy = truncation\n" + TRUNCATION).cartridge is not None


TRUNCATION = "[environment]\naction_type = threshold:2\n"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("action_type", 5),
        ("action_type", "None"),
        ("sensors", 5),
        ("frame_skip", "[]"),
        ("course", 5),
        ("laps", "'three'"),
        ("metrics", 5),
        ("reward", 5),
        ("rom", 5),
        ("state", "{}"),
        ("terminate_on", 5),
    ],
)
def test_values_of_a_strange_type_name_their_key(key, value):
    with pytest.raises(ConfigError, match=rf"^\[environment\] {key} = ") as caught:
        parse_config(config_text(**{f"environment__{key}": value}))
    assert "environment creator" not in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("a", 3.0),
        ("-a", -3.0),
        ("a - 0.5 * b", 1.0),
        ("2*a+b - 1e1", 0.0),
        ("10 - .5*b + a", 11.0),
        ("a + a", 6.0),
    ],
)
def test_weighted_sums(expression, value):
    assert make_scorer(expression)({"a": 3.0, "b": 4.0}) == value


def test_a_scorer_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "my_scorer.py").write_text(
        "def cautious(metrics):\n    return -metrics['air_time']\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = parse_config(config_text(evaluation__scorer="my_scorer:cautious"))
    assert config.scorer({"air_time": 2.0}) == -2.0


def test_command_line_refuses_before_writing(tmp_path: Path, capsys):
    output = tmp_path / "run"
    assert main([str(EXAMPLE), "--workers", "0", "--output", str(output)]) == 2
    assert "workers = 0 must be at least 1" in capsys.readouterr().err
    assert main([str(tmp_path / "none.ini")]) == 2
    assert "examples/kartlab.ini" in capsys.readouterr().err
    assert main(["--resume", str(tmp_path)]) == 1
    assert "not the folder of a run" in capsys.readouterr().err
    assert main(["--resume", str(tmp_path), "--seed", "3"]) == 2
    assert "--seed cannot change" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main([str(EXAMPLE), "--output", str(tmp_path / "file" / "run")]) == 1
    assert "--output" in capsys.readouterr().err
    assert not output.exists()


def test_the_worker_side_needs_no_torch():
    code = "import sys, mkds_neat.workers, mkds_neat.run; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
