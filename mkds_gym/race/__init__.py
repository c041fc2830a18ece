"""A race in the game's memory: where it lies, how to read it, and what its values mean."""

from mkds_gym.race.memory_layout import MemoryLayout
from mkds_gym.race.reader import CameraState, ObjectState, RaceReader
from mkds_gym.race.state import OpponentState, RaceState

__all__ = [
    "CameraState",
    "MemoryLayout",
    "ObjectState",
    "OpponentState",
    "RaceReader",
    "RaceState",
]
