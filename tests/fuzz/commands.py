"""Command lines of every ``python -m`` command, in this process."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .kinds import Kind, RefusedError
from .mutations import ODD_WORDS

LONGEST = 3000
"""Characters that a refused command may print to the standard error."""
COMMANDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "mkds_gym.roms.__main__": (
        ("list",),
        ("import", "game.nds"),
        ("import", "game.nds", "--name", "mine", "--region", "USA"),
        ("remove", "mine"),
    ),
    "mkds_gym.starts.__main__": (
        ("list",),
        ("list", "--rom", "game.nds"),
        ("import", "race.state", "--rom", "game.nds"),
        ("import", "race.state", "--replace"),
        ("remove", "cross_course", "--rom", "game.nds"),
    ),
    "mkds_gym.replay.__main__": (
        ("run.mkr",),
        ("run.mkr", "--gif", "a.gif", "--speed", "2", "--scale", "1", "--overlays", "hud,rays"),
        ("run.mkr", "--sheet", "a.png", "--pictures", "3", "--screens", "both", "--names", "a"),
        ("run.mkr", "run.mkr", "--video", "a.mp4", "--ghosts"),
        ("run.mkr", "--movie", "a.dsm", "--save", "b.mkr", "--rom", "game.nds"),
        ("run.mkr", "--state", "race.state"),
    ),
    "mkds_gym.play.__main__": (
        ("--course", "cross_course", "--laps", "1", "--engine-class", "50", "--scale", "1"),
        ("--course", "random", "--course-seed", "5", "--difficulty", "0.5", "--seed", "1"),
        ("--mode", "vs", "--opponents", "3", "--strength", "easy", "--items", "--mirror"),
        ("--rom", "game.nds", "--state", "race.state", "--save", "a.state", "--record", "a.mkr"),
        ("--overlays", "rays,hud", "--reward", "driving", "--sensors", "seed6", "--rewind", "3"),
    ),
    "mkds_gym.viewer.__main__": (("--list",), ("run", "--scale", "2", "--overlays", "rays")),
    "mkds_gym.kartlab.__main__": (
        ("compile", "course.toml", "-o", "a.nds"),
        ("compile", "course.toml", "-o", "a.nds", "--base", "game.nds"),
        ("preview", "course.toml", "-o", "a.png"),
    ),
    "mkds_gym.drivers.survey": (
        ("--seeds", "0:1", "--difficulty", "0.5", "--engine-class", "100", "--workers", "1"),
    ),
    "mkds_gym.drivers.timing": (
        ("--courses", "cross_course", "--classes", "50", "--laps", "1", "--workers", "1"),
    ),
    "mkds_gym.doctor.__main__": (("--frames", "60", "--json", "a.json"), ("game.nds",)),
    "mkds_neat.run": (
        ("run.ini", "--seed", "1", "--workers", "1", "--generations", "1", "--output", "out"),
        ("run.ini", "--drivers-per-console", "1", "--stop-when", "never", "--log-interval", "1"),
        ("run.ini", "--show", "none", "--rom", "kartlab", "--course", "cross_course"),
        ("--resume", "out", "--generations", "2"),
    ),
    "mkds_neat.watch": (("out", "3", "--save", "b.mkr"), ("out", "--generation", "2")),
    "mkds_neat.race": (("out", "out2", "--video", "a.mp4"), ("out", "--versus", "--view", "1")),
    "mkds_neat.report.__main__": (("out", "--output", "a.html", "--no-video"),),
    "mkds_neat.export": (("out", "a.onnx"), ("out", "a.json", "--individual", "3", "--to", "json")),
    "mkds_neat.compare.__main__": (
        ("run.ini", "--strategies", "neat,ppo", "--courses", "random:5", "--seeds", "1-2"),
        ("run.ini", "--frames", "1000", "--unseen", "2", "--output", "out", "--jobs", "1"),
    ),
}
LONG = ("mkds_gym.drivers.survey", "mkds_gym.drivers.timing", "mkds_gym.doctor.__main__")
"""Commands that drive races unless they refuse their arguments."""


def command(main: Callable[[Sequence[str]], object], arguments: Sequence[str]) -> None:
    """Run a command line; raise `RefusedError` with its message if it refuses the arguments."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status: Any = main(arguments)
        except SystemExit as error:
            status = error.code
    if status in (0, None):
        return
    text = err.getvalue() or out.getvalue()
    if not text or "Traceback" in text or not isinstance(status, int):
        raise RuntimeError(f"exit status {status!r}, {text[-2000:]}")
    message = text[text.find("error:") :]
    if len(message) > LONGEST:
        raise RuntimeError(f"{main.__module__}: {len(message)} characters: {message[:200]}")
    raise RefusedError(message)


def _lines(_: Path) -> list[bytes]:
    return [
        json.dumps([name, *line]).encode() for name, lines in COMMANDS.items() for line in lines
    ]


_WORDS = (
    *ODD_WORDS,
    "/dev/null",
    "/dev/zero",
    "missing/a",
    ".",
    "1:0",
    "0:99999999999",
    "-o",
    "--",
)


def _change_line(rng: random.Random, data: bytes) -> bytes:
    """Replace, remove or add a word; always so that a long command is refused, if it should be."""
    name, *words = json.loads(data)
    for _ in range(rng.choice((1, 1, 2))):
        at, kind = rng.randrange(len(words) + 1), rng.randrange(6)
        odd = rng.choice(
            (*_WORDS, *(w for lines in COMMANDS[name] for line in lines for w in line))
        )
        if kind == 0:
            del words[at : at + 1]
        elif kind == 1:
            words.insert(at, odd)
        else:
            values = [i for i, word in enumerate(words) if not word.startswith("-")] or [0]
            place = rng.choice(values)
            words[place : place + 1] = [odd]
    if name in LONG:
        words += rng.choice((["--workers", "0"], ["--frames", "0"], ["--unknown"], ["--laps", "x"]))
    return json.dumps([name, *words]).encode()


def use_line(name: str, words: Sequence[str], folder: Path) -> None:
    """Run a command with some files in `folder`; raise `RefusedError` if it is refused."""
    from .files import _home, _roms

    (folder / "game.nds").write_bytes(_roms(folder)[0])
    (folder / "race.state").write_bytes(b"DeSmuME SState\0\0" + bytes(100))
    (folder / "run.mkr").write_bytes(_recording())
    (folder / "course.toml").write_text("x")
    (folder / "run.ini").write_text("[run]\nworkers = 0\n")
    with _home(folder):
        command(importlib.import_module(name).main, words)


def _use_line(payload: bytes, folder: Path) -> None:
    name, *words = json.loads(payload)
    use_line(name, words, folder)


def _recording() -> bytes:
    from .runs import _recording

    return bytes(_recording().to_bytes())


def _prepare() -> None:
    _recording()
    for name in COMMANDS:
        importlib.import_module(name)


KINDS = (
    Kind("command", "commands", 5, _lines, _change_line, _use_line, before=_prepare, seconds=30.0),
)
