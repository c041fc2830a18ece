"""The line of computer drivers: as few bends as the road allows, and where drifting pays.

Of all lines within the road the one is taken whose bending is least, summed over the lap: it
comes from the outside, touches the inside of a bend and goes out again. Pads are taken along, and
before a gap the line leads over the jump pad.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkds_gym.kartlab.compiler.geometry import Ribbon

Floats = NDArray[np.float64]

SAMPLE_STEP = 30.0
"""Distance between the samples that the line is found at, in world units."""

LINE_EDGE = 28.0
"""How far the line stays within the road's edge."""

PAD_EDGE = 8.0
"""How far it stays within a pad."""

SHORTNESS = 0.003
"""Weight of a short line against a straight one."""

DRIFT_RADIUS = 190.0
"""Drifting pays in a bend narrower than this, in world units ..."""

DRIFT_TURN = math.radians(50)
"""... that turns by so much."""

_ROUNDS = 40


@dataclass(frozen=True)
class RacingLine:
    """A line along a way.

    Attributes:
        distance: (S,) along the way's centre, from 0 to its length; for a closed way the last is
            the first again.
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
        """Whether drifting pays at a distance along the centre."""
        return bool(self.drifting[int(np.abs(self.distance - distance).argmin())])


def racing_line(ribbon: Ribbon) -> RacingLine:
    """Find the racing line of a way."""
    samples = max(round(ribbon.length / SAMPLE_STEP), 8)
    distance = np.linspace(0.0, ribbon.length, samples + 1)
    if ribbon.closed:
        distance = distance[:-1]

    def along(values: Floats) -> Floats:
        if ribbon.closed:
            ends = np.append(ribbon.distance, ribbon.length)
            return np.asarray(np.interp(distance, ends, np.append(values, values[0])))
        return np.asarray(np.interp(distance, ribbon.distance, values))

    centre = np.stack([along(ribbon.centre[:, 0]), along(ribbon.centre[:, 2])], axis=1)
    heading = np.unwrap(np.append(ribbon.heading, ribbon.heading[0]))
    heading = (
        np.interp(distance, np.append(ribbon.distance, ribbon.length), heading)
        if ribbon.closed
        else np.interp(distance, ribbon.distance, heading[:-1])
    )
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
    drifting = _worth_drifting(turn, curvature)
    if ribbon.closed:
        distance = np.append(distance, ribbon.length)
        offset = np.append(offset, offset[0])
        drifting = np.append(drifting, drifting[0])
    return RacingLine(distance, offset, drifting)


def _keep_to_pads(ribbon: Ribbon, distance: Floats, low: Floats, high: Floats) -> None:
    """Narrow the room of the line to the pads, and behind a jump pad to its width in the gap."""
    ends = np.append(ribbon.distance, ribbon.length) if ribbon.closed else ribbon.distance
    # The pad nearest to the middle of the road comes first and is the one that counts.
    taken = np.zeros(len(distance), dtype=np.bool_)
    for pad in sorted(ribbon.pads, key=lambda pad: abs(pad.left + pad.right)):
        begin, end = float(ends[pad.first]), float(ends[pad.last])
        on = (distance >= begin - SAMPLE_STEP / 2) & (distance <= end + SAMPLE_STEP / 2) & ~taken
        edge = min(PAD_EDGE, (pad.left - pad.right) / 2)
        # A wide road and a pad at its edge: as near as the line may go.
        right = np.clip(pad.right + edge, low[on], high[on])
        left = np.clip(pad.left - edge, low[on], high[on])
        low[on], high[on] = right, left
        taken |= on


def _least_bending(centre: Floats, left: Floats, low: Floats, high: Floats, closed: bool) -> Floats:
    """(S,) the offsets within their bounds for which the line bends least."""
    count = len(centre)
    index = np.arange(count)
    bend = np.zeros((count, 2, count))
    for shift, weight in ((-1, 1.0), (0, -2.0), (1, 1.0)):
        other = (index + shift) % count
        bend[index, :, other] += weight * left[other]
    target = np.roll(centre, 1, axis=0) - 2 * centre + np.roll(centre, -1, axis=0)
    stretch = np.zeros((count, 2, count))
    stretch[index, :, index] -= left
    stretch[index, :, (index + 1) % count] += left[(index + 1) % count]
    reach = np.roll(centre, -1, axis=0) - centre
    if not closed:
        bend[[0, -1]] = 0.0
        target[[0, -1]] = 0.0
        stretch[-1] = 0.0
        reach[-1] = 0.0
    a, b = bend.reshape(-1, count), stretch.reshape(-1, count)
    square = a.T @ a + SHORTNESS * (b.T @ b) + 1e-6 * np.eye(count)
    linear = -(a.T @ target.reshape(-1) + SHORTNESS * (b.T @ reach.reshape(-1)))

    # Active set: what leaves its bounds is held there, and let go when it pulls inwards again.
    offset = np.clip(np.zeros(count), low, high)
    held = high - low < 1e-9
    for _ in range(_ROUNDS):
        free = ~held
        wanted = offset.copy()
        wanted[free] = np.linalg.solve(
            square[np.ix_(free, free)], linear[free] - square[np.ix_(free, held)] @ offset[held]
        )
        out = free & ((wanted < low - 1e-9) | (wanted > high + 1e-9))
        offset = np.clip(wanted, low, high)
        pull = linear - square @ offset
        inwards = ((offset <= low) & (pull > 1e-6)) | ((offset >= high) & (pull < -1e-6))
        back = held & inwards & (high - low > 1e-9)
        if not out.any() and not back.any():
            break
        held = (held | out) & ~(back if not out.any() else np.zeros(count, dtype=np.bool_))
    return offset


def _worth_drifting(turn: Floats, curvature: Floats) -> NDArray[np.bool_]:
    """(S,) the samples of bends that are narrow enough and turn by enough."""
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
