"""Movies of DeSmuME (``.dsm``): write recordings for the desktop emulator, and read its movies.

A movie is text: a header of ``key value`` lines, then one line per frame from power-on, such as
``|0|R......A.....000 000 0 000|``: commands, keys, stylus (column, row, touched), microphone. The
desktop emulator's own player ends a movie written here with the same memory
(tests/test_movie.py runs that player).

Boot parameters are written into memory by the host, and the desktop emulator cannot do so. A race
that was started by boot parameters therefore gets its own cartridge file, which contains them. An
environment sets the random seed of a VS race after booting; in a movie the seed is a boot
parameter, and the race is driven on that cartridge to check that it ends in the same way.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import struct
import uuid
import zlib
from array import array
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator.cartridge import Cartridge, header_crc16
from mkds_gym.emulator.console import Console, Keys
from mkds_gym.emulator.desmume.loader import installed_build_id
from mkds_gym.emulator.hardware import HEADER_COPY, RAM_SIZE, RAM_START
from mkds_gym.errors import RecordingError, reason
from mkds_gym.recording.format import Recording, Start
from mkds_gym.replay.replay import Replay, boot_parameters
from mkds_gym.utils.arguments import file_path
from mkds_gym.utils.files import write_bytes
from mkds_gym.utils.leftovers import temporary_folder
from mkds_gym.utils.reading import decode, parse_json, read_file

_log = logging.getLogger(__name__)

SUFFIX: Final = ".dsm"
KEY_LETTERS: Final[tuple[tuple[str, Keys], ...]] = (
    ("R", Keys.RIGHT),
    ("L", Keys.LEFT),
    ("D", Keys.DOWN),
    ("U", Keys.UP),
    ("T", Keys.SELECT),
    ("S", Keys.START),
    ("B", Keys.B),
    ("A", Keys.A),
    ("Y", Keys.Y),
    ("X", Keys.X),
    ("W", Keys.L),
    ("E", Keys.R),
)
"""The keys in the order of a movie line. The 13th letter, debug, has no key on a console."""
_VERSION: Final = 2
_EMULATOR: Final = 91200  # 0.9.12, of which py-desmume is a build
_JIT_BLOCK: Final = 12
_CLOCK: Final = "2009-JAN-01 00:00:00:000"
_SETTINGS: Final = {
    "firmNickname": "DeSmuME",
    "firmMessage": "DeSmuME makes you happy!",
    "firmFavColour": "7",
    "firmBirthMonth": "6",
    "firmBirthDay": "23",
    "firmLanguage": "1",
    "advancedTiming": "1",
}
"""Settings of our console. A movie recorded with other settings may end differently."""
_COMMENT: Final = "mkds-gym "
_FRAME: Final = re.compile(r"\|(\d{1,9})\|(.{13})(\d{3}) (\d{3}) (\d)(?: (\d{3}))?\|", re.ASCII)
_DIGITS: Final = re.compile("[0-9]{1,9}")
MAX_SIZE: Final = 128 << 20
"""Largest movie, in bytes: more than 18 hours."""
MAX_COMMENT: Final = 1 << 20
"""Longest line of the header, in bytes."""
_MAX_ENTRIES: Final = 10_000
_ARM9: Final = 0x20
"""Offset in the header of the main program's offset, entry, address and size, u32 each."""
_HEADER_AREA: Final = 0x3FF800
"""Start of the area of main memory with the id and header of the cartridge."""
_CAPACITY: Final = 0x14
_HEADER_CRC: Final = 0x15E


