#include "draw/draw_karts.h"

#include "draw/draw_effects.h"
#include "draw/kart_model.h"
#include "draw/picture.h"
#include "game.h"
#include "kart/kart.h"
#include "race/picture_state.h"
#include <string.h>

/* Directions of the light in world space, as components of NORMAL (1.0.9). */
#define LIGHT_DIRECTION(x, y, z) (((uint32_t)(x) & 0x3FF) | ((uint32_t)(y) & 0x3FF) << 10 | ((uint32_t)(z) & 0x3FF) << 20)
#define SUN LIGHT_DIRECTION(-220, -430, 160)
#define SKY_LIGHT LIGHT_DIRECTION(200, -300, -360)

#define KART_SPHERE FX(19)     /* radius of a kart with its shadow */
#define MIDDLE_DEPTH FX(300)   /* nearer karts have wheels */
#define FAR_DEPTH FX(1800)     /* farther karts are smaller than two pixels */
#define MIDDLE_MAX 4           /* karts with wheels, the nearest */
#define SHADOW_DEPTH FX(700)
#define EFFECTS_DEPTH FX(400)
#define GHOST_ALPHA 14
#define SPIN_STEP 1872            /* angle16 a frame: two turns in a spin-out of 70 frames */

/* By driver number; the player is red. */
const uint16_t paint_of[DRIVERS_MAX] = {
    RGB15(28, 4, 5), RGB15(3, 10, 28),  RGB15(4, 23, 6),   RGB15(30, 26, 3),
    RGB15(28, 12, 24), RGB15(4, 24, 26), RGB15(30, 15, 2), RGB15(14, 6, 24),
};

struct kart_pose poses[DRIVERS_MAX];

void draw_karts_init(void) {
    memset(poses, 0, sizeof poses);
    kart_model_init();
}

/* Returns a rotation by `angle` in the plane of axes a and b. */
static struct view_matrix turned(int a, int b, angle16 angle) {
    struct view_matrix m = {{{FX_ONE, 0, 0}, {0, FX_ONE, 0}, {0, 0, FX_ONE}, {0, 0, 0}}};
    m.m[a][a] = m.m[b][b] = fx_cos(angle);
    m.m[a][b] = fx_sin(angle);
    m.m[b][a] = -m.m[a][b];
    return m;
}

/* Returns the first rotation followed by the second, with the second's translation. */
static struct view_matrix joined(const struct view_matrix *first, const struct view_matrix *second) {
    struct view_matrix out = *second;
    for (int r = 0; r < 3; r++) {
        for (int c = 0; c < 3; c++) {
            out.m[r][c] = fx_mul(first->m[r][0], second->m[0][c]) + fx_mul(first->m[r][1], second->m[1][c]) +
                          fx_mul(first->m[r][2], second->m[2][c]);
        }
    }
    return out;
}

/* Updates what a pose keeps between frames, also for karts out of view. */
static void pose_update(struct kart_pose *pose, const driver *kart) {
    pose->steering += (kart->turning - pose->steering) / 4;
    /* A unit of way turns a wheel by 65536 / (2 pi r) angle16; r = 2.75 and 3.5. */
    pose->roll[0] = (angle16)(pose->roll[0] + (kart->speed * 3793 >> 12));
    pose->roll[1] = (angle16)(pose->roll[1] + (kart->speed * 2980 >> 12));
    pose->shaking++;
    if (kart->state_bits & DRIVER_STATE_ON_FLOOR) {
        pose->ground = kart->position.y;
    }
}

static void pose_place(struct kart_pose *pose, const driver *kart) {
    const fx32(*m)[3] = kart->matrix;
    struct view_matrix *place = &pose->place;
    for (int c = 0; c < 3; c++) {
        /* the model's x runs right, its z backwards */
        place->m[0][c] = -m[0][c];
        place->m[1][c] = m[1][c];
        place->m[2][c] = -m[2][c];
    }
    place->m[3][0] = kart->position.x;
    place->m[3][1] = kart->position.y;
    place->m[3][2] = kart->position.z;
    /* Rough ground shakes the kart, faster karts more. */
    if (floor_is_off_road(kart->floor_type) && kart->state_bits & DRIVER_STATE_ON_FLOOR) {
        place->m[3][1] += fx_mul(fx_min(fx_abs(kart->speed), FX(5)), fx_sin((angle16)(pose->shaking * 0x3700))) / 10 + FX(0.4);
    }
    const struct kart *own = kart_of(kart);
    if (own->spin_frames) {
        struct view_matrix spinning = turned(2, 0, (angle16)(own->spin_frames * SPIN_STEP));
        *place = joined(&spinning, place);
    }
    angle16 lean = (angle16)(-fx_mul(pose->steering, fx_min(fx_abs(kart->speed), FX(6.5))) / 18);
    if (lean) {
        struct view_matrix leaning = turned(0, 1, lean);
        *place = joined(&leaning, place);
    }
}

