"""The config file: every mistake is one clear error before anything starts or is written."""

from __future__ import annotations

import configparser
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from neat_config import EXAMPLE, config_text

from mkds_gym.emulator.cartridge import BUNDLED_ROM
from mkds_gym.vector.threads import usable_cores
from mkds_neat.config import Settings, default_workers, load_config, parse_config
from mkds_neat.config.neat_sections import NEAT_KEYS, make_neat_config
from mkds_neat.errors import ConfigError
from mkds_neat.run import main
from mkds_neat.scorers import make_scorer
from mkds_neat.strategies import RandomSearch

PROGRAMS = Path(__file__).parent / "programs"


def test_example_is_accepted(monkeypatch):
    monkeypatch.delenv("MKDS_ROM", raising=False)
    config = load_config(EXAMPLE)
    assert config.run.strategy == config.make_strategy().name == "neat"
    assert config.run.stop_when == "finish"
    assert config.run.workers == usable_cores() >= default_workers() >= 1
    assert (config.environment.inputs, config.environment.outputs, config.population) == (6, 2, 50)
    assert len(config.environment.labels) == 6
    assert config.environment.frame_skip == 4
    assert config.env_kwargs["info_every_step"] is False
    assert config.env_kwargs["truncate_on"] == ["clock:7200", "stuck:150", "wrong_way:60"]
    assert "rom" not in config.env_kwargs


def test_missing_keys_have_defaults():
    config = parse_config(
        "[run]\nstrategy = truncation\n[environment]\naction_type = threshold:3\n"
    )
    assert (config.environment.inputs, config.environment.outputs, config.population) == (6, 3, 60)
    assert len(config.make_strategy().ask()) == 60
    assert config.settings.evaluation.stuck == 240
    assert config.run.workers == default_workers()
    assert parse_config(config_text(run__workers="auto")).run.workers == default_workers()


def test_environment_values_are_literals_or_text():
    text = config_text(
        environment__sensors='[\n  "seed6",\n  "rays:3"\n  ]',
        environment__laps=2,
        evaluation__stuck="None",
        DefaultGenome__num_inputs=9,
    )
    config = parse_config(text)
    assert config.env_kwargs["sensors"] == ["seed6", "rays:3"]
    assert config.env_kwargs["laps"] == 2
    assert config.env_kwargs["truncate_on"] == ["clock:7200", "wrong_way:60"]
    assert config.environment.inputs == 9
    assert parse_config(config.text).env_kwargs == config.env_kwargs


