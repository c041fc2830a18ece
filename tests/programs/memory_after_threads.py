"""Print the growth in MiB while threads save a state and end."""

import os
import threading
from pathlib import Path

from consoles import race_console

from mkds_gym.emulator.desmume.loader import trim_memory


def resident() -> int:
    trim_memory()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


console = race_console()
console.step(0, 60, draw=False)
start = console.snapshot()


def save() -> None:
    console.difference(start).apply(start)
    console.snapshot()


over = threading.Event()
# The C library has a limited number of heaps. With this many threads, a new one gets any of them.
others = [threading.Thread(target=over.wait) for _ in range(8 * (os.cpu_count() or 1) + 1)]
for thread in others:
    thread.start()
seen = []
for _ in range(20):
    thread = threading.Thread(target=save)
    thread.start()
    thread.join()
    seen.append(resident())
over.set()
print((seen[-1] - seen[2]) / 2**20)
