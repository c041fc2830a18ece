/* How the CPU drives: along the enemy points of the map, by the same keys as a person.
 *
 * A kart aims at a point of its own line some way ahead.  Each kart's line lies to one side of
 * the enemy points by a share of their radius, and bends round what is in the way.  How fast a bend
 * may be driven is worked out once for every point; a kart brakes for the bends ahead. */
#include "race/items.h"
#include "race/race.h"
#include "course/route.h"
#include <string.h>

/* What makes an opponent easy, normal or hard. */
static const struct skill {
    fx32 pace;                 /* share of the class's top speed that it allows itself */
    fx32 bend;                 /* share of the speed that a bend allows */
    fx32 spread;               /* by how much the pace of two such drivers differs at most */
    uint8_t drifts;            /* 1 to get round, 2 for the boost behind it too */
    uint8_t start, start_spread; /* frames that it holds A at GO, and how many more it may be */
} skills[3] = {
    {FX(0.77), FX(0.84), FX(0.05), 0, 0, 9},
    {FX(0.89), FX(0.94), FX(0.04), 1, 4, 24},
    {FX(1.10), FX(1.02), FX(0.02), 2, 34, 12},
};

#define AIM_NEAR FX(34)        /* the point aimed at lies this far ahead ... */
#define AIM_BY_SPEED FX(7.5)   /* ... and this much further for each unit a frame */
#define STEER_DEAD 420         /* angle16 of bearing that needs no steering */
#define STEER_LEAD 4           /* frames of turning that are still to come */
#define LANE_SHARE FX(0.45)    /* of the radius that lines may differ by */
#define LANE_WIDEST FX(26)
#define EDGE FX(9)             /* a line keeps this far from the end of the radius */
#define SHIFT_SPEED FX(0.7)    /* units a frame that a line moves round something */
#define CLEAR_OF_KART FX(15)
#define CLEAR_OF_BANANA FX(17)
#define LOOK_OUT FX(75)
#define PREVIEW FX(260)        /* bends up to there are braked for */
#define BRAKING FX(0.07)       /* what braking takes off in a frame, reckoned with care */
#define BOX_AHEAD FX(150)      /* item boxes are seen from so far */
#define SHELL_RANGE FX(350)    /* along the track, to the kart ahead */
#define DRIFT_RATE FX(0.037)   /* radians a frame that the tightest drift turns, nearly */
#define DRIFT_SPEED FX(0.7)    /* of the class: slower karts just steer */
#define DRIFT_BEGIN 150        /* angle16 a frame that the way has to turn for a drift to begin ... */
#define DRIFT_END 60           /* ... and to go on */
#define DRIFT_NEUTRAL 291      /* drift.c: so much turns a drift with nothing held */
#define DRIFT_DEAD 45
#define DRIFT_AHEAD FX(110)    /* the bend has to go on for so long ... */
#define DRIFT_TURN 6500        /* ... and to have turned the way by so much there: 36 degrees */
#define TAP_FRAMES 5           /* that a side is held at least, to count for the boost */
#define STUCK_SPEED FX(0.5)
#define STUCK_FRAMES 45
#define REVERSE_FRAMES 45
#define GIVE_UP 4              /* reversing so often without getting on: back to the course */

static struct route route;
static fx32 *bend_speed;       /* of each enemy point: what steering can hold there ... */
static fx32 *drift_speed;      /* ... and drifting */
static fx32 *across_x, *across_z; /* unit vector to the left of the way at each point */
static fx32 *rightmost, *leftmost; /* how far to the left of the point a line may lie */

static struct cpu {
    uint16_t from, to;         /* enemy points: passed last, and the one ahead */
    uint16_t stuck, reverse, tries;
    uint16_t item_frames;      /* for so long it has had the item that it holds */
    int16_t box;               /* item box that it makes for, -1 none */
    uint8_t tap_frames;        /* in a drift: for so long it holds the side it holds */
    int8_t tap_side;           /* 1 left, -1 right */
    uint8_t start;             /* frames that it holds A at GO */
    const struct skill *skill;
    fx32 shift;                /* of its line, to the left, round what is in the way */
    fx32 pace, bend, lane;     /* its character in this race */
    uint32_t seed;             /* that the character was made from */
    uint32_t fork;             /* its choice where the course forks ... */
    uint8_t lap;               /* ... and its lane: of this lap */
} cpus[DRIVERS_MAX];

/* ------------------------------------------------------------------------------------ set-up */

static vec3 flat(vec3 a) { return v_make(a.x, 0, a.z); }

static angle16 heading_to(vec3 from, vec3 to) { return fx_atan2(to.x - from.x, to.z - from.z); }

