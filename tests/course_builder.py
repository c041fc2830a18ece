"""Small courses for the tests, written independently of the readers and of Kartlab's compiler."""

from __future__ import annotations

import math
import random
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from mkds_gym.course import nkm as formats
from mkds_gym.course.nkm import NKM
from mkds_gym.errors import CourseFormatError
from mkds_gym.race.memory_layout import FIRST_MAP_LISTS, MAP_LISTS, MemoryLayout

FX = 4096
ROAD, OFF_ROAD, WALL = 0, 3, 8
FLOOR_BIT, WALL_BIT = 0x8000, 0x4000


def fx(value: float) -> int:
    return round(value * FX)


def write_kcl(
    triangles: Sequence[Sequence[Sequence[float]]],
    attributes: Sequence[int],
    *,
    shift: int = 9,
    blocks: tuple[int, int, int] = (4, 1, 4),
    minimum: tuple[int, int, int] = (-1024, -256, -1024),
    depth: int = 1,
) -> bytes:
    """Return a KCL whose octree splits every root block `depth` times."""
    positions: list[bytes] = []
    normals: list[bytes] = []

    def index(table: list[bytes], entry: bytes) -> int:
        if entry not in table:
            table.append(entry)
        return table.index(entry)

    def normal(vector: np.ndarray) -> int:
        unit = vector / np.linalg.norm(vector)
        return index(normals, struct.pack("<3h", *(fx(value) for value in unit)))

    prisms = b""
    boxes = []
    for corners, attribute in zip(triangles, attributes, strict=True):
        v0, v1, v2 = np.asarray(corners, dtype=float)
        face = np.cross(v1 - v0, v2 - v0)
        face /= np.linalg.norm(face)
        third = np.cross(v2 - v1, face)
        third /= np.linalg.norm(third)
        boxes.append((np.min([v0, v1, v2], axis=0), np.max([v0, v1, v2], axis=0)))
        prisms += struct.pack(
            "<i6H",
            fx(float((v1 - v0) @ third)),
            index(positions, struct.pack("<3i", *(fx(value) for value in v0))),
            normal(face),
            normal(np.cross(face, v2 - v0)),
            normal(np.cross(v1 - v0, face)),
            normal(third),
            attribute,
        )

    lists = bytearray()
    nodes = bytearray()
    fixups: list[tuple[int, int, int]] = []  # node, start of its block, offset in lists

    def members(low: np.ndarray, size: float) -> list[int]:
        return [
            number + 1
            for number, (least, most) in enumerate(boxes)
            if (least <= low + size + 1).all() and (most >= low - 1).all()
        ]

    def fill(node: int, block: int, low: np.ndarray, size: float, left: int) -> None:
        found = members(low, size)
        if left == 0 or not found:
            fixups.append((node, block, len(lists)))
            lists.extend(struct.pack(f"<{len(found) + 1}H", *found, 0))
            return
        children = len(nodes)
        nodes.extend(bytes(32))
        struct.pack_into("<I", nodes, node, children - block)
        for child in range(8):
            corner = low + np.array([child & 1, child >> 1 & 1, child >> 2]) * size / 2
            fill(children + child * 4, children, corner, size / 2, left - 1)

    nodes.extend(bytes(4 * math.prod(blocks)))
    for z in range(blocks[2]):
        for y in range(blocks[1]):
            for x in range(blocks[0]):
                number = (z * blocks[1] + y) * blocks[0] + x
                low = np.array(minimum) + np.array([x, y, z]) * 2**shift
                fill(number * 4, 0, low, 2**shift, depth)
    for node, block, place in fixups:
        struct.pack_into("<I", nodes, node, 0x80000000 | (len(nodes) + place - 2 - block))

    at_normals = 0x3C + 12 * len(positions)
    at_prisms = (at_normals + 6 * len(normals) + 3) & ~3
    at_octree = at_prisms + len(prisms)
    header = struct.pack(
        "<4Ii3i3I3Ii",
        0x3C,
        at_normals,
        at_prisms - 0x10,
        at_octree,
        fx(30),
        *(fx(value) for value in minimum),
        *(~((2**shift) * count - 1) & 0xFFFFFFFF for count in blocks),
        shift,
        blocks[0].bit_length() - 1,
        (blocks[0] * blocks[1]).bit_length() - 1,
        fx(25),
    )
    body = header + b"".join(positions) + b"".join(normals)
    return body.ljust(at_prisms, b"\0") + prisms + bytes(nodes) + bytes(lists)


