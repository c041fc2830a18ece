/* Enemy points (EPOI, EPAT) and item points (IPOI, IPAT) of the map: ways round the course. */
#ifndef KARTLAB_ROUTE_H
#define KARTLAB_ROUTE_H

#include "platform/memory_map.h"

struct route {
    const uint8_t *points;       /* each begins with position and radius */
    uint32_t stride, count;
    const nkm_section *sections;
    uint32_t section_count;
    uint8_t *section_of;
};

/* False when the map has no such points, or sections that do not hold them all. */
int route_init(struct route *route, const map_list *points, uint32_t stride, const map_list *sections);

static inline const vec3 *route_point(const struct route *route, uint32_t point) {
    return (const vec3 *)(route->points + point * route->stride);
}
static inline fx32 route_radius(const struct route *route, uint32_t point) {
    return *(const fx32 *)(route_point(route, point) + 1);
}
/* The point behind one; where the way forks, `choice` decides. */
uint32_t route_next(const struct route *route, uint32_t point, uint32_t choice);
uint32_t route_previous(const struct route *route, uint32_t point);
uint32_t route_nearest(const struct route *route, vec3 position);

#endif
