"""The last minute of a console, to go back to: snapshots, kept as what differs between them."""

from __future__ import annotations

from collections import deque

from mkds_gym.emulator.state_file import Difference, Snapshot


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
        self._before: deque[Difference] = deque()
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
            # The next one back is applied to what comes of this.
            difference = Difference(snapshot, self._newest, whole=True)
            self._before.append(difference)
            self._weight += difference.nbytes
            while len(self._before) >= self._length or self._weight > self._limit:
                self._weight -= self._before.popleft().nbytes
        self._newest = snapshot

    def back(self) -> Snapshot | None:
        """Take the newest snapshot off and return the one before it; the oldest one stays.

        None where there is none at all.
        """
        newest = self._newest
        if newest is None or not self._before:
            return newest
        difference = self._before.pop()
        self._weight -= difference.nbytes
        self._newest = difference.apply(newest)
        return self._newest
