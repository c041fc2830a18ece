"""Draw a whole course: every way of it, its scenery, and the water it all stands in."""

from __future__ import annotations

import numpy as np

from mkds_gym.kartlab.compiler import klm, scenery
from mkds_gym.kartlab.compiler.description import CourseDescription
from mkds_gym.kartlab.compiler.geometry import Layout, fall_height
from mkds_gym.kartlab.compiler.klm import Faces, ModelStatistics, rgb15
from mkds_gym.kartlab.compiler.painter import (
    STATION_GRID,
    Painter,
    Way,
    find_bridges,
    skirt_widths,
)
from mkds_gym.kartlab.compiler.themes import THEMES

__all__ = ["ModelStatistics", "build_klm", "rgb15"]

GRID_PLACES = 8


def build_klm(description: CourseDescription, layout: Layout) -> tuple[bytes, ModelStatistics]:
    """Draw a course; returns the file and numbers about it."""
    colours = {name: np.array(value, float) for name, value in description.colours.items()}
    base = fall_height(description, layout)
    floor = round(base / STATION_GRID) * STATION_GRID
    ways = [
        Way(description, ribbon, cuts)
        for ribbon, cuts in zip(layout.ways, layout.cuts, strict=True)
    ]
    find_bridges(ways)
    faces = Faces()
    painters: list[Painter] = []
    first_chunk = 0
    for way, skirt in zip(ways, skirt_widths(ways), strict=True):
        painter = Painter(faces, description, colours, way, floor, skirt, first_chunk)
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
    return klm.build(faces, scenery.water(colours, ways, base), sky)
