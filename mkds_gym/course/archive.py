"""Course archives: LZ77 (type 0x10) over a NARC, as in ``data/Course/<name>.carc``."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mkds_gym.errors import CourseFormatError

_LZ10 = 0x10
# The best LZ77 type 0x10 can do: a flag byte and eight pairs, 17 bytes, for 8 * 18 bytes.
_LARGEST_RATIO = 9
_ROOT = 0xF000

_SHORTEST, _LONGEST, _FARTHEST = 3, 18, 4096
"""What a copy can be in LZ77 type 0x10: shortest and longest, and from how far back."""

_SEARCH = ((16, 1), (8, 6), (5, 6), (3, 6))
"""Copies are looked for among so many places that begin with the same so many bytes."""


def read_carc(data: bytes) -> dict[str, bytes]:
    """Unpack a course archive.

    Args:
        data: the file; a NARC that is not compressed is accepted too.

    Returns:
        File contents by path (folders joined by ``/``), in the archive's order.

    Raises:
        CourseFormatError: if the data are not a sound archive. Offsets count from the start of
            `data` while it is being decompressed, and from the start of the NARC after.
    """
    data = bytes(data)
    return read_narc(data if data[:4] == b"NARC" else decompress(data))


def write_carc(files: Mapping[str, bytes]) -> bytes:
    """Pack a course archive.

    Args:
        files: contents by file name; names are ASCII, 1 to 127 characters, without folders.

    Raises:
        ValueError: if a name cannot be stored.
    """
    return compress(write_narc(files))


def write_narc(files: Mapping[str, bytes]) -> bytes:
    """Pack a NARC, which is a course archive that is not compressed.

    Args and errors: as of `write_carc`.
    """
    from ndspy import fnt, narc

    for name in files:
        if not name.isascii() or not 1 <= len(name) <= 127 or "/" in name:
            raise ValueError(f"{name!r} is no file name for an archive: ASCII, 1 to 127 characters")
    folder = fnt.Folder(files=list(files), firstID=0)
    return bytes(narc.NARC.fromFilesAndNames(list(files.values()), folder).save())


def compress(data: bytes) -> bytes:
    """Pack data as LZ77 type 0x10, see `decompress`.

    The same data always give the same bytes. The parse is the best for the copies that are found,
    and those are looked for among the latest places that begin alike.

    Args:
        data: at most 16 MiB - 1.

    Raises:
        ValueError: more data than the format can tell the size of.
    """
    size = len(data)
    if size >= 1 << 24:
        raise ValueError(f"{size:,} bytes; LZ77 of type 0x10 holds less than 16 MiB")
    lengths, distances = _copies(data)
    # Backwards: the fewest bits that the rest can take, and whether it begins with a copy.
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
    """Find the longest copy that each place can begin with: lengths (0: none) and distances."""
    size = len(data)
    if size < _SHORTEST:
        return [0] * size, [0] * size
    padded = np.frombuffer(data + bytes(_LONGEST + 8), dtype=np.uint8).astype(np.uint64)
    # The eight bytes from each place on as one number, the first one lowest.
    count = size + _LONGEST
    words = np.zeros(count, dtype=np.uint64)
    for byte in range(8):
        words |= padded[byte : byte + count] << np.uint64(8 * byte)
    length = np.zeros(size, dtype=np.int64)
    distance = np.zeros(size, dtype=np.int64)
    room = size - np.arange(size)
    for alike, tries in _SEARCH:
        # The latest place before each that begins with the same `alike` bytes.
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
    """How many bytes, at most `_LONGEST`, are the same from the places `a` and `b` on."""
    out = np.zeros(len(a), dtype=np.intp)
    rest = np.arange(len(a))
    for first in range(0, _LONGEST, 8):
        different = words[a[rest] + first] ^ words[b[rest] + first]
        # The lowest bit that differs alone; its exponent as a float, which is exact.
        lowest = (different & (~different + np.uint64(1))).astype(np.float64)
        out[rest] += np.where(different == 0, 8, (np.frexp(lowest)[1] - 1) // 8)
        rest = rest[different == 0]
    return np.minimum(out, _LONGEST)


def decompress(data: bytes) -> bytes:
    """Undo LZ77 type 0x10.

    A u32: 0x10 in the low byte, the size of the result above. Then, until that size is reached, a
    byte of eight flags, highest first: clear, one literal byte; set, a big-endian u16 of length
    - 3 (4 bits) and distance - 1 (12 bits), a copy of what has been written.

    Args:
        data: the compressed bytes; more may follow the end.

    Raises:
        CourseFormatError: if the data end early or refer to what has not been written.
    """
    if len(data) < 4 or data[0] != _LZ10:
        raise CourseFormatError("not LZ77 of type 0x10", 0)
    size = struct.unpack_from("<I", data)[0] >> 8
    if size > len(data) * _LARGEST_RATIO:
        raise CourseFormatError(f"LZ77: {len(data)} bytes cannot hold {size}", 0)
    out = bytearray()
    place = 4
    end = len(data)
    while len(out) < size:
        if place >= end:
            raise CourseFormatError(f"LZ77 ends at {len(out)} of {size} bytes", place)
        flags = data[place]
        place += 1
        if not flags:
            literal = data[place : place + 8]
            out += literal
            place += len(literal)
            if len(literal) < 8 and len(out) < size:
                raise CourseFormatError(f"LZ77 ends at {len(out)} of {size} bytes", place)
            continue
        for bit in (0x80, 0x40, 0x20, 0x10, 8, 4, 2, 1):
            if len(out) >= size:
                break
            if not flags & bit:
                if place >= end:
                    raise CourseFormatError(f"LZ77 ends at {len(out)} of {size} bytes", place)
                out.append(data[place])
                place += 1
                continue
            if place + 2 > end:
                raise CourseFormatError(f"LZ77 ends at {len(out)} of {size} bytes", place)
            pair = data[place] << 8 | data[place + 1]
            length = (pair >> 12) + 3
            distance = (pair & 0xFFF) + 1
            start = len(out) - distance
            if start < 0:
                raise CourseFormatError(f"LZ77 copies from {distance} bytes back", place)
            place += 2
            if distance >= length:
                out += out[start : start + length]
            else:  # the copy runs into itself: what is there repeats
                out += (out[start:] * (length // distance + 1))[:length]
    return bytes(out[:size])


def read_narc(data: bytes) -> dict[str, bytes]:
    """Unpack a NARC.

    A header of 0x10 bytes, then three blocks, each a reversed name and a u32 size: the
    allocation table (u32 count, then start and end of each file), the name table (as in a DS
    ROM), and the files.

    Args:
        data: the whole file.

    Returns:
        File contents by path; a file without a name is ``#<number>``.

    Raises:
        CourseFormatError: if anything is out of bounds, or the folders run in circles.
    """
    if len(data) < 0x1C or data[:4] != b"NARC":
        raise CourseFormatError(f"not a NARC: begins with {data[:4]!r}", 0)
    table_size, count = _block(data, 0x10, b"BTAF")
    names_at = 0x10 + table_size
    if count * 8 + 12 > table_size:
        raise CourseFormatError(f"NARC table of {table_size} bytes for {count} files", 0x18)
    names_size, _ = _block(data, names_at, b"BTNF")
    files_at = names_at + names_size
    _block(data, files_at, b"GMIF")
    files_at += 8
    names = _names(data, names_at + 8, files_at - 8)
    result: dict[str, bytes] = {}
    for index in range(count):
        start, end = struct.unpack_from("<II", data, 0x1C + 8 * index)
        if not start <= end <= len(data) - files_at:
            raise CourseFormatError(
                f"NARC file {index} ({start:#x} to {end:#x}) is out of bounds", 0x1C + 8 * index
            )
        name = names.get(index, f"#{index}")
        if name in result:
            raise CourseFormatError(f"NARC names {name!r} twice", 0x1C + 8 * index)
        result[name] = data[files_at + start : files_at + end]
    return result


def _block(data: bytes, offset: int, magic: bytes) -> tuple[int, int]:
    """Size of the block at `offset` and the u32 behind it (0 if there is none)."""
    if offset + 8 > len(data) or data[offset : offset + 4] != magic:
        raise CourseFormatError(f"NARC without the block {magic.decode()}", offset)
    (size,) = struct.unpack_from("<I", data, offset + 4)
    if size < 8 or offset + size > len(data):
        raise CourseFormatError(f"NARC block {magic.decode()} of size {size:#x}", offset + 4)
    following = data[offset + 8 : offset + 12].ljust(4, b"\0")
    return size, int.from_bytes(following, "little")


def _names(data: bytes, begin: int, end: int) -> dict[int, str]:
    """Paths by file number out of the name table at `begin`.

    The table begins with 8 bytes per folder (u32 offset of its entries, u16 number of its first
    file, u16 parent; for the root the number of folders). An entry is a length byte, bit 7 set for
    a folder, the name, and for a folder its u16 number from 0xF000; a zero ends the folder.
    """
    names: dict[int, str] = {}
    seen: set[int] = set()
    pending = [(_ROOT, "")]
    while pending:
        folder, prefix = pending.pop()
        main = begin + (folder - _ROOT) * 8
        if folder < _ROOT or main + 8 > end:
            raise CourseFormatError(f"NARC folder {folder:#x} is out of bounds", begin)
        if folder in seen:
            raise CourseFormatError(f"NARC folder {folder:#x} is in itself or there twice", main)
        seen.add(folder)
        entries, number, _ = struct.unpack_from("<IHH", data, main)
        place = begin + entries
        while True:
            if place >= end:
                # An archive without names has a table that ends where its entries would begin.
                if folder == _ROOT and not names and place == begin + entries:
                    break
                raise CourseFormatError(f"NARC folder {folder:#x} has no end", main)
            length = data[place]
            if length == 0:
                break
            is_folder, length = length & 0x80, length & 0x7F
            text = data[place + 1 : place + 1 + length]
            place += 1 + length
            if place + (2 if is_folder else 0) > end:
                raise CourseFormatError("NARC name is cut off", place)
            name = prefix + text.decode("latin-1")
            if is_folder:
                pending.append((int.from_bytes(data[place : place + 2], "little"), name + "/"))
                place += 2
                if len(name) > 4096:
                    raise CourseFormatError("NARC folders are nested without end", place)
            else:
                names[number] = name
                number += 1
    return names
