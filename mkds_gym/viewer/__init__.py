"""See environments drive: pictures through shared memory, in a window of a process of its own."""

from __future__ import annotations

from mkds_gym.viewer.attach import Viewer, WindowProcess
from mkds_gym.viewer.bus import (
    MAX_TILES,
    SHOW_WORDS,
    Board,
    Bus,
    Publisher,
    State,
    Status,
    parse_show,
    runs,
)
from mkds_gym.viewer.publisher import RacePublisher

__all__ = [
    "MAX_TILES",
    "SHOW_WORDS",
    "Board",
    "Bus",
    "Publisher",
    "RacePublisher",
    "State",
    "Status",
    "Viewer",
    "WindowProcess",
    "parse_show",
    "runs",
]
