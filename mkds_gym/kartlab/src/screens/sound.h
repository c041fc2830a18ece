/* The sounds of a race and of the menu: an engine, tyres, and effects.  No race depends on them. */
#pragma once

enum sound { SOUND_MOVE, SOUND_CHOOSE, SOUND_BACK, SOUND_PAUSE };

void sound_init(void);       /* once */
void sound_race(void);       /* at a race's start: silence */
void sound_frame(void);      /* a frame of a race */
void sound_still(void);      /* a frame without a race: effects ring out, engines are off */
void sound_play(enum sound sound);
