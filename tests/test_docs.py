"""The pages say what the code does: tables, links, commands, and every Python block runs."""

from __future__ import annotations

import argparse
import collections
import importlib
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.vector import AutoresetMode
from pydantic import BaseModel

import mkds_gym  # noqa: F401
from benchmarks import viewer
from benchmarks.aims import AIMS
from benchmarks.courses import AGAINST
from benchmarks.evolution import WAYS
from benchmarks.pairs import PAIRS
from benchmarks.peers import PEERS
from benchmarks.rows import COUNTS, ROWS, VECTORS
from benchmarks.tables import (
    PLAIN_ROWS,
    REFERENCE,
    TABLES,
    named,
    vector_groups,
    vector_ratios,
)
from benchmarks.together import ROWS as TOGETHER
from mkds_gym.components.actions import ACTION_TYPES, DISCRETE_ACTIONS, KEY_ORDER
from mkds_gym.components.events import EVENTS
from mkds_gym.components.metrics import DEFAULT_METRICS, METRICS, SCORERS, make_metrics
from mkds_gym.components.rewards import REWARDS
from mkds_gym.components.sensors import SENSORS
from mkds_gym.emulator.cartridge import REGIONS, Cartridge
from mkds_gym.emulator.console import Capabilities
from mkds_gym.env import MKDSEnv
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.vector.env import MAX_ENVS, MAX_THREADS, MKDSVectorEnv
from mkds_neat.config import (
    NEAT_SECTIONS,
    OUR_SECTIONS,
    STRATEGIES,
    EvaluationSettings,
    RunSettings,
    TruncationSettings,
)

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {page.name: page.read_text(encoding="utf-8") for page in PAGES}


def tables(page: str, section: str = "") -> list[list[list[str]]]:
    """All tables of a page (or of the section whose heading is given) as rows of cells."""
    text = "\n" + re.sub(r"```.*?```", "", TEXTS[page], flags=re.DOTALL)
    if section:
        start = text.index(f"\n{section}\n")
        level = section.split()[0]
        end = re.compile(rf"^#{{1,{len(level)}}} ", re.MULTILINE).search(
            text, start + len(section) + 1
        )
        text = text[start : end.start() if end else None]
    return tables_of(text)


def tables_of(text: str) -> list[list[list[str]]]:
    """All tables of a text as rows of cells."""
    found: list[list[list[str]]] = []
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        lines = [line.strip() for line in block.splitlines()]
        found.append([[cell.strip() for cell in line[1:-1].split("|")] for line in lines])
    return found


def names(cell: str) -> list[str]:
    """What stands in backticks in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def column(page: str, section: str, number: int = 0, index: int = 0) -> list[str]:
    """The names in one column of a section's table, in order, heads and rules left out."""
    rows = tables(page, section)[number]
    return [name for row in rows[2:] for name in names(row[index])]


# environment.md -------------------------------------------------------------------------------


def test_every_argument_with_its_default() -> None:
    rows = {
        names(row[0])[0]: names(row[1])[0]
        for row in tables("environment.md", "## Arguments")[0][2:]
    }
    parameters = list(inspect.signature(MKDSEnv).parameters.values())
    assert list(rows) == [p.name for p in parameters]
    for parameter in parameters:
        shown = rows[parameter.name]
        assert eval(shown) == parameter.default, parameter.name


def test_every_argument_of_the_vector_environment() -> None:
    rows = {
        names(row[0])[0]: names(row[1])[0]
        for row in tables("environment.md", "## Many at once")[0][2:]
    }
    parameters = list(inspect.signature(MKDSVectorEnv).parameters.values())[:-1]  # not **kwargs
    assert list(rows) == [p.name for p in parameters]
    for parameter in parameters:
        shown = eval(rows[parameter.name], {"AutoresetMode": AutoresetMode})
        assert shown == parameter.default, parameter.name
    for name, most in (("num_envs", MAX_ENVS), ("num_threads", MAX_THREADS)):
        assert re.search(rf"\| `{name}` .* 1 to {most} \|", TEXTS["environment.md"])


