"""Checks that need no emulator: the machine, the installation, the cartridge, its courses."""

from __future__ import annotations

import os
import platform
import struct
from collections import Counter
from collections.abc import Iterator
from importlib import metadata
from typing import Final

import numpy as np

from mkds_gym.course import COLLISION_FILE, MAP_FILE, Course
from mkds_gym.course.archive import read_carc
from mkds_gym.course.nkm import SECTIONS
from mkds_gym.doctor.finding import BAD, ODD, OK, Finding, judged
from mkds_gym.emulator.cartridge import COURSE_FOLDER, REGIONS, Cartridge, header_crc16
from mkds_gym.emulator.desmume.builds import KNOWN_BUILDS, build_name
from mkds_gym.emulator.desmume.loader import installed_build_id
from mkds_gym.errors import MKDSError
from mkds_gym.race.memory_layout import FX32_ONE
from mkds_gym.race.names import COURSES, SURFACES
from mkds_gym.version import __version__

_PACKAGES: Final = ("gymnasium", "numpy", "py-desmume", "ndspy")
_NOT_RACED: Final = ("mini_", "mr_", "Award", "StaffRoll")
"""How the names of stages without a race begin: battles, missions, the award, the credits."""
_NEEDED: Final = ("starts", "checkpoints", "checkpoint_paths")
_LARGEST_DROP: Final = 100.0
"""World units between a start and the floor."""
_CUSTOM: Final = (
    "a custom track may be so on purpose; drive one lap with `python -m mkds_gym.play` and look at "
    "progress and lap"
)


def check_machine() -> Iterator[Finding]:
    """Check the machine and the installed packages."""
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    known = platform.system() == "Linux" and platform.machine() in ("x86_64", "AMD64")
    yield Finding(
        "machine",
        OK if known else ODD,
        f"{system}, Python {platform.python_version()}",
        "" if known else "only Linux on x86-64 is tested; fast paths are off elsewhere",
    )
    found = [f"{name} {_version(name)}" for name in _PACKAGES]
    yield Finding("packages", OK, f"mkds-gym {__version__}, {', '.join(found)}")
    try:
        build = installed_build_id()
    except MKDSError as error:
        yield Finding("library", BAD, str(error), "install py-desmume again")
        return
    known = build in KNOWN_BUILDS
    yield Finding(
        "library",
        OK if known else ODD,
        f"emulator build {build_name(build)}",
        "" if known else "everything works, but slower: install the py-desmume of pyproject.toml",
    )


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def check_cartridge(cartridge: Cartridge) -> Iterator[Finding]:
    """Check the header of a cartridge."""
    text = (
        f"{cartridge.title!r}, game code {cartridge.game_code}, revision {cartridge.revision}, "
        f"region {cartridge.region}, {cartridge.path.stat().st_size:,} bytes, "
        f"SHA-1 {cartridge.sha1}"
    )
    problems = []
    if cartridge.game_code not in REGIONS:
        problems.append("unknown game code")
    (stored,) = struct.unpack_from("<H", cartridge.header, 0x15E)
    crc = header_crc16(cartridge.header[:0x15E])
    if stored != crc:
        problems.append(f"header checksum {stored:04X}, expected {crc:04X}")
    if cartridge.region == "Korea":
        text += "; checkpoints and progress are computed from positions"
    yield judged(
        "cartridge",
        problems,
        text,
        "usual for a ROM hack or a repacked ROM; if yours is neither, dump the cartridge again",
    )


def check_courses(cartridge: Cartridge) -> Iterator[Finding]:
    """Check the course files of a cartridge, one finding per course."""
    try:
        names = cartridge.course_names()
    except MKDSError as error:
        yield Finding("courses", BAD, str(error), "the dump is damaged: dump the cartridge again")
        return
    if not names:
        yield Finding(
            "courses",
            ODD,
            f"no {COURSE_FOLDER}/*.carc on the cartridge",
            "a ROM hack may keep them elsewhere; races still work, from the course in memory",
        )
    for name in names:
        yield check_course_file(cartridge, name)


