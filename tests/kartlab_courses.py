"""Course descriptions for tests, each compiled once per process."""

from __future__ import annotations

import functools

from mkds_gym.kartlab import COURSE_DIRECTORY
from mkds_gym.kartlab.compiler import (
    CompiledCourse,
    compile_course,
    compile_description,
    parse_description,
)

MEADOW = (COURSE_DIRECTORY / "mario_course.toml").read_text(encoding="utf-8")

OVAL = """
title = "My own oval"
name = "test_circle"
id = 21
laps = 2
road = { left = "rail", right = "rail" }
edges.rail = { width = 20, end = "wall" }
point = [
    { at = [0, 375] },
    { at = [1125, 375], radius = 375 },
    { at = [1125, -375], radius = 375 },
    { at = [-1125, -375], radius = 375 },
    { at = [-1125, 375], radius = 375 },
]
"""

_HEAD = """
title = "Branches"
name = "desert_course"
id = 27
[road]
left = "rail"
right = "rail"
{road}
[edges.rail]
width = 50
surface = "off-road"
end = "wall"
[edges.edge]
width = 37.5
surface = "weak off-road"
end = "drop"
"""


def _points(*points: str) -> str:
    return "".join(f"[[point]]\n{point}\n" for point in points)


LOOP = _points(
    "at = [-250, 1250]\nheight = 0",
    "at = [500, 1250]",
    "at = [2000, 1250]\nradius = 500\nheight = 0",
    "at = [2000, 250]\nheight = 0",
    "at = [2000, -1750]\nradius = 500\nheight = 0",
    "at = [-500, -1750]\nheight = 0",
    "at = [-2000, -1750]\nradius = 500\nheight = 0",
    "at = [-2000, 1250]\nradius = 500\nheight = 0",
)

BRANCH = """
[[branch]]
from = 3
to = 5
width = 200
left = "edge"
[[branch.point]]
at = [1250, -375]
radius = 400
height = 45
[[branch.point]]
at = [875, -1125]
radius = 400
"""

PADS = """
[[pad]]
kind = "boost"
point = 3
offset = 250
side = 62.5
width = 75
[[pad]]
kind = "jump"
point = 5
offset = 185
width = 275
length = 50
[[gap]]
point = 5
offset = 250
length = 175
[[items]]
point = 0
offset = 250
count = 5
"""


def eight(height: int) -> str:
    """The points of a figure of eight whose upper road is this high."""
    return _points(
        "at = [750, 750]\nheight = 0",
        "at = [1500, 750]\nradius = 500",
        "at = [1500, -750]\nradius = 500\nheight = 0",
        f"at = [-250, -750]\nradius = 275\nheight = {height}",
        f"at = [-250, 1750]\nradius = 500\nheight = {height}",
        "at = [-1750, 1750]\nradius = 500\nheight = 0",
        "at = [-1750, 750]\nradius = 375\nheight = 0",
        "at = [-750, 750]\nheight = 0",
    )


def winding(rows: int) -> str:
    """The points of a course of long rows, one below the other, and a road back at the left."""
    z = [-4250 + 700 * row for row in range(rows)]
    corners = [(-4450, -4250)]
    for row in range(rows):
        far = 4450 if row % 2 == 0 else -3750
        corners += [(far, z[row]), (far, z[row + 1])] if row + 1 < rows else [(-4450, z[row])]
    start = f"at = [-4450, {z[-1] - 850}]"
    return _points(start, *(f"at = [{x}, {z}]\nradius = 337.5" for x, z in corners))


def text(points: str, extra: str = "", road: str = "") -> str:
    """A description with these points, further tables, and lines of ``[road]``."""
    return _HEAD.format(road=road) + points + extra


@functools.cache
def bundled(name: str) -> CompiledCourse:
    """A course of the bundled cartridge."""
    return compile_course(COURSE_DIRECTORY / f"{name}.toml")


@functools.cache
def compiled(description: str) -> CompiledCourse:
    """The course of a description."""
    return compile_description(parse_description(description, "mine.toml"))
