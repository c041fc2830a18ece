import pickle
import random
import struct
import time

import numpy as np
import pytest
from course_builder import LAYOUT, damaged, into_ram, plain_course, read_or_refused, write_kcl
from hypothesis import given, settings
from hypothesis import strategies as st

from mkds_gym.course import Course
from mkds_gym.course.kcl import KCL, checksum_ram
from mkds_gym.errors import CourseFormatError
from mkds_gym.race.names import Surface

DATA = plain_course()
EMPTY_MAP = b"NKMD" + struct.pack("<HH", 37, 8)


def random_triangles(count, rng):
    """Return random triangles inside the area, without slivers."""
    triangles = []
    while len(triangles) < count:
        middle = rng.uniform((-900, -150, -900), (900, 150, 900))
        corners = middle + rng.uniform(-80, 80, (3, 3))
        edges = np.roll(corners, -1, axis=0) - corners
        sides = np.linalg.norm(edges, axis=1)
        area = np.linalg.norm(np.cross(edges[0], edges[1]))
        if area > 0.3 * sides.max() ** 2:
            triangles.append(corners.tolist())
    return triangles


def test_kcl_decodes_triangles_and_attributes():
    rng = np.random.default_rng(3)
    triangles = random_triangles(200, rng)
    attributes = rng.integers(0, 0x10000, 200).tolist()
    kcl = KCL.from_bytes(write_kcl(triangles, attributes))
    assert not kcl.degenerate.any()
    # v0 is stored; the others follow from normals good to 1/8192 over up to 200 units.
    np.testing.assert_allclose(kcl.triangles[:, 0], np.array(triangles)[:, 0], atol=2 / 4096)
    np.testing.assert_allclose(kcl.triangles, triangles, atol=0.5)
    assert kcl.attributes.tolist() == attributes
    assert kcl.types.tolist() == [value >> 8 & 31 for value in attributes]
    assert kcl.variants.tolist() == [value >> 5 & 7 for value in attributes]
    assert kcl.is_wall.tolist() == [bool(value & 0x4000) for value in attributes]
    assert kcl.is_floor.tolist() == [bool(value & 0x8000) for value in attributes]
    assert kcl.ignores_drivers.tolist() == [bool(value & 0x10) for value in attributes]
    np.testing.assert_allclose(np.linalg.norm(kcl.normals, axis=1), 1, atol=1e-3)


def test_kcl_header_is_in_world_units():
    kcl = KCL.from_bytes(DATA)
    assert kcl.thickness == 30.0
    assert kcl.sphere_radius == 25.0
    assert kcl.area_minimum.tolist() == [-1024, -256, -1024]
    assert kcl.area_size.tolist() == [2048, 512, 2048]


def test_kcl_tells_off_road_and_obstacles():
    triangle = [[0, 0, 0], [0, 0, 100], [100, 0, 0]]
    cases = {
        0x8000: (False, False),
        0x8000 | 2 << 8: (True, False),
        0x8000 | 3 << 8: (True, False),
        0x8000 | 5 << 8: (True, False),
        0x8000 | 5 << 8 | 0x10: (False, False),  # not for drivers
        0x4000 | 8 << 8: (False, True),
        9 << 8: (False, True),
        16 << 8: (False, True),
        21 << 8: (False, True),
        0x4000 | 14 << 8: (False, False),  # a wall for others
        0x4000 | 8 << 8 | 0x10: (False, False),
        11 << 8: (False, False),
    }
    kcl = KCL.from_bytes(write_kcl([triangle] * len(cases), list(cases)))
    found = list(zip(kcl.is_off_road.tolist(), kcl.is_obstacle.tolist(), strict=True))
    assert found == list(cases.values())


@pytest.fixture(scope="module")
def octrees():
    """The same 60 triangles with octrees of three depths."""
    triangles = random_triangles(60, np.random.default_rng(4))
    return {n: KCL.from_bytes(write_kcl(triangles, [0] * 60, depth=n)) for n in (0, 1, 3)}


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_octree_lists_every_prism_at_its_points(octrees, depth):
    kcl, rng = octrees[depth], np.random.default_rng(5)
    shares = rng.dirichlet((1, 1, 1), size=(60, 20))
    points = np.einsum("tkc,tcx->tkx", shares, kcl.triangles)
    for index in range(60):
        for point in points[index]:
            assert index in kcl.prisms_at(*point)


