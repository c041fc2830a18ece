"""Evolve drivers: ``python -m mkds_neat.run CONFIG``, or ``mkds-evolve CONFIG``.

Ctrl-C stops cleanly and keeps everything: ``--resume FOLDER`` goes on as if nothing had
happened. A second Ctrl-C stops at once.

Exit status: 0 done, 1 failed, 2 bad config or arguments, 130 or 143 stopped by Ctrl-C or SIGTERM.
"""

# ruff: noqa: T201 - this is a command line
# Worker processes import the main module again (see multiprocessing's start methods): what
# is slow to import is imported in functions here.
from __future__ import annotations

import argparse
import logging
import signal
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkds_neat.evolution import Evolution, Outcome
    from mkds_neat.results import RunFolder


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mkds-evolve", description="Evolve drivers for a kart race in an emulated Nintendo DS."
    )
    parser.add_argument("config", nargs="?", help="config file, such as examples/kartlab.ini")
    parser.add_argument("--resume", metavar="FOLDER", help="go on with the run in this folder")
    for name, what in (
        ("seed", "seed of everything that is left to chance"),
        ("workers", "worker processes, or auto"),
        ("generations", "most generations to evaluate"),
        ("output", "folder to write to; a number is added when it exists"),
        ("stop-when", "finish: stop when a driver finishes the race; or never"),
        ("log-interval", "generations between lines of progress"),
    ):
        parser.add_argument(f"--{name}", metavar="X", help=f"{what} (instead of the config's)")
    parser.add_argument("--no-pictures", action="store_true", help="no GIF and strip at the end")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
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
    if arguments.config is None and arguments.resume is None:
        parser.error("give a config file (examples/kartlab.ini is one), or --resume FOLDER")
    from mkds_gym.errors import MKDSError
    from mkds_neat.errors import ConfigError

    try:
        return _evolve(arguments)
    except ConfigError as error:
        print(f"mkds-evolve: {error}", file=sys.stderr)
        return 2
    except MKDSError as error:
        print(f"mkds-evolve: {error}", file=sys.stderr)
        return 1


def _evolve(arguments: argparse.Namespace) -> int:
    import torch

    from mkds_neat.config import load_config
    from mkds_neat.errors import ConfigError
    from mkds_neat.evolution import Evolution
    from mkds_neat.results import RunFolder

    # The networks are tiny: a second thread would cost more than it computes.
    torch.set_num_threads(1)
    overrides = {
        key: str(value)
        for key in ("seed", "workers", "generations", "output", "stop_when", "log_interval")
        if (value := getattr(arguments, key)) is not None
    }
    state: dict[str, Any] | None = None
    if arguments.resume is not None:
        for key in ("seed", "output"):
            if key in overrides:
                raise ConfigError(f"--{key} cannot change in a resumed run; leave it out")
        folder = RunFolder.open(arguments.resume)
        config = load_config(folder.path / "config.ini", overrides)
        if arguments.config is not None:
            print(f"resuming: {folder.path / 'config.ini'} counts, not {arguments.config}")
        state = folder.load_checkpoint()
        if state["strategy"].name != config.run.strategy:
            raise ConfigError(
                f"the run in {str(folder.path)!r} was made with the strategy "
                f"{state['strategy'].name!r}, but its config.ini now says {config.run.strategy!r}"
            )
        folder.write("config.ini", config.text.encode())
    else:
        config = load_config(arguments.config, overrides)
        folder = RunFolder.create(config.run.output, config.text)
    _log_to(folder)
    workers = config.run.workers
    print(
        f"{config.run.strategy}, seed {config.run.seed}, {workers} worker{'s'[: workers != 1]}, "
        f"writing to {folder.path}",
        flush=True,
    )
    started = time.perf_counter()
    evolution = Evolution(config, folder, state=state, say=_say, progress=not arguments.quiet)
    caught = _Signals(evolution)
    with caught:
        outcome = evolution.run()
        _tell(outcome, folder, time.perf_counter() - started)
        pictures = config.run.pictures and not arguments.no_pictures
        if pictures and outcome.champion is not None and not caught.number:
            from mkds_neat.report import write_pictures

            print("driving the champion's race again, for pictures ...", flush=True)
            write_pictures(folder, outcome.champion, lambda: bool(caught.number))
            print(f"pictures: {folder.path / 'champion.gif'}, {folder.path / 'champion.png'}")
    return 128 + caught.number if outcome.reason == "stopped" else 0


def _say(line: str) -> None:
    logging.getLogger("mkds_neat").info(line)
    print(line, flush=True)


def _tell(outcome: Outcome, folder: RunFolder, seconds: float) -> None:
    resume = f"python -m mkds_neat.run --resume {folder.path}"
    if outcome.champion is None:
        print(f"stopped before any driver was evaluated; go on with: {resume}")
        return
    if outcome.reason == "finished":
        _say(
            f"a driver finished the race, after {outcome.generation} generations and "
            f"{seconds / 60.0:.1f} minutes"
        )
    elif outcome.reason == "solved":
        _say(f"the fitness threshold was met after {outcome.generation} generations")
    elif outcome.reason == "stopped":
        print(f"stopped in generation {outcome.generation}; go on with: {resume}")
    else:
        print(
            f"all {outcome.generation} generations done; for more: {resume} --generations "
            f"{outcome.generation * 2}"
        )
    _say(f"champion: {outcome.champion.describe()}")
    print(f"saved: {folder.path / 'champion.json'}, {folder.path / 'champion.pt'}", flush=True)


def _log_to(folder: RunFolder) -> None:
    handler = logging.FileHandler(folder.path / "run.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("mkds_neat", "mkds_gym"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)


class _Signals:
    """Turns the first Ctrl-C or SIGTERM into a clean stop; the next one is the usual kind."""

    def __init__(self, evolution: Evolution) -> None:
        self._evolution = evolution
        self._old: dict[int, Any] = {}
        self.number = 0

    def __enter__(self) -> _Signals:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._old[number] = signal.signal(number, self._catch)
        return self

    def __exit__(self, *error: object) -> None:
        for number, old in self._old.items():
            signal.signal(number, old)

    def _catch(self, number: int, frame: object) -> None:  # noqa: ARG002
        self.number = number
        self._evolution.stop()
        for caught in self._old:
            signal.signal(caught, _abort)


def _abort(number: int, frame: object) -> None:  # noqa: ARG001
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
