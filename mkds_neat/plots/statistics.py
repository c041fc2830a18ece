"""Plots of metrics: their correlations, and the archive of a quality-diversity strategy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_neat.config.strategies import SECTIONS
from mkds_neat.plots.progress import RunLike
from mkds_neat.plots.run import Run
from mkds_neat.plots.style import (
    DIVERGING,
    SEQUENTIAL,
    Floats,
    PlotError,
    axes_of,
    begin,
    colour_bar,
    finite_column,
    words,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_METRICS: Final = 14
"""Most metrics in the matrix of correlations: those that go with the fitness most."""
_TIMES: Final = ("best_lap", "last_lap", "race_time")
"""Metrics that are 0 if there was no such lap or race."""


def correlations(run: RunLike, ax: Axes | None = None) -> Axes:
    """Draw Spearman's rank correlations of the fitness and the metrics, over all individuals.

    Metrics that never change are omitted. The others are in the order of their correlation with
    the fitness. A time of a lap or race that was not completed counts as the longest.

    Args:
        run: The run.
        ax: Where to draw; None for a new figure.

    Raises:
        PlotError: The run has no metrics, or too few results.
    """
    loaded = Run.load(run)
    names, matrix = rank_correlations(loaded)
    size = 1.9 + 0.42 * len(names)
    ax = axes_of(ax, (size + 0.9, size))
    image = ax.imshow(matrix, cmap=DIVERGING, vmin=-1, vmax=1)
    shown = [words(name) for name in names]
    ax.set_xticks(range(len(names)), shown, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(names)), shown)
    ax.tick_params(length=0, labelsize="small")
    ax.spines[:].set_visible(False)
    for (row, column), value in np.ndenumerate(matrix):
        ax.text(
            column,
            row,
            _short(value),
            ha="center",
            va="center",
            fontsize=6.5,
            color="white" if abs(value) > 0.65 else "#333333",
        )
    colour_bar(ax, image, "rank correlation")
    return ax


def _short(value: float) -> str:
    """Return a correlation as it fits in a cell: ``.25``, ``-.03``, ``0`` or ``1``."""
    hundredths = round(100 * value)
    return f"{hundredths / 100:.2f}".removesuffix(".00").replace("0.", ".")


def rank_correlations(run: RunLike) -> tuple[list[str], Floats]:
    """Return the names of the fitness and the metrics, and their matrix of rank correlations.

    A time of a lap or race that was not completed counts as the longest.

    Raises:
        PlotError: The run has no metrics, or too few results.
    """
    loaded = Run.load(run)
    table: Any = loaded.individuals
    scores = finite_column(table, "fitness", "results")
    chosen = np.isfinite(scores)
    if "evaluated" in table:
        chosen &= table["evaluated"] != 0
    columns = {"fitness": scores[chosen]}
    for name in loaded.metrics:
        values = np.asarray(table[name], np.float64)[chosen]
        if np.isfinite(values).all() and len(np.unique(values)) > 1:
            columns[name] = np.where(values > 0, values, np.inf) if name in _TIMES else values
    if len(columns) < 2 or chosen.sum() < 3 or len(np.unique(columns["fitness"])) < 2:
        raise PlotError("the run has no metrics that change, or too few results")
    matrix = np.corrcoef([_ranks(values) for values in columns.values()])
    order = np.argsort(-np.abs(matrix[0]), kind="stable")[: MAX_METRICS + 1]
    order = np.concatenate([[0], order[order != 0]])[: MAX_METRICS + 1]
    names = list(columns)
    return [names[i] for i in order], matrix[np.ix_(order, order)]


def _ranks(values: Floats) -> Floats:
    """Return ranks, the mean rank for equal values."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts).astype(np.float64)
    ranks: Floats = (last - (counts - 1) / 2)[inverse.ravel()]
    return ranks


