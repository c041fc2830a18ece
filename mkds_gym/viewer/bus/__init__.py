"""Shared memory between the processes that step environments and the viewer's window."""

from mkds_gym.viewer.bus.bus import Bus
from mkds_gym.viewer.bus.layout import MAX_TILES, Board, State, Status
from mkds_gym.viewer.bus.publisher import Publisher
from mkds_gym.viewer.bus.reader import Run, Shot, Tile
from mkds_gym.viewer.bus.runs import runs

__all__ = [
    "MAX_TILES",
    "Board",
    "Bus",
    "Publisher",
    "Run",
    "Shot",
    "State",
    "Status",
    "Tile",
    "runs",
]
