"""Reading a config file, and checking it against the environment before anything starts."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from mkds_gym.components.metrics import DEFAULT_METRICS, METRICS, collect_all, make_metrics
from mkds_gym.components.scorers import SCORERS
from mkds_gym.kartlab.boot import MAX_DRIVERS
from mkds_gym.utils.arguments import did_you_mean, shortened, shown
from mkds_gym.utils.files import is_file
from mkds_gym.utils.reading import parse_ini, read_text
from mkds_gym.viewer import MAX_TILES, SHOW_WORDS, parse_show
from mkds_neat.config.changes import Sections, check_fixed, sections_text
from mkds_neat.config.environment import (
    EnvironmentInfo,
    absolute_paths,
    environment_kwargs,
    inspect_environment,
    is_mkds,
)
from mkds_neat.config.episodes import make_plan
from mkds_neat.config.neat_sections import (
    NEAT_SECTIONS,
    check_neat,
    make_neat_config,
    make_reporters,
)
from mkds_neat.config.settings import (
    OUR_SECTIONS,
    RunSettings,
    Settings,
    complete,
    read_settings,
    setting,
    used_sections,
)
from mkds_neat.config.strategies import NEAT, SECTIONS, StrategySection
from mkds_neat.errors import ConfigError, StrategyError
from mkds_neat.plan import Plan
from mkds_neat.scorers import REWARDS, Scorer, make_scorer
from mkds_neat.strategies import CustomStrategy, NeatStrategy, Strategy

_KEEPING: Final = {NEAT: ("DefaultReproduction", "elitism"), "truncation": ("truncation", "elite")}
"""The key with which a strategy keeps individuals, by strategy."""

_START_FROM = "examples/first_finish.ini is a complete config file"


@dataclass(frozen=True)
class Config:
    """A complete config that has passed all checks.

    Attributes:
        settings: The sections that belong to mkds_neat.
        sections: Text of every value, by section and key: overrides applied, defaults written
            out, and the paths of ``rom`` and ``state`` absolute.
        env_kwargs: All arguments of ``gym.make``, including those that ``[evaluation]`` implies.
        environment: Facts about the environment.
        scorer: The fitness; None for the sum of rewards.
        plan: The episodes of an individual.
        population: Individuals in a generation.
        lanes: Episodes that a worker drives at the same time.
        shown: Lanes of the workers that ``[run] viewer`` shows, or places in a generation.
    """

    settings: Settings
    sections: Mapping[str, Mapping[str, str]]
    env_kwargs: dict[str, Any]
    environment: EnvironmentInfo
    scorer: Scorer | None
    plan: Plan
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
        return sections_text(self.sections)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sections without effect, and settings whose effect surprises, one line for each."""
        run, evaluation = self.run, self.settings.evaluation
        used = {*used_sections(run), *(NEAT_SECTIONS if run.strategy == NEAT else ())}
        found = []
        if unused := [f"[{name}]" for name in self.sections if name not in used]:
            found.append(
                f"sections without effect in this run (strategy = {run.strategy}, engine = "
                f"{run.engine}): {', '.join(unused)}"
            )
        section, key = _KEEPING.get(run.strategy, ("", ""))
        stale = evaluation.seeds == "generation" and evaluation.reevaluate == "never"
        if section and stale and self.plan.chance and float(self.sections[section][key]) > 0:
            found.append(
                f"[{section}] {key} = {self.sections[section][key]} keeps individuals with the "
                "fitness of an earlier generation, which drove other episodes (seeds = "
                "generation): write reevaluate = replace or average in [evaluation]"
            )
        return tuple(found)

    def with_workers(self, workers: int) -> Config:
        """Return this config with another number of workers."""
        run = self.run.model_copy(update={"workers": workers})
        settings = self.settings.model_copy(update={"run": run})
        lanes = _lanes(run, self.environment, self.population, ())
        return replace(self, settings=settings, lanes=lanes)

    def make_strategy(self) -> Strategy:
        """Return the strategy at its first generation."""
        return _make_strategy(self.settings, self.sections, self.environment)


