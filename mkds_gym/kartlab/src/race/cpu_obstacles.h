/* Detours of a CPU kart: around karts and bananas, and to item boxes. */
#pragma once

#include "platform/memory_layout.h"

/* Returns how far the line of kart `index`, which aims at `target`, has to move to the left to miss
 * obstacles; 0 without obstacles. */
fx32 cpu_dodge(uint32_t index, vec3 target, fx32 distance);

/* Returns the nearest item box that the kart can still reach; -1: none. */
int16_t cpu_find_box(uint32_t index);

/* Computes how far the line has to move to the left to hit the box. Returns 0 when the box is no
 * longer ahead. */
int cpu_box_side(uint32_t index, int box, vec3 target, fx32 distance, fx32 *side);
