"""The protocol of a strategy."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from mkds_gym.utils.arguments import shown
from mkds_neat.errors import StrategyError
from mkds_neat.individual import Individual, Result


class Strategy(Protocol):
    """A rule that makes each generation from the results of the one before.

    Checkpoints hold the result of `state`, and `restore` continues from there in another process.
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

    def tell(self, results: Iterable[Result]) -> None:
        """Give the result of each individual (higher fitness is better), in any order.

        The call makes the next generation.

        Raises:
            StrategyError: `ask` was not called, or the ids are not those that it returned.
            ValueError: A fitness is not a finite number.
        """

    def state(self) -> dict[str, Any]:
        """Return everything that later generations depend on, random generators included.

        The state is plain data: dicts with strings as keys, lists, strings, numbers, booleans and
        None. It does not hold the strategy's arguments. The call changes nothing.
        """

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue where another strategy with the same numbers of inputs and outputs was.

        The other arguments may differ; they take effect with the next `tell`. Call `ask` first.

        Args:
            state: What `state` returned, also after a journey through JSON.

        Raises:
            StrategyStateError: The state is malformed or of another strategy. The strategy is
                unchanged.
        """


class Plain(BaseModel):
    """A part of a strategy's state: no missing or unknown key, no conversion, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


Count = Annotated[int, Field(ge=0, lt=1 << 53)]
"""A number of a state that counts: an id, a generation."""


def check_results(asked: Iterable[int] | None, results: Iterable[Result]) -> dict[int, Result]:
    """Check the argument of `Strategy.tell`.

    Args:
        asked: Ids that `ask` returned; None if it was not called.
        results: The argument.

    Returns:
        The results by id.

    Raises:
        StrategyError: `ask` was not called, or the ids differ.
        TypeError: An item is no result.
        ValueError: A fitness is not a finite number.
    """
    if asked is None:
        raise StrategyError(
            "tell() was called before ask(): write `individuals = strategy.ask()`, evaluate them, "
            "and then `strategy.tell([Result(i.id, fitness) for each of them])`"
        )
    told = list(results)
    for each in told:
        if not isinstance(each, Result):
            raise TypeError(
                f"tell() got {shown(each)}: expected a result of each individual, "
                "Result(individual.id, fitness)"
            )
    by_id = {result.id: result for result in told}
    ids = set(asked)
    missing, unknown = sorted(ids - set(by_id)), sorted(set(by_id) - ids)
    if missing or unknown or len(told) > len(by_id):
        raise StrategyError(
            "tell() expects exactly one result for each individual of the last ask(): missing "
            f"{missing[:8] or 'none'}, not asked for {unknown[:8] or 'none'}, "
            f"{len(told) - len(by_id)} more than once"
        )
    for key, result in by_id.items():
        if not (isinstance(result.fitness, numbers.Real) and math.isfinite(result.fitness)):
            raise ValueError(
                f"individual {key} has the fitness {shown(result.fitness)}: expected a finite "
                "number"
            )
    return by_id
