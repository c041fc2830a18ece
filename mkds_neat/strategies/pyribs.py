"""The strategies of pyribs: an archive of elites, and emitters that propose parameters.

A strategy without behaviours has an archive of one cell. A state holds the elites of the archive,
the numbers and arrays of the optimizers, and the random generators.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mkds_gym.utils.arguments import integer
from mkds_neat.errors import StrategyError
from mkds_neat.networks.mlp import MLP
from mkds_neat.strategies.parameters import Behaviour, ParameterStrategy, positive, seeds
from mkds_neat.strategies.snapshot import (
    Floats,
    array_from_plain,
    array_to_plain,
    dump,
    generator_to_plain,
    load,
    load_generator,
)

if TYPE_CHECKING:
    from ribs.emitters import EmitterBase


class _Pyribs(ParameterStrategy):
    """A strategy of a pyribs archive and emitters."""

    def _begin(self) -> None:
        try:
            from ribs.archives import GridArchive  # takes seconds, which other strategies save
            from ribs.schedulers import Scheduler
        except ImportError as error:
            raise StrategyError(
                f"the strategy {self.name} needs pyribs ({error}): pip install 'mkds-gym[pyribs]'"
            ) from error
        each = seeds(self._seed, self.name).spawn(1 + self._emitter_count)
        behaviours = self.behaviours or (Behaviour(metric="", low=-1.0, high=1.0, cells=1),)
        # pyribs passes its seeds to numpy.random.default_rng, which returns a generator unchanged.
        generator: Any = np.random.default_rng(each[0])
        self._generator: np.random.Generator = generator
        self.archive = GridArchive(
            solution_dim=self.network.size,
            dims=[b.cells for b in behaviours],
            ranges=[(b.low, b.high) for b in behaviours],
            seed=generator,
        )
        self._searches: list[Any] = []
        self._scheduler = Scheduler(self.archive, [self._emitter(seed) for seed in each[1:]])

    _emitter_count = 1

    @abstractmethod
    def _emitter(self, seed: np.random.SeedSequence) -> EmitterBase:
        """Return an emitter, and add to `_searches` the optimizer or generator that changes."""

    def _ask(self) -> Floats:
        return np.asarray(self._scheduler.ask(), np.float64)

    def _tell(self, fitness: Floats, behaviour: Floats) -> None:
        if not self.behaviours:
            behaviour = np.zeros((self._population, 1))
        self._scheduler.tell(fitness, behaviour)

    def _state_numbers(self) -> int:
        cells = int(np.prod([each.cells for each in self.behaviours]))
        return cells * (self.network.size + 1 + len(self.behaviours))

    def _evolution(self, kind: Any, seed: np.random.SeedSequence, **arguments: Any) -> EmitterBase:
        """Return an emitter of an optimizer of pyribs that `_save` will find."""
        from ribs.emitters import EvolutionStrategyEmitter

        def make(*, seed: Any, **arguments: Any) -> Any:
            optimizer = kind(seed=np.random.default_rng(seed), **arguments)
            self._searches.append(optimizer)
            return optimizer

        return EvolutionStrategyEmitter(
            self.archive,
            x0=np.zeros(self.network.size),
            sigma0=self._sigma,
            es=make,
            seed=seed,  # type: ignore[arg-type]  # pyribs spawns from a SeedSequence
            **arguments,
        )

    def _save(self) -> dict[str, Any]:
        elites = self.archive.data(_ELITE)
        return {
            "generator": generator_to_plain(self._generator),
            "elites": {key: array_to_plain(elites[key]) for key in _ELITE},
            "searches": [dump(each, _TRANSIENT) for each in self._searches],
        }

    def _load(self, data: Mapping[str, Any]) -> None:
        if set(data) != {"generator", "elites", "searches"} or set(data["elites"]) != set(_ELITE):
            raise ValueError("expected a generator, elites and searches")
        widths = {"solution": [self.network.size], "measures": [len(self.archive.dims)]}
        elites = {
            key: array_from_plain(data["elites"][key], "float64", [None, *widths.get(key, [])])
            for key in _ELITE
        }
        count = len(elites["objective"])
        if any(len(each) != count or not np.isfinite(each).all() for each in elites.values()):
            raise ValueError("expected as many solutions as objectives, of finite numbers")
        # One after the other: the archive draws its elites by the order in which they came.
        for index in range(count):
            self.archive.add_single(**{key: each[index] for key, each in elites.items()})
        if len(self.archive) < count:
            raise ValueError("two elites of one cell")
        if not isinstance(data["searches"], list) or len(data["searches"]) != len(self._searches):
            raise ValueError(f"expected {len(self._searches)} searches")
        for search, each in zip(self._searches, data["searches"], strict=True):
            load(search, each, _TRANSIENT)
        load_generator(self._generator, data["generator"])


_CMA_MATRICES: Final = 3
"""Matrices that a CMA-ES of pyribs holds: the covariances, their eigenvectors, and their root."""
_ELITE: Final = ("solution", "objective", "measures")
_TRANSIENT: Final = ("_solutions", "noise")
"""Attributes of optimizers that each `ask` sets."""


class _Search:
    """The random generator of an emitter without an optimizer."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator


