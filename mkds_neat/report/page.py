"""The page of a run: one HTML file with everything in it."""

from __future__ import annotations

import functools
import io
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from mkds_gym.display.video import VideoWriter, gif_bytes, spread
from mkds_gym.errors import MKDSError, RecordingError, reason
from mkds_gym.utils.files import atomic_path, is_file, is_folder
from mkds_gym.version import __version__
from mkds_neat import plots
from mkds_neat.errors import RunFolderError
from mkds_neat.plots import Race, Run
from mkds_neat.plots.maps import courses_of
from mkds_neat.plots.style import SIZE
from mkds_neat.report.facts import drivers, facts, run_status, sessions, shown_text, tiles
from mkds_neat.report.figures import attempt, data_uri

_LOG: Final = logging.getLogger(__name__)

MAX_VIDEO: Final = 5_500_000
"""Largest video in bytes, so that a page stays below 10 MB."""
MAX_GIF: Final = 2_000_000
MAX_CONFIG: Final = 40_000
"""Most characters of the config that a page shows."""
_GIF_PICTURES: Final = 160
_QUALITIES: Final = ((21, 1), (28, 1), (32, 2), (38, 4))
"""Constant rate factor, and share of the pictures, of each try to fit the video in its limit."""
_TEMPLATE: Final = Path(__file__).with_name("page.html")
_GENERATOR: Final = "mkds_neat.report"
"""The program that wrote a page, as the page names it."""
_BEGINNING: Final = (
    f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    f'<meta name="generator" content="{_GENERATOR}">\n'
).encode()
"""The first bytes of each page."""


@dataclass(frozen=True)
class Figure:
    """A picture of the page.

    Attributes:
        name: Its anchor.
        title: Its heading.
        image: A data URI; empty without a picture.
        text: What it shows, or why there is no picture.
        kind: ``image`` or ``video``.
        poster: The first picture of a video, a data URI.
    """

    name: str
    title: str
    image: str
    text: str
    kind: str = "image"
    poster: str = ""


@dataclass(frozen=True)
class Section:
    """A section of the page: a heading and its pictures."""

    name: str
    title: str
    figures: Sequence[Figure]


def write_page(
    run: Run | str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    video: bool = True,
) -> Path:
    """Write the page of a run. An existing page is replaced at the end, and no other file.

    Args:
        run: The run folder.
        output: The file to write; None for ``report.html`` in the run folder.
        video: Whether the page has the champion's video.

    Returns:
        The file.

    Raises:
        RunFolderError: The folder is not that of a run, or the page cannot be written.
    """
    loaded = Run.load(run)
    path = loaded.path / "report.html" if output is None else Path(output)
    where = shown_text(str(path))
    if is_folder(path):
        raise RunFolderError(f"'{where}' is a folder: give --output the path of a file to write")
    if output is not None and is_file(path) and not _is_page(path):
        raise RunFolderError(
            f"'{where}' exists, and is not such a page: give --output another file"
        )
    try:
        with atomic_path(path) as partial:  # before the work, in case it cannot be written
            partial.write_text(page_html(loaded, video=video), encoding="utf-8")
    except OSError as error:
        if isinstance(error, MKDSError):
            raise
        raise RunFolderError(
            f"'{where}' cannot be written ({reason(error)}): give --output another file"
        ) from error
    return path


def _is_page(path: Path) -> bool:
    """Return whether a file is the page of a run."""
    try:
        with path.open("rb") as file:
            return file.read(len(_BEGINNING)) == _BEGINNING
    except OSError:
        return False


def page_html(run: Run | str | os.PathLike[str], *, video: bool = True) -> str:
    """Return the page of a run as HTML.

    The page loads nothing: styles, pictures and video are in it. All texts of the run are escaped.

    Args:
        run: The run folder.
        video: Whether the page has the champion's video.

    Raises:
        RunFolderError: The folder is not that of a run.
    """
    from jinja2 import Environment, StrictUndefined

    run = Run.load(run)
    race, problem = _race(run, video)
    sections = [*_sections(run, race, problem, video)]
    shown = [
        Section(s.name, s.title, [f for f in s.figures if f.image])
        for s in sections
        if any(f.image for f in s.figures)
    ]
    missing = [f for s in sections for f in s.figures if not f.image]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        generator=_GENERATOR,
        name=shown_text(run.path.resolve().name),
        status=run_status(run),
        tiles=tiles(run),
        facts=facts(run),
        sections=shown,
        missing=missing,
        drivers=drivers(run),
        sessions=sessions(run),
        config=shown_text(run.config_text, MAX_CONFIG, lines=True),
        notes=[shown_text(note) for note in run.notes],
        version=__version__,
        date=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    )


def _race(run: Run, video: bool) -> tuple[Race | None, str]:
    """Drive the champion's race, once for all pictures; return it, or why it is not there."""
    try:
        return run.race(pictures=video), ""
    except MKDSError as error:
        return None, shown_text(str(error))
    except Exception as error:  # a recording may hold anything
        _LOG.warning("champion.mkr cannot be driven", exc_info=error)
        return None, f"champion.mkr cannot be driven ({type(error).__name__})"


