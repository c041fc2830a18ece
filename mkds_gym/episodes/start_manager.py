"""`StartManager`: brings the console of an environment to the start of each episode."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mkds_gym.course import Course
from mkds_gym.course.progress import race_reader
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.console import Console
from mkds_gym.emulator.desmume.loader import installed_build_id
from mkds_gym.emulator.states.snapshot import Snapshot
from mkds_gym.emulator.states.state_file import ReadState, check_origin, pack_state, read_state
from mkds_gym.episodes.cloned_state import ClonedState
from mkds_gym.episodes.race_config import RaceConfig, boot_to_race, race_config_record
from mkds_gym.episodes.race_start import PRIMING_FRAMES, Point, RaceStart, drive_to
from mkds_gym.episodes.short_race import ShortRace
from mkds_gym.errors import ConsoleError, CourseFormatError, NoRaceError, StateError
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.race.memory_layout import MemoryLayout
from mkds_gym.race.reader import RaceReader
from mkds_gym.recording.format import Start, boot_digest
from mkds_gym.starts import KeptStart
from mkds_gym.starts.library import read_start
from mkds_gym.starts.making import laps_of_game
from mkds_gym.utils.arguments import number, optional, shown
from mkds_gym.utils.caches import LRUCache, WeakCache

COURSES_KEPT: Final = 16
"""Drawn courses whose start is kept, the most recent ones; about 3 MB each."""
_OPTIONS: Final = ("state", "course_seed", "progress")

_booted: Final[WeakCache[RaceStart]] = WeakCache()
"""Booted starts of all environments of this process."""

NO_CONSOLE: Final = (
    "the console starts at the first reset and ends with close(): call env.reset() first, or make "
    "a new environment if this one is closed"
)
"""Message of environments without a console."""
NO_RACE: Final = (
    "no race has begun: call env.reset() first, or make a new environment if this one is closed"
)
"""Message of environments without a race."""


@dataclass(frozen=True)
class StartOptions:
    """Checked options of `MKDSEnv.reset`.

    Attributes:
        state: a cloned state, or a savestate that was read.
        course_seed: seed of a random course.
        progress: point along the course, in laps since the start line.
    """

    state: ClonedState | _SavedState | None = None
    course_seed: int | None = None
    progress: float | None = None


@dataclass(frozen=True)
class _SavedState:
    """A savestate that was read, and its file if it came from one."""

    contents: ReadState
    path: str | None

    @classmethod
    def read(cls, state: Any, cartridge: Cartridge, build_id: str) -> _SavedState:
        contents = read_state(state, cartridge, build_id)
        is_path = isinstance(state, str | os.PathLike)
        return cls(contents, str(Path(state).resolve()) if is_path else None)


_PackedStart: TypeAlias = tuple[bytes, Course, LRUCache[float, Point]]
"""The start deflated, the course, and the points along it."""


class StartManager:
    """The console of one environment, and the starts that it goes to.

    Args:
        cartridge: the cartridge in the console.
        config: the races of the environment.
        state: savestate to start at, a path or bytes; None boots.

    Attributes:
        config: the races of the environment.
        console: made at the first use; None before, and after `close`.
        reader: reader of the console's memory; None before the first start is reached.
        current: the start that the next reset returns to, if no option says otherwise; None before
            the first. A point along the course is the start of one episode only.

    Raises:
        StateError: the savestate cannot be used.
    """

    def __init__(
        self, cartridge: Cartridge, config: RaceConfig, state: str | os.PathLike[str] | bytes | None
    ) -> None:
        if state is not None:
            read_state(state, cartridge, installed_build_id())
        self._cartridge = cartridge
        self.config = config
        self._source = state
        self._drawn: OrderedDict[Path, _PackedStart] = OrderedDict()
        self._source_start: RaceStart | None = None
        self._boot_parameters: BootParameters | None = None
        # By course seed, or name of a course that was drawn from several; else None.
        self._boot_digests: dict[int | str | None, str] = {}
        self._kept: OrderedDict[int | str, _PackedStart] = OrderedDict()
        self._booted_key: int | str | None = None  # of `current`
        self.console: Console | None = None
        self.reader: RaceReader | None = None
        self.current: RaceStart | None = None

    @property
    def build_id(self) -> str:
        """The emulator build of the console."""
        # Finding the library's file takes half a millisecond.
        return installed_build_id() if self.console is None else self.console.build_id

    @property
    def courses_kept(self) -> tuple[int, ...]:
        """Seeds of the random courses whose start is kept."""
        return tuple(key for key in self._kept if isinstance(key, int))

    def course_of_seed(self, seed: int | None) -> Course | None:
        """Return the random course of a seed, if it is kept."""
        return self._kept[seed][1] if seed is not None and seed in self._kept else None

    def check_options(self, options: Mapping[str, Any] | None) -> StartOptions:
        """Check the options of `MKDSEnv.reset` without changing anything.

        Raises:
            ValueError, TypeError: an option is unknown or wrong.
            StateError: the state cannot be used.
        """
        known = ", ".join(_OPTIONS)
        if options is not None and not isinstance(options, Mapping):
            raise TypeError(f"options={shown(options)} is not a dict: expected a dict of {known}")
        options = options or {}
        for option in options:
            if option not in _OPTIONS:
                raise ValueError(f"option {shown(option)} of reset() is unknown: expected {known}")
        state, seed = options.get("state"), options.get("course_seed")
        progress = optional(number, "progress", options.get("progress"), 0)
        if state is not None and not (seed is None and progress is None):
            other = "course_seed" if seed is not None else "progress"
            raise ValueError(f"the options state and {other} of reset() exclude each other")
        if seed is not None:
            seed = self.config.check_course_seed(seed)
        if isinstance(state, ClonedState):
            self.check_state(state)
        elif state is not None:
            state = _SavedState.read(state, self._cartridge, self.build_id)
        return StartOptions(state, seed, progress)

    def check_state(self, state: ClonedState) -> None:
        """Refuse a cloned state that this console cannot be brought to.

        Raises:
            StateError: the state is of another cartridge or emulator build, or of a driver of a
                shared console.
        """
        check_origin(state, "the state", self._cartridge, self.build_id)
        if state.kind != "console":
            raise StateError(
                "the state is of one driver of a shared console and holds no console: restore it "
                "in an environment of a vector environment with drivers_per_console and the same "
                "race"
            )

    def choose(self, options: StartOptions, generator: np.random.Generator) -> RaceStart:
        """Return the start of the next episode, prepared if it is new.

        Args:
            options: the result of `check_options`.
            generator: draws the seed of a random course.

        Raises:
            ValueError: the race ends before the point.
            StateError, ConsoleError: the start cannot be reached.
        """
        race_start = start = self._race_start(options, generator)
        if options.progress is not None:
            (start,) = self.points(race_start, [options.progress])
        self.current = race_start  # last, so that a failure leaves the previous start in place
        return start

    def points(self, start: RaceStart, progress: Sequence[float]) -> Iterator[RaceStart]:
        """Yield starts at points along the course; missing ones are driven to, in one drive.

        Args:
            start: the start of the race.
            progress: laps since the start line.

        Raises:
            ValueError: a point lies behind the start, or the race ends before it.
            StateError: the driver does not reach a point.
        """

        def drive(missing: list[float]) -> Iterator[tuple[float, Point]]:
            console = self.powered_on()
            start.restore(console)
            return drive_to(sorted(missing), start, console, self.new_reader(console))

        for point in start.points.get(progress, drive):
            yield start.at_point(point)

    def powered_on(self) -> Console:
        """Return the console; the first call makes it."""
        if self.console is None:
            if self.config.boots and self._boot_parameters is None:
                self._boot_parameters = self.config.boot_parameters(None)
            self.console = Console(self._cartridge, on_power_on=self._write_parameters)
        return self.console

    def go_to(self, start: RaceStart, generator: np.random.Generator) -> tuple[Console, RaceReader]:
        """Bring the console to a start.

        Args:
            start: a start of `choose` or `points`.
            generator: draws the seed of a race that has one.

        Returns:
            The console, and the reader of its memory.
        """
        console = self.powered_on()
        start.restore(console)
        if self.reader is None:  # another environment prepared the start
            self.reader = self.new_reader(console)
        self.reader.continue_from(start.progress)
        if self.config.has_race_seed and start.booted:
            record = race_config_record(console.ram, self.reader.layout)
            record["rng_seed"] = int(generator.integers(1 << 32))
        return console, self.reader

    def new_reader(self, console: Console) -> RaceReader:
        """Return a reader of the console's memory, which must hold a race."""
        layout = MemoryLayout.detect(console.ram, self._cartridge.region)
        laps = self.config.laps
        if not layout.checkpoint_fields:
            return race_reader(console.ram, layout, laps=laps)
        short = None if laps is None else ShortRace(laps)
        return RaceReader(console.ram, layout, completion=short)

    def recording_start(self, start: RaceStart) -> tuple[Start, bytes | None]:
        """Return how a recording describes the start that the console is at.

        Returns:
            The description, and the savestate if the recording must hold it.
        """
        console, reader = self.console, self.reader
        if console is None or reader is None:
            raise ConsoleError(NO_CONSOLE)
        frame = console.frame_count
        if start.origin is not None:
            return Start("state", frame=frame), pack_state(console.snapshot())
        if not start.booted:
            described = Start("state", digest=start.digest, path=start.path, frame=frame)
            return described, None if start.path else start.packed
        seed = None
        if self.config.has_race_seed:
            seed = int(race_config_record(console.ram, reader.layout)["rng_seed"][0])
        race = dict(vars(self.config.arguments))
        if isinstance(self._booted_key, str):
            race |= {"course": self._booted_key, "course_set": None}
        described = Start(
            "race",
            race=race,
            course_seed=start.course_seed,
            race_seed=seed,
            digest=self._boot_digests[self._booted_key],
            frame=frame,
        )
        return described, None

    def close(self) -> None:
        """Close the console and forget all starts."""
        console, self.console = self.console, None
        self.current = self._source_start = self.reader = None
        self._kept.clear()
        self._drawn.clear()
        if console is not None:
            console.close()

    def _write_parameters(self, ram: NDArray[np.uint8]) -> None:
        if self._boot_parameters is not None:
            self._boot_parameters.write(ram)

    def _race_start(self, options: StartOptions, generator: np.random.Generator) -> RaceStart:
        """Return the start of the next race, prepared if it is new."""
        start, state, course_seed = self.current, options.state, options.course_seed
        is_source, course = False, None
        if state is None and course_seed is None:
            if start is not None and not (start.booted or start.drawn) and options.progress is None:
                return start
            if len(self.config.kept) > 1:
                number = int(generator.integers(len(self.config.kept)))
                return self._drawn_start(self.config.kept[number])
            if self._source_start is not None:
                return self._source_start
            if self.config.kept:
                state, is_source = self._read_kept(self.config.kept[0]), True
            elif self._source is not None:
                state = _SavedState.read(self._source, self._cartridge, self.build_id)
                is_source = True
            course_seed = self.config.draw_course_seed(generator)
            course = self.config.draw_course(generator)
        if isinstance(state, ClonedState):
            return self._cloned_start(state)
        if state is not None:
            prepared = self._prepare(self.powered_on(), state, None)
            if is_source:
                self._source_start = prepared
            return prepared
        key = course_seed if course is None else course
        if start is None or not start.booted or self._booted_key != key:
            start = self._kept_start(key) or self._booted_start(key)
            self._booted_key = key
        return start

    def _read_kept(self, start: KeptStart) -> _SavedState:
        return _SavedState(
            read_start(start, self._cartridge, self.build_id), str(start.path.resolve())
        )

    def _drawn_start(self, start: KeptStart) -> RaceStart:
        """Return the start at one of several kept starts."""
        path = start.path
        if path not in self._drawn:
            prepared = self._prepare(self.powered_on(), self._read_kept(start), None)
            self._drawn[path] = (prepared.packed, prepared.course, prepared.points)
            if len(self._drawn) > COURSES_KEPT:
                self._drawn.popitem(last=False)
            return replace(prepared, drawn=True)
        self._drawn.move_to_end(path)
        packed, course, points = self._drawn[path]
        snapshot = read_state(packed, self._cartridge, self.build_id).snapshot
        return RaceStart(
            snapshot, course, None, booted=False, path=str(path), points=points, drawn=True
        )

    def _cloned_start(self, state: ClonedState) -> RaceStart:
        start, console = self.current, self.powered_on()
        if state.foreign or start is None or start.course.fingerprint != state.course:
            start = self._prepare(console, state.snapshot(lasting=False), state.course_seed)
        if state.foreign:
            if start.course.fingerprint != state.course:
                raise StateError("the state is damaged: it is of another course than it says")
            state.vouch()
        return RaceStart.at_state(state, start.course)

    def _booted_start(self, key: int | str | None) -> RaceStart:
        """Return a start by boot parameters; the environments of a process share it."""
        course_seed, course = (None, key) if isinstance(key, str) else (key, None)
        parameters = self._boot_parameters = self.config.boot_parameters(course_seed, course)
        self._boot_digests[key] = boot_digest(parameters)
        console = self.powered_on()
        capabilities = console.capabilities

        def prepare() -> RaceStart:
            return self._prepare(console, None, course_seed)

        if capabilities.fixed_clock and capabilities.private_battery:
            # Every console boots into exactly the same state.
            self.reader = None  # it may be of another race, if this console does not boot
            shared = (self._cartridge.sha1, installed_build_id(), capabilities, parameters)
            start = _booted.get(shared, prepare)
        else:
            start = prepare()
        if key is not None:
            self._kept[key] = (start.packed, start.course, start.points)
            while len(self._kept) > COURSES_KEPT:
                dropped, _ = self._kept.popitem(last=False)
                self._boot_digests.pop(dropped, None)
        return start

    def _kept_start(self, key: int | str | None) -> RaceStart | None:
        """Return the start on a recent course."""
        if key is None or key not in self._kept:
            return None
        self._kept.move_to_end(key)
        packed, course, points = self._kept[key]
        course_seed = key if isinstance(key, int) else None
        snapshot = read_state(packed, self._cartridge, installed_build_id()).snapshot
        return RaceStart(snapshot, course, course_seed, booted=True, points=points)

    def _prepare(
        self, console: Console, source: Snapshot | _SavedState | None, course_seed: int | None
    ) -> RaceStart:
        """Boot, or go to a savestate or snapshot, and read the course there."""
        if source is None:
            assert self._boot_parameters is not None
            boot_to_race(console, self._boot_parameters)
        elif isinstance(source, Snapshot):
            console.restore(source)
        else:
            console.load_state(source.contents)
        snapshot = console.snapshot()
        for _ in range(PRIMING_FRAMES):
            console.step(0, 1, draw=False)
        try:
            reader = self.new_reader(console)
            reader.resolve()
            reader.read()
            course = Course.from_ram(console.ram, reader.layout)
            most = 0 if self.config.laps is None else laps_of_game(reader.read_config(), course)
        except (NoRaceError, CourseFormatError) as error:
            raise StateError(
                f"the start state holds no running race ({error}): save it during a race"
            ) from error
        if 0 < most < (self.config.laps or 0):
            raise StateError(
                f"laps={self.config.laps} is out of range: the game ends the race of the start "
                f"state after {most} laps; pass at most that many"
            )
        if self.current is not None and "mesh" in vars(self.current.course):
            _ = course.mesh  # now, while an equal mesh of the previous course can be shared
        self.reader = reader  # last, so that a failure leaves the previous reader in place
        path = source.path if isinstance(source, _SavedState) else None
        return RaceStart(snapshot, course, course_seed, booted=source is None, path=path)


class UsesStarts:
    """Base class of environments, which reach their console through ``starts``."""

    starts: StartManager

    @property
    def console(self) -> Console:
        """The emulated console.

        Raises:
            ConsoleError: before the first reset, and after `close`.
        """
        if self.starts.console is None:
            raise ConsoleError(NO_CONSOLE)
        return self.starts.console

    @property
    def reader(self) -> RaceReader:
        """The reader of the race in the console's memory.

        Raises:
            NoRaceError: before the first reset, and after `close`.
        """
        if self.starts.reader is None:
            raise NoRaceError(NO_RACE)
        return self.starts.reader
