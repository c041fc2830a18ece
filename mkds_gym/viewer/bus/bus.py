"""`Bus`: the run's side of the viewer's shared memory.

A run is a folder with a segment for each tile (``0``, ``1``, ...), a ``board`` with the text around
the pictures and the requests of viewers, and, for runs whose workers change tiles, the ``lanes``.

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
from mkds_gym.viewer.bus.publisher import WATCH_SECONDS, Publisher
from mkds_gym.viewer.bus.runs import run_folder, runs
from mkds_gym.viewer.bus.shared_memory import Segment


class Bus:
    """Creates the shared memory of a run and removes it in `close` or at exit.

    A context manager. The constructor also removes the leftovers of killed runs.

    Args:
        tiles: number of tiles, or their indices.
        label: its letters and digits become part of the folder's name.
        width: width of the pictures, pixels.
        height: height of the pictures, pixels.
        lanes: number of lanes for `assign`; 0 if each tile has its own publisher.

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
        lanes: int = 0,
    ) -> None:
        self.indices: Final = tuple(range(tiles)) if isinstance(tiles, int) else tuple(tiles)
        integer("tiles", len(self.indices), 1, layout.MAX_TILES)
        integer("width", width, 1)
        integer("height", height, 1)
        runs()
        self._pid = os.getpid()
        self.folder: Final = run_folder(label)
        self._lanes: Segment | None = None
        try:
            self.folder.mkdir(mode=0o700)
            for index in self.indices:
                path = self.folder / str(index)
                tile = layout.create_segment(path, layout.tile_size(width, height))
                words = layout.segment_words(tile)
                words[layout.WIDTH], words[layout.HEIGHT] = width, height
            if lanes:
                size = layout.lanes_size(lanes)
                self._lanes = layout.create_segment(self.folder / layout.LANES_FILE, size)
            # The board is last: a folder with a board is a complete run.
            path = self.folder / layout.BOARD_FILE
            board = layout.create_segment(path, layout.board_size())
        except OSError as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise ViewerError(
                f"no shared memory for {len(self.indices)} pictures in '{self.folder.parent}' "
                f"({reason(error)}): show fewer"
            ) from error
        self._closed_flag = layout.closed_flag(board)
        self._watch_times = layout.watch_times(board)
        self._board = layout.board_buffer(board)
        self.closed = False
        atexit.register(self._remove)

    def publisher(self, index: int) -> Publisher:
        """Return the publisher of a tile, for any process.

        Raises:
            KeyError: there is no such tile.
        """
        self._check_tile(index)
        return Publisher(self.folder, index)

    def assign(self, lane: int, tile: int | None, label: str = "") -> None:
        """Set where a lane publishes from its next episode on.

        Args:
            lane: number of the lane.
            tile: index of a tile that no other lane uses; None hides the lane.
            label: name of the driver.

        Raises:
            KeyError: there is no such tile or lane.
        """
        if tile is not None:
            self._check_tile(tile)
        if self._lanes is None or not 0 <= lane < layout.lane_count(self._lanes):
            raise KeyError(f"no lane {lane}")
        layout.write_lane(self._lanes, lane, tile, label)

    def post(self, board: Board) -> None:
        """Write the text around the pictures. A board that is too long loses its captions."""
        if self.closed:
            return
        message = layout.pack_board(board)
        if len(message) > layout.BOARD_ROOM:
            shorter = Board(board.title[:200], board.header[:2000], {}, board.score)
            message = layout.pack_board(shorter)
        self._board.put(message)

    @property
    def watched(self) -> bool:
        """Whether a viewer watches."""
        return bool(time.monotonic() - self._watch_times[layout.WATCHED_AT] < WATCH_SECONDS)

    def close(self) -> None:
        """Remove all segments, which closes the viewers. A second call does nothing."""
        self.closed = True
        if os.getpid() == self._pid:  # a forked child shares the memory
            self._closed_flag[0] = 1
        self._watch_times[layout.WATCHED_AT] = self._watch_times[layout.SCENES_AT] = 0.0
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
