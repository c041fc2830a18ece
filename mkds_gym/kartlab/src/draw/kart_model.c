/* The kart: a lofted hull, lathed wheels and helmet, and a few boxes; the hardware lights them. The
 * program builds the display lists from a few cross sections when it starts. Up to eight karts are
 * in a picture, and every vertex costs the hardware and its emulators time. So faces that no camera
 * behind, before or above the kart sees are left out, round shapes are strips, and there are three
 * models: near, with wheels that roll and steer; middle, in one piece; far, three boxes. */
#include "draw/kart_model.h"

/* Lengths in this file are sixteenths of a world unit, as in draw/list.h. */
#define SIXTEENTH 256 /* fx32 */

struct display_list kart_parts[KART_PARTS];

const struct kart_pivot kart_wheel_pivot[4] = {
    {-78 * SIXTEENTH, 33 * SIXTEENTH, -78 * SIXTEENTH},
    {78 * SIXTEENTH, 33 * SIXTEENTH, -78 * SIXTEENTH},
    {-82 * SIXTEENTH, 42 * SIXTEENTH, 74 * SIXTEENTH},
    {82 * SIXTEENTH, 42 * SIXTEENTH, 74 * SIXTEENTH},
};

/* ---- shapes ---- */

/* A cross section of the hull: half widths and heights at the sill, the waist and the top. */
struct section {
    int16_t z, sill, waist, top, y_sill, y_waist, y_top;
};

/* Corners 0 to 5 of a section: right sill, waist, top, then left top, waist, sill. */
static point section_point(const struct section *s, int corner) {
    int i = corner < 3 ? corner : 5 - corner;
    int width = i == 0 ? s->sill : i == 1 ? s->waist : s->top;
    int height = i == 0 ? s->y_sill : i == 1 ? s->y_waist : s->y_top;
    point p = {(int16_t)(corner < 3 ? width : -width), (int16_t)height, s->z};
    return p;
}

/* A strip along the hull between two neighbouring corners. */
static void hull_strip(const struct section *sections, int count, int corner) {
    point pairs[6][2];
    for (int i = 0; i < count; i++) {
        pairs[i][0] = section_point(&sections[i], corner);
        pairs[i][1] = section_point(&sections[i], corner + 1);
    }
    list_strip((const point(*)[2])pairs, count);
}

/* The end of the hull, in two quads. */
static void hull_cap(const struct section *s, int rear) {
    point p[6];
    for (int i = 0; i < 6; i++) {
        p[i] = section_point(s, i);
    }
    list_begin(GX_QUADS);
    if (rear) {
        list_quad(p[0], p[1], p[4], p[5]);
        list_quad(p[1], p[2], p[3], p[4]);
    } else {
        list_quad(p[0], p[5], p[4], p[1]);
        list_quad(p[1], p[4], p[3], p[2]);
    }
}

static point on_circle(int step, int x, int radius) {
    point p = {(int16_t)x, (int16_t)(radius * list_sine16[(step + 4) & 15] / 256), (int16_t)(radius * list_sine16[step & 15] / 256)};
    return p;
}

static void circle_quad(const int *steps, int x, int radius, int facing) {
    for (int i = 0; i < 4; i++) {
        list_vertex(on_circle(steps[facing > 0 ? i : 3 - i], x, radius));
    }
}

/* An octagon on one side of a wheel, in three quads. */
static void wheel_side(int x, int radius, int facing) {
    for (int k = 0; k < 12; k += 4) {
        const int steps[4] = {0, k + 2, k + 4, k + 6};
        circle_quad(steps, x, radius, facing);
    }
}

static void square(int x, int radius, int facing) {
    static const int steps[4] = {0, 4, 8, 12};
    circle_quad(steps, x, radius, facing);
}

/* A wheel around the x axis, centred on its hub: tread, outer side with a rim, and the part of the
 * inner side that the hull does not hide. `side` is -1 for a wheel on the left, 1 on the right.
 * Wheels are black and need no lights. */
