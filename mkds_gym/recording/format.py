"""The recording format: a race as its start and the keys held in each frame.

A ``.mkr`` file takes a hundred bytes to a few kilobytes, or 400 to 500 KB more if it holds the
savestate of its start. `mkds_gym.replay` reproduces the race from it, with the same main memory
byte for byte, given the same cartridge, emulator build and use of the recompiler.

====== ======== ===========================================================================
offset type     meaning
====== ======== ===========================================================================
0      u8[4]    magic ``MKR`` and 0x1A
4      u16      version of the format, 1
6      u16      reserved, 0
8      u32      size of the header in bytes
12     u32      size of the keys in bytes
16     u32      size of the start state in bytes; 0 without one
20     u32      CRC-32 of all that follows
24     header   JSON, UTF-8: the attributes of `Recording` except keys and state
       keys     deflated runs, each u16 keys (a combination of `Keys`) and u32 frames
       state    as of `Console.save_state`
====== ======== ===========================================================================

All numbers are little endian. The header of every version is JSON at this offset, with the key
``made_by``.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.course import Course
from mkds_gym.emulator.console import ALL_KEYS, Console
from mkds_gym.emulator.desmume.builds import build_name
from mkds_gym.errors import RecordingError
from mkds_gym.race.state import RaceState
from mkds_gym.recording.schema import MAX_FRAMES, check_header
from mkds_gym.utils.arguments import escaped, file_path, shown
from mkds_gym.utils.files import write_bytes
from mkds_gym.utils.reading import inflate, parse_json, read_file
from mkds_gym.version import __version__

if TYPE_CHECKING:
    from mkds_gym.kartlab.boot import BootParameters

SUFFIX: Final = ".mkr"
FORMAT_VERSION: Final = 1
MAX_SIZE: Final = 32 << 20
"""Largest recording, in bytes. The longest takes less."""
MAX_HEADER: Final = 1 << 20
"""Largest header, in bytes."""
COMPONENTS: Final = (
    "obs_type",
    "sensors",
    "screens",
    "metrics",
    "terminate_on",
    "truncate_on",
)
"""The arguments of an environment with components, which recordings note."""
_MAGIC: Final = b"MKR\x1a"
_HEADER: Final = struct.Struct("<4sHHIIII")
_RUN: Final = np.dtype([("keys", "<u2"), ("frames", "<u4")])
MADE_BY: Final = f"mkds-gym {__version__}"
"""Value of `Recording.made_by` in recordings of this version."""


@dataclass(frozen=True)
class Start:
    """Where a recording starts.

    Attributes:
        kind: ``"race"``, the race that boot parameters lead to; ``"power_on"``, the first frame;
            or ``"state"``, a savestate.
        race: the race arguments (`RaceArguments`); None without boot parameters.
        course_seed: seed of a random course.
        race_seed: seed of a VS race.
        countdown: whether the race starts with its countdown (``power_on`` only).
        digest: SHA-256 of the boot parameters or of the state; empty without either.
        path: the file of the state, which the recording does not hold then.
        frame: frames from power-on to the start.
    """

    kind: str
    race: Mapping[str, Any] | None = None
    course_seed: int | None = None
    race_seed: int | None = None
    countdown: bool = False
    digest: str = ""
    path: str | None = None
    frame: int = 0


@dataclass(frozen=True)
class Recording:
    """A race that can be replayed.

    Attributes:
        rom: SHA-1 of the cartridge.
        title: title of the cartridge.
        build_id: SHA-256 of the emulator's library.
        jit: whether the emulator's recompiler was in use.
        start: where the recording starts.
        keys: uint16 (frames,), a combination of `Keys` for each frame.
        lead: frames without keys that an environment runs at a reset, before the first step.
        environment: ``frame_skip``, ``action_type`` and ``reward`` of the environment,
            `component_names` of its arguments, and ``laps`` if these end a race earlier than the
            game, on cartridges other than Kartlab.
        result: ``finished``, ``total_time``, ``lap_times``, ``progress``, ``place`` and
            ``events``; empty if unknown.
        ram: SHA-256 of main memory after the last frame; empty if unknown (an imported movie, or a
            driver of a shared console).
        label: who drove.
        made_by: package and version that made the recording; empty if unknown.
        state: the savestate of the start, if no file holds it.
    """

    rom: str
    title: str
    build_id: str
    jit: bool
    start: Start
    keys: NDArray[np.uint16] = field(repr=False)
    lead: int = 0
    environment: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    ram: str = ""
    label: str = ""
    made_by: str = ""
    state: bytes | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls, console: Console, start: Start, keys: NDArray[np.uint16], **about: Any
    ) -> Recording:
        """Return the recording of a console that is at the last frame.

        Args:
            console: the console.
            start: where the recording starts.
            keys: uint16 (frames,), a combination of `Keys` for each frame.
            about: other attributes of the class.
        """
        return cls(
            rom=console.cartridge.sha1,
            title=console.cartridge.title,
            build_id=console.build_id,
            jit=console.capabilities.jit,
            start=start,
            keys=keys,
            ram="" if console.is_shared else memory_digest(console),
            made_by=MADE_BY,
            **about,
        )

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.keys)

    def describe(self) -> str:
        """Return a line of text: label, frames and result."""
        parts = [escaped(self.label or self.title), f"{self.frames} frames"]
        if self.result.get("finished"):
            parts.append(f"finished in {self.result['total_time']:.3f} s")
        elif "progress" in self.result:
            parts.append(f"{self.result['progress']:.3f} laps driven")
        return ", ".join(parts)

    def to_bytes(self) -> bytes:
        """Return the contents of a ``.mkr`` file."""
        header: dict[str, Any] = {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if each.name not in ("keys", "state", "start")
        }
        # A label may be the name of a file, with bytes that are not UTF-8.
        header["label"] = self.label.encode("utf-8", "replace").decode()
        header["start"] = asdict(self.start)
        text = json.dumps(header, default=_plain, separators=(",", ":")).encode()
        keys = zlib.compress(_runs(self.keys).tobytes(), 9)
        state = self.state or b""
        body = text + keys + state
        lengths = (len(text), len(keys), len(state))
        return _HEADER.pack(_MAGIC, FORMAT_VERSION, 0, *lengths, zlib.crc32(body)) + body

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "the recording") -> Recording:
        """Read the contents of a ``.mkr`` file.

        Args:
            data: the contents.
            name: name of the recording in error messages.

        Raises:
            RecordingError: `data` is not a recording, is damaged, or has another version.
        """
        if not data.startswith(_MAGIC):
            raise RecordingError(f"{name} is not a recording: expected a {SUFFIX} file of mkds-gym")
        if len(data) < _HEADER.size:
            raise RecordingError(f"{name} is truncated: record it again")
        _, version, _, *lengths, crc = _HEADER.unpack_from(data)
        if version != FORMAT_VERSION:
            raise RecordingError(
                f"{name} has format version {version}, but {MADE_BY} reads {FORMAT_VERSION}: "
                + version_to_use(_made_by(data))
            )
        body = memoryview(data)[_HEADER.size :]
        if len(body) != sum(lengths) or zlib.crc32(body) != crc:
            raise RecordingError(f"{name} is truncated or damaged: record it again")
        header, keys = body[: lengths[0]], body[lengths[0] : lengths[0] + lengths[1]]
        state = bytes(body[len(body) - lengths[2] :]) if lengths[2] else None
        values = _parse_header(header, name)
        return cls.from_header(values, _unroll(bytes(keys), name), name, state)

    @classmethod
    def from_header(
        cls, values: Any, keys: NDArray[np.uint16], name: str, state: bytes | None = None
    ) -> Recording:
        """Return the recording with a header of a file.

        Args:
            values: the header's JSON values.
            keys: uint16 (frames,), a combination of `Keys` for each frame.
            name: name of the recording in error messages.
            state: the savestate of the start, if the file contains it.

        Raises:
            RecordingError: the header is damaged.
        """
        check_header(values, name, len(keys), state is not None)
        return cls(**{**values, "start": Start(**values["start"])}, keys=keys, state=state)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file. An existing file is replaced when the new one is complete.

        Raises:
            RecordingError: the file cannot be written.
        """
        write_bytes(path, self.to_bytes())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Recording:
        """Read a file.

        Raises:
            RecordingError: the file is missing, not a recording, damaged, or has another version.
        """
        remedy = f"expected the path of a {SUFFIX} file"
        file = file_path("path", path, f"a {SUFFIX} file")
        name = f"recording '{file}'"
        data = read_file(file, name, RecordingError, limit=MAX_SIZE, remedy=remedy)
        return cls.from_bytes(data, name)

    def check(self, rom: str, title: str, build_id: str) -> None:
        """Refuse another cartridge or emulator build than that of the recording.

        Args:
            rom: SHA-1 of the cartridge.
            title: title of the cartridge.
            build_id: the emulator build.

        Raises:
            RecordingError: the cartridge or the build is another.
        """
        if rom != self.rom:
            raise RecordingError(
                f"the recording was made with another ROM: expected {self.title} (SHA-1 "
                f"{self.rom}), got {title} (SHA-1 {rom}); pass its cartridge "
                "(rom=, or --rom)"
            )
        if build_id != self.build_id:
            raise RecordingError(
                "the recording was made with another build of the emulator "
                f"({build_name(self.build_id)}), on which the same keys may lead elsewhere: "
                "install that build, or record the race again"
            )


