import random
import struct
import time

import pytest
from course_builder import plain_course
from hypothesis import given, settings
from hypothesis import strategies as st
from ndspy import lz10

from mkds_gym.course.archive import decompress, read_carc, read_narc, write_carc
from mkds_gym.errors import CourseFormatError

FILES = {"course_collision.kcl": plain_course(), "course_map.nkm": b"NKMD" * 40, "empty": b""}
CARC = write_carc(FILES)


def test_round_trip():
    assert read_carc(CARC) == FILES
    assert list(read_carc(CARC)) == list(FILES)


def test_accepts_a_bare_narc():
    assert read_carc(decompress(CARC)) == FILES


def test_folders_become_paths():
    from ndspy import fnt, narc

    root = fnt.Folder(
        folders=[("inner", fnt.Folder(files=["b.bin"], firstID=1))], files=["a.bin"], firstID=0
    )
    data = narc.NARC.fromFilesAndNames([b"one", b"two"], root).save()
    assert read_narc(data) == {"a.bin": b"one", "inner/b.bin": b"two"}


def test_files_without_names():
    from ndspy import narc

    data = narc.NARC.fromFilesAndNames([b"one", b"two"]).save()
    assert read_narc(data) == {"#0": b"one", "#1": b"two"}


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.integers(1, 6))
def test_decompress_agrees_with_ndspy(data, repeats):
    data = data * repeats
    assert decompress(bytes(lz10.compress(data))) == data


@pytest.mark.parametrize("name", ["", "a/b", "ü.kcl", "x" * 128])
def test_refuses_names_that_cannot_be_stored(name):
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
def test_names_what_is_wrong(data, message):
    with pytest.raises(CourseFormatError, match=message) as caught:
        read_carc(bytes(data))
    assert caught.value.offset is not None


def test_folders_in_circles():
    from ndspy import fnt, narc

    inner = fnt.Folder(files=["b"], firstID=1)
    root = fnt.Folder(folders=[("x", inner)], files=["a"], firstID=0)
    data = bytearray(narc.NARC.fromFilesAndNames([b"1", b"2"], root).save())
    entry = data.index(b"\x81x") + 2
    assert struct.unpack_from("<H", data, entry)[0] == 0xF001
    struct.pack_into("<H", data, entry, 0xF000)
    with pytest.raises(CourseFormatError, match="contain each other"):
        read_narc(bytes(data))


def test_a_file_beyond_the_end():
    data = bytearray(decompress(CARC))
    struct.pack_into("<I", data, 0x1C + 4, 0x7FFFFFFF)
    with pytest.raises(CourseFormatError, match="out of bounds") as caught:
        read_narc(bytes(data))
    assert caught.value.offset == 0x1C


def _sound_or_refused(read, data):
    start = time.process_time()
    try:
        result = read(data)
    except CourseFormatError as error:
        if error.offset is None:
            pytest.fail(f"names no place: {error}")
    else:
        assert isinstance(result, dict)
    assert time.process_time() - start < 1.0


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes(data):
    _sound_or_refused(read_carc, data)
    _sound_or_refused(read_carc, b"\x10" + data)
    _sound_or_refused(read_carc, b"NARC" + data)


@pytest.mark.parametrize("source", [CARC, decompress(CARC)], ids=["packed", "bare"])
def test_truncated_and_flipped(source):
    rng = random.Random(1)
    for size in range(0, len(source), max(1, len(source) // 150)):
        _sound_or_refused(read_carc, source[:size])
    for _ in range(300):
        data = bytearray(source)
        for _ in range(rng.randint(1, 4)):
            # Half of the damage in the first bytes, where the tables are.
            place = rng.randrange(rng.choice([min(200, len(data)), len(data)]))
            data[place] ^= 1 << rng.randrange(8)
        _sound_or_refused(read_carc, bytes(data))
