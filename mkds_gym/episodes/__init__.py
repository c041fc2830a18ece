"""Where episodes start: race arguments, race starts, and cloned states."""

from mkds_gym.episodes.cloned_state import ClonedState
from mkds_gym.episodes.race_config import RaceArguments, RaceConfig
from mkds_gym.episodes.race_start import RaceStart
from mkds_gym.episodes.start_manager import StartManager

__all__ = ["ClonedState", "RaceArguments", "RaceConfig", "RaceStart", "StartManager"]
