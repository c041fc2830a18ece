"""Activation functions of a node on tensors, and the names of its aggregations.

The names and constants are those of neat-python (its ``activations.py`` and ``aggregations.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]

_SELU_SCALE: Final = 1.0507009873554804934193349852946
_SELU_ALPHA: Final = 1.6732632423543772848170429916717


def _sigmoid(z: Tensor) -> Tensor:
    # Not torch.sigmoid: its vectorised code and its scalar code round differently.
    return 1.0 / (1.0 + torch.exp(-torch.clamp(z, -60.0, 60.0)))


def _inverse(z: Tensor) -> Tensor:
    return torch.where(z == 0.0, torch.zeros_like(z), 1.0 / z)


def _softplus(z: Tensor) -> Tensor:
    return 0.2 * torch.log(1.0 + torch.exp(torch.clamp(z, -60.0, 60.0)))


def _elu(z: Tensor) -> Tensor:
    return torch.where(z > 0.0, z, torch.exp(torch.clamp(z, max=0.0)) - 1.0)


def _selu(z: Tensor) -> Tensor:
    below = _SELU_ALPHA * (torch.exp(torch.clamp(z, max=0.0)) - 1.0)
    return _SELU_SCALE * torch.where(z > 0.0, z, below)


ACTIVATIONS: Final[Mapping[str, tuple[float, Function]]] = {
    "sigmoid": (5.0, _sigmoid),
    # neat-python clamps to 60 first; tanh is exactly 1 from 20 on.
    "tanh": (2.5, torch.tanh),
    "unit_tanh": (1.0, torch.tanh),  # for the strategy truncation; not in neat-python
    "sin": (5.0, lambda z: torch.sin(torch.clamp(z, -60.0, 60.0))),
    "gauss": (1.0, lambda z: torch.exp(-5.0 * torch.clamp(z, -3.4, 3.4) ** 2)),
    "relu": (1.0, lambda z: torch.clamp(z, min=0.0)),
    "elu": (1.0, _elu),
    "lelu": (1.0, lambda z: torch.where(z > 0.0, z, 0.005 * z)),
    "selu": (1.0, _selu),
    "softplus": (5.0, _softplus),
    "identity": (1.0, lambda z: z),
    "clamped": (1.0, lambda z: torch.clamp(z, -1.0, 1.0)),
    "inv": (1.0, _inverse),
    "log": (1.0, lambda z: torch.log(torch.clamp(z, min=1e-7))),
    "exp": (1.0, lambda z: torch.exp(torch.clamp(z, -60.0, 60.0))),
    "abs": (1.0, torch.abs),
    "hat": (1.0, lambda z: torch.clamp(1.0 - torch.abs(z), min=0.0)),
    "square": (1.0, lambda z: z * z),
    "cube": (1.0, lambda z: z * z * z),
}
"""Factor and function by name. An activation is ``function(factor * z)``."""

BOUNDED: Final = frozenset({"sigmoid", "tanh", "unit_tanh", "sin", "gauss", "clamped", "hat"})
"""Activations whose values lie in a finite interval."""

AGGREGATIONS: Final = ("sum", "mean", "product", "max", "min")
"""Ways in which a node combines its weighted inputs."""
