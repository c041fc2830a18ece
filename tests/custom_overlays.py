"""Overlays that tests import by name."""

from __future__ import annotations

import os
from pathlib import Path

from mkds_gym.course import Course
from mkds_gym.overlays import Canvas, OverlayScene


class Dot:
    """A square in the middle of the picture."""

    name = "dot"

    def __init__(self, size: int = 2) -> None:
        self.size = size

    def draw(self, canvas: Canvas, scene: OverlayScene, course: Course) -> None:
        box = [128 - self.size, 96 - self.size, 128 + self.size, 96 + self.size]
        canvas.pen.rectangle(box, fill=(9, 8, 7))


class Touch:
    """Makes the file that the environment variable TOUCHED names."""

    name = "touch"

    def draw(self, canvas: Canvas, scene: OverlayScene, course: Course) -> None:
        Path(os.environ["TOUCHED"]).touch()


class Broken:
    """Fails."""

    name = "broken"

    def draw(self, canvas: Canvas, scene: OverlayScene, course: Course) -> None:
        raise RuntimeError("on purpose")


class Nothing:
    """Not an overlay."""
