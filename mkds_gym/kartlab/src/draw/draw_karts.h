/* The karts: how each one stands, leans, rolls and steers, and how finely it is drawn. */
#ifndef KARTLAB_DRAW_KARTS_H
#define KARTLAB_DRAW_KARTS_H

#include "race/camera.h"

extern const uint16_t paint_of[]; /* of each driver's kart */

void draw_karts_init(void);
void draw_karts(const struct view *view);

#endif
