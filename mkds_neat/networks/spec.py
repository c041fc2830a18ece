"""A network as plain data, as in the champion's JSON file."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, Final

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    model_validator,
)

from mkds_gym.utils.arguments import shown
from mkds_gym.utils.reading import problems
from mkds_neat.errors import ChampionFormatError
from mkds_neat.networks.functions import ACTIVATIONS, AGGREGATIONS

MAX_CELLS: Final = 4_000_000
"""Largest matrix of weights of a network in a file: nodes times inputs and nodes."""


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


@dataclass(frozen=True)
class NetworkSpec:
    """A network as plain data.

    Attributes:
        inputs: Ids of the inputs, in the order of the observation's components.
        outputs: Ids of the output nodes, in the order of the action's components.
        nodes: All computing nodes, including the outputs.
        connections: (from id, to id, weight) of each enabled connection.
        recurrent: Whether the values of the nodes are remembered from step to step.

    Raises:
        ValueError: An id, a name or a number is not possible in a network.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    nodes: tuple[Node, ...]
    connections: tuple[tuple[int, int, float], ...]
    recurrent: bool = False

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
                        f"node {node.id} has the unknown {name} {shown(getattr(node, name))}: "
                        f"expected one of {', '.join(known_names)}"
                    )
            if not (math.isfinite(node.bias) and math.isfinite(node.response)):
                raise ValueError(
                    f"node {node.id} has bias {node.bias} and response {node.response}: expected "
                    "finite numbers"
                )

    def needed(self) -> dict[int, list[int]]:
        """Return the nodes that an output depends on, by id, with the nodes of their inputs."""
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
        return needed

    def levels(self) -> list[list[int]] | None:
        """Return the ids of the nodes that an output depends on, in levels; None with a cycle.

        The inputs of a node are inputs of the network, or nodes of earlier levels.
        """
        sorter = TopologicalSorter(self.needed())
        try:
            sorter.prepare()
        except CycleError:
            return None
        found = []
        while sorter.is_active():
            level = sorter.get_ready()
            sorter.done(*level)
            found.append(sorted(level))
        return found

    def depth(self) -> int | None:
        """Return the connections on the longest path to an output; None if there is a cycle.

        At least 1.
        """
        levels = self.levels()
        return None if levels is None else max(1, len(levels))

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
            "recurrent": self.recurrent,
        }

    @classmethod
    def from_json(cls, data: Any) -> NetworkSpec:
        """Return the network that `to_json` wrote.

        Raises:
            ChampionFormatError: A part is missing, has the wrong type, or names an unknown id.
        """
        try:
            read = _Network.model_validate(data)
            return cls(
                inputs=tuple(read.inputs),
                outputs=tuple(read.outputs),
                nodes=tuple(Node(**vars(node)) for node in read.nodes),
                connections=tuple((c.source, c.target, c.weight) for c in read.connections),
                recurrent=read.recurrent,
            )
        except ValueError as error:
            problem = problems(error) if isinstance(error, ValidationError) else error
            raise ChampionFormatError(f"expected a network description: {problem}") from None


_Id = Annotated[int, Field(ge=-(1 << 53), le=1 << 53)]
_STRICT: Final = ConfigDict(strict=True)


class _Node(BaseModel):
    model_config = _STRICT

    id: _Id
    bias: FiniteFloat = 0.0
    response: FiniteFloat = 1.0
    activation: str = "tanh"
    aggregation: str = "sum"


class _Connection(BaseModel):
    model_config = _STRICT

    source: _Id = Field(alias="from")
    target: _Id = Field(alias="to")
    weight: FiniteFloat


class _Network(BaseModel):
    model_config = _STRICT

    inputs: list[_Id]
    outputs: list[_Id]
    nodes: list[_Node]
    connections: list[_Connection]
    recurrent: bool = False

    @model_validator(mode="after")
    def _check(self) -> _Network:
        cells = len(self.nodes) * (len(self.inputs) + len(self.nodes))
        if cells > MAX_CELLS:
            raise ValueError(
                f"{len(self.nodes):,} nodes and {len(self.inputs):,} inputs are too many: their "
                f"matrix of weights would have {cells:,} cells, and the limit is {MAX_CELLS:,}"
            )
        return self
