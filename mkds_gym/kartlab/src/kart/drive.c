/* The driver struct in RAM holds all state: position, velocity, heading, up. Speeds are world units
 * a frame; rates are per frame. */
#include "kart/drive.h"

#include "course/collide.h"
#include "kart/boost.h"
#include "kart/bump.h"
#include "kart/crash.h"
#include "kart/drift.h"
#include "kart/physics.h"
#include "platform/pad.h"

#define FALL_SPEED_LIMIT FX(13.0)
#define ENGINE_BASE FX(0.020)       /* acceleration at top speed */
#define ENGINE_SURPLUS FX(0.090)    /* additional acceleration at rest */
#define BRAKE FX(0.16)
#define COAST FX(0.04)
#define REVERSE_SPEED FX(2.0)
#define REVERSE_ENGINE FX(0.075)
#define SLOPE_SHARE FX(0.35)        /* share of gravity along the slope; engines compensate the rest */
#define STEER_SPEED FX(0.125)       /* 8 frames from straight to full lock */
#define STEER_RATE 330              /* angle16: 1.8 degrees */
#define STEER_SLOW FX(2.0)          /* speed of the full steering rate */
#define STEER_FAST_LOSS FX(0.078)   /* share of the rate lost for each unit of speed above STEER_SLOW */
#define TURN_COST FX(0.06)          /* share of top speed that a full lock costs */
#define AIR_STEER_SHIFT 1           /* half the steering rate in the air */
#define AIR_CONTROL_FROM 12         /* frames in the air before the keys act: not on a bump or a hop */
#define AIR_PUSH FX(0.022)          /* sideways by steering, backwards by DOWN */
#define AIR_DIVE FX(0.043)          /* faster fall by UP */
#define AIR_PITCH FX(0.2)           /* nose up by DOWN, nose down by UP */
#define SLOPE_COST FX(0.6)          /* share of top speed lost uphill, times the sine of the slope */
#define SLOPE_GAIN FX(0.5)           /* share won downhill */
#define SLOPE_LIMIT FX(0.35)
#define DRIFT_COST FX(0.12)           /* share of top speed, for every side */
#define DRIFT_GRIP FX(1.6)           /* factor of the grip in a drift */
#define HARD_LANDING FX(1.6)
#define STEP_LIMIT FX(8.0)          /* longest move between two collision tests */
#define LOST_FRAMES 240             /* frames in the air after which a kart respawns */

static const vec3 world_up = {0, FX_ONE, 0};

typedef struct { fx32 top_speed, grip; } surface;

/* How a collision type changes a kart's speed and grip. */
static surface surface_of(uint32_t type) {
    switch (type) {
    case FLOOR_ICE: return (surface){FX_ONE, FX(0.045)};
    case FLOOR_SNOW: return (surface){FX_ONE, FX(0.08)};
    case FLOOR_WEAK_OFF_ROAD: return (surface){FX(0.75), FX(0.13)};
    case FLOOR_OFF_ROAD: return (surface){FX(0.50), FX(0.12)};
    case FLOOR_HEAVY_OFF_ROAD: return (surface){FX(0.30), FX(0.12)};
    default: return (surface){FX_ONE, FX(0.16)};
    }
}

