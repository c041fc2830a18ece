"""Where Mario Kart DS keeps a race in main RAM: addresses per region, and structured dtypes.

This file is the only place that spells an address or an offset. All other code uses the dtypes
(``DRIVER.fields["position"]``) or a `MemoryLayout` (``layout.drivers_pointer``). Kartlab, the free
cartridge, keeps the same structures at the USA addresses.

Number formats (all little endian), with how to read them:

* ``fx32``: signed 32 bits, 12 of them fraction: divide by `FX32_ONE`. Lengths are then in world
  units, speeds in world units per frame, unit vectors and matrices in plain numbers.
* ``fx16``: signed 16 bits, 12 of them fraction.
* ``angle16``: `ANGLE16_TURN` (65,536) to the turn.
* ``frames``: emulated VBlanks, `FRAMES_PER_SECOND` to the second.
* ``pointer``: an ARM address in main RAM.

The tables name each field's unit in these words. Sources: the public decompilation's headers, a
tool-assisted-speedrun script, and an earlier learning project, which agree on all that is here
except where a note says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator.hardware import FRAMES_PER_SECOND as FRAMES_PER_SECOND
from mkds_gym.emulator.hardware import RAM_END as RAM_END
from mkds_gym.emulator.hardware import RAM_SIZE as RAM_SIZE
from mkds_gym.emulator.hardware import RAM_START as RAM_START
from mkds_gym.errors import NoRaceError

FX32_ONE = 4096
"""One, in fx32 and fx16."""
FX32_SCALE = 1.0 / FX32_ONE
"""What an fx32 is multiplied by to become a float; exact."""
ANGLE16_TURN = 0x10000
"""One turn, in angle16."""
CENTISECONDS_PER_FRAME = 100.0 / FRAMES_PER_SECOND
"""True centiseconds that a frame lasts, 1.6715."""

REGION_WORD_ADDRESS = 0x02000B54
"""Address of a word that tells the regions apart; the same on all of them."""
REGION_WORD_USA = 0x0216F320
"""Its value on the USA cartridge. Its difference elsewhere is added to every static address."""


class Field(NamedTuple):
    """One field of a structure.

    Attributes:
        name: what the dtype calls it.
        offset: bytes from the start of the structure.
        format: NumPy format, little endian.
        unit: what a value is measured in (see the module's head), or what it is.
    """

    name: str
    offset: int
    format: Any
    unit: str


def _dtype(size: int, *table: Field) -> np.dtype[np.void]:
    """Build a dtype of ``size`` bytes with every field where the table says."""
    dtype = np.dtype(
        {
            "names": [field.name for field in table],
            "formats": [field.format for field in table],
            "offsets": [field.offset for field in table],
            "itemsize": size,
        }
    )
    TABLES[dtype] = table
    return dtype


TABLES: dict[np.dtype[np.void], tuple[Field, ...]] = {}
"""The field tables, by dtype: names, offsets, formats and units, for documentation and tools."""

_VECTOR = ("<i4", (3,))

TIME = _dtype(
    4,
    Field("milliseconds", 0x00, "<u2", "milliseconds, 0 to 999"),
    Field("minutes", 0x02, "u1", "minutes"),
    Field("seconds", 0x03, "u1", "seconds, 0 to 59"),
)
"""A lap or race time as the screen shows it."""

DRIVER = _dtype(
    0x5A8,
    Field("state_bits", 0x044, "<u4", "bits: DRIVER_STATE_*"),
    Field("flags", 0x048, "<u4", "bits: DRIVER_FLAG_*"),
    Field("flags2", 0x04C, "<u4", "bits: DRIVER_FLAG2_*"),
    Field("wanted_direction", 0x050, _VECTOR, "fx32 unit vector the kart wants to move along"),
    Field("driving_direction", 0x05C, _VECTOR, "fx32 unit vector"),
    Field("velocity", 0x068, _VECTOR, "fx32 movement direction or velocity"),
    Field("driver_id", 0x074, "<u2", "0 to 7"),
    Field("kind", 0x07C, "<u4", "0 player, 1 CPU, 2 ghost"),
    Field("position", 0x080, _VECTOR, "fx32 world units"),
    Field("previous_position", 0x08C, _VECTOR, "fx32 world units, a frame ago"),
    Field("delta", 0x0A4, _VECTOR, "fx32 world units per frame"),
    Field("target_max_speed", 0x0CC, "<i4", "fx32 world units per frame"),
    Field("max_speed", 0x0D0, "<i4", "fx32 world units per frame"),
    Field("speed_multiplier", 0x0DC, "<i4", "fx32 factor of the surface: 1 on a road"),
    Field("rotation", 0x0E0, ("<i4", (4,)), "fx32 unit quaternion"),
    Field("matrix", 0x120, ("<i4", (4, 3)), "fx32 rows right, up, forward, translation"),
    Field("sphere_centre", 0x1B8, _VECTOR, "fx32 world units, of the collision sphere"),
    Field("previous_sphere_centre", 0x1C4, _VECTOR, "fx32 world units"),
    Field("sphere_radius", 0x1D0, "<i4", "fx32 world units"),
    Field("pitch", 0x234, "<i2", "angle16"),
    Field("heading", 0x236, "<i2", "angle16"),
    Field("boost_timer", 0x238, "<i2", "frames"),
    Field("drift_boost_counter", 0x23C, "<i2", "frames of mini-turbo"),
    Field("grip", 0x240, "<i4", "fx32 factor"),
    Field("up", 0x244, _VECTOR, "fx32 unit vector"),
    Field("vertical_velocity", 0x25C, _VECTOR, "fx32 world units per frame"),
    Field("forward", 0x278, _VECTOR, "fx32 unit vector"),
    Field("max_speed_fraction", 0x2A0, "<i4", "fx32 fraction"),
    Field("delta_length", 0x2A4, "<i4", "fx32 world units per frame"),
    Field("speed", 0x2A8, "<i4", "fx32 world units per frame, negative backwards"),
    Field("drift_direction", 0x2C4, "<i4", "fx32, left or right by sign, 0 when not drifting"),
    Field("turning", 0x2D4, "<i4", "fx32 turning amount"),
    Field("drift_count", 0x2FC, "<i4", "left/right changes in this drift"),
    Field("drift_left_count", 0x300, "<u2", "towards a mini-turbo"),
    Field("drift_right_count", 0x302, "<u2", "towards a mini-turbo"),
    Field("drift_time_left", 0x30C, "<i4", "frames left to continue them"),
    Field("air_frames", 0x380, "<u4", "frames in the air"),
    Field("wall_rotation_speed", 0x386, "<i2", "angle16 per frame, off a wall"),
    Field("drift_angle", 0x388, "<i2", "angle16"),
    Field("respawn_counter", 0x3AC, "<u2", "frames"),
    Field("respawn_id", 0x3C4, "<u4", "index of a respawn point"),
    Field("place", 0x3D8, "<i4", "place in the race"),
    Field("floor_driver_type", 0x3DC, "<u4", "what the floor is to a driver"),
    Field("floor_type", 0x3E0, "<u4", "collision type of the floor, see SURFACES"),
    Field("floor_variant", 0x3E4, "<i4", "variant of the collision type, 0 to 7"),
    Field("heading_speed_target", 0x3EC, "<i4", "angle16 per frame"),
    Field("heading_speed", 0x3F0, "<i4", "angle16 per frame"),
)
"""A driver: the kart's body. The player is driver 0."""

DRIVER_STATE_DRIFTING = 1 << 3
DRIVER_STATE_ON_FLOOR = 1 << 4
DRIVER_STATE_TOUCHING_DRIVER = 1 << 5
DRIVER_STATE_TOUCHING_OBJECT = 1 << 6
DRIVER_STATE_TOUCHING_WALL = 1 << 7
DRIVER_STATE_GOING_BACKWARDS = 1 << 8

DRIVER_FLAG_IN_LOOP = 1 << 0
DRIVER_FLAG_A = 1 << 1
DRIVER_FLAG_B = 1 << 2
DRIVER_FLAG_LEFT = 1 << 3
DRIVER_FLAG_RIGHT = 1 << 4
DRIVER_FLAG_BOOSTING = 1 << 5
DRIVER_FLAG_RESPAWNING = 1 << 6
DRIVER_FLAG_FORCE_STOP = 1 << 13
DRIVER_FLAG_START_BOOST = 1 << 15
DRIVER_FLAG_CANNON = 1 << 16
DRIVER_FLAG_DRIFT_BOOST = 1 << 19
DRIVER_FLAG_MUSHROOM_BOOST = 1 << 20
DRIVER_FLAG_JUMP_PAD = 1 << 28

DRIVER_FLAG2_SPIN_OUT = 1 << 5
DRIVER_FLAG2_STAR = 1 << 6
DRIVER_FLAG2_SHRUNK = 1 << 7

DRIVER_STATUS = _dtype(
    0x8C,
    Field("state", 0x00, "<u4", "state of the driver in the race"),
    Field("lap_frames", 0x04, "<u4", "frames in this lap"),
    Field("lap_times", 0x0C, (TIME, (5,)), "times of the laps done"),
    Field("total_time", 0x20, TIME, "time of the race"),
    Field("lap", 0x24, "<i4", "current lap: 0 before the start line, then 1, 2, ..."),
    Field("total_milliseconds", 0x2C, "<u4", "milliseconds"),
    Field("flags", 0x30, "<u2", "bits: STATUS_FLAG_*"),
    Field("checkpoint", 0x32, "<u2", "index of the current checkpoint"),
    # The earlier projects read "the key checkpoint" here, at the last correct one.
    Field("last_key_checkpoint", 0x34, "<i2", "last correct key checkpoint"),
    Field("key_checkpoint", 0x36, "<i2", "current key checkpoint"),
    Field("section", 0x38, "<u2", "index of the current checkpoint section"),
    Field("highest_lap", 0x3A, "<u2", "highest lap reached"),
    Field("place_and_driver", 0x3C, "<u2", "place in bits 0-3, driver id in bits 4-7"),
    Field("checkpoint_progress", 0x40, "<i4", "fx32 fraction of the way to the next checkpoint"),
    Field("race_progress", 0x44, "<i4", "fx32 fraction of the race"),
    Field("lap_progress", 0x48, "<i4", "fx32 fraction of the lap"),
)
"""What the race knows of a driver: laps, checkpoints, times."""

DRIVER_LIMIT = 8
"""Drivers in a race at most."""

STATUS_FLAG_PLAYER = 1 << 0
STATUS_FLAG_WRONG_WAY = 1 << 2
STATUS_FLAG_FINISHED = 1 << 6

RACE_STATUS = _dtype(
    0x528,
    Field("frame", 0x00, "<u4", "frames since GO"),
    Field("clock_running", 0x04, "<u4", "1 from GO on, 0 in the countdown"),
    Field("lap_time", 0x08, TIME, "time of this lap"),
    Field("drivers", 0x14, (DRIVER_STATUS, (8,)), "a status per driver"),
    Field("driver_by_place", 0x474, ("i1", (8,)), "driver ids, the first place first"),
    Field("not_controllable", 0x4F0, "<u4", "not 0 in the countdown"),
)
"""The race: clock, and every driver's status."""

RACE_STATE = _dtype(
    0x48,
    Field("state", 0x00, "<i2", "0 before the start, 1 started"),
    Field("frame", 0x04, "<u4", "frames since the scene began"),
    # Called "second counter" by one source, but it counts frames too.
    Field("second_counter", 0x08, "<i4", "frames; the first counter less one in a race"),
    Field("counter_modulo_8", 0x0C, "<i4", "frames modulo 8"),
)
"""Timers of the race scene."""

SCENE = _dtype(0x110, Field("state", 0x10C, "<u4", "2 or 3 while a race scene runs"))
"""The scene state. Only this field of it is known."""

CONFIG_DRIVER = _dtype(
    0x30,
    Field("character", 0x00, "<u4", "see CHARACTERS"),
    Field("kart", 0x04, "<u4", "kart id"),
    Field("type", 0x08, "<u4", "0 player, 1 CPU, 2 ghost"),
)
"""Who drives what."""

RACE_CONFIG = _dtype(
    0x3D4,
    Field("course_id", 0x00, "<u4", "see COURSES"),
    Field("mode", 0x08, "<u4", "0 GP, 1 time trial, 2 battle, 3 VS, 4 mission"),
    Field("engine_class", 0x10, "<u4", "0 50cc, 1 100cc, 2 150cc"),
    Field("mirror", 0x57, "i1", "1 for a mirrored course"),
    Field("rng_seed", 0x5C, "<u4", "seed of the game's random numbers"),
    Field("player_driver_id", 0x62, "i1", "driver id of the player"),
    Field("lap_override", 0x64, "i1", "laps in place of the course's own, 0 for none"),
    Field("drivers", 0x68, (CONFIG_DRIVER, (8,)), "who drives what"),
    Field("next_course_id", 0x1E8, "<u4", "course of the next race, whose config starts here"),
    Field("driver_count", 0x3D0, "u1", "drivers in the race"),
)
"""What race this is. The config of the next race starts at +0x1E8, in the same form."""

CAMERA = _dtype(
    0x270,
    Field("up", 0x00, _VECTOR, "fx32 unit vector"),
    Field("right", 0x0C, _VECTOR, "fx32 unit vector"),
    Field("target", 0x18, _VECTOR, "fx32 world units, the point looked at"),
    Field("position", 0x24, _VECTOR, "fx32 world units"),
    Field("matrix", 0x30, ("<i4", (4, 3)), "fx32 world to view"),
    Field("fov", 0x60, "<u2", "angle16, HALF the vertical field of view"),
    Field("aspect", 0x6C, "<i4", "fx32 width over height"),
    Field("near", 0x70, "<i4", "fx32 world units"),
    Field("far", 0x74, "<i4", "fx32 world units"),
    Field("previous_position", 0x134, _VECTOR, "fx32 world units"),
    Field("elevation", 0x178, "<i4", "fx32 world units to add to the position's y"),
)
"""The camera of the race."""

NKM_SECTIONS: dict[str, int] = {
    "OBJI": 0x00,
    "PATH": 0x08,
    "POIT": 0x10,
    "KTPS": 0x1C,
    "KTPJ": 0x24,
    "KTP2": 0x2C,
    "KTPC": 0x34,
    "KTPM": 0x3C,
    "CPOI": 0x44,
    "CPAT": 0x4C,
    "IPOI": 0x54,
    "IPAT": 0x5C,
    "EPOI": 0x64,
    "EPAT": 0x6C,
    "AREA": 0x74,
    "CAME": 0x7C,
    "MEPO": 0x84,
    "MEPA": 0x8C,
}
"""Offset in `MAP_DATA` of each counted NKM section's pointer; its u16 count is 4 further on."""

MAP_DATA = _dtype(
    0x110,
    *(
        field
        for name, offset in NKM_SECTIONS.items()
        for field in (
            Field(name, offset, "<u4", "pointer to the first entry, past the section header"),
            Field(f"{name}_count", offset + 4, "<u2", "entries"),
        )
    ),
    # One reader takes it as that of the section (magic first), another as that of the data
    # behind the magic: accept both.
    Field("STAG", 0x18, "<u4", "pointer to the stage section or to its data"),
    Field("key_checkpoint_count", 0x98, "<u2", "key checkpoints"),
    Field("track_length", 0x104, "<i4", "fx32 world units"),
    Field("version", 0x10C, "<u2", "NKM version, 37 in shipped courses"),
)
"""Pointers into the course's NKM."""

COLLISION_HEADER = _dtype(
    0x3C,
    Field("positions", 0x00, "<u4", "pointer"),
    Field("normals", 0x04, "<u4", "pointer"),
    Field("prisms", 0x08, "<u4", "pointer, one prism before the first"),
    Field("octree", 0x0C, "<u4", "pointer"),
    Field("prism_thickness", 0x10, "<i4", "fx32 world units"),
    Field("area_minimum", 0x14, _VECTOR, "fx32 world units"),
    Field("x_mask", 0x20, "<u4", "bits outside the area"),
    Field("y_mask", 0x24, "<u4", "bits outside the area"),
    Field("z_mask", 0x28, "<u4", "bits outside the area"),
    Field("block_width_shift", 0x2C, "<u4", "bits"),
    Field("x_blocks_shift", 0x30, "<u4", "bits"),
    Field("xy_blocks_shift", 0x34, "<u4", "bits"),
    Field("sphere_radius", 0x38, "<i4", "fx32 world units"),
)
"""The course's KCL header, its four offsets relocated to pointers."""

OBJECT_TABLE = _dtype(
    0x14,
    Field("count", 0x08, "<u2", "live objects"),
    Field("entries", 0x10, "<u4", "pointer to up to OBJECT_LIMIT entries"),
)
"""Head of the object table."""

OBJECT_LIMIT = 255
"""Entries that the object table holds at most."""

OBJECT_ENTRY = _dtype(
    0x1C,
    Field("position", 0x0C, "<u4", "pointer to fx32[3] in world units, 0 when removed"),
    Field("radius", 0x10, "<i4", "fx32 world units, bounding sphere"),
    Field("flags", 0x14, "<u2", "bits: OBJECT_FLAG_*"),
    Field("object", 0x18, "<u4", "pointer to the object, 0 for a free entry"),
)
"""One object: a driver, an item, something on the course."""

OBJECT_FLAG_INACTIVE = 0x0200
OBJECT_FLAG_MOVING_COLLISION = 0x1000
OBJECT_FLAG_MAP_OBJECT = 0x2000
OBJECT_FLAG_ITEM = 0x4000
OBJECT_FLAG_DRIVER = 0x8000

INPUT_UNIT = _dtype(
    0x5C,
    Field("recording", 0x28, "<u4", "pointer to recorded inputs"),
)
"""One of `INPUT_UNIT_COUNT` sources of key presses."""

INPUT_UNIT_COUNT = 10

COURSES: dict[int, str] = {
    1: "old_yoshi_gc",
    2: "old_mario_gc",
    3: "luigi_course",
    4: "dokan_course",
    5: "test1_course",
    6: "donkey_course",
    7: "wario_course",
    8: "nokonoko_course",
    9: "old_baby_gc",
    10: "old_mario_sfc",
    11: "old_momo_64",
    12: "old_koopa_agb",
    13: "old_peach_agb",
    14: "old_luigi_gc",
    15: "old_noko_sfc",
    16: "old_frappe_64",
    17: "clock_course",
    18: "mansion_course",
    19: "airship_course",
    20: "cross_course",
    21: "test_circle",
    22: "bank_course",
    23: "old_hyudoro_64",
    24: "ridge_course",
    25: "mario_course",
    26: "garden_course",
    27: "desert_course",
    28: "town_course",
    29: "rainbow_course",
    30: "snow_course",
    31: "beach_course",
    32: "koopa_course",
    33: "pinball_course",
    34: "stadium_course",
    35: "old_donut_sfc",
    36: "old_choco_64",
    37: "old_luigi_agb",
    38: "old_kinoko_gc",
    39: "old_choco_sfc",
    40: "old_sky_agb",
    41: "mini_block_course",
    42: "mini_block_64",
    43: "mini_dokan_gc",
    44: "mini_stage1",
    45: "mini_stage2",
    46: "mini_stage3",
    47: "mini_stage4",
    48: "mr_stage1",
    49: "mr_stage2",
    50: "mr_stage3",
    51: "mr_stage4",
    52: "Award",
    53: "StaffRoll",
    54: "StaffRollTrue",
}
"""Course folder names (``data/Course/<name>.carc``) by course id."""


def course_id(name: str) -> int:
    """The id of the course whose folder has this name.

    Raises:
        ValueError: no course has this name.
    """
    for number, folder in COURSES.items():
        if folder == name:
            return number
    raise ValueError(f"no course is named {name!r}; known: {', '.join(COURSES.values())}")


CHARACTERS: dict[int, str] = {
    0: "Mario",
    1: "DK",
    2: "Toad",
    3: "Bowser",
    4: "Peach",
    5: "Wario",
    6: "Yoshi",
    7: "Luigi",
    8: "Dry Bones",
    9: "Daisy",
    10: "Waluigi",
    11: "R.O.B.",
    12: "Shy Guy",
}
"""Characters by id."""

SURFACES: tuple[str, ...] = (
    "road",
    "slippery_road",
    "weak_offroad",
    "offroad",
    "sound_trigger",
    "heavy_offroad",
    "slippery_road_2",
    "boost_pad",
    "wall",
    "invisible_wall",
    "out_of_bounds",
    "fall_boundary",
    "jump_pad",
    "road_for_others",
    "wall_for_others",
    "cannon_activator",
    "edge_wall",
    "falls_water",
    "boost_pad_minimum_speed",
    "loop",
    "special_road",
    "wall_3",
    "force_recalculation",
)
"""Names of the collision types (of a KCL prism, of the floor under a driver), by number."""

OFFROAD_SURFACES: frozenset[int] = frozenset((2, 3, 5))
"""Collision types that are off the road, for sensors and metrics."""


@dataclass(frozen=True)
class Region:
    """A release of the game.

    Attributes:
        name: as `Cartridge.region` names it.
        game_code: of the ROM header.
        checkpoint_fields: False where the checkpoint fields of `DRIVER_STATUS` are known not to
            be where the table says (Korea).
    """

    name: str
    game_code: str
    checkpoint_fields: bool = True


REGIONS: dict[str, Region] = {
    region.name: region
    for region in (
        Region("USA", "AMCE"),
        Region("Europe", "AMCP"),
        Region("Japan", "AMCJ"),
        Region("Korea", "AMCK", checkpoint_fields=False),
    )
}
"""The releases by name. Kartlab (game code KLBE) counts as USA."""

_LARGEST_SHIFT = 0x20000
"""Bytes by which a release's static data may plausibly be moved; more means no such game."""


@dataclass(frozen=True)
class MemoryLayout:
    """Static addresses of one release, as plain integers. The defaults are the USA cartridge's.

    A name ending in ``_pointer`` is the address of a pointer; the others are addresses of the
    thing itself.

    Attributes:
        region: name of the release.
        shift: bytes that were added to every address.
        race_status_pointer: -> `RACE_STATUS`.
        map_data_pointer: -> `MAP_DATA`.
        input_units: `INPUT_UNIT_COUNT` x `INPUT_UNIT`.
        race_config_pointer: -> `RACE_CONFIG`.
        scene_pointer: -> `SCENE`.
        race_state_pointer: -> `RACE_STATE`.
        camera_pointer: -> `CAMERA`.
        driver_count: s32, how many drivers.
        drivers_pointer: -> the first of the `DRIVER` structures.
        object_table: `OBJECT_TABLE`.
        collision_header: `COLLISION_HEADER`.
    """

    region: str = "USA"
    shift: int = 0
    race_status_pointer: int = 0x021755FC
    map_data_pointer: int = 0x02175600
    input_units: int = 0x02175608
    race_config_pointer: int = 0x021759A0
    scene_pointer: int = 0x021759AC
    race_state_pointer: int = 0x0217AA34
    camera_pointer: int = 0x0217AA4C
    driver_count: int = 0x0217ACF4
    drivers_pointer: int = 0x0217ACF8
    object_table: int = 0x0217B588
    collision_header: int = 0x0217B5F4

    @property
    def checkpoint_fields(self) -> bool:
        """Whether the checkpoint fields of `DRIVER_STATUS` can be trusted on this release."""
        return REGIONS[self.region].checkpoint_fields

    @classmethod
    def shifted(cls, shift: int, region: str = "USA") -> MemoryLayout:
        """The layout with every static address moved by ``shift`` bytes.

        Raises:
            ValueError: ``region`` is not one of `REGIONS`.
        """
        if region not in REGIONS:
            raise ValueError(f"unknown region {region!r}; known: {', '.join(REGIONS)}")
        base = cls(region=region)
        moved = {
            field.name: getattr(base, field.name) + shift
            for field in fields(cls)
            if field.name not in ("region", "shift")
        }
        return replace(base, shift=shift, **moved)

    @classmethod
    def detect(cls, ram: NDArray[np.uint8], region: str = "USA") -> MemoryLayout:
        """Find the addresses of the running game by the word that tells releases apart.

        The shift is taken from RAM, not from a table per region, so that other revisions and
        ROM hacks work too. Only the USA value (shift 0) is certain; that the rest is moved by
        the same amount was seen by others on most regions. Korea's driver status has its
        checkpoint fields elsewhere: `checkpoint_fields` is False there, and distances by
        checkpoint mean nothing.

        Args:
            ram: main RAM, (0x400000,) uint8, after the program has started (one frame).
            region: name of the release, from the cartridge's header.

        Raises:
            NoRaceError: the word is no value that any release would hold: the program has not
                started yet, or is not Mario Kart DS.
            ValueError: ``region`` is not one of `REGIONS`, or ``ram`` is not main RAM.
        """
        word = int(read_struct(ram, REGION_WORD_ADDRESS, WORD)["value"])
        shift = word - REGION_WORD_USA
        if abs(shift) > _LARGEST_SHIFT or shift % 4:
            raise NoRaceError(
                f"the word at {REGION_WORD_ADDRESS:#010x} is {word:#010x}, which no release of the "
                f"game holds (USA: {REGION_WORD_USA:#010x}): the program has not started, or is "
                "another one; step a frame first"
            )
        return cls.shifted(shift, region)


WORD = _dtype(4, Field("value", 0, "<u4", "anything"))
"""One 32-bit word."""


def check_pointer(pointer: int, size: int, what: str) -> int:
    """Make sure that ``size`` bytes at ``pointer`` are in main RAM.

    Returns:
        The index of the first of them in ``ram``.

    Raises:
        NoRaceError: they are not; the message names ``what`` and the pointer.
    """
    if not RAM_START <= pointer <= RAM_END - size:
        why = "it is null" if pointer == 0 else "it points outside main RAM"
        raise NoRaceError(
            f"no race: the pointer to {what} is {pointer:#010x} ({why}); "
            "start a race, or load a savestate that is in one"
        )
    return pointer - RAM_START


def check_ram(ram: NDArray[np.uint8]) -> None:
    """Check that an array is main RAM.

    Raises:
        ValueError: the shape or the dtype is wrong.
    """
    if ram.shape != (RAM_SIZE,) or ram.dtype != np.uint8:
        raise ValueError(
            f"ram has shape {ram.shape} and dtype {ram.dtype}: expected ({RAM_SIZE:#x},) uint8"
        )


def struct_view(
    ram: NDArray[np.uint8], address: int, dtype: np.dtype[np.void], count: int = 1
) -> NDArray[np.void]:
    """See ``count`` structures in RAM as an array, without a copy: live, and writable if RAM is.

    Args:
        ram: main RAM, (0x400000,) uint8.
        address: ARM address of the first one.
        dtype: one of this module's.
        count: how many, one after another.

    Returns:
        (count,) array of ``dtype``.

    Raises:
        NoRaceError: they do not lie within main RAM.
        ValueError: ``ram`` is not main RAM.
    """
    check_ram(ram)
    size = dtype.itemsize * count
    start = check_pointer(address, size, f"a structure of {size:#x} bytes")
    return ram[start : start + size].view(dtype)


def read_struct(ram: NDArray[np.uint8], address: int, dtype: np.dtype[np.void]) -> np.void:
    """Copy one structure out of RAM.

    Returns:
        A record; ``record["position"]`` and so on.

    Raises:
        NoRaceError: it does not lie within main RAM.
        ValueError: ``ram`` is not main RAM.
    """
    record: np.void = struct_view(ram, address, dtype).copy()[0]
    return record


def read_pointer(ram: NDArray[np.uint8], address: int, size: int, what: str) -> int:
    """Follow the pointer at ``address`` to a structure of ``size`` bytes.

    Returns:
        The structure's address, checked to lie within main RAM.

    Raises:
        NoRaceError: it points elsewhere; the message names ``what`` and the pointer.
    """
    pointer = int(read_struct(ram, address, WORD)["value"])
    check_pointer(pointer, size, what)
    return pointer
