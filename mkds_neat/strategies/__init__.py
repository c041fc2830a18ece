"""Strategies of evolution, behind one protocol: `Strategy.ask` and `Strategy.tell`.

A strategy works on genomes and results. It does not know karts, emulators or workers. The loop
around a strategy is always the same::

    while True:
        individuals = strategy.ask()
        strategy.tell([Result(i.id, fitness_of(i)) for i in individuals])
"""

from __future__ import annotations

from mkds_neat.strategies.base import Strategy
from mkds_neat.strategies.custom import CustomStrategy
from mkds_neat.strategies.neat import NeatStrategy
from mkds_neat.strategies.parameters import Behaviour, ParameterStrategy, RandomSearch
from mkds_neat.strategies.pyribs import CMAES, CMAME, MAPElites, OpenAIES, SepCMAES
from mkds_neat.strategies.truncation import TruncationStrategy

__all__ = [
    "CMAES",
    "CMAME",
    "Behaviour",
    "CustomStrategy",
    "MAPElites",
    "NeatStrategy",
    "OpenAIES",
    "ParameterStrategy",
    "RandomSearch",
    "SepCMAES",
    "Strategy",
    "TruncationStrategy",
]
