"""Overlays that tests name by the place they are imported from."""

from __future__ import annotations

from mkds_gym.course import Course
from mkds_gym.overlays import Canvas, OverlayScene


class Dot:
    """A point in the middle of the picture, as large as one asks for."""

    name = "dot"

    def __init__(self, size: int = 2) -> None:
        self.size = size

    def draw(self, canvas: Canvas, scene: OverlayScene, course: Course) -> None:
        """See `mkds_gym.overlays.Overlay`."""
        box = [128 - self.size, 96 - self.size, 128 + self.size, 96 + self.size]
        canvas.pen.rectangle(box, fill=(9, 8, 7))


class Nothing:
    """No overlay."""
