"""What a driver can run into, as triangles for Embree's ray tracing.

Two scenes: a kart on the road must heed walls and the edges of off-road; for one that is off the
road already those edges are the way back, and only walls count.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

from mkds_gym.course.kcl import KCL

CURTAIN_DOWN = 20.0
CURTAIN_UP = 20.0
"""How far, in world units, a curtain reaches below and above the edge it hangs on."""

_TOLERANCE = 1.0
"""World units within which two edges count as one line.

Corners are computed from normals good to 1/8192, over triangles hundreds of units long: the same
corner of two triangles comes out up to some tenths of a unit apart.
"""
_SHORTEST = 2.0
"""World units; what is left of an edge that is shorter is no gap but an error of rounding."""


class ObstacleMesh:
    """The obstacles of a course, ready to be hit by rays.

    Obstacles are the walls (`KCL.is_obstacle`) and, for a kart on the road, a vertical curtain
    along every edge of the off-road area that is not shared with another off-road triangle.

    Args:
        kcl: the collision.

    Attributes:
        walls: (W, 3, 3) float32 triangles, world units.
        curtains: (2 E, 3, 3) float32 triangles, two to each edge.
        edges: (E, 2, 3) float64, ends of the edges that the curtains hang on.
    """

    def __init__(self, kcl: KCL) -> None:
        sound = ~kcl.degenerate
        self.walls = kcl.triangles[kcl.is_obstacle & sound].astype(np.float32)
        self.edges = border_edges(kcl.triangles[kcl.is_off_road & ~kcl.is_obstacle & sound])
        self.curtains = _curtains(self.edges)
        self._build()

    def _build(self) -> None:
        self._on_off_road = _scene(self.walls)
        self._on_road = _scene(np.concatenate([self.walls, self.curtains]))

    def __getstate__(self) -> dict[str, NDArray[np.floating[Any]]]:
        # Embree's scenes do not pickle; they are quickly built again.
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
        """How far each ray goes before it hits an obstacle, from either side.

        Args:
            origins: (R, 3) float32, world units.
            directions: (R, 3) float32; unit vectors, or the result is in their lengths.
            on_offroad: whether the kart is off the road, so that curtains do not count.
            out: (R,) float32, what the result is written into; None is a new array.

        Returns:
            (R,) float32, infinite where nothing is hit.
        """
        scene = self._on_off_road if on_offroad else self._on_road
        if out is None:
            out = np.empty(len(origins), np.float32)
        # Embree takes how far to look, and puts the distance there.
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
    """Edges of a surface that no other of its triangles continues.

    An edge may be continued by several shorter ones (a T-junction), or in part: what is left is
    returned. Two edges continue each other if they lie within a unit of one line and their
    triangles on opposite sides of it, so that a triangle that is there twice hides nothing.

    Args:
        triangles: (T, 3, 3) float64, world units.

    Returns:
        (E, 2, 3) float64, ends of each piece of border.
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
        place, whole = 0.0, float(length[index])
        shortest = min(_SHORTEST, whole / 2)
        for start, stop in spans.tolist():
            if start - place > shortest:
                pieces.append(
                    (begin[index] + direction * place, begin[index] + direction * min(start, whole))
                )
            place = max(place, stop)
            if place >= whole:
                break
        if whole - place > shortest:
            pieces.append((begin[index] + direction * place, end[index]))
    if not pieces:
        return np.empty((0, 2, 3))
    return np.array(pieces)
