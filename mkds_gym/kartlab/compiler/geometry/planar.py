"""Polygons in the ground plane: overlap, and cutting where two paths of a course meet.

A polygon's corners may have further columns, such as a height or a colour: where a side is cut,
they are interpolated along it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

THIN = 0.02
"""Smallest area of a piece, in square units; smaller pieces are dropped."""


def area(polygon: Floats, x: int = 0, z: int = 2) -> float:
    """Return the area of a polygon's projection on the ground, from the columns `x` and `z`."""
    px, pz = polygon[:, x], polygon[:, z]
    return abs(float(px @ np.roll(pz, -1) - pz @ np.roll(px, -1))) / 2


def _split(polygon: Floats, side: Floats) -> tuple[Floats | None, Floats | None]:
    """Split a convex polygon by a line into the part where `side` is positive and the rest."""
    if (side <= 1e-9).all():
        return None, polygon
    if (side >= -1e-9).all():
        return polygon, None
    parts: tuple[list[Floats], list[Floats]] = ([], [])
    count = len(polygon)
    for i in range(count):
        a, b = float(side[i]), float(side[(i + 1) % count])
        if a >= 0:
            parts[0].append(polygon[i])
        if a <= 0:
            parts[1].append(polygon[i])
        if (a > 0 > b) or (a < 0 < b):
            cut = polygon[i] + (polygon[(i + 1) % count] - polygon[i]) * (a / (a - b))
            parts[0].append(cut)
            parts[1].append(cut)
    return np.array(parts[0]), np.array(parts[1])


class Region:
    """A part of the ground: a union of convex quadrilaterals.

    Args:
        quads: (N, 4, 2) x and z of the corners, in either orientation.
    """

    def __init__(self, quads: Floats | Iterable[Floats]) -> None:
        corners = np.asarray(quads, dtype=np.float64).reshape(-1, 4, 2)
        sides = np.roll(corners, -1, axis=1) - corners
        outward = np.stack([sides[..., 1], -sides[..., 0]], axis=2)
        # A side whose two corners coincide separates nothing.
        length = np.linalg.norm(outward, axis=2, keepdims=True)
        outward = outward / np.maximum(length, 1e-9)
        offset = np.einsum("nij,nij->ni", outward, corners)
        middle = corners.mean(axis=1)
        flip = np.where(
            (np.einsum("nij,nj->ni", outward, middle) - offset).mean(axis=1) > 0, -1.0, 1.0
        )
        self.quads = corners
        self._outward = outward * flip[:, None, None]
        self._offset = np.where(length[..., 0] > 1e-6, offset * flip[:, None], np.inf)
        self._low = corners.min(axis=1)
        self._high = corners.max(axis=1)

    def __len__(self) -> int:
        return len(self.quads)

    def _near(self, corners: Floats) -> NDArray[np.intp]:
        low, high = corners.min(axis=0), corners.max(axis=0)
        near = (self._low < high).all(axis=1) & (self._high > low).all(axis=1)
        return np.asarray(np.nonzero(near)[0])

    def contains(self, points: Floats, margin: float = 0.0) -> NDArray[np.bool_]:
        """Return (P,) whether each of (P, 2) points is inside or nearer than `margin`."""
        beyond = np.einsum("nij,pj->pni", self._outward, points) - self._offset
        return np.asarray((beyond <= margin).all(axis=2).any(axis=1), dtype=np.bool_)

    def subtract(self, polygon: Floats, x: int = 0, z: int = 2) -> list[Floats]:
        """Return the convex pieces of a convex polygon outside the region.

        Args:
            polygon: (M, C) corners in order; columns `x` and `z` are the place on the ground.
            x: column of x.
            z: column of z.

        Returns:
            Convex polygons (., C) with the orientation of `polygon`.
        """
        pieces = [np.asarray(polygon, dtype=np.float64)]
        for quad in self._near(pieces[0][:, [x, z]]):
            remaining = []
            for piece in pieces:
                inside: Floats | None = piece
                outside = []
                for normal, offset in zip(self._outward[quad], self._offset[quad], strict=True):
                    if np.isinf(offset) or inside is None:
                        continue
                    side = inside[:, [x, z]] @ normal - offset
                    part, inside = _split(inside, side)
                    if part is not None and area(part, x, z) > THIN:
                        outside.append(part)
                # A piece that the quad does not touch stays complete.
                touched = inside is not None and area(inside, x, z) > THIN
                remaining += outside if touched else [piece]
            pieces = remaining
        return pieces

    def subtract_line(self, start: Floats, end: Floats) -> list[tuple[float, float]]:
        """Return the parts of a line outside the region, as fractions (0 to 1) of its length.

        Args:
            start: (2,) x and z.
            end: (2,) x and z.
        """
        hidden = []
        along = end - start
        for quad in self._near(np.stack([start, end])):
            speed = self._outward[quad] @ along
            room = self._offset[quad] - self._outward[quad] @ start
            low, high = 0.0, 1.0
            for v, r in zip(speed.tolist(), room.tolist(), strict=True):
                if abs(v) < 1e-9:
                    if r < 0:
                        high = -1.0
                elif v > 0:
                    high = min(high, r / v)
                else:
                    low = max(low, r / v)
            if high > low:
                hidden.append((low, high))
        out, at = [], 0.0
        for low, high in sorted(hidden):
            if low > at + 1e-6:
                out.append((at, low))
            at = max(at, high)
        if at < 1.0 - 1e-6:
            out.append((at, 1.0))
        return out


def quads_overlap(a: Floats, b: Floats) -> NDArray[np.bool_]:
    """Return (P,) whether pairs of convex quadrilaterals (P, 4, 2) overlap in the ground plane."""
    apart = np.zeros(len(a), dtype=np.bool_)
    for one in (a, b):
        sides = np.roll(one, -1, axis=1) - one
        axes = np.stack([sides[..., 1], -sides[..., 0]], axis=2)
        pa, pb = np.einsum("pij,pkj->pik", axes, a), np.einsum("pij,pkj->pik", axes, b)
        slack = 0.05 * np.linalg.norm(axes, axis=2)
        gap = np.maximum(pa.min(axis=2) - pb.max(axis=2), pb.min(axis=2) - pa.max(axis=2))
        apart |= ((gap > -slack) & (slack > 1e-6)).any(axis=1)
    return ~apart
