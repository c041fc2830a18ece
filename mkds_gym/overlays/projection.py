"""`Projection`: from the world to the pixels of the top screen, through the game's camera."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator.hardware import SCREEN_HEIGHT, SCREEN_WIDTH
from mkds_gym.race.reader import CameraState

_NEAREST: Final = 1.0
"""World units: smallest distance of the near plane from the eye."""


class Projection:
    """A pinhole camera: world right-handed with y up, screen origin at the top left.

    With the eye at e, the columns r (right), u (up) and b (backwards) of the game's matrix are the
    view's axes. A point p lies at depth d = -(p - e).b, and on the screen at

        column = 128 + 128 / (aspect tan(fov)) (p - e).r / d
        row    =  96 -  96 / tan(fov)          (p - e).u / d

    where fov is half the vertical angle of view (the usual perspective projection).

    Args:
        camera: camera of the picture's frame.

    Raises:
        ValueError: the camera is not set up: it has no direction or no field of view.
    """

    def __init__(self, camera: CameraState) -> None:
        if not camera.is_set_up:
            raise ValueError(f"the camera at {camera.position} has no direction")
        self._eye = np.array(camera.position, np.float64)
        self._axes = camera.matrix[:3] * (1.0, 1.0, -1.0)
        scale = SCREEN_HEIGHT / 2 / math.tan(camera.half_fov)
        self._scale = np.array([SCREEN_WIDTH / SCREEN_HEIGHT / camera.aspect * scale, -scale])
        self._middle = np.array([SCREEN_WIDTH / 2, SCREEN_HEIGHT / 2])
        # Depths of the clipping planes, world units.
        self.near: Final = max(camera.near, _NEAREST)
        self.far: Final = camera.far if camera.far > self.near else math.inf

    def view(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Transform points from world to view space.

        Args:
            points: (N, 3), world units.

        Returns:
            (N, 3): right, up, and depth in front of the eye, world units.
        """
        axes: NDArray[np.float64] = (np.asarray(points, np.float64) - self._eye) @ self._axes
        return axes

    def screen(self, view: NDArray[np.float64]) -> NDArray[np.float64]:
        """Project points from view space to the screen.

        Args:
            view: (N, 3) of `view`: right, up and a positive depth, world units.

        Returns:
            (N, 2): column and row, pixels from the top left corner; a pixel's middle is at .5.
        """
        pixels: NDArray[np.float64] = self._middle + self._scale * view[:, :2] / view[:, 2:]
        return pixels

    def points(self, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Project points from the world to the screen.

        Args:
            points: (N, 3), world units.

        Returns:
            (N, 2) column and row, which may be outside the picture; and (N,) whether the point is
            between the near and the far plane. Other points are NaN.
        """
        view = self.view(points)
        visible = (view[:, 2] >= self.near) & (view[:, 2] <= self.far)
        pixels = np.full((len(view), 2), np.nan)
        pixels[visible] = self.screen(view[visible])
        return pixels, visible

    def lines(
        self, begin: NDArray[np.float64], end: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Project lines, clipped at the near and the far plane.

        Args:
            begin: (N, 3), world units.
            end: (N, 3), world units.

        Returns:
            (M, 2, 2) column and row of both ends of each visible line, and (N,) whether the line is
            visible.
        """
        a, b = self.view(begin), self.view(end)
        step = b - a
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.stack([(plane - a[:, 2]) / step[:, 2] for plane in (self.near, self.far)])
        level = np.abs(step[:, 2]) < 1e-12
        within = (a[:, 2] >= self.near) & (a[:, 2] <= self.far)
        first = np.where(level, np.where(within, 0.0, 2.0), np.maximum(shares.min(axis=0), 0.0))
        last = np.where(level, 1.0, np.minimum(shares.max(axis=0), 1.0))
        visible = first < last
        a, step = a[visible], step[visible]
        first, last = first[visible, None], last[visible, None]
        ends = np.stack([self.screen(a + first * step), self.screen(a + last * step)], axis=1)
        return ends, visible

    def polygon(self, corners: NDArray[np.float64]) -> NDArray[np.float64]:
        """Project a polygon, clipped at the near and the far plane (Sutherland, Hodgman, 1974).

        Args:
            corners: (N, 3), world units, in order.

        Returns:
            (M, 2) column and row of the visible part's corners; M is 0 or at least 3.
        """
        view = self.view(corners)
        for sign, plane in ((1.0, self.near), (-1.0, self.far)):
            if math.isinf(plane):
                continue
            inside = sign * (view[:, 2] - plane)
            if (inside >= 0).all():
                continue
            clipped = []
            for index in range(len(view)):
                before, now = inside[index - 1], inside[index]
                if (before >= 0) != (now >= 0):
                    share = before / (before - now)
                    clipped.append(view[index - 1] + share * (view[index] - view[index - 1]))
                if now >= 0:
                    clipped.append(view[index])
            if len(clipped) < 3:
                return np.empty((0, 2))
            view = np.array(clipped)
        return self.screen(view)
