"""The strategy ``neat``: NEAT by neat-python, turned inside out into ask and tell.

neat-python's ``Population.run`` wants to call the evaluation; here `NeatStrategy.tell` runs it
for one generation with an "evaluation" that hands over the fitnesses told. Selection, crossover,
mutation, speciation and stagnation are all neat-python's, steered by its own config sections.

Two of its habits are kept in check: it draws from the ``random`` module's global generator (the
strategy swaps its own state in and out around every call), and pickling its counters uses up
numbers (they are replaced by counters that can be read without counting).
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
from mkds_neat.networks import NetworkSpec, Node
from mkds_neat.strategies import Individual, check_told


class _Counter:
    """``itertools.count`` that can be read, and pickled, without counting."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __iter__(self) -> _Counter:
        return self

    def __next__(self) -> int:
        value, self.value = self.value, self.value + 1
        return value


class NeatStrategy:
    """See the module.

    Args:
        config: a ``neat.Config`` with neat-python's default types.
        seed: of the strategy's own random state.
    """

    name = "neat"

    def __init__(self, config: Any, *, seed: int = 0) -> None:
        self._config = config
        self._random_state: Any = random.Random(f"mkds_neat {seed}").getstate()
        self._parents: dict[int, tuple[int, ...]] = {}
        self._asked = False
        self._solved = False
        config.genome_config.node_indexer = _Counter(config.genome_config.num_outputs)
        with self._own_random():
            self._population: Any = neat.Population(config)
        self._population.reproduction.genome_indexer = _Counter(
            max(self._population.population) + 1
        )
        species = self._population.species
        species.indexer = _Counter(max(species.species) + 1)

    @property
    def generation(self) -> int:
        """See `Strategy.generation`."""
        return int(self._population.generation)

    @property
    def solved(self) -> bool:
        """The ``fitness_threshold`` was met (unless ``no_fitness_termination``)."""
        return self._solved

    def ask(self) -> list[Individual]:
        """See `Strategy.ask`."""
        self._asked = True
        config = self._config.genome_config
        return [
            Individual(
                key,
                network_of(genome, config),
                genome_to_json(genome, config),
                self._population.species.get_species_id(key),
                self._parents.get(key, ()),
            )
            for key, genome in sorted(self._population.population.items())
        ]

    def tell(self, fitnesses: Mapping[int, float]) -> None:
        """See `Strategy.tell`.

        Raises:
            StrategyError: also when all species have died out, or there are too many.
        """
        population = self._population
        check_told(population.population if self._asked else None, fitnesses)

        def hand_over(genomes: list[tuple[int, Any]], config: Any) -> None:  # noqa: ARG001
            for key, genome in genomes:
                genome.fitness = float(fitnesses[key])

        generation = population.generation
        with self._own_random():
            try:
                population.run(hand_over, 1)
            except CompleteExtinctionException:
                raise StrategyError(
                    "every species has stagnated and died out; set reset_on_extinction = True in "
                    "[NEAT], or raise max_stagnation or species_elitism in [DefaultStagnation]"
                ) from None
            except RuntimeError as error:
                raise StrategyError(
                    f"neat-python cannot go on after generation {generation}: {error} (raise "
                    "pop_size or compatibility_threshold, or lower min_species_size and elitism)"
                ) from error
        # neat-python leaves the generation as it is when its threshold is met.
        self._solved = population.generation == generation
        ancestors = population.reproduction.ancestors
        self._parents = {k: tuple(ancestors.get(k, ())) for k in population.population}
        ancestors.clear()
        self._asked = False

    # Chance and pickles ------------------------------------------------------------------------

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
        genomes = self._config.genome_config
        species = self._population.species
        counters = (genomes.node_indexer.value, species.indexer.value)
        saved = genomes.node_indexer, species.indexer
        # neat-python's own __getstate__ would draw a number from each.
        genomes.node_indexer = species.indexer = None
        try:
            blob = pickle.dumps((self._config, self._population))
        finally:
            genomes.node_indexer, species.indexer = saved
        state = {k: v for k, v in self.__dict__.items() if k not in ("_config", "_population")}
        return {**state, "blob": blob, "counters": counters}

    def __setstate__(self, state: dict[str, Any]) -> None:
        blob, counters = state.pop("blob"), state.pop("counters")
        self.__dict__.update(state)
        self._config, self._population = pickle.loads(blob)
        self._config.genome_config.node_indexer = _Counter(counters[0])
        self._population.species.indexer = _Counter(counters[1])


def network_of(genome: Any, config: Any) -> NetworkSpec:
    """The network of a neat-python genome.

    Args:
        genome: a ``DefaultGenome``, feed-forward.
        config: its ``genome_config``.

    Returns:
        All of its nodes, in order of key, and its enabled connections.
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
    """A neat-python genome as JSON-ready values, complete: `genome_from_json` reads it back."""
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
    """A ``neat.DefaultGenome`` from what `genome_to_json` wrote.

    Raises:
        ChampionFormatError: it is malformed.
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
        raise ChampionFormatError(f"this is no genome of neat: {error!r}") from error
    return genome
