"""Keep race starts from savestates of the desktop emulator or of `Console.save_state`."""

from __future__ import annotations

import base64
import resource
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.console import Console
from mkds_gym.emulator.desmume.loader import installed_build_id
from mkds_gym.emulator.states.state_file import read_state, unpack_state
from mkds_gym.errors import MKDSError, StateError
from mkds_gym.starts import library
from mkds_gym.starts.library import KeptStart
from mkds_gym.starts.making import make_start
from mkds_gym.utils.child import answer_parent, run_in_child

TIMEOUT: Final = 300
"""Seconds that the child process may take for a state, on a machine that does much else."""
_PROCESSOR_TIME: Final = 60
"""Seconds of processor time that it may take."""
_OTHER_ROM: Final = "is of another ROM"
_KINDS: Final = ("not in a race", "after GO")
"""How messages of `make_start` begin."""


@dataclass(frozen=True)
class Outcome:
    """Outcome of the import of one savestate.

    Attributes:
        path: the file.
        kind: ``"kept"``, ``"replaced"``, ``"duplicate"``, ``"wrong cartridge"``,
            ``"not in a race"``, ``"after GO"`` or ``"refused"``.
        start: the kept start, or the one that the file duplicates.
        problem: why the file was refused, else empty.
    """

    path: Path
    kind: str
    start: KeptStart | None = None
    problem: str = ""


def import_state(path: Path, cartridges: Sequence[Cartridge], *, replace: bool = False) -> Outcome:
    """Keep the race start in a savestate.

    The state is loaded in a child process, because a damaged state can crash the emulator. The
    child runs to GO and saves a state of its own, which is kept.

    Args:
        path: the savestate.
        cartridges: cartridges that the state may be of.
        replace: replace a kept start of the same race.
    """
    problem = "no cartridge is imported: run `python -m mkds_gym.roms import FILE` first"
    for cartridge in cartridges:
        try:
            read_state(path, cartridge, installed_build_id())
            start, state = _load_in_child(path, cartridge)
            same = library.duplicate_of(start)
            if same is not None and not replace:
                return Outcome(path, "duplicate", same)
            kept = library.keep(start, state)
            return Outcome(path, "kept" if same is None else "replaced", kept)
        except MKDSError as error:
            problem = str(error)
            if _OTHER_ROM not in problem:
                kind = next((each for each in _KINDS if problem.startswith(each)), "refused")
                return Outcome(path, kind, problem=problem)
    return Outcome(path, "wrong cartridge" if cartridges else "refused", problem=problem)


def _load_in_child(path: Path, cartridge: Cartridge) -> tuple[KeptStart, bytes]:
    request = (cartridge, str(path.absolute()))
    result = run_in_child("mkds_gym.starts.importing", request, TIMEOUT)
    if result.hangs:
        raise StateError("the emulator hangs on it: it is damaged; save it again")
    if result.status != 0 or not result.answers:
        raise StateError(
            f"the emulator crashes on it ({result.ending}): it is damaged; save it again"
        )
    (answer,) = result.answers
    if "error" in answer:
        raise StateError(answer["error"])
    state = base64.b64decode(answer.pop("state"))
    unpack_state(state, "the start")  # checks its checksum
    return KeptStart(**answer), state


def _answer(request: tuple[Cartridge, str]) -> Iterator[dict[str, Any]]:
    """In the child: yield the start and its state, or why there is none."""
    cartridge, path = request
    resource.setrlimit(resource.RLIMIT_CPU, (_PROCESSOR_TIME, _PROCESSOR_TIME))
    try:
        with Console(cartridge) as console:
            console.load_state(path)
            start, state = make_start(console)
    except MKDSError as error:
        yield {"error": str(error)}
    else:
        yield {**asdict(start), "state": base64.b64encode(state).decode("ascii")}


if __name__ == "__main__":
    answer_parent(_answer)
