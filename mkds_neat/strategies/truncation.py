"""The strategy ``truncation``: keep the best, and mutate copies of the top few.

Each genome starts as one random connection. Each generation keeps its best individuals unchanged.
The others are copies of parents drawn uniformly from the top k, each with one of three mutations
at equal odds:

* The weight of a connection changes by a normal deviate of standard deviation ``sigma``.
* A connection is added, never into an input or out of an output, with a standard normal weight.
* A node splits an enabled connection. The new connection into the node has weight 1, the one out of
  the node has the old weight, and the old connection is disabled.

If all connections exist already, the weight of a connection changes instead. Of equal fitnesses,
the older individual ranks first.

A node is ``tanh`` of the weighted sum of its inputs. There are no biases.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import Field, ValidationError

from mkds_gym.utils.arguments import integer
from mkds_neat.errors import ChampionFormatError, StrategyStateError, describe
from mkds_neat.individual import Individual, Result
from mkds_neat.networks import NetworkSpec, Node
from mkds_neat.strategies.base import Count, Plain, check_results
from mkds_neat.strategies.snapshot import generator_to_plain, load_generator

ACTIVATION: Final = "unit_tanh"


@dataclass
class Genome:
    """A genome.

    Inputs are numbered from 0; outputs follow, and then hidden nodes.

    Attributes:
        inputs: Number of inputs.
        outputs: Number of outputs.
        hidden: Number of hidden nodes.
        weights: Weight by (from, to), in order of age.
        disabled: Connections that a node has split.
    """

    inputs: int
    outputs: int
    hidden: int = 0
    weights: dict[tuple[int, int], float] = field(default_factory=dict)
    disabled: set[tuple[int, int]] = field(default_factory=set)

    @classmethod
    def random(cls, inputs: int, outputs: int, rng: np.random.Generator) -> Genome:
        """Return a genome of one random connection, from an input to an output."""
        genome = cls(inputs, outputs)
        genome.add_connection(rng)
        return genome

    def enabled(self) -> list[tuple[int, int]]:
        """Return the enabled connections in order of age."""
        return [key for key in self.weights if key not in self.disabled]

    def change_weight(self, rng: np.random.Generator, sigma: float) -> None:
        """Add a normal deviate of standard deviation ``sigma`` to one enabled weight."""
        keys = self.enabled()
        key = keys[int(rng.integers(len(keys)))]
        self.weights[key] += float(rng.normal(0.0, sigma))

    def add_connection(self, rng: np.random.Generator) -> bool:
        """Add a missing connection; return False if all connections exist."""
        first_hidden = self.inputs + self.outputs
        nodes = first_hidden + self.hidden
        sources = [*range(self.inputs), *range(first_hidden, nodes)]
        absent = [
            (source, target)
            for source in sources
            for target in range(self.inputs, nodes)
            if (source, target) not in self.weights
        ]
        if not absent:
            return False
        self.weights[absent[int(rng.integers(len(absent)))]] = float(rng.normal())
        return True

    def add_node(self, rng: np.random.Generator) -> None:
        """Split an enabled connection by a new node."""
        keys = self.enabled()
        source, target = keys[int(rng.integers(len(keys)))]
        node = self.inputs + self.outputs + self.hidden
        self.hidden += 1
        self.disabled.add((source, target))
        self.weights[source, node] = 1.0
        self.weights[node, target] = self.weights[source, target]

    def mutate(self, rng: np.random.Generator, sigma: float) -> None:
        """Apply one of the three mutations, at equal odds."""
        kind = int(rng.integers(3))
        if kind == 2:
            self.add_node(rng)
        elif kind == 0 or not self.add_connection(rng):
            self.change_weight(rng, sigma)

    def network(self) -> NetworkSpec:
        """Return the network of the genome."""
        nodes = range(self.inputs, self.inputs + self.outputs + self.hidden)
        return NetworkSpec(
            inputs=tuple(range(self.inputs)),
            outputs=tuple(range(self.inputs, self.inputs + self.outputs)),
            nodes=tuple(Node(i, activation=ACTIVATION) for i in nodes),
            connections=tuple((*key, self.weights[key]) for key in self.enabled()),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the genome as JSON-ready values."""
        return {
            "inputs": self.inputs,
            "outputs": self.outputs,
            "hidden": self.hidden,
            "connections": [
                {
                    "from": key[0],
                    "to": key[1],
                    "weight": weight,
                    "enabled": key not in self.disabled,
                }
                for key, weight in self.weights.items()
            ],
        }

    @classmethod
    def from_json(cls, data: Any) -> Genome:
        """Return the genome that `to_json` wrote.

        Raises:
            ChampionFormatError: The data are malformed.
        """
        try:
            read = _Genome.model_validate(data)
        except ValidationError as error:
            raise ChampionFormatError(
                f"expected a genome of truncation: {describe(error)}"
            ) from error
        genome = cls(read.inputs, read.outputs, read.hidden)
        for each in read.connections:
            genome.weights[each.source, each.target] = each.weight
            if not each.enabled:
                genome.disabled.add((each.source, each.target))
        genome.check()
        return genome

    def check(self) -> None:
        """Check that all connections join nodes of the genome.

        Raises:
            ChampionFormatError: A connection is not possible, or too many nodes are hidden.
        """
        first = self.inputs + self.outputs
        nodes = first + self.hidden
        if 2 * self.hidden > len(self.weights):  # each split adds two connections
            raise ChampionFormatError(
                f"expected a genome of truncation: {self.hidden} hidden nodes, but "
                f"{len(self.weights)} connections"
            )
        for source, target in self.weights:
            if not (source < self.inputs or first <= source < nodes) or not (
                self.inputs <= target < nodes
            ):
                raise ChampionFormatError(
                    f"expected a genome of truncation: a connection cannot go from {source} to "
                    f"{target}"
                )


