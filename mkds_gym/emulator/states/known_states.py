"""States that the emulator is known to load: packed by this process, or tried before.

`mkds_gym.emulator.states.trial` tries all others in a child process. What was tried is remembered
for later processes as well, by digest, in the user's cache folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mkds_gym.utils.files import is_file
from mkds_gym.utils.user_folders import cache_folder

_MAX_HERE: Final = 1 << 16
"""Most digests that a process remembers."""
_MAX_KEPT: Final = 4096
"""Most digests in the cache folder."""
_LOCK: Final = "lock"
_LOCK_TIME: Final = 60.0
"""Seconds that a process waits for another one to try a state."""

_here: dict[str, None] = {}


def fingerprint(contents: bytes, rom: str, build_id: str) -> str:
    """Return the digest of a state for a cartridge and a build of the emulator.

    Args:
        contents: the contents of its file.
        rom: SHA-1 of the ROM.
        build_id: SHA-256 of the emulator library.
    """
    digest = hashlib.sha256(f"{rom} {build_id} ".encode())
    digest.update(contents)
    return digest.hexdigest()


def is_known(state: str) -> bool:
    """Return whether a state of this fingerprint may be loaded without a trial."""
    if state in _here:
        return True
    with contextlib.suppress(OSError):
        if state and is_file(_folder() / state):
            remember(state)
            return True
    return False


def remember(state: str, *, lasting: bool = False) -> None:
    """Remember a fingerprint.

    Args:
        state: the fingerprint; nothing is remembered of an empty one.
        lasting: also for later processes of the user, if the cache folder can be written.
    """
    if not state:
        return
    while len(_here) >= _MAX_HERE:
        with contextlib.suppress(KeyError, StopIteration, RuntimeError):
            del _here[next(iter(_here))]
    _here[state] = None
    if lasting:
        with contextlib.suppress(OSError):
            _folder().mkdir(parents=True, exist_ok=True)
            (_folder() / state).touch()
            _forget_oldest()


def _folder() -> Path:
    return cache_folder() / "states"


def _forget_oldest() -> None:
    entries = [entry for entry in _folder().iterdir() if entry.name != _LOCK]
    if len(entries) > _MAX_KEPT:
        entries.sort(key=lambda entry: entry.stat().st_mtime)
        for entry in entries[: len(entries) - _MAX_KEPT * 3 // 4]:
            entry.unlink(missing_ok=True)


@contextlib.contextmanager
def trial_lock() -> Iterator[None]:
    """While the body runs, other processes of the user that try a state wait, for a minute at most.

    Several workers that load the same state then try it once.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            _folder().mkdir(parents=True, exist_ok=True)
            file = stack.enter_context((_folder() / _LOCK).open("ab"))
            deadline = time.monotonic() + _LOCK_TIME
            while time.monotonic() < deadline:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                time.sleep(0.02)
        yield