def test_every_action() -> None:
    kinds, combinations = tables("environment.md", "## Actions")
    assert [names(row[0])[0] for row in kinds[2:]] == list(ACTION_TYPES)
    for row in kinds[2:]:
        space = ACTION_TYPES.make(names(row[0])[0]).space
        head = type(space).__name__
        assert names(row[1])[0].startswith(f"{head}(")
        size = str(getattr(space, "n", "") or f"({space.shape[0]},)")  # type: ignore[index]
        assert size in row[1]
    keys = next(row[2] for row in kinds if "MultiBinary" in row[1])
    listed = keys.partition(": ")[2].split(", ")
    assert [key.upper() for key in listed] == [key.name for key in KEY_ORDER]
    assert len(combinations[2:]) == len(DISCRETE_ACTIONS)
    for number, (row, (name, pressed)) in enumerate(
        zip(combinations[2:], DISCRETE_ACTIONS, strict=True)
    ):
        assert row[:2] == [str(number), name]
        shown = set() if row[2] == "none" else {key.upper() for key in row[2].split(" + ")}
        assert shown == {key.name for key in KEY_ORDER if pressed & key}


def test_every_sensor_component_and_range() -> None:
    described: dict[str, list[list[str]]] = {}
    sensor = ""
    for row in tables("environment.md", "## Observations")[1][2:]:
        if names(row[0]):
            sensor = names(row[0])[0]
            size = re.search(r"\((\d+)\)", row[0])
            made = SENSORS.make(sensor.partition(":")[0])
            if ":" in sensor:
                assert size is not None
                per_part = {"checkpoints": 3, "opponents": 5}.get(sensor.partition(":")[0], 1)
                assert int(size.group(1)) * per_part == made.space.shape[0]
            else:
                assert size is None
            sensor = sensor.partition(":")[0]
        described.setdefault(sensor, []).append(row)
    assert list(described) == list(SENSORS)
    for name, rows in described.items():
        made = SENSORS.make(name)
        shown = [label for row in rows for label in names(row[1])]
        if name in ("rays", "checkpoints", "curvature", "opponents"):
            assert set(shown) <= set(made.labels)
            assert made.labels[0] == shown[0]
        else:
            assert tuple(shown) == made.labels
        for row in rows:
            numbers = [float(x) for x in re.findall(r"-?\d+(?:\.\d+)?", row[2])]
            for label in names(row[1]):
                at = made.labels.index(label)
                low, high = made.space.low[at], made.space.high[at]
                assert (min(numbers), max(numbers)) == (low, high), label


def test_every_metric_and_what_it_collects() -> None:
    described: dict[str, list[str]] = {}
    for row in tables("environment.md", "## Metrics")[0][2:]:
        if names(row[0]):
            metric = names(row[0])[0]
        described.setdefault(metric, []).extend(names(row[1]))
        assert row[2], "every measure has a unit"
    assert list(described) == list(METRICS)
    for name, measures in described.items():
        assert set(measures) == set(make_metrics(name)[-1].collect())


def test_every_reward_and_event() -> None:
    assert set(column("environment.md", "## Rewards")) >= set(REWARDS)
    first = [names(row[0])[0] for row in tables("environment.md", "## Rewards")[0][2:]]
    assert sorted(first) == sorted(REWARDS)
    rows = tables("environment.md", "## Events: the end of an episode")[0][2:]
    assert [names(row[0])[0].partition(":")[0] for row in rows] == list(EVENTS)
    for row in rows:
        event = EVENTS.make(names(row[0])[0].partition(":")[0])
        assert row[1] == str(getattr(event, "frames", ""))


def test_info_and_reset_options() -> None:
    env = gym.make("MKDS-v0")
    try:
        _, info = env.reset()
        assert column("environment.md", "## Info") == list(info)
        section = '## Reset, and what "the same" means'
        options = column("environment.md", section)
        with pytest.raises(ValueError, match="options are " + ", ".join(options)):
            env.reset(options={"no such": 1})
    finally:
        env.close()


def test_parts_of_ones_own() -> None:
    for row in tables("environment.md", "## Parts of your own")[0][2:]:
        module, _, kind = names(row[1])[0].rpartition(".")
        found = sys.modules[module]
        assert hasattr(found, kind)
        for function in names(row[2]):
            assert callable(getattr(found, function))


