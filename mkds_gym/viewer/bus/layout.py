"""Layout of a run's segments: the structures that publishers write and viewers read.

Every segment begins with a page of little-endian words: the magic number, the version, then

* of a tile: the words `WIDTH` to `FRAMES`, and after the page a double buffer of messages, each a
  `Status`, the pixels and a pickled scene;
* of the board: `watch_times` and `closed_flag`, and after the page a double buffer of JSON;
* of the lanes: after the page, a tile number and a label for each lane.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mkds_gym.errors import ViewerError, reason
from mkds_gym.viewer.bus.shared_memory import PAGE, DoubleBuffer, Segment

VERSION: Final = 3
MAX_TILES: Final = 256
SCENE_ROOM: Final = 160 * 1024
"""Bytes of the longest scene: enough for the longest trail."""
BOARD_ROOM: Final = 128 * 1024
LABEL_ROOM: Final = 240
"""Bytes of the longest label."""
BOARD_FILE: Final = "board"
LANES_FILE: Final = "lanes"

MAGIC, VERSION_WORD, WIDTH, HEIGHT, PID, START_TIME, STATE, FRAMES = range(8)
"""Indices of a tile's words."""
WATCHED_AT, SCENES_AT = 0, 1
"""Indices of `watch_times`."""
_MAGIC_NUMBER: Final = int.from_bytes(b"mkdsview", "little")
_WATCH_TIMES_OFFSET: Final = 64
_CLOSED_OFFSET: Final = 128
# Tile number counted from 1 (0 is no tile), and label.
_LANE: Final = struct.Struct(f"<q{LABEL_ROOM}s")
# Bytes of a pixel, then the fields of a `Status`.
_STATUS: Final = struct.Struct(f"<6q3d{LABEL_ROOM}s")
STATUS_ROOM: Final = _STATUS.size


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
        label: name of the driver; the first `LABEL_ROOM` bytes are kept.
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


# Segments ---------------------------------------------------------------------------------------


def create_segment(path: Path, size: int) -> Segment:
    """Create a segment with ``size`` bytes after its page."""
    segment = Segment.create(path, PAGE + size)
    words = segment_words(segment)
    words[MAGIC], words[VERSION_WORD] = _MAGIC_NUMBER, VERSION
    return segment


def open_segment(path: Path, *, writable: bool = True) -> Segment:
    """Open a segment of a run.

    Raises:
        ViewerError: the run is over, or belongs to another version.
    """
    try:
        segment = Segment(path, writable=writable)
    except OSError as error:
        raise ViewerError(f"the run '{path.parent.name}' is over ({reason(error)})") from error
    words = segment_words(segment)
    if words[MAGIC] != _MAGIC_NUMBER or words[VERSION_WORD] != VERSION:
        raise ViewerError(
            f"'{path}' was written by another version of mkds_gym: watch the run with that version"
        )
    return segment


def segment_words(segment: Segment) -> Any:
    """Return the page of a segment as 64-bit words."""
    return segment.view[:PAGE].cast("Q")


def tile_size(width: int, height: int) -> int:
    """Return the bytes of a tile after its page."""
    return DoubleBuffer.room(_tile_message_room(width, height))


def tile_buffer(segment: Segment, width: int, height: int) -> DoubleBuffer:
    """Return the double buffer of a tile."""
    return DoubleBuffer(segment.view, PAGE, _tile_message_room(width, height))


def _tile_message_room(width: int, height: int) -> int:
    return STATUS_ROOM + 3 * width * height + SCENE_ROOM


def board_size() -> int:
    """Return the bytes of the board after its page."""
    return DoubleBuffer.room(BOARD_ROOM)


def board_buffer(segment: Segment) -> DoubleBuffer:
    """Return the double buffer of the board."""
    return DoubleBuffer(segment.view, PAGE, BOARD_ROOM)


def watch_times(board: Segment) -> Any:
    """Return when a viewer last asked for pictures and for scenes, seconds of `time.monotonic`."""
    return board.view[_WATCH_TIMES_OFFSET : _WATCH_TIMES_OFFSET + 16].cast("d")


def closed_flag(board: Segment) -> Any:
    """Return one word, which is 1 after the run was closed."""
    return board.view[_CLOSED_OFFSET : _CLOSED_OFFSET + 8].cast("Q")


# Structures -------------------------------------------------------------------------------------


def pack_status(buffer: memoryview, offset: int, bytes_per_pixel: int, status: Status) -> None:
    """Write a status and the size of the pixels that follow it."""
    _STATUS.pack_into(buffer, offset, bytes_per_pixel, *status[:-1], _encode_label(status.label))


def unpack_status(message: NDArray[np.uint8]) -> tuple[int, Status]:
    """Return the bytes of a pixel, and the status."""
    bytes_per_pixel, *numbers, label = _STATUS.unpack_from(message.data)
    return bytes_per_pixel, Status._make([*numbers, _decode_label(label)])


def lanes_size(count: int) -> int:
    """Return the bytes of the lanes after their page."""
    return count * _LANE.size


def lane_count(lanes: Segment) -> int:
    """Return how many lanes a segment holds."""
    return (len(lanes.view) - PAGE) // _LANE.size


def write_lane(lanes: Segment, lane: int, tile: int | None, label: str) -> None:
    """Write the tile and the label of a lane."""
    number = 0 if tile is None else tile + 1
    _LANE.pack_into(lanes.view, PAGE + lane * _LANE.size, number, _encode_label(label))


def read_lane(lanes: Segment, lane: int) -> tuple[int | None, str]:
    """Return the tile and the label of a lane."""
    tile, label = _LANE.unpack_from(lanes.view, PAGE + lane * _LANE.size)
    return tile - 1 if tile else None, _decode_label(label)


def pack_board(board: Board) -> bytes:
    """Return a board as JSON."""
    return json.dumps([board.title, board.header, dict(board.captions), board.score]).encode()


def unpack_board(message: bytes) -> Board:
    """Return the board of `pack_board`."""
    title, header, captions, score = json.loads(message)
    return Board(title, header, {int(k): v for k, v in captions.items()}, score)


def _encode_label(text: str) -> bytes:
    return text.encode()[:LABEL_ROOM].rstrip(b"\0")


def _decode_label(label: bytes) -> str:
    return label.rstrip(b"\0").decode(errors="ignore")  # the cut may split a character
