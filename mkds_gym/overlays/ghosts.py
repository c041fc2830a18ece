"""The overlay of ghosts: other drives of the same race."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mkds_gym.race.lengths import KART_HALF_SIZE

if TYPE_CHECKING:
    from mkds_gym.course import Course
    from mkds_gym.overlays.canvas import Canvas, Colour
    from mkds_gym.overlays.scene import OverlayScene
    from mkds_gym.race.state import RaceState

GHOST_COLOURS: Final[tuple[tuple[int, int, int], ...]] = (
    (80, 200, 255),
    (255, 120, 200),
    (150, 255, 90),
    (255, 190, 60),
    (190, 140, 255),
    (255, 255, 255),
)
"""Colours of the first six ghosts; the seventh has the first colour again."""
_HALF: Final = np.array(KART_HALF_SIZE)
"""Half of a ghost's width, height and length, world units: about those of a kart."""
_CORNERS: Final = np.array(
    [(x, y, z) for x in (-1.0, 1.0) for y in (0.0, 2.0) for z in (-1.0, 1.0)]
)
_EDGES: Final = np.array(
    [(a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b).bit_count() == 1]
)

Pose: TypeAlias = "NDArray[np.float64]"
"""(4, 3): position, and unit vectors to the right, up and ahead."""


def pose(race: RaceState) -> Pose:
    """Return the position (world units) and the axes of a kart, a `Pose`.

    Args:
        race: state of the kart's race.
    """
    return np.array([race.position, race.right, race.up, race.forward], np.float64)


@dataclass
class Ghost:
    """Another drive of the race.

    Attributes:
        name: label of the ghost.
        poses: poses by frame of the race clock.
    """

    name: str
    poses: Mapping[int, Pose] = field(default_factory=dict)

    def at(self, frame: int) -> Pose | None:
        """Return the pose in a frame: the last one after the end, None before the start.

        Args:
            frame: frame of the race clock.
        """
        found = self.poses.get(frame)
        if found is None and self.poses and frame > (last := max(self.poses)):
            return self.poses[last]
        return found


class Ghosts:
    """Ghosts as boxes of a kart's size with their names.

    Args:
        ghosts: the ghosts.
    """

    name = "ghosts"

    def __init__(self, ghosts: Sequence[Ghost]) -> None:
        self._ghosts = tuple(ghosts)

    def draw(self, canvas: Canvas, scene: OverlayScene, course: Course) -> None:  # noqa: ARG002
        names: list[tuple[tuple[float, float], str, Colour]] = []
        for number, ghost in enumerate(self._ghosts):
            found = ghost.at(scene.race.frame)
            if found is None:
                continue
            colour: Colour = GHOST_COLOURS[number % len(GHOST_COLOURS)]
            corners = found[0] + (_CORNERS * _HALF) @ found[1:]
            canvas.lines(corners[_EDGES[:, 0]], corners[_EDGES[:, 1]], colour)
            above = found[0] + 3 * _HALF[1] * found[2]
            places, visible = canvas.projection.points(above[None])
            if visible[0] and (np.abs(places[0]) < 1000).all():
                names.append(((float(places[0, 0]), float(places[0, 1])), ghost.name, colour))
        canvas.labels(names)
