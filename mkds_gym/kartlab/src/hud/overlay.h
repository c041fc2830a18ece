/* The big letters over the race: countdown, GO, laps, wrong way, finish; and the fade. */
#ifndef KARTLAB_OVERLAY_H
#define KARTLAB_OVERLAY_H

#include "platform/memory_map.h"

enum { LETTERS_GOLD, LETTERS_RED, LETTERS_GREEN, LETTERS_ICE }; /* palettes */

void overlay_letters(void); /* once: the letters' tiles and palettes */
void overlay_init(void);    /* at a race's start: nothing on show */
void overlay_frame(void);

/* Sprite names of letters of 32 and of 64 pixels, and where those names end (they count in steps of
 * 128 bytes, so there are 512). */
int overlay_letter(char code);
int overlay_large_letter(char code);
#define OVERLAY_FREE 432

/* A word of the letters that there are, for title and pause: y is its top row, scale 4096 is 32
 * pixels a letter. */
void overlay_word(const char *word, int y, fx32 scale, int palette);
fx32 overlay_pop(uint32_t age); /* scale of a word that appeared so many frames ago */

#endif
