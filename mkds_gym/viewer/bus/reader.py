"""`Run` and `Tile`: the viewers' side of the shared memory."""

from __future__ import annotations

import pickle
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator.hardware import RGB_OF_COLOURS
from mkds_gym.utils.processes import start_time
from mkds_gym.viewer.bus import layout
from mkds_gym.viewer.bus.layout import STATUS, Board, State, Status
from mkds_gym.viewer.bus.runs import alive
from mkds_gym.viewer.bus.shared_memory import open_own

_MAX_PIXELS: Final = 1 << 26
_MAX_COURSE: Final = 1 << 28
"""Bytes of the largest course; a Kartlab course has less than one million."""


@dataclass(frozen=True)
class Shot:
    """A published picture.

    Attributes:
        number: number of the picture, counted from 1.
        pixels: as published: uint8 RGB (height, width, 3), or uint16 (height, width) colours of the
            console.
        status: numbers published with it.
        scene: its pickled overlay scene; empty if there is none.
    """

    number: int
    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    status: Status
    scene: bytes = b""

    @cached_property
    def picture(self) -> NDArray[np.uint8]:
        """uint8 RGB (height, width, 3)."""
        if self.pixels.ndim == 3:
            return np.asarray(self.pixels, np.uint8)
        return RGB_OF_COLOURS.take(self.pixels, axis=0, mode="clip")


class Tile:
    """Reads one tile, in any process.

    Args:
        folder: the run's folder.
        index: index of the tile, also an attribute.

    Attributes:
        width: width of its pictures, pixels.
        height: height of its pictures, pixels.

    Raises:
        ViewerError: there is no such tile, or it belongs to another version.
    """

    def __init__(self, folder: Path, index: int) -> None:
        self.index: Final = index
        segment = layout.open_segment(folder / str(index), layout.TILE, writable=False)
        self._header = segment.header
        self.width, self.height = int(self._header["width"]), int(self._header["height"])
        self._path: Final = folder / str(index)
        if not 0 < self.width * self.height <= _MAX_PIXELS:
            raise layout.damaged(self._path, f"pictures of {self.width} x {self.height} pixels")
        self._buffer = segment.double_buffer(layout.message_size(self.width, self.height))
        self._course_file = folder / f"{index}.course"
        self._course: tuple[int, Any] | None = None

    @property
    def frames(self) -> int:
        """Frames emulated since the tile was made."""
        return int(self._header["frames"])

    @property
    def pid(self) -> int:
        """Process id of the publisher; 0 if there is none."""
        return int(self._header["pid"])

    def state(self) -> State:
        """Return the state of the tile."""
        state = State(min(int(self._header["state"]), State.CLOSED))
        if (
            self.pid
            and state in (State.DRIVING, State.OVER)
            and start_time(self.pid) != self._header["start_time"]
        ):
            return State.DEAD
        return state

    def shot(self, known: int = 0) -> Shot | None:
        """Return the latest picture; None if its number is ``known``, or if there is none.

        Raises:
            ViewerError: the message is damaged.
        """
        read = self._buffer.read(known)
        if read is None:
            return None
        number, message = read
        if len(message) < STATUS.itemsize:
            raise layout.damaged(self._path, f"a message of {len(message)} bytes")
        pixel_bytes, *numbers, label = message[: STATUS.itemsize].view(STATUS)[0].item()
        if pixel_bytes not in (2, 3):
            raise layout.damaged(self._path, f"pixels of {pixel_bytes} bytes")
        end = STATUS.itemsize + pixel_bytes * self.width * self.height
        if end > len(message):
            raise layout.damaged(self._path, f"a message of {len(message)} bytes")
        picture: Any = message[STATUS.itemsize : end].reshape(self.height, self.width, pixel_bytes)
        if pixel_bytes == 2:
            picture = picture.view(np.uint16)[..., 0]
        status = Status._make([*numbers, layout.decode_label(label)])
        return Shot(number, picture, status, message[end:].tobytes())

    def course(self, fingerprint: int) -> Any:
        """Return the `mkds_gym.course.Course` with this fingerprint; None if there is none yet."""
        if self._course is None or self._course[0] != fingerprint:
            try:
                with open(open_own(self._course_file), "rb") as file:  # noqa: PTH123
                    data = file.read(_MAX_COURSE)
            except OSError:
                return None
            try:
                course = pickle.loads(data[16:])
            except Exception as error:  # a damaged pickle raises anything
                raise layout.damaged(self._course_file, repr(error)) from error
            self._course = (int.from_bytes(data[:16], "little"), course)
        return self._course[1] if self._course[0] == fingerprint else None


class Run:
    """Reads a run in progress.

    Args:
        folder: one of `runs`, also an attribute.

    Attributes:
        tiles: its tiles, in the order of their indices.

    Raises:
        ViewerError: the run is over, or belongs to another version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        segment = layout.open_segment(folder / layout.BOARD_FILE, layout.BOARD)
        self._header = segment.header
        self._buffer = segment.double_buffer(layout.BOARD_ROOM)
        self._known = 0
        self._board = Board()
        names = [path.name for path in folder.iterdir()]
        # Longer names would not be indices.
        indices = sorted(int(name) for name in names if len(name) < 4 and name.isdecimal())
        self.tiles: Final = [Tile(folder, index) for index in indices]

    @property
    def alive(self) -> bool:
        """Whether the run is still in progress."""
        return alive(self.folder)

    def watch(self, *, scenes: bool = False) -> None:
        """Ask for pictures. Repeat within `WATCH_SECONDS`.

        Args:
            scenes: also ask for overlay scenes.
        """
        self._header["watched_at"] = now = time.monotonic()
        if scenes:
            self._header["scenes_at"] = now

    def board(self) -> Board:
        """Return the text around the pictures."""
        read = self._buffer.read(self._known)
        if read is not None:
            self._known, message = read
            self._board = Board.from_json(message.tobytes())
        return self._board
