"""The race starts of the user, by cartridge and course.

A kept start is a savestate at GO and a JSON file that describes its race. Both lie in the user's
folder (`mkds_gym.utils.user_folders`), under the SHA-1 of the ROM. A savestate contains memory of
the game: keep it to yourself.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.states.state_file import ReadState, read_state, write_state
from mkds_gym.errors import StateError, reason
from mkds_gym.race.names import CHARACTERS
from mkds_gym.roms.library import name_of
from mkds_gym.utils.arguments import escaped, shown
from mkds_gym.utils.files import write_bytes
from mkds_gym.utils.reading import TEXT_LIMIT, parse_json, read_file, validated
from mkds_gym.utils.user_folders import data_folder

_VERSION: Final = 1
_Number = Annotated[int, Field(ge=0, lt=1 << 32)]


@dataclass(frozen=True)
class KeptStart:
    """A race start that the user keeps.

    Attributes:
        name: the course, with a number if several starts of the course are kept.
        rom: SHA-1 of the ROM.
        course: folder name of the course.
        mode: ``"time_trial"``, ``"vs"`` or ``"grand_prix"``.
        engine_class: 50, 100 or 150.
        mirror: whether left and right are exchanged.
        character: number of the character, see `mkds_gym.race.names.CHARACTERS`.
        kart: number of the kart.
        drivers: karts in the race.
        laps: laps that the game drives.
        digest: SHA-256 of the savestate.
    """

    name: str
    rom: str
    course: str
    mode: str
    engine_class: int
    mirror: bool
    character: int
    kart: int
    drivers: int
    laps: int
    digest: str

    @property
    def path(self) -> Path:
        """The savestate."""
        return _folder(self.rom) / f"{self.name}.state"

    @property
    def race(self) -> tuple[Any, ...]:
        """Equal for starts of the same race."""
        driver = (self.character, self.kart, self.drivers)
        return (self.course, self.mode, self.engine_class, self.mirror, self.laps, *driver)

    def __str__(self) -> str:
        character = CHARACTERS.get(self.character, f"character {self.character}")
        return escaped(
            f"{self.name}  {self.mode}, {self.engine_class} cc{', mirrored' * self.mirror}, "
            f"{self.laps} laps, {character} in kart {self.kart}, {self.drivers} "
            f"driver{'s'[: self.drivers != 1]}"
        )


_SHA1: Final = re.compile(r"[0-9a-f]{40}")


def _folder(rom: str) -> Path:
    if not isinstance(rom, str) or not _SHA1.fullmatch(rom):
        raise ValueError(
            f"rom={shown(rom)} is not a SHA-1: expected 40 hexadecimal digits, those of "
            "Cartridge.sha1"
        )
    return data_folder() / "starts" / rom


class _Entry(BaseModel):
    """The file of a kept start."""

    model_config = ConfigDict(strict=True, extra="forbid")

    version: Literal[1]
    course: Annotated[str, Field(pattern=r"^[^/\x00]{1,100}$")]
    mode: str
    engine_class: _Number
    mirror: bool
    character: _Number
    kart: _Number
    drivers: _Number
    laps: _Number
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


_ENTRY: Final = TypeAdapter(_Entry)
_KEEP_AGAIN: Final = "keep it again"


def kept_starts(rom: str) -> list[KeptStart]:
    """Return the starts that are kept for a ROM, sorted by name.

    An entry that cannot be read is left out, with a warning that names the command to remove it.

    Args:
        rom: SHA-1 of the ROM.

    Raises:
        StateError: the user's folder cannot be read.
        ValueError: ``rom`` is not a SHA-1.
    """
    found = read_entries(rom).values()
    for each in found:
        if isinstance(each, StateError):
            warnings.warn(escaped(f"left out: {each}"), stacklevel=2)
    return [each for each in found if isinstance(each, KeptStart)]


def read_entries(rom: str) -> dict[str, KeptStart | StateError]:
    """Return the starts that are kept for a ROM by name, or why their entries cannot be read.

    Args:
        rom: SHA-1 of the ROM.

    Raises:
        StateError: the user's folder cannot be read.
        ValueError: ``rom`` is not a SHA-1.
    """
    found: dict[str, KeptStart | StateError] = {}
    for name, path in _entry_paths(rom).items():
        try:
            found[name] = _read_entry(rom, path)
        except StateError as error:
            found[name] = error
    return found


def _entry_paths(rom: str) -> dict[str, Path]:
    folder = _folder(rom)
    try:
        return {path.stem: path for path in sorted(folder.glob("[!.]*.json"))}
    except OSError as error:
        raise StateError(f"cannot read the folder '{folder}': {reason(error)}") from error


def _read_entry(rom: str, path: Path) -> KeptStart:
    def error(message: str) -> StateError:
        problem = message.removesuffix(f": {_KEEP_AGAIN}")
        return StateError(f"{problem}: {_remedy(path.stem, rom, 'ROM')}")

    name = f"the entry '{path}' of a race start"
    data = read_file(path, name, error, limit=TEXT_LIMIT, remedy=_KEEP_AGAIN)
    entry = dict(vars(validated(_ENTRY, parse_json(data, name, error), name, error)))
    del entry["version"]
    return KeptStart(name=path.stem, rom=rom, **entry)


def _remedy(name: str, rom: str, path: str) -> str:
    """Return what to do about a damaged start; ``path`` stands for a ROM that is not imported."""
    shown_rom = shlex.quote(name_of(rom) or path)
    return (
        f"run `python -m mkds_gym.starts remove {shlex.quote(name)} --rom {shown_rom}`, and "
        f"{_KEEP_AGAIN}"
    )


def read_start(start: KeptStart, cartridge: Cartridge, build_id: str) -> ReadState:
    """Read the savestate of a kept start.

    Args:
        start: the kept start.
        cartridge: the cartridge that the start is of.
        build_id: SHA-256 of the emulator's library.

    Raises:
        StateError: the savestate is missing, damaged, or not the one that was kept; the message
            says which command to run.
    """
    try:
        state = read_state(start.path, cartridge, build_id)
        if hashlib.sha256(state.snapshot.data).hexdigest() != start.digest:
            raise StateError(f"'{start.path}' is another savestate than the one that was kept")
    except StateError as error:
        raise StateError(
            f"the kept start {shown(start.name)} cannot be used ({error}): "
            + _remedy(start.name, start.rom, str(cartridge.path))
        ) from error
    return state


def duplicate_of(start: KeptStart) -> KeptStart | None:
    """Return the kept start of the same race, if there is one."""
    for each in read_entries(start.rom).values():
        if isinstance(each, KeptStart) and each.race == start.race:
            return each
    return None


def keep(start: KeptStart, state: bytes) -> KeptStart:
    """Write a start, which replaces that of the same race.

    Args:
        start: the start; its name is chosen here.
        state: the savestate, from `pack_state`.

    Returns:
        The start with its name.

    Raises:
        StateError: the user's folder cannot be written.
    """
    same = duplicate_of(start)
    name = start.course if same is None else same.name
    if same is None:
        taken = _entry_paths(start.rom)  # a damaged entry keeps its name
        number = 1
        while name in taken:
            number += 1
            name = f"{start.course}-{number}"
    start = replace(start, name=name)
    try:
        start.path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StateError(f"cannot make '{start.path.parent}': {reason(error)}") from error
    write_state(start.path, state)
    entry = {"version": _VERSION, **asdict(start)}
    del entry["name"], entry["rom"]
    text = json.dumps(entry, indent=2) + "\n"
    write_bytes(start.path.with_suffix(".json"), text.encode(), StateError)
    return start


def remove(rom: str, name: str) -> None:
    """Delete a kept start.

    Raises:
        StateError: no start of that name is kept, or its files cannot be deleted.
    """
    # By name only: a damaged entry can be removed too.
    entries = _entry_paths(rom)
    if name not in entries:
        known = ", ".join(entries) or "none"
        raise StateError(
            f"no start {shown(name)} is kept for this cartridge (kept starts: {known})"
        )
    try:
        entries[name].unlink(missing_ok=True)
        entries[name].with_suffix(".state").unlink(missing_ok=True)
    except OSError as error:
        raise StateError(f"cannot delete start {shown(name)}: {reason(error)}") from error
