"""Constants of every Nintendo DS: memory, screens and frame rate."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

RAM_START: Final = 0x02000000
"""Address of the first byte of main RAM, ``ram[0]``."""
RAM_SIZE: Final = 0x400000
"""Size of main RAM in bytes, 4 MiB."""
RAM_END: Final = RAM_START + RAM_SIZE

FRAMES_PER_SECOND: Final = 33_513_982 / (6 * 355 * 263)
"""VBlanks per second, 59.8261: the bus clock over 6 clocks a dot, 355 dots a line, 263 lines."""

SCREEN_WIDTH: Final = 256
SCREEN_HEIGHT: Final = 192
"""Pixels of each of the two screens."""


def _expansion_table() -> NDArray[np.uint8]:
    colour = np.arange(0x10000, dtype=np.uint32)
    five = np.stack([colour & 31, colour >> 5 & 31, colour >> 10 & 31], axis=-1)
    # Bit replication: 0 stays 0 and 31 becomes 255, unlike a plain shift (248).
    return (five << 3 | five >> 2).astype(np.uint8)


RGB_OF_COLOURS: Final = _expansion_table()
"""uint8 (65536, 3): RGB of each 15-bit colour (bits 0-4 red, 5-9 green, 10-14 blue; 15 unused)."""

HEADER_COPY: Final = 0x027FFE00
"""Address of the copy of the cartridge's header that the firmware makes. Main RAM repeats every
`RAM_SIZE` bytes, so the copy is at ``ram[0x3FFE00]``."""
