"""The strategy ``neat``: NEAT by neat-python, as `ask` and `tell`.

neat-python's ``Population.run`` calls the evaluation itself. `NeatStrategy.tell` runs it for one
generation, with an evaluation that assigns the given fitnesses. Selection, crossover, mutation,
speciation and stagnation are neat-python's, and its config sections control them.

neat-python draws from the global generator of ``random``: the strategy swaps its own state in and
out around every call. Reading neat-python's counters advances them: the strategy replaces them by
counters that can be read.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import neat
from neat.population import CompleteExtinctionException
from neat.reporting import BaseReporter, ReporterSet
from pydantic import ValidationError

from mkds_neat.errors import (
    ChampionFormatError,
    ConfigError,
    StrategyError,
    StrategyStateError,
    describe,
)
from mkds_neat.individual import Individual, Result
from mkds_neat.strategies.base import check_results
from mkds_neat.strategies.neat_state import (
    ConnectionGene,
    NodeGene,
    State,
    gene_names,
    gene_values,
    genome_to_json,
    network_of,
    read_genomes,
    read_species,
)


class _Counter:
    """An ``itertools.count`` whose next value can be read without counting."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __iter__(self) -> _Counter:
        return self

    def __next__(self) -> int:
        value, self.value = self.value, self.value + 1
        return value


