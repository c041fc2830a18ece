/* How the CPU drives: along the enemy points of the map, by the same keys as a person. */
#ifndef KARTLAB_CPU_H
#define KARTLAB_CPU_H

#include <stdint.h>

void cpu_init(void);
uint32_t cpu_keys(uint32_t index);

#endif
