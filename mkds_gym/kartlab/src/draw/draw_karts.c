#include "draw/draw_karts.h"

#include "draw/draw_effects.h"
#include "draw/kart_model.h"
#include "draw/picture.h"
#include "kart/kart.h"
#include <string.h>

/* Directions the light travels, world space, as NORMAL's 1.0.9 components. */
#define LIGHT_DIRECTION(x, y, z) (((uint32_t)(x) & 0x3FF) | ((uint32_t)(y) & 0x3FF) << 10 | ((uint32_t)(z) & 0x3FF) << 20)
#define SUN LIGHT_DIRECTION(-220, -430, 160)
#define SKY_LIGHT LIGHT_DIRECTION(200, -300, -360)

#define KART_SPHERE FX(14)     /* round all of a kart, its shadow included */
#define MIDDLE_DEPTH FX(230)   /* up to here another kart has wheels */
#define FAR_DEPTH FX(1100)     /* beyond, it is less than two pixels */
#define MIDDLE_MAX 4           /* karts drawn in that detail, the nearest */
#define SHADOW_DEPTH FX(500)
#define EFFECTS_DEPTH FX(260)
#define GHOST_ALPHA 14
#define SPIN_STEP 1872            /* angle16 a frame of a spin-out: twice round in its 70 */

/* Of the drivers, by number; the player is red. */
const uint16_t paint_of[DRIVERS_MAX] = {
    RGB15(28, 4, 5), RGB15(3, 10, 28),  RGB15(4, 23, 6),   RGB15(30, 26, 3),
    RGB15(28, 12, 24), RGB15(4, 24, 26), RGB15(30, 15, 2), RGB15(14, 6, 24),
};

static struct kart_pose {
    struct view_matrix place; /* of the kart, shaken by the ground */
    fx32 steering;            /* shown, -1 right to 1 left */
    angle16 roll[2];          /* of the front and the rear wheels */
    uint16_t shaking;
    fx32 ground;              /* height of the floor it stood on last */
} poses[DRIVERS_MAX];

void draw_karts_init(void) {
    memset(poses, 0, sizeof poses);
    kart_model_init();
}

/* A rotation by `angle` in the plane of rows a and b of the unit matrix. */
static struct view_matrix turned(int a, int b, angle16 angle) {
    struct view_matrix m = {{{FX_ONE, 0, 0}, {0, FX_ONE, 0}, {0, 0, FX_ONE}, {0, 0, 0}}};
    m.m[a][a] = m.m[b][b] = fx_cos(angle);
    m.m[a][b] = fx_sin(angle);
    m.m[b][a] = -m.m[a][b];
    return m;
}

/* first, then second: rotations only, the second's translation stays. */
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

/* Every frame, whether it is seen or not: what a pose keeps from one frame to the next. */
static void pose_update(struct kart_pose *pose, const driver *kart) {
    pose->steering += (kart->turning - pose->steering) / 4;
    /* a turn is 2 pi r: 65536 / (2 pi r) angle16 a unit, r = 2.0625 and 2.625 */
    pose->roll[0] = (angle16)(pose->roll[0] + (kart->speed * 5057 >> 12));
    pose->roll[1] = (angle16)(pose->roll[1] + (kart->speed * 3973 >> 12));
    pose->shaking++;
    if (kart->state_bits & DRIVER_ON_FLOOR) {
        pose->ground = kart->position.y;
    }
}

static void pose_place(struct kart_pose *pose, const driver *kart) {
    const fx32(*m)[3] = kart->matrix;
    struct view_matrix *place = &pose->place;
    for (int c = 0; c < 3; c++) {
        /* the model's x runs right and its z backwards */
        place->m[0][c] = -m[0][c];
        place->m[1][c] = m[1][c];
        place->m[2][c] = -m[2][c];
    }
    place->m[3][0] = kart->position.x;
    place->m[3][1] = kart->position.y;
    place->m[3][2] = kart->position.z;
    /* Off the road the kart is shaken, the more the faster. */
    if (floor_is_off_road(kart->floor_type) && kart->state_bits & DRIVER_ON_FLOOR) {
        place->m[3][1] += fx_mul(fx_min(fx_abs(kart->speed), FX(3)), fx_sin((angle16)(pose->shaking * 0x3700))) / 8 + FX(0.3);
    }
    const struct kart *own = kart_of(kart);
    if (own->spin_frames) {
        struct view_matrix spinning = turned(2, 0, (angle16)(own->spin_frames * SPIN_STEP));
        *place = joined(&spinning, place);
    }
    angle16 lean = (angle16)(-fx_mul(pose->steering, fx_min(fx_abs(kart->speed), FX(4))) / 11);
    if (lean) {
        struct view_matrix leaning = turned(0, 1, lean);
        *place = joined(&leaning, place);
    }
}

static void draw_part(int part) { list_send(&kart_parts[part]); }

