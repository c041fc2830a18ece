"""The best driver of a run, and its JSON file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from mkds_gym.display.video import race_clock
from mkds_neat.episode import EpisodeRecord
from mkds_neat.errors import ChampionFormatError, describe
from mkds_neat.networks import NetworkSpec

CHAMPION_FORMAT: Final = "mkds_neat champion"
CHAMPION_VERSION: Final = 1


@dataclass(frozen=True)
class Champion:
    """The best driver of a run.

    A driver that finished the race ranks before one that did not, and a faster one before a slower
    one. Otherwise fitness decides, and then age. The JSON file has these attributes as keys, and
    ``format`` and ``version``.

    Attributes:
        id: Id of the individual.
        generation: Generation in which it was evaluated first.
        fitness: Its score.
        strategy: Name of the strategy that made its genome.
        genome: Its genome in the strategy's form (``genome_from_json`` in the strategy's module).
        network: Its network.
        env_id: The environment.
        env_kwargs: The arguments of the environment.
        seed: Seed of its episode.
        record: Its episode.
        rom_sha1: SHA-1 of the cartridge, 40 hexadecimal digits; empty without a cartridge.
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
        if data.get("version") != CHAMPION_VERSION:
            raise ChampionFormatError(
                f"format version {data.get('version')!r} of a champion: expected {CHAMPION_VERSION}"
            )
        try:
            network = NetworkSpec.from_json(data["network"])
            return _CHAMPION.validate_python({**data, "network": network})
        except (KeyError, ValueError) as error:
            raise ChampionFormatError(f"malformed champion: {describe(error)}") from error


_CHAMPION: Final = TypeAdapter(Champion)


def load_champion(path: str | os.PathLike[str]) -> Champion:
    """Read ``champion.json``.

    Raises:
        ChampionFormatError: The file holds something else.
        OSError: The file cannot be read.
    """
    text = Path(path).read_bytes()
    try:
        return Champion.from_json(json.loads(text))
    except ChampionFormatError as error:
        raise ChampionFormatError(f"{os.fspath(path)}: {error}") from error
    except ValueError as error:
        raise ChampionFormatError(f"{os.fspath(path)} is not JSON: {error}") from error
