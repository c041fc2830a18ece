"""Networks as plain Python functions, which is how evolution runs them.

A network of ten nodes costs two microseconds a call: less than one operation of NumPy or PyTorch on
arrays of this size. NumPy computes large layers, and adds in the same order. It gets no matrix
product: the last digits of a matrix product depend on the processor and on the size of the batch.

**Definition.** The value of a node is ``function(b + w1 * v1 + w2 * v2 + ...)``, with IEEE double
arithmetic, added from left to right, in the order of the network's inputs and nodes. ``b`` is
``bias * factor`` and each ``w`` is ``weight * (response * factor)``, with the factor of the
activation. A node with another aggregation than the sum is ``function(aggregate * (response *
factor) + b)``; the aggregate is 0 without inputs (``product``: 1). The functions are those of
`math`. Values of unbounded activations are clamped to `VALUE_LIMIT`.

**Recurrent networks.** The policy of a recurrent network remembers the values of its nodes, which
start at 0. A step computes each node once, from the observation and the values of the step before.
A node without inputs keeps the value 0. This is neat-python's ``RecurrentNetwork``.

**Cycles.** In any other network with cycles, all nodes start at 0 in every step and are computed
`MAX_ROUNDS` times, each time from the values of the round before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import gymnasium as gym
import numpy as np

from mkds_neat.networks.functions import ACTIVATIONS, BOUNDED, VALUE_LIMIT
from mkds_neat.networks.spec import NetworkSpec, Node

MAX_ROUNDS: Final = 16
"""Rounds of propagation in a network with cycles."""
_LARGE_LAYER: Final = 512
"""Connections from which on NumPy computes a layer. Below, a Python expression is faster."""
_TERMS: Final = 64
"""Terms of a sum in one expression: Python's compiler limits how deep an expression may be."""

Policy = Callable[[Sequence[float]], tuple[float, ...]]
"""The outputs of a network for the components of one observation, as Python floats. The policy of a
recurrent network has a memory: each episode needs a policy of its own."""


def compile_network(spec: NetworkSpec, space: gym.spaces.Box | None = None) -> Policy:
    """Return a network as a function of one observation (``observation.tolist()``).

    Call this function again for each episode: a recurrent network starts with an empty memory.

    Args:
        spec: The network.
        space: The outputs are clipped to this space of actions; None for the outputs as they are.
    """
    name = {key: f"x{i}" for i, key in enumerate(spec.inputs)}
    name.update({node.id: f"n{i}" for i, node in enumerate(spec.nodes)})
    place = {key: i for i, key in enumerate(name)}
    into: dict[int, dict[int, float]] = {node.id: {} for node in spec.nodes}
    for source, target, weight in sorted(spec.connections, key=lambda each: place[each[0]]):
        into[target][source] = weight
    nodes = {node.id: node for node in spec.nodes}
    levels = None if spec.recurrent else spec.levels()
    layers: dict[str, Callable[[Sequence[float]], list[float]]] = {}
    memory: list[str] = []
    if spec.recurrent:
        name.update((key, "0.0") for key in nodes if not into[key])
        used = [key for key in spec.needed() if into[key]]
        memory = [name[key] for key in used]
        body = [line for key in used for line in _node(nodes[key], into[key], name, "new_")]
        body += [f"{each} = new_{each}" for each in memory]
    elif levels is not None:
        body = []
        for level in levels:
            for group in _layers([nodes[key] for key in level], into):
                if len(group) == 1:
                    body += _node(group[0], into[group[0].id], name)
                    continue
                function = f"layer_{len(layers)}"
                layers[function] = _layer(group, into)
                targets, sources = (
                    "".join(f"{name[key]}, " for key in keys)
                    for keys in ([node.id for node in group], into[group[0].id])
                )
                body.append(f"{targets}= {function}((1.0, {sources}))")
    else:
        zeros = " = ".join(name[key] for key in nodes)
        body = [f"{zeros} = 0.0", f"for _ in range({MAX_ROUNDS}):"]
        for key, node in nodes.items():
            body += [f"    {line}" for line in _node(node, into[key], name, "new_")]
        body += [f"    {name[key]} = new_{name[key]}" for key in nodes]
    lines = [f"    {line}" for line in body]
    if spec.inputs:
        lines.insert(0, f"    {''.join(name[key] + ', ' for key in spec.inputs)}= x")
    outputs = [name[key] for key in spec.outputs]
    if space is not None:
        limits = zip(outputs, space.low.tolist(), space.high.tolist(), strict=True)
        outputs = [
            # A NaN, of weights near the largest float, becomes the lower limit.
            f"{value} if {low!r} <= {value} <= {high!r} else {high!r} if {value} > {low!r} "
            f"else {low!r}"
            for value, low, high in limits
        ]
    lines.append(f"    return ({''.join(value + ', ' for value in outputs)})")
    lines = ["def policy(x):", *lines]
    if memory:
        lines.insert(1, f"    nonlocal {', '.join(memory)}")
        lines = [f"    {line}" for line in lines]
        start = f"    {' = '.join(memory)} = 0.0"
        lines = ["def new_policy():", start, *lines, "    return policy", "policy = new_policy()"]
    source_code = "\n".join(lines)
    namespace: dict[str, Any] = {
        "clamp": _clamp,
        "median": _median,
        "inf": math.inf,
        "nan": math.nan,
        **{f"f_{each}": function for each, (_, function) in ACTIVATIONS.items()},
        **layers,
    }
    exec(compile(source_code, "<network>", "exec"), namespace)
    policy: Policy = namespace["policy"]
    return policy


