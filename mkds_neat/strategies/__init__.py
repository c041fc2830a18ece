"""Strategies of evolution, behind one protocol: `Strategy.ask` and `Strategy.tell`.

A strategy knows genomes and fitnesses; it knows nothing of karts, emulators and workers. The
loop around it is always the same::

    while True:
        individuals = strategy.ask()
        strategy.tell({i.id: fitness_of(i) for i in individuals})
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mkds_neat.errors import StrategyError
from mkds_neat.networks import NetworkSpec


@dataclass(frozen=True)
class Individual:
    """One of a generation.

    Attributes:
        id: unique within the run; an elite that survives unchanged keeps its id.
        network: what its genome means, as plain data.
        genome: its genome, in the strategy's own JSON-ready form.
        species: the species it belongs to; None where a strategy has no species.
        parents: ids of its parents, where it has any.
    """

    id: int
    network: NetworkSpec
    genome: Mapping[str, Any]
    species: int | None = None
    parents: tuple[int, ...] = ()


class Strategy(Protocol):
    """How populations follow one another. Picklable at any time, all of its chance included."""

    name: str

    @property
    def generation(self) -> int:
        """Number of the generation that `ask` gives, from 0."""

    @property
    def solved(self) -> bool:
        """The strategy's own goal (a fitness threshold, say) was met by the last `tell`."""

    def ask(self) -> list[Individual]:
        """The current generation, in order of id; the same until `tell` is called.

        An id seen in an earlier generation stands for an unchanged individual.
        """

    def tell(self, fitnesses: Mapping[int, float]) -> None:
        """Give each individual's fitness (higher is better), and move on.

        Raises:
            StrategyError: before `ask`, or with other ids than it gave.
            ValueError: a fitness is not a finite number.
        """


def check_told(asked: Iterable[int] | None, fitnesses: Mapping[int, float]) -> None:
    """What every `Strategy.tell` refuses.

    Args:
        asked: ids that `ask` gave; None when it has not been called.
        fitnesses: what is told.
    """
    if asked is None:
        raise StrategyError(
            "tell() before ask(): write `individuals = strategy.ask()`, evaluate them, and then "
            "`strategy.tell({i.id: fitness for each of them})`"
        )
    expected = set(asked)
    missing, unknown = sorted(expected - set(fitnesses)), sorted(set(fitnesses) - expected)
    if missing or unknown:
        raise StrategyError(
            "tell() wants exactly the individuals of the last ask(): "
            + "; ".join(
                f"{what} {_short(ids)}"
                for what, ids in (("missing", missing), ("not asked for", unknown))
                if ids
            )
        )
    for key, fitness in fitnesses.items():
        if not math.isfinite(fitness):
            raise ValueError(
                f"individual {key} is told the fitness {fitness}; give a finite number"
            )


def _short(ids: list[int], most: int = 8) -> str:
    return ", ".join(map(str, ids[:most])) + (
        f" and {len(ids) - most} more" if len(ids) > most else ""
    )
