"""Course archives ``data/Course/<name>.carc``: NARC files compressed with LZ77 type 0x10."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np
from ndspy import fnt, narc
from numpy.typing import NDArray

from mkds_gym.emulator.file_table import file_names
from mkds_gym.errors import CourseFormatError
from mkds_gym.utils.arguments import binary, shown

_LZ10 = 0x10
# Best case of LZ77 type 0x10: 17 bytes, a flag byte and eight pairs, for 8 * 18 bytes.
_LARGEST_RATIO = 9

_SHORTEST, _LONGEST, _FARTHEST = 3, 18, 4096
"""Limits of a copy in LZ77 type 0x10: length and distance."""

_SEARCH = ((16, 1), (8, 6), (5, 6), (3, 6))
"""The search looks at this many (second) earlier places with this many (first) equal bytes."""


def read_carc(data: bytes) -> dict[str, bytes]:
    """Unpack a course archive.

    Args:
        data: the file, or an uncompressed NARC.

    Returns:
        File contents by path (folders joined by ``/``), in the archive's order.

    Raises:
        CourseFormatError: the archive is malformed. `offset` counts from the start of ``data`` for
            a fault in the compression, and from the start of the NARC otherwise.
    """
    data = binary("data", data)
    return read_narc(data if data[:4] == b"NARC" else decompress(data))


def write_carc(files: Mapping[str, bytes]) -> bytes:
    """Pack a course archive.

    Args:
        files: contents by file name; names are ASCII, 1 to 127 characters, without folders.

    Raises:
        ValueError: a name is invalid.
    """
    return compress(write_narc(files))


def read_narc(data: bytes) -> dict[str, bytes]:
    """Unpack a NARC.

    Returns:
        File contents by path; a file without a name is ``#<number>``.

    Raises:
        CourseFormatError: the NARC is malformed.
    """
    try:
        magic, _, names, size, count = struct.unpack_from("<4s12s4sII", data)
        if magic != b"NARC" or names != b"BTAF" or size != 12 + 8 * count:
            raise ValueError("its first bytes are of something else")
        places_end = 0x10 + size
        magic, size = struct.unpack_from("<4sI", data, places_end)
        names_end = places_end + size
        end_magic, _ = struct.unpack_from("<4sI", data, names_end)
        if magic != b"BTNF" or end_magic != b"GMIF":
            raise ValueError("its blocks do not follow each other")
        base = names_end + 8
        places = list(struct.iter_unpack("<II", data[0x1C:places_end]))
        numbers = file_names(data[places_end + 8 : names_end])
    except (ValueError, struct.error) as error:
        raise CourseFormatError(f"not a NARC, or malformed: {error}", 0) from error
    room = len(data) - base
    for index, (begin, end) in enumerate(places):
        if not begin <= end <= room:
            raise CourseFormatError(
                f"NARC file {index} ({begin:#x} to {end:#x}) is out of bounds", 0x1C + 8 * index
            )
    if sum(end - begin for begin, end in places) > room:
        raise CourseFormatError("NARC files overlap", 0x1C)
    paths = {number: path for path, number in numbers.items()}
    return {
        paths.get(number, f"#{number}"): data[base + begin : base + end]
        for number, (begin, end) in enumerate(places)
    }


def write_narc(files: Mapping[str, bytes]) -> bytes:
    """Pack a NARC, a course archive without compression.

    Args and errors are those of `write_carc`.
    """
    for name in files:
        if not name.isascii() or not 1 <= len(name) <= 127 or "/" in name:
            raise ValueError(
                f"file name {shown(name)} is invalid: expected 1 to 127 ASCII characters "
                "without '/'"
            )
    archive = narc.NARC.fromFilesAndNames(
        list(files.values()), fnt.Folder(files=list(files), firstID=0)
    )
    archive.endiannessOfBeginning = ">"  # byte order mark FE FF, as in the original's archives
    return bytes(archive.save())


def compress(data: bytes) -> bytes:
    """Compress data as LZ77 type 0x10; see `decompress` for the format.

    The result is deterministic, and optimal for the copies that the search finds.

    Args:
        data: less than 16 MiB.

    Raises:
        ValueError: ``data`` is too large for the format.
    """
    size = len(data)
    if size >= 1 << 24:
        raise ValueError(f"data has {size:,} bytes: LZ77 type 0x10 holds less than {1 << 24:,}")
    lengths, distances = _copies(data)
    # From the end: fewest bits for the rest of the data, and whether the rest begins with a copy.
    cost = [0] * (size + 1)
    copied = bytearray(size)
    for at in range(size - 1, -1, -1):
        bits = cost[at + 1] + 9
        length = lengths[at]
        if length and cost[at + length] + 17 < bits:
            bits = cost[at + length] + 17
            copied[at] = 1
        cost[at] = bits
    out = bytearray(struct.pack("<I", _LZ10 | size << 8))
    at = 0
    while at < size:
        flags, place = 0, len(out)
        out.append(0)
        for bit in range(7, -1, -1):
            if at >= size:
                break
            if copied[at]:
                flags |= 1 << bit
                pair = (lengths[at] - 3) << 12 | distances[at] - 1
                out.append(pair >> 8)
                out.append(pair & 0xFF)
                at += lengths[at]
            else:
                out.append(data[at])
                at += 1
        out[place] = flags
    return bytes(out)


def _copies(data: bytes) -> tuple[list[int], list[int]]:
    """Return length (0 for no copy) and distance of the longest copy found at each place."""
    size = len(data)
    if size < _SHORTEST:
        return [0] * size, [0] * size
    padded = np.frombuffer(data + bytes(_LONGEST + 8), dtype=np.uint8).astype(np.uint64)
    # The eight bytes at each place as one number, little endian.
    count = size + _LONGEST
    words = np.zeros(count, dtype=np.uint64)
    for byte in range(8):
        words |= padded[byte : byte + count] << np.uint64(8 * byte)
    length = np.zeros(size, dtype=np.int64)
    distance = np.zeros(size, dtype=np.int64)
    room = size - np.arange(size)
    for alike, tries in _SEARCH:
        # The latest earlier place with the same `alike` bytes.
        key = words[:size] & np.uint64((1 << 8 * min(alike, 8)) - 1)
        if alike > 8:
            key = key * np.uint64(0x9E3779B97F4A7C15) + words[8 : size + 8]
        order = np.argsort(key, kind="stable")
        same = key[order[1:]] == key[order[:-1]]
        before = np.full(size, -1)
        before[order[1:][same]] = order[:-1][same]
        at = np.nonzero(before >= 0)[0]
        place = before[at]
        for _ in range(tries):
            near = (at - place <= _FARTHEST) & (length[at] < _LONGEST)
            at, place = at[near], place[near]
            if not len(at):
                break
            found = np.minimum(_alike(words, at, place), room[at])
            longer = found > length[at]
            length[at[longer]] = found[longer]
            distance[at[longer]] = (at - place)[longer]
            place = before[place]
            at, place = at[place >= 0], place[place >= 0]
    length[length < _SHORTEST] = 0
    return length.tolist(), distance.tolist()


def _alike(words: NDArray[np.uint64], a: NDArray[np.intp], b: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return how many bytes at the places `a` and `b` agree, at most `_LONGEST`."""
    out = np.zeros(len(a), dtype=np.intp)
    rest = np.arange(len(a))
    for first in range(0, _LONGEST, 8):
        different = words[a[rest] + first] ^ words[b[rest] + first]
        # The exponent of the lowest differing bit as a float is exact.
        lowest = (different & (~different + np.uint64(1))).astype(np.float64)
        out[rest] += np.where(different == 0, 8, (np.frexp(lowest)[1] - 1) // 8)
        rest = rest[different == 0]
    return np.minimum(out, _LONGEST)


def decompress(data: bytes) -> bytes:
    """Decompress LZ77 type 0x10.

    The format is a u32 (0x10 in the low byte, the size of the result above) and groups of a flag
    byte and eight units, highest flag first. Flag clear: one literal byte. Flag set: a big-endian
    u16 of length - 3 (4 bits) and distance - 1 (12 bits), a copy from the bytes written so far.

    Args:
        data: the compressed bytes; bytes after the end are ignored.

    Raises:
        CourseFormatError: ``data`` ends early, or a copy begins before the start.
    """
    if len(data) < 4 or data[0] != _LZ10:
        raise CourseFormatError("not LZ77 of type 0x10", 0)
    size = struct.unpack_from("<I", data)[0] >> 8
    if size > len(data) * _LARGEST_RATIO:
        raise CourseFormatError(f"LZ77: {len(data)} bytes cannot hold {size}", 0)
    out = bytearray()
    place = 4
    try:
        while len(out) < size:
            flags = data[place]
            place += 1
            if not flags:
                literal = data[place : place + 8]
                out += literal
                place += len(literal)
                if len(literal) < 8 and len(out) < size:
                    raise IndexError
                continue
            for bit in (0x80, 0x40, 0x20, 0x10, 8, 4, 2, 1):
                if len(out) >= size:
                    break
                if not flags & bit:
                    out.append(data[place])
                    place += 1
                    continue
                pair = data[place] << 8 | data[place + 1]
                length = (pair >> 12) + 3
                distance = (pair & 0xFFF) + 1
                start = len(out) - distance
                if start < 0:
                    raise CourseFormatError(f"LZ77 copies from {distance} bytes back", place)
                place += 2
                if distance >= length:
                    out += out[start : start + length]
                else:  # the copy overlaps its own output, so the bytes repeat
                    out += (out[start:] * (length // distance + 1))[:length]
    except IndexError:
        raise CourseFormatError(f"LZ77 ends at {len(out)} of {size} bytes", place) from None
    return bytes(out[:size])
