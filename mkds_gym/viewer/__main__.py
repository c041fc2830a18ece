"""Watch a run in progress: ``python -m mkds_gym.viewer [RUN]``.

Exit status: 0 done, 1 nothing to show, 2 bad arguments.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from mkds_gym.errors import ViewerError
from mkds_gym.overlays import make_overlays
from mkds_gym.utils.arguments import shown
from mkds_gym.utils.command_line import ArgumentParser, print_error, print_line, run_command
from mkds_gym.utils.files import is_folder
from mkds_gym.utils.processes import signal_if_parent_dies
from mkds_gym.viewer.bus import runs
from mkds_gym.viewer.bus.runs import alive
from mkds_gym.viewer.window import MAX_SCALE, ViewerWindow, check_scale

_NO_RUNS: Final = (
    "no run is in progress: start one with python -m mkds_neat.run CONFIG --show all, or with "
    "mkds_gym.viewer.Viewer"
)


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(
        prog="python -m mkds_gym.viewer", description="Watch a run in progress, in a window."
    )
    parser.add_argument("run", nargs="?", help="name of the run (default: the latest, see --list)")
    parser.add_argument("--list", action="store_true", help="list the runs in progress")
    parser.add_argument("--scale", type=int, metavar="N", help=f"1 to {MAX_SCALE}")
    parser.add_argument("--overlays", metavar="NAMES", help="overlays at first, such as rays,hud")
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="FOLDER",
        help="where S saves pictures (default: the current folder)",
    )
    # Of the window that a run opens for itself: the end of the run is not an error.
    parser.add_argument("--with-run", action="store_true", help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    Args:
        argv: the arguments; None for those of the process.
    """
    signal_if_parent_dies()  # the window of a run closes then, even if the window is stopped
    parser = _parser()
    arguments = parser.parse_args(argv)
    logging.basicConfig(format=f"{parser.prog}: %(message)s")
    overlays = arguments.overlays.split(",") if arguments.overlays else ()
    try:
        check_scale(arguments.scale)
        make_overlays(overlays)
    except ValueError as error:
        parser.error(str(error))
    if arguments.pictures is not None and not is_folder(arguments.pictures):
        parser.error(f"--pictures {arguments.pictures}: there is no such folder")
    try:
        if arguments.list:
            folders = runs()
            for run in folders:
                print_line(run.name)
            if not folders:
                print_error(_NO_RUNS)
            return 0
        ViewerWindow(
            _find(arguments.run),
            scale=arguments.scale,
            overlays=overlays,
            pictures=arguments.pictures,
        ).show()
    except ViewerError as error:
        if arguments.with_run and not alive(Path(arguments.run)):
            return 0
        print_error(f"{parser.prog}: error: {error}")
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def _find(name: str | None) -> Path:
    """Return the folder of a run, given its name, its path or a unique part of its name."""
    folders = runs()
    if name is None:
        if not folders:
            raise ViewerError(_NO_RUNS)
        return folders[-1]
    for run in folders:
        if name in (run.name, str(run)):
            return run
    matching = [run for run in folders if name in run.name]
    if len(matching) == 1:
        return matching[0]
    names = ", ".join(run.name for run in folders)
    expected = f"expected one of {names}" if names else "no run is in progress"
    raise ViewerError(f"no run is named {shown(name)}: {expected}")


def command() -> NoReturn:
    """Run the command line and exit."""
    run_command(main)


if __name__ == "__main__":
    command()
