"""The frame bus: how pictures get from the processes that step environments to a window.

A run is a folder in shared memory, ``mkds-<label>-<namespace>-<pid>-<birth>-<made>``, of the
process that made it, and when (nanoseconds since the machine began). In it are

- one segment for each tile, named by its index, into which the process that has the picture
  publishes it;
- ``board``, into which the run's process writes what stands beside the pictures, and viewers write
  what they want;
- ``lanes``, if the run has any: into which tile each of them publishes, and who drives there.

Whoever finds a run of a process that is no more removes it, if it can tell: a process of another
PID namespace (a container with the same ``/dev/shm``) is none of its business. Nor is a run of
another user: what is in a run is unpickled by viewers, and so could be code of theirs.

```python
with Bus(1) as bus:
    publisher = bus.publisher(0)  # may be pickled, and used in another process
    publisher.publish(picture, Status(frame=60, lap=1))
```
"""

from __future__ import annotations

import contextlib
import json
import operator
import os
import pickle
import re
import shutil
import stat
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator.hardware import RGB_OF_COLOURS, SCREEN_HEIGHT, SCREEN_WIDTH
from mkds_gym.errors import ViewerError, reason
from mkds_gym.viewer.shared import (
    PAGE,
    DoubleBuffer,
    Segment,
    birth,
    pid_namespace,
    shared_folder,
)

VERSION: Final = 3
WATCHED_FOR: Final = 2.0
"""Seconds after its last sign that a viewer counts as gone."""
SCENE_ROOM: Final = 160 * 1024
"""Most bytes of a scene: of a long trail, and everything else."""
BOARD_ROOM: Final = 128 * 1024
MAX_TILES: Final = 256
SHOW_WORDS: Final = ("none", "first", "all")

_BOARD: Final = "board"
_LANES: Final = "lanes"
_MAGIC: Final = int.from_bytes(b"mkdsview", "little")
_RUN: Final = re.compile(
    r"mkds-(?P<label>.+)-(?P<namespace>\d+)-(?P<pid>\d+)-(?P<birth>\d+)-(?P<made>\d+)"
)

# Words of 8 bytes at the beginning of each segment.
_TILE_MAGIC, _TILE_VERSION, _WIDTH, _HEIGHT, _PID, _BIRTH, _STATE, _FRAMES = range(8)
# And of the board, after magic and version: seconds of the monotonic clock.
_WATCHED_AT, _SCENES_AT = 0, 1
_WANTS_OFFSET: Final = 64
# And whether it was closed.
_OVER_OFFSET: Final = 128

LABEL_ROOM: Final = 240
"""Most bytes of a label."""
# Of a lane: its tile, counted from 1 on (0 is none), and the label.
_LANE: Final = struct.Struct(f"<q{LABEL_ROOM}s")


class State(IntEnum):
    """What a tile's process is at."""

    WAITING = 0
    """Nobody has opened it yet."""
    DRIVING = 1
    OVER = 2
    """The episode is over, and none has begun since."""
    CLOSED = 3
    """It was closed in an orderly way."""
    DEAD = 4
    """Its process is no more, and had not closed it. Readers find that out."""


class Status(NamedTuple):
    """Numbers beside a picture.

    Attributes:
        frame: on the race clock.
        lap: 0 before the start line, then 1 and up.
        place: 1 leads; 0 when unknown.
        drivers: karts in the race.
        episode: counted from 1.
        speed: in world units a frame.
        progress: laps driven.
        score: fitness or reward so far; NaN when unknown.
        label: who drives; of a longer one the first `LABEL_ROOM` bytes are kept.
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


# Bytes of a pixel of the picture, and a `Status`.
_STATUS: Final = struct.Struct(f"<6q3d{LABEL_ROOM}s")
_STATUS_ROOM: Final = _STATUS.size


def _label(text: str) -> bytes:
    return text.encode()[:LABEL_ROOM].rstrip(b"\0")


def _text(label: bytes) -> str:
    return label.rstrip(b"\0").decode(errors="ignore")  # it may be cut within a letter


@dataclass(frozen=True)
class Shot:
    """A published picture, with what belongs to it.

    Attributes:
        number: of the picture, from 1 on.
        pixels: as they were published: uint8 RGB (height, width, 3), or uint16 (height, width) of
            the console's 15-bit colours.
        status: see there.
        scene: pickled `mkds_gym.overlays.OverlayScene` of the picture, if there is one.
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


