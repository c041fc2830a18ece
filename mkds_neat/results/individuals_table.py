"""``individuals.csv`` of a run folder. It may have any size: its rows are read one by one."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mkds_gym.utils.files import free_path, is_file
from mkds_neat.errors import RunFolderError
from mkds_neat.results.checkpoint import Tables
from mkds_neat.results.tables import Row, csv_parts, format_csv, read_columns, read_rows
from mkds_neat.results.writing import append_to_file, write_errors, write_file

_LOG: Final = logging.getLogger(__name__)


class IndividualsTable:
    """The table, which grows by appending and goes back to a checkpoint.

    Args:
        path: The file, which need not exist.

    Raises:
        RunFolderError: From every method, if the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hashed: tuple[Any, int] | None = None  # with the number of bytes in it

    def append(self, rows: Sequence[Row]) -> None:
        """Append the rows of a generation. A metric that is new becomes the last column."""
        cells = [row.cells() for row in rows]
        old = self.columns()
        columns = list(dict.fromkeys([*old, *(name for each in cells for name in each)]))
        if not old or columns == old:
            append_to_file(self._path, format_csv(columns, cells, header=not old))
            return
        self._hashed = None
        write_file(self._path, self._with(columns, cells))

    def _with(self, columns: Sequence[str], cells: Sequence[Mapping[str, Any]]) -> Iterator[bytes]:
        """Yield the table with other columns and further rows."""
        yield from csv_parts(columns, read_rows(self._path))
        yield format_csv(columns, cells, header=False)

    def columns(self) -> list[str]:
        """Return the columns; empty without the file."""
        with write_errors(self._path):
            return read_columns(self._path)

    def size(self) -> int:
        """Return the size in bytes; 0 without the file."""
        size = self._path.stat().st_size if is_file(self._path) else 0
        if self._hashed is not None and size < self._hashed[1]:
            _LOG.warning("%s was shortened or removed while the run goes on", self._path)
        return size

    def digest(self, size: int) -> str:
        """Return the SHA-256 of the first bytes; empty if the file is shorter, or for no bytes.

        Only what was appended since the last call is read.
        """
        if not size or not is_file(self._path):
            return ""
        found, done = self._hashed or (hashlib.sha256(), 0)
        if done > size:
            found, done = hashlib.sha256(), 0
        with write_errors(self._path), self._path.open("rb") as file:
            file.seek(done)
            while done < size and (data := file.read(min(size - done, 1 << 20))):
                found.update(data)
                done += len(data)
        self._hashed = found, done
        return found.hexdigest() if done == size else ""

    def rewind(self, tables: Tables, *, restart: bool) -> None:
        """Bring the table back to a checkpoint.

        Args:
            tables: The tables of the checkpoint.
            restart: Rename a table that has lost rows, and begin another.

        Raises:
            RunFolderError: The table has lost rows. Nothing has changed.
        """
        path, self._hashed = self._path, None
        if not tables.sha256:
            with write_errors(path):
                path.unlink(missing_ok=True)
        elif self.digest(tables.size) == tables.sha256:
            with write_errors(path):
                if path.stat().st_size > tables.size:
                    os.truncate(path, tables.size)
        elif self._holds(tables):
            self._hashed = None
            write_file(path, self._at(tables))
        elif restart:
            self._hashed = None
            with write_errors(path), contextlib.suppress(FileNotFoundError):
                path.replace(free_path(path.with_name("individuals-old.csv")))
        else:
            raise RunFolderError(
                f"{str(path)!r} is missing or has changed: it does not hold the rows of "
                f"generations 0 to {tables.generations - 1} as the run wrote them; put the file "
                "back from a copy, or add --restart-tables to rename it and to begin another table "
                "at this generation"
            )

    def _holds(self, tables: Tables) -> bool:
        """Return whether `_at` yields the table of a checkpoint."""
        found = hashlib.sha256()
        try:
            for part in self._at(tables):
                found.update(part)
        except RunFolderError:
            return False
        return found.hexdigest() == tables.sha256

    def _at(self, tables: Tables) -> Iterator[bytes]:
        """Yield the table as it was at a checkpoint, before later rows and columns.

        The line ends may also have changed since then.
        """
        rows = read_rows(self._path)
        return csv_parts(tables.columns, (r for r in rows if _generation(r) < tables.generations))


def _generation(row: Mapping[str, str]) -> float:
    text = row.get("generation", "")
    return int(text) if text.isdecimal() and len(text) < 16 else math.inf
