/* The best run of a time trial, stored as key presses. */
#pragma once

#include "game.h"

/* Before race_start: turns recording and ghosts on or off (on for a person's race). */
void ghost_enable(int on);

/* Whether this race has a ghost. The ghost is driver 1. */
int ghost_wanted(const race_choice *choice);

/* The best time of this race in milliseconds; 0: no run yet. */
uint32_t ghost_milliseconds(const race_choice *choice);

/* The race calls these at its start, in each frame, and when driver 0 finishes. */
void ghost_race_started(void);
void ghost_frame(void);
void ghost_race_finished(void);

/* The keys that the ghost holds in this frame. */
uint32_t ghost_keys(void);