def movie_bytes(recording: Recording, rom_name: str, crc: int = 0, serial: str = "") -> bytes:
    """Return the contents of a ``.dsm`` file.

    Args:
        recording: a recording that starts at power-on or at a booted race.
        rom_name: file name of the cartridge, for the header.
        crc: CRC-32 of the cartridge, for the header.
        serial: serial of the cartridge, for the header.

    Raises:
        RecordingError: the recording starts at a savestate, which movies do not support.
    """
    start = recording.start
    if start.kind == "state":
        raise RecordingError(
            "the recording starts at a savestate, but a movie starts at power-on; record the race "
            "from its start (reset() without the options state and progress, no restore_state()), "
            "or with python -m mkds_gym.play"
        )
    keys = _from_power_on(recording)
    about = {
        "rom": recording.rom,
        "title": recording.title,
        "build_id": recording.build_id,
        "jit": recording.jit,
        "start": asdict(start),
        "lead": recording.lead,
        "environment": dict(recording.environment),
        "result": dict(recording.result),
        "ram": recording.ram,
        "label": recording.label,
        "made_by": recording.made_by,
    }
    name = uuid.uuid5(uuid.NAMESPACE_OID, recording.to_bytes().hex())
    header = [
        f"version {_VERSION}",
        f"emuVersion {_EMULATOR}",
        "rerecordCount 0",
        f"romFilename {rom_name}",
        f"romChecksum {crc:08X}",
        f"romSerial {serial}",
        f"guid {str(name).upper()}",
        "useExtBios 0",
        "useExtFirmware 0",
        *(f"{key} {value}" for key, value in _SETTINGS.items()),
        f"jitBlockSize {_JIT_BLOCK if recording.jit else 0}",
        f"rtcStartNew {_CLOCK}",
        f"comment {_COMMENT}{json.dumps(about, default=lambda value: value.item())}",
        "savestate 0",
    ]
    lines = {mask: _line(mask) for mask in np.unique(keys).tolist()}
    return "\n".join([*header, *(lines[mask] for mask in keys.tolist()), ""]).encode()


def _from_power_on(recording: Recording) -> NDArray[np.uint16]:
    return np.concatenate([np.zeros(recording.start.frame, np.uint16), recording.keys])


def _line(mask: int) -> str:
    letters = "".join(letter if mask & key else "." for letter, key in KEY_LETTERS)
    return f"|0|{letters}.000 000 0 000|"


def read_movie(
    path: str | os.PathLike[str], cartridge: Cartridge | None = None, *, jit: bool = True
) -> Recording:
    """Read a movie, written by this package or by the desktop emulator.

    Args:
        path: the ``.dsm`` file.
        cartridge: cartridge of the movie; None for the one that `Cartridge.open` finds. Movies of
            this package do not need it.
        jit: whether to use the recompiler, if the movie does not say so.

    Returns:
        The recording that was written as a movie. For other movies, a recording from power-on
        without a final memory; a warning is logged for settings that cannot be reproduced here
        (date, user settings, another block size of the recompiler).

    Raises:
        RecordingError: the file is missing, damaged, not a movie or of another cartridge; or the
            movie uses stylus, microphone, lid, resets, a savestate or battery memory.
    """
    file = file_path("path", path, "a .dsm file")
    name = f"movie '{file}'"
    data = read_file(file, name, RecordingError, limit=MAX_SIZE, remedy="expected a .dsm file")
    header, keys = _parse(data, name)
    for comment in header.get("comment", []):
        if comment.startswith(_COMMENT):
            return _from_comment(comment[len(_COMMENT) :], keys, name)
    cartridge = cartridge or Cartridge.open()
    _check_cartridge(header, cartridge, name)
    block = header.get("jitBlockSize")
    known = {**_SETTINGS, "rtcStartNew": _CLOCK, "jitBlockSize": str(_JIT_BLOCK)}
    different = [
        f"{key} {values[0]} ({wanted})"
        for key, wanted in known.items()
        if (values := header.get(key)) and values[0] not in (wanted, "")
        if not (key == "jitBlockSize" and values[0] == "0")
    ]
    if different:
        _log.warning(
            "%s was recorded with settings that differ here (ours in brackets), and may end "
            "differently: %s",
            name,
            ", ".join(different),
        )
    return Recording(
        rom=cartridge.sha1,
        title=cartridge.title,
        build_id=installed_build_id(),
        jit=block[0].strip("0") != "" if block and _DIGITS.fullmatch(block[0]) else jit,
        start=Start("power_on"),
        keys=keys,
        environment={"frame_skip": 1},
        label=Path(path).stem,
    )


def _check_cartridge(header: dict[str, list[str]], cartridge: Cartridge, name: str) -> None:
    """Check that a movie is of this cartridge, by checksum or else by game code.

    Raises:
        RecordingError: the movie is of another cartridge.
    """
    (checksum,) = header.get("romChecksum", ["0"])[:1]
    (serial,) = header.get("romSerial", [""])[:1]
    crc = int(checksum, 16) if re.fullmatch("[0-9A-Fa-f]{1,8}", checksum) else 0
    if crc:
        here = zlib.crc32(cartridge.contents())
        if crc != here:
            raise RecordingError(
                f"{name} is of another ROM ({' '.join(header.get('romFilename', []))}, CRC-32 "
                f"{crc:08X}) than this one ({cartridge.title}, CRC-32 {here:08X}); pass that ROM "
                "(--rom)"
            )
        return
    code = re.match(r"NTR-(\w{4})", serial)
    if code is not None and code[1] != cartridge.game_code:
        raise RecordingError(
            f"{name} is of another game ({serial}) than this one ({cartridge.title}, "
            f"NTR-{cartridge.game_code}); pass its ROM (--rom)"
        )