/* The speed at which a kart with full lock just holds a bend: the steering of kart.c turns
 * 0.0365 (1.09 - 0.075 v) radians a frame, and v / r is needed. */
static fx32 speed_in_bend(fx32 curvature) {
    return fx_div(FX(0.0398), curvature + FX(0.00274));
}

/* How far to either side the road goes.  The item points lie on the middle of the road where
 * there is one for each enemy point; else the radius is all that is known. */
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
        vec3 way = v_unit(flat(v_sub(after, before)), v_make(0, 0, FX_ONE));
        across_x[i] = way.z;
        across_z[i] = -way.x;
        measure_road(i);
        fx32 length = v_length(flat(v_sub(after, here))) / 2 + v_length(flat(v_sub(here, before))) / 2;
        int32_t turn = (int16_t)(heading_to(here, after) - heading_to(before, here));
        /* angle16 to radians: 2 pi / 65536 */
        fx32 radians = (fx32)((int64_t)fx_abs(turn) * 1608 >> 12);
        fx32 curvature = length > 0 ? fx_div(radians, length) : 0;
        bend_speed[i] = speed_in_bend(curvature);
        drift_speed[i] = fx_max(fx_div(DRIFT_RATE, curvature + FX(0.001)), bend_speed[i]);
    }
}

static uint32_t part(uint32_t bits, uint32_t shift) { return bits >> shift & 0xFF; } /* 0 to 255 */

static void make_character(uint32_t index) {
    struct cpu *me = &cpus[index];
    const struct skill *skill = &skills[game.choice.strength <= 2 ? game.choice.strength : 1];
    uint32_t bits = race_character(CHANCE_CPU + index);
    me->skill = skill;
    me->start = (uint8_t)(skill->start + (skill->start_spread * part(bits, 24) >> 8));
    me->seed = game.config->current.rng_seed;
    me->pace = skill->pace - fx_mul(skill->spread, (fx32)part(bits, 0) << 4);
    me->bend = skill->bend - fx_mul(skill->spread, (fx32)part(bits, 8) << 4);
}

/* Lines lie side by side, each somewhere in its own strip, another one in every lap. */
static void choose_lane(uint32_t index, uint32_t lap) {
    fx32 strip = 2 * FX_ONE / 7;
    uint32_t bits = race_character(CHANCE_CPU + index + (lap + 1) * 16);
    cpus[index].lap = (uint8_t)lap;
    cpus[index].fork = bits >> 8;
    cpus[index].lane =
        (fx32)((index * 3 + lap * 2) % 7) * strip - FX_ONE + (fx32)part(bits, 0) * strip / 256;
}

static void find_way(uint32_t index) {
    struct cpu *me = &cpus[index];
    uint32_t near = route_nearest(&route, game.drivers[index].position);
    me->from = (uint16_t)route_previous(&route, near);
    me->to = (uint16_t)near;
    me->shift = 0;
}

void cpu_init(void) {
    memset(cpus, 0, sizeof cpus);
    route.count = 0;
    if (race.count < 2 || game.drivers[1].kind != KIND_CPU) {
        return;
    }
    if (!route_init(&route, &game.map->lists[MAP_EPOI], 0x18, &game.map->lists[MAP_EPAT])) {
        return;
    }
    measure_points();
    for (uint32_t i = 1; i < race.count; i++) {
        make_character(i);
        choose_lane(i, 0);
        find_way(i);
    }
}

/* ----------------------------------------------------------------------------------- driving */

/* A point of the kart's own line. */
static vec3 line_point(const struct cpu *me, uint32_t point) {
    fx32 spread = fx_min(fx_mul(route_radius(&route, point), LANE_SHARE), LANE_WIDEST);
    fx32 side = fx_clamp(fx_mul(me->lane, spread) + me->shift, rightmost[point], leftmost[point]);
    vec3 p = *route_point(&route, point);
    p.x += fx_mul(across_x[point], side);
    p.z += fx_mul(across_z[point], side);
    return p;
}

static void follow_way(uint32_t index, uint32_t choice) {
    struct cpu *me = &cpus[index];
    vec3 p = game.drivers[index].position;
    for (int i = 0; i < 3; i++) {
        vec3 apart = v_sub(p, *route_point(&route, me->to));
        /* Along the way at that point: the vector to its left, turned to the right. */
        int64_t beyond = (int64_t)apart.x * -across_z[me->to] + (int64_t)apart.z * across_x[me->to];
        if (beyond < 0) {
            break;
        }
        me->from = me->to;
        me->to = (uint16_t)route_next(&route, me->to, choice);
    }
}

