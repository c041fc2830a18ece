/* What the program is doing: title, menu, or a race, which may be paused or over. */
#ifndef KARTLAB_SCENE_H
#define KARTLAB_SCENE_H

#include "game.h"

/* Once: starts the host's race, or the title when `host` is null.  0: the host's course does not
 * exist, and the default course runs instead. */
int scene_start(const race_choice *host);

/* One turn of the loop, in this order: video memory of both screens (in VBlank), the keys and the
 * race, the 3D picture. */
void scene_show(void);
void scene_move(void);
void scene_draw(void);

#endif
