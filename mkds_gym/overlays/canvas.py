"""What overlays draw on: a picture of the top screen, with lines and areas in the world."""

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
"""RGB, or RGB and opacity, 0 to 255 each."""
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
    """One picture to draw on.

    Args:
        picture: uint8 RGB (192, 256, 3); it is copied.
        projection: of the camera that drew it.

    Attributes:
        projection: for points that an overlay wants to compute with.
        pen: Pillow's `ImageDraw.Draw` on the picture, for all that is not in the world.

    Raises:
        ValueError: the picture has another shape or dtype.
    """

    def __init__(self, picture: NDArray[np.uint8], projection: Projection) -> None:
        if picture.shape != (SCREEN_HEIGHT, SCREEN_WIDTH, 3) or picture.dtype != np.uint8:
            raise ValueError(
                f"overlays are drawn on ({SCREEN_HEIGHT}, {SCREEN_WIDTH}, 3) uint8, "
                f"not {picture.shape} {picture.dtype}"
            )
        self.projection = projection
        self._image = Image.fromarray(picture)
        self.pen = ImageDraw.Draw(self._image, "RGBA")

    def picture(self) -> NDArray[np.uint8]:
        """What has been drawn: uint8 RGB (192, 256, 3), a new array."""
        return np.array(self._image)

    def lines(
        self, begin: Points, end: Points, colour: Colour | list[Colour], width: int = 1
    ) -> None:
        """Lines in the world.

        Args:
            begin: (N, 3), world units.
            end: (N, 3), world units.
            colour: of all of them, or N colours.
            width: pixels.
        """
        ends, left = self.projection.lines(
            np.asarray(begin, np.float64), np.asarray(end, np.float64)
        )
        colours = colour if isinstance(colour, list) else [colour] * len(left)
        for line, index in zip(ends.tolist(), np.flatnonzero(left).tolist(), strict=True):
            self.pen.line([(x, y) for x, y in line], fill=colours[index], width=width)

    def path(self, points: Points, colour: Colour, width: int = 1) -> None:
        """A line from point to point in the world.

        Args:
            points: (N, 3), world units.
            colour: of the line.
            width: pixels.
        """
        points = np.asarray(points, np.float64)
        self.lines(points[:-1], points[1:], colour, width)

    def area(self, corners: Points, fill: Colour, outline: Colour | None = None) -> None:
        """A polygon in the world; nothing if it is behind the camera.

        Args:
            corners: (N, 3), world units, in order.
            fill: colour of the inside.
            outline: colour of the edge; None draws none.
        """
        pixels = self.projection.polygon(np.asarray(corners, np.float64))
        if len(pixels):
            self.pen.polygon([(x, y) for x, y in pixels.tolist()], fill=fill, outline=outline)

    def cross(self, point: Sequence[float], colour: Colour, size: int = 4, width: int = 1) -> None:
        """An upright cross at a point of the world.

        Args:
            point: (3,), world units.
            colour: of its lines.
            size: pixels to each side.
            width: pixels.
        """
        for x, y in self._seen(point):
            self.pen.line([(x - size, y), (x + size, y)], fill=colour, width=width)
            self.pen.line([(x, y - size), (x, y + size)], fill=colour, width=width)

    def circle(self, point: Sequence[float], radius: float, colour: Colour) -> None:
        """The outline of a sphere in the world.

        Args:
            point: its middle, world units.
            radius: world units; it is drawn with one pixel at least.
            colour: of the outline.
        """
        view = self.projection.view(np.array([point], np.float64))
        for x, y in self._seen(point):
            beside = view + np.array([[0.0, radius, 0.0]])
            size = max(1.0, abs(float(self.projection.screen(beside)[0, 1]) - y))
            self.pen.ellipse([x - size, y - size, x + size, y + size], outline=colour)

    def text(self, place: tuple[float, float], text: str, colour: Colour = (255, 255, 255)) -> None:
        """Text at a place of the picture.

        Args:
            place: column and row of its top left corner, pixels.
            text: a line.
            colour: of the letters; they have a shadow.
        """
        column, row = place
        self.pen.text((column + 1, row + 1), text, fill=_SHADOW, font=_font())
        self.pen.text((column, row), text, fill=colour, font=_font())

    def small(self, middle: tuple[float, float], text: str, colour: Colour) -> None:
        """A letter or two, without a shadow, around a place of the picture.

        Args:
            middle: column and row, pixels.
            text: what to write.
            colour: of the letters.
        """
        self.pen.text(middle, text, fill=colour, font=_font(), anchor="mm")

    def labels(self, labels: Sequence[tuple[tuple[float, float], str, Colour]]) -> None:
        """Words around places of the picture, of which none covers another.

        Where one would, the lower one moves down.

        Args:
            labels: middle (column and row, pixels), text and colour of each.
        """
        taken: list[_Box] = []
        for (column, row), text, colour in sorted(labels, key=lambda label: label[0][1]):
            box = self._box((column, row), text)
            while covered := [each for each in taken if _overlap(box, each)]:
                row += max(bottom for *_, bottom in covered) - box[1] + 1
                box = self._box((column, row), text)
            taken.append(box)
            self.small((column, row), text, colour)

    def _box(self, middle: tuple[float, float], text: str) -> _Box:
        """What `small` covers."""
        return self.pen.textbbox(middle, text, font=_font(), anchor="mm")

    def _seen(self, point: Sequence[float]) -> list[tuple[float, float]]:
        """Column and row of a point, if it can be seen and is near the picture."""
        pixels, seen = self.projection.points(np.array([point], np.float64))
        return [
            (x, y)
            for x, y in pixels[seen].tolist()
            if -SCREEN_WIDTH < x < 2 * SCREEN_WIDTH and -SCREEN_HEIGHT < y < 2 * SCREEN_HEIGHT
        ]
