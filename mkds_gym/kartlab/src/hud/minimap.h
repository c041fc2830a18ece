/* The course from above, out of the checkpoints of its NKM. */
#ifndef KARTLAB_MINIMAP_H
#define KARTLAB_MINIMAP_H

#include "platform/memory_map.h"

/* Fits the course into a box of `size` pixels whose corner is (left, top) of an 8 bit canvas of
 * 256 pixels a row, and paints it: rim, road, start line are palette indices. */
void minimap_paint(uint8_t *canvas, int left, int top, int size, uint8_t rim, uint8_t road, uint8_t start);

/* Canvas pixel of a world position. */
void minimap_pixel(const vec3 *position, int *x, int *y);

#endif