class _OneBest(_Pyribs):
    """An evolution strategy of pyribs that ranks by fitness alone."""

    def _emitter(self, seed: np.random.SeedSequence) -> EmitterBase:
        return self._evolution(
            self._kind(),
            seed,
            ranker="obj",
            es_kwargs=self._es_arguments(),
            selection_rule="mu",
            restart_rule="basic",
            batch_size=self._population,
        )

    @abstractmethod
    def _kind(self) -> Any:
        """Return the class of the pyribs optimizer."""

    def _state_numbers(self) -> int:
        return self.network.size

    def _es_arguments(self) -> dict[str, Any]:
        """Return further arguments of the pyribs optimizer."""
        return {}


class CMAES(_OneBest):
    """CMA-ES: the covariance of all parameters is adapted.

    When the search converges, it starts again at the best driver so far.

    Args:
        network: The network. A generation takes time in proportion to the square of its size.
        population: Individuals in a generation, at least 2.
        sigma: First standard deviation.
        seed: Seed of the random generators.
    """

    name = "cma_es"

    def _kind(self) -> Any:
        from ribs.emitters.opt import CMAEvolutionStrategy

        return CMAEvolutionStrategy

    def _state_numbers(self) -> int:
        return _CMA_MATRICES * self.network.size**2

    def _remedy(self) -> str:
        return "a smaller network, or the strategy sep_cma_es"


class SepCMAES(_OneBest):
    """Separable CMA-ES: only the variance of each parameter is adapted, for larger networks.

    Args:
        network: The network.
        population: Individuals in a generation, at least 2.
        sigma: First standard deviation.
        seed: Seed of the random generators.
    """

    name = "sep_cma_es"

    def _kind(self) -> Any:
        from ribs.emitters.opt import SeparableCMAEvolutionStrategy

        return SeparableCMAEvolutionStrategy


class OpenAIES(_OneBest):
    """OpenAI-ES: an estimated gradient of the fitness, followed by Adam.

    Source: Salimans et al. 2017, "Evolution Strategies as a Scalable Alternative to Reinforcement
    Learning", with mirrored sampling and normalized ranks.

    Args:
        network: The network.
        population: Individuals in a generation; even.
        sigma: Standard deviation of the perturbations.
        learning_rate: Step size of Adam.
        weight_decay: Coefficient of the L2 penalty on parameters.
        seed: Seed of the random generators.
    """

    name = "openai_es"

    def __init__(
        self,
        network: MLP,
        *,
        population: int,
        sigma: float,
        learning_rate: float = 0.05,
        weight_decay: float = 0.0,
        seed: int = 0,
    ) -> None:
        check_pairs(population)
        options = {
            "learning_rate": positive("learning_rate", learning_rate),
            "weight_decay": positive("weight_decay", weight_decay, or_zero=True),
        }
        super().__init__(network, population=population, sigma=sigma, seed=seed, options=options)

    def _kind(self) -> Any:
        from ribs.emitters.opt import OpenAIEvolutionStrategy

        return OpenAIEvolutionStrategy

    def _es_arguments(self) -> dict[str, Any]:
        return {"lr": self._options["learning_rate"], "l2_coeff": self._options["weight_decay"]}


