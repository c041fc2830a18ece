"""Memory layout of a race in Mario Kart DS: addresses per region, and structures as dtypes.

This file is the only place that spells an address or an offset. All other Python code uses the
dtypes (``DRIVER.fields["position"]``) or a `MemoryLayout` (``layout.drivers_pointer``). The C
header of Kartlab (`mkds_gym.kartlab.memory_header`) and the reference page of the documentation
are generated from `STRUCTURES`.

Units in the tables (all numbers are little endian):

* ``fx32``: signed 32 bits, 12 fraction bits; multiply by `FX32_SCALE`.
* ``fx16``: signed 16 bits, 12 fraction bits.
* ``angle16``: `ANGLE16_TURN` (65,536) per turn.
* ``frames``: emulated VBlanks, `FRAMES_PER_SECOND` per second.
* ``pointer``: an ARM address in main RAM.

Sources: the headers of a public decompilation, a tool-assisted-speedrun script and an earlier
learning project agree on all fields. Fields marked `GAME` were also read from the memory of one
race of the USA release.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mkds_gym.emulator.cartridge import REGIONS
from mkds_gym.emulator.hardware import FRAMES_PER_SECOND as FRAMES_PER_SECOND
from mkds_gym.errors import NoRaceError
from mkds_gym.race.memory import WORD, read_struct
from mkds_gym.utils.arguments import choice

FX32_ONE = 4096
"""The number 1 as fx32 and as fx16."""
FX32_SCALE = 1.0 / FX32_ONE
"""Factor from fx32 to float; exact."""
ANGLE16_TURN = 0x10000
"""One turn as angle16."""
CENTISECONDS_PER_FRAME = 100.0 / FRAMES_PER_SECOND
"""Centiseconds per frame, 1.6715."""

REGION_WORD_ADDRESS = 0x02000B54
"""Address of a word that differs between regions; the address is the same in all regions."""
REGION_WORD_USA = 0x0216F320
"""Value of that word on the USA cartridge. The difference on another region is the amount that
its static addresses are moved by."""

SOURCES: Final = "sources"
"""`Field.confirmed`: public sources agree."""
GAME: Final = "game"
"""`Field.confirmed`: public sources agree with the memory of the original game."""

KARTLAB: Final = "Kartlab"
"""`Field.confirmed`: only Kartlab has the field."""

MEANINGFUL: Final = "meaningful"
"""`Field.kartlab`: the value changes, within a race or between races, as described."""
CONSTANT: Final = "constant"
"""`Field.kartlab`: the value is right, and the same in all races of the tests (may be 0)."""
GHOST: Final = "with a ghost"
"""`Field.kartlab`: set in a time trial with a ghost, otherwise 0."""
ZERO: Final = "always 0"
"""`Field.kartlab`: Kartlab does not use the field."""


class Field(NamedTuple):
    """One field of a structure.

    Attributes:
        name: name in the dtype and in C.
        offset: bytes from the start of the structure.
        format: NumPy format, little endian.
        unit: unit of the value, see the top of this module.
        meaning: one line.
        confirmed: `SOURCES`, `GAME` or `KARTLAB`.
        kartlab: `MEANINGFUL`, `CONSTANT`, `GHOST` or `ZERO`.
        c: C type, where the format does not imply the type.
    """

    name: str
    offset: int
    format: Any
    unit: str
    meaning: str
    confirmed: str = SOURCES
    kartlab: str = MEANINGFUL
    c: str = ""


class Structure(NamedTuple):
    """One structure.

    Attributes:
        name: name in C.
        dtype: NumPy dtype with every field at its offset.
        fields: the fields in the order of the documentation.
        note: what the structure is, for the documentation.
    """

    name: str
    dtype: np.dtype[np.void]
    fields: tuple[Field, ...]
    note: str


STRUCTURES: dict[str, Structure] = {}
"""All structures by C name. Nested structures come before the structures that contain them."""


def _structure(name: str, size: int, note: str, *table: Field) -> np.dtype[np.void]:
    dtype = np.dtype(
        {
            "names": [field.name for field in table],
            "formats": [field.format for field in table],
            "offsets": [field.offset for field in table],
            "itemsize": size,
        }
    )
    STRUCTURES[name] = Structure(name, dtype, table, note)
    return dtype


_VECTOR = ("<i4", (3,))
_MATRIX = ("<i4", (4, 3))
_WORLD = "fx32 world units"
_SPEED = "fx32 world units per frame"
_UNIT = "fx32 unit vector"
_FRACTION = "fx32 fraction"
_TURN_SPEED = "angle16 per frame"

TIME = _structure(
    "race_time",
    4,
    "A lap or race time as the screen shows it.",
    Field("milliseconds", 0x00, "<u2", "milliseconds", "0 to 999", GAME),
    Field("minutes", 0x02, "u1", "minutes", "minutes", GAME),
    Field("seconds", 0x03, "u1", "seconds", "0 to 59", GAME),
)

DRIVER = _structure(
    "driver",
    0x5A8,
    "The body of a kart. Memory has an array of eight; the player is driver 0.",
    Field("state_bits", 0x044, "<u4", "bits", "DRIVER_STATE_*", GAME),
    Field("flags", 0x048, "<u4", "bits", "DRIVER_FLAG_*"),
    Field("flags2", 0x04C, "<u4", "bits", "DRIVER_FLAG2_*", GAME),
    Field("wanted_direction", 0x050, _VECTOR, _UNIT, "direction the kart steers to", GAME),
    Field("driving_direction", 0x05C, _VECTOR, _UNIT, "direction the kart moves in", GAME),
    Field("velocity", 0x068, _VECTOR, _SPEED, "movement vector", GAME),
    Field("driver_id", 0x074, "<u2", "number", "0 to 7"),
    Field("kind", 0x07C, "<u4", "bits", "KIND_*", GAME),
    Field("position", 0x080, _VECTOR, _WORLD, "contact point of the wheels", GAME),
    Field("previous_position", 0x08C, _VECTOR, _WORLD, "position in the previous frame"),
    Field("delta", 0x0A4, _VECTOR, _SPEED, "position - previous_position"),
    Field("target_max_speed", 0x0CC, "<i4", _SPEED, "top speed of the class on this surface", GAME),
    Field("max_speed", 0x0D0, "<i4", _SPEED, "follows target_max_speed", GAME),
    Field("speed_multiplier", 0x0DC, "<i4", "fx32 factor", "of the surface, 1 on a road"),
    Field("rotation", 0x0E0, ("<i4", (4,)), "fx32 unit quaternion", "x, y, z, w of the matrix"),
    Field("matrix", 0x120, _MATRIX, "fx32", "rows left, up, forward, translation", GAME),
    Field("sphere_centre", 0x1B8, _VECTOR, _WORLD, "centre of the collision sphere", GAME),
    Field("previous_sphere_centre", 0x1C4, _VECTOR, _WORLD, "centre in the previous frame"),
    Field("sphere_radius", 0x1D0, "<i4", _WORLD, "6 in Kartlab, 8 in the original", GAME, CONSTANT),
    Field("pitch", 0x234, "<i2", "angle16", "positive nose up"),
    Field("heading", 0x236, "<i2", "angle16", "atan2(forward x, forward z)", c="angle16"),
    Field("boost_timer", 0x238, "<i2", "frames", "remaining frames of the boost"),
    Field("drift_boost_counter", 0x23C, "<i2", "frames", "remaining frames of the mini-turbo"),
    Field("grip", 0x240, "<i4", "fx32 factor", "share of the sideways slide lost per frame"),
    Field("up", 0x244, _VECTOR, _UNIT, "out of the roof", GAME),
    Field("vertical_velocity", 0x25C, _VECTOR, _SPEED, "vertical part of the movement"),
    Field("forward", 0x278, _VECTOR, _UNIT, "along the kart", GAME),
    Field("max_speed_fraction", 0x2A0, "<i4", _FRACTION, "speed / top speed of the class"),
    Field("delta_length", 0x2A4, "<i4", _SPEED, "length of delta"),
    Field("speed", 0x2A8, "<i4", _SPEED, "along forward, negative backwards", GAME),
    Field("drift_direction", 0x2C4, "<i4", "fx32", "sign is the side, 0 without a drift"),
    Field("turning", 0x2D4, "<i4", "fx32", "-1 right to 1 left"),
    Field("drift_count", 0x2FC, "<i4", "number", "left/right changes in this drift"),
    Field("drift_left_count", 0x300, "<u2", "number", "left presses towards a mini-turbo"),
    Field("drift_right_count", 0x302, "<u2", "number", "right presses towards a mini-turbo"),
    Field("drift_time_left", 0x30C, "<i4", "frames", "remaining frames to continue the presses"),
    Field("air_frames", 0x380, "<u4", "frames", "frames in the air"),
    Field("wall_rotation_speed", 0x386, "<i2", _TURN_SPEED, "rotation off a wall"),
    Field("drift_angle", 0x388, "<i2", "angle16", "angle between kart and movement in a drift"),
    Field("respawn_counter", 0x3AC, "<u2", "frames", "remaining frames of the pause"),
    Field("respawn_id", 0x3C4, "<u4", "number", "index of the respawn point (KTPJ)"),
    Field("place", 0x3D8, "<i4", "number", "place in the race", GAME),
    Field("floor_driver_type", 0x3DC, "<u4", "number", "effect of the floor on a driver", GAME),
    Field("floor_type", 0x3E0, "<u4", "number", "of the floor, see names.SURFACES", GAME),
    Field("floor_variant", 0x3E4, "<i4", "number", "variant of the floor, 0 to 7", GAME, CONSTANT),
    Field("heading_speed_target", 0x3EC, "<i4", _TURN_SPEED, "target of heading_speed"),
    Field("heading_speed", 0x3F0, "<i4", _TURN_SPEED, "change of heading"),
)

KIND_PLAYER = 1 << 0
"""Kartlab sets this bit for players only. The original sets the bit for the player of a time trial;
its other drivers were not seen."""
KIND_GHOST = 1 << 2

DRIVER_LIMIT = 8
"""Largest number of drivers in a race."""

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

# Bits of unknown meaning that the original sets. Kartlab sets them too, so that no reader relies on
# whole words.
UNKNOWN_KIND_BITS = 0x08000010
"""In ``kind``, seen for the player of a time trial."""
UNKNOWN_STATE_BITS = 0x01001400
"""In ``state_bits``, seen for a kart at rest."""
UNKNOWN_FLAGS2_BITS = 0x00008000
"""In ``flags2``, seen for a kart at rest."""
UNKNOWN_MAP_OBJECT_BITS = 0x0400
"""In the ``flags`` of a map object."""

DRIVER_STATUS = _structure(
    "driver_status",
    0x8C,
    "Laps, checkpoints and times of a driver; part of the race status.",
    Field("state", 0x00, "<u4", "number", "0 not in the race, 1 racing, 2 finished", GAME),
    Field("lap_frames", 0x04, "<u4", "frames", "frames in this lap", GAME),
    Field("lap_times", 0x0C, (TIME, (5,)), "race_time", "times of the finished laps", GAME),
    Field("total_time", 0x20, TIME, "race_time", "time of the race", GAME),
    Field("lap", 0x24, "<i4", "number", "0 before the start line, then 1, 2, ...", GAME),
    Field("total_milliseconds", 0x2C, "<u4", "milliseconds", "time of the race", GAME),
    Field("flags", 0x30, "<u2", "bits", "STATUS_FLAG_*", GAME),
    Field("checkpoint", 0x32, "<u2", "number", "index of the current checkpoint", GAME),
    # Two of the sources use this field as the key checkpoint.
    Field("last_key_checkpoint", 0x34, "<i2", "number", "last correct key checkpoint", GAME),
    Field("key_checkpoint", 0x36, "<i2", "number", "current key checkpoint", GAME),
    Field("section", 0x38, "<u2", "number", "index of the current checkpoint section", GAME),
    Field("highest_lap", 0x3A, "<u2", "number", "highest lap reached", GAME),
    Field("place_and_driver", 0x3C, "<u2", "bits", "0-3 place, 4-7 driver id", GAME),
    Field("checkpoint_progress", 0x40, "<i4", _FRACTION, "of the way to the next checkpoint", GAME),
    Field("race_progress", 0x44, "<i4", _FRACTION, "of the race", GAME),
    Field("lap_progress", 0x48, "<i4", _FRACTION, "of the lap", GAME),
)

STATUS_FLAG_PLAYER = 1 << 0
STATUS_FLAG_WRONG_WAY = 1 << 2
STATUS_FLAG_FINISHED = 1 << 6

RACE_STATUS = _structure(
    "race_status",
    0x528,
    "Clock of the race and the status of every driver.",
    Field("frame", 0x00, "<u4", "frames", "frames since GO", GAME),
    Field("clock_running", 0x04, "<u4", "boolean", "1 from GO on, 0 in the countdown", GAME),
    # The original had 697 ms at frame 42. 42 frames take 702 ms.
    Field("lap_time", 0x08, TIME, "race_time", "time of this lap", GAME),
    Field("drivers", 0x14, (DRIVER_STATUS, (DRIVER_LIMIT,)), "driver_status", "by driver", GAME),
    Field("driver_by_place", 0x474, ("i1", (DRIVER_LIMIT,)), "number", "driver ids by place"),
    Field("not_controllable", 0x4F0, "<u4", "frames", "not 0 in the countdown"),
)

RACE_STATE = _structure(
    "race_state",
    0x48,
    "Timers of the race scene.",
    Field("state", 0x00, "<i2", "number", "0 before the start, 1 started"),
    Field("frame", 0x04, "<u4", "frames", "frames since the scene began", GAME),
    # One source calls this field a counter of seconds.
    Field("second_counter", 0x08, "<i4", "frames", "frame - 1 in a race", GAME),
    Field("counter_modulo_8", 0x0C, "<i4", "frames", "frames modulo 8"),
)

SCENE = _structure(
    "scene_state",
    0x110,
    "State of the scene. Only this field is known.",
    Field("state", 0x10C, "<u4", "number", "2 or 3 while a race scene runs", GAME),
)

CONFIG_DRIVER = _structure(
    "config_driver",
    0x30,
    "Character and kart of a driver; part of the race config.",
    Field("character", 0x00, "<u4", "number", "see names.CHARACTERS"),
    Field("kart", 0x04, "<u4", "number", "kart id"),
    Field("type", 0x08, "<u4", "number", "CONFIG_TYPE_*: 0 player, 1 CPU, 2 ghost"),
)

CONFIG_TYPE_PLAYER = 0
CONFIG_TYPE_CPU = 1
CONFIG_TYPE_GHOST = 2

_NEXT_CONFIG = 0x1E8

RACE_CONFIG = _structure(
    "race_config",
    0x3D4,
    "Settings of the race.",
    Field("course_id", 0x00, "<u4", "number", "see names.COURSES", GAME),
    Field("mode", 0x08, "<u4", "number", "0 GP, 1 time trial, 2 battle, 3 VS, 4 mission", GAME),
    Field("engine_class", 0x10, "<u4", "number", "0 50cc, 1 100cc, 2 150cc", GAME),
    Field("mirror", 0x57, "i1", "boolean", "1 for a mirrored course"),
    Field("rng_seed", 0x5C, "<u4", "number", "seed of the game's random numbers"),
    Field("player_driver_id", 0x62, "i1", "number", "driver id of the player", SOURCES, CONSTANT),
    Field("lap_override", 0x64, "i1", "number", "laps of this race; -1 or 0: the course's", GAME),
    Field("drivers", 0x68, (CONFIG_DRIVER, (DRIVER_LIMIT,)), "config_driver", "by driver"),
    Field("next", _NEXT_CONFIG, ("u1", (_NEXT_CONFIG,)), "bytes", "config of the next race"),
    Field("driver_count", 0x3D0, "u1", "number", "drivers in the race"),
)

CAMERA_UNIT = 16
"""World units per unit of the camera's view space: the game draws with positions divided by 16."""
_VIEW = "fx32 view units"

