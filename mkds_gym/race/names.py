"""Names of courses, characters and surfaces by the game's numbers."""

from __future__ import annotations

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

SURFACES: tuple[str, ...] = (
    "road", "slippery_road", "weak_offroad", "offroad", "sound_trigger", "heavy_offroad",
    "slippery_road_2", "boost_pad", "wall", "invisible_wall", "out_of_bounds",
    "fall_boundary", "jump_pad", "road_for_others", "wall_for_others", "cannon_activator",
    "edge_wall", "falls_water", "boost_pad_minimum_speed", "loop", "special_road", "wall_3",
    "force_recalculation",
)
"""Names of the collision types of prisms and floors, by number."""
# fmt: on

OFFROAD_SURFACES: frozenset[int] = frozenset((2, 3, 5))
"""Collision types that count as off-road."""

_COURSE_IDS = {name: number for number, name in COURSES.items()}


def course_id(name: str) -> int:
    """Return the id of the course with this folder name.

    Raises:
        ValueError: no course has this name.
    """
    return _COURSE_IDS[choice("course", name, _COURSE_IDS)]
