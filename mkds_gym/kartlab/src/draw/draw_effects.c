/* Effects keep no state between frames. A puff of dust lies where the kart was some frames ago by
 * its present velocity, and flicker is a hash of the frame's number. A picture depends on the
 * race's state alone. */
#include "draw/draw_effects.h"

#include "draw/list.h"
#include "kart/kart.h"

#define DUST_FRAMES 20  /* lifetime of a puff */
#define DUST_PUFFS 4
#define LANDING_FRAMES 14

static struct display_list flame, spark, puff, streak;

static void build_flame(void) {
    /* a three-sided spike along z, hottest at its root */
    static const int16_t x[3] = {0, 12, -12}, y[3] = {14, -8, -8};
    list_start(&flame);
    list_begin(GX_TRIANGLES);
    for (int k = 0; k < 3; k++) {
        int n = (k + 1) % 3;
        list_colour(RGB15(31, 28, 12));
        list_vertex((point){x[k], y[k], 0});
        list_vertex((point){x[n], y[n], 0});
        list_colour(RGB15(31, 8, 0));
        list_vertex((point){0, 0, 96});
    }
    list_end(&flame);
}

/* These lists face the viewer and need no normals. The caller sets the colour. */
static void build_flats(void) {
    list_start(&spark); /* a star of two thin diamonds */
    list_begin(GX_QUADS);
    list_vertex((point){0, -36, 0});
    list_vertex((point){6, 0, 0});
    list_vertex((point){0, 36, 0});
    list_vertex((point){-6, 0, 0});
    list_vertex((point){0, -6, 0});
    list_vertex((point){36, 0, 0});
    list_vertex((point){0, 6, 0});
    list_vertex((point){-36, 0, 0});
    list_end(&spark);
    list_start(&puff); /* a hexagon */
    list_begin(GX_QUADS);
    static const int16_t x[6] = {32, 16, -16, -32, -16, 16}, y[6] = {0, 28, 28, 0, -28, -28};
    for (int half = 0; half < 6; half += 3) {
        for (int i = 0; i < 4; i++) {
            int k = (half + i) % 6;
            list_vertex((point){x[k], y[k], 0});
        }
    }
    list_end(&puff);
    list_start(&streak); /* along z */
    list_begin(GX_QUADS);
    list_vertex((point){-2, 0, 0});
    list_vertex((point){-2, 0, 120});
    list_vertex((point){2, 3, 120});
    list_vertex((point){2, 3, 0});
    list_end(&streak);
}

void draw_effects_init(void) {
    build_flame();
    build_flats();
}

static uint32_t flicker(uint32_t what) {
    uint32_t h = (game.state->frame * 0x9E3779B1u) ^ (what * 0x85EBCA77u);
    h ^= h >> 15;
    h *= 0x2C1B3C6Du;
    return h ^ h >> 13;
}

static int begin(const struct display_list *list) {
    return picture_takes(list->size, picture_reserve);
}

static void attributes(uint32_t alpha, uint32_t id) {
    send_1(GX_POLYGON_ATTR, GX_FRONT_FACES | GX_BACK_FACES | GX_ALPHA(alpha) | GX_POLYGON_ID(id));
}

/* Draws a list at a place in the world, facing the viewer. */
static void put_flat(const struct view *view, const struct display_list *list, vec3 at, fx32 size) {
    const fx32(*m)[3] = view->matrix.m;
    struct view_matrix here = {{{size, 0, 0}, {0, size, 0}, {0, 0, size}, {0, 0, 0}}};
    for (int c = 0; c < 3; c++) {
        here.m[3][c] = fx_mul(at.x, m[0][c]) + fx_mul(at.y, m[1][c]) + fx_mul(at.z, m[2][c]) + m[3][c];
    }
    if (here.m[3][2] < -FX(11) && begin(list)) {
        send_matrix_4x3(GX_MTX_LOAD_4X3, &here);
        list_send(list);
    }
}

/* Returns the world position of a point in the kart's own directions. */
static vec3 kart_point(const struct view_matrix *place, fx32 right, fx32 up, fx32 back) {
    const fx32(*m)[3] = place->m;
    return v_make(m[3][0] + fx_mul(right, m[0][0]) + fx_mul(up, m[1][0]) + fx_mul(back, m[2][0]),
                  m[3][1] + fx_mul(right, m[0][1]) + fx_mul(up, m[1][1]) + fx_mul(back, m[2][1]),
                  m[3][2] + fx_mul(right, m[0][2]) + fx_mul(up, m[1][2]) + fx_mul(back, m[2][2]));
}

/* Draws a list in the kart's own directions, stretched along z. */
static void put_along(const struct view_matrix *place, const struct display_list *list, fx32 right, fx32 up, fx32 back, fx32 size, fx32 stretch) {
    if (!begin(list)) {
        return;
    }
    const struct view_matrix here = {{{size, 0, 0}, {0, size, 0}, {0, 0, stretch}, {right, up, back}}};
    send_1(GX_MTX_RESTORE, VIEW_MATRIX_SLOT);
    send_matrix_4x3(GX_MTX_MULT_4X3, place);
    send_matrix_4x3(GX_MTX_MULT_4X3, &here);
    list_send(list);
}