# The other pages --------------------------------------------------------------------------------


def test_regions_and_capabilities() -> None:
    rows = {
        names(row[0])[0]: names(row[2])[0]
        for row in tables("cartridges.md", "## Recognition")[0][2:]
    }
    assert rows == REGIONS
    listed = [names(row[0])[0] for row in tables("cartridges.md", "## Console")[0][2:]]
    assert listed == [field.name for field in fields(Capabilities)]


def test_boot_parameters() -> None:
    listed = column("kartlab.md", "## Boot parameters", index=2)
    assert sorted(listed) == sorted(field.name for field in fields(BootParameters))


def test_course_description_defaults() -> None:
    """Every key in the table is known with the default that it says; no other key is."""
    from mkds_gym.kartlab.compiler import CourseDescriptionError, parse_description

    smallest = (
        'title = "T"\nname = "mario_course"\nid = 25\n{top}\n'
        '[edges.e]\nwidth = 10\nend = "wall"\n{edge}\n'
        '[road]\nleft = "e"\nright = "e"\n{road}\n[checkpoints]\n{checkpoints}\n[grid]\n{grid}\n'
        "[scenery]\n{scenery}\n[colours]\n{colours}\n"
        "[[point]]\nat = [0, 500]\n{point}\n[[point]]\nat = [500, 500]\nradius = 150\n"
        "[[point]]\nat = [500, -500]\nradius = 150\n[[point]]\nat = [-500, -500]\nradius = 150\n"
        "[[point]]\nat = [-500, 500]\nradius = 150\n"
        "[[branch]]\nfrom = 1\nto = 3\n{branch}\n"
        "[[branch.point]]\nat = [300, 0]\n[[branch.point]]\nat = [200, -100]\n"
        '[[pad]]\nkind = "boost"\npoint = 0\n{pad}\n[[gap]]\npoint = 0\nlength = 20\n{gap}\n'
        "[[items]]\npoint = 0\n{items}\n"
    )
    places = {
        "": "top",
        "[edges.NAME]": "edge",
        "[road]": "road",
        "[[point]]": "point",
        "[checkpoints]": "checkpoints",
        "[grid]": "grid",
        "[scenery]": "scenery",
        "[colours]": "colours",
        "[[branch]]": "branch",
        "[[pad]]": "pad",
        "[[gap]]": "gap",
        "[[items]]": "items",
    }

    def text(**extra: str) -> str:
        return smallest.format(**{**dict.fromkeys(places.values(), ""), **extra})

    attributes = {"spacing": "checkpoint_spacing", "back": "grid_back", "side": "grid_side"}
    plain = parse_description(text())
    place = ""
    listed: dict[str, set[str]] = {}
    for row in tables("kartlab.md", "## A course description")[0][2:]:
        if names(row[0]):
            place = names(row[0])[0]
        if place == "[colours]":
            continue
        for key in names(row[1]):
            listed.setdefault(place, set()).add(key)
            default = row[2].strip("`")
            if default in ("needed", ""):
                continue
            if place == "[[point]]":
                value: object = getattr(plain.points[0], key)
            elif place == "[edges.NAME]":
                value = getattr(plain.edges["e"], key)
            elif place == "[[branch]]":
                end = {"from_offset": plain.branches[0].start, "to_offset": plain.branches[0].end}
                value = end[key].offset
            elif place in ("[[pad]]", "[[gap]]", "[[items]]"):
                entries: dict[str, Any] = {
                    "[[pad]]": plain.pads[0],
                    "[[gap]]": plain.gaps[0],
                    "[[items]]": plain.items[0],
                }
                entry = entries[place]
                value = getattr(entry.place if key == "offset" else entry, key)
            else:
                value = getattr(plain, attributes.get(key, key))
            assert value == (default.strip('"') if default.startswith('"') else float(default)), key
    # What the reader itself says it knows, when asked for something that it does not.
    for place, slot in places.items():
        with pytest.raises(CourseDescriptionError) as caught:
            parse_description(text(**{slot: "no_such_key = 1"}))
        if place == "[colours]":
            continue
        known = set(str(caught.value).partition("known here are: ")[2].split(", "))
        tables_of_root = {"checkpoints", "colours", "edges", "grid", "point", "road", "scenery"}
        tables_of_root |= {"branch", "gap", "items", "pad"}
        assert known - (tables_of_root if place == "" else set()) == listed[place], place


