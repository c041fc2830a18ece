#include "hud/letters.h"

#include "hud/font.h"

/* Spreads 32 bits to the even bits of 64. */
static uint64_t spread(uint32_t bits) {
    uint64_t b = bits;
    b = (b | b << 16) & 0x0000FFFF0000FFFFull;
    b = (b | b << 8) & 0x00FF00FF00FF00FFull;
    b = (b | b << 4) & 0x0F0F0F0F0F0F0F0Full;
    b = (b | b << 2) & 0x3333333333333333ull;
    return (b | b << 1) & 0x5555555555555555ull;
}

void letter_draw(char code, int doublings, letter_rows out) {
    int glyph = (uint8_t)code - FONT_FIRST;
    if (glyph < 0 || glyph >= FONT_COUNT) {
        glyph = 0;
    }
    for (int y = 0; y < 8; y++) {
        uint64_t row = 0;
        for (int x = 0; x < 8; x++) {
            row |= (uint64_t)(font_glyphs[glyph][y] >> (7 - x) & 1) << x;
        }
        out[y] = row;
    }
    for (int size = 8; doublings > 0; doublings--, size *= 2) {
        /* Rows are doubled from the last to the first; `below` keeps the old row below. */
        uint64_t below = 0;
        for (int y = size - 1; y >= 0; y--) {
            uint64_t self = out[y], above = y ? out[y - 1] : 0;
            uint64_t left = self << 1, right = self >> 1; /* the neighbours of each pixel */
            for (int lower = 0; lower < 2; lower++) {
                uint64_t vertical = lower ? below : above, opposite = lower ? above : below;
                /* A quarter of a pixel takes the colour of the two neighbours at its corner when
                 * they agree and form an edge there. Steps become slopes. */
                uint64_t edge = vertical ^ opposite, corner_left = ~(left ^ vertical) & (left ^ right) & edge;
                uint64_t corner_right = ~(right ^ vertical) & (left ^ right) & edge;
                uint64_t left_half = (self & ~corner_left) | (left & corner_left);
                uint64_t right_half = (self & ~corner_right) | (right & corner_right);
                out[2 * y + lower] = spread((uint32_t)left_half) | spread((uint32_t)right_half) << 1;
            }
            below = self;
        }
    }
}

void letter_grow(letter_rows rows, int size, int diagonal) {
    uint64_t above = 0;
    for (int y = 0; y < size; y++) {
        uint64_t self = rows[y], below = y + 1 < size ? rows[y + 1] : 0;
        uint64_t side = self << 1 | self >> 1, column = above | below;
        rows[y] = self | side | column | (diagonal ? column << 1 | column >> 1 : 0);
        above = self;
    }
}

void letter_tile(volatile uint32_t *tile, const uint8_t pixels[8][8]) {
    for (int y = 0; y < 8; y++) {
        uint32_t row = 0;
        for (int x = 0; x < 8; x++) {
            row |= (uint32_t)pixels[y][x] << (4 * x);
        }
        tile[y] = row;
    }
}
