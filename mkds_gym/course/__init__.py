"""Courses: collision, map, the way round, and what can be run into."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from mkds_gym.course import kcl as _kcl
from mkds_gym.course import nkm as _nkm
from mkds_gym.course.archive import read_carc
from mkds_gym.course.kcl import KCL
from mkds_gym.course.nkm import NKM
from mkds_gym.course.track import Track
from mkds_gym.emulator.cartridge import COURSE_FOLDER, Cartridge
from mkds_gym.emulator.hardware import RAM_START
from mkds_gym.errors import CartridgeError, CourseFormatError
from mkds_gym.utils.caches import WeakCache

if TYPE_CHECKING:
    from mkds_gym.course.mesh import ObstacleMesh

_meshes: Final[WeakCache[ObstacleMesh]] = WeakCache()
"""Of the courses of this process, by collision."""

COLLISION_FILE = "course_collision.kcl"
MAP_FILE = "course_map.nkm"


class CourseLayout(Protocol):
    """What `Course.from_ram` needs of a memory layout: two addresses."""

    @property
    def collision_header(self) -> int:
        """Address of the collision header struct."""

    @property
    def map_data_pointer(self) -> int:
        """Address of the pointer to map data."""


def read_course_archive(cartridge: Cartridge, name: str) -> dict[str, bytes]:
    """All files of a course on a cartridge, by name.

    Args:
        cartridge: where to look.
        name: one of `Cartridge.course_names`, such as ``"mario_course"``.

    Raises:
        CartridgeError: no such course.
        CourseFormatError: its archive is malformed.
    """
    names = cartridge.course_names()
    if name not in names:
        raise CartridgeError(
            f"no course {name!r} in '{cartridge.path}'; there are: {', '.join(names) or 'none'}"
        )
    return read_carc(cartridge.file(f"{COURSE_FOLDER}/{name}.carc"))


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
        """Obstacles for ray tracing, built when first asked for: half a second's work.

        Courses of this process with the same collision have one mesh.
        """
        from mkds_gym.course.mesh import ObstacleMesh

        kcl = self.kcl
        key = (kcl.checksum, len(kcl.prisms), len(kcl.raw_positions))
        return _meshes.get(key, lambda: ObstacleMesh(kcl))

    @cached_property
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
    def from_cartridge(cls, cartridge: Cartridge, name: str) -> Course:
        """Read a course from a cartridge.

        Args:
            cartridge: where to look.
            name: one of `Cartridge.course_names`, such as ``"mario_course"``.

        Raises:
            CartridgeError: if the cartridge has no such course, or its archive lacks a file.
            CourseFormatError: if the archive or one of its files is malformed.
        """
        files = read_course_archive(cartridge, name)
        for file in (COLLISION_FILE, MAP_FILE):
            if file not in files:
                raise CartridgeError(
                    f"no file {file!r} in course {name!r} of '{cartridge.path}'; "
                    f"there are: {', '.join(sorted(files)) or 'none'}"
                )
        return cls.from_files(files[COLLISION_FILE], files[MAP_FILE], name)

    @classmethod
    def from_ram(cls, ram: NDArray[np.uint8], layout: CourseLayout, name: str = "") -> Course:
        """Copy and read the course of the race that is running.

        Args:
            ram: main memory, (0x400000,) uint8; index 0 is address 0x02000000.
            layout: a `MemoryLayout`.
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
    place = layout.map_data_pointer - RAM_START
    if not 0 <= place <= len(ram) - 4:
        raise CourseFormatError("the map data pointer is outside memory", layout.map_data_pointer)
    return int.from_bytes(ram[place : place + 4].tobytes(), "little")


__all__ = ["KCL", "NKM", "Course", "Track", "read_course_archive"]
