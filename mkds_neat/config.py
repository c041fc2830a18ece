"""The one config file of a run: neat-python's own sections, and ours.

========================  =====================================================================
section                   what it holds
========================  =====================================================================
``[run]``                 `RunSettings`: strategy, seed, workers, when to stop, where to write
``[environment]``         ``id`` and the arguments of ``gym.make``, as Python literals (text that
                          is no literal stands for itself)
``[evaluation]``          `EvaluationSettings`: length of an episode and how it is judged
``[truncation]``          `TruncationSettings`, for ``strategy = truncation``
``[NEAT]``, ``[Default...]``  neat-python's, for ``strategy = neat``; it documents them, and
                          wants every one of its keys written out
========================  =====================================================================

Everything is checked before any worker starts, and each complaint names section, key, value and
remedy.
"""

from __future__ import annotations

import ast
import configparser
import contextlib
import difflib
import importlib
import inspect
import math
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import gymnasium as gym
import neat

from mkds_gym.components.metrics import DEFAULT_METRICS, SCORERS, collect_all, make_metrics
from mkds_gym.emulator.cartridge import BUNDLED_ROM, Cartridge
from mkds_gym.errors import MKDSError
from mkds_gym.vector.threads import usable_cores
from mkds_gym.viewer import MAX_TILES, SHOW_WORDS, parse_show
from mkds_neat.errors import ConfigError
from mkds_neat.networks import ACTIVATIONS, AGGREGATIONS
from mkds_neat.strategies import Strategy
from mkds_neat.strategies.neat import NeatStrategy
from mkds_neat.strategies.truncation import TruncationStrategy, top_count

STRATEGIES: Final = ("neat", "truncation")
STOP_WHEN: Final = ("finish", "never")
NEAT_SECTIONS: Final = (
    "NEAT",
    "DefaultGenome",
    "DefaultSpeciesSet",
    "DefaultStagnation",
    "DefaultReproduction",
)
_IMPLIED: Final = ("truncate_on", "info_every_step")
OUR_SECTIONS: Final = ("run", "environment", "evaluation", "truncation")

Scorer = Callable[[Mapping[str, float]], float]

_NATIVE = gym.spec("MKDS-v0").entry_point
"""Of the environments that are stepped by threads of one process."""


def default_workers() -> int:
    """Cores this process may use, less one for the parent, at least 1."""
    return max(1, usable_cores() - 1)


@dataclass(frozen=True)
class RunSettings:
    """Section ``[run]``.

    Attributes:
        strategy: ``neat`` or ``truncation``.
        seed: of everything that is left to chance.
        generations: most generations to evaluate.
        workers: races that are driven at a time; ``auto`` is the cores less one, at least 1, and
            ``cores`` is all of them (the parent needs little beside a few workers).
        stop_when: ``finish`` stops after the generation in which a driver finishes the race;
            ``never`` goes on to the last generation.
        log_interval: generations between lines of progress.
        checkpoint_every: generations between checkpoints.
        output: folder to write to; when it exists, a number is added.
        vectorization: ``async`` for worker processes; ``native`` for as many emulators in one
            process, stepped by threads. The results are the same.
        start_method: how worker processes are started: ``forkserver``, ``fork`` or ``spawn``.
        pictures: write the champion's GIF and picture strip at the end.
        viewer: races that are shown in a window: ``none``, those of the ``first`` worker or of
            ``all``, or those of individuals, by their places among the ones that each generation
            evaluates, from 0 on, as in ``0,3,5``.
    """

    strategy: str = "neat"
    seed: int = 0
    generations: int = 100
    workers: int = field(default_factory=default_workers)
    stop_when: str = "finish"
    log_interval: int = 1
    checkpoint_every: int = 1
    output: str = "runs/run"
    vectorization: str = "async"
    start_method: str = "forkserver"
    pictures: bool = True
    viewer: str = "none"


