/* Random numbers without state: a race's seed alone decides them. */
#pragma once

#include <stdint.h>

/* A purpose is one of these numbers plus the driver's number. */
enum { CHANCE_ITEM = 0x100, CHANCE_CPU = 0x200 };

uint32_t chance_now(uint32_t purpose);  /* a number for this frame */
uint32_t chance_race(uint32_t purpose); /* a number for the whole race */
