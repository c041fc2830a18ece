/* The karts: their pose and their level of detail. */
#pragma once

#include "race/camera.h"

extern const uint16_t paint_of[]; /* the paint of each driver's kart */

void draw_karts_init(void);
void poses_update(void); /* before draw_karts, once a frame of the race */
void draw_karts(const struct view *view);
