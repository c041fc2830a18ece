/* The road as the CPU drives it: along the enemy points of the map. */
#pragma once

#include "platform/fx.h"

/* A kart's own line along the enemy points, and how far along it the kart is. */
struct cpu_line {
    uint16_t from, to; /* enemy points: the last one passed, and the one ahead */
    fx32 lane;         /* -1 to 1: to which side of the enemy points the line lies */
    fx32 shift;        /* world units to the left, round what is in the way */
    uint32_t fork;     /* the choice where the course forks */
};

/* Measures the road.  0: the map has no enemy points. */
int cpu_road_init(void);

/* Puts a line's progress at the enemy point that is nearest. */
void cpu_road_find(struct cpu_line *line, vec3 position);
/* Moves a line's progress past the enemy points that lie behind. */
void cpu_road_follow(struct cpu_line *line, vec3 position);

/* The point of the line that lies `distance` ahead. */
vec3 cpu_road_aim(const struct cpu_line *line, vec3 position, fx32 distance);

/* Whether `speed` is too high for the bends ahead: 0 no, 1 lift, 2 brake.  `bend` is the share of
 * the speed limit that the kart allows itself. */
int cpu_road_too_fast(const struct cpu_line *line, vec3 position, fx32 speed, int drifts, fx32 bend);

static inline vec3 cpu_flat(vec3 a) { return v_make(a.x, 0, a.z); }
static inline angle16 cpu_heading(vec3 from, vec3 to) { return fx_atan2(to.x - from.x, to.z - from.z); }
