/* What the pictures keep for each driver; draw/ and hud/ fill it. */
#pragma once

#include "race/camera.h"

struct kart_pose {
    struct view_matrix place; /* of the kart, with the shaking of rough ground */
    fx32 steering;            /* as drawn, -1 right to 1 left */
    angle16 roll[2];          /* of the front and the rear wheels */
    uint16_t shaking;
    fx32 ground;              /* height of the last floor that the kart stood on */
};
extern struct kart_pose poses[];

/* Frames that the picture is dark, and since the finish and the wrong way, for each driver that is alone. */
struct overlay_counts {
    uint32_t dark, finished_for, wrong_for;
};
extern struct overlay_counts overlay_counts[];
