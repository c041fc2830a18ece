/* How karts drive, and what of it the original's memory map has no name for. */
#ifndef KARTLAB_KART_H
#define KARTLAB_KART_H

#include "game.h"

enum boost { BOOST_NONE, BOOST_START, BOOST_DRIFT, BOOST_MUSHROOM, BOOST_PAD, BOOST_SLIPSTREAM };

/* Beside driver[i], private to the program. */
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
};
extern struct kart karts[DRIVERS_MAX];
static inline struct kart *kart_of(const driver *kart) { return &karts[kart - game.drivers]; }

void kart_place(driver *kart, vec3 position, angle16 heading);
void kart_frame(driver *kart, uint32_t keys); /* keys: what its driver holds, 0 before GO */
void kart_rotation_update(driver *kart);
void kart_respawn(driver *kart);              /* start the pause before a respawn */

#endif
