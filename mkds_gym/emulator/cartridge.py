"""Find, recognise and read a Nintendo DS cartridge (a ``.nds`` file).

A cartridge is recognised by its header alone. The layout of the header is that of the console's
own firmware (offsets in the first 0x200 bytes of the file, little endian).
"""

from __future__ import annotations

import hashlib
import logging
import os
import struct
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Final

import ndspy.rom

from mkds_gym.emulator.hardware import RAM_END, RAM_SIZE, RAM_START
from mkds_gym.errors import CartridgeError, MKDSError, reason
from mkds_gym.utils.arguments import file_path

logger = logging.getLogger(__name__)

ROM_VARIABLE: Final = "MKDS_ROM"
"""Environment variable naming the ROM to use when none is given."""

BUNDLED_ROM: Final = Path(__file__).parents[1] / "kartlab" / "kartlab.nds"
"""The free cartridge that comes with this package."""

HEADER_SIZE: Final = 0x200

REGIONS: Final = {
    "AMCE": "USA",
    "AMCP": "Europe",
    "AMCJ": "Japan",
    "AMCK": "Korea",
    # Kartlab keeps its race where the USA cartridge does.
    "KLBE": "USA",
}
"""Region name of each accepted game code."""

KARTLAB_CODE: Final = "KLBE"

COURSE_FOLDER: Final = "data/Course"


def _accepted() -> str:
    """The accepted game codes, for messages."""
    return ", ".join(
        f"{code} ({'Kartlab' if code == KARTLAB_CODE else 'Mario Kart DS, ' + region})"
        for code, region in REGIONS.items()
    )


def header_crc16(data: bytes | bytearray) -> int:
    """CRC-16 (polynomial 0xA001 reflected, start 0xFFFF) as the DS firmware computes it."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xA001 if crc & 1 else 0)
    return crc


@dataclass(frozen=True)
class Cartridge:
    """A recognised ROM file. Make one with `Cartridge.open`.

    Only the header is kept in memory; files inside are read when they are asked for.

    Attributes:
        path: absolute path of the ROM file.
        game_code: the four letters at +0x0C of the header, such as ``"AMCE"``.
        title: internal name (+0x00), such as ``"MARIOKARTDS"``.
        revision: ROM version (+0x1E).
        region: ``"USA"``, ``"Europe"``, ``"Japan"`` or ``"Korea"``: which memory layout the game
            has. Kartlab has the USA layout.
        boot_parameters: the game reads Kartlab's block of boot parameters
            (`mkds_gym.kartlab.boot`).
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
            rom: path of a ``.nds`` file. None: the file named by the environment variable
                ``MKDS_ROM`` when that is set and not empty, else the bundled Kartlab.

        Raises:
            CartridgeError: no such file, not a Nintendo DS ROM, truncated, or another game.
            TypeError: ``rom`` is no path.
        """
        origin = ""
        if rom is not None:
            path = file_path("rom", rom, "the path of a .nds file, or None for the bundled Kartlab")
            if not os.fspath(rom):
                raise CartridgeError(
                    "rom='' names no file; name a .nds file, or leave it out to use the bundled "
                    "Kartlab"
                )
        elif os.environ.get(ROM_VARIABLE):
            path = Path(os.environ[ROM_VARIABLE])
            origin = f" (from the environment variable {ROM_VARIABLE})"
        else:
            path = BUNDLED_ROM
            if not path.is_file():
                raise CartridgeError(
                    f"the bundled cartridge '{path}' is missing; "
                    "build it with `python -m mkds_gym.kartlab build`"
                )
        name = f"'{path}'{origin}"
        header, size = _read_header(path, name)
        _check_header(header, size, name)
        game_code = header[0x0C:0x10].decode("ascii", "replace")
        title = header[:0x0C].rstrip(b"\0").decode("ascii", "replace")
        if game_code not in REGIONS:
            raise CartridgeError(
                f"ROM {name} is another game: {title!r}, game code {game_code!r}. "
                f"Accepted: {_accepted()}; or leave the ROM out to use the bundled Kartlab"
            )
        return cls(
            path=path.resolve(),
            game_code=game_code,
            title=title,
            revision=header[0x1E],
            region=REGIONS[game_code],
            boot_parameters=game_code == KARTLAB_CODE,
            header=header,
        )

    @cached_property
    def sha1(self) -> str:
        """SHA-1 of the whole file, as 40 hexadecimal digits (read once, in pieces)."""
        digest = hashlib.sha1(usedforsecurity=False)
        with self._reading(), self.path.open("rb") as stream:
            while piece := stream.read(1 << 20):
                digest.update(piece)
        return digest.hexdigest()

    def course_names(self) -> tuple[str, ...]:
        """Names of all courses in the cartridge, sorted (``data/Course/<name>.carc``)."""
        with self._reading():
            folder = self._rom().filenames.subfolder(COURSE_FOLDER)
        if folder is None:
            return ()
        stems = (Path(name).stem for name in folder.files if name.endswith(".carc"))
        return tuple(sorted(stem for stem in stems if not stem.endswith("Tex")))

    def file(self, path: str) -> bytes:
        """A file of the cartridge's file system, by its path such as ``"data/Course/x.carc"``.

        Raises:
            CartridgeError: no such file.
        """
        with self._reading():
            rom = self._rom()
            try:
                return bytes(rom.getFileByName(path))
            except ValueError as error:
                raise CartridgeError(f"no file {path!r} in cartridge '{self.path}'") from error

    def _rom(self) -> ndspy.rom.NintendoDSRom:
        # Parsed anew for each request: a parsed ROM holds the whole file (64 MiB) in memory.
        return ndspy.rom.NintendoDSRom(self.path.read_bytes())

    def _reading(self) -> _Reading:
        return _Reading(self.path)


class _Reading:
    """Turns what goes wrong while the file is read and parsed into a `CartridgeError`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # ndspy checks nothing: a damaged table ends in whatever error it happens to meet.
        if isinstance(error, Exception) and not isinstance(error, MKDSError):
            raise CartridgeError(
                f"cannot read the file system of cartridge '{self.path}': {error}"
            ) from error


