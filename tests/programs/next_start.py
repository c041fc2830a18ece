"""The next start after a death: a console, a run to watch, a file in the same folder, a resume."""

from pathlib import Path

import mkds_gym
from mkds_gym.utils.files import write_bytes
from mkds_gym.viewer import Bus
from mkds_neat.results import RunFolder

with mkds_gym.Console(), Bus(1):
    write_bytes("next.bin", b"")
if Path("out/config.ini").exists():
    with RunFolder.open("out") as folder:
        folder.lock()
