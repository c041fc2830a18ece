"""Evolve drivers: ``python -m mkds_neat.run CONFIG``, or ``mkds-evolve CONFIG``.

Ctrl-C stops the run cleanly and keeps all results. ``--resume FOLDER`` continues the run, with the
same result as a run that was never stopped. A second Ctrl-C stops at once.

Exit status: 0 done, 1 failed, 2 bad config or arguments, 129, 130 or 143 stopped by
SIGHUP (the terminal was closed), Ctrl-C or SIGTERM.
"""

# A worker process imports the main module again (see the start methods of multiprocessing). Slow
# imports are therefore inside functions.
from __future__ import annotations

import argparse
import contextlib
import logging
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TextIO

from mkds_gym.utils.command_line import (
    ArgumentParser,
    discard,
    encodable,
    forget_interrupts,
    open_streams,
    path_or_name,
)
from mkds_neat.options import ENVIRONMENT_HELP, HELP, option

if TYPE_CHECKING:
    from mkds_neat.config import Config
    from mkds_neat.evolution import Evolution, Outcome
    from mkds_neat.results import Checkpoint, RunFolder


_PROGRAM: Final = "python -m mkds_neat.run"


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(
        prog=_PROGRAM, description="Evolve drivers for a kart race in an emulated Nintendo DS."
    )
    parser.add_argument(
        "config",
        type=path_or_name,
        nargs="?",
        help="config file, such as examples/first_finish.ini",
    )
    parser.add_argument(
        "--resume",
        type=path_or_name,
        metavar="FOLDER",
        help="continue the run in this folder",
    )
    for key, text in {**HELP, **ENVIRONMENT_HELP}.items():
        parser.add_argument(
            option(key), dest=key, metavar="X", help=f"{text} (replaces {key} of the config)"
        )
    parser.add_argument(
        "--no-pictures", action="store_true", help="write no pictures of the champion"
    )
    parser.add_argument("--quiet", action="store_true", help="draw no live area in the terminal")
    parser.add_argument(
        "--restart-tables",
        action="store_true",
        help="with --resume: if individuals.csv has lost rows, rename it and begin another",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Args:
        argv: Arguments; None for those of the process. The process is then expected to end with
            this call: Ctrl-C, SIGTERM and SIGHUP are ignored afterwards.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.config is None and arguments.resume is None:
        parser.error("give a config file (examples/first_finish.ini is one), or --resume FOLDER")
    if argv is None:
        open_streams()
    signals = _Signals(last=argv is None)
    try:
        # From here on, Ctrl-C takes effect where it is harmless, and a second one at once.
        with signals:
            from mkds_gym.errors import MKDSError
            from mkds_neat.errors import ConfigError, NoRunFolderError

            try:
                return _evolve(arguments, signals)
            except MKDSError as error:
                _print(f"{_PROGRAM}: error: {error}", sys.stderr)
                return 2 if isinstance(error, ConfigError | NoRunFolderError) else 1
    except KeyboardInterrupt:
        hint = f"; continue with: {_resume(signals.folder)}" if signals.folder is not None else ""
        _print(f"{_PROGRAM}: stopped at once{hint}", sys.stderr)
        forget_interrupts()
        return 128 + signal.SIGINT


def _evolve(arguments: argparse.Namespace, signals: _Signals) -> int:
    from mkds_neat.cluster import connected
    from mkds_neat.config import load_config
    from mkds_neat.errors import ConfigError
    from mkds_neat.results import RunFolder

    overrides = {k: v for k in HELP if (v := getattr(arguments, k)) is not None}
    environment = {k: v for k in ENVIRONMENT_HELP if (v := getattr(arguments, k)) is not None}
    if arguments.resume is not None:
        for key in ("seed", "output", *ENVIRONMENT_HELP):
            if key in overrides or key in environment:
                raise ConfigError(f"--{key} cannot change in a resumed run; omit the option")
        with RunFolder.open(arguments.resume) as folder:
            folder.lock()
            checkpoint = folder.load_checkpoint()
            config = connected(_config_of(folder, checkpoint, overrides))
            if arguments.config is not None:
                _print(f"resuming with {folder.path / 'config.ini'}; {arguments.config} is ignored")
            if checkpoint is None:
                folder.write("config.ini", config.text.encode())
            return _run(config, folder, checkpoint, arguments, signals)
    config = connected(load_config(arguments.config, overrides, environment))
    if signals.number:
        _print("stopped before the run began; nothing was written")
        return 128 + signals.number
    with RunFolder.create(config.run.output, config.text) as folder:
        try:
            folder.lock()
            return _run(config, folder, None, arguments, signals)
        finally:
            folder.discard()  # does nothing once there is a checkpoint


def _config_of(
    folder: RunFolder, checkpoint: Checkpoint | None, overrides: Mapping[str, str]
) -> Config:
    """Return the config of a run to resume, from the checkpoint if ``config.ini`` is gone."""
    from mkds_gym.utils.files import exists
    from mkds_neat.config import load_config, parse_config, sections_text

    path = folder.path / "config.ini"
    if checkpoint is None or exists(path):
        before = None if checkpoint is None else checkpoint.config
        return load_config(path, overrides, before=before)
    folder.notes.append("config.ini is missing; it is written again from the checkpoint")
    return parse_config(sections_text(checkpoint.config), "checkpoint", overrides)


def _run(
    config: Config,
    folder: RunFolder,
    checkpoint: Checkpoint | None,
    arguments: argparse.Namespace,
    signals: _Signals,
) -> int:
    from mkds_neat.errors import StrategyError
    from mkds_neat.evolution import Evolution
    from mkds_neat.strategies import CustomStrategy

    with _log_to(folder):
        evolution = Evolution(
            config,
            folder,
            checkpoint=checkpoint,
            restart_tables=arguments.restart_tables,
            say=_say,
            progress=not arguments.quiet,
        )
        evolution.begin()
        signals.begin(evolution, folder)
        try:
            return _drive(evolution, arguments, signals)
        except StrategyError as error:
            remedy = f"edit {str(folder.path / 'config.ini')!r}"
            if isinstance(evolution.strategy, CustomStrategy):
                remedy = "correct the class"
            raise StrategyError(
                f"{error}; {remedy} and continue with: {_resume(folder)}"
            ) from error


def _drive(evolution: Evolution, arguments: argparse.Namespace, signals: _Signals) -> int:
    from mkds_neat.config.environment import is_mkds

    run, folder = evolution.config.run, evolution.folder
    _print(
        f"{run.strategy}, seed {run.seed}, {run.workers} worker{'s'[: run.workers != 1]}, "
        f"writing to {folder.path}"
    )
    for note in evolution.config.notes:
        _say(f"note: {note}")
    started = time.perf_counter()
    outcome = evolution.run()
    _report(outcome, folder, time.perf_counter() - started)
    pictures = run.pictures and not arguments.no_pictures and is_mkds(evolution.config.env_id)
    if pictures and outcome.champion is not None and not signals.number:
        from mkds_neat.report import write_pictures

        _print("driving the champion's race again, for pictures ...")
        if write_pictures(folder, outcome.champion, lambda: bool(signals.number)):
            _print(f"pictures: {folder.path / 'champion.gif'}, {folder.path / 'champion.png'}")
    return 128 + signals.number if outcome.reason == "stopped" else 0


def _say(line: str) -> None:
    logging.getLogger("mkds_neat").info(line)
    _print(line)


def _print(text: str, stream: TextIO | None = None) -> None:
    """Print a line, and further ones indented.

    A closed pipe or a full disk behind the stream does not end a run.
    """
    stream = stream or sys.stdout
    try:
        print(encodable(text, stream).replace("\n", "\n    "), file=stream, flush=True)
    except (OSError, ValueError):  # ValueError: the stream is closed
        discard(stream)


def _report(outcome: Outcome, folder: RunFolder, seconds: float) -> None:
    from mkds_gym.utils.files import exists

    resume = _resume(folder)
    done = f"{outcome.generation} generation{'s'[: outcome.generation != 1]}"
    if outcome.champion is None:
        _print(f"stopped before any driver was evaluated; continue with: {resume}")
        return
    if outcome.reason == "finished":
        _say(f"a driver finished the race, after {done} and {seconds / 60.0:.1f} minutes")
    elif outcome.reason == "solved":
        _say(f"the fitness threshold was met after {done}")
    elif outcome.reason == "stopped":
        _print(f"stopped in generation {outcome.generation}; continue with: {resume}")
    elif outcome.reason == "frames":
        _print(f"the frame budget is spent after {done}; for more: {resume} --frames N")
    else:
        _print(f"done: {done}; for more: {resume} --generations {outcome.generation * 2}")
    _say(f"champion: {outcome.champion.describe()}")
    quoted = shlex.quote(str(folder.path))
    _print(f"to see it: python -m mkds_neat.watch {quoted}, or python -m mkds_neat.report {quoted}")
    names = ("champion.json", "champion.pt", "champion.mkr")
    _print("saved: " + ", ".join(str(p) for n in names if exists(p := folder.path / n)))


def _resume(folder: RunFolder) -> str:
    return f"{_PROGRAM} --resume {shlex.quote(str(folder.path))}"


@contextlib.contextmanager
def _log_to(folder: RunFolder) -> Iterator[None]:
    with folder.write_errors("run.log"):
        handler = _LogFile(folder.path / "run.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in ("mkds_neat", "mkds_gym")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        with contextlib.suppress(OSError):  # reported by `_LogFile`
            handler.close()


class _LogFile(logging.FileHandler):
    """A log file that reports its first write error; the run continues without a log."""

    _failed = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Print the first write error in one line."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._failed:
            self._failed = True
            _print(
                f"{_PROGRAM}: {self.baseFilename!r} cannot be written "
                f"({error.strerror or error}); the run continues without its log",
                sys.stderr,
            )


class _Signals:
    """Turns the first Ctrl-C, SIGTERM or SIGHUP into a clean stop; the second stops at once.

    SIGHUP has no effect in a process that began with that signal ignored, as ``nohup`` does.

    Args:
        last: The process ends after the block: ignore signals from then on. The interpreter
            takes tenths of a second to end, and would print a traceback.

    Attributes:
        number: Number of the signal that arrived; 0 for no signal.
        folder: Folder of the run, as soon as the run can be resumed.
    """

    def __init__(self, *, last: bool) -> None:
        self._last = last
        self._evolution: Evolution | None = None
        self._old: dict[int, Any] = {}
        self.number = 0
        self.folder: RunFolder | None = None

    def __enter__(self) -> _Signals:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._old[number] = signal.signal(number, self._catch)
        return self

    def __exit__(self, *error: object) -> None:
        for number, old in self._old.items():
            signal.signal(number, signal.SIG_IGN if self._last else old)

    def begin(self, evolution: Evolution, folder: RunFolder) -> None:
        """Stop this run at the next signal, or now if a signal has arrived."""
        self._evolution, self.folder = evolution, folder
        if self.number:
            evolution.stop()

    def _catch(self, number: int, frame: object) -> None:  # noqa: ARG002
        if not self.number:
            self.number = number
            if self._evolution is not None:
                self._evolution.stop()
            return
        # A third signal must not disturb the end of the workers, which takes seconds at most.
        for each in self._old:
            signal.signal(each, signal.SIG_IGN)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
