"""Watch a run that is going: ``python -m mkds_gym.viewer [RUN]``.

Exit status: 0 done, 1 nothing can be shown, 2 bad arguments.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mkds_gym.errors import ViewerError
from mkds_gym.overlays import make_overlays
from mkds_gym.viewer.bus import runs
from mkds_gym.viewer.window import MAX_SCALE, ViewerWindow, check_scale

_NONE: Final = (
    "no run that can be watched is going; start one with python -m mkds_neat.run CONFIG --show "
    "all, or with mkds_gym.viewer.Viewer"
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mkds_gym.viewer", description="Watch a run that is going, in a window."
    )
    parser.add_argument("run", nargs="?", help="which; by default the latest (see --list)")
    parser.add_argument("--list", action="store_true", help="name the runs that are going")
    parser.add_argument("--scale", type=int, metavar="N", help=f"1 to {MAX_SCALE}")
    parser.add_argument("--overlays", metavar="NAMES", help="drawn at first, such as rays,hud")
    parser.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="where S saves; by default here"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; see the module.

    Args:
        argv: arguments, by default the process's own.

    Returns:
        The exit status.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    logging.basicConfig(format=f"{parser.prog}: %(message)s")
    overlays = arguments.overlays.split(",") if arguments.overlays else ()
    try:
        check_scale(arguments.scale)
        make_overlays(overlays)
    except ValueError as error:
        parser.error(str(error))
    if arguments.pictures is not None and not arguments.pictures.is_dir():
        parser.error(f"--pictures {arguments.pictures}: is no folder")
    try:
        if arguments.list:
            for run in (going := runs()):
                print(run.name)
            if not going:
                print(_NONE, file=sys.stderr)
            return 0
        window = ViewerWindow(
            _find(arguments.run),
            scale=arguments.scale,
            overlays=overlays,
            pictures=arguments.pictures,
        )
        window.run()
    except ViewerError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def _find(name: str | None) -> Path:
    going = runs()
    if name is None:
        if not going:
            raise ViewerError(_NONE)
        return going[-1]
    for run in going:
        if name in (run.name, str(run)):
            return run
    matching = [run for run in going if name in run.name]
    if len(matching) == 1:
        return matching[0]
    names = ", ".join(run.name for run in going) or "none"
    raise ViewerError(f"there is no run {name!r}; those that are going: {names}")


if __name__ == "__main__":
    sys.exit(main())
