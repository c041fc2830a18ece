"""The command lines of this package."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from mkds_gym.utils.arguments import shortened, shown, why_no_path


def path_or_name(text: str) -> str:
    """Return an argument that names a file or something imported: ``type=path_or_name``.

    Raises:
        argparse.ArgumentTypeError: no path can have this text.
    """
    if problem := why_no_path(text):
        raise argparse.ArgumentTypeError(f"{shown(text)} {problem}")
    return text


class ArgumentParser(argparse.ArgumentParser):
    """A parser whose errors are one line, and shorten long arguments.

    Arguments with ``type=Path`` are refused if they cannot be paths.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.register("type", Path, lambda text: Path(path_or_name(text)))

    def error(self, message: str) -> NoReturn:
        """Print the message, and exit with status 2."""
        self.exit(2, f"{self.prog}: error: {shortened(message, 1000)}; --help lists the options\n")


def run_command(main: Callable[[], int]) -> NoReturn:
    """Run a command line and exit with its status.

    The process exits with status 141, and without a traceback, if the reader of its standard
    output is gone, as after ``| head -1``.
    """
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes the stream once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + signal.SIGPIPE
    sys.exit(status)
