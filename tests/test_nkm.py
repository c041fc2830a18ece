import struct

import numpy as np
import pytest
from course_builder import (
    LAYOUT,
    circle,
    course_map,
    damaged,
    into_ram,
    list_address,
    plain_course,
    read_or_refused,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from mkds_gym.course import Course, Track, read_course_archive
from mkds_gym.course import nkm as formats
from mkds_gym.course.nkm import NKM, checksum_ram
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.errors import CourseFormatError, MKDSError
from mkds_gym.kartlab import ROM_PATH

SIZES = {
    "objects": 0x3C,
    "paths": 4,
    "points": 0x14,
    "starts": 0x1C,
    "respawns": 0x20,
    "lap_points": 0x1C,
    "cannons": 0x1C,
    "missions": 0x1C,
    "checkpoints": 0x24,
    "checkpoint_paths": 0x0C,
    "item_points": 0x14,
    "item_paths": 0x0C,
    "enemy_points": 0x18,
    "enemy_paths": 0x0C,
    "areas": 0x48,
    "cameras": 0x4C,
}


def full_map(seed=0):
    """Every section with random entries, but checkpoints that make a track."""
    rng = np.random.default_rng(seed)
    base = course_map(circle())
    arrays = {}
    for name, size in SIZES.items():
        dtype = getattr(base, name).dtype
        count = int(rng.integers(0, 9))
        arrays[name] = np.frombuffer(rng.bytes(count * size), dtype)
    arrays["checkpoints"], arrays["checkpoint_paths"] = base.checkpoints, base.checkpoint_paths
    stage = np.frombuffer(rng.bytes(0x28), formats.STAGE).reshape(())
    return NKM(stage=stage, **arrays)


DATA = full_map().save()


def same(one, other):
    for name in SIZES:
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name
    assert one.stage.tobytes() == other.stage.tobytes()


def test_entries_have_the_sizes_of_the_game():
    empty = NKM()
    assert {name: getattr(empty, name).dtype.itemsize for name in SIZES} == SIZES
    assert formats.STAGE.itemsize == 0x28


def test_fields_have_the_offsets_of_the_game():
    def offsets(dtype):
        return {name: dtype.fields[name][1] for name in dtype.names}

    checkpoint = offsets(formats.CHECKPOINT)
    assert (checkpoint["x2"], checkpoint["distance"], checkpoint["key"]) == (8, 0x18, 0x20)
    assert offsets(formats.STAGE)["fog_density"] == 0x10
    assert offsets(formats.STAGE)["far_clip"] == 0x24
    assert offsets(formats.OBJECT)["id"] == 0x24
    assert offsets(formats.OBJECT)["time_trial"] == 0x38
    assert offsets(formats.RESPAWN)["id"] == 0x1C
    assert offsets(formats.SECTION)["previous"] == 7


def test_nkm_save_returns_the_same_bytes():
    nkm = NKM.from_bytes(DATA)
    same(nkm, full_map())
    assert nkm.save() == DATA
    assert struct.unpack_from("<HH", DATA, 4) == (37, 0x4C)


def test_nkm_with_battle_sections_saves_them():
    nkm = NKM.from_bytes(DATA)
    points = np.frombuffer(bytes(range(48)), "V24")
    stage = NKM(
        stage=nkm.stage,
        mini_enemy_points=points,
        areas=nkm.areas,
        sections=tuple(magic for magic, _, _ in formats.SECTIONS),
    )
    data = stage.save()
    assert struct.unpack_from("<H", data, 6)[0] == 0x54
    again = NKM.from_bytes(data)
    assert again.mini_enemy_points.tobytes() == points.tobytes()
    assert again.mini_enemy_points.dtype.itemsize == 24
    assert len(again.mini_enemy_paths) == 0
    assert again.save() == data


@pytest.mark.parametrize("by_name", [True, False])
def test_nkm_from_ram_equals_the_file(by_name):
    ram = into_ram(plain_course(), DATA, stage_by_name=by_name)
    address = int.from_bytes(ram[0x175600:0x175604].tobytes(), "little")
    nkm = NKM.from_ram(ram, address)
    assert nkm.checksum == checksum_ram(ram, address) == NKM.from_bytes(DATA).checksum
    ram[:] = 0
    same(nkm, full_map())
    assert nkm.save() == DATA


def test_course_fingerprint_is_equal_from_ram_and_files():
    ram = into_ram(plain_course(), DATA)
    course = Course.from_ram(ram, LAYOUT)
    from_files = Course.from_files(plain_course(), DATA)
    assert course.fingerprint == from_files.fingerprint == Course.fingerprint_ram(ram, LAYOUT)
    assert course.track.length == from_files.track.length
    other = Course.from_files(plain_course(), course_map(circle(20)).save())
    assert other.fingerprint != course.fingerprint


@pytest.mark.parametrize("memory", [np.zeros(0x400000, np.uint8), np.full(0x400000, 255, np.uint8)])
def test_course_from_ram_without_course_raises(memory):
    with pytest.raises(CourseFormatError) as caught:
        Course.from_ram(memory, LAYOUT)
    assert caught.value.offset is not None
    with pytest.raises(CourseFormatError):
        Course.fingerprint_ram(memory, LAYOUT)


def test_nkm_from_ram_with_section_outside_memory_raises_with_offset():
    ram = into_ram(plain_course(), DATA)
    address = int.from_bytes(ram[0x175600:0x175604].tobytes(), "little")
    place = list_address("CPOI", address) - 0x02000000
    ram[place : place + 4] = np.frombuffer(struct.pack("<I", 0x023FFF00), np.uint8)
    with pytest.raises(CourseFormatError, match="CPOI of 24 entries") as caught:
        NKM.from_ram(ram, address)
    assert caught.value.offset == list_address("CPOI", address)
    with pytest.raises(CourseFormatError):
        checksum_ram(ram, address)


def patched(offset, value, form="<I"):
    data = bytearray(DATA)
    struct.pack_into(form, data, offset, value)
    return bytes(data)


def start_of(index):
    return 0x4C + struct.unpack_from("<I", DATA, 8 + 4 * index)[0]


@pytest.mark.parametrize(
    ("data", "message", "offset"),
    [
        (b"", "shorter than its header", 0),
        (b"NARC" + bytes(100), "not an NKM", 0),
        (patched(4, 36, "<H"), "version 36 is unknown: expected 37", 4),
        (patched(6, 9, "<H"), "header length", 6),
        (patched(6, 0xFFFC, "<H"), "header length", 6),
        (patched(8, 0x7FFFFFFF), "section 0 is out of bounds", 8),
        (patched(start_of(2), 0x21212121), "unknown section b'!!!!'", start_of(2)),
        (
            patched(start_of(1), int.from_bytes(b"OBJI", "little")),
            "OBJI is there twice",
            start_of(1),
        ),
        (patched(start_of(9) + 4, 25), "CPOI has no room for 25 entries", start_of(9) + 4),
        (patched(start_of(9) + 4, 0xFFFFFFFF), "CPOI has no room", start_of(9) + 4),
        (DATA[:-1], "CAME has no room", start_of(16) + 4),
    ],
)
def test_malformed_nkm_raises_with_offset(data, message, offset):
    with pytest.raises(CourseFormatError, match=message) as caught:
        NKM.from_bytes(data)
    assert caught.value.offset == offset


def check_track(nkm):
    nkm.save()
    try:
        track = Track(nkm)
    except CourseFormatError:
        return
    s = track.progress(0, 10.0, 20.0)
    assert 0 <= s < track.length
    track.point_at(s)
    for checkpoint in range(len(track)):
        track.project(3.0, 4.0, checkpoint)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes_are_read_or_refused(data):
    objects = b"NKMD%\0\x10\0" + struct.pack("<2I", 0, 12)
    checkpoints = b"NKMD%\0\x0c\0" + bytes(4) + b"CPOI" + struct.pack("<I", 9)
    for start in (b"", objects, checkpoints):
        read_or_refused(lambda start=start: NKM.from_bytes(start + data), check_track)


def test_damaged_nkm_is_read_or_refused():
    checkpoints = range(start_of(9), start_of(11))
    parts = (range(0x4C), checkpoints, range(len(DATA)))
    for data in damaged(DATA, 11, 300, lambda rng: rng.choice(rng.choice(parts))):
        read_or_refused(lambda data=data: NKM.from_bytes(data), check_track)


def kartlab() -> Cartridge:
    return Cartridge.open(ROM_PATH)


def test_kartlab_courses_save_the_same_bytes():
    cartridge = kartlab()
    for name in cartridge.course_names():
        course = Course.from_cartridge(cartridge, name)
        assert course.name == name
        files = read_course_archive(cartridge, name)
        assert course.kcl.save() == files["course_collision.kcl"]
        assert course.nkm.save() == files["course_map.nkm"]
        assert not course.kcl.degenerate.any()
        assert 500 < course.track.length < 20000
        # Every floor triangle is found through the octree in its middle.
        middles = course.kcl.triangles.mean(axis=1)
        for index in np.flatnonzero(course.kcl.is_floor)[::7]:
            assert index in course.kcl.prisms_at(*middles[index])


def test_kartlab_course_in_ram_equals_the_cartridge():
    cartridge = kartlab()
    console_module = pytest.importorskip("mkds_gym.emulator.console")
    from mkds_gym.kartlab.boot import BootParameters
    from mkds_gym.race.memory_layout import MemoryLayout
    from mkds_gym.race.reader import RaceReader

    with console_module.Console(cartridge, on_power_on=BootParameters().write) as console:
        for _ in range(60):
            console.step(0, 10, draw=False)
            layout = MemoryLayout.detect(console.ram, cartridge.region)
            try:
                reader = RaceReader(console.ram, layout)
                reader.resolve()
                if reader.read().race_on:
                    break
            except MKDSError:
                continue
        else:
            pytest.fail("no race within 600 frames")
        course = Course.from_ram(console.ram, layout)
        fingerprint = Course.fingerprint_ram(console.ram, layout)
        state = reader.read()
    known = {
        other.fingerprint: other
        for other in (Course.from_cartridge(cartridge, name) for name in cartridge.course_names())
    }
    assert fingerprint == course.fingerprint
    assert fingerprint in known
    file = known[fingerprint]
    saved = file.kcl.save()
    assert course.kcl.save() == saved[: len(course.kcl.save())]
    assert len(saved) - len(course.kcl.save()) < 4  # padding behind the octree
    for name in SIZES:
        assert getattr(course.nkm, name).tobytes() == getattr(file.nkm, name).tobytes(), name
    assert course.nkm.stage.tobytes() == file.nkm.stage.tobytes()
    # The kart waits on the road, close to the start line.
    x, y, z = state.position
    heights = course.kcl.heights_at(x, z)
    assert np.abs(heights - y).min() < 20
    assert abs(course.track.gap(0.0, course.track.project(x, z, state.checkpoint).s)) < 400
