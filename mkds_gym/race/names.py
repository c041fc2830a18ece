"""Names of courses, characters and surfaces by the game's numbers."""

from __future__ import annotations

from enum import IntEnum

from mkds_gym.utils.arguments import choice

# fmt: off
COURSES: dict[int, str] = dict(enumerate((
        "old_yoshi_gc", "old_mario_gc", "luigi_course", "dokan_course", "test1_course",
        "donkey_course", "wario_course", "nokonoko_course", "old_baby_gc", "old_mario_sfc",
        "old_momo_64", "old_koopa_agb", "old_peach_agb", "old_luigi_gc", "old_noko_sfc",
        "old_frappe_64", "clock_course", "mansion_course", "airship_course", "cross_course",
        "test_circle", "bank_course", "old_hyudoro_64", "ridge_course", "mario_course",
        "garden_course", "desert_course", "town_course", "rainbow_course", "snow_course",
        "beach_course", "koopa_course", "pinball_course", "stadium_course", "old_donut_sfc",
        "old_choco_64", "old_luigi_agb", "old_kinoko_gc", "old_choco_sfc", "old_sky_agb",
        "mini_block_course", "mini_block_64", "mini_dokan_gc", "mini_stage1", "mini_stage2",
        "mini_stage3", "mini_stage4", "mr_stage1", "mr_stage2", "mr_stage3", "mr_stage4",
        "Award", "StaffRoll", "StaffRollTrue",
    ), start=1))
"""Course folder names (``data/Course/<name>.carc``) by course id."""

CHARACTERS: dict[int, str] = dict(enumerate((
        "Mario", "DK", "Toad", "Bowser", "Peach", "Wario", "Yoshi", "Luigi", "Dry Bones",
        "Daisy", "Waluigi", "R.O.B.", "Shy Guy",
    )))
"""Characters by id."""
# fmt: on


class Surface(IntEnum):
    """Collision types of prisms and floors (attribute bits 8 to 12 of a prism)."""

    ROAD = 0
    SLIPPERY_ROAD = 1
    WEAK_OFFROAD = 2
    OFFROAD = 3
    SOUND_TRIGGER = 4
    HEAVY_OFFROAD = 5
    SLIPPERY_ROAD_2 = 6
    BOOST_PAD = 7
    WALL = 8
    INVISIBLE_WALL = 9
    OUT_OF_BOUNDS = 10
    FALL_BOUNDARY = 11
    JUMP_PAD = 12
    ROAD_FOR_OTHERS = 13
    WALL_FOR_OTHERS = 14
    CANNON_ACTIVATOR = 15
    EDGE_WALL = 16
    FALLS_WATER = 17
    BOOST_PAD_MINIMUM_SPEED = 18
    LOOP = 19
    SPECIAL_ROAD = 20
    WALL_3 = 21
    FORCE_RECALCULATION = 22


SURFACES: tuple[str, ...] = tuple(surface.name.lower() for surface in Surface)
"""Names of the surfaces by number."""

OFFROAD_SURFACES: frozenset[int] = frozenset(
    surface.value for surface in (Surface.WEAK_OFFROAD, Surface.OFFROAD, Surface.HEAVY_OFFROAD)
)
"""Surfaces that count as off-road."""

_COURSE_IDS = {name: number for number, name in COURSES.items()}


def course_id(name: str) -> int:
    """Return the id of the course with this folder name.

    Raises:
        ValueError: no course has this name.
    """
    return _COURSE_IDS[choice("course", name, _COURSE_IDS)]
