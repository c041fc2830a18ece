/* A kart aims at a point ahead on its own line. Each kart's line lies to one side of the
 * enemy points by a share of their radius, and bends around obstacles. A kart brakes for the bends
 * ahead. */
#include "race/cpu.h"

#include "kart/crash.h"
#include "kart/kart.h"
#include "platform/pad.h"
#include "race/chance.h"
#include "race/cpu_obstacles.h"
#include "race/cpu_road.h"
#include "race/items.h"
#include "race/racer.h"
#include <string.h>

/* The strengths of opponents: easy, normal, hard. */
static const struct skill {
    fx32 pace;                 /* share of the class's top speed */
    fx32 bend;                 /* share of a bend's speed limit */
    fx32 spread;               /* largest difference in pace between two such drivers */
    uint8_t drifts;            /* 1: drifts to turn; 2: drifts for the boost too */
    uint8_t start, start_spread; /* frames of A at GO, and the spread of that number */
} skills[3] = {
    {FX(0.77), FX(0.84), FX(0.05), 0, 0, 9},
    {FX(0.89), FX(0.94), FX(0.04), 1, 4, 24},
    {FX(1.10), FX(1.02), FX(0.02), 2, 34, 12},
};

#define AIM_NEAR FX(80)        /* distance of the point aimed at */
#define AIM_BY_SPEED FX(11)   /* more distance for each unit of speed */
#define STEER_DEAD 420         /* largest bearing (angle16) without steering */
#define STEER_LEAD 4           /* frames of turning to anticipate */
#define SHIFT_SPEED FX(1.2)    /* units a frame that a line moves around an obstacle */
#define SHELL_RANGE FX(800)    /* along the track, to the kart ahead */
#define DRIFT_SPEED FX(0.7)    /* share of the class's speed; slower karts steer instead */
#define DRIFT_BEGIN 100        /* angle16 a frame that the way must turn to begin a drift */
#define DRIFT_END 40           /* ... and to keep drifting */
#define DRIFT_NEUTRAL 200      /* turn of a drift with no side held, see kart/drift.c */
#define DRIFT_DEAD 30
#define DRIFT_AHEAD FX(275)    /* the bend must go on for this distance */
#define DRIFT_TURN 6500        /* ... and turn the way by this angle16: 36 degrees */
#define TAP_FRAMES 5           /* least frames of a side, to count for the boost */
#define STUCK_SPEED FX(0.8)
#define STUCK_FRAMES 45
#define REVERSE_FRAMES 45
#define GIVE_UP 4              /* attempts to reverse before a respawn */

static struct cpu {
    struct cpu_line line;
    uint16_t stuck, reverse, tries;
    uint16_t item_frames;      /* frames with the item in hand */
    int16_t box;               /* item box that it drives to, -1: none */
    uint8_t tap_frames;        /* frames that the side of a drift is held */
    int8_t tap_side;           /* 1 left, -1 right */
    uint8_t start;             /* frames of A at GO */
    const struct skill *skill;
    fx32 pace, bend;           /* its character in this race */
    uint32_t seed;             /* seed of the character */
    uint8_t lap;               /* of the line's lane and fork */
} cpus[DRIVERS_MAX];
static int ready; /* the map has enemy points */

/* ---- set-up ---- */

static uint32_t part(uint32_t bits, uint32_t shift) { return bits >> shift & 0xFF; } /* 0 to 255 */

static void make_character(uint32_t index) {
    struct cpu *me = &cpus[index];
    const struct skill *skill = &skills[game.choice.strength <= 2 ? game.choice.strength : 1];
    uint32_t bits = chance_race(CHANCE_CPU + index);
    me->skill = skill;
    me->start = (uint8_t)(skill->start + (skill->start_spread * part(bits, 24) >> 8));
    me->seed = game.config->rng_seed;
    me->pace = skill->pace - fx_mul(skill->spread, (fx32)part(bits, 0) << 4);
    me->bend = skill->bend - fx_mul(skill->spread, (fx32)part(bits, 8) << 4);
}

