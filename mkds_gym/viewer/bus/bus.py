"""`Bus`: the run's side of the viewer's shared memory.

A run is a folder with a segment for each tile (``0``, ``1``, ...), and a ``board`` with the text
around the pictures and the requests of viewers.

```python
with Bus(1) as bus:
    publisher = bus.publisher(0)  # can be pickled, for another process
    publisher.publish(picture, Status(frame=60, lap=1))
```
"""

from __future__ import annotations

import atexit
import os
import shutil
import time
from collections.abc import Sequence
from typing import Final

from mkds_gym.emulator.hardware import SCREEN_HEIGHT, SCREEN_WIDTH
from mkds_gym.errors import ViewerError, reason
from mkds_gym.utils.arguments import integer
from mkds_gym.viewer.bus import layout
from mkds_gym.viewer.bus.layout import Board
from mkds_gym.viewer.bus.publisher import Publisher
from mkds_gym.viewer.bus.runs import run_folder, runs
from mkds_gym.viewer.bus.shared_memory import DoubleBuffer


class Bus:
    """Creates the shared memory of a run and removes it in `close` or at exit.

    A context manager. The constructor also removes the leftovers of killed runs.

    Args:
        tiles: number of tiles, or their indices.
        label: its letters and digits become part of the folder's name.
        width: width of the pictures, pixels.
        height: height of the pictures, pixels.

    Attributes:
        folder: the run's folder.
        indices: indices of the tiles.
        closed: whether `close` was called.

    Raises:
        ValueError: no tile, too many tiles, or a size below 1.
        ViewerError: there is no shared memory, or too little.
    """

    def __init__(
        self,
        tiles: int | Sequence[int],
        *,
        label: str = "run",
        width: int = SCREEN_WIDTH,
        height: int = SCREEN_HEIGHT,
    ) -> None:
        self.indices: Final = tuple(range(tiles)) if isinstance(tiles, int) else tuple(tiles)
        integer("tiles", len(self.indices), 1, layout.MAX_TILES)
        integer("width", width, 1)
        integer("height", height, 1)
        runs()
        self._pid = os.getpid()
        self.folder: Final = run_folder(label)
        try:
            self.folder.mkdir(mode=0o700)
            for index in self.indices:
                size = DoubleBuffer.room(layout.message_size(width, height))
                tile = layout.create_segment(self.folder / str(index), layout.TILE, size).header
                tile["width"], tile["height"] = width, height
            # The board is last: a folder with a board is a complete run.
            size = DoubleBuffer.room(layout.BOARD_ROOM)
            board = layout.create_segment(self.folder / layout.BOARD_FILE, layout.BOARD, size)
        except OSError as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise ViewerError(
                f"no shared memory for {len(self.indices)} pictures in '{self.folder.parent}' "
                f"({reason(error)}): show fewer"
            ) from error
        self._header = board.header
        self._board = board.double_buffer(layout.BOARD_ROOM)
        self.closed = False
        atexit.register(self._remove)

    def publisher(self, index: int) -> Publisher:
        """Return the publisher of a tile, for any process.

        Raises:
            KeyError: there is no such tile.
        """
        self._check_tile(index)
        return Publisher(self.folder, index)

    def post(self, board: Board) -> None:
        """Write the text around the pictures. A board that is too long loses its captions."""
        if self.closed:
            return
        message = board.to_json()
        if len(message) > layout.BOARD_ROOM:
            message = Board(board.title[:200], board.header[:2000], {}, board.score).to_json()
        self._board.put(message)

    @property
    def watched(self) -> bool:
        """Whether a viewer watches."""
        return bool(time.monotonic() - self._header["watched_at"] < layout.WATCH_SECONDS)

    def close(self) -> None:
        """Remove all segments, which closes the viewers. A second call does nothing."""
        self.closed = True
        if os.getpid() == self._pid:  # a forked child shares the memory
            self._header["closed"] = 1
        self._header["watched_at"] = self._header["scenes_at"] = 0.0
        self._remove()

    def __enter__(self) -> Bus:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _remove(self) -> None:
        if os.getpid() == self._pid:
            shutil.rmtree(self.folder, ignore_errors=True)
            atexit.unregister(self._remove)

    def _check_tile(self, index: int) -> None:
        if index not in self.indices:
            raise KeyError(f"no tile {index}: expected one of {self.indices}")
