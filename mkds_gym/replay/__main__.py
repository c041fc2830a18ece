"""Replay recordings: ``python -m mkds_gym.replay run.mkr --show``."""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from mkds_gym.display.video import (
    VIDEO_SUFFIXES,
    Thinned,
    VideoWriter,
    check_video,
    gif_bytes,
    sheet_bytes,
    spread,
)
from mkds_gym.display.window import DEFAULT_SCALE, Window
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.console import SCREENS
from mkds_gym.emulator.hardware import FRAMES_PER_SECOND
from mkds_gym.errors import MKDSError, RecordingError
from mkds_gym.overlays import (
    make_overlays,
)
from mkds_gym.recording.format import (
    SUFFIX,
    Recording,
)
from mkds_gym.replay import dsm
from mkds_gym.replay.replay import verify
from mkds_gym.replay.show import Show, show
from mkds_gym.utils.command_line import (
    ArgumentParser,
    path_or_name,
    print_error,
    print_line,
    run_command,
)
from mkds_gym.utils.files import same_file, why_unwritable, write_bytes

GIF_EVERY: Final = 4
"""Frames per picture of a GIF at full speed; most viewers show at most 20 pictures a second."""
VIDEO_RATE: Final = 60
"""Largest number of pictures per second of a video."""
GIF_PICTURES: Final = 1200
"""Number of pictures at which a GIF drops every second one."""
SHEET_CHOICE: Final = 16
"""Pictures kept in memory per picture of a sheet; the evenly spread ones are used."""
MAX_PICTURE_BYTES: Final = 256 << 20
"""Largest memory for the pictures of a GIF or a sheet."""
SHEET_WIDTH: Final = 1024
"""Width in pixels of a row of a sheet, if a picture is not wider."""


