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
edges.rail = { width = 8, end = "wall" }
point = [
    { at = [0, 150] },
    { at = [450, 150], radius = 150 },
    { at = [450, -150], radius = 150 },
    { at = [-450, -150], radius = 150 },
    { at = [-450, 150], radius = 150 },
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
width = 20
surface = "off-road"
end = "wall"
[edges.edge]
width = 15
surface = "weak off-road"
end = "drop"
"""


def _points(*points: str) -> str:
    return "".join(f"[[point]]\n{point}\n" for point in points)


LOOP = _points(
    "at = [-100, 500]\nheight = 0",
    "at = [200, 500]",
    "at = [800, 500]\nradius = 200\nheight = 0",
    "at = [800, 100]\nheight = 0",
    "at = [800, -700]\nradius = 200\nheight = 0",
    "at = [-200, -700]\nheight = 0",
    "at = [-800, -700]\nradius = 200\nheight = 0",
    "at = [-800, 500]\nradius = 200\nheight = 0",
)

BRANCH = """
[[branch]]
from = 3
to = 5
width = 80
left = "edge"
[[branch.point]]
at = [500, -150]
radius = 160
height = 18
[[branch.point]]
at = [350, -450]
radius = 160
"""

PADS = """
[[pad]]
kind = "boost"
point = 3
offset = 100
side = 25
width = 30
[[pad]]
kind = "jump"
point = 5
offset = 74
width = 110
length = 20
[[gap]]
point = 5
offset = 100
length = 70
[[items]]
point = 0
offset = 100
count = 5
"""


def eight(height: int) -> str:
    """The points of a figure of eight whose upper road is this high."""
    return _points(
        "at = [300, 300]\nheight = 0",
        "at = [600, 300]\nradius = 200",
        "at = [600, -300]\nradius = 200\nheight = 0",
        f"at = [-100, -300]\nradius = 110\nheight = {height}",
        f"at = [-100, 700]\nradius = 200\nheight = {height}",
        "at = [-700, 700]\nradius = 200\nheight = 0",
        "at = [-700, 300]\nradius = 150\nheight = 0",
        "at = [-300, 300]\nheight = 0",
    )


def winding(rows: int) -> str:
    """The points of a course of long rows, one below the other, and a road back at the left."""
    z = [-1700 + 280 * row for row in range(rows)]
    corners = [(-1780, -1700)]
    for row in range(rows):
        far = 1780 if row % 2 == 0 else -1500
        corners += [(far, z[row]), (far, z[row + 1])] if row + 1 < rows else [(-1780, z[row])]
    start = f"at = [-1780, {z[-1] - 340}]"
    return _points(start, *(f"at = [{x}, {z}]\nradius = 135" for x, z in corners))


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
