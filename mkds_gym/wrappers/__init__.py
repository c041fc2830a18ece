"""Wrappers of ``MKDS-v0``: save each race, and start episodes along a lap."""

from mkds_gym.wrappers.random_starts import RandomStarts, StartStates
from mkds_gym.wrappers.record_races import RecordRaces

__all__ = ["RandomStarts", "RecordRaces", "StartStates"]
