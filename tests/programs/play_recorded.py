"""Play a race that is recorded to a file, saved every 40 frames."""

import sys

import mkds_gym.play.player
from mkds_gym.play.__main__ import main

mkds_gym.play.player.SAVED_EVERY = 40
sys.exit(main(["--class", "150", "--record", sys.argv[1]]))
