"""Check that a console leaves the environment and signal handlers alone, and end by SIGTERM."""

import os
import signal

before = dict(os.environ), signal.getsignal(signal.SIGTERM)

from mkds_gym.emulator import Console  # noqa: E402

console = Console()
console.step()
assert (dict(os.environ), signal.getsignal(signal.SIGTERM)) == before
# SDL would take the handler away behind Python's back.
os.kill(os.getpid(), signal.SIGTERM)
console.step()
print("survived")
