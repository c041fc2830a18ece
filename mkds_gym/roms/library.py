"""The imported cartridges of the user, by name.

An imported cartridge is a small JSON file in the user's folder (`mkds_gym.utils.user_folders`). The
JSON file holds the path and the SHA-1 of the ROM file, and never its contents.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from mkds_gym.errors import CartridgeError, reason
from mkds_gym.utils.arguments import shown
from mkds_gym.utils.files import exists, is_file, write_bytes
from mkds_gym.utils.reading import TEXT_LIMIT, PathText, Text, parse_json, read_file, validated
from mkds_gym.utils.user_folders import data_folder

BUNDLED_NAME: Final = "kartlab"
"""Name of the cartridge in this package."""
IMPORT_COMMAND: Final = "python -m mkds_gym.roms import"

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_VERSION: Final = 1


@dataclass(frozen=True)
class ImportedRom:
    """A cartridge that the user has imported.

    Attributes:
        name: name for ``rom=``.
        path: absolute path of the ``.nds`` file.
        sha1: SHA-1 of the file, 40 hexadecimal digits.
        size: size of the file in bytes.
        modified: time of the file's last change, in nanoseconds.
        game_code: four letters of the header.
        title: internal name in the header.
        revision: ROM version in the header.
        region: memory layout: ``"USA"``, ``"Europe"``, ``"Japan"`` or ``"Korea"``.
        archive: absolute path of the archive that the file was unpacked from; empty if the file is
            the user's own.
    """

    name: str
    path: str
    sha1: str
    size: int
    modified: int
    game_code: str
    title: str
    revision: int
    region: str
    archive: str = ""

    @property
    def import_command(self) -> str:
        """The command that imports this cartridge again."""
        return f"{IMPORT_COMMAND} {shlex.quote(self.archive or 'FILE')} --name {self.name}"

    def check(self) -> None:
        """Refuse a file that is gone or has changed.

        Raises:
            CartridgeError: the message says which command to run.
        """
        path = Path(self.path)
        try:
            status = path.stat()
            if (status.st_size, status.st_mtime_ns) == (self.size, self.modified):
                return
            changed = not path.is_file() or status.st_size != self.size or sha1(path) != self.sha1
        except OSError as error:
            raise CartridgeError(
                f"rom={shown(self.name)} is imported from {shown(self.path)}, which cannot be read "
                f"({reason(error)}): run `{self.import_command}`"
            ) from error
        if changed:
            raise CartridgeError(
                f"rom={shown(self.name)} is imported from {shown(self.path)}, whose contents have "
                f"changed: run `{self.import_command}`, or give the new file another name"
            )


def sha1(path: Path) -> str:
    """Return the SHA-1 of a file as 40 hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha1(usedforsecurity=False)
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def is_name(text: str) -> bool:
    """Return whether a text has the form of a cartridge's name."""
    return _NAME.fullmatch(text) is not None


def is_imported(rom: str) -> bool:
    """Return whether the value of ``rom=`` is the name of an imported cartridge, and no file."""
    return is_name(rom) and is_file(_file_of(rom)) and not exists(rom)


def check_name(name: str) -> str:
    """Return a name for an imported cartridge.

    Raises:
        CartridgeError: the name is malformed or reserved.
    """
    if not is_name(name):
        raise CartridgeError(
            f"name {shown(name)} is malformed: expected small letters, digits, - and _, such as "
            "mkds-usa"
        )
    if name == BUNDLED_NAME:
        raise CartridgeError(
            f"name {shown(name)} is that of the bundled cartridge: choose another name"
        )
    return name


class _Entry(BaseModel):
    """The file of an imported cartridge."""

    model_config = ConfigDict(strict=True, extra="forbid")

    version: Literal[1]
    path: PathText
    sha1: Annotated[str, Field(pattern="^[0-9a-f]{40}$")]
    size: Annotated[int, Field(ge=0, le=512 << 20)]  # of the largest cartridge
    modified: Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)]
    game_code: Text
    title: Text
    revision: Annotated[int, Field(ge=0, le=255)]
    region: Literal["USA", "Europe", "Japan", "Korea"]
    archive: Literal[""] | PathText = ""


_ENTRY: Final = TypeAdapter(_Entry)


def _file_of(name: str) -> Path:
    return data_folder() / "roms" / f"{name}.json"


def find(name: str) -> ImportedRom | None:
    """Return the imported cartridge of a name, or None.

    Raises:
        CartridgeError: its entry cannot be read.
    """
    if not is_name(name):
        return None
    path = _file_of(name)
    if not os.path.lexists(path):
        return None
    text = f"the entry '{path}' of rom={shown(name)}"
    remedy = f"run `python -m mkds_gym.roms remove {name}`, then import the cartridge again"

    def error(message: str) -> CartridgeError:
        return CartridgeError(message if message.endswith(remedy) else f"{message}: {remedy}")

    data = read_file(path, text, error, limit=TEXT_LIMIT, remedy=remedy)
    entry = dict(
        vars(validated(_ENTRY, parse_json(data, text, error, file_names=True), text, error))
    )
    del entry["version"]
    return ImportedRom(name=name, **entry)


def names() -> list[str]:
    """Return the sorted names of all imported cartridges.

    Raises:
        CartridgeError: the user's folder cannot be read.
    """
    folder = data_folder() / "roms"
    try:
        return sorted(path.stem for path in folder.glob("[!.]*.json"))
    except OSError as error:
        raise CartridgeError(f"cannot read the folder '{folder}': {reason(error)}") from error


def imported() -> list[ImportedRom]:
    """Return all imported cartridges, sorted by name.

    Raises:
        CartridgeError: an entry cannot be read.
    """
    return [rom for name in names() if (rom := find(name)) is not None]


def name_of(sha1: str) -> str | None:
    """Return the first name that the cartridge of a SHA-1 is imported under, or None.

    Entries that cannot be read are left out.
    """
    known: list[str] = []
    with contextlib.suppress(CartridgeError):
        known = names()
    for name in known:
        with contextlib.suppress(CartridgeError):
            rom = find(name)
            if rom is not None and rom.sha1 == sha1:
                return name
    return None


def keep(rom: ImportedRom) -> None:
    """Write the entry of a cartridge, which replaces another of that name.

    Raises:
        CartridgeError: the name is malformed, or the user's folder cannot be written.
    """
    path = _file_of(check_name(rom.name))
    entry = {"version": _VERSION, **asdict(rom)}
    del entry["name"]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CartridgeError(f"cannot make the folder '{path.parent}': {reason(error)}") from error
    write_bytes(path, (json.dumps(entry, indent=2) + "\n").encode(), CartridgeError)


def remove(name: str) -> None:
    """Forget an imported cartridge. The user's file stays.

    Raises:
        CartridgeError: no cartridge of that name is imported.
    """
    try:
        if not is_name(name):
            raise FileNotFoundError
        _file_of(name).unlink()
    except FileNotFoundError:
        raise CartridgeError(unknown(name)) from None
    except OSError as error:
        raise CartridgeError(f"cannot remove rom={shown(name)}: {reason(error)}") from error


def unknown(name: str) -> str:
    """Return a message about a name that is not imported."""
    known = ", ".join(names()) or "none"
    return (
        f"no cartridge of the name {shown(name)} is imported (imported: {known}): run "
        f"`{IMPORT_COMMAND} FILE`, where FILE is the dump of your cartridge"
    )
