/* The current scene: title, menu, or a race, which may be paused or over. */
#pragma once

#include "game.h"

/* Starts the host's race, or the title when `host` is null, once. Returns 0 when the host's course
 * does not exist; the default course runs instead. */
int scene_start(const race_choice *host);

/* One turn of the main loop, in this order: video memory of both screens (in VBlank), keys and
 * race, the 3D picture. */
void scene_show(void);
void scene_move(void);
void scene_draw(void);
