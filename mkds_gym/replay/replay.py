"""`Replay`: drive a recording again, frame by frame and exactly, with pictures and overlays.

```python
from mkds_gym.replay import Replay

with Replay(Recording.load("run.mkr"), overlays=["rays", "hud"]) as replay:
    for frame in replay:
        frame.picture, frame.race, frame.keys
```

On the command line: ``python -m mkds_gym.replay run.mkr --show``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.components.actions import actions_for
from mkds_gym.course import Course
from mkds_gym.course.progress import race_reader
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.console import SCREENS, Console
from mkds_gym.emulator.desmume.loader import installed_build_id
from mkds_gym.env import MKDSEnv
from mkds_gym.episodes.race_config import (
    RaceArguments,
    RaceConfig,
    boot_to_race,
    race_config_record,
)
from mkds_gym.episodes.race_start import PRIMING_FRAMES
from mkds_gym.errors import NoRaceError, RecordingError, StateError
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.overlays import (
    LiveRace,
    LiveReward,
    OverlayLike,
    OverlayScene,
    draw_overlays,
    make_overlays,
)
from mkds_gym.race.memory_layout import MemoryLayout
from mkds_gym.race.state import RaceState
from mkds_gym.recording.format import (
    MADE_BY,
    Recording,
    boot_digest,
    check_recording,
    memory_digest,
    version_to_use,
)
from mkds_gym.utils.arguments import choice, integer

_DRAWN_AHEAD: Final = 2
"""The emulator decides two frames ahead whether to draw a frame."""


def boot_parameters(recording: Recording, cartridge: Cartridge) -> BootParameters | None:
    """Return the boot parameters of a recording's start, or None.

    Raises:
        RecordingError: this version of the package has other parameters for the same race.
    """
    start = recording.start
    if start.race is None:
        return None
    try:
        races = RaceConfig(cartridge, RaceArguments(**start.race), has_state=False)
        parameters = races.boot_parameters(start.course_seed)
    except (TypeError, ValueError) as error:
        raise RecordingError(f"the race of the recording cannot be started: {error}") from error
    if start.kind == "power_on":
        parameters = replace(parameters, skip_countdown=not start.countdown)
        if start.race_seed is not None:
            parameters = replace(parameters, seed=start.race_seed)
    if boot_digest(parameters) != start.digest:
        raise RecordingError(
            f"the race of the recording is different in this version ({MADE_BY}): its course or "
            f"its boot parameters have changed; {version_to_use(recording.made_by)}"
        )
    return parameters


def open_start(
    recording: Recording,
    *,
    rom: str | os.PathLike[str] | Cartridge | None = None,
    state: str | os.PathLike[str] | bytes | None = None,
) -> Console:
    """Return a console at the start of a recording.

    Args:
        recording: the recording.
        rom: the cartridge; None for the one that `Cartridge.open` finds.
        state: the savestate at the start, if its file was moved.

    Raises:
        RecordingError: the recording was made with another cartridge, emulator, recompiler,
            savestate or version.
        CartridgeError, ConsoleError: the cartridge or the emulator cannot be used.
        TypeError: ``recording`` is not a `Recording`.
    """
    check_recording(recording)
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
                "the recording was made with the emulator's recompiler, which is off here; the "
                "interpreter has another timing"
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
        console.restore(console.snapshot())  # discards compiled code, as an environment does
        if start.race_seed is not None:
            layout = MemoryLayout.detect(console.ram, console.cartridge.region)
            race_config_record(console.ram, layout)["rng_seed"] = start.race_seed
    elif start.kind == "state":
        source = state or recording.state or start.path
        assert source is not None
        try:
            console.load_state(source)
        except StateError as error:
            raise RecordingError(
                f"the savestate at the start of the recording cannot be loaded: {error}; pass its "
                "file (--state)"
            ) from error
        if recording.state is None or state is not None:
            digest = hashlib.sha256(console.snapshot().data).hexdigest()
            if digest != start.digest:
                raise RecordingError(
                    f"the savestate '{start.path if state is None else state!s}' is not the one at "
                    "the start of the recording; pass the right file (--state)"
                )


@dataclass(frozen=True)
class ReplayFrame:
    """One frame of a replay.

    Attributes:
        number: number of the frame, from 1.
        keys: keys held during the frame.
        race: the race after the frame; None without a race (title, menu).
        picture: uint8 RGB (192, 256, 3), or (384, 256, 3) for both screens; None if not
            requested.
        scene: the scene for overlays; None without a race or without pictures.
    """

    number: int
    keys: int
    race: RaceState | None
    picture: NDArray[np.uint8] | None
    scene: OverlayScene | None


def _live_reward(recording: Recording) -> LiveReward | None:
    """Return the reward of the recorded driver, or None if the reward has no name."""
    named = recording.environment.get("reward")
    with contextlib.suppress(ValueError):
        if isinstance(named, str):
            frame_skip = int(recording.environment.get("frame_skip", 1))
            return LiveReward(named, frame_skip=frame_skip, lead=recording.lead)
    return None


class Replay:
    """Drives a recording again.

    A replay can be iterated over once. As a context manager it closes its console.

    Args:
        recording: the recording.
        rom: the cartridge; None for the one that `Cartridge.open` finds.
        state: the savestate at the start, if its file was moved.
        overlays: overlays of the pictures, as for `MKDSEnv`.
        screens: ``"top"``, ``"bottom"`` or ``"both"``.
        pictures: take pictures; a replay without pictures is faster.
        every: take a picture of every n-th frame from the first step, and of the last frame.
        verify: compare main memory with the recording's at the end.

    Attributes:
        console: the console on which the replay runs.
        recording: the recording.

    Raises:
        RecordingError: the recording cannot be driven here, see `open_start`; or memory differs
            at the end.
        ValueError, TypeError: an argument is wrong.
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
        choice("screens", screens, SCREENS)
        integer("every", every, 1)
        check_recording(recording)
        self._overlays = make_overlays(overlays)
        self._screens = screens
        self._pictures = pictures
        self._every = every
        self._verify = verify
        self._reward = _live_reward(recording) if self._overlays and pictures else None
        self.recording = recording
        self.console = open_start(recording, rom=rom, state=state)
        self._live = LiveRace(self.console, scenes=pictures)

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
        """Close the console."""
        self.console.close()

    @property
    def course(self) -> Course | None:
        """The course of the race; None before a race."""
        return self._live.course

    def __len__(self) -> int:
        """Return the number of frames."""
        return self.recording.frames

    def __iter__(self) -> Iterator[ReplayFrame]:
        # Before the first step, the picture does not show this race yet.
        first, last = max(self.recording.lead, 1), self.recording.frames

        def wanted(number: int) -> bool:
            due = number >= first and (number - first) % self._every == 0
            return self._pictures and (due or number == last)

        for number, keys in enumerate(self.recording.keys.tolist(), 1):
            self.console.step(keys, 1, wanted(number + _DRAWN_AHEAD))
            race = self._live.frame(keys)
            if self._reward is not None:
                self._reward.frame(race, self.course)
            picture = scene = None
            if wanted(number):
                picture, scene = self._take_picture()
            yield ReplayFrame(number, keys, race, picture, scene)
        self.check()

    def run(self) -> None:
        """Drive to the end, without pictures.

        Raises:
            RecordingError: memory differs at the end.
        """
        for keys in self.recording.keys.tolist():
            self.console.step(keys, 1, draw=False)
        self.check()

    def check(self) -> None:
        """Compare memory with the end of the recording.

        Raises:
            RecordingError: memory differs.
        """
        wanted = self.recording.ram
        if self._verify and wanted and memory_digest(self.console) != wanted:
            raise RecordingError(
                "the replay differs from the recorded race: memory is different at the end (the "
                "recording was changed, or the emulator runs differently here)"
            )

    def _take_picture(self) -> tuple[NDArray[np.uint8], OverlayScene | None]:
        picture = self.console.screen(self._screens)
        if self._reward is None:
            scene = self._live.scene()
        else:
            scene = self._live.scene(reward=self._reward.reward, terms=self._reward.terms)
        if scene is not None and self._overlays and self._screens != "bottom":
            assert self.course is not None
            picture = draw_overlays(self._overlays, picture, scene, self.course)
        return picture, scene


