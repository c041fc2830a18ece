/* What the program is doing: title, menu, or a race, which may be paused or over. */
#ifndef KARTLAB_SCENE_H
#define KARTLAB_SCENE_H

#include "game.h"

/* The keys as a person presses them; a race gets its own in game.keys, without START. */
struct pad {
    uint16_t held, pressed;
    uint16_t tapped; /* pressed, and again and again while held: for lists */
};
extern struct pad pad;
/* Around work that takes several frames: what is tapped meanwhile counts in the next one. */
void pad_look_away(void);
void pad_look_back(void);

/* Once: into the race that the boot block asks for, or to the title. */
void scene_start(void);

/* One turn of the loop, in this order: video memory of both screens (in VBlank), the keys and the
 * race, the 3D picture. */
void scene_show(void);
void scene_move(void);
void scene_draw(void);

/* For menu.c, pause.c and results.c.  Each loads a course, which takes a few frames. */
void scene_title(void);
void scene_menu(void);
void scene_race(const race_choice *choice);
/* Another race behind title and menu, that nobody drives. */
void scene_backdrop(const race_choice *choice);

#endif
