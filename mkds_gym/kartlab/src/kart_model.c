/* The kart: lofted hull, lathed wheels and helmet, a few boxes; shaded by the hardware's lights.
 *
 * Nothing is stored as a mesh.  The shapes are described by a handful of sections and built into
 * display lists at the start: one flat normal a face, which is what gives the cut-gem look, and
 * about 210 polygons in all (quads count as one in the hardware's 2,048).
 */
#include "kart_model.h"

#include "gx.h"

/* Lengths below are sixteenths of a world unit, and none is above 511: a vertex takes one word,
 * VTX_10, where 1.0 = 64 of them = 4 world units. */
#define SIXTEENTH 256 /* fx32 */

#define POOL_WORDS 4096
static uint32_t pool[POOL_WORDS];
static uint32_t pool_used;

struct kart_part kart_parts[KART_PARTS];

const struct kart_pivot kart_wheel_pivot[4] = {
    {-78 * SIXTEENTH, 33 * SIXTEENTH, -78 * SIXTEENTH},
    {78 * SIXTEENTH, 33 * SIXTEENTH, -78 * SIXTEENTH},
    {-82 * SIXTEENTH, 42 * SIXTEENTH, 74 * SIXTEENTH},
    {82 * SIXTEENTH, 42 * SIXTEENTH, 74 * SIXTEENTH},
};
const int32_t kart_wheel_radius[2] = {33 * SIXTEENTH, 42 * SIXTEENTH};

typedef struct {
    int16_t x, y, z;
} point;

/* ---- a display list under construction: four commands share a word, their data follow ---- */

static uint32_t *command_word;
static uint32_t command_slot;

static void list_start(int part) {
    kart_parts[part].words = pool + pool_used;
    command_slot = 4;
}

static void list_command(uint32_t command) {
    if (command_slot == 4) {
        command_word = pool + pool_used++;
        *command_word = 0;
        command_slot = 0;
    }
    *command_word |= command << (8 * command_slot++);
}

static void list_data(uint32_t word) { pool[pool_used++] = word; }

static void list_end(int part) {
    /* No END_VTXS: the machine needs none, and it takes no data, which packed words dislike at
     * their end.  The free slots of the last word stay NOPs. */
    command_slot = 4;
    kart_parts[part].count = (uint32_t)(pool + pool_used - kart_parts[part].words);
}

static void list_begin_quads(void) {
    list_command(GX_BEGIN_VTXS);
    list_data(GX_QUADS);
}

static void list_vertex(point p) {
    list_command(GX_VTX_10);
    list_data(((uint32_t)p.x & 0x3FF) | ((uint32_t)p.y & 0x3FF) << 10 | ((uint32_t)p.z & 0x3FF) << 20);
}

static uint16_t shade(uint16_t colour, uint32_t sixteenths) {
    uint32_t r = (colour & 31) * sixteenths >> 4;
    uint32_t g = (colour >> 5 & 31) * sixteenths >> 4;
    uint32_t b = (colour >> 10 & 31) * sixteenths >> 4;
    return RGB15(r, g, b);
}

/* Diffuse the colour itself, ambient a part of it: shadow sides keep their hue. */
static void list_material(uint16_t colour) {
    list_command(GX_DIF_AMB);
    list_data(colour | (uint32_t)shade(colour, 9) << 16);
}

static uint32_t square_root(uint32_t value) {
    uint32_t root = 0;
    for (uint32_t bit = 1u << 15; bit; bit >>= 1) {
        uint32_t trial = root | bit;
        if (trial * trial <= value) {
            root = trial;
        }
    }
    return root;
}

/* Sends the flat normal of a quad whose corners run anticlockwise seen from outside. */
static void list_normal(point a, point b, point c, point d) {
    int32_t ux = c.x - a.x, uy = c.y - a.y, uz = c.z - a.z;
    int32_t vx = d.x - b.x, vy = d.y - b.y, vz = d.z - b.z;
    int32_t nx = uy * vz - uz * vy, ny = uz * vx - ux * vz, nz = ux * vy - uy * vx;
    /* Sides stay below 300 sixteenths, so products fit 17 bits; squares need room for three. */
    while (nx > 16000 || nx < -16000 || ny > 16000 || ny < -16000 || nz > 16000 || nz < -16000) {
        nx >>= 1;
        ny >>= 1;
        nz >>= 1;
    }
    int32_t length = (int32_t)square_root((uint32_t)(nx * nx + ny * ny + nz * nz));
    if (length == 0) {
        length = 1;
    }
    nx = nx * 511 / length;
    ny = ny * 511 / length;
    nz = nz * 511 / length;
    list_command(GX_NORMAL);
    list_data(((uint32_t)nx & 0x3FF) | ((uint32_t)ny & 0x3FF) << 10 | ((uint32_t)nz & 0x3FF) << 20);
}