@dataclass(frozen=True)
class EvaluationSettings:
    """Section ``[evaluation]``.

    Attributes:
        frames: clock budget of an episode, in frames of the race clock.
        stuck: frames without progress after which a driver is given up; ``none`` for never.
        wrong_way: frames in the wrong direction after which a driver is given up, or ``none``.
        scorer: the fitness. Name of a scorer of mkds_gym; or a weighted sum of metrics such
            as ``progress - 0.5 * offroad_path``; or ``module:object``, a callable from a dict
            of metrics to a float.
        retries: how often an individual is evaluated again when its worker died.
    """

    frames: int = 3600
    stuck: int | None = 240
    wrong_way: int | None = 120
    scorer: str = "distance"
    retries: int = 2


@dataclass(frozen=True)
class TruncationSettings:
    """Section ``[truncation]``; see `mkds_neat.strategies.truncation`."""

    population: int = 60
    top_k: int | float = 0.2
    elite: int = 1
    sigma: float = 0.1


@dataclass(frozen=True)
class Config:
    """A whole config, checked.

    Attributes:
        run, evaluation, truncation: see their classes.
        env_id: the environment.
        env_kwargs: all arguments of ``gym.make``, those that ``[evaluation]`` implies included.
        scorer: the fitness.
        text: the file as it was, with overridden keys replaced, and ``rom`` and ``state`` so
            that they are found from any folder.
        inputs: width of the observation.
        outputs: width of the action.
        input_labels: names of the observation's components, where the environment has them.
        cartridge: that the environment plays, where it is one of ours.
    """

    run: RunSettings
    evaluation: EvaluationSettings
    truncation: TruncationSettings
    env_id: str
    env_kwargs: dict[str, Any]
    scorer: Scorer
    text: str
    inputs: int
    outputs: int
    input_labels: tuple[str, ...]
    cartridge: Cartridge | None = None

    def make_strategy(self) -> Strategy:
        """The strategy, at its first generation."""
        if self.run.strategy == "truncation":
            t = self.truncation
            return TruncationStrategy(
                self.inputs,
                self.outputs,
                population=t.population,
                top_k=t.top_k,
                elite=t.elite,
                sigma=t.sigma,
                seed=self.run.seed,
            )
        return NeatStrategy(_neat_config(self.text), seed=self.run.seed)

    @property
    def shown(self) -> tuple[int, ...]:
        """What ``[run] viewer`` asks for: workers, or places in a generation.

        Raises:
            ConfigError: it asks for what there is not.
        """
        run = self.run
        if run.viewer.strip().lower() in SHOW_WORDS:
            count, what = run.workers, "workers"
        elif run.strategy == "truncation":
            count, what = self.truncation.population, "individuals in a generation"
        else:
            count, what = _neat_config(self.text).pop_size, "individuals in a generation"
        try:
            shown = parse_show(run.viewer, count)
        except ValueError as error:
            raise ConfigError(f"[run] viewer, of {count} {what}: {error}") from error
        if len(shown) > MAX_TILES:
            raise ConfigError(f"[run] viewer = {run.viewer}: at most {MAX_TILES} can be shown")
        return shown


