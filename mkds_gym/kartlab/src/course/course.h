/* The checkpoint graph of the loaded course. */
#ifndef KARTLAB_COURSE_H
#define KARTLAB_COURSE_H

#include "game.h"

struct track {
    const nkm_checkpoint *points;
    uint32_t count, start;          /* start: the start line */
    const nkm_section *sections;
    uint32_t section_count;
    fx32 *from_start, *length_of;   /* of each checkpoint, along the midpoints */
    uint16_t *section_of;
    fx32 length;                    /* of a lap */
    int16_t last_key;
};
extern struct track track;

vec3 track_middle(uint32_t point);
/* Checkpoints that may follow / come before one; up to 3, returns how many. */
uint32_t track_next(uint32_t point, uint16_t *out);
uint32_t track_previous(uint32_t point, uint16_t *out);

/* mirror.c: left and right of a loaded file exchanged, in place. */
void mirror_collision(uint8_t *kcl, uint32_t size);
void mirror_map(uint8_t *nkm, uint32_t size);

#endif