PENDULUM = {
    "environment__id": "Pendulum-v1",
    "environment__sensors": None,
    "environment__action_type": None,
    "environment__frame_skip": None,
    "evaluation__scorer": "rewards",
}
TRUNCATION = {"run__strategy": "truncation"}
PARAMETERS = {"run__strategy": "random_search"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run__worker": 2}, r"\[run\].*'worker'.*did you mean 'workers'"),
        ({"run__workers": 0}, r"\[run\] workers = '0': .*an integer from 1 to 256.*cores"),
        ({"run__workers": 100_000}, r"\[run\] workers = '100000': .*from 1 to 256"),
        ({"run__workers": "two"}, r"\[run\] workers = 'two': .*valid integer"),
        *(
            (
                {"run__drivers_per_console": value},
                rf"drivers_per_console = '{value}': .*from 1 to 8",
            )
            for value in ("0", "9", "2.5", "all")
        ),
        (
            {"run__drivers_per_console": 2, **PENDULUM, **TRUNCATION},
            r"drivers_per_console = 2 is not.*MKDS-v0",
        ),
        ({"run__strategy": "neet"}, r"'neet': unknown.*did you mean 'neat'.*cma_me"),
        ({"run__strategy": "ppo"}, r"'ppo': a competitor of mkds_neat\.compare only"),
        ({"run__strategy": "climber.Climber"}, r"unknown.*did you mean 'climber:Climber'"),
        ({"run__stop_when": "finished"}, r"did you mean 'finish'"),
        ({"run__seed": -1}, r"\[run\] seed = '-1'.*at least 0"),
        ({"run__pictures": "perhaps"}, r"pictures = 'perhaps'.*yes or no"),
        ({"run__generations": "1e3"}, r"generations = '1e3': .*valid integer"),
        ({"run__log_interval": 0}, r"log_interval = '0'"),
        ({"run__checkpoint_every": 0}, r"checkpoint_every = '0'"),
        ({"run__output": ""}, r"output = ''.*folder to write to"),
        ({"run__start_method": "thread"}, r"start_method = 'thread'.*'forkserver', 'fork'"),
        ({"run__vectorization": "nativ"}, r"vectorization.*did you mean 'native'"),
        ({"run__vectorization": "native", **PENDULUM}, r"native cannot step Pendulum-v1"),
        (
            {"run__engine": "ray", "run__viewer": "all"},
            r"viewer = 'all' .* = ray: write none",
        ),
        ({"run__engine": "ray", "run__vectorization": "native"}, r"engine = ray: write async"),
        ({"run__viewer": "all", **PENDULUM}, r"cannot show Pendulum-v1"),
        ({"run__viewer": "0,60"}, r"viewer = '0,60', of 50 individuals in a generation: 60 is out"),
        ({"run__viewer": "some"}, r"\[run\] viewer = 'some', of 50 .*: .*none, first, all"),
        ({"run__viewer": "0,50", **TRUNCATION}, r"viewer = .*, of 50 .*50 is out of range"),
        (
            {"run__viewer": "all", "run__workers": 200, "run__drivers_per_console": 2},
            "at most 256 can be shown",
        ),
        ({"environment__id": "MKDS-v9"}, r"\[environment\] id = 'MKDS-v9'"),
        ({"environment__sensor": "seed6"}, r"'sensor'.*did you mean 'sensors'"),
        ({"environment__sensors": "seed7"}, r"'seed7'.*did you mean 'seed6'"),
        ({"environment__frame_skip": 0}, r"\[environment\] frame_skip = 0 is out of range: "),
        ({"environment__rom": "/no/such.nds"}, r"/no/such\.nds"),
        ({"environment__course_set": "trian"}, r"'trian' is unknown \(did you mean 'train'\?\)"),
        ({"environment__course": "no_such_course"}, r"no_such_course"),
        ({"environment__obs_type": "pixels", "environment__sensors": None}, r"obs_type = sensors"),
        ({"environment__action_type": "discrete"}, r"action_type = threshold:2"),
        ({"environment__truncate_on": "stuck"}, r"truncate_on.*\[evaluation\]"),
        ({"environment__render_mode": "human"}, r"render_mode cannot be set"),
        ({"environment__info_every_step": True}, r"info_every_step cannot be set"),
        *(
            ({f"environment__{key}": value}, rf"^config: \[environment\] {key} = ")
            for key, value in (
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
            )
        ),
        ({"evaluation__frames": 0}, r"\[evaluation\] frames = '0'"),
        ({"evaluation__stuck": "never"}, r"stuck = 'never': .*integer.*or none"),
        ({"evaluation__wrong_way": 0}, r"wrong_way = '0'"),
        ({"evaluation__retries": -1}, r"retries = '-1'"),
        ({"evaluation__scorer": ""}, r"scorer is empty"),
        ({"evaluation__scorer": "progres"}, r"'progres'.*did you mean 'progress'"),
        (
            {"evaluation__scorer": "racing"},
            r"'racing' needs the metric 'place', .* metrics = \['distance', .*, 'place'\] in",
        ),
        (
            {"evaluation__scorer": "racing", "environment__metrics": "progress"},
            r"'racing' needs the metric 'offroad_path', .* metrics = \['progress', 'offroad_p",
        ),
        ({"evaluation__scorer": "drivng"}, r"'drivng'.*did you mean 'driving'"),
        *(
            ({"evaluation__scorer": expression}, r"cannot be read.*expected a weighted sum")
            for expression in (
                "progress - ",
                "2 progress",
                "progress laps",
                "2 * progress 10",
                "progress, laps",
                "progress * distance",
                "progress / 2",
            )
        ),
        ({"evaluation__scorer": "no.such.module:f"}, r"cannot be imported"),
        ({"evaluation__scorer": "math:pi"}, r"not a Python function of one argument"),
        ({"evaluation__scorer": "json:dumps"}, r"fails on the metrics of an empty episode"),
        ({"evaluation__scorer": "rewards"}, r"MKDS-v0 has metrics; expected one of distance"),
        (
            {**PENDULUM, **TRUNCATION, "evaluation__scorer": "distance"},
            r"'distance' is for karts, and Pendulum-v1 has none: write rewards",
        ),
        *(
            (
                {**PENDULUM, **TRUNCATION, f"evaluation__{key}": 1},
                rf"\[evaluation\] {key} needs MKDS-v0, not Pendulum-v1",
            )
            for key in ("courses", "starts", "rung_frames")
        ),
        ({"evaluation__scorer": "1e999"}, r"gives inf.*finite"),
        ({"DefaultGenome__num_inputs": 5}, r"num_inputs = 5.*sensors.*6 numbers.*num_inputs = 6"),
        ({"DefaultGenome__num_outputs": 3}, r"num_outputs = 3.*action_type"),
        ({"NEAT__fitness_criterion": "median"}, r"fitness_criterion = 'median'.*max, min, mean"),
        ({"DefaultGenome__activation_options": "tanh tanhh"}, r"'tanhh'.*did you mean 'tanh'"),
        ({"DefaultGenome__aggregation_options": "sum mode"}, r"'mode'"),
        ({"DefaultGenome__initial_connection": "all"}, r"initial_connection = all.*full_direct"),
        ({"DefaultGenome__weight_mutate_pwer": 1}, r"did you mean 'weight_mutate_power'"),
        ({"DefaultGenome__bias_max_value": None}, r"bias_max_value"),
        ({"DefaultGenome__num_hidden": "none"}, r"num_hidden"),
        *(
            (
                {f"DefaultReproduction__{key}": 51},
                rf"\[DefaultReproduction\] {key} = 51 .*at most 50",
            )
            for key in ("elitism", "min_species_size")
        ),
        ({"DefaultReproduction__elitsm": 1}, r"\[DefaultReproduction\].*did you mean 'elitism'"),
        ({"DefaultStagnation__max_stagnatio": 1}, r"did you mean 'max_stagnation'"),
        ({"DefaultSpeciesSet__threshold": 1}, r"compatibility_threshold"),
        ({"NEAT__popsize": 10}, r"did you mean 'pop_size'"),
        ({"NEAT__pop_size": 1}, r"pop_size = 1"),
        ({"NEAT__pop_size": 10**7}, r"pop_size = .*at most 1,000,000"),
        ({"DefaultGenome__num_inputs": 10**20}, r"num_inputs = .*at most 100,000"),
        ({"DefaultGenome__num_outputs": "+1_000_000_000"}, r"num_outputs = .*at most 10,000"),
        ({"DefaultGenome__num_hidden": 10**9}, r"num_hidden = .*at most 10,000"),
        ({"NEAT__pop_size": "many"}, r"\[NEAT\] pop_size = 'many': expected an integer"),
        ({"NEAT__no_fitness_termination": "x"}, r"no_fitness_termination = 'x': expected True"),
        ({"NEAT__seed": 1}, r"\[run\]"),
        ({"truncation__population": 1}, r"\[truncation\] population = 1 .*at least 2"),
        ({"truncation__top_k": 61}, r"\[truncation\] top_k = 61 .*integer from 1 to 50"),
        ({"truncation__top_k": 1.5}, r"\[truncation\] top_k = 1\.5 "),
        ({"truncation__top_k": "few"}, r"top_k = 'few'"),
        ({"truncation__elite": 50}, r"\[truncation\] elite = 50.*0 to 49"),
        ({"truncation__sigma": 0}, r"\[truncation\] sigma = 0\.0 "),
        ({"truncation__sigma": "nan"}, r"\[truncation\] sigma = nan "),
        ({**PARAMETERS, "mlp__hidden": "16,0"}, r"\[mlp\] hidden = '0': .*greater than or equal"),
        ({**PARAMETERS, "mlp__hidden": "16;16"}, r"\[mlp\] hidden = '16;16'"),
        ({**PARAMETERS, "mlp__hidden": "9000,9000"}, r"\[mlp\] .*at most 100,000"),
        ({"mlp__activation": "tan"}, r"\[mlp\] activation = 'tan'.*did you mean 'tanh'"),
        ({"cma_es__sigma": 0}, r"\[cma_es\] sigma = '0'.*greater than 0"),
        ({"cma_es__sigma": "nan"}, r"\[cma_es\] sigma = 'nan'"),
        ({"cma_es__population": 1}, r"\[cma_es\] population = '1'"),
        ({"cma_es__sigma0": 1}, r"\[cma_es\].*'sigma0'.*did you mean 'sigma'"),
        ({"openai_es__population": 7}, r"\[openai_es\] population = 7 is odd"),
        ({"openai_es__learning_rate": -1}, r"\[openai_es\] learning_rate = '-1'"),
        ({"cma_me__emitters": 7}, r"\[cma_me\] population = 60 with emitters = 7"),
        ({"map_elites__cells": "3"}, r"\[map_elites\] .*2 behaviours, 2 ranges, 1 cells"),
        ({"map_elites__cells": "9000, 2"}, r"\[map_elites\] cells = '9000'"),
        ({"map_elites__ranges": "0..1, 0-1"}, r"\[map_elites\] ranges = .*'0-1' is not a range"),
        ({"map_elites__ranges": "0..1, 1..1"}, r"\[map_elites\] .*wall_hits goes from 1\.0 to 1"),
        (
            {"run__strategy": "cma_me", "cma_me__behaviours": "wall_hit, speed"},
            r"\[cma_me\] behaviours .*'wall_hit' \(did you mean 'wall_hits'",
        ),
        (
            {"run__strategy": "map_elites", "map_elites__behaviours": "lap_times, speed"},
            r"\[map_elites\] behaviours .*'lap_times'.* best_lap,(?!.*lap_times)",
        ),
        ("", r"no section \[run\].*first_finish\.ini"),
        ("[runn]\n", r"unknown section \[runn\].*'run'"),
        ("[run]\nseed = 1\nseed = 2\n", r"seed.*already exists"),
        ("no section\n", r"not a config file"),
        ("[run]\n[DEFAULT]\nx = 1\n", r"DEFAULT"),
        ("[run]\n[environment]\naction_type = threshold:2\n", r"\[NEAT\] is missing"),
    ],
)
def test_mistake_is_refused_with_its_place_and_remedy(changes, message):
    text = changes if isinstance(changes, str) else config_text(**changes)
    with pytest.raises(ConfigError, match=message) as caught:
        parse_config(text)
    assert str(caught.value).startswith("config: ")
    assert "environment creator" not in str(caught.value)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"workers": "0"}, r"^--workers 0: .*from 1 to 256"),
        ({"drivers_per_console": "9"}, r"^--drivers-per-console 9: .*from 1 to 8"),
        ({"viewer": "some"}, r"^--show some, of 50 individuals .*none, first, all"),
        ({"output": "r\udcff"}, r"^--output .*expected a path in UTF-8"),
        ({"stop_when": "finished"}, r"^--stop-when finished: .*did you mean 'finish'"),
    ],
)
def test_mistake_in_an_option_names_the_option(overrides, message):
    with pytest.raises(ConfigError, match=message):
        parse_config(config_text(), overrides=overrides)