/* Lines lie side by side, each in its own strip, in another strip in every lap. */
static void choose_lane(uint32_t index, uint32_t lap) {
    fx32 strip = 2 * FX_ONE / 7;
    uint32_t bits = chance_race(CHANCE_CPU + index + (lap + 1) * 16);
    cpus[index].lap = (uint8_t)lap;
    cpus[index].line.fork = bits >> 8;
    cpus[index].line.lane =
        (fx32)((index * 3 + lap * 2) % 7) * strip - FX_ONE + (fx32)part(bits, 0) * strip / 256;
}

void cpu_init(void) {
    memset(cpus, 0, sizeof cpus);
    ready = race.count > 1 && !(game.drivers[race.count - 1].kind & (KIND_PLAYER | KIND_GHOST)) && cpu_road_init();
    if (!ready) {
        return;
    }
    for (uint32_t i = 1; i < race.count; i++) {
        make_character(i);
        choose_lane(i, 0);
        cpu_road_find(&cpus[i].line, game.drivers[i].position);
    }
}

/* ---- driving ---- */

/* Returns whether the way keeps turning to that side: a bend to drift through. */
static int is_bend(uint32_t index, int side) {
    const driver *kart = &game.drivers[index];
    const struct cpu_line *line = &cpus[index].line;
    vec3 near = cpu_road_aim(line, kart->position, DRIFT_AHEAD);
    vec3 far = cpu_road_aim(line, kart->position, DRIFT_AHEAD + FX(100));
    int32_t turn = (int16_t)(cpu_heading(near, far) - kart->heading);
    return side * turn > DRIFT_TURN;
}

/* Returns the keys of a running or beginning drift; 0: no drift. `needed` is how fast the way has
 * to turn, angle16 a frame. */
