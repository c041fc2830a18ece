"""Run ``python -m mkds_gym.play``."""

import sys

from mkds_gym.play.app import main

if __name__ == "__main__":
    sys.exit(main())
