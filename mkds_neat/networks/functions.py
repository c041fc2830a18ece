"""Activation functions of a node on floats, and the names of its aggregations.

The names and constants are those of neat-python (its ``activations.py`` and ``aggregations.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

Function = Callable[[float], float]

SELU_SCALE: Final = 1.0507009873554804934193349852946
SELU_ALPHA: Final = 1.6732632423543772848170429916717
VALUE_LIMIT: Final = 1e12
"""The values of unbounded activations are clamped to this size."""


def _clamp(z: float, limit: float) -> float:
    return -limit if z < -limit else min(z, limit)


def _sigmoid(z: float) -> float:
    return 1.0 / (1.0 + math.exp(-_clamp(z, 60.0)))


def _sin(z: float) -> float:
    return math.sin(_clamp(z, 60.0))


def _gauss(z: float) -> float:
    z = _clamp(z, 3.4)
    return math.exp(-5.0 * (z * z))


def _relu(z: float) -> float:
    return z if z > 0.0 else 0.0


def _elu(z: float) -> float:
    return z if z > 0.0 else math.exp(z) - 1.0


def _lelu(z: float) -> float:
    return z if z > 0.0 else 0.005 * z


def _selu(z: float) -> float:
    return SELU_SCALE * (z if z > 0.0 else SELU_ALPHA * (math.exp(z) - 1.0))


def _softplus(z: float) -> float:
    return 0.2 * math.log(1.0 + math.exp(_clamp(z, 60.0)))


def _identity(z: float) -> float:
    return z


def _clamped(z: float) -> float:
    return _clamp(z, 1.0)


def _inverse(z: float) -> float:
    return 1.0 / z if z else 0.0


def _log(z: float) -> float:
    return math.log(max(z, 1e-7))


def _exp(z: float) -> float:
    return math.exp(_clamp(z, 60.0))


def _hat(z: float) -> float:
    return max(1.0 - abs(z), 0.0)


def _square(z: float) -> float:
    return z * z


def _cube(z: float) -> float:
    return z * z * z


ACTIVATIONS: Final[Mapping[str, tuple[float, Function]]] = {
    "sigmoid": (5.0, _sigmoid),
    # neat-python clamps to 60 first; tanh is exactly 1 from 20 on.
    "tanh": (2.5, math.tanh),
    "unit_tanh": (1.0, math.tanh),  # for the strategy truncation; not in neat-python
    "sin": (5.0, _sin),
    "gauss": (1.0, _gauss),
    "relu": (1.0, _relu),
    "elu": (1.0, _elu),
    "lelu": (1.0, _lelu),
    "selu": (1.0, _selu),
    "softplus": (5.0, _softplus),
    "identity": (1.0, _identity),
    "clamped": (1.0, _clamped),
    "inv": (1.0, _inverse),
    "log": (1.0, _log),
    "exp": (1.0, _exp),
    "abs": (1.0, abs),
    "hat": (1.0, _hat),
    "square": (1.0, _square),
    "cube": (1.0, _cube),
}
"""Factor and function by name. An activation is ``function(factor * z)``."""

BOUNDED: Final = frozenset({"sigmoid", "tanh", "unit_tanh", "sin", "gauss", "clamped", "hat"})
"""Activations whose values lie in a finite interval."""

AGGREGATIONS: Final = ("sum", "mean", "product", "max", "min", "maxabs", "median")
"""Ways in which a node combines its weighted inputs.

``maxabs`` is the first of the inputs with the largest size. ``median`` of an even number of inputs
is the mean of the two in the middle.
"""
