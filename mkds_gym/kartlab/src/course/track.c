#include "course/track.h"

#include "platform/fx.h"
#include "platform/heap.h"

struct track track;

vec3 track_middle(uint32_t point) {
    const nkm_checkpoint *p = &track.points[point];
    return v_make(p->x1 / 2 + p->x2 / 2, 0, p->z1 / 2 + p->z2 / 2);
}

static uint32_t neighbours(const uint8_t *sections, int last_point, uint16_t *out) {
    uint32_t count = 0;
    for (int i = 0; i < 3; i++) {
        if (sections[i] < track.section_count) {
            const nkm_section *s = &track.sections[sections[i]];
            out[count++] = (uint16_t)(last_point ? s->start + s->length - 1 : s->start);
        }
    }
    return count;
}

uint32_t track_next(uint32_t point, uint16_t *out) {
    const nkm_section *s = &track.sections[track.section_of[point]];
    if (point + 1 < (uint32_t)(s->start + s->length)) {
        out[0] = (uint16_t)(point + 1);
        return 1;
    }
    return neighbours(s->next, 0, out);
}

uint32_t track_previous(uint32_t point, uint16_t *out) {
    const nkm_section *s = &track.sections[track.section_of[point]];
    if (point > s->start) {
        out[0] = (uint16_t)(point - 1);
        return 1;
    }
    return neighbours(s->previous, 1, out);
}

/* Returns the distance at the end of a stretch. The start line also ends a lap. */
static fx32 end_of_way(uint32_t next) { return next == track.start ? track.length : track.from_start[next]; }

/* The main path takes the first of the next sections at every fork. Its length is a lap. */
static void measure_main_way(void) {
    fx32 there = 0;
    uint32_t point = track.start;
    while (track.from_start[point] < 0) {
        uint16_t next[3];
        track.from_start[point] = there;
        there += track.length_of[point];
        if (!track_next(point, next)) {
            break;
        }
        point = next[0];
    }
    track.length = there;
}

/* Measures the paths that leave a measured path, scaled to the distances at which they leave and
 * join it. All branches between two junctions count as equally long. */
static void measure_other_ways(void) {
    for (uint32_t fork = 0; fork < track.count; fork++) {
        uint16_t next[3], after[3];
        uint32_t count = track.from_start[fork] < 0 ? 0 : track_next(fork, next);
        for (uint32_t i = 1; i < count; i++) {
            if (track.from_start[next[i]] >= 0) {
                continue;
            }
            fx32 begin = track.from_start[fork] + track.length_of[fork], unscaled = 0, driven = 0;
            uint32_t point = next[i], steps = 0;
            while (track.from_start[point] < 0 && steps++ < track.count && track_next(point, after)) {
                unscaled += track.length_of[point];
                point = after[0];
            }
            fx32 span = fx_max(end_of_way(point) - begin, 0);
            point = next[i];
            while (track.from_start[point] < 0) {
                fx32 length = track.length_of[point];
                track.from_start[point] = begin + (fx32)((int64_t)span * driven / fx_max(unscaled, 1));
                driven += length;
                track.length_of[point] = (fx32)((int64_t)span * length / fx_max(unscaled, 1));
                if (!track_next(point, after)) {
                    break;
                }
                point = after[0];
            }
        }
    }
}

/* Measures the distances from checkpoint to checkpoint and from the start line to each
 * checkpoint. */
void track_measure(map_data *map) {
    track.points = map->lists[MAP_CPOI].entries;
    track.count = map->lists[MAP_CPOI].count;
    track.sections = map->lists[MAP_CPAT].entries;
    track.section_count = map->lists[MAP_CPAT].count;
    track.from_start = heap_allocate(track.count * 4u);
    track.length_of = heap_allocate(track.count * 4u);
    track.section_of = heap_allocate(track.count * 2u);
    track.start = 0;
    track.last_key = 0;
    track.length = 0;
    for (uint32_t i = 0; i < track.count; i++) {
        track.from_start[i] = -1;
        if (track.points[i].key == 0) {
            track.start = i;
        }
        if (track.points[i].key > track.last_key) {
            track.last_key = track.points[i].key;
        }
    }
    for (uint32_t s = 0; s < track.section_count; s++) {
        for (uint32_t i = 0; i < track.sections[s].length; i++) {
            uint32_t point = track.sections[s].start + i;
            if (point < track.count) {
                track.section_of[point] = (uint16_t)s;
            }
        }
    }
    for (uint32_t i = 0; i < track.count; i++) {
        uint16_t next[3];
        if (track_next(i, next)) {
            vec3 a = track_middle(i), b = track_middle(next[0]);
            track.length_of[i] = v_length(v_sub(b, a));
        }
    }
    measure_main_way();
    for (uint32_t i = 0; i < track.section_count; i++) {
        measure_other_ways();
    }
    for (uint32_t i = 0; i < track.count; i++) {
        track.from_start[i] = fx_max(track.from_start[i], 0);
    }
    track.line_length = heap_allocate(track.count * sizeof(fx32));
    track.way = heap_allocate(track.count * sizeof(vec3));
    for (uint32_t i = 0; i < track.count; i++) {
        const nkm_checkpoint *c = &track.points[i];
        uint16_t next[3];
        track.line_length[i] = v_length(v_make(c->x2 - c->x1, 0, c->z2 - c->z1));
        if (track_next(i, next) == 1) {
            track.way[i] = v_unit(v_sub(track_middle(next[0]), track_middle(i)), v_make(0, 0, 0));
        }
    }
    map->key_checkpoint_count = (uint16_t)(track.last_key + 1);
    map->track_length = track.length;
}
