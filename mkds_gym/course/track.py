"""The way round a course: checkpoints, branches, progress and the centre line.

All coordinates are world units, angles radians. Seen from above in the right-handed world (y
up), the direction to the left of ``(fx, fz)`` is ``(fz, -fx)``; a heading is
``atan2(fx, fz)``, so that it grows when turning left.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mkds_gym.course.kcl import FX_ONE, KCL
from mkds_gym.course.nkm import NKM, NO_SECTION
from mkds_gym.errors import CourseFormatError

if TYPE_CHECKING:
    from mkds_gym.race.state import RaceState

_log = logging.getLogger(__name__)

_SPACING = 8.0
"""World units between the samples of the centre line (a kart's length, about)."""
_FEWEST_SAMPLES = 16
_MOST_SAMPLES = 4096
_SMOOTHING = 3
"""Curvature is averaged, twice, over this many samples to either side."""


class Projection(NamedTuple):
    """A point seen from the track.

    Attributes:
        s: progress, world units behind the start line.
        lateral: distance from the centre line, world units, positive to its left.
        heading: heading of the centre line there, radians, positive towards the left.
    """

    s: float
    lateral: float
    heading: float


@dataclass(frozen=True)
class _Line:
    """Samples of a smooth line, even in progress; `periodic` ones begin again at the end."""

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
        """The samples before and after `s`, and how far between them it is, 0 to 1."""
        place = (s - self.first) / self.step
        count = len(self.x)
        if self.periodic:
            place %= count
            index = int(place)
            if index >= count:  # a float's remainder of a tiny negative number is `count`
                return 0, 1 % count, 0.0
            return index, (index + 1) % count, place - index
        if not place > 0.0:
            return 0, 0, 0.0
        if place >= count - 1:
            return count - 1, count - 1, 0.0
        index = int(place)
        return index, index + 1, place - index


class Track:
    """Checkpoints as a graph, and progress along it.

    Progress is in world units behind the start line (key checkpoint 0, or the first checkpoint of
    the first section where there is none), measured along the straight lines between the
    checkpoints' midpoints. `length` is that of the *main way*, which follows the first of the
    next sections at each fork; another way between the same two junctions is scaled to the
    main way's length there, so that progress runs on evenly where they part and join.

    A section without a next one leads back to the start line. If most checkpoint lines face
    backwards, left and right are taken to be swapped in the file.

    Args:
        nkm: the course map.
        kcl: the collision, for the heights of the centre line; without it they are 0.

    Attributes:
        left: (C, 2) float64, x and z of each checkpoint's left end when driving the right way.
        right: (C, 2) float64, right ends.
        mid: (C, 2) float64, midpoints.
        forward: (C, 2) float64, unit vectors across each line, in driving direction.
        length: of a lap of the main way.
        start: index of the checkpoint that is the start line.
        main: indices of the checkpoints on the main way, from the start line on.

    Raises:
        CourseFormatError: if there are no checkpoints, or the sections do not fit them.
    """

    def __init__(self, nkm: NKM, kcl: KCL | None = None) -> None:
        checkpoints = nkm.checkpoints
        count = len(checkpoints)
        if count == 0:
            raise CourseFormatError("the course has no checkpoints; is it a battle stage?")
        self._kcl = kcl
        self._nkm = nkm
        self.left = np.stack([checkpoints["x1"], checkpoints["z1"]], axis=1) / FX_ONE
        self.right = np.stack([checkpoints["x2"], checkpoints["z2"]], axis=1) / FX_ONE
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
        # A hair short of the length (and more than rounding adds), so that the lap's end is not yet
        # the next lap's start.
        last = self.length * (1.0 - 1e-12)
        self._from = [min(value, last) for value in self._from]
        self._to = [min(value, last) for value in self._to]
        # Nothing but a single next checkpoint needs no search: the common case, made fast.
        self._only_next = [ways[0] if len(ways) == 1 else -1 for ways in self._next]

    # ------------------------------------------------------------------ the graph

    def __len__(self) -> int:
        """Number of checkpoints."""
        return len(self._x)

    def next(self, checkpoint: int) -> tuple[int, ...]:
        """Checkpoints that may follow; more than one where the course forks."""
        return self._next[checkpoint]

    def previous(self, checkpoint: int) -> tuple[int, ...]:
        """Checkpoints that may come before; more than one where ways join."""
        return self._previous[checkpoint]

    def section(self, checkpoint: int) -> int:
        """Index of the checkpoint's section; -1 if it is in none."""
        return self._section_of[checkpoint]

    def is_key(self, checkpoint: int) -> bool:
        """Whether a lap only counts after this checkpoint has been passed."""
        return self._keys[checkpoint] >= 0

    def key(self, checkpoint: int) -> int:
        """Key number; 0 is the start line, -1 no key."""
        return self._keys[checkpoint]

    def start_of(self, checkpoint: int) -> float:
        """Progress at the checkpoint's line."""
        return self._from[checkpoint]

    # ------------------------------------------------------------------ where a kart is

    def progress(self, checkpoint: int, x: float, z: float) -> float:
        """World units driven since the start line, within the lap.

        Between two lines it grows as the share of the distance to the line behind in the
        distances to both, so it meets the next checkpoint's value exactly at its line.
        Behind the own line it stays at that line's value, past the next at that one's: the game
        will name another checkpoint.

        Args:
            checkpoint: the current checkpoint, the last whose line has been passed.
            x: world units, as z.
            z: world units.

        Returns:
            Progress in [0, length).

        Raises:
            ValueError: if there is no such checkpoint.
        """
        if checkpoint < 0:
            raise ValueError(f"no checkpoint {checkpoint}; the course has {len(self._x)}")
        try:
            behind = (x - self._x[checkpoint]) * self._forward_x[checkpoint] + (
                z - self._z[checkpoint]
            ) * self._forward_z[checkpoint]
            other = self._only_next[checkpoint]
        except IndexError:
            raise ValueError(f"no checkpoint {checkpoint}; the course has {len(self._x)}") from None
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
        return self._beside(checkpoint, other, x, z)

    def _nearest_next(self, checkpoint: int, x: float, z: float) -> tuple[int, float]:
        """At a fork: the next line that is nearest, and how far it is ahead."""
        best, nearest = checkpoint, math.inf
        for other in self._next[checkpoint]:
            distance = self.distance_to(other, x, z)
            if distance < nearest:
                best, nearest = other, distance
        ahead = (self._x[best] - x) * self._forward_x[best] + (self._z[best] - z) * self._forward_z[
            best
        ]
        # The true distance is the same from both sides where two next lines are equally near.
        return best, nearest if ahead > 0.0 else ahead

    def _beside(self, checkpoint: int, other: int, x: float, z: float) -> float:
        """Progress far to the side, beyond where the lines of two checkpoints cross."""
        begin_x, begin_z = self._x[checkpoint], self._z[checkpoint]
        span_x, span_z = self._x[other] - begin_x, self._z[other] - begin_z
        squared = span_x * span_x + span_z * span_z
        begin = self._from[checkpoint]
        if squared == 0.0:
            return begin
        share = ((x - begin_x) * span_x + (z - begin_z) * span_z) / squared
        return begin + (self._to[checkpoint] - begin) * min(max(share, 0.0), 1.0)

    def laps(self, state: RaceState) -> float:
        """Laps driven since the start line was first crossed, with the share of this one.

        Negative before the start line; the number of laps, or a little more, once finished. Goes
        down again when the kart drives backwards, as the game's lap does. 0 while the game names
        no checkpoint of the course.
        """
        if not 0 <= state.checkpoint < len(self):
            return 0.0
        x, _, z = state.position
        share = self.progress(state.checkpoint, x, z) / self.length
        if state.finished:
            return state.lap + (share if share < 0.5 else 0.0)
        if state.lap == 0 and state.checkpoint == self.start and share == 0.0:
            return 0.0  # still behind the line, which the game may name from the beginning
        return state.lap - 1 + share

    def gap(self, start: float, end: float) -> float:
        """Progress from `start` to `end` the shorter way round, in [-length / 2, length / 2)."""
        half = self.length / 2
        return (end - start + half) % self.length - half

    def distance_to(self, checkpoint: int, x: float, z: float) -> float:
        """Distance in the xz plane to the segment between the checkpoint's two ends."""
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
        """Midpoint (x, z) of the checkpoint's line, as plain floats."""
        return self._x[checkpoint], self._z[checkpoint]

    def project(self, x: float, z: float, checkpoint: int) -> Projection:
        """Progress of a point, and how far beside the centre line it is.

        Args:
            x: world units.
            z: world units.
            checkpoint: the current checkpoint; on another way than the main one the offset is
                from the middle of that way.
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

    # ------------------------------------------------------------------ the centre line

    @cached_property
    def center_line(self) -> NDArray[np.float64]:
        """(K, 3) points of the main way's centre line, even in progress, the first at the start."""
        return np.column_stack([self._main_line.x, self._heights, self._main_line.z])

    def point_at(self, s: float, checkpoint: int | None = None) -> tuple[float, float, float]:
        """Point of the centre line.

        Args:
            s: progress; any number, the lap is cut off.
            checkpoint: one of the way meant; None is the main way. The height is always the
                main way's.
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
        """Direction (x, z) of the centre line, a unit vector; arguments as `point_at`."""
        line = self._line(checkpoint)
        low, high, share = line.locate(s)
        x = line.direction_x[low] * (1.0 - share) + line.direction_x[high] * share
        z = line.direction_z[low] * (1.0 - share) + line.direction_z[high] * share
        norm = math.hypot(x, z)
        return (x / norm, z / norm) if norm > 0.0 else (0.0, 1.0)

    def heading_at(self, s: float, checkpoint: int | None = None) -> float:
        """Heading of the centre line, ``atan2(x, z)`` of its direction; as `point_at`."""
        x, z = self.direction_at(s, checkpoint)
        return math.atan2(x, z)

    def curvature_at(self, s: float, checkpoint: int | None = None) -> float:
        """Curvature of the centre line, 1 / radius in world units, positive in a left bend."""
        line = self._line(checkpoint)
        low, high, share = line.locate(s)
        return line.curvature[low] * (1.0 - share) + line.curvature[high] * share

    def width_at(self, s: float, checkpoint: int | None = None) -> float:
        """Length of the checkpoint lines there, world units; at least the road's width."""
        line = self._line(checkpoint)
        low, high, share = line.locate(s)
        return line.width[low] * (1.0 - share) + line.width[high] * share

    def _line(self, checkpoint: int | None) -> _Line:
        if checkpoint is None:
            return self._main_line
        return self._branch_lines.get(self._section_of[checkpoint], self._main_line)

    @cached_property
    def _main_line(self) -> _Line:
        knots = [self._from[index] for index in self.main]
        return _smooth(
            knots,
            [self._x[index] for index in self.main],
            [self._z[index] for index in self.main],
            [self._widths[index] for index in self.main],
            period=self.length,
        )

    @cached_property
    def _branch_lines(self) -> dict[int, _Line]:
        """Lines of the sections that the main way does not take, by section."""
        main = set(self.main)
        lines: dict[int, _Line] = {}
        for number, (first, size, _) in enumerate(self._sections):
            if first in main or size == 0:
                continue
            ways = list(range(first, first + size))
            s = [self._from[index] for index in ways]
            if self._previous[first]:
                before = self._previous[first][0]
                ways.insert(0, before)
                value = self._from[before]
                s.insert(0, value if value <= s[0] else value - self.length)
            after = self._next[first + size - 1][0]
            ways.append(after)
            s.append(self._to[first + size - 1])
            lines[number] = _smooth(
                s,
                [self._x[index] for index in ways],
                [self._z[index] for index in ways],
                [self._widths[index] for index in ways],
                period=None,
            )
        return lines

    @cached_property
    def _heights(self) -> list[float]:
        """Floor under each sample of the main line: of several, the one nearest to the last."""
        line = self._main_line
        if self._kcl is None:
            return [0.0] * len(line.x)
        starts = self._nkm.starts
        height = float(starts["position"][0][1]) / FX_ONE if len(starts) else None
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

    # ------------------------------------------------------------------ construction

    def _followers(self) -> list[tuple[int, ...]]:
        firsts = [first for first, _, _ in self._sections]
        ways: list[tuple[int, ...]] = []
        ends = {first + size - 1: onward for first, size, onward in self._sections}
        for index in range(len(self.mid)):
            if self._section_of[index] == -1:
                ways.append((self.start,))
            elif index in ends:
                onward = tuple(dict.fromkeys(firsts[section] for section in ends[index]))
                ways.append(onward or (self.start,))
            else:
                ways.append((index + 1,))
        return ways

    def _facing(self) -> NDArray[np.float64]:
        """Unit vectors across the lines. Turns left and right round if the file has them so."""
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
            _log.warning("most checkpoints face backwards; taking left and right as swapped")
            self.left, self.right = self.right, self.left
            forward = -forward
        # A checkpoint without width faces where its neighbours lead.
        flat = (forward == 0).all(axis=1)
        forward[flat] = along[flat]
        norm = np.linalg.norm(forward, axis=1)
        forward[norm == 0] = (0.0, 1.0)
        norm[norm == 0] = 1.0
        facing: NDArray[np.float64] = forward / norm[:, None]
        return facing

    def _measure(self) -> tuple[list[float], list[float], float, list[int]]:
        """Progress at each checkpoint's line and at the end of its stretch, and the lap's length.

        Checkpoints that follow the same one must begin at the same progress: they are one
        junction. The main way fixes the junctions on it; what is between two fixed ones is
        then spread evenly, way by way, until all that can be reached is fixed.
        """
        count = len(self.mid)
        junction = _merge(count, self._next)
        lengths = [
            sum(math.dist(self.mid[index], self.mid[other]) for other in ways) / len(ways)
            for index, ways in enumerate(self._next)
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
            _log.warning("the first way round does not lead back to the start line")
            place += math.dist(self.mid[index], self.mid[self.start])
        length = max(place, 1.0)

        members: dict[int, list[int]] = {}
        for index, name in enumerate(junction):
            members.setdefault(name, []).append(index)
        pending = deque(values)
        while pending:
            name = pending.popleft()
            way = self._unmeasured_way(name, members, junction, values)
            if not way:
                continue
            pending.append(name)  # there may be more ways from here
            begin = values[name]
            goal = junction[self._next[way[-1]][0]]
            end = length if goal == home else values.get(goal, begin)
            whole = sum(lengths[index] for index in way) or 1.0
            place = 0.0
            for index in way[:-1]:
                place += lengths[index]
                name = junction[self._next[index][0]]
                values[name] = begin + max(end - begin, 0.0) * place / whole
                pending.append(name)

        on_main = self.mid[main]
        for index, name in enumerate(junction):
            if name not in values:  # cannot be reached: as the nearest checkpoint of the main way
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

    def _unmeasured_way(
        self,
        name: int,
        members: dict[int, list[int]],
        junction: list[int],
        values: dict[int, float],
    ) -> list[int]:
        """Checkpoints from one fixed junction to the next, by way of one at least that is not."""
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
                    way = [index]
                    while here != name:
                        index_before, here = came[here]
                        way.append(index_before)
                    return way[::-1]
                if goal not in came:
                    came[goal] = (index, here)
                    queue.append(goal)
                    dead_end = goal
        if dead_end < 0:
            return []
        way = [members[dead_end][0]]
        here = dead_end
        while here != name:
            index_before, here = came[here]
            way.append(index_before)
        return way[::-1]


def _sections(nkm: NKM) -> list[tuple[int, int, list[int]]]:
    """First checkpoint, number of checkpoints, and next sections of every section."""
    count = len(nkm.checkpoints)
    paths = nkm.checkpoint_paths
    if not len(paths):
        return [(0, count, [0])]
    sections = []
    for number, path in enumerate(paths):
        first, size = int(path["start"]), int(path["length"])
        if size == 0 or first + size > count:
            raise CourseFormatError(
                f"checkpoint section {number} holds the checkpoints {first} to {first + size - 1}; "
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


def _inverse(ways: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    before: list[list[int]] = [[] for _ in ways]
    for index, onward in enumerate(ways):
        for other in onward:
            before[other].append(index)
    return [tuple(entry) for entry in before]


def _merge(count: int, ways: Sequence[tuple[int, ...]]) -> list[int]:
    """Name of each checkpoint's junction: the same for all that follow one checkpoint."""
    parent = list(range(count))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for onward in ways:
        for other in onward[1:]:
            parent[root(other)] = root(onward[0])
    return [root(index) for index in range(count)]


def _smooth(
    s: Sequence[float],
    x: Sequence[float],
    z: Sequence[float],
    width: Sequence[float],
    *,
    period: float | None,
) -> _Line:
    """Cubic spline through points over progress, sampled evenly; closed with a period."""
    knots: list[float] = []
    kept: list[int] = []
    for index, place in enumerate(s):
        # Two checkpoints on one spot, or none ahead, would ask for an endless slope.
        if (not knots or place > knots[-1] + 1e-3) and (
            period is None or place < s[0] + period - 1e-3 or not knots
        ):
            knots.append(place)
            kept.append(index)
    span = period if period is not None else knots[-1] - knots[0]
    samples = min(max(math.ceil(span / _SPACING), _FEWEST_SAMPLES), _MOST_SAMPLES)
    step = max(span, 1e-3) / (samples if period is not None else samples - 1)
    at: NDArray[np.float64] = knots[0] + step * np.arange(samples, dtype=np.float64)
    points = np.array([[x[index], z[index], width[index]] for index in kept])
    ends = np.array(knots)
    if period is not None:
        ends = np.append(ends, ends[0] + period)
        points = np.vstack([points, points[:1]])
    where, slope, bend = _spline(ends, points[:, :2], at, closed=period is not None)
    norm = np.hypot(slope[:, 0], slope[:, 1])
    safe = np.where(norm > 1e-9, norm, 1.0)
    direction = np.where(norm[:, None] > 1e-9, slope / safe[:, None], [0.0, 1.0])
    # d(heading)/d(arc): heading is atan2(x, z), so a left bend is positive.
    curvature = (bend[:, 0] * slope[:, 1] - bend[:, 1] * slope[:, 0]) / safe**3
    curvature[norm <= 1e-9] = 0.0
    for _ in range(2):
        padded = np.pad(curvature, _SMOOTHING, mode="wrap" if period is not None else "edge")
        curvature = np.convolve(
            padded, np.full(2 * _SMOOTHING + 1, 1 / (2 * _SMOOTHING + 1)), "valid"
        )
    return _Line(
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
    """Cubic spline through `points` at `knots`: values, first and second derivatives at `at`.

    Closed: the last point repeats the first, and slopes and bends agree there. Open: no bend at
    the ends.
    """
    gaps = np.diff(knots)
    count = len(gaps)
    if count == 0 or (closed and count < 3):
        # Too few points for a smooth loop: straight from one to the next.
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
    """Second derivatives of the spline at all knots, (len(gaps) + 1, 2)."""
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
    # A ring is a row with one more link: Sherman and Morrison's formula takes the link out.
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
    """Solve a system with three diagonals (lower[0] and upper[-1] are not used)."""
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
