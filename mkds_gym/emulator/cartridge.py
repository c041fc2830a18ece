"""Find, recognise and read a Nintendo DS cartridge (a ``.nds`` file).

The header decides which cartridge it is: the first 0x200 bytes of the file, little endian. Source
of its layout: GBATEK, "DS Cartridge Header".
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import BinaryIO, Final

from mkds_gym.emulator.file_table import file_names
from mkds_gym.emulator.hardware import RAM_END, RAM_SIZE, RAM_START
from mkds_gym.errors import CartridgeError, MKDSError
from mkds_gym.roms import library
from mkds_gym.utils.arguments import file_path, shown
from mkds_gym.utils.files import exists
from mkds_gym.utils.reading import open_file

logger = logging.getLogger(__name__)

ROM_VARIABLE: Final = "MKDS_ROM"
"""Environment variable with the name or path of the default ROM."""

BUNDLED_ROM: Final = Path(__file__).parents[1] / "kartlab" / "kartlab.nds"
"""The free cartridge in this package."""

HEADER_SIZE: Final = 0x200
MAX_ROM_SIZE: Final = 512 << 20
"""Largest size of a ROM in bytes: that of the largest cartridge of the console."""

_FILE_NAMES: Final = 0x40
"""Offset in the header of offset and size of the file name table, u32 each."""
_FILE_PLACES: Final = 0x48
"""Offset in the header of the offset of the table of begin and end of each file."""
_MAX_NAMES: Final = 16 << 20

_ARCHIVES: Final = (
    b"PK\x03\x04",  # zip
    b"\x1f\x8b",  # gzip
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!\x1a\x07",
    b"\xfd7zXZ\0",  # xz
    b"BZh",  # bzip2
    b"\x28\xb5\x2f\xfd",  # zstd
)
"""First bytes of compressed files."""

KARTLAB_CODE: Final = "KLBE"
"""Game code of the bundled Kartlab."""
KARTLAB_REGIONS: Final = {
    KARTLAB_CODE: "USA",
    "KLBP": "Europe",
    "KLBJ": "Japan",
    "KLBK": "Korea",
}
"""Region name of each game code of Kartlab. Tests build Kartlab with the layout of a region."""
REGIONS: Final = {
    "AMCE": "USA",
    "AMCP": "Europe",
    "AMCJ": "Japan",
    "AMCK": "Korea",
    **KARTLAB_REGIONS,
}
"""Region name of each accepted game code."""

COURSE_FOLDER: Final = "data/Course"


def header_crc16(data: bytes | bytearray) -> int:
    """Return the CRC-16 of the DS firmware (reflected polynomial 0xA001, start 0xFFFF)."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xA001 if crc & 1 else 0)
    return crc


