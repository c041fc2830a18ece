"""Reading a config file, and checking it against the environment before anything starts."""

from __future__ import annotations

import configparser
import io
import math
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mkds_gym.components.metrics import DEFAULT_METRICS, collect_all, make_metrics
from mkds_gym.components.scorers import SCORERS
from mkds_gym.kartlab.boot import MAX_DRIVERS
from mkds_gym.viewer import MAX_TILES, SHOW_WORDS, parse_show
from mkds_neat.config.environment import (
    EnvironmentInfo,
    absolute_paths,
    environment_kwargs,
    inspect_environment,
    is_mkds,
)
from mkds_neat.config.neat_sections import NEAT_SECTIONS, check_neat, make_neat_config
from mkds_neat.config.settings import (
    OUR_SECTIONS,
    RunSettings,
    Settings,
    complete,
    read_settings,
    setting,
    suggest,
)
from mkds_neat.errors import ConfigError
from mkds_neat.scorers import Scorer, make_scorer
from mkds_neat.strategies import NeatStrategy, Strategy, TruncationStrategy

_START_FROM = "examples/kartlab.ini is a complete config file"


@dataclass(frozen=True)
class Config:
    """A complete config that has passed all checks.

    Attributes:
        settings: The sections that belong to mkds_neat.
        sections: Text of every value, by section and key: overrides applied, defaults written
            out, and the paths of ``rom`` and ``state`` absolute.
        env_kwargs: All arguments of ``gym.make``, including those that ``[evaluation]`` implies.
        environment: Facts about the environment.
        scorer: The fitness.
        population: Individuals in a generation.
        lanes: Episodes that a worker drives at the same time.
        shown: Lanes of the workers that ``[run] viewer`` shows, or places in a generation.
    """

    settings: Settings
    sections: Mapping[str, Mapping[str, str]]
    env_kwargs: dict[str, Any]
    environment: EnvironmentInfo
    scorer: Scorer
    population: int
    lanes: int
    shown: tuple[int, ...]

    @property
    def run(self) -> RunSettings:
        """Section ``[run]``."""
        return self.settings.run

    @property
    def env_id(self) -> str:
        """The environment."""
        return self.settings.environment.id

    @property
    def text(self) -> str:
        """All sections as a config file."""
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_dict(self.sections)
        file = io.StringIO()
        parser.write(file)
        return file.getvalue()

    def make_strategy(self) -> Strategy:
        """Return the strategy at its first generation."""
        if self.run.strategy == "truncation":
            inputs, outputs = self.environment.inputs, self.environment.outputs
            arguments = self.settings.truncation.model_dump()
            return TruncationStrategy(inputs, outputs, **arguments, seed=self.run.seed)
        return NeatStrategy(make_neat_config(self.sections), seed=self.run.seed)