def version_to_use(made_by: str) -> str:
    """Return advice for a recording that this version of the package cannot replay.

    Args:
        made_by: `Recording.made_by`.
    """
    if made_by == MADE_BY:
        return f"replay it with the commit of {made_by} that recorded it"
    return f"replay it with {made_by or 'the version of mkds-gym that recorded it'}"


def _made_by(data: bytes) -> str:
    """Return the ``made_by`` of a file of any version; empty without one."""
    try:
        begin = _HEADER.size
        header = _parse_header(data[begin : begin + _HEADER.unpack_from(data)[3]], "")
        return str(header["made_by"])
    except (RecordingError, TypeError, KeyError):
        return ""


def _parse_header(data: bytes | memoryview, name: str) -> Any:
    if len(data) > MAX_HEADER:
        raise RecordingError(f"{name} is damaged (its header has more than {MAX_HEADER:,} bytes)")
    return parse_json(
        bytes(data), f"the header of {name}", RecordingError, max_values=10_000, file_names=True
    )


def memory_digest(console: Console) -> str:
    """Return the SHA-256 of main memory, which shows whether a replay went the same way."""
    return hashlib.sha256(console.ram.data).hexdigest()


def boot_digest(parameters: BootParameters) -> str:
    """Return the SHA-256 of boot parameters and the course in them."""
    return hashlib.sha256(parameters.pack() + (parameters.course_data or b"")).hexdigest()


