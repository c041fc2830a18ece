/* Routes round the course: enemy points (EPOI, EPAT) or item points (IPOI, IPAT) of the map. */
#pragma once

#include "platform/memory_layout.h"

struct route {
    const uint8_t *points;       /* each starts with its position and radius */
    uint32_t stride, count;
    const nkm_section *sections;
    uint32_t section_count;
    uint8_t *section_of;
};

/* Returns 0 when the map has no such points, or when its sections do not hold all of them. */
int route_init(struct route *route, const map_list *points, uint32_t stride, const map_list *sections);

static inline const vec3 *route_point(const struct route *route, uint32_t point) {
    return (const vec3 *)(route->points + point * route->stride);
}
static inline fx32 route_radius(const struct route *route, uint32_t point) {
    return *(const fx32 *)(route_point(route, point) + 1);
}
/* Returns the following point; `choice` decides at a fork. */
uint32_t route_next(const struct route *route, uint32_t point, uint32_t choice);
uint32_t route_previous(const struct route *route, uint32_t point);
uint32_t route_nearest(const struct route *route, vec3 position);