static void list_quad(point a, point b, point c, point d) {
    list_normal(a, b, c, d);
    list_vertex(a);
    list_vertex(b);
    list_vertex(c);
    list_vertex(d);
}

/* ---- shapes ---- */

enum { TOP = 1, BACK = 2, FRONT = 4, RIGHT = 8, LEFT = 16, SIDES = RIGHT | LEFT };

/* A box whose top may be smaller than its bottom and pushed along z (tapered, leaning); only the
 * faces that can be seen are built. */
static void box(int faces, int x0, int x1, int y0, int y1, int z0, int z1, int taper, int lean) {
    point p[8];
    for (int i = 0; i < 8; i++) {
        int top = i >> 2;
        int right = (i & 3) == 1 || (i & 3) == 2;
        int back = (i & 3) >= 2;
        p[i].x = (int16_t)((right ? x1 : x0) + (top ? (right ? -taper : taper) : 0));
        p[i].y = (int16_t)(top ? y1 : y0);
        p[i].z = (int16_t)((back ? z1 : z0) + (top ? lean : 0));
    }
    static const uint8_t corner[5][4] = {{7, 6, 5, 4}, {3, 2, 6, 7}, {1, 0, 4, 5}, {2, 1, 5, 6}, {0, 3, 7, 4}};
    for (int face = 0; face < 5; face++) {
        if (faces >> face & 1) {
            const uint8_t *c = corner[face];
            list_quad(p[c[0]], p[c[1]], p[c[2]], p[c[3]]);
        }
    }
}

/* One cross section of the hull: half widths and heights at the sill, the waist and the top. */
struct section {
    int16_t z, sill, waist, top, y_sill, y_waist, y_top;
};

static void section_points(const struct section *s, point *p) {
    const point half[3] = {{s->sill, s->y_sill, s->z}, {s->waist, s->y_waist, s->z}, {s->top, s->y_top, s->z}};
    for (int i = 0; i < 3; i++) {
        p[i] = half[i];
        p[5 - i] = half[i];
        p[5 - i].x = (int16_t)-half[i].x;
    }
}

static void loft(const struct section *sections, int count, const uint16_t *side, const uint16_t *deck) {
    point front[6], rear[6];
    section_points(&sections[0], front);
    list_material(side[0]);
    list_quad(front[0], front[5], front[4], front[1]);
    list_quad(front[1], front[4], front[3], front[2]);
    for (int i = 0; i + 1 < count; i++) {
        section_points(&sections[i + 1], rear);
        list_material(side[i]);
        for (int k = 0; k < 5; k++) {
            if (k == 2) {
                list_material(deck[i]);
            }
            list_quad(front[k], front[k + 1], rear[k + 1], rear[k]);
            if (k == 2) {
                list_material(side[i]);
            }
        }
        for (int k = 0; k < 6; k++) {
            front[k] = rear[k];
        }
    }
    list_quad(front[0], front[1], front[4], front[5]);
    list_quad(front[1], front[2], front[3], front[4]);
}

/* Sine and cosine of eighths of a turn's eighth steps, 256 = 1: enough for every lathe here. */
static const int16_t sine16[16] = {0, 98, 181, 237, 256, 237, 181, 98, 0, -98, -181, -237, -256, -237, -181, -98};

static point on_circle(int step, int x, int radius) {
    point p = {(int16_t)x, (int16_t)(radius * sine16[(step + 4) & 15] / 256), (int16_t)(radius * sine16[step & 15] / 256)};
    return p;
}

/* A normal of the wheel's tread: away from the axle. */
static void list_round_normal(int step, int sideways) {
    int y = sine16[(step + 4) & 15] * 3 / 2, z = sine16[step & 15] * 3 / 2; /* 256 * 3 / 2 < 511 */
    list_command(GX_NORMAL);
    list_data(((uint32_t)sideways & 0x3FF) | ((uint32_t)y & 0x3FF) << 10 | ((uint32_t)z & 0x3FF) << 20);
}

static void list_begin(uint32_t kind) {
    list_command(GX_BEGIN_VTXS);
    list_data(kind);
}

/* A wheel around the x axis, centred on its own hub: tread, bevelled outer side, rim, plain inner
 * side.  `side` is -1 for a wheel on the kart's left, 1 on its right. */
