"""Drive yourself: ``python -m mkds_gym.play`` opens a window (needs pygame-ce).

Without arguments the cartridge shows its own menu; arguments of the race start that race.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import signal
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np

from mkds_gym.components.sensors import make_sensors
from mkds_gym.display.window import DEFAULT_SCALE, MAX_SCALE
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.console import Console
from mkds_gym.emulator.desmume.loader import installed_build_id
from mkds_gym.emulator.states.state_file import pack_state, read_state
from mkds_gym.episodes.race_config import (
    COURSE_SETS,
    MAX_OPPONENTS,
    RACE_MODES,
    RaceArguments,
    RaceConfig,
)
from mkds_gym.errors import MKDSError, RecordingError
from mkds_gym.kartlab.boot import CLASSES, STRENGTHS
from mkds_gym.overlays import (
    LiveReward,
    make_overlays,
)
from mkds_gym.play.player import REWIND_SECONDS, SCREEN_CHOICES, Player
from mkds_gym.recording.format import SUFFIX, Recording, Start, boot_digest
from mkds_gym.recording.recorder import ConsoleRecorder
from mkds_gym.utils.command_line import (
    ArgumentParser,
    path_or_name,
    print_error,
    print_line,
    run_command,
)
from mkds_gym.utils.files import free_path, same_file, why_unwritable

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PROGRAM: Final = "python -m mkds_gym.play"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = ArgumentParser(
        prog=_PROGRAM,
        description="Drive with keyboard or gamepad. Without arguments the cartridge shows its "
        "menu; with an argument of the race, that race starts. H shows the keys. No sound.",
    )
    race = parser.add_argument_group(
        "race",
        "The names are those of the arguments of MKDS-v0. Your own cartridge begins at a start "
        "that you keep with the key K.",
    )
    race.add_argument("--course", metavar="NAME", help="name of a course, or random")
    race.add_argument("--course-seed", type=int, metavar="N", help="seed of the random course")
    race.add_argument(
        "--difficulty", type=float, metavar="D", help="difficulty of random courses, 0 to 1"
    )
    race.add_argument("--course-set", choices=COURSE_SETS, help="draw a random course of this set")
    race.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="random seed, as for reset(): draws the random course and decides a VS race",
    )
    race.add_argument("--laps", type=int, metavar="N", help="number of laps, 1 to 9")
    race.add_argument(
        "--engine-class", "--class", type=int, choices=tuple(CLASSES), help="engine class in cc"
    )
    race.add_argument("--mirror", action="store_true", default=None, help="exchange left and right")
    race.add_argument("--mode", choices=RACE_MODES, help="time trial, or race against opponents")
    race.add_argument(
        "--opponents",
        type=int,
        metavar="N",
        help=f"number of opponents in vs, 0 to {MAX_OPPONENTS}",
    )
    race.add_argument(
        "--opponent-strength",
        "--strength",
        choices=tuple(STRENGTHS),
        help="how well the opponents drive in vs",
    )
    race.add_argument("--items", action="store_true", default=None, help="item boxes in vs")
    parser.add_argument(
        "--rom",
        type=path_or_name,
        metavar="ROM",
        help="your own cartridge: a file or an imported name",
    )
    parser.add_argument(
        "--state", type=path_or_name, metavar="FILE", help="savestate to start from"
    )
    parser.add_argument(
        "--save",
        type=Path,
        default=Path("play.state"),
        metavar="FILE",
        help="file that F5 saves and F9 loads (default: %(default)s)",
    )
    parser.add_argument(
        "--record",
        type=Path,
        metavar="FILE",
        help="record to a .mkr file, for python -m mkds_gym.replay; if the file exists, use the "
        "next free name (FILE-2 and so on)",
    )
    parser.add_argument(
        "--overlays", metavar="A,B", default="", help="overlays, such as rays,hud; O shows more"
    )
    parser.add_argument("--reward", metavar="NAME", help="reward that the overlay hud shows")
    parser.add_argument(
        "--sensors",
        metavar="A,B",
        default="",
        help="sensors whose rays overlays show, such as rays:15",
    )
    parser.add_argument(
        "--scale",
        type=int,
        default=DEFAULT_SCALE,
        choices=range(1, MAX_SCALE + 1),
        metavar=f"1-{MAX_SCALE}",
        help="screen pixels per console pixel (default: %(default)s)",
    )
    parser.add_argument(
        "--screens",
        choices=SCREEN_CHOICES,
        default="both",
        help="screens of the console to show (default: %(default)s)",
    )
    parser.add_argument(
        "--rewind",
        type=float,
        default=REWIND_SECONDS,
        metavar="SECONDS",
        help="how far back R can rewind; 0 disables rewinding (default: %(default)s)",
    )
    return parser


_SEED_UNUSED: Final = (
    "--seed {} has no effect: only --mode vs, --course random and --course-set are random"
)


@contextlib.contextmanager
def _stopped_by_signals(player: Player) -> Iterator[list[int]]:
    """Let signals end the game after the current frame; yield the list of received signals."""
    received: list[int] = []

    def stop(number: int, _: Any) -> None:
        received.append(number)
        player.stop()

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {each: signal.signal(each, stop) for each in _SIGNALS}
    try:
        yield received
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _save_recording(recording: Recording, path: Path) -> int:
    """Save a recording, in a temporary folder if the given file cannot be written.

    Returns:
        The exit status.

    Raises:
        RecordingError: the temporary folder cannot be written either.
    """
    try:
        recording.save(path)
    except RecordingError as error:
        place = Path(tempfile.mkdtemp(prefix="mkds-")) / f"{path.stem}{SUFFIX}"
        recording.save(place)
        print_error(f"{_PROGRAM}: error: {error}; the recording is in {place}")
        return 1
    print_line(f"{recording.describe()}: {path}")
    return 0


def _console(options: argparse.Namespace) -> tuple[Console, Start, bytes | None]:
    """Return the console at its start, that start, and the savestate to keep in a recording.

    A recording refers to the file of its savestate. If F5 overwrites that file, the recording
    keeps the savestate itself.
    """
    cartridge = Cartridge.open(options.rom)
    race = {
        field.name: getattr(options, field.name)
        for field in fields(RaceArguments)
        if getattr(options, field.name) is not None
    }
    on_power_on = None
    start, state = Start("power_on"), None
    races = None
    if race:
        races = RaceConfig(cartridge, RaceArguments(**race), has_state=options.state is not None)
    if races is not None and races.laps is not None:
        raise ValueError(
            f"laps={races.laps} has no effect in play on {cartridge.title}: leave it out; the game "
            "drives its own laps"
        )
    if races is not None and races.kept:
        options.state = races.kept[0].path
    if races is not None and races.boots:
        # Draw in the same order as an environment's reset.
        chance = np.random.default_rng(options.seed)
        course_seed = races.draw_course_seed(chance)
        parameters = replace(races.boot_parameters(course_seed), skip_countdown=False)
        race_seed = int(chance.integers(1 << 32)) if races.has_race_seed else None
        if race_seed is not None:
            parameters = replace(parameters, seed=race_seed)
        elif options.seed is not None and (course_seed is None or options.course_seed is not None):
            raise ValueError(_SEED_UNUSED.format(options.seed))
        on_power_on = parameters.write
        start = Start(
            "power_on",
            race=vars(races.arguments),
            course_seed=course_seed,
            race_seed=race_seed,
            countdown=True,
            digest=boot_digest(parameters),
        )
    elif options.seed is not None:
        raise ValueError(_SEED_UNUSED.format(options.seed))
    if options.state is not None:
        read_state(options.state, cartridge, installed_build_id())
    console = Console(cartridge, on_power_on=on_power_on)
    if options.state is not None:
        console.load_state(options.state)
        snapshot = console.snapshot()
        start = Start(
            "state",
            digest=hashlib.sha256(snapshot.data).hexdigest(),
            path=str(Path(options.state).resolve()),
            frame=console.frame_count,
        )
        if same_file(options.state, options.save):
            start, state = replace(start, path=None), pack_state(snapshot)
    return console, start, state


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: command-line arguments; None takes those of the process.

    Returns:
        0; 1 if the game cannot start or the recording was saved elsewhere; 128 plus the number of
        a signal (130 for Ctrl-C).
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    if not 0 <= options.rewind <= 600:
        parser.error(f"--rewind {options.rewind} is out of range: expected 0 to 600 seconds")
    record = options.record
    for name, path in (("save", options.save), ("record", record)):
        if path is not None and (problem := why_unwritable(path)):
            parser.error(f"--{name} {path}: {problem}")
    if record is not None and record.suffix.lower() != SUFFIX:
        parser.error(f"--record {record}: expected the suffix {SUFFIX}")
    for written, other in (
        ("record", "save"),
        ("record", "state"),
        ("record", "rom"),
        ("save", "rom"),
    ):
        paths = getattr(options, written), getattr(options, other)
        if None not in paths and same_file(*paths):
            parser.error(
                f"--{written} {paths[0]} is also the file of --{other}: choose another name"
            )
    if record is not None:
        record = free_path(record)  # keeps earlier recordings
    status = 0
    try:
        overlays = [name for name in options.overlays.split(",") if name]
        make_overlays(overlays)
        reward = None if options.reward is None else LiveReward(options.reward)
        sensors = make_sensors([name for name in options.sensors.split(",") if name])
        console, start, state = _console(options)
        with console:
            recorder = None if record is None else ConsoleRecorder(console, start, state=state)
            player = Player(
                console,
                save_path=options.save,
                scale=options.scale,
                screens=options.screens,
                rewind_seconds=options.rewind,
                recorder=recorder,
                record=record,
                overlays=overlays,
                reward=reward,
                sensors=sensors,
            )
            with _stopped_by_signals(player) as received:
                try:
                    player.run()
                finally:
                    player.window.close()
                    player.finish()  # a pending save must not overwrite the final one
                    if recorder is not None and recorder.frames:
                        status = _save_recording(recorder.recording(), record)
            if received:
                return 128 + received[0]
    except (MKDSError, ValueError, TypeError) as error:
        print_error(f"{_PROGRAM}: error: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def command() -> NoReturn:
    """Run the command line and exit."""
    run_command(main)


if __name__ == "__main__":
    command()
