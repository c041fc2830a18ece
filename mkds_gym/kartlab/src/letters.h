/* Big smooth letters out of the 8 x 8 alphabet. */
#ifndef KARTLAB_LETTERS_H
#define KARTLAB_LETTERS_H

#include <stdint.h>

/* A square of pixels: 0 empty, 1 inside a stroke. */
#define LETTER_MAX 64
typedef uint8_t letter_bitmap[LETTER_MAX][LETTER_MAX];

/* Draws the glyph of `code` doubled `doublings` times (0 to 3), corners rounded each time. */
void letter_draw(char code, int doublings, letter_bitmap out);

/* Puts pixels (4 bit indices) of one 8 x 8 tile into video memory, eight words. */
void letter_tile(volatile uint32_t *tile, const uint8_t pixels[8][8]);

#endif