def load_config(
    path: str | os.PathLike[str],
    overrides: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    before: Sections | None = None,
) -> Config:
    """Read and check a config file.

    Args:
        path: The file.
        overrides: Values of ``[run]``, by key, that replace those of the file.
        environment: The same for ``[environment]``.
        before: The config with which a run to resume began. What cannot change is compared before
            any code is imported that the config names.

    Raises:
        ConfigError: The file or a value is refused. Nothing has been started or written.
    """
    name = f"config file {shown(os.fspath(path))}"
    remedy = _START_FROM
    if is_file(Path(path, "config.ini")):
        remedy = f"continue the run in this folder with --resume {shlex.quote(os.fspath(path))}"
    text = read_text(path, name, ConfigError, remedy=remedy)
    return parse_config(text, os.fspath(path), overrides, environment, before=before)


def parse_config(
    text: str,
    name: str = "config",
    overrides: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    before: Sections | None = None,
) -> Config:
    """Check the text of a config file.

    Args:
        text: The text.
        name: Name of the file, for errors.
        overrides: Values of ``[run]``, by key, that replace those of the text.
        environment: The same for ``[environment]``.
        before: The config with which a run to resume began. What cannot change is compared before
            any code is imported that the config names.

    Raises:
        ConfigError: The text or a value is refused. Nothing has been started or written.
    """
    try:
        sections = _read_sections(text)
        sections["run"].update(overrides or {})
        if environment:
            sections.setdefault("environment", {}).update(environment)
        if before is not None:
            check_fixed(before, sections)
        return _check(sections, overrides or {})
    except ConfigError as error:
        # The file is not to blame for an option.
        text = shortened(str(error), 2000)
        raise ConfigError(f"{'' if text.startswith('--') else f'{name}: '}{text}") from error