def quad(a, b, c, d) -> list[list[Sequence[float]]]:
    """Return two triangles."""
    return [[a, b, c], [a, c, d]]


def plain_course() -> bytes:
    """Return a road 200 wide along z, with off-road at x > 100 and a wall at x = -100."""
    road = quad((-100, 0, -500), (-100, 0, 500), (100, 0, 500), (100, 0, -500))
    off = quad((100, 0, -500), (100, 0, 500), (300, 0, 500), (300, 0, -500))
    wall = quad((-100, 0, -500), (-100, 50, -500), (-100, 50, 500), (-100, 0, 500))
    return write_kcl(
        road + off + wall,
        [FLOOR_BIT | ROAD << 8] * 2 + [FLOOR_BIT | OFF_ROAD << 8] * 2 + [WALL_BIT | WALL << 8] * 2,
    )


def checkpoint_array(
    lines: Sequence[tuple[float, float, float, float]], keys: dict[int, int] | None = None
) -> np.ndarray:
    """Return CPOI entries of lines (left x, left z, right x, right z)."""
    array = np.zeros(len(lines), dtype=formats.CHECKPOINT)
    for index, line in enumerate(lines):
        for name, value in zip(("x1", "z1", "x2", "z2"), line, strict=True):
            array[name][index] = fx(value)
    array["goto_section"] = array["start_section"] = array["key"] = -1
    for index, key in ({0: 0} if keys is None else keys).items():
        array["key"][index] = key
    return array


def section_array(sections: Sequence[tuple[int, int, Sequence[int]]]) -> np.ndarray:
    """Return CPAT entries of (start, length, next sections) with their previous sections."""
    array = np.zeros(len(sections), dtype=formats.SECTION)
    array["next"] = array["previous"] = 0xFF
    for number, (start, length, onward) in enumerate(sections):
        array["start"][number], array["length"][number] = start, length
        array["next"][number, : len(onward)] = onward
        before = [other for other, entry in enumerate(sections) if number in entry[2]]
        array["previous"][number, : len(before[:3])] = before[:3]
    return array


def course_map(
    lines: Sequence[tuple[float, float, float, float]],
    sections: Sequence[tuple[int, int, Sequence[int]]] | None = None,
    keys: dict[int, int] | None = None,
) -> NKM:
    if sections is None:
        sections = [(0, len(lines), [0])]
    return NKM(
        stage=np.zeros((), dtype=formats.STAGE),
        checkpoints=checkpoint_array(lines, keys),
        checkpoint_paths=section_array(sections),
    )


def across(x: float, z: float, heading: float, half: float = 60.0) -> tuple[float, ...]:
    """Return the ends of a checkpoint line through (x, z), left end first."""
    fx_, fz_ = math.sin(heading), math.cos(heading)
    return (x + fz_ * half, z - fx_ * half, x - fz_ * half, z + fx_ * half)


def circle(count: int = 24, radius: float = 500.0, half: float = 60.0):
    """Return the checkpoint lines of a circle, driven to the left."""
    lines = []
    for index in range(count):
        angle = 2 * math.pi * index / count
        # Left of heading h lies at h + 90 degrees: that is where the middle is.
        heading = angle
        lines.append(across(-radius * math.cos(angle), radius * math.sin(angle), heading, half))
    return lines


