"""Strategies on the parameters of a network of fixed structure.

The state of a strategy is a snapshot before the current generation was drawn. Its size does not
grow with the generations, and it continues bit for bit.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal

import numpy as np
from pydantic import Field, ValidationError

from mkds_gym.utils.arguments import integer, number, shown
from mkds_neat.errors import ChampionFormatError, StrategyError, StrategyStateError, describe
from mkds_neat.individual import Individual, Result
from mkds_neat.networks.mlp import MLP
from mkds_neat.strategies.base import Count, Plain, check_results
from mkds_neat.strategies.snapshot import Floats, generator_to_plain, load_generator


class Behaviour(Plain):
    """A dimension of an archive: a metric, divided into cells.

    Attributes:
        metric: Name of the metric.
        low: Lower end of its range. A smaller value counts for the first cell.
        high: Upper end of its range. A greater value counts for the last cell.
        cells: Number of cells.
    """

    metric: str
    low: float
    high: float
    cells: int = Field(ge=1, le=1_000)


class _State(Plain):
    strategy: str
    version: Literal[2]
    arguments: dict[str, Any]
    generation: Count
    search: dict[str, Any]
    digest: str


MAX_STATE: Final = 48 << 20
"""Largest state in bytes. A checkpoint holds it, and more."""


class ParameterStrategy(ABC):
    """A strategy that searches the parameters of one network.

    Args:
        network: The network.
        population: Individuals in a generation.
        sigma: Standard deviation of the first parameters around 0.
        seed: Seed of all random generators.
        behaviours: Metrics that span the archive; empty for one best driver.
        options: Further arguments on which the result depends, as plain data.

    Raises:
        TypeError: An argument has another type.
        ValueError: An argument is out of range.
    """

    name: ClassVar[str]
    needs_behaviours: ClassVar[bool] = False

    def __init__(
        self,
        network: MLP,
        *,
        population: int,
        sigma: float,
        seed: int = 0,
        behaviours: Sequence[Behaviour] = (),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(network, MLP):
            raise TypeError(
                f"network={shown(network)} is not an MLP: expected MLP(inputs, outputs)"
            )
        self._population = integer("population", population, 2)
        self._sigma = positive("sigma", sigma)
        self._seed = integer("seed", seed, 0)
        if self.needs_behaviours:
            check_behaviours(self.name, behaviours)
        self.network = network
        self.behaviours = tuple(behaviours)
        self._options = dict(options or {})
        self._generation = 0
        self._asked: Floats | None = None
        self._before: dict[str, Any] = {}
        self._was_asked = False
        self._check_size()
        self._begin()

    def _check_size(self) -> None:
        size = 11 * self._state_numbers()  # base64 text of 8 bytes
        if size > MAX_STATE:
            raise ValueError(
                f"a state of {self.name} takes up to {size >> 20:,} MiB for {self.network.size:,} "
                f"parameters, and at most {MAX_STATE >> 20} can be saved: expected "
                f"{self._remedy()}"
            )

    def _state_numbers(self) -> int:
        """Return the most numbers in a state."""
        return 0

    def _remedy(self) -> str:
        return "a smaller network"

    @property
    def generation(self) -> int:
        """Number of the generation that `ask` returns, from 0."""
        return self._generation

    @property
    def solved(self) -> bool:
        """Always False: the strategy has no goal."""
        return False

    @abstractmethod
    def _begin(self) -> None:
        """Return to the start of generation 0."""

    @abstractmethod
    def _ask(self) -> Floats:
        """Return parameters, of shape (population, size of the network)."""

    @abstractmethod
    def _tell(self, fitness: Floats, behaviour: Floats) -> None:
        """Take fitnesses (population,) and behaviours (population, number of behaviours)."""

    @abstractmethod
    def _save(self) -> dict[str, Any]:
        """Return all that changes from generation to generation, as plain data."""

    @abstractmethod
    def _load(self, data: Mapping[str, Any]) -> None:
        """Take what `_save` returned.

        Raises:
            ValueError: The data are malformed.
        """

    def _arguments(self) -> dict[str, Any]:
        """Return the arguments on which the result depends, as plain data."""
        return {
            "layers": list(self.network.layers),
            "activation": self.network.activation,
            "population": self._population,
            "sigma": self._sigma,
            "seed": self._seed,
            "behaviours": [each.model_dump() for each in self.behaviours],
            **self._options,
        }

    def _parameters(self) -> Floats:
        if self._asked is None:
            self._before = self._save()
            self._asked = np.asarray(self._ask(), np.float64)
        return self._asked

    def ask(self) -> list[Individual]:
        """Return the current generation in order of id."""
        self._was_asked = True
        first = self.generation * self._population
        return [
            Individual(first + i, self.network.network(vector), self._genome(vector))
            for i, vector in enumerate(self._parameters())
        ]

    def _genome(self, vector: Floats) -> dict[str, Any]:
        return {
            "layers": list(self.network.layers),
            "activation": self.network.activation,
            "parameters": vector.tolist(),
        }

    def tell(self, results: Iterable[Result]) -> None:
        """Give the result of each individual, and make the next generation.

        Raises:
            StrategyError: `ask` was not called, the ids are not those that it returned, or the
                metric of a behaviour is missing or not a finite number.
            ValueError: A fitness is not a finite number.
        """
        first = self.generation * self._population
        ids = range(first, first + self._population)
        by_id = check_results(ids if self._was_asked else None, results)
        ordered = [by_id[key] for key in ids]
        fitness = np.array([each.fitness for each in ordered], np.float64)
        behaviour = [[self._value(b, each) for b in self.behaviours] for each in ordered]
        self._parameters()
        self._tell(fitness, np.array(behaviour, np.float64).reshape(self._population, -1))
        self._generation += 1
        self._asked, self._was_asked = None, False

    def _value(self, behaviour: Behaviour, result: Result) -> float:
        try:
            value = float(result.record.metrics[behaviour.metric])
        except KeyError:
            raise StrategyError(
                f"individual {result.id} has no metric {shown(behaviour.metric)} for the archive "
                f"of {self.name}, only {', '.join(result.record.metrics) or 'none'}: expected "
                "Result(id, fitness, EpisodeRecord(metrics={...})) with this metric"
            ) from None
        if not np.isfinite(value):
            raise StrategyError(
                f"individual {result.id} has {behaviour.metric} = {value}, which the archive of "
                f"{self.name} cannot place: expected a finite number"
            )
        return value

    def state(self) -> dict[str, Any]:
        """Return everything that later generations depend on, as plain data."""
        digest = self._digest()
        return {
            "strategy": self.name,
            "version": 2,
            "arguments": self._arguments(),
            "generation": self._generation,
            "search": self._before,
            "digest": digest,
        }

    def _digest(self) -> str:
        return hashlib.sha256(self._parameters().tobytes()).hexdigest()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue where another strategy with the same arguments was.

        Raises:
            StrategyStateError: The state is malformed, of another strategy, of other arguments, or
                of another version of pyribs or numpy, which proposes other parameters.
        """
        try:
            data = _State.model_validate(state)
        except ValidationError as error:
            raise StrategyStateError(
                f"expected a state of {self.name}: {describe(error)}"
            ) from None
        if data.strategy != self.name:
            raise StrategyStateError(
                f"expected a state of {self.name}, got one of {shown(data.strategy)}"
            )
        for key, value in self._arguments().items():
            if data.arguments.get(key) != value:
                raise StrategyStateError(
                    f"{key} = {shown(value)} cannot change: the state was saved with "
                    f"{shown(data.arguments.get(key))}"
                )
        fresh = self._fresh()
        fresh._generation = data.generation
        try:
            fresh._load(data.search)
            digest = fresh._digest()
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise StrategyStateError(
                f"expected a state of {self.name}, of this version of ribs: {error}"
            ) from error
        if digest != data.digest:
            raise StrategyStateError(
                f"the state of {self.name} leads to other parameters here; install the versions "
                "of ribs and numpy that the run began with, and use the same kind of processor"
            )
        self.__dict__.update(fresh.__dict__)

    def _fresh(self) -> ParameterStrategy:
        """Return another strategy with the same arguments, at generation 0."""
        fresh = object.__new__(type(self))
        fresh.__dict__.update(self.__dict__)
        fresh._asked, fresh._was_asked = None, False
        fresh._begin()
        return fresh


