"""Kartlab's boot parameters, which the host writes into memory before the first frame.

The block lies at 0x023FE000 in main memory, 0x40 bytes, little endian:

====== ===== ==============================================================================
offset type  meaning
====== ===== ==============================================================================
+0x00  u8[4] magic ``KLBP``; the program clears the magic when it has read the block
+0x04  u16   version, 3
+0x06  u16   size of the block, 0x40
+0x08  u32   course id; 0xFFFFFFFF for the default course
+0x0C  u32   laps, 1 to 9; 0 for the course's own number
+0x10  u32   class: 0 50cc, 1 100cc, 2 150cc
+0x14  u32   flags: bit 0 skips the countdown, bit 1 mirrors the course, bit 2 has item boxes,
             bit 3 plays sound, bit 4 puts hosted drivers into a race each
+0x18  u32   answer of the program: 0 not read yet, 1 accepted, or an error (`ANSWERS`)
+0x1C  u32   mode: 1 time trial, 3 VS
+0x20  u32   karts in the race with the player's, 1 to 8; always 1 in a time trial
+0x24  u32   strength of the CPU karts: 0 easy, 1 normal, 2 hard
+0x28  u32   seed of the race's random numbers, stored in the race config's ``rng_seed``
+0x2C  u32   the player's place on the grid: 0 the pole, 0xFFFFFFFF the last place
+0x30  u32   address of a course in main memory; 0 for a course of the cartridge
+0x34  u32   size of that course in bytes
+0x38  u32   drivers with keys from the host block (`mkds_gym.kartlab.host_drivers`): 0 to the karts
             in a VS race, 1 to 8 with bit 4 of the flags
+0x3C  u32   reserved, 0
====== ===== ==============================================================================

Without the block the program shows its title and menu. A course in memory lies at 0x02340000
(`COURSE_DATA`) and is an archive as on the cartridge (``.carc``) or an uncompressed NARC.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator.cartridge import KARTLAB_CODE, KARTLAB_REGIONS
from mkds_gym.emulator.hardware import HEADER_COPY, RAM_SIZE, RAM_START
from mkds_gym.errors import ConsoleError
from mkds_gym.utils.arguments import boolean, choice, integer, optional

ADDRESS: Final = 0x023FE000
MAGIC: Final = b"KLBP"
VERSION: Final = 3
LAYOUT: Final = struct.Struct("<4sHH14I")
DEFAULT_COURSE: Final = 0xFFFFFFFF
CLASSES: Final = {50: 0, 100: 1, 150: 2}
MODES: Final = {"time_trial": 1, "vs": 3}
STRENGTHS: Final = {"easy": 0, "normal": 1, "hard": 2}
MAX_DRIVERS: Final = 8
COURSE_DATA: Final = 0x02340000
COURSE_DATA_SIZE: Final = 0x80000
"""Address and largest size in bytes of a course in memory."""
MAX_LAPS: Final = 9

ANSWERS: Final = {
    2: "no such course in the cartridge",
    3: "bad number of laps",
    4: "bad class",
    5: "unknown version or size of the boot block",
    6: "bad mode",
    7: "bad number of drivers, or bad strength",
    8: "bad address or size of the course in memory",
    9: "bad number of hosted drivers, or bad mode for hosted drivers",
}
"""Meaning of the program's answers other than 0 and 1."""

_OFFSET: Final = ADDRESS - RAM_START
_GAME_CODE: Final = (HEADER_COPY + 0x0C - RAM_START) % RAM_SIZE
_ANSWER: Final = _OFFSET + 0x18


