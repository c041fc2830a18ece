"""Networks: plain data (`NetworkSpec`), plain functions, PyTorch modules, and PyTorch files.

A strategy describes a network as a `NetworkSpec`. Evolution runs `compile_network` of it.
`GenomeNetwork`, `load_pt` and `save_pt` are for training and for other programs, `pt2_bytes` and
`onnx_bytes` for other programs only. They import PyTorch or ONNX on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mkds_neat.networks.compiled import MAX_ROUNDS, Policy, compile_network
from mkds_neat.networks.functions import ACTIVATIONS, AGGREGATIONS
from mkds_neat.networks.mlp import MLP, network_of_torch
from mkds_neat.networks.pt_format import pt_bytes
from mkds_neat.networks.spec import NetworkSpec, Node

if TYPE_CHECKING:
    from mkds_neat.networks.files import load_pt, save_pt
    from mkds_neat.networks.module import GenomeNetwork
    from mkds_neat.networks.onnx_format import onnx_bytes
    from mkds_neat.networks.pt2_format import pt2_bytes

__all__ = [
    "ACTIVATIONS",
    "AGGREGATIONS",
    "MAX_ROUNDS",
    "MLP",
    "GenomeNetwork",
    "NetworkSpec",
    "Node",
    "Policy",
    "compile_network",
    "load_pt",
    "network_of_torch",
    "onnx_bytes",
    "pt2_bytes",
    "pt_bytes",
    "save_pt",
]

_MODULES = {
    "GenomeNetwork": "mkds_neat.networks.module",
    "load_pt": "mkds_neat.networks.files",
    "onnx_bytes": "mkds_neat.networks.onnx_format",
    "pt2_bytes": "mkds_neat.networks.pt2_format",
    "save_pt": "mkds_neat.networks.files",
}


def __getattr__(name: str) -> Any:
    """Load a name that needs PyTorch or ONNX."""
    if name not in _MODULES:
        raise AttributeError(f"module 'mkds_neat.networks' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
