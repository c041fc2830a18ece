"""A race in the game's memory: its layout, a reader, and its state as values with units."""

from mkds_gym.race.frames import RaceFrames
from mkds_gym.race.memory_layout import MemoryLayout
from mkds_gym.race.reader import CameraState, ObjectState, RaceReader
from mkds_gym.race.state import OpponentState, RaceState

__all__ = [
    "CameraState",
    "MemoryLayout",
    "ObjectState",
    "OpponentState",
    "RaceFrames",
    "RaceReader",
    "RaceState",
]
