"""Read races out of a console's main RAM."""

from __future__ import annotations

import logging
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator.console import Console
from mkds_gym.emulator.frame_copies import FrameCopies
from mkds_gym.emulator.hardware import RAM_END
from mkds_gym.errors import NoRaceError
from mkds_gym.race import memory_layout
from mkds_gym.race.frames import RaceFrames
from mkds_gym.race.memory import check_pointer, check_ram, read_pointer, read_struct, struct_view
from mkds_gym.race.memory_layout import (
    CAMERA,
    CAMERA_UNIT,
    DRIVER,
    DRIVER_LIMIT,
    FX32_SCALE,
    OBJECT_ENTRY,
    OBJECT_LIMIT,
    OBJECT_TABLE,
    RACE_CONFIG,
    RACE_STATUS,
    SCENE,
    MemoryLayout,
)
from mkds_gym.race.packing import PackedFields, field_slice
from mkds_gym.race.race_copy import RaceCopy
from mkds_gym.race.state import ANGLE16_RADIANS, RaceState, Vector
from mkds_gym.utils.arguments import integer

_log = logging.getLogger(__name__)

_SCENE_STATE: Final = field_slice(SCENE, "state")
_COURSE_ID: Final = field_slice(RACE_CONFIG, "course_id")
_POINTERS: Final = (
    "race_status_pointer",
    "race_config_pointer",
    "scene_pointer",
    "drivers_pointer",
)
_POSITION: Final = struct.Struct("<3i")
_TYPE_ID: Final = struct.Struct("<h")

_OBJECT_KINDS: Final = (
    (memory_layout.OBJECT_FLAG_DRIVER, "driver"),
    (memory_layout.OBJECT_FLAG_ITEM, "item"),
    (memory_layout.OBJECT_FLAG_MAP_OBJECT, "map_object"),
    (memory_layout.OBJECT_FLAG_MOVING_COLLISION, "moving_collision"),
)


@dataclass(frozen=True)
class CameraState:
    """The camera that drew the picture.

    Attributes:
        position: position of the eye, world units, with the elevation added.
        target: point that the camera looks at, world units.
        matrix: world to view for row vectors, (4, 3) float64, world units. The columns of the first
            three rows are unit vectors of the world: right and up on the screen, and backwards. The
            last row is the translation.
        half_fov: half the vertical field of view, radians.
        aspect: width over height.
        near: distance of the near plane, world units.
        far: distance of the far plane, world units.
    """

    position: Vector
    target: Vector
    matrix: NDArray[np.float64]
    half_fov: float
    aspect: float
    near: float
    far: float

    @property
    def right(self) -> Vector:
        """Direction to the right on the screen, unit vector."""
        return self._axis(0)

    @property
    def up(self) -> Vector:
        """Direction up on the screen, unit vector."""
        return self._axis(1)

    def _axis(self, column: int) -> Vector:
        x, y, z = self.matrix[:3, column].tolist()
        return (x, y, z)

    @property
    def is_set_up(self) -> bool:
        """Whether the camera has a direction and a field of view; False early in a scene."""
        return (
            abs(float(np.linalg.det(self.matrix[:3]))) > 0.5
            and 0 < self.half_fov < math.pi / 2
            and self.aspect > 0
        )


@dataclass(frozen=True)
class ObjectState:
    """One entry of the object table.

    Attributes:
        index: index of the entry.
        kind: "driver", "item", "map_object", "moving_collision" or "other".
        position: world units.
        radius: radius of the bounding sphere, world units.
        active: whether the game updates the object.
        type_id: kind of map object (101 is an item box), None for other objects.
        address: ARM address of the object.
    """

    index: int
    kind: str
    position: Vector
    radius: float
    active: bool
    type_id: int | None
    address: int


Progress: TypeAlias = tuple[tuple[int, ...], ...]
"""What a `Completion` remembers of a race, as plain data."""


