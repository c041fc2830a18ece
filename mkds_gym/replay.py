"""Replays: drive a recording again, frame by frame, exactly, with pictures and overlays.

```python
from mkds_gym.replay import Replay

with Replay(Recording.load("run.mkr"), overlays=["rays", "hud"]) as replay:
    for frame in replay:
        frame.picture, frame.race, frame.keys
```

On the command line: ``python -m mkds_gym.replay run.mkr --video run.mp4``.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mkds_gym.cartridge import Cartridge
from mkds_gym.console import SCREENS, Console
from mkds_gym.core import installed_build_id
from mkds_gym.course import Course
from mkds_gym.errors import NoRaceError, RecordingError, StateError
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.memory import Layout
from mkds_gym.overlays import (
    OverlayLike,
    OverlayScene,
    SceneRecorder,
    draw_overlays,
    make_overlays,
)
from mkds_gym.races import RaceArguments, Races, boot_to_race, race_config
from mkds_gym.recording import Recording, boot_digest, memory_digest
from mkds_gym.state import RaceReader, RaceState

logger = logging.getLogger(__name__)


def boot_parameters(recording: Recording, cartridge: Cartridge) -> BootParameters | None:
    """The boot parameters of a recording's start; None where there are none.

    Raises:
        RecordingError: this version of the package makes others of the same arguments.
    """
    start = recording.start
    if start.race is None:
        return None
    try:
        races = Races(cartridge, RaceArguments(**start.race), has_state=False)
        parameters = races.parameters(start.course_seed)
    except (TypeError, ValueError) as error:
        raise RecordingError(f"the race of the recording cannot be started: {error}") from error
    if start.kind == "power_on":
        parameters = replace(parameters, skip_countdown=not start.countdown)
    if boot_digest(parameters) != start.digest:
        raise RecordingError(
            "the race of the recording is another one in this version of mkds-gym (its course or "
            "its boot parameters have changed); replay it with the version that recorded it"
        )
    return parameters


def open_start(
    recording: Recording,
    *,
    rom: str | os.PathLike[str] | Cartridge | None = None,
    state: str | os.PathLike[str] | bytes | None = None,
) -> Console:
    """A console at the start of a recording.

    Args:
        recording: what is to be driven again.
        rom: the cartridge; None for what `Cartridge.open` finds.
        state: the savestate that it starts at, if the file is no longer where it was.

    Raises:
        RecordingError: cartridge, emulator, recompiler, state or version are not those that it
            was recorded with.
        CartridgeError, ConsoleError: there is no cartridge or no emulator.
    """
    cartridge = rom if isinstance(rom, Cartridge) else Cartridge.open(rom)
    recording.check(cartridge.sha1, cartridge.title, installed_build_id())
    parameters = boot_parameters(recording, cartridge)
    console = Console(
        cartridge,
        jit=recording.jit,
        on_power_on=None if parameters is None else parameters.write,
    )
    try:
        if console.capabilities.jit != recording.jit:
            raise RecordingError(
                "the recording was made with the emulator's recompiler, which is not in use here; "
                "the interpreter's timing is another"
            )
        _go_to_start(recording, console, parameters, state)
    except BaseException:
        console.close()
        raise
    return console


def _go_to_start(
    recording: Recording,
    console: Console,
    parameters: BootParameters | None,
    state: str | os.PathLike[str] | bytes | None,
) -> None:
    start = recording.start
    if start.kind == "race":
        assert parameters is not None
        boot_to_race(console, parameters)
        console.restore(console.snapshot())  # as an environment does: compiled code is forgotten
        if start.race_seed is not None:
            layout = Layout.detect(console.ram, console.cartridge.region)
            race_config(console.ram, layout)["rng_seed"] = start.race_seed
    elif start.kind == "state":
        source = state or recording.state or start.path
        assert source is not None
        try:
            console.load_state(source)
        except StateError as error:
            raise RecordingError(
                f"the recording starts at a savestate that cannot be loaded: {error}; give its "
                "place (--state)"
            ) from error
        if recording.state is None or state is not None:
            digest = hashlib.sha256(console.snapshot().data).hexdigest()
            if digest != start.digest:
                raise RecordingError(
                    f"the savestate '{start.path if state is None else state!s}' is not the one "
                    "that the recording starts at; give its place (--state)"
                )


@dataclass(frozen=True)
class ReplayFrame:
    """One frame of a replay.

    Attributes:
        number: frames since the start, 1 is the first.
        keys: that were held in it.
        race: the race after it; None where none runs (a menu).
        picture: uint8 RGB (192, 256, 3), or (384, 256, 3) of both screens; None where none was
            asked for.
        scene: what overlays draw of the picture; None without a race or pictures.
    """

    number: int
    keys: int
    race: RaceState | None
    picture: NDArray[np.uint8] | None
    scene: OverlayScene | None


class Replay:
    """A recording that is driven again.

    Iterate over it once; it is a context manager, and closes its console.

    Args:
        recording: what is driven.
        rom: the cartridge; None for what `Cartridge.open` finds.
        state: the savestate that it starts at, if the file is no longer where it was.
        overlays: drawn over the pictures, as `MKDSEnv`'s argument.
        screens: ``"top"``, ``"bottom"`` or ``"both"``.
        pictures: take a picture of each frame; without, a replay is faster.
        every: pictures of each n-th frame only, and of the last.
        verify: see at the end that memory is what it was.

    Attributes:
        console: that drives.
        recording: as given.
        course: that is driven; None before a race.

    Raises:
        RecordingError: it cannot be driven here, see `open_start`; or, at the end, the race went
            another way.
        ValueError, TypeError: a wrong argument.
    """

    def __init__(
        self,
        recording: Recording,
        *,
        rom: str | os.PathLike[str] | Cartridge | None = None,
        state: str | os.PathLike[str] | bytes | None = None,
        overlays: OverlayLike | Sequence[OverlayLike] = (),
        screens: str = "top",
        pictures: bool = True,
        every: int = 1,
        verify: bool = True,
    ) -> None:
        if screens not in SCREENS:
            raise ValueError(f"screens={screens!r}; allowed: {', '.join(SCREENS)}")
        if every < 1:
            raise ValueError(f"every={every}; allowed: 1 and up")
        self._overlays = make_overlays(overlays)
        self._screens = screens
        self._pictures = pictures
        self._every = every
        self._verify = verify
        self._scenes = SceneRecorder()
        self._reader: RaceReader | None = None
        self.recording = recording
        self.course: Course | None = None
        self.console = open_start(recording, rom=rom, state=state)

    def __enter__(self) -> Replay:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the console; the second time does nothing."""
        self.console.close()

    def __len__(self) -> int:
        """How many frames it has."""
        return self.recording.frames

    def __iter__(self) -> Iterator[ReplayFrame]:
        last = self.recording.frames
        self._find_race()
        for number, keys in enumerate(self.recording.keys.tolist(), 1):
            wanted = self._pictures and ((number - 1) % self._every == 0 or number == last)
            self.console.step(keys, 1, self._pictures)
            race = self._read(keys)
            picture = scene = None
            if wanted:
                picture, scene = self._look(race)
            yield ReplayFrame(number, keys, race, picture, scene)
        self.check()

    def run(self) -> None:
        """Drive it to the end, without pictures.

        Raises:
            RecordingError: the race went another way.
        """
        for keys in self.recording.keys.tolist():
            self.console.step(keys, 1, draw=False)
        self.check()

    def check(self) -> None:
        """Compare memory with what it was at the end of the recording.

        Raises:
            RecordingError: it is another.
        """
        wanted = self.recording.ram
        if self._verify and wanted and memory_digest(self.console) != wanted:
            raise RecordingError(
                "the race went another way than when it was recorded: memory differs at the end "
                "(the recording was changed, or the emulator does not run as it did)"
            )

    # Within -----------------------------------------------------------------------------------

    def _find_race(self) -> None:
        """Look for a race in memory; there is none in a menu."""
        ram = self.console.ram
        try:
            layout = Layout.detect(ram, self.console.cartridge.region)
            reader = RaceReader(ram, layout)
            reader.read()
            self.course = Course.from_ram(ram, layout)
            self._scenes.start(reader)
        except (NoRaceError, ValueError):
            return
        self._reader = reader

    def _read(self, keys: int) -> RaceState | None:
        if self._reader is None:
            self._find_race()
        if self._reader is None:
            return None
        try:
            race = self._reader.read()
            if self._pictures:
                self._scenes.frame(race, keys)
        except NoRaceError:
            self._reader = self.course = None
            return None
        return race

    def _look(self, race: RaceState | None) -> tuple[NDArray[np.uint8], OverlayScene | None]:
        picture = self.console.screen(self._screens)
        if race is None or self.course is None:
            return picture, None
        scene = self._scenes.scene(self.course)
        if self._overlays and self._screens != "bottom":
            picture = draw_overlays(self._overlays, picture, scene, self.course)
        return picture, scene


def verify(
    recording: Recording,
    *,
    rom: str | os.PathLike[str] | Cartridge | None = None,
    state: Any = None,
) -> None:
    """Drive a recording again, and see that it ends in the same memory.

    Raises:
        RecordingError: it does not, or cannot be driven here.
    """
    with Replay(recording, rom=rom, state=state, pictures=False) as replay:
        replay.run()
