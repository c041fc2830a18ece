"""The one config file of a run: the sections of mkds_neat, and those of neat-python.

============================  ======================================================================
section                       content
============================  ======================================================================
``[run]``                     `RunSettings`: strategy, seed, workers, when to stop, where to write
``[environment]``             `EnvironmentSettings`: ``id``, and arguments of ``gym.make``
``[evaluation]``              `EvaluationSettings`: length of an episode, and the fitness
``[truncation]``              `TruncationSettings`, for ``strategy = truncation``
``[NEAT]``, ``[Default...]``  neat-python's, for ``strategy = neat``; neat-python documents them
                              and requires every key
============================  ======================================================================

`load_config` checks everything before a worker starts. An error names file, section, key, value,
accepted values and remedy.
"""

from __future__ import annotations

from mkds_neat.config.load import Config, load_config, parse_config
from mkds_neat.config.neat_sections import NEAT_SECTIONS
from mkds_neat.config.settings import (
    OUR_SECTIONS,
    STRATEGIES,
    EnvironmentSettings,
    EvaluationSettings,
    RunSettings,
    TruncationSettings,
    default_workers,
)

__all__ = [
    "NEAT_SECTIONS",
    "OUR_SECTIONS",
    "STRATEGIES",
    "Config",
    "EnvironmentSettings",
    "EvaluationSettings",
    "RunSettings",
    "TruncationSettings",
    "default_workers",
    "load_config",
    "parse_config",
]
