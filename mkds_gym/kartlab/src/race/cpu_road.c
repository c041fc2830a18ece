#include "race/cpu_road.h"

#include "course/route.h"
#include "game.h"
#include "platform/heap.h"

#define LANE_SHARE FX(0.45)    /* share of the radius by which lines differ */
#define LANE_WIDEST FX(65)
#define EDGE FX(20)            /* distance of a line from the end of the radius */
#define PREVIEW FX(600)        /* largest distance of bends to brake for */
#define BRAKING FX(0.115)      /* speed that braking takes in a frame, at least */
#define DRIFT_RATE FX(0.0262)  /* radians a frame that the tightest drift turns */

static struct route route;
static fx32 *bend_speed;       /* of each enemy point: the speed limit when steering */
static fx32 *drift_speed;      /* the speed limit when drifting */
static fx32 *across_x, *across_z; /* unit vector to the left of the way at each point */
static fx32 *rightmost, *leftmost; /* limits of a line, to the left of the point */

/* Returns the speed at which full lock holds a bend of `radians` over `length`: kart/drive.c steers
 * 0.0316 (1.156 - 0.078 v) radians a frame, and the bend needs v radians / length. */
static fx32 speed_in_bend(fx32 radians, fx32 length) {
    return fx_div(fx_mul(FX(0.0366), length), radians + fx_mul(length, FX(0.247)) / 100);
}

/* Measures the road's width on both sides. The item points lie on the middle of the road when there
 * is one for each enemy point; else only the radius is known. */
static void measure_road(uint32_t i) {
    const map_list *middles = &game.map->lists[MAP_IPOI];
    fx32 middle = 0, half = route_radius(&route, i);
    if (middles->count == route.count) {
        const vec3 *centre = (const vec3 *)((const uint8_t *)middles->entries + i * 0x14);
        vec3 apart = v_sub(*centre, *route_point(&route, i));
        middle = fx_mul(apart.x, across_x[i]) + fx_mul(apart.z, across_z[i]);
        half = *(const fx32 *)(centre + 1);
    }
    fx32 edge = fx_max(half - EDGE, 0);
    rightmost[i] = fx_min(middle - edge, 0);
    leftmost[i] = fx_max(middle + edge, 0);
}

static void measure_points(void) {
    bend_speed = heap_allocate(route.count * 4);
    drift_speed = heap_allocate(route.count * 4);
    across_x = heap_allocate(route.count * 4);
    across_z = heap_allocate(route.count * 4);
    rightmost = heap_allocate(route.count * 4);
    leftmost = heap_allocate(route.count * 4);
    for (uint32_t i = 0; i < route.count; i++) {
        vec3 here = *route_point(&route, i);
        vec3 before = *route_point(&route, route_previous(&route, i));
        vec3 after = *route_point(&route, route_next(&route, i, 0));
        vec3 way = v_unit(cpu_flat(v_sub(after, before)), v_make(0, 0, FX_ONE));
        across_x[i] = way.z;
        across_z[i] = -way.x;
        measure_road(i);
        fx32 length = v_length(cpu_flat(v_sub(after, here))) / 2 + v_length(cpu_flat(v_sub(here, before))) / 2;
        int32_t turn = (int16_t)(cpu_heading(here, after) - cpu_heading(before, here));
        /* angle16 to radians: 2 pi / 65536 */
        fx32 radians = (fx32)((int64_t)fx_abs(turn) * 1608 >> 12);
        length = fx_max(length, FX_ONE);
        bend_speed[i] = speed_in_bend(radians, length);
        fx32 most = fx_div(fx_mul(DRIFT_RATE, length), radians + length / 2500);
        drift_speed[i] = fx_max(most, bend_speed[i]);
    }
}

int cpu_road_init(void) {
    if (!route_init(&route, &game.map->lists[MAP_EPOI], 0x18, &game.map->lists[MAP_EPAT])) {
        return 0;
    }
    measure_points();
    return 1;
}

void cpu_road_find(struct cpu_line *line, vec3 position) {
    uint32_t near = route_nearest(&route, position);
    line->from = (uint16_t)route_previous(&route, near);
    line->to = (uint16_t)near;
    line->shift = 0;
}

/* A point of the kart's own line. */
static vec3 line_point(const struct cpu_line *line, uint32_t point) {
    fx32 spread = fx_min(fx_mul(route_radius(&route, point), LANE_SHARE), LANE_WIDEST);
    fx32 side = fx_clamp(fx_mul(line->lane, spread) + line->shift, rightmost[point], leftmost[point]);
    vec3 p = *route_point(&route, point);
    p.x += fx_mul(across_x[point], side);
    p.z += fx_mul(across_z[point], side);
    return p;
}

void cpu_road_follow(struct cpu_line *line, vec3 position) {
    for (int i = 0; i < 3; i++) {
        vec3 apart = v_sub(position, *route_point(&route, line->to));
        /* The direction of the way at that point: the vector to its left, turned to the right. */
        int64_t beyond = (int64_t)apart.x * -across_z[line->to] + (int64_t)apart.z * across_x[line->to];
        if (beyond < 0) {
            break;
        }
        line->from = line->to;
        line->to = (uint16_t)route_next(&route, line->to, line->fork);
    }
}

vec3 cpu_road_aim(const struct cpu_line *line, vec3 at, fx32 distance) {
    uint32_t point = line->to;
    for (int i = 0; i < 6; i++) {
        vec3 next = line_point(line, point), way = cpu_flat(v_sub(next, at));
        fx32 gap = v_length(way);
        if (gap >= distance && gap > 0) {
            return v_mad(at, way, fx_div(distance, gap));
        }
        distance -= gap;
        at = next;
        point = route_next(&route, point, line->fork);
    }
    return at;
}

/* Compares squares, as the braking distance grows with the square of the speed. */
int cpu_road_too_fast(const struct cpu_line *line, vec3 at, fx32 speed, int drifts, fx32 bend) {
    uint32_t point = line->from;
    fx32 distance = 0;
    int worst = 0;
    for (int i = 0; i < 7 && distance < PREVIEW; i++) {
        fx32 allowed = fx_mul(drifts ? drift_speed[point] : bend_speed[point], bend);
        fx32 over = fx_mul(speed, speed) - fx_mul(allowed, allowed) - 2 * fx_mul(BRAKING, distance);
        if (over > 0) {
            int how = over > fx_mul(speed, FX(0.8)) ? 2 : 1;
            worst = how > worst ? how : worst;
        }
        point = i == 0 ? line->to : route_next(&route, point, line->fork);
        vec3 next = *route_point(&route, point);
        distance += v_length(cpu_flat(v_sub(next, at)));
        at = next;
    }
    return worst;
}
