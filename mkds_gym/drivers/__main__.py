"""Run ``python -m mkds_gym.drivers``."""

import sys

from mkds_gym.drivers.timing import main

if __name__ == "__main__":
    sys.exit(main())
