"""Plots as files: SVG and PNG, without a window."""

from __future__ import annotations

import base64
import io
import logging
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from mkds_neat.plots import PlotError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LOG: Final = logging.getLogger(__name__)

MAX_SVG: Final = 700_000
"""Largest SVG in bytes; a greater one is replaced by a PNG."""
_DOTS: Final = 170
"""Dots per inch of pictures, also of those within an SVG."""


def figure_of(plot: Callable[..., Any], run: Any, size: tuple[float, float]) -> Figure:
    """Draw a plot of `mkds_neat.plots` on a figure that pyplot does not know.

    Args:
        plot: The function.
        run: Its first argument.
        size: Width and height in inches.

    Raises:
        PlotError: There is nothing to plot.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    plot(run, figure.subplots())
    return figure


def png(figure: Figure, dots: int = _DOTS) -> bytes:
    """Return a figure as PNG."""
    return _saved(figure, "png", dots)


def image(figure: Figure) -> str:
    """Return a figure as a data URI: an SVG, or a PNG if the SVG is large."""
    data = _saved(figure, "svg", _DOTS)
    if len(data) > MAX_SVG:
        return data_uri("image/png", png(figure))
    return data_uri("image/svg+xml", data)


def data_uri(kind: str, data: bytes) -> str:
    """Return data as a URI that a page contains."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _saved(figure: Figure, kind: str, dots: int) -> bytes:
    from matplotlib import rc_context

    data = io.BytesIO()
    # A fixed salt and no date: the same figure gives the same file.
    with rc_context({"svg.hashsalt": "mkds", "svg.fonttype": "path"}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # characters that the font lacks
        figure.savefig(
            data,
            format=kind,
            dpi=dots,
            bbox_inches="tight",
            pad_inches=0.06,
            metadata={"Date": None} if kind == "svg" else None,
        )
    return data.getvalue()


def attempt(plot: Callable[..., Any], run: Any, size: tuple[float, float]) -> tuple[str, str]:
    """Return a plot as a data URI, and why there is no plot; one of them is empty."""
    try:
        return image(figure_of(plot, run, size)), ""
    except PlotError as error:
        return "", str(error)
    except Exception as error:  # the numbers of a stranger may be of any kind
        _LOG.warning("%s cannot be drawn", plot.__name__, exc_info=error)
        return "", f"it cannot be drawn ({type(error).__name__})"
