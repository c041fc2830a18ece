"""The whole examination, in order."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Final

from mkds_gym.doctor.files import check_cartridge, check_courses, check_machine
from mkds_gym.doctor.finding import BAD, ODD, Finding
from mkds_gym.doctor.running import FRAMES, check_running
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.errors import MKDSError
from mkds_gym.starts import kept_starts

_KEEP: Final = (
    "drive to a grid in `python -m mkds_gym.play --rom {}` and press K, or run "
    "`python -m mkds_gym.starts import STATE`"
)


def examine(
    rom: str | PathLike[str] | None = None, states: Sequence[Path] = (), frames: int = FRAMES
) -> Iterator[Finding]:
    """Examine the machine, a cartridge and its race starts.

    Args:
        rom: as for `Cartridge.open`.
        states: savestates to read besides the kept starts.
        frames: number of frames for the speed.

    Yields:
        Findings. None contains data of the game.
    """
    machine = list(check_machine())
    yield from machine
    try:
        cartridge = Cartridge.open(rom)
        yield from check_cartridge(cartridge)
    except (MKDSError, OSError) as error:
        yield Finding("cartridge", BAD, str(error), "give a complete dump of Mario Kart DS")
        return
    yield from check_courses(cartridge)
    if any(finding.level == BAD for finding in machine):
        return
    named = [(f"state {path.name}", path) for path in states]
    try:
        kept = [(f"start {start.name}", start.path) for start in kept_starts(cartridge.sha1)]
    except MKDSError as error:
        yield Finding("starts", BAD, str(error), "delete the entry, and keep the start again")
        kept = []
    else:
        if not kept and not cartridge.boot_parameters:
            yield Finding(
                "starts",
                ODD,
                "no race start is kept",
                _KEEP.format(shlex.quote(str(rom or cartridge.path))),
            )
    yield from check_running(cartridge, [*kept, *named], frames)
