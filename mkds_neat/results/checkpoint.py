"""The state of a run before a generation, and its file.

A checkpoint is UTF-8 text of two lines. The first is a JSON object with ``format``, ``version`` and
``sha256``, the SHA-256 of the second line without its end. The second is a JSON object with the
state. Nothing in the file is code.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from mkds_gym.errors import MKDSError
from mkds_gym.utils.reading import parse_json, validated
from mkds_neat.episode import EpisodeRecord
from mkds_neat.errors import ChampionFormatError, RunFolderError, RunVersionError
from mkds_neat.individual import Result
from mkds_neat.networks import NetworkSpec
from mkds_neat.results.champion import Champion
from mkds_neat.results.tables import check_summaries

CHECKPOINT_FORMAT: Final = "mkds_neat checkpoint"
CHECKPOINT_VERSION: Final = 3
MAX_CHECKPOINT: Final = 64 << 20
"""Largest checkpoint in bytes. A population of 500 networks of 200 connections takes 5 MB."""
MAX_VALUES: Final = 4_000_000
"""Most values in a checkpoint."""


@dataclass(frozen=True)
class Tables:
    """The tables of a run folder at a checkpoint.

    Attributes:
        generations: Number of generations in them, from generation 0.
        columns: Columns of ``individuals.csv``.
        size: Its size in bytes.
        sha256: Its SHA-256; empty without the file.
        summaries: The rows of ``generations.csv``, its columns first.
    """

    generations: int = 0
    columns: tuple[str, ...] = ()
    size: int = 0
    sha256: str = ""
    summaries: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run before a generation.

    Attributes:
        generation: The generation.
        strategy: State of the strategy.
        champion: The best driver so far.
        last: Results of the generation before, by id. After a run that was solved, of this one.
        reason: Why the run has ended; None if it has not.
        config: Text of each value of the config, by section and key.
        origin: What races start from, as `RunInfo` has it.
        tables: The tables of the run folder.
    """

    generation: int
    strategy: Mapping[str, Any]
    champion: Champion | None = None
    last: Mapping[int, Result] = field(default_factory=dict)
    reason: str | None = None
    config: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict)
    tables: Tables = field(default_factory=Tables)

    def to_bytes(self) -> bytes:
        """Return the contents of a checkpoint file."""
        body = json.dumps(
            plain(
                {
                    **{name: getattr(self, name) for name in _DIRECT},
                    "champion": None if self.champion is None else self.champion.to_json(),
                    "last": [result_to_json(result) for result in self.last.values()],
                    "tables": asdict(self.tables),
                }
            ),
            allow_nan=False,
            separators=(",", ":"),
        ).encode()
        head = {
            "format": CHECKPOINT_FORMAT,
            "version": CHECKPOINT_VERSION,
            "sha256": hashlib.sha256(body).hexdigest(),
        }
        return json.dumps(head).encode() + b"\n" + body + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> Checkpoint:
        """Read what `to_bytes` returned.

        Args:
            data: The contents of the file.
            name: Name of the checkpoint for messages.

        Raises:
            RunFolderError: The data are damaged, or of another format.
            RunVersionError: Another version of mkds-gym wrote the data.
        """
        first, _, body = data.partition(b"\n")
        head = parse_json(first[:1000], name, RunFolderError)
        if not isinstance(head, dict) or head.get("format") != CHECKPOINT_FORMAT:
            raise RunFolderError(f"{name} is not a checkpoint of mkds_neat")
        version = head.get("version")
        if not isinstance(version, int):
            raise RunFolderError(f"{name} has no version")
        if version != CHECKPOINT_VERSION:
            raise RunVersionError(name, version, CHECKPOINT_VERSION)
        body = body.removesuffix(b"\n")
        if hashlib.sha256(body).hexdigest() != head.get("sha256"):
            raise RunFolderError(f"{name} is damaged: its checksum does not match")
        values = parse_json(body, name, RunFolderError, max_values=MAX_VALUES)
        read = validated(_BODY, values, name, RunFolderError)
        try:
            champion = None if read.champion is None else Champion.from_json(read.champion)
        except ChampionFormatError as error:
            raise RunFolderError(f"{name} is damaged: {error}") from error
        try:
            check_summaries(read.tables.summaries)
        except ValueError as error:
            raise RunFolderError(f"{name} is damaged: its summaries have {error}") from error
        return cls(
            **{name: getattr(read, name) for name in _DIRECT},
            champion=champion,
            last={item.id: item.result() for item in read.last},
            tables=read.tables,
        )


_DIRECT: Final = ("generation", "strategy", "reason", "config", "origin")
_Count = Annotated[int, Field(strict=True, ge=0, lt=1 << 53)]


class _Result(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: _Count
    fitness: Annotated[float, Field(allow_inf_nan=False)]
    record: EpisodeRecord
    episodes: tuple[EpisodeRecord, ...] | None
    scores: tuple[float, ...]
    rung: _Count | None
    evaluations: _Count

    def result(self) -> Result:
        """Return the result."""
        values = {name: getattr(self, name) for name in _Result.model_fields}
        if self.episodes is None:
            values["episodes"] = (self.record,)
        return Result(**values)


class _Line(_Result):
    generation: _Count
    network: str


_LINE: Final = TypeAdapter(_Line)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    generation: _Count
    strategy: dict[str, Any]
    champion: dict[str, Any] | None
    last: list[_Result]
    reason: Literal["finished", "solved"] | None
    config: dict[str, dict[str, str]]
    origin: dict[Literal["rom", "rom_title", "rom_sha1", "state_sha256"], str]
    tables: Tables


_BODY: Final = TypeAdapter(_Body)


def plain(value: Any) -> Any:
    """Return JSON-ready values as JSON itself has them: numbers that are not finite as text.

    Such a number can only be a metric. `float` reads the text back.
    """
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def result_to_json(result: Result) -> dict[str, Any]:
    """Return a result without its recording as JSON-ready values."""
    # The record of a single episode is not written twice.
    single = result.episodes == (result.record,)
    return {
        "id": result.id,
        "fitness": result.fitness,
        "record": asdict(result.record),
        "episodes": None if single else [asdict(each) for each in result.episodes],
        "scores": list(result.scores),
        "rung": result.rung,
        "evaluations": result.evaluations,
    }


_CHECKSUM: Final = b',"crc32":"'


def journal_line(generation: int, network: str, result: Result) -> bytes:
    """Return a line of ``journal.jsonl``: a JSON object that ends with the CRC-32 of the rest."""
    line = {"generation": generation, "network": network, **result_to_json(result)}
    text = json.dumps(plain(line), allow_nan=False, separators=(",", ":")).encode()[:-1]
    return b'%s%s%08x"}\n' % (text, _CHECKSUM, zlib.crc32(text))


def read_journal_line(line: bytes) -> tuple[int, str, Result] | None:
    """Return generation, network and result of a line; None if the line is damaged."""
    text, _, end = line.rpartition(_CHECKSUM)
    if end != b'%08x"}' % zlib.crc32(text):
        return None
    try:
        values = parse_json(text + b"}", "a line", RunFolderError)
        item = validated(_LINE, values, "a line", RunFolderError)
    except MKDSError:
        return None
    return item.generation, item.network, item.result()


def network_digest(network: NetworkSpec) -> str:
    """Return a digest of a network, by which the journal knows whose result a line holds."""
    return hashlib.sha256(repr(network).encode()).hexdigest()[:16]
