/* The program's own 8 x 8 alphabet: ASCII 32 to 95 (no lower case) and a few signs. */
#pragma once

#define FONT_FIRST 32 /* the code of glyph 0 */

/* Signs after the letters, as escapes for strings. */
#define FONT_LEFT "\x60"
#define FONT_RIGHT "\x61"
#define FONT_UP "\x62"
#define FONT_DOWN "\x63"
#define FONT_COUNT 69

extern const unsigned char font_glyphs[FONT_COUNT][8];
