/* Random numbers without a state: a race repeats itself from its seed alone. */
#ifndef KARTLAB_CHANCE_H
#define KARTLAB_CHANCE_H

#include <stdint.h>

/* `purpose`: one of these plus the driver's number. */
enum { CHANCE_ITEM = 0x100, CHANCE_CPU = 0x200 };

uint32_t chance_now(uint32_t purpose);  /* of this frame */
uint32_t chance_race(uint32_t purpose); /* of the whole race */

#endif
