"""Obstacles of a course as triangles for Embree's ray tracing.

For a kart on the road, walls and the edges of off-road areas are obstacles. For a kart off the
road, only walls are.
"""

from __future__ import annotations

import mmap
from typing import Any, Final

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

from mkds_gym.course.kcl import KCL
from mkds_gym.errors import OutOfMemoryError, reason

CURTAIN_DOWN = 30.0
CURTAIN_UP = 30.0
"""Reach of a curtain below and above its edge, world units."""

_TOLERANCE = 1.0
"""Distance within which two edges count as one line, world units.

Corners come from normals with an error of 1/8192 over hundreds of units, so the same corner of two
triangles can differ by some tenths of a unit.
"""
_SHORTEST = 2.0
"""Shorter remainders of an edge are rounding errors, world units."""
_SPACE: Final = 192 << 20
"""Address space that Embree must be able to reserve for a scene and its threads, bytes.

Embree ends the process if it cannot. Measured: with 120 MB it does, with 150 MB it does not.
"""


class ObstacleMesh:
    """Obstacles of a course, for ray tracing.

    Obstacles are the walls (`KCL.is_obstacle`) and, for a kart on the road, a vertical curtain
    along every border edge of the off-road area (`border_edges`).

    Args:
        kcl: the collision.

    Attributes:
        walls: (W, 3, 3) float32 triangles, world units.
        curtains: (2 E, 3, 3) float32 triangles, two to each edge.
        edges: (E, 2, 3) float64, ends of the curtains' edges.

    Raises:
        OutOfMemoryError: the process cannot reserve enough address space.
    """

    def __init__(self, kcl: KCL) -> None:
        sound = ~kcl.degenerate
        self.walls = kcl.triangles[kcl.is_obstacle & sound].astype(np.float32)
        self.edges = border_edges(kcl.triangles[kcl.is_off_road & ~kcl.is_obstacle & sound])
        self.curtains = _curtains(self.edges)
        self._build()

    def _build(self) -> None:
        try:
            mmap.mmap(-1, _SPACE, prot=mmap.PROT_READ).close()
        except OSError as error:
            raise OutOfMemoryError(
                f"cannot build the obstacles of a course, which need {_SPACE >> 20} MB of address "
                f"space ({reason(error)}): raise the limit (ulimit -v), or close environments"
            ) from error
        self._on_off_road = _scene(self.walls)
        self._on_road = _scene(np.concatenate([self.walls, self.curtains]))

    def __getstate__(self) -> dict[str, NDArray[np.floating[Any]]]:
        # Embree's scenes cannot be pickled; building them is fast.
        return {"walls": self.walls, "curtains": self.curtains, "edges": self.edges}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._build()

    def distances(
        self,
        origins: NDArray[np.float32],
        directions: NDArray[np.float32],
        on_offroad: bool = False,
        out: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Return the distance along each ray to the nearest obstacle, from either side.

        Args:
            origins: (R, 3) float32, world units.
            directions: (R, 3) float32; the unit of the result is their length.
            on_offroad: whether the kart is off the road, where curtains do not count.
            out: (R,) float32 array for the result; None creates one.

        Returns:
            (R,) float32, infinity without a hit.
        """
        scene = self._on_off_road if on_offroad else self._on_road
        if out is None:
            out = np.empty(len(origins), np.float32)
        # Embree reads the largest distance from `out` and writes the distance to it.
        out.fill(np.inf)
        hits: NDArray[np.float32] = scene.run(origins, directions, out, query="DISTANCE")
        return hits


def _scene(triangles: NDArray[np.float32]) -> EmbreeScene:
    scene = EmbreeScene()
    if len(triangles):
        TriangleMesh(scene, np.ascontiguousarray(triangles, dtype=np.float32))
    return scene


def _curtains(edges: NDArray[np.float64]) -> NDArray[np.float32]:
    down = np.array([0.0, -CURTAIN_DOWN, 0.0])
    up = np.array([0.0, CURTAIN_UP, 0.0])
    begin, end = edges[:, 0], edges[:, 1]
    first = np.stack([begin + down, end + down, end + up], axis=1)
    second = np.stack([begin + down, end + up, begin + up], axis=1)
    return np.concatenate([first, second]).astype(np.float32)


def border_edges(triangles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the border of a surface: edges, or parts of edges, with a triangle on one side only.

    Two edges cover each other where they lie within one unit of a common line and their triangles
    lie on opposite sides. Several shorter edges can cover a longer one (a T-junction).

    Args:
        triangles: (T, 3, 3) float64, world units.

    Returns:
        (E, 2, 3) float64, ends of the border's pieces.
    """
    triangles = np.unique(triangles.reshape(-1, 9), axis=0).reshape(-1, 3, 3)
    begin = triangles.reshape(-1, 3)
    end = np.roll(triangles, -1, axis=1).reshape(-1, 3)
    opposite = np.roll(triangles, -2, axis=1).reshape(-1, 3)
    along = end - begin
    length = np.linalg.norm(along, axis=1)
    real = length > 1e-6
    begin, end, opposite, along, length = (
        array[real] for array in (begin, end, opposite, along, length)
    )
    if not len(begin):
        return np.empty((0, 2, 3))
    along = along / length[:, None]
    inward = opposite - begin
    inward = inward - along * np.einsum("ij,ij->i", inward, along)[:, None]

    low = np.minimum(begin, end) - _TOLERANCE
    high = np.maximum(begin, end) + _TOLERANCE
    order = np.argsort(low[:, 0], kind="stable")
    begin, end, along, length, inward, low, high = (
        array[order] for array in (begin, end, along, length, inward, low, high)
    )
    longest = float((high[:, 0] - low[:, 0]).max())
    pieces: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    firsts = np.searchsorted(low[:, 0], low[:, 0] - longest)
    lasts = np.searchsorted(low[:, 0], high[:, 0], side="right")
    for index in range(len(begin)):
        near = slice(firsts[index], lasts[index])
        touching = ((low[near] <= high[index]) & (high[near] >= low[index])).all(axis=1)
        others = np.flatnonzero(touching) + near.start
        others = others[others != index]
        direction = along[index]
        others = others[(inward[others] @ inward[index]) < 0]
        to_begin, to_end = begin[others] - begin[index], end[others] - begin[index]
        at_begin, at_end = to_begin @ direction, to_end @ direction
        off = np.maximum(
            np.linalg.norm(to_begin - at_begin[:, None] * direction, axis=1),
            np.linalg.norm(to_end - at_end[:, None] * direction, axis=1),
        )
        on_line = off <= _TOLERANCE
        spans = np.sort(np.stack([at_begin[on_line], at_end[on_line]], axis=1), axis=1)
        spans = spans[np.argsort(spans[:, 0], kind="stable")]
        place, full = 0.0, float(length[index])
        shortest = min(_SHORTEST, full / 2)
        for start, stop in spans.tolist():
            if start - place > shortest:
                pieces.append(
                    (begin[index] + direction * place, begin[index] + direction * min(start, full))
                )
            place = max(place, stop)
            if place >= full:
                break
        if full - place > shortest:
            pieces.append((begin[index] + direction * place, end[index]))
    if not pieces:
        return np.empty((0, 2, 3))
    return np.array(pieces)
