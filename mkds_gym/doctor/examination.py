"""The whole examination, in order."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Final

from mkds_gym.doctor.files import check_cartridge, check_courses, check_machine
from mkds_gym.doctor.finding import BAD, ODD, Finding
from mkds_gym.doctor.running import FRAMES, check_running
from mkds_gym.emulator.cartridge import ROM_VARIABLE, Cartridge
from mkds_gym.emulator.desmume.loader import installed_build_id
from mkds_gym.errors import MKDSError
from mkds_gym.starts.library import read_entries, read_start
from mkds_gym.utils.files import exists

_KEEP: Final = (
    "drive to a grid in `python -m mkds_gym.play --rom {}` and press K, or run "
    "`python -m mkds_gym.starts import STATE`"
)
_DUMP: Final = "give a complete dump of Mario Kart DS"
_WHICH: Final = "give the path of a dump, or a name that `python -m mkds_gym.roms list` shows"


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
        named = rom or os.environ.get(ROM_VARIABLE)
        there = named is None or exists(Path(named))
        yield Finding("cartridge", BAD, str(error), _DUMP if there else _WHICH)
        return
    yield from check_courses(cartridge)
    if any(finding.level == BAD for finding in machine):
        return
    given = [(f"state {path.name}", path) for path in states]
    kept: list[tuple[str, Path]] = []
    try:
        starts = read_entries(cartridge.sha1)
    except MKDSError as error:
        yield Finding("starts", BAD, str(error), "make the folder readable")
    else:
        for name, start in starts.items():
            try:
                if isinstance(start, MKDSError):
                    raise start
                read_start(start, cartridge, installed_build_id())
                kept.append((f"start {name}", start.path))
            except MKDSError as error:
                yield Finding(f"start {name}", BAD, str(error), "keep the start again")
        if not starts and not cartridge.boot_parameters:
            yield Finding(
                "starts",
                ODD,
                "no race start is kept",
                _KEEP.format(shlex.quote(str(rom or cartridge.path))),
            )
    yield from check_running(cartridge, [*kept, *given], frames)
