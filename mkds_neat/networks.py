"""Networks: from a genome's plain description to torch, many different ones at a time.

A strategy describes each network as a `NetworkSpec`, plain data that also goes into the
champion's JSON file. `GenomeNetwork` is one such network as a ``torch.nn.Module``; and
`NetworkBatch` evaluates one observation for each of several different networks in one go, which
is what a step of the vector environment needs.

**The sum that does not depend on its company.** A driver must drive the same way whatever
other drivers are evaluated beside it, to the last bit, or a run's result would depend on the
number of workers. Matrix products do not promise that: how they order a sum depends on the
shapes. So here

* arithmetic is float64, and a node's weighted inputs are added one after the other, by
  ``cumsum``, in the order of the network's own inputs and nodes; padding comes last and adds
  exact zeros;
* activation functions use only operations whose result for an element does not depend on the
  element's place in the tensor (``torch.sigmoid`` is not one of them: the vectorised and the
  scalar code round differently), and node counts are padded to full vector registers.

**Rounds.** All nodes start at 0 and are computed at once from the values of the round before.
A network without cycles has settled after as many rounds as its longest path has connections
(at least one); further rounds change nothing. A network with cycles runs for exactly
`MAX_ROUNDS` rounds, settled or not. Nothing is remembered from step to step.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mkds_neat.errors import ChampionFormatError

MAX_ROUNDS: Final = 16
"""Rounds of propagation of a network with cycles."""

_NODE_MULTIPLE: Final = 8
"""Nodes are padded to a multiple of this, the float64 lanes of the widest vector registers."""

_VALUE_LIMIT: Final = 1e12
"""Unbounded activations are limited to this size, so that infinity times a padding zero, which
would be NaN, cannot arise."""


# neat-python's activation functions (its ``activations.py`` gives the constants), on tensors.
def _sigmoid(z: Tensor) -> Tensor:
    return 1.0 / (1.0 + torch.exp(-torch.clamp(5.0 * z, -60.0, 60.0)))


def _steep_tanh(z: Tensor) -> Tensor:
    # neat-python clamps to +-60 first; tanh is exactly +-1 from 20 on anyway.
    return torch.tanh(2.5 * z)


def _inverse(z: Tensor) -> Tensor:
    return torch.where(z == 0.0, torch.zeros_like(z), 1.0 / z)


def _softplus(z: Tensor) -> Tensor:
    return 0.2 * torch.log(1.0 + torch.exp(torch.clamp(5.0 * z, -60.0, 60.0)))


def _elu(z: Tensor) -> Tensor:
    return torch.where(z > 0.0, z, torch.exp(torch.clamp(z, max=0.0)) - 1.0)


_SELU_SCALE: Final = 1.0507009873554804934193349852946
_SELU_ALPHA: Final = 1.6732632423543772848170429916717

ACTIVATIONS: Final[Mapping[str, Callable[[Tensor], Tensor]]] = {
    "sigmoid": _sigmoid,
    "tanh": _steep_tanh,
    "unit_tanh": torch.tanh,  # ours, for the strategy "truncation": tanh without neat's factor
    "sin": lambda z: torch.sin(torch.clamp(5.0 * z, -60.0, 60.0)),
    "gauss": lambda z: torch.exp(-5.0 * torch.clamp(z, -3.4, 3.4) ** 2),
    "relu": lambda z: torch.clamp(z, min=0.0),
    "elu": _elu,
    "lelu": lambda z: torch.where(z > 0.0, z, 0.005 * z),
    "selu": lambda z: (
        _SELU_SCALE
        * torch.where(z > 0.0, z, _SELU_ALPHA * (torch.exp(torch.clamp(z, max=0.0)) - 1.0))
    ),
    "softplus": _softplus,
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
"""Activation functions by name: neat-python's, with its constants, and ``unit_tanh``."""

_BOUNDED: Final = frozenset({"sigmoid", "tanh", "unit_tanh", "sin", "gauss", "clamped", "hat"})

AGGREGATIONS: Final = ("sum", "mean", "product", "max", "min")
"""How a node may combine its weighted inputs, by neat-python's names."""


@dataclass(frozen=True)
class Node:
    """One computing node: ``activation(bias + response * aggregation(weight * value ...))``."""

    id: int
    bias: float = 0.0
    response: float = 1.0
    activation: str = "tanh"
    aggregation: str = "sum"