class Completion(Protocol):
    """Changes the copies of a race: computes what the game's memory lacks."""

    @property
    def progress(self) -> Progress | None:
        """What the completion remembers of the frames so far; None: nothing."""

    def continue_from(self, progress: Progress | None) -> None:
        """Go on at another state of the console, with the progress remembered there."""

    def complete(self, copied: RaceCopy) -> RaceCopy:
        """Return the completed copy. Called once per frame, in order."""


class RaceReader:
    """Reader of the races in one console's RAM.

    Args:
        ram: main RAM, (0x400000,) uint8, the live view of the console.
        layout: memory layout of the game; None detects the layout at the first read.
        driver: driver whose race to read, 0 to 7; 0 is the player.
        completion: changes the copies of the race; None leaves them as they are.

    Raises:
        ValueError: ``ram`` or ``driver`` is invalid.
    """

    def __init__(
        self,
        ram: NDArray[np.uint8],
        layout: MemoryLayout | None = None,
        driver: int = 0,
        completion: Completion | None = None,
    ) -> None:
        check_ram(ram)
        driver = integer("driver", driver, 0, DRIVER_LIMIT - 1)
        self._ram = ram
        self._bytes: memoryview = ram.data
        self._layout = layout
        self._driver_index = driver
        self._completion = completion
        # The static words at the last look-up. A change means another race.
        self._words: tuple[int, ...] | None = None
        self._unpack_words = struct.Struct("<").unpack_from
        self._words_start = 0
        self._driver_count = 0
        # Live views: race status, scene state, course id, all drivers.
        self._live: tuple[memoryview, ...] = ()
        self._copies: FrameCopies | None = None
        self._warned = False

    @property
    def layout(self) -> MemoryLayout:
        """Memory layout of the game in this RAM.

        Raises:
            NoRaceError: the layout is not detected yet, and the game has not started.
        """
        if self._layout is None:
            self._layout = MemoryLayout.detect(self._ram)
        return self._layout

    @property
    def race_on(self) -> bool:
        """Whether a race scene runs, with valid pointers and a driver."""
        try:
            return self.read().race_on
        except NoRaceError:
            return False

    def resolve(self) -> None:
        """Look up all pointers. `copy` and `read` call this method when a pointer has changed.

        Raises:
            NoRaceError: a pointer is outside main RAM, or the race has no such driver.
        """
        layout = self.layout
        self._words = None
        if not layout.checkpoint_fields and self._completion is None and not self._warned:
            self._warned = True
            _log.warning(
                "the %s release keeps its checkpoint fields at unknown offsets: checkpoints and "
                "laps are wrong; mkds_gym.course.progress.race_reader computes them",
                layout.region,
            )
        addresses = {name: getattr(layout, name) for name in (*_POINTERS, "driver_count")}
        start = min(addresses.values())
        words = PackedFields(
            [
                (name, address - start, np.dtype("<i4" if name == "driver_count" else "<u4"))
                for name, address in addresses.items()
            ]
        )
        at = check_pointer(start, words.size, "the static words")
        values = words.unpack_from(self._bytes, at)
        value = {name: values[index] for name, index in words.index.items()}
        count = value["driver_count"]
        status = self._view(value["race_status_pointer"], RACE_STATUS, "the race status")
        config = self._view(value["race_config_pointer"], RACE_CONFIG, "the race config")
        scene = self._view(value["scene_pointer"], SCENE, "the scene state")
        if not self._driver_index < count <= DRIVER_LIMIT:
            raise NoRaceError(
                f"no race: memory has {count} drivers, and driver {self._driver_index} is "
                "requested; start a race, or load a savestate of a race"
            )
        drivers = self._view(value["drivers_pointer"], DRIVER, "the drivers", count)
        self._live = (status, scene[_SCENE_STATE], config[_COURSE_ID], drivers)
        self._copies = FrameCopies(
            self._ram,
            [(self._start_of(part), len(part)) for part in self._live],
            [check_pointer(address, 4, name) for name, address in addresses.items()],
        )
        self._driver_count = count
        self._words_start = at
        self._unpack_words = words.unpack_from
        self._words = values

    def _view(
        self, pointer: int, dtype: np.dtype[np.void], name: str, count: int = 1
    ) -> memoryview:
        size = dtype.itemsize * count
        at = check_pointer(pointer, size, name)
        return self._bytes[at : at + size]

    def _start_of(self, part: memoryview) -> int:
        return np.frombuffer(part, np.uint8).ctypes.data - self._ram.ctypes.data

    def read(self) -> RaceState:
        """Return the race in this frame. Takes 3 µs.

        A race scene that starts or ends can be read too: check `RaceState.race_on`.

        Raises:
            NoRaceError: memory has no race.
        """
        return self.race(self.copy())

    def copy(self) -> RaceCopy:
        """Copy the bytes of the race out of memory, for `race`.

        A loop over frames can copy after each frame and make the states later. The emulator
        evicts Python from the processor's caches, so work between two frames is slow.

        Raises:
            NoRaceError: memory has no race.
        """
        copied = self._take()
        return copied if self._completion is None else self._completion.complete(copied)

    def _take(self) -> RaceCopy:
        """Copy the bytes as they are in memory."""
        if self._words is None or self._unpack_words(self._bytes, self._words_start) != self._words:
            self.resolve()
        return b"".join(self._live)

    def completed(self, copies: list[RaceCopy]) -> list[RaceCopy]:
        """Return copies of successive frames, completed."""
        completion = self._completion
        return copies if completion is None else [completion.complete(each) for each in copies]

    @property
    def progress(self) -> Progress | None:
        """What the reader remembers of earlier frames, for `continue_from`; None: nothing."""
        return None if self._completion is None else self._completion.progress

    def continue_from(self, progress: Progress | None) -> None:
        """Go on at another state of the console.

        Args:
            progress: `progress` as it was in that state; None if it is unknown.
        """
        if self._completion is not None:
            self._completion.continue_from(progress)

    def race(self, copied: RaceCopy) -> RaceState:
        """Return the race that `copy` has copied."""
        return RaceState(copied, self._driver_index)

    def frames(self, copies: Sequence[RaceCopy]) -> RaceFrames:
        """Return the race after each frame of a step, given a result of `copy` for each."""
        return RaceFrames(copies, self._driver_index)

    def run(self, console: Console, keys: int, frames: int, drawn: int = -1) -> RaceFrames:
        """Run frames of the console whose memory this is, and return the race after each.

        Args:
            console: the console.
            keys: combination of `Keys`, held during all the frames.
            frames: number of frames, at least 1.
            drawn: as in `Console.run`.

        Raises:
            NoRaceError: memory has no race any more. The frames after that do not run.
            ValueError, ConsoleError: as `Console.run_and_copy`.
        """
        return self.frames(self.run_and_copy(console, keys, frames, drawn))

    def run_and_copy(
        self, console: Console, keys: int, frames: int, drawn: int = -1
    ) -> list[RaceCopy]:
        """Run frames, and return a `copy` of the race after each; arguments and errors as `run`."""
        copies: list[RaceCopy] = []
        parts = self._copies
        if parts is not None and parts.supported:
            done, copies = console.run_and_copy(keys, frames, parts, drawn)
            if len(copies) < done:
                copies.append(self._take())  # the race has moved in memory
            frames, drawn = frames - done, drawn - done
        if frames:
            copies += console.run(keys, frames, self._take, drawn)
        return self.completed(copies)

    # Whole structures, as they are in memory, for tools (slower).

    def read_driver(self, index: int = 0) -> np.void:
        """Return a copy of a driver, dtype `memory_layout.DRIVER`.

        Raises:
            NoRaceError: memory has no race.
            IndexError: the race has no such driver.
        """
        self.resolve()
        if not 0 <= index < self._driver_count:
            raise IndexError(f"index={index} is out of range: the race has {self._driver_count}")
        driver: np.void = np.frombuffer(self._live[3].tobytes(), DRIVER)[index]
        return driver

    def read_status(self) -> np.void:
        """Return a copy of the race status, dtype `memory_layout.RACE_STATUS`.

        Raises:
            NoRaceError: memory has no race.
        """
        self.resolve()
        status: np.void = np.frombuffer(self._live[0].tobytes(), RACE_STATUS)[0]
        return status

    def read_config(self) -> np.void:
        """Return a copy of the race config, dtype `memory_layout.RACE_CONFIG`.

        Raises:
            NoRaceError: memory has no race.
        """
        self.resolve()
        return self._follow(self.layout.race_config_pointer, RACE_CONFIG, "the race config")

    def read_camera(self) -> CameraState:
        """Return the camera of this frame.

        Raises:
            NoRaceError: memory has no camera.
        """
        camera = self._follow(self.layout.camera_pointer, CAMERA, "the camera")
        x, y, z = _vector(camera["position"])
        matrix = camera["matrix"] * FX32_SCALE
        matrix[3] *= CAMERA_UNIT
        return CameraState(
            position=(x, y + int(camera["elevation"]) * FX32_SCALE, z),
            target=_vector(camera["target"]),
            matrix=matrix,
            half_fov=int(camera["fov"]) * ANGLE16_RADIANS,
            aspect=int(camera["aspect"]) * FX32_SCALE,
            near=int(camera["near"]) * FX32_SCALE * CAMERA_UNIT,
            far=int(camera["far"]) * FX32_SCALE * CAMERA_UNIT,
        )

    def read_objects(self) -> list[ObjectState]:
        """Return all live objects: karts, items, map objects.

        Unreadable entries and the second entries of drivers are skipped.

        Raises:
            NoRaceError: memory has no object table.
        """
        table = read_struct(self._ram, self.layout.object_table, OBJECT_TABLE)
        count = min(int(table["count"]), OBJECT_LIMIT)
        if count == 0:
            return []
        # Free entries lie between live ones, so `count` does not end the table.
        start = int(table["entries"])
        limit = min(OBJECT_LIMIT, (RAM_END - start) // OBJECT_ENTRY.itemsize)
        entries = struct_view(self._ram, start, OBJECT_ENTRY, max(limit, 1)).copy()
        found: list[ObjectState] = []
        for index, entry in enumerate(entries):
            if len(found) == count:
                break
            address, position = int(entry["object"]), int(entry["position"])
            if not address or not position:
                continue
            try:
                position_at = check_pointer(position, 12, "an object's position")
                object_at = check_pointer(address, 2, "an object")
            except NoRaceError:
                continue
            flags = int(entry["flags"])
            kind = next((name for flag, name in _OBJECT_KINDS if flags & flag), "other")
            type_id = None
            if kind in ("map_object", "moving_collision"):
                (type_id,) = _TYPE_ID.unpack_from(self._bytes, object_at)
            x, y, z = _POSITION.unpack_from(self._bytes, position_at)
            found.append(
                ObjectState(
                    index=index,
                    kind=kind,
                    position=(x * FX32_SCALE, y * FX32_SCALE, z * FX32_SCALE),
                    radius=int(entry["radius"]) * FX32_SCALE,
                    active=not flags & memory_layout.OBJECT_FLAG_INACTIVE,
                    type_id=type_id,
                    address=address,
                )
            )
        drivers = {thing.address for thing in found if thing.kind == "driver"}
        return [thing for thing in found if thing.kind != "other" or thing.address not in drivers]

    def _follow(self, pointer: int, dtype: np.dtype[np.void], name: str) -> np.void:
        address = read_pointer(self._ram, pointer, dtype.itemsize, name)
        return read_struct(self._ram, address, dtype)


def _vector(raw: NDArray[np.int32]) -> Vector:
    x, y, z = (float(value) * FX32_SCALE for value in raw)
    return (x, y, z)
