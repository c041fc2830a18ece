"""Kinds of savestates, which a console loads and goes on with; and recordings that are replayed."""

from __future__ import annotations

import functools
import random
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .files import bomb, change_recording, placed, with_special
from .kinds import Kind
from .mutations import change_bytes

_HEADER = struct.Struct("<8sI20s32sQII")
_DESMUME = struct.Struct("<16s4I")
_PLAIN = 0xFFFFFFFF
TRIAL = 8.0
"""CPU time of a refusal after a trial in a child process, which starts an emulator."""


@functools.cache
def _console() -> Any:
    from consoles import race_console

    console = race_console()
    console.step(0, 100, draw=False)
    return console


@functools.cache
def _start() -> Any:
    return _console().snapshot()


def _savestate() -> bytes:
    return bytes(_start().data)


def _our_states(_: Path) -> list[bytes]:
    _start()
    return [_console().save_state()]


def _desmume_states(_: Path) -> list[bytes]:
    plain = _savestate()
    magic, version, emulator, _size, _packed = _DESMUME.unpack_from(plain)
    body = plain[_DESMUME.size :]
    packed = zlib.compress(body, 1)
    return [
        plain,
        _DESMUME.pack(magic, version, emulator, len(body), len(packed)) + packed,
        _DESMUME.pack(magic, version, 91100, len(body), len(packed)) + packed,
    ]


def _chunks(state: bytes) -> Iterator[tuple[int, int, int]]:
    place = _DESMUME.size
    while place + 8 <= len(state):
        number, size = struct.unpack_from("<II", state, place)
        if number == _PLAIN:
            return
        yield number, place + 8, min(place + 8 + size, len(state))
        place += 8 + size


def _change_savestate(rng: random.Random, state: bytes) -> bytes:
    """Change a chunk, large or small, of an uncompressed savestate."""
    made = bytearray(state)
    chunks = list(_chunks(state))
    _, begin, end = rng.choice(chunks)
    kind = rng.randrange(10)
    if kind == 0:  # without the chunk
        del made[begin - 8 : end]
    elif kind == 1:  # twice, or of another number
        made[begin - 8 : begin - 8] = made[begin - 8 : end]
        if rng.random() < 0.5:
            struct.pack_into("<I", made, begin - 8, rng.choice(chunks)[0])
    elif kind == 2:  # of another size
        size = rng.choice((0, 1, 4, 12))
        del made[end - min(size, end - begin) : end]
        struct.pack_into("<I", made, begin - 4, end - begin - size if end > begin + size else 0)
    elif kind == 3 and end - begin > 12:  # an entry of another size and count
        size = rng.choice((0, 1, 2, 4, 8))
        struct.pack_into("<II", made, begin + 4, size, (end - begin - 12) // max(1, size))
    else:
        for _ in range(rng.choice((1, 1, 2, 8))):
            if end <= begin:
                break
            at = begin + rng.randrange(min(end - begin, rng.choice((64, 1024, end - begin))))
            if rng.random() < 0.6 or at + 4 > end:
                made[at] ^= 1 << rng.randrange(8)
            else:
                odd = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, rng.randrange(1 << 32))
                struct.pack_into("<I", made, at, rng.choice(odd))
    return bytes(made)


def change_our_state(rng: random.Random, data: bytes) -> bytes:
    """Change a state of ours, with the right checksum in most cases."""
    if rng.random() < 0.2:
        return change_bytes(rng, data)
    magic, version, rom, build, frames, size, _ = _HEADER.unpack_from(data)
    state = zlib.decompress(data[_HEADER.size :])
    changed = _change_savestate(rng, state)
    packed, kind = zlib.compress(changed, 1), rng.randrange(20)
    if kind == 0:
        packed = bomb()
    size = rng.choice((1 << 31, 0, 32, len(changed) + 1)) if kind == 1 else len(changed)
    return _HEADER.pack(magic, version, rom, build, frames, size, zlib.crc32(changed)) + packed


def change_desmume_state(rng: random.Random, data: bytes) -> bytes:
    """Change a savestate of DeSmuME, compressed or not."""
    magic, version, emulator, _, packed = _DESMUME.unpack_from(data)
    if rng.random() < 0.2:
        return change_bytes(rng, data)
    if packed == _PLAIN:
        changed = _change_savestate(rng, data)
        return _DESMUME.pack(magic, version, emulator, len(changed), _PLAIN) + changed[32:]
    body = zlib.decompress(data[_DESMUME.size :])
    plain = _change_savestate(rng, data[: _DESMUME.size] + body)[_DESMUME.size :]
    again = bomb() if rng.random() < 0.05 else zlib.compress(plain, 1)
    return _DESMUME.pack(magic, version, emulator, len(plain), len(again)) + again


@functools.cache
def _expected() -> tuple[bytes, bytes, int]:
    """Memory at the start and four frames later, and the frames so far at the end."""
    console = _console()
    console.restore(_start())
    return _go_on()


def _go_on() -> tuple[bytes, bytes, int]:
    console = _console()
    before = console.ram.tobytes()
    for _ in range(4):
        console.step(1, 1)
    return before, console.ram.tobytes(), console.frame_count


def _use_state(payload: bytes, folder: Path) -> None:
    """Load a state and go on. After a refusal, the console must go on as before."""
    expected = _expected()
    console = _console()
    console.restore(_start())
    path = placed(payload, folder, "race.state")
    try:
        console.load_state(path)
    except Exception:
        assert _go_on() == expected, "a refused state changed the console"
        raise
    _go_on()
    console.screen()
    console.save_state()


def _use_replay(payload: bytes, folder: Path) -> None:
    from mkds_gym.recording.format import Recording
    from mkds_gym.replay import Replay

    recording = Recording.load(placed(payload, folder, "run.mkr"))
    with Replay(recording, pictures=False) as replay:
        for number, _ in enumerate(replay):
            if number >= 20:
                return


def _replays(_: Path) -> list[bytes]:
    from dataclasses import replace

    from recordings import record

    race = record(15)
    state = replace(race.start, kind="state", race=None, digest="", path=None)
    return [
        race.to_bytes(),
        replace(race, start=state, state=_console().save_state()).to_bytes(),
    ]


KINDS = (
    Kind(
        "state",
        "emulator",
        0.5,
        _our_states,
        with_special(change_our_state),
        _use_state,
        before=_expected,
        seconds=10.0,
        refusal=TRIAL,
    ),
    Kind(
        "desmume_state",
        "emulator",
        0.5,
        _desmume_states,
        with_special(change_desmume_state),
        _use_state,
        before=_expected,
        seconds=10.0,
        refusal=TRIAL,
    ),
    Kind(
        "replay", "emulator", 1, _replays, with_special(change_recording), _use_replay, seconds=20.0
    ),
)
