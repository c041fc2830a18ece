"""Values in DeSmuME's savestates that the emulator uses as indices, counts and lengths.

Source: the C++ sources of the version in py-desmume. `saves.cpp` has the tables; `gfx3d.cpp`,
`SPU.cpp` and `mc.cpp` write the other chunks.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Final

import numpy as np

from mkds_gym.emulator.states.snapshot import CHUNK_3D, chunks, entries

_LIMITS: Final = {
    5: {b"_VCT": 262},  # line of the picture
    60: {
        # Queues between the processors, and of the display.
        **dict.fromkeys((b"F0TH", b"F0TL", b"F1TH", b"F1TL"), 15),
        **dict.fromkeys((b"F0SZ", b"F1SZ"), 16),
        **dict.fromkeys((b"FDHD", b"FDTL"), 0x5FFF),
        b"MWRA": 3,  # of each byte: who has the shared memory
    },
    CHUNK_3D: {
        b"GMOD": 3,  # matrix
        # Place in the matrix, vector or list that is being written.
        **dict.fromkeys((b"ML4I", b"ML3I", b"MM4I", b"MM3I", b"MMxI"), 15),
        **dict.fromkeys((b"GTRI", b"GSCI", b"GLPT"), 3),
        **dict.fromkeys((b"GCOI", b"GVFM", b"GTVC"), 3),
        b"GLBT": 5,
        b"GSSI": 127,
        b"GTVM": 79_999,  # vertices of the polygon that is being written
        # Queues of commands.
        **dict.fromkeys((b"GFHE", b"GFTA"), 199_999),
        **dict.fromkeys((b"GFSZ", b"GFMS"), 200_000),
        **dict.fromkeys((b"GPHE", b"GPTA"), 3),
        b"GPSZ": 4,
    },
}
"""Largest value of entries of tables."""
_VERTEX: Final = 39
"""Bytes of a vertex in chunk 91."""
_POLYGON: Final = np.dtype([("corners", "<u4"), ("vertices", "<u2", 4), ("rest", "V24")])
"""A polygon in chunk 91, with the numbers of its vertices."""
_MAX_VERTICES: Final = 80_000
_MAX_POLYGONS: Final = 20_000
_STACKS: Final = (1, 32, 32, 1)
"""Number of matrices of 64 bytes on each stack."""
_AFTER_STACKS: Final = 140
"""Bytes after the stacks in chunk 91."""
_CHANNEL: Final = struct.Struct("<I8BI2HI2dI2hihhB")
"""A sound channel in chunk 8."""
_CHANNEL_LIMITS: Final = (15, 127, 4, 1, 127, 7, 3, 3, 1)
"""Largest values: number, volume, its shift, hold, pan, duty, repeat, format, status."""
_SAMPLES: Final = 13
"""Place of the sample counter and its step in a channel."""
_ADPCM_INDEX: Final = 18
_ADPCM_STEPS: Final = 88
_QUEUE: Final = struct.Struct("<4I32x")
"""A queue of captured sound, at the end of chunk 8: version, head, tail, size."""
_CLOCKS: Final = struct.Struct("<4x4QII")
"""Clocks of the console and its processors in chunk 51, in cycles; then when the next part of a
line of the picture is due, which part, and whether it is."""
_LATE: Final = 1 << 22
"""Cycles of 1/67 MHz between two clocks. The emulator catches up with them step by step."""
_FIRMWARE: Final = 0x40000
"""Bytes of the firmware at the end of chunk 61."""
_VERSIONED: Final = frozenset({3, 7, 8, 51, 61, 81, 91, 101, 111, 140, 150})
"""Chunks that begin with a version; 101 begins with a word that says whether a movie follows."""


def wrong_value(state: bytes | memoryview, own: bytes | memoryview) -> str:
    """Return a value that the emulator cannot take, for messages; "" if there is none.

    Args:
        state: a state of the same layout as ``own``.
        own: a state that the emulator saved with the same cartridge.
    """
    return next(_wrong_values(state, own), "")


def _wrong_values(state: bytes | memoryview, own: bytes | memoryview) -> Iterator[str]:
    like = {number: (start + 8, end) for number, start, end in chunks(own)}
    for number, start, end in chunks(state):
        data = memoryview(state)[start + 8 : end]
        if number in _VERSIONED:
            first, last = like[number]
            # With the kind of device in a slot, and the size of its data.
            length = 12 if number in (140, 150) else 4
            if data[:length] != memoryview(own)[first:last][:length]:
                yield f"chunk {number} begins with {bytes(data[:length])!r}"
                return
        if number in _LIMITS:
            yield from _large_values(state, number, start, end)
        elif number == 8:
            yield from _sound(data)
        elif number == 51:
            yield from _schedule(data)
        elif number == 61:
            yield from _memory_chips(data, memoryview(own)[slice(*like[number])])
        elif number == 91:
            yield from _polygons(data)


def _large_values(state: bytes | memoryview, number: int, start: int, end: int) -> Iterator[str]:
    limits = _LIMITS[number]
    for name, first, last in entries(state, start, end):
        if name in limits:
            (size,) = struct.unpack_from("<I", state, first - 8)
            values = [
                int.from_bytes(state[place : place + size], "little")
                for place in range(first, last, size)
            ]
            if max(values) > limits[name]:
                yield f"{name.decode()} in chunk {number} is {max(values)}"


def _schedule(data: memoryview) -> Iterator[str]:
    """The clocks, and what happens next on the picture."""
    now, processor_9, processor_7, due, phase, on = _CLOCKS.unpack_from(data)
    if max(abs(clock - now) for clock in (processor_9, processor_7, due)) > _LATE:
        yield "the clocks in chunk 51 are far apart"
    if phase > 3 or on != 1:
        yield "no line of a picture comes next in chunk 51"


def _sound(data: memoryview) -> Iterator[str]:
    for channel in range(16):
        values = _CHANNEL.unpack_from(data, 4 + channel * _CHANNEL.size)
        right = (
            all(value <= limit for value, limit in zip(values, _CHANNEL_LIMITS, strict=False))
            and 0 <= values[_ADPCM_INDEX] <= _ADPCM_STEPS
        )
        count, step = values[_SAMPLES : _SAMPLES + 2]
        # The emulator converts the counter to an integer, and multiplies it.
        if not right or not (math.isfinite(count) and abs(count) < 2**30 and 0 <= step < 2**20):
            yield f"sound channel {channel} has values that no sound has"
    for queue in (2, 1):
        _, head, tail, size = _QUEUE.unpack_from(data, len(data) - queue * _QUEUE.size)
        if head > 15 or tail > 15 or size > 16:
            yield "the queue of captured sound has another size"


def _memory_chips(data: memoryview, own: memoryview) -> Iterator[str]:
    """The backup memory, whose size the cartridge may choose late, and the firmware."""
    rests = []
    for chips in (data, own):
        place = 28
        for _ in range(2):
            place += 4 + int.from_bytes(chips[place : place + 4], "little")
        rests.append(len(chips) - place)
    if rests[0] != rests[1]:
        yield "the backup memory has another size than its chunk"
    elif int.from_bytes(data[-_FIRMWARE - 4 :][:4], "little") != _FIRMWARE:
        yield "the firmware has another size than its chunk"


def _polygons(data: memoryview) -> Iterator[str]:
    """The vertices and polygons of the next picture, and the matrix stacks."""
    vertices = int.from_bytes(data[4:8], "little")
    place = 8 + vertices * _VERTEX
    polygons = int.from_bytes(data[place : place + 4], "little")
    place += 4
    if vertices > _MAX_VERTICES or polygons > _MAX_POLYGONS:
        yield f"chunk 91 has {vertices:,} vertices and {polygons:,} polygons"
        return
    stacks = place + polygons * _POLYGON.itemsize
    if stacks + sum(4 + 64 * size for size in _STACKS) + _AFTER_STACKS != len(data):
        yield "chunk 91 has another size than its vertices and polygons"
        return
    listed = np.frombuffer(data, _POLYGON, polygons, place)
    corners, numbers = listed["corners"], listed["vertices"].copy()
    numbers[:, 3][corners == 3] = 0  # of a triangle, the fourth is old
    if not (np.isin(corners, (3, 4)).all() and (numbers < vertices).all()):
        yield "chunk 91 has a polygon without its vertices"
    for size in _STACKS:
        if int.from_bytes(data[stacks : stacks + 4], "little") > 2 * size - 1:
            yield "chunk 91 has a matrix stack that is too high"
        stacks += 4 + 64 * size
