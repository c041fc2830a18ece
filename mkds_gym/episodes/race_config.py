"""Which race an episode is: the race arguments of `MKDSEnv`, checked against a cartridge."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.course.progress import race_reader
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.console import Console
from mkds_gym.errors import NoRaceError, StateError
from mkds_gym.kartlab.boot import CLASSES, MAX_DRIVERS, MAX_LAPS, MODES, STRENGTHS, BootParameters
from mkds_gym.race.memory import read_pointer, struct_view
from mkds_gym.race.memory_layout import RACE_CONFIG, MemoryLayout
from mkds_gym.race.names import course_id
from mkds_gym.race.reader import RaceReader
from mkds_gym.roms.library import name_of
from mkds_gym.starts import KeptStart, kept_starts
from mkds_gym.utils.arguments import (
    boolean,
    choice,
    did_you_mean,
    integer,
    number,
    optional,
    shown,
)

RANDOM_COURSE: Final = "random"
"""Name of courses that are generated from a seed, in ``course`` and ``full_info()["course"]``."""
COURSE_SETS: Final = ("train", "test")
RACE_MODES: Final = (*MODES, "grand_prix")
"""Modes of races; only kept starts are of a Grand Prix."""
MAX_OPPONENTS: Final = MAX_DRIVERS - 1
DEFAULT_DIFFICULTY: Final = 0.5
BOOT_FRAMES: Final = 1200
"""Most frames from power-on to the race start."""


@dataclass(frozen=True)
class RaceArguments:
    """The arguments of `MKDSEnv` that choose the race, with their defaults.

    Values other than the defaults are refused with a start state, except ``laps`` on cartridges
    other than Kartlab. These choose among the starts that the user keeps. `MKDSEnv` documents each.
    """

    course: str | None = None
    course_seed: int | None = None
    difficulty: float | None = None
    course_set: str | Sequence[str] | None = None
    laps: int | None = None
    engine_class: int = 100
    mirror: bool = False
    mode: str = "time_trial"
    opponents: int | None = None
    opponent_strength: str | None = None
    items: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.course_set, list):
            object.__setattr__(self, "course_set", tuple(self.course_set))

    @classmethod
    def select(cls, arguments: Mapping[str, Any]) -> RaceArguments:
        """Take the race arguments out of a mapping that has others as well."""
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in arguments.items() if name in names})


class RaceConfig:
    """Race arguments that were checked against a cartridge.

    Args:
        cartridge: the cartridge in the console.
        arguments: the race arguments.
        has_state: whether episodes start at a savestate.
        hosted: number of drivers whose keys come from the host's block, not from the console's
            keys; 0 for a race of one driver. In a time trial, each of them has a race of its own.

    Attributes:
        hosted: as the argument.
        arguments: the race arguments.
        random: whether courses are generated from seeds.
        courses: names of the courses of which Kartlab drives another one at every reset; empty if
            courses are random, or the course is fixed.
        boots: whether races are reached by boot parameters, not by a savestate.
        has_race_seed: whether a race has a seed for its opponents and items.
        kept: the kept starts that episodes begin at, on cartridges other than Kartlab; one per
            course.
        laps: laps after which a race from a kept start or state is over, on cartridges other than
            Kartlab; None leaves that to the game.

    Raises:
        TypeError, ValueError: an argument is wrong, or two exclude each other.
        StateError: no start of the race is kept.
    """

    def __init__(
        self,
        cartridge: Cartridge,
        arguments: RaceArguments,
        *,
        has_state: bool,
        hosted: int = 0,
    ) -> None:
        self.arguments = arguments
        self.hosted = hosted
        self.boots = cartridge.boot_parameters and not has_state
        self.kept: tuple[KeptStart, ...] = ()
        self.courses: tuple[str, ...] = ()
        self.laps: int | None = None
        _check_values(arguments)
        self.random = arguments.course == RANDOM_COURSE or isinstance(arguments.course_set, str)
        self.has_race_seed = self.boots and arguments.mode == "vs"
        if self.boots:
            self._check_boot(cartridge)
            return
        if not cartridge.boot_parameters:
            self.laps = arguments.laps
        if not has_state:
            self.kept = choose_kept(cartridge, arguments)
            return
        for name, default in vars(RaceArguments()).items():
            value = getattr(arguments, name)
            if value != default and not (name == "laps" and self.laps is not None):
                raise ValueError(
                    f"{name}={shown(value)} and state exclude each other: the state holds the race"
                )

    def _check_boot(self, cartridge: Cartridge) -> None:
        """Check the arguments against each other and the courses of the cartridge."""
        arguments = self.arguments
        names = cartridge.course_names()
        if isinstance(arguments.course_set, tuple):
            self.courses = arguments.course_set
        named = [("course_set", name) for name in self.courses]
        if arguments.course not in (None, RANDOM_COURSE):
            named.append(("course", str(arguments.course)))
        for argument, name in named:
            if name not in names:
                random = f", or {RANDOM_COURSE!r} for a generated course" * (argument == "course")
                raise ValueError(
                    f"{argument}={shown(name)} is not on the cartridge{did_you_mean(name, names)}: "
                    f"expected one of {', '.join(names)}{random}; "
                    "`python -m mkds_gym.kartlab compile` makes a cartridge with a custom course"
                )
        choice("mode", arguments.mode, MODES)
        if arguments.course_set is not None:
            for name in ("course", "course_seed"):
                value = getattr(arguments, name)
                if value is not None and (self.courses or value != RANDOM_COURSE):
                    raise ValueError(
                        f"{name}={shown(value)} and course_set={shown(arguments.course_set)} "
                        "exclude each other: a course set has another course at every reset"
                    )
        if self.random and arguments.course_seed is not None:
            self.check_course_seed(arguments.course_seed)
        for name in ("course_seed", "difficulty"):
            if (value := getattr(arguments, name)) is not None and not self.random:
                raise ValueError(
                    f"{name}={shown(value)} applies to random courses only: pass "
                    f"course={RANDOM_COURSE!r} or course_set as well"
                )
        for name in ("opponents", "opponent_strength", "items"):
            if (value := getattr(arguments, name)) and not self.has_race_seed:
                raise ValueError(
                    f"{name}={shown(value)} applies to VS races only: pass mode='vs' as well"
                )

    def check_course_seed(self, seed: object) -> int:
        """Return the seed of a random course as an int.

        Raises:
            TypeError: `seed` is not an integer.
            ValueError: `seed` is out of range, or courses are not random.
        """
        from mkds_gym.kartlab.generator import SEEDS

        if not self.random:
            raise ValueError(
                f"course_seed={shown(seed)} applies to random courses only: make the "
                f"environment with course={RANDOM_COURSE!r} or course_set"
            )
        return integer("course_seed", seed, 0, SEEDS[-1])

    @property
    def draws_courses(self) -> bool:
        """Whether resets may go to several courses."""
        return self.random or bool(self.courses) or len(self.kept) > 1

    def draw_course(self, generator: np.random.Generator) -> str | None:
        """Return the name of the next episode's course, one of `courses`; None without them."""
        if not self.courses:
            return None
        return self.courses[int(generator.integers(len(self.courses)))]

    def draw_course_seed(self, generator: np.random.Generator) -> int | None:
        """Return the seed of the next episode's course; None if courses are not random.

        Draws from `generator` only if every episode has another course.
        """
        if not self.random:
            return None
        if self.arguments.course_seed is not None:
            return int(self.arguments.course_seed)
        from mkds_gym.kartlab.generator import TEST_SEEDS, TRAIN_SEEDS

        seeds = TEST_SEEDS if self.arguments.course_set == "test" else TRAIN_SEEDS
        return seeds[int(generator.integers(len(seeds)))]

    def boot_parameters(self, course_seed: int | None, course: str | None = None) -> BootParameters:
        """Return the boot parameters of a race.

        Args:
            course_seed: seed of a random course, which takes a fraction of a second to generate;
                None for a course of the cartridge.
            course: name of the course; None for the course of the arguments.
        """
        arguments = self.arguments
        opponents = arguments.opponents
        if opponents is None:
            opponents = MAX_OPPONENTS if arguments.mode == "vs" else 0
        alone = self.hosted > 0 and arguments.mode == "time_trial"
        course = course or arguments.course or (self.courses[0] if self.courses else None)
        parameters = BootParameters(
            course=None if course is None or self.random else course_id(course),
            laps=None if arguments.laps is None else int(arguments.laps),
            engine_class=int(arguments.engine_class),
            mode=arguments.mode,
            drivers=1 if alone else max(self.hosted, 1) + int(opponents),
            hosted=self.hosted,
            alone=alone,
            strength=arguments.opponent_strength or "normal",
            mirror=arguments.mirror,
            items=arguments.items,
        )
        if course_seed is None:
            return parameters
        from mkds_gym.kartlab.generator import COURSE_ID, random_course_data

        difficulty = arguments.difficulty
        data = random_course_data(
            course_seed, DEFAULT_DIFFICULTY if difficulty is None else float(difficulty)
        )
        return replace(parameters, course=COURSE_ID, course_data=data)


