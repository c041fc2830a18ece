"""Exit with status 1 if the modules that a worker imports have loaded torch."""

import sys

import mkds_neat.episode
import mkds_neat.run  # noqa: F401

sys.exit("torch" in sys.modules)
