"""The layout of DeSmuME's savestates, and checks of what the emulator trusts in them.

Source: ``saves.cpp`` and the loaders that it calls. The emulator reads most chunks without a look
at their sizes, and uses indices and counts in them as they are.
"""

from __future__ import annotations

import itertools
import struct
from typing import Final

from mkds_gym.emulator.states.snapshot import CHUNK_3D, DESMUME_HEADER, END_MARK, chunks, entries
from mkds_gym.emulator.states.state_values import wrong_value
from mkds_gym.errors import StateError
from mkds_gym.utils.arguments import shown

CHUNK_MEMORY: Final = 60
"""Chunk with the video memory and the power management chip (entry PMCR)."""
CHUNK_GAME: Final = 130
"""Chunk with the header of the ROM."""
TABLES: Final = frozenset(
    {1, 2, 4, 5, CHUNK_MEMORY, CHUNK_3D, 100, 110, 120, CHUNK_GAME, 160, 170, 180}
)
"""Chunks that are tables of entries."""
_ENTRY: Final = struct.Struct("<4sII")
"""Head of an entry: name, size of an element, number of elements."""
_VARIABLE: Final = frozenset({61, 91, 101})
"""Chunks whose size depends on what they hold: backup memory, polygons, a movie."""


def check_structure(state: bytes | memoryview, name: str) -> bytes:
    """Check that the chunks of a state and the entries of its tables lie within it.

    Returns:
        The header of the ROM in the state; empty if there is none.

    Raises:
        StateError: the message starts with ``name``.
    """
    game = b""
    place = DESMUME_HEADER.size
    while True:
        if place + 4 > len(state):
            raise StateError(f"{name} is damaged: it has no end mark")
        (number,) = struct.unpack_from("<I", state, place)
        if number == END_MARK:
            return game
        if place + 8 > len(state):
            raise StateError(f"{name} is damaged: it has no end mark")
        (size,) = struct.unpack_from("<I", state, place + 4)
        place += 8 + size
        if place > len(state):
            raise StateError(f"{name} is damaged: chunk {number} is longer than the file")
        if number in TABLES:
            _check_table(state[place - size : place], number, name)
        if number == CHUNK_GAME:
            # The header is the first entry of a table.
            chunk = bytes(state[place - size : place])
            if chunk[:4] == b"GINF":
                game = chunk[12:]


def _check_table(table: bytes | memoryview, number: int, name: str) -> None:
    """Check that the entries of a chunk fill the chunk: the emulator reads on behind its end."""
    place = 0
    while place + _ENTRY.size <= len(table):
        _, size, count = _ENTRY.unpack_from(table, place)
        place += _ENTRY.size + size * count
    if place != len(table):
        raise StateError(f"{name} is damaged: the entries of chunk {number} do not fill the chunk")


class Layout:
    """The layout of the states that an emulator saves with a cartridge.

    Args:
        state: such a state.
    """

    def __init__(self, state: bytes | memoryview) -> None:
        self._state = state
        self._version = DESMUME_HEADER.unpack_from(state)[2]
        self._numbers = [number for number, _, _ in chunks(state)]
        self._sizes = {number: end - start for number, start, end in chunks(state)}
        self._tables = {
            number: _heads(state, start, end)
            for number, start, end in chunks(state)
            if number in TABLES
        }

    def fault(self, state: bytes | memoryview) -> str:
        """Return what in a state the emulator cannot take, for messages; "" if nothing is found.

        Other versions of the emulator may leave out chunks, and have other entries, which the
        emulator skips.

        Args:
            state: a state that passed `check_structure`.
        """
        numbers = [number for number, _, _ in chunks(state)]
        if DESMUME_HEADER.unpack_from(state)[2] != self._version:
            if len(set(numbers)) < len(numbers):
                return "it has a chunk twice"
            return ""
        if numbers != self._numbers:
            return f"it has the chunks {numbers}, expected {self._numbers}"
        for number, start, end in chunks(state):
            if number in self._tables:
                for found, own in itertools.zip_longest(
                    _heads(state, start, end), self._tables[number]
                ):
                    if found != own:
                        return f"chunk {number} has {_entry(found)}, expected {_entry(own)}"
            elif number not in _VARIABLE and end - start != self._sizes[number]:
                return f"chunk {number} has {end - start:,} bytes, expected {self._sizes[number]:,}"
        return wrong_value(state, self._state)


def _heads(state: bytes | memoryview, start: int, end: int) -> list[tuple[bytes, int, int]]:
    """Name, size of an element and number of elements of each entry of a table."""
    return [
        _ENTRY.unpack_from(state, first - _ENTRY.size) for _, first, _ in entries(state, start, end)
    ]


def _entry(head: tuple[bytes, int, int] | None) -> str:
    if head is None:
        return "no more entry"
    name, size, count = head
    return f"the entry {shown(name.decode('ascii', 'replace'))} of {size} x {count} bytes"
