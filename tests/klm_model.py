"""Decodes `course_model.klm` as the machine would, for tests."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

GX_PARAMETERS = {0x00: 0, 0x14: 1, 0x1C: 3, 0x20: 1, 0x23: 2, 0x24: 1, 0x26: 1, 0x40: 1}


def signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (value >> bits - 1 << bits)


def read_list(words: tuple[int, ...], fine: bool) -> list[list[tuple[np.ndarray, int]]]:
    """Decode geometry commands to polygons of (point, colour)."""
    place, kind, colour = 0, -1, -1
    corners: list[tuple[np.ndarray, int]] = []
    unit = 32.0 if fine else 1024.0
    vertex, origin = np.zeros(3), np.zeros(3)
    restored = not fine
    polygons: list[list[tuple[np.ndarray, int]]] = []
    while place < len(words):
        codes = words[place].to_bytes(4, "little")
        place += 1
        assert any(GX_PARAMETERS[code] for code in codes), "a word without any parameter"
        for code in codes:
            given = words[place : place + GX_PARAMETERS[code]]
            place += GX_PARAMETERS[code]
            if code in (0x14, 0x1C, 0x40):
                assert not corners or (kind == 3 and len(corners) == 2)
                corners = []
            if code == 0x14:
                assert (fine, given) == (True, (30,))
                restored, origin, kind = True, np.zeros(3), -1
            elif code == 0x1C:
                assert fine
                assert restored
                assert not origin.any()
                origin = np.array([signed(word, 32) for word in given]) / 4096 * unit
            elif code == 0x40:
                kind = given[0]
            elif code == 0x20:
                colour = given[0]
            elif code in (0x23, 0x24, 0x26):
                assert ((code == 0x24), restored) == (fine, True)
                assert kind in (0, 1, 3)
                assert colour >= 0
                if code == 0x24:
                    vertex = np.array([signed(given[0] >> 10 * i, 10) for i in range(3)]) / 64
                else:
                    halves = [signed(word >> 16 * i, 16) / 4096 for word in given for i in (0, 1)]
                    axes = [0, 1, 2] if code == 0x23 else [0, 2]
                    vertex = vertex.copy()
                    vertex[axes] = halves[: len(axes)]
                corners.append((vertex * unit + origin, colour))
                if len(corners) == (3 if kind == 0 else 4):
                    one, two, *rest = corners
                    polygons.append([one, two, *(rest[::-1] if kind == 3 else rest)])
                    corners = rest if kind == 3 else []
    assert not corners or (kind == 3 and len(corners) == 2)
    return polygons


@dataclass
class Chunk:
    """A chunk: its bounding sphere, its polygons, and those that stand for them from afar."""

    centre: np.ndarray
    radius: float
    near: list[list[tuple[np.ndarray, int]]]
    far: list[list[tuple[np.ndarray, int]]]


@dataclass
class Model:
    """A decoded file: fine chunks, coarse ones, and the six colours of what is beyond."""

    fine: list[Chunk]
    coarse: list[Chunk]
    beyond: tuple[int, ...]


def read_model(data: bytes) -> Model:
    """Decode a KLM; every polygon is a list of (point, colour)."""
    assert data[:4] == b"KLM4"
    count, fine, *beyond = struct.unpack_from("<2I6H", data, 4)
    chunks = []
    end = 24 + 0x1C * count
    for index in range(count):
        *sphere, offset, near, far = struct.unpack_from("<4i3I", data, 24 + 0x1C * index)
        assert offset == end
        end += 4 * (near + far)
        lists = [
            read_list(struct.unpack_from(f"<{size}I", data, at), index < fine)
            for at, size in ((offset, near), (offset + 4 * near, far))
        ]
        chunks.append(Chunk(np.array(sphere[:3]) / 4096, sphere[3] / 4096, *lists))
    assert end == len(data)
    return Model(chunks[:fine], chunks[fine:], tuple(beyond))
