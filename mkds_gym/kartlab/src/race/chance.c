#include "race/chance.h"

#include "game.h"

/* Three rounds of multiply, rotate and add, then a final mix. */
static uint32_t hash(uint32_t a, uint32_t b, uint32_t c) {
    uint32_t h = a * 0xCC9E2D51u;
    h = (h << 15 | h >> 17) * 0x1B873593u ^ b * 0x9E3779B1u;
    h = (h << 13 | h >> 19) * 5u + 0xE6546B64u;
    h ^= c * 0x85EBCA77u;
    h ^= h >> 16;
    h *= 0x85EBCA6Bu;
    h ^= h >> 13;
    h *= 0xC2B2AE35u;
    return h ^ h >> 16;
}

uint32_t chance_now(uint32_t purpose) {
    return hash(game.config->rng_seed, game.state->frame, purpose);
}

uint32_t chance_race(uint32_t purpose) {
    return hash(game.config->rng_seed, 0xFFFFFFFFu, purpose);
}
