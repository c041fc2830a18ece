"""Make a run, print its folder, and end in the way that the argument names."""

import os
import sys
import time

from mkds_gym.viewer import Bus

bus = Bus(2, label="left over")
print(bus.folder, flush=True)
how = sys.argv[1]
if how == "exception":
    raise RuntimeError("on purpose")
if how == "wait":
    time.sleep(60)
if how == "fork":
    if os.fork() == 0:
        sys.exit(0)
    os.wait()
    print(len(list(bus.folder.iterdir())), flush=True)