def test_deeper_octree_lists_fewer_prisms(octrees):
    point = octrees[0].triangles[0].mean(axis=0)
    assert set(octrees[3].prisms_at(*point)) < set(octrees[0].prisms_at(*point))


@pytest.mark.parametrize(
    "point",
    [
        (-1024.001, 0, 0),
        (0, 256, 0),
        (0, 0, 1024),
        (1e12, 0, 0),
        (-1e300, 0, 0),
        (float("inf"), 0, 0),
        (float("nan"), 0, 0),
    ],
)
def test_prisms_at_outside_the_area_is_empty(point):
    assert len(KCL.from_bytes(DATA).prisms_at(*point)) == 0


def test_heights_at_lists_floors_in_order():
    tilted = [[-100, 0, -100], [-100, 0, 300], [300, 100, -100]]
    upper = [[-100, 80, -100], [-100, 80, 300], [300, 80, -100]]
    wall = [[0, 0, -100], [0, 50, -100], [0, 0, 300]]
    kcl = KCL.from_bytes(write_kcl([tilted, upper, wall], [0x8000, 0x8000, 0x4800]))
    np.testing.assert_allclose(kcl.heights_at(0, 0), [25, 80], atol=0.1)
    assert len(kcl.heights_at(290, 290)) == 0


def test_kcl_save_returns_the_same_bytes():
    assert KCL.from_bytes(DATA).save() == DATA


def test_kcl_pickles():
    kcl = KCL.from_bytes(DATA)
    copy = pickle.loads(pickle.dumps(kcl))
    assert copy.save() == DATA
    assert (copy.triangles == kcl.triangles).all()
    assert copy.prisms_at(0, 0, 0).tolist() == kcl.prisms_at(0, 0, 0).tolist()


def test_kcl_arrays_are_read_only():
    kcl = KCL.from_bytes(DATA)
    for array in (kcl.triangles, kcl.types, kcl.prisms, kcl.raw_positions, kcl.prisms_at(0, 0, 0)):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_kcl_from_ram_equals_the_file():
    ram = into_ram(DATA, EMPTY_MAP)
    kcl = KCL.from_ram(ram, LAYOUT.collision_header)
    assert kcl.save() == DATA
    before = kcl.triangles.copy()
    assert (
        kcl.checksum == checksum_ram(ram, LAYOUT.collision_header) == KCL.from_bytes(DATA).checksum
    )
    ram[:] = 0  # a copy, not a view
    assert (kcl.triangles == before).all()
    assert kcl.save() == DATA
    with pytest.raises(CourseFormatError):
        KCL.from_ram(ram, LAYOUT.collision_header)


def test_kcl_checksum_depends_on_attributes():
    other = bytearray(DATA)
    place = struct.unpack_from("<I", DATA, 8)[0] + 0x10 + 0x0E  # first prism's attribute
    other[place] ^= 0x20
    assert KCL.from_bytes(bytes(other)).checksum != KCL.from_bytes(DATA).checksum


@pytest.mark.parametrize("address", [0, 0x01FFFFFF, 0x023FFFFF, 0xFFFFFFFF])
def test_kcl_from_ram_with_header_outside_memory_raises(address):
    with pytest.raises(CourseFormatError, match="outside main memory"):
        KCL.from_ram(np.zeros(0x400000, np.uint8), address)


def test_degenerate_prisms_are_marked():
    data = bytearray(DATA)
    prisms = struct.unpack_from("<I", data, 8)[0] + 0x10
    struct.pack_into("<i", data, prisms, 0)  # no height
    edges = struct.unpack_from("<3H", data, prisms + 0x10 + 8)
    struct.pack_into("<3H", data, prisms + 0x10 + 8, edges[2], edges[1], edges[2])  # e1 = e3
    kcl = KCL.from_bytes(bytes(data))
    assert kcl.degenerate.tolist() == [True, True, False, False, False, False]
    assert np.isfinite(kcl.triangles).all()
    assert (kcl.triangles[0] == kcl.triangles[0, 0]).all()


def patched(offset, value, form="<I"):
    data = bytearray(DATA)
    struct.pack_into(form, data, offset, value)
    return bytes(data)


OCTREE = struct.unpack_from("<I", DATA, 12)[0]
PRISMS = struct.unpack_from("<I", DATA, 8)[0] + 0x10


