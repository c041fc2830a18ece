/* A sphere against the course's collision. */
#pragma once

#include "platform/memory_layout.h"

typedef struct {
    vec3 floor_normal, wall_normal; /* of the deepest contact */
    uint32_t floor_attribute;
    uint8_t on_floor, on_wall, out_of_bounds;
} contact;

/* Pushes the sphere out of the course. Its radius may be smaller for floors: it sinks into them. */
void collide(vec3 *centre, fx32 wall_radius, fx32 floor_radius, contact *result);

#define ATTRIBUTE_TYPE(a) ((a) >> 8 & 0x1F)
#define ATTRIBUTE_VARIANT(a) ((a) >> 5 & 7)
