"""Consoles in a race or with another program, and what to do with them."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
from cartridge_under_test import ROM
from numpy.typing import NDArray

from mkds_gym.emulator import Console, Keys
from mkds_gym.emulator.hardware import RAM_START
from mkds_gym.kartlab.boot import BootParameters

LEFT, RIGHT = Keys.A | Keys.LEFT, Keys.A | Keys.RIGHT
_DRIVE = [Keys.A, RIGHT, LEFT, Keys.A, Keys.B, Keys.A | Keys.R]


def race_console() -> Console:
    """A console that boots into a race; its keys matter after some 60 frames."""
    return Console(ROM, on_power_on=BootParameters().write)


def drive(console: Console, frames: int, draw: bool = False) -> bytes:
    """Drive with varied keys, and return the memory."""
    for i in range(frames):
        console.step(_DRIVE[i // 7 % len(_DRIVE)], 1, draw)
    return console.ram.tobytes()


def digest_after(console: Console, keys: int) -> str:
    """Boot, hold keys, and return a digest of the memory."""
    console.step(0, 60, draw=False)
    console.step(keys, 40, draw=False)
    return hashlib.sha256(console.ram).hexdigest()


def digest_of_new_console(keys: int) -> str:
    """`digest_after` of a new console. Worker processes run this."""
    with race_console() as console:
        return digest_after(console, keys)


def write_code(ram: NDArray[np.uint8], *code: int) -> None:
    """Replace the cartridge's program, in ``on_power_on``.

    Without the recompiler, the processor has already fetched the first instruction by then, so the
    code begins with one that does nothing.
    """
    entry = struct.unpack_from("<I", ROM.read_bytes(), 0x24)[0] - RAM_START
    program = struct.pack(f"<{1 + len(code)}I", 0xE1A00000, *code)
    ram[entry : entry + len(program)] = np.frombuffer(program, np.uint8)
