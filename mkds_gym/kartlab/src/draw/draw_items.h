/* Item boxes, bananas and shells. */
#pragma once

#include "race/camera.h"

void draw_items_init(void);
void draw_items(const struct view *view); /* after draw_karts, which stores the view matrix */