static uint32_t drift_keys(uint32_t index, int32_t needed) {
    struct cpu *me = &cpus[index];
    const struct kart *own = &karts[index];
    driver *kart = &game.drivers[index];
    int side = needed > 0 ? 1 : -1;
    if (!(kart->state_bits & DRIVER_STATE_DRIFTING)) {
        uint32_t hold = KEY_R | (me->tap_side > 0 ? KEY_LEFT : KEY_RIGHT);
        if (own->hop || (own->drift_chance && me->tap_frames)) {
            me->tap_frames = 1; /* in the air, or just landed */
            return hold;
        }
        me->tap_frames = 0;
        if ((own->keys & KEY_R) || side * needed < DRIFT_BEGIN || !(kart->state_bits & DRIVER_STATE_ON_FLOOR) ||
            kart->speed < fx_mul(kart_class_speed(), DRIFT_SPEED) || !is_bend(index, side)) {
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
    /* The inner side turns tighter, the outer side wider. Changes of side charge the boost. */
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

/* Returns how far the line has to move to hit the item box. */
static fx32 box_shift(uint32_t index, vec3 target, fx32 distance) {
    struct cpu *me = &cpus[index];
    if (karts[index].item || karts[index].roulette || !item_box_count) {
        me->box = -1;
        return 0;
    }
    if (((game.state->frame + index) & 7) == 0) {
        me->box = cpu_find_box(index);
    }
    fx32 side;
    if (me->box < 0 || !cpu_box_side(index, me->box, target, distance, &side)) {
        return 0;
    }
    return me->line.shift + side;
}

/* Returns whether to use the item in hand now. */
static int wants_item(uint32_t index, int fast, int32_t bearing) {
    struct cpu *me = &cpus[index];
    const driver *kart = &game.drivers[index];
    if (!karts[index].item || karts[index].roulette) {
        me->item_frames = 0;
        return 0;
    }
    uint32_t held = me->item_frames < 0xFFFF ? ++me->item_frames : me->item_frames;
    uint32_t patience = 20 + (chance_race(CHANCE_CPU + index) >> 24) / 2; /* 20 to 147 frames */
    if (held < patience || !(kart->state_bits & DRIVER_STATE_ON_FLOOR)) {
        return 0;
    }
    int32_t place = kart->place;
    const int8_t *order = game.status->driver_by_place;
    switch (karts[index].item) {
    case ITEM_MUSHROOM:
        return !fast && !(kart->flags & DRIVER_FLAG_BOOSTING) && fx_abs(bearing) < 1200;
    case ITEM_SHELL:
        if (place == 0) {
            return held > 400;
        }
        return racers[(uint32_t)order[place - 1]].distance - racers[index].distance < SHELL_RANGE &&
               fx_abs(bearing) < 2500;
    default:
        if (place + 1 < (int32_t)race.count &&
            racers[index].distance - racers[(uint32_t)order[place + 1]].distance < FX(200)) {
            return 1;
        }
        return held > 300;
    }
}

/* A kart that is stuck reverses; after several attempts it respawns. */
static int backing_out(uint32_t index, int32_t bearing, uint32_t *keys) {
    struct cpu *me = &cpus[index];
    driver *kart = &game.drivers[index];
    if (me->reverse) {
        me->reverse--;
        *keys = KEY_B | (bearing > 0 ? KEY_RIGHT : KEY_LEFT); /* in reverse the nose turns the other way */
        return 1;
    }
    if (kart->speed > STUCK_SPEED || (kart->flags2 & DRIVER_FLAG2_SPIN_OUT)) {
        me->stuck = 0;
        if (kart->speed > FX(3.3)) {
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
    if (!ready) {
        return 0;
    }
    if (me->seed != game.config->rng_seed) {
        make_character(index);
        choose_lane(index, me->lap);
    }
    if (game.status->not_controllable) {
        return game.status->not_controllable <= me->start ? KEY_A : 0;
    }
    if (kart->flags & DRIVER_FLAG_RESPAWNING) {
        me->stuck = me->reverse = 0;
        if (kart->respawn_counter == 1) {
            me->line.to = 0xFFFF; /* find the way again after the respawn */
        }
        return KEY_A;
    }
    if (me->line.to == 0xFFFF) {
        cpu_road_find(&me->line, kart->position);
    }
    uint32_t lap = (uint32_t)fx_max(game.status->drivers[index].lap, 0);
    if (me->lap != lap) {
        choose_lane(index, lap);
    }
    cpu_road_follow(&me->line, kart->position);

    fx32 speed = kart->speed;
    fx32 distance = AIM_NEAR + fx_mul(AIM_BY_SPEED, fx_max(speed, 0));
    vec3 target = cpu_road_aim(&me->line, kart->position, distance);
    fx32 shift = cpu_dodge(index, target, distance);
    me->line.shift = fx_approach(me->line.shift, shift ? shift : box_shift(index, target, distance), SHIFT_SPEED);
    int32_t bearing = (int16_t)(cpu_heading(kart->position, target) - kart->heading);

    uint32_t keys = 0;
    if (backing_out(index, bearing, &keys)) {
        return keys;
    }
    /* The curvature of the arc through the target is 2 sin(bearing) / distance. */
    int32_t off_way = bearing + kart->drift_angle;
    int32_t needed = (int32_t)((int64_t)off_way * fx_div(2 * speed, distance) >> 12);
    uint32_t drift = me->skill->drifts ? drift_keys(index, needed) : 0;
    int32_t turn = bearing - STEER_LEAD * kart->heading_speed;
    keys |= drift ? drift : turn > STEER_DEAD ? KEY_LEFT : turn < -STEER_DEAD ? KEY_RIGHT : 0;
    int fast = cpu_road_too_fast(&me->line, kart->position, speed, me->skill->drifts, me->bend);
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
