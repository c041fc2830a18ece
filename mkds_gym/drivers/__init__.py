"""The scripted driver `PurePursuit`, its race times, and a survey of random courses."""

from mkds_gym.drivers.pure_pursuit import Driver, PurePursuit

__all__ = ["Driver", "PurePursuit"]
