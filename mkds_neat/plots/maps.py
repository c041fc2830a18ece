"""Plots on the course: its map, the racing line, the places where episodes ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from mkds_gym.course import Course
from mkds_gym.errors import MKDSError
from mkds_gym.race.names import Surface
from mkds_neat.config.episodes import given_courses
from mkds_neat.config.settings import EvaluationSettings
from mkds_neat.plots.progress import RunLike
from mkds_neat.plots.run import Run
from mkds_neat.plots.style import (
    INK,
    ORANGE,
    SEQUENTIAL,
    Floats,
    PlotError,
    axes_of,
    colour_bar,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH: Final = 5.6
"""Inches of a map without an axes."""
_DOTS: Final = 200
"""Resolution at which a map is stored within an SVG, in dots per inch."""
_PAPER: Final = "#eef1f3"
_FLOORS: Final[dict[int, str]] = {
    Surface.OFFROAD: "#e6dcc3",
    Surface.WEAK_OFFROAD: "#dbe3c4",
    Surface.HEAVY_OFFROAD: "#d3c2b0",
    Surface.ROAD: "#c3c6cb",
    Surface.SLIPPERY_ROAD: "#c4d6e3",
    Surface.SLIPPERY_ROAD_2: "#dfe7ef",
    Surface.BOOST_PAD: "#f0b46c",
    Surface.JUMP_PAD: "#9dbbe6",
    Surface.ROAD_FOR_OTHERS: "#c3c6cb",
    Surface.LOOP: "#c3c6cb",
    Surface.SPECIAL_ROAD: "#c3c6cb",
}
"""Colour of each floor by KCL type. They are pale: the data are drawn over them."""
_WALL: Final = "#5d6470"
_HEXAGONS: Final = 44
"""Hexagons on the longer side of the map."""
_FEW: Final = 12
"""Most deaths that are drawn as points."""


def course_map(course: Course, ax: Axes | None = None) -> Axes:
    """Draw a course from above: x to the right, z down, as the pictures of mkds-gym do.

    Args:
        course: The course.
        ax: Where to draw; None for a new figure.

    Raises:
        PlotError: The course has no floor.
    """
    from matplotlib.collections import LineCollection, PolyCollection

    kcl = course.kcl
    corners, kinds = kcl.triangles, kcl.types
    floor = np.isin(kinds, list(_FLOORS)) & ~kcl.degenerate
    if not floor.any():
        floor = kcl.is_floor & ~kcl.degenerate
    if not floor.any():
        raise PlotError("the course has no floor")
    heights = corners[floor][:, :, 1].mean(axis=1)
    order = np.argsort(heights, kind="stable")  # a bridge covers the road below
    shapes: Any = corners[floor][order][:, :, [0, 2]]
    colours = [_FLOORS.get(int(kind), "#c3c6cb") for kind in kinds[floor][order]]
    low, high = shapes.min(axis=(0, 1)), shapes.max(axis=(0, 1))
    space = 0.03 * float((high - low).max())
    width, height = (high - low + 2 * space).tolist()
    ax = axes_of(ax, map_size(width / height))
    ax.set_facecolor(_PAPER)
    ax.add_collection(
        PolyCollection(shapes, facecolors=colours, edgecolors=colours, linewidths=0.4)
    ).set_rasterized(True)
    walls = corners[(kinds == Surface.WALL) & ~kcl.degenerate][:, :, [0, 2]]
    if len(walls):  # seen from above, a wall is its longest side
        following = np.roll(walls, -1, axis=1)
        longest = np.argmax(np.linalg.norm(walls - following, axis=2), axis=1)
        rows = np.arange(len(walls))
        sides = np.stack([walls[rows, longest], following[rows, longest]], axis=1)
        ax.add_collection(LineCollection(list(sides), colors=_WALL, linewidths=0.9)).set_rasterized(
            True
        )
    _start_line(course, ax)
    ax.set_xlim(low[0] - space, high[0] + space)
    ax.set_ylim(high[1] + space, low[1] - space)
    ax.set_aspect("equal")
    ax.set_xlabel("x (world units)")
    ax.set_ylabel("z (world units)")
    ax.locator_params(nbins=6)
    ax.tick_params(labelsize="small")
    ax.spines[["top", "right", "bottom", "left"]].set_color("#c8ccd2")
    return ax


def racing_line(run: RunLike, ax: Axes | None = None, lap: int | None = None) -> Axes:
    """Draw the champion's way on the course, coloured by its speed.

    A cross marks the end of a race without a finish.

    The race is driven again from ``champion.mkr``, which takes seconds.

    Args:
        run: The run.
        ax: Where to draw; None for a new figure.
        lap: Number of the lap, from 1; None for all laps.

    Raises:
        PlotError: The race cannot be driven again, or has no such lap.
    """
    from matplotlib import patheffects
    from matplotlib.collections import LineCollection

    try:
        loaded = Run.load(run)
        race = loaded.race()
    except MKDSError as error:
        raise PlotError(f"the champion's race cannot be drawn: {error}") from error
    chosen = slice(None) if lap is None else race.laps == lap
    way, speeds = race.positions[chosen][:, [0, 2]], race.speeds[chosen]
    if len(way) < 2:
        raise PlotError(f"the champion's race has no lap {lap}")
    ax = course_map(race.course, ax)
    # A kart that respawns jumps: that is not a line.
    steps = np.linalg.norm(np.diff(way, axis=0), axis=1)
    whole = steps < max(8 * float(np.median(steps)), 50.0)
    pieces = np.stack([way[:-1], way[1:]], axis=1)[whole]
    lines = LineCollection(list(pieces), cmap=SEQUENTIAL, linewidths=2.0, capstyle="round")
    lines.set_array(speeds[1:][whole])
    low, high = np.quantile(speeds, (0.02, 1.0)).tolist()
    lines.set_clim(max(low, 0.0), max(high, low + 1e-6))
    lines.set_path_effects(
        [patheffects.Stroke(linewidth=3.4, foreground="white"), patheffects.Normal()]
    )
    lines.set_rasterized(True)
    lines.set_zorder(3)
    ax.add_collection(lines)
    colour_bar(ax, lines, "speed (world units per frame)", extend="min")
    champion = loaded.champion
    if lap is None and champion is not None and not champion.record.finished:
        ax.plot(*way[-1], "X", color=INK, markersize=9, markeredgecolor="white", zorder=4)
    return ax


def deaths(
    run: RunLike, ax: Axes | None = None, generations: tuple[int, int] | None = None
) -> Axes:
    """Draw where the episodes ended that did not end with a finish, as a heat map on the course.

    Of a run whose episodes have several given courses, those on the first course are drawn.

    Args:
        run: The run.
        ax: Where to draw; None for a new figure.
        generations: The first and the last generation to count; None for all.

    Raises:
        PlotError: The run did not note where episodes ended, no episode ended before the finish,
            the environment draws the courses, or the course is not known.
    """
    loaded = Run.load(run)
    if draws_courses(loaded):
        raise PlotError("the episodes have different courses, and no map has all of them")
    places = episode_ends(loaded, generations)
    ax = course_map(course_of(loaded), ax)
    (left, right), (bottom, top) = sorted(ax.get_xlim()), sorted(ax.get_ylim())
    if len(places) <= _FEW:
        ax.plot(*places.T, "o", color=ORANGE, markersize=6, markeredgecolor="white", zorder=3)
        return ax
    longer = max(right - left, top - bottom)
    size = longer / _HEXAGONS
    across = max(round((right - left) / size), 1)
    # Hexagons of equal height and width: hexbin counts rows in pairs.
    up = max(round((top - bottom) / size / np.sqrt(3)), 1)
    inside = ((places >= [left, bottom]) & (places <= [right, top])).all(axis=1)
    from matplotlib.colors import LogNorm

    cells = ax.hexbin(
        *places[inside].T,
        gridsize=(across, up),
        extent=(left, right, bottom, top),
        mincnt=1,
        cmap="magma_r",
        linewidths=0.3,
        edgecolors="white",
        alpha=0.92,
        zorder=3,
    )
    counts = np.asarray(cells.get_array(), np.float64)
    most = float(counts.max(initial=1.0))
    cells.set_norm(LogNorm(0.7, max(most, 2.0)))
    bar = colour_bar(ax, cells, "episodes that ended here")
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000) if tick <= most]
    bar.set_ticks(ticks, labels=[str(tick) for tick in ticks])
    bar.minorticks_off()
    return ax


def map_size(ratio: float) -> tuple[float, float]:
    """Return the inches of a figure for a map with a ratio of width to height, and its bar."""
    return _WIDTH, min(max((_WIDTH - 1.6) / ratio + 0.7, 2.6), 7.5)


def draws_courses(run: Run) -> bool:
    """Return whether the environment of a run draws the courses of its episodes."""
    if courses_of(run):
        return False
    environment = run.config.get("environment", {})
    if environment.get("course_set", "None") != "None":
        return True
    random = environment.get("course", "").strip("'\"") == "random"
    return random and environment.get("course_seed", "None") == "None"


def courses_of(run: Run) -> list[tuple[Any, ...]]:
    """Return what chooses the course of each episode; empty if all have the environment's own."""
    text = run.config.get("evaluation", {}).get("courses", "none")
    try:
        words = EvaluationSettings.model_validate({"courses": text}).courses
        return [tuple(course.values()) for course in given_courses(words)]
    except ValueError:  # no run has begun with this
        return []


