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
    """The outcome of an individual's episode.

    Attributes:
        id: The individual.
        fitness: Its score; higher is better.
        record: The episode.
        recording: Bytes of the recording file; None for an environment that records nothing.
    """

    id: int
    fitness: float
    record: EpisodeRecord
    recording: bytes | None = field(default=None, repr=False, compare=False)
