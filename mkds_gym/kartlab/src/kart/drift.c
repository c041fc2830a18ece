/* R hops. A kart that lands with R and a side held drifts to that side: the nose points into the
 * bend by `drift_angle`, and the kart keeps its speed. The side of the drift tightens the bend, the
 * other side widens it. One press of each side makes a spark, two sparks a charge, and releasing R
 * with a charge gives a boost. */
#include "kart/drift.h"

#include "kart/boost.h"
#include "platform/pad.h"

#define HOP_SPEED FX(0.65)          /* upwards; the kart lands 11 frames later */
#define HOP_LIMIT 40                /* a hop that takes more frames is a fall */
#define DRIFT_CHANCE 12             /* frames after a hop in which a side can begin a drift */
#define BEGIN_SPEED FX(0.5)         /* share of the class's speed, to begin a drift */
#define END_SPEED FX(0.4)           /* share of the class's speed, to keep drifting */
#define AIR_LIMIT 20                /* a drift ends after more frames in the air */
#define OFF_ROAD_LIMIT 12           /* a drift ends after more frames off the road */
#define TURN FX(226)                /* angle16 a frame with no side held: 1.2 degrees */
#define TURN_SIDE FX(0.62)          /* share of TURN that a side adds or takes */
#define TURN_FAST_LOSS FX(0.0335)   /* share of TURN lost for each unit of speed */
#define ANGLE 3095                  /* nose against the way with no side held: 17 degrees */
#define ANGLE_SIDE 910              /* what a side adds or takes: 5 degrees */
#define ANGLE_STEP 200              /* in a frame */
#define TAP_FRAMES 4                /* a side counts after this many frames */
#define TAP_TIME 45                 /* the other side must follow within these frames */
#define SPARKS 2
#define MINI_TURBO_FRAMES 70

static int side_of(uint32_t keys) {
    return ((keys & KEY_LEFT) != 0) - ((keys & KEY_RIGHT) != 0);
}

static int direction_of(const driver *kart) {
    return (kart->drift_direction > 0) - (kart->drift_direction < 0);
}

vec3 kart_way(const driver *kart) {
    if (!kart->drift_angle) {
        return kart->forward;
    }
    angle16 back = (angle16)-kart->drift_angle;
    vec3 left = v_cross(kart->up, kart->forward);
    return v_mad(v_scale(kart->forward, fx_cos(back)), left, fx_sin(back));
}

int kart_hop(driver *kart, uint32_t keys) {
    struct kart *own = kart_of(kart);
    int pressed = (keys & KEY_R) && !own->hop_held;
    own->hop_held = (keys & KEY_R) != 0;
    if (own->hop && ++own->hop > HOP_LIMIT) {
        own->hop = 0;
    }
    if (!pressed || !(kart->state_bits & DRIVER_STATE_ON_FLOOR) || own->spin_frames) {
        return 0;
    }
    own->hop = 1;
    own->drift_chance = 0;
    kart->velocity = v_mad(kart->velocity, kart->up, HOP_SPEED);
    kart->state_bits &= ~(uint32_t)DRIVER_STATE_ON_FLOOR;
    return 1;
}

static void begin(driver *kart, int side) {
    struct kart *own = kart_of(kart);
    kart->state_bits |= DRIVER_STATE_DRIFTING;
    kart->drift_direction = side * FX_ONE;
    kart->drift_count = kart->drift_time_left = 0;
    kart->drift_left_count = kart->drift_right_count = 0;
    own->drift_chance = own->spark = own->tap_frames = own->off_road_frames = 0;
    own->tap_side = own->counted_side = (int8_t)side;
}

void kart_drift_end(driver *kart) {
    struct kart *own = kart_of(kart);
    kart->state_bits &= ~(uint32_t)DRIVER_STATE_DRIFTING;
    kart->drift_direction = 0;
    kart->drift_count = kart->drift_time_left = 0;
    kart->drift_left_count = kart->drift_right_count = 0;
    own->spark = own->drift_chance = 0;
}

/* Counts the sides, each held for TAP_FRAMES, one after the other. */
static void charge(driver *kart, int side) {
    struct kart *own = kart_of(kart);
    if (kart->drift_time_left && --kart->drift_time_left == 0) {
        kart->drift_left_count = kart->drift_right_count = own->spark; /* half a spark expires */
    }
    if (side != own->tap_side) {
        own->tap_side = (int8_t)side;
        own->tap_frames = 0;
    }
    if (own->tap_frames < 255) {
        own->tap_frames++;
    }
    if (!side || side == own->counted_side || own->tap_frames < TAP_FRAMES) {
        return;
    }
    own->counted_side = (int8_t)side;
    kart->drift_count++;
    kart->drift_time_left = TAP_TIME;
    uint16_t *count = side > 0 ? &kart->drift_left_count : &kart->drift_right_count;
    if (*count < SPARKS) {
        ++*count;
    }
    if (kart->drift_left_count > own->spark && kart->drift_right_count > own->spark) {
        own->spark++;
    }
}

void kart_drift_frame(driver *kart, uint32_t keys) {
    struct kart *own = kart_of(kart);
    int on_floor = (kart->state_bits & DRIVER_STATE_ON_FLOOR) != 0, side = side_of(keys);
    fx32 top = kart_class_speed();
    if (on_floor && own->hop > 1) { /* landed */
        own->hop = 0;
        own->drift_chance = DRIFT_CHANCE;
    }
    if (!(kart->state_bits & DRIVER_STATE_DRIFTING)) {
        if (!own->drift_chance || !on_floor) {
            return;
        }
        own->drift_chance--;
        if (!(keys & KEY_R)) {
            own->drift_chance = 0;
        } else if (side && kart->speed > fx_mul(top, BEGIN_SPEED)) {
            begin(kart, side);
        }
        return;
    }
    int off_road = on_floor && !own->boost && floor_is_off_road(kart->floor_type);
    own->off_road_frames = (uint8_t)(off_road ? own->off_road_frames + 1 : 0);
    if (!(keys & KEY_R)) {
        int charged = own->spark == SPARKS;
        kart_drift_end(kart);
        if (charged) {
            kart_boost(kart, BOOST_DRIFT, MINI_TURBO_FRAMES);
        }
    } else if (!v_longer(kart->velocity, fx_mul(top, END_SPEED) - 1) || kart->air_frames > AIR_LIMIT ||
               own->off_road_frames > OFF_ROAD_LIMIT) {
        kart_drift_end(kart);
    } else {
        charge(kart, side);
    }
}

int32_t kart_drift_turn(driver *kart) {
    int direction = direction_of(kart);
    fx32 inwards = direction * kart->turning;
    int32_t goal = direction * (ANGLE + ((inwards * ANGLE_SIDE) >> 12));
    int32_t angle = fx_approach(kart->drift_angle, goal, ANGLE_STEP);
    int32_t turn = angle - kart->drift_angle; /* the nose turns in, the way does not */
    kart->drift_angle = (int16_t)angle;
    fx32 pace = fx_min(v_length(kart->velocity), FX(13));
    fx32 rate = fx_mul(TURN, FX_ONE - fx_mul(TURN_FAST_LOSS, pace));
    return turn + direction * (fx_mul(rate, FX_ONE + fx_mul(inwards, TURN_SIDE)) >> 12);
}

/* After a drift, nose and way come together again, each by half. */
int32_t kart_drift_recover(driver *kart) {
    int32_t step = kart->drift_angle / 6;
    if (!step) {
        step = kart->drift_angle;
    }
    kart->drift_angle = (int16_t)(kart->drift_angle - step);
    return -step / 2;
}
