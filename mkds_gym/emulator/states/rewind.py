"""Go back in time: the last snapshots of a console, stored as differences."""

from __future__ import annotations

from collections import deque

from mkds_gym.emulator.states.snapshot import Difference, Snapshot


class Rewind:
    """A bounded stack of snapshots of one console.

    The newest snapshot is stored whole (11 MiB), an older one as its difference from the next
    (about 100 KiB).

    Args:
        length: most snapshots to store.
        bytes_limit: most memory for the differences. The oldest are dropped first.
    """

    def __init__(self, length: int = 300, bytes_limit: int = 256 << 20) -> None:
        self._length = length
        self._limit = bytes_limit
        self.clear()

    def __len__(self) -> int:
        """Return the number of snapshots."""
        return len(self._older) + (self._newest is not None)

    @property
    def nbytes(self) -> int:
        """Size in bytes, with the newest snapshot."""
        return self._older_bytes + (0 if self._newest is None else len(self._newest.data))

    def clear(self) -> None:
        """Remove all snapshots."""
        self._newest: Snapshot | None = None
        self._older: deque[Difference] = deque()
        self._older_bytes = 0

    def push(self, snapshot: Snapshot) -> None:
        """Add a snapshot."""
        if self._newest is not None:
            # Exact, as the next older difference is applied to the result of this one.
            difference = Difference(snapshot, self._newest, exact=True)
            self._older.append(difference)
            self._older_bytes += difference.nbytes
            while len(self._older) >= self._length or self._older_bytes > self._limit:
                self._older_bytes -= self._older.popleft().nbytes
        self._newest = snapshot

    def back(self) -> Snapshot | None:
        """Remove the newest snapshot and return the one before it.

        The oldest snapshot stays, and is returned again. None if the stack is empty.
        """
        if self._newest is not None and self._older:
            difference = self._older.pop()
            self._older_bytes -= difference.nbytes
            self._newest = difference.apply(self._newest)
        return self._newest
