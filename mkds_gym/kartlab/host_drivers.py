"""Kartlab's host block, through which the host drives several karts of a race.

The block lies at 0x023FE080 in main memory, 0x28 bytes, little endian. A race with hosted drivers
(`BootParameters`) has it. The words from held on, except the keys, are for ``alone=True``: each
driver then has its own race.

====== ======== ===========================================================================
offset type     meaning
====== ======== ===========================================================================
+0x00  u8[4]    magic ``KLHB``, written by the program at boot
+0x04  u8       driver whose view the picture shows; 0xFF: the program draws nothing, which
                is faster, and the last picture stays
+0x05  u8       held: bit n stops driver n in this frame, its clock included
+0x06  u8       save: bit n copies driver n to its state block at the end of this frame; the
                program clears the bits
+0x07  u8       load: bit n makes driver n what its state block says, before this frame; the
                program clears the bits
+0x08  u16[8]   keys of each driver, bits of `Keys`; START has no effect
+0x18  u32      address of the state blocks, one for each driver
+0x1C  u32      size of a state block
+0x20  u32      address of each driver's race status, as in a race of its own
+0x24  u32      frames done: counts up when all of a frame's results are in memory
====== ======== ===========================================================================

A state block holds everything that belongs to a driver, without addresses and without the driver's
number: another driver can load it, also in another console with the same race. At the start of the
race, the blocks hold the state before the first frame.

Drivers with a race each move at the top of the picture, and the driver that the picture shows in
VBlank, as in a race of its own. When `Console.step` returns, all results are in memory.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.hardware import RAM_START
from mkds_gym.errors import ConsoleError
from mkds_gym.kartlab.boot import ADDRESS as BOOT_ADDRESS
from mkds_gym.kartlab.boot import MAX_DRIVERS
from mkds_gym.race.memory import check_pointer, read_pointer
from mkds_gym.race.memory_layout import DRIVER, RACE_CONFIG, RACE_STATUS, SCENE, MemoryLayout
from mkds_gym.race.packing import field_slice
from mkds_gym.utils.arguments import integer

ADDRESS: Final = 0x023FE080
MAGIC: Final = b"KLHB"
NOBODY: Final = 0xFF
"""Value of `HostDrivers.shown` that draws nothing."""

_OFFSET: Final = ADDRESS - RAM_START
_SHOWN: Final = _OFFSET + 0x04
_HELD: Final = _OFFSET + 0x05
_SAVE: Final = _OFFSET + 0x06
_LOAD: Final = _OFFSET + 0x07
_KEYS: Final = _OFFSET + 0x08
_FRAMES: Final = slice(_OFFSET + 0x24, _OFFSET + 0x28)
_ADDRESSES: Final = slice(_OFFSET + 0x18, _OFFSET + 0x24)
_HOSTED: Final = BOOT_ADDRESS - RAM_START + 0x38
_ZEROS: Final = BOOT_ADDRESS - RAM_START + 0x3C
"""Index of the last word of the boot block, which is reserved and 0."""
_DRIVER_ID: Final = field_slice(DRIVER, "driver_id")


def hosting_refusal(cartridge: Cartridge) -> str:
    """Return why a cartridge has no hosted drivers; empty if it has.

    The program that writes the block's magic at boot has the magic among its constants.
    """
    if not cartridge.boot_parameters:
        return f"{cartridge.title} ({cartridge.path}) drives one kart: use Kartlab"
    offset, size = (int.from_bytes(cartridge.header[at : at + 4], "little") for at in (0x20, 0x2C))
    if MAGIC in cartridge.contents()[offset : offset + size]:  # the ARM9 program
        return ""
    return (
        f"the Kartlab cartridge '{cartridge.path}' is older than hosted drivers: build it again "
        "with this version of mkds-gym (python -m mkds_gym.kartlab build)"
    )


class HostDrivers:
    """The host block of a race with hosted drivers. The race reads it in every frame.

    Args:
        ram: main memory of the console, (0x400000,) uint8, live.

    Attributes:
        count: number of hosted drivers, 1 to 8.
        keys: keys of each hosted driver, (count,) uint16, live.

    Raises:
        ConsoleError: memory has no host block.
    """

    def __init__(self, ram: NDArray[np.uint8]) -> None:
        if ram[_OFFSET : _OFFSET + len(MAGIC)].tobytes() != MAGIC:
            raise ConsoleError(
                "the cartridge has no hosted drivers: build it again with this version of mkds-gym "
                "(python -m mkds_gym.kartlab build)"
            )
        self._ram = ram
        self.count: Final = int(ram[_HOSTED])
        self.keys: NDArray[np.uint16] = ram[_KEYS : _KEYS + 2 * self.count].view(np.uint16)

    @property
    def shown(self) -> int:
        """Driver whose view the picture shows, or `NOBODY`."""
        return int(self._ram[_SHOWN])

    @shown.setter
    def shown(self, driver: int) -> None:
        self._ram[_SHOWN] = driver

    @property
    def frames(self) -> int:
        """Frames whose results are complete, modulo 2**32. Drivers with a race each only."""
        return int(self._ram[_FRAMES].view(np.uint32)[0])

    @property
    def held(self) -> int:
        """Bit n: driver n stands still, its clock included. Drivers alone only."""
        return int(self._ram[_HELD])

    @held.setter
    def held(self, mask: int) -> None:
        self._ram[_HELD] = mask

    def save(self, mask: int) -> None:
        """Copy drivers to their state blocks at the end of the next frame.

        Args:
            mask: bit n for driver n.
        """
        self._ram[_SAVE] |= mask

    def load(self, mask: int) -> None:
        """Make drivers what their state blocks say, at the start of the next frame.

        A driver that is held in that frame stays as loaded.

        Args:
            mask: bit n for driver n.
        """
        self._ram[_LOAD] |= mask

    def state(self, driver: int) -> bytes:
        """Return a driver's state block.

        Raises:
            ConsoleError: the drivers are not alone.
            ValueError: there is no such driver.
        """
        return self._ram[self._state_slice(driver)].tobytes()

    def write_state(self, driver: int, state: bytes) -> None:
        """Write a driver's state block, for `load`.

        Args:
            driver: 0 to ``count - 1``.
            state: a result of `state`, also of another driver or of another console with the same
                race and cartridge.

        Raises:
            ConsoleError: the drivers are not alone.
            ValueError: there is no such driver, or the size is wrong.
        """
        block = self._ram[self._state_slice(driver)]
        if len(state) != len(block):
            raise ValueError(f"state has {len(state)} bytes: expected {len(block)}")
        block[:] = np.frombuffer(state, np.uint8)

    def _state_slice(self, driver: int) -> slice:
        start, size, _ = self._addresses()
        integer("driver", driver, 0, self.count - 1)
        at = check_pointer(start + driver * size, size, "the state block")
        return slice(at, at + size)

    def _addresses(self) -> tuple[int, int, int]:
        start, size, statuses = (int(word) for word in self._ram[_ADDRESSES].view(np.uint32))
        if not start:
            raise ConsoleError("the drivers have no states: start the race with alone=True")
        return start, size, statuses

    def race_spans(self, driver: int) -> list[tuple[int, int]]:
        """Return where the `RaceCopy` of a race of this driver alone lies.

        Args:
            driver: 0 to ``count - 1``.

        Returns:
            Index of the first byte in memory, and size, of each part.

        Raises:
            ConsoleError: the drivers are not alone.
            ValueError: there is no such driver.
            NoRaceError: memory has no race.
        """
        statuses = self._addresses()[2]
        integer("driver", driver, 0, self.count - 1)
        layout = MemoryLayout.detect(self._ram)

        def field(pointer: int, dtype: np.dtype[np.void], name: str) -> tuple[int, int]:
            start = read_pointer(self._ram, pointer, dtype.itemsize, name) - RAM_START
            part = field_slice(dtype, name)
            return start + part.start, part.stop - part.start

        size = RACE_STATUS.itemsize
        status = check_pointer(statuses + driver * size, size, "the race status")
        size = DRIVER.itemsize
        drivers = read_pointer(self._ram, layout.drivers_pointer, MAX_DRIVERS * size, "the drivers")
        own = drivers + driver * size - RAM_START
        return [
            (status, RACE_STATUS.itemsize),
            field(layout.scene_pointer, SCENE, "state"),
            field(layout.race_config_pointer, RACE_CONFIG, "course_id"),
            (own, _DRIVER_ID.start),
            (_ZEROS, _DRIVER_ID.stop - _DRIVER_ID.start),  # driver 0, in a race of its own
            (own + _DRIVER_ID.stop, size - _DRIVER_ID.stop),
        ]

    def race_pieces(self, driver: int) -> tuple[memoryview, ...]:
        """Return live views that joined are the `RaceCopy` of a race of this driver alone.

        Args:
            driver: 0 to ``count - 1``.

        Raises:
            ConsoleError: the drivers are not alone.
            ValueError: there is no such driver.
            NoRaceError: memory has no race.
        """
        memory = self._ram.data
        return tuple(memory[at : at + size] for at, size in self.race_spans(driver))
