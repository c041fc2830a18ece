"""The course compiler: a short course description in, the course's files out.

`compile_course` reads a TOML description and makes the three files a Kartlab course consists
of: `course_collision.kcl` and `course_map.nkm` in the game's formats, and `course_model.klm`,
Kartlab's own picture of it. The same description always gives the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from os import PathLike

from mkds_gym.kartlab.boot import COURSE_DATA_SIZE
from mkds_gym.kartlab.compiler.collision import Octree, Prisms, build_kcl
from mkds_gym.kartlab.compiler.description import (
    CourseDescription,
    CourseDescriptionError,
    parse_description,
    read_description,
)
from mkds_gym.kartlab.compiler.geometry import (
    CourseLayout,
    Ribbon,
    Triangles,
    build_layout,
    build_triangles,
    fall_height,
)
from mkds_gym.kartlab.compiler.klm import ModelStatistics
from mkds_gym.kartlab.compiler.map import MapPlan, build_nkm, plan_map
from mkds_gym.kartlab.compiler.model import build_klm

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
"""Most collision triangles of a course."""

SIZE_LIMIT = COURSE_DATA_SIZE - 1024
"""Most bytes of a course's files: unpacked, they share the memory with the race, and what the host
hands over has its own room; the difference is for the archive around them."""


@dataclass(frozen=True)
class CompiledCourse:
    """A course's files, with the shapes they were made from (for checks and tools).

    Attributes:
        description: what was compiled.
        files: file name -> bytes: the KCL, the NKM and the KLM.
        layout: the paths' cross-sections, in world units, before any rounding.
        triangles: the collision surface before rounding, in the order of the prisms.
        prisms: the same as prisms, with the triangles recovered from the rounded numbers.
        octree: numbers about the octree.
        plan: checkpoints, respawns, start and routes, before packing.
        model: numbers about the drawn model.
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
        """The game's number for that name."""
        return self.description.course_id

    @property
    def title(self) -> str:
        """The course's own title."""
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
        """Pack the files as the cartridge holds them: LZ77 type 0x10 over a NARC."""
        from mkds_gym.course.archive import write_carc

        return write_carc(self.files)

    def narc(self) -> bytes:
        """Pack the files without compressing them: quick, for a course handed over in memory."""
        from mkds_gym.course.archive import write_narc

        return write_narc(self.files)


def compile_course(path: str | PathLike[str]) -> CompiledCourse:
    """Compile a course description.

    Args:
        path: a TOML file, see `courses/mario_course.toml`.

    Raises:
        CourseDescriptionError: the file cannot be read or describes no possible course; the
            message names the file, the entry and the value.
    """
    return compile_description(read_description(path))


def compile_description(description: CourseDescription) -> CompiledCourse:
    """Compile a description that was read already.

    Raises:
        CourseDescriptionError: as for `compile_course`.
    """
    layout = build_layout(description)
    triangles = build_triangles(description, layout)
    if len(triangles) > TRIANGLE_LIMIT:
        raise description.error(
            "[[point]]",
            f"{layout.main.length:,.0f} units of road take {len(triangles):,} collision triangles; "
            f"a DS has room for {TRIANGLE_LIMIT:,}",
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
            f"and {statistics.polygons:,} polygons, together {size:,} bytes; a DS has room for "
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
