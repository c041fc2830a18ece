"""Multilayer perceptrons: networks of fixed structure, as one vector of parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mkds_gym.utils.arguments import shown
from mkds_neat.networks.functions import ACTIVATIONS
from mkds_neat.networks.spec import NetworkSpec, Node

MAX_PARAMETERS = 100_000
"""Most parameters of a network: each is a term of the Python function that drives."""


@dataclass(frozen=True)
class MLP:
    """A multilayer perceptron.

    The vector of parameters holds one layer after another: the weights as a row-major matrix of
    shape (nodes, inputs of the layer), and then the biases. This is the order of
    ``torch.nn.utils.parameters_to_vector`` for a ``torch.nn.Sequential`` of ``Linear`` layers.

    Attributes:
        inputs: Components of an observation.
        outputs: Components of an action.
        hidden: Nodes of each hidden layer; empty for a linear layer with an activation.
        activation: Activation of all nodes, a name in `ACTIVATIONS`.

    Raises:
        ValueError: A size is less than 1, the activation is unknown, or the network is too large.
    """

    inputs: int
    outputs: int
    hidden: tuple[int, ...] = ()
    activation: str = "unit_tanh"

    def __post_init__(self) -> None:
        if min(self.layers) < 1:
            raise ValueError(
                f"layers of {shown(self.layers)} nodes: expected at least 1 node in each"
            )
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"activation={shown(self.activation)} is unknown: expected one of "
                f"{', '.join(sorted(ACTIVATIONS))}"
            )
        if self.size > MAX_PARAMETERS:
            raise ValueError(
                f"layers of {shown(self.layers)} nodes have {self.size:,} parameters: "
                f"expected at most {MAX_PARAMETERS:,}"
            )

    @property
    def layers(self) -> tuple[int, ...]:
        """Number of inputs, and of nodes of each layer."""
        return (self.inputs, *self.hidden, self.outputs)

    @property
    def size(self) -> int:
        """Number of parameters."""
        layers = self.layers
        return sum(n * (m + 1) for m, n in pairwise(layers))

    def network(self, parameters: Sequence[float] | NDArray[np.float64]) -> NetworkSpec:
        """Return the network of a vector of parameters.

        Args:
            parameters: `size` finite numbers.

        Raises:
            ValueError: The vector has another length, or a number is not finite.
        """
        vector = np.asarray(parameters, np.float64)
        if vector.shape != (self.size,):
            raise ValueError(
                f"parameters of shape {vector.shape}: expected {self.size} numbers for layers of "
                f"{self.layers} nodes"
            )
        layers = []
        start = 0
        for inputs, count in pairwise(self.layers):
            end = start + count * inputs
            weights, biases = vector[start:end].reshape(count, inputs), vector[end : end + count]
            layers.append((weights, biases, self.activation))
            start = end + count
        return _network(layers)


def network_of_torch(
    state: Mapping[str, Any], activation: str = "unit_tanh", output: str = "identity"
) -> NetworkSpec:
    """Return the network of the weights of a multilayer perceptron of PyTorch.

    Args:
        state: ``state_dict()`` of a ``torch.nn.Sequential`` of ``Linear`` layers with biases, or a
            part of a state with the same kind of names: for each layer, in order, ``*weight`` of
            shape (nodes, inputs of the layer) and ``*bias`` of shape (nodes,). Tensors on the CPU,
            or arrays.
        activation: Activation after each layer but the last, a name in `ACTIVATIONS`. The ``Tanh``
            of PyTorch is ``unit_tanh``, and its ``ReLU`` is ``relu``.
        output: Activation after the last layer.

    Raises:
        ValueError: The state is something else, or the activation is unknown.
    """
    layers: list[tuple[NDArray[np.float64], NDArray[np.float64], str]] = []
    names = [name for name in state if name.endswith("weight")]
    width: int | None = None
    for name in names:
        bias = f"{name.removesuffix('weight')}bias"
        if bias not in state:
            raise ValueError(f"the state has {name!r} without {bias!r}: expected both")
        weights, biases = (np.asarray(state[key], np.float64) for key in (name, bias))
        if weights.ndim != 2 or biases.shape != weights.shape[:1] or 0 in weights.shape:
            raise ValueError(
                f"{name!r} and {bias!r} have the shapes {weights.shape} and {biases.shape}: "
                "expected (nodes, inputs) and (nodes,)"
            )
        if width not in (None, weights.shape[1]):
            raise ValueError(
                f"{name!r} takes {weights.shape[1]} inputs, but the layer before has {width} nodes"
            )
        width = len(weights)
        layers.append((weights, biases, output if name == names[-1] else activation))
    if not layers or len(state) != 2 * len(layers):
        raise ValueError(
            f"the state has the names {', '.join(map(repr, state))}: expected a weight and a bias "
            "for each layer"
        )
    return _network(layers)


def _network(layers: Sequence[tuple[NDArray[np.float64], NDArray[np.float64], str]]) -> NetworkSpec:
    """Return the network of layers: weights (nodes, inputs), biases (nodes,), activation."""
    inputs = range(layers[0][0].shape[1])
    nodes: list[Node] = []
    connections: list[tuple[int, int, float]] = []
    sources = inputs
    for weights, biases, activation in layers:
        targets = range(sources.stop, sources.stop + len(weights))
        for target, row, bias in zip(targets, weights.tolist(), biases.tolist(), strict=True):
            nodes.append(Node(target, bias=bias, activation=activation))
            connections += [(s, target, w) for s, w in zip(sources, row, strict=True)]
        sources = targets
    return NetworkSpec(
        inputs=tuple(inputs),
        outputs=tuple(sources),
        nodes=tuple(nodes),
        connections=tuple(connections),
    )