def load_config(path: str | os.PathLike[str], overrides: Mapping[str, str] | None = None) -> Config:
    """Read and check a config file.

    Args:
        path: the file.
        overrides: values of ``[run]`` that take the place of the file's, by key.

    Raises:
        ConfigError: anything is wrong with it; nothing has been started or written.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"config file {str(path)!r} cannot be read ({error.strerror}); "
            "examples/kartlab.ini is one to start from"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"config file {str(path)!r} is not text (UTF-8): {error}") from error
    return parse_config(text, name=str(path), overrides=overrides)


def parse_config(
    text: str, name: str = "config", overrides: Mapping[str, str] | None = None
) -> Config:
    """Check a config given as text; see `load_config`."""
    text = _override(text, "run", overrides or {})
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text, source=name)
    except configparser.Error as error:
        raise ConfigError(f"{name} is not a config file: {error}") from error
    _check_sections(parser, name)
    run = _settings(RunSettings, parser, "run")
    evaluation = _settings(EvaluationSettings, parser, "evaluation")
    truncation = _settings(TruncationSettings, parser, "truncation")
    _one_of("run", "strategy", run.strategy, STRATEGIES)
    _one_of("run", "stop_when", run.stop_when, STOP_WHEN)
    _one_of("run", "vectorization", run.vectorization, ("async", "native"))
    _one_of("run", "start_method", run.start_method, ("forkserver", "fork", "spawn"))
    for key in ("generations", "workers", "log_interval", "checkpoint_every"):
        _at_least("run", key, getattr(run, key), 1)
    _at_least("run", "seed", run.seed, 0)
    if not run.output.strip():
        raise ConfigError("[run] output is empty; name the folder to write to")
    _at_least("evaluation", "frames", evaluation.frames, 1)
    _at_least("evaluation", "retries", evaluation.retries, 0)
    for key in ("stuck", "wrong_way"):
        value = getattr(evaluation, key)
        if value is not None:
            _at_least("evaluation", key, value, 1)
    if run.strategy == "truncation":
        _check_truncation(truncation)
    env_id, env_kwargs = _environment(parser, evaluation)
    if run.vectorization == "native" and gym.spec(env_id).entry_point != _NATIVE:
        raise ConfigError(
            f"[run] vectorization = native cannot step {env_id}, only MKDS-v0; use async"
        )
    if run.viewer.strip().lower() != "none" and gym.spec(env_id).entry_point != _NATIVE:
        raise ConfigError(f"[run] viewer = {run.viewer} cannot show {env_id}, only MKDS-v0")
    scorer = make_scorer(evaluation.scorer)
    tried = _try_environment(env_id, env_kwargs)
    inputs, outputs, labels = tried.inputs, tried.outputs, tried.labels
    if tried.cartridge is not None:
        places = _absolute(env_kwargs, tried.cartridge)
        env_kwargs.update(places)
        text = _override(text, "environment", {k: repr(v) for k, v in places.items()})
    _try_scorer(scorer, evaluation.scorer, env_kwargs)
    if run.strategy == "neat":
        _check_neat(parser, text, inputs, outputs, labels)
    config = Config(
        run,
        evaluation,
        truncation,
        env_id,
        env_kwargs,
        scorer,
        text,
        inputs,
        outputs,
        labels,
        tried.cartridge,
    )
    _ = config.shown  # raises
    return config


# Scorers --------------------------------------------------------------------------------------


class WeightedSum:
    """A fitness that is a weighted sum of metrics: ``progress - 0.5 * offroad_path + 10``.

    Args:
        expression: terms joined by + and -; a term is a metric's name, a number, or
            ``number * name``.

    Raises:
        ConfigError: it is no such sum.
    """

    _TERM = re.compile(
        r"\s*(?P<sign>[+-]?)\s*(?:(?P<factor>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)\s*(?P<times>\*?)\s*)?"
        r"(?P<name>[A-Za-z_]\w*)?\s*"
    )

    def __init__(self, expression: str) -> None:
        self.expression = expression
        self.constant = 0.0
        self.terms: list[tuple[float, str]] = []
        place = 0
        while place < len(expression):
            match = self._TERM.match(expression, place)
            assert match is not None
            sign, factor, times, name = match.group("sign", "factor", "times", "name")
            bad = (
                match.end() == place
                or (factor is None and name is None)
                or (place > 0 and not sign)
                or (factor is not None and bool(times) != (name is not None))
            )
            if bad:
                raise ConfigError(
                    f"[evaluation] scorer = {expression!r} cannot be read from "
                    f"{expression[place:].strip()!r} on; write a weighted sum of metrics such as "
                    "'progress - 0.5 * offroad_path'"
                )
            value = float(factor or 1.0) * (-1.0 if sign == "-" else 1.0)
            if name is None:
                self.constant += value
            else:
                self.terms.append((value, name))
            place = match.end()

    def __call__(self, metrics: Mapping[str, float]) -> float:
        """The score; KeyError where a metric is missing."""
        return sum((factor * metrics[name] for factor, name in self.terms), self.constant)


def make_scorer(expression: str) -> Scorer:
    """The scorer that ``[evaluation] scorer`` asks for.

    Raises:
        ConfigError: it names nothing, or is malformed.
    """
    expression = expression.strip()
    if not expression:
        raise ConfigError("[evaluation] scorer is empty; write the metric that is the fitness")
    if expression in SCORERS:
        return SCORERS.make(expression)
    module, colon, attribute = expression.partition(":")
    if colon:
        try:
            found: Any = importlib.import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigError(
                f"[evaluation] scorer = {expression!r} cannot be imported: {error}"
            ) from error
        if isinstance(found, type):
            found = found()
        if not callable(found):
            raise ConfigError(f"[evaluation] scorer = {expression!r} is not callable")
        scorer: Scorer = found
        return scorer
    return WeightedSum(expression)


# Within ---------------------------------------------------------------------------------------


def _override(text: str, section: str, values: Mapping[str, str]) -> str:
    """Replace, or add, keys of a section in the text, so that the run's copy of it is true."""
    if not values:
        return text
    lines = text.splitlines()
    for key, value in values.items():
        layout = _layout(lines)
        start = next((i for i, name, at in layout if name == section and at is None), None)
        if start is None:
            lines += [f"[{section}]", f"{key} = {value}"]
            continue
        where = next((i for i, name, at in layout if name == section and at == key), None)
        if where is None:
            lines.insert(start + 1, f"{key} = {value}")
            continue
        # With the lines on which the old value goes on.
        end = next((i for i, _, _ in layout if i > where), len(lines))
        goes_on = [
            i
            for i in range(where + 1, end)
            if lines[i].strip() and lines[i].strip()[0] not in _COMMENTS
        ]
        for i in reversed(goes_on):
            del lines[i]
        lines[where] = f"{key} = {value}"
    return "\n".join(lines) + "\n"


