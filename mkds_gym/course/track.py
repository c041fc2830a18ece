"""Checkpoints of a course as a graph, progress along the graph, and the centre line.

Coordinates are in world units, angles in radians. The world is right-handed with y up, so the
direction to the left of ``(fx, fz)`` is ``(fz, -fx)``. A heading is ``atan2(fx, fz)`` and grows in
a left turn.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mkds_gym.course.centre_line import CentreLine, smooth_line
from mkds_gym.course.kcl import KCL
from mkds_gym.course.nkm import NKM, NO_SECTION
from mkds_gym.errors import CourseFormatError
from mkds_gym.race.memory_layout import FX32_ONE
from mkds_gym.race.state import RaceState

_log = logging.getLogger(__name__)


class Projection(NamedTuple):
    """Position of a point relative to the track.

    Attributes:
        s: progress, world units from the start line.
        lateral: distance from the centre line, world units, positive to the left.
        heading: heading of the centre line, radians.
    """

    s: float
    lateral: float
    heading: float


class Track:
    """Checkpoints as a graph, and progress along the graph.

    Progress is the distance from the start line, in world units, along the straight lines between
    the checkpoints' midpoints. The start line is key checkpoint 0, or the first checkpoint of the
    first section.

    At a fork, the *main path* follows the first of the next sections. `length` is its length. The
    progress along another path is scaled to the main path between the same junctions.

    A section without next sections leads to the start line. If most checkpoint lines face
    backwards, the track swaps left and right.

    Args:
        nkm: the course map.
        kcl: the collision, for the heights of the centre line; None makes them 0.

    Attributes:
        left: (C, 2) float64, x and z of the checkpoints' left ends, seen in driving direction.
        right: (C, 2) float64, right ends.
        mid: (C, 2) float64, midpoints.
        forward: (C, 2) float64, unit vectors across the lines, in driving direction.
        length: length of a lap of the main path, world units.
        start: index of the start line's checkpoint.
        main: indices of the checkpoints on the main path, from the start line on.

    Raises:
        CourseFormatError: the map has no checkpoints, or its sections do not fit them.
    """

    def __init__(self, nkm: NKM, kcl: KCL | None = None) -> None:
        checkpoints = nkm.checkpoints
        count = len(checkpoints)
        if count == 0:
            raise CourseFormatError("the course has no checkpoints, like a battle stage")
        self._kcl = kcl
        self._nkm = nkm
        self.left = np.stack([checkpoints["x1"], checkpoints["z1"]], axis=1) / FX32_ONE
        self.right = np.stack([checkpoints["x2"], checkpoints["z2"]], axis=1) / FX32_ONE
        self.mid = (self.left + self.right) / 2
        self._keys: list[int] = checkpoints["key"].tolist()
        self._sections = _sections(nkm)
        self._section_of = [-1] * count
        for number, (first, size, _) in enumerate(self._sections):
            for index in range(first, first + size):
                if self._section_of[index] != -1:
                    raise CourseFormatError(
                        f"checkpoint {index} is in the sections {self._section_of[index]} "
                        f"and {number}"
                    )
                self._section_of[index] = number
        self.start = self._keys.index(0) if 0 in self._keys else self._sections[0][0]
        self._next = self._followers()
        self._previous = _inverse(self._next)
        self.forward = self._facing()

        self._x: list[float] = self.mid[:, 0].tolist()
        self._z: list[float] = self.mid[:, 1].tolist()
        self._forward_x: list[float] = self.forward[:, 0].tolist()
        self._forward_z: list[float] = self.forward[:, 1].tolist()
        span = self.right - self.left
        squared = (span**2).sum(axis=1)
        inverse = np.where(squared > 0, 1 / np.where(squared > 0, squared, 1), 0.0)
        self._left: list[tuple[float, float]] = [(x, z) for x, z in self.left.tolist()]
        self._span: list[tuple[float, float, float]] = [
            (x, z, i) for x, z, i in np.column_stack([span, inverse]).tolist()
        ]
        self._widths: list[float] = np.sqrt(squared).tolist()

        self._from, self._to, self.length, self.main = self._measure()
        # Slightly short of the length, as `length` is the start of the next lap.
        last = self.length * (1.0 - 1e-12)
        self._from = [min(value, last) for value in self._from]
        self._to = [min(value, last) for value in self._to]
        # The common case, a single next checkpoint, needs no search.
        self._only_next = [following[0] if len(following) == 1 else -1 for following in self._next]

    def __len__(self) -> int:
        """Number of checkpoints."""
        return len(self._x)

    def next(self, checkpoint: int) -> tuple[int, ...]:
        """Return the next checkpoints; several at a fork."""
        return self._next[checkpoint]

    def previous(self, checkpoint: int) -> tuple[int, ...]:
        """Return the previous checkpoints; several where paths join."""
        return self._previous[checkpoint]

    def section(self, checkpoint: int) -> int:
        """Return the index of the checkpoint's section, or -1."""
        return self._section_of[checkpoint]

    def is_key(self, checkpoint: int) -> bool:
        """Return whether a lap needs this checkpoint."""
        return self._keys[checkpoint] >= 0

    def key(self, checkpoint: int) -> int:
        """Return the key number: 0 for the start line, -1 for an ordinary checkpoint."""
        return self._keys[checkpoint]

    def start_of(self, checkpoint: int) -> float:
        """Return the progress at the checkpoint's line."""
        return self._from[checkpoint]

    def end_of(self, checkpoint: int) -> float:
        """Return the progress before the next checkpoint's line."""
        return self._to[checkpoint]

    def progress(self, checkpoint: int, x: float, z: float) -> float:
        """Return the progress of a point within the lap.

        Between two lines, progress interpolates by the distances to both lines. Behind the
        current checkpoint's line and past the next line, progress keeps the value at that line.

        Args:
            checkpoint: the current checkpoint, whose line the kart crossed last.
            x: world units.
            z: world units.

        Returns:
            Progress in [0, length).

        Raises:
            ValueError: the course has no such checkpoint.
        """
        if checkpoint < 0:
            raise self._out_of_range(checkpoint)
        try:
            behind = (x - self._x[checkpoint]) * self._forward_x[checkpoint] + (
                z - self._z[checkpoint]
            ) * self._forward_z[checkpoint]
            other = self._only_next[checkpoint]
        except IndexError:
            raise self._out_of_range(checkpoint) from None
        if other >= 0:
            ahead = (self._x[other] - x) * self._forward_x[other] + (
                self._z[other] - z
            ) * self._forward_z[other]
        else:
            other, ahead = self._nearest_next(checkpoint, x, z)
        if ahead > 0.0:
            if behind <= 0.0:
                return self._from[checkpoint]
            begin = self._from[checkpoint]
            return begin + (self._to[checkpoint] - begin) * (behind / (behind + ahead))
        if behind > 0.0:
            return self._to[checkpoint]
        return self._beyond_crossing(checkpoint, other, x, z)

    def _out_of_range(self, checkpoint: int) -> ValueError:
        return ValueError(f"checkpoint={checkpoint} is out of range: expected 0 to {len(self) - 1}")

    def _nearest_next(self, checkpoint: int, x: float, z: float) -> tuple[int, float]:
        """Return the nearest next checkpoint at a fork, and the distance ahead to its line."""
        best, nearest = checkpoint, math.inf
        for other in self._next[checkpoint]:
            distance = self.distance_to(other, x, z)
            if distance < nearest:
                best, nearest = other, distance
        ahead = (self._x[best] - x) * self._forward_x[best] + (self._z[best] - z) * self._forward_z[
            best
        ]
        # This distance is continuous where two next lines are equally near.
        return best, nearest if ahead > 0.0 else ahead

    def _beyond_crossing(self, checkpoint: int, other: int, x: float, z: float) -> float:
        """Return the progress of a point beyond the intersection of two checkpoints' lines."""
        begin_x, begin_z = self._x[checkpoint], self._z[checkpoint]
        span_x, span_z = self._x[other] - begin_x, self._z[other] - begin_z
        squared = span_x * span_x + span_z * span_z
        begin = self._from[checkpoint]
        if squared == 0.0:
            return begin
        share = ((x - begin_x) * span_x + (z - begin_z) * span_z) / squared
        return begin + (self._to[checkpoint] - begin) * min(max(share, 0.0), 1.0)

    def laps(self, state: RaceState) -> float:
        """Return the laps since the driver first crossed the start line, with a fraction.

        The value is negative before the start line, decreases when the kart drives backwards, and
        is the number of laps or slightly more after the finish. An unknown checkpoint gives 0.
        """
        if not 0 <= state.checkpoint < len(self):
            return 0.0
        x, _, z = state.position
        share = self.progress(state.checkpoint, x, z) / self.length
        if state.finished:
            return state.lap + (share if share < 0.5 else 0.0)
        if state.lap == 0 and state.checkpoint == self.start and share == 0.0:
            return 0.0  # behind the line: the game may start with this checkpoint
        return state.lap - 1 + share

    def gap(self, start: float, end: float) -> float:
        """Return the progress from `start` to `end`, in [-length / 2, length / 2)."""
        half = self.length / 2
        return (end - start + half) % self.length - half

    def distance_to(self, checkpoint: int, x: float, z: float) -> float:
        """Return the distance in the xz plane to the checkpoint's line segment."""
        left_x, left_z = self._left[checkpoint]
        span_x, span_z, inverse = self._span[checkpoint]
        x -= left_x
        z -= left_z
        share = (x * span_x + z * span_z) * inverse
        if share > 1.0:
            share = 1.0
        elif share < 0.0:
            share = 0.0
        return math.hypot(x - share * span_x, z - share * span_z)

    def middle(self, checkpoint: int) -> tuple[float, float]:
        """Return the midpoint (x, z) of the checkpoint's line."""
        return self._x[checkpoint], self._z[checkpoint]

    def project(self, x: float, z: float, checkpoint: int) -> Projection:
        """Return the position of a point relative to the track.

        Args:
            x: world units.
            z: world units.
            checkpoint: the current checkpoint; its path provides the centre line.
        """
        s = self.progress(checkpoint, x, z)
        line = self._line(checkpoint)
        low, high, share = line.locate(s)
        rest = 1.0 - share
        dx = line.direction_x[low] * rest + line.direction_x[high] * share
        dz = line.direction_z[low] * rest + line.direction_z[high] * share
        off_x = x - (line.x[low] * rest + line.x[high] * share)
        off_z = z - (line.z[low] * rest + line.z[high] * share)
        norm = math.hypot(dx, dz) or 1.0
        return Projection(s, (off_x * dz - off_z * dx) / norm, math.atan2(dx, dz))

    @cached_property
    def centre_line(self) -> NDArray[np.float64]:
        """Points of the main path, (K, 3), evenly spaced in progress from the start line on."""
        return np.column_stack([self._main_line.x, self._heights, self._main_line.z])

    def point_at(self, s: float, checkpoint: int | None = None) -> tuple[float, float, float]:
        """Return a point (x, y, z) of the centre line.

        Args:
            s: progress, any number (modulo the lap).
            checkpoint: a checkpoint of the path; None for the main path. The height is always that
                of the main path.
        """
        line = self._line(checkpoint)
        low, high, share = line.locate(s)
        rest = 1.0 - share
        main_low, main_high, main_share = self._main_line.locate(s)
        heights = self._heights
        return (
            line.x[low] * rest + line.x[high] * share,
            heights[main_low] * (1.0 - main_share) + heights[main_high] * main_share,
            line.z[low] * rest + line.z[high] * share,
        )

    def direction_at(self, s: float, checkpoint: int | None = None) -> tuple[float, float]:
        """Return the direction (x, z), a unit vector, at ``s`` on the path of ``checkpoint``."""
        line = self._line(checkpoint)
        low, high, share = line.locate(s)
        x = line.direction_x[low] * (1.0 - share) + line.direction_x[high] * share
        z = line.direction_z[low] * (1.0 - share) + line.direction_z[high] * share
        norm = math.hypot(x, z)
        return (x / norm, z / norm) if norm > 0.0 else (0.0, 1.0)

    def heading_at(self, s: float, checkpoint: int | None = None) -> float:
        """Return the heading of the centre line at ``s``, on the path of ``checkpoint``."""
        x, z = self.direction_at(s, checkpoint)
        return math.atan2(x, z)

    def curvature_at(self, s: float, checkpoint: int | None = None) -> float:
        """Return 1 / radius at ``s``, positive in a left bend, on the path of ``checkpoint``."""
        line = self._line(checkpoint)
        low, high, share = line.locate(s)
        return line.curvature[low] * (1.0 - share) + line.curvature[high] * share

    def width_at(self, s: float, checkpoint: int | None = None) -> float:
        """Return the length of the checkpoint lines at ``s``, on the path of ``checkpoint``."""
        line = self._line(checkpoint)
        low, high, share = line.locate(s)
        return line.width[low] * (1.0 - share) + line.width[high] * share

    def _line(self, checkpoint: int | None) -> CentreLine:
        if checkpoint is None:
            return self._main_line
        return self._branch_lines.get(self._section_of[checkpoint], self._main_line)

    @cached_property
    def _main_line(self) -> CentreLine:
        knots = [self._from[index] for index in self.main]
        return smooth_line(
            knots,
            [self._x[index] for index in self.main],
            [self._z[index] for index in self.main],
            [self._widths[index] for index in self.main],
            period=self.length,
        )

    @cached_property
    def _branch_lines(self) -> dict[int, CentreLine]:
        """Centre lines of the sections off the main path, by section."""
        main = set(self.main)
        lines: dict[int, CentreLine] = {}
        for number, (first, size, _) in enumerate(self._sections):
            if first in main or size == 0:
                continue
            paths = list(range(first, first + size))
            s = [self._from[index] for index in paths]
            if self._previous[first]:
                before = self._previous[first][0]
                paths.insert(0, before)
                value = self._from[before]
                s.insert(0, value if value <= s[0] else value - self.length)
            after = self._next[first + size - 1][0]
            paths.append(after)
            s.append(self._to[first + size - 1])
            lines[number] = smooth_line(
                s,
                [self._x[index] for index in paths],
                [self._z[index] for index in paths],
                [self._widths[index] for index in paths],
                period=None,
            )
        return lines

    @cached_property
    def _heights(self) -> list[float]:
        """Height of the floor at each sample; of several floors, the nearest to the last one."""
        line = self._main_line
        if self._kcl is None:
            return [0.0] * len(line.x)
        starts = self._nkm.starts
        height = float(starts["position"][0][1]) / FX32_ONE if len(starts) else None
        found: list[float] = []
        for x, z in zip(line.x, line.z, strict=True):
            floors = self._kcl.heights_at(x, z)
            if len(floors):
                near = len(floors) - 1 if height is None else int(np.abs(floors - height).argmin())
                height = float(floors[near])
            found.append(math.nan if not len(floors) else float(height or 0.0))
        heights = np.array(found)
        known = np.flatnonzero(~np.isnan(heights))
        if not len(known):
            return [height or 0.0] * len(found)
        filled = np.interp(np.arange(len(found)), known, heights[known], period=len(found))
        return [float(value) for value in filled]

    def _followers(self) -> list[tuple[int, ...]]:
        firsts = [first for first, _, _ in self._sections]
        successors: list[tuple[int, ...]] = []
        ends = {first + size - 1: onward for first, size, onward in self._sections}
        for index in range(len(self.mid)):
            if self._section_of[index] == -1:
                successors.append((self.start,))
            elif index in ends:
                onward = tuple(dict.fromkeys(firsts[section] for section in ends[index]))
                successors.append(onward or (self.start,))
            else:
                successors.append((index + 1,))
        return successors

    def _facing(self) -> NDArray[np.float64]:
        """Return unit vectors across the lines; swap left and right if most face backwards."""
        # From right to left is (fz, -fx) for a line that faces (fx, fz).
        across = self.left - self.right
        forward = np.stack([-across[:, 1], across[:, 0]], axis=1)
        along = np.array(
            [
                self.mid[self._next[index][0]]
                - self.mid[self._previous[index][0] if self._previous[index] else index]
                for index in range(len(self.mid))
            ]
        )
        if np.sign((forward * along).sum(axis=1)).sum() < 0:
            _log.warning("most checkpoints face backwards: left and right are swapped")
            self.left, self.right = self.right, self.left
            forward = -forward
        # A checkpoint without width faces along its neighbours.
        flat = (forward == 0).all(axis=1)
        forward[flat] = along[flat]
        norm = np.linalg.norm(forward, axis=1)
        forward[norm == 0] = (0.0, 1.0)
        norm[norm == 0] = 1.0
        facing: NDArray[np.float64] = forward / norm[:, None]
        return facing

    def _measure(self) -> tuple[list[float], list[float], float, list[int]]:
        """Return progress at each line and before the next line, lap length, and main path.

        Checkpoints that follow the same checkpoint form a junction and have the same progress.
        The main path determines its junctions. Then every path between two known junctions spreads
        its checkpoints evenly, until all reachable junctions are known.
        """
        count = len(self.mid)
        junction = _merge(count, self._next)
        lengths = [
            sum(math.dist(self.mid[index], self.mid[other]) for other in following) / len(following)
            for index, following in enumerate(self._next)
        ]
        home = junction[self.start]
        main: list[int] = []
        values: dict[int, float] = {}
        place, index = 0.0, self.start
        while junction[index] not in values:
            values[junction[index]] = place
            main.append(index)
            place += math.dist(self.mid[index], self.mid[self._next[index][0]])
            index = self._next[index][0]
        if junction[index] != home:
            _log.warning("the main path does not lead back to the start line")
            place += math.dist(self.mid[index], self.mid[self.start])
        length = max(place, 1.0)

        members: dict[int, list[int]] = {}
        for index, name in enumerate(junction):
            members.setdefault(name, []).append(index)
        pending = deque(values)
        while pending:
            name = pending.popleft()
            path = self._unmeasured_path(name, members, junction, values)
            if not path:
                continue
            pending.append(name)  # more paths may start here
            begin = values[name]
            goal = junction[self._next[path[-1]][0]]
            end = length if goal == home else values.get(goal, begin)
            whole = sum(lengths[index] for index in path) or 1.0
            place = 0.0
            for index in path[:-1]:
                place += lengths[index]
                name = junction[self._next[index][0]]
                values[name] = begin + max(end - begin, 0.0) * place / whole
                pending.append(name)

        on_main = self.mid[main]
        for index, name in enumerate(junction):
            if name not in values:  # unreachable: use the nearest checkpoint of the main path
                apart = ((on_main - self.mid[index]) ** 2).sum(axis=1)
                values[name] = values[junction[main[int(apart.argmin())]]]

        starts: list[float] = []
        ends: list[float] = []
        for index, name in enumerate(junction):
            goal = junction[self._next[index][0]]
            end = length if goal == home else values[goal]
            starts.append(values[name])
            ends.append(max(values[name], end) if self._section_of[index] != -1 else values[name])
        return starts, ends, length, main

    def _unmeasured_path(
        self,
        name: int,
        members: dict[int, list[int]],
        junction: list[int],
        values: dict[int, float],
    ) -> list[int]:
        """Return the checkpoints between two known junctions, with an unknown one between them."""
        came: dict[
            int, tuple[int, int]
        ] = {}  # junction: the checkpoint it was reached from, its own
        queue: deque[int] = deque([name])
        dead_end = -1
        while queue:
            here = queue.popleft()
            for index in members[here]:
                goal = junction[self._next[index][0]]
                if goal in values:
                    if here == name:
                        continue
                    path = [index]
                    while here != name:
                        index_before, here = came[here]
                        path.append(index_before)
                    return path[::-1]
                if goal not in came:
                    came[goal] = (index, here)
                    queue.append(goal)
                    dead_end = goal
        if dead_end < 0:
            return []
        path = [members[dead_end][0]]
        here = dead_end
        while here != name:
            index_before, here = came[here]
            path.append(index_before)
        return path[::-1]