class _Connection(Plain):
    source: Count = Field(alias="from")
    target: Count = Field(alias="to")
    weight: float
    enabled: bool


class _Genome(Plain):
    inputs: Annotated[int, Field(ge=1, le=100_000)]
    outputs: Annotated[int, Field(ge=1, le=100_000)]
    hidden: Count
    connections: list[_Connection]


class _Member(Plain):
    id: Count
    parents: list[Count]
    genome: dict[str, Any]


class _State(Plain):
    """A state of the strategy. Numbers of more than 64 bits are in hexadecimal."""

    strategy: Literal["truncation"]
    generation: Count
    next_id: Count
    generator: dict[str, str]
    individuals: list[_Member]


def count_parents(population: int, top_k: float, elite: int, sigma: float) -> int:
    """Check the arguments of `TruncationStrategy`, and return its number of parents.

    Raises:
        ValueError: An argument is out of range.
    """
    if population < 2:
        raise ValueError(f"population = {population} is out of range: expected at least 2")
    if not 0 <= elite < population:
        raise ValueError(
            f"elite = {elite} is out of range: expected 0 to {population - 1}, less than the "
            "population"
        )
    if not (sigma > 0.0 and math.isfinite(sigma)):
        raise ValueError(f"sigma = {sigma} is out of range: expected a positive number")
    is_count = isinstance(top_k, int)
    in_range = 1 <= top_k <= population if is_count else 0.0 < top_k <= 1.0
    if isinstance(top_k, bool) or not in_range:
        raise ValueError(
            f"top_k = {top_k} is out of range: expected an integer from 1 to {population}, the "
            "population, or a fraction in (0, 1] (2.0 is a fraction, 2 an integer)"
        )
    return int(top_k) if is_count else max(1, round(top_k * population))