static void draw_part(int part) { list_send(&kart_parts[part]); }

static void paint(uint16_t colour) {
    /* Ambient is half of diffuse, so shaded sides keep their hue. */
    send_1(GX_DIF_AMB, colour | (uint32_t)(colour >> 1 & RGB15(15, 15, 15)) << 16);
}

/* Stores the view matrix in its slot, and sets the lights in world directions. */
static void lights_on(const struct view *view) {
    send_1(GX_MTX_MODE, GX_MODE_POSITION_VECTOR);
    send_matrix_4x3(GX_MTX_LOAD_4X3, &view->matrix);
    send_1(GX_MTX_STORE, VIEW_MATRIX_SLOT);
    send_1(GX_LIGHT_VECTOR, SUN);
    send_1(GX_LIGHT_VECTOR, 1u << 30 | SKY_LIGHT);
    send_1(GX_LIGHT_COLOR, RGB15(29, 28, 25));
    send_1(GX_LIGHT_COLOR, 1u << 30 | RGB15(9, 10, 13));
    send_1(GX_SPE_EMI, 0);
}

/* in_front: faces that look forward are visible. */
static void draw_near(const struct kart_pose *pose, uint16_t colour, int in_front) {
    paint(colour);
    draw_part(KART_PAINT);
    if (in_front) {
        draw_part(KART_FRONT_PAINT);
    }
    draw_part(KART_TRIM);
    GX_FIFO = GX_MTX_PUSH;
    struct view_matrix head = turned(2, 0, (angle16)(pose->steering * 3 / 4));
    send_matrix_4x3(GX_MTX_MULT_4X3, &head);
    draw_part(KART_DRIVER);
    if (in_front) {
        draw_part(KART_FRONT_TRIM);
    }
    paint(colour);
    draw_part(KART_HELMET);
    if (in_front) {
        draw_part(KART_FRONT_HELMET);
    }
    send_1(GX_MTX_POP, 1);
    send_1(GX_POLYGON_ATTR, GX_FRONT_FACES | GX_ALPHA(31) | GX_POLYGON_ID(POLYGON_KARTS));
    struct view_matrix steer = turned(2, 0, (angle16)(pose->steering + pose->steering / 4));
    for (int i = 0; i < 4; i++) {
        struct view_matrix wheel = turned(1, 2, (angle16)-pose->roll[i >> 1]);
        if (i < 2) {
            wheel = joined(&wheel, &steer);
        }
        /* in the scale of the model */
        wheel.m[3][0] = kart_wheel_pivot[i].x / 4;
        wheel.m[3][1] = kart_wheel_pivot[i].y / 4;
        wheel.m[3][2] = kart_wheel_pivot[i].z / 4;
        if (i < 3) {
            GX_FIFO = GX_MTX_PUSH;
        }
        send_matrix_4x3(GX_MTX_MULT_4X3, &wheel);
        draw_part(KART_WHEEL + i);
        if (i < 3) {
            send_1(GX_MTX_POP, 1);
        }
    }
}

static void draw_plain(uint16_t colour, int first_part) {
    paint(colour);
    draw_part(first_part);
    draw_part(first_part + 1);
}

static int book(int first_part, int last_part) {
    const struct picture_size none = {0, 0};
    struct picture_size size = {0, 0};
    for (int i = first_part; i <= last_part; i++) {
        size.polygons += kart_parts[i].size.polygons;
        size.vertices += kart_parts[i].size.vertices;
    }
    return picture_takes(size, none);
}

