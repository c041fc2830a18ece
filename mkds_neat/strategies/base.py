"""The protocol of a strategy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Protocol

from mkds_neat.errors import StrategyError
from mkds_neat.individual import Individual


class Strategy(Protocol):
    """A rule that makes each generation from the fitnesses of the one before.

    A strategy can be pickled at any time, including the state of its random generator.
    """

    name: str

    @property
    def generation(self) -> int:
        """Number of the generation that `ask` returns, from 0."""

    @property
    def solved(self) -> bool:
        """Whether the last `tell` met the strategy's goal, such as a fitness threshold."""

    def ask(self) -> list[Individual]:
        """Return the current generation in order of id. It changes only with `tell`.

        An id of an earlier generation stands for the same individual, unchanged.
        """

    def tell(self, fitnesses: Mapping[int, float]) -> None:
        """Give the fitness of each individual (higher is better), and make the next generation.

        Raises:
            StrategyError: `ask` was not called, or the ids are not those that it returned.
            ValueError: A fitness is not a finite number.
        """


def check_fitnesses(asked: Iterable[int] | None, fitnesses: Mapping[int, float]) -> None:
    """Check the argument of `Strategy.tell`.

    Args:
        asked: Ids that `ask` returned; None if it was not called.
        fitnesses: Fitness by id.

    Raises:
        StrategyError: `ask` was not called, or the ids differ.
        ValueError: A fitness is not a finite number.
    """
    if asked is None:
        raise StrategyError(
            "tell() was called before ask(): write `individuals = strategy.ask()`, evaluate them, "
            "and then `strategy.tell({i.id: fitness for each of them})`"
        )
    missing, unknown = sorted(set(asked) - set(fitnesses)), sorted(set(fitnesses) - set(asked))
    if missing or unknown:
        raise StrategyError(
            "tell() expects exactly the individuals of the last ask(): missing "
            f"{missing[:8] or 'none'}, not asked for {unknown[:8] or 'none'}"
        )
    for key, fitness in fitnesses.items():
        if not math.isfinite(fitness):
            raise ValueError(
                f"individual {key} has the fitness {fitness}: expected a finite number"
            )
