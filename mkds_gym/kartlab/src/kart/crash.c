#include "kart/crash.h"

#include "kart/boost.h"
#include "kart/drift.h"

#define HARD_BUMP FX(0.8)
#define DRIFT_END_BUMP FX(0.35)     /* share of the speed into a wall that ends a drift */
#define WALL_BOUNCE FX(0.35)
#define WALL_FRICTION FX(0.015)     /* share of the speed lost in each frame at a wall */
#define WALL_IMPACT_COST FX(0.30)   /* more is lost by the share of the speed into the wall */
#define WALL_DEFLECTION 420         /* largest angle16 that the nose turns along the wall */
#define SPIN_FRAMES 70
#define SPIN_SPEED FX(0.5)          /* share of the speed that is left */
#define RESPAWN_FRAMES 60

void kart_wall(driver *kart, vec3 normal) {
    kart->state_bits |= DRIVER_STATE_TOUCHING_WALL;
    fx32 into = -v_dot(kart->velocity, normal);
    if (into <= 0) {
        return;
    }
    fx32 pace = v_length(kart->velocity);
    fx32 squarely = pace > FX(0.05) ? fx_min(fx_div(into, pace), FX_ONE) : 0;
    if (into > HARD_BUMP) {
        kart_of(kart)->bumped = 1;
    }
    if (squarely > DRIFT_END_BUMP) {
        kart_drift_end(kart);
    }
    /* A graze keeps contact; a head-on hit bounces back. */
    fx32 bounce = fx_mul(into, fx_mul(WALL_BOUNCE, squarely));
    kart->velocity = v_mad(kart->velocity, normal, into + bounce);
    kart->velocity = v_scale(kart->velocity, FX_ONE - WALL_FRICTION - fx_mul(WALL_IMPACT_COST, squarely));
    /* Turn the nose along the wall, to the side it already points to. */
    fx32 facing = v_dot(kart->forward, normal);
    if (facing < 0) {
        vec3 along = v_mad(kart->forward, normal, -facing);
        fx32 side = fx_mul(kart->forward.z, along.x) - fx_mul(kart->forward.x, along.z);
        int32_t turn = (-facing * WALL_DEFLECTION) >> 12;
        kart->wall_rotation_speed = (int16_t)(side < 0 ? -turn : turn);
    }
}

void kart_spin_out(driver *kart) {
    struct kart *own = kart_of(kart);
    if ((kart->flags & DRIVER_FLAG_RESPAWNING) || own->spin_frames || own->safe_frames) {
        return;
    }
    kart_drift_end(kart);
    kart_boost_end(kart);
    own->spin_frames = SPIN_FRAMES;
    own->slipstream = 0;
    kart->flags2 |= DRIVER_FLAG2_SPIN_OUT;
    kart->velocity = v_scale(kart->velocity, SPIN_SPEED);
    kart_motion_update(kart);
}

void kart_respawn(driver *kart) {
    if (!(kart->flags & DRIVER_FLAG_RESPAWNING)) {
        kart->flags |= DRIVER_FLAG_RESPAWNING;
        kart->respawn_counter = RESPAWN_FRAMES;
        kart->velocity = kart->vertical_velocity = v_make(0, 0, 0);
        kart->turning = 0;
        kart->heading_speed = kart->heading_speed_target = 0;
        kart_drift_end(kart);
        kart_boost_end(kart);
        kart_motion_update(kart);
    }
}
