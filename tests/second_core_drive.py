"""The drive of tests/test_kartlab_second_core.py, which both emulator cores run."""

from __future__ import annotations

from typing import Any


def keys(clock: int) -> tuple[bool, bool, bool]:
    """Return A, LEFT and RIGHT at a frame of the race: over grass, into walls, off the road."""
    if clock < 60:
        return (False, False, False)
    turn = clock // 45 % 4
    return (True, turn == 1, turn == 3)


def record(ram: Any) -> tuple[int, str]:
    """Return the race's clock and the kart's position in hex; -1 and "" without a race."""

    def word(address: int) -> int:
        return int.from_bytes(bytes(ram[address : address + 4]), "little")

    scene = word(0x1759AC)
    if not 0x02000000 <= scene < 0x02400000 or word((scene & 0x3FFFFF) + 0x10C) != 2:
        return -1, ""  # before the program runs, memory may hold any value
    driver, status = word(0x17ACF8) & 0x3FFFFF, word(0x1755FC) & 0x3FFFFF
    return word(status), bytes(ram[driver + 0x80 : driver + 0x8C]).hex()
