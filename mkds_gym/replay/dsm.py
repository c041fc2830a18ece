"""DeSmuME's movies (``.dsm``): recordings for the desktop emulator, and its movies for ours.

A movie is text: a header of ``key value`` lines, and a line for each frame from power-on, such as
``|0|R......A.....000 000 0 000|``: commands, keys, stylus (column, row, touched), microphone.
What the desktop emulator's own player does with a movie that is written here ends in the very
same memory (tests/test_movie.py runs that player).

Boot parameters are written into memory by the host, which the desktop emulator does not do: a race
that was started by them comes with a cartridge of its own, in which they already are. The seed of
a VS race's chance, which an environment sets after booting, is then one of them, and the race is
driven on that cartridge to see that it ends as it did.
"""

from __future__ import annotations

import json
import logging
import os
import re
import struct
import tempfile
import uuid
import zlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator.cartridge import Cartridge, header_crc16
from mkds_gym.emulator.console import Console, Keys
from mkds_gym.emulator.hardware import HEADER_COPY, RAM_SIZE, RAM_START
from mkds_gym.emulator.loader import installed_build_id
from mkds_gym.errors import RecordingError, reason
from mkds_gym.recording.format import Recording, Start
from mkds_gym.replay.replay import Replay, boot_parameters
from mkds_gym.utils.files import write_bytes

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
"""The keys in a movie's order; a thirteenth letter is for a key that the console lacks."""
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
"""What our console is set to; a movie that was recorded with others may end elsewhere."""
_COMMENT: Final = "mkds-gym "
_FRAME: Final = re.compile(r"\|(\d+)\|(.{13})(\d{3}) (\d{3}) (\d)(?: (\d{3}))?\|")
_ARM9: Final = 0x20
"""Where a cartridge's header has offset, entry, address and size of the main program, u32 each."""
_HEADER_AREA: Final = 0x3FF800
"""From here on main memory has what the console keeps of a cartridge: its id, and its header."""
_CAPACITY: Final = 0x14
_HEADER_CRC: Final = 0x15E