static void flames(const struct view_matrix *place, const struct kart *own, uint32_t id) {
    fx32 length = (fx32)(FX_ONE * 4 + (flicker(id) & 0x1FFF));
    if (own->boost == BOOST_MUSHROOM || own->boost == BOOST_PAD) {
        length += FX_ONE * 3;
    }
    attributes(31, POLYGON_EFFECTS);
    for (int side = -1; side <= 1; side += 2) {
        put_along(place, &flame, side * FX(1.95), FX(3.9), FX(10.7), LIST_SCALE, length);
    }
}

static void sparks(const struct view *view, const struct view_matrix *place, const struct kart *own, uint32_t id) {
    attributes(31, POLYGON_EFFECTS);
    send_1(GX_COLOR, own->spark == 1 ? RGB15(10, 20, 31) : RGB15(31, 14, 3));
    for (uint32_t n = 0; n < 4; n++) {
        uint32_t chance = flicker(id * 8 + n);
        fx32 side = n & 1 ? FX(7.2) : -FX(7.2);
        vec3 at = kart_point(place, side + (fx32)(chance & 0x1FFF) - FX(1), (fx32)(chance >> 13 & 0x1FFF) + FX(0.8), FX(8.5) + (fx32)(chance >> 19 & 0x1FFF));
        put_flat(view, &spark, at, (fx32)(FX_ONE * 3 + (chance >> 5 & 0x1FFF)));
    }
}

/* Draws puffs behind the rear wheels: older puffs are larger and paler. */
static void dust(const struct view *view, const driver *kart, const struct view_matrix *place, uint16_t colour, uint32_t id) {
    for (uint32_t n = 0; n < DUST_PUFFS; n++) {
        uint32_t age = (game.state->frame + n * (DUST_FRAMES / DUST_PUFFS)) % DUST_FRAMES;
        vec3 at = kart_point(place, n & 1 ? FX(6.7) : -FX(6.7), FX(1.6) + (fx32)age * FX(0.24), FX(7.3));
        at = v_mad(at, kart->velocity, -(fx32)age * (FX_ONE * 5 / 8));
        attributes(3 + (DUST_FRAMES - age) * 3 / 5, POLYGON_EFFECTS + 1 + (id * DUST_PUFFS + n) % 16);
        send_1(GX_COLOR, colour);
        put_flat(view, &puff, at, FX_ONE * 4 + (fx32)age * (FX_ONE / 2));
    }
}

static void wind(const struct view_matrix *place, const struct kart *own, uint32_t id) {
    attributes(4u + own->slipstream / 16u, POLYGON_EFFECTS + 17);
    send_1(GX_COLOR, RGB15(31, 31, 31));
    for (uint32_t n = 0; n < 4; n++) {
        uint32_t chance = flicker(id * 8 + n);
        fx32 right = (n & 1 ? FX(10) : -FX(10)) + (fx32)(chance & 0x1FFF) - FX(1);
        put_along(place, &streak, right, FX(3) + (fx32)(chance >> 13 & 0x3FFF), (fx32)(chance >> 17 & 0xFFFF) - FX(16), LIST_SCALE, LIST_SCALE);
    }
}

/* Returns the colour of a surface's dust; 0: no dust. */
static uint16_t dust_colour(uint32_t type) {
    switch (type) {
    case FLOOR_WEAK_OFF_ROAD: return RGB15(22, 25, 14);
    case FLOOR_OFF_ROAD: return RGB15(31, 29, 22);
    case FLOOR_HEAVY_OFF_ROAD: return RGB15(20, 15, 10);
    case FLOOR_SNOW: return RGB15(30, 31, 31);
    default: return 0;
    }
}

void draw_effects(const struct view *view, const driver *kart, const struct view_matrix *place) {
    const struct kart *own = kart_of(kart);
    uint32_t id = (uint32_t)(kart - game.drivers);
    int on_floor = (kart->state_bits & DRIVER_STATE_ON_FLOOR) != 0;
    uint16_t colour = dust_colour(kart->floor_type);
    int dusty = on_floor && colour && kart->speed > FX(1.3);
    int landing = own->landed && own->landed < LANDING_FRAMES;
    if (!own->boost && !own->spark && !own->slipstream && !dusty && !landing) {
        return;
    }
    send_1(GX_MTX_MODE, GX_MODE_POSITION);
    if (own->boost) {
        flames(place, own, id);
    }
    if (own->spark && on_floor) {
        sparks(view, place, own, id);
    }
    if (dusty || landing) {
        dust(view, kart, place, colour ? colour : RGB15(22, 22, 22), id);
    }
    if (own->slipstream > 40) {
        wind(place, own, id);
    }
}