void kart_place(driver *kart, vec3 position, angle16 heading) {
    contact hit = {0};
    vec3 centre = v_mad(position, world_up, KART_CENTRE);
    kart->up = world_up;
    for (int i = 0; i < 60; i++) { /* let the kart down to the floor */
        collide(&centre, KART_RADIUS, KART_CENTRE, &hit);
        if (hit.on_floor) {
            break;
        }
        centre.y -= FX(0.5);
    }
    kart->state_bits &= ~(uint32_t)(DRIVER_STATE_ON_FLOOR | DRIVER_STATE_TOUCHING_WALL);
    if (hit.on_floor) {
        kart->state_bits |= DRIVER_STATE_ON_FLOOR;
        kart->up = hit.floor_normal;
        kart->floor_type = kart->floor_driver_type = ATTRIBUTE_TYPE(hit.floor_attribute);
        kart->floor_variant = ATTRIBUTE_VARIANT(hit.floor_attribute);
    } else {
        centre = v_mad(position, world_up, KART_CENTRE);
    }
    kart->sphere_radius = KART_RADIUS;
    kart->sphere_centre = kart->previous_sphere_centre = centre;
    kart->position = kart->previous_position = v_mad(centre, kart->up, -KART_CENTRE);
    kart->heading = heading;
    kart->velocity = kart->vertical_velocity = v_make(0, 0, 0);
    kart->turning = 0;
    kart->heading_speed = kart->heading_speed_target = 0;
    kart->air_frames = 0;
    kart->wall_rotation_speed = kart->drift_angle = 0;
    struct kart *own = kart_of(kart);
    kart_drift_end(kart);
    kart_boost_end(kart);
    kart->flags &= ~(uint32_t)DRIVER_FLAG_JUMP_PAD;
    kart->flags2 &= ~(uint32_t)DRIVER_FLAG2_SPIN_OUT;
    own->hop = own->spin_frames = own->stall_frames = own->throttle_frames = 0;
    own->landed = own->bumped = 0;
    own->slipstream = 0;
    surface below = surface_of(kart->floor_type);
    kart->speed_multiplier = below.top_speed;
    kart->grip = below.grip;
    kart->target_max_speed = kart->max_speed = fx_mul(kart_class_speed(), below.top_speed);
    kart_rotation_update(kart);
    kart->wanted_direction = kart->forward;
    kart_motion_update(kart);
}

static void steer(driver *kart, uint32_t keys, int on_floor) {
    fx32 goal = keys & KEY_LEFT ? (keys & KEY_RIGHT ? 0 : FX_ONE) : keys & KEY_RIGHT ? -FX_ONE : 0;
    kart->turning = fx_approach(kart->turning, goal, STEER_SPEED);
    fx32 pace = fx_abs(kart->speed), share;
    if (pace < STEER_SLOW) {
        share = fx_div(pace, STEER_SLOW);
    } else {
        share = FX_ONE - fx_mul(pace - STEER_SLOW, STEER_FAST_LOSS);
    }
    int32_t rate = (fx_mul(kart->turning, share) * STEER_RATE) >> 12;
    if (kart->speed < 0) {
        rate = -rate;
    }
    if (!on_floor) {
        rate >>= AIR_STEER_SHIFT;
    }
    kart->heading_speed_target = (goal * STEER_RATE) >> 12;
    if (kart->state_bits & DRIVER_STATE_DRIFTING) {
        rate = kart->heading_speed_target = kart_drift_turn(kart);
    } else if (kart->drift_angle) {
        rate += kart_drift_recover(kart);
    }
    kart->heading_speed = rate;
    kart->heading = (angle16)(kart->heading + rate + kart->wall_rotation_speed);
    kart->wall_rotation_speed = (int16_t)(kart->wall_rotation_speed * 3 / 4);
}

