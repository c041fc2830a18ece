"""Layout of a run's segments: the structures that publishers write and viewers read.

Each segment begins with a page for its header: `TILE` or `BOARD`. Then come

* in a tile, a double buffer of messages: `STATUS`, the pixels, and a pickled scene;
* in the board, a double buffer of JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from pydantic import TypeAdapter

from mkds_gym.errors import ViewerError, reason
from mkds_gym.utils.reading import parse_json, validated
from mkds_gym.viewer.bus.shared_memory import DoubleBuffer, create_file, map_file

VERSION: Final = 5
MAX_TILES: Final = 256
SCENE_ROOM: Final = 160 * 1024
"""Bytes of the longest scene: enough for the longest trail."""
BOARD_ROOM: Final = 128 * 1024
LABEL_ROOM: Final = 240
"""Bytes of the longest label; a longer one is cut."""
WATCH_SECONDS: Final = 2.0
"""A viewer counts as gone after this time without a request."""
BOARD_FILE: Final = "board"

_MAGIC: Final = int.from_bytes(b"mkdsview", "little")
_PAGE: Final = 4096
_ID: Final = [("magic", "<u8"), ("version", "<u8")]
TILE: Final = np.dtype(
    [*_ID, *((name, "<u8") for name in ["width", "height", "pid", "start_time", "state", "frames"])]
)
BOARD: Final = np.dtype([*_ID, ("watched_at", "<f8"), ("scenes_at", "<f8"), ("closed", "<u8")])
"""With the times of the last requests for pictures and for scenes (`time.monotonic`)."""
STATUS: Final = np.dtype(
    [
        *((name, "<i8") for name in ["pixel_bytes", "frame", "lap", "place", "drivers", "episode"]),
        *((name, "<f8") for name in ["speed", "progress", "score"]),
        ("label", f"S{LABEL_ROOM}"),
    ]
)


class State(IntEnum):
    """State of a tile."""

    WAITING = 0
    """No process has opened the tile yet."""
    DRIVING = 1
    OVER = 2
    """The episode is over and the next one has not begun."""
    CLOSED = 3
    """The publisher closed the tile."""
    DEAD = 4
    """The publisher's process died. Only readers find that out."""


class Status(NamedTuple):
    """Numbers published with a picture.

    Attributes:
        frame: frame of the race clock.
        lap: 0 before the start line, then 1 and up.
        place: 1 for the leader; 0 if unknown.
        drivers: karts in the race.
        episode: counted from 1.
        speed: world units per frame.
        progress: laps driven.
        score: fitness or reward so far; NaN if unknown.
        label: name of the driver, up to `LABEL_ROOM` bytes.
    """

    frame: int = 0
    lap: int = 0
    place: int = 0
    drivers: int = 0
    episode: int = 0
    speed: float = 0.0
    progress: float = 0.0
    score: float = float("nan")
    label: str = ""


@dataclass(frozen=True)
class Board:
    """Text around the pictures, written by the run's process.

    Attributes:
        title: title of the window.
        header: line above the tiles.
        captions: first line below a tile, by index, for pictures without a label.
        score: name of the score.
    """

    title: str = "mkds-gym"
    header: str = ""
    captions: Mapping[int, str] = field(default_factory=dict)
    score: str = "reward"

    def to_json(self) -> bytes:
        """Return the board as JSON."""
        return json.dumps([self.title, self.header, dict(self.captions), self.score]).encode()

    @classmethod
    def from_json(cls, message: bytes) -> Board:
        """Return the board of `to_json`.

        Raises:
            ViewerError: the message is damaged.
        """
        name = "the text around the pictures"
        fields = validated(_BOARD, parse_json(message, name, ViewerError), name, ViewerError)
        return cls(*fields)


_BOARD: Final = TypeAdapter(tuple[str, str, dict[int, str], str])


class Segment(NamedTuple):
    """A mapped segment.

    Attributes:
        header: a structured scalar, which reads and writes the memory by field names.
        view: all bytes.
    """

    header: Any
    view: memoryview

    def double_buffer(self, size: int) -> DoubleBuffer:
        """Return the double buffer after the header, for messages of up to ``size`` bytes.

        Raises:
            ViewerError: the segment is too small for them.
        """
        if _PAGE + DoubleBuffer.room(size) > len(self.view):
            raise ViewerError(
                f"the shared memory is damaged ({len(self.view)} bytes): start the run again"
            )
        return DoubleBuffer(self.view, _PAGE, size)


def create_segment(path: Path, header: np.dtype[Any], size: int) -> Segment:
    """Create a segment with ``size`` bytes after its header."""
    view = create_file(path, _PAGE + size)
    segment = Segment(np.frombuffer(view, header, 1)[0], view)
    segment.header["magic"], segment.header["version"] = _MAGIC, VERSION
    return segment


def open_segment(path: Path, header: np.dtype[Any], *, writable: bool = True) -> Segment:
    """Open a segment.

    Raises:
        ViewerError: the run is over, belongs to another version or another user, or is damaged.
    """
    try:
        view = map_file(path, writable=writable)
    except PermissionError as error:
        raise ViewerError(
            f"'{path}' cannot be watched ({reason(error)}): expected a run that only you can write"
        ) from error
    except OSError as error:
        raise ViewerError(f"the run '{path.parent.name}' is over ({reason(error)})") from error
    if len(view) < _PAGE:
        raise damaged(path, f"{len(view)} bytes")
    segment = Segment(np.frombuffer(view, header, 1)[0], view)
    if segment.header["magic"] != _MAGIC or segment.header["version"] != VERSION:
        raise ViewerError(
            f"'{path}' was written by another version of mkds_gym: watch the run with that version"
        )
    return segment


def damaged(path: Path, what: str) -> ViewerError:
    """Return the error for contents that no publisher writes.

    Args:
        path: the segment.
        what: what is wrong.
    """
    return ViewerError(f"the shared memory of '{path}' is damaged ({what}): start the run again")


def message_size(width: int, height: int) -> int:
    """Return the bytes of a tile's longest message."""
    return STATUS.itemsize + 3 * width * height + SCENE_ROOM


def decode_label(label: bytes) -> str:
    """Return a label as text; the cut may have split its last character."""
    return label.decode(errors="ignore")
