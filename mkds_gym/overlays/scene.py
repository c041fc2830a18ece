"""What overlays show: a race as it was when the picture was drawn, and how it came there."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mkds_gym.errors import NoRaceError
from mkds_gym.observer import EnvObserver

if TYPE_CHECKING:
    from mkds_gym.course import Course
    from mkds_gym.race.reader import CameraState, ObjectState, RaceReader
    from mkds_gym.race.state import RaceState

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
        trail: (N, 4) float32, positions of this lap up to the picture's and the speed there, in
            world units and world units a frame.
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

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle plain values, in a quarter of the time: a scene is sent with each picture."""
        values, camera = dict(vars(self)), dict(vars(self.camera))
        camera["matrix"] = self.camera.matrix.tobytes()
        values["camera"] = camera
        values["objects"] = [tuple(vars(thing).values()) for thing in self.objects]
        values["trail"] = self.trail.tobytes()
        return _unpickled, (values,)


def _unpickled(values: dict[str, Any]) -> OverlayScene:
    from mkds_gym.race.reader import CameraState, ObjectState

    camera = values["camera"]
    matrix = np.frombuffer(camera["matrix"], np.float64).reshape(4, 3)
    values["camera"] = CameraState(**{**camera, "matrix": matrix})
    values["objects"] = tuple(ObjectState(*each) for each in values["objects"])
    values["trail"] = np.frombuffer(values["trail"], np.float32).reshape(-1, 4)
    return OverlayScene(**values)


class _Frame(NamedTuple):
    """What is kept of a frame."""

    race: RaceState
    camera: CameraState | None
    objects: tuple[ObjectState, ...]
    missing: str = ""


class LapTrail:
    """The path of a lap, in an array that was made beforehand."""

    def __init__(self) -> None:
        # Twice as many as are kept: they move to the front once in a while, not at each point.
        self._points = np.empty((2 * TRAIL_POINTS, 4), np.float32)
        self._last = (math.inf, math.inf, math.inf)
        self._end = 0
        self._lap = 0

    def clear(self) -> None:
        """Begin anew."""
        self._end = self._lap = 0

    def add(self, race: RaceState) -> None:
        """Go on to where the driver is in this frame; one of another lap begins anew."""
        if race.lap != self._lap:
            self._lap, self._end = race.lap, 0
        x, y, z = position = race.position
        if self._end:
            before = self._last
            moved = (x - before[0]) ** 2 + (y - before[1]) ** 2 + (z - before[2]) ** 2
            if moved < TRAIL_SPACING**2:
                return
        if self._end == len(self._points):
            self._points[:TRAIL_POINTS] = self._points[-TRAIL_POINTS:]
            self._end = TRAIL_POINTS
        self._points[self._end] = (x, y, z, race.speed)
        self._last = position
        self._end += 1

    def up_to(self, race: RaceState) -> NDArray[np.float32]:
        """The path, which ends where the driver is in this frame.

        Args:
            race: the frame added last, or a later one of its lap.

        Returns:
            (N, 4) float32 of its own: positions, and the speed there.
        """
        head = (*race.position, race.speed)
        ends = not self._end or self._last != head[:3]
        first = max(self._end - TRAIL_POINTS + ends, 0)
        points = np.empty((self._end - first + ends, 4), np.float32)
        points[: self._end - first] = self._points[first : self._end]
        if ends:
            points[-1] = head
        return points


class SceneRecorder(EnvObserver):
    """Keeps the last frames of a race, because a picture shows the race two frames earlier.

    Observe an environment (`MKDSEnv.add_observer`) and call `scene_of`; or, for a console without
    an environment, call `begin`, `add` after each frame, and `scene`. Reading camera and objects
    takes some tens of microseconds a frame.
    """

    needs_frames = True

    def __init__(self) -> None:
        self._reader: RaceReader | None = None
        self._frames: deque[_Frame] = deque(maxlen=PICTURE_DELAY + 1)
        self._trail = LapTrail()
        self._keys = 0

    def attached(self, env: Any) -> None:
        """Begin with the race under way, if there is one."""
        with contextlib.suppress(NoRaceError):
            self.begin(env.reader)

    def start_reached(self, env: Any, lead: int) -> None:  # noqa: ARG002
        """Begin with the race of an episode."""
        self.begin(env.reader)

    def frame(self, env: Any, race: RaceState, keys: int) -> None:  # noqa: ARG002
        """Add a frame of an environment."""
        self.add(race, keys)

    def begin(self, reader: RaceReader) -> None:
        """Forget all frames and begin with the current one of another race, or another place.

        The two frames before are unknown: until two more are added, scenes show this one.

        Args:
            reader: reader of the console's memory.
        """
        self._reader = reader
        self._frames.clear()
        self._trail.clear()
        self.add(reader.read(), 0)

    def add(self, race: RaceState, keys: int) -> None:
        """Add a frame; call after each.

        Args:
            race: the race after the frame.
            keys: combination of `Keys` held in the frame.

        Raises:
            RuntimeError: `begin` was not called.
        """
        reader = self._reader
        if reader is None:
            raise RuntimeError("no race has begun: call begin() first")
        try:
            camera = reader.read_camera()
            if not camera.is_set_up:  # while a race is set up
                raise NoRaceError("the game has not set up its camera yet")
            frame = _Frame(race, camera, tuple(reader.read_objects()))
        except NoRaceError as error:  # matters only to the scene of this frame
            frame = _Frame(race, None, (), str(error))
        self._frames.append(frame)
        self._trail.add(self._frames[0].race)
        self._keys = keys

    def scene_of(self, env: Any) -> OverlayScene:
        """Return the scene of the picture on an environment's screen.

        Raises:
            NoRaceError: as `scene`.
        """
        return self.scene(
            env.course,
            reward=env.last_reward,
            terms=env.last_reward_terms,
            ray_angles=env.ray_angles,
        )

    def scene(
        self,
        course: Course,
        *,
        reward: float | None = None,
        terms: Mapping[str, float] | None = None,
        ray_angles: tuple[float, ...] = (),
    ) -> OverlayScene:
        """Return the scene of the picture on the screen after the last frame added.

        Args:
            course: the course of the race.
            reward: see `OverlayScene`.
            terms: see `OverlayScene`.
            ray_angles: see `OverlayScene`.

        Raises:
            NoRaceError: no frame was added yet, or the frame has no camera or object table.
        """
        if not self._frames:
            raise NoRaceError("no frame was recorded yet: call env.reset() first")
        race, camera, objects, missing = self._frames[0]
        if camera is None:
            raise NoRaceError(f"overlays cannot be drawn on this picture: {missing}")
        return OverlayScene(
            race=race,
            camera=camera,
            objects=objects,
            keys=self._keys,
            reward=reward,
            terms=dict(terms or {}),
            progress=course.track.laps(race),
            trail=self._trail.up_to(race),
            ray_angles=ray_angles,
        )
