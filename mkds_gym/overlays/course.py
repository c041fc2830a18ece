"""Overlays of the course: what can be hit, where the way goes, what comes next."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.course.kcl import KCL

if TYPE_CHECKING:
    from mkds_gym.course import Course
    from mkds_gym.course.track import Track
    from mkds_gym.overlays.canvas import Canvas, Colour
    from mkds_gym.overlays.scene import OverlayScene

MAGENTA: Final = (255, 0, 255)
RED: Final = (255, 40, 40)
YELLOW: Final = (255, 232, 0)
ORANGE: Final = (255, 150, 0)
WHITE: Final = (255, 255, 255)
CYAN: Final = (0, 230, 255)

FILLED: Final = 70
"""Opacity of areas, 0 to 255."""


def floor_height(kcl: KCL, x: float, z: float, near: float) -> float:
    """Height of the floor at a place.

    Args:
        kcl: the course's collisions.
        x: world units.
        z: world units.
        near: of floors above each other, the one nearest to this height counts, world units.

    Returns:
        World units; ``near`` where there is no floor.
    """
    floors = kcl.heights_at(x, z)
    if not len(floors):
        return near
    return float(floors[int(np.abs(floors - near).argmin())])


def checkpoint_line(course: Course, checkpoint: int, near: float) -> NDArray[np.float64]:
    """Both ends of a checkpoint's line, on the floor.

    Args:
        course: that it is on.
        checkpoint: its index.
        near: about how high it is, world units: of floors above each other, the nearest counts.

    Returns:
        (2, 3): left and right end, world units. Where there is no floor under an end, it has the
        height of the line's middle.
    """
    track, kcl = course.track, course.kcl
    x, z = track.middle(checkpoint)
    middle = floor_height(kcl, x, z, near)
    ends = [track.left[checkpoint].tolist(), track.right[checkpoint].tolist()]
    return np.array([[x, floor_height(kcl, x, z, middle), z] for x, z in ends])


def next_checkpoints(scene: OverlayScene, track: Track) -> tuple[int, ...]:
    """The checkpoints that may be next.

    Args:
        scene: of the picture.
        track: of its course.

    Returns:
        Indices; more than one before a branch, none if the driver is at no checkpoint.
    """
    current = scene.race.checkpoint
    return track.next(current) if 0 <= current < len(track) else ()


class Collision:
    """Nearby walls magenta, off-road red.

    Args:
        radius: world units around the kart within which triangles are shown.
    """

    name = "collision"

    def __init__(self, radius: float = 180.0) -> None:
        if not radius > 0:
            raise ValueError(f"overlay 'collision': the radius must be above 0, not {radius}")
        self._radius = float(radius)
        self._course: Course | None = None
        self._triangles: NDArray[np.float64] = np.empty((0, 3, 3))
        self._walls: NDArray[np.bool_] = np.empty(0, np.bool_)

    def draw(self, canvas: Canvas, scene: OverlayScene, course: Course) -> None:
        """See `Overlay.draw`."""
        if course is not self._course:
            kcl = course.kcl
            shown = (kcl.is_obstacle | kcl.is_off_road) & ~kcl.degenerate
            self._course, self._triangles = course, kcl.triangles[shown]
            self._walls = kcl.is_obstacle[shown]
        triangles, walls = _near(self._triangles, self._walls, scene.race.position, self._radius)
        # Painted from far to near, as there is no depth here.
        depths = canvas.projection.view(triangles.mean(axis=1))[:, 2]
        for index in np.argsort(-depths).tolist():
            colour = MAGENTA if walls[index] else RED
            canvas.area(triangles[index], (*colour, FILLED), (*colour, 2 * FILLED))


def _near(
    triangles: NDArray[np.float64], walls: NDArray[Any], place: tuple[float, ...], radius: float
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """The triangles whose bounding box comes within a radius of a place."""
    at = np.array(place)
    outside = np.maximum(triangles.min(axis=1) - at, at - triangles.max(axis=1))
    near = np.linalg.norm(np.maximum(outside, 0.0), axis=1) <= radius
    return triangles[near], walls[near]


class Checkpoint:
    """The line across the track at the next checkpoint (each of them, before a branch)."""

    name = "checkpoint"

    def draw(self, canvas: Canvas, scene: OverlayScene, course: Course) -> None:
        """See `Overlay.draw`."""
        for index in next_checkpoints(scene, course.track):
            canvas.path(checkpoint_line(course, index, scene.race.position[1]), YELLOW, 2)


class CheckpointAim:
    """Where the heading meets the next checkpoint's line, and a line from the kart to it.

    Nothing is drawn for a line behind the kart, or parallel to its heading. Before a branch, the
    line that is met first counts.
    """

    name = "checkpoint-aim"

    def draw(self, canvas: Canvas, scene: OverlayScene, course: Course) -> None:
        """See `Overlay.draw`."""
        race = scene.race
        x, height, z = race.position
        fx, _, fz = race.forward
        met: list[tuple[float, list[float]]] = []
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
                met.append((distance, [x + distance * fx, y, z + distance * fz]))
        if met:
            _, point = min(met)
            canvas.lines([race.position], [point], ORANGE, 2)
            canvas.cross(point, ORANGE, 6, 2)


class CenterLine:
    """The centre line of the course for some way ahead: white; cyan that of a branch one is on.

    Args:
        ahead: world units.
    """

    name = "centerline"

    _BEHIND: Final = 40.0
    _STEP: Final = 10.0

    def __init__(self, ahead: float = 500.0) -> None:
        if not ahead > 0:
            raise ValueError(f"overlay 'centerline': the distance must be above 0, not {ahead}")
        self._ahead = float(ahead)

    def draw(self, canvas: Canvas, scene: OverlayScene, course: Course) -> None:
        """See `Overlay.draw`."""
        track, race = course.track, scene.race
        if not 0 <= race.checkpoint < len(track):
            return
        x, _, z = race.position
        start = track.progress(race.checkpoint, x, z)
        count = math.ceil((min(self._ahead, track.length) + self._BEHIND) / self._STEP)
        places = [start - self._BEHIND + step * self._STEP for step in range(count + 1)]
        self._way(canvas, course, places, None, WHITE)
        if race.checkpoint not in track.main:
            self._way(canvas, course, places, race.checkpoint, CYAN)

    def _way(
        self,
        canvas: Canvas,
        course: Course,
        places: list[float],
        checkpoint: int | None,
        colour: Colour,
    ) -> None:
        canvas.path([course.track.point_at(s, checkpoint) for s in places], colour)