/* Engine, brakes and grip: turns the velocity towards the way. */
static void drive(driver *kart, uint32_t keys) {
    surface below = surface_of(kart->floor_type);
    int drifting = (kart->state_bits & DRIVER_STATE_DRIFTING) != 0;
    fx32 push = kart_boost_push(kart);
    kart->speed_multiplier = below.top_speed;
    kart->grip = drifting ? fx_mul(DRIFT_GRIP, below.grip) : below.grip;
    kart->target_max_speed = fx_mul(kart_class_speed(), push ? kart_boost_factor(kart) : below.top_speed);
    kart->max_speed = push ? fx_max(kart->max_speed, kart->target_max_speed)
                           : fx_approach(kart->max_speed, kart->target_max_speed, FX(0.10));

    vec3 way = kart_way(kart);
    fx32 speed = v_dot(kart->velocity, way);
    vec3 slide = v_mad(kart->velocity, way, -speed);
    fx32 cost = drifting ? DRIFT_COST : fx_mul(TURN_COST, fx_abs(kart->turning));
    fx32 slope = fx_clamp(kart->forward.y, -SLOPE_LIMIT, SLOPE_LIMIT);
    cost += fx_mul(slope > 0 ? SLOPE_COST : SLOPE_GAIN, slope);
    fx32 limit = fx_mul(kart->max_speed, FX_ONE - cost);
    if (speed > limit) {
        speed = fx_max(limit, speed - fx_max(FX(0.05), fx_mul(speed - limit, FX(0.06))));
    }
    if (keys & KEY_B) {
        if (speed > 0) {
            speed = fx_max(0, speed - BRAKE);
        } else if (!(keys & KEY_A)) {
            speed = fx_max(-fx_mul(REVERSE_SPEED, below.top_speed), speed - REVERSE_ENGINE);
        }
    } else if (push && speed < limit) {
        speed = fx_min(limit, speed + push);
    } else if (keys & KEY_A) {
        if (speed < 0) {
            speed += BRAKE;
        } else if (speed < limit) {
            fx32 left = FX_ONE - fx_div(speed, limit);
            speed = fx_min(limit, speed + ENGINE_BASE + fx_mul(ENGINE_SURPLUS, left));
        }
    } else if (!push) {
        speed = fx_approach(speed, 0, COAST);
    }
    kart->velocity = v_add(v_scale(way, speed), v_scale(slide, FX_ONE - kart->grip));

    if (speed == 0 && !(keys & (KEY_A | KEY_B)) && !v_longer(slide, FX(0.16) - 1)) {
        kart->velocity = v_make(0, 0, 0); /* a parked kart stays on a slope */
    } else {
        fx32 pull = fx_mul(GRAVITY, SLOPE_SHARE);
        kart->velocity.x += fx_mul(pull, kart->up.x);
        kart->velocity.z += fx_mul(pull, kart->up.z);
    }
}

/* In the air: gravity and the driver's small influence. */
static void fly(driver *kart, uint32_t keys) {
    fx32 fall = GRAVITY;
    if (kart->air_frames > AIR_CONTROL_FROM) {
        vec3 flat = kart_flat_heading(kart);
        fx32 aside = fx_mul(kart->turning, AIR_PUSH), along = keys & KEY_DOWN ? -AIR_PUSH : 0;
        if (v_dot(kart->velocity, flat) < AIR_PUSH) {
            along = 0;
        }
        kart->velocity.x += fx_mul(flat.z, aside) + fx_mul(flat.x, along);
        kart->velocity.z += fx_mul(flat.z, along) - fx_mul(flat.x, aside);
        if (keys & KEY_UP) {
            fall += AIR_DIVE;
        }
    }
    kart->velocity.y = fx_max(kart->velocity.y - fall, -FALL_SPEED_LIMIT);
}

static void count_up(uint16_t *frames) {
    if (*frames && *frames < 0xFFFF) {
        ++*frames;
    }
}

/* The up vector that a flying kart settles at: level, or tilted by UP and DOWN. */
static vec3 flying_up(const driver *kart, uint32_t keys) {
    if (kart->air_frames <= AIR_CONTROL_FROM || !(keys & (KEY_UP | KEY_DOWN))) {
        return world_up;
    }
    fx32 lean = keys & KEY_UP ? AIR_PITCH : -AIR_PITCH;
    return v_unit(v_mad(world_up, kart_flat_heading(kart), lean), world_up);
}