CAMERA = _structure(
    "camera",
    0x270,
    f"Camera of the race. A view unit is {CAMERA_UNIT} world units. The three directions have "
    "length 0.965; take directions from the matrix. `near` and `far` are read as view units, as "
    "the matrix suggests; the original's picture was not compared.",
    Field("up", 0x00, _VECTOR, "fx32", "up on the screen, not a unit vector", GAME),
    Field("left", 0x0C, _VECTOR, "fx32", "to the left of the screen, not a unit vector", GAME),
    Field("target", 0x18, _VECTOR, _WORLD, "point that the camera looks at", GAME),
    Field("position", 0x24, _VECTOR, _WORLD, "position of the eye", GAME),
    Field("matrix", 0x30, _MATRIX, "fx32", "world to view; translation in view units", GAME),
    Field("fov", 0x60, "<u2", "angle16", "HALF of the vertical field of view", GAME),
    Field("target_fov", 0x64, "<u2", "angle16", "target of fov", GAME),
    Field("fov_sine", 0x68, "<u2", "fx16", "sine of fov", GAME, c="fx16"),
    Field("fov_cosine", 0x6A, "<u2", "fx16", "cosine of fov", GAME, c="fx16"),
    Field("aspect", 0x6C, "<i4", "fx32", "width / height", GAME),
    Field("near", 0x70, "<i4", _VIEW, "distance of the near plane", GAME),
    Field("far", 0x74, "<i4", _VIEW, "distance of the far plane", GAME),
    Field("frustum_top", 0x78, "<i4", _VIEW, "top of the near plane", GAME),
    Field("frustum_bottom", 0x7C, "<i4", _VIEW, "bottom, negative", GAME),
    Field("frustum_left", 0x80, "<i4", _VIEW, "left, negative", GAME),
    Field("frustum_right", 0x84, "<i4", _VIEW, "right", GAME),
    Field("previous_position", 0x134, _VECTOR, _WORLD, "position in the previous frame"),
    Field("look_direction", 0x15C, _VECTOR, "fx32", "towards target, not a unit vector", GAME),
    Field("elevation", 0x178, "<i4", _WORLD, "added to the y of position", SOURCES, ZERO),
)