/* Draws discs of decreasing size on top of each other: a soft edge. */
static void draw_shadow(const struct kart_pose *pose, uint32_t id, int rings) {
    struct view_matrix place = pose->place;
    place.m[3][1] = pose->ground + FX(0.8);
    send_1(GX_MTX_RESTORE, VIEW_MATRIX_SLOT);
    send_matrix_4x3(GX_MTX_MULT_4X3, &place);
    send_1(GX_COLOR, 0);
    for (int ring = 0; ring < rings && book(KART_SHADOW, KART_SHADOW); ring++) {
        send_scale(ring ? FX(0.82) : fx_mul(LIST_SCALE, FX(1.08)));
        send_1(GX_POLYGON_ATTR, GX_FRONT_FACES | GX_BACK_FACES | GX_ALPHA(rings > 1 ? 8 : 12) | GX_POLYGON_ID(id + (uint32_t)ring));
        draw_part(KART_SHADOW);
    }
}

void poses_update(void) {
    for (uint32_t i = 0; i < race.count; i++) {
        pose_update(&poses[game.first + i], &game.drivers[i]);
    }
}

void draw_karts(const struct view *view) {
    struct {
        uint8_t index;
        fx32 depth;
    } visible[DRIVERS_MAX];
    struct kart_pose *own_poses = &poses[game.first];
    int count = 0, middle = 0;
    for (int i = 0; i < (int)race.count; i++) {
        const driver *kart = &game.drivers[i];
        const fx32 *position = &kart->position.x;
        fx32 depth = view_depth(view, position);
        if (depth > FAR_DEPTH || !view_sees(view, position, KART_SPHERE)) {
            continue;
        }
        int at = count++;
        for (; at > 0 && visible[at - 1].depth > depth && visible[at - 1].index != game.shown; at--) {
            visible[at] = visible[at - 1];
        }
        visible[at].index = (uint8_t)i;
        visible[at].depth = depth;
    }
    lights_on(view);
    for (int n = 0; n < count; n++) {
        int i = visible[n].index;
        const driver *kart = &game.drivers[i];
        struct kart_pose *pose = &own_poses[i];
        int ghost = (kart->kind & KIND_GHOST) != 0;
        pose_place(pose, kart);
        send_1(GX_MTX_RESTORE, VIEW_MATRIX_SLOT);
        send_matrix_4x3(GX_MTX_MULT_4X3, &pose->place);
        send_scale(LIST_SCALE);
        /* The hardware does not draw a translucent polygon over another polygon of the same number,
         * so the ghost's inner faces stay hidden. */
        send_1(GX_POLYGON_ATTR, GX_LIGHTS(3) | GX_FRONT_FACES | GX_ALPHA(ghost ? GHOST_ALPHA : 31) | GX_POLYGON_ID(ghost ? POLYGON_GHOST : POLYGON_KARTS + i));
        if (i == (int)game.shown) {
            vec3 from = v_sub(view->eye, kart->position);
            /* From farther back than this, no face that looks forward is visible. */
            int in_front = v_dot(from, kart->forward) > -FX(16) || kart_of(kart)->spin_frames;
            book(KART_PAINT, in_front ? KART_MIDDLE_PAINT - 1 : KART_FRONT_PAINT - 1);
            draw_near(pose, paint_of[i], in_front);
        } else if (visible[n].depth < MIDDLE_DEPTH && middle < MIDDLE_MAX) {
            middle++;
            book(KART_MIDDLE_PAINT, KART_MIDDLE_TRIM);
            draw_plain(paint_of[i], KART_MIDDLE_PAINT);
        } else {
            book(KART_FAR_PAINT, KART_FAR_TRIM);
            draw_plain(paint_of[i], KART_FAR_PAINT);
        }
    }
    for (int n = 0; n < count; n++) {
        int i = visible[n].index;
        if (visible[n].depth < EFFECTS_DEPTH && !(game.drivers[i].kind & KIND_GHOST)) {
            draw_effects(view, &game.drivers[i], &own_poses[i].place);
        }
        int fallen = game.drivers[i].position.y < own_poses[i].ground - FX(6); /* the kart falls off the course */
        if (visible[n].depth < SHADOW_DEPTH && !(game.drivers[i].kind & KIND_GHOST) && !fallen) {
            int own = i == (int)game.shown;
            uint32_t other = 2u + (uint32_t)(i < (int)game.shown ? i : i - 1);
            draw_shadow(&own_poses[i], POLYGON_SHADOWS + (own ? 0u : other), own ? 2 : 1);
        }
    }
}
