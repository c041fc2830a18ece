/* Sprites in the corners of the top screen: the item in hand, and the place in a race of
 * several. */
#pragma once

void badge_pictures(void); /* once: tiles and palettes */
void badge_init(void);     /* at a race's start: hides all badges */
void badge_frame(void);    /* writes what changed */
