"""Leave two windows open at the end of the process."""

import numpy as np

from mkds_gym.display.window import Window

for name in ("first", "second"):
    window = Window(name, 60)
    window.show(np.zeros((192, 256, 3), np.uint8))
print(*window.size)