def load_config(
    path: str | os.PathLike[str],
    overrides: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """Read and check a config file.

    Args:
        path: The file.
        overrides: Values of ``[run]``, by key, that replace those of the file.
        environment: The same for ``[environment]``.

    Raises:
        ConfigError: The file or a value is refused. Nothing has been started or written.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"config file {str(path)!r} cannot be read ({error.strerror}); {_START_FROM}"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"config file {str(path)!r} is not UTF-8 text: {error}") from error
    return parse_config(text, str(path), overrides, environment)


def parse_config(
    text: str,
    name: str = "config",
    overrides: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """Check the text of a config file.

    Args:
        text: The text.
        name: Name of the file, for errors.
        overrides: Values of ``[run]``, by key, that replace those of the text.
        environment: The same for ``[environment]``.

    Raises:
        ConfigError: The text or a value is refused. Nothing has been started or written.
    """
    try:
        sections = _read_sections(text, name)
        sections["run"].update(overrides or {})
        if environment:
            sections.setdefault("environment", {}).update(environment)
        return _check(sections, overrides or {})
    except ConfigError as error:
        # The file is not to blame for an option.
        raise ConfigError(f"{'' if str(error).startswith('--') else f'{name}: '}{error}") from error


def _read_sections(text: str, name: str) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text, source=name)
    except configparser.Error as error:
        raise ConfigError(f"not a config file: {error}") from error
    if parser.defaults():
        raise ConfigError("a [DEFAULT] section is not used here; move its keys")
    known = (*OUR_SECTIONS, *NEAT_SECTIONS)
    for section in parser.sections():
        if section not in known:
            raise ConfigError(
                f"unknown section [{section}]{suggest(section, known)}; "
                f"expected some of {', '.join(known)}"
            )
    if not parser.has_section("run"):
        raise ConfigError(f"no section [run]; {_START_FROM}")
    return {section: dict(parser.items(section)) for section in parser.sections()}


def _check(sections: dict[str, dict[str, str]], overridden: Collection[str]) -> Config:
    settings = read_settings(sections, overridden)
    run = settings.run
    env_id = settings.environment.id
    env_kwargs = environment_kwargs(settings.environment, settings.evaluation)
    if not is_mkds(env_id):
        if run.vectorization == "native":
            raise ConfigError(
                f"[run] vectorization = native cannot step {env_id}, only MKDS-v0; use async"
            )
        if run.viewer != "none":
            where = setting("run", "viewer", run.viewer, overridden)
            raise ConfigError(f"{where} cannot show {env_id}, only MKDS-v0")
    scorer = make_scorer(settings.evaluation.scorer)
    info = inspect_environment(env_id, env_kwargs)
    sections = complete(sections)
    if info.cartridge is not None:
        paths = absolute_paths(env_kwargs, info.cartridge)
        env_kwargs.update(paths)
        sections["environment"].update({key: repr(path) for key, path in paths.items()})
    _try_scorer(scorer, settings.evaluation.scorer, env_kwargs.get("metrics"))
    if run.strategy == "neat":
        population = check_neat(sections, info.inputs, info.outputs, info.labels)
    else:
        population = settings.truncation.population
    lanes = _lanes(run, info, population, overridden)
    shown = _shown(run, lanes * run.workers, population, overridden)
    return Config(settings, sections, env_kwargs, info, scorer, population, lanes, shown)


def _lanes(
    run: RunSettings, info: EnvironmentInfo, population: int, overridden: Collection[str]
) -> int:
    """Return the number of drivers in each console."""
    number = run.drivers_per_console
    if number is None:  # with few individuals, all workers drive some
        return 1 if info.unshareable else min(MAX_DRIVERS, math.ceil(population / run.workers))
    if number > 1 and info.unshareable:
        where = setting("run", "drivers_per_console", number, overridden)
        raise ConfigError(f"{where} is not possible: {info.unshareable}; write 1 or auto")
    return number


def _shown(
    run: RunSettings, lanes: int, population: int, overridden: Collection[str]
) -> tuple[int, ...]:
    """Return the lanes, or the places in a generation, that ``[run] viewer`` names."""
    count, kind = (
        (lanes, "races at a time")
        if run.viewer in SHOW_WORDS
        else (population, "individuals in a generation")
    )
    try:
        shown = parse_show(run.viewer, count)
    except ValueError as error:
        text = str(error).split(": ", 1)[1]  # without the name of parse_show's argument
        where = setting("run", "viewer", run.viewer, overridden)
        raise ConfigError(f"{where}, of {count} {kind}: {text}") from error
    if len(shown) > MAX_TILES:
        where = setting("run", "viewer", run.viewer, overridden)
        raise ConfigError(f"{where}: at most {MAX_TILES} can be shown, not {len(shown)}")
    return shown


def _try_scorer(scorer: Scorer, expression: str, metrics: Any) -> None:
    """Score an episode without a step, to find misspelt metrics."""
    collected = collect_all(make_metrics(DEFAULT_METRICS if metrics is None else metrics))
    try:
        value = float(scorer(collected))
    except KeyError as error:
        name = str(error.args[0]) if error.args else ""
        raise ConfigError(
            f"[evaluation] scorer = {expression!r} needs the metric {name!r}"
            f"{suggest(name, (*collected, *SCORERS))}; metrics: {', '.join(collected)}; "
            f"scorers: {', '.join(SCORERS)}"
        ) from error
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ConfigError(
            f"[evaluation] scorer = {expression!r} fails on the metrics of an empty episode: "
            f"{error!r}"
        ) from error
    if not math.isfinite(value):
        raise ConfigError(
            f"[evaluation] scorer = {expression!r} gives {value} for an empty episode: expected "
            "a finite number"
        )
