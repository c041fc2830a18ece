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

/* A race moves at the top of the picture, before the turn in VBlank. A host reads memory at the end
 * of a picture, 71 lines after VBlank, when the work for eight karts would still go on. */
int scene_moves_early(void);
void scene_move_early(void);

/* Drivers that are alone: the turn of those that the picture does not show, at the start of a
 * picture. Returns whether a driver is shown: scene_show, scene_move and
 * scene_draw then follow in VBlank for that driver. */
int scene_move_unseen(void);
