"""The sections of the strategies, and what each of them makes.

`SECTIONS` maps the name of a built-in strategy to its section.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from mkds_gym.utils.arguments import did_you_mean
from mkds_neat.config.section import Section, literal, words
from mkds_neat.networks import ACTIVATIONS
from mkds_neat.networks.mlp import MLP
from mkds_neat.strategies import (
    CMAES,
    CMAME,
    Behaviour,
    MAPElites,
    OpenAIES,
    RandomSearch,
    SepCMAES,
    Strategy,
    TruncationStrategy,
)
from mkds_neat.strategies.parameters import check_behaviours
from mkds_neat.strategies.pyribs import check_emitters, check_pairs
from mkds_neat.strategies.truncation import count_parents

NEAT: Final = "neat"


def _count_or_fraction(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return int(value)
    except ValueError:
        return float(value)


def _ranges(value: Any) -> Any:
    """Read ranges such as ``0..1``."""
    found = []
    for word in words(value):
        match = re.fullmatch(r"(.+?)\.\.(.+)", word)
        if match is None:
            raise ValueError(f"{word!r} is not a range: expected two numbers such as 0..1")
        found.append((match[1], match[2]))
    return found


Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Population = Annotated[int, Field(ge=2, le=1_000_000)]
Sizes = Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(words)]
Cells = Annotated[tuple[Annotated[int, Field(ge=1, le=1_000)], ...], BeforeValidator(words)]
Names = Annotated[tuple[str, ...], BeforeValidator(words)]
Ranges = Annotated[tuple[tuple[Finite, Finite], ...], BeforeValidator(_ranges)]


class MLPSettings(Section):
    """Section ``[mlp]``. The fields describe themselves."""

    hidden: Sizes = Field(
        default="16",
        validate_default=True,
        description="nodes of each hidden layer, such as 16,16; empty for a linear network",
    )
    activation: str = Field(
        default="unit_tanh",
        description="activation of all nodes: one of neat-python's, or unit_tanh, the tanh of "
        "other libraries",
    )

    @model_validator(mode="after")
    def _check(self) -> MLPSettings:
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"activation = {self.activation!r} is unknown"
                f"{did_you_mean(self.activation, ACTIVATIONS)}: expected one of "
                + ", ".join(sorted(ACTIVATIONS))
            )
        return self

    def network(self, inputs: int, outputs: int) -> MLP:
        """Return the network between the environment's inputs and outputs.

        Raises:
            ValueError: The network is too large.
        """
        return MLP(inputs, outputs, self.hidden, self.activation)


class StrategySection(Section):
    """A section of a built-in strategy other than ``neat``."""

    fixed: ClassVar[bool] = True
    """Whether no key can change in a resumed run."""
    population: int

    @abstractmethod
    def make(self, inputs: int, outputs: int, mlp: MLPSettings, seed: int) -> Strategy:
        """Return the strategy at its first generation.

        Raises:
            ValueError: A value is out of range for these inputs and outputs.
            StrategyError: A package is missing.
        """

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that the strategy reads."""
        return ()


class TruncationSettings(StrategySection):
    """Section ``[truncation]``. The fields describe themselves."""

    fixed: ClassVar[bool] = False
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

    def make(self, inputs: int, outputs: int, mlp: MLPSettings, seed: int) -> Strategy:  # noqa: ARG002
        """Return the strategy at its first generation."""
        return TruncationStrategy(inputs, outputs, **self.model_dump(), seed=seed)


class _ParameterSettings(StrategySection):
    """A strategy on the parameters of ``[mlp]``."""

    kind: ClassVar[Any]
    population: Population = Field(
        default=60, description="individuals in a generation, at least 2"
    )
    sigma: Positive = Field(default=0.5, description="first standard deviation of each parameter")

    def make(self, inputs: int, outputs: int, mlp: MLPSettings, seed: int) -> Strategy:
        """Return the strategy at its first generation."""
        made: Strategy = self.kind(mlp.network(inputs, outputs), seed=seed, **self._arguments())
        return made

    def _arguments(self) -> dict[str, Any]:
        return self.model_dump()


class RandomSearchSettings(_ParameterSettings):
    """Section ``[random_search]``. The fields describe themselves."""

    kind: ClassVar[Any] = RandomSearch
    sigma: Positive = Field(default=1.0, description="standard deviation of each parameter")