def _layers(nodes: Sequence[Node], into: dict[int, dict[int, float]]) -> Iterator[list[Node]]:
    """Split nodes into large layers and single nodes.

    The nodes of a layer have the same activation, and are sums of the same inputs.
    """
    groups: dict[tuple[Any, ...], list[Node]] = {}
    for node in nodes:
        groups.setdefault((node.aggregation, node.activation, *into[node.id]), []).append(node)
    for group in groups.values():
        size = len(group) * len(into[group[0].id])
        if group[0].aggregation == "sum" and len(group) > 1 and size >= _LARGE_LAYER:
            yield group
        else:
            yield from ([node] for node in group)


def _layer(
    nodes: Sequence[Node], into: dict[int, dict[int, float]]
) -> Callable[[Sequence[float]], list[float]]:
    """Return the function of a layer, from 1 and the values of its inputs to those of its nodes."""
    activation = nodes[0].activation
    factor, function = ACTIVATIONS[activation]
    columns = [
        [node.bias * factor, *(w * (node.response * factor) for w in into[node.id].values())]
        for node in nodes
    ]
    # NumPy adds rows from first to last, if there is more than one column.
    rows = np.array(columns).T.copy()
    array, add, bounded = np.array, np.add.reduce, activation in BOUNDED

    def layer(values: Sequence[float]) -> list[float]:
        sums = add(rows * array(values)[:, None], axis=0).tolist()
        return [function(z) if bounded else _clamp(function(z)) for z in sums]

    return layer


def _node(
    node: Node, weights: dict[int, float], name: dict[int, str], prefix: str = ""
) -> list[str]:
    """Return the lines that compute a node from ``weights``, in the order of the definition."""
    target = prefix + name[node.id]
    factor, _ = ACTIVATIONS[node.activation]
    bias, response = node.bias * factor, node.response * factor
    if node.aggregation == "sum":
        terms = [repr(bias), *(f"{w * response!r} * {name[key]}" for key, w in weights.items())]
        *lines, z = _joined(target, " + ", terms)
    else:
        products = [f"{weight!r} * {name[key]}" for key, weight in weights.items()]
        *lines, z = _aggregate(node.aggregation, target, products)
        z = f"({z}) * {response!r} + {bias!r}"
    value = f"f_{node.activation}({z})"
    return [*lines, f"{target} = {value if node.activation in BOUNDED else f'clamp({value})'}"]


def _aggregate(kind: str, target: str, products: Sequence[str]) -> list[str]:
    """Return lines that assign to ``target``, and at last the expression of the aggregate."""
    if not products:
        return ["1.0" if kind == "product" else "0.0"]
    if kind in ("max", "min", "median"):
        return [f"{kind}(({', '.join(products)},))"]
    if kind == "maxabs":
        return [f"max(({', '.join(products)},), key=abs)"]
    if kind == "product":
        return _joined(target, " * ", [f"({product})" for product in products])
    *lines, total = _joined(target, " + ", products)
    return [*lines, f"({total}) / {len(products)}"]


def _joined(target: str, operator: str, terms: Sequence[str]) -> list[str]:
    """Return lines that assign to ``target``, and at last an expression, for a chain of terms."""
    lines, expression = [], operator.join(terms[:_TERMS])
    for start in range(_TERMS, len(terms), _TERMS):
        lines.append(f"{target} = {expression}")
        expression = operator.join([target, *terms[start : start + _TERMS]])
    return [*lines, expression]


def _median(values: tuple[float, ...]) -> float:
    middle, ordered = len(values) // 2, sorted(values)
    return ordered[middle] if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) / 2.0


def _clamp(value: float) -> float:
    return max(-VALUE_LIMIT, min(VALUE_LIMIT, value))