def _sections(nkm: NKM) -> list[tuple[int, int, list[int]]]:
    """Return first checkpoint, number of checkpoints and next sections of every section."""
    count = len(nkm.checkpoints)
    paths = nkm.checkpoint_paths
    if not len(paths):
        return [(0, count, [0])]
    sections = []
    for number, path in enumerate(paths):
        first, size = int(path["start"]), int(path["length"])
        if size == 0:
            raise CourseFormatError(f"checkpoint section {number} has no checkpoints")
        if first + size > count:
            raise CourseFormatError(
                f"checkpoint section {number} has checkpoints {first} to {first + size - 1}: "
                f"the course has {count}"
            )
        onward = [int(value) for value in path["next"] if value != NO_SECTION]
        for value in onward:
            if value >= len(paths):
                raise CourseFormatError(
                    f"checkpoint section {number} leads to section {value} of only {len(paths)}"
                )
        sections.append((first, size, onward))
    return sections


def _inverse(successors: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    before: list[list[int]] = [[] for _ in successors]
    for index, onward in enumerate(successors):
        for other in onward:
            before[other].append(index)
    return [tuple(entry) for entry in before]


def _merge(count: int, successors: Sequence[tuple[int, ...]]) -> list[int]:
    """Return the junction of each checkpoint: equal for all that follow one checkpoint."""
    parent = list(range(count))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for onward in successors:
        for other in onward[1:]:
            parent[root(other)] = root(onward[0])
    return [root(index) for index in range(count)]
