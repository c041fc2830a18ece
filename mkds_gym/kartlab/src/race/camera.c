/* The camera follows the kart and turns a little late.
 *
 * The camera struct describes the view that is drawn: eye = position + (0, elevation, 0), looking
 * at target.  The 4x3 matrix at +0x30 takes a position divided by 16 to view space, for row vectors:
 *
 *     (vx, vy, vz) = (x / 16, y / 16, z / 16, 1) * M
 *     M[0..2][c]: components of the world's axes x, y, z along
 *                 c = 0: right, 1: up of the screen, 2: backwards (target to eye)
 *     M[3] = -eye / 16 * M[0..2]
 *
 * So vx runs right, vy up, and points in front of the eye have vz < 0 and depth = -vz.  A point is
 * at column 128 + 96 / tan(fov) * 4/3 / aspect * vx / depth and at row
 * 96 - 96 / tan(fov) * vy / depth, where fov is the HALF vertical angle at +0x60.  Its sine and
 * cosine are at +0x68.  The picture itself is drawn in world units, with the matrix of `struct view`.
 */
#include "race/camera.h"

#include "course/collide.h"
#include "game.h"
#include "platform/fx.h"

#define HALF_FOV 4915 /* angle16: 27 degrees */
#define ASPECT (FX_ONE * 4 / 3)
#define NEAR FX(4)
#define FAR FX(6500)
#define DEPTH_SHIFT 2 /* the rasteriser keeps 24 bits of depth: below 4,096 of 4 units */

#define DISTANCE FX(50)       /* behind a kart at rest */
#define DISTANCE_BY_SPEED FX(1.2) /* more distance for each unit of speed */
#define HEIGHT FX(28)
#define LOOK_AHEAD FX(42)
#define LOOK_UP FX(12)
#define HEADING_EASE 7        /* each frame closes a seventh of the gap */
#define PITCH_EASE 12
#define CLEARANCE FX(7)       /* between eye and floor */
#define WALL_CLEARANCE FX(11) /* between eye and wall: larger than the near corners of the view */
#define VIEW_UNIT 16           /* world units per unit of the camera struct's view space */
#define DIRECTION_LENGTH FX(0.965) /* of the camera struct's three directions, as in the original */
#define FEELER_STEPS 4        /* steps from the kart to the eye, along a wall */
#define DRIFT_LOOK 2          /* in a drift the camera turns less, by this part of the drift angle */
#define LIFT_EASE 5           /* how slowly the camera follows a kart in the air */
#define LIFT_LIMIT FX(14)      /* largest distance from the kart in the air */
#define JUMP FX(100)          /* a longer move in a frame is a respawn, not driving */
#define ORBIT_STEP 90         /* angle16 a frame around a kart that has finished */
#define ORBIT_END 0x7000

struct chase chases[DRIVERS_MAX];
static struct view views[DRIVERS_MAX];

/* The camera of the race that runs now. */
static inline struct chase *chase_now(void) { return &chases[game.first]; }

const struct view *camera_view(void) { return &views[game.first]; }

/* Returns a world point's component along an axis of the view, rounded once. */
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

static void set_projection(struct view *view) {
    view->sine_v = fx_sin(HALF_FOV);
    view->cosine_v = fx_cos(HALF_FOV);
    fx32 cotangent = fx_div(view->cosine_v, view->sine_v);
    view->top = fx_div(NEAR / VIEW_UNIT, cotangent);
    fx32 width = fx_mul(fx_div(FX_ONE, cotangent), ASPECT); /* tangent of half the horizontal angle */
    fx32 length = fx_sqrt(FX_ONE + fx_mul(width, width));
    view->cosine_h = fx_div(FX_ONE, length);
    view->sine_h = fx_div(width, length);
    for (int i = 0; i < 16; i++) {
        view->projection[i >> 2][i & 3] = 0;
    }
    /* All of it by one factor: this changes the depth's unit and nothing else. */
    view->projection[0][0] = fx_div(cotangent, ASPECT) >> DEPTH_SHIFT;
    view->projection[1][1] = cotangent >> DEPTH_SHIFT;
    view->projection[2][2] = -fx_div(FAR + NEAR, FAR - NEAR) >> DEPTH_SHIFT;
    view->projection[2][3] = -FX_ONE >> DEPTH_SHIFT;
    view->projection[3][2] = -fx_mul(2 * NEAR, fx_div(FAR, FAR - NEAR)) >> DEPTH_SHIFT;
}

