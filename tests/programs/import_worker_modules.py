"""Exit with status 1 if the modules of an evolution and of its workers have loaded PyTorch."""

import sys

import mkds_neat.evolution
import mkds_neat.rollout
import mkds_neat.run  # noqa: F401

sys.exit("torch" in sys.modules)
