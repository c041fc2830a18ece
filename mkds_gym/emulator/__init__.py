"""One emulated Nintendo DS: cartridge, console, savestates. Knows nothing of karts."""

from mkds_gym.emulator.capabilities import Capabilities
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.console import Console, Keys
from mkds_gym.emulator.desmume.loader import installed_build_id
from mkds_gym.emulator.frame_copies import FrameCopies
from mkds_gym.emulator.states.rewind import Rewind
from mkds_gym.emulator.states.snapshot import Difference, Snapshot
from mkds_gym.emulator.states.state_file import pack_state, read_state

__all__ = [
    "Capabilities",
    "Cartridge",
    "Console",
    "Difference",
    "FrameCopies",
    "Keys",
    "Rewind",
    "Snapshot",
    "installed_build_id",
    "pack_state",
    "read_state",
]
