"""The strategy ``neat``: NEAT by neat-python, as `ask` and `tell`.

neat-python's ``Population.run`` calls the evaluation itself. `NeatStrategy.tell` runs it for one
generation, with an evaluation that assigns the given fitnesses. Selection, crossover, mutation,
speciation and stagnation are neat-python's, and its config sections control them.

neat-python draws from the global generator of ``random``: the strategy swaps its own state in and
out around every call. Pickling neat-python's counters advances them: the strategy replaces them
by counters that can be read.
"""

from __future__ import annotations

import contextlib
import pickle
import random
from collections.abc import Iterator, Mapping
from typing import Any

import neat
from neat.population import CompleteExtinctionException

from mkds_neat.errors import ChampionFormatError, StrategyError
from mkds_neat.individual import Individual
from mkds_neat.networks import NetworkSpec, Node
from mkds_neat.strategies.base import check_fitnesses


class _Counter:
    """An ``itertools.count`` whose next value can be read and pickled without counting."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __iter__(self) -> _Counter:
        return self

    def __next__(self) -> int:
        value, self.value = self.value, self.value + 1
        return value


class NeatStrategy:
    """NEAT by neat-python.

    Args:
        config: A ``neat.Config`` with neat-python's default types. The strategy changes it.
        seed: Seed of the strategy's random state.

    Attributes:
        config: The ``neat.Config``.
        population: The ``neat.Population``.
    """

    name = "neat"

    def __init__(self, config: Any, *, seed: int = 0) -> None:
        self.config = config
        self._random_state: Any = random.Random(f"mkds_neat {seed}").getstate()
        self._parents: dict[int, tuple[int, ...]] = {}
        self._asked = False
        self._solved = False
        config.genome_config.node_indexer = _Counter(config.genome_config.num_outputs)
        with self._own_random():
            self.population: Any = neat.Population(config)
        self.population.reproduction.genome_indexer = _Counter(max(self.population.population) + 1)
        species = self.population.species
        species.indexer = _Counter(max(species.species) + 1)

    @property
    def generation(self) -> int:
        """Number of the generation that `ask` returns, from 0."""
        return int(self.population.generation)

    @property
    def solved(self) -> bool:
        """Whether ``fitness_threshold`` was met (never with ``no_fitness_termination``)."""
        return self._solved

    def ask(self) -> list[Individual]:
        """Return the current generation in order of id."""
        self._asked = True
        config = self.config.genome_config
        return [
            Individual(
                key,
                network_of(genome, config),
                genome_to_json(genome, config),
                self.population.species.get_species_id(key),
                self._parents.get(key, ()),
            )
            for key, genome in sorted(self.population.population.items())
        ]

    def tell(self, fitnesses: Mapping[int, float]) -> None:
        """Give the fitness of each individual, and make the next generation.

        Raises:
            StrategyError: `ask` was not called, the ids are not those that it returned, all
                species have died out, or there are too many species.
            ValueError: A fitness is not a finite number.
        """
        population = self.population
        check_fitnesses(population.population if self._asked else None, fitnesses)

        def assign(genomes: list[tuple[int, Any]], config: Any) -> None:  # noqa: ARG001
            for key, genome in genomes:
                genome.fitness = float(fitnesses[key])

        generation = population.generation
        with self._own_random():
            try:
                population.run(assign, 1)
            except CompleteExtinctionException:
                raise StrategyError(
                    "every species has stagnated and died out; set reset_on_extinction = True in "
                    "[NEAT], or raise max_stagnation or species_elitism in [DefaultStagnation]"
                ) from None
            except RuntimeError as error:
                raise StrategyError(
                    f"neat-python cannot continue after generation {generation}: {error} (raise "
                    "pop_size or compatibility_threshold, or lower min_species_size and elitism)"
                ) from error
        # neat-python does not advance the generation when its threshold is met.
        self._solved = population.generation == generation
        ancestors = population.reproduction.ancestors
        self._parents = {k: tuple(ancestors.get(k, ())) for k in population.population}
        ancestors.clear()
        self._asked = False

    @contextlib.contextmanager
    def _own_random(self) -> Iterator[None]:
        outside = random.getstate()
        random.setstate(self._random_state)
        try:
            yield
        finally:
            self._random_state = random.getstate()
            random.setstate(outside)

    def __getstate__(self) -> dict[str, Any]:
        genomes = self.config.genome_config
        species = self.population.species
        counters = (genomes.node_indexer.value, species.indexer.value)
        saved = genomes.node_indexer, species.indexer
        # neat-python's own __getstate__ would advance each of them.
        genomes.node_indexer = species.indexer = None
        try:
            blob = pickle.dumps((self.config, self.population))
        finally:
            genomes.node_indexer, species.indexer = saved
        state = {k: v for k, v in self.__dict__.items() if k not in ("config", "population")}
        return {**state, "blob": blob, "counters": counters}

    def __setstate__(self, state: dict[str, Any]) -> None:
        blob, counters = state.pop("blob"), state.pop("counters")
        self.__dict__.update(state)
        self.config, self.population = pickle.loads(blob)
        self.config.genome_config.node_indexer = _Counter(counters[0])
        self.population.species.indexer = _Counter(counters[1])


def network_of(genome: Any, config: Any) -> NetworkSpec:
    """Return the network of a neat-python genome: all nodes, and the enabled connections.

    Args:
        genome: A feed-forward ``neat.DefaultGenome``.
        config: Its ``genome_config``.
    """
    return NetworkSpec(
        inputs=tuple(config.input_keys),
        outputs=tuple(config.output_keys),
        nodes=tuple(
            Node(key, g.bias, g.response, g.activation, g.aggregation)
            for key, g in sorted(genome.nodes.items())
        ),
        connections=tuple(
            (*key, g.weight) for key, g in sorted(genome.connections.items()) if g.enabled
        ),
    )


def genome_to_json(genome: Any, config: Any) -> dict[str, Any]:
    """Return a neat-python genome as JSON-ready values, which `genome_from_json` reads back."""
    return {
        "key": genome.key,
        "inputs": config.num_inputs,
        "outputs": config.num_outputs,
        "nodes": [
            {"key": key, **{a.name: getattr(g, a.name) for a in g._gene_attributes}}
            for key, g in sorted(genome.nodes.items())
        ],
        "connections": [
            {
                "from": key[0],
                "to": key[1],
                "innovation": g.innovation,
                **{a.name: getattr(g, a.name) for a in g._gene_attributes},
            }
            for key, g in sorted(genome.connections.items())
        ],
    }


def genome_from_json(data: Any) -> Any:
    """Return the ``neat.DefaultGenome`` that `genome_to_json` wrote.

    Raises:
        ChampionFormatError: The data are malformed.
    """
    try:
        genome = neat.DefaultGenome(int(data["key"]))
        for item in data["nodes"]:
            node = neat.genes.DefaultNodeGene(int(item["key"]))
            for attribute in node._gene_attributes:
                setattr(node, attribute.name, item[attribute.name])
            genome.nodes[node.key] = node
        for item in data["connections"]:
            key = (int(item["from"]), int(item["to"]))
            connection = neat.genes.DefaultConnectionGene(key, innovation=int(item["innovation"]))
            for attribute in connection._gene_attributes:
                setattr(connection, attribute.name, item[attribute.name])
            genome.connections[key] = connection
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        raise ChampionFormatError(f"expected a genome of neat: {error!r}") from error
    return genome
