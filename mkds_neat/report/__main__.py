"""Write the page of a run: ``python -m mkds_neat.report RUN``.

The page is one HTML file with everything in it: fitness, species, times, the champion's network,
racing line and video, where drivers failed, and more. It can be made while the run goes on. An
existing page is replaced. A damaged file of the run gives a warning, and is left out of the page.

Exit status: 0 done, 1 the folder is not that of a run, or the page cannot be written, 2 bad
arguments.
"""

from __future__ import annotations

import argparse
import logging
import webbrowser
from collections.abc import Sequence
from typing import Final

from mkds_gym.errors import MKDSError
from mkds_gym.utils.command_line import (
    ArgumentParser,
    path_or_name,
    print_error,
    print_line,
    run_command,
)
from mkds_neat.plots import Run
from mkds_neat.report.facts import shown_text
from mkds_neat.report.page import write_page

_PROGRAM: Final = "python -m mkds_neat.report"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = ArgumentParser(
        prog=_PROGRAM, description="Write the page of a run: one HTML file with plots and a video."
    )
    made.add_argument("run", type=path_or_name, help="folder of the run, such as runs/first_finish")
    made.add_argument(
        "--output",
        type=path_or_name,
        metavar="FILE",
        help="file to write (default: report.html in the folder)",
    )
    made.add_argument("--no-video", action="store_true", help="leave out the champion's video")
    made.add_argument("--open", action="store_true", help="open the page in the browser")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    arguments = parser().parse_args(argv)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        run = Run.load(arguments.run)
        path = write_page(run, arguments.output, video=not arguments.no_video)
    except MKDSError as error:
        print_error(f"{_PROGRAM}: error: {error}")
        return 1
    for note in run.notes:
        print_error(f"{_PROGRAM}: warning: {shown_text(note)}")
    print_line(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")
    if arguments.open:
        webbrowser.open(path.resolve().as_uri())
    return 0


if __name__ == "__main__":
    run_command(main)
