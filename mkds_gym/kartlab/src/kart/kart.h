/* A kart: state outside the original's memory map, and values derived from state. */
#pragma once

#include "game.h"
#include "platform/fx.h"

enum boost { BOOST_NONE, BOOST_START, BOOST_DRIFT, BOOST_MUSHROOM, BOOST_PAD, BOOST_SLIPSTREAM };

enum { /* collision types that change how a kart drives; course/collide.c handles the others */
    FLOOR_ROAD = 0, FLOOR_ICE = 1, FLOOR_WEAK_OFF_ROAD = 2, FLOOR_OFF_ROAD = 3,
    FLOOR_HEAVY_OFF_ROAD = 5, FLOOR_SNOW = 6, FLOOR_BOOST = 7, FLOOR_JUMP = 12,
    FLOOR_FAST_BOOST = 18,
};
static inline int floor_is_off_road(uint32_t type) {
    return type == FLOOR_WEAK_OFF_ROAD || type == FLOOR_OFF_ROAD || type == FLOOR_HEAVY_OFF_ROAD;
}

/* Private to the program, one for each driver[i].  "Frames since" count from 1, and are 0 before
 * the first time. */
struct kart {
    uint16_t keys, pressed;    /* of this frame, from a person, the CPU or a ghost */
    uint8_t boost;             /* enum boost: the source of the running boost */
    uint8_t spark;             /* mini-turbo charge: 0 none, 1 blue, 2 red (charged) */
    uint8_t slipstream;        /* 0 to 255: how far the tow behind another kart has built up */
    uint8_t item, item_count;  /* enum item in hand */
    uint16_t roulette;         /* frames until the item box has decided */
    uint16_t hop;              /* frames of the running hop, 0 without a hop */
    uint16_t spin_frames;      /* frames left of a spin-out */
    uint16_t throttle_frames;  /* frames that A was held in the countdown */
    uint16_t landed;           /* frames since a hard landing, for picture and sound */
    uint16_t bumped;           /* frames since a hit with a wall or a kart, for picture and sound */
    uint16_t stall_frames;     /* frames left of spinning wheels after a false start */
    uint16_t safe_frames;      /* frames left in which the kart cannot spin out again */
    uint8_t hop_held;          /* R was held in the frame before */
    uint8_t drift_chance;      /* frames left to begin a drift after a hop */
    uint8_t tap_frames;        /* frames that one side is held in a drift */
    uint8_t off_road_frames;   /* frames that the drift has been off the road */
    int8_t tap_side, counted_side; /* the held side, and the last counted side: 1 left, -1 right */
    uint8_t touching;          /* bit i: touched driver i in the frame before */
};
extern struct kart karts[DRIVERS_MAX];
static inline struct kart *kart_of(const driver *kart) { return &karts[kart->driver_id]; }

/* Top speed on a level road. */
extern const fx32 kart_class_speeds[3];
static inline fx32 kart_class_speed(void) { return kart_class_speeds[game.engine_class]; }

static inline vec3 kart_flat_heading(const driver *kart) {
    return v_make(fx_sin(kart->heading), 0, fx_cos(kart->heading));
}

void kart_forward_update(driver *kart);  /* forward, from heading and up */
void kart_rotation_update(driver *kart); /* from heading, up and position */
void kart_motion_update(driver *kart);   /* from position and velocity */
