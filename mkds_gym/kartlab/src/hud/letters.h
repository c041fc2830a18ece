/* Large smooth letters from the 8 x 8 alphabet. */
#pragma once

#include <stdint.h>

/* A square of up to 64 x 64 pixels: one word for each row, bit 0 is the leftmost pixel. Word
 * operations on whole rows keep the start of the program short. */
#define LETTER_MAX 64
typedef uint64_t letter_rows[LETTER_MAX];

/* Draws the glyph of `code`, doubled `doublings` times (0 to 3), with rounded corners. */
void letter_draw(char code, int doublings, letter_rows out);

/* Grows the inked pixels of a square of `size` by one pixel, also diagonally if `diagonal`. */
void letter_grow(letter_rows rows, int size, int diagonal);

/* Writes the pixels (4 bit indices) of an 8 x 8 tile to video memory: eight words. */
void letter_tile(volatile uint32_t *tile, const uint8_t pixels[8][8]);
