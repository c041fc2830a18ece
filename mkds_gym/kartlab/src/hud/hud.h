/* The instruments on the bottom screen in a race, and the sky and the letters of the top screen. */
#ifndef KARTLAB_HUD_H
#define KARTLAB_HUD_H

void hud_init(void);

/* First thing in every VBlank: writes what changed since the last frame to video memory. */
void hud_frame(void);

#endif
