"""Replays: drive a recording again, frame by frame, exactly, with pictures and overlays.

```python
from mkds_gym.replay.replay import Replay

with Replay(Recording.load("run.mkr"), overlays=["rays", "hud"]) as replay:
    for frame in replay:
        frame.picture, frame.race, frame.keys
```

On the command line: ``python -m mkds_gym.replay run.mkr --show``, or ``--video run.mp4``; without
anything to show or to write, it says whether the race ends as it did.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.components.actions import actions_for
from mkds_gym.course import Course
from mkds_gym.display.video import (
    race_caption,
    tiles,
)
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.console import SCREENS, Console
from mkds_gym.emulator.hardware import FRAMES_PER_SECOND
from mkds_gym.emulator.loader import installed_build_id
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
    Ghost,
    Ghosts,
    LiveRace,
    LiveReward,
    Overlay,
    OverlayLike,
    OverlayScene,
    draw_overlays,
    make_overlays,
    pose,
)
from mkds_gym.race.memory_layout import MemoryLayout
from mkds_gym.race.reader import RaceReader
from mkds_gym.race.state import RaceState
from mkds_gym.recording.format import (
    MADE_BY,
    Recording,
    boot_digest,
    check_recording,
    memory_digest,
    version_to_use,
)
from mkds_gym.utils.arguments import as_list

_DRAWN_AHEAD: Final = 2
"""Frames ahead of which the emulator decides what it draws: a picture needs that one drawn."""


def boot_parameters(recording: Recording, cartridge: Cartridge) -> BootParameters | None:
    """The boot parameters of a recording's start; None where there are none.

    Raises:
        RecordingError: this version of the package makes others of the same arguments.
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
            f"the race of the recording is another one in this version ({MADE_BY}; its course or "
            f"its boot parameters have changed); {version_to_use(recording.made_by)}"
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
        TypeError: that is no recording.
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
            layout = MemoryLayout.detect(console.ram, console.cartridge.region)
            race_config_record(console.ram, layout)["rng_seed"] = start.race_seed
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
        race: the race after it; None where none runs (a title, a menu).
        picture: uint8 RGB (192, 256, 3), or (384, 256, 3) of both screens; None where none was
            asked for.
        scene: what overlays draw of the picture; None without a race or pictures.
    """

    number: int
    keys: int
    race: RaceState | None
    picture: NDArray[np.uint8] | None
    scene: OverlayScene | None


def _live_reward(recording: Recording) -> LiveReward | None:
    """The reward that a driver was paid; None if that cannot be told.

    It can be of the rewards that have a name, as a recording holds nothing else of them.
    """
    named = recording.environment.get("reward")
    with contextlib.suppress(ValueError):
        if isinstance(named, str):
            frame_skip = int(recording.environment.get("frame_skip", 1))
            return LiveReward(named, frame_skip=frame_skip, lead=recording.lead)
    return None


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
        every: pictures of each n-th frame only, from the first step on, and of the last.
        verify: see at the end that memory is what it was.

    Attributes:
        console: that drives.
        recording: as given.

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
        """Close the console; the second time does nothing."""
        self.console.close()

    @property
    def course(self) -> Course | None:
        """The course that is driven; None before a race."""
        return self._live.course

    def __len__(self) -> int:
        """How many frames it has."""
        return self.recording.frames

    def __iter__(self) -> Iterator[ReplayFrame]:
        # In the frames before the first step, the picture is not yet that of this race.
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
                picture, scene = self._look()
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

    def _look(self) -> tuple[NDArray[np.uint8], OverlayScene | None]:
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
    """Drive a recording again, and see that it ends in the same memory.

    Raises:
        RecordingError: it does not, or cannot be driven here.
    """
    with Replay(recording, rom=rom, state=state, pictures=False) as replay:
        replay.run()


def ghost(
    recording: Recording,
    *,
    rom: str | os.PathLike[str] | Cartridge | None = None,
    state: Any = None,
) -> tuple[Ghost, int | None]:
    """Drive a recording again, and note where the kart is, for the overlay of ghosts.

    Returns:
        The ghost, and the fingerprint of its course.

    Raises:
        RecordingError: it cannot be driven here, or goes another way.
    """
    poses = {}
    course = None
    with Replay(recording, rom=rom, state=state, pictures=False) as replay:
        for _, race in _first_race(replay):
            poses[race.frame] = pose(race)
            course = course or replay.course
    return Ghost(recording.label, poses), None if course is None else course.fingerprint


@dataclass(frozen=True)
class Show:
    """How recordings are shown; the arguments are those of `Replay`.

    Attributes:
        overlays: drawn over each driver's picture.
        screens: ``"top"``, ``"bottom"`` or ``"both"``.
        every: pictures of each n-th frame only.
        ghosts: the first driver's picture, with the others drawn into it; else, of several, all
            side by side.
        rom: the cartridge.
        state: the savestate that they start at, if its file is no longer where it was.
    """

    overlays: OverlayLike | Sequence[OverlayLike] = ()
    screens: str = "top"
    every: int = 1
    ghosts: bool = False
    rom: str | os.PathLike[str] | None = None
    state: str | os.PathLike[str] | None = None


def show(
    recordings: Sequence[Recording], how: Show | None = None
) -> Iterator[tuple[NDArray[np.uint8], str]]:
    """Pictures of one or more drivers, and what to write under each.

    Several side by side are at the same time of the race clock: what was before the race (menus, a
    countdown) is left out, who started later waits, and those who have arrived wait too.

    Args:
        recordings: of the same race; each is checked as it ends.
        how: see `Show`.

    Yields:
        uint8 RGB (height, width, 3), all of one size, and a caption of lap and race clock.

    Raises:
        RecordingError: one cannot be driven here, or went another way; or, of several, they drove
            on different courses, or one holds no race.
    """
    how = how or Show()
    if not recordings:
        raise ValueError("there is no recording to show")
    overlays: list[Any] = list(as_list("overlays", how.overlays, str | int | Overlay))
    wanted = None
    if how.ghosts and len(recordings) > 1:
        others = [ghost(each, rom=how.rom, state=how.state) for each in recordings[1:]]
        _check_courses(course for _, course in others)
        overlays.append(Ghosts([each for each, _ in others]))
        wanted = others[0][1]
        recordings = recordings[:1]
    with contextlib.ExitStack() as stack:
        replays = [
            stack.enter_context(
                Replay(
                    each,
                    rom=how.rom,
                    state=how.state,
                    overlays=overlays,
                    screens=how.screens,
                    every=how.every,
                )
            )
            for each in recordings
        ]
        if len(replays) > 1:
            yield from _side_by_side(replays, how.every)
            return
        for frame in replays[0]:
            if wanted is not None and replays[0].course is not None:
                _check_courses([wanted, replays[0].course.fingerprint])
            if frame.picture is not None:
                yield frame.picture, _caption(frame)


def _check_courses(fingerprints: Iterable[int | None]) -> None:
    if len(set(fingerprints)) > 1:
        raise RecordingError(
            "the recordings are of different courses; drivers are shown beside others, and as "
            "ghosts, on one course"
        )


def _side_by_side(replays: Sequence[Replay], every: int) -> Iterator[tuple[NDArray[np.uint8], str]]:
    """See `show`."""
    sources = [_race_pictures(replay) for replay in replays]
    ahead = [next(source, None) for source in sources]
    shown: list[ReplayFrame] = []
    for frame, replay in zip(ahead, replays, strict=True):
        if frame is None:
            raise RecordingError(
                f"the recording of {replay.recording.label or 'a driver'} holds no race; it cannot "
                "be shown beside others"
            )
        shown.append(frame)
    _check_courses(replay.course.fingerprint for replay in replays if replay.course is not None)
    clock = min(map(_clock, shown))
    while any(frame is not None for frame in ahead):
        for number, source in enumerate(sources):
            while (following := ahead[number]) is not None and _clock(following) <= clock:
                shown[number], ahead[number] = following, next(source, None)
        captions = [
            f"{replay.recording.label}  {_caption(frame)}".strip()
            for replay, frame in zip(replays, shown, strict=True)
        ]
        yield tiles([frame.picture for frame in shown if frame.picture is not None], captions), ""
        clock += every


def _race_pictures(replay: Replay) -> Iterator[ReplayFrame]:
    """Those pictures of a replay's first race in which the race clock runs.

    The replay is driven to its end all the same, where it is checked.
    """
    clock = 0
    for frame, race in _first_race(replay):
        if frame.picture is not None and race.frame > clock:
            yield frame
            clock = race.frame


def _first_race(replay: Replay) -> Iterator[tuple[ReplayFrame, RaceState]]:
    """The frames of a replay's first race, countdown included."""
    clock, begun, over = 0, False, False
    for frame in replay:
        race = frame.race
        on = race is not None and race.frame >= clock
        over = over or (begun and not on)  # a menu, or another race
        if on and not over:
            assert race is not None
            begun, clock = True, race.frame
            yield frame, race


