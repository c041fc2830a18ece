/* Where the race's structures lie in main RAM, and their layout.
 *
 * The layout and the fixed addresses are those of the American Mario Kart DS cartridge as public
 * sources describe them, so that every tool that reads that game can read this one.  What those
 * sources do not name is padding here and stays zero.
 *
 *   0x02000000  ARM9 program (the first 0x800 bytes are empty, code from 0x02000800)
 *   0x02000B54  region word
 *   0x02175000  the fixed part of the race's memory, to 0x0217C000
 *   0x02180000  heap: drivers, race status, course files, ...  (see heap.c)
 *   0x02340000  a course handed over by the host, if any, to 0x023C0000
 *   0x023CDCD8  race config
 *   0x023FE000  boot block, profile block at 0x023FE040, picture words at 0x023FE060
 *   0x023FF000  page shared by both processors (the ARM9 uses its uncached mirror): the sound
 *               block (sound.h), keys
 */
#ifndef KARTLAB_MEMORY_MAP_H
#define KARTLAB_MEMORY_MAP_H

#include <stddef.h>
#include <stdint.h>

typedef int32_t fx32;  /* signed, 12 fraction bits */
typedef int16_t fx16;  /* signed, 12 fraction bits */
typedef uint16_t angle16; /* 65,536 to a turn; heading = atan2(forward.x, forward.z) */

typedef struct { fx32 x, y, z; } vec3; /* right-handed world, y up */
_Static_assert(sizeof(vec3) == 12, "vec3");

typedef struct { uint16_t milliseconds; uint8_t minutes, seconds; } race_time;
_Static_assert(sizeof(race_time) == 4, "race_time");

