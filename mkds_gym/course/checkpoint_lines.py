"""The rules by which drivers pass checkpoints, as in Kartlab's ``race/checkpoints.c``.

* A driver that crosses the line of a next checkpoint enters that checkpoint. A driver that misses a
  line may cross one of the two lines after it, but no line beyond a key checkpoint.
* A driver that crosses the line of its own checkpoint backwards enters the previous checkpoint.
* A lap counts when all key checkpoints were crossed in order.
* A respawn takes back the lines that lie in front of the respawn point.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import Final

import numpy as np

from mkds_gym.course.nkm import NKM, NO_SECTION
from mkds_gym.course.track import Track
from mkds_gym.race.memory_layout import (
    DRIVER,
    DRIVER_FLAG_RESPAWNING,
    FX32_ONE,
    FX32_SCALE,
)
from mkds_gym.race.packing import PackedFields, parts_of

LINES_AHEAD: Final = 3
"""Lines that a driver may cross next: it may miss two."""
WRONG_WAY_FRAMES: Final = 30
"""Frames of driving backwards after which the wrong-way sign appears."""
_WRONG_WAY_SPEED: Final = FX32_ONE // 2
_FIRST_LAP: Final = 600
"""Frames of the race clock within which nobody completes a lap."""

KART: Final = PackedFields(
    parts_of(DRIVER, ("flags", "velocity", "position", "previous_position", "forward", "place"))
)
"""Fields of a kart, from the start of the driver on."""


@dataclass(slots=True)
class DriverProgress:
    """What must be remembered of one driver between two frames.

    Attributes:
        checkpoint: index of the current checkpoint.
        key: current key checkpoint.
        last_key: last correct key checkpoint.
        lap: 0 before the start line, then 1 and up.
        highest_lap: highest lap reached.
        finished: whether the last lap is complete.
        wrong_way: whether the wrong-way sign is shown.
        wrong_way_frames: frames of driving backwards.
        respawning: whether the kart respawns.
        clock: race clock of the last frame.
        x: position in the last frame, fx32.
        z: position in the last frame, fx32.
        speed_x: velocity in the last frame, fx32.
        speed_z: velocity in the last frame, fx32.
    """

    checkpoint: int
    key: int
    last_key: int
    lap: int = 0
    highest_lap: int = 0
    finished: int = 0
    wrong_way: int = 0
    wrong_way_frames: int = 0
    respawning: int = 0
    clock: int = 0
    x: int = 0
    z: int = 0
    speed_x: int = 0
    speed_z: int = 0
    spare: float = 0.0
    """Distance that the kart can drive without reaching a line, world units; 0: unknown."""

    def saved(self) -> tuple[int, ...]:
        """Return all values but `spare`."""
        return astuple(self)[:-1]


class CheckpointLines:
    """The checkpoints of a course, and the rules by which drivers pass them.

    Args:
        nkm: the course map.

    Raises:
        CourseFormatError: the map has no checkpoints, or its sections do not fit them.
    """

    def __init__(self, nkm: NKM) -> None:
        self.track = track = Track(nkm)
        points = nkm.checkpoints
        left = np.stack([points["x1"], points["z1"]], axis=1).astype(np.int64)
        right = np.stack([points["x2"], points["z2"]], axis=1).astype(np.int64)
        if not np.array_equal(track.left * FX32_ONE, left):
            left, right = right, left  # most lines face backwards
        middle = np.fix(left / 2).astype(np.int64) + np.fix(right / 2).astype(np.int64)
        self._lines: list[list[int]] = np.hstack([left, right, right - left]).tolist()
        self._middle: list[list[int]] = middle.tolist()
        self._keys = [track.key(point) for point in range(len(track))]
        self._last_key = max(self._keys, default=0)
        self._next = [track.next(point) for point in range(len(track))]
        self._previous = _previous(nkm, track)
        self.sections = [max(track.section(point), 0) for point in range(len(track))]
        self._ways = [
            self._way(point, following[0]) if len(following) == 1 else (0, 0)
            for point, following in enumerate(self._next)
        ]
        lengths = [math.isqrt(x * x + z * z) for *_, x, z in self._lines]
        self._per_length = [1 / length if length else 0.0 for length in lengths]
        lap = track.length
        self._stretches = [
            (track.start_of(point) / lap, (track.end_of(point) - track.start_of(point)) / lap)
            for point in range(len(track))
        ]
        self._near = [self._lines_near(point) for point in range(len(track))]

    def update(self, me: DriverProgress, kart: tuple[int, ...], clock: int, laps: int) -> None:
        """Process the next frame of a driver.

        Args:
            me: the driver, which changes.
            kart: the kart's fields of `KART`.
            clock: the race clock.
            laps: laps of the race.
        """
        flags, speed_x, _, speed_z, x, _, z, old_x, _, old_z = kart[:10]
        if (me.x, me.z, me.clock, me.speed_x, me.speed_z) == (x, z, clock, speed_x, speed_z):
            return  # the same frame
        respawning = flags & DRIVER_FLAG_RESPAWNING
        if not respawning:
            from_x, from_z = me.x, me.z
            if me.respawning:
                from_x, from_z = old_x, old_z
                self._respawn(me, old_x, old_z)
            me.spare -= (abs(x - from_x) + abs(z - from_z)) * FX32_SCALE
            if me.spare <= 0.0:
                self._cross(me, (from_x, from_z), (x, z), laps)
                me.spare = self._room(me.checkpoint, x * FX32_SCALE, z * FX32_SCALE)
        me.respawning = respawning
        me.clock, me.x, me.z, me.speed_x, me.speed_z = clock, x, z, speed_x, speed_z
        way_x, way_z = self._ways[me.checkpoint]
        if not (way_x or way_z):  # a fork
            way_x, way_z = self._way(me.checkpoint, self._nearest(self._next[me.checkpoint], x, z))
        along = (speed_x * way_x + speed_z * way_z + 2048) >> 12
        if along > 0 or respawning:
            me.wrong_way_frames = me.wrong_way = 0
        elif along < -_WRONG_WAY_SPEED and kart[10] * way_x + kart[12] * way_z + 2048 < 0:
            me.wrong_way_frames += 1
            if me.wrong_way_frames >= WRONG_WAY_FRAMES:
                me.wrong_way = 1

    def locate(self, kart: tuple[int, ...], clock: int, lap: int) -> DriverProgress:
        """Return the progress of a driver of whom no earlier frame is known.

        On the grid, the result is that of the game. Later in a race, the checkpoint follows from
        the position, and the key checkpoints are those on the way to it.

        Args:
            kart: the kart's fields of `KART`.
            clock: the race clock.
            lap: lap, as far as known.
        """
        start, last_key = self.track.start, self._last_key
        x, z = kart[4], kart[6]
        me = DriverProgress(start, last_key, last_key, clock=clock)
        me.x, me.z, me.speed_x, me.speed_z = x, z, kart[1], kart[3]
        me.respawning = kart[0] & DRIVER_FLAG_RESPAWNING
        me.checkpoint = self._around(x * FX32_SCALE, z * FX32_SCALE)
        early = clock <= _FIRST_LAP
        if (early or lap == 0) and self._stretches[me.checkpoint][0] > 0.5:
            if not early:
                return me  # it turned back before the start line
            me.checkpoint = start
            self._step_back(me)
            for _ in range(LINES_AHEAD):
                if self._in_front(me.checkpoint, x, z) >= 0:
                    break
                self._step_back(me)
            return me
        me.lap = me.highest_lap = max(lap, 1)
        point = me.checkpoint
        for _ in self._keys:
            if self._keys[point] >= 0:
                me.key = me.last_key = self._keys[point]
                break
            point = (self._previous[point] or (point,))[0]
        return me

    def fractions(self, me: DriverProgress) -> tuple[float, float]:
        """Return the fraction of the way to the next checkpoint, and of the lap."""
        point, x, z = me.checkpoint, me.x, me.z
        other = self._nearest(self._next[point], x, z)
        behind = max(self._in_front(point, x, z) * self._per_length[point], 0.0)
        ahead = max(-self._in_front(other, x, z) * self._per_length[other], 0.0)
        share = behind / (behind + ahead) if behind + ahead > 0.0 else 1.0
        begin, span = self._stretches[point]
        return share, begin + span * share

    def _step_back(self, me: DriverProgress) -> None:
        me.checkpoint = (self._previous[me.checkpoint] or (me.checkpoint,))[0]

    def _around(self, x: float, z: float) -> int:
        """Return the checkpoint whose stretch contains a point, or is nearest to the point."""
        track = self.track
        best, least = 0, (True, math.inf)
        for point, following in enumerate(self._next):
            for other in following:
                outside = (
                    self._in_front(point, round(x * FX32_ONE), round(z * FX32_ONE)) < 0
                    or self._in_front(other, round(x * FX32_ONE), round(z * FX32_ONE)) >= 0
                )
                distance = track.distance_to(point, x, z) + track.distance_to(other, x, z)
                if (outside, distance) < least:
                    best, least = point, (outside, distance)
        return best

    def _in_front(self, point: int, x: int, z: int) -> int:
        """Return how far a point lies in front of a checkpoint's line, not to scale."""
        left_x, left_z, _, _, span_x, span_z = self._lines[point]
        return span_z * (x - left_x) - span_x * (z - left_z)

    def _crossing(self, point: int, a: tuple[int, int], b: tuple[int, int]) -> int:
        """Return 1 if the way from a to b crosses a line in driving direction, -1 if backwards."""
        left_x, left_z, right_x, right_z, span_x, span_z = self._lines[point]
        (ax, az), (bx, bz) = a, b
        before = span_z * (ax - left_x) - span_x * (az - left_z) < 0
        if before == (span_z * (bx - left_x) - span_x * (bz - left_z) < 0):
            return 0
        way_x, way_z = bx - ax, bz - az
        if (way_x * (left_z - az) - way_z * (left_x - ax) < 0) == (
            way_x * (right_z - az) - way_z * (right_x - ax) < 0
        ):
            return 0
        return 1 if before else -1

    def _cross(self, me: DriverProgress, a: tuple[int, int], b: tuple[int, int], laps: int) -> None:
        point = self._crossed_ahead(me.checkpoint, a, b, LINES_AHEAD)
        if point >= 0:
            self._forward(me, point, laps)
            return
        point = self._crossed_behind(me.checkpoint, a, b, LINES_AHEAD)
        if point >= 0:
            self._back(me, point, *b)

    def _crossed_ahead(self, point: int, a: tuple[int, int], b: tuple[int, int], depth: int) -> int:
        """Return the checkpoint whose line was crossed forwards, or -1."""
        following = self._next[point]
        for other in following:
            if self._crossing(other, a, b) > 0:
                return other
        if depth > 1:
            for other in following:
                if self._keys[other] < 0:
                    found = self._crossed_ahead(other, a, b, depth - 1)
                    if found >= 0:
                        return found
        return -1

    def _crossed_behind(
        self, point: int, a: tuple[int, int], b: tuple[int, int], depth: int
    ) -> int:
        """Return the checkpoint whose line was crossed backwards, or -1."""
        if self._crossing(point, a, b) < 0:
            return point
        if depth > 1 and self._keys[point] < 0:
            for other in self._previous[point]:
                found = self._crossed_behind(other, a, b, depth - 1)
                if found >= 0:
                    return found
        return -1

    def _forward(self, me: DriverProgress, point: int, laps: int) -> None:
        key = self._keys[point]
        me.checkpoint = point
        if key < 0 or me.finished:
            return
        me.key = key
        if key == me.last_key + 1:
            me.last_key = key
        elif key == 0 and me.last_key == self._last_key:
            me.last_key = 0
            if me.lap + 1 > me.highest_lap:
                if me.lap >= 1 and me.highest_lap == laps:
                    me.finished = 1
                    return
                me.highest_lap = me.lap + 1
            me.lap += 1

    def _back(self, me: DriverProgress, point: int, x: int, z: int) -> None:
        previous = self._previous[point]
        if not previous:
            return
        key = self._keys[point]
        me.checkpoint = self._nearest(previous, x, z)
        if key < 0 or me.finished:
            return
        me.key = self._last_key if key == 0 else key - 1
        if key == me.last_key:
            if key == 0:
                me.lap -= 1
            me.last_key = me.key

    def _respawn(self, me: DriverProgress, x: int, z: int) -> None:
        """Take back the lines in front of the point at which the kart respawned."""
        me.spare = 0.0
        for _ in range(LINES_AHEAD):
            if self._in_front(me.checkpoint, x, z) >= 0:
                break
            self._back(me, me.checkpoint, x, z)

    def _nearest(self, points: tuple[int, ...], x: int, z: int) -> int:
        if len(points) == 1:
            return points[0]
        middle = self._middle
        return min(points, key=lambda p: abs(middle[p][0] - x) + abs(middle[p][1] - z))

    def _way(self, point: int, other: int) -> tuple[int, int]:
        """Return the unit vector from a checkpoint's middle to another's, fx32."""
        (x, z), (other_x, other_z) = self._middle[point], self._middle[other]
        x, z = other_x - x, other_z - z
        length = math.isqrt(x * x + z * z)
        if length < 16:
            return 0, 0
        factor = (1 << 36) // length
        return (x * factor + (1 << 23)) >> 24, (z * factor + (1 << 23)) >> 24

    def _lines_near(self, point: int) -> tuple[int, ...]:
        """Return all checkpoints whose lines count for a driver at a checkpoint."""
        found = {point}
        for neighbours in (self._next, self._previous):
            front = {point}
            for _ in range(LINES_AHEAD):
                front = {other for here in front for other in neighbours[here]}
                found |= front
        return tuple(found)

    def _room(self, point: int, x: float, z: float) -> float:
        """Return how far a kart can drive without reaching a line that counts."""
        distance = self.track.distance_to
        return min(distance(other, x, z) for other in self._near[point]) - 1.0


def _previous(nkm: NKM, track: Track) -> list[tuple[int, ...]]:
    """Return the previous checkpoints of each checkpoint, in the order of the map."""
    found = [track.previous(point) for point in range(len(track))]
    sections = nkm.checkpoint_paths
    for section in sections:
        first = int(section["start"])
        before = [int(each) for each in section["previous"] if each != NO_SECTION]
        if before and max(before) < len(sections):
            ends = [int(sections[each]["start"] + sections[each]["length"]) - 1 for each in before]
            found[first] = tuple(dict.fromkeys(ends))
    return found