def _clock(frame: ReplayFrame) -> int:
    """The race clock of a frame of `_race_pictures`."""
    assert frame.race is not None
    return frame.race.frame


def _caption(frame: ReplayFrame) -> str:
    """Lap and race clock in the picture, which shows an earlier race than memory holds."""
    race = frame.race if frame.scene is None else frame.scene.race
    if race is None:
        return f"frame {frame.number}"
    seconds = race.total_time if race.finished else race.frame / FRAMES_PER_SECOND
    return race_caption(race.lap, seconds)


def environment(
    recording: Recording,
    *,
    rom: str | os.PathLike[str] | None = None,
    state: Any = None,
    frame_skip: int | None = None,
    action_type: str = "keymask",
    **arguments: Any,
) -> tuple[MKDSEnv, NDArray[Any]]:
    """An environment whose episodes start where a recording's race does, and the actions there.

    ```python
    env, keys = environment(read_movie("run.dsm"), obs_type="pixels")
    env.reset()
    for mask in keys:
        observation, reward, terminated, truncated, info = env.step(int(mask))
    ```

    The race is found by driving the recording until one runs (or its countdown), and no key is
    held for the frames that a reset runs.

    Args:
        recording: of whatever start.
        rom: see `Replay`.
        state: see `Replay`.
        frame_skip: frames per step; None is the recording's own.
        action_type: of the environment and of the actions, see `actions_for`; of
            ``"keymask"``, an action is a mask of `Keys`.
        arguments: others of `MKDSEnv`.

    Returns:
        The environment, not yet reset, and an action for each step: (steps,), or (steps, 11) of
        ``keys``. Frames that do not make up a step are left out at the end.

    Raises:
        RecordingError: it cannot be driven here, holds no race, or changes keys within a step.
        ValueError: the action type has no action for some of the keys; a wrong argument.
        TypeError: that is no recording.
    """
    check_recording(recording)
    skip = int(recording.environment.get("frame_skip", 1)) if frame_skip is None else frame_skip
    with Replay(recording, rom=rom, state=state, pictures=False) as replay:
        start, first = _race_start(replay)
    left = recording.keys[first + PRIMING_FRAMES :]
    steps = left[: len(left) // skip * skip].reshape(-1, skip)
    if (steps != steps[:, :1]).any():
        raise RecordingError(
            f"the recording's keys change within steps of {skip} frames; pass frame_skip=1"
        )
    actions = actions_for(action_type, steps[:, 0])
    env = MKDSEnv(rom, start, action_type=action_type, frame_skip=skip, **arguments)
    return env, actions


def _race_start(replay: Replay) -> tuple[bytes, int]:
    """Savestate of the first frame from which an environment can start, and its number."""
    keys = replay.recording.keys
    console = replay.console
    for number in range(len(keys) - PRIMING_FRAMES):
        if not keys[number : number + PRIMING_FRAMES].any():
            with contextlib.suppress(NoRaceError):
                layout = MemoryLayout.detect(console.ram, console.cartridge.region)
                if RaceReader(console.ram, layout).read().race_on:
                    saved = console.save_state()
                    assert saved is not None
                    return saved, number
        console.step(int(keys[number]), 1, draw=False)
    raise RecordingError(
        f"the recording has no race in which no key is held for {PRIMING_FRAMES} frames"
    )
