"""Race starts that the user keeps, by cartridge and course: ``python -m mkds_gym.starts``."""

from mkds_gym.starts.library import KeptStart, kept_starts
from mkds_gym.starts.making import keep_start

__all__ = ["KeptStart", "keep_start", "kept_starts"]
