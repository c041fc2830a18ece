"""What a kind of case is, and the table of all kinds."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Change = Callable[[random.Random, bytes], bytes]


class RefusedError(Exception):
    """A command, or an import of many files, reported a problem in words."""


@dataclass(frozen=True)
class Kind:
    """A format or an interface.

    Attributes:
        name: name of the kind.
        group: kinds of a group share a child process.
        share: cases of this kind in a campaign, in proportion to those of the others.
        seeds: makes the undamaged payloads; called once in a campaign.
        change: makes the payload of a case from an undamaged one.
        use: uses a payload in an empty folder; raises what the code under test raises.
        seconds: CPU time that an accepted case may take.
        refusal: CPU time that a refused case may take.
        before: prepares the child process; its time and memory do not count.
        after: makes ready for the next case, in the same way.
    """

    name: str
    group: str
    share: float
    seeds: Callable[[Path], list[bytes]]
    change: Change
    use: Callable[[bytes, Path], None]
    seconds: float = 5.0
    refusal: float = 1.0
    before: Callable[[], object] | None = None
    after: Callable[[bytes], object] | None = None

    def case(self, seeds: list[bytes], seed: int, number: int) -> bytes:
        """Return the payload of a case."""
        rng = random.Random(f"{self.name} {seed} {number}")
        return self.change(rng, rng.choice(seeds))


def all_kinds() -> dict[str, Kind]:
    """Return all kinds by name."""
    from . import arguments, commands, files, runs, states

    modules = (files, states, runs, arguments, commands)
    return {kind.name: kind for module in modules for kind in module.KINDS} | {CHECK.name: CHECK}


def _misbehave(payload: bytes, _: Path) -> None:
    match payload:
        case b"raw":
            raise ValueError("raised by no code of this project")
        case b"crash":
            os.abort()
        case b"hang":
            time.sleep(3600)
        case b"over-limit":
            raise RefusedError(str(len(b"x" * (300 << 20))))
        case b"documented":
            raise RefusedError("no")


_MISDEEDS = (b"accepted", b"documented", b"raw", b"crash", b"hang", b"over-limit")
CHECK = Kind("check", "check", 0, lambda _: list(_MISDEEDS), lambda _, data: data, _misbehave)
"""Misbehaves in each way, to check the campaign itself."""
