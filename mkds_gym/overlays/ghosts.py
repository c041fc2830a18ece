"""The overlay of other drivers of the same race, who drove it at other times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

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
"""Colour of each ghost; from the seventh on they are used again."""
_HALF: Final = np.array([4.0, 3.5, 5.5])
"""Half of a ghost's width, height and length, world units: about a kart."""
_CORNERS: Final = np.array(
    [(x, y, z) for x in (-1.0, 1.0) for y in (0.0, 2.0) for z in (-1.0, 1.0)]
)
_EDGES: Final = np.array(
    [(a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b).bit_count() == 1]
)

Pose: TypeAlias = "NDArray[np.float64]"
"""(4, 3): position, and the directions to the right, up and ahead."""


def pose(race: RaceState) -> Pose:
    """Where a kart is, and how it is turned.

    Args:
        race: seen from the kart's driver.

    Returns:
        float64 (4, 3), world units and unit vectors, see `Pose`.
    """
    return np.array([race.position, race.right, race.up, race.forward], np.float64)


@dataclass
class Ghost:
    """A driver of another time.

    Attributes:
        name: for people.
        poses: by race clock, in frames.
    """

    name: str
    poses: Mapping[int, Pose] = field(default_factory=dict)

    def at(self, frame: int) -> Pose | None:
        """Where it was then.

        Args:
            frame: on the race clock.

        Returns:
            Its pose: the last one once it has arrived, None before it started.
        """
        found = self.poses.get(frame)
        if found is None and self.poses and frame > (last := max(self.poses)):
            return self.poses[last]
        return found


class Ghosts:
    """Other drivers of the same race, as boxes of a kart's size with their names.

    Args:
        ghosts: whom to draw.
    """

    name = "ghosts"

    def __init__(self, ghosts: Sequence[Ghost]) -> None:
        self._ghosts = tuple(ghosts)

    def draw(self, canvas: Canvas, scene: OverlayScene, course: Course) -> None:  # noqa: ARG002
        """See `Overlay.draw`."""
        names: list[tuple[tuple[float, float], str, Colour]] = []
        for number, ghost in enumerate(self._ghosts):
            found = ghost.at(scene.race.frame)
            if found is None:
                continue
            colour: Colour = GHOST_COLOURS[number % len(GHOST_COLOURS)]
            corners = found[0] + (_CORNERS * _HALF) @ found[1:]
            canvas.lines(corners[_EDGES[:, 0]], corners[_EDGES[:, 1]], colour)
            above = found[0] + 3 * _HALF[1] * found[2]
            places, seen = canvas.projection.points(above[None])
            if seen[0] and (np.abs(places[0]) < 1000).all():
                names.append(((float(places[0, 0]), float(places[0, 1])), ghost.name, colour))
        canvas.labels(names)