void kart_frame(driver *kart, uint32_t keys) {
    kart->flags &= ~(uint32_t)(DRIVER_FLAG_A | DRIVER_FLAG_B | DRIVER_FLAG_LEFT | DRIVER_FLAG_RIGHT);
    kart->flags |= (keys & KEY_A ? DRIVER_FLAG_A : 0) | (keys & KEY_B ? DRIVER_FLAG_B : 0) |
                   (keys & KEY_LEFT ? DRIVER_FLAG_LEFT : 0) | (keys & KEY_RIGHT ? DRIVER_FLAG_RIGHT : 0);
    kart->previous_position = kart->position;
    kart->previous_sphere_centre = kart->sphere_centre;
    if (kart->flags & DRIVER_FLAG_RESPAWNING) {
        kart_motion_update(kart);
        return;
    }
    struct kart *own = kart_of(kart);
    count_up(&own->landed);
    count_up(&own->bumped);
    kart_boost_frame(kart);
    kart_slipstream(kart);
    keys = kart_usable_keys(kart, keys);
    kart_drift_frame(kart, keys);
    int on_floor = (kart->state_bits & DRIVER_STATE_ON_FLOOR) != 0;
    steer(kart, keys, on_floor);
    kart_forward_update(kart);
    kart->wanted_direction = kart_way(kart);
    if (on_floor) {
        drive(kart, keys);
        on_floor = !kart_hop(kart, keys);
    } else {
        kart_hop(kart, keys);
        fly(kart, keys);
    }

    /* On the floor, the sphere is also pressed a little into the floor and follows the road over a
     * crest. Without contact the press is undone, and the kart flies. */
    fx32 stick = on_floor ? FX(0.5) + fx_abs(v_dot(kart->velocity, kart->forward)) / 5 : 0;
    vec3 centre = v_mad(kart->position, kart->up, KART_CENTRE);
    vec3 move = kart->velocity, press = v_scale(kart->up, -stick);
    int steps = v_longer(move, 2 * STEP_LIMIT) ? 3 : v_longer(move, STEP_LIMIT) ? 2 : 1;
    if (steps > 1) {
        move = v_make(move.x / steps, move.y / steps, move.z / steps);
    }
    contact hit = {0};
    kart->state_bits &= ~(uint32_t)DRIVER_STATE_TOUCHING_WALL;
    int landed = 0, out = 0;
    for (int i = 0; i < steps; i++) {
        vec3 before_press = v_add(centre, move);
        centre = v_add(before_press, press);
        collide(&centre, KART_RADIUS, KART_CENTRE, &hit);
        out |= hit.out_of_bounds;
        if (hit.on_wall) {
            kart_wall(kart, hit.wall_normal);
        }
        landed = hit.on_floor;
        if (!landed && stick) {
            centre = v_sub(centre, press);
            stick = 0;
            press = v_make(0, 0, 0);
        }
    }

    if (landed) {
        fx32 into = v_dot(kart->velocity, hit.floor_normal);
        if (into < -HARD_LANDING && !on_floor) {
            own->landed = 1;
        }
        if (on_floor || into < 0) {
            kart->velocity = v_mad(kart->velocity, hit.floor_normal, -into);
        }
        kart->state_bits |= DRIVER_STATE_ON_FLOOR;
        kart->flags &= ~(uint32_t)DRIVER_FLAG_JUMP_PAD;
        kart->air_frames = 0;
        kart->floor_type = kart->floor_driver_type = ATTRIBUTE_TYPE(hit.floor_attribute);
        kart->floor_variant = ATTRIBUTE_VARIANT(hit.floor_attribute);
        kart->vertical_velocity = v_make(0, 0, 0);
    } else {
        kart->state_bits &= ~(uint32_t)DRIVER_STATE_ON_FLOOR;
        kart->air_frames++;
        kart->vertical_velocity = v_make(0, kart->velocity.y, 0);
    }
    /* The kart's up follows the floor, and slowly levels in the air. */
    vec3 goal = landed ? hit.floor_normal : flying_up(kart, keys), lean = v_sub(goal, kart->up);
    if (fx_abs(lean.x) + fx_abs(lean.y) + fx_abs(lean.z) < 24) {
        kart->up = goal;
    } else {
        kart->up = v_unit(v_mad(kart->up, lean, landed ? FX(0.25) : FX(0.04)), goal);
    }
    kart->sphere_centre = centre;
    kart->position = v_mad(centre, kart->up, -KART_CENTRE);
    kart_rotation_update(kart);
    kart_motion_update(kart);

    if (out || kart->air_frames > LOST_FRAMES) {
        kart_respawn(kart);
    }
}
