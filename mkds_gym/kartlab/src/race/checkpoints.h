/* Checkpoints of every driver: laps and their times, progress, places, respawns. */
#pragma once

#include <stdint.h>

void checkpoints_start(uint32_t index);   /* before the start line, in no lap yet */
void checkpoints_frame(uint32_t index);   /* lines crossed, laps, progress, wrong way */
void checkpoints_respawn(uint32_t index); /* puts the kart back on the course */
void ranking_update(void);
