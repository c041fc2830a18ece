"""Smooth centre lines through the midpoints of checkpoints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkds_gym.race.lengths import CENTRE_LINE_SPACING

_FEWEST_SAMPLES = 16
_MOST_SAMPLES = 4096
_SMOOTHING = 3
"""The curvature is averaged twice over this many samples on each side."""


@dataclass(frozen=True)
class CentreLine:
    """Samples of a smooth line, evenly spaced in progress.

    Attributes:
        first: progress of the first sample.
        step: progress between two samples.
        periodic: whether the line is closed.
        x: world units, as z.
        z: world units.
        direction_x: unit direction, as direction_z.
        direction_z: unit direction.
        curvature: 1 / radius, positive in a left bend.
        width: length of the checkpoint lines.
    """

    first: float
    step: float
    periodic: bool
    x: list[float]
    z: list[float]
    direction_x: list[float]
    direction_z: list[float]
    curvature: list[float]
    width: list[float]

    def locate(self, s: float) -> tuple[int, int, float]:
        """Return the samples before and after `s`, and the position between them, 0 to 1."""
        place = (s - self.first) / self.step
        count = len(self.x)
        if self.periodic:
            place %= count
            index = int(place)
            if index >= count:  # the remainder of a tiny negative float is `count`
                return 0, 1 % count, 0.0
            return index, (index + 1) % count, place - index
        if not place > 0.0:
            return 0, 0, 0.0
        if place >= count - 1:
            return count - 1, count - 1, 0.0
        index = int(place)
        return index, index + 1, place - index


def smooth_line(
    s: Sequence[float],
    x: Sequence[float],
    z: Sequence[float],
    width: Sequence[float],
    *,
    period: float | None,
) -> CentreLine:
    """Return samples of a cubic spline through points over progress.

    Args:
        s: progress of the points, ascending.
        x: world units, as z and width.
        z: world units.
        width: world units.
        period: length of a closed line; None for an open line.
    """
    knots: list[float] = []
    chosen: list[int] = []
    for index, place in enumerate(s):
        # Points at the same progress would make the slope infinite.
        if (not knots or place > knots[-1] + 1e-3) and (
            period is None or place < s[0] + period - 1e-3 or not knots
        ):
            knots.append(place)
            chosen.append(index)
    span = period if period is not None else knots[-1] - knots[0]
    samples = min(max(math.ceil(span / CENTRE_LINE_SPACING), _FEWEST_SAMPLES), _MOST_SAMPLES)
    step = max(span, 1e-3) / (samples if period is not None else samples - 1)
    at: NDArray[np.float64] = knots[0] + step * np.arange(samples, dtype=np.float64)
    points = np.array([[x[index], z[index], width[index]] for index in chosen])
    ends = np.array(knots)
    if period is not None:
        ends = np.append(ends, ends[0] + period)
        points = np.vstack([points, points[:1]])
    where, slope, bend = _spline(ends, points[:, :2], at, closed=period is not None)
    norm = np.hypot(slope[:, 0], slope[:, 1])
    safe = np.where(norm > 1e-9, norm, 1.0)
    direction = np.where(norm[:, None] > 1e-9, slope / safe[:, None], [0.0, 1.0])
    # The derivative of the heading atan2(x, z) along the line.
    curvature = (bend[:, 0] * slope[:, 1] - bend[:, 1] * slope[:, 0]) / safe**3
    curvature[norm <= 1e-9] = 0.0
    for _ in range(2):
        padded = np.pad(curvature, _SMOOTHING, mode="wrap" if period is not None else "edge")
        curvature = np.convolve(
            padded, np.full(2 * _SMOOTHING + 1, 1 / (2 * _SMOOTHING + 1)), "valid"
        )
    return CentreLine(
        first=knots[0],
        step=step,
        periodic=period is not None,
        x=where[:, 0].tolist(),
        z=where[:, 1].tolist(),
        direction_x=direction[:, 0].tolist(),
        direction_z=direction[:, 1].tolist(),
        curvature=curvature.tolist(),
        width=np.interp(at, ends, points[:, 2]).tolist(),
    )


def _spline(
    knots: NDArray[np.float64],
    points: NDArray[np.float64],
    at: NDArray[np.float64],
    *,
    closed: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return values, first and second derivatives of a cubic spline through `points` at `at`.

    A closed spline repeats the first point at the end, with equal derivatives. The ends of an open
    spline have second derivative 0.
    """
    gaps = np.diff(knots)
    count = len(gaps)
    if count == 0 or (closed and count < 3):
        # Too few points for a smooth loop: use straight lines.
        value = np.stack([np.interp(at, knots, points[:, axis]) for axis in range(2)], axis=1)
        which = np.clip(np.searchsorted(knots, at, side="right") - 1, 0, max(count - 1, 0))
        slopes = np.diff(points, axis=0) / gaps[:, None] if count else np.zeros((1, 2))
        return value, slopes[which], np.zeros_like(value)
    slopes = np.diff(points, axis=0) / gaps[:, None]
    second = _second_derivatives(gaps, slopes, closed=closed)
    which = np.clip(np.searchsorted(knots, at, side="right") - 1, 0, count - 1)
    gap = gaps[which][:, None]
    low = (at - knots[which])[:, None]
    high = gap - low
    m0, m1 = second[which], second[which + 1]
    p0, p1 = points[which], points[which + 1]
    value = (
        (m0 * high**3 + m1 * low**3) / (6 * gap)
        + (p0 / gap - m0 * gap / 6) * high
        + (p1 / gap - m1 * gap / 6) * low
    )
    slope = (m1 * low**2 - m0 * high**2) / (2 * gap) + slopes[which] - (m1 - m0) * gap / 6
    return value, slope, (m0 * high + m1 * low) / gap