/* Writes the camera struct of a view. */
static void describe(camera *cam, const struct view *view, vec3 target) {
    const fx32(*m)[3] = view->matrix.m;
    cam->up = v_scale(v_make(m[0][1], m[1][1], m[2][1]), DIRECTION_LENGTH);
    cam->left = v_scale(v_make(m[0][0], m[1][0], m[2][0]), -DIRECTION_LENGTH);
    cam->look_direction = v_scale(v_make(m[0][2], m[1][2], m[2][2]), -DIRECTION_LENGTH);
    cam->previous_position = cam->position;
    cam->target = target;
    cam->position = view->eye;
    cam->elevation = 0;
    for (int c = 0; c < 3; c++) {
        for (int row = 0; row < 3; row++) {
            cam->matrix[row][c] = m[row][c];
        }
        cam->matrix[3][c] = (m[3][c] + VIEW_UNIT / 2) >> 4;
    }
    cam->fov = cam->target_fov = HALF_FOV;
    cam->fov_sine = (fx16)view->sine_v;
    cam->fov_cosine = (fx16)view->cosine_v;
    cam->aspect = ASPECT;
    cam->near = NEAR / VIEW_UNIT;
    cam->far = FAR / VIEW_UNIT;
    cam->frustum_top = view->top;
    cam->frustum_bottom = -view->top;
    cam->frustum_right = fx_mul(view->top, ASPECT);
    cam->frustum_left = -cam->frustum_right;
}

static void look(vec3 eye, vec3 target) {
    struct view *view = &views[game.first];
    vec3 back = v_unit(v_sub(eye, target), v_make(0, 0, FX_ONE));
    vec3 right = v_unit(v_cross(v_make(0, FX_ONE, 0), back), v_make(FX_ONE, 0, 0));
    vec3 up = v_cross(back, right);
    const vec3 axes[3] = {right, up, back};
    for (int c = 0; c < 3; c++) {
        view->matrix.m[0][c] = axes[c].x;
        view->matrix.m[1][c] = axes[c].y;
        view->matrix.m[2][c] = axes[c].z;
        view->matrix.m[3][c] = -v_dot(eye, axes[c]);
    }
    view->eye = eye;
    fx32 level = fx_sqrt(FX_ONE - fx_mul(back.y, back.y));
    view->horizon = 96 - (96 * fx_div(fx_mul(back.y, view->cosine_v), fx_mul(level, view->sine_v)) >> 12);
    view->heading = fx_atan2(-back.x, -back.z);

    if (game.cam) {
        describe(game.cam, view, target);
    }
}

/* Moves the eye in steps from above the kart to where it should be. Walls push it on the way: the
 * eye slides along them and never looks through a wall from behind. */
static vec3 felt_along(vec3 from, vec3 to, int *near_wall) {
    vec3 step = v_sub(to, from), at = from;
    step = v_make(step.x / FEELER_STEPS, step.y / FEELER_STEPS, step.z / FEELER_STEPS);
    int touched = 0;
    for (int i = 0; i < FEELER_STEPS; i++) {
        contact touch;
        vec3 next = v_add(at, step);
        collide(&next, WALL_CLEARANCE, WALL_CLEARANCE, &touch);
        at.x = next.x;
        at.z = next.z;
        at.y += step.y;
        touched |= touch.on_wall;
    }
    *near_wall = touched;
    return at;
}