static void paint(uint16_t colour) {
    /* Diffuse the colour itself, ambient half of it: shadow sides keep their hue. */
    send_1(GX_DIF_AMB, colour | (uint32_t)(colour >> 1 & RGB15(15, 15, 15)) << 16);
}

/* From here on the view matrix lies in its slot, and lights shine from the world's directions. */
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

/* in_front: the viewer sees faces that look forward. */
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
        /* in the model's own scale */
        wheel.m[3][0] = kart_wheel_pivot[i].x / LIST_SCALE;
        wheel.m[3][1] = kart_wheel_pivot[i].y / LIST_SCALE;
        wheel.m[3][2] = kart_wheel_pivot[i].z / LIST_SCALE;
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

/* Discs of shrinking size, each a little darker where they overlap: a soft edge. */
static void draw_shadow(const struct kart_pose *pose, uint32_t id, int rings) {
    struct view_matrix place = pose->place;
    place.m[3][1] = pose->ground + FX(0.3);
    send_1(GX_MTX_RESTORE, VIEW_MATRIX_SLOT);
    send_matrix_4x3(GX_MTX_MULT_4X3, &place);
    send_1(GX_COLOR, 0);
    for (int ring = 0; ring < rings && book(KART_SHADOW, KART_SHADOW); ring++) {
        send_scale(ring ? FX(0.82) : FX(LIST_SCALE * 1.08));
        send_1(GX_POLYGON_ATTR, GX_FRONT_FACES | GX_BACK_FACES | GX_ALPHA(rings > 1 ? 8 : 12) | GX_POLYGON_ID(id + (uint32_t)ring));
        draw_part(KART_SHADOW);
    }
}

void draw_karts(const struct view *view) {
    struct {
        uint8_t index;
        fx32 depth;
    } seen[DRIVERS_MAX];
    int count = 0, middle = 0, drivers = DRIVER_COUNT < DRIVERS_MAX ? DRIVER_COUNT : DRIVERS_MAX;
    for (int i = 0; i < drivers; i++) {
        const driver *kart = &game.drivers[i];
        const fx32 *position = &kart->position.x;
        pose_update(&poses[i], kart);
        fx32 depth = view_depth(view, position);
        if (depth > FAR_DEPTH || !view_sees(view, position, KART_SPHERE)) {
            continue;
        }
        int at = count++;
        for (; at > 0 && seen[at - 1].depth > depth && seen[at - 1].index != 0; at--) {
            seen[at] = seen[at - 1];
        }
        seen[at].index = (uint8_t)i;
        seen[at].depth = depth;
    }
    lights_on(view);
    for (int n = 0; n < count; n++) {
        int i = seen[n].index;
        const driver *kart = &game.drivers[i];
        struct kart_pose *pose = &poses[i];
        int ghost = kart->kind == KIND_GHOST;
        pose_place(pose, kart);
        send_1(GX_MTX_RESTORE, VIEW_MATRIX_SLOT);
        send_matrix_4x3(GX_MTX_MULT_4X3, &pose->place);
        send_scale(FX_ONE * LIST_SCALE);
        /* A translucent polygon is not drawn over another of its number: the ghost has no insides. */
        send_1(GX_POLYGON_ATTR, GX_LIGHTS(3) | GX_FRONT_FACES | GX_ALPHA(ghost ? GHOST_ALPHA : 31) | GX_POLYGON_ID(ghost ? POLYGON_GHOST : POLYGON_KARTS + i));
        if (i == 0) {
            vec3 from = v_sub(view->eye, kart->position);
            /* Nothing that looks forward is seen from further back than this. */
            int in_front = v_dot(from, kart->forward) > -FX(12) || kart_of(kart)->spin_frames;
            book(KART_PAINT, in_front ? KART_MIDDLE_PAINT - 1 : KART_FRONT_PAINT - 1);
            draw_near(pose, paint_of[i], in_front);
        } else if (seen[n].depth < MIDDLE_DEPTH && middle < MIDDLE_MAX) {
            middle++;
            book(KART_MIDDLE_PAINT, KART_MIDDLE_TRIM);
            draw_plain(paint_of[i], KART_MIDDLE_PAINT);
        } else {
            book(KART_FAR_PAINT, KART_FAR_TRIM);
            draw_plain(paint_of[i], KART_FAR_PAINT);
        }
    }
    for (int n = 0; n < count; n++) {
        int i = seen[n].index;
        if (seen[n].depth < EFFECTS_DEPTH && game.drivers[i].kind != KIND_GHOST) {
            draw_effects(view, &game.drivers[i], &poses[i].place);
        }
        int fallen = game.drivers[i].position.y < poses[i].ground - FX(4); /* off the course */
        if (seen[n].depth < SHADOW_DEPTH && game.drivers[i].kind != KIND_GHOST && !fallen) {
            draw_shadow(&poses[i], POLYGON_SHADOWS + (i ? 1u + (uint32_t)i : 0u), i ? 1 : 2);
        }
    }
}
