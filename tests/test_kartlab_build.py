"""The build of the cartridge: reproducible bytes, error messages, and the layout of the image."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import struct
from pathlib import Path

import ndspy.rom
import pytest

from mkds_gym.emulator.cartridge import header_crc16
from mkds_gym.kartlab import COURSE_DIRECTORY, ROM_PATH, SOURCE_DIRECTORY, build, physics
from mkds_gym.kartlab.__main__ import main
from mkds_gym.kartlab.build import (
    COMPILER,
    COMPILER_VERSION,
    HASH_OFFSET,
    HASH_SIZE,
    BuildError,
    build_rom,
    with_courses,
)

needs_compiler = pytest.mark.skipif(
    shutil.which(COMPILER) is None, reason=f"{COMPILER} is not installed"
)


@pytest.fixture(scope="module")
def rom() -> ndspy.rom.NintendoDSRom:
    return ndspy.rom.NintendoDSRom.fromFile(ROM_PATH)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Build the cartridge in a folder other than the repository."""
    folder = tmp_path_factory.mktemp("build")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("TMPDIR", str(folder))
        assert main(["build", "-o", "built.nds"]) == 0
    return (folder / "built.nds").read_bytes()


@pytest.fixture
def other_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Replace the compiler by a script that reports another version."""
    version = "99.1.2"
    script = tmp_path / "bin" / COMPILER
    script.parent.mkdir()
    script.write_text(
        f'#!/bin/sh\n[ "$1" = -dumpfullversion ] && echo {version} && exit\n'
        f'exec {shutil.which(COMPILER)} "$@"\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    return version


@pytest.mark.slow
@needs_compiler
def test_build_in_another_folder_gives_the_committed_cartridge(built: bytes) -> None:
    assert built == ROM_PATH.read_bytes()


@needs_compiler
def test_check_names_the_first_changed_byte(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(build, "build_rom", ROM_PATH.read_bytes)  # as the test above checks
    assert main(["build", "--check"]) == 0, capsys.readouterr().out
    data = bytearray(ROM_PATH.read_bytes())
    data[0x5000] ^= 1
    changed = tmp_path / "changed.nds"
    changed.write_bytes(data)
    assert main(["build", "--check", "-o", str(changed)]) == 1
    assert "0x5000" in capsys.readouterr().out


@needs_compiler
def test_check_reports_a_missing_file(tmp_path: Path) -> None:
    assert main(["build", "--check", "-o", str(tmp_path / "none.nds")]) == 1


@needs_compiler
def test_check_with_another_compiler_version_warns_and_passes(
    tmp_path: Path,
    other_compiler: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(build, "build_rom", ROM_PATH.read_bytes)  # as the test above checks
    changed = tmp_path / "changed.nds"
    changed.write_bytes(ROM_PATH.read_bytes() + b"\0")
    assert main(["build", "--check", "-o", str(changed)]) == 0
    output = capsys.readouterr().out
    assert other_compiler in output
    assert COMPILER_VERSION in output


def test_build_without_a_compiler_names_the_package_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BuildError, match="gcc-arm-none-eabi"):
        build_rom()
    assert main(["build", "--check"]) == 1
    assert "gcc-arm-none-eabi" in capsys.readouterr().err


@needs_compiler
def test_build_of_wrong_sources_shows_the_compiler_message(tmp_path: Path) -> None:
    shutil.copytree(SOURCE_DIRECTORY, tmp_path / "src")
    (tmp_path / "src" / "boot" / "main.c").write_text("int broken(void) { return nothing; }\n")
    with pytest.raises(BuildError, match="nothing"):
        build_rom(tmp_path / "src")


def test_physics_header_has_the_constants_of_the_module() -> None:
    text = physics.header()
    assert f"#define GRAVITY FX({physics.GRAVITY})" in text
    assert "#define CLASS_SPEEDS {FX(5.42), FX(6.57), FX(7.55)}" in text
    assert pytest.approx(4.878) == physics.SLOWEST_JUMP


def test_header_names_the_cartridge(rom: ndspy.rom.NintendoDSRom) -> None:
    assert bytes(rom.name) == b"KARTLAB"
    assert bytes(rom.idCode) == b"KLBE"
    assert bytes(rom.developerCode) == b"KL"


def test_header_holds_a_hash_of_the_whole_image() -> None:
    """A DeSmuME savestate identifies its cartridge by the header alone."""
    data = bytearray(ROM_PATH.read_bytes())
    stored = bytes(data[HASH_OFFSET : HASH_OFFSET + HASH_SIZE])
    assert struct.unpack_from("<H", data, 0x15E)[0] == header_crc16(data[:0x15E])
    data[HASH_OFFSET : HASH_OFFSET + HASH_SIZE] = bytes(HASH_SIZE)
    struct.pack_into("<H", data, 0x15E, header_crc16(data[:0x15E]))
    assert hashlib.sha1(data).digest()[:HASH_SIZE] == stored


def test_course_of_the_same_size_changes_the_header(tmp_path: Path) -> None:
    path = tmp_path / "mario_course.toml"
    text = (COURSE_DIRECTORY / path.name).read_text()
    assert "laps = 3" in text
    headers = set()
    for laps in (3, 4):
        path.write_text(text.replace("laps = 3", f"laps = {laps}"))
        data, _ = with_courses(ROM_PATH.read_bytes(), [path])
        headers.add(data[HASH_OFFSET : HASH_OFFSET + HASH_SIZE])
    assert len(headers) == 2


def test_arm9_image_keeps_the_secure_area_empty(rom: ndspy.rom.NintendoDSRom) -> None:
    assert rom.arm9RamAddress == 0x02000000
    assert rom.arm9EntryAddress == 0x02000800
    assert not any(rom.arm9[:0x800]), "real hardware overwrites the secure area"
    assert struct.unpack_from("<I", rom.arm9, 0xB54)[0] == 0x0216F320
    # The read command of the card cannot read below 0x8000.
    fnt_offset = struct.unpack_from("<I", ROM_PATH.read_bytes(), 0x40)[0]
    assert fnt_offset >= 0x8000


def test_arm7_image_fits_its_own_memory(rom: ndspy.rom.NintendoDSRom) -> None:
    assert rom.arm7RamAddress == rom.arm7EntryAddress == 0x03800000
    assert len(rom.arm7) < 0x8000


def test_cartridge_is_small_and_contains_no_local_path() -> None:
    data = ROM_PATH.read_bytes()
    assert len(data) < 1 << 20
    for text in (b"/tmp", b"/home", b"/root", str(Path.home()).encode()):
        assert text not in data


def test_file_system_contains_the_course_archives(rom: ndspy.rom.NintendoDSRom) -> None:
    carc = rom.getFileByName("data/Course/mario_course.carc")
    assert carc[0] == 0x10