def test_all_mistakes_of_a_file_are_in_one_error():
    with pytest.raises(ConfigError, match=r"seed = '-1'.*frames = '0'"):
        parse_config(config_text(run__seed=-1, evaluation__frames=0))


def test_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "c.ini").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"c\.ini' is not UTF-8 text"):
        load_config(tmp_path / "c.ini")
    with pytest.raises(ConfigError, match=r"binary file: examples/first_finish\.ini is a complete"):
        load_config(BUNDLED_ROM)
    (tmp_path / "long.ini").write_text(config_text() + f"# {'x' * 5_000}\n")
    with pytest.raises(ConfigError, match=r"long\.ini: the text, line \d+, has 5,002 characters"):
        load_config(tmp_path / "long.ini")
    with (tmp_path / "large.ini").open("wb") as file:
        file.truncate(1 << 40)
    os.mkfifo(tmp_path / "pipe.ini")
    for name, message in (("large.ini", "limit is"), ("pipe.ini", "is a pipe"), (".", "directory")):
        with pytest.raises(ConfigError, match=rf"{message}.*examples/first_finish\.ini"):
            load_config(tmp_path / name)
    (tmp_path / "config.ini").touch()
    with pytest.raises(ConfigError, match=f"directory: continue .* with --resume {tmp_path}$"):
        load_config(tmp_path)


