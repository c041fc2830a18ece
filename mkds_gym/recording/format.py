"""Recordings: a race as the start it had and the keys that were held, frame by frame.

A ``.mkr`` file takes some hundred bytes to some kilobytes (400 to 500 KB more where it must hold
the savestate that it starts at), and brings the very same race back, byte for byte of the console's
memory (`mkds_gym.replay`): as long as cartridge, build of the emulator and use of its recompiler
are the same, which is checked before anything starts.

====== ======== ===========================================================================
offset type     meaning
====== ======== ===========================================================================
0      u8[4]    magic ``MKR`` and 0x1A
4      u16      version of the format, 1
6      u16      reserved, 0
8      u32      size of the header in bytes
12     u32      size of the keys in bytes
16     u32      size of the start state in bytes; 0 where the start needs none
20     u32      CRC-32 of all that follows
24     header   JSON, UTF-8: what `Recording` holds besides the keys
       keys     deflated runs, each u16 keys (a mask of `Keys`) and u32 frames
       state    as of `Console.save_state`
====== ======== ===========================================================================

All numbers are little endian. A header of any version is JSON at that place, and has ``made_by``.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.course import Course
from mkds_gym.emulator.builds import build_name
from mkds_gym.emulator.console import ALL_KEYS, Console
from mkds_gym.errors import RecordingError, reason
from mkds_gym.race.state import RaceState
from mkds_gym.utils.files import write_bytes
from mkds_gym.version import __version__

if TYPE_CHECKING:
    from mkds_gym.kartlab.boot import BootParameters

SUFFIX: Final = ".mkr"
FORMAT_VERSION: Final = 1
MAX_FRAMES: Final = 60 * 60 * 60 * 24
"""Longest recording, in frames: about a day."""
_MAGIC: Final = b"MKR\x1a"
_HEADER: Final = struct.Struct("<4sHHIIII")
_RUN: Final = np.dtype([("keys", "<u2"), ("frames", "<u4")])
_KINDS: Final = ("race", "power_on", "state")
MADE_BY: Final = f"mkds-gym {__version__}"
"""What recordings of this version say that they were made by."""


@dataclass(frozen=True)
class Start:
    """Where a recording starts, so that it can be reached again, and recognised.

    Attributes:
        kind: ``"race"``, the start that the cartridge boots into by boot parameters;
            ``"power_on"``, the first frame; or ``"state"``, a savestate.
        race: arguments of the race (`RaceArguments`); None without boot parameters.
        course_seed: of a random course.
        race_seed: that the chance of a VS race goes by.
        countdown: the race was started with its countdown (``power_on`` only).
        digest: SHA-256 of the boot parameters or of the state's contents; empty without either.
        path: the file of the state, if it was one; it is then not in the recording.
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
    """A race that can be driven again.

    Attributes:
        rom: SHA-1 of the cartridge.
        title: of the cartridge, for people.
        build_id: SHA-256 of the emulator's library.
        jit: its recompiler was in use.
        start: where it starts.
        keys: uint16 (frames,), a mask of `Keys` for each frame.
        lead: frames before the first step, without keys, that an environment runs at a reset.
        environment: what the race was seen by: ``frame_skip``, ``action_type``, ``reward``.
        result: what came of it: ``finished``, ``total_time``, ``lap_times``, ``progress``,
            ``place``, ``events``; empty where that is not known.
        ram: SHA-256 of main memory after the last frame; empty where that is not known (an
            imported movie).
        label: for people: who drove.
        made_by: package and version that recorded it; empty where that is not known.
        state: the savestate that it starts at, where no file holds it.
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
        """What was driven on a console, which is at the last frame now.

        Args:
            console: that ran them.
            start: where the recording starts.
            keys: uint16 (frames,), a mask of `Keys` for each frame.
            about: more attributes, see the class.
        """
        return cls(
            rom=console.cartridge.sha1,
            title=console.cartridge.title,
            build_id=console.build_id,
            jit=console.capabilities.jit,
            start=start,
            keys=keys,
            ram=memory_digest(console),
            made_by=MADE_BY,
            **about,
        )

    @property
    def frames(self) -> int:
        """How long it is, in frames."""
        return len(self.keys)

    def describe(self) -> str:
        """A line for people."""
        parts = [self.label or self.title, f"{self.frames} frames"]
        if self.result.get("finished"):
            parts.append(f"finished in {self.result['total_time']:.3f} s")
        elif "progress" in self.result:
            parts.append(f"{self.result['progress']:.3f} laps driven")
        return ", ".join(parts)

    # Bytes and files ------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The contents of a ``.mkr`` file."""
        header: dict[str, Any] = {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if each.name not in ("keys", "state", "start")
        }
        header["start"] = asdict(self.start)
        text = json.dumps(header, default=_plain, separators=(",", ":")).encode()
        keys = zlib.compress(_runs(self.keys).tobytes(), 9)
        state = self.state or b""
        body = text + keys + state
        lengths = (len(text), len(keys), len(state))
        return _HEADER.pack(_MAGIC, FORMAT_VERSION, 0, *lengths, zlib.crc32(body)) + body

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "the recording") -> Recording:
        """Read and check what `to_bytes` gave.

        Args:
            data: contents of a ``.mkr`` file.
            name: what to call it in messages.

        Raises:
            RecordingError: it is none, is truncated or damaged, or of another version.
        """
        if not data.startswith(_MAGIC):
            raise RecordingError(f"{name} is no recording ({SUFFIX}) of mkds-gym")
        if len(data) < _HEADER.size:
            raise RecordingError(f"{name} is truncated; record it again")
        _, version, _, *lengths, crc = _HEADER.unpack_from(data)
        if version != FORMAT_VERSION:
            raise RecordingError(
                f"{name} has format version {version}, and {MADE_BY} reads {FORMAT_VERSION}; "
                + version_to_use(_made_by(data))
            )
        body = data[_HEADER.size :]
        if len(body) != sum(lengths) or zlib.crc32(body) != crc:
            raise RecordingError(f"{name} is truncated or damaged; record it again")
        header, keys = body[: lengths[0]], body[lengths[0] : lengths[0] + lengths[1]]
        try:
            values = json.loads(header)
            start = Start(**values.pop("start"))
            state = body[len(body) - lengths[2] :] if lengths[2] else None
            recording = cls(start=start, keys=_unroll(keys), state=state, **values)
            sound = recording.start.kind in _KINDS and 0 <= recording.lead <= recording.frames
        except (ValueError, TypeError, KeyError, zlib.error) as error:
            raise RecordingError(f"{name} is damaged ({error}); record it again") from None
        if not sound:
            raise RecordingError(f"{name} is damaged: its header makes no sense; record it again")
        return recording

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file, replaced only once the new one is complete.

        Raises:
            RecordingError: it cannot be written.
        """
        write_bytes(path, self.to_bytes())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Recording:
        """Read a file.

        Raises:
            RecordingError: it is missing, no recording, damaged, or of another version.
        """
        try:
            data = Path(path).read_bytes()
        except FileNotFoundError:
            raise RecordingError(f"no recording '{path}'") from None
        except (OSError, ValueError) as error:
            raise RecordingError(f"cannot read recording '{path}': {reason(error)}") from error
        return cls.from_bytes(data, f"recording '{path}'")

    def check(self, rom: str, title: str, build_id: str) -> None:
        """Refuse another cartridge or emulator than it was recorded with.

        Args:
            rom: SHA-1 of the cartridge.
            title: of the cartridge.
            build_id: of the emulator.

        Raises:
            RecordingError: the message names both.
        """
        if rom != self.rom:
            raise RecordingError(
                f"the recording is of another ROM ({self.title}, SHA-1 {self.rom}) than the one "
                f"here ({title}, SHA-1 {rom}); give that ROM, or record the race again on this one"
            )
        if build_id != self.build_id:
            raise RecordingError(
                "the recording is of another build of the emulator "
                f"({build_name(self.build_id)}), on which the same keys may lead elsewhere: "
                "install that build, or record the race again"
            )


def version_to_use(made_by: str) -> str:
    """What to do with a recording that this version of the package cannot drive.

    Args:
        made_by: of the recording.
    """
    if made_by == MADE_BY:
        return f"replay it with the sources that recorded it, another state of {made_by}"
    return f"replay it with {made_by or 'the version of mkds-gym that recorded it'}"


def _made_by(data: bytes) -> str:
    """What a file of whatever version says that it was made by; empty if it does not."""
    try:
        begin = _HEADER.size
        header = json.loads(data[begin : begin + _HEADER.unpack_from(data)[3]])
        return str(header["made_by"])
    except (ValueError, TypeError, KeyError):
        return ""


def memory_digest(console: Console) -> str:
    """SHA-256 of main memory, by which a replay is told from one that went another way."""
    return hashlib.sha256(console.ram.data).hexdigest()


def boot_digest(parameters: BootParameters) -> str:
    """SHA-256 of boot parameters, with the course that they hand over."""
    return hashlib.sha256(parameters.pack() + (parameters.course_data or b"")).hexdigest()


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
    """What JSON does not know: NumPy's numbers."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} cannot be written to a recording")


def _runs(keys: NDArray[np.uint16]) -> NDArray[Any]:
    """Runs of the same keys."""
    begins = np.flatnonzero(np.diff(keys.astype(np.int64), prepend=-1))
    runs = np.empty(len(begins), _RUN)
    runs["keys"] = keys[begins]
    runs["frames"] = np.diff(begins, append=len(keys))
    return runs


def _unroll(data: bytes) -> NDArray[np.uint16]:
    """Keys of each frame, out of deflated runs.

    Raises:
        ValueError: they make no sense.
    """
    runs = np.frombuffer(zlib.decompress(data), _RUN)
    if int(runs["frames"].sum(dtype=np.uint64)) > MAX_FRAMES:
        raise ValueError("more than a day of frames")
    if (runs["keys"] > ALL_KEYS).any():
        raise ValueError("keys that the console does not have")
    return np.repeat(runs["keys"].astype(np.uint16), runs["frames"])


def check_recording(recording: object) -> None:
    """See that a user gave a recording, and not its file.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(recording, Recording):
        raise TypeError(f"{recording!r} is no recording; Recording.load(path) reads a file")
