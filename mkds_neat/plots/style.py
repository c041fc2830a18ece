"""Colours, axes and texts that the plots share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.errors import MKDSError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar

BLUE: Final = "#0072b2"
ORANGE: Final = "#d55e00"
GREEN: Final = "#009e73"
PINK: Final = "#cc79a7"
SKY: Final = "#56b4e9"
AMBER: Final = "#e69f00"
INK: Final = "#1d2129"
GREY: Final = "#6b7280"
PALETTE: Final = (BLUE, AMBER, GREEN, PINK, SKY, ORANGE, "#7f7f7f", "#b8ab2e", "#5b4fa2", "#8c564b")
"""Colours that colour-blind readers can tell apart (Okabe and Ito 2008), and four more."""
SEQUENTIAL: Final = "viridis"
DIVERGING: Final = "RdBu"
SIZE: Final = (5.4, 3.5)
"""Inches of a plot without an axes."""
MAX_LABEL: Final = 28
"""Most characters of a text that comes from a run folder."""

Floats = NDArray[np.float64]


class PlotError(MKDSError, ValueError):
    """A run has nothing to plot."""


def axes_of(ax: Axes | None, size: tuple[float, float] = SIZE) -> Axes:
    """Return the axes, or those of a new figure of pyplot."""
    if ax is None:
        from matplotlib import pyplot

        ax = pyplot.subplots(figsize=size, layout="constrained")[1]
    return ax


def label(text: str, limit: int = MAX_LABEL) -> str:
    """Return a text of a run folder for matplotlib: no formula, one line, a limited length."""
    short = text if len(text) <= limit else f"{text[: limit - 1]}…"
    printable = "".join(c if c.isprintable() else "�" for c in short)
    return printable.replace("$", r"\$")


def words(name: str) -> str:
    """Return the name of a column as words."""
    return label(name.replace("_", " "))


def begin(ax: Axes, *, x: str = "", y: str = "", grid: str = "both") -> None:
    """Set the labels, the grid and the frame of an axes."""
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.spines[["top", "right"]].set_visible(False)
    if grid:
        ax.grid(axis=grid, color="#000000", alpha=0.1, linewidth=0.8)  # type: ignore[arg-type]
    ax.set_axisbelow(True)


def generation_axis(ax: Axes, generations: Floats) -> None:
    """Make x the axis of generations."""
    from matplotlib.ticker import MaxNLocator

    ax.set_xlabel("generation")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    first, last = float(generations.min()), float(generations.max())
    space = max((last - first) * 0.02, 0.5 if first == last else 0.1)
    ax.set_xlim(first - space, last + space)


def legend_above(ax: Axes, columns: int = 4) -> None:
    """Add a legend above the axes, where it hides nothing."""
    handles, labels = ax.get_legend_handles_labels()
    if handles:
        ax.legend(
            handles,
            labels,
            loc="lower left",
            bbox_to_anchor=(0.0, 1.01),
            ncols=columns,
            frameon=False,
            borderaxespad=0.0,
            handlelength=1.6,
            columnspacing=1.2,
            fontsize="small",
        )


def colour_bar(ax: Axes, mappable: Any, name: str, **arguments: Any) -> Colorbar:
    """Add a colour bar beside axes.

    Args:
        ax: The axes.
        mappable: What the bar explains.
        name: Its label.
        arguments: Further arguments of ``Figure.colorbar``.
    """
    bar = ax.figure.colorbar(mappable, ax=ax, fraction=0.05, pad=0.02, aspect=24, **arguments)
    bar.set_label(name)
    bar.ax.tick_params(labelsize="small")
    return bar


def finite_column(columns: Any, name: str, what: str) -> Floats:
    """Return a column of numbers.

    Raises:
        PlotError: The column is missing, or has no finite number.
    """
    values = columns.get(name)
    if values is None or not len(values):
        raise PlotError(f"the run has no {what} yet")
    numbers: Floats = np.asarray(values, np.float64)
    if not np.isfinite(numbers).any():
        raise PlotError(f"the run has no {what} yet")
    return numbers
