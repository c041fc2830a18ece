#include "draw/draw_items.h"

#include "draw/list.h"
#include "game.h"
#include "race/items.h"

#define BOX_DEPTH FX(1200)
#define OBJECT_DEPTH FX(900)
#define ITEMS_MAX 28      /* the limit for a picture; the nearest are drawn */
#define BOX_TURN 700      /* angle16 a frame */
#define SHELL_TURN 3000
#define BOB FX(1.8)       /* how far boxes float up and down */

static struct display_list box, shell, banana;

static void coloured(point p, uint16_t colour) {
    list_colour(colour);
    list_vertex(p);
}

/* A cube with a different colour at each corner. */
static void build_box(void) {
    static const uint16_t colours[8] = {
        RGB15(31, 8, 8), RGB15(31, 24, 4), RGB15(8, 28, 8), RGB15(6, 14, 31),
        RGB15(31, 22, 6), RGB15(14, 31, 14), RGB15(8, 24, 31), RGB15(28, 10, 30),
    };
    const int16_t s = 108;
    point p[8];
    for (int i = 0; i < 8; i++) {
        p[i] = (point){(int16_t)((i & 3) == 1 || (i & 3) == 2 ? s : -s), (int16_t)(i & 4 ? s : -s), (int16_t)(i & 2 ? s : -s)};
    }
    list_start(&box);
    list_begin(GX_QUAD_STRIP);
    for (int i = 0; i < 5; i++) {
        int k = (4 - i) & 3;
        coloured(p[k + 4], colours[k + 4]);
        coloured(p[k], colours[k]);
    }
    list_begin(GX_QUADS);
    for (int i = 7; i >= 4; i--) {
        coloured(p[i], colours[i]);
    }
    list_end(&box);
}

/* A dome of six sides on a pale rim. */
static void build_shell(void) {
    static const int16_t x6[6] = {0, 222, 222, 0, -222, -222}, z6[6] = {256, 128, -128, -256, -128, 128};
    static const int16_t radius[3] = {64, 58, 26}, height[3] = {6, 30, 72};
    list_start(&shell);
    for (int ring = 0; ring < 2; ring++) {
        list_begin(GX_QUAD_STRIP);
        for (int k = 0; k <= 6; k++) {
            for (int upper = 1; upper >= 0; upper--) {
                int r = radius[ring + upper], i = k % 6;
                point p = {(int16_t)(x6[i] * r / 256), height[ring + upper], (int16_t)(z6[i] * r / 256)};
                uint16_t green = k & 1 ? RGB15(3, 22, 5) : RGB15(6, 28, 8);
                coloured(p, ring == 0 ? RGB15(29, 29, 24) : green);
            }
        }
    }
    list_begin(GX_QUADS);
    list_colour(RGB15(10, 31, 12));
    for (int k = 0; k < 6; k += 3) {
        for (int i = 0; i < 4; i++) {
            int at = (k + i) % 6;
            list_vertex((point){(int16_t)(x6[at] * radius[2] / 256), height[2], (int16_t)(z6[at] * radius[2] / 256)});
        }
    }
    list_end(&shell);
}

/* A peel on its four flaps, with its stalk in the air. */
static void build_banana(void) {
    static const int8_t x4[4] = {1, 0, -1, 0}, z4[4] = {0, 1, 0, -1};
    list_start(&banana);
    list_begin(GX_TRIANGLES);
    for (int k = 0; k < 4; k++) {
        int n = (k + 1) & 3;
        point foot = {(int16_t)((x4[k] + x4[n]) * 44), 2, (int16_t)((z4[k] + z4[n]) * 44)};
        point left = {(int16_t)(x4[k] * 22), 26, (int16_t)(z4[k] * 22)}, right = {(int16_t)(x4[n] * 22), 26, (int16_t)(z4[n] * 22)};
        point tip = {0, 84, 0};
        coloured(foot, RGB15(24, 18, 2));
        coloured(left, RGB15(31, 28, 6));
        list_vertex(right);
        list_vertex(left);
        coloured(tip, RGB15(12, 9, 2));
        coloured(right, RGB15(30, 25, 4));
    }
    list_end(&banana);
}

void draw_items_init(void) {
    build_box();
    build_shell();
    build_banana();
}

static void put_model(const struct display_list *list, vec3 at, angle16 turn) {
    fx32 sine = fx_mul(fx_sin(turn), LIST_SCALE), cosine = fx_mul(fx_cos(turn), LIST_SCALE);
    const struct view_matrix m = {{{cosine, 0, -sine}, {0, LIST_SCALE, 0}, {sine, 0, cosine}, {at.x, at.y, at.z}}};
    send_1(GX_MTX_RESTORE, VIEW_MATRIX_SLOT);
    send_matrix_4x3(GX_MTX_MULT_4X3, &m);
    list_send(list);
}

struct sight {
    const struct display_list *list;
    const vec3 *position;
    fx32 depth;
    uint32_t number;
};

static struct sight sights[ITEMS_MAX];
static uint32_t sight_count;

/* Adds a thing to the sights if it is among the nearest. */
static void note(const struct view *view, const struct display_list *list, const vec3 *position, fx32 limit, uint32_t number) {
    fx32 depth = view_depth(view, &position->x);
    if (depth > limit || !view_sees(view, &position->x, FX(14))) {
        return;
    }
    uint32_t at = sight_count < ITEMS_MAX ? sight_count++ : ITEMS_MAX;
    for (; at > 0 && sights[at - 1].depth > depth; at--) {
        if (at < ITEMS_MAX) {
            sights[at] = sights[at - 1];
        }
    }
    if (at < ITEMS_MAX) {
        sights[at] = (struct sight){list, position, depth, number};
    }
}

void draw_items(const struct view *view) {
    uint32_t frame = game.state ? game.state->frame : 0;
    sight_count = 0;
    for (uint32_t i = 0; i < item_box_count; i++) {
        if (!item_boxes[i].hidden_frames) {
            note(view, &box, &item_boxes[i].position, BOX_DEPTH, i);
        }
    }
    for (uint32_t i = 0; i < ITEM_OBJECTS_MAX; i++) {
        const struct item_object *item = &item_objects[i];
        if (item->active) {
            note(view, item->kind == ITEM_SHELL ? &shell : &banana, &item->position, OBJECT_DEPTH, i);
        }
    }
    if (!sight_count) {
        return;
    }
    send_1(GX_MTX_MODE, GX_MODE_POSITION);
    send_1(GX_POLYGON_ATTR, GX_FRONT_FACES | GX_ALPHA(31) | GX_POLYGON_ID(POLYGON_ITEMS));
    for (uint32_t n = 0; n < sight_count; n++) {
        const struct sight *sight = &sights[n];
        if (!picture_takes(sight->list->size, picture_reserve)) {
            break;
        }
        vec3 at = *sight->position;
        angle16 turn = 0;
        if (sight->list == &box) {
            turn = (angle16)(frame * BOX_TURN + sight->number * 9000);
            at.y += fx_mul(fx_sin((angle16)(frame * 900 + sight->number * 7000)), BOB);
        } else if (sight->list == &shell) {
            turn = (angle16)(frame * SHELL_TURN);
        }
        put_model(sight->list, at, turn);
    }
}
