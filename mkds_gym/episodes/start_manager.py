"""Race starts: where an environment's episodes begin, each prepared once and gone back to exactly.

There are four kinds. A race is booted into by boot parameters, or begins at a savestate; both are a
snapshot. At a cloned state or at a point along a course, a start is what makes the snapshot.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.course import Course
from mkds_gym.drivers.pure_pursuit import PurePursuit
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.console import Console
from mkds_gym.emulator.loader import installed_build_id
from mkds_gym.emulator.snapshot import Difference, Snapshot
from mkds_gym.emulator.state_file import ReadState, check_origin, pack_state, read_state
from mkds_gym.episodes.cloned_state import Base, ClonedState, base_of
from mkds_gym.episodes.race_config import Races, boot_to_race, race_config
from mkds_gym.errors import CourseFormatError, NoRaceError, StateError
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.race.memory_layout import MemoryLayout
from mkds_gym.race.reader import RaceReader
from mkds_gym.recording.format import Start, boot_digest
from mkds_gym.utils.caches import LRUCache, WeakCache

PRIMING_FRAMES: Final = 3
"""Frames run after each restore, with no key held, before anything is read: what the game keeps
per frame is then true, and the picture is this race's. (The emulator draws a frame's picture when
told so two frames before.)"""
COURSES_KEPT: Final = 16
"""Random courses whose start is kept ready, those driven last: about 3 MB each."""
POINTS_KEPT: Final = 256
"""Points along a course at which episodes have started that are kept: about 100 KB each."""
FRAMES_PER_LAP: Final = 18_000
"""Five minutes: how long the scripted driver may take for a lap on its way to a point."""
_BEHIND: Final = 0.02
"""Laps by which a start may be past the point that an episode is to begin at."""


@dataclass
class RaceStart:
    """Where an episode starts, or what one that goes on from a cloned state has as its start.

    Attributes:
        source: the console there, or what makes it: `Difference.apply` and the like, with its
            keyword ``lasting``. A snapshot of each start would be 11 MB.
        course: the course there.
        course_seed: of a random course.
        booted: by boot parameters, and not from a savestate.
        path: the file of that savestate, if it is one.
        along: the console at points of the course, by laps, driven there from here.
        origin: the start from which this point of the course was driven to.
        cloned: the cloned state that this is.
    """

    source: Snapshot | Callable[..., Snapshot]
    course: Course
    course_seed: int | None
    booted: bool
    path: str | None = None
    along: LRUCache[float, Difference] = field(default_factory=lambda: LRUCache(POINTS_KEPT))
    origin: RaceStart | None = None
    cloned: ClonedState | None = None

    @classmethod
    def at_state(cls, state: ClonedState, course: Course) -> RaceStart:
        """At a cloned state.

        Args:
            state: where.
            course: that it is of.
        """
        return cls(state.snapshot, course, state.course_seed, booted=False, cloned=state)

    def at_point(self, difference: Difference) -> RaceStart:
        """At a point along the course of this start, one of `along`."""
        make = partial(difference.apply, self.snapshot)
        return RaceStart(make, self.course, self.course_seed, self.booted, origin=self)

    @cached_property
    def snapshot(self) -> Snapshot:
        """The console there, kept from now on."""
        return self.source if isinstance(self.source, Snapshot) else self.source(lasting=True)

    def restore(self, console: Console) -> None:
        """Bring a console there."""
        source = self.source
        console.restore(source if isinstance(source, Snapshot) else source(lasting=False))

    @cached_property
    def base(self) -> Base:
        """What cloned states are kept as differences from."""
        if self.origin is not None:
            return self.origin.base
        return base_of(self.snapshot) if self.cloned is None else self.cloned.base

    @cached_property
    def packed(self) -> bytes:
        """The snapshot, deflated."""
        return pack_state(self.snapshot) if self.cloned is None else self.cloned.saved()[0]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the snapshot's contents."""
        if self.cloned is not None:
            return self.cloned.saved()[1]
        return hashlib.sha256(self.snapshot.data).hexdigest()


_booted: Final[WeakCache[RaceStart]] = WeakCache()
"""Of this process's environments, by all that they depend on."""