class MAPElites(_Pyribs):
    """MAP-Elites: the best driver of each cell of an archive of behaviours.

    A new driver is an elite, moved by a normal deviate and along the line to another elite
    (Vassiliades and Mouret 2018, "Discovering the Elite Hypervolume by Leveraging Interspecies
    Correlation").

    Args:
        network: The network.
        population: Individuals in a generation, at least 2.
        sigma: Standard deviation of the first parameters and of each move.
        line_sigma: Standard deviation of the share of the way to another elite.
        behaviours: Metrics that span the archive, at least 1.
        seed: Seed of the random generators.

    Attributes:
        archive: The ``ribs.archives.GridArchive``.
    """

    name = "map_elites"
    needs_behaviours = True

    def __init__(
        self,
        network: MLP,
        *,
        population: int,
        sigma: float,
        behaviours: Sequence[Behaviour],
        line_sigma: float = 0.2,
        seed: int = 0,
    ) -> None:
        super().__init__(
            network,
            population=population,
            sigma=sigma,
            seed=seed,
            behaviours=behaviours,
            options={"line_sigma": positive("line_sigma", line_sigma, or_zero=True)},
        )

    def _emitter(self, seed: np.random.SeedSequence) -> EmitterBase:
        from ribs.emitters import IsoLineEmitter

        generator: Any = np.random.default_rng(seed)
        self._searches.append(_Search(generator))
        return IsoLineEmitter(
            self.archive,
            x0=np.zeros(self.network.size),
            iso_sigma=self._sigma,
            line_sigma=self._options["line_sigma"],
            batch_size=self._population,
            seed=generator,
        )

    def _remedy(self) -> str:
        return "a smaller network, or fewer cells"


class CMAME(_Pyribs):
    """CMA-ME: several CMA-ES that search for improvements of an archive of behaviours.

    Source: Fontaine et al. 2020, "Covariance Matrix Adaptation for the Rapid Illumination of
    Behavior Space".

    Args:
        network: The network.
        population: Individuals in a generation: a multiple of ``emitters``, at least 2 for each.
        sigma: First standard deviation.
        behaviours: Metrics that span the archive, at least 1.
        emitters: Number of CMA-ES.
        seed: Seed of the random generators.

    Attributes:
        archive: The ``ribs.archives.GridArchive``.
    """

    name = "cma_me"
    needs_behaviours = True

    def __init__(
        self,
        network: MLP,
        *,
        population: int,
        sigma: float,
        behaviours: Sequence[Behaviour],
        emitters: int = 5,
        seed: int = 0,
    ) -> None:
        check_emitters(population, emitters)
        self._emitter_count = emitters
        super().__init__(
            network,
            population=population,
            sigma=sigma,
            seed=seed,
            behaviours=behaviours,
            options={"emitters": emitters},
        )

    def _emitter(self, seed: np.random.SeedSequence) -> EmitterBase:
        from ribs.emitters.opt import CMAEvolutionStrategy

        batch = self._population // self._emitter_count
        return self._evolution(CMAEvolutionStrategy, seed, ranker="2imp", batch_size=batch)

    def _state_numbers(self) -> int:
        matrices = _CMA_MATRICES * self.network.size**2
        return super()._state_numbers() + self._emitter_count * matrices

    def _remedy(self) -> str:
        return "a smaller network, fewer emitters, or fewer cells"


def check_pairs(population: int) -> None:
    """Raise ValueError if a population of OpenAI-ES is odd; TypeError if it is no integer."""
    integer("population", population, 2)
    if population % 2:
        raise ValueError(
            f"population = {population} is odd: openai_es needs pairs of opposite perturbations"
        )


def check_emitters(population: int, emitters: int) -> None:
    """Raise ValueError or TypeError if a population cannot be shared out to emitters of CMA-ME."""
    integer("population", population, 2)
    integer("emitters", emitters, 1)
    if population % emitters or population < 2 * emitters:
        raise ValueError(
            f"population = {population} with emitters = {emitters}: expected a multiple of the "
            "emitters, at least 2 for each"
        )