def check_course_file(cartridge: Cartridge, name: str) -> Finding:
    """Check one course of a cartridge."""
    part = f"course {name}"
    raced = not name.startswith(_NOT_RACED)
    try:
        files = read_carc(cartridge.file(f"{COURSE_FOLDER}/{name}.carc"))
        missing = [file for file in (COLLISION_FILE, MAP_FILE) if file not in files]
        if missing:
            text = f"archive without {' and '.join(missing)}"
            if not raced:
                return Finding(part, OK, f"{text}; not a race course")
            return Finding(part, BAD, text, "this course cannot be raced")
        course = Course.from_files(files[COLLISION_FILE], files[MAP_FILE], name)
        if not raced and not len(course.nkm.checkpoints):
            return Finding(part, OK, f"{describe_collision(course)}; not a race course")
        return check_course(part, course)
    except MKDSError as error:
        return Finding(
            part,
            BAD,
            str(error),
            "the file is damaged or of an unknown format; the course may still race if the game "
            "decodes it, as mkds-gym reads the course from memory then",
        )


def describe_collision(course: Course) -> str:
    """Return the number of prisms of a course, by collision type."""
    kcl = course.kcl
    types = ", ".join(
        f"{count} {_surface(number)}"
        for number, count in sorted(Counter(kcl.types.tolist()).items())
    )
    return f"{len(kcl.prisms)} prisms ({types})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s'[: number != 1]}"


def _surface(number: int) -> str:
    return SURFACES[number] if number < len(SURFACES) else f"unknown type {number}"


def check_course(part: str, course: Course) -> Finding:
    """Check a decoded course.

    Raises:
        CourseFormatError: the checkpoints do not fit their sections.
    """
    track, nkm, kcl = course.track, course.nkm, course.kcl
    sizes = {name: len(getattr(nkm, name)) for _, name, _ in SECTIONS if name != "stage"}
    keys = sorted({int(key) for key in nkm.checkpoints["key"] if key >= 0})
    forks = sum(len(track.next(index)) > 1 for index in range(len(track)))
    stands = nkm.starts["position"] / FX32_ONE
    floors = [kcl.heights_at(x, z) - y for x, y, z in stands]
    floating = sum(not len(gap) or np.abs(gap).min() > _LARGEST_DROP for gap in floors)
    text = (
        f"{describe_collision(course)}; {_count(len(track), 'checkpoint')} "
        f"({_count(len(keys), 'key')}) in {_count(max(sizes['checkpoint_paths'], 1), 'section')}, "
        f"{_count(forks, 'fork')}; a lap of {track.length:,.0f} units; floor under "
        f"{len(stands) - floating} of {_count(len(stands), 'start')}"
    )
    return judged(part, _course_problems(course, sizes, keys, floating), text, _CUSTOM)


def _course_problems(
    course: Course, sizes: dict[str, int], keys: list[int], floating: int
) -> list[str]:
    kcl, nkm = course.kcl, course.nkm
    problems = [f"no entries of {name.replace('_', ' ')}" for name in _NEEDED if not sizes[name]]
    unknown = sorted({int(number) for number in kcl.types if number >= len(SURFACES)})
    if unknown:
        problems.append(
            f"collision types {', '.join(map(str, unknown))} are unknown and count as road, or as "
            "wall by the wall bit"
        )
    if not len(kcl.prisms):
        problems.append("no collision")
    if kcl.degenerate.any():
        problems.append(f"{int(kcl.degenerate.sum())} prisms without area, which are ignored")
    if not keys:
        problems.append("no key checkpoints: every lap counts, also a cut one")
    elif keys != list(range(len(keys))):
        gaps = sorted(set(range(keys[-1] + 1)) - set(keys))
        problems.append(f"key checkpoints {', '.join(map(str, gaps))} are missing")
    if nkm.stage is None:
        problems.append("no stage settings (STAG)")
    elif course.name in COURSES.values() and COURSES.get(int(nkm.stage["course"])) != course.name:
        problems.append(f"the file says course number {int(nkm.stage['course'])}")
    if floating:
        problems.append(f"no floor under {floating} starts")
    return problems