static void wheel(int side, int radius, int half_width) {
    const uint16_t tyre = RGB15(7, 7, 9), tread = RGB15(10, 10, 12), rim = RGB15(26, 27, 29), dark = RGB15(16, 16, 19);
    int rim_radius = radius * 10 / 16, bevel = side * (half_width - 4), outer = side * half_width;
    list_begin(GX_QUAD_STRIP);
    for (int k = 0; k <= 16; k += 2) {
        list_material(k & 2 ? tyre : tread); /* alternate, so that one sees it roll */
        list_round_normal(k, 0);
        point left = on_circle(k, side > 0 ? -half_width : bevel, radius);
        point right = on_circle(k, side > 0 ? bevel : half_width, radius);
        list_vertex(right);
        list_vertex(left);
    }
    list_begin(GX_QUAD_STRIP);
    list_material(tyre);
    for (int k = 0; k <= 16; k += 2) {
        point in = on_circle(k, outer, rim_radius), out = on_circle(k, bevel, radius);
        list_round_normal(k, side * 330);
        list_vertex(side > 0 ? in : out);
        list_vertex(side > 0 ? out : in);
    }
    list_begin(GX_QUADS);
    for (int k = 0; k < 16; k += 4) {
        point hub = {(int16_t)(outer - side * 6), 0, 0};
        point a = on_circle(k, outer, rim_radius), b = on_circle(k + 2, outer, rim_radius), c = on_circle(k + 4, outer, rim_radius);
        list_material(k & 4 ? rim : dark);
        if (side > 0) {
            list_quad(hub, a, b, c);
        } else {
            list_quad(hub, c, b, a);
        }
    }
    list_material(tyre);
    for (int k = 0; k < 12; k += 4) { /* an octagon as three quads in a fan */
        point p[4] = {on_circle(0, -side * half_width, radius), on_circle(k + 2, -side * half_width, radius),
                      on_circle(k + 4, -side * half_width, radius), on_circle(k + 6, -side * half_width, radius)};
        if (side > 0) {
            list_quad(p[0], p[3], p[2], p[1]);
        } else {
            list_quad(p[0], p[1], p[2], p[3]);
        }
    }
}

/* A sphere cut in rings from bottom to top around (0, y, z), for the helmet. */
static point on_sphere(int ring, int step, int radius, int y, int z) {
    static const int16_t ring_radius[6] = {150, 226, 256, 226, 150, 0};
    static const int16_t ring_height[6] = {-207, -120, 0, 120, 207, 256};
    int r = radius * ring_radius[ring] / 256;
    point p = {(int16_t)(r * sine16[step & 15] / 256), (int16_t)(y + radius * ring_height[ring] / 256),
               (int16_t)(z + r * sine16[(step + 4) & 15] / 256)};
    return p;
}

/* Eight gores from bottom to top, each a strip of one colour, and a visor laid over the front. */
static void helmet(int radius, int y, int z) {
    const uint16_t shell = RGB15(31, 27, 4), stripe = RGB15(30, 30, 31), visor = RGB15(4, 7, 12);
    for (int k = 0; k < 16; k += 2) {
        /* step 0 looks backwards (+z), step 8 forwards */
        int middle = k == 14 || k == 0 || k == 6 || k == 8;
        list_begin(GX_QUAD_STRIP);
        list_material(middle ? stripe : shell);
        for (int ring = 0; ring < 6; ring++) {
            point right = on_sphere(ring, k + 2, radius, y, z), left = on_sphere(ring, k, radius, y, z);
            if (ring < 5) {
                point above_left = on_sphere(ring + 1, k, radius, y, z), above_right = on_sphere(ring + 1, k + 2, radius, y, z);
                list_normal(left, right, above_right, above_left);
            }
            list_vertex(left);
            list_vertex(right);
        }
    }
    list_begin(GX_QUADS);
    list_material(visor);
    for (int k = 4; k <= 10; k += 2) {
        list_quad(on_sphere(2, k, radius + 1, y, z), on_sphere(2, k + 2, radius + 1, y, z),
                  on_sphere(3, k + 2, radius + 1, y, z), on_sphere(3, k, radius + 1, y, z));
    }
}

/* An arm from the shoulder to the steering wheel: a thin leaning prism. */
static void arm(int side) {
    const point shoulder[2] = {{(int16_t)(side * 26), 98, 24}, {(int16_t)(side * 40), 92, 24}};
    const point hand[2] = {{(int16_t)(side * 14), 76, -24}, {(int16_t)(side * 26), 72, -24}};
    point under_shoulder = {(int16_t)(side * 36), 78, 30}, under_hand = {(int16_t)(side * 20), 62, -22};
    if (side > 0) {
        list_quad(shoulder[0], shoulder[1], hand[1], hand[0]);
        list_quad(shoulder[1], under_shoulder, under_hand, hand[1]);
    } else {
        list_quad(shoulder[1], shoulder[0], hand[0], hand[1]);
        list_quad(under_shoulder, shoulder[1], hand[1], under_hand);
    }
    list_quad(under_shoulder, shoulder[1], shoulder[0], shoulder[0]);
}

