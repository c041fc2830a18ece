"""`PurePursuit`, the scripted driver: it follows the course's centre line."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from mkds_gym.course import Course, Track
from mkds_gym.emulator.console import Keys
from mkds_gym.race.names import OFFROAD_SURFACES
from mkds_gym.race.state import RaceState

_A: Final = int(Keys.A)
_B: Final = int(Keys.B)
_LEFT: Final = int(Keys.LEFT)
_RIGHT: Final = int(Keys.RIGHT)
_L: Final = int(Keys.L)
_R: Final = int(Keys.R)

_SLIPPERY: Final = (1, 6)  # indices of memory.SURFACES
_NO_DRIFT: Final = OFFROAD_SURFACES | set(_SLIPPERY)

_T = TypeVar("_T")

_STEP: Final = 8.0
"""World units between two entries of a speed profile."""


class Driver(Protocol):
    """What drives: anything with these two methods."""

    def reset(self) -> None:
        """Forget the race before; called when another one starts."""

    def keys(self, state: RaceState, course: Course) -> int:
        """The keys to hold in the next frame (or frames), a mask of `Keys`."""


@dataclass
class _Plan:
    """What a driver knows of a course before it drives.

    Attributes:
        speeds: how fast to be along each section's centre line, every `_STEP` units of progress
            from ``first``; world units per frame.
        bends: likewise, 1 where a drift to the left pays, -1 to the right, else 0.
        first: progress of a section's first entry.
        ends: progress at which each checkpoint's stretch ends; more than the lap's length when
            that is behind the start line.
        follows: the checkpoint after each, on the main way where the course forks.
    """

    track: Track
    speeds: list[list[float]] = field(default_factory=list)
    bends: list[list[int]] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    follows: list[int] = field(default_factory=list)


class PurePursuit:
    """Drives after a point on the centre line ahead.

    The further ahead the faster the kart; and never faster than the bends allow that come within
    the way it takes to brake. Long bends it drifts through, with left and right in turns, which
    charges the boost behind them. What it knows of karts are the few numbers here, so that it
    drives on any cartridge. It keeps what it has seen in the frames before: one object drives one
    kart, and `reset` starts anew.

    Args:
        pace: share of the speed that the bends are reckoned to allow; less is slower, and surer.
        drifts: whether to drift. Where R does nothing it stops trying.
        items: whether to use what it has, on straight stretches.
    """

    TURN_RATE: Final = 0.0275
    """Radians a frame that a kart turns with the wheel full over, at speed."""
    DRIFT_RATE: Final = 0.042
    """The same, drifting, ..."""
    DRIFT_LOSS: Final = 0.085
    """... less this share of it for each world unit per frame."""
    DRIFT_CURVATURE: Final = 1 / 330
    """1 / radius, world units, from which on a drift pays ..."""
    DRIFT_TURN: Final = 0.7
    """... if the bend turns the way by so many radians."""
    SLIPPERY_PACE: Final = 0.83
    """Share of a bend's speed that ice allows."""
    TAP_FRAMES: Final = 6
    """Frames for which a side is held in a drift, at least, for the boost."""
    ITEM_FRAMES: Final = 60
    """Frames between two uses of an item."""
    BRAKING: Final = 0.07
    """World units per frame that a kart gets slower in each frame of braking, to be sure of."""
    TOP_SPEED: Final = 12.0
    """World units per frame that no kart reaches."""

    def __init__(self, pace: float = 1.0, *, drifts: bool = True, items: bool = True) -> None:
        if not 0.1 <= pace <= 3.0:
            raise ValueError(f"pace={pace!r}; allowed: 0.1 to 3")
        self.pace = pace
        self.drifts = drifts
        self.items = items
        self._plan: _Plan | None = None
        self.reset()

    def reset(self) -> None:
        """Forget the race before."""
        self._heading = 0.0
        self._frame = -1
        self._passed = 1  # frames from the last look to this
        self._turning = 0.0
        self._slow = 0
        self._reverse = 0
        self._reversed = 0
        self._way = 0.0
        self._way_turning = 0.0
        self._drift = 0  # the side of the drift that is on, or tried
        self._drift_frames = 0
        self._tap = 0
        self._tap_frames = 0
        self._failed = 0
        self._rest = 0
        self._item_rest = self.ITEM_FRAMES

    def keys(self, state: RaceState, course: Course) -> int:
        """The keys for the next frame; some 20 microseconds.

        Args:
            state: the race now.
            course: the course it is on.

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
        self._see_turning(state, heading)
        if state.respawning or not state.controllable:
            self._slow = self._reverse = self._drift = 0
            return 0  # the wheels spin for who holds the throttle all the countdown

        place = track.project(x, z, checkpoint)
        ahead = 34.0 + 13.0 * abs(speed) + 0.6 * abs(place.lateral)
        s, at = self._forward(plan, place.s + ahead, checkpoint)
        tx, _, tz = track.point_at(s, at)
        bearing = _turn(math.atan2(tx - x, tz - z) - heading)

        if self._stuck(state, speed):
            # Back off, with the nose towards where the road goes.
            self._drift = 0
            return _B | (_RIGHT if bearing > 0 else _LEFT)

        distance = math.hypot(tx - x, tz - z)
        keys = self._drifting(state, plan, place.s, checkpoint, (tx - x, tz - z), distance)
        if keys:
            return keys
        wanted = 2.0 * max(speed, 1.0) * math.sin(max(-1.57, min(bearing, 1.57))) / distance
        steer = 0
        if abs(bearing) > 1.2:
            steer = _LEFT if bearing > 0 else _RIGHT
        elif state.on_floor or abs(bearing) > 0.1:
            difference = wanted - self._turning
            if difference > 0.004:
                steer = _LEFT
            elif difference < -0.004:
                steer = _RIGHT

        allowed = self._allowed(plan, place.s + 6.0 * max(speed, 0.0), checkpoint)
        if state.boosting:  # which may be quicker than the end of the bend
            allowed = min(allowed, self._allowed(plan, place.s, checkpoint))
        if state.surface in _SLIPPERY:
            allowed *= self.SLIPPERY_PACE
        if abs(bearing) > 1.0:
            allowed = min(allowed, 1.6)
        # A boost pushes without the throttle too.
        if speed > allowed + (0.05 if state.boosting else 0.25) and state.on_floor:
            return steer | _B
        if speed > allowed + 0.05 and state.on_floor:
            return steer
        beyond = self._allowed(plan, place.s + 60.0 * max(speed, 0.0), checkpoint)
        if self._item_pays(state, bearing, allowed, beyond):
            return steer | _A | _L
        return steer | _A

    def _item_pays(self, state: RaceState, bearing: float, allowed: float, beyond: float) -> bool:
        """Whether to use an item now, if there is one: a boost must find a straight road."""
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
        """The keys of a drift, or of the hop before it; 0 where there is nothing to drift."""
        self._rest = max(self._rest - self._passed, 0)
        side = self._drift
        speed = math.hypot(state.velocity[0], state.velocity[2])
        inwards, outwards = (_LEFT, _RIGHT) if side > 0 else (_RIGHT, _LEFT)
        # The way, and not the nose, is what has to go to the target.
        bearing = _turn(math.atan2(*target) - self._way)
        wanted = 2.0 * speed * math.sin(max(-1.57, min(bearing, 1.57))) / distance
        if not side:
            bend = self._bend(plan, s + 11.0 * speed, checkpoint)
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
                or speed > self._allowed(plan, s + 14.0 * speed, checkpoint) + 0.3
            ):
                return 0
            self._drift, self._drift_frames = bend, 0
            self._tap, self._tap_frames = 1, 0
            # The hop: nothing is steered yet.
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
        over = self._bend(plan, s + 4.0 * speed, checkpoint) != side
        if (over and side * wanted < 0.012) or side * wanted < -0.004:
            self._drift, self._rest = 0, 20
            return _A
        self._tap_frames += self._passed
        if self._tap_frames > self.TAP_FRAMES:
            tap = 1 if side * (wanted - self._way_turning) > 0 else -1
            if tap != self._tap:
                self._tap, self._tap_frames = tap, 1
        allowed = self._allowed(plan, s + 6.0 * speed, checkpoint)
        if state.boosting:
            allowed = min(allowed, self._allowed(plan, s, checkpoint))
        pedal = _B if speed > allowed + 0.5 else 0 if speed > allowed + 0.1 else _A
        return pedal | _R | (inwards if self._tap > 0 else outwards)

    @classmethod
    def _bend(cls, plan: _Plan, s: float, checkpoint: int) -> int:
        """Which drift pays there."""
        return cls._entry(plan, plan.bends, s, checkpoint)

    # Within -----------------------------------------------------------------------------

    def _see_turning(self, state: RaceState, heading: float) -> None:
        """How fast the kart turns, radians a frame: from the last look to this."""
        passed = state.frame - self._frame
        self._passed = passed if 0 < passed <= 60 else 1
        if 0 < passed <= 60:
            self._turning = _turn(heading - self._heading) / passed
        elif passed:
            self._turning = 0.0
        vx, _, vz = state.velocity
        way = math.atan2(vx, vz) if vx * vx + vz * vz > 0.25 else heading
        self._way_turning = _turn(way - self._way) / passed if 0 < passed <= 60 else 0.0
        self._way = way
        self._heading, self._frame = heading, state.frame

    def _stuck(self, state: RaceState, speed: float) -> bool:
        """Whether to go backwards now."""
        if self._reverse:
            self._reverse = max(self._reverse - self._passed, 0)
            if self._reverse == 0:
                self._slow = 0
            return self._reverse > 0
        if abs(speed) < 0.5 and state.on_floor:
            self._slow += self._passed
        elif speed > 1.0:
            self._slow = 0
            if speed > 2.5:
                self._reversed = 0
        if self._slow > 45:
            # Longer each time that it was not enough.
            self._reversed = min(self._reversed + 1, 4)
            self._reverse = 25 + 20 * self._reversed
            self._slow = 0
            return True
        return False

    @staticmethod
    def _forward(plan: _Plan, s: float, checkpoint: int) -> tuple[float, int]:
        """Progress within the lap, and the checkpoint, that a point further on belongs to."""
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
        """How fast to be there."""
        return cls._entry(plan, plan.speeds, s, checkpoint)

    @classmethod
    def _entry(cls, plan: _Plan, rows: list[list[_T]], s: float, checkpoint: int) -> _T:
        """The entry of a profile that is for that place."""
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
        whole = self._profile(track, 0.0, track.length, None)
        sections = max((track.section(index) for index in range(len(track))), default=0) + 1
        rows: list[tuple[float, tuple[list[float], list[int]]]] = []
        for section in range(sections):
            members = [index for index in range(len(track)) if track.section(index) == section]
            if section in main or not members:
                rows.append((0.0, whole))
                continue
            begin, end = track.start_of(members[0]), plan.ends[members[-1]]
            rows.append((begin, self._profile(track, begin, end, members[0], whole[0])))
        if any(track.section(index) < 0 for index in range(len(track))):
            rows.append((0.0, whole))  # found as the last one, by -1
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
        """How fast to be along a stretch, to be able to brake in time; and where to drift."""
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
        # Backwards, twice: what a closed line ends with depends on how it begins.
        for _ in range(2 if then is None else 1):
            for index in range(count - 1, -1, -1):
                after = min(speeds[index], math.sqrt(after * after + 2.0 * self.BRAKING * _STEP))
                speeds[index] = after
        return speeds, bends

    def _bends(self, curvature: list[float]) -> list[int]:
        """Where a drift pays: 1 to the left, -1 to the right, 0 nowhere."""
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
    """An angle as a turn of at most half a circle."""
    return math.remainder(angle, math.tau)
