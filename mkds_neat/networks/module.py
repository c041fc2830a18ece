"""A network as a PyTorch module, for training and for other programs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mkds_neat.networks.compiled import MAX_ROUNDS, compile_network
from mkds_neat.networks.functions import (
    ACTIVATIONS,
    BOUNDED,
    SELU_ALPHA,
    SELU_SCALE,
    VALUE_LIMIT,
)
from mkds_neat.networks.spec import NetworkSpec


def _elu(z: Tensor) -> Tensor:
    return torch.where(z > 0.0, z, torch.exp(torch.clamp(z, max=0.0)) - 1.0)


def _selu(z: Tensor) -> Tensor:
    below = SELU_ALPHA * (torch.exp(torch.clamp(z, max=0.0)) - 1.0)
    return SELU_SCALE * torch.where(z > 0.0, z, below)


def _inverse(z: Tensor) -> Tensor:
    return torch.where(z == 0.0, torch.zeros_like(z), 1.0 / z)


TENSOR_FUNCTIONS: Final[Mapping[str, Callable[[Tensor], Tensor]]] = {
    "sigmoid": lambda z: torch.sigmoid(torch.clamp(z, -60.0, 60.0)),
    "tanh": torch.tanh,
    "unit_tanh": torch.tanh,
    "sin": lambda z: torch.sin(torch.clamp(z, -60.0, 60.0)),
    "gauss": lambda z: torch.exp(-5.0 * torch.clamp(z, -3.4, 3.4) ** 2),
    "relu": torch.relu,
    "elu": _elu,
    "lelu": lambda z: torch.where(z > 0.0, z, 0.005 * z),
    "selu": _selu,
    "softplus": lambda z: 0.2 * torch.log(1.0 + torch.exp(torch.clamp(z, -60.0, 60.0))),
    "identity": lambda z: z,
    "clamped": lambda z: torch.clamp(z, -1.0, 1.0),
    "inv": _inverse,
    "log": lambda z: torch.log(torch.clamp(z, min=1e-7)),
    "exp": lambda z: torch.exp(torch.clamp(z, -60.0, 60.0)),
    "abs": torch.abs,
    "hat": lambda z: torch.clamp(1.0 - torch.abs(z), min=0.0),
    "square": lambda z: z * z,
    "cube": lambda z: z * z * z,
}
"""The functions of `mkds_neat.networks.functions.ACTIVATIONS` on tensors."""


class GenomeNetwork(nn.Module):
    """One network as a torch module.

    Weights, biases and responses are parameters and can be trained. Which connections exist is
    fixed by a mask. The dtype is float64. The outputs of `forward` differ from those of
    `compile_network`, which evolution uses, in the last bits; `act` gives the same bits.

    A recurrent network has no memory of its own: the caller gives the values of the nodes to each
    step, and gets the next ones.

    Args:
        spec: The network.
    """

    weight: Tensor
    bias: Tensor
    response: Tensor
    mask: Tensor
    factor: Tensor

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        inputs, nodes = len(spec.inputs), len(spec.nodes)
        column = {key: i for i, key in enumerate(spec.inputs)}
        column.update({node.id: inputs + i for i, node in enumerate(spec.nodes)})
        self._places = [(column[t] - inputs, column[s]) for s, t, _ in spec.connections]
        weight = torch.zeros(nodes, inputs + nodes, dtype=torch.float64)
        mask = torch.zeros(nodes, inputs + nodes, dtype=torch.bool)
        for place, (_, _, value) in zip(self._places, spec.connections, strict=True):
            weight[place] = value
            mask[place] = True
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.tensor([n.bias for n in spec.nodes], dtype=torch.float64))
        self.response = nn.Parameter(
            torch.tensor([n.response for n in spec.nodes], dtype=torch.float64)
        )
        self.register_buffer("mask", mask)
        factors = [ACTIVATIONS[node.activation][0] for node in spec.nodes]
        self.register_buffer("factor", torch.tensor(factors, dtype=torch.float64), persistent=False)
        self.output_rows = [column[key] - inputs for key in spec.outputs]
        depth = 1 if spec.recurrent else spec.depth()
        self.rounds = MAX_ROUNDS if depth is None else depth
        self._aggregations = [
            (name, torch.tensor([node.aggregation == name for node in spec.nodes]))
            for name in sorted({node.aggregation for node in spec.nodes} - {"sum"})
        ]
        self._activations = [
            (name, torch.tensor([node.activation == name for node in spec.nodes]))
            for name in sorted({node.activation for node in spec.nodes})
        ]

    def initial_state(self, *batch: int) -> Tensor:
        """Return the state of a recurrent network before the first step.

        Args:
            *batch: Shape of the batch; none for a single observation.

        Returns:
            float64 (..., nodes), zeros.
        """
        return torch.zeros(*batch, len(self.bias), dtype=torch.float64)

    def forward(
        self, observation: Tensor, state: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Return the outputs for one observation, or any batch of them.

        Args:
            observation: (..., inputs), any float dtype.
            state: Of a recurrent network: what the step before returned, or `initial_state`, which
                is the default.

        Returns:
            float64 (..., outputs). For a recurrent network, a pair: the outputs, and the state for
            the next step, float64 (..., nodes).
        """
        x = observation.to(torch.float64)
        weight = self.weight * self.mask
        values = self.initial_state(*x.shape[:-1]) if state is None else state
        for _ in range(self.rounds):
            products = weight * torch.cat((x, values), dim=-1).unsqueeze(-2)
            total = products.sum(-1)
            for name, where in self._aggregations:
                total = torch.where(where, self._aggregate(name, products), total)
            z = (total * self.response + self.bias) * self.factor
            values = torch.zeros_like(z)
            for name, where in self._activations:
                result = TENSOR_FUNCTIONS[name](z)
                if name not in BOUNDED:
                    result = torch.clamp(result, -VALUE_LIMIT, VALUE_LIMIT)
                values = torch.where(where, result, values)
        if not self.spec.recurrent:
            return values[..., self.output_rows]
        values = torch.where(self.mask.any(-1), values, 0.0)
        return values[..., self.output_rows], values

    def act(self, observation: NDArray[Any]) -> NDArray[np.float64]:
        """Return the outputs (outputs,) for one observation (inputs,), without gradients.

        Bit for bit those of ``compile_network(network.trained())``, which is faster over many
        steps. A recurrent network acts as in the first step of an episode.
        """
        policy = compile_network(self.trained())
        return np.array(policy(np.asarray(observation).tolist()), np.float64)

    def trained(self) -> NetworkSpec:
        """Return the network with the present weights, biases and responses."""
        weight, bias, response = (
            parameter.detach().tolist() for parameter in (self.weight, self.bias, self.response)
        )
        return replace(
            self.spec,
            nodes=tuple(
                replace(node, bias=bias[row], response=response[row])
                for row, node in enumerate(self.spec.nodes)
            ),
            connections=tuple(
                (source, target, weight[row][column])
                for (source, target, _), (row, column) in zip(
                    self.spec.connections, self._places, strict=True
                )
            ),
        )

    def _aggregate(self, name: str, products: Tensor) -> Tensor:
        if name == "mean":
            return products.sum(-1) / torch.clamp(self.mask.sum(-1), min=1)
        if name == "product":
            return torch.where(self.mask, products, 1.0).prod(-1)
        count = self.mask.sum(-1)
        if name == "maxabs":
            chosen = torch.where(self.mask, products.abs(), -1.0).argmax(-1, keepdim=True)
            value = products.gather(-1, chosen).squeeze(-1)
        elif name == "median":
            ordered = torch.where(self.mask, products, math.inf).sort(-1).values
            middle = torch.stack((torch.clamp(count - 1, min=0) // 2, count // 2), -1)
            pair = ordered.gather(-1, middle.expand(*ordered.shape[:-1], 2))
            value = pair.sum(-1) / 2.0
        elif name == "max":
            value = torch.where(self.mask, products, -math.inf).amax(-1)
        else:
            value = torch.where(self.mask, products, math.inf).amin(-1)
        return torch.where(count > 0, value, 0.0)
