"""Replays: drive a recording again, frame by frame, exactly, with pictures and overlays.

```python
from mkds_gym.replay import Replay

with Replay(Recording.load("run.mkr"), overlays=["rays", "hud"]) as replay:
    for frame in replay:
        frame.picture, frame.race, frame.keys
```

On the command line: ``python -m mkds_gym.replay run.mkr --show``, or ``--video run.mp4``; without
anything to show or to write, it says whether the race ends as it did.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.actions import actions_for
from mkds_gym.cartridge import Cartridge
from mkds_gym.console import SCREENS, Console
from mkds_gym.core import installed_build_id
from mkds_gym.course import Course
from mkds_gym.env import MKDSEnv
from mkds_gym.errors import MKDSError, NoRaceError, RecordingError, StateError
from mkds_gym.files import same_file, write_bytes
from mkds_gym.hardware import FRAMES_PER_SECOND
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.memory import Layout
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
from mkds_gym.race_starts import PRIMING_FRAMES
from mkds_gym.races import RaceArguments, Races, boot_to_race, race_config
from mkds_gym.recording import (
    MADE_BY,
    SUFFIX,
    Recording,
    boot_digest,
    check_recording,
    memory_digest,
    version_to_use,
)
from mkds_gym.registry import as_list
from mkds_gym.state import RaceReader, RaceState
from mkds_gym.video import (
    VIDEO_SUFFIXES,
    Thinned,
    VideoWriter,
    check_video,
    gif_bytes,
    race_caption,
    sheet_bytes,
    spread,
    tiles,
)
from mkds_gym.window import DEFAULT_SCALE, Window

GIF_EVERY: Final = 4
"""Frames per picture of a GIF at full speed: most viewers show no more than 20 a second."""
VIDEO_RATE: Final = 60
"""Pictures a second that a video has at the most, however fast the race goes by in it."""
GIF_PICTURES: Final = 1200
"""Pictures from which on a GIF has every second one only, and so on."""
SHEET_CHOICE: Final = 16
"""Pictures held for each one of a sheet, at the most, of which the evenly spread ones are taken."""
HELD: Final = 256 << 20
"""Bytes of pictures from which on fewer are held, for either: those of many drivers are large."""
_DRAWN_AHEAD: Final = 2
"""Frames ahead of which the emulator decides what it draws: a picture needs that one drawn."""
SHEET_WIDTH: Final = 1024
"""Pixels that the pictures in a row of a sheet take, if they are not larger."""


_PLAYED: Final = ("show", "video", "gif")
_PICTURED: Final = (*_PLAYED, "sheet")
_LOOKS: Final = {
    "overlays": _PICTURED,
    "screens": _PICTURED,
    "ghosts": _PICTURED,
    "scale": _PLAYED,
    "speed": _PLAYED,
    "pictures": ("sheet",),
}
"""Options of how it looks, and those of which there must be one, or nothing would look so."""


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
        action_type: of the environment and of the actions, see `mkds_gym.actions.actions_for`; of
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
                layout = Layout.detect(console.ram, console.cartridge.region)
                if RaceReader(console.ram, layout).read().race_on:
                    saved = console.save_state()
                    assert saved is not None
                    return saved, number
        console.step(int(keys[number]), 1, draw=False)
    raise RecordingError(
        f"the recording has no race in which no key is held for {PRIMING_FRAMES} frames"
    )


# The command line -----------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mkds_gym.replay",
        description="Drive recordings again. Without anything to show or to write, it says whether "
        "each ends as it did. Several are shown side by side, or as ghosts of the first.",
    )
    parser.add_argument(
        "recordings", nargs="+", metavar="RECORDING", help=".mkr, or DeSmuME's .dsm"
    )
    parser.add_argument("--rom", metavar="FILE", help="the cartridge that they were driven on")
    parser.add_argument("--state", metavar="FILE", help="the savestate, if it was moved")
    parser.add_argument(
        "--show", action="store_true", help="in a window: P pauses, ESC closes it (needs pygame-ce)"
    )
    out = parser.add_argument_group("what to write")
    out.add_argument("--video", metavar="FILE", help=f"a video: {', '.join(VIDEO_SUFFIXES)}")
    out.add_argument("--gif", metavar="FILE", help="an animated GIF")
    out.add_argument("--sheet", metavar="FILE", help="a PNG of pictures evenly spread")
    out.add_argument("--movie", metavar="FILE", help="the first as DeSmuME's movie (.dsm)")
    out.add_argument("--save", metavar="FILE", help="the first as a recording (.mkr)")
    look = parser.add_argument_group("how it looks")
    look.add_argument("--overlays", metavar="A,B", default="", help="such as rays,hud")
    look.add_argument("--screens", choices=tuple(SCREENS), default="top")
    look.add_argument("--ghosts", action="store_true", help="the others drawn into one picture")
    look.add_argument("--scale", type=int, choices=range(1, 9), metavar="1-8", help="2, of a GIF 1")
    look.add_argument("--speed", type=float, default=1.0, metavar="X", help="0.1 to 16")
    look.add_argument("--pictures", type=int, default=12, metavar="N", help="on the sheet, 1-100")
    look.add_argument("--names", metavar="A,B", help="of the drivers, instead of the recorded ones")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the words behind the command; None takes the process's own.

    Returns:
        0, or 1 when a recording cannot be driven or a file cannot be written.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if not 0.1 <= options.speed <= 16:
        parser.error(f"--speed {options.speed}: allowed: 0.1 to 16")
    if not 1 <= options.pictures <= 100:
        parser.error(f"--pictures {options.pictures}: allowed: 1 to 100")
    if options.ghosts and len(options.recordings) < 2:
        parser.error("--ghosts: give the first driver's recording, and those of others")
    for look, outputs in _LOOKS.items():
        given = getattr(options, look) != parser.get_default(look)
        if given and not any(getattr(options, output) for output in outputs):
            *others, last = (f"--{output}" for output in outputs)
            wanted = f"{', '.join(others)} or {last}" if others else last
            parser.error(f"--{look} changes nothing here; it is for {wanted}")
    names = None if options.names is None else options.names.split(",")
    if names is not None and len(names) != len(options.recordings):
        parser.error(f"--names {options.names}: wanted are {len(options.recordings)} names")
    try:
        _run(options, names)
    except (MKDSError, ValueError, TypeError) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _check_outputs(options: argparse.Namespace) -> None:
    """See that what is to be written can be, before a race is driven for it.

    Raises:
        RecordingError: one has no folder or another suffix, or is read here or written twice.
    """
    suffixes = {"gif": ".gif", "sheet": ".png", "save": SUFFIX}
    taken = [path for path in (*options.recordings, options.rom, options.state) if path is not None]
    for name in ("video", "gif", "sheet", "movie", "save"):
        path = getattr(options, name)
        if path is None:
            continue
        if Path(path).is_dir() or not Path(path).parent.is_dir():
            raise RecordingError(f"cannot write '{path}': it is no file in an existing folder")
        suffix = suffixes.get(name)
        if suffix is not None and Path(path).suffix.lower() != suffix:
            raise RecordingError(f"cannot write '{path}': the suffix of --{name} is {suffix}")
        if any(same_file(path, other) for other in taken):
            raise RecordingError(
                f"cannot write '{path}' (--{name}): the command reads or writes it already; choose "
                "another name"
            )
        taken.append(path)
    if options.video:
        check_video(options.video)


def _run(options: argparse.Namespace, names: Sequence[str] | None) -> None:
    from mkds_gym import movie  # which imports this module

    _check_outputs(options)
    recordings = [
        movie.read_movie(path, Cartridge.open(options.rom))
        if Path(path).suffix == movie.SUFFIX
        else Recording.load(path)
        for path in options.recordings
    ]
    if options.state and not any(each.start.kind == "state" for each in recordings):
        raise RecordingError(
            f"--state {options.state}: no recording here starts at a savestate; leave it out"
        )
    for number, path in enumerate(options.recordings):
        label = names[number] if names else recordings[number].label or Path(path).stem
        recordings[number] = replace(recordings[number], label=label)
    overlays = [name for name in options.overlays.split(",") if name]
    make_overlays(overlays)
    if options.save:
        recordings[0].save(options.save)
        print(f"{recordings[0].describe()}: {options.save}")
    if options.movie:
        files = movie.write_movie(recordings[0], options.movie, options.rom)
        print(f"{recordings[0].describe()}: {', '.join(map(str, files))}")
    pictures = options.video or options.gif or options.sheet
    if options.show or pictures:
        every = math.gcd(GIF_EVERY, _gif_every(options))
        if options.video:
            every = math.gcd(every, _video_every(options))
        how = Show(
            overlays=overlays,
            screens=options.screens,
            every=1 if options.show else every,
            ghosts=options.ghosts,
            rom=options.rom,
            state=options.state,
        )
        _show(options, recordings, how)
    elif not (options.movie or options.save):
        for recording in recordings:
            verify(recording, rom=options.rom, state=options.state)
            _tell_end(recording)


def _tell_end(recording: Recording) -> None:
    ends = "ends as it did" if recording.ram else "driven (it says not how it ended)"
    print(f"{recording.describe()}: {ends}")


def _show(options: argparse.Namespace, recordings: Sequence[Recording], how: Show) -> None:
    """Show recordings in a window, and write what has pictures."""
    gif_every, video_every = _gif_every(options), _video_every(options)
    gif: Thinned[NDArray[np.uint8]] | None = None
    sheet: Thinned[tuple[NDArray[np.uint8], str]] | None = None
    with contextlib.ExitStack() as stack:
        video = screening = None
        if options.video:
            rate = FRAMES_PER_SECOND * options.speed / video_every
            video = stack.enter_context(VideoWriter(options.video, rate, options.scale or 2))
        if options.show:
            screening = stack.enter_context(
                _Screening(", ".join(each.label for each in recordings), options)
            )
        for number, (picture, caption) in enumerate(show(recordings, how)):
            if video is not None and number * how.every % video_every == 0:
                video.write(picture)
            room = HELD // picture.nbytes
            if options.gif and number * how.every % gif_every == 0:
                gif = gif or Thinned(min(GIF_PICTURES, room) // 2)
                gif.add(picture)
            if options.sheet and number * how.every % GIF_EVERY == 0:
                sheet = sheet or Thinned(min(SHEET_CHOICE * options.pictures, room) // 2)
                sheet.add((picture, caption))
            if screening is not None:
                screening.show(picture)
                if screening.closed and not (options.video or options.gif or options.sheet):
                    return
    written = [options.video] if options.video else []
    if options.gif:
        kept = [] if gif is None else gif.kept
        frames = gif_every * (1 if gif is None else gif.stride)
        seconds = frames / FRAMES_PER_SECOND / options.speed
        write_bytes(options.gif, gif_bytes(kept, seconds, scale=options.scale or 1))
        written.append(options.gif)
    if options.sheet:
        stills = [] if sheet is None else sheet.kept
        chosen = [stills[i] for i in spread(len(stills), min(options.pictures, len(stills)))]
        pictures, captions = [each for each, _ in chosen], [caption for _, caption in chosen]
        columns = max(SHEET_WIDTH // pictures[0].shape[1], 1) if pictures else 1
        write_bytes(options.sheet, sheet_bytes(pictures, captions, columns))
        written.append(options.sheet)
    if written:
        print(f"{', '.join(each.describe() for each in recordings)}: {', '.join(written)}")
    else:
        for recording in recordings:
            _tell_end(recording)


def _gif_every(options: argparse.Namespace) -> int:
    """Frames of the race per picture of a GIF: the faster it goes by, the more."""
    return max(round(GIF_EVERY * float(options.speed)), 1)


def _video_every(options: argparse.Namespace) -> int:
    """Frames of the race per picture of a video."""
    return math.ceil(FRAMES_PER_SECOND * float(options.speed) / VIDEO_RATE)


class _Screening:
    """The window of ``--show``; a context manager."""

    def __init__(self, title: str, options: argparse.Namespace) -> None:
        self._paused = False
        self._window = Window(
            f"{title} - P pauses",
            FRAMES_PER_SECOND * options.speed,
            options.scale or DEFAULT_SCALE,
            on_event=self._on_event,
            wanted_by="mkds_gym.replay --show",
            instead="--video writes a file instead",
            must_be_seen=True,
        )

    def __enter__(self) -> _Screening:
        return self

    def __exit__(self, *_: object) -> None:
        self._window.close()

    @property
    def closed(self) -> bool:
        """The user has closed it."""
        return self._window.closed

    def show(self, picture: NDArray[np.uint8]) -> None:
        """Show a picture, for as long as it is due, or the pause lasts."""
        self._window.show(picture)
        while self._paused and not self.closed:
            self._window.show(picture)

    def _on_event(self, event: Any) -> None:
        import pygame

        if event.type == pygame.KEYDOWN and event.key == pygame.K_p:
            self._paused = not self._paused


if __name__ == "__main__":
    sys.exit(main())
