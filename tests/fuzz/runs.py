"""Kinds of run folders, start states, and deaths at a write."""

from __future__ import annotations

import contextlib
import csv
import functools
import hashlib
import io
import json
import os
import random
import resource
import shutil
import signal
import struct
import sys
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .commands import command
from .files import _home, _import_torch, bomb, champion, placed, with_special
from .kinds import Kind
from .mutations import change_bytes, change_json, change_json_lines, change_text
from .states import TRIAL, change_our_state

# Run folders -------------------------------------------------------------------------------------


def _config() -> str:
    from neat_config import config_text

    text: str = config_text(
        run__generations=2,
        run__workers=1,
        run__drivers_per_console="auto",
        run__stop_when="never",
        run__start_method="fork",
        run__output="run",
        environment__id="Drawn-v0",
        environment__sensors=None,
        environment__action_type=None,
        environment__frame_skip=None,
        evaluation__scorer="10",
        NEAT__pop_size=4,
    )
    return text


def evolve(*arguments: str) -> None:
    """Run the command in the working directory."""
    from mkds_neat.run import main

    command(main, [*arguments, "--quiet", "--no-pictures"])


def _packed(folder: Path) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.writestr(str(path.relative_to(folder)), path.read_bytes())
    return data.getvalue()


def _run_folders(folder: Path) -> list[bytes]:
    """Return a complete run, and one that died before its last checkpoint."""
    (folder / "run.ini").write_text(_config())
    folders = []
    for deadly in (None, "000002"):
        process = os.fork()
        if process == 0:
            os.chdir(folder)
            if deadly is not None:
                sys.addaudithook(lambda event, args: _die_at(event, args, "000002"))
            evolve("run.ini")
            os._exit(0)
        os.waitpid(process, 0)
        folders.append(_packed(folder / "run"))
        shutil.rmtree(folder / "run")
    return folders


def _die_at(event: str, args: tuple[Any, ...], name: str) -> None:
    if event == "os.rename" and name in str(args[1]):
        os._exit(0)