_COMMENTS: Final = "#;"


def _layout(lines: Sequence[str]) -> list[tuple[int, str, str | None]]:
    """Where sections and keys begin, as `configparser` sees it.

    Returns:
        Number of the line, the section, and the key, which is None for the section's header.
    """
    found: list[tuple[int, str, str | None]] = []
    section, option_indent = "", None
    for i, line in enumerate(lines):
        text = line.strip()
        if not text or text[0] in _COMMENTS:
            continue
        indent = len(line) - len(line.lstrip())
        if option_indent is not None and indent > option_indent:
            continue  # a value that goes on
        header = configparser.ConfigParser.SECTCRE.match(text)
        if header is not None:
            section, option_indent = header.group("header"), None
            found.append((i, section, None))
        else:
            option_indent = indent
            found.append((i, section, re.split("[=:]", text, maxsplit=1)[0].strip().lower()))
    return found


def _check_sections(parser: configparser.ConfigParser, name: str) -> None:
    if parser.defaults():
        raise ConfigError(f"{name}: a [DEFAULT] section is not used here; move its keys")
    known = (*OUR_SECTIONS, *NEAT_SECTIONS)
    for section in parser.sections():
        if section not in known:
            raise ConfigError(
                f"{name}: unknown section [{section}].{_near(section, known)} "
                f"Sections: {', '.join(known)}"
            )
    if not parser.has_section("run"):
        raise ConfigError(f"{name} has no section [run]; examples/kartlab.ini shows a whole file")


def _near(word: str, known: Sequence[str]) -> str:
    lower = {k.lower(): k for k in known}
    near = difflib.get_close_matches(word.lower(), lower, n=1)
    return f" Did you mean {lower[near[0]]!r}?" if near else ""


def _check_keys(section: str, keys: Sequence[str], known: Sequence[str]) -> None:
    for key in keys:
        if key not in known:
            raise ConfigError(
                f"[{section}] has the unknown key {key!r}.{_near(key, known)} "
                f"Keys: {', '.join(known)}"
            )


