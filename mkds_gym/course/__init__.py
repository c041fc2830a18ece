"""Courses: collision, map, the way round, and what can be run into."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from mkds_gym.course import kcl as _kcl
from mkds_gym.course import nkm as _nkm
from mkds_gym.course.kcl import KCL, RAM_BASE
from mkds_gym.course.nkm import NKM
from mkds_gym.course.track import Track
from mkds_gym.errors import CourseFormatError

if TYPE_CHECKING:
    from mkds_gym.course.mesh import ObstacleMesh

COLLISION_FILE = "course_collision.kcl"
MAP_FILE = "course_map.nkm"


class CourseFiles(Protocol):
    """What `Course.from_cartridge` needs of a cartridge."""

    def course_file(self, course: str, name: str) -> bytes:
        """One file out of a course's archive."""


class CourseLayout(Protocol):
    """What `Course.from_ram` needs of a memory layout: two addresses."""

    @property
    def collision_header(self) -> int:
        """Address of the collision header struct."""

    @property
    def map_data_pointer(self) -> int:
        """Address of the pointer to map data."""


@dataclass(eq=False)
class Course:
    """One course.

    Attributes:
        name: folder name on the cartridge, or "" when read from memory.
        kcl: collision.
        nkm: map.
    """

    name: str
    kcl: KCL
    nkm: NKM

    @cached_property
    def track(self) -> Track:
        """Checkpoints and progress; CourseFormatError if the map has no sound ones."""
        return Track(self.nkm, self.kcl)

    @cached_property
    def mesh(self) -> ObstacleMesh:
        """Obstacles for ray tracing, built when first asked for."""
        from mkds_gym.course.mesh import ObstacleMesh

        return ObstacleMesh(self.kcl)

    @property
    def fingerprint(self) -> int:
        """Number that tells courses apart; `fingerprint_ram` gives the same for the same course.

        Covers the collision without its octree, and the checkpoints with their sections.
        """
        return self.kcl.checksum << 32 | self.nkm.checksum

    @classmethod
    def from_files(cls, kcl: bytes, nkm: bytes, name: str = "") -> Course:
        """Read a course from its two files.

        Raises:
            CourseFormatError: if one is malformed.
        """
        return cls(name, KCL.from_bytes(kcl), NKM.from_bytes(nkm))

    @classmethod
    def from_cartridge(cls, cartridge: CourseFiles, name: str) -> Course:
        """Read a course from a cartridge.

        Args:
            cartridge: a `mkds_gym.cartridge.Cartridge`.
            name: folder name, such as ``"mario_course"``.

        Raises:
            CartridgeError: if the cartridge has no such course.
            CourseFormatError: if its files are malformed.
        """
        return cls.from_files(
            cartridge.course_file(name, COLLISION_FILE), cartridge.course_file(name, MAP_FILE), name
        )

    @classmethod
    def from_ram(cls, ram: NDArray[np.uint8], layout: CourseLayout, name: str = "") -> Course:
        """Copy and read the course of the race that is running.

        Args:
            ram: main memory, (0x400000,) uint8; index 0 is address 0x02000000.
            layout: a `mkds_gym.memory.Layout`.
            name: what to call it; memory holds only the number.

        Raises:
            CourseFormatError: if memory holds no sound course; `offset` is an address.
        """
        return cls(
            name,
            KCL.from_ram(ram, layout.collision_header),
            NKM.from_ram(ram, _map_data(ram, layout)),
        )

    @staticmethod
    def fingerprint_ram(ram: NDArray[np.uint8], layout: CourseLayout) -> int:
        """`fingerprint` of the course in memory, without reading all of it.

        Arguments and errors as `from_ram`.
        """
        kcl = _kcl.checksum_ram(ram, layout.collision_header)
        return kcl << 32 | _nkm.checksum_ram(ram, _map_data(ram, layout))


def _map_data(ram: NDArray[np.uint8], layout: CourseLayout) -> int:
    place = layout.map_data_pointer - RAM_BASE
    if not 0 <= place <= len(ram) - 4:
        raise CourseFormatError("the map data pointer is outside memory", layout.map_data_pointer)
    return int.from_bytes(ram[place : place + 4].tobytes(), "little")


__all__ = ["KCL", "NKM", "Course", "Track"]