def _parse(data: bytes, name: str) -> tuple[dict[str, list[str]], NDArray[np.uint16]]:
    """Return the header values by key, and the key mask of each frame."""
    if not re.match(rb"version [12]\s", data):
        raise RecordingError(f"{name} is not a DeSmuME movie (text, version 1 or 2)")
    header: dict[str, list[str]] = {}
    known: dict[bytes, int] = {}
    masks = array("H")
    entries = 0
    for number, line in enumerate(io.BytesIO(data), 1):
        line = line.rstrip(b"\r\n")
        mask = known.get(line)
        if mask is not None:
            masks.append(mask)
            continue
        where = f"{name}, line {number}"
        text = decode(line[:MAX_COMMENT], where, RecordingError)
        if not line.startswith(b"|"):
            entries += 1
            if len(line) >= MAX_COMMENT or entries > _MAX_ENTRIES:
                raise RecordingError(
                    f"{where}: the header is too long: expected at most {_MAX_ENTRIES} lines of "
                    f"less than {MAX_COMMENT:,} bytes"
                )
            key, _, value = text.partition(" ")
            header.setdefault(key, []).append(value)
            continue
        mask = _mask(text, where)
        if len(known) < _MAX_ENTRIES:
            known[line] = mask
        masks.append(mask)
    for key, allowed in (("binary", "0"), ("savestate", "0"), ("sram", ""), ("useExtBios", "0")):
        for value in header.get(key, []):
            if value not in (allowed, ""):
                raise RecordingError(
                    f"{name} has {key} {value[:20]!r}: only text movies from power-on, with empty "
                    "battery memory and the emulator's own BIOS, are supported"
                )
    return header, np.array(masks, np.uint16)


def _mask(line: str, where: str) -> int:
    found = _FRAME.fullmatch(line.strip())
    if found is None:
        raise RecordingError(f"{where}: {line[:40]!r} is not a frame of a movie")
    letters = found[2]
    if any(number.strip("0") for number in (found[1], *found.groups("")[2:])):
        raise RecordingError(
            f"{where}: {line[:40]!r} uses stylus, microphone, lid or reset: only keys are supported"
        )
    mask = 0
    for letter, (_, key) in zip(letters, KEY_LETTERS, strict=False):
        if letter not in ". ":
            mask |= int(key)
    return mask


def _from_comment(text: str, keys: NDArray[np.uint16], name: str) -> Recording:
    comment = f"the mkds-gym comment of {name}"
    values = parse_json(text, comment, RecordingError, max_values=10_000, file_names=True)
    start = values.get("start") if isinstance(values, dict) else None
    frame = start.get("frame") if isinstance(start, dict) else None
    begin = frame if type(frame) is int and 0 <= frame <= len(keys) else 0
    recording = Recording.from_header(values, keys[begin:], comment)
    if recording.start.frame > len(keys) or keys[:begin].any():
        raise RecordingError(
            f"{name} was changed before its race starts at frame {recording.start.frame}; remove "
            "its mkds-gym comment to drive it from power-on"
        )
    if recording.start.kind == "state":
        raise RecordingError(f"{comment} is damaged: a movie cannot start at a savestate")
    return recording


