"""Make a run with a window, print its folder and the window's process, and wait."""

import time

from mkds_gym.viewer import Bus, WindowProcess

bus = Bus(1)
window = WindowProcess(bus.folder)
print(bus.folder, window.pid, flush=True)
time.sleep(60)