class RandomSearch(ParameterStrategy):
    """Independent normal deviates: what luck alone reaches.

    Args:
        network: The network.
        population: Individuals in a generation, at least 2.
        sigma: Standard deviation of each parameter.
        seed: Seed of the random generator.
    """

    name = "random_search"

    def _begin(self) -> None:
        self._rng = np.random.default_rng(seeds(self._seed, self.name))

    def _ask(self) -> Floats:
        return self._rng.normal(0.0, self._sigma, (self._population, self.network.size))

    def _tell(self, fitness: Floats, behaviour: Floats) -> None:
        pass

    def _save(self) -> dict[str, Any]:
        return {"generator": generator_to_plain(self._rng)}

    def _load(self, data: Mapping[str, Any]) -> None:
        load_generator(self._rng, data["generator"])


class _Genome(Plain):
    layers: list[Count] = Field(min_length=2, max_length=100)
    activation: str
    parameters: list[float]


def genome_from_json(data: Any) -> tuple[MLP, Floats]:
    """Return the network and the parameters of an individual's genome.

    Raises:
        ChampionFormatError: The data are malformed.
    """
    try:
        read = _Genome.model_validate(data)
        inputs, *hidden, outputs = read.layers
        network = MLP(inputs, outputs, tuple(hidden), read.activation)
        network.network(read.parameters)
    except ValidationError as error:
        raise ChampionFormatError(f"expected a genome of parameters: {describe(error)}") from None
    except ValueError as error:
        raise ChampionFormatError(f"expected a genome of parameters: {error}") from error
    return network, np.array(read.parameters, np.float64)


def check_behaviours(name: str, behaviours: Sequence[Behaviour]) -> None:
    """Raise ValueError or TypeError if behaviours cannot span the archive of a strategy."""
    if not behaviours:
        raise ValueError(f"behaviours is empty: {name} needs at least one metric")
    for each in behaviours:
        if not isinstance(each, Behaviour):
            raise TypeError(f"behaviours has {shown(each)}: expected objects of Behaviour")
        if not each.low < each.high:
            raise ValueError(
                f"the range of {each.metric} goes from {each.low} to {each.high}: expected the "
                "lower end first"
            )
    names = [each.metric for each in behaviours]
    if len(set(names)) < len(names):
        raise ValueError(f"behaviours = {', '.join(names)}: expected different metrics")
    cells = math.prod(each.cells for each in behaviours)
    if cells > 1_000_000:
        raise ValueError(f"the archive has {cells:,} cells: expected at most 1,000,000")


def positive(name: str, value: float, *, or_zero: bool = False) -> float:
    """Return an argument that is a positive number, or perhaps 0, as a float.

    Raises:
        TypeError: It is not a number.
        ValueError: It is out of range.
    """
    found = number(name, value, 0.0)
    if not (found or or_zero):
        raise ValueError(f"{name}={shown(value)} is out of range: expected a positive number")
    return found


def seeds(seed: int, name: str) -> np.random.SeedSequence:
    """Return the seeds of the strategy ``name``, different for each of them."""
    return np.random.SeedSequence([seed, *itertools.chain(name.encode())])