_CHOOSING: Final = ("mode", "engine_class", "mirror")
"""Race arguments that choose among several kept starts of a course."""
_KARTLAB_ONLY: Final = ("course_seed", "difficulty", "opponents", "opponent_strength", "items")


def choose_kept(cartridge: Cartridge, arguments: RaceArguments) -> tuple[KeptStart, ...]:
    """Return the kept starts that the race arguments choose, one per course.

    A start must agree with the arguments that differ from their defaults. Among the remaining
    starts of a course, the first that agrees with most of the defaults is taken.

    Raises:
        ValueError: an argument applies to Kartlab only, or the game's race has fewer laps.
        StateError: no start is kept, or none agrees.
    """
    defaults = RaceArguments()
    for name in _KARTLAB_ONLY:
        if (value := getattr(arguments, name)) != getattr(defaults, name):
            raise ValueError(
                f"{name}={shown(value)} has no effect on {cartridge.title}: leave it out"
            )
    if arguments.course == RANDOM_COURSE or isinstance(arguments.course_set, str):
        raise ValueError(
            f"random courses have no effect on {cartridge.title}: pass course=, or the names of "
            "several courses as course_set="
        )
    if arguments.course is not None and arguments.course_set is not None:
        raise ValueError("course and course_set exclude each other: leave out one of them")
    starts = kept_starts(cartridge.sha1)
    courses = list(dict.fromkeys(each.course for each in starts))
    wanted: Sequence[str]
    if arguments.course_set is not None:
        wanted = tuple(arguments.course_set)
    else:
        wanted = (arguments.course,) if arguments.course is not None else tuple(courses)
    known = f"kept starts: {', '.join(courses) or 'none'}"
    rom = name_of(cartridge.sha1) or shlex.quote(str(cartridge.path))
    how = (
        f"drive to its grid in `python -m mkds_gym.play --rom {rom}` and press K, run "
        "`python -m mkds_gym.starts import STATE`, or pass the savestate of a race as state="
    )
    if not wanted or (arguments.course_set is None and len(wanted) > 1):
        problem = "has no kept start" if not courses else "has several kept starts: pass course="
        raise StateError(
            f"{cartridge.title} ({cartridge.path}) needs a race to start from and {problem} "
            f"({known}); to keep a start, {how}"
        )
    return tuple(_of_course(name, starts, arguments, f"{known}; {how}") for name in wanted)


