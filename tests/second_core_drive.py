"""All structures of a race, and keys, for tests that drive a race on several emulator cores."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator.console import Keys
from mkds_gym.emulator.hardware import RAM_START
from mkds_gym.race import memory_layout
from mkds_gym.race.memory import WORD, read_struct
from mkds_gym.race.memory_layout import MemoryLayout

LAYOUT = MemoryLayout()
KEYS = (
    Keys.A,
    Keys.A | Keys.LEFT,
    Keys.A | Keys.R | Keys.RIGHT,
    Keys.A | Keys.L,
    Keys.A | Keys.X | Keys.RIGHT,
    Keys.B,
)


def keys(clock: int) -> int:
    """Return the keys of a frame of the race: with drifts and items, over grass, into walls."""
    return int(KEYS[clock // 45 % len(KEYS)])


def structures(ram: NDArray[np.uint8]) -> dict[str, bytes]:
    """Return the bytes of all structures that change in a race; empty without a race."""

    def word(address: int) -> int:
        return int(read_struct(ram, address, WORD)["value"])

    def piece(address: int, size: int) -> bytes:
        return ram[address - RAM_START : address - RAM_START + size].tobytes()

    scene = word(LAYOUT.scene_pointer)
    # Before the program runs, memory may hold any value.
    if not 0x02000000 <= scene < 0x02400000 or word(scene + 0x10C) != 2:
        return {}
    pieces = {
        name: piece(word(pointer), dtype.itemsize)
        for name, pointer, dtype in (
            ("race status", LAYOUT.race_status_pointer, memory_layout.RACE_STATUS),
            ("race state", LAYOUT.race_state_pointer, memory_layout.RACE_STATE),
            ("race config", LAYOUT.race_config_pointer, memory_layout.RACE_CONFIG),
            ("camera", LAYOUT.camera_pointer, memory_layout.CAMERA),
        )
    }
    drivers = word(LAYOUT.driver_count)
    pieces["drivers"] = piece(word(LAYOUT.drivers_pointer), drivers * memory_layout.DRIVER.itemsize)
    table = piece(LAYOUT.object_table, memory_layout.OBJECT_TABLE.itemsize)
    head = np.frombuffer(table, memory_layout.OBJECT_TABLE)[0]
    size = memory_layout.OBJECT_LIMIT * memory_layout.OBJECT_ENTRY.itemsize
    entries = piece(int(head["entries"]), size)
    pieces["objects"] = table + entries
    pieces["object positions"] = b"".join(
        piece(int(at), 12) if at else b""
        for at in np.frombuffer(entries, memory_layout.OBJECT_ENTRY)["position"]
    )
    return pieces


def clock(pieces: dict[str, bytes]) -> int:
    """Return the frame counter of a race's structures."""
    return int(np.frombuffer(pieces["race state"], memory_layout.RACE_STATE)[0]["frame"])


def digest(pieces: dict[str, bytes]) -> dict[str, str]:
    """Return a short form of structures that JSON can hold."""
    return {name: hashlib.sha256(piece).hexdigest()[:16] for name, piece in pieces.items()}