def booted_cartridge(recording: Recording, cartridge: Cartridge) -> bytes | None:
    """Return a cartridge image with a recording's boot parameters; None if it needs none.

    The image of the main program is extended to the address of the boot parameters, so loading
    the program writes them. The random seed of a VS race is a boot parameter.

    Raises:
        RecordingError: the race cannot be started, see `open_start`.
    """
    parameters = boot_parameters(recording, cartridge)
    if parameters is None:
        return None
    if recording.start.race_seed is not None:
        parameters = replace(parameters, seed=recording.start.race_seed)
    data = bytearray(cartridge.contents())
    offset, _, address, size = struct.unpack_from("<4I", data, _ARM9)
    ram = np.zeros(RAM_SIZE, np.uint8)
    program = np.frombuffer(bytes(data[offset : offset + size]), np.uint8)
    begin = address - RAM_START
    # The parameters check the copy of the header that the console keeps here.
    copy = HEADER_COPY - RAM_START & RAM_SIZE - 1
    ram[copy : copy + 0x10] = np.frombuffer(cartridge.header[:0x10], np.uint8)
    parameters.write(ram)
    ram[copy : copy + 0x10] = 0
    ram[begin : begin + size] = program
    end = (int(np.flatnonzero(ram)[-1]) + 4) & ~3
    image = ram[begin:end].tobytes()
    # Behind the end of a cartridge, the console reads 0xFF up to the end of a block.
    data += b"\xff" * (-len(data) % 0x200 + 0x200)
    struct.pack_into("<I", data, _ARM9, len(data))
    struct.pack_into("<I", data, _ARM9 + 12, len(image))
    data += image
    data[_CAPACITY] = max((len(data) - 1).bit_length() - 17, 0)
    struct.pack_into("<H", data, _HEADER_CRC, header_crc16(data[:_HEADER_CRC]))
    return bytes(data)


def write_movie(
    recording: Recording,
    path: str | os.PathLike[str],
    rom: str | os.PathLike[str] | Cartridge | None = None,
) -> list[Path]:
    """Write a recording as a movie, and if needed a cartridge to play it on.

    Args:
        recording: see `movie_bytes`.
        path: the ``.dsm`` file; the cartridge gets the same name with ``.nds``.
        rom: the recorded cartridge; None for the one that `Cartridge.open` finds.

    Returns:
        The files written.

    Raises:
        RecordingError: the recording cannot be a movie or is of another cartridge, a file cannot
            be written, or another file with the cartridge's name exists.
    """
    cartridge = rom if isinstance(rom, Cartridge) else Cartridge.open(rom)
    recording.check(cartridge.sha1, cartridge.title, installed_build_id())
    target = file_path("path", path, f"a {SUFFIX} file to write")
    if target.suffix != SUFFIX:
        raise RecordingError(f"cannot write movie '{target}': expected the suffix {SUFFIX}")
    data = booted_cartridge(recording, cartridge)
    rom_file = target.with_suffix(".nds")
    name = cartridge.path.name if data is None else rom_file.name
    image = cartridge.contents() if data is None else data
    text = movie_bytes(recording, name, zlib.crc32(image), f"NTR-{cartridge.game_code}")
    if data is None:
        write_bytes(target, text)
        return [target]
    if not _replaceable(rom_file, cartridge, data):
        raise RecordingError(
            f"cannot write '{rom_file}', the cartridge for the movie: another file exists; choose "
            "another name for the movie, or remove that file"
        )
    if recording.start.kind == "race" and recording.start.race_seed is not None:
        _check_seeded_race(recording, cartridge, data)
    write_bytes(target, text)
    write_bytes(rom_file, data)
    return [target, rom_file]


def _replaceable(path: Path, cartridge: Cartridge, data: bytes) -> bool:
    """Whether no file exists at the path, or an equal one."""
    try:
        if not path.exists():
            return True
        if not path.is_file() or path.samefile(cartridge.path) or path.stat().st_size != len(data):
            return False
        return path.read_bytes() == data
    except OSError as error:
        raise RecordingError(f"cannot write '{path}': {reason(error)}") from error


def _check_seeded_race(recording: Recording, cartridge: Cartridge, data: bytes) -> None:
    """Drive a VS race as the movie does and check that it ends with the same memory.

    The cartridge's header and the stored boot seed may differ.

    Raises:
        RecordingError: memory differs.
    """
    parameters = boot_parameters(recording, cartridge)
    assert parameters is not None
    with temporary_folder("movie") as folder:
        path = folder / cartridge.path.name  # which the emulator writes into memory
        path.write_bytes(data)
        with (
            Console(Cartridge.open(path), jit=recording.jit) as console,
            Replay(recording, rom=cartridge, pictures=False) as original,
        ):
            original.run()
            for mask in _from_power_on(recording).tolist():
                console.step(mask, 1, draw=False)
            movie, recorded = (each.ram.view("<u4") for each in (console, original.console))
            places = np.flatnonzero(movie != recorded)
            seeds = (movie[places] == recording.start.race_seed) & (
                recorded[places] == parameters.seed
            )
            places = 4 * places[~seeds]
    if (places < _HEADER_AREA).any():
        raise RecordingError(
            "the race differs when its random seed is set at power-on, as a movie must do; record "
            "the race with python -m mkds_gym.play"
        )