def _read_sections(text: str) -> dict[str, dict[str, str]]:
    parser = parse_ini(text, "the text", ConfigError)
    if parser.defaults():
        raise ConfigError("a [DEFAULT] section is not used here; move its keys")
    known = (*OUR_SECTIONS, *NEAT_SECTIONS)
    for section in parser.sections():
        if section not in known:
            raise ConfigError(
                f"unknown section [{section}]{did_you_mean(section, known)}; "
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
    if run.engine == "ray":
        for key, usual in (("viewer", "none"), ("vectorization", "async")):
            if getattr(run, key) != usual:
                where = setting("run", key, getattr(run, key), overridden)
                raise ConfigError(f"{where} is not possible with engine = ray: write {usual}")
    if is_mkds(env_id):
        _add_metrics(settings, env_kwargs)
    expression = settings.evaluation.scorer.strip()
    scorer = None if expression == REWARDS else make_scorer(expression)
    info = inspect_environment(env_id, env_kwargs)
    if info.cartridge is None:
        _check_foreign_scorer(expression, env_id)
    elif scorer is None:
        raise ConfigError(
            f"[evaluation] scorer = {REWARDS} is for other environments: {env_id} has metrics; "
            f"expected one of {', '.join(SCORERS)}, a weighted sum of metrics, or module:object"
        )
    plan = make_plan(settings.evaluation, env_id, env_kwargs)
    if course := plan.course(0, 0):  # with which drivers may share a console
        info = inspect_environment(env_id, {**env_kwargs, **course})
    sections = complete(sections, run)
    if info.cartridge is not None:
        paths = absolute_paths(env_kwargs, info.cartridge)
        env_kwargs.update(paths)
        sections["environment"].update({key: repr(path) for key, path in paths.items()})
    if scorer is not None and info.cartridge is not None:
        _try_scorer(scorer, expression, env_kwargs.get("metrics"))
    population = _check_strategy(settings, sections, info, env_kwargs.get("metrics"))
    lanes = _lanes(run, info, population, overridden)
    shown = _shown(run, lanes * run.workers, population, overridden)
    return Config(settings, sections, env_kwargs, info, scorer, plan, population, lanes, shown)


def _add_metrics(settings: Settings, env_kwargs: dict[str, Any]) -> None:
    """Let the environment measure the behaviours of the strategy that it measures on request."""
    section = getattr(settings, settings.run.strategy, None)
    given = env_kwargs.get("metrics")
    if isinstance(section, StrategySection) and isinstance(given, list | tuple | str | None):
        listed = _listed(given)
        measurable = set(METRICS.names()) - set(map(str, listed))
        if added := [metric for metric in section.metrics if metric in measurable]:
            env_kwargs["metrics"] = [*listed, *added]


def _listed(metrics: Any) -> list[Any]:
    """Return the items of the argument ``metrics``; None stands for the default."""
    metrics = DEFAULT_METRICS if metrics is None else metrics
    return [metrics] if isinstance(metrics, str) else list(metrics)


def _make_strategy(settings: Settings, sections: Sections, info: EnvironmentInfo) -> Strategy:
    name, seed = settings.run.strategy, settings.run.seed
    if name == NEAT:
        strategy = NeatStrategy(make_neat_config(sections), seed=seed)
        for reporter in make_reporters(settings.run.reporters):
            strategy.add_reporter(reporter)
        return strategy
    if name in SECTIONS:
        section: StrategySection = getattr(settings, name)
        return section.make(info.inputs, info.outputs, settings.mlp, seed)
    arguments = settings.strategy.arguments
    return CustomStrategy(name, info.inputs, info.outputs, seed=seed, arguments=arguments)


def _check_strategy(
    settings: Settings, sections: Sections, info: EnvironmentInfo, metrics: Any
) -> int:
    """Make the strategy, and return the number of individuals in its first generation."""
    name = settings.run.strategy
    if settings.run.reporters and name != NEAT:
        raise ConfigError(
            f"[run] reporters are neat-python's, for strategy = neat only, not {shown(name)}; "
            "remove the key"
        )
    if name == NEAT:
        make_reporters(settings.run.reporters)
        return check_neat(sections, info.inputs, info.outputs, info.labels)
    if name in SECTIONS:
        section: StrategySection = getattr(settings, name)
        collected = collect_all(make_metrics(_listed(metrics)))
        # A metric by default may have other names: lap_times measures best_lap and others.
        on_request = [each for each in METRICS.names() if each not in DEFAULT_METRICS]
        known = dict.fromkeys((*collected, *on_request))
        for metric in section.metrics:
            if metric not in collected:
                raise ConfigError(
                    f"[{name}] behaviours names the metric {shown(metric)}"
                    f"{did_you_mean(metric, known)}; expected some of {', '.join(known)}"
                )
    try:
        strategy = _make_strategy(settings, sections, info)
        if name in SECTIONS:  # the first `ask` of CMA-ES takes seconds
            return section.population
        strategy.state()
        return len(strategy.ask())
    except ValueError as error:
        if name in SECTIONS:
            raise ConfigError(f"[mlp] with [{name}]: {error}") from error
        raise ConfigError(f"[run] strategy = {shown(name)} {error}") from error
    except StrategyError as error:
        raise ConfigError(f"[run] strategy = {shown(name)}: {error}") from error


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


def _check_foreign_scorer(expression: str, env_id: str) -> None:
    """Refuse a scorer of karts for an environment of another package.

    Which metrics that environment has is known at the end of its first episode.
    """
    if expression in SCORERS:
        raise ConfigError(
            f"[evaluation] scorer = {shown(expression)} is for karts, and {env_id} has none: write "
            f"{REWARDS} for the sum of the rewards, or a weighted sum of the metrics in its info"
        )


def _try_scorer(scorer: Scorer, expression: str, metrics: Any) -> None:
    """Score an episode without a step, to find misspelt metrics."""
    listed = _listed(metrics)
    collected = collect_all(make_metrics(listed))
    try:
        value = float(scorer(collected))
    except KeyError as error:
        name = str(error.args[0]) if error.args else ""
        if name in METRICS.names():
            raise ConfigError(
                f"[evaluation] scorer = {shown(expression)} needs the metric {shown(name)}, which "
                f"is measured on request: write metrics = {[*listed, name]} in [environment]"
            ) from error
        raise ConfigError(
            f"[evaluation] scorer = {shown(expression)} needs the metric {shown(name)}"
            f"{did_you_mean(name, {*collected, *SCORERS} - {name})}; metrics: "
            f"{', '.join(collected)}; scorers: {', '.join(SCORERS)}"
        ) from error
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"[evaluation] scorer = {shown(expression)} fails on the metrics of an empty episode: "
            f"{shown(error)}"
        ) from error
    if not math.isfinite(value):
        raise ConfigError(
            f"[evaluation] scorer = {shown(expression)} gives {value} for an empty episode: "
            "expected a finite number"
        )
