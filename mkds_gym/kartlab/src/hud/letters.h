/* Big smooth letters out of the 8 x 8 alphabet. */
#ifndef KARTLAB_LETTERS_H
#define KARTLAB_LETTERS_H

#include <stdint.h>

/* A square of up to 64 x 64 pixels, a row a word, bit 0 the leftmost pixel: whole rows are
 * compared and grown at once, which keeps the start short. */
#define LETTER_MAX 64
typedef uint64_t letter_rows[LETTER_MAX];

/* Draws the glyph of `code` doubled `doublings` times (0 to 3), corners rounded each time. */
void letter_draw(char code, int doublings, letter_rows out);

/* Grows the inked pixels of a square of `size` by one pixel, diagonally too if `diagonal`. */
void letter_grow(letter_rows rows, int size, int diagonal);

/* Puts pixels (4 bit indices) of one 8 x 8 tile into video memory, eight words. */
void letter_tile(volatile uint32_t *tile, const uint8_t pixels[8][8]);

#endif
