"""`RaceStart`: where an episode starts, and `drive_to`, which finds starts along a course."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Final, NamedTuple

from mkds_gym.course import Course
from mkds_gym.drivers.pure_pursuit import PurePursuit
from mkds_gym.emulator.console import Console
from mkds_gym.emulator.states.snapshot import Difference, Snapshot
from mkds_gym.emulator.states.state_file import pack_state
from mkds_gym.episodes.cloned_state import Base, ClonedState, base_of
from mkds_gym.episodes.race_config import RANDOM_COURSE
from mkds_gym.errors import StateError
from mkds_gym.race.reader import Progress, RaceReader
from mkds_gym.race.state import RaceState
from mkds_gym.utils.caches import LRUCache

PRIMING_FRAMES: Final = 3
"""Frames run after each restore, with no key held, before anything is read. After them the game's
per-frame values are those of this race, and so is the picture: the emulator draws a frame's picture
if told so two frames earlier."""
POINTS_KEPT: Final = 256
"""Points along a course that are kept as starts, about 100 KB each."""
FRAMES_PER_LAP: Final = 18_000
"""Most frames that the scripted driver may take for a lap: five minutes."""
_TOLERANCE: Final = 0.02
"""Laps by which a race start may lie beyond the first point."""


class Point(NamedTuple):
    """A point along a course.

    Attributes:
        difference: the console there, as a difference from the race start.
        progress: what the reader of the race remembers there.
    """

    difference: Difference
    progress: Progress | None


@dataclass
class RaceStart:
    """Where an episode starts: a race start, a cloned state, or a point along a course.

    Attributes:
        source: the snapshot, or a function that makes it (with the keyword ``lasting`` of
            `Difference.apply`), as a snapshot takes 11 MB.
        course: the course of the race.
        course_seed: seed of a random course, else None.
        booted: whether boot parameters lead there, not a savestate.
        path: the file of the savestate, if there is one.
        points: points along the course, by laps, driven to from here.
        origin: for a point along a course, the race start it was driven to from.
        cloned: for a cloned state, the state.
        drawn: whether the start was drawn from several kept starts, so that the next reset draws
            again.
        progress: what a reader of the race remembers there.
    """

    source: Snapshot | Callable[..., Snapshot]
    course: Course
    course_seed: int | None
    booted: bool
    path: str | None = None
    points: LRUCache[float, Point] = field(default_factory=lambda: LRUCache(POINTS_KEPT))
    origin: RaceStart | None = None
    cloned: ClonedState | None = None
    drawn: bool = False
    progress: Progress | None = None

    @classmethod
    def at_state(cls, state: ClonedState, course: Course) -> RaceStart:
        """Return a start at a cloned state of a course."""
        return cls(
            *(state.snapshot, course, state.course_seed),
            booted=False,
            cloned=state,
            progress=state.progress,
        )

    def at_point(self, point: Point) -> RaceStart:
        """Return a start at one of `points`."""
        make = partial(point.difference.apply, self.snapshot)
        return RaceStart(
            *(make, self.course, self.course_seed, self.booted),
            origin=self,
            progress=point.progress,
        )

    def course_name(self, race: RaceState) -> str:
        """Return the name of the course for the info of a race from here."""
        return race.course_name or "" if self.course_seed is None else RANDOM_COURSE

    @cached_property
    def snapshot(self) -> Snapshot:
        """The console at the start; kept after the first use."""
        return self.source if isinstance(self.source, Snapshot) else self.source(lasting=True)

    def restore(self, console: Console) -> None:
        """Bring a console to the start."""
        source = self.source
        console.restore(source if isinstance(source, Snapshot) else source(lasting=False))

    @cached_property
    def base(self) -> Base:
        """The base of the states that are cloned in episodes from here."""
        if self.origin is not None:
            return self.origin.base
        return base_of(self.snapshot) if self.cloned is None else self.cloned.base

    @cached_property
    def packed(self) -> bytes:
        """The snapshot as a state file."""
        return pack_state(self.snapshot) if self.cloned is None else self.cloned.saved[0]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the snapshot."""
        if self.cloned is not None:
            return self.cloned.saved[1]
        return hashlib.sha256(self.snapshot.data).hexdigest()


def drive_to(
    points: list[float], start: RaceStart, console: Console, reader: RaceReader
) -> Iterator[tuple[float, Point]]:
    """Let the scripted driver drive to points along a course.

    Args:
        points: laps since the start line, in ascending order.
        start: where the drive starts.
        console: the console to drive on, at the start.
        reader: reader of the race on the console.

    Yields:
        Laps, and the point.

    Raises:
        ValueError: a point lies behind the start, or the race ends before a point.
        StateError: the driver does not reach a point.
    """
    for _ in range(PRIMING_FRAMES):
        console.step(0, 1, draw=False)
    driver = PurePursuit()
    stage = start.course.nkm.stage
    course_laps = 0 if stage is None else int(stage["laps"])
    override = int(reader.read_config()["lap_override"])
    race_laps = override if override > 0 else course_laps
    if 0 < race_laps < points[-1]:
        raise ValueError(
            f"progress={points[-1]:g} is beyond the race of {race_laps} lap{'s'[: race_laps != 1]}"
            ": pass less, or make the environment with more laps"
        )
    frames = int((points[-1] + 1) * FRAMES_PER_LAP)
    remaining = list(points)
    state = reader.read()
    for frame in range(frames):
        laps = start.course.track.laps(state)
        if frame == 0 and laps > points[0] + _TOLERANCE:
            raise ValueError(
                f"progress={points[0]:g} lies behind the start of the race, a state at {laps:.2f} "
                "laps: pass more"
            )
        while remaining and laps >= remaining[0]:
            difference = console.difference(start.snapshot)
            yield remaining.pop(0), Point(difference, reader.progress)
        if not remaining:
            return
        if state.finished:
            raise ValueError(
                f"progress={remaining[0]:g} is beyond the race, which ends after {laps:.2f} laps: "
                "pass less, or make the environment with more laps"
            )
        keys = driver.keys(state, start.course)
        state = reader.race(console.run(keys, 1, reader.copy)[0])
    raise StateError(
        f"progress={remaining[0]:g} was not reached by the scripted driver in {frames} frames"
    )
