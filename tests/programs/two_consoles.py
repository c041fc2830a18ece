"""Use two consoles in the folder of the first argument; with a second one, end by SIGKILL."""

import os
import sys

from mkds_gym.emulator import Console

os.chdir(sys.argv[1])
print("before", flush=True)
one, other = Console(), Console()
one.step(1, 50)
other.step(2, 50)
one.load_state(other.save_state())
other.reset()
other.step()
if len(sys.argv) > 2:
    os.kill(os.getpid(), 9)
print("after")
