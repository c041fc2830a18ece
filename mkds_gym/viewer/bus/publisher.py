"""`Publisher`: the side of the viewer's shared memory that has the pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.errors import ViewerError, reason
from mkds_gym.utils.processes import start_time
from mkds_gym.viewer.bus import layout
from mkds_gym.viewer.bus.layout import SCENE_ROOM, STATUS, WATCH_SECONDS, State, Status
from mkds_gym.viewer.bus.shared_memory import DoubleBuffer, write_file


class Publisher:
    """Publishes pictures into one tile. Pickles at any time; the copy opens the tile itself.

    Args:
        folder: the run's folder, also an attribute.
        index: index of the tile, also an attribute.
    """

    def __init__(self, folder: Path, index: int) -> None:
        self.folder: Final = folder
        self.index = index
        self._buffer: DoubleBuffer | None = None
        self._tile: Any = None
        self._board: Any = None
        # Views of the two slots.
        self._statuses: list[Any] = []
        self._pictures: list[NDArray[np.uint8]] = []
        self._colours: list[NDArray[np.uint16]] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.folder, self.index)

    def open(self) -> None:
        """Open the tile for this process. A second call does nothing.

        Raises:
            ViewerError: the run is over.
        """
        if self._buffer is not None:
            return
        segment = layout.open_segment(self.folder / str(self.index), layout.TILE)
        if self._board is None:
            path = self.folder / layout.BOARD_FILE
            self._board = layout.open_segment(path, layout.BOARD).header
        tile = segment.header
        width, height = int(tile["width"]), int(tile["height"])
        buffer = segment.double_buffer(layout.message_size(width, height))
        pixels = width * height
        end = 8 + STATUS.itemsize
        self._statuses = [slot[8:end].view(STATUS) for slot in buffer.slots]
        rest = [slot[end:] for slot in buffer.slots]
        self._pictures = [part[: 3 * pixels].reshape(height, width, 3) for part in rest]
        self._colours = [part[: 2 * pixels].view(np.uint16).reshape(height, width) for part in rest]
        tile["pid"], tile["start_time"] = os.getpid(), start_time(os.getpid()) or 0
        tile["state"] = State.DRIVING
        self._tile, self._buffer = tile, buffer

    def leave(self) -> None:
        """Leave the tile to other publishers; `open` opens the tile with the current index."""
        # Another publisher may have opened the tile already.
        if self._buffer is not None and self._tile["pid"] == os.getpid():
            self._tile["pid"] = 0
        self._tile = self._buffer = None
        self._statuses, self._pictures, self._colours = [], [], []

    def wanted(self, now: float) -> bool:
        """Return whether a viewer watches; ``now`` is that of `time.monotonic`."""
        return bool(now - self._board["watched_at"] < WATCH_SECONDS)

    def scenes_wanted(self, now: float) -> bool:
        """Return whether a viewer draws overlays."""
        return bool(now - self._board["scenes_at"] < WATCH_SECONDS)

    @property
    def over(self) -> bool:
        """Whether the run was closed since this publisher opened its tile."""
        return self._board is not None and bool(self._board["closed"])

    def set_state(self, state: State) -> None:
        """Set the state of the tile."""
        self.open()
        self._tile["state"] = state

    def count(self, frames: int) -> None:
        """Add emulated frames, from which viewers compute the frame rate."""
        self._tile["frames"] += frames

    def publish(
        self,
        picture: NDArray[np.uint8] | NDArray[np.uint16],
        status: Status | None = None,
        scene: bytes = b"",
    ) -> None:
        """Publish a picture.

        Args:
            picture: uint8 RGB (height, width, 3), or uint16 (height, width) colours of the console
                (`Console.colours`), which are faster to copy.
            status: numbers shown with it.
            scene: its pickled overlay scene; omitted if longer than `SCENE_ROOM`.

        Raises:
            ValueError: the picture has another shape or dtype.
            ViewerError: the run is over.
        """
        self.open()
        buffer = self._buffer
        assert buffer is not None
        targets: Sequence[NDArray[Any]] = (
            self._colours if picture.dtype == np.uint16 else self._pictures
        )
        if picture.shape != targets[0].shape or picture.dtype != targets[0].dtype:
            raise ValueError(
                f"a picture of shape {picture.shape} and dtype {picture.dtype}: expected uint8 "
                f"{self._pictures[0].shape}, or uint16 {self._colours[0].shape}"
            )
        if len(scene) > SCENE_ROOM:
            scene = b""
        numbers = status or Status()

        def fill(slot: int) -> int:
            message, target = buffer.slots[slot], targets[slot]
            pixel_bytes = target.nbytes // (target.shape[0] * target.shape[1])
            self._statuses[slot][0] = (pixel_bytes, *numbers[:-1], numbers.label.encode())
            target[:] = picture
            end = 8 + STATUS.itemsize + target.nbytes
            message[end : end + len(scene)] = np.frombuffer(scene, np.uint8)
            return end - 8 + len(scene)

        buffer.write(fill)

    def publish_course(self, fingerprint: int, course: bytes) -> None:
        """Publish the pickled course of the scenes; it replaces the one before.

        Raises:
            ViewerError: the course cannot be written.
        """
        try:
            write_file(
                self.folder / f"{self.index}.course", fingerprint.to_bytes(16, "little") + course
            )
        except OSError as error:
            raise ViewerError(f"the course cannot be published: {reason(error)}") from error
