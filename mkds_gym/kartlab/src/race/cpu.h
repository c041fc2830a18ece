/* CPU drivers: they follow the enemy points of the map with the keys that a person has. */
#pragma once

#include <stdint.h>

void cpu_init(void);
uint32_t cpu_keys(uint32_t index);