FIRST_MAP_LISTS = ("OBJI", "PATH", "POIT")
"""NKM sections of the entries of ``MAP_DATA["first"]``."""
MAP_LISTS = (
    *("KTPS", "KTPJ", "KTP2", "KTPC", "KTPM", "CPOI", "CPAT", "IPOI", "IPAT", "EPOI", "EPAT"),
    *("AREA", "CAME", "MEPO", "MEPA"),
)
"""NKM sections of the entries of ``MAP_DATA["lists"]``."""

MAP_LIST = _structure(
    "map_list",
    8,
    "One section of the course's NKM; part of the map data.",
    Field("entries", 0x00, "<u4", "pointer", "first entry", GAME, c="const void *"),
    Field("count", 0x04, "<u2", "number", "entries", GAME),
)

MAP_DATA = _structure(
    "map_data",
    0x110,
    "Pointers into the course's NKM, which lies in memory as in its file. Kartlab mirrors the "
    f"entries in a mirrored race. `first` has {', '.join(FIRST_MAP_LISTS)}; `lists` has "
    f"{', '.join(MAP_LISTS)}.",
    Field("first", 0x00, (MAP_LIST, (len(FIRST_MAP_LISTS),)), "map_list", "by section", GAME),
    # Sources differ: pointer to the magic, or to the data behind the magic. Readers accept both.
    Field("stage", 0x18, "<u4", "pointer", "data of the STAG section", GAME, c="const nkm_stage *"),
    Field("lists", 0x1C, (MAP_LIST, (len(MAP_LISTS),)), "map_list", "by section", GAME),
    Field("key_checkpoint_count", 0x98, "<u2", "number", "key checkpoints"),
    Field("track_length", 0x104, "<i4", _WORLD, "length of a lap", GAME),
    Field("version", 0x10C, "<u2", "number", "NKM version, 37", GAME, CONSTANT),
)

