"""Curves over frames: the median over seeds, with the quartiles as a band.

A curve of race times begins where most seeds have one. Dots are the best times of single seeds.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from mkds_neat.compare.measures import Measures
from mkds_neat.compare.plan import Plan
from mkds_neat.compare.reference import Reference
from mkds_neat.compare.summary import Floats, middle_half

POINTS: Final = 200
_COLORS: Final = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"),
    *("#8c564b", "#7f7f7f", "#bcbd22"),
)
"""The colours of Okabe and Ito, which the colour-blind can tell apart, and three more."""


def sampled(measures: Measures, frames: Floats, value: int) -> Floats:
    """Return a curve of a run at some numbers of frames.

    Args:
        measures: The run.
        frames: Numbers of frames, increasing.
        value: 1 for the best fitness, 2 for the best race time.

    Returns:
        The values, as a staircase; NaN before the first one.
    """
    points = _improvements(measures, value)
    steps = np.searchsorted([point[0] for point in points], frames, side="right")
    values = np.array([np.nan, *(float(point[value] or 0.0) for point in points)])
    result: Floats = values[steps]
    return result


def _improvements(measures: Measures, value: int) -> list[tuple[int, float, float | None]]:
    """Return the points of a run's curve at which a value improves."""
    points = []
    last: float | None = None
    for point in measures.curve:
        if point[value] != last:
            points.append(point)
            last = point[value]
    return points


def quartiles(curves: Sequence[Floats], value: int) -> tuple[Floats, Floats, Floats]:
    """Return the quartiles of curves at each point, NaN where they do not exist.

    Args:
        curves: Curves at the same points.
        value: 1 for the best fitness, 2 for the best race time. Runs that have none yet count as
            worse than all others.
    """
    worst = np.inf if value == 2 else -np.inf
    stacked = np.stack(curves)
    found = middle_half(np.where(np.isnan(stacked), worst, stacked))
    low, median, high = np.where(np.isfinite(found), found, np.nan)
    return low, median, high


def draw(
    plan: Plan, measures: dict[str, Measures], references: dict[str, Reference], form: str
) -> bytes:
    """Draw a row of two plots for each course: best fitness and best race time.

    Args:
        plan: The comparison.
        measures: Measures of the complete runs, by name.
        references: Race times, by course.
        form: ``svg`` or ``png``.
    """
    # Imported here: the import is slow.
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    courses = plan.courses
    frames = np.linspace(0, plan.frames, POINTS)
    with rc_context({"svg.hashsalt": "mkds_neat", "svg.fonttype": "none"}):
        figure = Figure(figsize=(10, 0.7 + 3.1 * len(courses)), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(len(courses), 2, squeeze=False)
        for row, course in zip(grid, courses, strict=True):
            times = references.get(course)
            for axes, value, label in zip(
                row, (1, 2), ("best fitness", "best race time, s"), strict=True
            ):
                _panel(axes, plan, course, measures, frames, value)
                axes.set_title(course, fontsize=10)
                axes.set_ylabel(label)
                if value == 2 and times is not None:
                    named = {"PurePursuit": times.pure_pursuit, "hard": times.hard}
                    known = sorted((t, name) for name, t in named.items() if t)
                    # The label of the shorter time stands below its line, so that two that are
                    # nearly equal do not cover each other.
                    for (seconds, name), side in zip(known, ("top", "bottom"), strict=False):
                        axes.axhline(seconds, color="0.4", linewidth=0.8, linestyle=":")
                        axes.annotate(
                            name,
                            (1, seconds),
                            xycoords=("axes fraction", "data"),
                            ha="right",
                            va=side,
                            fontsize=7,
                            color="0.3",
                        )
        for axes in grid[-1]:
            axes.set_xlabel("driver frames")
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=8)
        data = io.BytesIO()
        metadata = {"Date": None} if form == "svg" else {"Software": None}
        figure.savefig(data, format=form, dpi=110, metadata=metadata)
    return data.getvalue()


def _panel(
    axes: Any,
    plan: Plan,
    course: str,
    measures: dict[str, Measures],
    frames: Floats,
    value: int,
) -> None:
    empty = True
    for number, competitor in enumerate(plan.competitors):
        found = [
            measures[run.name]
            for run in plan.runs
            if (run.course, run.competitor) == (course, competitor) and run.name in measures
        ]
        curves = [sampled(each, frames, value) for each in found]
        empty &= all(np.isnan(curve[-1]) for curve in curves)
        color = _COLORS[number % len(_COLORS)]
        style = "-" if number < len(_COLORS) else "--"
        if not curves:
            axes.plot([], [], style, color=color, label=competitor)
            continue
        low, median, high = quartiles(curves, value)
        axes.plot(frames, median, style, color=color, label=competitor, drawstyle="steps-post")
        # A band ends at the last run that has a value.
        shown = np.where(np.isnan(high), median, high), np.where(np.isnan(low), median, low)
        axes.fill_between(frames, *shown, color=color, alpha=0.15, step="post", linewidth=0)
        if value == 2:
            last = [points[-1] for each in found if (points := _improvements(each, value))]
            axes.plot([p[0] for p in last], [p[value] for p in last], ".", color=color)
    if empty:
        axes.set_yticks([])
        reason = "no driver has finished" if value == 2 else "no run is complete"
        axes.text(0.5, 0.5, reason, ha="center", color="0.4", transform=axes.transAxes)
    axes.set_xlim(0, plan.frames)
    axes.grid(alpha=0.3)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1e6:g}M" if x >= 1e6 else f"{x / 1e3:g}k")
