"""The sections of a config file that belong to mkds_neat, as pydantic models."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from mkds_gym.kartlab.boot import MAX_DRIVERS
from mkds_gym.utils.arguments import did_you_mean, shown
from mkds_gym.vector.threads import usable_cores
from mkds_neat.config.ppo import PPO, PPOSettings
from mkds_neat.config.section import Section, literal, words
from mkds_neat.config.strategies import (
    STRATEGIES,
    CMAESSettings,
    CMAMESettings,
    CustomSettings,
    MAPElitesSettings,
    MLPSettings,
    OpenAIESSettings,
    RandomSearchSettings,
    SepCMAESSettings,
    TruncationSettings,
    sections_of,
)
from mkds_neat.errors import ConfigError
from mkds_neat.options import option


def default_workers() -> int:
    """Return the number of cores this process may use, minus one for the parent; at least 1."""
    return max(1, usable_cores() - 1)


def _worker_count(value: Any) -> Any:
    known = {"auto": default_workers, "cores": usable_cores}
    return known[value.lower()]() if str(value).lower() in known else value


def _number_or_none(value: Any) -> Any:
    return None if str(value).lower() == "none" else value


def _number_or_auto(value: Any) -> Any:
    return None if str(value).lower() == "auto" else value


def _installed_tensorboard(wanted: bool) -> bool:
    if wanted and importlib.util.find_spec("tensorboard") is None:
        raise ValueError("needs the package TensorBoard: pip install 'mkds-gym[tensorboard]'")
    return wanted


MAX_WORKERS: Final = 256
MAX_ACTORS: Final = 4096

Workers = Annotated[Annotated[int, Field(ge=1, le=MAX_WORKERS)], BeforeValidator(_worker_count)]
DriversPerConsole = Annotated[
    Annotated[int, Field(ge=1, le=MAX_DRIVERS)] | None, BeforeValidator(_number_or_auto)
]
FrameLimit = Annotated[PositiveInt | None, BeforeValidator(_number_or_none)]


def _path(value: Any) -> Any:
    try:
        str(value).encode()
    except UnicodeEncodeError:
        raise ValueError("expected a path in UTF-8") from None
    return value


def _known_strategy(value: str) -> str:
    if value in STRATEGIES or ":" in value:
        return value
    if value == PPO:
        raise ValueError("a competitor of mkds_neat.compare only, and no strategy of a run")
    module, dot, name = value.rpartition(".")
    hint = did_you_mean(value, (*STRATEGIES, f"{module}:{name}") if dot else STRATEGIES)
    raise ValueError(f"unknown strategy{hint}")


def _items(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    words = [word.strip() for word in value.split(",") if word.strip()]
    return () if [word.lower() for word in words] == ["none"] else tuple(words)


Names = Annotated[tuple[str, ...], BeforeValidator(_items)]
Counts = Annotated[tuple[PositiveInt, ...], BeforeValidator(_items)]


class RunSettings(Section):
    """Section ``[run]``. The fields describe themselves."""

    strategy: Annotated[str, AfterValidator(_known_strategy)] = Field(
        default="neat",
        description="how generations follow one another: neat, truncation, random_search, "
        "openai_es, cma_es, sep_cma_es, map_elites, cma_me, or module:Class",
    )
    reporters: Annotated[tuple[str, ...], BeforeValidator(words)] = Field(
        default="",
        validate_default=True,
        description="neat-python's reporters, for strategy = neat, separated by commas: stdout for "
        "neat.StdOutReporter(True), or module:Class, which is made without arguments",
    )
    seed: NonNegativeInt = Field(default=0, description="an integer of at least 0, for all chance")
    generations: PositiveInt = Field(
        default=100, description="most generations to evaluate, at least 1"
    )
    frames: FrameLimit = Field(
        default="none",
        validate_default=True,
        description="frames of all drivers after which the run ends, with the generation that "
        "reaches them, or none",
    )
    engine: Literal["local", "ray"] = Field(
        default="local",
        description="local drives on this machine, ray on the machines of a Ray cluster (see "
        "`[ray]`, which then counts instead of workers, vectorization and start_method)",
    )
    workers: Workers = Field(
        default="auto",
        validate_default=True,
        description="processes (or threads) that drive: an integer from 1 to 256, auto for the "
        "cores minus one, or cores for all of them",
    )
    drivers_per_console: DriversPerConsole = Field(
        default="auto",
        validate_default=True,
        description="races that a worker drives at a time in one console: an integer from 1 to 8, "
        "or auto for the fastest number; more than 1 needs a time trial on Kartlab",
    )
    stop_when: Literal["finish", "never"] = Field(
        default="finish",
        description="finish stops after the generation in which a driver finishes the race",
    )
    log_interval: PositiveInt = Field(
        default=1, description="generations between lines of progress"
    )
    checkpoint_every: PositiveInt = Field(default=1, description="generations between checkpoints")
    output: Annotated[str, StringConstraints(min_length=1), BeforeValidator(_path)] = Field(
        default="runs/run", description="folder to write to; if it exists, a number is added"
    )
    vectorization: Literal["async", "native"] = Field(
        default="async", description="async for worker processes, native for threads of one process"
    )
    start_method: Literal["forkserver", "fork", "spawn"] = Field(
        default="forkserver", description="how worker processes are started"
    )
    pictures: bool = Field(
        default="yes",
        validate_default=True,
        description="yes or no: write the champion's pictures at the end",
    )
    tensorboard: Annotated[bool, AfterValidator(_installed_tensorboard)] = Field(
        default="no",
        validate_default=True,
        description="yes or no: write curves, and videos of new champions, to tensorboard/; needs "
        "the extra tensorboard",
    )
    networks: NonNegativeInt = Field(
        default=256,
        description="megabytes for the networks of all individuals in networks/; the oldest "
        "generations are removed; 0 stores none",
    )
    viewer: Annotated[str, AfterValidator(str.lower)] = Field(
        default="none",
        description="races to show in a window: none, first, all, or places in a generation such "
        "as 0,3,5",
    )


class EnvironmentSettings(Section):
    """Section ``[environment]``: the id, and arguments of ``gym.make``.

    Values are Python literals. Text that is not a literal stands for itself.
    """

    model_config = ConfigDict(extra="allow")

    id: str = Field(default="MKDS-v0", description="id of a registered environment, or module:id")

    @model_validator(mode="before")
    @classmethod
    def _read_literals(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {key: value if key == "id" else literal(value) for key, value in values.items()}

    @property
    def arguments(self) -> dict[str, Any]:
        """A new dict of all keys except ``id``."""
        return dict(self.model_extra or {})


class EvaluationSettings(Section):
    """Section ``[evaluation]``. The fields describe themselves."""

    frames: PositiveInt = Field(
        default=3600, description="frames of the race clock that an episode lasts"
    )
    stuck: FrameLimit = Field(
        default=240, description="frames without progress after which an episode ends, or none"
    )
    wrong_way: FrameLimit = Field(
        default=120,
        description="frames in the wrong direction after which an episode ends, or none",
    )
    scorer: str = Field(
        default="distance",
        description="a scorer, a weighted sum of metrics, module:object, or rewards, the sum of "
        "the rewards, for an environment of another package",
    )
    episodes: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1, description="episodes that each individual drives, from 1 to 1000"
    )
    seeds: Literal["individual", "generation", "run"] = Field(
        default="individual",
        description="which individuals have the same seeds, and so the same random courses: "
        "individual (none), generation (those of a generation) or run (all)",
    )
    courses: Names = Field(
        default="none",
        validate_default=True,
        description="names of courses, or seeds of random courses such as 17 and 0:8 (0 to 7), "
        "separated by commas; episode k drives course k; none: that of [environment]",
    )
    starts: Names = Field(
        default="none",
        validate_default=True,
        description="where the episodes start, in laps such as 0.25, or grid for the start of the "
        "race, separated by commas; episode k has start k; none: all from the grid",
    )
    combine: Literal["mean", "min", "median"] = Field(
        default="mean", description="how the scores of the episodes make the fitness"
    )
    rung_frames: Counts = Field(
        default="none",
        validate_default=True,
        description="frames of a first, short drive, or of several, separated by commas: only the "
        "best drive on; or none",
    )
    rung_episodes: Counts = Field(
        default="none",
        validate_default=True,
        description="episodes, or several numbers, after which only the best drive on; or none",
    )
    keep: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.5, description="share of the individuals that drive on after a rung, up to 1"
    )
    reevaluate: Literal["never", "replace", "average"] = Field(
        default="never",
        description="whether an individual that survives drives again: never, replace (the new "
        "fitness counts) or average (the mean of all)",
    )
    retries: NonNegativeInt = Field(
        default=2,
        description="evaluations of an individual that are repeated after its worker failed",
    )

    @model_validator(mode="after")
    def _check_rungs(self) -> EvaluationSettings:
        if self.rung_frames and self.rung_episodes:
            raise ValueError("rung_frames and rung_episodes exclude each other: leave out one")
        for name, numbers, end in (
            ("rung_frames", self.rung_frames, self.frames),
            ("rung_episodes", self.rung_episodes, self.episodes),
        ):
            if any(a >= b for a, b in itertools.pairwise((*numbers, end))):
                what = name.removeprefix("rung_")
                raise ValueError(
                    f"{name} = {', '.join(map(str, numbers))} is out of range: expected "
                    f"rising numbers below {what} = {end}"
                )
        if self.reevaluate != "never" and self.seeds != "generation":
            raise ValueError(
                f"reevaluate = {self.reevaluate} would drive the same episodes again: write "
                "seeds = generation"
            )
        return self


class RaySettings(Section):
    """Section ``[ray]``. The fields describe themselves."""

    address: Annotated[str, StringConstraints(pattern=r"^(auto|local|[^\s/]+:\d{1,5})$")] = Field(
        default="auto",
        description="the cluster: auto for that of RAY_ADDRESS or of this machine, local to start "
        "one on this machine for the run, or host:port of its head",
    )
    actors: Annotated[
        Annotated[int, Field(ge=1, le=MAX_ACTORS)] | None, BeforeValidator(_number_or_auto)
    ] = Field(
        default="auto",
        validate_default=True,
        description="workers: an integer from 1 to 4096, or auto for as many as the cluster has "
        "room for at the start; those without room start when nodes join",
    )
    cpus_per_actor: Annotated[float, Field(ge=0.01, le=1024)] = Field(
        default=1.0, description="cores that Ray keeps for a worker, from 0.01"
    )
    placement: Literal["spread", "pack"] = Field(
        default="spread", description="whether Ray spreads the workers over nodes or packs them"
    )
    batch_seconds: Annotated[float, Field(ge=0.0, le=60.0)] = Field(
        default=0.5,
        description="seconds of driving that travel in a batch while many individuals wait, from "
        "0 to 60",
    )
    start_timeout: Annotated[float, Field(gt=0.0, le=86400.0)] = Field(
        default=120.0,
        description="seconds without any worker, because the cluster has no room, after which the "
        "run stops",
    )
    working_dir: str = Field(
        default="",
        description="folder with your own modules that Ray copies to the nodes; empty for none",
    )
    py_modules: Names = Field(
        default="",
        validate_default=True,
        description="folders of packages that Ray copies to the nodes, separated by commas",
    )


class Settings(Section):
    """All sections that belong to mkds_neat."""

    run: RunSettings
    environment: EnvironmentSettings = EnvironmentSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    strategy: CustomSettings = CustomSettings()
    mlp: MLPSettings = MLPSettings()
    truncation: TruncationSettings = TruncationSettings()
    ray: RaySettings = RaySettings()
    random_search: RandomSearchSettings = RandomSearchSettings()
    openai_es: OpenAIESSettings = OpenAIESSettings()
    cma_es: CMAESSettings = CMAESSettings()
    sep_cma_es: SepCMAESSettings = SepCMAESSettings()
    map_elites: MAPElitesSettings = MAPElitesSettings()
    cma_me: CMAMESettings = CMAMESettings()
    ppo: PPOSettings = PPOSettings()


OUR_SECTIONS: Final = tuple(Settings.model_fields)


def setting(section: str, key: str, value: object, overridden: Collection[str] = ()) -> str:
    """Return a setting as its user wrote it: a line of the file, or an option."""
    if section == "run" and key in overridden:
        return f"{option(key)} {value}"
    return f"[{section}] {key} = {shown(value)}"


def read_settings(
    sections: Mapping[str, Mapping[str, str]], overridden: Collection[str] = ()
) -> Settings:
    """Validate the sections of a file.

    Args:
        sections: Text of each value, by section and key. Other sections are ignored.
        overridden: Keys of ``[run]`` whose values do not come from the file.

    Raises:
        ConfigError: A key is unknown or a value is refused. The message lists all of them.
    """
    try:
        return Settings.model_validate(
            {k: dict(v) for k, v in sections.items() if k in OUR_SECTIONS}
        )
    except ValidationError as error:
        raise ConfigError(
            "; ".join(_describe(problem, overridden) for problem in error.errors())
        ) from error


def used_sections(run: RunSettings) -> tuple[str, ...]:
    """Return the sections of mkds_neat that count in a run."""
    ray = ("ray",) * (run.engine == "ray")
    return ("run", "environment", "evaluation", *sections_of(run.strategy), *ray)


def complete(
    sections: Mapping[str, Mapping[str, str]], run: RunSettings
) -> dict[str, dict[str, str]]:
    """Return the text of all sections, with the defaults of missing keys written out.

    A section without effect is left as it is.
    """
    completed: dict[str, dict[str, str]] = {}
    for name in used_sections(run):
        model: Any = Settings.model_fields[name].annotation
        defaults = {key: str(f.default) for key, f in model.model_fields.items()}
        completed[name] = {**defaults, **sections.get(name, {})}
    return {**completed, **{k: dict(v) for k, v in sections.items() if k not in completed}}


def check_keys(section: str, keys: Iterable[str], known: Iterable[str]) -> None:
    """Raise ConfigError if a key is not one of ``known``."""
    for key in keys:
        if key not in known:
            raise ConfigError(_unknown_key(section, key, known))


def _unknown_key(section: str, key: str, known: Iterable[str]) -> str:
    return (
        f"[{section}] has the unknown key {shown(key)}{did_you_mean(key, known)}; "
        f"expected one of {', '.join(known)}"
    )


def _describe(problem: ErrorDetails, overridden: Collection[str]) -> str:
    """Return one sentence about a problem that pydantic found."""
    section, *keys = map(str, problem["loc"])
    model: Any = Settings.model_fields[section].annotation
    message = problem["msg"].removeprefix("Value error, ")
    if not keys:
        return f"[{section}] {message}"
    key = keys[0]
    if problem["type"] == "extra_forbidden":
        return _unknown_key(section, key, model.model_fields)
    field = model.model_fields[key]
    choices = [word for word in get_args(field.annotation) if isinstance(word, str)]
    return (
        f"{setting(section, key, problem['input'], overridden)}: "
        f"{message[0].lower()}{message[1:]}"
        f"{did_you_mean(str(problem['input']), choices)} ({key}: {field.description})"
    )
