/* How karts drive, and what of it the original's memory map has no name for. */
#ifndef KARTLAB_KART_H
#define KARTLAB_KART_H

#include "game.h"

enum boost { BOOST_NONE, BOOST_START, BOOST_DRIFT, BOOST_MUSHROOM, BOOST_PAD, BOOST_SLIPSTREAM };

enum { /* collision types that a kart minds, see collide.c for those that it hits */
    FLOOR_ROAD = 0, FLOOR_ICE = 1, FLOOR_WEAK_OFF_ROAD = 2, FLOOR_OFF_ROAD = 3,
    FLOOR_HEAVY_OFF_ROAD = 5, FLOOR_SNOW = 6, FLOOR_BOOST = 7, FLOOR_JUMP = 12,
    FLOOR_FAST_BOOST = 18,
};

/* Beside driver[i], private to the program.  "Frames since" count from 1, and are 0 before the
 * first time. */
struct kart {
    uint16_t keys, pressed;    /* of this frame, whoever presses them */
    uint8_t boost;             /* enum boost: what the running boost came from, for the picture */
    uint8_t spark;             /* mini-turbo charge: 0 none, 1 blue, 2 red (charged) */
    uint8_t slipstream;        /* 0 to 255: how far the tow behind another kart has built up */
    uint8_t item, item_count;  /* items.h: enum item in hand */
    uint16_t roulette;         /* frames until the item box has decided */
    uint16_t hop;              /* frames of the running hop, 0 when none */
    uint16_t spin_frames;      /* left of a spin-out */
    uint16_t throttle_frames;  /* A held for so long in the countdown */
    uint16_t landed;           /* frames since it came down hard, for picture and sound */
    uint16_t bumped;           /* frames since it hit a wall or a kart, likewise */
    uint16_t stall_frames;     /* left of wheels that spin, after a start too early */
    uint16_t safe_frames;      /* left in which nothing makes it spin out again */
    uint8_t hop_held;          /* R was held in the frame before */
    uint8_t drift_chance;      /* frames left to begin a drift after a hop */
    uint8_t tap_frames;        /* for so long one side is held in a drift ... */
    uint8_t off_road_frames;   /* ... and the drift has been off the road */
    int8_t tap_side, counted_side; /* that side, and the one counted last: 1 left, -1 right */
    uint8_t touching;          /* bit i: driver i, in the frame before */
};
extern struct kart karts[DRIVERS_MAX];
static inline struct kart *kart_of(const driver *kart) { return &karts[kart - game.drivers]; }

/* kart.c */
#define KART_RADIUS FX(6.0)
void kart_place(driver *kart, vec3 position, angle16 heading);
void kart_frame(driver *kart, uint32_t keys); /* keys: what its driver holds, 0 before GO */
void kart_rotation_update(driver *kart);
void kart_motion_update(driver *kart);        /* what only restates position and velocity */
void kart_wall(driver *kart, vec3 normal);    /* it touches one */
void kart_respawn(driver *kart);              /* start the pause before a respawn */
fx32 kart_class_speed(void);                  /* top speed on a level road, nothing held */

/* boost.c: what makes karts faster or helpless for a while */
void kart_boost(driver *kart, enum boost boost, int frames);
void kart_spin_out(driver *kart);             /* ends drift and boost; nothing while it still spins */
void kart_countdown(driver *kart, uint32_t keys); /* a frame before GO: times the throttle */
void kart_boost_frame(driver *kart);          /* timers, pads, start boost */
void kart_boost_end(driver *kart);
uint32_t kart_usable_keys(const driver *kart, uint32_t keys);
fx32 kart_boost_factor(const driver *kart);   /* of the top speed; FX_ONE without a boost */
fx32 kart_boost_push(const driver *kart);     /* acceleration */

/* drift.c: hop, drift, mini-turbo */
int kart_hop(driver *kart, uint32_t keys);    /* 1: it left the floor in this frame */
void kart_drift_frame(driver *kart, uint32_t keys); /* begins, charges and ends drifts */
int32_t kart_drift_turn(driver *kart);        /* angle16 that the heading turns in a drift */
int32_t kart_drift_recover(driver *kart);     /* ... and behind one */
void kart_drift_end(driver *kart, int released);
vec3 kart_way(const driver *kart);            /* unit: where it goes if it does not slide */

/* bump.c: karts and karts */
void karts_touch(void);
void kart_slipstream(driver *kart);

#endif