@dataclass(frozen=True)
class _SavedStart:
    """An option ``state`` that was read when it was checked.

    Attributes:
        read: what it holds.
        path: the file, or None.
    """

    read: ReadState
    path: str | None

    @classmethod
    def of(cls, state: Any, cartridge: Cartridge, build_id: str) -> _SavedStart:
        """Read a state, a path or bytes. Errors as `read_state`."""
        read = read_state(state, cartridge, build_id)
        named = isinstance(state, str | os.PathLike)
        return cls(read, str(Path(state).resolve()) if named else None)


class _PowerOn:
    """Writes the boot parameters, if there are any, when the console is switched on."""

    def __init__(self) -> None:
        self.parameters: BootParameters | None = None

    def __call__(self, ram: NDArray[np.uint8]) -> None:
        if self.parameters is not None:
            self.parameters.write(ram)


class RaceStarts:
    """The race starts of one environment, and the console that is brought to them.

    Args:
        cartridge: of the console.
        races: that the environment's arguments ask for.
        state: savestate of the environment's own start, a path or bytes; None boots into it.

    Attributes:
        console: made when first needed; None before, and after `close`.
        reader: of the console's memory; None if the start was prepared on another console.
        current: where resets go; None before the first. A point along the course is the start of
            one episode only.
        kept: random courses driven last, by seed: the start deflated, the course, and the points
            along it.

    Raises:
        StateError: the savestate cannot be used.
    """

    def __init__(
        self, cartridge: Cartridge, races: Races, state: str | os.PathLike[str] | bytes | None
    ) -> None:
        if state is not None:
            read_state(state, cartridge, installed_build_id())
        self._cartridge = cartridge
        self._races = races
        self._source = state
        self._source_start: RaceStart | None = None
        self._power_on = _PowerOn()
        self._boot_digests: dict[int | None, str] = {}
        self.console: Console | None = None
        self.reader: RaceReader | None = None
        self.current: RaceStart | None = None
        self.kept: OrderedDict[int, tuple[bytes, Course, LRUCache[float, Difference]]] = (
            OrderedDict()
        )

    @property
    def build_id(self) -> str:
        """The build of the emulator that runs, or would."""
        # A running one knows; to look for the library's file takes half a millisecond.
        return installed_build_id() if self.console is None else self.console.build_id

    def course_of_seed(self, seed: int | None) -> Course | None:
        """The random course with this seed, if it was driven of late and is kept."""
        return self.kept[seed][1] if seed is not None and seed in self.kept else None

    def check(
        self, state: Any = None, course_seed: Any = None, progress: Any = None
    ) -> tuple[Any, int | None, float | None]:
        """The options of `MKDSEnv.reset`, refused before anything is touched, for `choose`.

        Raises:
            ValueError, TypeError: an option is wrong.
            StateError: the state is none, or of another cartridge or build of the emulator.
        """
        if state is not None and not (course_seed is None and progress is None):
            other = "course_seed" if course_seed is not None else "progress"
            raise ValueError(f"reset() takes a state or a {other}, not both")
        if course_seed is not None:
            course_seed = self._races.check_seed(course_seed)
        if progress is not None:
            progress = check_progress(progress)
        if isinstance(state, ClonedState):
            check_origin(state, "the state", self._cartridge, self.build_id)
        elif state is not None:
            state = _SavedStart.of(state, self._cartridge, self.build_id)
        return state, course_seed, progress

    def choose(
        self,
        draw_seed: Callable[[], int | None],
        state: Any,
        course_seed: int | None,
        progress: float | None,
    ) -> RaceStart:
        """The start of the next episode, prepared if it is not ready.

        Args:
            draw_seed: gives the seed of the next random course; None where they are not random.
            state: option of `MKDSEnv.reset`, from `check`, as the following ones.
            course_seed: see there.
            progress: see there.

        Raises:
            ValueError: the race is over before the point.
            StateError, ConsoleError: the start cannot be reached.
        """
        start = self._race_start(draw_seed, state, course_seed, anew=progress is not None)
        here = start
        if progress is not None:
            (here,) = self.points(start, [progress])
        self.current = start  # last: one that is refused leaves the one before in force
        return here

    def points(self, start: RaceStart, progress: Sequence[float]) -> Iterator[RaceStart]:
        """Starts at points along the course, which somebody must drive to once.

        Args:
            start: of the race.
            progress: points that `check_progress` gave.

        Raises:
            ValueError: a point lies behind the start, or the race is over before it.
            StateError: the driver does not get there.
        """

        def drive(missing: list[float]) -> Iterator[tuple[float, Difference]]:
            return self._drive(start, sorted(missing))

        for difference in start.along.get(progress, drive):
            yield start.at_point(difference)

    def powered_on(self, parameters: BootParameters | None = None) -> Console:
        """The console, made when first asked for.

        Args:
            parameters: to boot with, written at power-on; None leaves them as they are.
        """
        if parameters is None and self._races.boots and self._power_on.parameters is None:
            parameters = self._races.parameters(None)
        if parameters is not None:
            self._power_on.parameters = parameters
        if self.console is None:
            self.console = Console(self._cartridge, on_power_on=self._power_on)
        return self.console

    def go_to(self, start: RaceStart, chance: Callable[[], int]) -> tuple[Console, RaceReader]:
        """Bring the console to a start.

        Args:
            start: of `choose` or `points`.
            chance: gives what the chance of a race goes by that was booted and has one.

        Returns:
            The console, and the reader of its memory.
        """
        console = self.console
        assert console is not None
        start.restore(console)
        if self.reader is None:  # another environment has prepared this start
            self.reader = self.new_reader(console)
        if self._races.has_chance and start.booted:
            config = race_config(console.ram, self.reader.layout)
            config["rng_seed"] = chance()
        return console, self.reader

    def new_reader(self, console: Console) -> RaceReader:
        """A reader of the console's memory, which must be that of a race."""
        return RaceReader(console.ram, MemoryLayout.detect(console.ram, self._cartridge.region))

    def recorded(self, start: RaceStart) -> tuple[Start, bytes | None]:
        """What a recording says of the start that the console is at, and its savestate, if any."""
        console, reader = self.console, self.reader
        assert console is not None
        assert reader is not None
        frame = console.frame_count
        if start.origin is not None:
            return Start("state", frame=frame), pack_state(console.snapshot())
        if not start.booted:
            here = Start("state", digest=start.digest, path=start.path, frame=frame)
            return here, None if start.path else start.packed
        seed = None
        if self._races.has_chance:
            seed = int(race_config(console.ram, reader.layout)["rng_seed"][0])
        here = Start(
            "race",
            race=vars(self._races.arguments),
            course_seed=start.course_seed,
            race_seed=seed,
            digest=self._boot_digests[start.course_seed],
            frame=frame,
        )
        return here, None

    def close(self) -> None:
        """Close the console, and forget all starts."""
        console, self.console = self.console, None
        self.current = self._source_start = self.reader = None
        self.kept.clear()
        if console is not None:
            console.close()

    # Within ---------------------------------------------------------------------------------

    def _race_start(
        self, draw_seed: Callable[[], int | None], state: Any, course_seed: int | None, anew: bool
    ) -> RaceStart:
        """The race start of the next episode; ``anew``: not that of a state of an earlier reset."""
        start, own = self.current, False
        if state is None and course_seed is None:
            if start is not None and not start.booted and not anew:
                return start
            if self._source_start is not None:
                return self._source_start
            if self._source is not None:
                state, own = _SavedStart.of(self._source, self._cartridge, self.build_id), True
            course_seed = draw_seed()
        if isinstance(state, ClonedState):
            return self._cloned_start(state)
        if state is not None:
            prepared = self._prepare(self.powered_on(), state, None)
            if own:
                self._source_start = prepared
            return prepared
        if start is None or not start.booted or start.course_seed != course_seed:
            return self._kept_start(course_seed) or self._booted_start(course_seed)
        return start

    def _cloned_start(self, state: ClonedState) -> RaceStart:
        """A start at a cloned state."""
        start, console = self.current, self.powered_on()
        if start is None or start.course.fingerprint != state.course:
            start = self._prepare(console, state.snapshot(lasting=False), state.course_seed)
        return RaceStart.at_state(state, start.course)

    def _booted_start(self, course_seed: int | None) -> RaceStart:
        """A start by boot parameters; the environments of a process boot into each once."""
        parameters = self._races.parameters(course_seed)
        self._boot_digests[course_seed] = boot_digest(parameters)
        console = self.powered_on(parameters)
        able = console.capabilities

        def prepare() -> RaceStart:
            return self._prepare(console, None, course_seed)

        if able.fixed_clock and able.private_battery:
            # Then every console gets to the very same state.
            self.reader = None  # it may be of another race, if this console does not boot
            origin = (self._cartridge.sha1, installed_build_id(), able, parameters)
            start = _booted.get(origin, prepare)
        else:
            start = prepare()
        if course_seed is not None:
            self.kept[course_seed] = (start.packed, start.course, start.along)
            while len(self.kept) > COURSES_KEPT:
                dropped, _ = self.kept.popitem(last=False)
                self._boot_digests.pop(dropped, None)
        return start

    def _kept_start(self, course_seed: int | None) -> RaceStart | None:
        """The start on a random course that was driven not long ago."""
        if course_seed is None or course_seed not in self.kept:
            return None
        self.kept.move_to_end(course_seed)
        packed, course, along = self.kept[course_seed]
        snapshot, _ = read_state(packed, self._cartridge, installed_build_id())
        return RaceStart(snapshot, course, course_seed, booted=True, along=along)

    def _prepare(
        self, console: Console, source: Snapshot | _SavedStart | None, course_seed: int | None
    ) -> RaceStart:
        """Bring the console to a race start: by booting, or to a savestate or snapshot."""
        if source is None:
            assert self._power_on.parameters is not None
            boot_to_race(console, self._power_on.parameters)
        elif isinstance(source, Snapshot):
            console.restore(source)
        else:
            console.load_state(source.read)
        snapshot = console.snapshot()
        for _ in range(PRIMING_FRAMES):
            console.step(0, 1, draw=False)
        try:
            reader = self.new_reader(console)
            reader.resolve()
            reader.read()
            course = Course.from_ram(console.ram, reader.layout)
        except (NoRaceError, CourseFormatError) as error:
            raise StateError(
                f"the start state holds no running race ({error}); save it during a race"
            ) from error
        if self.current is not None and "mesh" in vars(self.current.course):
            _ = course.mesh  # while that of the course before is there: it may be the same
        # Last: a start that is refused leaves the one before in force.
        self.reader = reader
        path = source.path if isinstance(source, _SavedStart) else None
        return RaceStart(snapshot, course, course_seed, booted=source is None, path=path)

    def _drive(self, start: RaceStart, wanted: list[float]) -> Iterator[tuple[float, Difference]]:
        """Let the scripted driver drive from a start to points, given in order."""
        console = self.powered_on()
        start.restore(console)
        for _ in range(PRIMING_FRAMES):
            console.step(0, 1, draw=False)
        reader, driver = self.new_reader(console), PurePursuit()
        stage = start.course.nkm.stage
        laps_of_course = 0 if stage is None else int(stage["laps"])
        race_laps = int(reader.read_config()["lap_override"]) or laps_of_course
        if 0 < race_laps < wanted[-1]:
            raise ValueError(
                f"progress={wanted[-1]:g}: the race has {race_laps} lap{'s'[: race_laps != 1]}; "
                "give less, or make the environment with more laps"
            )
        frames = int((wanted[-1] + 1) * FRAMES_PER_LAP)
        for frame in range(frames):
            state = reader.read()
            laps = start.course.track.laps(state)
            if frame == 0 and laps > wanted[0] + _BEHIND:
                raise ValueError(
                    f"progress={wanted[0]:g} lies behind the start of the race, a state at "
                    f"{laps:.2f} laps; give more"
                )
            while wanted and laps >= wanted[0]:
                yield wanted.pop(0), console.difference(start.snapshot)
            if not wanted:
                return
            if state.finished:
                raise ValueError(
                    f"progress={wanted[0]:g}: the race is over after {laps:.2f} laps; give less, "
                    "or make the environment with more laps"
                )
            console.step(driver.keys(state, start.course), 1, draw=False)
        raise StateError(
            f"progress={wanted[0]:g}: the scripted driver did not get there in {frames} frames"
        )


def check_progress(progress: Any) -> float:
    """A point along the course, in laps.

    Raises:
        TypeError, ValueError: it is none.
    """
    if isinstance(progress, bool) or not isinstance(progress, int | float | np.number):
        raise TypeError(f"progress={progress!r} is not a number of laps; 0.4 is 0.4 of the first")
    if not (math.isfinite(progress) and progress >= 0):
        raise ValueError(f"progress={progress!r}; allowed: laps since the start line, 0 and up")
    return float(progress)
