/* What makes a CPU kart leave its line: karts and bananas in the way, and item boxes. */
#ifndef KARTLAB_CPU_OBSTACLES_H
#define KARTLAB_CPU_OBSTACLES_H

#include "platform/memory_map.h"

/* How far the line of kart `index`, which aims at `target`, has to move to the left to miss what is
 * in the way; 0: nothing is. */
fx32 cpu_dodge(uint32_t index, vec3 target, fx32 distance);

/* The nearest item box that the kart can still steer to; -1 without one. */
int16_t cpu_find_box(uint32_t index);

/* How far the line has to move to the left to hit the box.  0: the box is not ahead any more. */
int cpu_box_side(uint32_t index, int box, vec3 target, fx32 distance, fx32 *side);

#endif
