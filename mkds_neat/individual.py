"""The input and the output of an evaluation: `Individual` and its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mkds_neat.episode import EpisodeRecord
from mkds_neat.networks import NetworkSpec


@dataclass(frozen=True)
class Individual:
    """A member of a generation.

    Attributes:
        id: Unique in the run. An individual that survives unchanged keeps its id.
        network: The network of its genome.
        genome: The genome, in a JSON-ready form of the strategy.
        species: Number of its species; None for a strategy without species.
        parents: Ids of its parents; empty in the first generation.
    """

    id: int
    network: NetworkSpec
    genome: Mapping[str, Any]
    species: int | None = None
    parents: tuple[int, ...] = ()


@dataclass(frozen=True)
class Result:
    """The outcome of an individual's episodes.

    Attributes:
        id: The individual.
        fitness: Its score; higher is better.
        record: The episode, or the summary of several (`mkds_neat.plan.summary`). Its frames are
            all that the individual drove. A strategy of behaviours reads its metrics.
        recording: Bytes of the first episode's recording; None for an environment that records
            nothing.
        episodes: The episodes, in order of their number.
        scores: The score of each.
        rung: Number of the rung after which the individual was dropped; None if it drove
            everything.
        evaluations: Number of evaluations; more than 1 for a survivor that was driven again.
    """

    id: int
    fitness: float
    record: EpisodeRecord = field(default_factory=EpisodeRecord)
    recording: bytes | None = field(default=None, repr=False, compare=False)
    episodes: tuple[EpisodeRecord, ...] = ()
    scores: tuple[float, ...] = ()
    rung: int | None = None
    evaluations: int = 1
