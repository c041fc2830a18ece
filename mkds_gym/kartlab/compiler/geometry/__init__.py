"""From a course description to the shape of the road.

World frame: right-handed, y up, world units. Seen from above, x points right and z down; the left
of a forward direction (fx, fz) is (fz, -fx).

A course has a main path, which is a closed loop, and branches, which begin and end on its centre
line. The centre line of a path is cut into *stations*. At each station the road has a
cross-section: a lateral offset (positive to the left of the centre), and a height that rises or
falls with the bank. Collision, map and model are built on the same stations and therefore agree.
Where two paths meet, a `Cut` says which region each of them leaves out: there is one floor, and no
wall across it.
"""

from mkds_gym.kartlab.compiler.geometry.junctions import BranchSpan, Cut
from mkds_gym.kartlab.compiler.geometry.layout import CourseLayout, build_layout, fall_height
from mkds_gym.kartlab.compiler.geometry.planar import Region, quads_overlap
from mkds_gym.kartlab.compiler.geometry.ribbon import PlacedPad, Ribbon, outer_reach
from mkds_gym.kartlab.compiler.geometry.stations import STATION_STEP
from mkds_gym.kartlab.compiler.geometry.surface import Triangles, build_triangles

__all__ = [
    "STATION_STEP",
    "BranchSpan",
    "CourseLayout",
    "Cut",
    "PlacedPad",
    "Region",
    "Ribbon",
    "Triangles",
    "build_layout",
    "build_triangles",
    "fall_height",
    "outer_reach",
    "quads_overlap",
]