def _settings(kind: type[Any], parser: configparser.ConfigParser, section: str) -> Any:
    items = dict(parser.items(section)) if parser.has_section(section) else {}
    types = {f.name: str(f.type) for f in fields(kind)}
    _check_keys(section, list(items), list(types))
    values: dict[str, Any] = {}
    for key, raw in items.items():
        if key == "workers" and raw.strip().lower() == "auto":
            continue
        if key == "workers" and raw.strip().lower() == "cores":
            raw = str(usable_cores())
        values[key] = _convert(section, key, raw.strip(), types[key])
    return kind(**values)


def _convert(section: str, key: str, raw: str, wanted: str) -> Any:
    if wanted == "str":
        return raw
    if wanted == "bool":
        if raw.lower() in configparser.ConfigParser.BOOLEAN_STATES:
            return configparser.ConfigParser.BOOLEAN_STATES[raw.lower()]
        raise ConfigError(f"[{section}] {key} = {raw!r} is neither yes nor no")
    if "None" in wanted and raw.lower() == "none":
        return None
    whole = "int" in wanted
    if whole:
        try:
            return int(raw)
        except ValueError:
            pass
    if "float" in wanted:
        try:
            value = float(raw)
        except ValueError:
            pass
        else:
            if math.isfinite(value):
                return value
    what = "a whole number" if whole and "float" not in wanted else "a number"
    none = " or none" if "None" in wanted else ""
    raise ConfigError(f"[{section}] {key} = {raw!r} is not {what}{none}")


