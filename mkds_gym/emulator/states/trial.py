"""Try states in a child process, because a damaged one can crash or hang the emulator.

DeSmuME trusts its savestates: sizes, indices, positions in tables. The child
(`mkds_gym.emulator.states.trial_child`) compares a state chunk by chunk with one that the emulator
has just saved of the same cartridge, loads it and runs some frames, and may die. This shows that
the state can be loaded; it cannot show that no later frame crashes. A state that passes is
remembered (`mkds_gym.emulator.states.known_states`), and is not tried again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.states import known_states
from mkds_gym.emulator.states.state_file import (
    OWN_VERSION,
    ReadState,
    desmume_version,
    is_of_other_version,
)
from mkds_gym.errors import ConsoleError, StateError, reason
from mkds_gym.utils.child import Result, run_in_child

START_TIME: Final = 120.0
"""Seconds that the child may take to start, on a machine that does much else."""
_GROUP: Final = 4
"""States that one child tries; each has 11 MiB."""
STATE_TIME: Final = 15.0
"""Seconds that a state may take in the child, which limits its processor time as well."""


@dataclass(frozen=True)
class TrialRequest:
    """States to try.

    Attributes:
        cartridge: the cartridge that they are of.
        library: path of the emulator library.
        jit: whether the recompiler is on.
        states: savestates of DeSmuME, uncompressed.
    """

    cartridge: Cartridge
    library: Path
    jit: bool
    states: list[bytes]


def ensure_loadable(
    states: Sequence[ReadState], cartridge: Cartridge, library: Path, *, jit: bool
) -> None:
    """Try the states that are not known to load.

    Args:
        states: states of the cartridge and of this build of the emulator.
        cartridge: the cartridge.
        library: path of the emulator library.
        jit: whether the console that loads them uses the recompiler.

    Raises:
        StateError: a state is damaged; the message names it.
        ConsoleError: the child process cannot be started.
    """
    if not _unknown(states, jit):
        return
    with known_states.trial_lock():
        unknown = _unknown(states, jit)  # another process may have tried them meanwhile
        for state, fault in zip(
            unknown, faults(unknown, cartridge, library, jit=jit), strict=False
        ):
            if fault:
                raise _refusal(state, fault)
        for state in unknown:
            known_states.remember(_tried(state, jit), lasting=True)


def faults(
    states: Sequence[ReadState], cartridge: Cartridge, library: Path, *, jit: bool
) -> Iterator[str]:
    """Try states, and yield what is wrong with each; "" if the emulator loads and runs it.

    Args, Raises: as for `ensure_loadable`.
    """
    place = 0
    while place < len(states):
        group = states[place : place + _GROUP]
        found = _try(group, cartridge, library, jit)
        yield from found
        place += len(found)  # after a death, the next child goes on with the next state


def _unknown(states: Sequence[ReadState], jit: bool) -> list[ReadState]:
    known = known_states.is_known
    return [
        state for state in states if not known(state.fingerprint) and not known(_tried(state, jit))
    ]


def _tried(state: ReadState, jit: bool) -> str:
    """What is remembered of a state that passed."""
    return f"{state.fingerprint}-{'recompiler' if jit else 'interpreter'}" * bool(state.fingerprint)


def _try(states: Sequence[ReadState], cartridge: Cartridge, library: Path, jit: bool) -> list[str]:
    """Try states in one child, up to the first that kills it."""
    request = TrialRequest(cartridge, library, jit, [bytes(each.snapshot.data) for each in states])
    timeout = START_TIME + STATE_TIME * len(states)
    name = states[0].name
    try:
        result = run_in_child("mkds_gym.emulator.states.trial_child", request, timeout)
    except OSError as error:
        raise ConsoleError(f"cannot start a process to try {name}: {reason(error)}") from error
    if not result.answers:
        *_, last = result.errors.strip().splitlines() or ["no message"]
        raise ConsoleError(f"cannot try {name}, the process for it failed: {result.ending}, {last}")
    found: list[str] = result.answers[1:]
    return found if len(found) == len(states) else [*found, _death(result)]


def _death(result: Result) -> str:
    if result.hangs:
        return "the emulator hangs on it"
    return f"the emulator crashes on it ({result.ending})"


def _refusal(state: ReadState, problem: str) -> StateError:
    name, data = state.name, state.snapshot.data
    if is_of_other_version(data):
        return StateError(
            f"{name} is of DeSmuME {desmume_version(data)}, and this emulator is DeSmuME "
            f"{OWN_VERSION} ({problem}): save it again with DeSmuME 0.9.11 or 0.9.12"
        )
    return StateError(f"{name} is damaged: {problem}; save it again")