def change_run_folder(rng: random.Random, data: bytes) -> bytes:
    """Change, empty or remove a file."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    read = [name for name in files if not name.endswith((".png", ".gif", ".pt", ".log"))]
    name = rng.choice(read)
    kind = rng.randrange(12)
    if kind == 0:
        del files[name]
    elif kind == 1:
        files[name] = b""
    elif name.endswith(".jsonl"):
        files[name] = change_json_lines(rng, files[name])
    elif name.endswith(".json") and "/" not in name:
        files[name] = change_json(rng, files[name])
    elif name.endswith((".csv", ".ini")):
        files[name] = change_text(rng, files[name])
    else:
        for each in [each for each in read if each.startswith("checkpoints/")]:
            if each == name or rng.random() < 0.5:
                files[each] = _change_checkpoint(rng, files[each])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for each, contents in files.items():
            archive.writestr(each, contents)
    return packed.getvalue()


def _change_checkpoint(rng: random.Random, data: bytes) -> bytes:
    """Change the second line, of which the first has the checksum; or bytes."""
    head, line, body = data.partition(b"\n")
    if rng.random() < 0.3 or not line:
        return change_bytes(rng, data)
    body = change_json(rng, body).rstrip(b"\n")
    values = {**json.loads(head), "sha256": hashlib.sha256(body).hexdigest()}
    return json.dumps(values).encode() + b"\n" + body + b"\n"


def _rows(folder: Path) -> set[tuple[str, str]]:
    path = folder / "individuals.csv"
    assert path.is_file(), "individuals.csv is lost"
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        return {(row["generation"], row["id"]) for row in csv.DictReader(file)}


def _use_run_folder(payload: bytes, folder: Path) -> None:
    """Resume. An accepted folder must have all its rows at the end."""
    with zipfile.ZipFile(io.BytesIO(payload)) as archive:
        archive.extractall(folder / "run")
        (folder / "run" / "checkpoints").mkdir(exist_ok=True)
    evolve("--resume", "run")
    rows = _rows(folder / "run")
    assert {row[0] for row in rows} >= {"0", "1"}, f"rows are lost: {sorted(rows)}"
    _leave_no_children()


def _leave_no_children() -> None:
    import multiprocessing

    assert not multiprocessing.active_children(), "a worker is left"


# Start states ------------------------------------------------------------------------------------


@functools.cache
def _env() -> Any:
    import gymnasium as gym

    import mkds_gym.env  # noqa: F401

    env = gym.make("MKDS-v0")
    env.reset(seed=0)
    return env


def _start_states(folder: Path) -> list[bytes]:
    from mkds_gym.wrappers import StartStates

    StartStates.collect(_env(), 2, laps=0.05).save(folder / "starts")
    data = (folder / "starts").read_bytes()
    (folder / "starts").unlink()
    return [data]


_STARTS = struct.Struct("<20s32sI")
"""Magic, SHA-256 of what follows, and size of the header of a file of start states."""


def change_start_states(rng: random.Random, data: bytes) -> bytes:
    """Change the header, a savestate in the file or other bytes, with the right checksum."""
    if rng.random() < 0.15:
        return change_bytes(rng, data)
    magic, _, size = _STARTS.unpack_from(data)
    header, rest = data[_STARTS.size :][:size], data[_STARTS.size + size :]
    kind = rng.random()
    base = json.loads(header)["bases"][0]
    if kind < 0.6:
        header = change_json(rng, header)
    elif kind < 0.9:
        state = bomb() if kind > 0.88 else change_our_state(rng, rest[:base])
        values = json.loads(header)
        values["bases"][0] = len(state)
        header, rest = json.dumps(values).encode(), state + rest[base:]
    else:
        rest = rest[:base] + change_bytes(rng, rest[base:])
    size = len(header) if rng.random() < 0.97 else rng.choice((0, 1, 0xFFFFFFFF))
    body = struct.pack("<I", size) + header + rest
    return magic + hashlib.sha256(body).digest() + body


def _use_start_states(payload: bytes, folder: Path) -> None:
    from mkds_gym.wrappers import StartStates

    env = _env().unwrapped
    states = StartStates.load(placed(payload, folder, "starts"))
    for state in states:
        env.reset(options={"state": state})
        env.step(0)


# Deaths at a write -------------------------------------------------------------------------------

_EVENTS = ("os.rename", "os.remove", "os.mkdir", "os.truncate", "os.rmdir")


class _Killer:
    """Kills this process at a number of a change to the file system."""

    def __init__(self, number: int, keep: float | None) -> None:
        self._number = number
        self._keep = keep
        self._opened: Any = None
        self._busy = False

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if self._busy:
            return
        writes = (
            event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if not (writes or event in _EVENTS) or "/dev/" in str(args[0]):
            return
        self._busy = True
        self._number -= 1
        if self._number < 0:
            if self._keep is not None and self._opened is not None:  # a write that was cut short
                path, before = self._opened
                with contextlib.suppress(OSError):
                    size = path.stat().st_size
                    os.truncate(path, before + int(max(0, size - before) * self._keep))
            os.kill(os.getpid(), signal.SIGKILL)
        if writes and isinstance(args[0], str | bytes | os.PathLike):
            path = Path(os.fsdecode(args[0])).absolute()
            appends = args[2] & os.O_APPEND and path.exists()
            self._opened = path, path.stat().st_size if appends else 0
        self._busy = False


def _in_child(action: Callable[[], object], killer: _Killer | None) -> bool:
    """Run an action in a forked process. Return whether it came to its end."""
    failure = Path.cwd() / "failure.txt"
    process = os.fork()
    if process == 0:
        status = 1
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
            if killer is not None:
                sys.addaudithook(killer)
            action()
            status = 0
        except BaseException as error:
            failure.write_text(f"{type(error).__name__}: {error}")
        finally:
            os._exit(status)
    _, status = os.waitpid(process, 0)
    if not os.WIFSIGNALED(status):
        if status:
            raise RuntimeError(f"the action fails: {failure.read_text()}")
        return True
    deadline = time.monotonic() + 5  # its workers notice its death
    while time.monotonic() < deadline:
        try:
            os.killpg(process, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.02)
    os.killpg(process, signal.SIGKILL)
    raise AssertionError("a process is left after the death of its parent")


def _save_recording(folder: Path) -> None:
    _recording().save(folder / "run.mkr")


@functools.cache
def _recording() -> Any:
    from recordings import record

    return record(5)


def _load_recording(folder: Path) -> None:
    from mkds_gym.recording.format import Recording

    assert Recording.load(folder / "run.mkr").to_bytes() == _recording().to_bytes()


def _save_states(folder: Path) -> None:
    from mkds_gym.wrappers import StartStates

    StartStates([_cloned()]).save(folder / "starts")


@functools.cache
def _cloned() -> Any:
    return _env().unwrapped.clone_state()


def _load_states(folder: Path) -> None:
    from mkds_gym.wrappers import StartStates

    assert len(StartStates.load(folder / "starts")) == 1


def _import_rom(folder: Path) -> None:
    from mkds_gym.roms.importing import import_path

    with _home(folder):
        problems = [each.problem for each in import_path(folder / "game.nds.gz")]
    assert problems == [""]


def _find_rom(folder: Path) -> None:
    from mkds_gym.roms import imported

    with _home(folder):
        assert len(list(imported())) <= 1


def _prepare_rom(folder: Path) -> None:
    import gzip

    from .files import _roms

    (folder / "game.nds.gz").write_bytes(gzip.compress(_roms(folder)[1], 1))


def _keep_start(folder: Path) -> None:
    from mkds_gym.starts import library
    from mkds_gym.starts.library import KeptStart

    start = KeptStart("", "ab" * 20, "course", "vs", 100, False, 1, 1, 8, 3, "0" * 64)
    with _home(folder):
        library.keep(start, b"x" * 50_000)


def _find_start(folder: Path) -> None:
    from mkds_gym.starts import kept_starts

    with _home(folder), warnings.catch_warnings():
        warnings.simplefilter("error")  # a damaged entry is left out with a warning
        for start in kept_starts("ab" * 20):
            assert start.path.read_bytes() == b"x" * 50_000


def _evolve(folder: Path) -> None:
    os.chdir(folder)
    if (folder / "run" / "config.ini").exists():
        evolve("--resume", "run")
    else:  # it died before it had said the name of its folder
        shutil.rmtree("run", ignore_errors=True)
        evolve("run.ini")


def _prepare_run(folder: Path) -> None:
    (folder / "run.ini").write_text(_config())


def _check_run(folder: Path) -> None:
    """The finished run has all rows, and nothing half-written."""
    rows = _rows(folder / "run")
    assert {row[0] for row in rows} == {"0", "1"}, f"rows are lost: {sorted(rows)}"
    left = [str(path) for path in (folder / "run").rglob(".*")]
    assert not left, f"left behind: {left}"
    json.loads((folder / "run" / "champion.json").read_text())


_Step = Callable[[Path], object]
_ACTIONS: dict[str, tuple[_Step, _Step, _Step, bool]] = {
    # Prepare, do, check; whether the result of the first time is there during the second.
    "recording": (lambda folder: None, _save_recording, _load_recording, True),
    "start_states": (lambda folder: None, _save_states, _load_states, True),
    "rom_import": (_prepare_rom, _import_rom, _find_rom, False),
    "kept_start": (lambda folder: None, _keep_start, _find_start, True),
    "evolution": (_prepare_run, _evolve, _check_run, False),
}


def _actions(_: Path) -> list[bytes]:
    return [json.dumps({"action": name}).encode() for name in _ACTIONS]


def _change_death(rng: random.Random, data: bytes) -> bytes:
    action = json.loads(data)["action"]
    number = rng.randrange(60 if action == "evolution" else 8)
    keep = rng.choice((None, None, 0.0, rng.random()))
    return json.dumps({"action": action, "number": number, "keep": keep}).encode()


def _use_death(payload: bytes, folder: Path) -> None:
    """Die at a write, and go on: nothing is lost or damaged."""
    case = json.loads(payload)
    prepare, do, check, again = _ACTIONS[case["action"]]
    prepare(folder)
    if again:
        do(folder)
    whole = _in_child(lambda: do(folder), _Killer(case["number"], case["keep"]))
    try:
        if again or whole:
            check(folder)
        _in_child(lambda: do(folder), None)
        check(folder)
    except Exception as error:
        raise AssertionError(f"lost or damaged by the death: {error}") from error


def _prepare_deaths() -> None:
    _import_torch()
    _recording()
    _cloned()
    champion()
    import mkds_neat.run  # noqa: F401
    from mkds_neat import evolution  # noqa: F401


KINDS = (
    Kind(
        "run_folder",
        "neat",
        1,
        _run_folders,
        change_run_folder,
        _use_run_folder,
        before=_import_torch,
        seconds=10.0,
    ),
    Kind(
        "start_states",
        "emulator",
        1,
        _start_states,
        with_special(change_start_states),
        _use_start_states,
        before=_env,
        seconds=10.0,
        refusal=TRIAL,
    ),
    Kind(
        "death",
        "death",
        0.4,
        _actions,
        _change_death,
        _use_death,
        before=_prepare_deaths,
        seconds=20.0,
    ),
)
