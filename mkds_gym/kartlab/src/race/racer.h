/* State of a driver beyond the driver status in RAM. */
#pragma once

#include "game.h"

/* One for each driver[i]. */
struct racer {
    fx32 distance;             /* from the start line along the track, with laps: decides the places */
    uint16_t wrong_way_frames;
    uint8_t finish_order;      /* 1 for the winner; 0: still racing */
};
extern struct racer racers[DRIVERS_MAX];
static inline struct racer *racer_of(uint32_t index) { return &racers[game.first + index]; }
