"""The strategy ``truncation``: keep the best, mutate copies of the top few.

The first trainer's strategy, kept as it was: each genome starts as one random connection. Each
generation keeps its best unchanged and fills up with copies of parents drawn uniformly from the
top k, each with one of three mutations, at equal odds:

* one connection's weight changes by a normal deviate of standard deviation ``sigma``;
* a new connection, never into an input or out of an output, with a standard normal weight;
* a node that splits an enabled connection: the way in has weight 1, the way out the old weight,
  and the old connection is disabled.

A mutation that a genome has no room for (every connection exists already) becomes a change of
weight. Equal fitnesses rank by id, the older first.

Units are ``tanh`` of the plain weighted sum, outputs among them; there are no biases.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from mkds_neat.errors import ChampionFormatError
from mkds_neat.networks import NetworkSpec, Node
from mkds_neat.strategies import Individual, check_told

ACTIVATION: Final = "unit_tanh"


@dataclass
class Genome:
    """A genome of ints and dicts.

    Inputs are numbered 0 to inputs - 1, outputs follow, hidden nodes after them.

    Attributes:
        inputs: number of inputs.
        outputs: number of outputs.
        hidden: number of hidden nodes.
        weights: weight by (from, to).
        disabled: connections that a node has split.
    """

    inputs: int
    outputs: int
    hidden: int = 0
    weights: dict[tuple[int, int], float] = field(default_factory=dict)
    disabled: set[tuple[int, int]] = field(default_factory=set)

    @classmethod
    def random(cls, inputs: int, outputs: int, rng: np.random.Generator) -> Genome:
        """A genome of one random connection, from an input to an output."""
        genome = cls(inputs, outputs)
        genome.add_connection(rng)
        return genome

    def enabled(self) -> list[tuple[int, int]]:
        """Enabled connections, in order of age."""
        return [key for key in self.weights if key not in self.disabled]

    def change_weight(self, rng: np.random.Generator, sigma: float) -> None:
        """Add a normal deviate of standard deviation ``sigma`` to one enabled weight."""
        keys = self.enabled()
        key = keys[int(rng.integers(len(keys)))]
        self.weights[key] += float(rng.normal(0.0, sigma))

    def add_connection(self, rng: np.random.Generator) -> bool:
        """Add a connection that is not there yet; False when all are."""
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
        """Split one enabled connection by a new node."""
        keys = self.enabled()
        source, target = keys[int(rng.integers(len(keys)))]
        node = self.inputs + self.outputs + self.hidden
        self.hidden += 1
        self.disabled.add((source, target))
        self.weights[source, node] = 1.0
        self.weights[node, target] = self.weights[source, target]

    def mutate(self, rng: np.random.Generator, sigma: float) -> None:
        """One mutation of the three, at equal odds."""
        kind = int(rng.integers(3))
        if kind == 2:
            self.add_node(rng)
        elif kind == 0 or not self.add_connection(rng):
            self.change_weight(rng, sigma)

    def network(self) -> NetworkSpec:
        """The network that this genome describes."""
        nodes = range(self.inputs, self.inputs + self.outputs + self.hidden)
        return NetworkSpec(
            inputs=tuple(range(self.inputs)),
            outputs=tuple(range(self.inputs, self.inputs + self.outputs)),
            nodes=tuple(Node(i, activation=ACTIVATION) for i in nodes),
            connections=tuple((*key, self.weights[key]) for key in self.enabled()),
        )

    def to_json(self) -> dict[str, Any]:
        """The genome as JSON-ready values."""
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
        """The genome that `to_json` wrote.

        Raises:
            ChampionFormatError: it is malformed.
        """
        try:
            genome = cls(int(data["inputs"]), int(data["outputs"]), int(data["hidden"]))
            for c in data["connections"]:
                key = (int(c["from"]), int(c["to"]))
                genome.weights[key] = float(c["weight"])
                if not c["enabled"]:
                    genome.disabled.add(key)
            genome.network()
        except (KeyError, TypeError, ValueError) as error:
            raise ChampionFormatError(f"this is no genome of truncation: {error!r}") from error
        return genome


def top_count(top_k: float, population: int) -> int:
    """How many individuals are parents: ``top_k`` itself, or that fraction, at least one.

    Args:
        top_k: an integer of 1 to ``population``, or a float in (0, 1].
        population: individuals in a generation.

    Raises:
        ValueError: out of range.
    """
    if isinstance(top_k, bool) or not math.isfinite(top_k):
        raise ValueError(f"top_k={top_k!r} is not a number")
    if isinstance(top_k, int):
        if not 1 <= top_k <= population:
            raise ValueError(f"top_k={top_k} is outside 1..{population}, the population")
        return top_k
    if not 0.0 < top_k <= 1.0:
        raise ValueError(
            f"top_k={top_k} as a fraction must be in (0, 1]; write 2, not 2.0, to count"
        )
    return max(1, round(top_k * population))


class TruncationStrategy:
    """See the module.

    Args:
        inputs: width of the observation.
        outputs: width of the action.
        population: individuals in a generation.
        top_k: how many of the best are parents: an int, or a fraction in (0, 1] as a float.
        elite: how many of the best are kept unchanged.
        sigma: standard deviation of a change of weight.
        seed: of the strategy's own random generator.

    Raises:
        ValueError: an argument is out of range.
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
        if inputs < 1 or outputs < 1:
            raise ValueError(f"{inputs} inputs and {outputs} outputs: both must be at least 1")
        if population < 2:
            raise ValueError(f"population={population} must be at least 2")
        if not 0 <= elite < population:
            raise ValueError(f"elite={elite} is outside 0..{population - 1}")
        if not (sigma > 0.0 and math.isfinite(sigma)):
            raise ValueError(f"sigma={sigma} must be a positive number")
        self._top = top_count(top_k, population)
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
        """See `Strategy.generation`."""
        return self._generation

    @property
    def solved(self) -> bool:
        """Never: truncation has no goal of its own."""
        return False

    def ask(self) -> list[Individual]:
        """See `Strategy.ask`."""
        self._asked = True
        return [
            Individual(key, genome.network(), genome.to_json(), None, self._parents.get(key, ()))
            for key, genome in sorted(self._genomes.items())
        ]

    def tell(self, fitnesses: Mapping[int, float]) -> None:
        """See `Strategy.tell`."""
        check_told(self._genomes if self._asked else None, fitnesses)
        ranked = sorted(self._genomes, key=lambda key: (-fitnesses[key], key))
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