@dataclass(frozen=True)
class NetworkSpec:
    """A network as plain data.

    Attributes:
        inputs: ids of the inputs, in the order of the observation's components.
        outputs: ids of the output nodes, in the order of the action's components.
        nodes: all computing nodes, the outputs among them.
        connections: (from id, to id, weight), enabled ones only.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    nodes: tuple[Node, ...]
    connections: tuple[tuple[int, int, float], ...]

    def __post_init__(self) -> None:
        ids = [node.id for node in self.nodes]
        targets = set(ids)
        known = targets | set(self.inputs)
        if len(known) != len(ids) + len(self.inputs):
            raise ValueError("a network's inputs and nodes need ids of their own, each once")
        for output in self.outputs:
            if output not in targets:
                raise ValueError(f"output {output} is not one of the network's nodes")
        seen = set()
        for source, target, weight in self.connections:
            if source not in known or target not in targets:
                raise ValueError(f"connection {source}->{target} joins no two nodes of the network")
            if (source, target) in seen:
                raise ValueError(f"connection {source}->{target} is there twice")
            if not math.isfinite(weight):
                raise ValueError(f"connection {source}->{target} has the weight {weight}")
            seen.add((source, target))
        for node in self.nodes:
            if node.activation not in ACTIVATIONS:
                raise ValueError(
                    f"node {node.id}: activation {node.activation!r} is not one of "
                    f"{', '.join(ACTIVATIONS)}"
                )
            if node.aggregation not in AGGREGATIONS:
                raise ValueError(
                    f"node {node.id}: aggregation {node.aggregation!r} is not one of "
                    f"{', '.join(AGGREGATIONS)}"
                )
            if not (math.isfinite(node.bias) and math.isfinite(node.response)):
                raise ValueError(
                    f"node {node.id}: bias {node.bias}, response {node.response} not finite"
                )

    def depth(self) -> int | None:
        """Connections on the longest path, at least 1; None when there is a cycle."""
        sources: dict[int, list[int]] = {node.id: [] for node in self.nodes}
        for source, target, _ in self.connections:
            sources[target].append(source)
        # Kahn's algorithm from the inputs on; what is left over lies on or behind a cycle.
        targets: dict[int, list[int]] = {}
        waiting: dict[int, int] = {}
        for target, origins in sources.items():
            inner = [s for s in origins if s in sources]
            waiting[target] = len(inner)
            for source in inner:
                targets.setdefault(source, []).append(target)
        level = {target: 1 for target, count in waiting.items() if count == 0}
        ready = list(level)
        while ready:
            source = ready.pop()
            for target in targets.get(source, ()):
                level[target] = max(level.get(target, 1), level[source] + 1)
                waiting[target] -= 1
                if waiting[target] == 0:
                    ready.append(target)
        if any(waiting.values()):
            return None
        return max(level.values(), default=1)

    def to_json(self) -> dict[str, Any]:
        """The network as JSON-ready values; `from_json` reads it back, exactly."""
        return {
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "nodes": [
                {
                    "id": n.id,
                    "bias": n.bias,
                    "response": n.response,
                    "activation": n.activation,
                    "aggregation": n.aggregation,
                }
                for n in self.nodes
            ],
            "connections": [
                {"from": source, "to": target, "weight": weight}
                for source, target, weight in self.connections
            ],
        }

    @classmethod
    def from_json(cls, data: Any) -> NetworkSpec:
        """The network that `to_json` wrote.

        Raises:
            ChampionFormatError: a part is missing, of the wrong type, or refers to nothing.
        """
        try:
            return cls(
                inputs=tuple(int(i) for i in data["inputs"]),
                outputs=tuple(int(i) for i in data["outputs"]),
                nodes=tuple(
                    Node(
                        int(n["id"]),
                        float(n["bias"]),
                        float(n["response"]),
                        str(n["activation"]),
                        str(n["aggregation"]),
                    )
                    for n in data["nodes"]
                ),
                connections=tuple(
                    (int(c["from"]), int(c["to"]), float(c["weight"])) for c in data["connections"]
                ),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ChampionFormatError(f"this is no network description: {error!r}") from error


class GenomeNetwork(nn.Module):
    """One network as a torch module: observations (..., inputs) to outputs (..., outputs).

    Weights, biases and responses are parameters, so that what evolution found can be trained
    on; which connections exist is fixed (a mask). float64 throughout.

    Args:
        spec: the network.
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
        self.output_rows = tuple(column[key] - inputs for key in spec.outputs)

    def forward(self, observation: Tensor) -> Tensor:
        """Outputs for one observation or any batch of them.

        Args:
            observation: (..., inputs), any float dtype.

        Returns:
            float64 (..., outputs).
        """
        shape = observation.shape
        flat = observation.reshape(-1, shape[-1]).to(torch.float64)
        packed = _Packed.of([self])
        values = packed.propagate(flat)
        return values[:, list(self.output_rows)].reshape(*shape[:-1], len(self.output_rows))

    def act(self, observation: NDArray[Any]) -> NDArray[np.float64]:
        """Outputs (outputs,) for one observation (inputs,), without gradients."""
        with torch.inference_mode():
            result = self(torch.as_tensor(np.asarray(observation, dtype=np.float64)))
        return np.asarray(result.numpy(), dtype=np.float64)