def forked_map() -> NKM:
    """A straight, a fork into a short way (3 checkpoints) and a long one (5), and the way back.

    Section 0: 0-2 up the z axis, 1: 3-5 to the left, 2: 6-10 to the right, 3: 11-15 back.
    """
    up = [across(0, z, 0.0) for z in (0, 100, 200)]
    short = [across(150, z, 0.0) for z in (350, 450, 550)]
    long = [
        across(x, z, 0.0)
        for x, z in ((-200, 300), (-400, 400), (-500, 500), (-400, 600), (-200, 650))
    ]
    back = [
        across(0, 800, 0.0),
        across(-350, 950, -math.pi / 2),
        across(-700, 700, math.pi),
        across(-700, 0, math.pi),
        across(-350, -200, math.pi / 2),
    ]
    return course_map(
        up + short + long + back,
        [(0, 3, [1, 2]), (3, 3, [3]), (6, 5, [3]), (11, 5, [0])],
    )


LAYOUT = MemoryLayout()


def list_address(magic: str, map_data: int) -> int:
    """Return the address of the pointer to a section in the map data."""
    if magic in FIRST_MAP_LISTS:
        return map_data + 8 * FIRST_MAP_LISTS.index(magic)
    return map_data + 0x1C + 8 * MAP_LISTS.index(magic)


def into_ram(kcl: bytes, nkm: bytes, *, stage_by_name: bool = True) -> np.ndarray:
    """Return main memory with both files loaded as the game does: pointers for offsets."""
    ram = np.random.default_rng(5).integers(0, 256, 0x400000, dtype=np.uint8)
    base = 0x02000000

    def put(address: int, data: bytes) -> None:
        ram[address - base : address - base + len(data)] = np.frombuffer(data, np.uint8)

    kcl_at, nkm_at, map_data = 0x02200000, 0x02300000, 0x02190000
    put(kcl_at, kcl)
    put(nkm_at, nkm)
    offsets = [value + kcl_at for value in struct.unpack_from("<4I", kcl)]
    put(LAYOUT.collision_header, struct.pack("<4I", *offsets) + kcl[0x10:0x3C])
    put(LAYOUT.map_data_pointer, struct.pack("<I", map_data))
    put(map_data, bytes(0x110))
    course = NKM.from_bytes(nkm)
    names = {magic: name for magic, name, _ in formats.SECTIONS}
    header_size = struct.unpack_from("<H", nkm, 6)[0]
    for index, magic in enumerate(course.sections):
        start = nkm_at + header_size + struct.unpack_from("<I", nkm, 8 + 4 * index)[0]
        if magic == "STAG":
            put(map_data + 0x18, struct.pack("<I", start if stage_by_name else start + 4))
        else:
            count = len(getattr(course, names[magic]))
            put(list_address(magic, map_data), struct.pack("<IH", start + 8, count))
    return ram


def damaged(
    data: bytes, step: int, flips: int, place: Callable[[random.Random], int]
) -> Iterator[bytes]:
    """Yield truncations of ``data`` (every ``step`` bytes) and ``flips`` copies with 1 to 4 flips.

    Args:
        data: sound bytes.
        step: bytes between two truncations.
        flips: number of copies with flipped bits.
        place: returns the index of a byte to damage.
    """
    rng = random.Random(2)
    for size in range(0, len(data), step):
        yield data[:size]
    for _ in range(flips):
        broken = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            broken[place(rng)] ^= 1 << rng.randrange(8)
        yield bytes(broken)


def read_or_refused(
    read: Callable[[], Any], check: Callable[[Any], object] = lambda value: None
) -> None:
    """Check that a reader returns a valid value or an error with an offset, within a second."""
    start = time.process_time()
    try:
        value = read()
    except CourseFormatError as error:
        if error.offset is None:
            raise AssertionError(f"the error has no offset: {error}") from error
    else:
        check(value)
    assert time.process_time() - start < 1.0