def _sections(run: Run, race: Race | None, problem: str, video: bool) -> Iterator[Section]:
    plot = functools.partial(_plot, run)
    yield Section(
        "progress",
        "Progress",
        [
            plot(
                plots.fitness,
                "Fitness",
                "Best, median and mean of each generation. The bands hold all individuals, the "
                "middle 80 % and the middle half. A star marks a generation with a finish.",
            ),
            plot(
                plots.species,
                "Species",
                "Individuals in each species. A number in a band names the species.",
            ),
            plot(
                plots.lap_times,
                "Lap times",
                "The best lap of each generation, and the record so far.",
            ),
            plot(
                plots.race_times,
                "Race times",
                "The best race of each generation that has a finish, and the record so far.",
            ),
            plot(
                plots.busy,
                "Workers",
                "Share of the time in which the workers drove. The rest is waiting: for the last "
                "drivers of a generation, and for the next generation.",
            ),
        ],
    )
    network = plot(
        plots.network,
        "Network",
        "Inputs on the left, outputs on the right. Blue weights are positive, orange ones "
        "negative; a wider line is a greater weight. Dashed arcs lead back.",
        (5.4, 4.0),
    )
    yield Section("champion", "Champion", [*([_video(race, problem)] if video else []), network])
    size = (5.6, 4.2) if race is None else plots.map_size(_width_to_height(race))
    number = len(dict.fromkeys(courses_of(run)))
    first = f" This is the first of {number} courses." if number > 1 else ""
    yield Section(
        "course",
        "On the course",
        [
            plot(
                plots.racing_line,
                "Racing line",
                f"{line_caption(run)}{first}",
                size,
            )
            if race is not None
            else Figure("racing_line", "Racing line", "", problem),
            plot(
                plots.deaths,
                "Where drivers failed",
                f"Places where episodes ended without a finish, over all generations.{first}",
                size,
            ),
        ],
    )
    yield Section(
        "metrics",
        "Metrics",
        [
            plot(
                plots.correlations,
                "Correlations",
                "Spearman's rank correlations of the fitness and the metrics, over all "
                "individuals, in the order of their correlation with the fitness. A time of a lap "
                "or race that was not completed counts as the longest.",
                (6.6, 5.8),
            ),
            plot(
                plots.archive,
                "Archive",
                "The best fitness of each cell of behaviours so far.",
                (5.4, 4.3),
            ),
        ],
    )


def line_caption(run: Run) -> str:
    """Return what the plot of the racing line shows."""
    text = (
        "The champion's way from start to end, on the course from above. The red line is the start."
    )
    if run.champion is not None and not run.champion.record.finished:
        text += " A cross marks the end of a race without a finish."
    return text


def _width_to_height(race: Race) -> float:
    """Return the ratio of the sides of a course from above."""
    width, _, height = np.ptp(race.course.kcl.positions, axis=0).tolist()
    return float(width / max(height, 1.0))


def _plot(
    run: Run,
    plot: Callable[..., Any],
    title: str,
    text: str,
    size: tuple[float, float] = SIZE,
) -> Figure:
    image, problem = attempt(plot, run, size)
    return Figure(plot.__name__, title, image, shown_text(problem) if problem else text)


def _video(race: Race | None, problem: str) -> Figure:
    title = "Race"
    if race is None or not race.pictures:
        return Figure("video", title, "", problem or "the race has no pictures")
    text = f"The champion's race on the top screen, {len(race.times):,} frames."
    data = video_bytes(race)
    first = io.BytesIO()
    Image.fromarray(race.pictures[len(race.pictures) // 8]).resize((512, 384), 0).save(first, "PNG")
    if data:
        poster = data_uri("image/png", first.getvalue())
        return Figure("video", title, data_uri("video/mp4", data), text, "video", poster=poster)
    chosen = spread(len(race.pictures), min(_GIF_PICTURES, len(race.pictures)))
    seconds = max(0.06, len(race.pictures) / race.pictures_per_second / len(chosen) / 4)
    pictures = [race.pictures[i] for i in chosen]
    animated = gif_bytes(pictures, seconds, MAX_GIF)
    text += " With mkds-gym[video], it is a video."
    return Figure("video", title, data_uri("image/gif", animated), text)


def video_bytes(race: Race, limit: int = MAX_VIDEO) -> bytes:
    """Return a race as MP4 of at most ``limit`` bytes; empty without the ``video`` extra."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "race.mp4"
        for quality, share in _QUALITIES:
            try:
                with VideoWriter(
                    path, race.pictures_per_second / share, 1, quality, "veryfast"
                ) as video:
                    for picture in race.pictures[::share]:
                        video.write(picture)
            except RecordingError as error:
                _LOG.info("no video: %s", error)
                return b""
            if path.stat().st_size <= limit:
                return path.read_bytes()
    return b""
