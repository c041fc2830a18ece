#include "letters.h"

#include "font.h"

static letter_bitmap scratch;

static int inside(letter_bitmap bitmap, int size, int x, int y) {
    return x >= 0 && y >= 0 && x < size && y < size && bitmap[y][x];
}

void letter_draw(char code, int doublings, letter_bitmap out) {
    int glyph = (uint8_t)code - FONT_FIRST;
    if (glyph < 0 || glyph >= FONT_COUNT) {
        glyph = 0;
    }
    for (int y = 0; y < 8; y++) {
        for (int x = 0; x < 8; x++) {
            out[y][x] = font_glyphs[glyph][y] >> (7 - x) & 1;
        }
    }
    for (int size = 8; doublings > 0; doublings--, size *= 2) {
        for (int y = 0; y < size; y++) {
            for (int x = 0; x < size; x++) {
                scratch[y][x] = out[y][x];
            }
        }
        for (int y = 0; y < size; y++) {
            for (int x = 0; x < size; x++) {
                /* Each quarter of a pixel takes the side of the two neighbours at its corner
                 * when they agree and form an edge there: steps turn into slopes. */
                int self = scratch[y][x];
                for (int quarter = 0; quarter < 4; quarter++) {
                    int dx = quarter & 1 ? 1 : -1, dy = quarter >> 1 ? 1 : -1;
                    int beside = inside(scratch, size, x + dx, y), above = inside(scratch, size, x, y + dy);
                    int far_side = inside(scratch, size, x - dx, y), far_above = inside(scratch, size, x, y - dy);
                    int value = beside == above && beside != far_side && above != far_above ? beside : self;
                    out[2 * y + (quarter >> 1)][2 * x + (quarter & 1)] = (uint8_t)value;
                }
            }
        }
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
