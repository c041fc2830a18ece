"""Publish pictures into a run's tile 0 for some seconds; each has one value in all its bytes."""

import sys
import time
from pathlib import Path

import numpy as np

from mkds_gym.viewer import Publisher, Status

publisher = Publisher(Path(sys.argv[1]), 0)
pictures = [np.full((192, 256, 3), value, np.uint8) for value in range(251)]
number = 0
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    number += 1
    value = number % 251
    publisher.publish(pictures[value], Status(frame=number), bytes([value]) * 999)
    if number == 1:
        print("published", flush=True)
