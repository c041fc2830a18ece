"""`PurePursuit`, the scripted driver: it follows the course's centre line."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from mkds_gym.course import Course, Track
from mkds_gym.emulator.console import Keys
from mkds_gym.race.lengths import (
    CENTRE_LINE_SPACING,
    CRAWL_SPEED,
    DRIFT_RADIUS,
    PURSUIT_BRAKING,
    PURSUIT_DISTANCE,
    PURSUIT_TOP_SPEED,
    U_TURN_SPEED,
)
from mkds_gym.race.names import OFFROAD_SURFACES
from mkds_gym.race.state import RaceState
from mkds_gym.utils.arguments import number

_A: Final = int(Keys.A)
_B: Final = int(Keys.B)
_LEFT: Final = int(Keys.LEFT)
_RIGHT: Final = int(Keys.RIGHT)
_L: Final = int(Keys.L)
_R: Final = int(Keys.R)

_SLIPPERY: Final = (1, 6)  # indices of memory.SURFACES
_NO_DRIFT: Final = OFFROAD_SURFACES | set(_SLIPPERY)

_T = TypeVar("_T")

_STEP: Final = CENTRE_LINE_SPACING
"""World units between two entries of a speed profile."""


class Driver(Protocol):
    """A driver."""

    def reset(self) -> None:
        """Forget the previous race. Called when a race starts."""

    def keys(self, state: RaceState, course: Course) -> int:
        """Return the keys for the next frame (or frames), a mask of `Keys`."""


@dataclass
class _Plan:
    """Speed profiles of a course, computed once.

    Attributes:
        speeds: target speed along the centre line of each section, every
            `_STEP` of progress from ``first``; world units per frame.
        bends: at the same places, 1 where a drift to the left pays, -1 for the right, else 0.
        first: progress at the first entry of each section.
        ends: progress at the end of each checkpoint's stretch; more than the lap's length if the
            end is behind the start line.
        follows: the checkpoint after each checkpoint; at a fork, the one on the main path.
    """

    track: Track
    speeds: list[list[float]] = field(default_factory=list)
    bends: list[list[int]] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    follows: list[int] = field(default_factory=list)


class PurePursuit:
    """Steers for a point on the centre line ahead (pure pursuit).

    The faster the kart, the further ahead the point. The driver brakes in time for bends, and
    drifts through long bends while alternating left and right, which charges a mini-turbo. The
    constants below are all it knows of karts, so it drives on any cartridge. A driver remembers
    earlier frames: use one object per kart and `reset` it for a new race.

    Args:
        pace: factor of the speed that bends are assumed to allow, 0.1 to 3; less is slower and
            safer.
        drifts: whether to drift. The driver gives up drifting if R has no effect.
        items: whether to use items, on straight stretches.

    Raises:
        ValueError: ``pace`` is out of range.
    """

    TURN_RATE: Final = 0.0205
    """Radians per frame that a kart turns at full lock."""
    DRIFT_RATE: Final = 0.034
    """Radians per frame that a kart turns in a drift at low speed."""
    DRIFT_LOSS: Final = 0.052
    """Share by which `DRIFT_RATE` falls per world unit per frame of speed."""
    DRIFT_CURVATURE: Final = 1 / DRIFT_RADIUS
    """Smallest curvature (1 / world units) at which a drift pays."""
    DRIFT_TURN: Final = 0.7
    """Smallest angle of a bend, in radians, at which a drift pays."""
    SLIPPERY_PACE: Final = 0.83
    """Share of the target speed on slippery ground."""
    TAP_FRAMES: Final = 6
    """Smallest number of frames for which a side is held in a drift."""
    ITEM_FRAMES: Final = 60
    """Smallest number of frames between two uses of an item."""
    BRAKING: Final = PURSUIT_BRAKING
    """Deceleration that braking certainly reaches, world units per frame squared."""
    TOP_SPEED: Final = PURSUIT_TOP_SPEED
    """Upper limit of target speeds, world units per frame."""

    def __init__(self, pace: float = 1.0, *, drifts: bool = True, items: bool = True) -> None:
        self.pace = number("pace", pace, 0.1, 3)
        self.drifts = drifts
        self.items = items
        self._plan: _Plan | None = None
        self.reset()

    def reset(self) -> None:
        """Forget the previous race."""
        self._heading = 0.0
        self._frame = -1
        self._passed = 1  # frames since the last call
        self._turning = 0.0
        self._slow = 0
        self._reverse = 0
        self._reversed = 0
        self._way = 0.0
        self._way_turning = 0.0
        self._drift = 0  # side of the current or attempted drift
        self._drift_frames = 0
        self._tap = 0
        self._tap_frames = 0
        self._failed = 0
        self._rest = 0
        self._item_rest = self.ITEM_FRAMES

    def keys(self, state: RaceState, course: Course) -> int:
        """Return the keys for the next frame.

        Args:
            state: the race now.
            course: the course of the race.

        Returns:
            A mask of `Keys`.
        """
        track = course.track
        plan = self._plan
        if plan is None or plan.track is not track:
            plan = self._plan = self._make_plan(track)
        checkpoint = state.checkpoint
        if not 0 <= checkpoint < len(track) or state.finished:
            return 0
        x, _, z = state.position
        heading, speed = state.heading, state.speed
        self._update_turning(state, heading)
        if state.respawning or not state.controllable:
            self._slow = self._reverse = self._drift = 0
            return 0  # throttle held through the countdown makes the wheels spin

        place = track.project(x, z, checkpoint)
        ahead = PURSUIT_DISTANCE + 18.0 * abs(speed) + 0.6 * abs(place.lateral)
        s, at = self._forward(plan, place.s + ahead, checkpoint)
        tx, _, tz = track.point_at(s, at)
        bearing = _turn(math.atan2(tx - x, tz - z) - heading)

        if self._stuck(state, speed):
            # Back off, turning towards the road ahead.
            self._drift = 0
            return _B | (_RIGHT if bearing > 0 else _LEFT)

        distance = math.hypot(tx - x, tz - z)
        keys = self._drifting(state, plan, place.s, checkpoint, (tx - x, tz - z), distance)
        if keys:
            return keys
        wanted = 2.0 * max(speed, CRAWL_SPEED) * math.sin(max(-1.57, min(bearing, 1.57))) / distance
        steer = 0
        if abs(bearing) > 1.2:
            steer = _LEFT if bearing > 0 else _RIGHT
        elif state.on_floor or abs(bearing) > 0.1:
            difference = wanted - self._turning
            if difference > 0.003:
                steer = _LEFT
            elif difference < -0.003:
                steer = _RIGHT

        allowed = self._allowed(plan, place.s + 9.0 * max(speed, 0.0), checkpoint)
        if state.boosting:  # the boost may end after the bend
            allowed = min(allowed, self._allowed(plan, place.s, checkpoint))
        if state.surface in _SLIPPERY:
            allowed *= self.SLIPPERY_PACE
        if abs(bearing) > 1.0:
            allowed = min(allowed, U_TURN_SPEED)
        # A boost accelerates without the throttle too.
        excess = CRAWL_SPEED / 20 if state.boosting else CRAWL_SPEED / 4
        if speed > allowed + excess and state.on_floor:
            return steer | _B
        if speed > allowed + CRAWL_SPEED / 20 and state.on_floor:
            return steer
        beyond = self._allowed(plan, place.s + 60.0 * max(speed, 0.0), checkpoint)
        if self._item_pays(state, bearing, allowed, beyond):
            return steer | _A | _L
        return steer | _A

    def _item_pays(self, state: RaceState, bearing: float, allowed: float, beyond: float) -> bool:
        """Whether to use an item now: a boost needs a straight road."""
        self._item_rest -= self._passed
        if (
            not self.items
            or self._item_rest > 0
            or state.boosting
            or not state.on_floor
            or abs(bearing) > 0.12
            or allowed < 1.4 * state.max_speed
            or beyond < 1.2 * state.max_speed
        ):
            return False
        self._item_rest = self.ITEM_FRAMES
        return True

    def _drifting(
        self,
        state: RaceState,
        plan: _Plan,
        s: float,
        checkpoint: int,
        target: tuple[float, float],
        distance: float,
    ) -> int:
        """Return the keys of a drift or of the hop before it; 0 without a drift."""
        self._rest = max(self._rest - self._passed, 0)
        side = self._drift
        speed = math.hypot(state.velocity[0], state.velocity[2])
        inwards, outwards = (_LEFT, _RIGHT) if side > 0 else (_RIGHT, _LEFT)
        # In a drift, the direction of motion counts, not the heading.
        bearing = _turn(math.atan2(*target) - self._way)
        wanted = 2.0 * speed * math.sin(max(-1.57, min(bearing, 1.57))) / distance
        if not side:
            bend = self._bend(plan, s + 16.0 * speed, checkpoint)
            if (
                not bend
                or self._rest
                or not self.drifts
                or self._failed > 3
                or not state.on_floor
                or state.drifting
                or state.touching_wall
                or state.surface in _NO_DRIFT
                or speed < 0.65 * max(state.max_speed, 1.0)
                or abs(bearing) > 0.7
                or bend * bearing < -0.1
                or speed > self._allowed(plan, s + 20.0 * speed, checkpoint) + 0.5
            ):
                return 0
            self._drift, self._drift_frames = bend, 0
            self._tap, self._tap_frames = 1, 0
            # The hop, without steering.
            return _A | _R
        self._drift_frames += self._passed
        if not state.drifting:
            if self._drift_frames < 26 and not (self._tap_frames and state.on_floor):
                return _A | _R | (inwards if self._drift_frames > 6 else 0)
            if self._tap_frames == 0:
                self._failed += 1
            self._drift, self._rest = 0, 30
            return 0
        self._failed = 0
        over = self._bend(plan, s + 6.0 * speed, checkpoint) != side
        if (over and side * wanted < 0.008) or side * wanted < -0.003:
            self._drift, self._rest = 0, 20
            return _A
        self._tap_frames += self._passed
        if self._tap_frames > self.TAP_FRAMES:
            tap = 1 if side * (wanted - self._way_turning) > 0 else -1
            if tap != self._tap:
                self._tap, self._tap_frames = tap, 1
        allowed = self._allowed(plan, s + 9.0 * speed, checkpoint)
        if state.boosting:
            allowed = min(allowed, self._allowed(plan, s, checkpoint))
        if speed > allowed + CRAWL_SPEED / 2:
            pedal = _B
        else:
            pedal = 0 if speed > allowed + CRAWL_SPEED / 10 else _A
        return pedal | _R | (inwards if self._tap > 0 else outwards)

    @classmethod
    def _bend(cls, plan: _Plan, s: float, checkpoint: int) -> int:
        """Return the value of `_Plan.bends` at a point."""
        return cls._entry(plan, plan.bends, s, checkpoint)

    def _update_turning(self, state: RaceState, heading: float) -> None:
        """Update the kart's turning rate, radians per frame since the last call."""
        passed = state.frame - self._frame
        self._passed = passed if 0 < passed <= 60 else 1
        if 0 < passed <= 60:
            self._turning = _turn(heading - self._heading) / passed
        elif passed:
            self._turning = 0.0
        vx, _, vz = state.velocity
        way = math.atan2(vx, vz) if vx * vx + vz * vz > 0.7 else heading
        self._way_turning = _turn(way - self._way) / passed if 0 < passed <= 60 else 0.0
        self._way = way
        self._heading, self._frame = heading, state.frame

    def _stuck(self, state: RaceState, speed: float) -> bool:
        """Whether to drive backward now."""
        if self._reverse:
            self._reverse = max(self._reverse - self._passed, 0)
            if self._reverse == 0:
                self._slow = 0
            return self._reverse > 0
        if abs(speed) < CRAWL_SPEED / 2 and state.on_floor:
            self._slow += self._passed
        elif speed > CRAWL_SPEED:
            self._slow = 0
            if speed > 2.5 * CRAWL_SPEED:
                self._reversed = 0
        if self._slow > 45:
            # Each attempt that fails makes the next one longer.
            self._reversed = min(self._reversed + 1, 4)
            self._reverse = 25 + 20 * self._reversed
            self._slow = 0
            return True
        return False

    @staticmethod
    def _forward(plan: _Plan, s: float, checkpoint: int) -> tuple[float, int]:
        """Return the progress within the lap and the checkpoint of a point further ahead."""
        track = plan.track
        for _ in range(len(plan.ends)):
            if s < plan.ends[checkpoint]:
                break
            following = plan.follows[checkpoint]
            if track.start_of(following) < track.start_of(checkpoint):
                s -= track.length
            checkpoint = following
        return s, checkpoint

    @classmethod
    def _allowed(cls, plan: _Plan, s: float, checkpoint: int) -> float:
        """Return the target speed at a point."""
        return cls._entry(plan, plan.speeds, s, checkpoint)

    @classmethod
    def _entry(cls, plan: _Plan, rows: list[list[_T]], s: float, checkpoint: int) -> _T:
        """Return the value of a profile at a point."""
        s, at = cls._forward(plan, s, checkpoint)
        section = plan.track.section(at)
        row = rows[section]
        index = int((s - plan.first[section]) / _STEP)
        return row[max(0, min(index, len(row) - 1))]

    def _make_plan(self, track: Track) -> _Plan:
        plan = _Plan(track)
        main = {track.section(index) for index in track.main}
        for index in range(len(track)):
            following = track.next(index)[0]
            end = track.start_of(following)
            plan.follows.append(following)
            plan.ends.append(end if end > track.start_of(index) else end + track.length)
        full_lap = self._profile(track, 0.0, track.length, None)
        sections = max((track.section(index) for index in range(len(track))), default=0) + 1
        rows: list[tuple[float, tuple[list[float], list[int]]]] = []
        for section in range(sections):
            members = [index for index in range(len(track)) if track.section(index) == section]
            if section in main or not members:
                rows.append((0.0, full_lap))
                continue
            begin, end = track.start_of(members[0]), plan.ends[members[-1]]
            rows.append((begin, self._profile(track, begin, end, members[0], full_lap[0])))
        if any(track.section(index) < 0 for index in range(len(track))):
            rows.append((0.0, full_lap))  # section -1 finds the last row
        plan.first = [first for first, _ in rows]
        plan.speeds = [speeds for _, (speeds, _) in rows]
        plan.bends = [bends for _, (_, bends) in rows]
        return plan

    def _profile(
        self,
        track: Track,
        begin: float,
        end: float,
        checkpoint: int | None,
        then: list[float] | None = None,
    ) -> tuple[list[float], list[int]]:
        """Return target speeds along a stretch that leave room to brake, and where drifts pay."""
        count = max(1, math.ceil((end - begin) / _STEP))
        curvature = [track.curvature_at(begin + i * _STEP, checkpoint) for i in range(count)]
        bends = self._bends(curvature) if self.drifts else [0] * count
        speeds = []
        for bend, drift in zip(curvature, bends, strict=True):
            if drift:
                rate = self.DRIFT_RATE * self.pace
                speed = rate / (abs(bend) + rate * self.DRIFT_LOSS)
            else:
                speed = self.TURN_RATE * self.pace / max(abs(bend), 1e-6)
            speeds.append(min(self.TOP_SPEED, speed))
        after = speeds[0]
        if then is not None:
            after = then[int(end / _STEP) % len(then)]
        # Backward, and twice for a closed line, whose end depends on its start.
        for _ in range(2 if then is None else 1):
            for index in range(count - 1, -1, -1):
                after = min(speeds[index], math.sqrt(after * after + 2.0 * self.BRAKING * _STEP))
                speeds[index] = after
        return speeds, bends

    def _bends(self, curvature: list[float]) -> list[int]:
        """Return where a drift pays: 1 to the left, -1 to the right, else 0."""
        found = [0] * len(curvature)
        start = 0
        while start < len(curvature):
            sign = 1 if curvature[start] > 0 else -1
            end = start
            while end < len(curvature) and sign * curvature[end] > self.DRIFT_CURVATURE:
                end += 1
            if sum(map(abs, curvature[start:end])) * _STEP > self.DRIFT_TURN:
                found[start:end] = [sign] * (end - start)
            start = max(end, start + 1)
        return found


def _turn(angle: float) -> float:
    """Wrap an angle to -pi to pi."""
    return math.remainder(angle, math.tau)
