"""The sections of a config file that belong to mkds_neat, as pydantic models."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
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
from mkds_gym.vector.threads import usable_cores
from mkds_neat.errors import ConfigError
from mkds_neat.options import option
from mkds_neat.strategies.truncation import count_parents


def default_workers() -> int:
    """Return the number of cores this process may use, minus one for the parent; at least 1."""
    return max(1, usable_cores() - 1)


def _worker_count(value: Any) -> Any:
    words = {"auto": default_workers, "cores": usable_cores}
    return words[value.lower()]() if str(value).lower() in words else value


def _number_or_none(value: Any) -> Any:
    return None if str(value).lower() == "none" else value


def _number_or_auto(value: Any) -> Any:
    return None if str(value).lower() == "auto" else value


def _count_or_fraction(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return int(value)
    except ValueError:
        return float(value)


Workers = Annotated[PositiveInt, BeforeValidator(_worker_count)]
DriversPerConsole = Annotated[
    Annotated[int, Field(ge=1, le=MAX_DRIVERS)] | None, BeforeValidator(_number_or_auto)
]
FrameLimit = Annotated[PositiveInt | None, BeforeValidator(_number_or_none)]


class Section(BaseModel):
    """A section of the file. Each field is a key; its description states what is accepted."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RunSettings(Section):
    """Section ``[run]``. The fields describe themselves."""

    strategy: Literal["neat", "truncation"] = Field(
        default="neat", description="how generations follow one another"
    )
    seed: NonNegativeInt = Field(default=0, description="an integer of at least 0, for all chance")
    generations: PositiveInt = Field(
        default=100, description="most generations to evaluate, at least 1"
    )
    workers: Workers = Field(
        default="auto",
        validate_default=True,
        description="processes (or threads) that drive: an integer of at least 1, auto for the "
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
    output: Annotated[str, StringConstraints(min_length=1)] = Field(
        default="runs/run", description="folder to write to; if it exists, a number is added"
    )
    vectorization: Literal["async", "native"] = Field(
        default="async", description="async for worker processes, native for threads of one process"
    )
    start_method: Literal["forkserver", "fork", "spawn"] = Field(
        default="forkserver", description="how worker processes are started"
    )
    pictures: bool = Field(
        default=True, description="yes or no: write the champion's pictures at the end"
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

    id: str = Field(default="MKDS-v0", description="id of a registered environment")

    @model_validator(mode="before")
    @classmethod
    def _read_literals(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {key: value if key == "id" else _literal(value) for key, value in values.items()}

    @property
    def arguments(self) -> dict[str, Any]:
        """A new dict of all keys except ``id``."""
        return dict(self.model_extra or {})


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


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
        default="distance", description="a scorer, a weighted sum of metrics, or module:object"
    )
    retries: NonNegativeInt = Field(
        default=2,
        description="evaluations of an individual that are repeated after its worker failed",
    )


class TruncationSettings(Section):
    """Section ``[truncation]``. The fields describe themselves."""

    population: int = Field(default=60, description="individuals in a generation, at least 2")
    top_k: Annotated[int | float, BeforeValidator(_count_or_fraction)] = Field(
        default=0.2, description="parents: an integer, or a fraction of the population in (0, 1]"
    )
    elite: int = Field(default=1, description="best individuals that are kept unchanged")
    sigma: float = Field(default=0.1, description="standard deviation of a change of weight")

    @model_validator(mode="after")
    def _check_ranges(self) -> TruncationSettings:
        count_parents(**self.model_dump())
        return self


class Settings(Section):
    """All sections that belong to mkds_neat."""

    run: RunSettings
    environment: EnvironmentSettings = EnvironmentSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    truncation: TruncationSettings = TruncationSettings()


OUR_SECTIONS: Final = tuple(Settings.model_fields)


def setting(section: str, key: str, value: object, overridden: Collection[str] = ()) -> str:
    """Return a setting as its user wrote it: a line of the file, or an option."""
    if section == "run" and key in overridden:
        return f"{option(key)} {value}"
    return f"[{section}] {key} = {value!r}"


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


def complete(sections: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Return the text of all sections, with the defaults of missing keys written out."""
    completed = {}
    for name, field in Settings.model_fields.items():
        model: Any = field.annotation
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
        f"[{section}] has the unknown key {key!r}{suggest(key, known)}; "
        f"expected one of {', '.join(known)}"
    )


def suggest(word: str, known: Iterable[str]) -> str:
    """Return a suggestion of the most similar known word, or an empty string."""
    lower = {k.lower(): k for k in known}
    near = difflib.get_close_matches(word.lower(), lower, n=1)
    return f" (did you mean {lower[near[0]]!r}?)" if near else ""


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
        f"{suggest(str(problem['input']), choices)} ({key}: {field.description})"
    )