@pytest.mark.parametrize(
    ("section", "kind"),
    [
        ("### `[run]`", RunSettings),
        ("### `[evaluation]`", EvaluationSettings),
        ("### `[truncation]`", TruncationSettings),
    ],
)
def test_every_key_of_a_run(section: str, kind: type[BaseModel]) -> None:
    rows = {names(row[0])[0]: names(row[1])[0] for row in tables("evolution.md", section)[0][2:]}
    assert list(rows.items()) == [(k, str(f.default)) for k, f in kind.model_fields.items()]


def test_sections_strategies_scorers_and_files_of_a_run() -> None:
    text = TEXTS["evolution.md"]
    for section in (*OUR_SECTIONS, *NEAT_SECTIONS):
        assert f"`[{section}]`" in text
    assert column("evolution.md", "## Strategies")[: len(STRATEGIES)] == list(STRATEGIES)
    for scorer in SCORERS:
        assert f"`{scorer}`" in text
    from mkds_neat import results

    documented = set(re.findall(r"``([\w.]+/?)``", (results.__doc__ or "")))
    files = {name for name in documented if "." in name or name.endswith("/")}
    listed = column("evolution.md", "## The run's folder")
    assert {f for f in files if f.count(".") <= 1 and not f.startswith("mkds")} <= {*listed}


def first_columns(text: str) -> list[list[str]]:
    """The first cells of the rows of each table."""
    return [[row[0] for row in table[2:]] for table in tables_of(text)]


def speeds(keys: Iterable[str], ratios: Iterable[tuple[str, str, str]]) -> list[list[str]]:
    """The first columns of a table of rows and ratios."""
    return [[ROWS[key].title for key in keys], [name for name, *_ in ratios]]


def vectors(counts: Sequence[int], text: str) -> list[list[str]]:
    """The first columns of the tables of vector environments: of each group, and of ratios.

    What was left out for want of memory has a line in the text that says so.
    """
    out = {key for key, row in ROWS.items() if f"Left out: {row.title}: " in text}
    groups = [group for group in vector_groups(counts) if not out & {*group.keys}]
    measured = {(group.count, key) for group in groups for key in group.keys}
    ratios = [
        name
        for count in counts
        for name, *keys in vector_ratios(count)
        if {(count, key) for key in keys} <= measured
    ]
    return [*([ROWS[key].title for key in group.keys] for group in groups), ratios]