@dataclass(frozen=True)
class Board:
    """What stands beside the pictures; written by the run's process.

    Attributes:
        title: of the window.
        header: the line above the tiles.
        captions: the first line below a tile, by index, where a picture has no label of its own.
        score: what the score is called.
    """

    title: str = "mkds-gym"
    header: str = ""
    captions: Mapping[int, str] = field(default_factory=dict)
    score: str = "reward"


def parse_show(
    show: str | int | bool | Sequence[int] | Sequence[bool], count: int
) -> tuple[int, ...]:
    """Which of several are shown.

    Args:
        show: ``"none"``, ``"first"``, ``"all"``, a list of numbers from 0 on (``"0,3,5"`` or
            ``[0, 3, 5]``), or one number; or yes or no for each (``[True, False]``), or one for
            all.
        count: how many there are.

    Returns:
        Their numbers, in order.

    Raises:
        ValueError: anything else, a number that there is not, or one that is named twice.
    """
    if isinstance(show, bool | np.bool_):
        return tuple(range(count if show else 0))
    if isinstance(show, str):
        word = show.strip().lower()
        if word in SHOW_WORDS:
            return tuple(range({"none": 0, "first": min(1, count), "all": count}[word]))
        parts: Sequence[Any] = word.split(",")
    else:
        try:
            parts = list(show)  # type: ignore[arg-type]
        except TypeError:
            parts = [show]
        if parts and all(isinstance(part, bool | np.bool_) for part in parts):
            if len(parts) != count:
                raise ValueError(f"show={show!r}: yes or no {len(parts)} times; there are {count}")
            return tuple(number for number, part in enumerate(parts) if part)
    numbers = set()
    for part in parts:
        try:
            number = _number(part)
        except (TypeError, ValueError):
            raise ValueError(
                f"show={show!r}: {str(part)!r} is no number; write none, first, all, or numbers "
                "such as 0,3,5"
            ) from None
        if not 0 <= number < count:
            raise ValueError(f"show={show!r}: {part} is outside 0..{count - 1}; there are {count}")
        if number in numbers:
            raise ValueError(f"show={show!r}: {number} is named twice")
        numbers.add(number)
    return tuple(sorted(numbers))


def _number(part: Any) -> int:
    """A whole number, also as text; yes or no among others is none.

    Raises:
        TypeError, ValueError: it is none.
    """
    if isinstance(part, bool):
        raise TypeError(f"{part} is yes or no")
    return int(part) if isinstance(part, str) else operator.index(part)


def runs(*, remove_leftovers: bool = True) -> list[Path]:
    """The folders of all runs of this user that are going, in the order in which they began.

    Args:
        remove_leftovers: remove those of processes that are no more.
    """
    found = []
    here = pid_namespace()
    for path in shared_folder().glob("mkds-*"):
        match = _RUN.fullmatch(path.name)
        if match is None or int(match["namespace"]) != here or not _is_own_folder(path):
            continue
        if birth(int(match["pid"])) != int(match["birth"]):
            if remove_leftovers:
                shutil.rmtree(path, ignore_errors=True)
        elif (path / _BOARD).exists():  # else it is being made, or removed
            found.append((int(match["made"]), path))
    return [path for _, path in sorted(found)]


