"""The file format of a list of cloned states: `mkds_gym.wrappers.StartStates` writes and reads it.

====== ======== ===========================================================================
offset type     meaning
====== ======== ===========================================================================
0      u8[20]   ``MKDS start states 3`` and a newline
20     u8[32]   SHA-256 of all that follows
52     u32      size of the header in bytes, little endian
56     header   JSON, UTF-8: ``bases``, ``states`` and, for each, the sizes of its parts
       parts    of each base: a file of `Console.save_state`; of each state: the bytes and arrays
                of its `Difference` (blocks as little-endian int32) or `DriverState`
====== ======== ===========================================================================

Nothing in the file is code. A cloned state also holds the bookkeeping of its episode (metrics,
events, reward), which are Python objects. The file leaves these out: a state from a file starts an
episode, and cannot be restored into the middle of one.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from mkds_gym.emulator.states.known_states import fingerprint, is_known, remember
from mkds_gym.emulator.states.snapshot import Difference
from mkds_gym.emulator.states.state_file import pack_state, unpack_state
from mkds_gym.episodes.cloned_state import Base, ClonedState, base_of
from mkds_gym.episodes.driver_state import DriverState
from mkds_gym.errors import StateError
from mkds_gym.utils.arguments import shortened
from mkds_gym.utils.reading import parse_json

MAX_FILE: Final = 256 << 20
"""Largest size of a file in bytes: some thousand states."""
MAX_BASES: Final = 8
"""Most race starts of the states of a file; each takes 11 MB of memory."""
_FAMILY: Final = b"MKDS start states "
_MAGIC: Final = _FAMILY + b"3\n"
_HEAD: Final = struct.Struct("<20s32sI")
_MAX_HEADER: Final = 16 << 20
_MAX_SIZE: Final = 64 << 20
"""Largest size of a savestate in bytes."""


def pack_states(states: Sequence[ClonedState]) -> bytes:
    """Return the contents of a file.

    This user may load them without a trial, unless a state is a foreign one.

    Raises:
        StateError: the states have more than `MAX_BASES` race starts, or take too much room.
    """
    bases = list({state.base.digest: state.base for state in states}.values())
    if len(bases) > MAX_BASES:
        raise StateError(
            f"the states have {len(bases)} different race starts: expected at most {MAX_BASES}; "
            "save them in several files"
        )
    parts = [pack_state(base.snapshot) for base in bases]
    header: dict[str, Any] = {"bases": [len(part) for part in parts], "states": []}
    numbers = {base.digest: number for number, base in enumerate(bases)}
    for state in states:
        own = _parts(state.difference)
        header["states"].append(
            {
                "kind": state.kind,
                "base": numbers[state.base.digest],
                "rom": state.rom,
                "build": state.build_id,
                "frames": state.frame_count,
                "size": state.difference.size if isinstance(state.difference, Difference) else 0,
                "race": getattr(state.difference, "race", ""),
                "recent": [keys for _, keys in getattr(state.difference, "recent", ())],
                "arguments": state.arguments,
                "course": state.course,
                "course_seed": state.course_seed,
                "progress": state.progress,
                "parts": [len(part) for part in own],
            }
        )
        parts += own
    text = json.dumps(header, separators=(",", ":")).encode()
    body = b"".join((struct.pack("<I", len(text)), text, *parts))
    if len(body) > MAX_FILE - _HEAD.size or len(text) > _MAX_HEADER:
        raise StateError(f"the states take {len(body):,} bytes: expected at most {MAX_FILE:,}")
    data = _MAGIC + hashlib.sha256(body).digest() + body
    if not any(state.foreign for state in states):
        remember(fingerprint(data, states[0].rom, states[0].build_id), lasting=True)
    return data


def _parts(state: Difference | DriverState) -> list[bytes]:
    if isinstance(state, DriverState):
        return [state.drawing, bytes(state.data), *(block for block, _ in state.recent)]
    return [state.drawing, state.blocks.astype("<i4").tobytes(), state.content, state.rest]


def unpack_states(data: bytes, name: str) -> list[ClonedState]:
    """Read what `pack_states` returned.

    States that this user has not saved are tried in a child process before a console loads them.

    Args:
        data: the contents of the file.
        name: name of the file for messages.

    Raises:
        StateError: damaged, of another format or version.
    """
    if data.startswith(_FAMILY) and not data.startswith(_MAGIC):
        version = data[len(_FAMILY) :][:8].split(b"\n")[0].decode("ascii", "replace")
        raise StateError(
            f"{name} has version {version}: expected version 3; earlier versions are pickles, "
            "which can contain any program and are not read; collect and save the states again"
        )
    if len(data) < _HEAD.size or not data.startswith(_MAGIC):
        raise StateError(
            f"{name} is not a file of start states: StartStates.collect(env).save(path) writes "
            "such a file"
        )
    _, digest, size = _HEAD.unpack_from(data)
    if hashlib.sha256(data[52:]).digest() != digest or size > _MAX_HEADER:
        raise StateError(f"{name} is damaged: its checksum does not match; save the states again")
    header = parse_json(data[_HEAD.size : _HEAD.size + size], name, StateError)
    try:
        return _Reader(data, _HEAD.size + size, name).read(header)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, StateError):
            raise
        raise StateError(
            f"{name} is damaged ({shortened(repr(error))}): save the states again"
        ) from error


class _Reader:
    """Reads the parts of a file in order."""

    def __init__(self, data: bytes, place: int, name: str) -> None:
        self._data = memoryview(data)
        self._place = place
        self._name = name

    def _next(self, size: object) -> bytes:
        begin = self._place
        self._place += _integer(size, 0, MAX_FILE)
        if self._place > len(self._data):
            raise ValueError("a part is longer than the file")
        return bytes(self._data[begin : self._place])

    def read(self, header: Mapping[str, Any]) -> list[ClonedState]:
        if not 0 < len(header["bases"]) <= MAX_BASES or not header["states"]:
            raise ValueError(f"{len(header['bases'])} race starts, {len(header['states'])} states")
        first = header["states"][0]
        rom, build = _digest(first["rom"], 40), _digest(first["build"], 64)
        own = is_known(fingerprint(bytes(self._data), rom, build))
        bases = []
        for size in header["bases"]:
            snapshot = unpack_state(self._next(size), f"a race start in {self._name}")
            snapshot.foreign = not own
            if (snapshot.rom, snapshot.build_id) != (rom, build):
                raise ValueError("a race start is of another cartridge or build")
            bases.append(base_of(snapshot))
        states = [self._state(item, bases, own) for item in header["states"]]
        if self._place != len(self._data):
            raise ValueError("bytes are left over")
        return states

    def _state(self, item: Mapping[str, Any], bases: Sequence[Base], own: bool) -> ClonedState:
        base = bases[_integer(item["base"], 0, len(bases) - 1)]
        about = (base.snapshot.rom, base.snapshot.build_id)
        if (item["rom"], item["build"]) != about:
            raise ValueError("a state is of another cartridge or build than its race start")
        frames = _integer(item["frames"], 0, 1 << 62)
        drawing, *parts = [self._next(size) for size in item["parts"]]
        if not own:
            drawing = b""  # goes to the emulator unchecked
        difference: Difference | DriverState
        if item["kind"] == "driver":
            block, *recent_blocks = parts
            keys = [_integer(each, 0, 0xFFFF) for each in item["recent"]]
            recent = tuple(zip(recent_blocks, keys, strict=True))
            race = _digest(item["race"], 64)
            difference = DriverState(
                block, *about, frames, drawing, foreign=not own, race=race, recent=recent
            )
        elif item["kind"] != "console":
            raise ValueError(f"a state of the unknown kind {item['kind']!r:.50}")
        else:
            blocks, content, rest = parts
            difference = Difference.from_parts(
                size=_integer(item["size"], 1, _MAX_SIZE),
                frame_count=frames,
                rom=about[0],
                build_id=about[1],
                drawing=drawing,
                blocks=np.frombuffer(blocks, np.dtype("<i4")).astype(np.int32),
                content=content,
                rest=rest,
                foreign=None if own else True,
            )
        seed = item["course_seed"]
        progress = item["progress"] if own else None
        return ClonedState(
            base,
            difference,
            arguments={str(key): _tuples(value) for key, value in item["arguments"].items()},
            course=_integer(item["course"], -(1 << 63), 1 << 64),
            course_seed=None if seed is None else _integer(seed, 0, 1 << 64),
            parts=b"",
            progress=None if progress is None else _tuples(progress),
        )


def _integer(value: object, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{value!r:.50} is not an integer from {low} to {high}")
    return value


def _digest(value: object, digits: int) -> str:
    if (
        not isinstance(value, str)
        or len(value) != digits
        or not set(value) <= set("0123456789abcdef")
    ):
        raise ValueError(f"{value!r:.50} is not a digest of {digits} hexadecimal digits")
    return value


def _tuples(value: Any) -> Any:
    """Return JSON's lists as the tuples that they were."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
