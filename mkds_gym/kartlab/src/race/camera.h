/* The chase camera and the view it makes. */
#pragma once

#include "platform/memory_layout.h"

/* A matrix for row vectors, as in the geometry engine: v' = (x, y, z, 1) * m. Rows 0 to 2 are the
 * images of the axes, row 3 is the translation. */
struct view_matrix {
    fx32 m[4][3];
};

struct view {
    struct view_matrix matrix; /* world to view: x right, y up, z towards the viewer */
    fx32 projection[4][4];
    vec3 eye;
    fx32 sine_v, cosine_v; /* of half the vertical field of view */
    fx32 top;              /* of the near plane, in units of the camera struct's view space */
    fx32 sine_h, cosine_h; /* of half the horizontal one */
    int32_t horizon;       /* screen row of the horizon */
    angle16 heading;       /* of the line of sight, in the units of a kart's heading */
};

/* What the camera keeps between frames, for each driver that is alone. */
struct chase {
    vec3 eye, target, previous_eye;
    int unseen;            /* the view is not computed yet */
    angle16 heading;
    fx32 slope;            /* sine of the chase line's slope */
    fx32 distance;
    int32_t orbit;
    int placed;
    vec3 last_kart;
    fx32 lift;             /* height of the followed point above the kart */
    int near_wall;         /* a wall pushed the eye in the frame before */
};
extern struct chase chases[];

/* At a race's start: the next update places the camera. */
void camera_reset(void);
/* Places the camera behind the kart at once. */
void camera_snap(void);
/* Once a frame, after race_frame: moves the camera and writes the camera struct. Drivers that are alone need
 * camera_look, too. */
void camera_update(void);

/* Of a driver that is alone: computes the view that camera_update has left out because the picture shows
 * another driver. */
void camera_look(void);

/* Returns the view of this frame: draw_frame draws it and the camera struct describes it. */
const struct view *camera_view(void);

/* The distance of a world point in front of the eye, and whether a sphere touches the view. */
fx32 view_depth(const struct view *view, const fx32 *point);
int view_sees_at(const struct view *view, const fx32 *centre, fx32 radius, fx32 depth); /* with a known depth */
static inline int view_sees(const struct view *view, const fx32 *centre, fx32 radius) {
    return view_sees_at(view, centre, radius, view_depth(view, centre));
}
