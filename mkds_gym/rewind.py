"""The last minute of a console, to go back to: snapshots, kept as what differs between them."""

from __future__ import annotations

import zlib
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.savestate import Snapshot

_PAGE: Final = 4096
"""Bytes that are compared, and kept, together."""


@dataclass(frozen=True)
class _Difference:
    """What makes the snapshot before out of the next one.

    Attributes:
        frame_count: of the snapshot before.
        size: of it, in bytes.
        pages: (P,) int32, the pages that differ.
        content: those pages of the snapshot before, one after another, deflated.
    """

    frame_count: int
    size: int
    pages: NDArray[np.int32]
    content: bytes

    @property
    def weight(self) -> int:
        """Bytes that it takes up."""
        return len(self.content) + self.pages.nbytes


class Rewind:
    """A bounded row of snapshots of one console, the newest one whole.

    Most of a console stays as it is from one snapshot to the next, so that one of them takes
    about 100 KiB instead of 11 MiB.

    Args:
        length: how many snapshots to go back, at most.
        bytes_limit: how much memory the row may take up besides the newest; the oldest go first.
    """

    def __init__(self, length: int = 300, bytes_limit: int = 256 << 20) -> None:
        self._length = length
        self._limit = bytes_limit
        self._newest: Snapshot | None = None
        self._before: deque[_Difference] = deque()
        self._weight = 0

    def __len__(self) -> int:
        """How many snapshots there are."""
        return len(self._before) + (self._newest is not None)

    @property
    def nbytes(self) -> int:
        """Bytes that the row takes up, the newest snapshot included."""
        return self._weight + (0 if self._newest is None else len(self._newest.data))

    def clear(self) -> None:
        """Forget everything."""
        self._newest = None
        self._before.clear()
        self._weight = 0

    def push(self, snapshot: Snapshot) -> None:
        """Add the snapshot of now."""
        if self._newest is not None:
            difference = _difference(self._newest, snapshot)
            self._before.append(difference)
            self._weight += difference.weight
            while len(self._before) >= self._length or self._weight > self._limit:
                self._weight -= self._before.popleft().weight
        self._newest = snapshot

    def back(self) -> Snapshot | None:
        """Take the newest snapshot off and return the one before it; the oldest one stays.

        None where there is none at all.
        """
        newest = self._newest
        if newest is None or not self._before:
            return newest
        difference = self._before.pop()
        self._weight -= difference.weight
        data = bytearray(newest.data[: difference.size].ljust(difference.size, b"\0"))
        content = zlib.decompress(difference.content)
        for number, page in enumerate(difference.pages.tolist()):
            start = page * _PAGE
            end = min(start + _PAGE, difference.size)
            data[start:end] = content[number * _PAGE : number * _PAGE + end - start]
        self._newest = Snapshot(bytes(data), newest.rom, newest.build_id, difference.frame_count)
        return self._newest


def _difference(before: Snapshot, after: Snapshot) -> _Difference:
    size = len(before.data)
    count = -(-size // _PAGE)
    old, new = (_pages(snapshot.data, count) for snapshot in (before, after))
    pages = np.flatnonzero((old != new).any(axis=1)).astype(np.int32)
    return _Difference(before.frame_count, size, pages, zlib.compress(old[pages].tobytes(), 1))


def _pages(data: bytes, count: int) -> NDArray[np.uint64]:
    """The first ``count`` pages, filled up with zeros, as words: they compare fastest."""
    whole = data[: count * _PAGE].ljust(count * _PAGE, b"\0")
    return np.frombuffer(whole, np.uint64).reshape(count, -1)