static void wheel(int side, int radius, int half_width, int inner) {
    const uint16_t tyre = RGB15(5, 5, 6), tread = RGB15(8, 8, 9), wall = RGB15(4, 4, 5), rim = RGB15(22, 23, 25);
    list_begin(GX_QUAD_STRIP);
    for (int k = 0; k <= 16; k += 2) {
        list_colour(k & 2 ? tyre : tread); /* alternate colours show that the wheel rolls */
        list_vertex(on_circle(k, half_width, radius));
        list_vertex(on_circle(k, -half_width, radius));
    }
    list_begin(GX_QUADS);
    list_colour(wall);
    wheel_side(side * half_width, radius, side);
    if (inner) {
        square(-side * half_width, radius, -side);
    }
    list_colour(rim); /* the corners show that the wheel turns */
    square(side * (half_width + 1), radius * 10 / 16, side);
}

/* The helmet: a sphere around (0, y, z), cut into rings from bottom to top. */
static const int16_t ring_radius[4] = {170, 256, 200, 60}, ring_height[4] = {-200, -40, 150, 240};

static point on_sphere(int ring, int step, int radius, int y, int z) {
    int r = radius * ring_radius[ring] / 256;
    point p = {(int16_t)(r * list_sine16[step & 15] / 256), (int16_t)(y + radius * ring_height[ring] / 256),
               (int16_t)(z + r * list_sine16[(step + 4) & 15] / 256)};
    return p;
}

/* Strips from bottom to top, each `width` sixteenths of a turn wide. Step 0 looks backwards
 * (+z). */
static void gores(int from, int to, int width, int first_ring, int radius, int y, int z) {
    for (int k = from; k < to; k += width) {
        point pairs[4][2];
        for (int ring = first_ring; ring < 4; ring++) {
            pairs[ring][0] = on_sphere(ring, k, radius, y, z);
            pairs[ring][1] = on_sphere(ring, k + width, radius, y, z);
        }
        list_strip((const point(*)[2])pairs + first_ring, 4 - first_ring);
    }
}

/* The upper side of an arm, from the shoulder to the steering wheel. */
static void arm(int side) {
    const point inner[2] = {{(int16_t)(side * 26), 98, 24}, {(int16_t)(side * 14), 76, -24}};
    const point outer[2] = {{(int16_t)(side * 42), 86, 24}, {(int16_t)(side * 28), 66, -24}};
    if (side > 0) {
        list_quad(inner[0], outer[0], outer[1], inner[1]);
    } else {
        list_quad(outer[0], inner[0], inner[1], outer[1]);
    }
}

/* An upright plate: outside, back and inside in one strip. */
static void plate(int x0, int x1, int y0, int y1, int z0, int z1) {
    const int16_t x[4] = {(int16_t)x0, (int16_t)x0, (int16_t)x1, (int16_t)x1}, z[4] = {(int16_t)z0, (int16_t)z1, (int16_t)z1, (int16_t)z0};
    point pairs[4][2];
    for (int i = 0; i < 4; i++) {
        pairs[i][0] = (point){x[i], (int16_t)y1, z[i]};
        pairs[i][1] = (point){x[i], (int16_t)y0, z[i]};
    }
    list_strip((const point(*)[2])pairs, 4);
}

static const uint16_t white = RGB15(30, 30, 30), grey = RGB15(10, 10, 12), black = RGB15(5, 5, 7), blue = RGB15(5, 9, 26);

/* ---- the near kart ---- */

#define HULL_SECTIONS 5
static const struct section hull[HULL_SECTIONS] = {
    {-136, 14, 20, 14, 16, 24, 30}, {-100, 26, 36, 24, 14, 28, 42}, {-26, 44, 58, 40, 12, 35, 54},
    {56, 52, 62, 48, 12, 38, 52},   {104, 40, 46, 38, 20, 38, 54},
};

