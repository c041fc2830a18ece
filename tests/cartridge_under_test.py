"""The Kartlab that tests drive: that of ``MKDS_ROM``, else the bundled one.

`tests/test_regions.py` runs files of tests with cartridges whose addresses are shifted.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mkds_gym.emulator.cartridge import Cartridge, header_crc16
from mkds_gym.race.memory_layout import REGION_WORD_ADDRESS, REGION_WORD_USA, MemoryLayout


def shift_of(rom: Path) -> int:
    """Return the shift of the addresses of a Kartlab."""
    image = rom.read_bytes()

    def word(at: int) -> int:
        return int.from_bytes(image[at : at + 4], "little")

    program, address = word(0x20), word(0x28)
    return word(program + REGION_WORD_ADDRESS - address) - REGION_WORD_USA


def with_game_code(image: bytes, code: str) -> bytes:
    """Return a ROM with another game code."""
    data = bytearray(image)
    data[0x0C:0x10] = code.encode()
    data[0x15E:0x160] = header_crc16(data[:0x15E]).to_bytes(2, "little")
    return bytes(data)


CARTRIDGE = Cartridge.open()
ROM = CARTRIDGE.path
LAYOUT = MemoryLayout.shifted(shift_of(ROM), CARTRIDGE.region)

needs_checkpoint_fields = pytest.mark.skipif(
    not LAYOUT.checkpoint_fields, reason="changes checkpoint fields, which are not read here"
)
