"""Build the Kartlab cartridge: compile the program, compile the courses, pack both.

`with_courses` adds courses to a built cartridge without a C compiler. A course is the cartridge's
file ``data/Course/<name>.carc``, and `COURSE_TABLE` lists all courses.

The build is reproducible: with the compiler version `COMPILER_VERSION`, the same sources give
the same bytes on any machine.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ndspy.fnt
import ndspy.rom

from mkds_gym.emulator.cartridge import (
    COURSE_FOLDER,
    KARTLAB_CODE,
    KARTLAB_REGIONS,
    REGIONS,
    header_crc16,
)
from mkds_gym.emulator.file_table import file_names
from mkds_gym.emulator.hardware import RAM_START
from mkds_gym.errors import MKDSError, reason
from mkds_gym.kartlab import COURSE_DIRECTORY, ROM_PATH, SOURCE_DIRECTORY, memory_header, physics
from mkds_gym.kartlab.compiler import CompiledCourse, compile_course
from mkds_gym.utils.arguments import choice
from mkds_gym.utils.leftovers import temporary_folder

__all__ = [
    "COMPILER",
    "COMPILER_VERSION",
    "GENERATED_HEADERS",
    "BuildError",
    "build_rom",
    "check_rom",
    "compiler_version",
    "course_table",
    "with_courses",
]

COMPILER = "arm-none-eabi-gcc"
"""Command of the cross compiler."""

COMPILER_VERSION = "12.2.1"
"""Compiler version of the committed cartridge, from Debian 12."""

LAYOUT_HEADER = "platform/memory_layout.h"
GENERATED_HEADERS: dict[str, Callable[[], str]] = {
    "kart/physics.h": physics.header,
    LAYOUT_HEADER: memory_header.header,
}
"""C headers that the build writes, by path within the sources."""

SIZE_LIMIT = 1 << 20
"""Largest size of a cartridge in bytes. The cartridge is part of the package."""

COURSE_TABLE = "kartlab/courses.bin"
"""The cartridge's list of courses for the menu (`course_table`)."""

_LARGEST_SHIFT = 0x4000
_CAPACITY_UNIT = 128 * 1024

HASH_OFFSET = 0xA0
"""Offset of the image's hash in the header, within reserved bytes."""
HASH_SIZE = 8
_HEADER_CHECKSUM = 0x15E

_LISTED_TITLE = 28
_LISTED = struct.Struct(f"<BBxx{_LISTED_TITLE}s")

_ARM9_ADDRESS = RAM_START
_ARM9_ENTRY = 0x02000800
_ARM7_ADDRESS = 0x03800000
_ARM9_SIZE_MINIMUM = 0x4000  # the card cannot read files below 0x8000

_FLAGS = (
    "-std=gnu11",
    "-O2",
    "-marm",
    "-I.",
    "-ffreestanding",
    "-fno-common",
    "-fno-builtin-printf",
    "-fno-tree-loop-distribute-patterns",  # or memset would call itself
    "-fno-strict-aliasing",
    "-fwrapv",
    "-falign-functions=32",  # a line of the instruction cache
    "-ffunction-sections",
    "-fdata-sections",
    "-frandom-seed=kartlab",
    "-Wall",
    "-Wextra",
    "-Wno-array-bounds",  # GCC takes fixed addresses for arrays of size 0
    "-Werror",
)
_LINK_FLAGS = ("-nostdlib", "-Wl,--gc-sections", "-Wl,--build-id=none")
# Without the DSP extension (ARMv5TE): DeSmuME's JIT fails to translate some of its multiplies.
_ARM9_FLAGS = ("-march=armv5t", "-mtune=arm946e-s")
_ARM7_FLAGS = ("-mcpu=arm7tdmi",)
_ARM7_SOURCES = ("boot/start7.s", "platform/arm7.c")


class BuildError(MKDSError, RuntimeError):
    """The build fails: no compiler, wrong sources, or a ROM that is too large."""


