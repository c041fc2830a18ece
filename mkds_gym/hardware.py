"""What every Nintendo DS has: the size and place of its memory, its screens and its frame rate.

Nothing here is about a game or an emulator. Every other module may import this one.
"""

from __future__ import annotations

from typing import Final

RAM_START: Final = 0x02000000
"""Address of the first byte of main RAM; ``ram[0]``."""
RAM_SIZE: Final = 0x400000
"""Bytes of main RAM, 4 MiB."""
RAM_END: Final = RAM_START + RAM_SIZE

FRAMES_PER_SECOND: Final = 33_513_982 / (6 * 355 * 263)
"""VBlanks per second, 59.8261: the bus clock over 6 clocks a dot, 355 dots a line, 263 lines."""

SCREEN_WIDTH: Final = 256
SCREEN_HEIGHT: Final = 192
"""Pixels of each of the two screens."""

HEADER_COPY: Final = 0x027FFE00
"""Where the firmware leaves a copy of the cartridge's header. Main RAM repeats every
`RAM_SIZE` bytes, so that it is at ``ram[0x3FFE00]``."""
