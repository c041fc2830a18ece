"""The diagram of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mkds_gym.components.actions import KEY_ORDER
from mkds_gym.components.sensors import SENSORS
from mkds_neat.networks import NetworkSpec
from mkds_neat.plots.progress import RunLike
from mkds_neat.plots.run import Run
from mkds_neat.plots.style import BLUE, GREY, INK, ORANGE, PlotError, axes_of, words
from mkds_neat.results import Champion

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_NODES: Final = 600
"""Most nodes of a network that is drawn."""
MAX_LINES: Final = 3_000
"""Most connections that are drawn: those with the greatest weights."""
_WHEEL: Final = ("steering", "drift", "brake", "item")
"""The outputs of the action type ``wheel``."""
_NAMED: Final = 24
"""Most nodes of a layer that have names."""


def network(
    run: RunLike | NetworkSpec,
    ax: Axes | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
) -> Axes:
    """Draw a network, the champion's or another: inputs left, outputs right.

    Blue connections have positive weights, orange ones negative weights; a wider line is a greater
    weight. A connection back to an earlier layer, or to the node itself, is a dashed arc.

    Args:
        run: The run, or a network.
        ax: Where to draw; None for a new figure.
        inputs: Names of the inputs; None for those of the run's sensors.
        outputs: Names of the outputs; None for those of the run's actions.

    Raises:
        PlotError: The run has no champion yet, or the network is too large.
    """
    if isinstance(run, NetworkSpec):
        spec, champion = run, None
    else:
        champion = Run.load(run).champion
        if champion is None:
            raise PlotError("the run has no champion yet")
        spec = champion.network
    count = len(spec.inputs) + len(spec.nodes)
    if count > MAX_NODES:
        raise PlotError(f"the network has {count:,} nodes, and {MAX_NODES} can be drawn")
    layers = arrange(spec)
    tallest = max(map(len, layers))
    size = (max(5.4, 1.5 * len(layers) + 2.4), min(max(2.6, 0.42 * tallest + 0.8), 7.0))
    ax = axes_of(ax, size)
    places = {}
    for column, layer in enumerate(layers):  # each column fills the height
        step = min((tallest - 1) / max(len(layer) - 1, 1), 2.2)
        for row, key in enumerate(layer):
            places[key] = (float(column), ((len(layer) - 1) / 2 - row) * step)
    _connections(ax, spec, places)
    _nodes(ax, spec, places, tallest)
    in_names = inputs if inputs is not None else _input_names(champion, len(spec.inputs))
    out_names = outputs if outputs is not None else _output_names(champion, len(spec.outputs))
    _names(ax, spec, places, in_names, out_names)
    _legend(ax, spec)
    low = min(y for _, y in places.values())
    high = max(y for _, y in places.values())
    ax.set_xlim(-0.35, len(layers) - 0.65)
    ax.set_ylim(low - 0.7, high + 0.7)
    ax.axis("off")
    return ax


def arrange(spec: NetworkSpec) -> list[list[int]]:
    """Return the ids of inputs and nodes in layers, from the inputs to the outputs.

    Connections that close a cycle are ignored. The outputs are the last layer.
    """
    sources: dict[int, list[int]] = {node.id: [] for node in spec.nodes}
    targets: dict[int, list[int]] = {key: [] for key in (*spec.inputs, *sources)}
    forward = _without_cycles(spec)
    for source, target in forward:
        sources[target].append(source)
        targets[source].append(target)
    level = dict.fromkeys(spec.inputs, 0)
    left = {key: len(from_) for key, from_ in sources.items()}
    waiting = [*spec.inputs, *(key for key, number in left.items() if not number)]
    for key in waiting:  # grows in the loop
        level.setdefault(key, 1)
        for target in targets[key]:
            level[target] = max(level.get(target, 1), level[key] + 1)
            left[target] -= 1
            if not left[target]:
                waiting.append(target)
    outputs = set(spec.outputs)
    last = max([level[key] for key in level if key not in outputs] + [0]) + 1
    last = max([last, *(level[key] for key in outputs)])
    columns: list[list[int]] = [[] for _ in range(last + 1)]
    columns[0], columns[last] = list(spec.inputs), list(spec.outputs)
    for node in spec.nodes:
        if node.id not in outputs:
            columns[level[node.id]].append(node.id)
    columns = [column for column in columns if column]
    _uncross(columns, forward)
    return columns


def _without_cycles(spec: NetworkSpec) -> list[tuple[int, int]]:
    """Return the connections without those that close a cycle, in a depth-first search."""
    targets: dict[int, list[int]] = {}
    for source, target, _ in spec.connections:
        targets.setdefault(source, []).append(target)
    outputs = set(spec.outputs)
    state: dict[int, int] = {}
    forward: list[tuple[int, int]] = []
    for root in (*spec.inputs, *(node.id for node in spec.nodes)):
        if root in state:
            continue
        state[root] = 1
        path = [(root, iter(targets.get(root, ())))]
        while path:
            key, following = path[-1]
            for reached in following:
                if state.get(reached) == 1 or key in outputs:
                    continue
                forward.append((key, reached))
                if reached not in state:
                    state[reached] = 1
                    path.append((reached, iter(targets.get(reached, ()))))
                    break
            else:
                state[key] = 2
                path.pop()
    return forward


def _uncross(columns: list[list[int]], forward: Sequence[tuple[int, int]]) -> None:
    """Order the hidden nodes by the mean place of their neighbours, so that fewer lines cross."""
    around: dict[int, list[int]] = {}
    for source, target in forward:
        around.setdefault(source, []).append(target)
        around.setdefault(target, []).append(source)
    for _ in range(4):
        place = {key: row / max(len(c) - 1, 1) for c in columns for row, key in enumerate(c)}
        for column in columns[1:-1]:
            column.sort(key=lambda key: np.mean([place[k] for k in around.get(key, [key])]))


def _connections(ax: Axes, spec: NetworkSpec, places: dict[int, tuple[float, float]]) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgba
    from matplotlib.patches import FancyArrowPatch

    strongest = sorted(spec.connections, key=lambda c: abs(c[2]))[-MAX_LINES:]
    if not strongest:
        return
    greatest = max(abs(weight) for _, _, weight in strongest) or 1.0
    crowd = min(1.0, (60 / len(strongest)) ** 0.35)
    segments, colours, widths = [], [], []
    for source, target, weight in strongest:
        share = abs(weight) / greatest
        start, end = places[source], places[target]
        colour = BLUE if weight >= 0 else ORANGE
        alpha = (0.25 + 0.7 * share) * (0.35 + 0.65 * crowd)
        width = (0.4 + 3.2 * share) * (0.3 + 0.7 * crowd)
        if start[0] < end[0]:
            segments.append((start, end))
            colours.append(to_rgba(colour, alpha))
            widths.append(width)
            continue
        if source == target:
            start, end = (start[0] - 0.03, start[1] + 0.1), (start[0] + 0.03, start[1] + 0.1)
        arc = FancyArrowPatch(
            start,
            end,
            connectionstyle=f"arc3,rad={-8.0 if source == target else -0.35}",
            arrowstyle="-|>",
            mutation_scale=9,
            shrinkA=2 if source == target else 7,
            shrinkB=2 if source == target else 8,
            linestyle="--",
            linewidth=width,
            color=to_rgba(colour, max(alpha, 0.5)),
            zorder=2,
        )
        ax.add_patch(arc)
    ax.add_collection(LineCollection(segments, colors=colours, linewidths=widths, zorder=1))


def _nodes(
    ax: Axes, spec: NetworkSpec, places: dict[int, tuple[float, float]], tallest: int
) -> None:
    area = float(np.clip(2_200 / max(tallest, 6), 24, 190))
    fills = dict.fromkeys(spec.inputs, "#ffffff")
    fills |= {node.id: "#d5dae1" for node in spec.nodes}
    fills |= dict.fromkeys(spec.outputs, INK)
    keys = list(places)
    ax.scatter(
        [places[key][0] for key in keys],
        [places[key][1] for key in keys],
        s=area,
        c=[fills[key] for key in keys],
        edgecolors=INK,
        linewidths=1.0,
        zorder=3,
    )


def _names(
    ax: Axes,
    spec: NetworkSpec,
    places: dict[int, tuple[float, float]],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> None:
    for keys, names, side in ((spec.inputs, inputs, -1), (spec.outputs, outputs, 1)):
        if len(keys) > _NAMED:
            continue
        for key, name in zip(keys, names, strict=False):
            ax.annotate(
                words(name),
                places[key],
                xytext=(9 * side, 0),
                textcoords="offset points",
                ha="left" if side > 0 else "right",
                va="center",
                fontsize="small",
                color=INK,
            )


def _legend(ax: Axes, spec: NetworkSpec) -> None:
    from matplotlib.lines import Line2D

    greatest = max((abs(weight) for _, _, weight in spec.connections), default=0.0)
    handles: list[Any] = [
        Line2D([], [], color=BLUE, linewidth=3, label=f"positive weight (up to {greatest:.2g})"),
        Line2D([], [], color=ORANGE, linewidth=3, label="negative weight"),
    ]
    if len(_without_cycles(spec)) < len(spec.connections):
        handles.append(Line2D([], [], color=GREY, linestyle="--", label="recurrent"))
    ax.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        ncols=3,
        frameon=False,
        fontsize="small",
        handlelength=1.6,
    )


def _input_names(champion: Champion | None, count: int) -> list[str]:
    """Return the labels of the sensors of a champion, if mkds-gym has all of them."""
    named = None if champion is None else champion.env_kwargs.get("sensors", ["seed6"])
    sensors = [named] if isinstance(named, str) else list(named or ())
    names: list[str] = []
    try:
        for sensor in sensors:
            if not isinstance(sensor, str) or sensor.partition(":")[0] not in SENSORS:
                break  # a custom sensor: its module is not imported
            names += SENSORS.make(sensor).labels
    except (TypeError, ValueError):
        names = []
    return names if len(names) == count else [f"input {number}" for number in range(count)]


def _output_names(champion: Champion | None, count: int) -> list[str]:
    """Return the names of the keys that a champion's outputs press, or of what they steer."""
    kind = "" if champion is None else str(champion.env_kwargs.get("action_type", ""))
    if kind.partition(":")[0] in ("threshold", "keys") and count <= len(KEY_ORDER):
        return [str(key.name).lower() for key in KEY_ORDER[:count]]
    if kind.partition(":")[0] == "wheel" and count <= len(_WHEEL):
        return list(_WHEEL[:count])
    return [f"output {number}" for number in range(count)]