def _read_header(path: Path, name: str) -> tuple[bytes, int]:
    """The first 0x200 bytes and the size of a ROM file."""
    if path.is_dir():
        raise CartridgeError(f"ROM {name} is a directory; name the .nds file in it")
    try:
        # Opening a pipe would wait for somebody who writes to it.
        if path.exists() and not path.is_file():
            raise CartridgeError(f"ROM {name} is a device, pipe or socket; name a .nds file")
        with path.open("rb") as stream:
            header = stream.read(HEADER_SIZE)
            size = os.fstat(stream.fileno()).st_size
    except FileNotFoundError:
        raise CartridgeError(
            f"no ROM {name}; name an existing .nds file, or leave it out to use the bundled Kartlab"
        ) from None
    except CartridgeError:
        raise
    except (OSError, ValueError) as error:
        raise CartridgeError(f"cannot read ROM {name}: {reason(error)}") from error
    return header, size


def _check_header(header: bytes, size: int, name: str) -> None:
    """Refuse what cannot be a whole Nintendo DS ROM."""
    if header[:4] == b"PK\x03\x04" or header[:6] == b"7z\xbc\xaf\x27\x1c":
        raise CartridgeError(f"ROM {name} is a compressed archive; unpack the .nds file first")
    if len(header) < HEADER_SIZE:
        raise CartridgeError(
            f"ROM {name} is not a Nintendo DS ROM: {len(header)} bytes, "
            f"shorter than the header of {HEADER_SIZE}"
        )
    (arm9_offset, arm9_entry, arm9_address, arm9_size) = struct.unpack_from("<4I", header, 0x20)
    (arm7_offset, _, arm7_address, arm7_size) = struct.unpack_from("<4I", header, 0x30)
    (used_size, header_size) = struct.unpack_from("<2I", header, 0x80)
    sane = (
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
    if not sane:
        raise CartridgeError(
            f"ROM {name} is not a Nintendo DS ROM: its header makes no sense; "
            "give the .nds file of a cartridge"
        )
    needed = max(used_size, arm9_offset + arm9_size, arm7_offset + arm7_size)
    if size < needed:
        raise CartridgeError(
            f"ROM {name} is truncated: {size} bytes, and its header tells of {needed}; "
            "copy it again from the source"
        )
    stored = struct.unpack_from("<H", header, 0x15E)[0]
    if stored != header_crc16(header[:0x15E]):
        # Tools that repack ROMs (hacks, custom courses) often leave the old checksum behind.
        logger.debug("ROM %s: header checksum %04X is not that of the header", name, stored)
