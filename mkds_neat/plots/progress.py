"""Plots over the generations: fitness, species, times, workers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mkds_neat.plots.run import Run
from mkds_neat.plots.style import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALETTE,
    Floats,
    PlotError,
    axes_of,
    begin,
    finite_column,
    generation_axis,
    label,
    legend_above,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RunLike = Run | str | os.PathLike[str]
"""A run folder: its path, or what `Run.load` returned."""

_MARKED: Final = 40
"""Most generations of which a line has markers."""
_BANDS: Final = (
    (0.0, 1.0, "all", 0.10),
    (0.1, 0.9, "10–90 %", 0.16),
    (0.25, 0.75, "25–75 %", 0.26),
)
_MAX_SPECIES: Final = 500


def fitness(run: RunLike, ax: Axes | None = None) -> Axes:
    """Plot the fitness over the generations: best, median, mean, and bands of quantiles.

    A star marks a generation in which a driver finished the race. The generation under way is
    omitted.

    Args:
        run: The run.
        ax: Where to draw; None for a new figure.

    Raises:
        PlotError: The run has no results yet.
    """
    loaded = Run.load(run)
    table = loaded.individuals
    scores = finite_column(table, "fitness", "results")
    x, groups = _by_generation(table, np.isfinite(scores))
    complete = np.isin(x, loaded.generations.get("generation", ()))
    if complete.any():  # the quantiles of a generation under way would mislead
        x, groups = x[complete], [g for g, all_ in zip(groups, complete, strict=True) if all_]
    values = [scores[group] for group in groups]
    ax = axes_of(ax)
    begin(ax, y="fitness")
    ax.yaxis.set_major_formatter("{x:,.12g}")
    generation_axis(ax, x)
    marker = "o" if len(x) <= _MARKED else ""
    for low, high, name, alpha in _BANDS:
        bottom, top = (np.array([np.quantile(v, q) for v in values]) for q in (low, high))
        if len(x) > 1:
            ax.fill_between(x, bottom, top, alpha=alpha, color=BLUE, linewidth=0, label=name)
        else:
            ax.vlines(x, bottom, top, alpha=2 * alpha, color=BLUE, linewidth=14, label=name)
    best = np.array([v.max() for v in values])
    for name, y, colour, style in (
        ("best", best, INK, "-"),
        ("median", np.array([np.median(v) for v in values]), BLUE, "-"),
        ("mean", np.array([v.mean() for v in values]), ORANGE, "--"),
    ):
        ax.plot(x, y, style, color=colour, marker=marker, markersize=3, linewidth=1.6, label=name)
    finished = table.get("finished", np.zeros(len(scores))) > 0
    done = np.array([bool(finished[group].any()) for group in groups])
    if done.any():
        stars: Any = {"marker": "*", "linestyle": "", "markersize": 9, "color": AMBER}
        ax.plot(x[done], best[done], **stars, markeredgecolor=INK, mew=0.6, label="finished")
    legend_above(ax)
    return ax


def species(run: RunLike, ax: Axes | None = None) -> Axes:
    """Plot the number of individuals in each species over the generations, stacked.

    Args:
        run: The run.
        ax: Where to draw; None for a new figure.

    Raises:
        PlotError: The run's strategy has no species, or the run has no complete generation yet.
    """
    table = Run.load(run).individuals
    kinds = finite_column(table, "species", "species")
    known = np.isfinite(kinds)
    x, groups = _by_generation(table, known)
    names = np.unique(kinds[known])
    if len(names) > _MAX_SPECIES:
        raise PlotError(f"{len(names):,} species are too many to plot")
    counts = np.array([[(kinds[group] == name).sum() for group in groups] for name in names])
    ax = axes_of(ax)
    begin(ax, y="individuals", grid="")
    generation_axis(ax, x)
    edges = np.stack([x - 0.5, x + 0.5], axis=1).ravel()
    tops = np.cumsum(counts, axis=0)
    total = tops[-1].max()
    for number, (name, count, top) in enumerate(zip(names, counts, tops, strict=True)):
        low, high = np.repeat(top - count, 2), np.repeat(top, 2)
        colour = PALETTE[number % len(PALETTE)]
        ax.fill_between(edges, low, high, color=colour, alpha=0.85, linewidth=0)
        ax.plot(edges, high, color="white", linewidth=0.6)
        widest = int(np.argmax(count))
        if count[widest] >= 0.07 * total and len(names) <= 40:
            ax.annotate(
                f"{name:g}",
                (x[widest], top[widest] - count[widest] / 2),
                ha="center",
                va="center",
                fontsize="small",
                color=INK,
                fontweight="bold",
            )
    ax.set_xlim(edges[0], edges[-1])
    ax.set_ylim(0, total)
    return ax


def lap_times(
    run: RunLike, ax: Axes | None = None, references: Mapping[str, float] | None = None
) -> Axes:
    """Plot the best lap of each generation, and the record so far.

    Args:
        run: The run.
        ax: Where to draw; None for a new figure.
        references: Lap times in seconds to compare with, by name.

    Raises:
        PlotError: No driver has completed a lap yet.
    """
    table = Run.load(run).individuals
    texts = table.get("lap_seconds", np.empty(0, np.object_)).tolist()
    best = np.array([min(lap_seconds(text), default=np.nan) for text in texts])
    return _times(table, best, "lap", "completed a lap", ax, references)


def race_times(
    run: RunLike, ax: Axes | None = None, references: Mapping[str, float] | None = None
) -> Axes:
    """Plot the best race of each generation, and the record so far.

    Args:
        run: The run.
        ax: Where to draw; None for a new figure.
        references: Race times in seconds to compare with, by name.

    Raises:
        PlotError: No driver has finished the race yet.
    """
    table = Run.load(run).individuals
    times = table.get("race_seconds", np.empty(0))
    finished = table.get("finished", np.zeros(len(times))) > 0
    seconds = np.where(finished & (times > 0), times, np.nan)
    return _times(table, seconds, "race", "finished the race", ax, references)


def busy(run: RunLike, ax: Axes | None = None) -> Axes:
    """Plot the share of the time in which the workers drove, over the generations.

    Args:
        run: The run.
        ax: Where to draw; None for a new figure.

    Raises:
        PlotError: The run did not measure the share.
    """
    table = Run.load(run).generations
    if "busy" not in table:
        raise PlotError("the run did not measure the workers' busy share")
    share = finite_column(table, "busy", "busy share")
    x = finite_column(table, "generation", "generations")
    ax = axes_of(ax)
    begin(ax, y="workers' busy share (%)")
    generation_axis(ax, x)
    marker = "o" if len(x) <= _MARKED else ""
    ax.fill_between(x, 0, 100 * share, color=GREEN, alpha=0.18, linewidth=0)
    ax.plot(x, 100 * share, color=GREEN, marker=marker, markersize=3, linewidth=1.6)
    ax.set_ylim(0, 104)
    return ax


def _by_generation(table: Any, chosen: Any) -> tuple[Floats, list[Any]]:
    """Return the generations, and for each the numbers of the chosen rows."""
    generations = table.get("generation", np.zeros(len(chosen)))
    rows = np.flatnonzero(chosen & np.isfinite(generations))
    rows = rows[np.argsort(generations[rows], kind="stable")]
    x, starts = np.unique(generations[rows], return_index=True)
    return x, np.split(rows, starts[1:])


def lap_seconds(text: str) -> list[float]:
    """Return the lap times of a cell of ``individuals.csv``, in seconds."""
    found = []
    for word in text.split():
        try:
            value = float(word)
        except ValueError:
            continue
        if 0 < value < np.inf:
            found.append(value)
    return found


def _times(
    table: Any,
    seconds: Floats,
    name: str,
    done: str,
    ax: Axes | None,
    references: Mapping[str, float] | None,
) -> Axes:
    known = np.isfinite(seconds)
    if not known.any():
        raise PlotError(f"no driver has {done} yet")
    ax = axes_of(ax)
    x, groups = _by_generation(table, known)
    best = np.array([seconds[group].min() for group in groups])
    record = np.minimum.accumulate(best)
    begin(ax, y=f"best {name} (s)")
    every = table.get("generation", x)
    every = every[np.isfinite(every)]
    generation_axis(ax, every)
    ends, records = np.append(x, every.max()), np.append(record, record[-1])
    ax.step(ends, records, where="post", color=BLUE, linewidth=1.8, label="record")
    ax.plot(x, best, "o", color=ORANGE, markersize=4, label="best of the generation")
    for number, (who, value) in enumerate((references or {}).items()):
        style = (":", "--", "-.")[number % 3]
        ax.axhline(value, color=GREY, linestyle=style, linewidth=1.4, label=label(who))
    low = min([float(best.min()), *(references or {}).values()])
    high = max([float(best.max()), *(references or {}).values()])
    space = max(0.08 * (high - low), 0.01 * high)
    ax.set_ylim(low - space, high + space)
    ax.annotate(
        f"{record[-1]:.2f}",
        (float(every.max()), record[-1]),
        xytext=(-2, -4),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize="small",
        color=BLUE,
    )
    legend_above(ax, 3)
    return ax
