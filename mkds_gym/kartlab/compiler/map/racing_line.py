"""The line of CPU drivers, and where drifting pays.

The racing line is the line within the road that bends least, summed over the lap: it enters a bend
on the outside, touches the inside and leaves on the outside. It leads over pads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkds_gym.kartlab.compiler.geometry import Ribbon

Floats = NDArray[np.float64]

SAMPLE_STEP = 100.0
"""Distance between the samples of the line, in world units."""

LINE_EDGE = 60.0
"""Distance of the line from the road's edge, in world units."""

PAD_EDGE = 20.0
"""Distance of the line from a pad's edge, in world units."""

SHORTNESS = 0.003
"""Weight of a short line against a straight one."""

DRIFT_RADIUS = 475.0
"""Largest radius of a bend in which drifting pays, in world units."""

DRIFT_TURN = math.radians(50)
"""Smallest turn of a bend in which drifting pays."""

_ROUNDS = 200
_PENALTY = 0.05


@dataclass(frozen=True)
class RacingLine:
    """A line along a path.

    Attributes:
        distance: (S,) along the path's centre, from 0 to its length; on a closed path the last
            sample repeats the first.
        offset: (S,) to the left of the centre, in world units.
        drifting: (S,) whether drifting pays.
    """

    distance: Floats
    offset: Floats
    drifting: NDArray[np.bool_]

    def offset_at(self, distance: float) -> float:
        """Return the offset at a distance along the centre."""
        return float(np.interp(distance, self.distance, self.offset))

    def drifting_at(self, distance: float) -> bool:
        """Return whether drifting pays at a distance along the centre."""
        return bool(self.drifting[int(np.abs(self.distance - distance).argmin())])


def racing_line(ribbon: Ribbon) -> RacingLine:
    """Return the racing line of a path."""
    samples = max(round(ribbon.length / SAMPLE_STEP), 8)
    distance = np.linspace(0.0, ribbon.length, samples + 1)
    if ribbon.closed:
        distance = distance[:-1]

    def along(values: Floats) -> Floats:
        if ribbon.closed:
            values = np.append(values, values[0])
        return np.asarray(np.interp(distance, ribbon.borders, values))

    centre = np.stack([along(ribbon.centre[:, 0]), along(ribbon.centre[:, 2])], axis=1)
    headings = np.unwrap(np.append(ribbon.heading, ribbon.heading[0]))
    heading = np.interp(distance, ribbon.borders, headings[: len(ribbon.borders)])
    left = np.stack([np.cos(heading), -np.sin(heading)], axis=1)
    room = np.maximum(along(ribbon.half_width) - LINE_EDGE, 0.0)
    low, high = -room, room.copy()
    if not ribbon.closed:
        low[[0, -1]] = high[[0, -1]] = 0.0
    _keep_to_pads(ribbon, distance, low, high)
    offset = _least_bending(centre, left, low, high, ribbon.closed)

    line = centre + offset[:, None] * left
    step = np.roll(line, -1, axis=0) - line
    size = np.hypot(step[:, 0], step[:, 1])
    direction = np.arctan2(step[:, 0], step[:, 1])
    turn = np.mod(direction - np.roll(direction, 1) + math.pi, math.tau) - math.pi
    curvature = turn / np.maximum((size + np.roll(size, 1)) / 2, 1.0)
    if not ribbon.closed:
        turn[[0, -1]] = curvature[[0, -1]] = 0.0
    drifting = _drifting_pays(turn, curvature)
    if ribbon.closed:
        distance = np.append(distance, ribbon.length)
        offset = np.append(offset, offset[0])
        drifting = np.append(drifting, drifting[0])
    return RacingLine(distance, offset, drifting)


def _keep_to_pads(ribbon: Ribbon, distance: Floats, low: Floats, high: Floats) -> None:
    """Narrow the bounds of the line to the pads."""
    ends = ribbon.borders
    # Of several pads, the pad nearest to the middle of the road counts.
    taken = np.zeros(len(distance), dtype=np.bool_)
    for pad in sorted(ribbon.pads, key=lambda pad: abs(pad.left + pad.right)):
        begin, end = float(ends[pad.first]), float(ends[pad.last])
        on = (distance >= begin - SAMPLE_STEP / 2) & (distance <= end + SAMPLE_STEP / 2) & ~taken
        edge = min(PAD_EDGE, (pad.left - pad.right) / 2)
        # A pad may lie beyond the bounds of the line: go as near as they allow.
        right = np.clip(pad.right + edge, low[on], high[on])
        left = np.clip(pad.left - edge, low[on], high[on])
        low[on], high[on] = right, left
        taken |= on


def _least_bending(centre: Floats, left: Floats, low: Floats, high: Floats, closed: bool) -> Floats:
    """Return the offsets (S,) within bounds for which the line bends least."""
    count = len(centre)
    # Matrices of second differences (bending) and first differences (length). No BLAS or LAPACK:
    # their threads cost more than they save when every core has work.
    identity = np.eye(count)
    second = np.roll(identity, 1, axis=0) - 2 * identity + np.roll(identity, -1, axis=0)
    first = np.roll(identity, -1, axis=0) - identity
    if not closed:
        second[[0, -1]] = 0.0
        first[-1] = 0.0
    weight = _product(second.T, second) + SHORTNESS * _product(first.T, first)
    alike = left[:, :1] * left[:, 0] + left[:, 1:] * left[:, 1]
    square = weight * alike + 1e-6 * identity
    linear = -(_product(weight, centre) * left).sum(axis=1)

    # Alternating direction method of multipliers (ADMM): minimise, then clip to the bounds.
    solver = _inverse(square + _PENALTY * identity)
    offset, dual = np.zeros(count), np.zeros(count)
    for _ in range(_ROUNDS):
        wanted = np.einsum("ij,j->i", solver, linear + _PENALTY * (offset - dual))
        offset = np.clip(wanted + dual, low, high)
        dual += wanted - offset
    return offset


def _product(a: Floats, b: Floats) -> Floats:
    """Multiply two matrices; the first is sparse."""
    out = np.zeros((len(a), b.shape[1]))
    row, column = np.nonzero(a)
    np.add.at(out, row, a[row, column][:, None] * b[column])
    return out


def _inverse(matrix: Floats) -> Floats:
    """Invert a symmetric positive definite matrix (Gauss-Jordan)."""
    count = len(matrix)
    work = np.concatenate([matrix, np.eye(count)], axis=1)
    for k in range(count):
        work[k] /= work[k, k]
        factor = work[:, k].copy()
        factor[k] = 0.0
        work -= factor[:, None] * work[k]
    return work[:, count:]


def _drifting_pays(turn: Floats, curvature: Floats) -> NDArray[np.bool_]:
    """Return (S,) whether each sample is in a narrow bend that turns far enough."""
    count = len(turn)
    drifting = np.zeros(count, dtype=np.bool_)
    tight = np.abs(curvature) > 1 / DRIFT_RADIUS
    index = 0
    while index < count:
        end = index
        while end < count and tight[end] and curvature[end] * curvature[index] > 0:
            end += 1
        if end > index and abs(float(turn[index:end].sum())) >= DRIFT_TURN:
            drifting[index:end] = True
        index = max(end, index + 1)
    return drifting
