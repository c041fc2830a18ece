"""The champion's race, driven again from its recording."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.course import Course
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.hardware import FRAMES_PER_SECOND
from mkds_gym.errors import CartridgeError, RecordingError
from mkds_gym.recording.format import Recording
from mkds_gym.replay import Replay
from mkds_gym.roms import BUNDLED_NAME

PICTURE_EVERY: Final = 2
"""Least number of frames from one picture to the next."""
MAX_PICTURES: Final = 2_400
"""Most pictures of a race. Each takes 147 kB of memory."""
SLOWEST: Final = 10.0
"""Least pictures in a second of a video. A longer race is shown faster than it was."""
MAX_FRAMES: Final = 216_000
"""Most frames that are driven: an hour."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Race:
    """A race, frame by frame from GO to the end.

    Attributes:
        course: The course.
        positions: x, y and z in world units, float64 (frames, 3).
        speeds: World units per frame, float64 (frames,).
        times: Seconds since GO, float64 (frames,).
        laps: Lap of each frame, int64 (frames,); 0 before the start line.
        pictures: The top screen, uint8 RGB (192, 256, 3), at even distances.
        picture_every: Frames from one picture to the next.
    """

    course: Course
    positions: Floats
    speeds: Floats
    times: Floats
    laps: NDArray[np.int64]
    pictures: list[NDArray[np.uint8]] = field(default_factory=list, repr=False)
    picture_every: int = PICTURE_EVERY

    @property
    def pictures_per_second(self) -> float:
        """Pictures in a second of the video."""
        return max(FRAMES_PER_SECOND / self.picture_every, SLOWEST)


def drive(
    recording: Recording,
    rom: str | os.PathLike[str] | None = None,
    *,
    pictures: bool = False,
) -> Race:
    """Drive a recording again.

    Args:
        recording: The recording.
        rom: The cartridge that the run named; used if the usual one is another.
        pictures: Whether to keep pictures.

    Raises:
        RecordingError: The recording cannot be driven here, or has no race.
        CartridgeError, ConsoleError: The cartridge or the emulator cannot be used.
    """
    cartridge = _cartridge(recording, rom)
    course: Course | None = None
    shots: list[NDArray[np.uint8]] = []
    rows: list[tuple[float, ...]] = []
    every = max(PICTURE_EVERY, -(-min(recording.frames, MAX_FRAMES) // MAX_PICTURES))
    with Replay(
        _shortened(recording), rom=cartridge, screens="top", pictures=pictures, every=every
    ) as replay:
        for frame in replay:
            if frame.picture is not None:
                shots.append(frame.picture.copy())
            race = frame.race
            if race is not None and race.clock_running:
                course = course or replay.course
                rows.append((*race.position, race.speed, race.frame, race.lap))
    if course is None:
        raise RecordingError("the recording has no race")
    table = np.array(rows, np.float64)
    return Race(
        course,
        table[:, :3],
        table[:, 3],
        table[:, 4] / FRAMES_PER_SECOND,
        table[:, 5].astype(np.int64),
        shots,
        every,
    )


def _cartridge(recording: Recording, rom: str | os.PathLike[str] | None) -> Cartridge:
    """Return the recording's cartridge if it is found, and otherwise the usual one."""
    for candidate in (None, BUNDLED_NAME, rom):
        with contextlib.suppress(CartridgeError):
            cartridge = Cartridge.open(candidate)
            if cartridge.sha1 == recording.rom:
                return cartridge
    return Cartridge.open(None)


def _shortened(recording: Recording) -> Recording:
    """Return the beginning of a recording that is too long."""
    if recording.frames <= MAX_FRAMES:
        return recording
    return replace(recording, keys=recording.keys[:MAX_FRAMES], ram="")
