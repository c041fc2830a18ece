"""Watch environments: pictures go through shared memory to a window in its own process."""

from mkds_gym.viewer.attach import Viewer, WindowProcess
from mkds_gym.viewer.bus import (
    MAX_TILES,
    Board,
    Bus,
    Publisher,
    Run,
    Shot,
    State,
    Status,
    Tile,
    runs,
)
from mkds_gym.viewer.race_publisher import RacePublisher
from mkds_gym.viewer.show import SHOW_WORDS, parse_show

__all__ = [
    "MAX_TILES",
    "SHOW_WORDS",
    "Board",
    "Bus",
    "Publisher",
    "RacePublisher",
    "Run",
    "Shot",
    "State",
    "Status",
    "Tile",
    "Viewer",
    "WindowProcess",
    "parse_show",
    "runs",
]
