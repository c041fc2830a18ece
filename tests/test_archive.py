import struct

import pytest
from course_builder import damaged, plain_course, read_or_refused
from hypothesis import given, settings
from hypothesis import strategies as st
from ndspy import fnt, lz10, narc

from mkds_gym.course.archive import decompress, read_carc, read_narc, write_carc
from mkds_gym.emulator.file_table import file_names
from mkds_gym.errors import CourseFormatError

FILES = {"course_collision.kcl": plain_course(), "course_map.nkm": b"NKMD" * 40, "empty": b""}
CARC = write_carc(FILES)


def test_read_carc_inverts_write_carc():
    assert read_carc(CARC) == FILES
    assert list(read_carc(CARC)) == list(FILES)


def test_read_carc_accepts_a_narc():
    assert read_carc(decompress(CARC)) == FILES


def test_read_narc_joins_folders_to_paths():
    root = fnt.Folder(
        folders=[("inner", fnt.Folder(files=["b.bin"], firstID=1))], files=["a.bin"], firstID=0
    )
    data = narc.NARC.fromFilesAndNames([b"one", b"two"], root).save()
    assert read_narc(data) == {"a.bin": b"one", "inner/b.bin": b"two"}


def test_read_narc_numbers_files_without_names():
    data = narc.NARC.fromFilesAndNames([b"one", b"two"]).save()
    assert read_narc(data) == {"#0": b"one", "#1": b"two"}


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.integers(1, 6))
def test_decompress_agrees_with_ndspy(data, repeats):
    data = data * repeats
    assert decompress(bytes(lz10.compress(data))) == data


@pytest.mark.parametrize("name", ["", "a/b", "ü.kcl", "x" * 128])
def test_write_carc_with_invalid_name_raises(name):
    with pytest.raises(ValueError, match="file name"):
        write_carc({name: b""})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not LZ77"),
        (b"\x11\0\0\0", "not LZ77"),
        (b"\x10\xff\xff\xff", "cannot hold"),
        (b"\x10\x08\0\0\x80\x00\x00", "bytes back"),
        (b"\x10\x08\0\0\0abc", "ends at 3 of 8"),
        (lz10.compress(b"hello"), "not a NARC"),
    ],
)
def test_malformed_archive_raises_with_offset(data, message):
    with pytest.raises(CourseFormatError, match=message) as caught:
        read_carc(bytes(data))
    assert caught.value.offset is not None


def test_folder_cycle_raises():
    inner = fnt.Folder(files=["b"], firstID=1)
    root = fnt.Folder(folders=[("x", inner)], files=["a"], firstID=0)
    data = bytearray(narc.NARC.fromFilesAndNames([b"1", b"2"], root).save())
    entry = data.index(b"\x81x") + 2
    assert struct.unpack_from("<H", data, entry)[0] == 0xF001
    struct.pack_into("<H", data, entry, 0xF000)
    with pytest.raises(CourseFormatError, match="contain each other"):
        read_narc(bytes(data))


def test_files_that_overlap_raise_at_once():
    """A megabyte of entries for the same megabyte would be a terabyte."""
    count = 1 << 17
    table = struct.pack("<II", 0, 1 << 20) * count
    names = struct.pack("<IHHB", 8, 0, 1, 0)
    data = struct.pack("<4s12s4sII", b"NARC", bytes(12), b"BTAF", 12 + len(table), count) + table
    data += struct.pack("<4sI", b"BTNF", 8 + len(names)) + names
    data += struct.pack("<4sI", b"GMIF", 8) + bytes(1 << 20)
    with pytest.raises(CourseFormatError, match="overlap"):
        read_narc(data)


def test_folder_of_two_folders_raises():
    """Each folder twice in the one before would be 2**40 folders."""
    depth = 40
    begin, entries = 8 * depth, b"\x81a%b\x81b%b\0"
    table = b"".join(struct.pack("<IHH", begin + 9 * i, 0, depth) for i in range(depth))
    for number in range(depth):
        inner = struct.pack("<H", 0xF000 + min(number + 1, depth - 1))
        table += entries % (inner, inner)
    with pytest.raises(ValueError, match="contain each other"):
        file_names(table)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"", "cut off"),
        (struct.pack("<IHH", 8, 0, 1) + b"\x01a", "cut off"),
        (struct.pack("<IHH", 8, 0, 1) + b"\x01a\x01a\0", "'a' is there twice"),
        (struct.pack("<IHH", 8, 0xEFFF, 1) + b"\x01a\x01b\0", "more than 61,440 files"),
        (struct.pack("<IHH", 8, 0, 1) + b"\x81a\x00\x00\0", "contain each other"),
    ],
)
def test_malformed_file_names_raise(table, message):
    with pytest.raises(ValueError, match=message):
        file_names(table)


def test_file_beyond_the_end_raises_with_offset():
    data = bytearray(decompress(CARC))
    struct.pack_into("<I", data, 0x1C + 4, 0x7FFFFFFF)
    with pytest.raises(CourseFormatError, match="out of bounds") as caught:
        read_narc(bytes(data))
    assert caught.value.offset == 0x1C


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_are_read_or_refused(data):
    for start in (b"", b"\x10", b"NARC"):
        read_or_refused(lambda start=start: read_carc(start + data))


@pytest.mark.parametrize("source", [CARC, decompress(CARC)], ids=["packed", "bare"])
def test_damaged_archive_is_read_or_refused(source):
    # Half of the damage is in the first bytes, where the tables are.
    starts = (min(200, len(source)), len(source))
    for data in damaged(
        source, len(source) // 150 + 1, 300, lambda r: r.randrange(r.choice(starts))
    ):
        read_or_refused(lambda data=data: read_carc(data))
