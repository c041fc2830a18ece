"""Networks in ONNX files, for other programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mkds_neat.networks.compiled import MAX_ROUNDS
from mkds_neat.networks.functions import (
    ACTIVATIONS,
    BOUNDED,
    SELU_ALPHA,
    SELU_SCALE,
    VALUE_LIMIT,
)
from mkds_neat.networks.spec import NetworkSpec, Node

OPSET: Final = 18
IR_VERSION: Final = 9
"""The versions of ONNX that a file needs: those of 2023."""


def onnx_bytes(spec: NetworkSpec) -> bytes:
    """Return the bytes of an ONNX file.

    The input is ``observation``, float32 (batch, inputs). The output is ``action``, float64 (batch,
    outputs), which differs from that of `compile_network` in the last digits. A recurrent network
    also has the input ``state`` and the output ``next_state``, float64 (batch, nodes). The first
    state of an episode is zeros.
    """
    graph = _Graph()
    observation = graph.add("Cast", "observation", to=TensorProto.DOUBLE)
    inputs = {key: i for i, key in enumerate(spec.inputs)}
    nodes = {node.id: node for node in spec.nodes}
    levels = None if spec.recurrent else spec.levels()
    if levels is not None:
        values, column = observation, dict(inputs)
        for level in levels:
            order, parts = _values(graph, spec, [nodes[key] for key in level], values, column)
            values = graph.add("Concat", values, *parts, axis=1)
            column |= {key: len(column) + i for i, key in enumerate(order)}
    else:
        state = "state"
        if not spec.recurrent:
            state = graph.add("MatMul", observation, np.zeros((len(inputs), len(nodes))))
        column = {key: i for i, key in enumerate(nodes)}
        before = inputs | {key: len(inputs) + i for key, i in column.items()}
        for _ in range(1 if spec.recurrent else MAX_ROUNDS):
            values = graph.add("Concat", observation, state, axis=1)
            order, parts = _values(graph, spec, list(spec.nodes), values, before)
            mixed = graph.add("Concat", *parts, axis=1)
            places = np.argsort([column[key] for key in order])
            state = graph.add("Gather", mixed, places, axis=1)
        values = state
    outputs = np.array([column[key] for key in spec.outputs])
    graph.add("Gather", values, outputs, axis=1, output="action")
    interface = [("observation", TensorProto.FLOAT, len(spec.inputs))]
    results = [("action", TensorProto.DOUBLE, len(spec.outputs))]
    if spec.recurrent:
        graph.add("Identity", values, output="next_state")
        interface.append(("state", TensorProto.DOUBLE, len(nodes)))
        results.append(("next_state", TensorProto.DOUBLE, len(nodes)))
    takes, gives = (
        [helper.make_tensor_value_info(name, kind, ["batch", size]) for name, kind, size in each]
        for each in (interface, results)
    )
    model = helper.make_model(
        helper.make_graph(graph.nodes, "network", takes, gives, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="mkds_neat",
    )
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


class _Graph:
    """A graph under construction. Values are names."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(
        self, kind: str, *arguments: str | float | NDArray[Any], output: str = "", **attributes: Any
    ) -> str:
        """Add an operation, and return its value. Numbers and arrays become constants."""
        names = [each if isinstance(each, str) else self._constant(each) for each in arguments]
        output = output or f"v{len(self.nodes)}"
        outputs = [output, f"{output}_places"] if kind == "TopK" else [output]
        self.nodes.append(helper.make_node(kind, names, outputs, output, **attributes))
        return output

    def clip(self, z: str, limit: float) -> str:
        return self.add("Clip", z, -limit, limit)

    def _constant(self, value: float | NDArray[Any]) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name


def _values(
    graph: _Graph, spec: NetworkSpec, nodes: Sequence[Node], values: str, column: Mapping[int, int]
) -> tuple[list[int], list[str]]:
    """Compute nodes from the columns of ``values``.

    Returns:
        The ids of the nodes, and tensors (batch, nodes) of their values in this order.
    """
    into: dict[int, list[tuple[int, float]]] = {node.id: [] for node in nodes}
    for source, target, weight in spec.connections:
        if target in into:
            into[target].append((column[source], weight))
    groups: dict[tuple[str, str], list[Node]] = {}
    for node in nodes:
        kind = (node.activation, node.aggregation if into[node.id] else "none")
        groups.setdefault(kind, []).append(node)
    order, parts = [], []
    for (activation, aggregation), group in groups.items():
        factor = ACTIVATIONS[activation][0]
        bias = np.array([node.bias for node in group])
        response = np.array([node.response for node in group])
        if aggregation in ("sum", "none"):
            weights = np.zeros((len(column), len(group)))
            for i, node in enumerate(group):
                for source, weight in into[node.id]:
                    weights[source, i] = weight * node.response * factor
                if aggregation == "none" and node.aggregation == "product":
                    bias[i] += node.response
            z = graph.add("Add", graph.add("MatMul", values, weights), bias * factor)
        else:
            each = [_aggregate(graph, aggregation, values, into[node.id]) for node in group]
            total = graph.add("Concat", *each, axis=1)
            z = graph.add("Add", graph.add("Mul", total, response * factor), bias * factor)
        if spec.recurrent and aggregation == "none":  # such nodes keep the value 0
            result = graph.add("Mul", z, 0.0)
        else:
            result = _FUNCTIONS[activation](graph, z)
            if activation not in BOUNDED:
                result = graph.clip(result, VALUE_LIMIT)
        order += [node.id for node in group]
        parts.append(result)
    return order, parts


