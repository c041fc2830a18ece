"""What a comparison consists of: the competitors, courses and seeds, and their configs."""

from __future__ import annotations

import configparser
import itertools
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from mkds_gym.episodes.race_config import RANDOM_COURSE
from mkds_gym.errors import reason
from mkds_gym.utils.arguments import shortened, shown
from mkds_gym.utils.files import write_bytes
from mkds_gym.utils.reading import parse_ini, parse_json, read_file, read_text, validated
from mkds_neat.compare.unseen import MAX_UNSEEN, is_kartlab
from mkds_neat.config import Config, parse_config, sections_text
from mkds_neat.config.ppo import PPO
from mkds_neat.errors import ConfigError, RunFolderError

PLAN_FORMAT: Final = "mkds_neat comparison"
PLAN_VERSION: Final = 1
MAX_PLAN: Final = 16 << 20
MAX_RUNS: Final = 10_000
LOCK: Final = "comparison.lock"
_STAND_IN: Final = "truncation"
"""The strategy in whose place `PPO` trains. It needs no section."""
_GENERATIONS: Final = 1_000_000
"""More than a budget of frames allows."""
_COURSE_KEYS: Final = ("course", "course_set", "course_seed", "difficulty")


@dataclass(frozen=True)
class PlannedRun:
    """A run of a comparison.

    Attributes:
        name: Name of its folder.
        competitor: Name of the competitor in tables.
        strategy: The strategy, or ``ppo``.
        course: Name of the course in tables.
        seed: The run's seed.
        setting: Key of its config in `Plan.settings`.
    """

    name: str
    competitor: str
    strategy: str
    course: str
    seed: int
    setting: str


@dataclass(frozen=True)
class Plan:
    """A comparison.

    Attributes:
        frames: Budget of each run, in driver frames.
        unseen: Number of unseen random courses that champions drive on.
        unseen_laps: Laps of a race there; 0 for as many as in training.
        runs: The runs, in order of seed, then course, then competitor.
        settings: Text of each value of the configs, by competitor and course, section and key.
        rom_sha1: SHA-1 of the cartridge.
    """

    frames: int
    unseen: int
    unseen_laps: int
    runs: tuple[PlannedRun, ...]
    settings: Mapping[str, Mapping[str, Mapping[str, str]]]
    rom_sha1: str

    @property
    def competitors(self) -> list[str]:
        """Names of the competitors."""
        return list(dict.fromkeys(run.competitor for run in self.runs))

    @property
    def courses(self) -> list[str]:
        """Names of the courses."""
        return list(dict.fromkeys(run.course for run in self.runs))

    def run(self, name: str) -> PlannedRun:
        """Return the run of this name."""
        return next(run for run in self.runs if run.name == name)

    def config_text(self, run: PlannedRun, output: Path) -> str:
        """Return the config file of a run."""
        sections = {name: dict(keys) for name, keys in self.settings[run.setting].items()}
        sections["run"] |= {"seed": str(run.seed), "output": str(output)}
        return sections_text(sections)

    def config(self, run: PlannedRun) -> Config:
        """Return the checked config of a run. For ``ppo``, its strategy means nothing."""
        text = self.config_text(run, Path("runs") / run.name)
        overrides = {"strategy": _STAND_IN} if run.strategy == PPO else {}
        return parse_config(text, f"config of {run.name}", overrides)

    def to_bytes(self) -> bytes:
        """Return the contents of ``comparison.json``."""
        data = {"format": PLAN_FORMAT, "version": PLAN_VERSION, **asdict(self)}
        return (json.dumps(data, indent=1) + "\n").encode()


_PLAN: Final = TypeAdapter(Plan)


def load_plan(folder: str | os.PathLike[str]) -> Plan | None:
    """Read ``comparison.json`` of a folder.

    Returns:
        The comparison; None if there is none.

    Raises:
        RunFolderError: The file is damaged or of another version, or the folder holds something
            else.
    """
    path = Path(folder) / "comparison.json"
    try:
        if not path.exists():
            if not Path(folder).exists():
                return None
            if not Path(folder).is_dir():
                raise RunFolderError(
                    f"{shown(str(folder))} is a file: expected a folder for the comparison"
                )
            names = sorted(path.name for path in Path(folder).iterdir())
            others = [n for n in names if not n.startswith(".") and n != LOCK]
            if not others:
                return None
            raise RunFolderError(
                f"the folder {shown(str(folder))} holds something else than a comparison "
                f"({', '.join(others[:4])}): choose another one with --output"
            )
    except OSError as error:
        raise RunFolderError(f"{shown(str(folder))} cannot be read: {reason(error)}") from error
    name = repr(str(path))
    remedy = "expected a file that a comparison has written"
    read = parse_json(
        read_file(path, name, RunFolderError, limit=MAX_PLAN, remedy=remedy), name, RunFolderError
    )
    if not isinstance(read, dict) or read.pop("format", None) != PLAN_FORMAT:
        raise RunFolderError(f"{name} is not the comparison.json of a comparison")
    if (version := read.pop("version", None)) != PLAN_VERSION:
        raise RunFolderError(f"{name} has version {shown(version)}: expected {PLAN_VERSION}")
    plan = validated(_PLAN, read, name, RunFolderError)
    for run in plan.runs:
        if not _is_name(run.name) or run.setting not in plan.settings:
            raise RunFolderError(f"{name} is damaged: run {shown(run.name)}")
    return plan


