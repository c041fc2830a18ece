/* Little-endian numbers at any address. */
#pragma once

#include <stdint.h>

static inline uint32_t get16(const uint8_t *p) { return p[0] | (uint32_t)p[1] << 8; }
static inline uint32_t get32(const uint8_t *p) { return get16(p) | get16(p + 2) << 16; }
