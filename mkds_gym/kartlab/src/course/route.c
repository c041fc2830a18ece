#include "course/route.h"

#include "platform/fx.h"
#include "platform/heap.h"

int route_init(struct route *route, const map_list *points, uint32_t stride, const map_list *sections) {
    *route = (struct route){
        .points = points->entries, .stride = stride, .count = points->count,
        .sections = sections->entries, .section_count = sections->count,
    };
    if (!route->count || !route->section_count) {
        route->count = 0;
        return 0;
    }
    route->section_of = heap_allocate(route->count);
    uint32_t held = 0;
    for (uint32_t s = 0; s < route->section_count; s++) {
        const nkm_section *section = &route->sections[s];
        for (uint32_t i = 0; i < section->length && section->start + i < route->count; i++) {
            route->section_of[section->start + i] = (uint8_t)s;
            held++;
        }
    }
    if (held < route->count) {
        route->count = 0;
    }
    return held != 0 && route->count != 0;
}

uint32_t route_next(const struct route *route, uint32_t point, uint32_t choice) {
    const nkm_section *s = &route->sections[route->section_of[point]];
    if (point + 1 < (uint32_t)(s->start + s->length)) {
        return point + 1;
    }
    uint32_t count = 0, section[3];
    for (int i = 0; i < 3; i++) {
        if (s->next[i] < route->section_count) {
            section[count++] = s->next[i];
        }
    }
    return count ? route->sections[section[count > 1 ? choice % count : 0]].start : s->start;
}

uint32_t route_previous(const struct route *route, uint32_t point) {
    const nkm_section *s = &route->sections[route->section_of[point]];
    if (point > s->start) {
        return point - 1;
    }
    for (int i = 0; i < 3; i++) {
        if (s->previous[i] < route->section_count) {
            const nkm_section *before = &route->sections[s->previous[i]];
            return before->start + before->length - 1u;
        }
    }
    return point;
}

uint32_t route_nearest(const struct route *route, vec3 position) {
    uint32_t best = 0;
    fx32 least = 0x7FFFFFFF;
    for (uint32_t i = 0; i < route->count; i++) {
        vec3 apart = v_sub(*route_point(route, i), position);
        /* Height counts more: a road may cross over another road. */
        fx32 far = fx_abs(apart.x) + fx_abs(apart.z) + 3 * fx_abs(apart.y);
        if (far < least) {
            least = far;
            best = i;
        }
    }
    return best;
}
