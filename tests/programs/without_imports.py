"""Use the installed library, and that of the argument, without access to their imports."""

import os
import sys

from mkds_gym.emulator import Console
from mkds_gym.emulator.desmume import internals
from mkds_gym.emulator.desmume.loader import LIBRARY_VARIABLE


def refuse(_: bytes) -> dict[str, int]:
    raise ValueError("no slots")


internals.import_slots = refuse
print("before", flush=True)
for path in ("", sys.argv[1]):
    os.environ[LIBRARY_VARIABLE] = path
    with Console() as console:
        capabilities = console.capabilities
        assert not capabilities.quiet
        assert not capabilities.private_battery
        assert not capabilities.fixed_clock
        assert capabilities.jit == (not path)
        console.step(1, 30)
        console.restore(console.snapshot())
        console.step()
print("after")
