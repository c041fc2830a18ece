"""Networks: plain data (`NetworkSpec`), PyTorch modules (`GenomeNetwork`), and PyTorch files.

A strategy describes a network as a `NetworkSpec`. `NetworkBatch` evaluates several different
networks, one observation each, at a step of the vector environment.
"""

from __future__ import annotations

from mkds_neat.networks.files import load_pt, pt_bytes, save_pt
from mkds_neat.networks.functions import ACTIVATIONS, AGGREGATIONS
from mkds_neat.networks.module import MAX_ROUNDS, GenomeNetwork, NetworkBatch
from mkds_neat.networks.spec import NetworkSpec, Node

__all__ = [
    "ACTIVATIONS",
    "AGGREGATIONS",
    "MAX_ROUNDS",
    "GenomeNetwork",
    "NetworkBatch",
    "NetworkSpec",
    "Node",
    "load_pt",
    "pt_bytes",
    "save_pt",
]