def _aggregate(graph: _Graph, kind: str, values: str, inputs: Sequence[tuple[int, float]]) -> str:
    """Return the aggregate (batch, 1) of some columns times their weights."""
    places, weights = (np.array(each) for each in zip(*inputs, strict=True))
    products = graph.add("Mul", graph.add("Gather", values, places, axis=1), weights)
    if kind == "maxabs":
        chosen = graph.add("ArgMax", graph.add("Abs", products), axis=1)
        return graph.add("GatherElements", products, chosen, axis=1)
    if kind == "product":  # ONNX Runtime 1.18 has no ReduceProd of float64
        total = graph.add("Gather", products, np.array([0]), axis=1)
        for i in range(1, len(inputs)):
            total = graph.add("Mul", total, graph.add("Gather", products, np.array([i]), axis=1))
        return total
    if kind == "median":
        count = len(inputs)
        middle = count // 2
        ordered = graph.add("TopK", products, np.array([middle + 1]), axis=1, largest=0)
        products = graph.add("Gather", ordered, np.array([(count - 1) // 2, middle]), axis=1)
        kind = "mean"
    operation = {"mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin"}[kind]
    return graph.add(operation, products, np.array([1]))


def _positive(graph: _Graph, z: str, below: str) -> str:
    return graph.add("Where", graph.add("Greater", z, 0.0), z, below)


def _gauss(graph: _Graph, z: str) -> str:
    z = graph.clip(z, 3.4)
    return graph.add("Exp", graph.add("Mul", graph.add("Mul", z, z), -5.0))


def _elu(graph: _Graph, z: str) -> str:
    below = graph.add("Sub", graph.add("Exp", graph.add("Min", z, 0.0)), 1.0)
    return _positive(graph, z, below)


def _selu(graph: _Graph, z: str) -> str:
    below = graph.add("Sub", graph.add("Exp", graph.add("Min", z, 0.0)), 1.0)
    below = graph.add("Mul", below, SELU_ALPHA)
    return graph.add("Mul", _positive(graph, z, below), SELU_SCALE)


def _softplus(graph: _Graph, z: str) -> str:
    power = graph.add("Exp", graph.clip(z, 60.0))
    return graph.add("Mul", graph.add("Log", graph.add("Add", power, 1.0)), 0.2)


def _inverse(graph: _Graph, z: str) -> str:
    zero = graph.add("Equal", z, 0.0)
    return graph.add("Where", zero, 0.0, graph.add("Div", 1.0, z))


_FUNCTIONS: Final[Mapping[str, Callable[[_Graph, str], str]]] = {
    "sigmoid": lambda g, z: g.add("Sigmoid", g.clip(z, 60.0)),
    "tanh": lambda g, z: g.add("Tanh", z),
    "unit_tanh": lambda g, z: g.add("Tanh", z),
    "sin": lambda g, z: g.add("Sin", g.clip(z, 60.0)),
    "gauss": _gauss,
    "relu": lambda g, z: g.add("Max", z, 0.0),
    "elu": _elu,
    "lelu": lambda g, z: _positive(g, z, g.add("Mul", z, 0.005)),
    "selu": _selu,
    "softplus": _softplus,
    "identity": lambda _, z: z,
    "clamped": lambda g, z: g.clip(z, 1.0),
    "inv": _inverse,
    "log": lambda g, z: g.add("Log", g.add("Max", z, 1e-7)),
    "exp": lambda g, z: g.add("Exp", g.clip(z, 60.0)),
    "abs": lambda g, z: g.add("Abs", z),
    "hat": lambda g, z: g.add("Max", g.add("Sub", 1.0, g.add("Abs", z)), 0.0),
    "square": lambda g, z: g.add("Mul", z, z),
    "cube": lambda g, z: g.add("Mul", g.add("Mul", z, z), z),
}
"""The functions of `mkds_neat.networks.functions.ACTIVATIONS` as operations.

Max, not Relu: onnxruntime 1.32 cannot load a Relu of float64 that a Clip follows.
"""
