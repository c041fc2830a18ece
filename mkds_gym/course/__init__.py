"""Courses: collision, map, track and obstacles."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

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
from mkds_gym.race.memory_layout import MemoryLayout
from mkds_gym.utils.arguments import shortened, shown
from mkds_gym.utils.caches import WeakCache

if TYPE_CHECKING:
    from mkds_gym.course.mesh import ObstacleMesh

_meshes: Final[WeakCache[ObstacleMesh]] = WeakCache()
"""Obstacles by collision, shared by the courses of this process."""

COLLISION_FILE = "course_collision.kcl"
MAP_FILE = "course_map.nkm"


def read_course_archive(cartridge: Cartridge, name: str) -> dict[str, bytes]:
    """Return all files of a course on a cartridge, by name.

    Args:
        cartridge: the cartridge.
        name: one of `Cartridge.course_names`, such as ``"mario_course"``.

    Raises:
        CartridgeError: the cartridge has no such course.
        CourseFormatError: the archive is malformed.
    """
    names = cartridge.course_names()
    if name not in names:
        raise CartridgeError(
            f"course {shown(name)} is not in '{cartridge.path}': "
            f"expected one of {', '.join(names) or 'none'}"
        )
    return read_carc(cartridge.file(f"{COURSE_FOLDER}/{name}.carc"))


@dataclass(eq=False)
class Course:
    """A course.

    Attributes:
        name: folder name on the cartridge, or "" for a course from memory.
        kcl: the collision.
        nkm: the map.
    """

    name: str
    kcl: KCL
    nkm: NKM

    @cached_property
    def track(self) -> Track:
        """Checkpoints and progress; CourseFormatError if the map's checkpoints are invalid."""
        return Track(self.nkm, self.kcl)

    @cached_property
    def mesh(self) -> ObstacleMesh:
        """Obstacles for ray tracing. The first use builds them, in half a second.

        Courses with the same collision share one mesh.
        """
        from mkds_gym.course.mesh import ObstacleMesh

        kcl = self.kcl
        key = (kcl.checksum, len(kcl.prisms), len(kcl.raw_positions))
        return _meshes.get(key, lambda: ObstacleMesh(kcl))

    @cached_property
    def fingerprint(self) -> int:
        """Number that identifies the course; `fingerprint_ram` returns the same number.

        Covers the collision without the octree, and the checkpoints with their sections.
        """
        return self.kcl.checksum << 32 | self.nkm.checksum

    @classmethod
    def from_files(cls, kcl: bytes, nkm: bytes, name: str = "") -> Course:
        """Read a course from its two files.

        Raises:
            CourseFormatError: a file is malformed.
        """
        return cls(name, KCL.from_bytes(kcl), NKM.from_bytes(nkm))

    @classmethod
    def from_cartridge(cls, cartridge: Cartridge, name: str) -> Course:
        """Read a course from a cartridge.

        Args:
            cartridge: the cartridge.
            name: one of `Cartridge.course_names`, such as ``"mario_course"``.

        Raises:
            CartridgeError: the cartridge has no such course, or the archive lacks a file.
            CourseFormatError: the archive or a file is malformed.
        """
        files = read_course_archive(cartridge, name)
        for file in (COLLISION_FILE, MAP_FILE):
            if file not in files:
                raise CartridgeError(
                    f"course {name!r} of '{cartridge.path}' has no file {file!r}, only "
                    f"{shortened(', '.join(sorted(files))) or 'none'}"
                )
        return cls.from_files(files[COLLISION_FILE], files[MAP_FILE], name)

    @classmethod
    def from_ram(cls, ram: NDArray[np.uint8], layout: MemoryLayout, name: str = "") -> Course:
        """Read the course of the running race.

        Args:
            ram: main memory, (0x400000,) uint8; index 0 is address 0x02000000.
            layout: memory layout of the game.
            name: name for the course; memory has only its number.

        Raises:
            CourseFormatError: memory has no valid course; `offset` is an address.
        """
        return cls(
            name,
            KCL.from_ram(ram, layout.collision_header),
            NKM.from_ram(ram, _map_data(ram, layout)),
        )

    @staticmethod
    def fingerprint_ram(ram: NDArray[np.uint8], layout: MemoryLayout) -> int:
        """Return the `fingerprint` of the course in memory without decoding the course.

        Arguments and errors are those of `from_ram`.
        """
        kcl = _kcl.checksum_ram(ram, layout.collision_header)
        return kcl << 32 | _nkm.checksum_ram(ram, _map_data(ram, layout))


def _map_data(ram: NDArray[np.uint8], layout: MemoryLayout) -> int:
    place = layout.map_data_pointer - RAM_START
    if not 0 <= place <= len(ram) - 4:
        raise CourseFormatError("the map data pointer is outside memory", layout.map_data_pointer)
    return int.from_bytes(ram[place : place + 4].tobytes(), "little")


__all__ = ["KCL", "NKM", "Course", "Track", "read_course_archive"]