_MOVING: Final = ("show", "video", "gif")
_LOOKS: Final = {
    "overlays": (*_MOVING, "sheet"),
    "screens": (*_MOVING, "sheet"),
    "ghosts": (*_MOVING, "sheet"),
    "scale": _MOVING,
    "speed": _MOVING,
    "pictures": ("sheet",),
}
"""Options of the appearance, and the outputs of which each needs at least one."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = ArgumentParser(
        prog="python -m mkds_gym.replay",
        description="Drive recordings again. Without an output, check that each ends as it was "
        "recorded. Several recordings are shown side by side, or as ghosts of the first.",
    )
    parser.add_argument(
        "recordings",
        type=path_or_name,
        nargs="+",
        metavar="RECORDING",
        help=".mkr file, or .dsm file of DeSmuME",
    )
    parser.add_argument(
        "--rom", type=path_or_name, metavar="FILE", help="cartridge of the recordings"
    )
    parser.add_argument(
        "--state",
        type=path_or_name,
        metavar="FILE",
        help="savestate at the start, if its file was moved",
    )
    parser.add_argument(
        "--show",
        action="store_true",
        help="show in a window: P pauses, ESC closes (needs pygame-ce)",
    )
    out = parser.add_argument_group("output files")
    out.add_argument(
        "--video", type=path_or_name, metavar="FILE", help=f"video: {', '.join(VIDEO_SUFFIXES)}"
    )
    out.add_argument("--gif", type=path_or_name, metavar="FILE", help="animated GIF")
    out.add_argument(
        "--sheet", type=path_or_name, metavar="FILE", help="PNG with evenly spread pictures"
    )
    out.add_argument(
        "--movie",
        type=path_or_name,
        metavar="FILE",
        help="first recording as a DeSmuME movie (.dsm)",
    )
    out.add_argument("--save", type=path_or_name, metavar="FILE", help="first recording as .mkr")
    look = parser.add_argument_group("appearance")
    look.add_argument("--overlays", metavar="A,B", default="", help="overlays, such as rays,hud")
    look.add_argument(
        "--screens",
        choices=tuple(SCREENS),
        default="top",
        help="screens of the console to show (default: %(default)s)",
    )
    look.add_argument("--ghosts", action="store_true", help="draw the other drivers as ghosts")
    look.add_argument(
        "--scale", type=int, choices=range(1, 9), metavar="1-8", help="scale (default: 2, GIF 1)"
    )
    look.add_argument(
        "--speed", type=float, default=1.0, metavar="X", help="speed, 0.1 to 16 (default: 1)"
    )
    look.add_argument(
        "--pictures",
        type=int,
        default=12,
        metavar="N",
        help="pictures on the sheet, 1 to 100 (default: 12)",
    )
    look.add_argument("--names", metavar="A,B", help="names of the drivers")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: command-line arguments; None takes those of the process.

    Returns:
        0; 1 if a recording cannot be driven or a file cannot be written; 130 after Ctrl-C.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    if not 0.1 <= options.speed <= 16:
        parser.error(f"--speed {options.speed} is out of range: expected 0.1 to 16")
    if not 1 <= options.pictures <= 100:
        parser.error(f"--pictures {options.pictures} is out of range: expected 1 to 100")
    if options.ghosts and len(options.recordings) < 2:
        parser.error("--ghosts needs at least two recordings")
    for look, outputs in _LOOKS.items():
        given = getattr(options, look) != parser.get_default(look)
        if given and not any(getattr(options, output) for output in outputs):
            *others, last = (f"--{output}" for output in outputs)
            needed = f"{', '.join(others)} or {last}" if others else last
            parser.error(f"--{look} has no effect without {needed}")
    names = None if options.names is None else options.names.split(",")
    if names is not None and len(names) != len(options.recordings):
        parser.error(
            f"--names {options.names} has {len(names)} names: expected {len(options.recordings)}, "
            "one per recording, separated by commas"
        )
    try:
        _run(options, names)
    except (MKDSError, ValueError, TypeError) as error:
        print_error(f"{parser.prog}: error: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _check_outputs(options: argparse.Namespace) -> None:
    """Check the output files before a race is driven.

    Raises:
        RecordingError: a missing folder, a wrong suffix, or a file that is read or written twice.
    """
    suffixes = {"gif": ".gif", "sheet": ".png", "save": SUFFIX}
    taken = [path for path in (*options.recordings, options.rom, options.state) if path is not None]
    for name in ("video", "gif", "sheet", "movie", "save"):
        path = getattr(options, name)
        if path is None:
            continue
        if problem := why_unwritable(path):
            raise RecordingError(f"--{name} {path}: {problem}")
        suffix = suffixes.get(name)
        if suffix is not None and Path(path).suffix.lower() != suffix:
            raise RecordingError(f"cannot write '{path}': --{name} needs the suffix {suffix}")
        if any(same_file(path, other) for other in taken):
            raise RecordingError(
                f"cannot write '{path}' (--{name}): the command already reads or writes this file; "
                "choose another name"
            )
        taken.append(path)
    if options.video:
        check_video(options.video)


def _run(options: argparse.Namespace, names: Sequence[str] | None) -> None:
    _check_outputs(options)
    recordings = [
        dsm.read_movie(path, Cartridge.open(options.rom))
        if Path(path).suffix == dsm.SUFFIX
        else Recording.load(path)
        for path in options.recordings
    ]
    if options.state and not any(each.start.kind == "state" for each in recordings):
        raise RecordingError(
            f"--state {options.state}: no recording starts at a savestate; leave the option out"
        )
    for number, path in enumerate(options.recordings):
        label = names[number] if names else recordings[number].label or Path(path).stem
        recordings[number] = replace(recordings[number], label=label)
    overlays = [name for name in options.overlays.split(",") if name]
    make_overlays(overlays)
    if options.save:
        recordings[0].save(options.save)
        print_line(f"{recordings[0].describe()}: {options.save}")
    if options.movie:
        files = dsm.write_movie(recordings[0], options.movie, options.rom)
        print_line(f"{recordings[0].describe()}: {', '.join(map(str, files))}")
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
            _print_result(recording)


def _print_result(recording: Recording) -> None:
    result = "ends as recorded" if recording.ram else "driven (the recording has no final memory)"
    print_line(f"{recording.describe()}: {result}")


def _show(options: argparse.Namespace, recordings: Sequence[Recording], how: Show) -> None:
    """Show recordings in a window, and write video, GIF and sheet."""
    gif_every, video_every = _gif_every(options), _video_every(options)
    gif: Thinned[NDArray[np.uint8]] | None = None
    sheet: Thinned[tuple[NDArray[np.uint8], str]] | None = None
    with contextlib.ExitStack() as stack:
        video = window = None
        if options.video:
            rate = FRAMES_PER_SECOND * options.speed / video_every
            video = stack.enter_context(VideoWriter(options.video, rate, options.scale or 2))
        if options.show:
            window = stack.enter_context(
                _ReplayWindow(", ".join(each.label for each in recordings), options)
            )
        for number, (picture, caption) in enumerate(show(recordings, how)):
            if video is not None and number * how.every % video_every == 0:
                video.write(picture)
            room = MAX_PICTURE_BYTES // picture.nbytes
            if options.gif and number * how.every % gif_every == 0:
                gif = gif or Thinned(min(GIF_PICTURES, room) // 2)
                gif.add(picture)
            if options.sheet and number * how.every % GIF_EVERY == 0:
                sheet = sheet or Thinned(min(SHEET_CHOICE * options.pictures, room) // 2)
                sheet.add((picture, caption))
            if window is not None:
                window.show(picture)
                if window.closed and not (options.video or options.gif or options.sheet):
                    return
    written = [options.video] if options.video else []
    if options.gif:
        kept = [] if gif is None else gif.items
        frames = gif_every * (1 if gif is None else gif.stride)
        seconds = frames / FRAMES_PER_SECOND / options.speed
        write_bytes(options.gif, gif_bytes(kept, seconds, scale=options.scale or 1))
        written.append(options.gif)
    if options.sheet:
        stills = [] if sheet is None else sheet.items
        chosen = [stills[i] for i in spread(len(stills), min(options.pictures, len(stills)))]
        pictures, captions = [each for each, _ in chosen], [caption for _, caption in chosen]
        columns = max(SHEET_WIDTH // pictures[0].shape[1], 1) if pictures else 1
        write_bytes(options.sheet, sheet_bytes(pictures, captions, columns))
        written.append(options.sheet)
    if written:
        print_line(f"{', '.join(each.describe() for each in recordings)}: {', '.join(written)}")
    else:
        for recording in recordings:
            _print_result(recording)


def _gif_every(options: argparse.Namespace) -> int:
    """Frames of the race per picture of a GIF."""
    return max(round(GIF_EVERY * float(options.speed)), 1)


def _video_every(options: argparse.Namespace) -> int:
    """Frames of the race per picture of a video."""
    return math.ceil(FRAMES_PER_SECOND * float(options.speed) / VIDEO_RATE)


class _ReplayWindow:
    """The window of ``--show``, a context manager."""

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

    def __enter__(self) -> _ReplayWindow:
        return self

    def __exit__(self, *_: object) -> None:
        self._window.close()

    @property
    def closed(self) -> bool:
        """Whether the user has closed the window."""
        return self._window.closed

    def show(self, picture: NDArray[np.uint8]) -> None:
        """Show a picture, and wait while the replay is paused."""
        self._window.show(picture)
        while self._paused and not self.closed:
            self._window.show(picture)

    def _on_event(self, event: Any) -> None:
        import pygame

        if event.type == pygame.KEYDOWN and event.key == pygame.K_p:
            self._paused = not self._paused


def command() -> NoReturn:
    """Run the command line and exit."""
    run_command(main)


if __name__ == "__main__":
    command()