static void build_near(void) {
    list_start(&kart_parts[KART_PAINT]);
    hull_strip(hull, HULL_SECTIONS, 0);
    hull_strip(hull, HULL_SECTIONS, 1);
    hull_strip(hull, HULL_SECTIONS, 3);
    hull_strip(hull, HULL_SECTIONS, 4);
    list_begin(GX_QUADS);
    list_box(BOX_TOP | BOX_BACK, -72, 72, 92, 98, 102, 132, 0, 6); /* rear wing */
    list_end(&kart_parts[KART_PAINT]);

    list_start(&kart_parts[KART_TRIM]);
    list_material(white);
    hull_strip(hull, 3, 2); /* bonnet */
    list_begin(GX_QUADS);
    list_box(BOX_TOP, -76, 76, 10, 18, -146, -122, 0, 0); /* front wing */
    plate(-78, -72, 82, 106, 100, 138); /* ends of the rear wing */
    plate(72, 78, 82, 106, 100, 138);
    list_material(grey);
    hull_strip(hull + 2, 3, 2);
    hull_cap(&hull[HULL_SECTIONS - 1], 1);
    list_box(BOX_BACK, -70, 70, 29, 37, -82, -74, 0, 0); /* axles */
    list_box(BOX_BACK, -70, 70, 38, 46, 70, 78, 0, 0);
    list_material(black); /* seat */
    list_box(BOX_BACK, -34, 34, 46, 96, 44, 58, 6, 8);
    list_material(RGB15(15, 16, 18)); /* engine */
    list_box(BOX_TOP | BOX_BACK, -34, 34, 50, 78, 64, 98, 6, 0);
    list_material(RGB15(24, 20, 14)); /* exhausts */
    list_box(BOX_TOP | BOX_BACK, -30, -16, 40, 54, 100, 130, 1, 2);
    list_box(BOX_TOP | BOX_BACK, 16, 30, 40, 54, 100, 130, 1, 2);
    list_material(blue); /* posts of the rear wing */
    list_box(BOX_BACK, -30, -24, 52, 92, 104, 114, 0, 8);
    list_box(BOX_BACK, 24, 30, 52, 92, 104, 114, 0, 8);
    list_end(&kart_parts[KART_TRIM]);

    list_start(&kart_parts[KART_DRIVER]);
    list_begin(GX_QUADS);
    list_material(RGB15(6, 11, 27)); /* overalls */
    list_box(BOX_TOP | BOX_BACK | BOX_SIDES, -36, 36, 50, 100, 8, 44, 10, 2);
    arm(-1);
    arm(1);
    list_end(&kart_parts[KART_DRIVER]);

    list_start(&kart_parts[KART_HELMET]);
    gores(-5, 5, 2, 0, 36, 126, 22);
    list_end(&kart_parts[KART_HELMET]);

    /* Faces that are only visible from the front. */
    list_start(&kart_parts[KART_FRONT_PAINT]);
    hull_cap(&hull[0], 0);
    list_box(BOX_FRONT, -72, 72, 92, 98, 102, 132, 0, 6);
    list_end(&kart_parts[KART_FRONT_PAINT]);

    list_start(&kart_parts[KART_FRONT_TRIM]);
    list_begin(GX_QUADS);
    list_material(white);
    list_box(BOX_FRONT, -76, 76, 10, 18, -146, -122, 0, 0);
    list_material(RGB15(6, 11, 27));
    list_box(BOX_FRONT, -36, 36, 50, 100, 8, 44, 10, 2);
    list_material(RGB15(4, 7, 12)); /* visor */
    for (int k = 5; k < 11; k += 2) {
        list_quad(on_sphere(1, k, 37, 126, 22), on_sphere(1, k + 2, 37, 126, 22), on_sphere(2, k + 2, 37, 126, 22),
                  on_sphere(2, k, 37, 126, 22));
    }
    list_end(&kart_parts[KART_FRONT_TRIM]);

    list_start(&kart_parts[KART_FRONT_HELMET]);
    gores(5, 11, 2, 0, 36, 126, 22);
    list_end(&kart_parts[KART_FRONT_HELMET]);

    for (int i = 0; i < 4; i++) {
        list_start(&kart_parts[KART_WHEEL + i]);
        wheel(i & 1 ? 1 : -1, i < 2 ? 33 : 42, i < 2 ? 16 : 22, i < 2);
        list_end(&kart_parts[KART_WHEEL + i]);
    }
}

/* ---- karts farther away, in one piece ---- */