/* The point on its line that the kart steers for. */
static vec3 aim(uint32_t index, uint32_t choice, fx32 distance) {
    const struct cpu *me = &cpus[index];
    vec3 at = game.drivers[index].position;
    uint32_t point = me->to;
    for (int i = 0; i < 6; i++) {
        vec3 next = line_point(me, point), way = flat(v_sub(next, at));
        fx32 gap = v_length(way);
        if (gap >= distance && gap > 0) {
            return v_mad(at, way, fx_div(distance, gap));
        }
        distance -= gap;
        at = next;
        point = route_next(&route, point, choice);
    }
    return at;
}

/* The fastest that the bends ahead allow now; squares, as what a distance allows is one. */
static int too_fast(uint32_t index, uint32_t choice, fx32 speed) {
    const struct cpu *me = &cpus[index];
    vec3 at = game.drivers[index].position;
    uint32_t point = me->from;
    fx32 distance = 0;
    int worst = 0;
    for (int i = 0; i < 7 && distance < PREVIEW; i++) {
        fx32 allowed = fx_mul(me->skill->drifts ? drift_speed[point] : bend_speed[point], me->bend);
        fx32 over = fx_mul(speed, speed) - fx_mul(allowed, allowed) - 2 * fx_mul(BRAKING, distance);
        if (over > 0) {
            int how = over > fx_mul(speed, FX(0.5)) ? 2 : 1;
            worst = how > worst ? how : worst;
        }
        point = i == 0 ? me->to : route_next(&route, point, choice);
        vec3 next = *route_point(&route, point);
        distance += v_length(flat(v_sub(next, at)));
        at = next;
    }
    return worst;
}

/* Whether the way goes on turning to that side for some distance: a bend to drift through. */
static int is_bend(uint32_t index, uint32_t choice, int side) {
    const driver *kart = &game.drivers[index];
    vec3 near = aim(index, choice, DRIFT_AHEAD), far = aim(index, choice, DRIFT_AHEAD + FX(40));
    int32_t turn = (int16_t)(heading_to(near, far) - kart->heading);
    return side * turn > DRIFT_TURN;
}

/* Hop and drift: the keys for it while there is one, or one should begin; 0 otherwise.
 * `needed` is how fast the way has to turn, angle16 a frame. */
static uint32_t drift_keys(uint32_t index, uint32_t choice, int32_t needed) {
    struct cpu *me = &cpus[index];
    const struct kart *own = &karts[index];
    driver *kart = &game.drivers[index];
    int side = needed > 0 ? 1 : -1;
    if (!(kart->state_bits & DRIVER_DRIFTING)) {
        uint32_t hold = KEY_R | (me->tap_side > 0 ? KEY_LEFT : KEY_RIGHT);
        if (own->hop || (own->drift_chance && me->tap_frames)) {
            me->tap_frames = 1; /* in the air, or just down again */
            return hold;
        }
        me->tap_frames = 0;
        if ((own->keys & KEY_R) || side * needed < DRIFT_BEGIN || !(kart->state_bits & DRIVER_ON_FLOOR) ||
            kart->speed < fx_mul(kart_class_speed(), DRIFT_SPEED) || !is_bend(index, choice, side)) {
            return 0;
        }
        me->tap_side = (int8_t)side;
        me->tap_frames = 1;
        return KEY_R | (side > 0 ? KEY_LEFT : KEY_RIGHT);
    }
    int direction = kart->drift_direction > 0 ? 1 : -1;
    int32_t inwards = direction * needed;
    if (inwards < DRIFT_END) {
        me->tap_frames = 0;
        return 0;
    }
    /* Held to the inside it turns sharper, to the outside wider; the changes charge the boost. */
    int32_t error = inwards - DRIFT_NEUTRAL;
    int charging = me->skill->drifts > 1 && own->spark < 2;
    int32_t dead = charging ? 2 * DRIFT_DEAD : DRIFT_DEAD;
    int wanted = error > dead ? direction : error < -dead ? -direction : 0;
    if (me->tap_frames < 255) {
        me->tap_frames++;
    }
    if (charging && !wanted && me->tap_frames > TAP_FRAMES) {
        wanted = -me->tap_side;
    }
    if (wanted && wanted != me->tap_side && (me->tap_frames > TAP_FRAMES || fx_abs(error) > 3 * DRIFT_DEAD)) {
        me->tap_side = (int8_t)wanted;
        me->tap_frames = 1;
    }
    return KEY_R | (me->tap_side > 0 ? KEY_LEFT : KEY_RIGHT);
}

