"""Recognise and read ROM files: the bundled cartridge, and damaged copies of it."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import pickle
import re
import struct
from pathlib import Path

import ndspy.rom
import pytest

from mkds_gym.course import Course, read_course_archive
from mkds_gym.course.archive import write_carc
from mkds_gym.emulator.cartridge import BUNDLED_ROM, Cartridge, header_crc16
from mkds_gym.emulator.file_table import file_names
from mkds_gym.errors import CartridgeError


@pytest.fixture
def rom() -> bytearray:
    return bytearray(BUNDLED_ROM.read_bytes())


def write(folder: Path, data: bytes) -> Path:
    path = folder / "game.nds"
    path.write_bytes(data)
    return path


def test_open_without_rom_returns_kartlab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MKDS_ROM", raising=False)
    cartridge = Cartridge.open()
    assert cartridge.path == BUNDLED_ROM.resolve()
    assert (cartridge.game_code, cartridge.title, cartridge.region) == ("KLBE", "KARTLAB", "USA")
    assert cartridge.boot_parameters
    assert cartridge.sha1 == hashlib.sha1(BUNDLED_ROM.read_bytes()).hexdigest()
    assert pickle.loads(pickle.dumps(cartridge)) == cartridge


def test_open_uses_argument_before_environment_variable(
    tmp_path: Path, rom: bytearray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, rom)
    monkeypatch.setenv("MKDS_ROM", str(path))
    assert Cartridge.open().path == path.resolve()
    monkeypatch.setenv("MKDS_ROM", str(tmp_path / "gone.nds"))
    with pytest.raises(CartridgeError, match=r"gone\.nds.*environment variable MKDS_ROM"):
        Cartridge.open()
    assert Cartridge.open(path).path == path.resolve()


@pytest.mark.parametrize(
    ("code", "region"), [("AMCE", "USA"), ("AMCP", "Europe"), ("AMCJ", "Japan"), ("AMCK", "Korea")]
)
def test_game_code_gives_region(tmp_path: Path, rom: bytearray, code: str, region: str) -> None:
    rom[0x0C:0x10] = code.encode()
    rom[0x1E] = 1
    cartridge = Cartridge.open(write(tmp_path, rom))
    assert (cartridge.region, cartridge.revision) == (region, 1)
    assert not cartridge.boot_parameters


def test_course_files_are_read_by_name() -> None:
    cartridge = Cartridge.open(BUNDLED_ROM)
    names = cartridge.course_names()
    assert "mario_course" in names
    assert not any(name.endswith("Tex") for name in names)
    files = read_course_archive(cartridge, "mario_course")
    assert struct.unpack_from("<I", files["course_collision.kcl"])[0] == 0x3C  # after the header
    assert files["course_map.nkm"][:4] == b"NKMD"
    for read in (read_course_archive, Course.from_cartridge):
        with pytest.raises(CartridgeError, match=r"mario_kourse.*mario_course"):
            read(cartridge, "mario_kourse")
    with pytest.raises(CartridgeError, match="file 'data/none' does not exist"):
        cartridge.file("data/none")


def test_course_archive_without_map_is_refused(tmp_path: Path) -> None:
    whole = ndspy.rom.NintendoDSRom(BUNDLED_ROM.read_bytes())
    archive = write_carc({"course_collision.kcl": b"x", "readme": b""})
    whole.setFileByName("data/Course/mario_course.carc", archive)
    cartridge = Cartridge.open(write(tmp_path, bytes(whole.save())))
    with pytest.raises(CartridgeError, match=r"course_map\.nkm.*course_collision\.kcl"):
        Course.from_cartridge(cartridge, "mario_course")


def test_damaged_file_system_is_refused(tmp_path: Path, rom: bytearray) -> None:
    (names,) = struct.unpack_from("<I", rom, 0x40)
    rom[names : names + 8] = b"\xff" * 8  # the root folder
    cartridge = Cartridge.open(write(tmp_path, rom))
    with pytest.raises(CartridgeError, match="cannot read the file system"):
        cartridge.course_names()


def bad_roms(rom: bytes) -> dict[str, tuple[bytes, str]]:
    other = bytearray(rom)
    other[0x0C:0x10] = b"ASME"
    impossible = bytearray(rom)
    impossible[0x24:0x28] = b"\xff" * 4  # the entry address of the ARM9
    return {
        "empty": (b"", "not a Nintendo DS ROM: it has 0 bytes"),
        "short": (rom[:0x100], "not a Nintendo DS ROM"),
        "text": (b"not a cartridge\n" * 1000, "not a Nintendo DS ROM"),
        "zeros": (bytes(0x10000), "not a Nintendo DS ROM"),
        "impossible": (bytes(impossible), "not a Nintendo DS ROM: .*impossible values"),
        "zip": (b"PK\x03\x04" + rom, "compressed archive: unpack"),
        "gzip": (gzip.compress(rom[:0x400]), "compressed archive: unpack"),
        "xz": (lzma.compress(rom[:0x400]), "compressed archive: unpack"),
        "bzip2": (bz2.compress(rom[:0x400]), "compressed archive: unpack"),
        "truncated": (rom[:-0x1000], "truncated: .* copy the file again"),
        "other game": (bytes(other), "another game .*'ASME'.*AMCE.*KLBE"),
    }


@pytest.mark.parametrize("case", bad_roms(bytes(0x2000)))
def test_bad_file_is_refused_by_name(tmp_path: Path, rom: bytearray, case: str) -> None:
    data, message = bad_roms(bytes(rom))[case]
    path = write(tmp_path, data)
    with pytest.raises(CartridgeError, match=message) as caught:
        Cartridge.open(path)
    assert str(path) in str(caught.value)


def test_file_larger_than_any_cartridge_is_refused(tmp_path: Path, rom: bytearray) -> None:
    path = write(tmp_path, rom)
    os.truncate(path, 1 << 40)  # a sparse file, whose SHA-1 would take an hour
    with pytest.raises(CartridgeError, match="it has 1,099,511,627,776 bytes, and the largest"):
        Cartridge.open(path)


def test_file_outside_of_the_rom_is_refused(tmp_path: Path, rom: bytearray) -> None:
    (places,) = struct.unpack_from("<I", rom, 0x48)
    struct.pack_into("<II", rom, places, 0, 2**32 - 1)
    cartridge = Cartridge.open(write(tmp_path, rom))
    (first,) = (name for name, number in names_of(rom).items() if number == 0)
    with pytest.raises(CartridgeError, match="4,294,967,295 bytes at 0x0 are not within the file"):
        cartridge.file(first)
    assert cartridge.course_names()  # the other files are read


def names_of(rom: bytearray) -> dict[str, int]:
    begin, size = struct.unpack_from("<II", rom, 0x40)
    return file_names(bytes(rom[begin : begin + size]))


def test_path_without_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path / "missing.nds", r"missing\.nds' does not exist: .*bundled Kartlab"),
        (tmp_path, re.escape(f"'{tmp_path}' is a directory")),
        (tmp_path / "pipe", r"pipe' is a pipe"),
        ("", r"rom='' is empty: .*bundled Kartlab"),
    ):
        with pytest.raises(CartridgeError, match=message):
            Cartridge.open(path)
    with pytest.raises(ValueError, match=r"has no zero byte.*bundled Kartlab"):
        Cartridge.open("a\0b")


@pytest.mark.parametrize("rom", [5, b"x", True, ["game.nds"]])
def test_rom_of_wrong_type_is_refused(rom: object) -> None:
    message = f"rom={rom!r} is not a path: expected the path of a .nds"
    with pytest.raises(TypeError, match=re.escape(message)):
        Cartridge.open(rom)  # type: ignore[arg-type]


def test_header_crc16_has_published_check_value() -> None:
    # The check value of CRC-16/MODBUS, which the firmware uses.
    assert header_crc16(b"123456789") == 0x4B37
