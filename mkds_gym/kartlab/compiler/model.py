"""Draw a whole course: every path of it, its scenery, and the water it all stands in."""

from __future__ import annotations

import numpy as np

from mkds_gym.kartlab.compiler import klm, scenery
from mkds_gym.kartlab.compiler.description import CourseDescription
from mkds_gym.kartlab.compiler.geometry import CourseLayout, fall_height
from mkds_gym.kartlab.compiler.klm import Faces, ModelStatistics, rgb15
from mkds_gym.kartlab.compiler.painter import (
    STATION_GRID,
    DrawnPath,
    Painter,
    find_bridges,
    skirt_widths,
)
from mkds_gym.kartlab.compiler.themes import THEMES

__all__ = ["ModelStatistics", "build_klm", "rgb15"]

GRID_PLACES = 8


def build_klm(
    description: CourseDescription, layout: CourseLayout
) -> tuple[bytes, ModelStatistics]:
    """Draw a course; returns the file and numbers about it."""
    colours = {name: np.array(value, float) for name, value in description.colours.items()}
    base = fall_height(description, layout)
    floor = round(base / STATION_GRID) * STATION_GRID
    paths = [
        DrawnPath(description, ribbon, cuts)
        for ribbon, cuts in zip(layout.paths, layout.cuts, strict=True)
    ]
    find_bridges(paths)
    faces = Faces()
    painters: list[Painter] = []
    first_chunk = 0
    for path, skirt in zip(paths, skirt_widths(paths), strict=True):
        painter = Painter(faces, description, colours, path, floor, skirt, first_chunk)
        painter.paint()
        painters.append(painter)
        first_chunk = painter.next_chunk
    painters[0].start_line()
    painters[0].grid(GRID_PLACES)
    scenery.arch(painters[0])
    scenery.plant(painters, description.seed, description.trees, THEMES[description.theme].objects)
    sky = [
        colours[name] for name in ("sky top", "sky bottom", "shallows", "water", "hill", "cloud")
    ]
    return klm.build(faces, scenery.water(colours, paths, base), sky)
