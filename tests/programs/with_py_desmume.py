"""Use py-desmume's own emulator and a console in one process."""

from desmume.emulator import DeSmuME

from mkds_gym.emulator import Console
from mkds_gym.emulator.cartridge import BUNDLED_ROM

emulator = DeSmuME()
emulator.open(str(BUNDLED_ROM))
console = Console()
for _ in range(5):
    emulator.cycle(False)
console.step(0, 5)
console.close()
emulator.cycle(False)
print("both")
