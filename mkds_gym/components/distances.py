"""Metrics that measure distances; `mkds_gym.components.metrics` registers them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from mkds_gym.course.checkpoint_distance import checkpoint_gap, shortest_distance
from mkds_gym.race.memory_layout import CENTISECONDS_PER_FRAME, DRIVER_FLAG_RESPAWNING
from mkds_gym.race.names import OFFROAD_SURFACES
from mkds_gym.utils.arguments import shown

if TYPE_CHECKING:
    from mkds_gym.course import Course
    from mkds_gym.course.track import Track
    from mkds_gym.race.state import RaceState, Vector

NO_CHECKPOINT: Final = -1
"""Checkpoint before the first frame of an episode."""


class Distance:
    """Distance between the checkpoints passed.

    A change to a next checkpoint, on any branch, adds the distance between the midpoints of the
    old and the new one; a change to a previous checkpoint subtracts it. Any other change, by a
    shortcut or a respawn, adds `shortest_distance`.
    """

    name = "distance"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.total = 0.0
        self._checkpoint = NO_CHECKPOINT
        self._next: tuple[int, ...] = ()
        self._previous: tuple[int, ...] = ()

    def update(self, state: RaceState, course: Course) -> None:
        if state.checkpoint != self._checkpoint:
            self._enter(state.checkpoint, course.track)

    def _enter(self, checkpoint: int, track: Track) -> None:
        if not 0 <= checkpoint < len(track):
            return  # the game has not located the kart yet
        left = self._checkpoint
        if left != NO_CHECKPOINT:
            if checkpoint in self._next:
                self.total += checkpoint_gap(track, left, checkpoint)
            elif checkpoint in self._previous:
                self.total -= checkpoint_gap(track, left, checkpoint)
            else:
                self.total += shortest_distance(track, left, checkpoint)
        self._checkpoint = checkpoint
        self._next = track.next(checkpoint)
        self._previous = track.previous(checkpoint)

    def collect(self) -> dict[str, float]:
        return {"distance": self.total}


class Speed:
    """Distance divided by the race clock's time since the first checkpoint was seen.

    World units per centisecond (x 100: per second); 0 while no time has passed.

    Args:
        distance: the metric that measures the distance. It must be updated on its own.

    Raises:
        TypeError: ``distance`` is not a `Distance`.
    """

    name = "speed"

    def __init__(self, distance: Distance) -> None:
        if not isinstance(distance, Distance):
            raise TypeError(
                f"distance={shown(distance)} is not a Distance metric; pass one, or use "
                "make_metrics(['distance', 'speed'])"
            )
        self.distance = distance
        self.by_name = False  # `make_metrics` may replace `distance`
        self.reset()

    def reset(self) -> None:
        self._start: int | None = None
        self._frame = 0

    def update(self, state: RaceState, course: Course) -> None:
        self._frame = state.frame
        if self._start is None and 0 <= state.checkpoint < len(course.track):
            self._start = state.frame

    def collect(self) -> dict[str, float]:
        frames = 0 if self._start is None else self._frame - self._start
        if frames <= 0:
            return {"speed": 0.0}
        return {"speed": self.distance.total / (frames * CENTISECONDS_PER_FRAME)}


class _OffRoad:
    """Follows the stretches driven off the road.

    A stretch starts at the first position off the road (surfaces 2, 3 and 5) and ends at the first
    position on it. A respawn ends the stretch at the last position before it. `collect` includes
    the current stretch.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._done = 0.0
        self._start: Vector | None = None
        self._last: Vector = (0.0, 0.0, 0.0)

    def update(self, state: RaceState, course: Course) -> None:  # noqa: ARG002
        if state.surface in OFFROAD_SURFACES:
            self._leave_road(state)
        elif self._start is not None:
            self._return(state)

    def _leave_road(self, state: RaceState) -> None:
        if state.flags & DRIVER_FLAG_RESPAWNING:
            if self._start is not None:
                self._end()
            return
        position = state.position
        if self._start is None:
            self._start = self._last = position
        else:
            self._move(position)

    def _return(self, state: RaceState) -> None:
        if not state.flags & DRIVER_FLAG_RESPAWNING:
            self._move(state.position)
        self._end()

    def _move(self, position: Vector) -> None:
        self._last = position

    def _end(self) -> None:
        self._done += self._stretch()
        self._start = None

    def _stretch(self) -> float:
        """Length of the current stretch, world units."""
        return 0.0 if self._start is None else math.dist(self._start, self._last)


class OffroadDistance(_OffRoad):
    """Straight-line distance in three dimensions between leaving the road and returning to it.

    An episode that ends off the road counts up to its end.
    """

    name = "offroad_dist"

    def collect(self) -> dict[str, float]:
        return {"offroad_dist": self._done + self._stretch()}


class OffroadPath(_OffRoad):
    """Length of the path driven off the road, frame by frame, in three dimensions."""

    name = "offroad_path"

    def reset(self) -> None:
        super().reset()
        self._path = 0.0

    def _move(self, position: Vector) -> None:
        self._path += math.dist(self._last, position)
        self._last = position

    def _stretch(self) -> float:
        return 0.0

    def collect(self) -> dict[str, float]:
        return {"offroad_path": self._path}


class Progress:
    """Distance along the centre line since the episode's start; driving backward subtracts.

    The measure changes with every frame, not only at checkpoints. The position on the centre line
    is computed when the checkpoint changes and when the measure is collected; the sum is the same
    as with a computation per frame.
    """

    name = "progress"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._total = 0.0
        self._length = 0.0
        self._place: float | None = None
        self._checkpoint = NO_CHECKPOINT
        self._state: RaceState | None = None  # the last frame, until `_add` has used it
        self._course: Course | None = None

    def update(self, state: RaceState, course: Course) -> None:
        self._state = state
        self._course = course
        if state.checkpoint != self._checkpoint:
            self._add()
            self._checkpoint = state.checkpoint

    def _add(self) -> None:
        """Add the distance from the last computed position to the kart."""
        state, course = self._state, self._course
        if state is None or course is None:
            return
        self._state = None
        track = course.track
        if not 0 <= state.checkpoint < len(track):
            return
        x, _, z = state.position
        place = track.progress(state.checkpoint, x, z)
        if self._place is not None:
            # The shorter way around the course: no kart drives half a lap between two calls.
            self._total += track.gap(self._place, place)
        self._place = place
        self._length = track.length

    @property
    def total(self) -> float:
        """Progress so far, world units."""
        self._add()
        return self._total

    def collect(self) -> dict[str, float]:
        if self._state is not None:
            self._add()
        total = self._total
        return {
            "progress": total,
            "progress_laps": total / self._length if self._length else 0.0,
        }

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without the course and its meshes, which the next update passes again."""
        self._add()
        return {**self.__dict__, "_state": None, "_course": None}