static void build_body(void) {
    static const struct section hull[] = {
        {-136, 14, 20, 14, 16, 24, 30}, {-104, 26, 36, 24, 14, 28, 42},  {-40, 40, 52, 34, 12, 34, 56},
        {-6, 52, 64, 50, 12, 36, 50},   {56, 52, 62, 48, 12, 38, 52},   {104, 40, 46, 38, 20, 38, 54},
    };
    const uint16_t red = RGB15(28, 4, 5), white = RGB15(30, 30, 30), deep = RGB15(20, 2, 4), grey = RGB15(10, 10, 12);
    const uint16_t blue = RGB15(5, 9, 26);
    const uint16_t side[] = {red, red, red, red, deep};
    const uint16_t deck[] = {white, white, red, grey, grey};
    list_start(KART_BODY);
    list_begin_quads();
    loft(hull, 6, side, deck);
    list_material(white); /* front wing with its end plates */
    box(TOP | FRONT | BACK, -76, 76, 10, 18, -146, -122, 0, 0);
    list_material(blue);
    box(TOP | BACK | SIDES, -84, -76, 8, 32, -150, -116, 0, 4);
    box(TOP | BACK | SIDES, 76, 84, 8, 32, -150, -116, 0, 4);
    list_material(RGB15(12, 12, 14)); /* axles */
    box(TOP | BACK, -70, 70, 29, 37, -82, -74, 0, 0);
    box(TOP | BACK, -70, 70, 38, 46, 70, 78, 0, 0);
    list_material(RGB15(5, 5, 7)); /* seat */
    box(TOP | BACK | SIDES, -34, 34, 46, 96, 44, 58, 6, 8);
    list_material(RGB15(15, 16, 18)); /* engine */
    box(TOP | BACK | SIDES, -32, 32, 50, 78, 64, 98, 6, 0);
    list_material(RGB15(24, 20, 14)); /* exhausts */
    box(TOP | BACK | SIDES, -30, -16, 40, 54, 100, 130, 1, 2);
    box(TOP | BACK | SIDES, 16, 30, 40, 54, 100, 130, 1, 2);
    list_material(blue); /* rear wing on two posts */
    box(BACK | LEFT, -30, -24, 52, 92, 104, 114, 0, 8);
    box(BACK | RIGHT, 24, 30, 52, 92, 104, 114, 0, 8);
    list_material(red);
    box(TOP | BACK | FRONT, -72, 72, 92, 98, 102, 132, 0, 6);
    list_material(white);
    box(TOP | BACK | SIDES, -78, -72, 82, 106, 100, 136, 0, 4);
    box(TOP | BACK | SIDES, 72, 78, 82, 106, 100, 136, 0, 4);
    list_end(KART_BODY);
}

static void build_driver(void) {
    list_start(KART_DRIVER);
    list_begin_quads();
    list_material(RGB15(6, 11, 27)); /* overalls */
    box(FRONT | SIDES, -28, 28, 44, 78, 6, 44, -8, 0);
    box(TOP | FRONT | BACK | SIDES, -38, 38, 78, 100, 8, 44, 12, 2);
    list_material(RGB15(8, 14, 30));
    arm(-1);
    arm(1);
    list_material(RGB15(4, 4, 6)); /* steering wheel */
    box(TOP | FRONT | BACK, -24, 24, 58, 80, -34, -28, 4, 6);
    helmet(36, 126, 22);
    list_end(KART_DRIVER);
}

static void build_wheel(int part, int side, int radius, int half_width) {
    list_start(part);
    wheel(side, radius, half_width);
    list_end(part);
}

/* A flat disc, unlit: colour and polygon attributes are the caller's. */
static void build_shadow(int radius_x, int radius_z) {
    list_start(KART_SHADOW);
    list_begin_quads();
    for (int k = 0; k < 16; k += 4) {
        const point centre = {0, 0, 0};
        list_vertex(centre);
        for (int i = 0; i < 3; i++) {
            int step = k + 2 * i;
            point rim = {(int16_t)(radius_x * sine16[step & 15] / 256), 0, (int16_t)(radius_z * sine16[(step + 4) & 15] / 256)};
            list_vertex(rim);
        }
    }
    list_end(KART_SHADOW);
}

void kart_model_init(void) {
    pool_used = 0;
    build_body();
    build_driver();
    for (int i = 0; i < 2; i++) {
        build_wheel(KART_WHEEL + i, 2 * i - 1, 33, 16);
        build_wheel(KART_WHEEL + 2 + i, 2 * i - 1, 42, 22);
    }
    build_shadow(96, 132);
}