@dataclass(frozen=True, eq=False)
class ArchiveGrid:
    """The archive of a quality-diversity strategy.

    Attributes:
        names: The behaviours.
        edges: Ends of the cells along each behaviour, float64 (cells + 1,).
        fitness: Fitness of the best driver of each cell, and NaN in an empty one.
    """

    names: tuple[str, ...]
    edges: tuple[Floats, ...]
    fitness: NDArray[np.float64]

    @property
    def coverage(self) -> float:
        """Share of the cells that have a driver."""
        return float(np.isfinite(self.fitness).mean())


def archive_grid(run: RunLike) -> ArchiveGrid:
    """Return the archive of a run of ``map_elites`` or ``cma_me``: the best of each cell so far.

    The behaviours are those of the config, and the results those of ``individuals.csv``.

    Raises:
        PlotError: The run's strategy has no archive, or the run has no results yet.
    """
    loaded = Run.load(run)
    names, ranges, shape = _archive_axes(loaded)
    scores = finite_column(loaded.individuals, "fitness", "results")
    places = np.stack(
        [finite_column(loaded.individuals, name, f"metric {words(name)}") for name in names], axis=1
    )
    chosen = np.isfinite(scores) & np.isfinite(places).all(axis=1)
    lows, highs = np.array(ranges, np.float64).T
    cells = np.clip((places[chosen] - lows) / (highs - lows) * shape, 0, np.array(shape) - 1)
    flat = np.full(int(np.prod(shape)), -np.inf)
    index = np.ravel_multi_index(tuple(cells.astype(np.int64).T), shape)
    np.maximum.at(flat, index, scores[chosen])
    edges = tuple(
        np.linspace(low, high, count + 1) for (low, high), count in zip(ranges, shape, strict=True)
    )
    return ArchiveGrid(names, edges, np.where(np.isfinite(flat), flat, np.nan).reshape(shape))


def _archive_axes(
    run: Run,
) -> tuple[tuple[str, ...], tuple[tuple[float, float], ...], tuple[int, ...]]:
    """Return the behaviours of a run's archive, their ranges, and their numbers of cells."""
    section = SECTIONS.get(run.strategy)
    if section is None or "behaviours" not in section.model_fields:
        raise PlotError("the run's strategy has no archive")
    try:
        settings: Any = section.model_validate(run.config.get(run.strategy, {}))
    except ValueError as error:
        raise PlotError(f"[{run.strategy}] of the config is damaged") from error
    return settings.behaviours, settings.ranges, settings.cells


def archive(run: RunLike, ax: Axes | None = None) -> Axes:
    """Draw the archive of a quality-diversity strategy: the best fitness of each cell.

    Of an archive with more than two behaviours, the first two are drawn, with the best driver
    along the others.

    Args:
        run: The run.
        ax: Where to draw; None for a new figure.

    Raises:
        PlotError: The run's strategy has no archive, or the archive is empty.
    """
    grid = archive_grid(run)
    if not grid.coverage:
        raise PlotError("the archive is empty")
    values = grid.fitness
    if values.ndim > 2:
        best = np.where(np.isfinite(values), values, -np.inf).max(axis=tuple(range(2, values.ndim)))
        values = np.where(np.isfinite(best), best, np.nan)
    ax = axes_of(ax)
    if values.ndim == 1:
        begin(ax, x=words(grid.names[0]), y="best fitness", grid="y")
        edges = grid.edges[0]
        ax.bar(edges[:-1], np.nan_to_num(values), np.diff(edges), align="edge", edgecolor="white")
    else:
        begin(ax, x=words(grid.names[0]), y=words(grid.names[1]), grid="")
        ax.set_facecolor("#eef1f3")
        mesh = ax.pcolormesh(
            *grid.edges[:2], values.T, cmap=SEQUENTIAL, edgecolors="white", linewidth=0.2
        )
        colour_bar(ax, mesh, "best fitness of the cell")
    filled = int(np.isfinite(grid.fitness).sum())
    ax.set_title(
        f"{filled:,} of {grid.fitness.size:,} cells filled ({grid.coverage:.0%})",
        loc="left",
        fontsize="small",
    )
    return ax