def compiler_version() -> str:
    """Return the version of the installed cross compiler, such as ``"12.2.1"``.

    Raises:
        BuildError: the cross compiler is not installed.
    """
    if shutil.which(COMPILER) is None:
        raise BuildError(
            f"{COMPILER} is not installed; on Debian and Ubuntu: apt install gcc-arm-none-eabi"
        )
    return _run([COMPILER, "-dumpfullversion"], Path.cwd()).strip()


def build_rom(
    source_directory: Path = SOURCE_DIRECTORY,
    course_directory: Path = COURSE_DIRECTORY,
    *,
    shift: int = 0,
    game_code: str = KARTLAB_CODE,
) -> bytes:
    """Compile and pack the cartridge.

    Args:
        source_directory: the C sources.
        course_directory: the course descriptions (``*.toml``).
        shift: bytes added to the static addresses of the race and to the region word, a multiple
            of 4 from -0x4000 to 0x4000, as on the cartridges of other regions. The committed
            cartridge has 0.
        game_code: four letters, a key of `cartridge.REGIONS`. A code of the original makes a
            cartridge that is treated as the original: it gets no boot parameters.

    Returns:
        The ROM image.

    Raises:
        ValueError: ``shift`` or ``game_code`` is wrong.
        BuildError: no compiler, wrong sources, or a ROM that is too large.
        CourseDescriptionError: a course description is wrong.
    """
    if abs(shift) > _LARGEST_SHIFT or shift % 4:
        raise ValueError(
            f"shift={shift} is out of range: expected a multiple of 4 from -{_LARGEST_SHIFT} to "
            f"{_LARGEST_SHIFT}"
        )
    choice("game_code", game_code, dict.fromkeys(REGIONS))
    compiler_version()
    with temporary_folder("build") as work:
        # Relative names in a copy keep paths of this machine out of the image.
        shutil.copytree(source_directory, work / "src")
        for name, text in GENERATED_HEADERS.items():
            (work / "src" / name).write_text(text(), encoding="ascii")
        layout = memory_header.header(shift)
        (work / "src" / LAYOUT_HEADER).write_text(layout, encoding="ascii")
        sources = [
            path.relative_to(work / "src").as_posix()
            for path in sorted((work / "src").rglob("*.[cs]"))
        ]
        arm9_sources = [name for name in sources if name not in _ARM7_SOURCES]
        shifted = f"-Wl,--defsym=__layout_shift={shift}"
        arm9 = _image(work / "src", "arm9", _ARM9_FLAGS, arm9_sources, shifted)
        arm7 = _image(work / "src", "arm7", _ARM7_FLAGS, list(_ARM7_SOURCES))

    rom = ndspy.rom.NintendoDSRom()
    rom.name = b"KARTLAB"
    rom.idCode = game_code.encode()
    rom.developerCode = b"KL"
    rom.deviceCapacity = 3  # 128 KiB << 3 = SIZE_LIMIT
    rom.nintendoLogo = bytes(0x9C)  # the logo must not be shipped
    rom.arm9RamAddress = _ARM9_ADDRESS
    rom.arm9EntryAddress = _ARM9_ENTRY
    rom.arm9 = arm9.ljust(_ARM9_SIZE_MINIMUM, b"\0")
    rom.arm7RamAddress = rom.arm7EntryAddress = _ARM7_ADDRESS
    rom.arm7 = arm7
    paths = sorted(course_directory.glob("*.toml"))
    _set_files(rom, _course_files({}, [compile_course(path) for path in paths], paths))
    data = _signed(bytes(rom.save()))
    if len(data) > SIZE_LIMIT:
        raise BuildError(f"the cartridge has {len(data)} bytes; the limit is {SIZE_LIMIT}")
    return data


