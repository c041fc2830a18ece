/* The instruments on the bottom screen in a race, and the sky and the letters of the top screen. */
#pragma once

void hud_init(void);

/* Copies what hud_frame shows: before race_frame, once a frame of the race. */
void hud_look(void);

/* Writes what changed since the last frame to video memory, first in every VBlank. */
void hud_frame(void);