def save_plan(folder: Path, plan: Plan) -> None:
    """Write ``comparison.json``, or check that the one that is there is of the same comparison.

    Args:
        folder: A folder that exists.
        plan: The comparison.

    Raises:
        RunFolderError: Another comparison is there, or the file cannot be written.
    """
    old = load_plan(folder)
    if old is not None:
        if difference := _difference(old, plan):
            raise RunFolderError(
                f"{shown(str(folder))} holds another comparison: {difference}; repeat its command "
                "to continue it, or choose another folder with --output"
            )
        return
    write_bytes(folder / "comparison.json", plan.to_bytes(), RunFolderError)


def _difference(old: Plan, new: Plan) -> str:
    """Return the first difference of two comparisons in words; empty if they are equal."""
    for name in ("frames", "unseen", "unseen_laps"):
        if getattr(old, name) != getattr(new, name):
            option = f"--{name.replace('_', '-')}"
            return f"{option} {getattr(old, name)}, not {getattr(new, name)}"
    for name, option in (("competitors", "--strategies"), ("courses", "--courses")):
        before, now = getattr(old, name), getattr(new, name)
        if before != now:
            return f"{option} {','.join(before)}, not {','.join(now)}"
    seeds = [sorted({run.seed for run in plan.runs}) for plan in (old, new)]
    if seeds[0] != seeds[1]:
        before_text, now_text = (",".join(map(str, s)) for s in seeds)
        return f"--seeds {before_text}, not {now_text}"
    if old.rom_sha1 != new.rom_sha1:
        return f"the cartridge with the SHA-1 {old.rom_sha1}, not {new.rom_sha1}"
    for key, sections in old.settings.items():
        for section, values in sections.items():
            others = new.settings.get(key, {}).get(section, {})
            for name in dict.fromkeys((*values, *others)):
                if values.get(name) != others.get(name):
                    return (
                        f"[{section}] {name} = {shown(values.get(name))} for {key}, not "
                        f"{shown(others.get(name))}"
                    )
    return "" if old == new else "other runs"


def make_plan(
    configs: Sequence[str | os.PathLike[str]],
    strategies: Sequence[str] = (),
    courses: Sequence[str] = (),
    seeds: Sequence[int] = (1,),
    *,
    frames: int,
    unseen: int = 0,
    unseen_laps: int = 0,
) -> Plan:
    """Check everything that a comparison will run, and return it.

    Args:
        configs: Config files.
        strategies: Strategies to compare, each with every config; empty for each config's own.
            ``ppo`` stands for PPO of Stable-Baselines3.
        courses: Courses of the cartridge, ``random`` for ``course_set = train``, or
            ``random:SEED``; empty for each config's own.
        seeds: Seeds of the runs.
        frames: Budget of each run in driver frames.
        unseen: Number of unseen random courses that champions drive on.
        unseen_laps: Laps of a race there; 0 for as many as in training.

    Raises:
        ConfigError: Something is unknown, missing or contradictory. The message names config,
            strategy and course.
    """
    _check_list("--strategies", strategies)
    _check_list("--courses", courses)
    _check_list("--seeds", seeds)
    for option, value, least, most in (
        ("--frames", frames, 1, 1 << 40),
        ("--unseen", unseen, 0, MAX_UNSEEN),
        ("--unseen-laps", unseen_laps, 0, 9),
    ):
        if not least <= value <= most:
            raise ConfigError(f"{option} {value} is out of range: expected {least} to {most:,}")
    stems = [Path(config).stem for config in configs]
    _check_list("configs, by file name:", stems)
    if len(configs) * max(1, len(strategies)) * max(1, len(courses)) * len(seeds) > MAX_RUNS:
        raise ConfigError(f"more than {MAX_RUNS:,} runs: expected fewer courses or seeds")
    settings: dict[str, Mapping[str, Mapping[str, str]]] = {}
    found: list[tuple[str, str, str, str]] = []
    sha1s: dict[str, str] = {}
    for path, stem in zip(configs, stems, strict=True):
        for strategy, course in itertools.product(strategies or (None,), courses or (None,)):
            sections, label, where = _sections(path, strategy, course, frames)
            config, sections = _check(sections, strategy, where)
            name = sections["run"]["strategy"]
            competitor = name if len(configs) == 1 else f"{stem} {name}"
            if config.environment.cartridge is not None:
                sha1s.setdefault(config.environment.cartridge.sha1, where)
            if unseen and not is_kartlab(config.environment.cartridge):
                raise ConfigError(
                    f"{where}: --unseen {unseen} needs the cartridge Kartlab, whose random courses "
                    "the champions drive on"
                )
            key = f"{competitor} on {label}"
            settings[key] = sections
            found.append((competitor, name, label, key))
    if len(sha1s) > 1:
        raise ConfigError(
            f"{' and '.join(sha1s.values())} have different cartridges: compare on one"
        )
    runs = [
        PlannedRun(_folder_name(competitor, course, seed), competitor, name, course, seed, key)
        for seed in seeds
        for course in dict.fromkeys(label for _, _, label, _ in found)
        for competitor, name, label, key in found
        if label == course
    ]
    _check_list("names of runs", [run.name for run in runs])
    return Plan(frames, unseen, unseen_laps, tuple(runs), settings, next(iter(sha1s), ""))


