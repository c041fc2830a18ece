"""Kartlab's host block, through which the host drives several karts of a race.

The block lies at 0x023FE080 in main memory, 0x18 bytes, little endian. A race with hosted drivers
(`BootParameters`) has it:

====== ======== ===========================================================================
offset type     meaning
====== ======== ===========================================================================
+0x00  u8[4]    magic ``KLHB``, written by the program at boot
+0x04  u8       driver whose view the picture shows; 0xFF: the program draws nothing, which
                is faster, and the last picture stays
+0x05  u8[3]    reserved, 0
+0x08  u16[8]   keys of each driver, bits of `Keys`; START has no effect
====== ======== ===========================================================================
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator.hardware import RAM_START
from mkds_gym.errors import ConsoleError
from mkds_gym.kartlab.boot import MAX_DRIVERS

ADDRESS: Final = 0x023FE080
MAGIC: Final = b"KLHB"
NOBODY: Final = 0xFF
"""Value of `HostDrivers.shown` that draws nothing."""

_OFFSET: Final = ADDRESS - RAM_START
_SHOWN: Final = _OFFSET + 0x04
_KEYS: Final = slice(_OFFSET + 0x08, _OFFSET + 0x08 + 2 * MAX_DRIVERS)


class HostDrivers:
    """The host block of a race with hosted drivers. The race reads it in every frame.

    Args:
        ram: main memory of the console, (0x400000,) uint8, live.

    Attributes:
        keys: keys of each driver, (8,) uint16, live.

    Raises:
        ConsoleError: memory has no host block.
    """

    def __init__(self, ram: NDArray[np.uint8]) -> None:
        if ram[_OFFSET : _OFFSET + len(MAGIC)].tobytes() != MAGIC:
            raise ConsoleError(
                "the cartridge has no hosted drivers: build it again with this version of mkds-gym "
                "(python -m mkds_gym.kartlab)"
            )
        self._ram = ram
        self.keys: NDArray[np.uint16] = ram[_KEYS].view(np.uint16)

    @property
    def shown(self) -> int:
        """Driver whose view the picture shows, or `NOBODY`."""
        return int(self._ram[_SHOWN])

    @shown.setter
    def shown(self, driver: int) -> None:
        self._ram[_SHOWN] = driver
