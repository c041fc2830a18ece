/* The course from above, drawn from the checkpoints of its NKM. */
#pragma once

#include "platform/memory_layout.h"

/* Paints the course into a box of `size` pixels at (left, top) of an 8 bit canvas of 256 pixels a
 * row. rim, road and start are palette indices. */
void minimap_paint(uint8_t *canvas, int left, int top, int size, uint8_t rim, uint8_t road, uint8_t start);

/* Returns the canvas pixel of a world position. */
void minimap_pixel(const vec3 *position, int *x, int *y);
