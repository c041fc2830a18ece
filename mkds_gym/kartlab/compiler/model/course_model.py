"""The model of a course: its paths, scenery and water."""

from __future__ import annotations

import numpy as np

from mkds_gym.kartlab.compiler.description import CourseDescription
from mkds_gym.kartlab.compiler.geometry import CourseLayout, fall_height
from mkds_gym.kartlab.compiler.map import GRID_PLACES
from mkds_gym.kartlab.compiler.model import scenery
from mkds_gym.kartlab.compiler.model.drawn_path import (
    STATION_GRID,
    DrawnPath,
    find_bridges,
    skirt_widths,
)
from mkds_gym.kartlab.compiler.model.klm import Faces, ModelStatistics, pack_klm
from mkds_gym.kartlab.compiler.model.painter import Painter
from mkds_gym.kartlab.compiler.themes import THEMES


def build_klm(
    description: CourseDescription, layout: CourseLayout
) -> tuple[bytes, ModelStatistics]:
    """Return the model file of a course and its statistics."""
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
    return pack_klm(faces, scenery.water(colours, paths, base), sky)
