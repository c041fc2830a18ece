"""The best driver of a run, and its JSON file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, TypeAdapter

from mkds_gym.display.video import race_clock
from mkds_gym.utils.arguments import file_path, shown
from mkds_gym.utils.reading import parse_json, read_file, validated
from mkds_neat.episode import EpisodeRecord
from mkds_neat.errors import ChampionFormatError
from mkds_neat.networks import NetworkSpec

CHAMPION_FORMAT: Final = "mkds_neat champion"
CHAMPION_VERSION: Final = 2
"""Version 1 has no recurrent networks; it is still read."""
MAX_SIZE: Final = 16 << 20
"""Largest ``champion.json``, in bytes."""
_REMEDY: Final = "expected the champion.json of a run folder"


@dataclass(frozen=True)
class Champion:
    """The best driver of a run.

    A driver that finished the race ranks before one that did not, and a faster one before a slower
    one. Otherwise fitness decides, and then age. The JSON file has these attributes as keys, and
    ``format`` and ``version``.

    Attributes:
        id: Id of the individual.
        generation: Generation in which it was evaluated.
        fitness: Its score.
        strategy: Name of the strategy that made its genome.
        genome: Its genome in the strategy's form (that of ``neat``:
            `mkds_neat.strategies.neat_state.genome_from_json`).
        network: Its network.
        env_id: The environment.
        env_kwargs: The arguments of the environment.
        seed: Seed of its first episode.
        record: Its episode, or the summary of several (`mkds_neat.plan.summary`).
        rom_sha1: SHA-1 of the cartridge, 40 hexadecimal digits; empty without a cartridge.
        start: Where along the course its first episode started, in laps; None for the start of the
            race.
        episodes: Number of episodes in the record.
    """

    id: int
    generation: int
    fitness: float
    strategy: str
    genome: Mapping[str, Any]
    network: NetworkSpec
    env_id: str
    env_kwargs: Mapping[str, Any]
    seed: int
    record: EpisodeRecord
    rom_sha1: str = ""
    start: float | None = None
    episodes: int = 1

    @property
    def rank(self) -> tuple[float, ...]:
        """A key for comparisons; greater is better."""
        time = -self.record.race_time if self.record.finished else 0.0
        return (float(self.record.finished), time, self.fitness, -self.generation, -self.id)

    def describe(self) -> str:
        """Return a one-line description."""
        text = f"driver {self.id} of generation {self.generation}, fitness {self.fitness:.1f}"
        if self.record.finished:
            laps = ", ".join(map(race_clock, self.record.lap_times))
            text += f": finished in {race_clock(self.record.race_time)} (laps {laps})"
        return text

    def to_json(self) -> dict[str, Any]:
        """Return the champion as JSON-ready values."""
        return {
            "format": CHAMPION_FORMAT,
            "version": CHAMPION_VERSION,
            **{field.name: getattr(self, field.name) for field in fields(self)},
            "network": self.network.to_json(),
            "record": asdict(self.record),
        }

    @classmethod
    def from_json(cls, data: Any) -> Champion:
        """Return the champion that `to_json` wrote.

        Raises:
            ChampionFormatError: The data are something else, or have another version.
        """
        if not isinstance(data, dict) or data.get("format") != CHAMPION_FORMAT:
            raise ChampionFormatError("expected the champion.json of a run folder")
        if data.get("version") not in range(1, CHAMPION_VERSION + 1):
            raise ChampionFormatError(
                f"format version {shown(data.get('version'))} of a champion: expected 1 to "
                f"{CHAMPION_VERSION}"
            )
        read = validated(_SCHEMA, data, "the champion", ChampionFormatError)
        values = {name: getattr(read, name) for name in _Champion.model_fields}
        return cls(
            **values | {"network": NetworkSpec.from_json(read.network)},
            record=EpisodeRecord(**vars(read.record)),
        )


_Number = Annotated[int, Field(ge=0, lt=1 << 53)]
_Time = Annotated[FiniteFloat, Field(ge=0)]
_Metric = Annotated[
    float, BeforeValidator(lambda value: float(value) if value in _NOT_FINITE else value)
]
_NOT_FINITE: Final = ("nan", "inf", "-inf")
"""How `mkds_neat.results` writes metrics that are not finite."""
_STRICT: Final = ConfigDict(strict=True)


class _Record(BaseModel):
    model_config = _STRICT

    metrics: dict[str, _Metric]
    steps: _Number
    frames: _Number
    score: FiniteFloat
    finished: bool
    lap_times: Annotated[tuple[_Time, ...], Field(strict=False)]
    race_time: _Time
    events: Annotated[tuple[str, ...], Field(strict=False)]
    seconds: _Time
    end_position: (
        Annotated[tuple[FiniteFloat, FiniteFloat, FiniteFloat], Field(strict=False)] | None
    ) = None
    course: str = ""


class _Champion(BaseModel):
    model_config = _STRICT

    id: _Number
    generation: _Number
    fitness: FiniteFloat
    strategy: str
    genome: dict[str, Any]
    network: dict[str, Any]
    env_id: str
    env_kwargs: dict[str, Any]
    seed: Annotated[int, Field(ge=0, lt=1 << 64)]
    rom_sha1: Annotated[str, Field(pattern="^([0-9a-f]{40})?$")] = ""
    start: Annotated[FiniteFloat, Field(ge=0, lt=100)] | None = None
    episodes: Annotated[int, Field(ge=1, lt=1 << 53)] = 1


class _Stored(_Champion):
    record: _Record


_SCHEMA: Final = TypeAdapter(_Stored)


def load_champion(path: str | os.PathLike[str]) -> Champion:
    """Read ``champion.json``.

    Raises:
        ChampionFormatError: The file is missing, unreadable or damaged, or is something else.
    """
    file = file_path("path", path, "a champion.json")
    name = f"champion '{file}'"
    data = read_file(file, name, ChampionFormatError, limit=MAX_SIZE, remedy=_REMEDY)
    values = parse_json(data, name, ChampionFormatError)
    try:
        return Champion.from_json(values)
    except ChampionFormatError as error:
        raise ChampionFormatError(f"{name}: {error}") from None
