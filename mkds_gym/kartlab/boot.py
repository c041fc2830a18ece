"""Kartlab's block of boot parameters: what the host tells the program before its first frame.

The block lies at 0x023FE000 in main memory, 0x20 bytes, little endian:

====== ===== ==============================================================================
offset type  meaning
====== ===== ==============================================================================
+0x00  u8[4] magic ``KLBP``; the program clears it once it has read the block
+0x04  u16   version, 1
+0x06  u16   size of the block, 0x20
+0x08  u32   course id; 0xFFFFFFFF for the default course
+0x0C  u32   laps, 1 to 9; 0 for the course's own number
+0x10  u32   class: 0 50cc, 1 100cc, 2 150cc
+0x14  u32   flags: bit 0 skips the countdown
+0x18  u32   answer of the program: 0 not read yet, 1 accepted, or what was wrong (`ANSWERS`)
+0x1C  u32   reserved, 0
====== ===== ==============================================================================
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.errors import ConsoleError

ADDRESS: Final = 0x023FE000
MAGIC: Final = b"KLBP"
VERSION: Final = 1
LAYOUT: Final = struct.Struct("<4sHH6I")
DEFAULT_COURSE: Final = 0xFFFFFFFF
CLASSES: Final = {50: 0, 100: 1, 150: 2}
MAX_LAPS: Final = 9

ANSWERS: Final = {
    2: "no such course in the cartridge",
    3: "bad number of laps",
    4: "bad class",
    5: "unknown version or size of the boot block",
}
"""What the program's answers other than 0 and 1 mean."""

_OFFSET: Final = ADDRESS - 0x02000000
_ANSWER: Final = _OFFSET + 0x18


@dataclass(frozen=True)
class BootParameters:
    """What Kartlab is to run.

    Attributes:
        course: id of a course, as in the race config; None for the cartridge's default. (Names are
            resolved by whoever knows the names: `mkds_gym.memory.COURSES`.)
        laps: 1 to 9; None for the course's own number.
        engine_class: 50, 100 or 150.
        skip_countdown: the race starts at once.

    Raises:
        ValueError: a value out of range.
    """

    course: str | int | None = None
    laps: int | None = None
    engine_class: int = 100
    skip_countdown: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.course, int) and not 0 <= self.course < DEFAULT_COURSE:
            raise ValueError(f"course id {self.course} is out of range")
        if self.laps is not None and not 1 <= self.laps <= MAX_LAPS:
            raise ValueError(f"laps={self.laps}; allowed: 1 to {MAX_LAPS}, or None")
        if self.engine_class not in CLASSES:
            allowed = ", ".join(map(str, CLASSES))
            raise ValueError(f"engine_class={self.engine_class}; allowed: {allowed}")

    @classmethod
    def of(cls, value: BootParameters | Mapping[str, Any] | None) -> BootParameters:
        """Boot parameters from a mapping of their names, or the defaults from None.

        Raises:
            ValueError: an unknown name or a bad value.
        """
        if isinstance(value, BootParameters):
            return value
        given = dict(value or {})
        known = [field.name for field in fields(cls)]
        if unknown := sorted(set(given) - set(known)):
            raise ValueError(f"unknown boot parameter {unknown[0]!r}; known: {', '.join(known)}")
        return cls(**given)

    @property
    def course_id(self) -> int:
        """The course id for the block.

        Raises:
            ValueError: no course has this name.
        """
        if self.course is None:
            return DEFAULT_COURSE
        if isinstance(self.course, str):
            from mkds_gym.memory import COURSES

            for number, name in COURSES.items():
                if name == self.course:
                    return number
            raise ValueError(f"no course is named {self.course!r}")
        return int(self.course)

    def write(self, ram: NDArray[np.uint8]) -> None:
        """Write the block into main memory. To be called between opening and the first frame."""
        block = LAYOUT.pack(
            MAGIC,
            VERSION,
            LAYOUT.size,
            self.course_id,
            self.laps or 0,
            CLASSES[self.engine_class],
            int(self.skip_countdown),
            0,
            0,
        )
        ram[_OFFSET : _OFFSET + LAYOUT.size] = np.frombuffer(block, np.uint8)

    def check(self, ram: NDArray[np.uint8]) -> bool:
        """Look for the program's answer.

        Returns:
            Whether the program has read and accepted the block; False as long as it has not read
            it (it does so within its first frames).

        Raises:
            ConsoleError: the program refused a value.
        """
        answer = int(ram[_ANSWER : _ANSWER + 4].view(np.uint32)[0])
        if answer in (0, 1):
            return answer == 1
        reason = ANSWERS.get(answer, f"answer {answer}")
        raise ConsoleError(f"Kartlab refused the boot parameters {self}: {reason}")
