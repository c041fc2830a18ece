"""Overlays of the course: obstacles, checkpoints and the centre line."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.course.kcl import KCL
from mkds_gym.race.lengths import (
    DRAWN_LINE_AHEAD,
    DRAWN_LINE_BEHIND,
    DRAWN_LINE_STEP,
    DRAWN_RADIUS,
)

if TYPE_CHECKING:
    from mkds_gym.course import Course
    from mkds_gym.course.track import Track
    from mkds_gym.overlays.canvas import Canvas
    from mkds_gym.overlays.scene import OverlayScene

MAGENTA: Final = (255, 0, 255)
RED: Final = (255, 40, 40)
YELLOW: Final = (255, 232, 0)
ORANGE: Final = (255, 150, 0)
WHITE: Final = (255, 255, 255)
CYAN: Final = (0, 230, 255)

FILLED: Final = 70
"""Opacity of areas, 0 to 255."""


def check_distance(overlay: str, distance: float) -> float:
    """Return the number in an overlay's name.

    Raises:
        ValueError: the number is not above 0.
    """
    if not distance > 0:
        raise ValueError(f"overlay '{overlay}:{distance}': expected a number above 0")
    return float(distance)


def floor_height(kcl: KCL, x: float, z: float, near: float) -> float:
    """Return the height of the floor at a place, in world units.

    Args:
        kcl: the course's collisions.
        x: world units.
        z: world units.
        near: choose the floor nearest to this height, world units; returned if there is no floor.
    """
    floors = kcl.heights_at(x, z)
    if not len(floors):
        return near
    return float(floors[int(np.abs(floors - near).argmin())])


def checkpoint_line(course: Course, checkpoint: int, near: float) -> NDArray[np.float64]:
    """Return the ends of a checkpoint's line on the floor.

    Args:
        course: the course.
        checkpoint: index of the checkpoint.
        near: choose the floor nearest to this height, world units.

    Returns:
        (2, 3): left and right end, world units. An end without a floor has the height of the line's
        middle.
    """
    track, kcl = course.track, course.kcl
    x, z = track.middle(checkpoint)
    middle = floor_height(kcl, x, z, near)
    ends = [track.left[checkpoint].tolist(), track.right[checkpoint].tolist()]
    return np.array([[x, floor_height(kcl, x, z, middle), z] for x, z in ends])


def next_checkpoints(scene: OverlayScene, track: Track) -> tuple[int, ...]:
    """Return the indices of the possible next checkpoints.

    There are several before a fork, and none if the driver is at no checkpoint.

    Args:
        scene: scene of the picture.
        track: track of its course.
    """
    current = scene.race.checkpoint
    return track.next(current) if 0 <= current < len(track) else ()


class Collision:
    """Nearby walls in magenta and off-road surfaces in red.

    Args:
        radius: triangles within this distance of the kart are shown, world units.
    """

    name = "collision"

    def __init__(self, radius: float = DRAWN_RADIUS) -> None:
        self._radius = check_distance(self.name, radius)
        self._course: Course | None = None
        self._triangles: NDArray[np.float64] = np.empty((0, 3, 3))
        self._walls: NDArray[np.bool_] = np.empty(0, np.bool_)

    def draw(self, canvas: Canvas, scene: OverlayScene, course: Course) -> None:
        if course is not self._course:
            kcl = course.kcl
            shown = (kcl.is_obstacle | kcl.is_off_road) & ~kcl.degenerate
            self._course, self._triangles = course, kcl.triangles[shown]
            self._walls = kcl.is_obstacle[shown]
        triangles, walls = _near(self._triangles, self._walls, scene.race.position, self._radius)
        # From far to near, because there is no depth buffer.
        depths = canvas.projection.view(triangles.mean(axis=1))[:, 2]
        for index in np.argsort(-depths).tolist():
            colour = MAGENTA if walls[index] else RED
            canvas.area(triangles[index], (*colour, FILLED), (*colour, 2 * FILLED))


def _near(
    triangles: NDArray[np.float64], walls: NDArray[Any], place: tuple[float, ...], radius: float
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Return the triangles whose bounding box comes within a radius of a place."""
    at = np.array(place)
    outside = np.maximum(triangles.min(axis=1) - at, at - triangles.max(axis=1))
    near = np.linalg.norm(np.maximum(outside, 0.0), axis=1) <= radius
    return triangles[near], walls[near]


class Checkpoint:
    """The line across the track at the next checkpoint; before a fork, at each of them."""

    name = "checkpoint"

    def draw(self, canvas: Canvas, scene: OverlayScene, course: Course) -> None:
        for index in next_checkpoints(scene, course.track):
            canvas.path(checkpoint_line(course, index, scene.race.position[1]), YELLOW, 2)


class CheckpointAim:
    """Where the heading meets the next checkpoint's line, and a line from the kart to it.

    A line behind the kart or parallel to its heading is not shown. Before a fork, the nearest line
    in the heading is shown.
    """

    name = "checkpoint-aim"

    def draw(self, canvas: Canvas, scene: OverlayScene, course: Course) -> None:
        race = scene.race
        x, height, z = race.position
        fx, _, fz = race.forward
        hits: list[tuple[float, list[float]]] = []
        for index in next_checkpoints(scene, course.track):
            left, right = checkpoint_line(course, index, height).tolist()
            span_x, span_z = right[0] - left[0], right[2] - left[2]
            cross = fx * span_z - fz * span_x
            if abs(cross) < 1e-9:
                continue
            to_x, to_z = left[0] - x, left[2] - z
            distance = (to_x * span_z - to_z * span_x) / cross
            share = (to_x * fz - to_z * fx) / cross
            if distance > 0:
                y = left[1] + min(max(share, 0.0), 1.0) * (right[1] - left[1])
                hits.append((distance, [x + distance * fx, y, z + distance * fz]))
        if hits:
            _, point = min(hits)
            canvas.lines([race.position], [point], ORANGE, 2)
            canvas.cross(point, ORANGE, 6, 2)


class CenterLine:
    """The centre line ahead in white; on a branch, also the branch's in cyan.

    Args:
        ahead: length, world units.
    """

    name = "centerline"

    def __init__(self, ahead: float = DRAWN_LINE_AHEAD) -> None:
        self._ahead = check_distance(self.name, ahead)

    def draw(self, canvas: Canvas, scene: OverlayScene, course: Course) -> None:
        track, race = course.track, scene.race
        if not 0 <= race.checkpoint < len(track):
            return
        x, _, z = race.position
        start = track.progress(race.checkpoint, x, z) - DRAWN_LINE_BEHIND
        count = math.ceil((min(self._ahead, track.length) + DRAWN_LINE_BEHIND) / DRAWN_LINE_STEP)
        places = [start + step * DRAWN_LINE_STEP for step in range(count + 1)]
        canvas.path([track.point_at(s, None) for s in places], WHITE)
        if race.checkpoint not in track.main:
            canvas.path([track.point_at(s, race.checkpoint) for s in places], CYAN)
