"""Read chosen fields of a structure with one `struct` call."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

Part: TypeAlias = tuple[str, int, np.dtype[Any]]
"""Name, offset and dtype of one field."""

_STRUCT_CODES = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I"}


def parts_of(dtype: np.dtype[np.void], names: Sequence[str], offset: int = 0) -> list[Part]:
    """Return the named fields of ``dtype``, ``offset`` bytes added to each offset."""
    assert dtype.fields is not None
    return [(name, offset + dtype.fields[name][1], dtype.fields[name][0]) for name in names]


def field_slice(dtype: np.dtype[np.void], name: str) -> slice:
    """Return the bytes that a field takes up in its structure."""
    ((_, offset, field),) = parts_of(dtype, [name])
    return slice(offset, offset + field.itemsize)


class PackedFields:
    """Integers at given offsets, skipping the bytes between them.

    Args:
        parts: fields of integers or arrays of integers, in any order, that do not overlap.

    Attributes:
        unpack_from: takes a buffer and the index of offset 0; returns a flat tuple of integers.
        pack_into: takes a buffer, the index of offset 0 and the integers; the bytes between the
            fields become 0.
        index: position of each field's first integer in that tuple, by name.
        size: bytes from offset 0 to the end of the last field.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.index: dict[str, int] = {}
        code, position, count = "<", 0, 0
        for name, offset, dtype in sorted(parts, key=lambda part: part[1]):
            base, shape = dtype.subdtype or (dtype, ())
            size = int(np.prod(shape))
            if offset < position:
                raise ValueError(f"field {name} overlaps the field before it")
            code += f"{offset - position}x{size}{_STRUCT_CODES[base.str[1:]]}"
            self.index[name] = count
            position = offset + dtype.itemsize
            count += size
        reader = struct.Struct(code)
        self.unpack_from = reader.unpack_from
        self.pack_into = reader.pack_into
        self.size = reader.size
