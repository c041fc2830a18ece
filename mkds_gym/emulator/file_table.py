"""The names of the files in cartridges and NARC archives.

Source of the layout: GBATEK, "DS Cartridge NitroROM and NitroARC File Systems". A table whose
folders contain each other could take any time and memory, so each folder is read once.
"""

from __future__ import annotations

import struct
from typing import Final

_ROOT: Final = 0xF000
_LONGEST_PATH: Final = 1_000
_MOST_FILES: Final = 0xF000
"""Numbers of files are below this, and those of folders are not."""


def file_names(table: bytes) -> dict[str, int]:
    """Return the number of each file of a file name table, by its path.

    Args:
        table: u32 offset of the first entry, u16 number of the first file and u16 parent, for each
            folder; then the entries: u8 length of the name (bit 7: a folder), name, and for a
            folder its u16 number.

    Raises:
        ValueError: the table is malformed.
    """
    found: dict[str, int] = {}
    visited: set[int] = set()
    waiting = [(_ROOT, "")]
    try:
        while waiting:
            folder, prefix = waiting.pop()
            if folder in visited or folder < _ROOT:
                raise ValueError("folders contain each other")
            visited.add(folder)
            place, number = struct.unpack_from("<IH", table, 8 * (folder - _ROOT))
            inner = []
            while control := table[place]:
                end = place + 1 + (control & 0x7F)
                path = prefix + table[place + 1 : end].decode("latin-1")
                place = end
                if len(path) > _LONGEST_PATH:
                    raise ValueError(f"the path of a file has more than {_LONGEST_PATH} characters")
                if control & 0x80:
                    inner.append((struct.unpack_from("<H", table, place)[0], f"{path}/"))
                    place += 2
                    continue
                if path in found:
                    raise ValueError(f"the name {path[:100]!r} is there twice")
                if number >= _MOST_FILES:
                    raise ValueError(f"there are more than {_MOST_FILES:,} files")
                found[path] = number
                number += 1
            waiting += reversed(inner)
    except (IndexError, struct.error):
        raise ValueError("the names of the files are cut off") from None
    return found