def course_of(run: Run) -> Course:
    """Return the course of a run, from the champion's race.

    Raises:
        PlotError: The race cannot be driven again.
    """
    try:
        return run.race().course
    except MKDSError as error:
        raise PlotError(f"the course is not known: {error}") from error


def episode_ends(run: Run, generations: tuple[int, int] | None = None) -> Floats:
    """Return where episodes without a finish ended, on the course of the first episode.

    Args:
        run: The run.
        generations: The first and the last generation to count; None for all.

    Returns:
        x and z, float64 (episodes, 2).

    Raises:
        PlotError: There is no such episode.
    """
    table: Any = run.individuals
    count = len(table.get("fitness", ()))
    chosen = table.get("evaluated", np.ones(count)) != 0  # a survivor has driven before
    if generations is not None:
        chosen &= (table["generation"] >= generations[0]) & (table["generation"] <= generations[1])
    if "episode_ends" in table:
        places, finished = _ends_of(run, np.flatnonzero(chosen))
    elif "end_x" in table and "end_z" in table:
        places = np.stack([table["end_x"], table["end_z"]], axis=1)[chosen]
        finished = table.get("finished", np.zeros(count))[chosen] > 0
    else:
        places, finished = np.empty((0, 2)), np.empty(0, np.bool_)
    known = np.isfinite(places).all(axis=1)
    if not known.any():
        raise PlotError("the run did not note where episodes ended")
    if not (known & ~finished).any():
        raise PlotError("no episode ended before the finish")
    ends: Floats = places[known & ~finished]
    return ends


def _ends_of(run: Run, rows: Any) -> tuple[Floats, NDArray[np.bool_]]:
    """Return x and z of the ends of the episodes of some individuals, and whether they finished."""
    table, courses = run.individuals, courses_of(run)
    places, finished = [], []
    for row in rows.tolist():
        ends = str(table["episode_ends"][row]).split()
        done = str(table["episode_finished"][row]).split() if "episode_finished" in table else []
        for number, end in enumerate(ends):
            if courses and courses[number % len(courses)] != courses[0]:
                continue
            words = end.split(":")
            try:
                places.append((float(words[0]), float(words[2])))
            except (IndexError, ValueError):
                continue
            finished.append(number < len(done) and done[number] == "1")
    return np.array(places, np.float64).reshape(-1, 2), np.array(finished, np.bool_)


def _start_line(course: Course, ax: Axes) -> None:
    track = course.track
    ends: Sequence[Any] = (track.left[track.start], track.right[track.start])
    (x0, z0), (x1, z1) = ends
    ax.plot([x0, x1], [z0, z1], color="#c1121f", linewidth=2.2, solid_capstyle="butt", zorder=2)