COLLISION_HEADER = _structure(
    "collision_header",
    0x3C,
    "Header of the course's KCL, with its four offsets replaced by pointers.",
    Field("positions", 0x00, "<u4", "pointer", "corners", GAME, c="const vec3 *"),
    Field("normals", 0x04, "<u4", "pointer", "normals", GAME, c="const kcl_normal *"),
    Field("prisms", 0x08, "<u4", "pointer", "0x10 before the first", GAME, c="const kcl_prism *"),
    Field("octree", 0x0C, "<u4", "pointer", "root nodes", GAME, c="const uint8_t *"),
    Field("prism_thickness", 0x10, "<i4", _WORLD, "depth of a prism", GAME, CONSTANT),
    Field("area_minimum", 0x14, _VECTOR, _WORLD, "minimum corner of the area", GAME),
    Field("x_mask", 0x20, "<u4", "bits", "clear inside the area", GAME, CONSTANT),
    Field("y_mask", 0x24, "<u4", "bits", "clear inside the area", GAME),
    Field("z_mask", 0x28, "<u4", "bits", "clear inside the area", GAME),
    Field("block_width_shift", 0x2C, "<u4", "number", "log2 of a root block", GAME, CONSTANT),
    Field("x_blocks_shift", 0x30, "<u4", "number", "log2 of the blocks along x", GAME, CONSTANT),
    Field("xy_blocks_shift", 0x34, "<u4", "number", "log2 of the blocks of a layer", GAME),
    Field("sphere_radius", 0x38, "<i4", _WORLD, "largest sphere of the octree", GAME, CONSTANT),
)

