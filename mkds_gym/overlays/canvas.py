"""`Canvas`: a picture of the top screen, to draw lines and areas of the world on."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mkds_gym.emulator.hardware import SCREEN_HEIGHT, SCREEN_WIDTH
from mkds_gym.overlays.projection import Projection

Colour: TypeAlias = "tuple[int, int, int] | tuple[int, int, int, int]"
"""RGB, or RGB and opacity; 0 to 255 each."""
Points: TypeAlias = "NDArray[np.float64] | Sequence[Sequence[float]]"

_Box: TypeAlias = "tuple[float, float, float, float]"
"""Left, top, right and bottom, pixels."""

_TEXT_SIZE: Final = 10
_SHADOW: Final = (0, 0, 0, 200)


@functools.lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=_TEXT_SIZE)


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


class Canvas:
    """A picture to draw on.

    Args:
        picture: uint8 RGB (192, 256, 3); it is copied.
        projection: projection of the picture's camera.

    Attributes:
        projection: projection of the picture's camera.
        pen: Pillow's `ImageDraw.Draw` on the picture, for drawing in pixels.

    Raises:
        ValueError: the picture has another shape or dtype.
    """

    def __init__(self, picture: NDArray[np.uint8], projection: Projection) -> None:
        if picture.shape != (SCREEN_HEIGHT, SCREEN_WIDTH, 3) or picture.dtype != np.uint8:
            raise ValueError(
                f"a picture of shape {picture.shape} and dtype {picture.dtype}: expected uint8 "
                f"({SCREEN_HEIGHT}, {SCREEN_WIDTH}, 3)"
            )
        self.projection = projection
        self._image = Image.fromarray(picture)
        self.pen = ImageDraw.Draw(self._image, "RGBA")

    def picture(self) -> NDArray[np.uint8]:
        """Return the picture with the drawing: uint8 RGB (192, 256, 3), a new array."""
        return np.array(self._image)

    def lines(
        self, begin: Points, end: Points, colour: Colour | list[Colour], width: int = 1
    ) -> None:
        """Draw lines of the world.

        Args:
            begin: (N, 3), world units.
            end: (N, 3), world units.
            colour: one for all lines, or N colours.
            width: pixels.
        """
        ends, visible = self.projection.lines(
            np.asarray(begin, np.float64), np.asarray(end, np.float64)
        )
        colours = colour if isinstance(colour, list) else [colour] * len(visible)
        for line, index in zip(ends.tolist(), np.flatnonzero(visible).tolist(), strict=True):
            self.pen.line([(x, y) for x, y in line], fill=colours[index], width=width)

    def path(self, points: Points, colour: Colour, width: int = 1) -> None:
        """Draw a line through points of the world.

        Args:
            points: (N, 3), world units.
            colour: colour of the line.
            width: pixels.
        """
        points = np.asarray(points, np.float64)
        self.lines(points[:-1], points[1:], colour, width)

    def area(self, corners: Points, fill: Colour, outline: Colour | None = None) -> None:
        """Draw a polygon of the world, if it is in front of the camera.

        Args:
            corners: (N, 3), world units, in order.
            fill: colour of the inside.
            outline: colour of the edge; None for no edge.
        """
        pixels = self.projection.polygon(np.asarray(corners, np.float64))
        if len(pixels):
            self.pen.polygon([(x, y) for x, y in pixels.tolist()], fill=fill, outline=outline)

    def cross(self, point: Sequence[float], colour: Colour, size: int = 4, width: int = 1) -> None:
        """Draw an upright cross at a point of the world.

        Args:
            point: (3,), world units.
            colour: colour of the cross.
            size: pixels to each side.
            width: pixels.
        """
        for x, y in self._visible(point):
            self.pen.line([(x - size, y), (x + size, y)], fill=colour, width=width)
            self.pen.line([(x, y - size), (x, y + size)], fill=colour, width=width)

    def circle(self, point: Sequence[float], radius: float, colour: Colour) -> None:
        """Draw the outline of a sphere in the world.

        Args:
            point: (3,) centre, world units.
            radius: world units; at least one pixel is drawn.
            colour: colour of the outline.
        """
        view = self.projection.view(np.array([point], np.float64))
        for x, y in self._visible(point):
            edge = view + np.array([[0.0, radius, 0.0]])
            size = max(1.0, abs(float(self.projection.screen(edge)[0, 1]) - y))
            self.pen.ellipse([x - size, y - size, x + size, y + size], outline=colour)

    def text(self, place: tuple[float, float], text: str, colour: Colour = (255, 255, 255)) -> None:
        """Write text with a shadow.

        Args:
            place: column and row of the top left corner, pixels.
            text: one line.
            colour: colour of the text.
        """
        column, row = place
        self.pen.text((column + 1, row + 1), text, fill=_SHADOW, font=_font())
        self.pen.text((column, row), text, fill=colour, font=_font())

    def centered_text(self, middle: tuple[float, float], text: str, colour: Colour) -> None:
        """Write text without a shadow around a place.

        Args:
            middle: column and row of its middle, pixels.
            text: one line.
            colour: colour of the text.
        """
        self.pen.text(middle, text, fill=colour, font=_font(), anchor="mm")

    def labels(self, labels: Sequence[tuple[tuple[float, float], str, Colour]]) -> None:
        """Write texts as `centered_text`; a text that would cover a higher one moves down.

        Args:
            labels: middle (column and row, pixels), text and colour of each.
        """
        taken: list[_Box] = []
        for (column, row), text, colour in sorted(labels, key=lambda label: label[0][1]):
            box = self._box((column, row), text)
            while covered := [other for other in taken if _overlap(box, other)]:
                row += max(bottom for *_, bottom in covered) - box[1] + 1
                box = self._box((column, row), text)
            taken.append(box)
            self.centered_text((column, row), text, colour)

    def _box(self, middle: tuple[float, float], text: str) -> _Box:
        """Return the box that `centered_text` covers."""
        return self.pen.textbbox(middle, text, font=_font(), anchor="mm")

    def _visible(self, point: Sequence[float]) -> list[tuple[float, float]]:
        """Return column and row of a point that is in or near the picture, else nothing."""
        pixels, visible = self.projection.points(np.array([point], np.float64))
        return [
            (x, y)
            for x, y in pixels[visible].tolist()
            if -SCREEN_WIDTH < x < 2 * SCREEN_WIDTH and -SCREEN_HEIGHT < y < 2 * SCREEN_HEIGHT
        ]
