"""A network as plain data, as in the champion's JSON file."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

from pydantic import TypeAdapter

from mkds_neat.errors import ChampionFormatError, describe
from mkds_neat.networks.functions import ACTIVATIONS, AGGREGATIONS


@dataclass(frozen=True)
class Node:
    """A computing node: ``activation(bias + response * aggregation(weight * value, ...))``.

    Attributes:
        id: Number of the node, unique in its network.
        bias: Added to the aggregated inputs.
        response: Factor of the aggregated inputs.
        activation: A name in `ACTIVATIONS`.
        aggregation: A name in `AGGREGATIONS`.
    """

    id: int
    bias: float = 0.0
    response: float = 1.0
    activation: str = "tanh"
    aggregation: str = "sum"


_NODES: Final = TypeAdapter(list[Node])


@dataclass(frozen=True)
class NetworkSpec:
    """A network as plain data.

    Attributes:
        inputs: Ids of the inputs, in the order of the observation's components.
        outputs: Ids of the output nodes, in the order of the action's components.
        nodes: All computing nodes, including the outputs.
        connections: (from id, to id, weight) of each enabled connection.

    Raises:
        ValueError: An id, a name or a number is not possible in a network.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    nodes: tuple[Node, ...]
    connections: tuple[tuple[int, int, float], ...]

    def __post_init__(self) -> None:
        ids = {node.id for node in self.nodes}
        known = ids | set(self.inputs)
        if len(known) != len(self.nodes) + len(self.inputs):
            raise ValueError("the ids of a network's inputs and nodes are not unique")
        for output in self.outputs:
            if output not in ids:
                raise ValueError(f"output {output} is not one of the network's nodes")
        pairs = set()
        for source, target, weight in self.connections:
            connection = f"connection {source}->{target}"
            if source not in known or target not in ids:
                raise ValueError(f"{connection} does not join two nodes of the network")
            if (source, target) in pairs:
                raise ValueError(f"{connection} exists twice")
            if not math.isfinite(weight):
                raise ValueError(f"{connection} has the weight {weight}: expected a finite number")
            pairs.add((source, target))
        for node in self.nodes:
            for name, known_names in (("activation", ACTIVATIONS), ("aggregation", AGGREGATIONS)):
                if getattr(node, name) not in known_names:
                    raise ValueError(
                        f"node {node.id} has the unknown {name} {getattr(node, name)!r}: expected "
                        f"one of {', '.join(known_names)}"
                    )
            if not (math.isfinite(node.bias) and math.isfinite(node.response)):
                raise ValueError(
                    f"node {node.id} has bias {node.bias} and response {node.response}: expected "
                    "finite numbers"
                )

    def order(self) -> list[int] | None:
        """Return the ids of the nodes, each after its sources; None if there is a cycle.

        Nodes that no output depends on are left out.
        """
        sources: dict[int, list[int]] = {node.id: [] for node in self.nodes}
        for source, target, _ in self.connections:
            if source in sources:
                sources[target].append(source)
        needed: dict[int, list[int]] = {}
        waiting = list(self.outputs)
        while waiting:
            if (key := waiting.pop()) not in needed:
                needed[key] = sources[key]
                waiting += sources[key]
        try:
            return list(TopologicalSorter(needed).static_order())
        except CycleError:
            return None

    def depth(self) -> int | None:
        """Return the connections on the longest path to an output; None if there is a cycle.

        At least 1.
        """
        order = self.order()
        if order is None:
            return None
        levels = dict.fromkeys(order, 1)
        targets: dict[int, list[int]] = {key: [] for key in order}
        for source, target, _ in self.connections:
            if source in targets and target in targets:
                targets[source].append(target)
        for key in order:
            for target in targets[key]:
                levels[target] = max(levels[target], levels[key] + 1)
        return max(levels.values(), default=1)

    def to_json(self) -> dict[str, Any]:
        """Return the network as JSON-ready values, which `from_json` reads back exactly."""
        return {
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "nodes": [asdict(node) for node in self.nodes],
            "connections": [
                {"from": source, "to": target, "weight": weight}
                for source, target, weight in self.connections
            ],
        }

    @classmethod
    def from_json(cls, data: Any) -> NetworkSpec:
        """Return the network that `to_json` wrote.

        Raises:
            ChampionFormatError: A part is missing, has the wrong type, or names an unknown id.
        """
        try:
            return cls(
                inputs=tuple(map(int, data["inputs"])),
                outputs=tuple(map(int, data["outputs"])),
                nodes=tuple(_NODES.validate_python(data["nodes"])),
                connections=tuple(
                    (int(c["from"]), int(c["to"]), float(c["weight"])) for c in data["connections"]
                ),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ChampionFormatError(
                f"expected a network description: {describe(error)}"
            ) from error
