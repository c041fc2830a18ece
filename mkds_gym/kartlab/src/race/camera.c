/* The chase camera: behind and above the kart, a little late in the bends.
 *
 * What is drawn is what the camera struct says: eye = position + (0, elevation, 0), looking at
 * target.  The 4x3 matrix at +0x30 takes world units to view space for row vectors,
 *
 *     (vx, vy, vz) = (x, y, z, 1) * M,   M[0..2][c] = component of axis x, y, z along
 *     c = 0: right, 1: up of the screen, 2: backwards (target to eye);  M[3] = -eye * M[0..2]
 *
 * so vx runs right, vy up and points in front of the eye have vz < 0, depth = -vz.  A point is
 * at column 128 + 96 / tan(fov) * 4/3 / aspect * vx / depth, row 96 - 96 / tan(fov) * vy / depth,
 * where fov is the HALF vertical angle at +0x60.
 */
#include "race/camera.h"

#include "course/collide.h"
#include "game.h"
#include "platform/fx.h"

#define HALF_FOV 4915 /* angle16: 27 degrees */
#define ASPECT (FX_ONE * 4 / 3)
#define NEAR FX(6)
#define FAR FX(2600) /* the rasteriser keeps 24 bits of depth: below 4,096 units */

#define DISTANCE FX(35)       /* behind the kart, standing */
#define DISTANCE_BY_SPEED FX(1.6) /* and this much more for each unit a frame */
#define HEIGHT FX(18)
#define LOOK_AHEAD FX(30)
#define LOOK_UP FX(8)
#define HEADING_EASE 7        /* a seventh of what is missing, each frame */
#define PITCH_EASE 12
#define CLEARANCE FX(5)       /* between eye and floor */
#define WALL_CLEARANCE FX(8)  /* between eye and wall: more than the near corners of the view */
#define FEELER_STEPS 4        /* from the kart to the eye, along a wall */
#define DRIFT_LOOK 2          /* in a drift the camera turns by that part of the nose's angle less */
#define LIFT_EASE 5           /* it follows a kart in the air that slowly ... */
#define LIFT_LIMIT FX(9)      /* ... but stays that near */
#define JUMP FX(60)           /* a move no kart makes in a frame: it was put somewhere else */
#define ORBIT_STEP 90         /* angle16 a frame round a kart that has finished */
#define ORBIT_END 0x7000

static struct view view;
static angle16 heading;
static fx32 slope; /* of the chase line, sine */
static fx32 distance;
static int32_t orbit;
static int placed;
static vec3 last_kart;
static fx32 lift;      /* how far the camera's idea of the kart's height is above the kart */
static int near_wall;  /* the eye was pushed by a wall in the frame before */

const struct view *camera_view(void) { return &view; }

/* A world point along an axis of the view, one rounding for all three products. */
static inline fx32 along(const struct view *v, int axis, const fx32 *point) {
    const fx32(*m)[3] = v->matrix.m;
    return (fx32)(((int64_t)point[0] * m[0][axis] + (int64_t)point[1] * m[1][axis] + (int64_t)point[2] * m[2][axis]) >> 12) + m[3][axis];
}

fx32 view_depth(const struct view *v, const fx32 *point) { return -along(v, 2, point); }

int view_sees_at(const struct view *v, const fx32 *centre, fx32 radius, fx32 depth) {
    if (depth + radius < NEAR || depth - radius > FAR) {
        return 0;
    }
    if (fx_mul(fx_abs(along(v, 0, centre)), v->cosine_h) - fx_mul(depth, v->sine_h) > radius) {
        return 0;
    }
    return fx_mul(fx_abs(along(v, 1, centre)), v->cosine_v) - fx_mul(depth, v->sine_v) <= radius;
}

static void set_projection(void) {
    view.sine_v = fx_sin(HALF_FOV);
    view.cosine_v = fx_cos(HALF_FOV);
    fx32 cotangent = fx_div(view.cosine_v, view.sine_v);
    fx32 width = fx_mul(fx_div(FX_ONE, cotangent), ASPECT); /* tangent of the horizontal half angle */
    fx32 length = fx_sqrt(FX_ONE + fx_mul(width, width));
    view.cosine_h = fx_div(FX_ONE, length);
    view.sine_h = fx_div(width, length);
    for (int i = 0; i < 16; i++) {
        view.projection[i >> 2][i & 3] = 0;
    }
    view.projection[0][0] = fx_div(cotangent, ASPECT);
    view.projection[1][1] = cotangent;
    view.projection[2][2] = -fx_div(FAR + NEAR, FAR - NEAR);
    view.projection[2][3] = -FX_ONE;
    view.projection[3][2] = -fx_mul(fx_div(NEAR, FAR - NEAR), 2 * FAR);
}