def _is_own_folder(path: Path) -> bool:
    """Whether it is a folder that nobody else could write into."""
    try:
        status = path.lstat()
    except OSError:  # it is gone
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def alive(folder: Path) -> bool:
    """Whether the process of a run still runs, and has not closed it."""
    match = _RUN.fullmatch(folder.name)
    return (
        match is not None
        and int(match["namespace"]) == pid_namespace()
        and birth(int(match["pid"])) == int(match["birth"])
        and (folder / _BOARD).exists()
    )


class Bus:
    """A run's place in shared memory; removed by `close`, at exit, or at the next start of any.

    Leftovers of processes that are no more are removed first.

    Args:
        tiles: how many, or the indices that they shall have.
        label: goes into the folder's name; letters and digits of it.
        width: of the pictures, in pixels.
        height: likewise.
        lanes: how many there are for `assign`; 0 where each tile has its own publisher.

    Attributes:
        folder: of the run.
        indices: of the tiles.

    Raises:
        ValueError: no tile or too many, or a size of zero or less.
        ViewerError: there is no shared memory, or no room in it.
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
        if not 1 <= len(self.indices) <= MAX_TILES:
            raise ValueError(f"{len(self.indices)} tiles; 1 to {MAX_TILES} can be shown")
        if width <= 0 or height <= 0:
            raise ValueError(f"pictures of {width} x {height} pixels: each must be at least 1")
        runs()
        self._pid = os.getpid()
        label = re.sub(r"[^A-Za-z0-9_]+", "_", label)[:40] or "run"
        process = f"{pid_namespace()}-{self._pid}-{birth(self._pid)}"
        name = f"mkds-{label}-{process}-{time.monotonic_ns()}"
        self.folder: Final = shared_folder() / name
        self._lanes: Segment | None = None
        try:
            self.folder.mkdir(mode=0o700)
            for index in self.indices:
                tile = Segment.create(self.folder / str(index), _tile_size(width, height))
                words = tile.view[:PAGE].cast("Q")
                words[_TILE_MAGIC], words[_TILE_VERSION] = _MAGIC, VERSION
                words[_WIDTH], words[_HEIGHT] = width, height
            if lanes:
                self._lanes = Segment.create(self.folder / _LANES, PAGE + lanes * _LANE.size)
                words = self._lanes.view[:PAGE].cast("Q")
                words[_TILE_MAGIC], words[_TILE_VERSION] = _MAGIC, VERSION
            # Last: with it, the run is there.
            segment = Segment.create(self.folder / _BOARD, PAGE + DoubleBuffer.room(BOARD_ROOM))
        except OSError as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise ViewerError(
                f"no shared memory for {len(self.indices)} pictures in '{self.folder.parent}' "
                f"({reason(error)}); show fewer"
            ) from error
        header = segment.view[:PAGE].cast("Q")
        header[_TILE_MAGIC], header[_TILE_VERSION] = _MAGIC, VERSION
        self._over: Any = segment.view[_OVER_OFFSET : _OVER_OFFSET + 8].cast("Q")
        self._wants: Any = segment.view[_WANTS_OFFSET : _WANTS_OFFSET + 16].cast("d")
        self._board = DoubleBuffer(segment.view, PAGE, BOARD_ROOM)
        self.closed = False
        self._at_exit = _at_exit(self.folder, self._pid)

    def publisher(self, index: int) -> Publisher:
        """What publishes into a tile; for any process.

        Raises:
            KeyError: there is no such tile.
        """
        if index not in self.indices:
            raise KeyError(f"no tile {index}; there are {self.indices}")
        return Publisher(self.folder, index)

    def assign(self, lane: int, tile: int | None, label: str = "") -> None:
        """Say where a lane publishes from its next episode on; to be said before that begins.

        Args:
            lane: its number.
            tile: index of a tile that no other lane publishes into then; None for none.
            label: who drives.

        Raises:
            KeyError: there is no such tile or lane.
        """
        if tile is not None and tile not in self.indices:
            raise KeyError(f"no tile {tile}; there are {self.indices}")
        start = PAGE + lane * _LANE.size
        if self._lanes is None or lane < 0 or start >= len(self._lanes.view):
            raise KeyError(f"no lane {lane}")
        number = 0 if tile is None else tile + 1
        _LANE.pack_into(self._lanes.view, start, number, _label(label))

    def post(self, board: Board) -> None:
        """Write what stands beside the pictures. What is too long for it is left out."""
        if self.closed:
            return
        message = _pack_board(board)
        if len(message) > BOARD_ROOM:
            message = _pack_board(Board(board.title[:200], board.header[:2000], {}, board.score))
        self._board.put(message)

    @property
    def watched(self) -> bool:
        """Whether a viewer looks."""
        return bool(time.monotonic() - self._wants[_WATCHED_AT] < WATCHED_FOR)

    def close(self) -> None:
        """Remove all segments; viewers then close. The second time does nothing.

        Publishers that still have them mapped see it by `Publisher.over`.
        """
        self.closed = True
        if os.getpid() == self._pid:  # a forked child has the same memory, and ends nothing
            self._over[0] = 1
        self._wants[_WATCHED_AT] = self._wants[_SCENES_AT] = 0.0  # publishers rest at once
        self._at_exit()

    def __enter__(self) -> Bus:
        """Itself, closed at the block's end."""
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _at_exit(folder: Path, pid: int) -> Callable[[], None]:
    """Remove a folder when this process ends, if not before."""
    import atexit

    def remove() -> None:
        if os.getpid() == pid:
            shutil.rmtree(folder, ignore_errors=True)
            atexit.unregister(remove)

    atexit.register(remove)
    return remove


