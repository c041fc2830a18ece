"""The same small effort of tuning for every competitor of docs/results."""

from __future__ import annotations

import configparser
import itertools
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
TUNED: Final = HERE / "tuned.json"
"""What `tune` has chosen."""
COURSE: Final = "ridge_course"
"""A course that docs/results does not show."""
SEEDS: Final = "101-102"
FRAMES: Final = 150_000
Setting = Mapping[str, str]
CANDIDATES: Final[Mapping[str, Sequence[Setting]]] = {
    "random_search": ({"sigma": "0.5"}, {"sigma": "1.0"}, {"sigma": "2.0"}),
    "truncation": ({"sigma": "0.1"}, {"sigma": "0.3"}, {"sigma": "1.0"}),
    "openai_es": (
        {"sigma": "0.5", "learning_rate": "0.1"},
        {"sigma": "0.3", "learning_rate": "0.1"},
        {"sigma": "0.5", "learning_rate": "0.3"},
    ),
    "cma_es": ({"sigma": "0.3"}, {"sigma": "0.5"}, {"sigma": "1.0"}),
    "sep_cma_es": ({"sigma": "0.3"}, {"sigma": "0.5"}, {"sigma": "1.0"}),
    "map_elites": ({"sigma": "0.1"}, {"sigma": "0.3"}, {"sigma": "1.0"}),
    "cma_me": ({"sigma": "0.3"}, {"sigma": "0.5"}, {"sigma": "1.0"}),
    "neat": (
        {"weight_mutate_power": "0.5", "weight_init_stdev": "1.0"},
        {"weight_mutate_power": "1.0", "weight_init_stdev": "1.0"},
        {"weight_mutate_power": "0.5", "weight_init_stdev": "0.5"},
    ),
    "ppo": (
        {"learning_rate": "5e-4", "entropy": "0.01"},
        {"learning_rate": "1e-3", "entropy": "0.01"},
        {"learning_rate": "5e-4", "entropy": "0.0"},
    ),
}
"""Three settings of each competitor. The first is the default, or that of the examples."""
_SECTIONS: Final = {"neat": "DefaultGenome"}


def section_of(competitor: str) -> str:
    """Return the section of the config that tuning changes."""
    return _SECTIONS.get(competitor, competitor)


def write_config(base: Path, settings: Mapping[str, Setting], path: Path) -> None:
    """Write a config with other settings.

    Args:
        base: The config file.
        settings: Values by key, by competitor.
        path: The file to write.
    """
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(base.read_text(encoding="utf-8"))
    for competitor, values in settings.items():
        section = section_of(competitor)
        if not parser.has_section(section):
            parser.add_section(section)
        for key, value in values.items():
            parser.set(section, key, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        parser.write(file)


def chosen() -> dict[str, Setting]:
    """Return the settings that `tune` chose, by competitor; empty before that."""
    settings: dict[str, Setting] = _read().get("settings", {})
    return settings


def chosen_frames() -> int:
    """Return the budget with which `tune` chose."""
    return int(_read().get("frames", FRAMES))


def _read() -> dict[str, Any]:
    if not TUNED.is_file():
        return {}
    read: dict[str, Any] = json.loads(TUNED.read_text(encoding="utf-8"))
    return read


def tune(folder: Path, competitors: Sequence[str], frames: int, jobs: str) -> int:
    """Compare the candidates of each competitor, and write the best to `TUNED`.

    The best has the shortest median race time over seeds, and after that the highest median
    fitness.

    Returns:
        The exit status of the comparison that did not end; else 0.
    """
    from mkds_neat.compare.__main__ import main as compare
    from mkds_neat.compare.store import Store

    best = chosen()
    for competitor in competitors:
        configs = []
        for number, values in enumerate(CANDIDATES[competitor]):
            path = folder / "configs" / f"{competitor}{number}.ini"
            write_config(HERE / "courses.ini", {competitor: values}, path)
            configs.append(str(path))
        output = folder / competitor
        status = compare(
            [
                *(*configs, "--strategies", competitor, "--courses", COURSE, "--seeds", SEEDS),
                *("--frames", str(frames), "--jobs", jobs, "--output", str(output)),
            ]
        )
        if status:
            return status
        store = Store.open(output)
        scores = []
        for _, runs in itertools.groupby(
            sorted(store.plan.runs, key=lambda run: run.competitor), lambda run: run.competitor
        ):
            found = [m for run in runs if (m := store.measures(run.name)) is not None]
            scores.append(
                (
                    -statistics.median(m.best_time or math.inf for m in found),
                    statistics.median(m.best_fitness or -math.inf for m in found),
                )
            )
        best[competitor] = CANDIDATES[competitor][scores.index(max(scores))]
        data = {"course": COURSE, "seeds": SEEDS, "frames": frames, "settings": best}
        TUNED.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return 0


def describe() -> str:
    """Return a Markdown table of the candidates, the chosen ones in bold type."""
    best = chosen()
    lines = ["| competitor | settings that were tried |", "| --- | --- |"]
    for competitor, candidates in CANDIDATES.items():
        texts = []
        for candidate in candidates:
            text = ", ".join(f"{key} = {value}" for key, value in candidate.items())
            texts.append(f"**{text}**" if candidate == best.get(competitor) else text)
        lines.append(f"| {competitor} | {'; '.join(texts)} |")
    return "\n".join(lines)