/* By how much the line has to move to the left to pass what is in the way at `target`. */
static fx32 dodge(const driver *kart, vec3 target, fx32 distance, vec3 obstacle, fx32 clear) {
    vec3 apart = v_sub(obstacle, kart->position);
    if (fx_abs(apart.x) > LOOK_OUT || fx_abs(apart.z) > LOOK_OUT || fx_abs(apart.y) > FX(20)) {
        return 0;
    }
    vec3 forward = kart->forward;
    fx32 ahead = fx_mul(apart.x, forward.x) + fx_mul(apart.z, forward.z);
    if (ahead < FX(4) || ahead > LOOK_OUT) {
        return 0;
    }
    vec3 aimed = v_sub(target, kart->position);
    fx32 left = fx_mul(apart.x, forward.z) - fx_mul(apart.z, forward.x);
    fx32 aimed_left = fx_mul(aimed.x, forward.z) - fx_mul(aimed.z, forward.x);
    fx32 beside = left - fx_div(fx_mul(aimed_left, fx_min(ahead, distance)), distance);
    if (fx_abs(beside) >= clear) {
        return 0;
    }
    return beside > 0 ? beside - clear : beside + clear;
}

static fx32 dodge_all(uint32_t index, vec3 target, fx32 distance) {
    const driver *kart = &game.drivers[index];
    fx32 most = 0;
    for (uint32_t i = 0; i < race.count; i++) {
        const driver *other = &game.drivers[i];
        if (i == index || other->kind == KIND_GHOST || other->speed > kart->speed + FX(0.2)) {
            continue; /* who drives away is not in the way */
        }
        fx32 shift = dodge(kart, target, distance, other->position, CLEAR_OF_KART);
        most = fx_abs(shift) > fx_abs(most) ? shift : most;
    }
    for (uint32_t i = 0; i < ITEM_OBJECTS_MAX; i++) {
        if (item_objects[i].active && item_objects[i].kind == ITEM_BANANA) {
            fx32 shift = dodge(kart, target, distance, item_objects[i].position, CLEAR_OF_BANANA);
            most = fx_abs(shift) > fx_abs(most) ? shift : most;
        }
    }
    return most;
}

/* The nearest box ahead that a kart without an item can still steer to. */
static int16_t find_box(uint32_t index) {
    const driver *kart = &game.drivers[index];
    fx32 nearest = BOX_AHEAD;
    int16_t best = -1;
    for (uint32_t i = 0; i < item_box_count; i++) {
        vec3 apart = v_sub(item_boxes[i].position, kart->position);
        if (item_boxes[i].hidden_frames || fx_abs(apart.x) > BOX_AHEAD || fx_abs(apart.z) > BOX_AHEAD) {
            continue;
        }
        vec3 forward = kart->forward;
        fx32 ahead = fx_mul(apart.x, forward.x) + fx_mul(apart.z, forward.z);
        fx32 left = fx_mul(apart.x, forward.z) - fx_mul(apart.z, forward.x);
        if (ahead > FX(12) && ahead < nearest && fx_abs(left) < ahead / 3 && fx_abs(apart.y) < FX(25)) {
            nearest = ahead;
            best = (int16_t)i;
        }
    }
    return best;
}

/* By how much the line has to move to run through the box. */
static fx32 box_shift(uint32_t index, vec3 target, fx32 distance) {
    struct cpu *me = &cpus[index];
    const driver *kart = &game.drivers[index];
    if (karts[index].item || karts[index].roulette || !item_box_count) {
        me->box = -1;
        return 0;
    }
    if (((game.state->frame + index) & 7) == 0) {
        me->box = find_box(index);
    }
    if (me->box < 0) {
        return 0;
    }
    vec3 forward = kart->forward, apart = v_sub(item_boxes[me->box].position, kart->position);
    vec3 aimed = v_sub(target, kart->position);
    fx32 ahead = fx_mul(apart.x, forward.x) + fx_mul(apart.z, forward.z);
    if (ahead < FX(4)) {
        return 0;
    }
    fx32 left = fx_mul(apart.x, forward.z) - fx_mul(apart.z, forward.x);
    fx32 aimed_left = fx_mul(aimed.x, forward.z) - fx_mul(aimed.z, forward.x);
    return me->shift + left - fx_div(fx_mul(aimed_left, fx_min(ahead, distance)), distance);
}

