/* What the files of the race share with each other: race.c, checkpoints.c, objects.c, items.c,
 * cpu.c. */
#ifndef KARTLAB_RACE_H
#define KARTLAB_RACE_H

#include "course/course.h"
#include "game.h"
#include "kart/kart.h"

/* Beside driver[i] and its status, private to the race. */
struct racer {
    fx32 distance;             /* from the start line along the track, laps included: the ranking */
    uint16_t wrong_way_frames;
    uint8_t finish_order;      /* 1 for who finished first; 0: still racing */
};
extern struct racer racers[DRIVERS_MAX];

struct race {
    uint32_t count;            /* of drivers, a ghost included */
    uint32_t frames;           /* since GO; goes on when the clock of the status stands still */
    uint32_t finished;         /* drivers that are done */
};
extern struct race race;

/* race.c */
uint32_t race_milliseconds(uint32_t frames);
race_time race_time_split(uint32_t milliseconds);
angle16 race_heading_of(vec3 rotation);    /* of the map: degrees about y */
/* Chance: a number for this frame and this purpose, and one for the whole race.  There is no
 * state, so that a race repeats itself from its seed alone. */
uint32_t race_random(uint32_t what);
uint32_t race_character(uint32_t what);
/* `what` of race_random: the purpose above, the driver below. */
enum { CHANCE_ITEM = 0x100, CHANCE_CPU = 0x200 };

/* checkpoints.c */
void checkpoints_start(uint32_t index);    /* in front of the start line, no lap begun */
void checkpoints_frame(uint32_t index);    /* lines crossed, laps, progress, wrong way */
void checkpoints_respawn(uint32_t index);  /* puts the kart back on the course */
void ranking_update(void);

/* objects.c */
void objects_init(void);
void objects_frame(void);                  /* flags and removed entries, from the things themselves */

/* cpu.c */
void cpu_init(void);
uint32_t cpu_keys(uint32_t index);

#endif