def movie_bytes(recording: Recording, rom_name: str, crc: int = 0, serial: str = "") -> bytes:
    """A recording as the contents of a ``.dsm`` file.

    Args:
        recording: one that starts at power-on, or where the cartridge boots to.
        rom_name: the cartridge's file name, for the header.
        crc: CRC-32 of it, likewise.
        serial: of the cartridge, likewise.

    Raises:
        RecordingError: it starts at a savestate, which the desktop emulator's movies cannot.
    """
    start = recording.start
    if start.kind == "state":
        raise RecordingError(
            "the recording starts at a savestate, and a movie is the keys from power-on; record "
            "the race from its start (reset() without the options state and progress, and no "
            "restore_state()), or with python -m mkds_gym.play"
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
    """A recording out of a movie, of ours or of the desktop emulator.

    Args:
        path: of the ``.dsm`` file.
        cartridge: that it is of, where the movie is not one of ours; None for what
            `Cartridge.open` finds.
        jit: drive a movie that does not say so with the recompiler.

    Returns:
        Of a movie of ours, the recording that it was made of. Else one from power-on, whose final
        memory is not known; of what it was recorded with and cannot be set here (the date, the
        owner's settings, another size of the recompiler's blocks), a warning is logged.

    Raises:
        RecordingError: missing, no movie or a damaged one, of another cartridge, or it uses what
            we do not have (the stylus, the microphone, the lid, resets, a savestate or battery
            memory to start with).
    """
    name = f"movie '{path}'"
    try:
        text = Path(path).read_text("utf-8")
    except FileNotFoundError:
        raise RecordingError(f"no {name}") from None
    except (OSError, ValueError) as error:
        raise RecordingError(f"cannot read {name}: {reason(error)}") from error
    header, masks = _parse(text, name)
    keys = np.array(masks, np.uint16)
    for comment in header.get("comment", []):
        if comment.startswith(_COMMENT):
            return _ours(comment[len(_COMMENT) :], keys, name)
    cartridge = cartridge or Cartridge.open()
    _check_cartridge(header, cartridge, name)
    block = header.get("jitBlockSize")
    known = {**_SETTINGS, "rtcStartNew": _CLOCK, "jitBlockSize": str(_JIT_BLOCK)}
    others = [
        f"{key} {values[0]} ({wanted})"
        for key, wanted in known.items()
        if (values := header.get(key)) and values[0] not in (wanted, "")
        if not (key == "jitBlockSize" and values[0] == "0")
    ]
    if others:
        _log.warning(
            "%s was recorded with settings that are others here (in brackets), and may go another "
            "way: %s",
            name,
            ", ".join(others),
        )
    return Recording(
        rom=cartridge.sha1,
        title=cartridge.title,
        build_id=installed_build_id(),
        jit=int(block[0]) > 0 if block and block[0].isdecimal() else jit,
        start=Start("power_on"),
        keys=keys,
        environment={"frame_skip": 1},
        label=Path(path).stem,
    )


def _check_cartridge(header: dict[str, list[str]], cartridge: Cartridge, name: str) -> None:
    """See that a movie is of this cartridge, by the checksum or else the code in its header.

    Raises:
        RecordingError: it is of another.
    """
    (checksum,) = header.get("romChecksum", ["0"])[:1]
    (serial,) = header.get("romSerial", [""])[:1]
    crc = int(checksum, 16) if re.fullmatch("[0-9A-Fa-f]{1,8}", checksum) else 0
    if crc:
        here = zlib.crc32(cartridge.path.read_bytes())
        if crc != here:
            raise RecordingError(
                f"{name} is of another ROM ({' '.join(header.get('romFilename', []))}, CRC-32 "
                f"{crc:08X}) than the one here ({cartridge.title}, CRC-32 {here:08X}); give that "
                "ROM (--rom)"
            )
        return
    code = re.match(r"NTR-(\w{4})", serial)
    if code is not None and code[1] != cartridge.game_code:
        raise RecordingError(
            f"{name} is of another game ({serial}) than the one here ({cartridge.title}, "
            f"NTR-{cartridge.game_code}); give its ROM (--rom)"
        )


def _parse(text: str, name: str) -> tuple[dict[str, list[str]], list[int]]:
    """Header values by key, and the keys of each frame."""
    if not re.match(r"version [12]\s", text):
        raise RecordingError(f"{name} is no movie of DeSmuME (version 1 or 2, as text)")
    header: dict[str, list[str]] = {}
    known: dict[str, int] = {}
    masks: list[int] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("|"):
            key, _, value = line.partition(" ")
            header.setdefault(key, []).append(value)
            continue
        mask = known.get(line)
        if mask is None:
            mask = known[line] = _mask(line, f"{name}, line {number}")
        masks.append(mask)
    for key, allowed in (("binary", "0"), ("savestate", "0"), ("sram", ""), ("useExtBios", "0")):
        for value in header.get(key, []):
            if value not in (allowed, ""):
                raise RecordingError(
                    f"{name} has {key} {value[:20]!r}; only movies from power-on, as text, with "
                    "empty battery memory and the emulator's own BIOS can be driven"
                )
    return header, masks


def _mask(line: str, where: str) -> int:
    found = _FRAME.fullmatch(line.strip())
    if found is None:
        raise RecordingError(f"{where}: {line[:40]!r} is no frame of a movie")
    commands, letters, column, row, touched, microphone = found.groups()
    if int(commands) or int(touched) or int(column) or int(row) or int(microphone or 0):
        raise RecordingError(
            f"{where}: {line!r} uses stylus, microphone, lid or reset; only keys can be driven"
        )
    mask = 0
    for letter, (_, key) in zip(letters, KEY_LETTERS, strict=False):
        if letter not in ". ":
            mask |= int(key)
    return mask


def _ours(text: str, keys: Any, name: str) -> Recording:
    try:
        values = json.loads(text)
        start = Start(**values.pop("start"))
        recording = Recording(start=start, keys=keys[start.frame :], **values)
    except (ValueError, TypeError, KeyError) as error:
        raise RecordingError(f"{name} has a damaged comment of mkds-gym: {error}") from None
    if len(keys) < start.frame or keys[: start.frame].any():
        raise RecordingError(
            f"{name} was changed before its race begins, at frame {start.frame}; remove its "
            "comment of mkds-gym to drive it from power-on"
        )
    return recording


def booted_cartridge(recording: Recording, cartridge: Cartridge) -> bytes | None:
    """The cartridge with a recording's boot parameters in it; None where it needs none.

    The seed of a VS race's chance is one of them, as a movie cannot set it at the race's start.

    The main program's image in the file is extended up to where the parameters lie in memory, so
    that loading the program is what puts them there.

    Raises:
        RecordingError: the race cannot be started any more, see `mkds_gym.replay.open_start`.
    """
    parameters = boot_parameters(recording, cartridge)
    if parameters is None:
        return None
    if recording.start.race_seed is not None:
        parameters = replace(parameters, seed=recording.start.race_seed)
    data = bytearray(cartridge.path.read_bytes())
    offset, _, address, size = struct.unpack_from("<4I", data, _ARM9)
    ram = np.zeros(RAM_SIZE, np.uint8)
    program = np.frombuffer(bytes(data[offset : offset + size]), np.uint8)
    begin = address - RAM_START
    # Where the console keeps a copy of the header, by which the parameters' cartridge is known.
    copy = HEADER_COPY - RAM_START & RAM_SIZE - 1
    ram[copy : copy + 0x10] = np.frombuffer(cartridge.header[:0x10], np.uint8)
    parameters.write(ram)
    ram[copy : copy + 0x10] = 0
    ram[begin : begin + size] = program
    end = (int(np.flatnonzero(ram)[-1]) + 4) & ~3
    image = ram[begin:end].tobytes()
    # Behind a cartridge's end the console reads ones, and a program may read on to a block's end.
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
    """Write a recording as a movie, and beside it the cartridge to play it on, if it needs one.

    Args:
        recording: see `movie_bytes`.
        path: of the ``.dsm`` file; the cartridge has its name, with ``.nds``.
        rom: the cartridge that was driven; None for what `Cartridge.open` finds.

    Returns:
        The files written.

    Raises:
        RecordingError: it cannot be a movie, is of another cartridge, or a file cannot be written;
            or a file with the cartridge's name is there already, and is another one.
    """
    cartridge = rom if isinstance(rom, Cartridge) else Cartridge.open(rom)
    recording.check(cartridge.sha1, cartridge.title, installed_build_id())
    target = Path(path)
    if target.suffix != SUFFIX:
        raise RecordingError(f"cannot write movie '{target}': the suffix of movies is {SUFFIX}")
    data = booted_cartridge(recording, cartridge)
    beside = target.with_suffix(".nds")
    name = cartridge.path.name if data is None else beside.name
    image = cartridge.path.read_bytes() if data is None else data
    text = movie_bytes(recording, name, zlib.crc32(image), f"NTR-{cartridge.game_code}")
    if data is None:
        write_bytes(target, text)
        return [target]
    if not _replaceable(beside, cartridge, data):
        raise RecordingError(
            f"cannot write '{beside}', the cartridge to play the movie on: another file is there; "
            "choose another name for the movie, or remove that file"
        )
    if recording.start.kind == "race" and recording.start.race_seed is not None:
        _check_chance(recording, cartridge, data)
    write_bytes(target, text)
    write_bytes(beside, data)
    return [target, beside]


def _replaceable(path: Path, cartridge: Cartridge, data: bytes) -> bool:
    """Whether a cartridge may be written there: to no file, or to one that differs in nothing."""
    try:
        return not path.exists() or (
            not path.samefile(cartridge.path) and path.read_bytes() == data
        )
    except OSError as error:
        raise RecordingError(f"cannot write '{path}': {reason(error)}") from error


def _check_chance(recording: Recording, cartridge: Cartridge, data: bytes) -> None:
    """Drive a VS race as the movie does, and see that it ends in the same memory.

    That differs in the cartridge's header, and in what the program keeps of the seed that it booted
    with.

    Raises:
        RecordingError: it does not.
    """
    parameters = boot_parameters(recording, cartridge)
    assert parameters is not None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / cartridge.path.name  # which the emulator writes into memory
        path.write_bytes(data)
        with (
            Console(Cartridge.open(path), jit=recording.jit) as console,
            Replay(recording, rom=cartridge, pictures=False) as original,
        ):
            original.run()
            for mask in _from_power_on(recording).tolist():
                console.step(mask, 1, draw=False)
            there, here = (each.ram.view("<u4") for each in (console, original.console))
            places = np.flatnonzero(there != here)
            kept = (there[places] == recording.start.race_seed) & (here[places] == parameters.seed)
            places = 4 * places[~kept]
    if (places < _HEADER_AREA).any():
        raise RecordingError(
            "the recording's race goes another way with its chance set at power-on, which is all "
            "that a movie can do; record it with python -m mkds_gym.play"
        )