static void look(vec3 eye, vec3 target) {
    vec3 back = v_unit(v_sub(eye, target), v_make(0, 0, FX_ONE));
    vec3 right = v_unit(v_cross(v_make(0, FX_ONE, 0), back), v_make(FX_ONE, 0, 0));
    vec3 up = v_cross(back, right);
    const vec3 axes[3] = {right, up, back};
    for (int c = 0; c < 3; c++) {
        view.matrix.m[0][c] = axes[c].x;
        view.matrix.m[1][c] = axes[c].y;
        view.matrix.m[2][c] = axes[c].z;
        view.matrix.m[3][c] = -v_dot(eye, axes[c]);
    }
    view.eye = eye;
    fx32 level = fx_sqrt(FX_ONE - fx_mul(back.y, back.y));
    view.horizon = 96 - (96 * fx_div(fx_mul(back.y, view.cosine_v), fx_mul(level, view.sine_v)) >> 12);
    view.heading = fx_atan2(-back.x, -back.z);

    camera *cam = game.cam;
    if (cam) {
        cam->last_position = cam->position;
        cam->up = up;
        cam->right = right;
        cam->target = target;
        cam->position = eye;
        cam->elevation = 0;
        for (int row = 0; row < 4; row++) {
            for (int c = 0; c < 3; c++) {
                cam->matrix[row][c] = view.matrix.m[row][c];
            }
        }
        cam->fov = HALF_FOV;
        cam->aspect = ASPECT;
        cam->near = NEAR;
        cam->far = FAR;
    }
}

/* Where the eye may be: from above the kart back to where it would like to be, pushed out of the
 * walls on the way, so that it slides along them and never looks through one from behind. */
static vec3 felt_along(vec3 from, vec3 to) {
    vec3 step = v_sub(to, from), at = from;
    step = v_make(step.x / FEELER_STEPS, step.y / FEELER_STEPS, step.z / FEELER_STEPS);
    int touched = 0;
    for (int i = 0; i < FEELER_STEPS; i++) {
        contact touch;
        vec3 next = v_add(at, step);
        collide(&next, WALL_CLEARANCE, &touch);
        at.x = next.x;
        at.z = next.z;
        at.y += step.y;
        touched |= touch.on_wall;
    }
    near_wall = touched;
    return at;
}

static void place(void) {
    const driver *kart = &game.drivers[0];
    angle16 around = (angle16)(heading + orbit);
    fx32 level = fx_sqrt(FX_ONE - fx_mul(slope, slope));
    vec3 ahead = v_make(fx_mul(fx_sin(around), level), slope, fx_mul(fx_cos(around), level));
    if (orbit) {
        ahead.y = 0;
    }
    vec3 middle = kart->position;
    middle.y += lift;
    vec3 eye = v_mad(middle, ahead, -distance);
    eye.y += HEIGHT;
    /* The course pushes a sphere round the eye out of the floor, and out of walls.  Walls are felt
     * for only when one is near: this is the dearest part of the camera. */
    vec3 pushed = eye;
    contact touch;
    collide(&pushed, near_wall ? CLEARANCE : WALL_CLEARANCE + FX(2), &touch);
    int wall = touch.on_wall || near_wall;
    if (touch.on_floor && pushed.y > eye.y) {
        eye.y = fx_max(eye.y, pushed.y - (near_wall ? 0 : WALL_CLEARANCE + FX(2) - CLEARANCE));
    }
    if (wall) {
        vec3 above = middle;
        above.y += WALL_CLEARANCE + FX(1);
        eye = felt_along(above, eye);
    }
    vec3 target = v_mad(middle, ahead, orbit ? 0 : LOOK_AHEAD);
    target.y += LOOK_UP;
    look(eye, target);
    last_kart = kart->position;
}

void camera_reset(void) { placed = 0; }

void camera_snap(void) {
    const driver *kart = &game.drivers[0];
    set_projection();
    heading = fx_atan2(kart->forward.x, kart->forward.z);
    slope = kart->forward.y;
    distance = DISTANCE;
    orbit = 0;
    lift = 0;
    near_wall = 0;
    placed = 1;
    place();
}

void camera_update(void) {
    const driver *kart = &game.drivers[0];
    if (!placed || v_length(v_sub(kart->position, last_kart)) > JUMP) {
        camera_snap();
        return;
    }
    /* Rather where a drifting kart goes than where it points. */
    angle16 goal = (angle16)(fx_atan2(kart->forward.x, kart->forward.z) - kart->drift_angle / DRIFT_LOOK);
    heading = (angle16)(heading + (int16_t)(goal - heading) / HEADING_EASE);
    slope += (fx_clamp(kart->forward.y, FX(-0.5), FX(0.5)) - slope) / PITCH_EASE;
    /* Hops and jumps are seen, as the camera does not make all of them. */
    lift -= kart->position.y - last_kart.y;
    lift = kart->state_bits & DRIVER_ON_FLOOR ? lift / 2 : lift - lift / LIFT_EASE;
    lift = fx_clamp(lift, -LIFT_LIMIT, LIFT_LIMIT);
    fx32 wanted = DISTANCE + fx_mul(DISTANCE_BY_SPEED, fx_max(kart->speed, 0));
    distance += (wanted - distance) / 16;
    if (game.status && game.status->drivers[0].flags & STATUS_FINISHED) {
        if (orbit < ORBIT_END) {
            orbit += ORBIT_STEP;
        }
    } else {
        orbit = 0;
    }
    place();
}