def test_measured_tables_are_those_of_the_benchmark() -> None:
    text = TEXTS["benchmarks.md"]
    measured = text[text.index("<!-- measured: begin -->") : text.index("<!-- measured: end -->")]
    parts = re.split(r"^\*\*(.+)\*\* \(`(\w+)`\)$", measured.split("**Aims**")[0], flags=re.M)
    assert list(zip(parts[2::3], parts[1::3], strict=True)) == [
        (name, table.question) for name, table in TABLES.items()
    ]
    texts = dict(zip(parts[2::3], parts[3::3], strict=True))
    shown = {name: first_columns(one) for name, one in texts.items()}
    pairs = [pair.name for pair in PAIRS.values()]
    first_reset = shown["states"][0][0]
    peers = [key for key in PEERS if f"Left out: {ROWS[key].title}: " not in texts["peers"]]
    ours = ("env_pixels", "env")
    assert shown == {
        "plain": speeds(PLAIN_ROWS, named([(key, PLAIN_ROWS[0]) for key in PLAIN_ROWS[1:]])),
        "step": [pairs, pairs, [pair.title for pair in PAIRS.values()]],
        "vector": vectors([count for count in COUNTS if count < 16], texts["vector"]),
        "vector64": vectors([count for count in COUNTS if count >= 16], texts["vector64"]),
        "together": [[title for title, _ in TOGETHER.values()]],
        "states": [
            [first_reset, "reset", "clone_state", "restore_state"],
            ["mean", "least", "most", "race start, once for all"],
        ],
        "parts": [["state", "metrics", "events", "reward", "observation", "info"]],
        "sensors": [list(SENSORS)],
        "metrics": [list(DEFAULT_METRICS)],
        "evolution": [[way.title for way in WAYS.values()]],
        "peers": speeds(
            (*peers, "plain", *ours), named([(upper, lower) for lower in peers for upper in ours])
        )
        if peers
        else [],
    }
    assert first_reset.startswith("first reset, ")
    # What is compared with the reference has the same ratio beside its speed as below.
    for name in ("vector", "vector64"):
        *groups, ratios = tables_of(texts[name])
        times = {f"{row[0]} / {ROWS[REFERENCE].title}": row[3:5] for one in groups for row in one}
        for ratio, *numbers in ratios[2:]:
            assert times.get(ratio, numbers) == numbers
    # Every aim has its number, the same as in the table that it is from.
    rows = tables_of(measured)[-1][2:]
    assert [row[0] for row in rows] == [aim.title for aim in AIMS]
    for (_, wanted, value, met), aim in zip(rows, AIMS, strict=True):
        assert wanted == f"{'at least' if aim.at_least else 'below'} {aim.wanted:g}"
        assert met == ("yes" if aim.met(float(value)) else "NO")
        numbers = {row[0]: row[1] for one in tables_of(texts[aim.path[0]]) for row in one}
        shorter = numbers[aim.path[2]]
        digits = len(shorter.partition(".")[2])
        assert float(value) == pytest.approx(float(shorter), abs=0.51 * 10**-digits)


def test_measured_costs_of_watching_are_those_of_the_benchmark() -> None:
    result: dict[str, Any] = {
        "date": "",
        "machine": {"cores": 1, "load_average_before": 0.0},
        "viewer": {
            "costs": collections.defaultdict(float),
            "evolution": {title: [(1.0, 1.0)] for title, _, _ in viewer.SHOWS},
        },
    }
    for name in viewer.TABLES:
        text = TEXTS["viewer.md"].split(f"<!-- {name}: begin -->")[1]
        shown = text.split(f"<!-- {name}: end -->")[0]
        assert first_columns(shown) == first_columns(viewer.report(result, name))


def test_measured_courses_are_those_of_the_cartridge() -> None:
    text = TEXTS["benchmarks.md"].split("<!-- courses: begin -->")[1]
    known = list(Cartridge.open().course_names())
    speed, *others = first_columns(text.split("<!-- courses: end -->")[0])
    assert speed in (known, [*known, AGAINST])
    assert others == [known] * (3 if AGAINST in speed else 2)


def test_the_speeds_of_the_readme_are_measured_ones() -> None:
    text = TEXTS["benchmarks.md"]
    rows, ratios = tables_of(text[text.index("(`plain`)") : text.index("(`step`)")])
    medians = {row[0]: row[1] for row in rows}
    times = {row[0]: row[1:] for row in ratios}
    head, _, plain, *others = tables("README.md", "## Speed")[0]
    assert head == ["frames per second", "median", "x plain", "middle half"]
    assert plain == [ROWS[PLAIN_ROWS[0]].title, medians[plain[0]], "1", ""]
    assert {*(row[0] for row in others)} < {ROWS[key].title for key in PLAIN_ROWS}
    assert any(row[0].startswith("MKDSVectorEnv") for row in others)
    for title, median, ratio, spread in others:
        assert median == medians[title]
        exact, between = times[f"{title} / {plain[0]}"]
        assert float(ratio) == pytest.approx(float(exact), abs=0.0056)
        for short, long in zip(spread.split(" to "), between.split(" to "), strict=True):
            assert float(short) == pytest.approx(float(long), abs=0.0056)


def test_tables_and_rows_of_the_benchmark() -> None:
    questions = tables("benchmarks.md", "# Benchmarks")[1][2:]
    assert [(names(row[0])[0], row[1]) for row in questions] == [
        (name, table.question) for name, table in TABLES.items()
    ]
    *rows, vectors = [row[0] for row in tables("benchmarks.md", "## How it is measured")[0][2:]]
    assert vectors.split(", ") == [title for title, _ in VECTORS.values()]
    assert set(rows) == {
        row.title
        for row in ROWS.values()
        if not row.title.startswith(tuple(f"{v}, " for v in vectors.split(", ")))
    }


