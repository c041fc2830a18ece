"""A strategy of a user's own, in the fewest lines that repeat and resume exactly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mkds_neat.individual import Individual, Result
from mkds_neat.networks.mlp import MLP


class HillClimber:
    """Vary the best parameters so far.

    Args:
        inputs, outputs: Sizes of the network.
        seed: Seed of all chance.
        population: Individuals in a generation.
    """

    solved = False

    def __init__(self, inputs: int, outputs: int, *, seed: int = 0, population: int = 4) -> None:
        self._mlp, self._seed, self._population = MLP(inputs, outputs, (4,)), seed, population
        self.generation, self._best, self._fitness = 0, [0.0] * self._mlp.size, -np.inf
        self._asked: dict[int, list[float]] = {}

    def ask(self) -> Sequence[Individual]:
        """Return the individuals of the generation."""
        rng = np.random.default_rng([self._seed, self.generation])
        moves = rng.normal(size=(self._population, self._mlp.size))
        first = self.generation * self._population
        self._asked = {first + n: (self._best + move).tolist() for n, move in enumerate(moves)}
        return [
            Individual(key, self._mlp.network(values), {"parameters": values})
            for key, values in self._asked.items()
        ]

    def tell(self, results: Iterable[Result]) -> None:
        """Take the results of all individuals."""
        best = max(results, key=lambda result: (result.fitness, -result.id))
        if best.fitness > self._fitness:
            self._best, self._fitness = self._asked[best.id], best.fitness
        self.generation += 1

    def state(self) -> Mapping[str, Any]:
        """Return all that the next generation depends on."""
        fitness = self._fitness if np.isfinite(self._fitness) else None
        return {"generation": self.generation, "best": self._best, "fitness": fitness}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        fitness = -np.inf if state["fitness"] is None else state["fitness"]
        self.generation, self._best, self._fitness = state["generation"], state["best"], fitness