/* Whether now is the time for the item in hand. */
static int wants_item(uint32_t index, int fast, int32_t bearing) {
    struct cpu *me = &cpus[index];
    const driver *kart = &game.drivers[index];
    if (!karts[index].item || karts[index].roulette) {
        me->item_frames = 0;
        return 0;
    }
    uint32_t held = me->item_frames < 0xFFFF ? ++me->item_frames : me->item_frames;
    uint32_t patience = 20 + (race_character(CHANCE_CPU + index) >> 24) / 2; /* 20 to 147 frames */
    if (held < patience || !(kart->state_bits & DRIVER_ON_FLOOR)) {
        return 0;
    }
    int32_t place = kart->place;
    const int8_t *order = game.status->driver_by_place;
    switch (karts[index].item) {
    case ITEM_MUSHROOM:
        return !fast && !(kart->flags & DRIVER_BOOSTING) && fx_abs(bearing) < 1200;
    case ITEM_SHELL:
        if (place == 0) {
            return held > 400;
        }
        return racers[(uint32_t)order[place - 1]].distance - racers[index].distance < SHELL_RANGE &&
               fx_abs(bearing) < 2500;
    default:
        if (place + 1 < (int32_t)race.count &&
            racers[index].distance - racers[(uint32_t)order[place + 1]].distance < FX(90)) {
            return 1;
        }
        return held > 300;
    }
}

/* Back out when the kart does not get on; when that does not help, be put back. */
static int backing_out(uint32_t index, int32_t bearing, uint32_t *keys) {
    struct cpu *me = &cpus[index];
    driver *kart = &game.drivers[index];
    if (me->reverse) {
        me->reverse--;
        *keys = KEY_B | (bearing > 0 ? KEY_RIGHT : KEY_LEFT); /* in reverse the nose swings round */
        return 1;
    }
    if (kart->speed > STUCK_SPEED || (kart->flags2 & DRIVER_SPIN_OUT)) {
        me->stuck = 0;
        if (kart->speed > FX(2)) {
            me->tries = 0;
        }
        return 0;
    }
    if (++me->stuck < STUCK_FRAMES) {
        return 0;
    }
    me->stuck = 0;
    me->reverse = REVERSE_FRAMES;
    if (++me->tries >= GIVE_UP) {
        me->tries = me->reverse = 0;
        kart_respawn(kart);
    }
    return 0;
}

uint32_t cpu_keys(uint32_t index) {
    struct cpu *me = &cpus[index];
    driver *kart = &game.drivers[index];
    if (!route.count) {
        return 0;
    }
    if (me->seed != game.config->current.rng_seed) {
        make_character(index);
        choose_lane(index, me->lap);
    }
    if (game.status->not_controllable) {
        return game.status->not_controllable <= me->start ? KEY_A : 0;
    }
    if (kart->flags & DRIVER_RESPAWNING) {
        me->stuck = me->reverse = 0;
        if (kart->respawn_counter == 1) {
            me->to = 0xFFFF; /* it will stand somewhere else */
        }
        return KEY_A;
    }
    if (me->to == 0xFFFF) {
        find_way(index);
    }
    uint32_t lap = (uint32_t)fx_max(game.status->drivers[index].lap, 0);
    if (me->lap != lap) {
        choose_lane(index, lap);
    }
    uint32_t choice = me->fork;
    follow_way(index, choice);

    fx32 speed = kart->speed;
    fx32 distance = AIM_NEAR + fx_mul(AIM_BY_SPEED, fx_max(speed, 0));
    vec3 target = aim(index, choice, distance);
    fx32 shift = dodge_all(index, target, distance);
    me->shift = fx_approach(me->shift, shift ? shift : box_shift(index, target, distance), SHIFT_SPEED);
    int32_t bearing = (int16_t)(heading_to(kart->position, target) - kart->heading);

    uint32_t keys = 0;
    if (backing_out(index, bearing, &keys)) {
        return keys;
    }
    /* The arc through the target: its curvature is 2 sin(bearing) / distance. */
    int32_t off_way = bearing + kart->drift_angle;
    int32_t needed = (int32_t)((int64_t)off_way * fx_div(2 * speed, distance) >> 12);
    uint32_t drift = me->skill->drifts ? drift_keys(index, choice, needed) : 0;
    int32_t turn = bearing - STEER_LEAD * kart->heading_speed;
    keys |= drift ? drift : turn > STEER_DEAD ? KEY_LEFT : turn < -STEER_DEAD ? KEY_RIGHT : 0;
    int fast = too_fast(index, choice, speed);
    fx32 top = fx_mul(kart->target_max_speed, me->pace);
    if (fast == 2) {
        keys |= KEY_B;
    } else if (!fast && speed < top) {
        keys |= KEY_A;
    }
    if (wants_item(index, fast, bearing)) {
        keys |= KEY_L;
    }
    return keys;
}
