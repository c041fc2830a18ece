/* In the corners of the top screen: the item in hand, and in a race of several the place. */
#ifndef KARTLAB_BADGE_H
#define KARTLAB_BADGE_H

void badge_pictures(void); /* once: tiles and palettes */
void badge_init(void);     /* at a race's start: nothing on show */
void badge_frame(void);    /* writes what changed */

#endif