/* A wheel that does not roll: half an octagon and its outer side. */
static void plain_wheel(const struct kart_pivot *at, int side, int radius, int half_width) {
    int y = at->y / SIXTEENTH, z = at->z / SIXTEENTH, x = at->x / SIXTEENTH;
    static const int8_t steps[4] = {10, 14, 2, 6}; /* lower front, upper front, ... */
    point pairs[4][2];
    for (int i = 0; i < 4; i++) {
        for (int right = 0; right < 2; right++) {
            point p = on_circle(steps[i], x + (right ? -half_width : half_width), radius);
            p.y = (int16_t)(p.y + y);
            p.z = (int16_t)(p.z + z);
            pairs[i][right] = p;
        }
    }
    list_strip((const point(*)[2])pairs, 4);
    int outer = side > 0 ? 0 : 1;
    list_begin(GX_QUADS);
    if (side > 0) {
        list_quad(pairs[0][outer], pairs[1][outer], pairs[2][outer], pairs[3][outer]);
    } else {
        list_quad(pairs[3][outer], pairs[2][outer], pairs[1][outer], pairs[0][outer]);
    }
}

static void build_middle(void) {
    static const struct section plain[3] = {
        {-136, 14, 20, 14, 16, 24, 30}, {-26, 44, 58, 40, 12, 35, 54}, {104, 44, 54, 40, 18, 38, 54},
    };
    list_start(&kart_parts[KART_MIDDLE_PAINT]);
    hull_strip(plain, 3, 1);
    hull_strip(plain, 3, 3);
    list_begin(GX_QUADS);
    list_box(BOX_TOP | BOX_BACK, -76, 76, 88, 100, 102, 132, 0, 6);
    gores(2, 18, 4, 1, 42, 110, 22);
    list_end(&kart_parts[KART_MIDDLE_PAINT]);

    list_start(&kart_parts[KART_MIDDLE_TRIM]);
    list_material(white);
    hull_strip(plain, 3, 2);
    list_begin(GX_QUADS);
    list_material(grey);
    list_box(BOX_BACK, -46, 46, 14, 54, 90, 104, 2, 0);
    list_material(RGB15(6, 11, 27));
    list_box(BOX_BACK | BOX_SIDES, -36, 36, 46, 100, 8, 44, 8, 0);
    list_box(BOX_SIDES, -22, 22, 50, 92, 92, 114, 0, 0); /* under the wing */
    list_material(RGB15(8, 8, 10));
    for (int i = 0; i < 4; i++) {
        plain_wheel(&kart_wheel_pivot[i], i & 1 ? 1 : -1, i < 2 ? 33 : 42, i < 2 ? 16 : 22);
    }
    list_end(&kart_parts[KART_MIDDLE_TRIM]);
}

static void build_far(void) {
    list_start(&kart_parts[KART_FAR_PAINT]);
    list_begin(GX_QUADS);
    list_box(BOX_TOP | BOX_BACK | BOX_FRONT | BOX_SIDES, -54, 54, 12, 56, -120, 110, 10, 0);
    list_box(BOX_TOP | BOX_BACK | BOX_FRONT | BOX_SIDES, -30, 30, 56, 156, 0, 48, 4, 0);
    list_end(&kart_parts[KART_FAR_PAINT]);

    list_start(&kart_parts[KART_FAR_TRIM]);
    list_begin(GX_QUADS);
    list_material(RGB15(8, 8, 10));
    list_box(BOX_TOP | BOX_BACK, -96, 96, 2, 62, -104, -54, 0, 0);
    list_box(BOX_TOP | BOX_BACK, -104, 104, 2, 82, 38, 112, 0, 0);
    list_end(&kart_parts[KART_FAR_TRIM]);
}

/* A flat disc without lights. The caller sets colour and polygon attributes. */
static void build_shadow(int radius_x, int radius_z) {
    list_start(&kart_parts[KART_SHADOW]);
    list_begin(GX_QUADS);
    point rim[8];
    for (int k = 0; k < 8; k++) {
        point p = {(int16_t)(radius_x * list_sine16[2 * k] / 256), 0, (int16_t)(radius_z * list_sine16[(2 * k + 4) & 15] / 256)};
        rim[k] = p;
    }
    for (int k = 0; k < 6; k += 2) {
        list_vertex(rim[0]);
        list_vertex(rim[k + 1]);
        list_vertex(rim[k + 2]);
        list_vertex(rim[(k + 3) & 7]);
    }
    list_end(&kart_parts[KART_SHADOW]);
}

void kart_model_init(void) {
    build_near();
    build_middle();
    build_far();
    build_shadow(96, 132);
}
