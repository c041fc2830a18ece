"""`DriverState`: one driver of a shared console, as a snapshot is a whole console."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mkds_gym.emulator.states.snapshot import Snapshot


@dataclass(eq=False)
class DriverState(Snapshot):
    """One driver of a console whose drivers are alone together.

    It takes the place of a `Snapshot`, and of a `Difference`, where a driver of a shared console
    takes the place of a console. It can be restored as any driver of any console with the same
    race.

    Attributes:
        data: the state block of the cartridge.
        frame_count: frames from power-on to the race start, and frames of the driver since then.
        race: digest of the race, see `SharedConsole.race`.
        recent: state blocks before each of the last three frames, and the keys of these frames,
            from which the picture is drawn; empty if no picture was asked for.
    """

    race: str = ""
    recent: tuple[tuple[bytes, int], ...] = field(default=(), repr=False)

    @property
    def identity(self) -> tuple[Any, ...]:
        """Hashable; equal for equal states."""
        console = (self.rom, self.build_id, self.frame_count, bytes(self.drawing))
        return (*console, bytes(self.data), self.race, self.recent)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return len(self.data) + sum(len(block) for block, _ in self.recent)

    def apply(self, start: Snapshot, *, lasting: bool = True) -> DriverState:  # noqa: ARG002
        """Return this state, as `Difference.apply` returns a snapshot."""
        return self
