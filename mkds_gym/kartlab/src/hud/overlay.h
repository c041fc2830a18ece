/* Large letters over the race: countdown, GO, laps, wrong way, finish. Also the fade. */
#pragma once

#include "platform/memory_layout.h"

enum { LETTERS_GOLD, LETTERS_RED, LETTERS_GREEN, LETTERS_ICE }; /* palettes */

void overlay_letters(void); /* once: the letters' tiles and palettes */
void overlay_init(void);    /* at a race's start: hides all letters */
void overlay_count(void);   /* before overlay_frame, once a frame of the race: counts frames */
void overlay_frame(void);

/* Sprite names of letters of 32 and of 64 pixels, and the first free name of the 512 (names count
 * in steps of 128 bytes). */
int overlay_letter(char code);
int overlay_large_letter(char code);
#define OVERLAY_FREE 432

/* Shows a word, for title and pause. y is its top row; at scale 4096 a letter has 32 pixels. */
void overlay_word(const char *word, int y, fx32 scale, int palette);
fx32 overlay_pop(uint32_t age); /* scale of a word after `age` frames: from 1.9 down to 1 */