OBJECT_LIMIT = 255
"""Largest number of entries in the object table."""

OBJECT_ENTRY = _structure(
    "object_entry",
    0x1C,
    "A driver, an item or a map object. A driver has two entries.",
    Field("position", 0x0C, "<u4", "pointer", "position, 0 if removed", GAME, c="const vec3 *"),
    Field("radius", 0x10, "<i4", _WORLD, "radius of the bounding sphere", GAME),
    Field("flags", 0x14, "<u2", "bits", "OBJECT_FLAG_*", GAME),
    Field("object", 0x18, "<u4", "pointer", "the object, 0 if free", GAME, c="const void *"),
)

OBJECT_FLAG_INACTIVE = 0x0200
OBJECT_FLAG_SECOND_ENTRY = 0x0800
"""The second entry of a driver: it points to the same driver, without `OBJECT_FLAG_DRIVER`."""
OBJECT_FLAG_MOVING_COLLISION = 0x1000
OBJECT_FLAG_MAP_OBJECT = 0x2000
OBJECT_FLAG_ITEM = 0x4000
OBJECT_FLAG_DRIVER = 0x8000

OBJECT_TABLE = _structure(
    "object_table",
    0x14,
    "Head of the object table.",
    Field("count", 0x08, "<u2", "number", "live objects", GAME),
    Field("entries", 0x10, "<u4", "pointer", "up to OBJECT_LIMIT", GAME, c="object_entry *"),
)