def _check_list(what: str, values: Sequence[Any]) -> None:
    for value in values:
        if value == "" or values.count(value) > 1:
            problem = "more than once" if value != "" else "an empty name"
            raise ConfigError(f"{what} has {shown(value)} {problem}: expected different names")


def _folder_name(competitor: str, course: str, seed: int) -> str:
    words = (competitor, course, f"seed{seed}")
    return "-".join(re.sub(r"[^\w.]+", "_", word) for word in words)


def _is_name(name: str) -> bool:
    return re.fullmatch(r"[\w.-]+", name) is not None and not name.startswith(".")


def _sections(
    path: str | os.PathLike[str], strategy: str | None, course: str | None, frames: int
) -> tuple[dict[str, dict[str, str]], str, str]:
    """Return a config's sections for a strategy and a course, the course's label, and a name."""
    name = f"config file {shown(os.fspath(path))}"
    text = read_text(path, name, ConfigError, remedy="examples/ has complete config files")
    parser: configparser.RawConfigParser = parse_ini(text, name, ConfigError)
    sections = {section: dict(parser.items(section)) for section in parser.sections()}
    run = sections.setdefault("run", {})
    run |= {"stop_when": "never", "frames": str(frames), "generations": str(_GENERATIONS)}
    run |= {"workers": "1", "checkpoint_every": "1", "pictures": "no", "viewer": "none"}
    run["engine"] = "local"
    run.pop("networks", None)  # champions within the budget are read from there
    if strategy is not None:
        run["strategy"] = strategy
    where = os.fspath(path)
    environment = sections.setdefault("environment", {})
    if course is not None:
        where += f", course {shortened(course, 100)}"
        for key in _COURSE_KEYS:
            environment.pop(key, None)
        environment |= _course_keys(course)
        sections.get("evaluation", {}).pop("courses", None)
    label = course or _own_course(environment)
    where += f", strategy {shortened(run.get('strategy', 'neat'), 100)}"
    return sections, label, where


def _course_keys(course: str) -> dict[str, str]:
    word, *numbers = course.split(":")
    if word != RANDOM_COURSE or not numbers:
        return {"course_set": "train"} if course == RANDOM_COURSE else {"course": course}
    if len(numbers) > 2 or not all(re.fullmatch(r"[\d.]+", number) for number in numbers):
        raise ConfigError(
            f"--courses {shown(course)}: expected the name of a course, {RANDOM_COURSE}, "
            f"{RANDOM_COURSE}:SEED or {RANDOM_COURSE}:SEED:DIFFICULTY"
        )
    keys = {"course": RANDOM_COURSE, "course_seed": numbers[0]}
    return keys | ({"difficulty": numbers[1]} if len(numbers) > 1 else {})


def _own_course(environment: Mapping[str, str]) -> str:
    values = [environment[key] for key in _COURSE_KEYS if key in environment]
    return " ".join(values) or "default"


def _check(
    sections: Mapping[str, Mapping[str, str]], strategy: str | None, where: str
) -> tuple[Config, dict[str, dict[str, str]]]:
    """Return the checked config, and its text without what differs between runs."""
    is_ppo = strategy == PPO
    overrides = {"strategy": _STAND_IN} if is_ppo else {}
    config = parse_config(sections_text(sections), where, overrides)
    checked = {name: dict(keys) for name, keys in config.sections.items()}
    checked["run"] = {k: v for k, v in checked["run"].items() if k not in ("seed", "output")}
    if is_ppo:
        checked["run"]["strategy"] = PPO
    else:
        config.make_strategy().ask()  # may refuse sizes
    return config, checked


def has_reference(plan: Plan, course: str) -> bool:
    """Return whether race times on a course can be compared.

    All episodes must be on this course of Kartlab, from the start of the race. Other cartridges
    have no opponents whose strength can be chosen.
    """
    config = plan.config(next(run for run in plan.runs if run.course == course))
    kwargs, drives = config.env_kwargs, config.plan
    several = "course_set" in kwargs or (
        kwargs.get("course") == RANDOM_COURSE and "course_seed" not in kwargs
    )
    return (
        is_kartlab(config.environment.cartridge)
        and "state" not in kwargs
        and not (several or drives.courses or drives.starts)
    )
