#include "kart/bump.h"

#include "course/collide.h"
#include "kart/boost.h"
#include "kart/crash.h"
#include "kart/physics.h"

#define REACH (2 * KART_RADIUS)
#define BOUNCE FX(0.35)
#define KICK FX(0.5)                /* least push of a first touch, for each kart */
#define PUSH_LIMIT FX(2.0)          /* in a frame; the rest follows in the next frame */
#define TOW_NEAR FX(16.0)           /* nearest end of the tow behind a kart */
#define TOW_FAR FX(140.0)            /* farthest end of the tow */
#define TOW_WIDTH FX(14.0)
#define TOW_SPEED FX(0.75)          /* least share of the class's speed, for both karts */
#define TOW_GAIN 3                  /* in a frame: 85 frames to the boost */
#define TOW_LOSS 6
#define TOW_FRAMES 60

static int is_solid(const driver *kart) {
    return !(kart->kind & KIND_GHOST) && !(kart->flags & DRIVER_FLAG_RESPAWNING);
}

/* Both karts have the same mass: they exchange speed along the line between them. */
static void bump(driver *a, driver *b, vec3 normal, int first) {
    fx32 closing = v_dot(v_sub(a->velocity, b->velocity), normal);
    fx32 push = closing > 0 ? fx_mul(closing, FX_ONE + BOUNCE) / 2 : 0;
    if (first) {
        push = fx_max(push, KICK);
        kart_of(a)->bumped = kart_of(b)->bumped = 1;
    }
    a->velocity = v_mad(a->velocity, normal, -push);
    b->velocity = v_mad(b->velocity, normal, push);
}

/* Moves a kart aside, but not through the course. */
static void shift(driver *kart, vec3 move) {
    contact hit = {0};
    vec3 centre = v_add(kart->sphere_centre, move);
    collide(&centre, KART_RADIUS, KART_CENTRE, &hit);
    if (hit.on_wall) {
        kart_wall(kart, hit.wall_normal);
    }
    kart->sphere_centre = centre;
    kart->position = v_mad(centre, kart->up, -KART_CENTRE);
}

void karts_touch(void) {
    if (race.count == 1) {
        game.drivers[0].state_bits &= ~(uint32_t)DRIVER_STATE_TOUCHING_DRIVER;
        return;
    }
    uint8_t touching[DRIVERS_MAX] = {0};
    vec3 moves[DRIVERS_MAX] = {0};
    int count = (int)race.count;
    for (int i = 0; i < count; i++) {
        game.drivers[i].state_bits &= ~(uint32_t)DRIVER_STATE_TOUCHING_DRIVER;
    }
    for (int i = 0; i < count; i++) {
        driver *a = &game.drivers[i];
        if (!is_solid(a)) {
            continue;
        }
        for (int j = i + 1; j < count; j++) {
            driver *b = &game.drivers[j];
            vec3 apart = v_sub(b->sphere_centre, a->sphere_centre);
            if (fx_abs(apart.x) >= REACH || fx_abs(apart.z) >= REACH || fx_abs(apart.y) >= REACH ||
                !is_solid(b)) {
                continue;
            }
            fx32 distance = v_length(apart);
            if (distance >= REACH) {
                continue;
            }
            apart.y = 0; /* push aside, never up or down */
            vec3 normal = v_unit(apart, v_make(a->forward.z, 0, -a->forward.x));
            bump(a, b, normal, !(kart_of(a)->touching >> j & 1));
            fx32 push = fx_min((REACH - distance) / 2, PUSH_LIMIT);
            moves[i] = v_mad(moves[i], normal, -push);
            moves[j] = v_mad(moves[j], normal, push);
            touching[i] |= (uint8_t)(1u << j);
            touching[j] |= (uint8_t)(1u << i);
        }
    }
    for (int i = 0; i < count; i++) {
        driver *kart = &game.drivers[i];
        kart_of(kart)->touching = touching[i];
        if (touching[i]) {
            kart->state_bits |= DRIVER_STATE_TOUCHING_DRIVER;
            shift(kart, moves[i]);
            kart_rotation_update(kart);
            kart_motion_update(kart);
        }
    }
}

static int tows(const driver *ahead, const driver *kart) {
    vec3 apart = v_sub(ahead->position, kart->position);
    if (fx_abs(apart.x) > TOW_FAR || fx_abs(apart.z) > TOW_FAR || fx_abs(apart.y) > TOW_WIDTH) {
        return 0;
    }
    fx32 along = v_dot(apart, kart->forward);
    if (along < TOW_NEAR || along > TOW_FAR || !is_solid(ahead)) {
        return 0;
    }
    vec3 aside = v_mad(apart, kart->forward, -along);
    return v_length(aside) < TOW_WIDTH &&
           v_dot(ahead->velocity, kart->forward) > fx_mul(kart_class_speed(), TOW_SPEED);
}

void kart_slipstream(driver *kart) {
    struct kart *own = kart_of(kart);
    int towed = 0;
    if (!(kart->kind & KIND_GHOST) && !own->boost &&
        kart->speed > fx_mul(kart_class_speed(), TOW_SPEED)) {
        for (int i = 0; i < (int)race.count && !towed; i++) {
            towed = &game.drivers[i] != kart && tows(&game.drivers[i], kart);
        }
    }
    if (!towed) {
        own->slipstream = (uint8_t)(own->slipstream > TOW_LOSS ? own->slipstream - TOW_LOSS : 0);
    } else if (own->slipstream + TOW_GAIN < 255) {
        own->slipstream = (uint8_t)(own->slipstream + TOW_GAIN);
    } else {
        own->slipstream = 0;
        kart_boost(kart, BOOST_SLIPSTREAM, TOW_FRAMES);
    }
}
