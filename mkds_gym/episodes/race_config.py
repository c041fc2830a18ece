"""Which race an episode is: the race arguments of `MKDSEnv`, checked against a cartridge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.console import Console
from mkds_gym.errors import NoRaceError
from mkds_gym.kartlab.boot import CLASSES, MAX_DRIVERS, MAX_LAPS, MODES, STRENGTHS, BootParameters
from mkds_gym.race.memory import read_pointer, struct_view
from mkds_gym.race.memory_layout import RACE_CONFIG, MemoryLayout
from mkds_gym.race.names import course_id
from mkds_gym.race.reader import RaceReader
from mkds_gym.utils.arguments import boolean, choice, integer, number, optional

RANDOM_COURSE: Final = "random"
"""Name of courses that are generated from a seed, in ``course`` and ``full_info()["course"]``."""
COURSE_SETS: Final = ("train", "test")
MAX_OPPONENTS: Final = MAX_DRIVERS - 1
DEFAULT_DIFFICULTY: Final = 0.5
BOOT_FRAMES: Final = 1200
"""Most frames from power-on to the race start."""


@dataclass(frozen=True)
class RaceArguments:
    """The arguments of `MKDSEnv` that choose the race, with their defaults.

    Only Kartlab takes values other than the defaults, and only without a start state. `MKDSEnv`
    documents each.
    """

    course: str | None = None
    course_seed: int | None = None
    difficulty: float | None = None
    course_set: str | None = None
    laps: int | None = None
    engine_class: int = 100
    mirror: bool = False
    mode: str = "time_trial"
    opponents: int | None = None
    opponent_strength: str | None = None
    items: bool = False

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
        boots: whether races are reached by boot parameters, not by a savestate.
        has_race_seed: whether a race has a seed for its opponents and items.

    Raises:
        TypeError, ValueError: an argument is wrong, or two exclude each other.
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
        self.random = arguments.course == RANDOM_COURSE or arguments.course_set is not None
        self.has_race_seed = self.boots and arguments.mode == "vs"
        _check_values(arguments)
        if self.boots:
            self._check_boot(cartridge)
            return
        for name, default in vars(RaceArguments()).items():
            value = getattr(arguments, name)
            if value == default:
                continue
            if not cartridge.boot_parameters:
                raise ValueError(
                    f"{name}={value!r} has no effect on {cartridge.title}: leave out {name} and "
                    "pass the savestate of a race as state="
                )
            raise ValueError(
                f"{name}={value!r} and state exclude each other: the state holds the race"
            )
        if not has_state:
            raise ValueError(
                f"{cartridge.title} ({cartridge.path}) needs a race to start from: pass state=, a "
                "savestate of Console.save_state() or of the desktop emulator"
            )

    def _check_boot(self, cartridge: Cartridge) -> None:
        """Check the arguments against each other and the courses of the cartridge."""
        arguments = self.arguments
        names = cartridge.course_names()
        if arguments.course is not None and arguments.course not in (*names, RANDOM_COURSE):
            raise ValueError(
                f"course={arguments.course!r} is not on the cartridge: expected one of "
                f"{', '.join(names)}, or {RANDOM_COURSE!r} for a generated course; "
                "`python -m mkds_gym.kartlab compile` makes a cartridge with a custom course"
            )
        if arguments.course_set is not None:
            for name in ("course", "course_seed"):
                if (value := getattr(arguments, name)) not in (None, RANDOM_COURSE):
                    raise ValueError(
                        f"{name}={value!r} and course_set={arguments.course_set!r} exclude each "
                        "other: a course set has another random course at every reset"
                    )
        if self.random and arguments.course_seed is not None:
            self.check_course_seed(arguments.course_seed)
        for name in ("course_seed", "difficulty"):
            if (value := getattr(arguments, name)) is not None and not self.random:
                raise ValueError(
                    f"{name}={value!r} applies to random courses only: pass "
                    f"course={RANDOM_COURSE!r} or course_set as well"
                )
        for name in ("opponents", "opponent_strength", "items"):
            if (value := getattr(arguments, name)) and not self.has_race_seed:
                raise ValueError(
                    f"{name}={value!r} applies to VS races only: pass mode='vs' as well"
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
                f"course_seed={seed!r} applies to random courses only: make the environment with "
                f"course={RANDOM_COURSE!r} or course_set"
            )
        return integer("course_seed", seed, 0, SEEDS[-1])

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

    def boot_parameters(self, course_seed: int | None) -> BootParameters:
        """Return the boot parameters of a race.

        Args:
            course_seed: seed of a random course, which takes a fraction of a second to generate;
                None for the course of the arguments.
        """
        arguments = self.arguments
        opponents = arguments.opponents
        if opponents is None:
            opponents = MAX_OPPONENTS if arguments.mode == "vs" else 0
        alone = self.hosted > 0 and arguments.mode == "time_trial"
        course = arguments.course
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
    for _ in range(BOOT_FRAMES):
        console.step(0, 1, draw=False)
        try:
            layout = MemoryLayout.detect(console.ram, console.cartridge.region)
            state = RaceReader(console.ram, layout).read()
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
    optional(integer, "course_seed", arguments.course_seed, 0)
    optional(number, "difficulty", arguments.difficulty, 0, 1)
    optional(choice, "course_set", arguments.course_set, COURSE_SETS)
    optional(integer, "laps", arguments.laps, 1, MAX_LAPS)
    choice("engine_class", arguments.engine_class, CLASSES)
    boolean("mirror", arguments.mirror)
    choice("mode", arguments.mode, MODES)
    optional(integer, "opponents", arguments.opponents, 0, MAX_OPPONENTS)
    optional(choice, "opponent_strength", arguments.opponent_strength, STRENGTHS)
    boolean("items", arguments.items)
