/* Mirrors the files of a loaded course in place: left and right change sides. */
#pragma once

#include <stdint.h>

void mirror_collision(uint8_t *kcl, uint32_t size);
void mirror_map(uint8_t *nkm, uint32_t size);