def verify(
    recording: Recording,
    *,
    rom: str | os.PathLike[str] | Cartridge | None = None,
    state: Any = None,
) -> None:
    """Drive a recording again and check that it ends with the same memory.

    Raises:
        RecordingError: memory differs, or the recording cannot be driven here.
    """
    with Replay(recording, rom=rom, state=state, pictures=False) as replay:
        replay.run()


def environment(
    recording: Recording,
    *,
    rom: str | os.PathLike[str] | None = None,
    state: Any = None,
    frame_skip: int | None = None,
    action_type: str = "keymask",
    **arguments: Any,
) -> tuple[MKDSEnv, NDArray[Any]]:
    """Return an environment that starts at a recording's race, and the recorded actions.

    ```python
    env, keys = environment(read_movie("run.dsm"), obs_type="pixels")
    env.reset()
    for mask in keys:
        observation, reward, terminated, truncated, info = env.step(int(mask))
    ```

    The recording is driven until a race (or its countdown) runs and no key is held for the frames
    that a reset runs.

    Args:
        recording: a recording with any kind of start.
        rom: the cartridge; None for the one that `Cartridge.open` finds.
        state: the savestate at the start, if its file was moved.
        frame_skip: frames per step; None uses the recording's.
        action_type: action type of the environment and the actions, see `actions_for`; an action
            of ``"keymask"`` is a mask of `Keys`.
        arguments: further arguments of `MKDSEnv`; ``laps`` is the recording's if it is left out.

    Returns:
        The environment, not yet reset, and one action per step: (steps,), or (steps, 11) for
        ``keys``. Frames at the end that do not fill a step are dropped.

    Raises:
        RecordingError: the recording cannot be driven here, has no race, or changes keys within a
            step.
        ValueError: the action type has no action for some keys, or an argument is wrong.
        TypeError: ``recording`` is not a `Recording`.
    """
    check_recording(recording)
    skip = int(recording.environment.get("frame_skip", 1)) if frame_skip is None else frame_skip
    with Replay(recording, rom=rom, state=state, pictures=False) as replay:
        start, first = _race_start(replay)
    left = recording.keys[first + PRIMING_FRAMES :]
    steps = left[: len(left) // skip * skip].reshape(-1, skip)
    if (steps != steps[:, :1]).any():
        raise RecordingError(
            f"the keys of the recording change within steps of {skip} frames: pass frame_skip=1"
        )
    actions = actions_for(action_type, steps[:, 0])
    arguments = {"laps": recording.environment.get("laps"), **arguments}
    env = MKDSEnv(rom, start, action_type=action_type, frame_skip=skip, **arguments)
    return env, actions


def _race_start(replay: Replay) -> tuple[bytes, int]:
    """Return the savestate of the first frame where an environment can start, and its number."""
    keys = replay.recording.keys
    console = replay.console
    for number in range(len(keys) - PRIMING_FRAMES):
        if not keys[number : number + PRIMING_FRAMES].any():
            with contextlib.suppress(NoRaceError):
                layout = MemoryLayout.detect(console.ram, console.cartridge.region)
                if race_reader(console.ram, layout).read().race_on:
                    saved = console.save_state()
                    assert saved is not None
                    return saved, number
        console.step(int(keys[number]), 1, draw=False)
    raise RecordingError(f"the recording has no race with {PRIMING_FRAMES} frames without keys")
