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
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.cartridge import KARTLAB_CODE
from mkds_gym.errors import ConsoleError
from mkds_gym.hardware import HEADER_COPY, RAM_SIZE, RAM_START

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

_OFFSET: Final = ADDRESS - RAM_START
_GAME_CODE: Final = (HEADER_COPY + 0x0C - RAM_START) % RAM_SIZE
_ANSWER: Final = _OFFSET + 0x18


@dataclass(frozen=True)
class BootParameters:
    """What Kartlab is to run.

    ```python
    with Console(on_power_on=BootParameters(laps=1).write) as console:
    ```

    Attributes:
        course: id of a course (`mkds_gym.memory.course_id` knows them by name); None for the
            cartridge's default.
        laps: 1 to 9; None for the course's own number.
        engine_class: 50, 100 or 150.
        skip_countdown: the race starts at once.

    Raises:
        TypeError: a value that is no whole number where one is needed.
        ValueError: a value out of range.
    """

    course: int | None = None
    laps: int | None = None
    engine_class: int = 100
    skip_countdown: bool = True

    def __post_init__(self) -> None:
        classes = ", ".join(map(str, CLASSES))
        for name, allowed in (
            ("course", f"the id of a course, 0 to {DEFAULT_COURSE - 1:#x}, or None"),
            ("laps", f"1 to {MAX_LAPS}, or None"),
            ("engine_class", classes),
        ):
            value = getattr(self, name)
            if value is None and name != "engine_class":
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name}={value!r} is not a whole number; allowed: {allowed}")
            sound = {
                "course": 0 <= value < DEFAULT_COURSE,
                "laps": 1 <= value <= MAX_LAPS,
                "engine_class": value in CLASSES,
            }
            if not sound[name]:
                raise ValueError(f"{name}={value}; allowed: {allowed}")
        if not isinstance(self.skip_countdown, bool):
            raise TypeError(f"skip_countdown={self.skip_countdown!r}; allowed: True or False")

    def pack(self) -> bytes:
        """The block's 0x20 bytes."""
        return LAYOUT.pack(
            MAGIC,
            VERSION,
            LAYOUT.size,
            DEFAULT_COURSE if self.course is None else self.course,
            self.laps or 0,
            CLASSES[self.engine_class],
            int(self.skip_countdown),
            0,
            0,
        )

    def write(self, ram: NDArray[np.uint8]) -> None:
        """Write the block into main memory: `Console`'s ``on_power_on``.

        Raises:
            ValueError: the cartridge in the console takes no boot parameters, going by the copy
                of its header that is in memory before the first frame.
        """
        code = ram[_GAME_CODE : _GAME_CODE + 4].tobytes()
        if code != KARTLAB_CODE.encode():
            raise ValueError(
                f"the cartridge in the console ({code.decode('ascii', 'replace')!r}) takes no boot "
                f"parameters; only Kartlab ({KARTLAB_CODE!r}) does"
            )
        ram[_OFFSET : _OFFSET + LAYOUT.size] = np.frombuffer(self.pack(), np.uint8)

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