class _Reporters(ReporterSet):  # type: ignore[misc]
    """The reporters of a strategy, which may draw from ``random`` without effect on the strategy.

    neat-python's ``Population.run`` begins with `start_generation`, and ends with `found_solution`
    under ``no_fitness_termination``. The strategy runs it for each generation, after the
    evaluation, and announces the start of a generation itself.
    """

    def __init__(self, strategy: NeatStrategy) -> None:
        super().__init__()
        self._strategy = strategy

    def tell(self, reporter: Any, event: str, *arguments: Any) -> None:
        """Call a method of a reporter.

        Raises:
            StrategyError: The reporter fails.
        """
        with self._strategy.outside_random():
            try:
                getattr(reporter, event)(*arguments)
            except Exception as error:
                raise StrategyError(
                    f"the reporter {type(reporter).__name__} fails in {event}(): "
                    f"{type(error).__name__}: {error}"
                ) from error

    def _tell_all(self, event: str, *arguments: Any) -> None:
        for reporter in self.reporters:
            self.tell(reporter, event, *arguments)

    def start_generation(self, gen: int) -> None:
        pass

    def end_generation(self, config: Any, population: Any, species_set: Any) -> None:
        self._tell_all("end_generation", config, population, species_set)

    def post_evaluate(self, config: Any, population: Any, species: Any, best_genome: Any) -> None:
        self._tell_all("post_evaluate", config, population, species, best_genome)

    def post_reproduction(self, config: Any, population: Any, species: Any) -> None:
        self._tell_all("post_reproduction", config, population, species)

    def complete_extinction(self) -> None:
        self._tell_all("complete_extinction")

    def found_solution(self, config: Any, generation: int, best: Any) -> None:
        if not config.no_fitness_termination:
            self._tell_all("found_solution", config, generation, best)

    def species_stagnant(self, sid: int, species: Any) -> None:
        self._tell_all("species_stagnant", sid, species)

    def info(self, msg: str) -> None:
        self._tell_all("info", msg)


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
        self._outside: Any = None  # the caller's random state, while neat-python has its own
        self._random_state: Any = random.Random(f"mkds_neat {seed}").getstate()
        self._parents: dict[int, tuple[int, ...]] = {}
        self._asked = False
        self._solved = False
        self._broken = False  # a `tell` that fails leaves neat-python's population half made
        config.genome_config.node_indexer = _Counter(config.genome_config.num_outputs)
        with self._own_random():
            self.population: Any = neat.Population(config)
        self.population.reproduction.genome_indexer = _Counter(max(self.population.population) + 1)
        species = self.population.species
        species.indexer = _Counter(max(species.species) + 1)
        self._reporters = _Reporters(self)
        for part in (
            self.population,
            species,
            self.population.reproduction,
            self.population.reproduction.stagnation,
        ):
            part.reporters = self._reporters

    def add_reporter(self, reporter: Any) -> None:
        """Add a reporter, as ``neat.Population.add_reporter`` does.

        `ask` announces the start of a generation, and `tell` all else. A reporter does not belong
        to `state`: after `restore`, it hears of the following generations.

        Args:
            reporter: An object with the methods of ``neat.reporting.BaseReporter``.

        Raises:
            TypeError: A method is missing.
        """
        check_reporter(reporter)
        self._reporters.add(reporter)
        if self._asked:
            self._reporters.tell(reporter, "start_generation", self.generation)

    def remove_reporter(self, reporter: Any) -> None:
        """Remove a reporter; ValueError if the strategy does not have it."""
        self._reporters.remove(reporter)

    @property
    def generation(self) -> int:
        """Number of the generation that `ask` returns, from 0."""
        return int(self.population.generation)

    @property
    def solved(self) -> bool:
        """Whether ``fitness_threshold`` was met (never with ``no_fitness_termination``)."""
        return self._solved

    def ask(self) -> list[Individual]:
        """Return the current generation in order of id.

        Raises:
            ConfigError: The first generation has more species than the population can hold.
            StrategyError: The last `tell` failed.
        """
        self._check_usable()
        if self.generation == 0:
            self._check_species()
        if not self._asked:
            self._asked = True
            for reporter in self._reporters.reporters:
                self._reporters.tell(reporter, "start_generation", self.generation)
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

    def tell(self, results: Iterable[Result]) -> None:
        """Give the result of each individual, and make the next generation.

        Raises:
            StrategyError: `ask` was not called, the ids are not those that it returned, all
                species have died out, there are too many species, or the last `tell` failed.
            ValueError: A fitness is not a finite number.
        """
        self._check_usable()
        population = self.population
        by_id = check_results(population.population if self._asked else None, results)

        def assign(genomes: list[tuple[int, Any]], config: Any) -> None:  # noqa: ARG001
            for key, genome in genomes:
                genome.fitness = float(by_id[key].fitness)

        generation = population.generation
        self._broken = True
        with self._own_random():
            try:
                population.run(assign, 1)
            except CompleteExtinctionException:
                raise StrategyError(
                    "every species has stagnated and died out; set reset_on_extinction = True in "
                    "[NEAT], or raise max_stagnation or species_elitism in [DefaultStagnation]"
                ) from None
            except StrategyError:  # of a reporter
                raise
            except RuntimeError as error:
                raise StrategyError(
                    f"neat-python cannot continue after generation {generation}: {error} (raise "
                    "pop_size or compatibility_threshold, or lower min_species_size and elitism)"
                ) from error
        self._broken = False
        # neat-python does not advance the generation when its threshold is met.
        self._solved = population.generation == generation
        ancestors = population.reproduction.ancestors
        self._parents = {k: tuple(ancestors.get(k, ())) for k in population.population}
        ancestors.clear()
        self._asked = False

    def _check_usable(self) -> None:
        if self._broken:
            raise StrategyError(
                "the last tell() failed: restore() a state from before it, or make another strategy"
            )

    def _check_species(self) -> None:
        """Refuse now what neat-python would refuse after the first evaluation."""
        reproduction, size = self.config.reproduction_config, self.config.pop_size
        least = max(reproduction.min_species_size, reproduction.elitism)
        count = len(self.population.species.species)
        if count * least > size:
            raise ConfigError(
                f"[DefaultReproduction] min_species_size = {reproduction.min_species_size} and "
                f"elitism = {reproduction.elitism} need {least} individuals in each species: "
                f"the first generation has {count} species, and [NEAT] pop_size is {size}; raise "
                "pop_size or compatibility_threshold, or lower min_species_size and elitism"
            )

    @contextlib.contextmanager
    def _own_random(self) -> Iterator[None]:
        self._outside = random.getstate()
        random.setstate(self._random_state)
        try:
            yield
        finally:
            self._random_state = random.getstate()
            random.setstate(self._outside)
            self._outside = None

    @contextlib.contextmanager
    def outside_random(self) -> Iterator[None]:
        """Give a reporter the state of ``random`` that the caller of the strategy has."""
        if self._outside is None:
            yield
            return
        own = random.getstate()
        random.setstate(self._outside)
        try:
            yield
        finally:
            self._outside = random.getstate()
            random.setstate(own)

    def state(self) -> dict[str, Any]:
        """Return everything that later generations depend on, as plain data.

        A genome is an entry of ``genomes``; other parts refer to it by its key. The genes of a
        genome and the genomes of the population stay in neat-python's order, on which the choices
        of the random generator depend.

        Raises:
            StrategyError: The last `tell` failed.
        """
        self._check_usable()
        population, config = self.population, self.config.genome_config
        species, tracker = population.species, population.reproduction.innovation_tracker
        genomes = dict(population.population)
        if population.best_genome is not None:
            genomes.setdefault(population.best_genome.key, population.best_genome)
        version, numbers, gauss = self._random_state
        return {
            "strategy": self.name,
            "generation": population.generation,
            "solved": self._solved,
            "random": {"version": version, "numbers": list(numbers), "gauss": gauss},
            "next_node": config.node_indexer.value,
            "next_genome": population.reproduction.genome_indexer.value,
            "next_species": species.indexer.value,
            "innovations": tracker.global_counter,
            "new_innovations": [
                [*key, number] for key, number in tracker.generation_innovations.items()
            ],
            "node_genes": gene_names(NodeGene),
            "connection_genes": gene_names(ConnectionGene),
            "genomes": [
                {
                    "key": key,
                    "fitness": genome.fitness,
                    "nodes": [[key, *gene_values(gene)] for key, gene in genome.nodes.items()],
                    "connections": [
                        [*key, gene.innovation, *gene_values(gene)]
                        for key, gene in genome.connections.items()
                    ],
                }
                for key, genome in genomes.items()
            ],
            "population": list(population.population),
            "best": None if population.best_genome is None else population.best_genome.key,
            "parents": [[key, *parents] for key, parents in self._parents.items()],
            "species": [
                {
                    "key": each.key,
                    "created": each.created,
                    "last_improved": each.last_improved,
                    "fitness": each.fitness,
                    "adjusted_fitness": each.adjusted_fitness,
                    "fitness_history": list(each.fitness_history),
                    "representative": each.representative.key,
                    "members": list(each.members),
                }
                for each in species.species.values()
            ],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue where another strategy of the same inputs and outputs was.

        Raises:
            StrategyStateError: The state is malformed, of another strategy or version of
                neat-python, or of networks of another size.
        """
        try:
            data = State.model_validate(state)
            genomes = read_genomes(data, self.config.genome_config)
            species = read_species(data, genomes)
            new_innovations = {
                (source, target, kind): number
                for source, target, kind, number in data.new_innovations
            }
            generator = random.Random()
            numbers = tuple(data.random.numbers)
            generator.setstate((data.random.version, numbers, data.random.gauss))
        except ValidationError as error:
            raise StrategyStateError(f"expected a state of neat: {describe(error)}") from None
        except (ValueError, TypeError, OverflowError, ChampionFormatError) as error:
            raise StrategyStateError(f"expected a state of neat: {error}") from error
        population, config = self.population, self.config.genome_config
        population.population = {key: genomes[key] for key in data.population}
        population.generation = data.generation
        population.best_genome = None if data.best is None else genomes[data.best]
        population.species.species = species
        population.species.genome_to_species = {
            key: each.key for each in species.values() for key in each.members
        }
        population.species.indexer = _Counter(data.next_species)
        reproduction = population.reproduction
        reproduction.genome_indexer = _Counter(data.next_genome)
        reproduction.ancestors.clear()
        reproduction.innovation_tracker.global_counter = data.innovations
        reproduction.innovation_tracker.generation_innovations = new_innovations
        config.innovation_tracker = reproduction.innovation_tracker
        config.node_indexer = _Counter(data.next_node)
        self._random_state = generator.getstate()
        self._parents = {key: tuple(parents) for key, *parents in data.parents}
        self._asked, self._solved, self._broken = False, data.solved, False


def check_reporter(reporter: Any) -> None:
    """Raise TypeError if an object lacks a method of ``neat.reporting.BaseReporter``."""
    names = [name for name in vars(BaseReporter) if not name.startswith("_")]
    missing = [f"{name}()" for name in names if not callable(getattr(reporter, name, None))]
    if missing:
        kind = reporter.__name__ if isinstance(reporter, type) else type(reporter).__name__
        raise TypeError(
            f"{kind} lacks {', '.join(missing)}: expected a reporter, such as a subclass of "
            "neat.reporting.BaseReporter"
        )
