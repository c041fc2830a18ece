"""neat-python's own sections of a config file."""

from __future__ import annotations

import configparser
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import neat
from pydantic import TypeAdapter, ValidationError

from mkds_gym.utils.arguments import did_you_mean, shortened, shown
from mkds_gym.utils.imports import imported
from mkds_gym.utils.leftovers import temporary_folder
from mkds_neat.config.settings import check_keys
from mkds_neat.errors import ConfigError
from mkds_neat.networks import ACTIVATIONS, AGGREGATIONS
from mkds_neat.strategies.neat import check_reporter

Sections = Mapping[str, Mapping[str, str]]

NEAT_KEYS: Final[Mapping[str, Sequence[str]]] = {
    "NEAT": (
        "pop_size",
        "fitness_criterion",
        "fitness_threshold",
        "reset_on_extinction",
        "no_fitness_termination",
        "seed",
    ),
    "DefaultGenome": (
        "num_inputs",
        "num_outputs",
        "num_hidden",
        "feed_forward",
        "compatibility_disjoint_coefficient",
        "compatibility_weight_coefficient",
        "conn_add_prob",
        "conn_delete_prob",
        "node_add_prob",
        "node_delete_prob",
        "single_structural_mutation",
        "structural_mutation_surer",
        "initial_connection",
        *(p.name for p in neat.genes.DefaultNodeGene.get_config_params()),
        *(p.name for p in neat.genes.DefaultConnectionGene.get_config_params()),
    ),
    "DefaultSpeciesSet": ("compatibility_threshold",),
    "DefaultStagnation": ("species_fitness_func", "max_stagnation", "species_elitism"),
    "DefaultReproduction": ("elitism", "survival_threshold", "min_species_size"),
}
"""The keys of neat-python 2, by section. neat-python itself ignores unknown keys of a genome."""

NEAT_SECTIONS: Final = tuple(NEAT_KEYS)

INIT_TYPES: Final = ("gaussian", "normal", "uniform")
"""Distributions of initial weights and biases."""

_NEAT_KINDS: Final[Mapping[str, tuple[Any, str]]] = {
    "pop_size": (int, "an integer of at least 2"),
    "fitness_threshold": (float, "a number"),
    "reset_on_extinction": (bool, "True or False"),
    "no_fitness_termination": (bool, "True or False"),
}


_CRITERIA: Final = ("max", "min", "mean")
"""What neat-python compares with ``fitness_threshold``; it ignores other words in silence."""


_MOST: Final[Mapping[tuple[str, str], int]] = {
    ("DefaultGenome", "num_inputs"): 100_000,
    ("DefaultGenome", "num_outputs"): 10_000,
    ("DefaultGenome", "num_hidden"): 10_000,
    ("NEAT", "pop_size"): 1_000_000,
}
"""Limits of numbers for which neat-python makes as many objects at once."""


def make_neat_config(sections: Sections) -> Any:
    """Return a new ``neat.Config`` of neat-python's default types.

    Args:
        sections: Text of each value, by section and key. Only neat-python's sections count.

    Raises:
        ConfigError: neat-python refuses the sections, or the temporary file that it reads them
            from cannot be written.
    """
    for (section, key), most in _MOST.items():
        text = sections.get(section, {}).get(key, "")
        try:
            above = int(text) > most
        except ValueError:  # neat-python refuses it
            above = False
        if above:
            raise ConfigError(
                f"[{section}] {key} = {shown(text)} is out of range: expected at most {most:,}"
            )
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_dict({name: sections[name] for name in NEAT_SECTIONS if name in sections})
    try:
        with temporary_folder("config") as folder:
            path = folder / "neat.ini"
            with path.open("w") as file:
                parser.write(file)
            return neat.Config(
                neat.DefaultGenome,
                neat.DefaultReproduction,
                neat.DefaultSpeciesSet,
                neat.DefaultStagnation,
                str(path),
            )
    except OSError as error:
        raise ConfigError(
            "neat-python reads its sections from a temporary file, which cannot be written "
            f"({error.strerror or error}); set TMPDIR to a folder that can be written"
        ) from error
    except AssertionError as error:  # without a message
        name = sections["DefaultGenome"]["initial_connection"]
        raise ConfigError(
            f"[DefaultGenome] initial_connection = {name} is unknown: expected one of "
            + ", ".join(neat.genome.DefaultGenomeConfig.allowed_connectivity)
        ) from error
    except Exception as error:  # neat-python raises bare Exceptions
        raise ConfigError(_refusal(sections, error)) from error


