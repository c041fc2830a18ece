"""What overlays show: a race as it was when the picture was drawn, and how it came there."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.errors import NoRaceError

if TYPE_CHECKING:
    from mkds_gym.course import Course
    from mkds_gym.state import CameraState, ObjectState, RaceReader, RaceState

PICTURE_DELAY: Final = 2
"""Frames by which the picture is behind memory: what a program computes in one frame, the geometry
engine is given in the same, and the screen shows in the next but one. Measured on Kartlab (see
tests/test_overlays.py); any game that draws what it has just computed does likewise."""
TRAIL_SPACING: Final = 4.0
"""World units between the points of a trail."""
TRAIL_POINTS: Final = 4096
"""Most points of a trail; of a longer one the last are kept."""


@dataclass(frozen=True)
class OverlayScene:
    """One picture's race. It pickles, and stays as it is when the console steps on.

    Attributes:
        race: the race in the frame that the picture shows.
        camera: of that frame.
        objects: the object table of that frame.
        keys: combination of `Keys` held now.
        reward: of the last step; None where nobody is paid.
        terms: what the last step changed of the metrics that the reward looks at, by name.
        progress: laps driven since the start line.
        trail: (N, 4) float32, positions of this lap and the speed there, in world units and world
            units a frame.
        ray_angles: degrees from the heading, positive to the left, of the distance sensors' rays.
    """

    race: RaceState
    camera: CameraState
    objects: tuple[ObjectState, ...]
    keys: int = 0
    reward: float | None = None
    terms: Mapping[str, float] = field(default_factory=dict)
    progress: float = 0.0
    trail: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 4), np.float32))
    ray_angles: tuple[float, ...] = ()


class SceneRecorder:
    """Keeps the last frames of a race, so that each picture gets the race it shows.

    A `mkds_gym.env.Watcher`.
    """

    def __init__(self) -> None:
        self._reader: RaceReader | None = None
        self._frames: deque[tuple[RaceState, CameraState, tuple[ObjectState, ...]]] = deque(
            maxlen=PICTURE_DELAY + 1
        )
        self._trail: deque[tuple[float, float, float, float]] = deque(maxlen=TRAIL_POINTS)
        self._lap = 0
        self._keys = 0

    def start(self, reader: RaceReader) -> None:
        """Begin anew: the race is now another, or at another place.

        The two frames before are not known: until two more are noted, a scene is of this one.

        Args:
            reader: of the console's memory.
        """
        self._reader = reader
        self._frames.clear()
        self._trail.clear()
        self._lap = 0
        self.frame(reader.read(), 0)

    def frame(self, race: RaceState, keys: int) -> None:
        """Note a frame; to be called after each.

        Args:
            race: as read after this frame.
            keys: combination of `Keys` held in it.

        Raises:
            NoRaceError: there is no camera, or no object table.
            RuntimeError: not started.
        """
        reader = self._reader
        if reader is None:
            raise RuntimeError("no race was started; call start() first")
        self._frames.append((race, reader.read_camera(), tuple(reader.read_objects())))
        self._keys = keys
        if race.lap != self._lap:
            self._lap = race.lap
            self._trail.clear()
        x, y, z = race.position
        if self._trail:
            last = self._trail[-1]
            moved = (x - last[0]) ** 2 + (y - last[1]) ** 2 + (z - last[2]) ** 2
            if moved < TRAIL_SPACING**2:
                return
        self._trail.append((x, y, z, race.speed))

    def scene(
        self,
        course: Course,
        *,
        reward: float | None = None,
        terms: Mapping[str, float] | None = None,
        ray_angles: tuple[float, ...] = (),
    ) -> OverlayScene:
        """The scene of the picture that is on the screen after the last frame noted.

        Args:
            course: that is driven.
            reward: see `OverlayScene`, as the following ones.
            terms: of the reward.
            ray_angles: of the distance sensors.

        Raises:
            NoRaceError: no frame was noted yet.
        """
        if not self._frames:
            raise NoRaceError("no frame was seen yet; call env.reset() first")
        race, camera, objects = self._frames[0]
        return OverlayScene(
            race=race,
            camera=camera,
            objects=objects,
            keys=self._keys,
            reward=reward,
            terms=dict(terms or {}),
            progress=course.track.laps(race),
            trail=np.array(self._trail, np.float32).reshape(-1, 4),
            ray_angles=ray_angles,
        )
