"""The one config file of a run: the sections of mkds_neat, and those of neat-python.

============================  ======================================================================
section                       content
============================  ======================================================================
``[run]``                     strategy, seed, workers, when to stop, where to write
``[environment]``             ``id``, and arguments of ``gym.make``
``[evaluation]``              length of an episode, and the fitness
``[truncation]``, ...         a section for each other strategy
``[mlp]``                     the network of the strategies on parameters
``[strategy]``                arguments of ``strategy = module:Class``
``[ray]``                     for ``engine = ray``
``[ppo]``                     for the competitor ``ppo`` of `mkds_neat.compare`
``[NEAT]``, ``[Default...]``  neat-python's, for ``strategy = neat``; neat-python documents them
                              and requires every key
============================  ======================================================================

`load_config` checks everything before a worker starts. An error names file, section, key, value,
accepted values and remedy.
"""

from __future__ import annotations

from mkds_neat.config.changes import config_changes, sections_text
from mkds_neat.config.load import Config, load_config, parse_config
from mkds_neat.config.settings import Settings, default_workers

__all__ = [
    "Config",
    "Settings",
    "config_changes",
    "default_workers",
    "load_config",
    "parse_config",
    "sections_text",
]
