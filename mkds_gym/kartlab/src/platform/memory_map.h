/* Memory map of the cartridge.
 *
 * The structures of a race, in the generated memory_layout.h, have the layout and the addresses of
 * the American Mario Kart DS cartridge, so tools for that game can read this one.
 *
 *   0x02000000  ARM9 program (the first 0x800 bytes are empty, code from 0x02000800)
 *   0x02000B54  region word
 *   0x02175000  fixed addresses of the race, up to 0x0217C000; other builds shift them
 *   0x02180000  heap: drivers, race status, course files, ...  (see heap.c)
 *   0x02340000  course from the host, if any, up to 0x023C0000
 *   0x023CDCD8  race config
 *   0x023FE000  boot block, profile block at 0x023FE040, picture words at 0x023FE060, host block at
 *               0x023FE080
 *   0x023FF000  page shared by both processors (the ARM9 uses the uncached mirror): sound block
 *               (sound_block.h), keys
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "platform/memory_layout.h"

enum { OBJECT_ITEM_BOX = 101 }; /* a map object begins with its s16 id, in the NKM and in RAM */

#define FIXED_START (0x02175000u + LAYOUT_SHIFT)
#define FIXED_END (0x0217C000u + LAYOUT_SHIFT)
#define HEAP_START 0x02180000u
#define HEAP_END 0x023C0000u
#define RACE_CONFIG_ADDRESS 0x023CDCD8u

/* Boot parameters. The host may write them between opening the ROM and the first frame. Without them
 * the program shows its title and menu. */
typedef struct {
    char magic[4];            /* 0x00 "KLBP"; cleared when read */
    uint16_t version, size;   /* 0x04 3, 0x40 */
    uint32_t course;          /* 0x08 0xFFFFFFFF: the default course */
    uint32_t laps;            /* 0x0C 1 to 9; 0: the course's */
    uint32_t engine_class;    /* 0x10 0 50cc, 1 100cc, 2 150cc */
    uint32_t flags;           /* 0x14 BOOT_... below */
    uint32_t answer;          /* 0x18 */
    uint32_t mode;            /* 0x1C 1 time trial, 3 VS */
    uint32_t drivers;         /* 0x20 karts with the player's, 1 to 8; more than 1: VS */
    uint32_t strength;        /* 0x24 of the CPU karts: 0 easy, 1 normal, 2 hard */
    uint32_t seed;            /* 0x28 race config's rng_seed */
    uint32_t grid;            /* 0x2C the player's place on the grid, 0 is the pole; 0xFFFFFFFF: last */
    uint32_t course_data;     /* 0x30 address of a course from the host (.carc or NARC) that replaces
                                 the cartridge's; 0: none */
    uint32_t course_size;     /* 0x34 bytes of the course */
    uint32_t hosted;          /* 0x38 drivers with keys from the host block, 0 to drivers; alone: 1 to 8 */
    uint32_t pad3c;
} boot_block;
_Static_assert(sizeof(boot_block) == 0x40, "boot_block");
_Static_assert(offsetof(boot_block, answer) == 0x18, "boot_block.answer");
_Static_assert(offsetof(boot_block, course_size) == 0x34, "boot_block.course_size");
#define BOOT_BLOCK ((volatile boot_block *)0x027FE000) /* uncached mirror of 0x023FE000 */
#define BOOT_MAGIC 0x50424C4Bu /* "KLBP" */
enum { BOOT_SKIP_COUNTDOWN = 1 << 0, BOOT_MIRROR = 1 << 1, BOOT_ITEMS = 1 << 2, BOOT_SOUND = 1 << 3, BOOT_ALONE = 1 << 4 };
enum {
    BOOT_ACCEPTED = 1, BOOT_NO_COURSE, BOOT_BAD_LAPS, BOOT_BAD_CLASS, BOOT_BAD_VERSION,
    BOOT_BAD_MODE, BOOT_BAD_DRIVERS, BOOT_BAD_COURSE_DATA, BOOT_BAD_HOSTED,
};

/* Host block, in a race with hosted drivers. The host writes it before each frame. */
typedef struct {
    uint32_t magic;           /* 0x00 "KLHB", written at boot */
    uint8_t shown;            /* 0x04 driver in the picture; SHOWN_NOBODY: nothing is drawn */
    uint8_t held, save, load; /* 0x05 bit n: driver n stands still in this frame; is copied to its
                                 state block after this frame; becomes its state block before this
                                 frame. The program clears save and load. Alone only. */
    uint16_t keys[8];         /* 0x08 by driver, as INPUT_UNITS */
    uint32_t state, state_size; /* 0x18 state blocks of the drivers, and the size of one; alone */
    uint32_t statuses;        /* 0x20 each driver's race_status, as in a race of its own; alone */
    uint32_t frames;          /* 0x24 frames done, with everything that the host reads; alone */
} host_block;
_Static_assert(offsetof(host_block, statuses) == 0x20, "host_block.statuses");
#define HOST_BLOCK ((volatile host_block *)0x027FE080)
#define HOST_MAGIC 0x42484C4Bu /* "KLHB" */
enum { SHOWN_NOBODY = 0xFF };

/* The host may put a course here; then the heap ends at the start. */
#define COURSE_DATA_START 0x02340000u
#define COURSE_DATA_END HEAP_END

/* Profile block. After the host writes "KLPR", every frame writes its cost here, in cycles of the
 * 33.5 MHz bus clock (560,190 per frame). Off by default, as nothing else in RAM depends on the
 * emulator's timing. */
typedef struct {
    uint32_t magic;           /* 0x00 "KLPR" */
    uint32_t race, draw, hud; /* 0x04 race; camera and drawing; second screen */
    uint32_t total, worst;    /* 0x10 whole frame; the maximum so far */
} profile_block;
#define PROFILE_BLOCK ((volatile profile_block *)0x027FE040)
#define PROFILE_MAGIC 0x52504C4Bu /* "KLPR" */

/* While profiling: polygons (low half) and vertices (high half) of the last picture, as the geometry
 * engine counts them. The limits of the engine are 2,048 and 6,144. */
#define PICTURE_LOAD (*(volatile uint32_t *)0x027FE064)
/* The same, as the program counts them for its budget. */
#define PICTURE_BOOKED (*(volatile uint32_t *)0x027FE068)

/* EXTKEYIN, written by the ARM7 at the top of each picture. Bits 0, 1 and 6 are X, Y and pen, 0 if held. */
#define SHARED_EXTKEYIN (*(volatile uint16_t *)0x027FFFA8)
/* Keys of KEYINPUT that went down, bits set by the ARM7 as well: the ARM9 may be too busy to see
 * a short press. */
#define SHARED_TAPS (*(volatile uint16_t *)0x027FFFAA)