INPUT_UNIT_COUNT = 10

INPUT_UNIT = _structure(
    "input_unit",
    0x5C,
    f"One of {INPUT_UNIT_COUNT} sources of key presses.",
    Field("held", 0x00, "<u2", "bits", "keys of this frame, in Kartlab's bit order", KARTLAB),
    Field("pressed", 0x02, "<u2", "bits", "keys that went down in this frame", KARTLAB),
    Field("recording", 0x28, "<u4", "pointer", "recorded keys", SOURCES, GHOST, "const void *"),
)

BIT_FIELDS: dict[str, tuple[str, str]] = {
    "KIND": ("driver", "kind"),
    "DRIVER_STATE": ("driver", "state_bits"),
    "DRIVER_FLAG": ("driver", "flags"),
    "DRIVER_FLAG2": ("driver", "flags2"),
    "STATUS_FLAG": ("driver_status", "flags"),
    "OBJECT_FLAG": ("object_entry", "flags"),
}
"""Structure and field of the bits whose names begin with a prefix."""

UNSET_IN_KARTLAB = frozenset(
    {
        "DRIVER_FLAG_IN_LOOP",
        "DRIVER_FLAG_FORCE_STOP",
        "DRIVER_FLAG_CANNON",
        "DRIVER_FLAG2_STAR",
        "DRIVER_FLAG2_SHRUNK",
    }
)
"""Bits that Kartlab never sets."""
SET_WITH_A_GHOST = frozenset({"KIND_GHOST"})
"""Bits that Kartlab sets only in a time trial with a ghost."""


