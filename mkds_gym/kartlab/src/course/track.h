/* The checkpoint graph of the loaded course. */
#pragma once

#include "platform/memory_layout.h"

struct track {
    const nkm_checkpoint *points;
    uint32_t count, start;          /* start: index of the start line */
    const nkm_section *sections;
    uint32_t section_count;
    fx32 *from_start, *length_of;   /* of each checkpoint, along the midpoints of the lines */
    uint16_t *section_of;
    fx32 *line_length;
    vec3 *way;                      /* unit vector to the next checkpoint where only one follows; else 0 */
    fx32 length;                    /* of a lap */
    int16_t last_key;
};
extern struct track track;

/* Fills `track`, and the track's fields in `map`, when a course is loaded. */
void track_measure(map_data *map);

vec3 track_middle(uint32_t point);
/* Finds the checkpoints that may follow or come before a checkpoint: up to 3. Returns their
 * number. */
uint32_t track_next(uint32_t point, uint16_t *out);
uint32_t track_previous(uint32_t point, uint16_t *out);