static void place(struct chase *own) {
    const driver *kart = &game.drivers[game.shown];
    angle16 around = (angle16)(own->heading + own->orbit);
    fx32 level = fx_sqrt(FX_ONE - fx_mul(own->slope, own->slope));
    vec3 ahead = v_make(fx_mul(fx_sin(around), level), own->slope, fx_mul(fx_cos(around), level));
    if (own->orbit) {
        ahead.y = 0;
    }
    vec3 middle = kart->position;
    middle.y += own->lift;
    vec3 eye = v_mad(middle, ahead, -own->distance);
    eye.y += HEIGHT;
    /* The course pushes a sphere around the eye out of floor and walls. The slow test along walls
     * only runs near a wall. */
    vec3 pushed = eye;
    contact touch;
    fx32 clearance = own->near_wall ? CLEARANCE : WALL_CLEARANCE + FX(2);
    collide(&pushed, clearance, clearance, &touch);
    int wall = touch.on_wall || own->near_wall;
    if (touch.on_floor && pushed.y > eye.y) {
        eye.y = fx_max(eye.y, pushed.y - (own->near_wall ? 0 : WALL_CLEARANCE + FX(2) - CLEARANCE));
    }
    if (wall) {
        vec3 above = middle;
        above.y += WALL_CLEARANCE + FX(1);
        eye = felt_along(above, eye, &own->near_wall);
    }
    vec3 target = v_mad(middle, ahead, own->orbit ? 0 : LOOK_AHEAD);
    target.y += LOOK_UP;
    own->previous_eye = own->eye;
    own->eye = eye;
    own->target = target;
    own->last_kart = kart->position;
    own->unseen = game.choice.alone != 0;
    if (!own->unseen) {
        look(eye, target);
    }
}

void camera_look(void) {
    struct chase *own = chase_now();
    if (own->unseen) {
        own->unseen = 0;
        game.cam->position = own->previous_eye;
        look(own->eye, own->target);
    }
}

void camera_reset(void) {
    for (int i = 0; i < DRIVERS_MAX; i++) {
        chases[i].placed = 0;
    }
}

void camera_snap(void) {
    struct chase *own = chase_now();
    const driver *kart = &game.drivers[game.shown];
    set_projection(&views[game.first]);
    own->heading = fx_atan2(kart->forward.x, kart->forward.z);
    own->slope = kart->forward.y;
    own->distance = DISTANCE;
    own->orbit = 0;
    own->lift = 0;
    own->near_wall = 0;
    own->placed = 1;
    place(own);
}

void camera_update(void) {
    struct chase *own = chase_now();
    const driver *kart = &game.drivers[game.shown];
    if (!own->placed || v_longer(v_sub(kart->position, own->last_kart), JUMP)) {
        camera_snap();
        return;
    }
    /* Look where a drifting kart goes, not where it points. */
    angle16 goal = (angle16)(fx_atan2(kart->forward.x, kart->forward.z) - kart->drift_angle / DRIFT_LOOK);
    own->heading = (angle16)(own->heading + (int16_t)(goal - own->heading) / HEADING_EASE);
    own->slope += (fx_clamp(kart->forward.y, FX(-0.5), FX(0.5)) - own->slope) / PITCH_EASE;
    /* The camera follows hops and jumps only in part, which makes them visible. */
    own->lift -= kart->position.y - own->last_kart.y;
    own->lift = kart->state_bits & DRIVER_STATE_ON_FLOOR ? own->lift / 2 : own->lift - own->lift / LIFT_EASE;
    own->lift = fx_clamp(own->lift, -LIFT_LIMIT, LIFT_LIMIT);
    fx32 wanted = DISTANCE + fx_mul(DISTANCE_BY_SPEED, fx_max(kart->speed, 0));
    own->distance += (wanted - own->distance) / 16;
    if (game.status && game.status->drivers[game.shown].flags & STATUS_FLAG_FINISHED) {
        if (own->orbit < ORBIT_END) {
            own->orbit += ORBIT_STEP;
        }
    } else {
        own->orbit = 0;
    }
    place(own);
}