def _of_course(
    course: str, starts: Sequence[KeptStart], arguments: RaceArguments, how: str
) -> KeptStart:
    defaults = RaceArguments()
    found = [each for each in starts if each.course == course]
    if not found:
        raise StateError(f"no start of course {shown(course)} is kept ({how})")
    for name in _CHOOSING:
        value = getattr(arguments, name)
        if value != getattr(defaults, name):
            found = [each for each in found if getattr(each, name) == value]
            if not found:
                raise StateError(
                    f"no start of course {shown(course)} has {name}={shown(value)} ({how})"
                )
    best = max(
        found,
        key=lambda each: sum(getattr(each, name) == getattr(arguments, name) for name in _CHOOSING),
    )
    if arguments.laps is not None and 0 < best.laps < arguments.laps:
        raise ValueError(
            f"laps={arguments.laps} is out of range: the game ends this race after {best.laps} laps"
        )
    return best


def boot_to_race(console: Console, parameters: BootParameters) -> None:
    """Switch Kartlab off and on, and run it until the driver has control.

    Args:
        console: a console that writes the parameters at power-on (``on_power_on``).
        parameters: the parameters that it writes.

    Raises:
        ConsoleError: the program refused the parameters.
        NoRaceError: no race begins.
    """
    console.reset()
    reader: RaceReader | None = None
    for _ in range(BOOT_FRAMES):
        console.step(0, 1, draw=False)
        try:
            if reader is None:
                layout = MemoryLayout.detect(console.ram, console.cartridge.region)
                reader = race_reader(console.ram, layout)
            state = reader.read()
        except NoRaceError:
            continue
        if state.race_on and state.controllable:
            parameters.check(console.ram)
            return
    parameters.check(console.ram)
    raise NoRaceError(f"no race began within {BOOT_FRAMES} frames of switching on")


def race_config_record(ram: NDArray[np.uint8], layout: MemoryLayout) -> NDArray[np.void]:
    """Return a live view of the game's race config in main memory.

    Raises:
        NoRaceError: there is no race config.
    """
    address = read_pointer(ram, layout.race_config_pointer, RACE_CONFIG.itemsize, "the race config")
    return struct_view(ram, address, RACE_CONFIG)


def _check_values(arguments: RaceArguments) -> None:
    """Check the type and range of each argument."""
    if not isinstance(arguments.course, str | None):
        raise TypeError(
            f"course={shown(arguments.course)} is not the name of a course: expected a string, or "
            "None"
        )
    optional(integer, "course_seed", arguments.course_seed, 0)
    optional(number, "difficulty", arguments.difficulty, 0, 1)
    if isinstance(arguments.course_set, tuple):
        if not arguments.course_set:
            raise ValueError("course_set=[] is empty: expected names of courses")
        for name in arguments.course_set:
            if not isinstance(name, str):
                raise TypeError(f"course_set: {shown(name)} is not the name of a course")
    else:
        optional(choice, "course_set", arguments.course_set, COURSE_SETS)
    optional(integer, "laps", arguments.laps, 1, MAX_LAPS)
    choice("engine_class", arguments.engine_class, CLASSES)
    boolean("mirror", arguments.mirror)
    choice("mode", arguments.mode, RACE_MODES)
    optional(integer, "opponents", arguments.opponents, 0, MAX_OPPONENTS)
    optional(choice, "opponent_strength", arguments.opponent_strength, STRENGTHS)
    boolean("items", arguments.items)
