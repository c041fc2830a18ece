"""Recordings driven again, shown, and converted to other formats."""

from mkds_gym.replay.dsm import read_movie, write_movie
from mkds_gym.replay.minari import to_minari
from mkds_gym.replay.replay import Replay, ReplayFrame, environment, verify
from mkds_gym.replay.show import Show, ghost, show

__all__ = [
    "Replay",
    "ReplayFrame",
    "Show",
    "environment",
    "ghost",
    "read_movie",
    "show",
    "to_minari",
    "verify",
    "write_movie",
]