@dataclass(frozen=True)
class BootParameters:
    """The race that Kartlab starts.

    ```python
    with Console(on_power_on=BootParameters(laps=1).write) as console:
    ```

    Attributes:
        course: id of a course, from `course_id`; None for the cartridge's default.
        laps: 1 to 9; None for the course's own number.
        engine_class: 50, 100 or 150.
        skip_countdown: start the race at once.
        mode: ``"time_trial"`` or ``"vs"``.
        drivers: karts in the race with the player's, 1 to 8; always 1 in a time trial.
        strength: of the CPU karts: ``"easy"``, ``"normal"`` or ``"hard"``.
        seed: of the race's random numbers, 0 to 2**32 - 1.
        grid: the player's place on the grid, 0 (the pole) to ``drivers - 1``; None for the last.
            Hosted drivers stand one behind the other from there on.
        hosted: drivers, from driver 0 on, whose keys the host writes (`HostDrivers`); 0 for one
            driver with the console's keys. Needs VS or ``alone``.
        alone: give each of the 1 to 8 hosted drivers a time trial of its own, in one console. The
            drivers do not meet, and each can start again while the others drive on.
        mirror: exchange left and right of the course.
        items: put item boxes on the course (VS).
        sound: play sound, which costs the emulator time.
        course_data: archive of a course to write into memory; ``course`` is then its id.

    Raises:
        TypeError: a value is of the wrong type.
        ValueError: a value is out of range.
    """

    course: int | None = None
    laps: int | None = None
    engine_class: int = 100
    skip_countdown: bool = True
    mode: str = "time_trial"
    drivers: int = 1
    strength: str = "normal"
    seed: int = 1
    grid: int | None = None
    hosted: int = 0
    alone: bool = False
    mirror: bool = False
    items: bool = False
    sound: bool = False
    course_data: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        optional(integer, "course", self.course, 0, DEFAULT_COURSE - 1)
        optional(integer, "laps", self.laps, 1, MAX_LAPS)
        choice("engine_class", self.engine_class, CLASSES)
        choice("mode", self.mode, MODES)
        integer("drivers", self.drivers, 1, MAX_DRIVERS)
        choice("strength", self.strength, STRENGTHS)
        integer("seed", self.seed, 0, 2**32 - 1)
        for name in ("skip_countdown", "mirror", "items", "sound", "alone"):
            boolean(name, getattr(self, name))
        if self.alone:
            integer("hosted", self.hosted, 1, MAX_DRIVERS)
            if self.mode != "time_trial":
                raise ValueError("alone=True needs mode='time_trial'")
        else:
            integer("hosted", self.hosted, 0, self.drivers)
        standing = 1 if self.alone else max(self.hosted, 1)
        optional(integer, "grid", self.grid, 0, self.drivers - standing)
        if self.mode == "time_trial" and self.drivers != 1:
            raise ValueError(
                f"drivers={self.drivers} needs mode='vs': a time trial has no opponents"
            )
        if self.mode == "time_trial" and self.hosted and not self.alone:
            raise ValueError(f"hosted={self.hosted} needs mode='vs' or alone=True")
        if self.course_data is not None:
            integer("len(course_data)", len(self.course_data), 1, COURSE_DATA_SIZE)

    def pack(self) -> bytes:
        """Return the 0x40 bytes of the block."""
        flags = self.skip_countdown | self.mirror << 1 | self.items << 2 | self.sound << 3
        flags |= self.alone << 4
        return LAYOUT.pack(
            MAGIC,
            VERSION,
            LAYOUT.size,
            DEFAULT_COURSE if self.course is None else self.course,
            self.laps or 0,
            CLASSES[self.engine_class],
            flags,
            0,
            MODES[self.mode],
            self.drivers,
            STRENGTHS[self.strength],
            self.seed,
            0xFFFFFFFF if self.grid is None else self.grid,
            0 if self.course_data is None else COURSE_DATA,
            0 if self.course_data is None else len(self.course_data),
            self.hosted,
            0,
        )

    def write(self, ram: NDArray[np.uint8]) -> None:
        """Write the block into main memory; pass this method as ``on_power_on`` of `Console`.

        Raises:
            ValueError: the cartridge in the console takes no boot parameters.
        """
        # The copy of the cartridge's header is in memory before the first frame.
        code = ram[_GAME_CODE : _GAME_CODE + 4].tobytes().decode("ascii", "replace")
        if code not in KARTLAB_REGIONS:
            raise ValueError(
                f"the cartridge in the console ({code!r}) takes no boot "
                f"parameters; only Kartlab ({KARTLAB_CODE!r}) does"
            )
        ram[_OFFSET : _OFFSET + LAYOUT.size] = np.frombuffer(self.pack(), np.uint8)
        if self.course_data is not None:
            start = COURSE_DATA - RAM_START
            ram[start : start + len(self.course_data)] = np.frombuffer(self.course_data, np.uint8)

    def check(self, ram: NDArray[np.uint8]) -> bool:
        """Read the program's answer, which comes within the first frames.

        Returns:
            Whether the program has read and accepted the block.

        Raises:
            ConsoleError: the program refused a value.
        """
        answer = int(ram[_ANSWER : _ANSWER + 4].view(np.uint32)[0])
        if answer in (0, 1):
            return answer == 1
        reason = ANSWERS.get(answer, f"answer {answer}")
        raise ConsoleError(f"Kartlab refused the boot parameters {self}: {reason}")