class TruncationStrategy:
    """Truncation selection with mutation.

    Args:
        inputs: Components of an observation.
        outputs: Components of an action.
        population: Individuals in a generation, at least 2.
        top_k: Number of parents: an int, or a fraction of the population in (0, 1] as a float.
        elite: Number of the best individuals that are kept unchanged.
        sigma: Standard deviation of a change of weight.
        seed: Seed of the strategy's random generator.

    Raises:
        TypeError: An argument has another type.
        ValueError: An argument is out of range.
    """

    name = "truncation"

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        population: int,
        top_k: float = 0.2,
        elite: int = 1,
        sigma: float = 0.1,
        seed: int = 0,
    ) -> None:
        inputs, outputs = integer("inputs", inputs, 1), integer("outputs", outputs, 1)
        population, elite = integer("population", population, 2), integer("elite", elite, 0)
        seed = integer("seed", seed, 0)
        self._top = count_parents(population, top_k, elite, sigma)
        self._sizes = inputs, outputs
        self._population = population
        self._elite = elite
        self._sigma = sigma
        self._rng = np.random.default_rng(np.random.SeedSequence([seed, 0x7247]))
        self._genomes = {i: Genome.random(inputs, outputs, self._rng) for i in range(population)}
        self._parents: dict[int, tuple[int, ...]] = {}
        self._next_id = population
        self._asked = False
        self._generation = 0

    @property
    def generation(self) -> int:
        """Number of the generation that `ask` returns, from 0."""
        return self._generation

    @property
    def solved(self) -> bool:
        """Always False: the strategy has no goal."""
        return False

    def ask(self) -> list[Individual]:
        """Return the current generation in order of id."""
        self._asked = True
        return [
            Individual(key, genome.network(), genome.to_json(), None, self._parents.get(key, ()))
            for key, genome in sorted(self._genomes.items())
        ]

    def tell(self, results: Iterable[Result]) -> None:
        """Give the result of each individual, and make the next generation.

        Raises:
            StrategyError: `ask` was not called, or the ids are not those that it returned.
            ValueError: A fitness is not a finite number.
        """
        by_id = check_results(self._genomes if self._asked else None, results)
        ranked = sorted(self._genomes, key=lambda key: (-by_id[key].fitness, key))
        new = {key: self._genomes[key] for key in ranked[: self._elite]}
        parents: dict[int, tuple[int, ...]] = {}
        while len(new) < self._population:
            parent = ranked[int(self._rng.integers(self._top))]
            child = copy.deepcopy(self._genomes[parent])
            child.mutate(self._rng, self._sigma)
            new[self._next_id] = child
            parents[self._next_id] = (parent,)
            self._next_id += 1
        self._genomes, self._parents = new, parents
        self._generation += 1
        self._asked = False

    def state(self) -> dict[str, Any]:
        """Return everything that later generations depend on, as plain data."""
        return {
            "strategy": self.name,
            "generation": self._generation,
            "next_id": self._next_id,
            "generator": generator_to_plain(self._rng),
            "individuals": [
                {
                    "id": key,
                    "parents": list(self._parents.get(key, ())),
                    "genome": genome.to_json(),
                }
                for key, genome in self._genomes.items()
            ],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue where another strategy of the same inputs and outputs was.

        Raises:
            StrategyStateError: The state is malformed, of another strategy, or of networks of
                another size.
        """
        try:
            data = _State.model_validate(state)
            genomes = {each.id: Genome.from_json(each.genome) for each in data.individuals}
            rng = np.random.default_rng(0)
            load_generator(rng, data.generator)
        except ValidationError as error:
            raise StrategyStateError(f"expected a state of truncation: {describe(error)}") from None
        except (ChampionFormatError, ValueError, OverflowError) as error:
            raise StrategyStateError(f"expected a state of truncation: {error}") from error
        if len(genomes) < len(data.individuals) or len(genomes) < 2:
            raise StrategyStateError(
                f"expected a state of truncation: {len(data.individuals)} individuals with "
                f"{len(genomes)} different ids"
            )
        if max(genomes) >= data.next_id:
            raise StrategyStateError(
                f"expected a state of truncation: next_id {data.next_id} is in use"
            )
        for key, genome in genomes.items():
            if (genome.inputs, genome.outputs) != self._sizes:
                raise StrategyStateError(
                    f"individual {key} has {genome.inputs} inputs and {genome.outputs} outputs: "
                    f"expected {self._sizes[0]} and {self._sizes[1]}"
                )
        self._generation, self._asked, self._next_id = data.generation, False, data.next_id
        self._genomes, self._rng = genomes, rng
        self._parents = {each.id: tuple(each.parents) for each in data.individuals if each.parents}
