"""Run the replay command in a process whose files stay below 32 KiB, like on a full disk."""

import resource
import sys

from mkds_gym.replay.__main__ import main

resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 15, 1 << 15))
sys.exit(main(sys.argv[1:]))
