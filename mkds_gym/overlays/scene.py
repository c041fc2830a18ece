"""`OverlayScene` and its recorder: the race that a picture shows."""

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
from mkds_gym.race.lengths import TRAIL_SPACING
from mkds_gym.race.reader import CameraState, ObjectState

if TYPE_CHECKING:
    from mkds_gym.course import Course
    from mkds_gym.race.reader import RaceReader
    from mkds_gym.race.state import RaceState

PICTURE_DELAY: Final = 2
"""Frames from the computation of a race in memory to its picture on the screen: the geometry engine
draws in the next frame, and the screen shows the result in the frame after."""
TRAIL_POINTS: Final = 4096
"""Largest number of points; a longer trail loses its first points."""


@dataclass(frozen=True)
class OverlayScene:
    """The race that a picture shows. Can be pickled, and does not change with the console.

    Attributes:
        race: the race in the frame that the picture shows.
        camera: the camera in that frame.
        objects: the object table in that frame.
        keys: combination of `Keys` held in the last frame.
        reward: reward of the last step; None without a reward.
        terms: change in the last step of each metric that the reward reads.
        progress: laps driven since the start line.
        trail: float32 (N, 4), positions of this lap (world units) and the speeds there (world units
            per frame).
        ray_angles: angles of the distance sensors' rays, degrees from the heading, positive to the
            left.
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
        # Plain values pickle four times as fast, and a scene is sent with each picture.
        values, camera = dict(vars(self)), dict(vars(self.camera))
        camera["matrix"] = self.camera.matrix.tobytes()
        values["camera"] = camera
        values["objects"] = [tuple(vars(thing).values()) for thing in self.objects]
        values["trail"] = self.trail.tobytes()
        return _unpickled, (values,)


def _unpickled(values: dict[str, Any]) -> OverlayScene:
    camera = values["camera"]
    matrix = np.frombuffer(camera["matrix"], np.float64).reshape(4, 3)
    values["camera"] = CameraState(**{**camera, "matrix": matrix})
    values["objects"] = tuple(ObjectState(*each) for each in values["objects"])
    values["trail"] = np.frombuffer(values["trail"], np.float32).reshape(-1, 4)
    return OverlayScene(**values)


class _Frame(NamedTuple):
    """A recorded frame; ``missing`` says why it has no camera."""

    race: RaceState
    camera: CameraState | None
    objects: tuple[ObjectState, ...]
    missing: str = ""


class LapTrail:
    """The path of a lap, as points of at least `TRAIL_SPACING` apart."""

    def __init__(self) -> None:
        # Room for twice the points, so that they rarely move to the front.
        self._points = np.empty((2 * TRAIL_POINTS, 4), np.float32)
        self._last = (math.inf, math.inf, math.inf)
        self._end = 0
        self._lap = 0
        self._driver = 0

    def clear(self) -> None:
        """Remove all points."""
        self._end = self._lap = 0

    def add(self, race: RaceState) -> None:
        """Add the driver's position, if it is far enough from the last point.

        Args:
            race: the race after a frame. Another lap or driver starts a new path.
        """
        if race.lap != self._lap or race.driver != self._driver:
            self._lap, self._driver, self._end = race.lap, race.driver, 0
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
        """Return the path up to the driver's position.

        Args:
            race: the race added last, or a later one of its lap.

        Returns:
            float32 (N, 4), a new array: positions and speeds.
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
        with contextlib.suppress(NoRaceError):
            self.begin(env.reader)

    def start_reached(self, env: Any, lead: int) -> None:  # noqa: ARG002
        self.begin(env.reader)

    def frame(self, env: Any, race: RaceState, keys: int) -> None:  # noqa: ARG002
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

    def follow(self, reader: RaceReader) -> None:
        """Go on with another driver of the same race from the next frame on."""
        self._reader = reader

    @property
    def driver(self) -> int | None:
        """Index of the driver in the picture; None before `begin`."""
        return self._frames[0].race.driver if self._frames else None

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