class OpenAIESSettings(_ParameterSettings):
    """Section ``[openai_es]``. The fields describe themselves."""

    kind: ClassVar[Any] = OpenAIES
    population: Population = Field(
        default=60, description="individuals in a generation: an even number of at least 2"
    )
    sigma: Positive = Field(default=0.5, description="standard deviation of the perturbations")
    learning_rate: Positive = Field(default=0.1, description="step size of Adam")
    weight_decay: NotNegative = Field(
        default=0.0, description="coefficient of the L2 penalty on parameters"
    )

    @model_validator(mode="after")
    def _check_pairs(self) -> OpenAIESSettings:
        check_pairs(self.population)
        return self


class CMAESSettings(_ParameterSettings):
    """Section ``[cma_es]``. The fields describe themselves."""

    kind: ClassVar[Any] = CMAES


class SepCMAESSettings(_ParameterSettings):
    """Section ``[sep_cma_es]``. The fields describe themselves."""

    kind: ClassVar[Any] = SepCMAES


class _ArchiveSettings(_ParameterSettings):
    """A strategy with an archive of behaviours."""

    behaviours: Names = Field(
        default="offroad_path, wall_hits",
        validate_default=True,
        description="metrics that span the archive, separated by commas",
    )
    ranges: Ranges = Field(
        default="0..2000, 0..20",
        validate_default=True,
        description="range of each behaviour, such as 0..1; values outside count for the end cells",
    )
    cells: Cells = Field(
        default="20, 20", validate_default=True, description="cells of each behaviour: 1 to 1000"
    )

    @model_validator(mode="after")
    def _check_archive(self) -> _ArchiveSettings:
        counts = {key: len(getattr(self, key)) for key in ("behaviours", "ranges", "cells")}
        if len(set(counts.values())) > 1:
            raise ValueError(
                "expected as many ranges and cells as behaviours, got "
                + ", ".join(f"{count} {key}" for key, count in counts.items())
            )
        check_behaviours(self.kind.name, self._behaviours())
        return self

    def _behaviours(self) -> tuple[Behaviour, ...]:
        return tuple(
            Behaviour(metric=name, low=low, high=high, cells=cells)
            for name, (low, high), cells in zip(
                self.behaviours, self.ranges, self.cells, strict=True
            )
        )

    def _arguments(self) -> dict[str, Any]:
        rest = self.model_dump(exclude={"behaviours", "ranges", "cells"})
        return {**rest, "behaviours": self._behaviours()}

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that the strategy reads."""
        return self.behaviours


class MAPElitesSettings(_ArchiveSettings):
    """Section ``[map_elites]``. The fields describe themselves."""

    kind: ClassVar[Any] = MAPElites
    sigma: Positive = Field(
        default=0.3, description="standard deviation of the first parameters and of each move"
    )
    line_sigma: NotNegative = Field(
        default=0.2, description="standard deviation of the share of the way to another elite"
    )


class CMAMESettings(_ArchiveSettings):
    """Section ``[cma_me]``. The fields describe themselves."""

    kind: ClassVar[Any] = CMAME
    population: Population = Field(
        default=60,
        description="individuals in a generation: a multiple of emitters, at least 2 for each",
    )
    emitters: Annotated[int, Field(ge=1)] = Field(
        default=5, description="searches by CMA-ES at the same time, at least 1"
    )

    @model_validator(mode="after")
    def _check_emitters(self) -> CMAMESettings:
        check_emitters(self.population, self.emitters)
        return self


class CustomSettings(Section):
    """Section ``[strategy]``: arguments of a class that ``[run] strategy`` names.

    Values are Python literals. Text that is not a literal stands for itself.
    """

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="before")
    @classmethod
    def _read_literals(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {key: literal(value) for key, value in values.items()}

    @property
    def arguments(self) -> dict[str, Any]:
        """A new dict of all keys."""
        return dict(self.model_extra or {})


SECTIONS: Final[Mapping[str, type[StrategySection]]] = {
    "truncation": TruncationSettings,
    "random_search": RandomSearchSettings,
    "openai_es": OpenAIESSettings,
    "cma_es": CMAESSettings,
    "sep_cma_es": SepCMAESSettings,
    "map_elites": MAPElitesSettings,
    "cma_me": CMAMESettings,
}

STRATEGIES: Final = (NEAT, *SECTIONS)
"""The names that ``[run] strategy`` accepts besides ``module:Class``."""


def sections_of(strategy: str) -> tuple[str, ...]:
    """Return the sections of mkds_neat that a strategy reads."""
    if strategy in SECTIONS:
        uses_mlp = issubclass(SECTIONS[strategy], _ParameterSettings)
        return (*("mlp",) * uses_mlp, strategy)
    return () if strategy == NEAT else ("strategy",)
