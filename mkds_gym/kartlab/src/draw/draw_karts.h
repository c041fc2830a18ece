/* The karts: their pose and their level of detail. */
#pragma once

#include "race/camera.h"

extern const uint16_t paint_of[]; /* the paint of each driver's kart */

struct kart_pose {
    struct view_matrix place; /* of the kart, with the shaking of rough ground */
    fx32 steering;            /* as drawn, -1 right to 1 left */
    angle16 roll[2];          /* of the front and the rear wheels */
    uint16_t shaking;
    fx32 ground;              /* height of the last floor that the kart stood on */
};
extern struct kart_pose poses[];

void draw_karts_init(void);
void poses_update(void); /* before draw_karts, once a frame of the race */
void draw_karts(const struct view *view);
