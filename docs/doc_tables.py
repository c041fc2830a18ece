"""Build the tables of the documentation from the code.

``conf.py`` turns each entry of `TABLES` into a directive: ``{table} sensors`` or
``{table} options mkds_gym.play``. ``python docs/doc_tables.py sensors`` prints the same Markdown.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn, get_args

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Version history|Yields):$", re.MULTILINE)


def markdown(rows: Iterable[tuple[str, ...]]) -> str:
    """Return a Markdown table; the first row is the head."""
    head, *body = rows
    lines = [head, ("---",) * len(head), *body]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )


def prose(text: str) -> str:
    """Return docstring text as Markdown: code marks unified, section heads removed."""
    text = re.sub(r"``([^`]+)``|`([^`]+)`", lambda m: f"`{m[1] or m[2]}`", text)
    return text.strip()


def line(text: str) -> str:
    """Return docstring text as one line, for a table cell, without the full stop."""
    text = " ".join(prose(text).split()).removesuffix(".").removeprefix("Return ")
    keeps_capital = text[:2].isupper() or re.match(r"(None|True|False)\b", text)
    return text if keeps_capital else text[:1].lower() + text[1:]


def description(what: object) -> str:
    """Return a docstring up to its first section."""
    return prose(SECTION.split(inspect.getdoc(what) or "")[0])


def entries(what: object, section: str) -> dict[str, str]:
    """Return the entries of a docstring's ``Args`` or ``Attributes`` section."""
    parts = SECTION.split(inspect.getdoc(what) or "")
    texts = dict(zip(parts[1::2], parts[2::2], strict=True))
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?=    \S)", texts.get(section, "")):
        names, colon, text = entry.strip().partition(":")
        if colon:
            found |= dict.fromkeys(re.split(r", ", names), text)
    return found


def default_of(value: object) -> str:
    """Return a default as the user would write it."""
    if isinstance(value, Enum):
        return f"`{type(value).__name__}.{value.name}`"
    if value in (inspect.Parameter.empty, MISSING):
        return ""
    return "`{}`".format(repr(value).replace("'", '"'))


def arguments(what: type) -> str:
    """Tabulate the arguments of a class: name, default, meaning."""
    meanings = entries(what, "Args")
    rows = [("argument", "default", "meaning")]
    for name, parameter in inspect.signature(what).parameters.items():
        if parameter.kind is not parameter.VAR_KEYWORD:
            rows.append((f"`{name}`", default_of(parameter.default), line(meanings[name])))
    return markdown(rows)


def attributes(what: Any, head: str) -> str:
    """Tabulate the fields of a dataclass: name, default (if there are any), meaning."""
    meanings = entries(what, "Attributes")
    with_default = any(field.default is not MISSING for field in fields(what))
    rows = [(head, "default", "meaning")]
    for field in fields(what):
        rows.append((f"`{field.name}`", default_of(field.default), line(meanings[field.name])))
    return markdown(rows if with_default else [(name, meaning) for name, _, meaning in rows])


def environment_arguments() -> str:
    """Arguments of `MKDSEnv`."""
    from mkds_gym.env import MKDSEnv

    return arguments(MKDSEnv)


def vector_arguments() -> str:
    """Arguments of `MKDSVectorEnv`."""
    from mkds_gym.vector.env import MKDSVectorEnv

    return arguments(MKDSVectorEnv)


def parallel_arguments() -> str:
    """Arguments of `mkds_gym.parallel_env`."""
    from mkds_gym.multi_agent.env import MKDSParallelEnv

    return arguments(MKDSParallelEnv)


def actions() -> str:
    """Action types with their spaces."""
    from mkds_gym.components.actions import ACTION_TYPES

    rows: list[tuple[str, ...]] = [("`action_type`", "space", "an action is")]
    for name in ACTION_TYPES:
        made = ACTION_TYPES.make(name)
        rows.append((f"`{name}`", f"`{made.space}`", line(description(type(made)))))
    return markdown(rows)


def discrete_actions() -> str:
    """The combinations of keys of ``discrete`` and ``discrete_items``."""
    from mkds_gym.components.actions import DISCRETE_ACTIONS, ITEM_ACTIONS, KEY_ORDER

    rows: list[tuple[str, ...]] = [("number", "name", "keys")]
    for number, (name, pressed) in enumerate((*DISCRETE_ACTIONS, *ITEM_ACTIONS)):
        held = [key.name.title() for key in KEY_ORDER if key & pressed]
        rows.append((str(number), name, " + ".join(reversed(held)) or "none"))
    return markdown(rows)