@dataclass(frozen=True)
class Cartridge:
    """A recognised ROM file. Create with `Cartridge.open`.

    Only the header is kept in memory.

    Attributes:
        path: absolute path of the ROM file.
        game_code: four letters at 0x0C of the header, such as ``"AMCE"``.
        title: internal name at 0x00, such as ``"MARIOKARTDS"``.
        revision: ROM version at 0x1E.
        region: memory layout of the game: ``"USA"``, ``"Europe"``, ``"Japan"`` or ``"Korea"``.
        boot_parameters: whether the game reads Kartlab's boot parameters (`mkds_gym.kartlab.boot`).
        header: the first 0x200 bytes of the file.
    """

    path: Path
    game_code: str
    title: str
    revision: int
    region: str
    boot_parameters: bool
    header: bytes = field(repr=False)

    @classmethod
    def open(cls, rom: str | PathLike[str] | None = None) -> Cartridge:
        """Recognise a ROM file.

        Args:
            rom: path of a ``.nds`` file, the name of an imported cartridge (``"mkds-usa"``, see
                `mkds_gym.roms`), or ``"kartlab"``. None: the name or path in the environment
                variable ``MKDS_ROM`` if that is set and not empty, else the bundled Kartlab.

        Raises:
            CartridgeError: missing, truncated, not a Nintendo DS ROM, or another game; or the file
                of an imported cartridge has moved or changed.
            TypeError: ``rom`` is not a path.
        """
        origin = ""
        if rom is not None:
            path = file_path(
                "rom", rom, "the path of a .nds file, a name, or None for the bundled Kartlab"
            )
            if not os.fspath(rom):
                raise CartridgeError(
                    "rom='' is empty: expected the path of a .nds file, the name of an imported "
                    "cartridge, or None for the bundled Kartlab"
                )
        else:
            rom = os.environ.get(ROM_VARIABLE) or library.BUNDLED_NAME
            if os.environ.get(ROM_VARIABLE):
                origin = f" (from the environment variable {ROM_VARIABLE})"
            path = Path(rom)
        if isinstance(rom, str) and library.is_name(rom) and not exists(path):
            return cls._of_name(rom, origin)
        return cls.open_file(path, None, f"ROM '{os.fspath(rom)}'{origin}")

    @classmethod
    def _of_name(cls, name: str, origin: str) -> Cartridge:
        if name == library.BUNDLED_NAME:
            if not BUNDLED_ROM.is_file():
                raise CartridgeError(
                    f"the bundled cartridge '{BUNDLED_ROM}' is missing: build it with "
                    "`python -m mkds_gym.kartlab build`"
                )
            return cls.open_file(BUNDLED_ROM)
        entry = library.find(name)
        if entry is None:
            raise CartridgeError(
                f"rom={shown(name)}{origin} is not a file, and {library.unknown(name)}"
            )
        entry.check()
        return cls.open_file(Path(entry.path), entry.region, f"ROM {shown(name)} ('{entry.path}')")

    @classmethod
    def open_file(cls, path: Path, region: str | None = None, name: str = "") -> Cartridge:
        """Recognise the ROM at a path.

        Args:
            path: path of a ``.nds`` file.
            region: memory layout of a game with an unknown game code; None refuses such a game.
            name: name of the ROM for messages.

        Raises:
            CartridgeError: missing, truncated, not a Nintendo DS ROM, or another game.
        """
        name = name or f"ROM '{path}'"
        header, size = _read_header(path, name)
        _check_header(header, size, name)
        game_code = header[0x0C:0x10].decode("ascii", "replace")
        return cls(
            path=path.resolve(),
            game_code=game_code,
            title=_title(header),
            revision=header[0x1E],
            region=_region(header, region, name),
            boot_parameters=game_code in KARTLAB_REGIONS,
            header=header,
        )

    @staticmethod
    def check_first_bytes(header: bytes, name: str, region: str | None = None) -> None:
        """Refuse a file by its first 0x200 bytes.

        Args:
            header: these bytes.
            name: name of the ROM for messages.
            region: as for `open_file`.

        Raises:
            CartridgeError: not a Nintendo DS ROM, or another game.
        """
        _check_header(header, None, name)
        _region(header, region, name)

    def contents(self) -> bytes:
        """Return the whole file.

        Raises:
            CartridgeError: the file cannot be read, or has become too large.
        """
        with self._reading() as stream:
            return _read_part(stream, 0, min(os.fstat(stream.fileno()).st_size, MAX_ROM_SIZE))

    @cached_property
    def sha1(self) -> str:
        """SHA-1 of the file, as 40 hexadecimal digits."""
        digest = hashlib.sha1(usedforsecurity=False)
        with self._reading() as stream:
            while piece := stream.read(1 << 20):
                digest.update(piece)
        return digest.hexdigest()

    def course_names(self) -> tuple[str, ...]:
        """Return the sorted names of all courses (``data/Course/<name>.carc``).

        Raises:
            CartridgeError: the file cannot be read.
        """
        with self._reading() as stream:
            paths = self._numbers(stream)
        begin = f"{COURSE_FOLDER}/"
        names = [path.removeprefix(begin) for path in paths if path.startswith(begin)]
        stems = (name.removesuffix(".carc") for name in names if name.endswith(".carc"))
        return tuple(sorted(s for s in stems if "/" not in s and not s.endswith("Tex")))

    def file(self, path: str) -> bytes:
        """Return a file of the cartridge's file system.

        Args:
            path: path in the cartridge, such as ``"data/Course/mario_course.carc"``.

        Raises:
            CartridgeError: no such file, or the cartridge cannot be read.
        """
        with self._reading() as stream:
            number = self._numbers(stream).get(path)
            if number is None:
                raise CartridgeError(
                    f"file {shown(path)} does not exist in cartridge '{self.path}'"
                )
            (table,) = struct.unpack_from("<I", self.header, _FILE_PLACES)
            begin, end = struct.unpack("<II", _read_part(stream, table + 8 * number, 8))
            return _read_part(stream, begin, end - begin)

    def _numbers(self, stream: BinaryIO) -> dict[str, int]:
        """Return the number of each file in the ROM, by its path."""
        begin, size = struct.unpack_from("<II", self.header, _FILE_NAMES)
        if size > _MAX_NAMES:
            raise ValueError(f"the names of the files have {size:,} bytes")
        return file_names(_read_part(stream, begin, size)) if size else {}

    @contextlib.contextmanager
    def _reading(self) -> Iterator[BinaryIO]:
        """Open the file, and turn errors of reading into a `CartridgeError`."""
        name = f"cartridge '{self.path}'"
        try:
            with open_file(self.path, name, CartridgeError, remedy="copy the file again") as stream:
                yield stream
        except MKDSError:
            raise
        except (ValueError, struct.error) as error:
            raise CartridgeError(f"cannot read the file system of {name}: {error}") from error


