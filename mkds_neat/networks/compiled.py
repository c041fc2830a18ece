"""Networks as plain Python functions, which is how evolution runs them.

A network of ten nodes costs two microseconds a call: less than one operation of NumPy or PyTorch on
arrays of this size.

**Definition.** The value of a node is ``function(b + w1 * v1 + w2 * v2 + ...)``, with IEEE double
arithmetic, added from left to right, in the order of the network's inputs and nodes. ``b`` is
``bias * factor`` and each ``w`` is ``weight * (response * factor)``, with the factor of the
activation. A node with another aggregation than the sum is ``function(aggregate * (response *
factor) + b)``; the aggregate is 0 without inputs (``product``: 1). The functions are those of
`math`. Values of unbounded activations are clamped to `VALUE_LIMIT`.

**Cycles.** In a network with cycles, all nodes start at 0 and are computed `MAX_ROUNDS` times, each
time from the values of the round before. Nothing is remembered from step to step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import gymnasium as gym

from mkds_neat.networks.functions import ACTIVATIONS, BOUNDED, VALUE_LIMIT
from mkds_neat.networks.spec import NetworkSpec, Node

MAX_ROUNDS: Final = 16
"""Rounds of propagation in a network with cycles."""
_TERMS: Final = 64
"""Terms of a sum in one expression: Python's compiler limits how deep an expression may be."""

Policy = Callable[[Sequence[float]], tuple[float, ...]]
"""The outputs of a network for the components of one observation, as Python floats."""


def compile_network(spec: NetworkSpec, space: gym.spaces.Box | None = None) -> Policy:
    """Return a network as a function of one observation (``observation.tolist()``).

    Args:
        spec: The network.
        space: The outputs are clipped to this space of actions; None for the outputs as they are.
    """
    into: dict[int, dict[int, float]] = {node.id: {} for node in spec.nodes}
    for source, target, weight in spec.connections:
        into[target][source] = weight
    name = {key: f"x{i}" for i, key in enumerate(spec.inputs)}
    name.update({node.id: f"n{i}" for i, node in enumerate(spec.nodes)})
    nodes = {node.id: node for node in spec.nodes}
    order = spec.order()
    if order is not None:
        body = [line for key in order for line in _node(nodes[key], into[key], name)]
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
            f"{low!r} if {value} < {low!r} else {high!r} if {value} > {high!r} else {value}"
            for value, low, high in limits
        ]
    lines.append(f"    return ({''.join(value + ', ' for value in outputs)})")
    source_code = "\n".join(["def policy(x):", *lines])
    namespace: dict[str, Any] = {
        "clamp": _clamp,
        "inf": math.inf,
        "nan": math.nan,
        **{f"f_{each}": function for each, (_, function) in ACTIVATIONS.items()},
    }
    exec(compile(source_code, "<network>", "exec"), namespace)
    policy: Policy = namespace["policy"]
    return policy


def _node(
    node: Node, weights: dict[int, float], name: dict[int, str], prefix: str = ""
) -> list[str]:
    """Return the lines that compute a node."""
    target = prefix + name[node.id]
    factor, _ = ACTIVATIONS[node.activation]
    bias, response = node.bias * factor, node.response * factor
    sources = [key for key in name if key in weights]
    if node.aggregation == "sum":
        terms = [repr(bias), *(f"{weights[key] * response!r} * {name[key]}" for key in sources)]
        *lines, z = _joined(target, " + ", terms)
    else:
        products = [f"{weights[key]!r} * {name[key]}" for key in sources]
        *lines, z = _aggregate(node.aggregation, target, products)
        z = f"({z}) * {response!r} + {bias!r}"
    value = f"f_{node.activation}({z})"
    return [*lines, f"{target} = {value if node.activation in BOUNDED else f'clamp({value})'}"]


def _aggregate(kind: str, target: str, products: Sequence[str]) -> list[str]:
    """Return lines that assign to ``target``, and at last the expression of the aggregate."""
    if not products:
        return ["1.0" if kind == "product" else "0.0"]
    if kind in ("max", "min"):
        return [f"{kind}(({', '.join(products)},))"]
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


def _clamp(value: float) -> float:
    return max(-VALUE_LIMIT, min(VALUE_LIMIT, value))
