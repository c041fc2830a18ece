"""Close standard output, use a console, fork, and exit with the child's status, 7."""

import os
import sys

os.close(1)

from mkds_gym.emulator import Console  # noqa: E402

console = Console()
console.step(0, 3)
console.restore(console.snapshot())
if os.fork() == 0:
    sys.exit(7)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