@pytest.mark.parametrize(
    ("data", "message", "offset"),
    [
        (b"", "shorter than its header", 0),
        (DATA[:0x3B], "shorter than its header", 0),
        (patched(0, 0xFFFFFFFF), "positions.*out of bounds", 0),
        (patched(4, 0x3D), "normals.*not aligned", 4),
        (patched(4, 0x38), "normals.*out of bounds", 4),
        (patched(8, 0x3C), "overlap the section before", 8),
        (DATA[: OCTREE + 8], "cannot hold", OCTREE),
        (patched(0x20, 0xF0FFFFFF), "power of two", 0x20),
        (patched(0x2C, 32), "exceeds 31", 0x2C),
        (patched(0x34, 31), "cannot hold", OCTREE),
        (patched(PRISMS + 4, 0xFFF0, "<H"), "prism 0: position", PRISMS),
        (patched(PRISMS + 0x20 + 10, 0xFFF0, "<H"), "prism 2: edge_normals", PRISMS + 0x20),
        (patched(OCTREE, 0x7FFFFFF0), "node points out", OCTREE),
        (patched(OCTREE + 4, 0xFFFFFFF0), "leaf points out", OCTREE + 4),
        (patched(OCTREE, 0), "deeper than its cells, or has a cycle", None),
        (patched(len(DATA) - 2, 1, "<H"), "no end", None),
        (patched(len(DATA) - 4, 0x7777, "<H"), "lists prism 30583 of only 6", len(DATA) - 4),
    ],
)
def test_malformed_kcl_raises_with_offset(data, message, offset):
    with pytest.raises(CourseFormatError, match=message) as caught:
        KCL.from_bytes(data)
    if offset is not None:
        assert caught.value.offset == offset
        assert f"{offset:#x}" in str(caught.value)


def check(kcl):
    assert np.isfinite(kcl.triangles).all()
    for point in ((0, 0, 0), (-1000, -200, 900), (5000, 0, 0)):
        found = kcl.prisms_at(*point)
        assert ((found >= 0) & (found < len(kcl.prisms))).all()


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=500))
def test_random_bytes_are_read_or_refused(data):
    read_or_refused(lambda: KCL.from_bytes(data), check)
    # With offsets that hold, so that it comes to the octree.
    head = struct.pack("<4I", 0x3C, 0x3C, 0x3C - 0x10, 0x3C) + bytes(16)
    read_or_refused(lambda: KCL.from_bytes(head + data), check)
    masks = struct.pack("<3I", 0xFFFFFF00, 0xFFFFFF00, 0xFFFFFF00) + struct.pack("<3I", 7, 1, 2)
    read_or_refused(lambda: KCL.from_bytes(head + masks + bytes(4) + data), check)


def test_damaged_kcl_is_read_or_refused():
    starts = (0x3C, len(DATA))
    for data in damaged(DATA, 3, 600, lambda rng: rng.randrange(rng.choice(starts))):
        read_or_refused(lambda data=data: KCL.from_bytes(data), check)


def test_damaged_kcl_in_ram_is_read_or_refused():
    rng = random.Random(3)
    ram = into_ram(DATA, EMPTY_MAP)
    header = LAYOUT.collision_header - 0x02000000
    for _ in range(40):
        broken = ram.copy()
        for _ in range(rng.randint(1, 3)):
            place = rng.choice([header + rng.randrange(0x3C), 0x200000 + rng.randrange(len(DATA))])
            broken[place] ^= 1 << rng.randrange(8)
        read_or_refused(lambda broken=broken: KCL.from_ram(broken, LAYOUT.collision_header), check)
    read_or_refused(lambda: KCL.from_ram(ram, LAYOUT.collision_header + 0x100), check)


def test_prisms_at_is_quick():
    kcl = KCL.from_bytes(DATA)
    kcl.prisms_at(0, 0, 0)
    best = min(_time(lambda: kcl.prisms_at(10.0, 0.0, 20.0)) for _ in range(5))
    assert best < 20e-6


def _time(call, count=500):
    start = time.process_time()
    for _ in range(count):
        call()
    return (time.process_time() - start) / count


def test_course_from_files_has_surfaces_and_no_track_without_checkpoints():
    course = Course.from_files(DATA, EMPTY_MAP, "plain")
    assert course.name == "plain"
    assert course.kcl.types[2] == Surface.OFFROAD
    with pytest.raises(CourseFormatError, match="no checkpoints"):
        _ = course.track