class NetworkBatch:
    """Several different networks, evaluated together, one observation each.

    Args:
        networks: the networks; all with equally many inputs and outputs.

    Raises:
        ValueError: none, or the numbers of inputs or outputs differ.
    """

    def __init__(self, networks: Sequence[GenomeNetwork]) -> None:
        if not networks:
            raise ValueError("a batch needs at least one network")
        widths = {(len(n.spec.inputs), len(n.spec.outputs)) for n in networks}
        if len(widths) != 1:
            raise ValueError(f"networks of different (inputs, outputs) in one batch: {widths}")
        with torch.inference_mode():
            self._packed = _Packed.of(networks)
        self._rows = torch.arange(len(networks)).unsqueeze(1)
        self._outputs = torch.tensor([n.output_rows for n in networks])

    def __call__(self, observations: NDArray[Any]) -> NDArray[np.float64]:
        """Outputs of all networks.

        Args:
            observations: (networks, inputs).

        Returns:
            float64 (networks, outputs); each row bit for bit what its network alone gives.
        """
        with torch.inference_mode():
            x = torch.from_numpy(np.array(observations, dtype=np.float64))
            values = self._packed.propagate(x)
            return np.asarray(values[self._rows, self._outputs].numpy(), dtype=np.float64)


@dataclass
class _Packed:
    """Networks padded to one shape: B networks, M nodes, I inputs."""

    weight: Tensor  # (B, M, I + M)
    bias: Tensor  # (B, M)
    response: Tensor | None  # (B, M); None when all are exactly 1
    activations: list[tuple[Callable[[Tensor], Tensor], Tensor | None]]
    bounded: bool
    other_aggregations: list[tuple[str, Tensor]]
    mask: Tensor | None  # (B, M, I + M), only where other aggregations need it
    rounds: int
    cyclic: Tensor | None  # (B, 1), only where it matters

    @classmethod
    def of(cls, networks: Sequence[GenomeNetwork]) -> _Packed:
        inputs = len(networks[0].spec.inputs)
        most = max(len(n.spec.nodes) for n in networks)
        count = -(-most // _NODE_MULTIPLE) * _NODE_MULTIPLE
        pad = nn.functional.pad
        weights, biases, responses = [], [], []
        for n in networks:
            rows = count - len(n.spec.nodes)
            weights.append(pad(n.weight * n.mask, (0, rows, 0, rows)))
            biases.append(pad(n.bias, (0, rows)))
            responses.append(pad(n.response, (0, rows), value=1.0))
        weight, bias, response = (torch.stack(t) for t in (weights, biases, responses))

        def where(attribute: str, name: str) -> Tensor:
            return torch.tensor(
                [
                    [getattr(node, attribute) == name for node in n.spec.nodes]
                    + [False] * (count - len(n.spec.nodes))
                    for n in networks
                ]
            )

        names = sorted({node.activation for n in networks for node in n.spec.nodes})
        activations: list[tuple[Callable[[Tensor], Tensor], Tensor | None]]
        if len(names) == 1:
            activations = [(ACTIVATIONS[names[0]], None)]
        else:
            activations = [(ACTIVATIONS[name], where("activation", name)) for name in names]
        others = sorted({node.aggregation for n in networks for node in n.spec.nodes} - {"sum"})
        mask = None
        if others:
            mask = torch.stack(
                [
                    pad(n.mask, (0, count - len(n.spec.nodes), 0, count - len(n.spec.nodes)))
                    for n in networks
                ]
            )
        rounds = max(n.rounds for n in networks)
        cyclic = None
        if rounds > MAX_ROUNDS and any(n.cyclic for n in networks):
            cyclic = torch.tensor([[n.cyclic] for n in networks])
        ones = all(node.response == 1.0 for n in networks for node in n.spec.nodes)
        trainable = torch.is_grad_enabled() and response.requires_grad
        assert weight.shape[2] == inputs + count
        return cls(
            weight,
            bias,
            None if ones and not trainable else response,
            activations,
            all(name in _BOUNDED for name in names),
            [(name, where("aggregation", name)) for name in others],
            mask,
            rounds,
            cyclic,
        )

    def propagate(self, x: Tensor) -> Tensor:
        """Node values (B, M) for inputs (B, I); one network broadcasts over many inputs."""
        inputs = x.shape[1]
        expected = self.weight.shape[2] - self.weight.shape[1]
        if inputs != expected:
            raise ValueError(f"{inputs} observation components for networks of {expected} inputs")
        values = torch.zeros(x.shape[0], self.weight.shape[1], dtype=torch.float64)
        for done in range(self.rounds):
            products = self.weight * torch.cat((x, values), dim=1).unsqueeze(1)
            # The last prefix sum is the sum taken strictly from the first to the last.
            z = products.cumsum(-1)[..., -1]
            if self.mask is not None:
                z = self._aggregate(products, z)
            if self.response is not None:
                z = z * self.response
            z = z + self.bias
            new = self._activate(z)
            if self.cyclic is not None and done >= MAX_ROUNDS:
                new = torch.where(self.cyclic, values, new)
            values = new
        return values

    def _activate(self, z: Tensor) -> Tensor:
        result: Tensor | None = None
        for function, where in self.activations:
            value = function(z)
            result = value if result is None or where is None else torch.where(where, value, result)
        assert result is not None
        return result if self.bounded else torch.clamp(result, -_VALUE_LIMIT, _VALUE_LIMIT)

    def _aggregate(self, products: Tensor, total: Tensor) -> Tensor:
        mask = self.mask
        assert mask is not None
        some = mask.any(-1)
        result = total
        for name, where in self.other_aggregations:
            if name == "mean":
                value = total / torch.clamp(mask.sum(-1), min=1)
            elif name == "product":
                value = torch.where(mask, products, torch.ones_like(products)).cumprod(-1)[..., -1]
            elif name == "max":
                value = torch.where(mask, products, -math.inf).amax(-1)
                value = torch.where(some, value, torch.zeros_like(value))
            else:
                value = torch.where(mask, products, math.inf).amin(-1)
                value = torch.where(some, value, torch.zeros_like(value))
            result = torch.where(where, value, result)
        return result


PT_FORMAT: Final = "mkds_neat network"
PT_VERSION: Final = 1


def save_pt(network: GenomeNetwork, path: Path) -> None:
    """Write a network for PyTorch: a dict with ``format``, ``version``, ``spec``, ``state_dict``.

    ``spec`` is `NetworkSpec.to_json` as a JSON string, so that the file holds nothing but
    strings, numbers and tensors and loads with ``torch.load(path, weights_only=True)``.
    """
    torch.save(
        {
            "format": PT_FORMAT,
            "version": PT_VERSION,
            "spec": json.dumps(network.spec.to_json()),
            "state_dict": network.state_dict(),
        },
        path,
    )


def load_pt(path: Path | str) -> GenomeNetwork:
    """Read a network that `save_pt` wrote, with the weights of its state dict.

    Raises:
        ChampionFormatError: the file is something else.
    """
    try:
        data = torch.load(path, weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch raises many kinds for a malformed file
        raise ChampionFormatError(
            f"{path} is not a PyTorch file that can be loaded: {error}"
        ) from error
    if not isinstance(data, dict) or data.get("format") != PT_FORMAT:
        raise ChampionFormatError(f"{path} holds no network of mkds_neat; use a run's champion.pt")
    if data.get("version") != PT_VERSION:
        raise ChampionFormatError(
            f"{path} has version {data.get('version')!r} of the format; this program reads "
            f"{PT_VERSION}"
        )
    network = GenomeNetwork(NetworkSpec.from_json(json.loads(data["spec"])))
    network.load_state_dict(data["state_dict"])
    return network