def _read_part(stream: BinaryIO, begin: int, size: int) -> bytes:
    """Return a part of a file.

    Raises:
        ValueError: the file ends before it.
    """
    if size < 0 or begin + size > os.fstat(stream.fileno()).st_size:
        raise ValueError(f"{size:,} bytes at {begin:#x} are not within the file")
    stream.seek(begin)
    return stream.read(size)


def _read_header(path: Path, name: str) -> tuple[bytes, int]:
    """The first 0x200 bytes and the size of a ROM file."""
    remedy = (
        "expected a .nds file, the name of an imported cartridge, or None for the bundled Kartlab"
    )
    with open_file(path, name, CartridgeError, remedy=remedy) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > MAX_ROM_SIZE:
            raise CartridgeError(
                f"{name} is not a Nintendo DS ROM: it has {size:,} bytes, and the largest has "
                f"{MAX_ROM_SIZE:,}"
            )
        return stream.read(HEADER_SIZE), size


def _title(header: bytes) -> str:
    return header[:0x0C].rstrip(b"\0").decode("ascii", "replace")


def _region(header: bytes, region: str | None, name: str) -> str:
    """The memory layout of a game; ``region`` is that of games with an unknown game code."""
    game_code = header[0x0C:0x10].decode("ascii", "replace")
    found = REGIONS.get(game_code, region)
    if found is not None:
        return found
    games = ", ".join(
        f"{code} ({'Kartlab' if code == KARTLAB_CODE else f'Mario Kart DS, {region}'})"
        for code, region in REGIONS.items()
        if code == KARTLAB_CODE or code not in KARTLAB_REGIONS
    )
    raise CartridgeError(
        f"{name} is another game ({_title(header)!r}, game code {game_code!r}): expected {games}; "
        f"or None for the bundled Kartlab. `{library.IMPORT_COMMAND} FILE --region USA` imports a "
        "ROM hack with another game code"
    )


def _check_header(header: bytes, size: int | None, name: str) -> None:
    """Refuse a file that is not a complete Nintendo DS ROM. None: the size is not known yet."""
    if header.startswith(_ARCHIVES):
        raise CartridgeError(
            f"{name} is a compressed archive: unpack the .nds file first, or run "
            f"`{library.IMPORT_COMMAND} FILE`, which reads .zip and .gz"
        )
    if len(header) < HEADER_SIZE:
        raise CartridgeError(
            f"{name} is not a Nintendo DS ROM: it has {len(header)} bytes, and a header alone "
            f"has {HEADER_SIZE}"
        )
    (arm9_offset, arm9_entry, arm9_address, arm9_size) = struct.unpack_from("<4I", header, 0x20)
    (arm7_offset, _, arm7_address, arm7_size) = struct.unpack_from("<4I", header, 0x30)
    (used_size, header_size) = struct.unpack_from("<2I", header, 0x80)
    plausible = (
        header[0x12] in (0, 2, 3)  # unit: DS, DS + DSi, DSi
        and all(byte == 0 or 0x20 <= byte < 0x7F for byte in header[:0x12])
        and header_size in (0x200, 0x4000, 0x1000)
        and arm9_offset >= HEADER_SIZE
        and arm7_offset >= HEADER_SIZE
        and 0 < arm9_size <= RAM_SIZE
        and 0 < arm7_size <= RAM_SIZE
        and RAM_START <= arm9_address < RAM_END
        and RAM_START <= arm9_entry < RAM_END
        and (RAM_START <= arm7_address < RAM_END or 0x037F8000 <= arm7_address < 0x03810000)
        and used_size >= HEADER_SIZE
    )
    if not plausible:
        raise CartridgeError(
            f"{name} is not a Nintendo DS ROM: its header has impossible values; "
            "expected a .nds file"
        )
    needed = max(used_size, arm9_offset + arm9_size, arm7_offset + arm7_size)
    if size is not None and size < needed:
        raise CartridgeError(
            f"{name} is truncated: it has {size} bytes, and its header gives {needed}; copy the "
            "file again"
        )
    stored = struct.unpack_from("<H", header, 0x15E)[0]
    if stored != header_crc16(header[:0x15E]):
        # ROM hacks and tools that repack ROMs often leave the old checksum.
        logger.debug("%s: header checksum %04X does not match the header", name, stored)