def test_resolved_text_is_complete_and_reads_back():
    text = config_text(run__log_interval=None, run__start_method=None)
    text = text.replace("seed = 1\n", "seed =\n    # a comment\n    1\n", 1)
    assert parse_config(text).run.seed == 1
    config = parse_config(text, overrides={"seed": "7", "log_interval": "3"})
    assert (config.run.seed, config.run.log_interval) == (7, 3)
    parser = configparser.ConfigParser()
    parser.read_string(config.text)
    for section in ("run", "environment", "evaluation", "truncation"):
        assert set(Settings.model_fields[section].annotation.model_fields) <= set(parser[section])
    assert not {"ray", "ppo", "mlp", "strategy", "cma_es"} & {*parser.sections()}
    values = {key: parser["run"][key] for key in ("frames", "pictures", "tensorboard")}
    assert values == {"frames": "none", "pictures": "yes", "tensorboard": "no"}
    assert parser["run"]["workers"] == "cores"  # of the machine on which the run is resumed
    again = parse_config(config.text)
    assert again.settings == config.settings
    assert again.text == config.text


def test_sections_in_use_are_written_out():
    text = config_text(run__strategy="random_search", run__engine="ray", run__viewer="none")
    assert "[mlp]\nhidden = 16\n" in parse_config(text).text
    assert "[ray]\naddress = auto\n" in parse_config(text).text
    assert parse_config(text).settings.ray.py_modules == ()
    several = config_text(ray__py_modules="../a, b/c,")
    assert parse_config(several).settings.ray.py_modules == ("../a", "b/c")


