/* What the parts of the program share. */
#ifndef KARTLAB_GAME_H
#define KARTLAB_GAME_H

#include "platform/fx.h"
#include "platform/memory_map.h"

enum { /* game.keys, 1 = held */
    KEY_A = 1 << 0, KEY_B = 1 << 1, KEY_SELECT = 1 << 2, KEY_START = 1 << 3, KEY_RIGHT = 1 << 4,
    KEY_LEFT = 1 << 5, KEY_UP = 1 << 6, KEY_DOWN = 1 << 7, KEY_R = 1 << 8, KEY_L = 1 << 9,
    KEY_X = 1 << 10, KEY_Y = 1 << 11,
};

enum { MODE_TIME_TRIAL = 1, MODE_VS = 3 };
enum { DEFAULT_COURSE = 25, DRIVERS_MAX = 8 };

/* A race to be driven: from the boot block, or from the menu. */
typedef struct {
    uint32_t course, laps;                   /* id; 0: the course's own number */
    uint32_t mode, engine_class, mirror;
    uint32_t drivers, strength;              /* karts with the player's; of the CPU's: 0 to 2 */
    uint32_t grid;                           /* the player's place on it, 0 the pole */
    uint32_t items, seed, skip_countdown;
    uint32_t sound;                          /* it is heard */
    const uint8_t *course_data;              /* handed over by the host, null: the cartridge's */
    uint32_t course_size;
} race_choice;

/* boot.c: what the host wants; 0 when it wants nothing, with a default race in `choice`. */
int boot_read(race_choice *choice);
void boot_no_course(void);                   /* answer: that course is not there */

struct game {
    race_choice choice;                      /* the race that is on */
    const uint8_t *kcl, *nkm, *klm;          /* files of the loaded course, null without one */
    uint32_t kcl_size, nkm_size, klm_size;
    const char *course_name;
    uint32_t course_id, laps, engine_class;  /* of this race, boot parameters applied */
    uint16_t keys, pressed;                  /* held; newly held in this frame */
    /* Kept in RAM for all to see, see memory_map.h. */
    driver *drivers;                         /* [0] is the player */
    race_status *status;
    race_state *state;
    race_config *config;
    camera *cam;                             /* draw.c fills it */
    map_data *map;
    uint32_t last_lap_frames;                /* length of the lap driven last, 0 before */
    uint32_t since_lap;                      /* frames since it ended (for the HUD) */
};
extern struct game game;

/* heap.c: zeroed memory, aligned to 32 bytes; given back all at once down to a mark. */
void *heap_allocate(uint32_t size);
uint32_t heap_mark(void);
void heap_release(uint32_t mark);
void heap_end_at(uint32_t end);              /* what lies from there on is not the heap's */

/* card.c: its tables, once; a file of the cartridge, read into the heap; null when there is none. */
void card_init(void);
uint8_t *card_read_file(const char *path, uint32_t *size);

/* archive.c: LZ77 type 0x10, and files of a NARC by name. */
uint8_t *lz_unpack(const uint8_t *data, uint32_t size, uint32_t *unpacked_size);
const uint8_t *narc_file(const uint8_t *narc, uint32_t narc_size, const char *name, uint32_t *size);

/* course.c */
const char *course_folder(uint32_t id);      /* null for an unknown id */
int course_load(const race_choice *choice);  /* 0: no such course, nothing changed */

/* collide.c */
typedef struct {
    vec3 floor_normal, wall_normal;          /* of the deepest contact */
    uint32_t floor_attribute;
    uint8_t on_floor, on_wall, out_of_bounds;
} contact;
void collide(vec3 *centre, fx32 radius, contact *result);
#define ATTRIBUTE_TYPE(a) ((a) >> 8 & 0x1F)
#define ATTRIBUTE_VARIANT(a) ((a) >> 5 & 7)

/* race.c */
int race_start(const race_choice *choice);   /* 0: no such course */
void race_publish(void);                     /* once the pictures are set up too */
int race_published(void);
void race_frame(void);
race_time race_time_of(uint32_t frames);

#endif