def bits(prefix: str) -> dict[str, int]:
    """Return the constants of this module with a prefix, such as one of `BIT_FIELDS`, by name."""
    return {name: value for name, value in globals().items() if name.startswith(f"{prefix}_")}


_LARGEST_SHIFT = 0x20000
"""Largest plausible shift of a release's static data, bytes."""


@dataclass(frozen=True)
class MemoryLayout:
    """Static addresses of one release. The defaults are the addresses of the USA cartridge.

    An attribute ending in ``_pointer`` is the address of a pointer to the structure; the other
    attributes are addresses of the structure itself.

    Attributes:
        region: name of the release, a value of `cartridge.REGIONS`.
        shift: bytes added to every address of the USA cartridge.
        race_status_pointer: pointer to `RACE_STATUS`.
        map_data_pointer: pointer to `MAP_DATA`.
        input_units: `INPUT_UNIT_COUNT` x `INPUT_UNIT`.
        race_config_pointer: pointer to `RACE_CONFIG`.
        scene_pointer: pointer to `SCENE`.
        race_state_pointer: pointer to `RACE_STATE`.
        camera_pointer: pointer to `CAMERA`.
        driver_count: s32, number of drivers.
        drivers_pointer: pointer to the first `DRIVER`.
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
        """Whether the checkpoint fields of `DRIVER_STATUS` are valid; not for Korea.

        `mkds_gym.course.progress` computes them where they are not.
        """
        return self.region != "Korea"

    @classmethod
    def addresses(cls) -> dict[str, int]:
        """Return the static addresses of the USA cartridge by attribute name."""
        usa = cls()
        names = (field.name for field in fields(cls))
        return {name: getattr(usa, name) for name in names if name not in ("region", "shift")}

    @classmethod
    def shifted(cls, shift: int, region: str = "USA") -> MemoryLayout:
        """Return the layout with every static address moved by ``shift`` bytes.

        Raises:
            ValueError: ``region`` is unknown.
        """
        region = choice("region", region, dict.fromkeys(REGIONS.values()))
        moved = {name: address + shift for name, address in cls.addresses().items()}
        return cls(region, shift, **moved)

    @classmethod
    def detect(cls, ram: NDArray[np.uint8], region: str = "USA") -> MemoryLayout:
        """Detect the layout of the running game by its region word.

        The shift comes from RAM, so other revisions and ROM hacks work too. Only shift 0 (USA) is
        certain. Public sources report that most regions move all addresses by the same amount.

        Args:
            ram: main RAM, (0x400000,) uint8, at least one frame after the start of the program.
            region: name of the release, from the cartridge's header.

        Raises:
            NoRaceError: the region word has an implausible value: the program has not started, or
                is not Mario Kart DS.
            ValueError: ``region`` or ``ram`` is invalid.
        """
        word = int(read_struct(ram, REGION_WORD_ADDRESS, WORD)["value"])
        shift = word - REGION_WORD_USA
        if abs(shift) > _LARGEST_SHIFT or shift % 4:
            raise NoRaceError(
                f"region word at {REGION_WORD_ADDRESS:#010x} is {word:#010x}, expected "
                f"{REGION_WORD_USA:#010x} (USA) or a value near it: the program has not started, "
                "or is not Mario Kart DS; step one frame first"
            )
        return cls.shifted(shift, region)
