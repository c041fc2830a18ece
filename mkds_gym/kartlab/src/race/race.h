/* The race: set-up of 1 to 8 drivers, the clock, and the order of things in a frame. */
#pragma once

#include "game.h"

int race_start(const race_choice *choice); /* 0: no such course */
void race_publish(void);                   /* after the pictures are set up */
int race_published(void);
void race_frame(void);