GENERATION = {"evaluation__seeds": "generation", "environment__course_set": "train"}
UNUSED = r"sections without effect in this run \(strategy = .*, engine = .*\): "
NEATS = r"\[NEAT\], \[DefaultGenome\], .*, \[DefaultReproduction\]"


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        ({"run__strategy": "neat"}, [rf"{UNUSED}\[truncation\]$"]),
        (TRUNCATION, [rf"{UNUSED}{NEATS}$"]),
        ({**PARAMETERS, "ray__actors": 2}, [rf"{UNUSED}\[truncation\], {NEATS}, \[ray\]$"]),
        ({**TRUNCATION, "ray__actors": 2, "run__engine": "ray"}, [rf"{UNUSED}{NEATS}$"]),
        (GENERATION, [UNUSED, r"^\[DefaultReproduction\] elitism = 2 keeps .*: write reevaluate"]),
        ({**GENERATION, **TRUNCATION}, [UNUSED, r"^\[truncation\] elite = 1 keeps"]),
        ({**GENERATION, **TRUNCATION, "truncation__elite": 0}, [UNUSED]),
        ({**GENERATION, **PARAMETERS}, [UNUSED]),
        ({**GENERATION, "evaluation__seeds": "run"}, [UNUSED]),
        ({**GENERATION, "evaluation__reevaluate": "replace"}, [UNUSED]),
        ({**GENERATION, "environment__course_set": None}, [UNUSED]),  # nothing is drawn
    ],
)
def test_settings_that_surprise_are_noted(changes, messages):
    notes = parse_config(config_text(**changes)).notes
    assert len(notes) == len(messages)
    for note, message in zip(notes, messages, strict=True):
        assert re.search(message, note)


def test_check_of_a_built_in_strategy_draws_no_generation(monkeypatch):
    monkeypatch.setattr(RandomSearch, "ask", None)  # the first `ask` of CMA-ES takes seconds
    text = config_text(**PARAMETERS, random_search__population=7)
    assert parse_config(text).population == 7


@pytest.mark.parametrize("key", ["elitism", "min_species_size"])
def test_whole_population_may_be_kept(key):
    config = parse_config(config_text(**{f"DefaultReproduction__{key}": 50}))
    assert config.sections["DefaultReproduction"][key] == config.sections["NEAT"]["pop_size"]


@pytest.mark.slow
def test_behaviours_of_an_archive_are_measured():
    text = config_text(run__strategy="cma_me", cma_me__behaviours="offroad_share, mini_turbos")
    metrics = parse_config(text).env_kwargs["metrics"]
    assert metrics[-2:] == ["offroad_share", "mini_turbos"]
    assert "wall_hits" in metrics
    assert "metrics" not in parse_config(config_text(run__strategy="cma_me")).env_kwargs
    few = {"environment__metrics": "progress", "evaluation__scorer": "progress"}
    text = config_text(run__strategy="map_elites", map_elites__behaviours="wall_hits, speed", **few)
    assert parse_config(text).env_kwargs["metrics"] == ["progress", "wall_hits", "speed"]
    text = config_text(run__strategy="map_elites", map_elites__behaviours="best_lap, speed")
    assert "metrics" not in parse_config(text).env_kwargs


