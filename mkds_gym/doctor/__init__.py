"""A check-up of an installation and a cartridge: ``python -m mkds_gym.doctor [ROM]``."""

from mkds_gym.doctor.examination import examine
from mkds_gym.doctor.finding import Finding

__all__ = ["Finding", "examine"]
