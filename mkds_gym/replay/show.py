"""Show recordings: side by side, or as ghosts in one picture."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mkds_gym.display.video import race_caption, tiles
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.hardware import FRAMES_PER_SECOND
from mkds_gym.errors import RecordingError
from mkds_gym.overlays import Ghost, Ghosts, Overlay, OverlayLike, pose
from mkds_gym.race.state import RaceState
from mkds_gym.recording.format import Recording
from mkds_gym.replay.replay import Replay, ReplayFrame
from mkds_gym.utils.arguments import as_list


def ghost(
    recording: Recording,
    *,
    rom: str | os.PathLike[str] | Cartridge | None = None,
    state: Any = None,
) -> tuple[Ghost, int | None]:
    """Drive a recording again and return the kart's poses, for the overlay of ghosts.

    Returns:
        The ghost, and the fingerprint of its course.

    Raises:
        RecordingError: the recording cannot be driven here, or memory differs at the end.
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
    """How `show` shows recordings.

    Attributes:
        overlays: overlays of each driver's picture.
        screens: ``"top"``, ``"bottom"`` or ``"both"``.
        every: one picture per so many frames.
        ghosts: draw the other drivers into the picture of the first one, instead of all drivers
            side by side.
        rom: the cartridge; None for the one that `Cartridge.open` finds.
        state: the savestate at the start, if its file was moved.
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
    """Yield pictures of one or more drivers, each with a caption.

    Drivers side by side are synchronised by the race clock. Frames before the race (menus,
    countdown) are skipped; a driver who starts later or has finished waits.

    Args:
        recordings: recordings of the same race; the memory of each is checked at its end.
        how: how to show them.

    Yields:
        uint8 RGB (height, width, 3), all of one size, and a caption with lap and race clock.

    Raises:
        RecordingError: a recording cannot be driven here, or its memory differs at the end; or,
            of several recordings, the courses differ or one has no race.
        ValueError: no recording.
    """
    how = how or Show()
    if not recordings:
        raise ValueError("recordings is empty: expected at least one recording")
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
            "the recordings are of different courses: drivers side by side and ghosts need the "
            "same course"
        )


def _side_by_side(replays: Sequence[Replay], every: int) -> Iterator[tuple[NDArray[np.uint8], str]]:
    sources = [_race_pictures(replay) for replay in replays]
    ahead = [next(source, None) for source in sources]
    shown: list[ReplayFrame] = []
    for frame, replay in zip(ahead, replays, strict=True):
        if frame is None:
            raise RecordingError(
                f"the recording of {replay.recording.label or 'a driver'} has no race, and cannot "
                "be shown side by side"
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
    """Yield the frames with pictures of the first race while the race clock runs."""
    clock = 0
    for frame, race in _first_race(replay):
        if frame.picture is not None and race.frame > clock:
            yield frame
            clock = race.frame


def _first_race(replay: Replay) -> Iterator[tuple[ReplayFrame, RaceState]]:
    """Yield the frames of the first race, including the countdown, and drive to the end."""
    clock, started, over = 0, False, False
    for frame in replay:
        race = frame.race
        on = race is not None and race.frame >= clock
        over = over or (started and not on)  # a menu, or another race
        if on and not over:
            assert race is not None
            started, clock = True, race.frame
            yield frame, race


def _clock(frame: ReplayFrame) -> int:
    """Return the race clock of a frame with a race."""
    assert frame.race is not None
    return frame.race.frame


def _caption(frame: ReplayFrame) -> str:
    """Return lap and race clock of the picture, which is older than memory."""
    race = frame.race if frame.scene is None else frame.scene.race
    if race is None:
        return f"frame {frame.number}"
    seconds = race.total_time if race.finished else race.frame / FRAMES_PER_SECOND
    return race_caption(race.lap, seconds)
