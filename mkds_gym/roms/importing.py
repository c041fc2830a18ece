"""Recognise ROM files, also in archives, and keep them in the library of `mkds_gym.roms`."""

from __future__ import annotations

import bz2
import contextlib
import copy
import gzip
import hashlib
import lzma
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, Final

from mkds_gym.emulator.cartridge import HEADER_SIZE, MAX_ROM_SIZE, Cartridge
from mkds_gym.errors import CartridgeError, reason
from mkds_gym.roms import library
from mkds_gym.roms.library import ImportedRom
from mkds_gym.utils.arguments import file_path, shown
from mkds_gym.utils.files import is_folder, partial_file
from mkds_gym.utils.reading import open_file
from mkds_gym.utils.user_folders import cache_folder

_MAX_MEMBERS: Final = 10_000
_MAX_DIRECTORY: Final = 4 << 20
"""Largest list of names in an archive, in bytes."""
_MAX_LZMA_MEMORY: Final = 100 << 20
_ZIP_END_AREA: Final = (1 << 16) + 22
"""The end of an archive, a record of 22 bytes and a comment."""
_PACKED_PIECE: Final = 1 << 16

_NAMES: Final = {
    "AMCE": "mkds-usa",
    "AMCP": "mkds-europe",
    "AMCJ": "mkds-japan",
    "AMCK": "mkds-korea",
}
"""Name of the first imported cartridge with a game code."""
_SUFFIXES: Final = (".nds", ".zip", ".gz")
"""Suffixes of the files that are looked at in a folder."""
_PIECE: Final = 1 << 20
_ZIP_ERRORS: Final = (
    OSError,
    EOFError,
    ValueError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    NotImplementedError,  # another compression
)
"""What `zipfile` raises for damaged and unusual archives."""


@dataclass(frozen=True)
class Outcome:
    """Outcome of the import of one file.

    Attributes:
        source: the file, or the file in an archive.
        rom: the imported cartridge; None if the file was refused.
        problem: why the file was refused, else empty.
        known: whether the cartridge was imported before under the same name.
    """

    source: str
    rom: ImportedRom | None = None
    problem: str = ""
    known: bool = False


def import_path(
    path: Path, *, name: str | None = None, region: str | None = None
) -> Iterator[Outcome]:
    """Import a ROM file, an archive, or all of them in a folder.

    Args:
        path: a ``.nds`` file, a ``.zip`` or ``.gz`` file with one, or a folder.
        name: name for the cartridge; None makes one from the header.
        region: memory layout for a cartridge with an unknown game code.

    Yields:
        The outcome of each file.

    Raises:
        CartridgeError: ``name`` is malformed, or ``path`` cannot be a path.
    """
    if name is not None:
        library.check_name(name)
    try:
        file_path("path", path, "a ROM file, an archive or a folder")
    except ValueError as error:
        raise CartridgeError(str(error)) from None
    if not is_folder(path):
        yield from _import_file(path, name, region)
        return
    for folder, folders, files in os.walk(path):
        folders.sort()
        for file in sorted(files):
            if file.lower().endswith(_SUFFIXES):
                yield from _import_file(Path(folder) / file, name, region)


def _import_file(path: Path, name: str | None, region: str | None) -> Iterator[Outcome]:
    remedy = "expected a .nds file, or a .zip or .gz file with one"
    try:
        with open_file(path, f"ROM '{path}'", CartridgeError, remedy=remedy) as stream:
            magic = stream.read(4)
            stream.seek(0)
            if magic == b"PK\x03\x04":
                yield from _import_zip(stream, path, name, region)
                return
            unpacked, archive = path.absolute(), ""
            if magic[:2] == b"\x1f\x8b":
                with gzip.GzipFile(fileobj=stream) as inner:
                    unpacked = _unpack(_pieces(inner), str(path), region)
                archive = str(path.resolve())
        yield _keep(unpacked, archive, str(path), name, region)
    except CartridgeError as error:
        yield Outcome(str(path), problem=str(error))
    except (OSError, EOFError, zlib.error) as error:
        yield Outcome(str(path), problem=f"cannot read '{path}': {reason(error)}")


def _import_zip(
    stream: BinaryIO, path: Path, name: str | None, region: str | None
) -> Iterator[Outcome]:
    try:
        _check_directory(stream, path)
        with zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
            if len(members) > _MAX_MEMBERS:
                raise CartridgeError(f"'{path}' has {len(members)} files: unpack the .nds file")
            roms = [each for each in members if each.filename.lower().endswith(".nds")]
            if not roms:
                raise CartridgeError(f"'{path}' contains no .nds file")
            for member in roms:
                source = f"{path}:{member.filename}"
                try:
                    if member.flag_bits & 1:
                        raise CartridgeError(f"'{source}' is encrypted: unpack it first")
                    unpacked = _unpack(_member_pieces(archive, member), source, region)
                    yield _keep(unpacked, str(path.resolve()), source, name, region)
                except CartridgeError as error:
                    yield Outcome(source, problem=str(error))
    except CartridgeError as error:
        yield Outcome(str(path), problem=str(error))
    except _ZIP_ERRORS as error:
        yield Outcome(str(path), problem=f"cannot unpack '{path}': {reason(error)}")


def _check_directory(stream: BinaryIO, path: Path) -> None:
    """Refuse an archive with so many names that `zipfile` could fill memory with them."""
    begin = max(stream.seek(0, os.SEEK_END) - _ZIP_END_AREA, 0)
    stream.seek(begin)
    for found in re.finditer(rb"PK\x05\x06.{8}(....)", stream.read(), re.DOTALL):
        if int.from_bytes(found[1], "little") > _MAX_DIRECTORY:
            raise CartridgeError(f"'{path}' has too many files: unpack the .nds file")
    stream.seek(0)


