"""The networks of all individuals of a run, for ``python -m mkds_neat.watch``.

``networks/000012.jsonl.gz`` holds the individuals that generation 12 evaluated, as JSON lines
in gzip format: ``{"id": 512, "network": {...}}``, in order of id.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import logging
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from mkds_gym.errors import reason
from mkds_gym.utils.reading import parse_json, read_file
from mkds_neat.errors import ChampionFormatError, RunFolderError
from mkds_neat.individual import Individual
from mkds_neat.networks import NetworkSpec
from mkds_neat.results.run_folder import RunFolder

MAX_PACKED: Final = 64 << 20
"""Largest file of a generation, in bytes."""
MAX_PLAIN: Final = 256 << 20
"""Largest content of such a file, in bytes."""
MAX_LINE: Final = 16 << 20
"""Largest line, which is a network, in bytes."""
_LEVEL: Final = 1
"""Compression: level 6 takes four times as long and saves an eighth."""
_LOG: Final = logging.getLogger(__name__)
_NAME: Final = re.compile(r"\d{6,15}\.jsonl\.gz")
_REMEDY: Final = "expected a file that a run has written"


def save_networks(
    folder: RunFolder, generation: int, individuals: Iterable[Individual], limit: int
) -> None:
    """Write the networks of a generation, and remove the oldest generations above a limit.

    Args:
        folder: The run.
        generation: The generation.
        individuals: Those that it evaluated.
        limit: Most bytes of all generations.

    Raises:
        RunFolderError: A file cannot be written.
    """
    lines = [
        json.dumps({"id": each.id, "network": each.network.to_json()}, separators=(",", ":"))
        for each in sorted(individuals, key=lambda each: each.id)
    ]
    if not lines or limit <= 0:
        return
    # Without the time of day, so that the same run writes the same file.
    plain = "\n".join([*lines, ""]).encode()
    data = gzip.compress(plain, compresslevel=_LEVEL, mtime=0)
    longest = max(map(len, lines))
    if len(plain) > MAX_PLAIN or len(data) > MAX_PACKED or longest >= MAX_LINE:
        _LOG.warning(
            "the networks of generation %d are not stored: they take %d bytes",
            generation,
            len(plain),
        )
        return
    with folder.write_errors("networks"):
        (folder.path / "networks").mkdir(exist_ok=True)
    folder.write(f"networks/{generation:06d}.jsonl.gz", data)
    total = 0
    for path in reversed(_files(folder.path)):
        total += path.stat().st_size
        if total > limit and _generation(path) != generation:
            with folder.write_errors(f"networks/{path.name}"):
                path.unlink(missing_ok=True)


def load_network(run: Path, individual: int, until: int | None = None) -> tuple[int, NetworkSpec]:
    """Return the last generation that evaluated an individual, and the individual's network.

    Args:
        run: Folder of the run.
        individual: Id of the individual.
        until: Ignore later generations.

    Raises:
        RunFolderError: The individual is not stored, or a file is damaged.
    """
    files = _files(run)
    known: list[int] = []
    # An id is never smaller than those of earlier generations.
    for path in reversed(files):
        if until is not None and _generation(path) > until:
            continue
        for line in _lines(path):
            key = re.match(rb'\{"id":(\d{1,15}),', line)
            if key is None:
                raise RunFolderError(f"{str(path)!r} is damaged: {_REMEDY}")
            known.append(int(key[1]))
            if known[-1] == individual:
                return _generation(path), _network(line, path)
    stored = f"those from {min(known)} to {max(known)}" if known else "none"
    raise RunFolderError(
        f"individual {individual} is not stored in {str(run / 'networks')!r}, which holds "
        f"{stored} of complete generations; [run] networks sets how many megabytes are kept"
    )


def _network(line: bytes, path: Path) -> NetworkSpec:
    values = parse_json(line, repr(str(path)), RunFolderError)
    try:
        return NetworkSpec.from_json(values.get("network"))
    except ChampionFormatError as error:
        raise RunFolderError(f"{str(path)!r} is damaged: {error}") from error


def _files(run: Path) -> list[Path]:
    """Return the files of all generations, the oldest first."""
    found: list[Path] = []
    with contextlib.suppress(OSError):
        found = [p for p in (run / "networks").iterdir() if _NAME.fullmatch(p.name)]
    return sorted(found, key=_generation)


def _generation(path: Path) -> int:
    return int(path.name.partition(".")[0])


def _lines(path: Path) -> Iterator[bytes]:
    name, left = repr(str(path)), MAX_PLAIN
    packed = read_file(path, name, RunFolderError, limit=MAX_PACKED, remedy=_REMEDY)
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
        while left > 0:
            try:
                line = file.readline(MAX_LINE + 1)
            except (OSError, EOFError, zlib.error) as error:
                raise RunFolderError(f"{name} is damaged ({reason(error)}): {_REMEDY}") from None
            if not line:
                return
            if len(line) > MAX_LINE:
                raise RunFolderError(f"{name} has a line of more than {MAX_LINE:,} bytes")
            left -= len(line)
            yield line
    raise RunFolderError(f"{name} has more than {MAX_PLAIN:,} bytes when decompressed")
