"""The command lines of this package."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TextIO

from mkds_gym.errors import reason
from mkds_gym.utils.arguments import escaped, shortened, shown, why_no_path


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
        print_error(f"{self.prog}: error: {shortened(message, 1000)}; --help lists the options")
        sys.exit(2)


def print_line(text: object) -> None:
    r"""Print a text to the standard output.

    Characters that control a terminal, which a file or its name may contain, are written as
    ``\x1b``, and so are those that the output cannot encode.

    Raises:
        BrokenPipeError: the reader is gone. `run_command` ends quietly then.
        SystemExit: the output cannot be written, as on a full disk. The message is printed.
    """
    stream = sys.stdout
    if stream is None:  # closed by the caller
        return
    try:
        print(encodable(str(text), stream), file=stream, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        _cannot_write(stream, error)


def _cannot_write(stream: TextIO, error: OSError) -> NoReturn:
    discard(stream)
    print_error(f"the standard output cannot be written: {reason(error)}")
    sys.exit(1)


def print_error(text: object) -> None:
    """Print a message to the standard error, as `print_line` does.

    Further lines are indented, so that the text of a file cannot pass for another message. A
    standard error that cannot be written changes nothing.
    """
    stream = sys.stderr
    if stream is None:
        return
    try:
        lines = encodable(str(text), stream).replace("\n", "\n    ")
        print(lines, file=stream, flush=True)
    except OSError:
        discard(stream)


def encodable(text: str, stream: TextIO) -> str:
    """Return a text for a stream: lines of what can be printed, and what its encoding has."""
    encoding = stream.encoding or "utf-8"
    return escaped(text, keep="\n\t").encode(encoding, "backslashreplace").decode(encoding)


def discard(stream: TextIO) -> None:
    """Let what is still in a stream go nowhere: the interpreter flushes the stream at its end."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def open_streams() -> None:
    """Open those standard streams that are closed, so that no file takes their numbers.

    Libraries write to the descriptors 1 and 2 whatever these are.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
            os.set_inheritable(handle, handle == number)
            setattr(sys, name, open(handle, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def run_command(main: Callable[[], int]) -> NoReturn:
    """Run a command line and exit with its status.

    The process exits without a traceback, with status 141 if the reader of its standard output is
    gone, as after ``| head -1``, and with status 130 after Ctrl-C.
    """
    open_streams()
    status: int | str | None
    try:
        try:
            status = main()
        except SystemExit as error:  # of the parser, which has perhaps printed its help
            status = error.code
        _flush()
    except BrokenPipeError:
        discard(sys.stdout)
        status = 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    forget_interrupts()
    sys.exit(status)


def forget_interrupts() -> None:
    """Let the process exit with its own status after a Ctrl-C that was caught.

    CPython notes an interrupt within an `exec` of text, which classes do while they are made, and
    kills the process with SIGINT at its end. Another `exec` of text clears the note.
    """
    exec("")


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _cannot_write(sys.stdout, error)