def _pieces(stream: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    while piece := stream.read(_PIECE):
        yield piece


def _member_pieces(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """Decompress a file of an archive in bounded pieces.

    `zipfile` itself has no bound for bzip2 and LZMA.
    """
    if member.compress_type not in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with archive.open(member) as stream:
            yield from _pieces(stream)
        return
    packed = copy.copy(member)
    packed.compress_type, packed.file_size = zipfile.ZIP_STORED, member.compress_size
    packed.CRC = None  # type: ignore[assignment]  # the checksum is that of the unpacked file
    crc = 0
    with archive.open(packed) as stream:
        decoder: Any = bz2.BZ2Decompressor()
        if member.compress_type == zipfile.ZIP_LZMA:
            decoder = lzma.LZMADecompressor(lzma.FORMAT_ALONE, _MAX_LZMA_MEMORY)
            # Version and size of the properties, u16 each; the properties. With bit 1 of the
            # flags, the data have an end mark, else a known size.
            properties = stream.read(9)[4:]
            size = -1 if member.flag_bits & 2 else member.file_size
            decoder.decompress(properties + struct.pack("<q", size))
        while not decoder.eof:
            data = stream.read(_PACKED_PIECE) if decoder.needs_input else b""
            if decoder.needs_input and not data:
                raise EOFError("the file is cut off")
            piece = decoder.decompress(data, _PIECE)
            crc = zlib.crc32(piece, crc)
            yield piece
    if crc != member.CRC:
        raise zipfile.BadZipFile(f"bad CRC-32 of {shown(member.filename)}")


def _unpack(pieces: Iterator[bytes], source: str, region: str | None) -> Path:
    """Unpack a ROM into the user's cache, under its SHA-1, after a look at its header.

    Raises:
        CartridgeError: the pieces are not a ROM of the game, or are too long.
    """
    folder = cache_folder() / "roms"
    folder.mkdir(parents=True, exist_ok=True)
    with partial_file(folder, ".nds") as partial:
        digest = hashlib.sha1(usedforsecurity=False)
        size = 0
        with partial.open("wb") as out:
            header = b""
            for piece in pieces:
                if size < HEADER_SIZE:
                    header += piece
                    if len(header) >= HEADER_SIZE:
                        Cartridge.check_first_bytes(header[:HEADER_SIZE], f"ROM '{source}'", region)
                size += len(piece)
                if size > MAX_ROM_SIZE:
                    raise CartridgeError(
                        f"'{source}' is larger than {MAX_ROM_SIZE:,} bytes when unpacked: expected "
                        "a ROM of a Nintendo DS"
                    )
                digest.update(piece)
                out.write(piece)
        Cartridge.open_file(partial, region, f"ROM '{source}'")
        target = folder / f"{digest.hexdigest()}.nds"
        partial.replace(target)
        return target


def _keep(path: Path, archive: str, source: str, name: str | None, region: str | None) -> Outcome:
    cartridge = Cartridge.open_file(path, region, f"ROM '{source}'")
    status = cartridge.path.stat()
    rom = ImportedRom(
        name=name or _free_name(cartridge),
        path=str(cartridge.path),
        sha1=cartridge.sha1,
        size=status.st_size,
        modified=status.st_mtime_ns,
        game_code=cartridge.game_code,
        title=cartridge.title,
        revision=cartridge.revision,
        region=cartridge.region,
        archive=archive,
    )
    with contextlib.suppress(CartridgeError):
        before = library.find(rom.name)
        if before is not None and before.sha1 == rom.sha1:
            library.keep(rom)  # the file may have moved
            return Outcome(source, rom, known=True)
    if name is not None and name in library.names():
        raise CartridgeError(
            f"the name {shown(name)} belongs to another cartridge: choose another name, or run "
            f"`python -m mkds_gym.roms remove {name}`"
        )
    library.keep(rom)
    return Outcome(source, rom)


def _free_name(cartridge: Cartridge) -> str:
    """Return the name of a cartridge: the one it was imported under, or the next free one."""
    base = _NAMES.get(cartridge.game_code, "")
    if not base or cartridge.title != "MARIOKARTDS":
        base = re.sub(r"[^a-z0-9]+", "-", cartridge.title.lower()).strip("-") or "cartridge"
        if base == library.BUNDLED_NAME:
            base += f"-{cartridge.game_code.lower()}"
    taken = library.names()
    same = [name for name in taken if _sha1_of(name) == cartridge.sha1]
    if same:
        return same[0]
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    return name


def _sha1_of(name: str) -> str:
    try:
        rom = library.find(name)
    except CartridgeError:  # a damaged entry keeps its name
        return ""
    return "" if rom is None else rom.sha1


def forget(name: str) -> None:
    """Remove a cartridge from the library, and its file from the cache if it was unpacked there.

    Raises:
        CartridgeError: no cartridge of that name is imported.
    """
    rom = None
    with contextlib.suppress(CartridgeError):
        rom = library.find(name)
    library.remove(name)
    if rom is None or any(_sha1_of(other) == rom.sha1 for other in library.names()):
        return
    # The cartridge may have been imported from an archive before its `.nds` file.
    path = (cache_folder() / "roms").resolve() / f"{rom.sha1}.nds"
    with contextlib.suppress(OSError):
        path.unlink()