def _one_of(section: str, key: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigError(
            f"[{section}] {key} = {value!r} is not one of {', '.join(allowed)}."
            f"{_near(value, allowed)}"
        )


def _at_least(section: str, key: str, value: float, least: int) -> None:
    if value < least:
        hint = "; 'auto' is the cores less one, 'cores' all of them" if key == "workers" else ""
        raise ConfigError(f"[{section}] {key} = {value} must be at least {least}{hint}")


def _check_truncation(settings: TruncationSettings) -> None:
    _at_least("truncation", "population", settings.population, 2)
    if not 0 <= settings.elite < settings.population:
        raise ConfigError(
            f"[truncation] elite = {settings.elite} is outside 0..{settings.population - 1}, "
            "one less than the population"
        )
    if not settings.sigma > 0.0:
        raise ConfigError(f"[truncation] sigma = {settings.sigma} must be greater than 0")
    try:
        top_count(settings.top_k, settings.population)
    except ValueError as error:
        raise ConfigError(f"[truncation] {error}") from error


def _environment(
    parser: configparser.ConfigParser, evaluation: EvaluationSettings
) -> tuple[str, dict[str, Any]]:
    items = dict(parser.items("environment")) if parser.has_section("environment") else {}
    env_id = items.pop("id", "MKDS-v0").strip()
    try:
        spec = gym.spec(env_id)
    except gym.error.Error as error:
        raise ConfigError(f"[environment] id = {env_id!r}: {error}") from error
    kwargs: dict[str, Any] = {}
    for key, raw in items.items():
        try:
            kwargs[key] = ast.literal_eval(raw.strip())
        except (ValueError, SyntaxError):
            kwargs[key] = raw.strip()
    entry: Any = spec.entry_point
    if isinstance(entry, str):
        entry = gym.envs.registration.load_env_creator(entry)
    assert entry is not None
    known = [
        p.name
        for p in inspect.signature(entry).parameters.values()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    _check_keys("environment", list(kwargs), ["id", *known])
    for key in ("render_mode", "truncate_on", "info_every_step"):
        if key in kwargs:
            remedy = {
                "render_mode": "workers show nothing; the champion's pictures come with the run",
                "truncate_on": "use frames, stuck and wrong_way in [evaluation]",
                "info_every_step": "the run decides",
            }[key]
            raise ConfigError(f"[environment] {key} cannot be set here: {remedy}")
    # Only what the environment understands; MKDS-v0 understands all of it.
    implied: dict[str, Any] = {
        "truncate_on": [f"clock:{evaluation.frames}"]
        + [
            f"{event}:{frames}"
            for event, frames in (("stuck", evaluation.stuck), ("wrong_way", evaluation.wrong_way))
            if frames is not None
        ],
        "info_every_step": False,
        "reward": kwargs.get("reward", "none"),
    }
    kwargs.update({k: v for k, v in implied.items() if k in known})
    return env_id, kwargs


@dataclass(frozen=True)
class _Tried:
    inputs: int
    outputs: int
    labels: tuple[str, ...]
    cartridge: Cartridge | None


def _try_environment(env_id: str, kwargs: Mapping[str, Any]) -> _Tried:
    """Make the environment, which starts no emulator yet, and look at its spaces."""
    try:
        env = gym.make(env_id, disable_env_checker=True, **kwargs)
    except Exception as error:  # an argument of a strange type fails in any way
        culprits = _culprits(env_id, kwargs)
        named = ", ".join(f"{key} = {kwargs[key]!r}" for key in culprits)
        ours = isinstance(error, (MKDSError, ValueError))
        # Gymnasium adds all of the arguments to the message.
        text = str(error).split(" was raised from the environment creator for ", 1)[0]
        what = text if ours else f"{type(error).__name__}: {text}"
        where = f"{named} cannot be: " if named and not ours else f"{named}: " if named else ""
        raise ConfigError(
            f"[environment] {where}{what}"
            + ("" if ours else "; docs/environment.md says what each argument may be")
        ) from error
    try:
        observation, action = env.observation_space, env.action_space
        if not (isinstance(observation, gym.spaces.Box) and len(observation.shape) == 1):
            raise ConfigError(
                f"[environment] gives observations of {observation}, but a network needs a vector "
                "of numbers; use obs_type = sensors"
            )
        if not (isinstance(action, gym.spaces.Box) and len(action.shape) == 1):
            raise ConfigError(
                f"[environment] takes actions of {action}, but a network gives a vector of "
                "numbers; use action_type = threshold:2 (or up to threshold:11)"
            )
        labels = tuple(getattr(env.unwrapped, "observation_labels", ()))
        cartridge = getattr(env.unwrapped, "cartridge", None)
        return _Tried(
            observation.shape[0],
            action.shape[0],
            labels,
            cartridge if isinstance(cartridge, Cartridge) else None,
        )
    finally:
        env.close()


def _culprits(env_id: str, kwargs: Mapping[str, Any]) -> list[str]:
    """The argument without which the environment can be made, if there is one."""
    for key in kwargs:
        if key in _IMPLIED:
            continue
        rest = {k: v for k, v in kwargs.items() if k != key}
        with contextlib.suppress(Exception):
            gym.make(env_id, disable_env_checker=True, **rest).close()
            return [key]
    return []


def _absolute(kwargs: Mapping[str, Any], cartridge: Cartridge) -> dict[str, str]:
    """The arguments that are paths, as they are found from any folder and in any environment.

    The bundled cartridge stays unnamed: a run with it goes on wherever the package is installed.
    """
    places: dict[str, str] = {}
    if kwargs.get("rom") is not None or cartridge.path != BUNDLED_ROM.resolve():
        places["rom"] = str(cartridge.path)
    if isinstance(kwargs.get("state"), str):
        places["state"] = str(Path(kwargs["state"]).absolute())
    return {key: value for key, value in places.items() if value != kwargs.get(key)}


def _try_scorer(scorer: Scorer, expression: str, kwargs: Mapping[str, Any]) -> None:
    """Score an episode in which nothing has happened, to find misspelt metrics."""
    wanted = kwargs.get("metrics")
    metrics = collect_all(make_metrics(DEFAULT_METRICS if wanted is None else wanted))
    try:
        value = float(scorer(metrics))
    except KeyError as error:
        name = str(error.args[0]) if error.args else ""
        raise ConfigError(
            f"[evaluation] scorer = {expression!r} wants the metric {name!r}."
            f"{_near(name, list(metrics))} Metrics: {', '.join(metrics)}; "
            f"scorers: {', '.join(SCORERS)}"
        ) from error
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ConfigError(
            f"[evaluation] scorer = {expression!r} fails on the metrics of an empty episode: "
            f"{error!r}"
        ) from error
    if not math.isfinite(value):
        raise ConfigError(
            f"[evaluation] scorer = {expression!r} gives {value} for an empty episode; a fitness "
            "must be a finite number"
        )


_NEAT_TYPES: Final = (
    neat.DefaultGenome,
    neat.DefaultReproduction,
    neat.DefaultSpeciesSet,
    neat.DefaultStagnation,
)


def _neat_config(text: str) -> Any:
    # neat-python reads from a file only, and ignores the sections that are not its own.
    with tempfile.TemporaryDirectory(prefix="mkds_neat-") as folder:
        path = Path(folder) / "config.ini"
        path.write_text(text, encoding="utf-8")
        return neat.Config(*_NEAT_TYPES, str(path))


def _neat_keys(section: str) -> list[str]:
    """The keys that neat-python knows in one of its sections, as itself lists them."""
    if section == "NEAT":
        return [p.name for p in neat.Config._Config__params]
    kind = next(k for k in _NEAT_TYPES if k.__name__ == section)
    if kind is neat.DefaultGenome:
        types = {
            "node_gene_type": neat.genes.DefaultNodeGene,
            "connection_gene_type": neat.genes.DefaultConnectionGene,
        }
        holder: Any = neat.genome.DefaultGenomeConfig.__new__(neat.genome.DefaultGenomeConfig)
        arguments: tuple[Any, ...] = (types,)
    else:
        return _neat_class_keys(kind)
    # No value is given, which it complains of; the list of keys is there all the same.
    with contextlib.suppress(RuntimeError):
        holder.__init__(*arguments)
    return [p.name for p in holder._params]


def _neat_class_keys(kind: Any) -> list[str]:
    """Keys of a section, learnt from what neat-python misses in an empty one."""
    given: dict[str, str] = {}
    keys: list[str] = []
    for _ in range(20):
        try:
            made = kind.parse_config(dict(given))
        except RuntimeError as error:
            match = re.search(r"'(\w+)'", str(error).replace(f"[{kind.__name__}]", ""))
            if match is None or match.group(1) in given:
                break
            given[match.group(1)] = "1"
        else:
            keys = [p.name for p in made._params]
            break
    return keys or list(given)


def _check_neat(
    parser: configparser.ConfigParser, text: str, inputs: int, outputs: int, labels: Sequence[str]
) -> None:
    for section in NEAT_SECTIONS:
        if not parser.has_section(section):
            raise ConfigError(
                f"[{section}] is missing; strategy = neat needs neat-python's sections "
                f"{', '.join(NEAT_SECTIONS)} (examples/kartlab.ini has them all)"
            )
        _check_keys(section, list(parser.options(section)), _neat_keys(section))
    if parser.has_option("NEAT", "seed"):
        raise ConfigError("[NEAT] seed is not used; the seed of everything is seed in [run]")
    try:
        config = _neat_config(text)
    except OSError as error:
        raise ConfigError(
            f"neat-python reads its sections from a temporary file, which cannot be written "
            f"({error.strerror or error}); name a folder that can be, in TMPDIR"
        ) from error
    except Exception as error:  # neat-python raises bare Exceptions, and AssertionErrors
        raise ConfigError(f"neat-python refuses its sections: {error}") from error
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
    if not genome.feed_forward:
        raise ConfigError(
            "[DefaultGenome] feed_forward = False: networks with memory cannot be evaluated; "
            "write feed_forward = True"
        )
    if config.pop_size < 2:
        raise ConfigError(f"[NEAT] pop_size = {config.pop_size} must be at least 2")
    for key, known in (
        ("activation", [a for a in ACTIVATIONS if a != "unit_tanh"]),
        ("aggregation", AGGREGATIONS),
    ):
        for name in {*getattr(genome, f"{key}_options"), getattr(genome, f"{key}_default")}:
            if name not in known and name not in ("random", "none"):
                raise ConfigError(
                    f"[DefaultGenome] {key}_options/{key}_default name {name!r}, which is not one "
                    f"of {', '.join(known)}.{_near(name, list(known))}"
                )