# Everywhere ---------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_modules_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(
        r"`((?:mkds_gym|mkds_neat|examples|tests|docs|benchmarks)/[\w./]*)`", text
    ):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"\b(?:python -m )(mkds_\w+(?:\.\w+)*|benchmarks)", text):
        path = ROOT / name.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), name
    for dotted in re.findall(r"`(mkds_(?:gym|neat)(?:\.\w+)+)", text):
        module, _, attribute = dotted.rpartition(".")
        code = f"import importlib; getattr(importlib.import_module({module!r}), {attribute!r})"
        if not (ROOT / dotted.replace(".", "/")).with_suffix(".py").exists():
            assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0, dotted


def commands() -> list[tuple[str, str]]:
    """Every line of every sh block, with the page it stands on."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", TEXTS[page.name], re.DOTALL):
            found += [(page.name, line.partition("#")[0].strip()) for line in block.splitlines()]
    return [(page, line) for page, line in found if line]


def test_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    helps: dict[str, str] = {}
    assert commands()
    for page, line in commands():
        words = line.split()
        if words[0] == "make":
            assert words[1] in targets, (page, line)
            continue
        if words[0] == "bash":
            assert (ROOT / words[1]).exists(), (page, line)
            continue
        assert words[0] == "python", (page, line)
        program = words[1:3] if words[1] == "-m" else words[1:2]
        rest = words[1 + len(program) :]
        if rest[:1] in (["build"], ["compile"], ["preview"]):
            program.append(rest.pop(0))
        key = " ".join(program)
        if key not in helps:
            done = subprocess.run(
                [sys.executable, *program, "--help"],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=120,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            assert done.returncode == 0, done.stderr
            helps[key] = done.stdout
        for word in rest:
            if word.startswith("-"):
                assert re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", helps[key]), (page, line)
            elif "/" in word and "FOLDER" not in word and not word.startswith("runs/"):
                assert (ROOT / word).exists(), (page, line)


def command_lines() -> dict[str, str]:
    """The module of each command, by how it is called."""
    found = {}
    for package in ("mkds_gym", "mkds_neat", "benchmarks"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if "ArgumentParser(" in path.read_text(encoding="utf-8"):
                module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                found[module.removesuffix(".__main__")] = module
    return found


def options(parser: argparse.ArgumentParser) -> set[str]:
    """The options of a parser and of its commands, but for help."""
    found: set[str] = set()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found.update(*map(options, action.choices.values()))
        elif not isinstance(action, argparse._HelpAction):
            found.update(action.option_strings)
    return found


@pytest.mark.parametrize("command", command_lines())
def test_every_option_is_described(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parsers: list[argparse.ArgumentParser] = []

    def asked(parser: argparse.ArgumentParser, *_: object) -> None:
        parsers.append(parser)
        raise SystemExit

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", asked)
    with pytest.raises(SystemExit):
        importlib.import_module(command_lines()[command]).main()
    (parser,) = parsers
    assert parser.prog == f"python -m {command}"
    described = [
        name.split()[0]
        for page in TEXTS
        for head, _, *rows in tables(page)
        if f"`{parser.prog}`" in head[0]
        for row in rows
        for name in names(row[0])
    ]
    assert {name for name in described if name.startswith("-")} == options(parser)


BLOCKS = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", TEXTS[page.name], re.DOTALL))
]


@pytest.mark.parametrize("block", BLOCKS)
def test_python_blocks_run(block: str, tmp_path: Path) -> None:
    script = tmp_path / "block.py"
    script.write_text(block, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        env={key: value for key, value in os.environ.items() if key != "MKDS_ROM"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_pictures_are_small() -> None:
    pictures = sorted((ROOT / "docs" / "images").rglob("*.png"))
    assert pictures
    for picture in pictures:
        assert picture.stat().st_size < 150_000, picture.name
        used = any(f"{picture.parent.name}/{picture.name}" in text for text in TEXTS.values())
        assert used, f"{picture.name} is on no page"