def test_known_keys_are_those_of_neat_python(tmp_path):
    config = make_neat_config(load_config(EXAMPLE).sections)
    config.save(tmp_path / "saved.ini")
    parser = configparser.ConfigParser()
    parser.read(tmp_path / "saved.ini")
    assert {name: set(parser[name]) for name in parser.sections()} == {
        name: set(keys) for name, keys in NEAT_KEYS.items()
    }


def test_paths_are_found_from_any_folder(tmp_path, monkeypatch):
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
    # The cartridge that the variable names is kept, too.
    monkeypatch.setenv("MKDS_ROM", str(rom))
    config = parse_config(config_text())
    monkeypatch.delenv("MKDS_ROM")
    assert parse_config(config.text).env_kwargs["rom"] == str(rom)


@pytest.mark.parametrize(
    ("show", "workers", "drivers", "shown"),
    [
        ("first", 2, 1, (0,)),
        ("5, 3", 2, 8, (3, 5)),
        ("ALL", 3, 1, (0, 1, 2)),
        ("all", 2, 2, (0, 1, 2, 3)),
    ],
)
def test_viewer_names_races_at_a_time_or_places(show, workers, drivers, shown):
    changes = {"run__workers": workers, "run__drivers_per_console": drivers}
    assert parse_config(config_text(run__viewer=show, **changes)).shown == shown


@pytest.mark.parametrize(
    ("drivers", "workers", "changes", "lanes"),
    [
        ("auto", 2, {}, 8),
        ("AUTO", 2, {}, 8),
        ("auto", 16, {}, 4),  # of 50 individuals, so that all workers drive
        ("auto", 64, {}, 1),
        ("3", 64, {}, 3),
        ("auto", 2, {"environment__mode": "vs"}, 1),
    ],
)
def test_drivers_per_console_are_as_many_as_is_safe(drivers, workers, changes, lanes):
    runs = {"run__drivers_per_console": drivers, "run__workers": workers}
    assert parse_config(config_text(**runs, **changes)).lanes == lanes


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("a", 3.0),
        ("-a", -3.0),
        ("a - 0.5 * b", 1.0),
        ("2*a+b - 1e1", 0.0),
        ("10 - .5*b + a", 11.0),
        ("a + a", 6.0),
        ("10 - (a - 2 * b)", 15.0),
    ],
)
def test_weighted_sum_is_evaluated(expression, value):
    assert make_scorer(expression)({"a": 3.0, "b": 4.0}) == value


def test_custom_scorer_is_imported(tmp_path, monkeypatch):
    (tmp_path / "my_scorer.py").write_text(
        "def cautious(metrics):\n    return -metrics['air_time']\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = parse_config(config_text(evaluation__scorer="my_scorer:cautious"))
    assert config.scorer({"air_time": 2.0}) == -2.0


def test_command_line_refuses_before_writing(tmp_path: Path, capsys):
    output = tmp_path / "run"
    (tmp_path / "file").write_text("")
    for arguments, status, message in (
        ([str(EXAMPLE), "--workers", "0", "--output", str(output)], 2, "--workers 0: "),
        ([str(tmp_path / "none.ini")], 2, "examples/first_finish.ini"),
        (["--resume", str(tmp_path)], 2, "not the folder of a run"),
        (["--resume", str(tmp_path / "file")], 2, "not the folder of a run"),
        (["--resume", str(tmp_path / "none")], 2, "not the folder of a run"),
        (["--resume", str(tmp_path), "--seed", "3"], 2, "--seed cannot change"),
        ([str(EXAMPLE), "--output", str(tmp_path / "file" / "run")], 1, "--output"),
    ):
        assert main(arguments) == status
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert not output.exists()


def test_modules_of_an_evolution_do_not_import_torch():
    program = [sys.executable, str(PROGRAMS / "import_worker_modules.py")]
    assert subprocess.run(program, check=False).returncode == 0