def _tile_size(width: int, height: int) -> int:
    return PAGE + DoubleBuffer.room(_STATUS_ROOM + 3 * width * height + SCENE_ROOM)


def _pack_board(board: Board) -> bytes:
    return json.dumps([board.title, board.header, dict(board.captions), board.score]).encode()


class Publisher:
    """Publishes pictures into one tile, from the process that has them.

    It opens the tile when it first has something to say, and may be pickled before and after.

    Args:
        folder: of the run.
        index: of the tile.
    """

    def __init__(self, folder: Path, index: int) -> None:
        self.folder: Final = folder
        self.index = index
        self._buffer: DoubleBuffer | None = None
        self._words: Any = None
        self._wants: Any = None
        self._over: Any = None
        self._lanes: Segment | None = None
        self._pictures: tuple[NDArray[np.uint8], ...] = ()
        self._colours: tuple[NDArray[np.uint16], ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without what is mapped."""
        return type(self), (self.folder, self.index)

    def open(self) -> None:
        """Open the tile, so that it counts as this process's; the second time does nothing.

        Raises:
            ViewerError: the run is no more.
        """
        if self._buffer is not None:
            return
        tile = _open(self.folder / str(self.index))
        words: Any = tile.view[:PAGE].cast("Q")
        width, height = words[_WIDTH], words[_HEIGHT]
        size = 3 * width * height
        buffer = DoubleBuffer(tile.view, PAGE, _STATUS_ROOM + size + SCENE_ROOM)
        start = 8 + _STATUS_ROOM
        self._pictures = tuple(
            slot[start : start + size].reshape(height, width, 3) for slot in buffer.slots
        )
        self._colours = tuple(
            slot[start : start + size // 3 * 2].view(np.uint16).reshape(height, width)
            for slot in buffer.slots
        )
        if self._wants is None:
            board = _open(self.folder / _BOARD)
            self._wants = board.view[_WANTS_OFFSET : _WANTS_OFFSET + 16].cast("d")
            self._over = board.view[_OVER_OFFSET : _OVER_OFFSET + 8].cast("Q")
        words[_PID], words[_BIRTH] = os.getpid(), birth(os.getpid()) or 0
        words[_STATE] = State.DRIVING
        self._words, self._buffer = words, buffer

    def assigned(self, lane: int) -> tuple[int | None, str]:
        """What `Bus.assign` last said of a lane: its tile, if any, and the label.

        Raises:
            ViewerError: the run is no more, or has no lanes.
        """
        if self._lanes is None:
            self._lanes = _open(self.folder / _LANES, writable=False)
        tile, label = _LANE.unpack_from(self._lanes.view, PAGE + lane * _LANE.size)
        return tile - 1 if tile else None, _text(label)

    def leave(self) -> None:
        """Leave the tile to others; `open` opens it, or that of another ``index``, again."""
        if self._buffer is not None and self._words[_PID] == os.getpid():  # else others came first
            self._words[_PID] = 0
        self._words = self._buffer = None
        self._pictures, self._colours = (), ()

    def wanted(self, now: float) -> bool:
        """Whether a viewer looks.

        Args:
            now: `time.monotonic`.
        """
        return bool(now - self._wants[_WATCHED_AT] < WATCHED_FOR)

    def scenes_wanted(self, now: float) -> bool:
        """Whether a viewer wants to draw overlays."""
        return bool(now - self._wants[_SCENES_AT] < WATCHED_FOR)

    @property
    def over(self) -> bool:
        """Whether the run was closed since it was opened here."""
        return self._over is not None and bool(self._over[0])

    def say(self, state: State) -> None:
        """Tell what this process is at."""
        self.open()
        self._words[_STATE] = state

    def count(self, frames: int) -> None:
        """Add to the frames that were run, of which viewers compute a rate."""
        self._words[_FRAMES] += frames

    def publish(
        self,
        picture: NDArray[np.uint8] | NDArray[np.uint16],
        status: Status | None = None,
        scene: bytes = b"",
    ) -> None:
        """Publish a picture, at once and whole.

        Args:
            picture: of the tile's size: uint8 RGB (height, width, 3), or uint16 (height, width) of
                the console's colours (`Console.colours`), which is quicker to copy.
            status: beside it.
            scene: pickled overlay scene of it; one that is too long is left out.

        Raises:
            ValueError: a picture of another size or type.
            ViewerError: the run is no more.
        """
        self.open()
        buffer = self._buffer
        assert buffer is not None
        rooms = self._colours if picture.dtype == np.uint16 else self._pictures
        if picture.shape != rooms[0].shape or picture.dtype != rooms[0].dtype:
            raise ValueError(
                f"a picture of {picture.dtype} and shape {picture.shape}; the tile's is uint8 of "
                f"{self._pictures[0].shape}, or uint16 of {self._colours[0].shape}"
            )
        if len(scene) > SCENE_ROOM:
            scene = b""
        bytes_per_pixel = 2 if rooms is self._colours else 3

        def fill(slot: int) -> int:
            room = buffer.slots[slot]
            numbers = status or Status()
            label = _label(numbers.label)
            _STATUS.pack_into(room.data, 8, bytes_per_pixel, *numbers[:-1], label)
            rooms[slot][:] = picture
            end = 8 + _STATUS_ROOM + rooms[slot].nbytes
            if scene:
                room[end : end + len(scene)] = np.frombuffer(scene, np.uint8)
            return end - 8 + len(scene)

        buffer.write(fill)

    def publish_course(self, fingerprint: int, course: bytes) -> None:
        """Put the course that scenes are of beside the tile, in the place of the one before."""
        path = self.folder / f"{self.index}.course"
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            fresh.write_bytes(fingerprint.to_bytes(16, "little") + course)
            fresh.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise ViewerError(f"the course cannot be shown: {reason(error)}") from error


def _open(path: Path, *, writable: bool = True) -> Segment:
    try:
        segment = Segment(path, writable=writable)
    except OSError as error:
        raise ViewerError(f"the run '{path.parent.name}' is over ({reason(error)})") from error
    words = segment.view[:16].cast("Q")
    if words[0] != _MAGIC or words[1] != VERSION:
        raise ViewerError(
            f"'{path}' is of another version of mkds_gym; view it with the one that runs it"
        )
    return segment


def _status(message: NDArray[np.uint8]) -> tuple[int, Status]:
    """Bytes of a pixel, and the status."""
    bytes_per_pixel, *numbers, label = _STATUS.unpack_from(message.data)
    return bytes_per_pixel, Status._make([*numbers, _text(label)])


class Tile:
    """Reads one tile, in any process.

    Args:
        folder: of the run.
        index: of the tile.

    Raises:
        ViewerError: it is not there, or of another version.
    """

    def __init__(self, folder: Path, index: int) -> None:
        self.folder: Final = folder
        self.index: Final = index
        segment = _open(folder / str(index), writable=False)
        self._words: Any = segment.view[:PAGE].cast("Q")
        self.width = int(self._words[_WIDTH])
        self.height = int(self._words[_HEIGHT])
        size = 3 * self.width * self.height
        self._buffer = DoubleBuffer(segment.view, PAGE, _STATUS_ROOM + size + SCENE_ROOM)
        self._course: tuple[int, Any] | None = None

    @property
    def frames(self) -> int:
        """Frames run since the tile was made."""
        return int(self._words[_FRAMES])

    def state(self) -> State:
        """What its process is at."""
        state = State(min(int(self._words[_STATE]), State.CLOSED))
        pid = int(self._words[_PID])
        if pid and state in (State.DRIVING, State.OVER) and birth(pid) != self._words[_BIRTH]:
            return State.DEAD
        return state

    def shot(self, known: int = 0) -> Shot | None:
        """The latest picture; None if it is the one known, by its number."""
        read = self._buffer.read(known)
        if read is None:
            return None
        number, message = read
        bytes_per_pixel, status = _status(message)
        end = _STATUS_ROOM + bytes_per_pixel * self.width * self.height
        picture: Any = message[_STATUS_ROOM:end].reshape(self.height, self.width, bytes_per_pixel)
        if bytes_per_pixel == 2:
            picture = picture.view(np.uint16)[..., 0]
        return Shot(number, picture, status, message[end:].tobytes())

    def course(self, fingerprint: int) -> Any:
        """The `mkds_gym.course.Course` with this fingerprint; None if it is not there yet."""
        if self._course is None or self._course[0] != fingerprint:
            try:
                data = (self.folder / f"{self.index}.course").read_bytes()
            except OSError:
                return None
            self._course = (int.from_bytes(data[:16], "little"), pickle.loads(data[16:]))
        return self._course[1] if self._course[0] == fingerprint else None


class Run:
    """A run that is going, as viewers see it.

    Args:
        folder: one of `runs`.

    Attributes:
        tiles: in order of index.

    Raises:
        ViewerError: it is over, or of another version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        segment = _open(folder / _BOARD)
        self._wants: Any = segment.view[_WANTS_OFFSET : _WANTS_OFFSET + 16].cast("d")
        self._buffer = DoubleBuffer(segment.view, PAGE, BOARD_ROOM)
        self._known = 0
        self._board = Board()
        indices = sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())
        self.tiles: Final = [Tile(folder, index) for index in indices]

    @property
    def alive(self) -> bool:
        """Whether it goes on."""
        return alive(self.folder)

    def watch(self, *, scenes: bool = False) -> None:
        """Say that somebody looks; to be said again within `WATCHED_FOR` seconds.

        Args:
            scenes: and wants to draw overlays.
        """
        now = time.monotonic()
        self._wants[_WATCHED_AT] = now
        if scenes:
            self._wants[_SCENES_AT] = now

    def board(self) -> Board:
        """What stands beside the pictures."""
        read = self._buffer.read(self._known)
        if read is not None:
            self._known, message = read
            title, header, captions, score = json.loads(message.tobytes())
            self._board = Board(title, header, {int(k): v for k, v in captions.items()}, score)
        return self._board
