"""Draw a whole course: every way of it, its scenery, and the water it all stands in."""

from __future__ import annotations

import numpy as np

from mkds_gym.kartlab.compiler import klm, scenery
from mkds_gym.kartlab.compiler.description import CourseDescription
from mkds_gym.kartlab.compiler.geometry import Layout, fall_height
from mkds_gym.kartlab.compiler.klm import Faces, ModelStatistics, rgb15
from mkds_gym.kartlab.compiler.painter import STATION_GRID, Painter, Way, skirt_widths

__all__ = ["ModelStatistics", "build_klm", "rgb15"]


def build_klm(description: CourseDescription, layout: Layout) -> tuple[bytes, ModelStatistics]:
    """Draw a course; returns the file and numbers about it."""
    colours = {name: np.array(value, float) for name, value in description.colours.items()}
    base = fall_height(description, layout)
    floor = round(base / STATION_GRID) * STATION_GRID
    way = Way(description, layout.main)
    faces = Faces()
    painter = Painter(faces, description, colours, way, floor, skirt_widths(way), 0)
    painter.paint()
    painter.start_line()
    scenery.arch(painter)
    scenery.trees(painter, description.seed, description.trees)
    return klm.build(
        faces,
        scenery.water(colours, [way], base),
        colours["sky top"],
        colours["sky bottom"],
    )