def component_names(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the components of an environment that a recording notes.

    Args:
        arguments: arguments of `MKDSEnv`.

    Returns:
        ``obs_type``, ``sensors``, ``screens``, ``metrics``, ``terminate_on`` and ``truncate_on``,
        each a name or a list of names. An object is noted as ``"module:Class"``, see
        `is_object_note`. An argument that is None is left out.
    """
    found: dict[str, Any] = {}
    for name in COMPONENTS:
        value = arguments[name]
        if isinstance(value, list | tuple):
            found[name] = [_noted(each) for each in value]
        elif value is not None:
            found[name] = _noted(value)
    return found


def _noted(component: Any) -> str:
    if isinstance(component, str):
        return component
    kind = component if hasattr(component, "__module__") else type(component)
    kind = kind if hasattr(kind, "__qualname__") else type(kind)
    return f"{kind.__module__}:{kind.__qualname__}"


def is_object_note(name: str) -> bool:
    """Return whether a noted component is an object, ``"module:Class"``, not ``"name:number"``.

    The note tells the reader which class the object has. Nothing imports the module.
    """
    _, colon, rest = name.partition(":")
    try:
        float(rest)
    except ValueError:
        return bool(colon)
    return rest.isidentifier()  # "inf" and "nan" are numbers, and names of objects as well


def race_result(race: RaceState, course: Course) -> dict[str, Any]:
    """Return the result of a race, as recordings hold it."""
    return {
        "finished": race.finished,
        "total_time": race.total_time if race.finished else 0.0,
        "lap_times": list(race.lap_times),
        "progress": course.track.laps(race),
        "place": race.place + 1,
    }


def _plain(value: Any) -> Any:
    """Convert NumPy's numbers for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{shown(value)} cannot be written to a recording")


def _runs(keys: NDArray[np.uint16]) -> NDArray[Any]:
    """Return runs of equal keys."""
    begins = np.flatnonzero(np.diff(keys.astype(np.int64), prepend=-1))
    runs = np.empty(len(begins), _RUN)
    runs["keys"] = keys[begins]
    runs["frames"] = np.diff(begins, append=len(keys))
    return runs


def _unroll(data: bytes, name: str) -> NDArray[np.uint16]:
    """Return the keys of each frame from deflated runs."""
    limit = MAX_FRAMES * _RUN.itemsize
    plain = inflate(data, f"the keys of {name}", RecordingError, limit=limit)
    problem = ""
    if len(plain) % _RUN.itemsize:
        raise RecordingError(f"{name} is damaged (its last key is incomplete): record it again")
    runs = np.frombuffer(plain, _RUN)
    if int(runs["frames"].sum(dtype=np.uint64)) > MAX_FRAMES:
        problem = "more than a day of frames"
    elif (runs["keys"] > ALL_KEYS).any():
        problem = "keys that the console does not have"
    if problem:
        raise RecordingError(f"{name} is damaged ({problem}): record it again")
    return np.repeat(runs["keys"].astype(np.uint16), runs["frames"])


def check_recording(recording: object) -> None:
    """Check that an argument is a recording, not its file.

    Raises:
        TypeError: `recording` is not a `Recording`.
    """
    if not isinstance(recording, Recording):
        raise TypeError(
            f"recording={shown(recording)} is not a Recording: Recording.load(path) reads a file"
        )
