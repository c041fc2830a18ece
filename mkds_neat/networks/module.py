"""Networks in PyTorch: one as a module, and several different ones in a batch.

**Sums in a fixed order.** The outputs of a network do not depend on the other networks of its
batch, to the last bit. Otherwise the result of a run would depend on the number of workers. A
matrix product does not guarantee this, because its order of summation depends on its shape.
Therefore:

* The arithmetic is float64. ``cumsum`` adds the weighted inputs of a node one after the other, in
  the order of the network's inputs and nodes. Padding comes last and adds exact zeros.
* The result of an activation function for an element does not depend on the place of the element
  in the tensor. The number of nodes is padded to full vector registers.

**Rounds.** All nodes start at 0. In each round, every node is computed from the values of the
round before. A network without cycles has settled after as many rounds as its longest path has
connections, and at least one; more rounds change nothing. A network with cycles runs for exactly
`MAX_ROUNDS` rounds. Nothing is remembered from step to step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mkds_neat.networks.functions import ACTIVATIONS, BOUNDED, Function
from mkds_neat.networks.spec import NetworkSpec

MAX_ROUNDS: Final = 16
"""Rounds of propagation in a network with cycles."""

_NODE_MULTIPLE: Final = 8
"""The number of nodes is padded to a multiple of the float64 lanes of the widest registers."""

_VALUE_LIMIT: Final = 1e12
"""Unbounded activations are clamped to this size: infinity times a padding zero would be NaN."""


class GenomeNetwork(nn.Module):
    """One network as a torch module.

    Weights, biases and responses are parameters and can be trained. Which connections exist is
    fixed by a mask. The dtype is float64.

    Args:
        spec: The network.
    """

    weight: Tensor
    bias: Tensor
    response: Tensor
    mask: Tensor

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        depth = spec.depth()
        self.cyclic = depth is None
        self.rounds = MAX_ROUNDS if depth is None else depth
        inputs, nodes = len(spec.inputs), len(spec.nodes)
        column = {key: i for i, key in enumerate(spec.inputs)}
        column.update({node.id: inputs + i for i, node in enumerate(spec.nodes)})
        weight = torch.zeros(nodes, inputs + nodes, dtype=torch.float64)
        mask = torch.zeros(nodes, inputs + nodes, dtype=torch.bool)
        for source, target, value in spec.connections:
            row = column[target] - inputs
            weight[row, column[source]] = value
            mask[row, column[source]] = True
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.tensor([n.bias for n in spec.nodes], dtype=torch.float64))
        self.response = nn.Parameter(
            torch.tensor([n.response for n in spec.nodes], dtype=torch.float64)
        )
        self.register_buffer("mask", mask)
        self.output_rows = [column[key] - inputs for key in spec.outputs]

    def forward(self, observation: Tensor) -> Tensor:
        """Return the outputs for one observation, or any batch of them.

        Args:
            observation: (..., inputs), any float dtype.

        Returns:
            float64 (..., outputs).
        """
        shape = observation.shape
        flat = observation.reshape(-1, shape[-1]).to(torch.float64)
        values = _PackedNetworks.of([self]).propagate(flat)
        return values[:, self.output_rows].reshape(*shape[:-1], len(self.output_rows))

    def act(self, observation: NDArray[Any]) -> NDArray[np.float64]:
        """Return the outputs (outputs,) for one observation (inputs,), without gradients.

        A `NetworkBatch` of one network is faster over many steps.
        """
        result: NDArray[np.float64] = NetworkBatch([self])(np.asarray(observation)[None])[0]
        return result


class NetworkBatch:
    """Several different networks, evaluated together, one observation each.

    Args:
        networks: Networks with equal numbers of inputs and of outputs.

    Raises:
        ValueError: ``networks`` is empty, or the numbers of inputs or outputs differ.
    """

    def __init__(self, networks: Sequence[GenomeNetwork]) -> None:
        widths = {(len(n.spec.inputs), len(n.spec.outputs)) for n in networks}
        if len(widths) != 1:
            raise ValueError(
                f"networks have (inputs, outputs) {sorted(widths)}: expected one pair for all"
            )
        with torch.no_grad():
            self._packed = packed = _PackedNetworks.of(networks)
        count, nodes, width = packed.weight.shape
        self._inputs = width - nodes - 1
        # Networks this small spend their time in making tensors, not in arithmetic: everything is
        # computed in place, in buffers and views that are made once.
        self._values = torch.zeros(count, width, dtype=torch.float64)
        self._values[:, 0] = 1.0
        self._row = self._values.unsqueeze(1)
        self._nodes = self._values[:, 1 + self._inputs :]
        self._products = torch.empty_like(packed.weight)
        self._sums = torch.empty_like(packed.weight)
        self._last = self._sums[..., -1]
        self._array = self._values.numpy()
        self._rows = np.arange(count)[:, None]
        self._columns = np.array([n.output_rows for n in networks]) + 1 + self._inputs

    def __call__(self, observations: NDArray[Any]) -> NDArray[np.float64]:
        """Return the outputs of all networks.

        Args:
            observations: (networks, inputs).

        Returns:
            float64 (networks, outputs). Each row equals the output of its network alone, bit for
            bit.

        Raises:
            ValueError: ``observations`` has another shape.
        """
        expected = (len(self._array), self._inputs)
        if observations.shape != expected:
            raise ValueError(f"observations of shape {observations.shape}: expected {expected}")
        packed = self._packed
        with torch.no_grad():
            if packed.function is None:
                x = torch.from_numpy(observations.astype(np.float64))
                self._nodes.copy_(packed.propagate(x))
            else:
                # The operations of `_PackedNetworks.propagate`, without new tensors.
                self._array[:, 1 : 1 + self._inputs] = observations
                self._array[:, 1 + self._inputs :] = 0.0
                for _ in range(packed.rounds):
                    torch.mul(packed.weight, self._row, out=self._products)
                    torch.cumsum(self._products, -1, out=self._sums)
                    self._nodes.copy_(packed.function(self._last))
        result: NDArray[np.float64] = self._array[self._rows, self._columns]
        return result


@dataclass
class _PackedNetworks:
    """Networks padded to one shape: B networks, M nodes, I inputs.

    Column 0 of the weights is the bias; inputs and nodes follow. The response and the factor of
    the activation are multiplied into all of them.
    """

    weight: Tensor  # (B, M, 1 + I + M)
    activations: list[tuple[Function, Tensor | None]]  # and where (B, M); None for everywhere
    function: Function | None  # of all nodes, if a node is a sum and one bounded function
    bounded: bool
    rounds: int
    cyclic: Tensor | None  # (B, 1), only if another network runs for more than MAX_ROUNDS
    aggregations: _Aggregations | None

    @classmethod
    def of(cls, networks: Sequence[GenomeNetwork]) -> _PackedNetworks:
        most = max(len(n.spec.nodes) for n in networks)
        count = -(-most // _NODE_MULTIPLE) * _NODE_MULTIPLE
        weights = []
        for n in networks:
            rows = count - len(n.spec.nodes)
            factor = _factors(n)
            scaled = (n.weight * n.mask) * (n.response * factor).unsqueeze(1)
            with_bias = torch.cat(((n.bias * factor).unsqueeze(1), scaled), dim=1)
            weights.append(nn.functional.pad(with_bias, (0, rows, 0, rows)))

        def where(attribute: str, name: str) -> Tensor:
            return torch.tensor(
                [
                    [getattr(node, attribute) == name for node in n.spec.nodes]
                    + [False] * (count - len(n.spec.nodes))
                    for n in networks
                ]
            )

        names = sorted({node.activation for n in networks for node in n.spec.nodes})
        # By function: "tanh" and "unit_tanh" differ in their factor only.
        functions: dict[Function, Tensor] = {}
        for name in names:
            function, at = ACTIVATIONS[name][1], where("activation", name)
            functions[function] = functions[function] | at if function in functions else at
        activations: list[tuple[Function, Tensor | None]] = list(functions.items())
        if len(activations) == 1:
            activations = [(activations[0][0], None)]
        others = sorted({node.aggregation for n in networks for node in n.spec.nodes} - {"sum"})
        aggregations = _Aggregations.of(networks, count, others, where) if others else None
        rounds = max(n.rounds for n in networks)
        cyclic = None
        if rounds > MAX_ROUNDS and any(n.cyclic for n in networks):
            cyclic = torch.tensor([[n.cyclic] for n in networks])
        bounded = BOUNDED.issuperset(names)
        simple = len(activations) == 1 and bounded and aggregations is None and cyclic is None
        return cls(
            torch.stack(weights),
            activations,
            activations[0][0] if simple else None,
            bounded,
            rounds,
            cyclic,
            aggregations,
        )

    def propagate(self, x: Tensor) -> Tensor:
        """Return node values (B, M) for inputs (B, I). One network broadcasts over many inputs."""
        nodes, width = self.weight.shape[1:]
        if x.shape[1] != width - nodes - 1:
            raise ValueError(
                f"observation of {x.shape[1]} components: expected {width - nodes - 1}"
            )
        one = torch.ones(x.shape[0], 1, dtype=torch.float64)
        values = torch.zeros(x.shape[0], nodes, dtype=torch.float64)
        for done in range(self.rounds):
            row = torch.cat((one, x, values), dim=1).unsqueeze(1)
            # The last prefix sum is the sum taken strictly from the first to the last.
            z = (self.weight * row).cumsum(-1)[..., -1]
            if self.aggregations is not None:
                z = self.aggregations.replace(row, z)
            new = self._activate(z)
            if self.cyclic is not None and done >= MAX_ROUNDS:
                new = torch.where(self.cyclic, values, new)
            values = new
        return values

    def _activate(self, z: Tensor) -> Tensor:
        result = self.activations[0][0](z)
        for function, where in self.activations[1:]:
            assert where is not None
            result = torch.where(where, function(z), result)
        return result if self.bounded else torch.clamp(result, -_VALUE_LIMIT, _VALUE_LIMIT)


@dataclass
class _Aggregations:
    """The nodes of padded networks that do not simply add up their inputs."""

    weight: Tensor  # (B, M, I + M), as in the genomes
    mask: Tensor  # (B, M, I + M)
    bias: Tensor  # (B, M), times the factor of the activation
    response: Tensor  # (B, M), times the factor of the activation
    where: list[tuple[str, Tensor]]

    @classmethod
    def of(
        cls,
        networks: Sequence[GenomeNetwork],
        count: int,
        names: Sequence[str],
        where: Callable[[str, str], Tensor],
    ) -> _Aggregations:
        pad = nn.functional.pad
        rows = [count - len(n.spec.nodes) for n in networks]
        pairs = list(zip(networks, rows, strict=True))
        return cls(
            torch.stack([pad(n.weight * n.mask, (0, r, 0, r)) for n, r in pairs]),
            torch.stack([pad(n.mask, (0, r, 0, r)) for n, r in pairs]),
            torch.stack([pad(n.bias * _factors(n), (0, r)) for n, r in pairs]),
            torch.stack([pad(n.response * _factors(n), (0, r)) for n, r in pairs]),
            [(name, where("aggregation", name)) for name in names],
        )

    def replace(self, row: Tensor, z: Tensor) -> Tensor:
        """Return ``z`` (B, M) with the values of these nodes; ``row`` is (B, 1, 1 + I + M)."""
        products = self.weight * row[..., 1:]
        mask = self.mask
        for name, where in self.where:
            if name == "mean":
                value = products.cumsum(-1)[..., -1] / torch.clamp(mask.sum(-1), min=1)
            elif name == "product":
                value = torch.where(mask, products, torch.ones_like(products)).cumprod(-1)[..., -1]
            else:
                worst = -math.inf if name == "max" else math.inf
                candidates = torch.where(mask, products, worst)
                value = candidates.amax(-1) if name == "max" else candidates.amin(-1)
                value = torch.where(mask.any(-1), value, torch.zeros_like(value))
            z = torch.where(where, value * self.response + self.bias, z)
        return z


def _factors(network: GenomeNetwork) -> Tensor:
    """The factor of each node's activation, float64 (nodes,)."""
    factors = [ACTIVATIONS[node.activation][0] for node in network.spec.nodes]
    return torch.tensor(factors, dtype=torch.float64)