#define AT(type, field, offset) \
    _Static_assert(offsetof(type, field) == (offset), #type "." #field " is not at " #offset)

/* ------------------------------------------------------------------------------------ driver */

enum { /* driver.state_bits */
    DRIVER_DRIFTING = 1 << 3,
    DRIVER_ON_FLOOR = 1 << 4,
    DRIVER_TOUCHING_DRIVER = 1 << 5,
    DRIVER_TOUCHING_OBJECT = 1 << 6,
    DRIVER_TOUCHING_WALL = 1 << 7,
    DRIVER_GOING_BACKWARDS = 1 << 8, /* in reverse */
};

enum { /* driver.flags */
    DRIVER_A = 1 << 1,
    DRIVER_B = 1 << 2,
    DRIVER_LEFT = 1 << 3,
    DRIVER_RIGHT = 1 << 4,
    DRIVER_BOOSTING = 1 << 5,
    DRIVER_RESPAWNING = 1 << 6,
    DRIVER_FORCE_STOP = 1 << 13,
    DRIVER_START_BOOST = 1 << 15,
    DRIVER_DRIFT_BOOST = 1 << 19,
    DRIVER_MUSHROOM_BOOST = 1 << 20,
    DRIVER_ON_JUMP_PAD = 1 << 28,
};

enum { DRIVER_SPIN_OUT = 1 << 5 }; /* driver.flags2 */

enum { KIND_PLAYER, KIND_CPU, KIND_GHOST }; /* driver.kind, config_driver.type */

typedef struct {
    uint8_t pad000[0x44];
    uint32_t state_bits;      /* 0x044 */
    uint32_t flags;           /* 0x048 */
    uint32_t flags2;          /* 0x04C */
    vec3 wanted_direction;    /* 0x050 unit */
    vec3 driving_direction;   /* 0x05C unit: where the kart really moves */
    vec3 velocity;            /* 0x068 world units a frame */
    uint16_t id;              /* 0x074 */
    uint16_t pad076[3];
    uint32_t kind;            /* 0x07C 0 player, 1 CPU, 2 ghost */
    vec3 position;            /* 0x080 where the wheels stand */
    vec3 last_position;       /* 0x08C a frame ago */
    uint8_t pad098[0x0C];
    vec3 delta;               /* 0x0A4 position - last_position */
    uint8_t pad0B0[0x1C];
    fx32 target_max_speed;    /* 0x0CC of the class on this surface */
    fx32 max_speed;           /* 0x0D0 follows it */
    uint8_t pad0D4[8];
    fx32 speed_multiplier;    /* 0x0DC of the surface */
    fx32 rotation[4];         /* 0x0E0 quaternion x y z w of `matrix` */
    uint8_t pad0F0[0x30];
    /* 0x120 rows: model x, up, forward, translation.  A rotation (determinant +1), the unit
     * matrix at heading 0; as the world is right-handed the x row, up x forward, points to the
     * kart's left. */
    fx32 matrix[4][3];
    uint8_t pad150[0x68];
    vec3 sphere_centre;       /* 0x1B8 */
    vec3 last_sphere_centre;  /* 0x1C4 */
    fx32 sphere_radius;       /* 0x1D0 */
    uint8_t pad1D4[0x60];
    int16_t pitch;            /* 0x234 angle16, nose up positive */
    angle16 heading;          /* 0x236 */
    int16_t boost_timer;      /* 0x238 */
    uint8_t pad23A[2];
    int16_t drift_boost;      /* 0x23C */
    uint8_t pad23E[2];
    fx32 grip;                /* 0x240 share of the sideways slide lost in a frame */
    vec3 up;                  /* 0x244 */
    uint8_t pad250[0x0C];
    vec3 vertical_velocity;   /* 0x25C */
    uint8_t pad268[0x10];
    vec3 forward;             /* 0x278 */
    uint8_t pad284[0x1C];
    fx32 max_speed_fraction;  /* 0x2A0 speed / max speed of the class */
    fx32 delta_length;        /* 0x2A4 */
    fx32 speed;               /* 0x2A8 along forward, negative in reverse */
    uint8_t pad2AC[0x18];
    fx32 drift_direction;     /* 0x2C4 */
    uint8_t pad2C8[0x0C];
    fx32 turning;             /* 0x2D4 -1 right to 1 left */
    uint8_t pad2D8[0x24];
    int32_t drift_count;      /* 0x2FC */
    uint16_t drift_left;      /* 0x300 */
    uint16_t drift_right;     /* 0x302 */
    uint8_t pad304[8];
    int32_t drift_time_left;  /* 0x30C */
    uint8_t pad310[0x70];
    uint32_t air_frames;      /* 0x380 */
    uint8_t pad384[2];
    int16_t wall_rotation;    /* 0x386 angle16 a frame, off a wall */
    int16_t drift_angle;      /* 0x388 angle16 */
    uint8_t pad38A[0x22];
    uint16_t respawn_counter; /* 0x3AC frames left of the pause */
    uint8_t pad3AE[0x16];
    uint32_t respawn_id;      /* 0x3C4 index of the respawn point (KTPJ) */
    uint8_t pad3C8[0x10];
    int32_t place;            /* 0x3D8 */
    uint32_t floor_driver_type; /* 0x3DC */
    uint32_t floor_type;      /* 0x3E0 collision type */
    int32_t floor_variant;    /* 0x3E4 */
    uint8_t pad3E8[4];
    int32_t heading_speed_target; /* 0x3EC angle16 a frame */
    int32_t heading_speed;    /* 0x3F0 */
    uint8_t pad3F4[0x5A8 - 0x3F4];
} driver;
_Static_assert(sizeof(driver) == 0x5A8, "driver");
AT(driver, state_bits, 0x044);
AT(driver, wanted_direction, 0x050);
AT(driver, velocity, 0x068);
AT(driver, id, 0x074);
AT(driver, kind, 0x07C);
AT(driver, position, 0x080);
AT(driver, last_position, 0x08C);
AT(driver, delta, 0x0A4);
AT(driver, target_max_speed, 0x0CC);
AT(driver, speed_multiplier, 0x0DC);
AT(driver, rotation, 0x0E0);
AT(driver, matrix, 0x120);
AT(driver, sphere_centre, 0x1B8);
AT(driver, sphere_radius, 0x1D0);
AT(driver, pitch, 0x234);
AT(driver, heading, 0x236);
AT(driver, drift_boost, 0x23C);
AT(driver, grip, 0x240);
AT(driver, up, 0x244);
AT(driver, vertical_velocity, 0x25C);
AT(driver, forward, 0x278);
AT(driver, max_speed_fraction, 0x2A0);
AT(driver, delta_length, 0x2A4);
AT(driver, speed, 0x2A8);
AT(driver, drift_direction, 0x2C4);
AT(driver, turning, 0x2D4);
AT(driver, drift_count, 0x2FC);
AT(driver, drift_time_left, 0x30C);
AT(driver, air_frames, 0x380);
AT(driver, wall_rotation, 0x386);
AT(driver, drift_angle, 0x388);
AT(driver, respawn_counter, 0x3AC);
AT(driver, respawn_id, 0x3C4);
AT(driver, place, 0x3D8);
AT(driver, floor_driver_type, 0x3DC);
AT(driver, floor_variant, 0x3E4);
AT(driver, heading_speed_target, 0x3EC);
AT(driver, heading_speed, 0x3F0);

/* ------------------------------------------------------------------------------- race status */

enum { /* driver_status.flags */
    STATUS_PLAYER = 1 << 0,
    STATUS_WRONG_WAY = 1 << 2,
    STATUS_FINISHED = 1 << 6,
};

typedef struct {
    uint32_t state;           /* 0x00 0 not in the race, 1 racing, 2 finished */
    uint32_t lap_frames;      /* 0x04 */
    uint32_t pad08;
    race_time lap_times[5];   /* 0x0C */
    race_time total_time;     /* 0x20 */
    int32_t lap;              /* 0x24 0 before the start line, then 1 to laps */
    uint32_t pad28;
    uint32_t total_milliseconds; /* 0x2C */
    uint16_t flags;           /* 0x30 */
    uint16_t checkpoint;      /* 0x32 the line crossed last */
    int16_t last_key;         /* 0x34 last key checkpoint crossed in order */
    int16_t key;              /* 0x36 last key checkpoint crossed */
    uint16_t section;         /* 0x38 */
    uint16_t highest_lap;     /* 0x3A */
    uint16_t place_and_id;    /* 0x3C place in bits 0-3, driver id in bits 4-7 */
    uint16_t pad3E;
    fx32 checkpoint_progress; /* 0x40 0 to 1 */
    fx32 race_progress;       /* 0x44 */
    fx32 lap_progress;        /* 0x48 */
    uint8_t pad4C[0x8C - 0x4C];
} driver_status;
_Static_assert(sizeof(driver_status) == 0x8C, "driver_status");
AT(driver_status, lap_times, 0x0C);
AT(driver_status, total_time, 0x20);
AT(driver_status, lap, 0x24);
AT(driver_status, total_milliseconds, 0x2C);
AT(driver_status, flags, 0x30);
AT(driver_status, checkpoint, 0x32);
AT(driver_status, section, 0x38);
AT(driver_status, place_and_id, 0x3C);
AT(driver_status, lap_progress, 0x48);

typedef struct {
    uint32_t frame;           /* 0x00 frames since GO, stands still in the end */
    uint32_t clock_running;   /* 0x04 */
    race_time lap_time;       /* 0x08 of the running lap */
    uint8_t pad0C[8];
    driver_status drivers[8]; /* 0x14 */
    int8_t driver_by_place[8]; /* 0x474 */
    uint8_t pad47C[0x74];
    uint32_t not_controllable; /* 0x4F0 frames of the countdown that are left */
    uint8_t pad4F4[0x528 - 0x4F4];
} race_status;
_Static_assert(sizeof(race_status) == 0x528, "race_status");
AT(race_status, drivers, 0x14);
AT(race_status, driver_by_place, 0x474);
AT(race_status, not_controllable, 0x4F0);

typedef struct {
    int16_t state;            /* 0x00 0 before the start, 1 started */
    uint16_t pad02;
    uint32_t frame;           /* 0x04 frames since the scene began */
    int32_t second_counter;   /* 0x08 frame - 1 */
    int32_t modulo_8;         /* 0x0C */
    uint8_t pad10[0x48 - 0x10];
} race_state;
_Static_assert(sizeof(race_state) == 0x48, "race_state");

/* ------------------------------------------------------------------------------- race config */

typedef struct { uint32_t character, kart, type; uint8_t pad0C[0x30 - 0x0C]; } config_driver;
_Static_assert(sizeof(config_driver) == 0x30, "config_driver");

typedef struct {
    uint32_t course;          /* 0x00 */
    uint32_t pad04;
    uint32_t mode;            /* 0x08 1 time trial, 3 VS */
    uint32_t pad0C;
    uint32_t engine_class;    /* 0x10 0 50cc, 1 100cc, 2 150cc */
    uint8_t pad14[0x43];
    int8_t mirror;            /* 0x57 */
    uint8_t pad58[4];
    uint32_t rng_seed;        /* 0x5C */
    uint8_t pad60[2];
    int8_t player;            /* 0x62 */
    uint8_t pad63;
    int8_t laps;              /* 0x64 0: the course's own */
    uint8_t pad65[3];
    config_driver drivers[8]; /* 0x68 */
} race_setup;
_Static_assert(sizeof(race_setup) == 0x1E8, "race_setup");
AT(race_setup, engine_class, 0x10);
AT(race_setup, mirror, 0x57);
AT(race_setup, rng_seed, 0x5C);
AT(race_setup, player, 0x62);
AT(race_setup, laps, 0x64);
AT(race_setup, drivers, 0x68);

typedef struct {
    race_setup current;       /* 0x000 */
    race_setup next;          /* 0x1E8 */
    uint8_t driver_count;     /* 0x3D0 */
    uint8_t pad3D1[3];
} race_config;
_Static_assert(sizeof(race_config) == 0x3D4, "race_config");
AT(race_config, next, 0x1E8);
AT(race_config, driver_count, 0x3D0);

typedef struct { uint8_t pad000[0x10C]; uint32_t state; } scene_state; /* 2 in a race */
AT(scene_state, state, 0x10C);

/* ------------------------------------------------------------------------------------ camera */

typedef struct {
    vec3 up;                  /* 0x00 unit */
    vec3 right;               /* 0x0C unit, to the right of the screen */
    vec3 target;              /* 0x18 */
    vec3 position;            /* 0x24 */
    fx32 matrix[4][3];        /* 0x30 world to view */
    angle16 fov;              /* 0x60 HALF the vertical field of view */
    uint8_t pad62[0x0A];
    fx32 aspect;              /* 0x6C width / height */
    fx32 near;                /* 0x70 */
    fx32 far;                 /* 0x74 */
    uint8_t pad78[0xBC];
    vec3 last_position;       /* 0x134 */
    uint8_t pad140[0x38];
    fx32 elevation;           /* 0x178 to add to position.y */
    uint8_t pad17C[0x270 - 0x17C];
} camera;
_Static_assert(sizeof(camera) == 0x270, "camera");
AT(camera, matrix, 0x30);
AT(camera, fov, 0x60);
AT(camera, aspect, 0x6C);
AT(camera, far, 0x74);
AT(camera, last_position, 0x134);
AT(camera, elevation, 0x178);

/* --------------------------------------------------------------------- course map (NKM) in RAM */

typedef struct { vec3 position, rotation; uint16_t pad18; int16_t index; } nkm_start; /* degrees */
_Static_assert(sizeof(nkm_start) == 0x1C, "nkm_start");

typedef struct {
    vec3 position, rotation;  /* degrees */
    uint16_t enemy_point, item_point;
    int16_t id;
    uint16_t pad1E;
} nkm_respawn;
_Static_assert(sizeof(nkm_respawn) == 0x20, "nkm_respawn");

typedef struct {
    fx32 x1, z1, x2, z2;      /* left and right end, seen by who drives the right way */
    fx32 sine, cosine;
    fx32 distance;            /* to the next midpoint, -1 at a section's end */
    int16_t goto_section, start_section;
    int16_t key;              /* -1: not a key checkpoint; 0: the start line */
    uint8_t respawn, flags;
} nkm_checkpoint;
_Static_assert(sizeof(nkm_checkpoint) == 0x24, "nkm_checkpoint");

typedef struct {
    uint16_t start, length;
    uint8_t next[3], previous[3]; /* sections, 0xFF none */
    uint8_t order, pad0B;
} nkm_section;
_Static_assert(sizeof(nkm_section) == 0x0C, "nkm_section");

typedef struct {
    uint16_t course, laps;
    uint8_t rest[0x24];
} nkm_stage; /* what follows the magic */
_Static_assert(sizeof(nkm_stage) == 0x28, "nkm_stage");

typedef struct { const void *entries; uint16_t count, pad; } map_list;

enum { /* map_data.lists before and behind the stage pointer */
    MAP_OBJI, MAP_PATH, MAP_POIT, /* 0x00 0x08 0x10 */
};
enum {
    MAP_KTPS, MAP_KTPJ, MAP_KTP2, MAP_KTPC, MAP_KTPM, MAP_CPOI, MAP_CPAT, MAP_IPOI, MAP_IPAT,
    MAP_EPOI, MAP_EPAT, MAP_AREA, MAP_CAME, MAP_MEPO, MAP_MEPA, MAP_LISTS,
};

typedef struct {
    map_list first[3];        /* 0x00 OBJI PATH POIT */
    const nkm_stage *stage;   /* 0x18 */
    map_list lists[MAP_LISTS]; /* 0x1C KTPS ... MEPA */
    uint8_t pad94[4];
    uint16_t key_count;       /* 0x98 */
    uint8_t pad9A[0x6A];
    fx32 track_length;        /* 0x104 */
    uint8_t pad108[4];
    uint16_t version;         /* 0x10C */
    uint16_t pad10E;
} map_data;
_Static_assert(sizeof(map_data) == 0x110, "map_data");
AT(map_data, stage, 0x18);
AT(map_data, lists[MAP_KTPS], 0x1C);
AT(map_data, lists[MAP_CPOI], 0x44);
AT(map_data, lists[MAP_CPAT], 0x4C);
AT(map_data, lists[MAP_MEPA], 0x8C);
AT(map_data, key_count, 0x98);
AT(map_data, track_length, 0x104);
AT(map_data, version, 0x10C);

/* --------------------------------------------------------------- course collision (KCL) in RAM */

typedef struct {
    fx32 height;
    uint16_t position, normal, edge[3], attribute;
} kcl_prism;
_Static_assert(sizeof(kcl_prism) == 0x10, "kcl_prism");

typedef struct { fx16 x, y, z; } kcl_normal;
_Static_assert(sizeof(kcl_normal) == 6, "kcl_normal");

typedef struct {
    const vec3 *positions;
    const kcl_normal *normals;
    const kcl_prism *prisms;  /* one before the first: indices count from 1 */
    const uint8_t *octree;
    fx32 thickness;
    vec3 minimum;
    uint32_t x_mask, y_mask, z_mask;
    uint32_t block_shift, x_blocks_shift, xy_blocks_shift;
    fx32 sphere_radius;
} collision_header;
_Static_assert(sizeof(collision_header) == 0x3C, "collision_header");
AT(collision_header, x_mask, 0x20);
AT(collision_header, sphere_radius, 0x38);

/* ----------------------------------------------------------------------------------- objects */

enum { /* object_entry.flags */
    OBJECT_INACTIVE = 0x0200,
    OBJECT_MOVING = 0x1000,
    OBJECT_MAP = 0x2000,
    OBJECT_ITEM = 0x4000,
    OBJECT_DRIVER = 0x8000,
};
enum { OBJECT_ITEM_BOX = 101 }; /* a map object begins with its s16 id, in the NKM and in RAM */
#define OBJECTS_MAX 255

typedef struct {
    uint8_t pad00[0x0C];
    const vec3 *position;     /* 0x0C null when removed */
    fx32 radius;              /* 0x10 */
    uint16_t flags, pad16;    /* 0x14 */
    const void *object;       /* 0x18 */
} object_entry;
_Static_assert(sizeof(object_entry) == 0x1C, "object_entry");

typedef struct {
    uint32_t pad00[2];
    uint16_t count, pad0A;    /* 0x08 */
    uint32_t pad0C;
    object_entry *entries;    /* 0x10 */
} object_table;
AT(object_table, entries, 0x10);

typedef struct {
    uint16_t held, pressed;   /* 0x00 Kartlab's own use: this frame's keys, bit order of game.h */
    uint8_t pad04[0x24];
    const void *recording;    /* 0x28 */
    uint8_t pad2C[0x5C - 0x2C];
} input_unit;
_Static_assert(sizeof(input_unit) == 0x5C, "input_unit");
AT(input_unit, recording, 0x28);

/* --------------------------------------------------------------------------- fixed addresses */

#define FIXED(type, address) (*(type *)(address))

#define RACE_STATUS_POINTER FIXED(race_status *, 0x021755FC)
#define MAP_DATA_POINTER FIXED(map_data *, 0x02175600)
#define INPUT_UNITS ((input_unit *)0x02175608) /* 10 of them */
#define RACE_CONFIG_POINTER FIXED(race_config *, 0x021759A0)
#define SCENE_STATE_POINTER FIXED(scene_state *, 0x021759AC)
#define RACE_STATE_POINTER FIXED(race_state *, 0x0217AA34)
#define CAMERA_POINTER FIXED(camera *, 0x0217AA4C)
#define DRIVER_COUNT FIXED(int32_t, 0x0217ACF4)
#define DRIVERS_POINTER FIXED(driver *, 0x0217ACF8)
#define OBJECT_TABLE FIXED(object_table, 0x0217B588)
#define COLLISION_HEADER FIXED(collision_header, 0x0217B5F4)

#define FIXED_START 0x02175000u
#define FIXED_END 0x0217C000u
#define HEAP_START 0x02180000u
#define HEAP_END 0x023C0000u
#define RACE_CONFIG_ADDRESS 0x023CDCD8u

/* Boot parameters: the host may write them between opening the ROM and the first frame.  Without
 * them the program shows its title and menu. */
typedef struct {
    char magic[4];            /* 0x00 "KLBP"; cleared when read */
    uint16_t version, size;   /* 0x04 2, 0x40 */
    uint32_t course;          /* 0x08 0xFFFFFFFF: the default course */
    uint32_t laps;            /* 0x0C 0: the course's own; 1 to 9 */
    uint32_t engine_class;    /* 0x10 0 50cc, 1 100cc, 2 150cc */
    uint32_t flags;           /* 0x14 BOOT_... below */
    uint32_t answer;          /* 0x18 */
    uint32_t mode;            /* 0x1C 1 time trial, 3 VS */
    uint32_t drivers;         /* 0x20 karts in the race with the player's, 1 to 8; more than 1: VS */
    uint32_t strength;        /* 0x24 of the CPU karts: 0 easy, 1 normal, 2 hard */
    uint32_t seed;            /* 0x28 race config's rng_seed */
    uint32_t grid;            /* 0x2C the player's place on the grid, 0 the pole; 0xFFFFFFFF: last */
    uint32_t course_data;     /* 0x30 address of a course the host has put into RAM (a .carc, or the
                                 NARC within), used instead of the cartridge's; 0: none */
    uint32_t course_size;     /* 0x34 its bytes */
    uint32_t pad38[2];
} boot_block;
_Static_assert(sizeof(boot_block) == 0x40, "boot_block");
AT(boot_block, answer, 0x18);
AT(boot_block, course_size, 0x34);
#define BOOT_BLOCK ((volatile boot_block *)0x027FE000) /* uncached mirror of 0x023FE000 */
#define BOOT_MAGIC 0x50424C4Bu /* "KLBP" */
enum { BOOT_SKIP_COUNTDOWN = 1 << 0, BOOT_MIRROR = 1 << 1, BOOT_ITEMS = 1 << 2, BOOT_SOUND = 1 << 3 };
enum {
    BOOT_ACCEPTED = 1, BOOT_NO_COURSE, BOOT_BAD_LAPS, BOOT_BAD_CLASS, BOOT_BAD_VERSION,
    BOOT_BAD_MODE, BOOT_BAD_DRIVERS, BOOT_BAD_COURSE_DATA,
};

/* Where the host may put a course: the heap ends here when it does. */
#define COURSE_DATA_START 0x02340000u
#define COURSE_DATA_END HEAP_END

/* Profile block: the host writes "KLPR" and from then on every frame leaves its cost here, in
 * cycles of the 33.5 MHz bus clock (560,190 to a frame).  Off by default, as the figures would
 * be the one thing in RAM that depends on the emulator's timing. */
typedef struct {
    uint32_t magic;           /* 0x00 "KLPR" */
    uint32_t race, draw, hud; /* 0x04 race_frame; camera and drawing; second screen */
    uint32_t total, worst;    /* 0x10 whole frame; the largest so far */
} profile_block;
#define PROFILE_BLOCK ((volatile profile_block *)0x027FE040)
#define PROFILE_MAGIC 0x52504C4Bu /* "KLPR" */

/* While profiling, how much the last picture was: polygons in the low half, vertices in the high
 * half, as the geometry engine counted them.  The machine's limits are 2,048 and 6,144. */
#define PICTURE_LOAD (*(volatile uint32_t *)0x027FE064)
/* Likewise, as the program counted while it sent: what its budget is kept by. */
#define PICTURE_BOOKED (*(volatile uint32_t *)0x027FE068)

/* Written by the ARM7 each VBlank: EXTKEYIN, of which bits 0, 1 and 6 are X, Y, pen (0 held). */
#define SHARED_EXTKEYIN (*(volatile uint16_t *)0x027FFFA8)
/* To it the ARM7 adds, each VBlank, the keys of KEYINPUT that went down (1 each): what was pressed
 * while the ARM9 was too busy to look. */
#define SHARED_TAPS (*(volatile uint16_t *)0x027FFFAA)

#endif
