/* Item boxes, bananas and shells. */
#ifndef KARTLAB_DRAW_ITEMS_H
#define KARTLAB_DRAW_ITEMS_H

#include "race/camera.h"

void draw_items_init(void);
void draw_items(const struct view *view); /* after draw_karts, which stores the view matrix */

#endif
