"""Plots of a run, for notebooks and for `mkds_neat.report`: one function, one plot.

```python
from mkds_neat import plots

run = plots.Run.load("runs/first_finish")
plots.fitness(run)
plots.racing_line(run, lap=2)
```

Each function takes a run folder (its path, or what `Run.load` returned) and the axes to draw on,
and returns the axes. Without axes, it makes a figure of pyplot. `PlotError` tells why a run has
nothing to plot. Matplotlib is imported by the first plot.
"""

from __future__ import annotations

from mkds_neat.plots.diagram import network
from mkds_neat.plots.maps import course_map, deaths, map_size, racing_line
from mkds_neat.plots.progress import busy, fitness, lap_times, race_times, species
from mkds_neat.plots.race import Race
from mkds_neat.plots.run import Run
from mkds_neat.plots.statistics import (
    ArchiveGrid,
    archive,
    archive_grid,
    correlations,
    rank_correlations,
)
from mkds_neat.plots.style import PlotError

__all__ = [
    "ArchiveGrid",
    "PlotError",
    "Race",
    "Run",
    "archive",
    "archive_grid",
    "busy",
    "correlations",
    "course_map",
    "deaths",
    "fitness",
    "lap_times",
    "map_size",
    "network",
    "race_times",
    "racing_line",
    "rank_correlations",
    "species",
]
