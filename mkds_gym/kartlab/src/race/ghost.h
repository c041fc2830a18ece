/* The best run of a time trial, kept as the keys that were pressed. */
#ifndef KARTLAB_GHOST_H
#define KARTLAB_GHOST_H

#include "game.h"

/* Before race_start: whether the race is recorded and runs against a ghost (a person's does). */
void ghost_enable(int on);

/* Whether there is a ghost for this race: then driver 1 is it. */
int ghost_wanted(const race_choice *choice);

/* The best time that is kept for it, in milliseconds; 0 for none. */
uint32_t ghost_milliseconds(const race_choice *choice);

/* Called by the race: at its start, each frame with driver 0's keys, when driver 0 has finished. */
void ghost_race_started(void);
void ghost_frame(void);
void ghost_race_finished(void);

/* The keys that the ghost holds in this frame. */
uint32_t ghost_keys(void);

#endif
