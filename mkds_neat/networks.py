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

import io
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
# Each is a factor of its argument, which is folded into a node's weights, and a function.
def _sigmoid(z: Tensor) -> Tensor:
    return 1.0 / (1.0 + torch.exp(-torch.clamp(z, -60.0, 60.0)))


def _inverse(z: Tensor) -> Tensor:
    return torch.where(z == 0.0, torch.zeros_like(z), 1.0 / z)


def _softplus(z: Tensor) -> Tensor:
    return 0.2 * torch.log(1.0 + torch.exp(torch.clamp(z, -60.0, 60.0)))


def _elu(z: Tensor) -> Tensor:
    return torch.where(z > 0.0, z, torch.exp(torch.clamp(z, max=0.0)) - 1.0)


_SELU_SCALE: Final = 1.0507009873554804934193349852946
_SELU_ALPHA: Final = 1.6732632423543772848170429916717


def _selu(z: Tensor) -> Tensor:
    below = _SELU_ALPHA * (torch.exp(torch.clamp(z, max=0.0)) - 1.0)
    return _SELU_SCALE * torch.where(z > 0.0, z, below)


ACTIVATIONS: Final[Mapping[str, tuple[float, Callable[[Tensor], Tensor]]]] = {
    "sigmoid": (5.0, _sigmoid),
    # neat-python clamps to +-60 first; tanh is exactly +-1 from 20 on anyway.
    "tanh": (2.5, torch.tanh),
    "unit_tanh": (1.0, torch.tanh),  # ours, for the strategy "truncation": without the factor
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
"""Activations by name, ``function(factor * z)``: neat-python's, and ``unit_tanh``."""

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
        self._alone: tuple[tuple[int, ...], NetworkBatch] | None = None  # for `act`
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
        values = _Packed.of([self]).propagate(flat)
        return values[:, list(self.output_rows)].reshape(*shape[:-1], len(self.output_rows))

    def act(self, observation: NDArray[Any]) -> NDArray[np.float64]:
        """Outputs (outputs,) for one observation (inputs,), without gradients."""
        # In-place changes, by an optimiser or a loaded state dict, count up a tensor's version.
        versions = tuple(p._version for p in (self.weight, self.bias, self.response))
        if self._alone is None or self._alone[0] != versions:
            self._alone = versions, NetworkBatch([self])
        result: NDArray[np.float64] = self._alone[1](np.asarray(observation)[None])[0]
        return result

    def __getstate__(self) -> dict[str, Any]:
        # The batch's views of one another would not survive a copy.
        return {**self.__dict__, "_alone": None}


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
        with torch.no_grad():
            self._packed = packed = _Packed.of(networks)
        count, nodes, width = packed.weight.shape
        self._inputs = width - nodes - 1
        # Everything is computed in place, in buffers and views that are made once: with networks
        # this small, time goes into making tensors, not into arithmetic.
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
        """Outputs of all networks.

        Args:
            observations: (networks, inputs).

        Returns:
            float64 (networks, outputs); each row bit for bit what its network alone gives.

        Raises:
            ValueError: another shape.
        """
        if observations.shape != (len(self._array), self._inputs):
            raise ValueError(
                f"observations of shape {observations.shape} for {len(self._array)} networks of "
                f"{self._inputs} inputs"
            )
        packed = self._packed
        with torch.no_grad():
            if packed.function is None:
                x = torch.from_numpy(observations.astype(np.float64))
                self._nodes.copy_(packed.propagate(x))
            else:
                # The same operations as in `_Packed.propagate`, without new tensors.
                self._array[:, 1 : 1 + self._inputs] = observations
                self._array[:, 1 + self._inputs :] = 0.0
                for _ in range(packed.rounds):
                    torch.mul(packed.weight, self._row, out=self._products)
                    torch.cumsum(self._products, -1, out=self._sums)
                    self._nodes.copy_(packed.function(self._last))
        result: NDArray[np.float64] = self._array[self._rows, self._columns]
        return result


@dataclass
class _Packed:
    """Networks padded to one shape: B networks, M nodes, I inputs.

    Column 0 of the weights is the bias, then inputs and nodes follow; response and activation's
    factor are multiplied into all of them.
    """

    weight: Tensor  # (B, M, 1 + I + M)
    activations: list[tuple[Callable[[Tensor], Tensor], Tensor | None]]
    function: Callable[[Tensor], Tensor] | None
    """The one activation function, where it is all there is to a node (the common case)."""
    bounded: bool
    rounds: int
    cyclic: Tensor | None  # (B, 1), only where it matters
    others: _Others | None

    @classmethod
    def of(cls, networks: Sequence[GenomeNetwork]) -> _Packed:
        most = max(len(n.spec.nodes) for n in networks)
        count = -(-most // _NODE_MULTIPLE) * _NODE_MULTIPLE
        pad = nn.functional.pad
        weights = []
        for n in networks:
            rows = count - len(n.spec.nodes)
            factor = torch.tensor(
                [ACTIVATIONS[node.activation][0] for node in n.spec.nodes], dtype=torch.float64
            )
            scaled = (n.weight * n.mask) * (n.response * factor).unsqueeze(1)
            whole = torch.cat(((n.bias * factor).unsqueeze(1), scaled), dim=1)
            weights.append(pad(whole, (0, rows, 0, rows)))

        def where(attribute: str, name: str) -> Tensor:
            return torch.tensor(
                [
                    [getattr(node, attribute) == name for node in n.spec.nodes]
                    + [False] * (count - len(n.spec.nodes))
                    for n in networks
                ]
            )

        # By function, as "tanh" and "unit_tanh" differ in their factor only.
        functions: dict[Callable[[Tensor], Tensor], Tensor] = {}
        names = sorted({node.activation for n in networks for node in n.spec.nodes})
        for name in names:
            function, at = ACTIVATIONS[name][1], where("activation", name)
            functions[function] = functions[function] | at if function in functions else at
        activations: list[tuple[Callable[[Tensor], Tensor], Tensor | None]] = list(
            functions.items()
        )
        if len(activations) == 1:
            activations = [(activations[0][0], None)]
        aggregations = {node.aggregation for n in networks for node in n.spec.nodes} - {"sum"}
        others = _Others.of(networks, count, sorted(aggregations), where) if aggregations else None
        rounds = max(n.rounds for n in networks)
        cyclic = None
        if rounds > MAX_ROUNDS and any(n.cyclic for n in networks):
            cyclic = torch.tensor([[n.cyclic] for n in networks])
        bounded = all(name in _BOUNDED for name in names)
        simple = len(activations) == 1 and bounded and others is None and cyclic is None
        return cls(
            torch.stack(weights),
            activations,
            activations[0][0] if simple else None,
            bounded,
            rounds,
            cyclic,
            others,
        )

    def propagate(self, x: Tensor) -> Tensor:
        """Node values (B, M) for inputs (B, I); one network broadcasts over many inputs."""
        nodes, width = self.weight.shape[1:]
        if x.shape[1] != width - nodes - 1:
            raise ValueError(
                f"{x.shape[1]} observation components for networks of {width - nodes - 1} inputs"
            )
        one = torch.ones(x.shape[0], 1, dtype=torch.float64)
        values = torch.zeros(x.shape[0], nodes, dtype=torch.float64)
        for done in range(self.rounds):
            row = torch.cat((one, x, values), dim=1).unsqueeze(1)
            # The last prefix sum is the sum taken strictly from the first to the last.
            z = (self.weight * row).cumsum(-1)[..., -1]
            if self.others is not None:
                z = self.others.aggregate(row, z)
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


@dataclass
class _Others:
    """What nodes need that do not simply add up their inputs."""

    weight: Tensor  # (B, M, I + M), as in the genomes
    mask: Tensor  # likewise
    bias: Tensor  # (B, M), times the activation's factor
    response: Tensor  # likewise
    where: list[tuple[str, Tensor]]

    @classmethod
    def of(
        cls,
        networks: Sequence[GenomeNetwork],
        count: int,
        names: Sequence[str],
        where: Callable[[str, str], Tensor],
    ) -> _Others:
        pad = nn.functional.pad
        weights, masks, biases, responses = [], [], [], []
        for n in networks:
            rows = count - len(n.spec.nodes)
            factor = torch.tensor(
                [ACTIVATIONS[node.activation][0] for node in n.spec.nodes], dtype=torch.float64
            )
            weights.append(pad(n.weight * n.mask, (0, rows, 0, rows)))
            masks.append(pad(n.mask, (0, rows, 0, rows)))
            biases.append(pad(n.bias * factor, (0, rows)))
            responses.append(pad(n.response * factor, (0, rows)))
        return cls(
            torch.stack(weights),
            torch.stack(masks),
            torch.stack(biases),
            torch.stack(responses),
            [(name, where("aggregation", name)) for name in names],
        )

    def aggregate(self, row: Tensor, z: Tensor) -> Tensor:
        """Replace ``z`` (B, M) where a node does not sum; ``row`` (B, 1, 1 + I + M) are values."""
        products = self.weight * row[..., 1:]
        mask = self.mask
        some = mask.any(-1)
        result = z
        for name, where in self.where:
            if name == "mean":
                value = products.cumsum(-1)[..., -1] / torch.clamp(mask.sum(-1), min=1)
            elif name == "product":
                value = torch.where(mask, products, torch.ones_like(products)).cumprod(-1)[..., -1]
            elif name == "max":
                value = torch.where(mask, products, -math.inf).amax(-1)
                value = torch.where(some, value, torch.zeros_like(value))
            else:
                value = torch.where(mask, products, math.inf).amin(-1)
                value = torch.where(some, value, torch.zeros_like(value))
            result = torch.where(where, value * self.response + self.bias, result)
        return result


PT_FORMAT: Final = "mkds_neat network"
PT_VERSION: Final = 1


def pt_bytes(network: GenomeNetwork) -> bytes:
    """A file for PyTorch: a dict with ``format``, ``version``, ``spec``, ``state_dict``.

    ``spec`` is `NetworkSpec.to_json` as a JSON string, so that the file holds nothing but
    strings, numbers and tensors and loads with ``torch.load(path, weights_only=True)``.
    """
    # Not to the path itself: of a full disk torch says nothing but "unexpected pos".
    file = io.BytesIO()
    torch.save(
        {
            "format": PT_FORMAT,
            "version": PT_VERSION,
            "spec": json.dumps(network.spec.to_json()),
            "state_dict": network.state_dict(),
        },
        file,
    )
    return file.getvalue()


def save_pt(network: GenomeNetwork, path: Path | str) -> None:
    """Write `pt_bytes` to a file."""
    Path(path).write_bytes(pt_bytes(network))


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