def course_table(courses: Iterable[tuple[int, int, str]]) -> bytes:
    """Return the menu's list of courses: the cartridge's file ``kartlab/courses.bin``.

    Args:
        courses: id, laps and title of each course.

    Returns:
        ``KLCT``, the number of courses and the size of an entry (two u16), and the entries in the
        order of their ids: id and laps as bytes, two bytes 0, and the title in 28 bytes of capital
        ASCII with a zero at the end. Letters outside the menu's alphabet become ``?``.
    """
    entries = []
    for number, laps, title in sorted(courses):
        shown = "".join(c if " " <= c <= "_" else "?" for c in title.upper())
        entries.append(_LISTED.pack(number, laps, shown[: _LISTED_TITLE - 1].encode("ascii")))
    return struct.pack("<4sHH", b"KLCT", len(entries), _LISTED.size) + b"".join(entries)


def _check_file_table(rom: bytes) -> None:
    """Raise ValueError if the files overlap or the folders contain each other.

    ndspy copies all files, and reads a folder as often as it is named.
    """
    names, size, places, places_size = struct.unpack_from("<4I", rom, 0x40)
    file_names(rom[names : names + size])
    table = rom[places : places + places_size // 8 * 8]
    total = sum(max(end - begin, 0) for begin, end in struct.iter_unpack("<II", table))
    if total > len(rom):
        raise ValueError(f"its files have {total:,} bytes in {len(rom):,}")


def with_courses(base: bytes, paths: Sequence[Path]) -> tuple[bytes, list[CompiledCourse]]:
    """Add courses to a cartridge. A course of the same name is replaced.

    Args:
        base: a Kartlab ROM image.
        paths: course descriptions.

    Returns:
        The new ROM image, and the courses.

    Raises:
        BuildError: `base` is not a Kartlab cartridge, or two courses have the same name.
        CourseDescriptionError: a description is wrong.
    """
    courses = [compile_course(path) for path in paths]
    if base[0x0C:0x10].decode("latin-1") not in KARTLAB_REGIONS:
        raise BuildError(
            f"the base ROM has the game code {base[0x0C:0x10]!r}: expected a Kartlab cartridge, "
            f"with game code {KARTLAB_CODE!r}"
        )
    try:
        _check_file_table(base)
        rom = ndspy.rom.NintendoDSRom(base)
        files = _files(rom.filenames, rom.files)
    except (ValueError, IndexError, KeyError, struct.error, UnicodeDecodeError) as error:
        raise BuildError(f"the base ROM is damaged: {error}") from error
    _set_files(rom, _course_files(files, courses, paths))
    data = bytes(rom.save())
    while len(data) > _CAPACITY_UNIT << rom.deviceCapacity:
        rom.deviceCapacity += 1
        data = bytes(rom.save())
    return _signed(data), courses


def _course_files(
    files: Mapping[str, bytes], courses: Sequence[CompiledCourse], paths: Sequence[Path]
) -> dict[str, bytes]:
    """Return a cartridge's files with these courses, and with a matching `COURSE_TABLE`."""
    out = dict(files)
    old = out.pop(COURSE_TABLE, b"")
    listed = {}
    for at in range(8, len(old) - _LISTED.size + 1, _LISTED.size):
        number, laps, shown = _LISTED.unpack_from(old, at)
        listed[number] = number, laps, shown.rstrip(b"\0").decode("ascii", "replace")
    seen: dict[str, Path] = {}
    for course, path in zip(courses, paths, strict=True):
        if course.name in seen:
            raise BuildError(
                f"'{path.name}' is the second course named {course.name!r}, after "
                f"'{seen[course.name].name}'"
            )
        seen[course.name] = path
        out[f"{COURSE_FOLDER}/{course.name}.carc"] = course.carc()
        listed[course.course_id] = course.course_id, course.description.laps, course.title
    out[COURSE_TABLE] = course_table(listed.values())
    return out


def _files(
    folder: ndspy.fnt.Folder, contents: Sequence[bytes], prefix: str = ""
) -> dict[str, bytes]:
    """Return all files of a cartridge by path."""
    out = {
        f"{prefix}{name}": bytes(contents[folder.firstID + index])
        for index, name in enumerate(folder.files)
    }
    for name, inner in folder.folders:
        out.update(_files(inner, contents, f"{prefix}{name}/"))
    return out


def _set_files(rom: ndspy.rom.NintendoDSRom, files: Mapping[str, bytes]) -> None:
    """Set the files of a cartridge, in the order of their paths."""
    rom.files = []

    def fill(names: list[tuple[list[str], str]]) -> ndspy.fnt.Folder:
        here = [(parts[0], path) for parts, path in names if len(parts) == 1]
        folder = ndspy.fnt.Folder(files=[name for name, _ in here], firstID=len(rom.files))
        rom.files += [files[path] for _, path in here]
        inner = sorted({parts[0] for parts, _ in names if len(parts) > 1})
        folder.folders = [
            (
                name,
                fill(
                    [
                        (parts[1:], path)
                        for parts, path in names
                        if parts[0] == name and len(parts) > 1
                    ]
                ),
            )
            for name in inner
        ]
        return folder

    rom.filenames = fill([(path.split("/"), path) for path in sorted(files)])


def _signed(data: bytes) -> bytes:
    """Write a hash of the whole image into the header, which makes the header of a build unique.

    A DeSmuME savestate identifies its ROM by the header alone. The hash is the first `HASH_SIZE`
    bytes of the SHA-1 of the image, computed with zeros in their place.
    """
    image = bytearray(data)
    image[HASH_OFFSET : HASH_OFFSET + HASH_SIZE] = bytes(HASH_SIZE)
    struct.pack_into("<H", image, _HEADER_CHECKSUM, header_crc16(image[:_HEADER_CHECKSUM]))
    digest = hashlib.sha1(image, usedforsecurity=False).digest()
    image[HASH_OFFSET : HASH_OFFSET + HASH_SIZE] = digest[:HASH_SIZE]
    struct.pack_into("<H", image, _HEADER_CHECKSUM, header_crc16(image[:_HEADER_CHECKSUM]))
    return bytes(image)


def check_rom(path: Path = ROM_PATH) -> str | None:
    """Build the cartridge and compare it with a file.

    Args:
        path: the ROM file to compare with.

    Returns:
        None when the bytes are the same, else a description of the first difference.

    Raises:
        BuildError: the build fails.
    """
    if not path.is_file():
        return f"{path} does not exist"
    built = build_rom()
    committed = path.read_bytes()
    if built == committed:
        return None
    at = next(
        (i for i, (a, b) in enumerate(zip(built, committed, strict=False)) if a != b),
        min(len(built), len(committed)),
    )
    return (
        f"{path.name} ({len(committed)} bytes) differs from the build of the sources "
        f"({len(built)} bytes): first difference at {at:#x}"
    )


def _image(
    folder: Path, name: str, flags: tuple[str, ...], sources: list[str], *link_flags: str
) -> bytes:
    objects = [f"{source}.o" for source in sources]

    def compile_source(source: str, output: str) -> None:
        _run([COMPILER, *flags, *_FLAGS, "-c", source, "-o", output], folder)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(compile_source, sources, objects))
    elf, binary = f"{name}.elf", f"{name}.bin"
    link = [
        COMPILER,
        *flags,
        *_LINK_FLAGS,
        *link_flags,
        "-T",
        f"boot/{name}.ld",
        *objects,
        "-lgcc",
        "-o",
        elf,
    ]
    _run(link, folder)
    _run(["arm-none-eabi-objcopy", "-O", "binary", elf, binary], folder)
    return (folder / binary).read_bytes()


def _run(command: list[str], folder: Path) -> str:
    try:
        result = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, env=_environment()
        )
    except OSError as error:
        raise BuildError(
            f"cannot run {command[0]}: {reason(error)}; on Debian and Ubuntu: apt install "
            "gcc-arm-none-eabi binutils-arm-none-eabi"
        ) from error
    if result.returncode != 0:
        raise BuildError(f"{' '.join(command)} failed:\n{result.stderr.strip()}")
    return result.stdout


def _environment() -> dict[str, str]:
    # English compiler messages, and fixed date macros.
    return {**os.environ, "LC_ALL": "C", "SOURCE_DATE_EPOCH": "0"}
