"""The next checkpoints, relative to the kart."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.components.sensors.values import checked_count, sensor_space
from mkds_gym.race.lengths import CHECKPOINT_DISTANCE

if TYPE_CHECKING:
    from mkds_gym.course import Course
    from mkds_gym.course.track import Track
    from mkds_gym.race.state import RaceState


def next_checkpoint(state: RaceState, track: Track, checkpoint: int) -> tuple[int, float, float]:
    """Return the checkpoint after ``checkpoint``, relative to the kart.

    Where the course branches, this is the next checkpoint nearest in bearing.

    Returns:
        Index; how far the midpoint is forward and to the left of the kart, seen from above, in
        world units times the length of the forward vector's projection. Without a next
        checkpoint, a point straight ahead.
    """
    following = track.next(checkpoint) if 0 <= checkpoint < len(track) else ()
    (x, _, z), _, (fx, _, fz) = state.pose
    best = (checkpoint, 1.0, 0.0)
    best_cosine = -2.0
    for index in following:
        mx, mz = track.middle(index)
        dx, dz = mx - x, mz - z
        forward, left = dx * fx + dz * fz, dx * fz - dz * fx
        if len(following) == 1:
            return index, forward, left
        cosine = forward / (math.hypot(forward, left) or 1.0)
        if cosine > best_cosine:
            best_cosine = cosine
            best = (index, forward, left)
    return best


class Checkpoints:
    """Distance and bearing of the midpoints of the next checkpoints, seen from above.

    A distance d gives d / (d + 500), 0 to 1; a bearing gives its cosine and sine, positive to the
    left. Where the course branches, the next checkpoint is the one nearest in bearing.

    Args:
        count: number of checkpoints.
    """

    name = "checkpoints"

    def __init__(self, count: float = 3) -> None:
        self._count: Final = checked_count(self.name, count)
        self.labels = tuple(
            f"checkpoint_{i + 1}_{part}"
            for i in range(self._count)
            for part in ("distance", "cos", "sin")
        )
        self.space = sensor_space((0.0, -1.0, -1.0) * self._count, 1.0, 3 * self._count)

    def read(self, state: RaceState, course: Course) -> NDArray[np.float32]:
        values: list[float] = []
        index = state.checkpoint
        # On a slope, the projection of the forward axis is shorter than 1.
        fx, _, fz = state.forward
        scale = 1.0 / (math.hypot(fx, fz) or 1.0)
        for _ in range(self._count):
            index, forward, left = next_checkpoint(state, course.track, index)
            length = math.hypot(forward, left)
            distance = length * scale
            values.append(distance / (distance + CHECKPOINT_DISTANCE))
            values += (forward / length, left / length) if length else (1.0, 0.0)
        return np.array(values, np.float32)
