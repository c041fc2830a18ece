#include "kart/boost.h"

#include "kart/physics.h"
#include "platform/pad.h"

#define PAD_FRAMES 60
#define JUMP_LEAST FX(0.5)          /* slower karts do not jump */
#define START_TOO_LATE 10           /* A held for more frames at GO gives a boost */
#define START_TOO_EARLY 48          /* A held for more frames at GO spins the wheels */
#define START_BOOST_FRAMES 36       /* plus the frames that A was held */
#define STALL_FRAMES 30
#define SAFE_FRAMES 60

static const struct { fx32 factor, push; uint32_t flag; } kinds[] = {
    [BOOST_NONE] = {FX_ONE, 0, 0},
    [BOOST_START] = {FX(1.22), FX(0.21), DRIVER_FLAG_START_BOOST},
    [BOOST_DRIFT] = {FX(1.20), FX(0.17), DRIVER_FLAG_DRIFT_BOOST},
    [BOOST_MUSHROOM] = {FX(1.35), FX(0.30), DRIVER_FLAG_MUSHROOM_BOOST},
    [BOOST_PAD] = {FX(1.35), FX(0.30), 0},
    [BOOST_SLIPSTREAM] = {FX(1.12), FX(0.10), 0},
};

#define BOOST_FLAGS \
    ((uint32_t)(DRIVER_FLAG_BOOSTING | DRIVER_FLAG_START_BOOST | DRIVER_FLAG_DRIFT_BOOST | DRIVER_FLAG_MUSHROOM_BOOST))

fx32 kart_boost_factor(const driver *kart) { return kinds[kart_of(kart)->boost].factor; }
fx32 kart_boost_push(const driver *kart) { return kinds[kart_of(kart)->boost].push; }

void kart_boost_end(driver *kart) {
    kart_of(kart)->boost = BOOST_NONE;
    kart->boost_timer = kart->drift_boost_counter = 0;
    kart->flags &= ~BOOST_FLAGS;
}

/* A boost replaces a weaker boost and has no effect during a stronger boost. */
void kart_boost(driver *kart, enum boost boost, int frames) {
    struct kart *own = kart_of(kart);
    if ((kart->flags & DRIVER_FLAG_RESPAWNING) || own->spin_frames || boost == BOOST_NONE) {
        return;
    }
    if (kinds[boost].factor < kinds[own->boost].factor) {
        return;
    }
    if (own->boost == boost && kart->boost_timer > frames) {
        return;
    }
    kart_boost_end(kart);
    own->boost = (uint8_t)boost;
    own->stall_frames = 0;
    kart->boost_timer = (int16_t)frames;
    kart->drift_boost_counter = (int16_t)(boost == BOOST_DRIFT ? frames : 0);
    kart->flags |= DRIVER_FLAG_BOOSTING | kinds[boost].flag;
}

void kart_countdown(driver *kart, uint32_t keys) {
    struct kart *own = kart_of(kart);
    if (!(keys & KEY_A)) {
        own->throttle_frames = 0;
    } else if (own->throttle_frames < 0xFFFF) {
        own->throttle_frames++;
    }
}

/* At GO: a longer A gives a longer boost; an A too long stalls the kart. */
static void start(driver *kart) {
    struct kart *own = kart_of(kart);
    uint32_t held = own->throttle_frames;
    own->throttle_frames = 0;
    if (held > START_TOO_EARLY) {
        own->stall_frames = STALL_FRAMES;
    } else if (held > START_TOO_LATE) {
        kart_boost(kart, BOOST_START, START_BOOST_FRAMES + (int)held);
    }
}

static void pads(driver *kart) {
    if (!(kart->state_bits & DRIVER_STATE_ON_FLOOR) || kart_of(kart)->spin_frames) {
        return;
    }
    uint32_t type = kart->floor_type;
    fx32 least = 0;
    if (type == FLOOR_BOOST || type == FLOOR_FAST_BOOST) {
        kart_boost(kart, BOOST_PAD, PAD_FRAMES);
        if (type == FLOOR_FAST_BOOST) {
            least = kart_class_speed();
        }
    } else if (type == FLOOR_JUMP && kart->speed > JUMP_LEAST) {
        least = fx_mul(kart_class_speed(), JUMP_SHARE);
        kart->flags |= DRIVER_FLAG_JUMP_PAD;
        kart->state_bits &= ~(uint32_t)DRIVER_STATE_ON_FLOOR;
    }
    fx32 speed = v_dot(kart->velocity, kart->forward);
    if (least && speed < least) {
        kart->velocity = v_mad(kart->velocity, kart->forward, least - speed);
    }
    if (kart->flags & DRIVER_FLAG_JUMP_PAD) {
        kart->velocity.y = fx_max(kart->velocity.y, 0) + JUMP_SPEED;
    }
}

void kart_boost_frame(driver *kart) {
    struct kart *own = kart_of(kart);
    if (own->throttle_frames && game.status->frame) { /* GO was a frame ago */
        start(kart);
    }
    if (kart->boost_timer && --kart->boost_timer == 0) {
        kart_boost_end(kart);
    }
    if (kart->drift_boost_counter) {
        kart->drift_boost_counter--;
    }
    if (own->stall_frames) {
        own->stall_frames--;
    }
    if (own->spin_frames) {
        if (--own->spin_frames == 0) {
            kart->flags2 &= ~(uint32_t)DRIVER_FLAG2_SPIN_OUT;
            own->safe_frames = SAFE_FRAMES;
        }
    } else if (own->safe_frames) {
        own->safe_frames--;
    }
    pads(kart);
}

/* Returns the keys that have an effect now. */
uint32_t kart_usable_keys(const driver *kart, uint32_t keys) {
    const struct kart *own = kart_of(kart);
    if (own->spin_frames) {
        return 0;
    }
    return own->stall_frames ? keys & ~(uint32_t)KEY_A : keys;
}