def _refusal(sections: Sections, error: Exception) -> str:
    """Return what neat-python refuses. It does not name the keys of ``[NEAT]``."""
    for key, (kind, accepted) in _NEAT_KINDS.items():
        value = sections["NEAT"].get(key)
        try:
            if value is not None:
                TypeAdapter(kind).validate_python(value)
        except ValidationError:
            return f"[NEAT] {key} = {shown(value)}: expected {accepted}"
    return f"neat-python refuses its sections: {shortened(str(error))}"


def _try_population(sections: Sections, genome: Any) -> None:
    """Make a population of two: neat-python checks some values only then, and accepts NaN."""
    for key, text in sections["DefaultGenome"].items():
        value = getattr(genome, key, None)
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"[DefaultGenome] {key} = {shown(text)}: expected a finite number")
        if key.endswith("init_type") and text.lower() not in INIT_TYPES:
            raise ConfigError(
                f"[DefaultGenome] {key} = {shown(text)} is unknown: expected one of "
                + ", ".join(INIT_TYPES)
            )
    config = make_neat_config(sections)
    config.pop_size = 2
    state = random.getstate()
    try:
        neat.Population(config)
    except Exception as error:  # neat-python raises bare Exceptions
        raise ConfigError(_refusal(sections, error)) from error
    finally:
        random.setstate(state)


def make_reporters(names: Iterable[str]) -> list[Any]:
    """Return the reporters that ``[run] reporters`` names.

    Raises:
        ConfigError: A reporter cannot be imported or made, or lacks a method.
    """
    made = []
    for name in names:
        try:
            if name == "stdout":
                made.append(neat.StdOutReporter(True))
                continue
            found = imported("reporter", name)
            if not isinstance(found, type):
                raise TypeError(f"a {type(found).__name__}: expected stdout or module:Class")
            made.append(found())
            check_reporter(made[-1])
        except (Exception, SystemExit) as error:
            raise ConfigError(f"[run] reporters = {shown(name)} cannot be used: {error}") from error
    return made


def check_neat(sections: Sections, inputs: int, outputs: int, labels: Sequence[str]) -> int:
    """Check neat-python's sections against the environment.

    Args:
        sections: Text of each value, by section and key.
        inputs: Components of an observation.
        outputs: Components of an action.
        labels: Names of the components of an observation, for messages.

    Returns:
        The number of individuals in a generation.

    Raises:
        ConfigError: A section is missing, or a value is refused.
    """
    for section in NEAT_SECTIONS:
        if section not in sections:
            raise ConfigError(
                f"section [{section}] is missing: strategy = neat needs neat-python's sections "
                f"{', '.join(NEAT_SECTIONS)} (examples/first_finish.ini has all of them)"
            )
        check_keys(section, sections[section], NEAT_KEYS[section])
    if "seed" in sections["NEAT"]:
        raise ConfigError("[NEAT] seed is not used: set seed in [run], which seeds everything")
    config = make_neat_config(sections)
    genome = config.genome_config
    if genome.num_inputs != inputs:
        names = f" ({', '.join(labels)})" if labels else ""
        raise ConfigError(
            f"[DefaultGenome] num_inputs = {genome.num_inputs}, but the sensors in [environment] "
            f"give {inputs} numbers{names}; write num_inputs = {inputs} or choose other sensors"
        )
    if genome.num_outputs != outputs:
        raise ConfigError(
            f"[DefaultGenome] num_outputs = {genome.num_outputs}, but action_type in "
            f"[environment] takes {outputs} numbers; write num_outputs = {outputs} or another "
            "action_type"
        )
    if config.pop_size < 2:
        raise ConfigError(
            f"[NEAT] pop_size = {config.pop_size} is out of range: expected at least 2"
        )
    for key in ("elitism", "min_species_size"):
        least = getattr(config.reproduction_config, key)
        if least > config.pop_size:
            raise ConfigError(
                f"[DefaultReproduction] {key} = {least} is out of range: expected at most "
                f"{config.pop_size}, pop_size in [NEAT]"
            )
    if config.fitness_criterion not in _CRITERIA:
        raise ConfigError(
            f"[NEAT] fitness_criterion = {shown(config.fitness_criterion)}: expected one of "
            + ", ".join(_CRITERIA)
        )
    for kind, known in (
        ("activation", [name for name in ACTIVATIONS if name != "unit_tanh"]),
        ("aggregation", AGGREGATIONS),
    ):
        options, default = getattr(genome, f"{kind}_options"), getattr(genome, f"{kind}_default")
        for name in (*options, default):
            if name not in (*known, "random", "none"):
                raise ConfigError(
                    f"[DefaultGenome] {kind}_options/{kind}_default names {shown(name)}"
                    f"{did_you_mean(name, known)}; expected some of {', '.join(known)}"
                )
    _try_population(sections, genome)
    population: int = config.pop_size
    return population
