/* Display lists that the program builds when it starts: small moving things made of a few
 * shapes. */
#pragma once

#include "draw/picture.h"

/* Words for the GX FIFO. Send the matrix and the polygon attributes first. */
struct display_list {
    uint32_t *words;
    uint32_t count;
    struct picture_size size;
};

/* In twelfths of a world unit, up to 511: a vertex takes one word (VTX_10). 1.0, 64 steps, is
 * LIST_SCALE. */
typedef struct {
    int16_t x, y, z;
} point;
#define LIST_SCALE FX(64.0 / 12)

void lists_init(void); /* forgets all lists */
void list_start(struct display_list *list);
void list_end(struct display_list *list);

void list_begin(uint32_t kind); /* GX_QUADS, ... */
void list_vertex(point p);
void list_colour(uint16_t colour);   /* without lights */
void list_material(uint16_t colour); /* with lights: diffuse is the colour, ambient a part of it */

/* A quad with its flat normal. Seen from outside, the corners run anticlockwise. */
void list_quad(point a, point b, point c, point d);

/* A quad strip through pairs of points. Seen from outside and along the strip, the first point of a
 * pair lies left. Each pair carries the normal of the face that follows. */
void list_strip(const point (*pairs)[2], int count);

/* The visible faces of a box, for use within GX_QUADS. The top may be smaller than the bottom
 * (taper) and shifted along z (lean). */
enum { BOX_TOP = 1, BOX_BACK = 2, BOX_FRONT = 4, BOX_RIGHT = 8, BOX_LEFT = 16, BOX_SIDES = BOX_RIGHT | BOX_LEFT };
void list_box(int faces, int x0, int x1, int y0, int y1, int z0, int z1, int taper, int lean);

/* Sine in sixteenths of a turn; 256 = 1. */
extern const int16_t list_sine16[16];

static inline void list_send(const struct display_list *list) { send_list(list->words, list->count); }
