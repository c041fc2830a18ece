/* The current race: its settings, and its structures in RAM. */
#pragma once

#include "platform/memory_layout.h"

enum { MODE_TIME_TRIAL = 1, MODE_VS = 3 };
enum { DEFAULT_COURSE = 25, DRIVERS_MAX = 8 };

/* A race to drive: from the boot block or from the menu. */
typedef struct {
    uint32_t course, laps;     /* course id; laps 0: the course's own number */
    uint32_t mode, engine_class, mirror;
    uint32_t drivers, strength; /* karts including the player's; CPU strength 0 to 2 */
    uint32_t grid;             /* the player's place on the grid, 0 is the pole */
    uint32_t items, seed, skip_countdown;
    uint32_t hosted;           /* drivers [0] to [hosted - 1] have keys from the host block */
    uint32_t alone;            /* 1: each hosted driver has a race of its own (race/alone.h) */
    uint32_t sound;            /* 1: play sounds */
    const uint8_t *course_data; /* a course that the host has put into RAM; null: the cartridge's */
    uint32_t course_size;
} race_choice;

/* A time trial on the default course. */
race_choice race_choice_default(void);

struct game {
    race_choice choice;
    const uint8_t *klm;        /* the loaded course's model; null without one */
    uint32_t course_id, laps, engine_class;
    uint16_t keys, pressed;    /* the player's: held; newly held in this frame */
    uint32_t shown;            /* driver in the picture and on the second screen */
    uint32_t first;            /* number of drivers[0]; 0 unless alone */
    /* Structures of platform/memory_map.h. */
    driver *drivers;           /* [0] is the player */
    race_status *status;
    race_state *state;
    race_config *config;
    camera *cam;
    map_data *map;
    uint32_t last_lap_frames;  /* length of the shown driver's last lap, 0 before the first */
    uint32_t since_lap;        /* frames since that lap ended */
};
extern struct game game;

struct race {
    uint32_t count;            /* of drivers, a ghost included */
    uint32_t frames;           /* since GO; also runs when the status's clock stands still */
    uint32_t finished;         /* drivers that have finished */
};
extern struct race race;