def observations() -> str:
    """Observation types with their spaces."""
    from mkds_gym.components.observations import OBS_TYPES, make_observation_builder

    rows: list[tuple[str, ...]] = [("`obs_type`", "default space", "an observation is")]
    for name in OBS_TYPES:
        made = make_observation_builder(name, None, "top")
        space = "`Dict`, a `Box` for each sensor" if name == "dict" else f"`{made.space}`"
        rows.append((f"`{name}`", space, line(description(type(made)))))
    return markdown(rows)


def named(registry: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name and a part, made with its defaults, of each entry of a registry."""
    for name in registry:
        yield name, registry.make(name)


def heading(name: str, part: object) -> list[str]:
    """Return the heading of a component, its description, and the number that it takes."""
    parts = [f"### `{name}`", description(type(part))]
    for parameter in inspect.signature(type(part)).parameters.values():
        if isinstance(parameter.default, int | float):
            form = f"`{name}:{parameter.name}`, by default `{name}:{parameter.default:g}`"
            parts.append(f"The number: {form}.")
    return parts


def sensors() -> str:
    """A section for each sensor: what it reads, and its components with their ranges."""
    from mkds_gym.components.sensors import SENSORS

    parts = []
    for name, sensor in named(SENSORS):
        rows: list[tuple[str, ...]] = [("components", "range")]
        ranges: dict[tuple[float, float], list[str]] = {}
        for label, low, high in zip(
            sensor.labels, sensor.space.low, sensor.space.high, strict=True
        ):
            ranges.setdefault((float(low), float(high)), []).append(f"`{label}`")
        rows += [
            (", ".join(labels), f"{low:g} to {high:g}") for (low, high), labels in ranges.items()
        ]
        parts += [*heading(name, sensor), markdown(rows)]
    return "\n\n".join(parts)


def metrics() -> str:
    """Metrics and the values that they collect."""
    from mkds_gym.components.metrics import METRICS, make_metrics

    rows: list[tuple[str, ...]] = [("metric", "values", "meaning")]
    for name in METRICS:
        metric = make_metrics(name)[-1]
        values = ", ".join(f"`{value}`" for value in metric.collect())
        rows.append((f"`{name}`", values, line(description(type(metric)))))
    return markdown(rows)


def scorers() -> str:
    """Scorers, each also the name of a reward."""
    from mkds_gym.components.scorers import SCORERS

    rows: list[tuple[str, ...]] = [("name", "score")]
    rows += [(f"`{name}`", line(description(scorer))) for name, scorer in named(SCORERS)]
    return markdown(rows)


def events() -> str:
    """Events with their default numbers of frames."""
    from mkds_gym.components.events import EVENTS

    rows: list[tuple[str, ...]] = [("event", "default frames", "happens when")]
    for name, event in named(EVENTS):
        frames = getattr(event, "frames", "")
        form = f"`{name}`" + (f", `{name}:frames`" if frames else "")
        rows.append((form, str(frames), line(description(type(event)))))
    return markdown(rows)


def overlays() -> str:
    """Overlays with their numbers."""
    from mkds_gym.overlays import OVERLAYS

    rows: list[tuple[str, ...]] = [("number", "name", "draws")]
    for number, (name, overlay) in enumerate(named(OVERLAYS)):
        rows.append((str(number), f"`{name}`", line(description(type(overlay)))))
    return markdown(rows)


def capabilities() -> str:
    """Parts of the fast path."""
    from mkds_gym.emulator.capabilities import Capabilities

    return attributes(Capabilities, "capability")


def boot_parameters() -> str:
    """Fields of `BootParameters`."""
    from mkds_gym.kartlab.boot import BootParameters

    return attributes(BootParameters, "parameter")


def regions() -> str:
    """Cartridges that are recognised, by game code."""
    from mkds_gym.emulator.cartridge import REGIONS

    rows: list[tuple[str, ...]] = [("game code", "region")]
    return markdown([*rows, *((f"`{code}`", region) for code, region in REGIONS.items())])


def benchmark_questions() -> str:
    """Tables of ``python -m benchmarks``."""
    from benchmarks.__main__ import QUESTIONS

    return markdown([("table", "question"), *((f"`{k}`", text) for k, text in QUESTIONS.items())])


def memory() -> str:
    """Structures of a race in memory, field by field, and the bits of its flags."""
    from mkds_gym.race import memory_layout
    from mkds_gym.race.memory_layout import BIT_FIELDS, STRUCTURES, bits

    parts = []
    for structure in STRUCTURES.values():
        rows = [("field", "offset", "unit", "meaning", "confirmed by", "in Kartlab")]
        for entry in structure.fields:
            offset = f"+{entry.offset:#05x}"
            row = (f"`{entry.name}`", offset, entry.unit, entry.meaning, entry.confirmed)
            rows.append((*row, entry.kartlab))
        title = structure.name.replace("_", " ").capitalize()
        parts.append(f"## {title}\n\n{structure.note}\n\n{markdown(rows)}")
    rows = [("constant", "bit", "in Kartlab")]
    for prefix in BIT_FIELDS:
        for name, value in bits(prefix).items():
            state = "set"
            if name in memory_layout.UNSET_IN_KARTLAB:
                state = "never set"
            elif name in memory_layout.SET_WITH_A_GHOST:
                state = "set with a ghost"
            rows.append((f"`{name}`", str(value.bit_length() - 1), state))
    return "\n\n".join([*parts, "## Bits", markdown(rows)])


def config(section: str) -> str:
    """Keys of one of the evolution's own sections in a config file."""
    from mkds_neat.config.settings import Settings

    rows: list[tuple[str, ...]] = [("key", "default", "meaning")]
    for name, field in Settings.model_fields[section].annotation.model_fields.items():
        meaning = field.description or ""
        words = [word for word in get_args(field.annotation) if isinstance(word, str)]
        if any(word not in meaning for word in words):
            meaning += f": {', '.join(f'`{word}`' for word in words)}"
        default = "empty" if field.default == "" else f"`{field.default}`"
        rows.append((f"`{name}`", default, line(meaning)))
    return markdown(rows)


class _ParserFound(Exception):  # noqa: N818 - not an error
    """Carries the parser out of a command's ``main``."""


@contextmanager
def _stopping_at_parse() -> Iterator[None]:
    def stop(parser: argparse.ArgumentParser, *_: object, **__: object) -> NoReturn:
        raise _ParserFound(parser)

    original = argparse.ArgumentParser.parse_known_args
    argparse.ArgumentParser.parse_known_args = stop  # type: ignore[assignment]
    try:
        yield
    finally:
        argparse.ArgumentParser.parse_known_args = original  # type: ignore[method-assign]


def parser_of(command: str) -> argparse.ArgumentParser:
    """Return the argument parser of ``python -m COMMAND`` or of a script's path.

    The command's ``main`` is called and left when it starts to parse.
    """
    if command.endswith(".py"):
        spec = importlib.util.spec_from_file_location(Path(command).stem, ROOT / command)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        spec = importlib.util.find_spec(command)
        is_package = spec is not None and spec.submodule_search_locations is not None
        module = importlib.import_module(f"{command}.__main__" if is_package else command)
    with _stopping_at_parse():
        try:
            module.main()
        except _ParserFound as found:
            parser: argparse.ArgumentParser = found.args[0]
            return parser
    raise LookupError(f"{command}: main() parses no arguments")


def options(command: str) -> str:
    """Options of a command, with those of its subcommands."""
    rows: list[tuple[str, ...]] = [("option", "meaning")]
    parts: list[str] = []
    parser = parser_of(command)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                parts.append(f"`{command} {name}`: {_help_of(action, name)}")
                parts.append(markdown([("option", "meaning"), *_options(sub)]))
    own = _options(parser)
    if own:
        parts.insert(0, markdown([*rows, *own]))
    return "\n\n".join(parts)


def _help_of(action: Any, name: str) -> str:
    return next((line(c.help or "") for c in action._choices_actions if c.dest == name), "")


def _options(parser: argparse.ArgumentParser) -> list[tuple[str, ...]]:
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            continue
        value = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
        if action.choices and not action.metavar:
            value = "{" + ",".join(map(str, action.choices)) + "}"
        if isinstance(value, tuple):
            value = " ".join(value)
        names = ", ".join(f"`{name}`" for name in action.option_strings)
        shown = (
            f"{names} `{value}`" if names and value and action.nargs != 0 else names or f"`{value}`"
        )
        parameters: Mapping[str, Any] = {**vars(action), "prog": parser.prog}
        text = (action.help or "") % parameters
        default = action.default
        told = (
            default not in (None, False, True, argparse.SUPPRESS, (), [], "")
            and "default" not in text
        )
        found.append((shown, line(text) + (f" (default: `{default}`)" if told else "")))
    return found


TABLES: dict[str, Callable[..., str]] = {
    function.__name__: function
    for function in (
        environment_arguments,
        vector_arguments,
        parallel_arguments,
        actions,
        discrete_actions,
        observations,
        sensors,
        metrics,
        scorers,
        events,
        overlays,
        capabilities,
        boot_parameters,
        regions,
        benchmark_questions,
        memory,
        config,
        options,
    )
}
"""What ``{table} NAME`` may name."""

if __name__ == "__main__":
    sys.stdout.write(TABLES[sys.argv[1]](*sys.argv[2:]) + "\n")
