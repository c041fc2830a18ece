"""The definition of a network, written as plainly as possible, and random networks."""

from __future__ import annotations

import random
import statistics

from mkds_neat.networks import ACTIVATIONS, MAX_ROUNDS, NetworkSpec, Node
from mkds_neat.networks.functions import BOUNDED


def random_spec(
    rng: random.Random,
    *,
    cyclic: bool = False,
    recurrent: bool = False,
    activations=("tanh",),
    aggregations=("sum",),
) -> NetworkSpec:
    hidden = rng.randrange(0, 12)
    inputs = tuple(range(-6, 0))
    ids = [0, 1, *range(2, 2 + hidden)]
    # Order of evaluation: hidden nodes first, outputs last, so that forward edges have no cycle.
    order = [*range(2, 2 + hidden), 0, 1]
    connections = {}
    for target in ids:
        for source in (*inputs, *ids):
            if (
                source in ids
                and not (cyclic or recurrent)
                and order.index(source) >= order.index(target)
            ):
                continue
            if (source in (0, 1) and not recurrent) or rng.random() < 0.5:
                continue
            connections[source, target] = rng.gauss(0, 1.5)
    return NetworkSpec(
        inputs,
        (0, 1),
        tuple(
            Node(
                i,
                rng.gauss(0, 1),
                rng.choice((1.0, rng.gauss(1, 0.3))),
                rng.choice(activations),
                rng.choice(aggregations),
            )
            for i in ids
        ),
        tuple((s, t, w) for (s, t), w in connections.items()),
        recurrent,
    )


def by_hand(spec: NetworkSpec, x, state=None) -> list[float]:
    """The definition: rounds from zero, sums from first to last, without a compiler.

    ``state`` is the memory of a recurrent network, by node, and is updated.
    """
    values = dict.fromkeys((n.id for n in spec.nodes), 0.0) if state is None else dict(state)
    # Rounds after the depth change nothing without cycles.
    rounds = 1 if spec.recurrent else spec.depth() or MAX_ROUNDS
    for _ in range(rounds):
        values = one_round(spec, x, values)
    if state is not None:
        state.update(values)
    return [values[o] for o in spec.outputs]


def one_round(spec: NetworkSpec, x, values: dict[int, float]) -> dict[int, float]:
    before = {**dict(zip(spec.inputs, x, strict=True)), **values}
    new = {}
    into: dict[int, dict[int, float]] = {node.id: {} for node in spec.nodes}
    for source, target, weight in spec.connections:
        into[target][source] = weight
    for node in spec.nodes:
        weights = into[node.id]
        if spec.recurrent and not weights:
            new[node.id] = 0.0
            continue
        sources = [key for key in before if key in weights]
        factor, function = ACTIVATIONS[node.activation]
        response, bias = node.response * factor, node.bias * factor
        if node.aggregation == "sum":
            z = bias
            for key in sources:
                z += (weights[key] * response) * before[key]
        else:
            z = aggregate(node.aggregation, [weights[key] * before[key] for key in sources])
            z = z * response + bias
        value = function(z)
        if node.activation not in BOUNDED:
            value = max(-1e12, min(1e12, value))
        new[node.id] = value
    return new


def aggregate(kind: str, products: list[float]) -> float:
    if not products:
        return 1.0 if kind == "product" else 0.0
    if kind in ("max", "min"):
        return max(products) if kind == "max" else min(products)
    if kind == "maxabs":
        return next(p for p in products if abs(p) == max(map(abs, products)))
    if kind == "median":
        return statistics.median(products)
    total = products[0]
    for product in products[1:]:
        total = total * product if kind == "product" else total + product
    return total if kind == "product" else total / len(products)