def _second_derivatives(
    gaps: NDArray[np.float64], slopes: NDArray[np.float64], *, closed: bool
) -> NDArray[np.float64]:
    """Return the second derivatives of the spline at all knots, (len(gaps) + 1, 2)."""
    count = len(gaps)
    if not closed:
        second = np.zeros((count + 1, 2))
        if count > 1:
            right = 6 * np.diff(slopes, axis=0)
            second[1:-1] = _tridiagonal(
                gaps[:-1].tolist(), (2 * (gaps[:-1] + gaps[1:])).tolist(), gaps[1:].tolist(), right
            )
        return second
    before = np.roll(gaps, 1)
    right = 6 * (slopes - np.roll(slopes, 1, axis=0))
    # The Sherman-Morrison formula reduces the cyclic system to a tridiagonal one.
    link = gaps[-1]
    middle = 2 * (before + gaps)
    pivot = -middle[0]
    changed = middle.copy()
    changed[0] -= pivot
    changed[-1] -= link * link / pivot
    extra = np.zeros((count, 1))
    extra[0], extra[-1] = pivot, link
    solved = _tridiagonal(
        before.tolist(), changed.tolist(), gaps.tolist(), np.hstack([right, extra])
    )
    result, correction = solved[:, :2], solved[:, 2:]
    factor = (result[0] + link / pivot * result[-1]) / (
        1 + correction[0, 0] + link / pivot * correction[-1, 0]
    )
    result = result - correction * factor
    return np.vstack([result, result[:1]])


def _tridiagonal(
    lower: list[float], middle: list[float], upper: list[float], right: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Solve a tridiagonal system; lower[0] and upper[-1] are unused."""
    count = len(middle)
    factors = [0.0] * count
    result = np.array(right, dtype=np.float64)
    divisor = middle[0]
    result[0] /= divisor
    for row in range(1, count):
        factors[row] = upper[row - 1] / divisor
        divisor = middle[row] - lower[row] * factors[row]
        result[row] = (result[row] - lower[row] * result[row - 1]) / divisor
    for row in range(count - 2, -1, -1):
        result[row] -= factors[row + 1] * result[row + 1]
    return result
