"""Which race an episode is: what the arguments of `mkds_gym.env.MKDSEnv` choose of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
"""What ``course`` and ``info["course"]`` call a course that is made from a seed."""
COURSE_SETS: Final = ("train", "test")
MAX_OPPONENTS: Final = MAX_DRIVERS - 1
DEFAULT_DIFFICULTY: Final = 0.5
BOOT_FRAMES: Final = 1200
"""How long a cartridge that boots by itself may take to its race start, in frames."""


@dataclass(frozen=True)
class RaceArguments:
    """The arguments that choose the race, by the names that users know them by.

    All but the defaults are for cartridges that take boot parameters, and for episodes that start
    where those lead, not at a savestate. `MKDSEnv` says what each means.
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


class Races:
    """Says of each episode which race it is.

    Args:
        cartridge: what is in the console.
        arguments: what the user wants.
        has_state: the episodes start at a savestate.

    Attributes:
        arguments: as given.
        random: courses are made from seeds.
        boots: races are reached by boot parameters, not by a savestate.
        has_chance: a race has a seed of its own: its opponents and items go by it.

    Raises:
        TypeError, ValueError: an argument is wrong, or excludes another; the message has the
            allowed values.
    """

    def __init__(self, cartridge: Cartridge, arguments: RaceArguments, *, has_state: bool) -> None:
        self.arguments = arguments
        self.random = False
        self.has_chance = False
        self.boots = cartridge.boot_parameters and not has_state
        _check_types(arguments)
        for name, default in vars(RaceArguments()).items():
            value = getattr(arguments, name)
            if value == default:
                continue
            if not cartridge.boot_parameters:
                raise ValueError(
                    f"{name}={value!r}: on {cartridge.title} the start state decides; leave "
                    f"out {name} and pass the savestate of a race as state="
                )
            if has_state:
                raise ValueError(
                    f"{name}={value!r} and a start state exclude each other: the state decides"
                )
        if not self.boots:
            if not has_state:
                raise ValueError(
                    f"{cartridge.title} ({cartridge.path}) needs a race to start from: "
                    "pass state=, a savestate made with Console.save_state() or by the desktop "
                    "emulator"
                )
            return
        self._parameters = self._boot_parameters(cartridge, arguments)
        self.has_chance = arguments.mode == "vs"

    def _boot_parameters(self, cartridge: Cartridge, arguments: RaceArguments) -> BootParameters:
        course, seed, chosen = arguments.course, arguments.course_seed, arguments.course_set
        names = cartridge.course_names()
        self.random = course == RANDOM_COURSE or chosen is not None
        if course is not None and course not in (*names, RANDOM_COURSE):
            raise ValueError(
                f"course={course!r} is not on this cartridge; it has {', '.join(names)}; "
                f"{RANDOM_COURSE!r} makes one from course_seed, and python -m mkds_gym.kartlab "
                "compile a cartridge with a course of your own"
            )
        if chosen is not None:
            for name, value in (("course", course), ("course_seed", seed)):
                if value not in (None, RANDOM_COURSE):
                    raise ValueError(
                        f"{name}={value!r} and course_set={chosen!r} exclude each other: a set "
                        "has a new random course at every reset"
                    )
        if self.random:
            from mkds_gym.kartlab.generator import SEEDS, TEST_SEEDS, TRAIN_SEEDS

            self._seeds = SEEDS
            self._set = TEST_SEEDS if chosen == "test" else TRAIN_SEEDS
            if seed is not None:
                self.check_seed(seed)
        for name in ("course_seed", "difficulty"):
            if getattr(arguments, name) is not None and not self.random:
                raise ValueError(
                    f"{name}={getattr(arguments, name)!r} is of random courses; pass "
                    f"course={RANDOM_COURSE!r} or course_set too"
                )
        versus = arguments.mode == "vs"
        for name in ("opponents", "opponent_strength", "items"):
            value = getattr(arguments, name)
            if value and not versus:
                raise ValueError(f"{name}={value!r} is of races against others; pass mode='vs' too")
        opponents = arguments.opponents
        if opponents is None:
            opponents = MAX_OPPONENTS if versus else 0
        return BootParameters(
            course=None if course is None or self.random else course_id(course),
            laps=_index(arguments.laps),
            engine_class=int(arguments.engine_class),
            mode=arguments.mode,
            drivers=1 + int(opponents),
            strength=arguments.opponent_strength or "normal",
            mirror=arguments.mirror,
            items=arguments.items,
        )

    def check_seed(self, seed: object) -> int:
        """A seed of a random course, as a plain int.

        Raises:
            TypeError: `seed` is not an integer.
            ValueError: courses here are not random, or there is no such seed.
        """
        if not self.random:
            raise ValueError(
                f"course_seed={seed!r} is of random courses; make the environment with "
                f"course={RANDOM_COURSE!r} or course_set"
            )
        return integer("course_seed", seed, 0, self._seeds[-1])

    def draw_seed(self, chance: np.random.Generator) -> int | None:
        """The seed of the next episode's course; None where courses are not random.

        Draws from ``chance`` only where every episode has a course of its own.
        """
        if not self.random:
            return None
        if self.arguments.course_seed is not None:
            return int(self.arguments.course_seed)
        return self._set[int(chance.integers(len(self._set)))]

    def parameters(self, course_seed: int | None) -> BootParameters:
        """What to boot with; makes the course of a seed, which takes a part of a second."""
        if course_seed is None:
            return self._parameters
        from mkds_gym.kartlab.generator import COURSE_ID, random_course_data

        difficulty = self.arguments.difficulty
        data = random_course_data(
            course_seed, DEFAULT_DIFFICULTY if difficulty is None else float(difficulty)
        )
        return replace(self._parameters, course=COURSE_ID, course_data=data)


def boot_to_race(console: Console, parameters: BootParameters) -> None:
    """Switch Kartlab off and on, and run it until the driver may drive.

    Args:
        console: writes the parameters when it is switched on (``on_power_on``).
        parameters: what it writes.

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


def race_config(ram: NDArray[np.uint8], layout: MemoryLayout) -> NDArray[np.void]:
    """The race's config record in main memory, live.

    Raises:
        NoRaceError: there is none.
    """
    address = read_pointer(ram, layout.race_config_pointer, RACE_CONFIG.itemsize, "the race config")
    return struct_view(ram, address, RACE_CONFIG)


def _index(value: Any) -> int | None:
    return None if value is None else int(value)


def _check_types(arguments: RaceArguments) -> None:
    """Check each argument by itself, whatever the cartridge.

    Raises:
        TypeError, ValueError: a value is of the wrong type or out of range.
    """
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
