"""The course compiler: from a TOML description to the files of a course.

A Kartlab course has three files: `course_collision.kcl` and `course_map.nkm` in the game's formats,
and `course_model.klm`, the drawn course. The same description always gives the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from os import PathLike

from mkds_gym.course.archive import write_carc, write_narc
from mkds_gym.kartlab.boot import COURSE_DATA_SIZE
from mkds_gym.kartlab.compiler.description import CourseDescription, CourseDescriptionError
from mkds_gym.kartlab.compiler.geometry import (
    CourseLayout,
    Ribbon,
    Triangles,
    build_layout,
    build_triangles,
    fall_height,
)
from mkds_gym.kartlab.compiler.kcl import Octree, Prisms, build_kcl
from mkds_gym.kartlab.compiler.map import MapPlan, build_nkm, plan_map
from mkds_gym.kartlab.compiler.model import ModelStatistics, build_klm
from mkds_gym.kartlab.compiler.parser import parse_description, read_description

__all__ = [
    "CompiledCourse",
    "CourseDescription",
    "CourseDescriptionError",
    "compile_course",
    "compile_description",
    "parse_description",
    "read_description",
]


TRIANGLE_LIMIT = 5000
"""Largest number of collision triangles of a course."""

SIZE_LIMIT = COURSE_DATA_SIZE - 1024
"""Largest size of a course's files in bytes: the room for a course minus its archive headers."""


@dataclass(frozen=True)
class CompiledCourse:
    """The files of a course and the shapes from which they were made.

    Attributes:
        description: the course.
        files: bytes of the KCL, the NKM and the KLM, by file name.
        layout: cross-sections of the paths, in world units, before rounding.
        triangles: the collision surface before rounding, in the order of the prisms.
        prisms: the collision surface as prisms, after rounding.
        octree: the octree over the prisms.
        plan: checkpoints, respawn points, start and routes.
        model: size of the model.
        fall_height: height of the fall boundary, in world units.
    """

    description: CourseDescription
    files: dict[str, bytes] = field(repr=False)
    layout: CourseLayout = field(repr=False)
    triangles: Triangles = field(repr=False)
    prisms: Prisms = field(repr=False)
    octree: Octree = field(repr=False)
    plan: MapPlan = field(repr=False)
    model: ModelStatistics
    fall_height: float

    @property
    def name(self) -> str:
        """Folder name of the course, e.g. ``mario_course``."""
        return self.description.name

    @property
    def course_id(self) -> int:
        """The game's number of the course."""
        return self.description.course_id

    @property
    def title(self) -> str:
        """Title of the course."""
        return self.description.title

    @property
    def ribbon(self) -> Ribbon:
        """The main path's cross-sections."""
        return self.layout.main

    @property
    def length(self) -> float:
        """Length of a lap along the centre line, in world units."""
        return self.ribbon.length

    def carc(self) -> bytes:
        """Return the files as on the cartridge: a NARC compressed with LZ77 type 0x10."""
        return write_carc(self.files)

    def narc(self) -> bytes:
        """Return the files as a NARC, for `BootParameters.course_data`."""
        return write_narc(self.files)


def compile_course(path: str | PathLike[str]) -> CompiledCourse:
    """Compile a course description.

    Args:
        path: a TOML file, such as `courses/mario_course.toml`.

    Raises:
        CourseDescriptionError: the file cannot be read or the course is impossible; the message
            names the file, the entry and the value.
    """
    return compile_description(read_description(path))


def compile_description(description: CourseDescription) -> CompiledCourse:
    """Compile a parsed description.

    Raises:
        CourseDescriptionError: the course is impossible; the message names the entry and the value.
    """
    layout = build_layout(description)
    triangles = build_triangles(description, layout)
    if len(triangles) > TRIANGLE_LIMIT:
        raise description.error(
            "[[point]]",
            f"{layout.main.length:,.0f} units of road take {len(triangles):,} collision triangles: "
            f"expected at most {TRIANGLE_LIMIT:,}",
        )
    plan = plan_map(description, layout)
    kcl, prisms, octree = build_kcl(triangles)
    nkm = build_nkm(description, layout, plan)
    klm, statistics = build_klm(description, layout)
    files = {
        "course_collision.kcl": kcl,
        "course_map.nkm": nkm,
        "course_model.klm": klm,
    }
    size = sum(len(data) for data in files.values())
    if size > SIZE_LIMIT:
        raise description.error(
            "[[point]]",
            f"{layout.main.length:,.0f} units of road take {len(triangles):,} collision triangles "
            f"and {statistics.polygons:,} polygons, together {size:,} bytes: expected at most "
            f"{SIZE_LIMIT:,}",
        )
    return CompiledCourse(
        description=description,
        files=files,
        layout=layout,
        triangles=triangles,
        prisms=prisms,
        octree=octree,
        plan=plan,
        model=statistics,
        fall_height=fall_height(description, layout),
    )
